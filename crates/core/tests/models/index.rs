//! The index against the world: whatever the order of what it is shown, it never goes back, and a listing puts it right.

use proptest::prelude::*;
use replica_count_core::decide::Repair;
use replica_count_core::index::Index;

use crate::world::{World, count, show, target};

#[derive(Clone, Debug)]
enum Step {
    Create(i32),
    Change(i32),
    Delete,
    /// Our own write, noted at once.
    Write(i32),
    /// The next event, in order.
    Show,
    /// Any event so far, again.
    ShowAgain(prop::sample::Index),
    List,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..4).prop_map(Step::Create),
        4 => (0..4).prop_map(Step::Change),
        1 => Just(Step::Delete),
        3 => (0..4).prop_map(Step::Write),
        6 => Just(Step::Show),
        2 => any::<prop::sample::Index>().prop_map(Step::ShowAgain),
        1 => Just(Step::List),
    ]
}

proptest! {
    #[test]
    fn never_goes_back_and_ends_up_right(steps in prop::collection::vec(step(), 0..100)) {
        let (mut world, mut index, mut shown) = (World::default(), Index::default(), 0);
        for step in steps {
            let before = index.get(&target()).cloned();
            match step {
                Step::Create(n) => world.create(count(n)),
                Step::Change(n) => world.change(count(n)),
                Step::Delete => world.delete(),
                Step::Write(n) => {
                    if let Some(seen) = &before {
                        let (uid, from) = (seen.uid.clone(), seen.replicas);
                        let repair = Repair { uid, from, to: count(n), drift: None };
                        if let Some(version) = world.write(&repair) {
                            index.record_write(&target(), &repair.uid, version, repair.to);
                            let known = index.get(&target()).unwrap();
                            prop_assert_eq!((known.replicas, known.resource_version), (repair.to, Some(version)));
                        }
                    }
                }
                Step::Show => {
                    if let Some(event) = world.events.get(shown) {
                        show(&mut index, event);
                        shown += 1;
                    }
                }
                Step::ShowAgain(which) => {
                    if shown > 0 {
                        show(&mut index, &world.events[which.index(shown)]);
                    }
                }
                Step::List => {
                    world.list(&mut index);
                    shown = world.events.len();
                    prop_assert_eq!(counts(index.get(&target())), counts(world.deployment()));
                }
            }
            if let (Some(before), Some(after)) = (&before, index.get(&target())) {
                prop_assert!(!after.is_older_than(before), "{before:?}, then {after:?}");
            }
        }
        // What a watch shows without gaps, from a listing on, is what is.
        world.list(&mut index);
        world.change(count(9));
        world.create(count(8));
        world.change(count(7));
        for event in world.events.iter().rev().take(4).rev() {
            show(&mut index, event);
        }
        prop_assert_eq!(counts(index.get(&target())), counts(world.deployment()));
    }
}

/// What matters of an observation: the owner of our own writes is not kept.
fn counts(
    observed: Option<&replica_count_core::observed::Observed>,
) -> Option<(Box<str>, Option<u64>, replica_count_core::replicas::Replicas)> {
    observed.map(|observed| (observed.uid.clone(), observed.resource_version, observed.replicas))
}
