//! All that is stored: settings, and entries that this version does not support.
//!
//! Another version may have written an entry with a key, a kind or a value that this one does not know. Such an entry
//! is neither a setting, which would be enforced without what it says, nor an error, which would end the enforcement of
//! all others. It is kept unchanged until somebody deletes or replaces it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::entry_target::EntryTarget;
use crate::setting::{Setting, Settings};
use crate::target::Target;

/// All that is stored, sorted by target. No target has both a setting and an unsupported entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// What this version supports.
    pub settings: Settings,
    /// What it does not.
    pub unsupported: BTreeMap<EntryTarget, Arc<Unsupported>>,
}

/// An entry that this version does not support.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// What is not known.
    pub reason: Arc<str>,
    /// Grows by one with each change of the entry; the first is 1.
    pub generation: u64,
    /// The entry as it was read, a JSON object.
    pub json: Box<str>,
}

/// What is stored for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A setting.
    Setting(Arc<Setting>),
    /// What this version does not support.
    Unsupported(Arc<Unsupported>),
}

impl Stored {
    /// What is stored for a target.
    pub fn get(&self, target: &EntryTarget) -> Option<Entry> {
        let setting = target.known().and_then(|target| self.settings.get(target)).cloned();
        setting.map(Entry::Setting).or_else(|| self.unsupported.get(target).cloned().map(Entry::Unsupported))
    }

    /// The entry of a target, if this version does not support it.
    pub fn unsupported(&self, target: &Target) -> Option<&Arc<Unsupported>> {
        if self.unsupported.is_empty() {
            return None;
        }
        self.unsupported.get(&EntryTarget::Known(target.clone()))
    }
}
