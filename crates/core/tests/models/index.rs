//! Compares the index with the world: in whatever order events arrive, it never goes back, and a listing corrects it.

use std::num::NonZeroU64;

use proptest::prelude::*;
use replica_count_core::decide::{Method, Repair};
use replica_count_core::failures::WRITE_DEADLINES;
use replica_count_core::index::Index;
use replica_count_core::observed::Observed;
use replica_count_core::replicas::Replicas;
use replica_count_core::uid::Uid;

use crate::world::{Event, World, count, deliver, target};

#[derive(Clone, Debug)]
enum Step {
    Create(i32),
    Change(i32),
    Delete,
    /// A write of ours lands. It is recorded with its answer, if there is one, while the watch may show more.
    Write(i32),
    Answer,
    /// The watch delivers the next event.
    Deliver,
    /// The watch delivers any earlier event again.
    Redeliver(prop::sample::Index),
    List,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..4).prop_map(Step::Create),
        4 => (0..4).prop_map(Step::Change),
        1 => Just(Step::Delete),
        3 => (0..4).prop_map(Step::Write),
        3 => Just(Step::Answer),
        6 => Just(Step::Deliver),
        2 => any::<prop::sample::Index>().prop_map(Step::Redeliver),
        1 => Just(Step::List),
    ]
}

proptest! {
    #[test]
    fn never_goes_back_and_ends_up_correct(steps in prop::collection::vec(step(), 0..100)) {
        let (mut world, mut index, mut delivered) = (World::default(), Index::default(), 0);
        let mut answer = None;
        for step in steps {
            let before = index.get(&target()).cloned();
            match step {
                Step::Create(n) => world.create(count(n)),
                Step::Change(n) => world.change(count(n)),
                Step::Delete => world.delete(),
                Step::Write(n) => {
                    if let Some(seen) = &before {
                        let (uid, from) = (seen.uid.clone(), seen.replicas);
                        let (method, deadline) = (Method::Patch, WRITE_DEADLINES[0]);
                        let repair = Repair { uid, from, to: count(n), generation: 1, drift: None, method, deadline };
                        answer = world.write(&repair).map(|version| (repair, version));
                    }
                }
                Step::Answer => {
                    if let Some((repair, version)) = answer.take() {
                        index.record_write(&target(), &repair.uid, version, repair.to);
                        let known = index.get(&target()).and_then(|known| known.resource_version);
                        let is_known = before.as_ref().is_some_and(|before| before.uid == repair.uid);
                        prop_assert!(!is_known || known >= Some(version), "{known:?} after {version}");
                    }
                }
                Step::Deliver => {
                    if let Some(event) = world.events.get(delivered) {
                        deliver(&mut index, event);
                        delivered += 1;
                    }
                }
                Step::Redeliver(which) => {
                    if delivered > 0 {
                        let event = &world.events[which.index(delivered)];
                        deliver(&mut index, event);
                        if let (Event::Deleted(uid), Some(before)) = (event, &before) {
                            let is_removed = index.get(&target()).is_none();
                            prop_assert_eq!(is_removed, before.uid == *uid, "only the deleted object is removed");
                        }
                    }
                }
                Step::List => {
                    world.list(&mut index);
                    delivered = world.events.len();
                    prop_assert_eq!(comparable(index.get(&target())), comparable(world.deployment()));
                }
            }
            if let (Some(before), Some(after)) = (&before, index.get(&target())) {
                prop_assert!(!after.is_older_than(before), "{before:?}, then {after:?}");
            }
        }
        // After a listing and all events since then, the index equals the world.
        world.list(&mut index);
        world.change(count(9));
        world.create(count(8));
        world.change(count(7));
        for event in world.events.iter().rev().take(4).rev() {
            deliver(&mut index, event);
        }
        prop_assert_eq!(comparable(index.get(&target())), comparable(world.deployment()));
    }
}

/// The fields to compare: the owner of our own writes is not kept.
fn comparable(observed: Option<&Observed>) -> Option<(Uid, Option<NonZeroU64>, Replicas)> {
    observed.map(|observed| (observed.uid.clone(), observed.resource_version, observed.replicas))
}
