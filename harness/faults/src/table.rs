//! The table of what was tried, and how often.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use replica_count_testbed::fault_proxy::Note as ProxyNote;

use crate::schedule::Schedule;
use crate::trace::{Deed, Line, Note};

/// What was tried so far.
#[derive(Debug, Default)]
pub struct Table {
    rows: BTreeMap<(&'static str, String), usize>,
    slowest: Duration,
}

impl Table {
    /// Counts what a round tried.
    pub(crate) fn add(&mut self, schedule: &Schedule, lines: &[Line], converged: Option<Duration>) {
        self.count("rounds", &format!("answered {}", schedule.encodings.name()));
        if let Some(blow) = &schedule.blow {
            let is_struck = lines.iter().any(|line| matches!(line.note, Note::Struck));
            let group = if is_struck { "blows struck" } else { "blows without effect" };
            self.count(group, blow.name());
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
                        self.count("sent away", "by the API server itself");
                    }
                    ProxyNote::Served { .. } | ProxyNote::Answered { .. } => {}
                },
                Note::Client(note) => {
                    let asked = note["asked"].as_str().map_or("set", |asked| asked);
                    let is_lost = note["told"] == "unknown";
                    let outcome = if is_lost {
                        "no answer"
                    } else if note["told"].is_null() {
                        "refused"
                    } else {
                        "answered"
                    };
                    self.count("questions", &format!("{asked}: {outcome}"));
                }
                Note::Cluster(_) => self.count("changes of others", "all"),
                Note::Disk(fault) => self.count("simulated disks", fault),
                Note::Server(Deed::Start) => self.count("the server", "start"),
                Note::Server(Deed::Kill(_)) => self.count("the server", "kill"),
                Note::Server(Deed::Pause(_)) => self.count("the server", "pause"),
                Note::Schedule(_) | Note::Struck | Note::Healed | Note::Wrong(_) => {}
            }
        }
    }

    fn count(&mut self, group: &'static str, what: &str) {
        *self.rows.entry((group, what.to_owned())).or_default() += 1;
    }

    /// How often something of a group happened.
    pub fn count_of(&self, group: &str) -> usize {
        self.rows.iter().filter(|((of, _), _)| *of == group).map(|(_, count)| count).sum()
    }

    /// The table as text, in columns.
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
