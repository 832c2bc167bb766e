//! The flags that say which namespaces are meant.

use clap::Args;

use crate::connect::Session;

/// One namespace.
#[derive(Args, Clone, Debug)]
pub struct NamespaceArgs {
    /// Namespace [default: of the context]
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
}

/// One namespace, or all.
#[derive(Args, Clone, Debug)]
pub struct ScopeArgs {
    #[command(flatten)]
    one: NamespaceArgs,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
}

impl NamespaceArgs {
    /// The namespace.
    pub fn of(&self, session: &Session) -> String {
        self.namespace.clone().unwrap_or_else(|| session.namespace().to_owned())
    }
}

impl ScopeArgs {
    /// The namespace, if one was named.
    pub fn named(&self) -> Option<&str> {
        self.one.namespace.as_deref()
    }

    /// The namespace. Empty: all.
    pub fn of(&self, session: &Session) -> String {
        if self.all_namespaces { String::new() } else { self.one.of(session) }
    }
}
