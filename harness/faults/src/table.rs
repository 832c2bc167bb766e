//! The table of what was tested, and how often.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use replica_count_testbed::fault_proxy::Note as ProxyNote;

use crate::schedule::Schedule;
use crate::trace::{Line, Note, ServerEvent};

/// The counts so far.
#[derive(Debug, Default)]
pub struct Table {
    rows: BTreeMap<(&'static str, String), usize>,
    slowest: Duration,
}

impl Table {
    /// Adds the counts of a round.
    pub(crate) fn add(&mut self, schedule: &Schedule, lines: &[Line], converged: Option<Duration>) {
        self.count("rounds", &format!("answered {}", schedule.encodings.name()));
        self.count("stores", schedule.store.name());
        if let Some(server_fault) = &schedule.server_fault {
            let is_injected = lines.iter().any(|line| matches!(line.note, Note::ServerFaultInjected));
            let group = if is_injected { "server faults" } else { "server faults not injected" };
            self.count(group, server_fault.name());
        }
        if let Some(nemesis) = &schedule.nemesis {
            self.count("nemeses", nemesis.name());
        }
        self.slowest = self.slowest.max(converged.unwrap_or_default());
        let mut faults = HashMap::new();
        for line in lines {
            match &line.note {
                Note::Proxy(entry) => match &entry.note {
                    ProxyNote::Request { kind, fault, .. } => {
                        self.count("requests", kind.name());
                        faults.extend(fault.map(|fault| (entry.ordinal, (*kind, fault))));
                    }
                    ProxyNote::Injected => {
                        let (kind, fault) = faults[&entry.ordinal];
                        self.count("faults", &format!("{}: {}", kind.name(), fault.name()));
                    }
                    ProxyNote::Hidden { .. } => self.count("events", "hidden"),
                    ProxyNote::Shown { .. } => self.count("events", "shown"),
                    ProxyNote::Served { status: 429, .. } => {
                        self.count("throttled", "by the API server itself");
                    }
                    ProxyNote::Served { .. } | ProxyNote::Answered { .. } => {}
                },
                Note::Client(note) => {
                    let request = note["asked"].as_str().map_or("set", |request| request);
                    let is_lost = note["told"] == "unknown";
                    let outcome = if is_lost {
                        "no answer"
                    } else if note["told"].is_null() {
                        "refused"
                    } else {
                        "answered"
                    };
                    self.count("client requests", &format!("{request}: {outcome}"));
                }
                Note::Cluster(_) => self.count("changes by others", "all"),
                Note::Disk(fault) => self.count("simulated disks", fault),
                Note::Server(ServerEvent::Start) => self.count("the server", "start"),
                Note::Server(ServerEvent::Kill(_)) => self.count("the server", "kill"),
                Note::Server(ServerEvent::Pause(_)) => self.count("the server", "pause"),
                Note::PolicyChanges(_) => self.count("changes by others", "a policy"),
                Note::Schedule(_)
                | Note::ServerFaultInjected
                | Note::Healed
                | Note::WrongCounts(_)
                | Note::Violation(_) => {}
            }
        }
    }

    fn count(&mut self, group: &'static str, what: &str) {
        *self.rows.entry((group, what.to_owned())).or_default() += 1;
    }

    /// The total of a group.
    pub fn count_of(&self, group: &str) -> usize {
        self.rows.iter().filter(|((of, _), _)| *of == group).map(|(_, count)| count).sum()
    }

    /// The table as text.
    pub(crate) fn render(&self) -> String {
        let mut last = "";
        let row = |((group, what), count): (&(&'static str, String), &usize)| {
            let shown = if *group == last { "" } else { group };
            last = group;
            format!("{shown:<20}  {what:<45}  {count:>7}\n")
        };
        let rows: String = self.rows.iter().map(row).collect();
        rows + &format!("slowest convergence after all faults: {:.1} s\n", self.slowest.as_secs_f64())
    }
}
