//! Lookups in ascending order, as in a listing: the next entry of the map is found without a search.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::iter::Peekable;

use crate::target::Target;

/// A map and the position after the last lookup.
#[derive(Clone, Debug)]
pub struct OrderedLookup<'a, V> {
    map: &'a BTreeMap<Target, V>,
    rest: Peekable<Range<'a, Target, V>>,
}

impl<'a, V> OrderedLookup<'a, V> {
    /// Starts before the first target.
    pub fn new(map: &'a BTreeMap<Target, V>) -> Self {
        Self { map, rest: map.range(..).peekable() }
    }

    /// The value of a target, which must sort after all targets looked up before.
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
    fn finds_what_a_map_lookup_finds() {
        let target = |name: &str| Target::deployment("ns", name).expect("valid");
        let maps: [&[&str]; 4] = [&[], &["b"], &["a", "b", "c", "d"], &["b", "d", "f"]];
        let lookups: [&[&str]; 4] = [&["a", "b", "c", "d", "e"], &["d", "e"], &["f", "g"], &["a", "f"]];
        for names in maps {
            let map: BTreeMap<Target, &str> = names.iter().map(|name| (target(name), *name)).collect();
            for lookups in lookups {
                let mut ordered = OrderedLookup::new(&map);
                for name in lookups {
                    let found = ordered.get(&target(name));
                    assert_eq!(found, map.get(&target(name)), "{name} of {lookups:?} in {names:?}");
                }
            }
        }
    }
}
