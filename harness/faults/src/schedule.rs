//! What a round tries, all of it drawn from its seed.

use std::time::Duration;

use fastrand::Rng;
use replica_count_testbed::fault_proxy::{Encodings, Fault, Kind};
use serde::{Deserialize, Serialize};

use crate::arrival::{Arrival, Objects};
use crate::nemesis::Nemesis;

/// What one round tries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Seeds whatever the rest leaves open: what clients ask, what drifts, which faults.
    pub seed: u64,
    /// What requests to the API server meet.
    pub faults: Faults,
    /// What happens to the server itself.
    pub blow: Option<Blow>,
    /// What is done meanwhile.
    pub load: Load,
    /// In which encodings the API server answers.
    pub encodings: Encodings,
    /// What goes on beside that.
    pub nemesis: Option<Nemesis>,
    /// On how many simulated disks the store is tried.
    pub disks: u64,
}

/// What requests to the API server meet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Faults {
    /// Nothing.
    None,
    /// So many in a hundred meet a fault, drawn from the seed, their ordinal and their kind.
    Drawn {
        /// How many.
        percent: u64,
    },
    /// Those that are listed.
    Listed(Vec<Planned>),
    /// Those that come in the listed places among the requests of their kind for the same kind of objects.
    Placed(Vec<Placed>),
}

/// A fault of the request that comes after so many others of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placed {
    /// Which kind.
    pub kind: Kind,
    /// For which objects.
    pub objects: Objects,
    /// How many come before.
    pub after: u64,
    /// What it meets.
    pub fault: Fault,
}

/// A fault of the request that comes after so many others of its kind for the same object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Which kind.
    pub kind: Kind,
    /// For which object.
    pub object: String,
    /// How many come before.
    pub after: u64,
    /// What it meets.
    pub fault: Fault,
}

/// What happens to the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blow {
    /// It is killed after so many milliseconds of load, and started again.
    Kill {
        /// When.
        after_ms: u64,
    },
    /// It is killed before one of its operations on the files of the store.
    KillAtFile(FileOperation),
    /// It is killed at the end of the round, and its next start is killed before one of its operations on these files.
    KillAtStart(FileOperation),
    /// One of its operations on the files of the store fails.
    FailFile {
        /// Which.
        operation: FileOperation,
        /// The error, as `strace` calls it.
        errno: String,
    },
    /// It is stopped for so long, as by a machine that is busy, and goes on.
    Pause {
        /// How long.
        ms: u64,
    },
}

/// A system call on a file of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileOperation {
    /// Its name, as `strace` knows it.
    pub call: String,
    /// Which one: 1 is the first after the server has started.
    pub when: u32,
}

/// The system calls of a write of the settings file, in their order, and how often each comes.
pub const FILE_CALLS: [(&str, u32); 6] =
    [("unlink", 1), ("openat", 2), ("fchmod", 1), ("write", 1), ("fsync", 2), ("rename", 1)];

const ERRNOS: [&str; 4] = ["ENOSPC", "EIO", "EROFS", "EDQUOT"];

/// The same for the start of the server.
pub const START_CALLS: [(&str, u32); 3] = [("unlink", 2), ("openat", 4), ("fsync", 1)];

/// What is done meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// This much, drawn from the seed.
    Drawn(Amount),
    /// A few things in a fixed order, each when the one before has taken effect: see `script`.
    Script,
}

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// How many Deployments there are.
    pub targets: usize,
    /// How many clients there are.
    pub clients: usize,
    /// How much each of them asks.
    pub questions: usize,
    /// How often somebody changes a count behind the server's back.
    pub drifts: usize,
    /// How long each waits between two of its deeds, at most.
    pub pause_ms: u64,
}

impl Amount {
    /// Something of everything, for some seconds.
    pub const USUAL: Self = Self { targets: 4, clients: 3, questions: 25, drifts: 20, pause_ms: 200 };
    /// A little of it, for many rounds.
    pub const SMALL: Self = Self { targets: 2, clients: 2, questions: 8, drifts: 8, pause_ms: 100 };
    /// Everything at once.
    pub const FLOOD: Self = Self { targets: 40, clients: 20, questions: 20, drifts: 200, pause_ms: 0 };
}

impl Load {
    fn targets(&self) -> usize {
        match self {
            Self::Drawn(amount) => amount.targets,
            Self::Script => 1,
        }
    }
}

impl Schedule {
    /// How many Deployments there are: those of the load, and one for a nemesis that needs one of its own.
    pub fn targets(&self) -> usize {
        self.load.targets() + usize::from(self.nemesis.is_some_and(Nemesis::is_apart))
    }

    /// A round in which only the load happens.
    pub fn calm(seed: u64, load: Load) -> Self {
        let encodings = Encodings::AsAsked;
        Self { seed, faults: Faults::None, blow: None, load, encodings, nemesis: None, disks: 0 }
    }

    /// The schedule of a round.
    pub fn draw(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let faults = match random.u8(..10) {
            0 | 1 => Faults::None,
            _ => Faults::Drawn { percent: random.u64(5..50) },
        };
        let blow = match random.u8(..10) {
            0 | 1 => None,
            2..=4 => Some(Blow::Kill { after_ms: random.u64(..4_000) }),
            5 => Some(Blow::Pause { ms: random.u64(500..4_000) }),
            6 => Some(Blow::KillAtFile(FileOperation::draw(&mut random))),
            7 => Some(Blow::KillAtStart(FileOperation::draw_of_start(&mut random))),
            _ => {
                let operation = FileOperation::draw(&mut random);
                let errno = ERRNOS[random.usize(..ERRNOS.len())].to_owned();
                Some(Blow::FailFile { operation, errno })
            }
        };
        let nemesis = Nemesis::draw(&mut random);
        let load = match (nemesis, random.u8(..10)) {
            (Some(Nemesis::MassDrift), _) | (_, 0) => Amount::FLOOD,
            _ => Amount::USUAL,
        };
        let encodings = match random.u8(..4) {
            0 => Encodings::JsonOnly,
            _ => Encodings::AsAsked,
        };
        let disks = random.u64(1..=4);
        Self { seed, faults, blow, load: Load::Drawn(load), encodings, nemesis, disks }
    }
}

impl FileOperation {
    fn draw(random: &mut Rng) -> Self {
        let (call, _) = FILE_CALLS[random.usize(..FILE_CALLS.len())];
        Self { call: call.to_owned(), when: random.u32(1..12) }
    }

    fn draw_of_start(random: &mut Rng) -> Self {
        let (call, count) = START_CALLS[random.usize(..START_CALLS.len())];
        Self { call: call.to_owned(), when: random.u32(1..=count) }
    }
}

impl Faults {
    /// What a request meets. The same for the same seed and arrival.
    pub fn fault(&self, seed: u64, arrival: &Arrival) -> Option<Fault> {
        match self {
            Self::None => None,
            Self::Drawn { percent } => draw_fault(seed, *percent, arrival.ordinal, arrival.kind),
            Self::Listed(planned) => {
                planned.iter().find(|planned| planned.is_for(arrival)).map(|planned| planned.fault)
            }
            Self::Placed(placed) => placed
                .iter()
                .find(|placed| {
                    (placed.kind, Some((placed.objects, placed.after))) == (arrival.kind, arrival.place)
                })
                .map(|placed| placed.fault),
        }
    }
}

impl Planned {
    fn is_for(&self, arrival: &Arrival) -> bool {
        (self.kind, self.object.as_str(), self.after)
            == (arrival.kind, arrival.object.as_str(), arrival.after_of_object)
    }
}

fn draw_fault(seed: u64, percent: u64, ordinal: u64, kind: Kind) -> Option<Fault> {
    let mut random = Rng::with_seed(seed ^ ordinal.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    if random.u64(..100) >= percent {
        return None;
    }
    let mut faults = Fault::all(kind, |below| random.u64(..below));
    // Crashes are rarer than the rest: each costs a start.
    if random.u8(..10) == 0 {
        faults = vec![Fault::CrashBefore, Fault::CrashAfter];
    }
    Some(faults[random.usize(..faults.len())])
}

impl Blow {
    /// The word for it in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill at a moment",
            Self::KillAtFile(_) => "kill at a file operation",
            Self::KillAtStart(_) => "kill at a file operation of the start",
            Self::FailFile { .. } => "fail a file operation",
            Self::Pause { .. } => "pause",
        }
    }
}

/// The seed of a round.
pub fn round_seed(seed: u64, round: u64) -> u64 {
    Rng::with_seed(seed.wrapping_add(round.wrapping_mul(0xD134_2543_DE82_EF95))).u64(..)
}

/// From the end of all faults until everything must be as desired. What is frozen is noticed after 15 s of silence, a
/// write that is not answered after 5 s, and after failures in a row a target waits up to 30 s.
pub const CONVERGENCE: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(ordinal: u64, kind: Kind) -> Arrival {
        Arrival { ordinal, kind, place: None, object: String::new(), after_of_object: 0 }
    }

    #[test]
    fn everything_is_drawn_from_the_seed() {
        for seed in 0..100 {
            let schedule = Schedule::draw(seed);
            assert_eq!(schedule, Schedule::draw(seed));
            for kind in Kind::ALL {
                let fault = || schedule.faults.fault(seed, &arrival(7, kind));
                assert_eq!(fault(), fault());
            }
            let text = serde_json::to_string(&schedule).unwrap();
            assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), schedule);
        }
    }

    #[test]
    fn some_seed_draws_each_blow_and_nemesis() {
        let schedules: Vec<Schedule> = (0..200).map(Schedule::draw).collect();
        let drawn = |name: &str| {
            let blows = schedules.iter().filter_map(|schedule| Some(schedule.blow.as_ref()?.name()));
            let nemeses = schedules.iter().filter_map(|schedule| Some(schedule.nemesis.as_ref()?.name()));
            blows.chain(nemeses).any(|drawn| drawn == name)
        };
        let operation = || FileOperation { call: String::new(), when: 1 };
        let blows = [
            Blow::Kill { after_ms: 0 },
            Blow::KillAtFile(operation()),
            Blow::KillAtStart(operation()),
            Blow::FailFile { operation: operation(), errno: String::new() },
            Blow::Pause { ms: 0 },
        ];
        for name in blows.iter().map(Blow::name).chain(Nemesis::ALL.iter().map(Nemesis::name)) {
            assert!(drawn(name), "nobody draws {name}");
        }
    }

    #[test]
    fn some_seed_draws_each_fault() {
        for kind in Kind::ALL {
            let names = |faults: Vec<Fault>| faults.iter().map(|fault| fault.name()).collect::<Vec<_>>();
            let faults = Faults::Drawn { percent: 100 };
            let drawn =
                names((0..2_000).filter_map(|seed| faults.fault(seed, &arrival(seed, kind))).collect());
            for name in names(Fault::all(kind, |_| 0)) {
                assert!(drawn.contains(&name), "{kind:?} never meets {name}");
            }
        }
    }
}
