//! Tests the store on a simulated disk with failures and power loss: systematically, or randomly from a seed.

mod crash_disk;
mod trial;

use crash_disk::{Fault, Kind};
use fastrand::Rng;
use replica_count_core::change::{Action, Change, Existing};
use replica_count_core::replicas::Replicas;
use replica_count_core::target::Target;
use rustix::io::Errno;
use trial::{Reader, Violation};

const FAILURES: [Errno; 3] = [Errno::NOSPC, Errno::IO, Errno::ROFS];
/// About the number of operations in a random trial.
const OPERATIONS: usize = 48;

/// Tests one failure at every step, and every pair of failures in the first two changes.
pub(crate) async fn try_all() -> Result<(), Violation> {
    let mut reader = Reader::default();
    let operations = trial::run(script(), &[], &mut reader).await?;
    let kinds = FAILURES.map(Kind::Fails).into_iter().chain([Kind::DoneButFails(Errno::IO), Kind::Dies]);
    for kind in kinds {
        for at in 0..operations {
            trial::run(script(), &[Fault { at, kind }], &mut reader).await?;
        }
    }
    let two = || script().into_iter().take(2).collect();
    let operations = trial::run(two(), &[], &mut reader).await?;
    let failed = [Kind::Fails(Errno::IO), Kind::DoneButFails(Errno::IO)];
    for (first, second) in failed.into_iter().flat_map(|first| failed.map(|second| (first, second))) {
        for at in 0..operations {
            for later in at + 1..operations {
                let faults = [Fault { at, kind: first }, Fault { at: later, kind: second }];
                trial::run(two(), &faults, &mut reader).await?;
            }
        }
    }
    Ok(())
}

/// Tests random changes with random failures once. Returns the names of the failures for the table.
pub(crate) async fn try_random(seed: u64) -> Result<Vec<&'static str>, Violation> {
    let mut random = Rng::with_seed(seed);
    let script = (0..random.i32(2..=6)).map(|n| draw_change(n, &mut random)).collect();
    let faults: Vec<Fault> = (0..random.usize(1..=3))
        .map(|_| Fault { at: random.usize(..OPERATIONS), kind: Kind::draw(&mut random) })
        .collect();
    trial::run(script, &faults, &mut Reader::default()).await?;
    Ok(faults.iter().map(|fault| fault.kind.name()).collect())
}

fn draw_change(n: i32, random: &mut Rng) -> (Target, Change) {
    let target = target(["web", "api"][random.usize(..2)]);
    (target, if random.u8(..4) == 0 { delete() } else { set(n) })
}

/// Changes of two targets, one of which is deleted and set again.
fn script() -> Vec<(Target, Change)> {
    vec![
        (target("web"), set(1)),
        (target("api"), set(2)),
        (target("api"), delete()),
        (target("web"), set(3)),
        (target("api"), set(4)),
    ]
}

fn target(name: &str) -> Target {
    Target::deployment("default", name).expect("valid")
}

fn set(count: i32) -> Change {
    change(Action::Set { replicas: Replicas::new(count).expect("valid"), until: None, reason: None })
}

fn delete() -> Change {
    change(Action::Delete)
}

fn change(action: Action) -> Change {
    let (by, at) = ("alice".to_owned(), "2026-01-01T00:00:00Z".parse().expect("valid"));
    Change { expected_generation: None, existing: Existing::Any, by, at, action }
}

impl Kind {
    fn draw(random: &mut Rng) -> Self {
        let errno = FAILURES[random.usize(..FAILURES.len())];
        match random.u8(..5) {
            0 => Self::Dies,
            1 | 2 => Self::DoneButFails(errno),
            _ => Self::Fails(errno),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Fails(_) => "a step fails",
            Self::DoneButFails(_) => "a step is done, but fails",
            Self::Dies => "the process dies",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use replica_count_core::change::Changed;
    use replica_count_manager::store::{BackendReason, Store};
    use tempfile::TempDir;

    use super::crash_disk::CrashDisk;
    use super::*;

    #[tokio::test]
    async fn every_failure_of_every_step_keeps_acknowledged_changes() {
        try_all().await.unwrap();
    }

    #[tokio::test]
    async fn random_failures_keep_acknowledged_changes() {
        for seed in 0..100 {
            try_random(seed).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_rename_that_took_effect_but_failed_is_detected() {
        let folder = TempDir::new().unwrap();
        let rename = Fault { at: 10, kind: Kind::DoneButFails(Errno::IO) };
        let disk = Box::new(CrashDisk::new(&[rename]));
        let (store, committer) = Store::open_file_on(&folder.path().join("replicas.json"), disk).unwrap();
        let committer = thread::spawn(move || committer.run(|_: &Changed| ()));
        let failed = store.apply(target("web"), set(1)).await.unwrap_err();
        assert_eq!(failed.backend_reason(), Some(BackendReason::Uncertain));
        let shown = store.get(&target("web")).unwrap();
        assert_eq!(shown.replicas.get(), 1, "memory matches the file");
        store.close().await;
        committer.join().unwrap();
    }
}
