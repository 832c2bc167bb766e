//! The schedule of a round, drawn from its seed.

use std::time::Duration;

use fastrand::Rng;
use replica_count_core::kind;
use replica_count_testbed::fault_proxy::{Encodings, Fault, Kind};
use serde::{Deserialize, Serialize};

use crate::arrival::{Arrival, Objects};
use crate::nemesis::Nemesis;
use crate::workload::Workload;

/// The schedule of a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The seed of all random choices during the round: requests, drifts, faults.
    pub seed: u64,
    /// The faults of requests to the API server.
    pub faults: Faults,
    /// The fault of the server itself.
    #[serde(rename = "blow")]
    pub server_fault: Option<ServerFault>,
    /// The load.
    pub load: Load,
    /// The kinds of its workloads.
    #[serde(default)]
    pub kinds: Kinds,
    /// Where its settings are kept.
    #[serde(default)]
    pub store: Store,
    /// The encodings of the API server's answers.
    pub encodings: Encodings,
    /// The nemesis beside the load.
    pub nemesis: Option<Nemesis>,
    /// The number of simulated disks to test the store on.
    pub disks: u64,
}

/// The faults of requests to the API server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Faults {
    /// None.
    None,
    /// A percentage of requests gets faults, drawn from the seed, the ordinal and the kind.
    Drawn {
        /// The percentage.
        percent: u64,
    },
    /// The listed faults, by object.
    Listed(Vec<Planned>),
    /// The listed faults, by kind of objects.
    Placed(Vec<Placed>),
}

/// A fault of the Nth request of a kind, for one kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placed {
    /// The kind of request.
    pub kind: Kind,
    /// The kind of objects.
    pub objects: Objects,
    /// The number of such requests before it.
    pub after: u64,
    /// The fault.
    pub fault: Fault,
}

/// A fault of the Nth request of a kind, for one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// The kind of request.
    pub kind: Kind,
    /// The object.
    pub object: String,
    /// The number of such requests before it.
    pub after: u64,
    /// The fault.
    pub fault: Fault,
}

/// A fault of the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerFault {
    /// It is killed at some time during the load, and restarted.
    Kill {
        /// The time since the start of the load.
        after_ms: u64,
    },
    /// It is killed before one of its file operations on the store.
    KillAtFile(FileOperation),
    /// It is killed at the end of the round, and then again during its restart, before a file operation on the store.
    KillAtStart(FileOperation),
    /// One of its file operations on the store fails.
    FailFile {
        /// The operation.
        operation: FileOperation,
        /// The error, in the notation of strace.
        errno: String,
    },
    /// It is paused for a while, as on a busy machine.
    Pause {
        /// The length of the pause.
        ms: u64,
    },
}

/// A system call on a file of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileOperation {
    /// Its name, in the notation of strace.
    pub call: String,
    /// Its number, from 1 for the first one after the server has started.
    pub when: u32,
}

/// The system calls of a write of the settings file, in order, and how often each occurs.
pub const FILE_CALLS: [(&str, u32); 6] =
    [("unlink", 1), ("openat", 2), ("fchmod", 1), ("write", 1), ("fsync", 2), ("rename", 1)];

const ERRNOS: [&str; 4] = ["ENOSPC", "EIO", "EROFS", "EDQUOT"];

/// The same for a start of the server.
pub const START_CALLS: [(&str, u32); 4] = [("unlink", 2), ("openat", 5), ("write", 1), ("fsync", 1)];

/// The load of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// This amount of random load.
    Drawn(Amount),
    /// A fixed sequence of actions: see `script`.
    Script,
}

/// The kinds of the workloads of a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kinds {
    /// Only Deployments.
    #[default]
    Deployments,
    /// Only StatefulSets.
    StatefulSets,
    /// All kinds. Each name occurs once for each kind.
    All,
}

/// Where the settings of a round are kept, and by how many servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Store {
    /// In the file of one server.
    #[default]
    File,
    /// In ReplicaCounts, by one server.
    ReplicaCounts,
    /// In ReplicaCounts, by two servers. One holds the Lease; the other takes over when that one is killed or paused.
    Shared,
}

/// The amount of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// The number of workloads.
    pub targets: usize,
    /// The number of clients.
    pub clients: usize,
    /// The number of requests of each client.
    #[serde(rename = "questions")]
    pub requests: usize,
    /// The number of changes behind the server's back.
    pub drifts: usize,
    /// The longest pause between two actions.
    pub pause_ms: u64,
}

impl Amount {
    /// Some of everything, for some seconds.
    pub const USUAL: Self = Self { targets: 4, clients: 3, requests: 25, drifts: 20, pause_ms: 200 };
    /// A little of everything, for many rounds.
    pub const SMALL: Self = Self { targets: 2, clients: 2, requests: 8, drifts: 8, pause_ms: 100 };
    /// Spread over this time. No count is set twice and the server accepts up to 1,000, so there are not more requests.
    fn light(duration: Duration) -> Self {
        let (targets, clients, requests, drifts) = (6, 4, 150, 150);
        let pause_ms = 2 * duration.as_secs() * 1_000 / 150;
        Self { targets, clients, requests, drifts, pause_ms }
    }

    /// A lot at once.
    pub const FLOOD: Self = Self { targets: 40, clients: 20, requests: 20, drifts: 200, pause_ms: 0 };
}

impl Load {
    /// How many workloads it has.
    pub(crate) fn targets(&self) -> usize {
        match self {
            Self::Drawn(amount) => amount.targets,
            Self::Script => 1,
        }
    }
}

impl Kinds {
    fn list(self) -> &'static [kind::Kind] {
        match self {
            Self::Deployments => &[kind::Kind::Deployment],
            Self::StatefulSets => &[kind::Kind::StatefulSet],
            Self::All => &kind::Kind::ALL,
        }
    }
}

impl Schedule {
    /// The workloads: those of the load, plus one for the clients of a second server, plus a reserved one if the nemesis
    /// needs it.
    pub(crate) fn workloads(&self) -> Vec<Workload> {
        let of_other = usize::from(self.store == Store::Shared);
        let reserved = usize::from(self.nemesis.is_some_and(Nemesis::needs_reserved_target));
        let kinds = self.kinds.list();
        let workload =
            |n| Workload { kind: kinds[n % kinds.len()], name: format!("web-{}", n / kinds.len()) };
        (0..self.load.targets() + of_other + reserved).map(workload).collect()
    }

    /// A round with only a load.
    pub fn without_faults(seed: u64, load: Load) -> Self {
        Self {
            seed,
            faults: Faults::None,
            server_fault: None,
            load,
            kinds: Kinds::Deployments,
            store: Store::File,
            encodings: Encodings::AsAsked,
            nemesis: None,
            disks: 0,
        }
    }

    /// A long round without faults between server and API server, with [`Nemesis::Soak`] beside a light load.
    pub fn soak(seed: u64, duration: Duration) -> Self {
        let amount = Amount::light(duration);
        let nemesis = Some(Nemesis::Soak { seconds: duration.as_secs() });
        Self { kinds: Kinds::All, nemesis, ..Self::without_faults(seed, Load::Drawn(amount)) }
    }

    /// Draws the schedule of a round.
    pub fn draw(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let faults = match random.u8(..10) {
            0 | 1 => Faults::None,
            _ => Faults::Drawn { percent: random.u64(5..50) },
        };
        let server_fault = match random.u8(..10) {
            0 | 1 => None,
            2..=4 => Some(ServerFault::Kill { after_ms: random.u64(..4_000) }),
            5 => Some(ServerFault::Pause { ms: random.u64(500..4_000) }),
            6 => Some(ServerFault::KillAtFile(FileOperation::draw(&mut random))),
            7 => Some(ServerFault::KillAtStart(FileOperation::draw_of_start(&mut random))),
            _ => {
                let operation = FileOperation::draw(&mut random);
                let errno = ERRNOS[random.usize(..ERRNOS.len())].to_owned();
                Some(ServerFault::FailFile { operation, errno })
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
        let kinds = match random.u8(..4) {
            0 => Kinds::Deployments,
            1 => Kinds::StatefulSets,
            _ => Kinds::All,
        };
        let store = match random.u8(..4) {
            0 => Store::ReplicaCounts,
            1 => Store::Shared,
            _ => Store::File,
        };
        let server_fault = match server_fault {
            Some(fault) if store != Store::File && fault.is_of_files() => {
                Some(ServerFault::Kill { after_ms: random.u64(..4_000) })
            }
            other => other,
        };
        let load = Load::Drawn(load);
        Self { seed, faults, server_fault, load, kinds, store, encodings, nemesis, disks }
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
    /// The fault of a request. It is the same for the same seed and arrival.
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
    // Crashes are rarer than other faults, because each takes a restart.
    if random.u8(..10) == 0 {
        faults = vec![Fault::CrashBefore, Fault::CrashAfter];
    }
    Some(faults[random.usize(..faults.len())])
}

impl Store {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::ReplicaCounts => "ReplicaCounts",
            Self::Shared => "ReplicaCounts, two servers",
        }
    }
}

impl ServerFault {
    /// Whether it needs the settings file.
    pub(crate) fn is_of_files(&self) -> bool {
        match self {
            Self::KillAtFile(_) | Self::KillAtStart(_) | Self::FailFile { .. } => true,
            Self::Kill { .. } | Self::Pause { .. } => false,
        }
    }

    /// Its name in tables.
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

/// How soon after the end of all faults everything must be as desired. A frozen stream is detected after 15 s of
/// silence, an unanswered write after 5 s, and after repeated failures a target waits up to 30 s.
pub const CONVERGENCE_DEADLINE: Duration = Duration::from_mins(1);

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
    fn each_server_fault_and_nemesis_is_drawn() {
        let schedules: Vec<Schedule> = (0..200).map(Schedule::draw).collect();
        let drawn = |name: &str| {
            let server_faults =
                schedules.iter().filter_map(|schedule| Some(schedule.server_fault.as_ref()?.name()));
            let nemeses = schedules.iter().filter_map(|schedule| Some(schedule.nemesis.as_ref()?.name()));
            server_faults.chain(nemeses).any(|drawn| drawn == name)
        };
        let operation = || FileOperation { call: String::new(), when: 1 };
        let server_faults = [
            ServerFault::Kill { after_ms: 0 },
            ServerFault::KillAtFile(operation()),
            ServerFault::KillAtStart(operation()),
            ServerFault::FailFile { operation: operation(), errno: String::new() },
            ServerFault::Pause { ms: 0 },
        ];
        for name in server_faults.iter().map(ServerFault::name).chain(Nemesis::ALL.iter().map(Nemesis::name))
        {
            assert!(drawn(name), "no seed draws {name}");
        }
    }

    #[test]
    fn each_store_is_drawn_without_faults_of_files_that_it_does_not_have() {
        let schedules: Vec<Schedule> = (0..200).map(Schedule::draw).collect();
        for store in [Store::File, Store::ReplicaCounts, Store::Shared] {
            assert!(schedules.iter().any(|schedule| schedule.store == store), "no seed draws {store:?}");
        }
        for schedule in schedules.iter().filter(|schedule| schedule.store != Store::File) {
            assert!(!schedule.server_fault.as_ref().is_some_and(ServerFault::is_of_files), "{schedule:?}");
        }
    }

    #[test]
    fn each_fault_is_drawn() {
        for kind in Kind::ALL {
            let names = |faults: Vec<Fault>| faults.iter().map(|fault| fault.name()).collect::<Vec<_>>();
            let faults = Faults::Drawn { percent: 100 };
            let drawn =
                names((0..2_000).filter_map(|seed| faults.fault(seed, &arrival(seed, kind))).collect());
            for name in names(Fault::all(kind, |_| 0)) {
                assert!(drawn.contains(&name), "{kind:?} never gets {name}");
            }
        }
    }
}
