//! The state that the proxy keeps between requests.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::body::Bytes;
use replica_count_wire::Encoding;

use super::Kind;

/// How many events are repeated after a reconnect.
const REPLAYED: usize = 3;

/// Earlier listings and events. Keys are paths, which identify what is listed or watched; each path always uses the
/// same encoding. A listing can only replace one of the same kind.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The first listing of each path and kind.
    listings: HashMap<(Kind, String), (Encoding, Bytes)>,
    /// The latest events of each watch.
    newest: HashMap<String, Vec<Bytes>>,
    /// The events that the next watch repeats.
    replays: HashMap<String, Vec<Bytes>>,
    /// The paths that must be listed again, because their version is gone.
    gone: HashSet<String>,
}

impl Memory {
    pub(super) fn listing(&self, kind: Kind, path: &str) -> Option<(Encoding, Bytes)> {
        self.inner().listings.get(&(kind, path.to_owned())).cloned()
    }

    /// Keeps a listing, if it is the first one.
    pub(super) fn keep_listing(&self, kind: Kind, path: &str, encoding: Encoding, listing: Bytes) {
        self.inner().listings.entry((kind, path.to_owned())).or_insert((encoding, listing));
    }

    pub(super) fn note_shown(&self, path: &str, frame: &Bytes) {
        let mut inner = self.inner();
        let newest = inner.newest.entry(path.to_owned()).or_default();
        newest.push(frame.clone());
        let surplus = newest.len().saturating_sub(REPLAYED);
        newest.drain(..surplus);
    }

    /// Makes the next watch repeat the latest events.
    pub(super) fn replay(&self, path: &str) {
        let mut inner = self.inner();
        let newest = inner.newest.get(path).cloned().unwrap_or_default();
        inner.replays.insert(path.to_owned(), newest);
    }

    pub(super) fn take_replay(&self, path: &str) -> Vec<Bytes> {
        self.inner().replays.get_mut(path).map(mem::take).unwrap_or_default()
    }

    pub(super) fn note_gone(&self, path: &str) {
        self.inner().gone.insert(path.to_owned());
    }

    pub(super) fn is_gone(&self, path: &str) -> bool {
        self.inner().gone.contains(path)
    }

    pub(super) fn note_listed(&self, path: &str) {
        self.inner().gone.remove(path);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_are_kept_by_kind() {
        let memory = Memory::default();
        let listing = |text: &'static str| (Encoding::Json, Bytes::from_static(text.as_bytes()));
        for (kind, text) in [(Kind::ListAsStream, "events"), (Kind::List, "a page"), (Kind::List, "later")] {
            memory.keep_listing(kind, "/deployments", Encoding::Json, listing(text).1);
        }
        assert_eq!(memory.listing(Kind::ListAsStream, "/deployments"), Some(listing("events")));
        assert_eq!(memory.listing(Kind::List, "/deployments"), Some(listing("a page")));
        assert_eq!(memory.listing(Kind::List, "/autoscalers"), None);
    }
}
