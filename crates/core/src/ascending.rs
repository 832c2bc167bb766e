//! Looks targets up in their order, as a list does: what is next in the map needs no search.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::iter::Peekable;

use crate::target::Target;

/// A map, and how far it was looked up.
#[derive(Clone, Debug)]
pub struct Ascending<'a, V> {
    map: &'a BTreeMap<Target, V>,
    rest: Peekable<Range<'a, Target, V>>,
}

impl<'a, V> Ascending<'a, V> {
    /// Begins before the first target.
    pub fn new(map: &'a BTreeMap<Target, V>) -> Self {
        Self { map, rest: map.range(..).peekable() }
    }

    /// What the map has for a target, which must sort after those that were asked for before.
    pub fn get(&mut self, target: &Target) -> Option<&'a V> {
        let next = self.rest.peek()?.0;
        if next.cmp(target) == Ordering::Less {
            self.rest = self.map.range::<Target, _>(target..).peekable();
        }
        self.rest.next_if(|(next, _)| *next == target).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_a_search_would_find() {
        let target = |name: &str| Target::deployment("ns", name).expect("valid");
        let maps: [&[&str]; 4] = [&[], &["b"], &["a", "b", "c", "d"], &["b", "d", "f"]];
        let asked: [&[&str]; 4] = [&["a", "b", "c", "d", "e"], &["d", "e"], &["f", "g"], &["a", "f"]];
        for names in maps {
            let map: BTreeMap<Target, &str> = names.iter().map(|name| (target(name), *name)).collect();
            for asked in asked {
                let mut ascending = Ascending::new(&map);
                for name in asked {
                    let found = ascending.get(&target(name));
                    assert_eq!(found, map.get(&target(name)), "{name} of {asked:?} in {names:?}");
                }
            }
        }
    }
}
