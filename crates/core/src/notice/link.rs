//! Links to where people can look, made from templates.

use crate::target::Target;

/// A link: a text, and a URL with `{namespace}`, `{kind}` and `{name}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    text: String,
    url: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Namespace,
    Kind,
    Name,
}

/// A template is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// There is no such field.
    #[error("{{{0}}} is not a field; fields are {{namespace}}, {{kind}} and {{name}}")]
    UnknownField(String),
    /// A brace has no counterpart.
    #[error("a brace is not closed")]
    OpenBrace,
    /// Only web pages can be linked to.
    #[error("a link begins with https:// or http://")]
    NotWeb,
}

impl Link {
    /// Parses a template.
    pub fn new(text: &str, template: &str) -> Result<Self, LinkError> {
        if !template.starts_with("https://") && !template.starts_with("http://") {
            return Err(LinkError::NotWeb);
        }
        let (mut url, mut rest) = (Vec::new(), template);
        while let Some((before, after)) = rest.split_once('{') {
            let (field, after) = after.split_once('}').ok_or(LinkError::OpenBrace)?;
            url.push(Part::Text(before.to_owned()));
            url.push(match field {
                "namespace" => Part::Namespace,
                "kind" => Part::Kind,
                "name" => Part::Name,
                other => return Err(LinkError::UnknownField(other.to_owned())),
            });
            rest = after;
        }
        url.push(Part::Text(rest.to_owned()));
        Ok(Self { text: text.to_owned(), url })
    }

    /// What people read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The URL for a workload. Names in Kubernetes need no escaping.
    pub fn url(&self, target: &Target) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Namespace => target.namespace().to_owned(),
            Part::Kind => target.kind().singular().to_owned(),
            Part::Name => target.name().to_owned(),
        };
        self.url.iter().map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_replaced() {
        let target = Target::deployment("shop", "web").expect("valid");
        let link = Link::new("Look", "https://a/{namespace}?x={kind}/{name}#y").expect("valid");
        assert_eq!(link.url(&target), "https://a/shop?x=deployment/web#y");
        assert_eq!(Link::new("", "https://a").expect("valid").url(&target), "https://a");
    }

    #[test]
    fn what_is_not_valid_is_refused() {
        let check = |template: &str, expected: LinkError| {
            assert_eq!(Link::new("", template), Err(expected), "{template}");
        };
        check("https://a/{pod}", LinkError::UnknownField("pod".into()));
        check("https://a/{name", LinkError::OpenBrace);
        check("javascript:alert(1)", LinkError::NotWeb);
        let message = LinkError::UnknownField("pod".into()).to_string();
        assert_eq!(message, "{pod} is not a field; fields are {namespace}, {kind} and {name}");
    }
}
