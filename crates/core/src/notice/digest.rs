//! What is collected into one message: everything is counted, and some workloads are told of in detail.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::history::entry::{Entry, What};
use crate::target::Target;
use crate::words::{Severity, severity};

/// Workloads that are told of in detail in a message for people.
pub const MAX_STORIES: usize = 100;
/// Further workloads that are counted. If there are more, the number is too small.
const MAX_OTHERS: usize = 100_000;

/// What happened since a message was begun.
#[derive(Clone, Debug)]
pub struct Digest {
    /// How many workloads are told of in detail.
    room: usize,
    stories: BTreeMap<Target, Story>,
    /// How many of them there are of each severity.
    severities: BTreeMap<Severity, usize>,
    others: BTreeSet<Target>,
    counts: BTreeMap<What, u64>,
    severity: Severity,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    missed: u64,
}

/// What happened to one workload.
#[derive(Clone, Debug, Default)]
pub struct Story {
    severity: Severity,
    told: BTreeMap<What, Told>,
}

/// Events of one kind.
#[derive(Clone, Debug)]
pub struct Told {
    /// The last one.
    pub last: Arc<Entry>,
    /// When the first one happened.
    pub first_at: Timestamp,
    /// How many there were.
    pub count: u64,
}

impl Story {
    fn add(&mut self, entry: &Arc<Entry>) {
        self.severity = self.severity.max(severity(entry));
        let new = || Told { last: Arc::clone(entry), first_at: entry.at, count: 0 };
        let told = self.told.entry(entry.what).or_insert_with(new);
        told.last = Arc::clone(entry);
        told.count += 1;
    }

    /// How serious it is.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// What happened, in the order of time.
    pub fn told(&self) -> Vec<&Told> {
        let mut told: Vec<_> = self.told.values().collect();
        told.sort_by_key(|told| told.last.id);
        told
    }

    /// Events of this kind. `None`: there are none.
    pub fn of(&self, what: What) -> Option<&Told> {
        self.told.get(&what)
    }
}

impl Default for Digest {
    fn default() -> Self {
        Self::with_room(MAX_STORIES)
    }
}

impl Digest {
    /// Tells of so many workloads in detail.
    pub fn with_room(room: usize) -> Self {
        Self {
            room,
            stories: BTreeMap::new(),
            severities: BTreeMap::new(),
            others: BTreeSet::new(),
            counts: BTreeMap::new(),
            severity: Severity::default(),
            first: None,
            last: None,
            missed: 0,
        }
    }

    /// Adds an event.
    pub fn add(&mut self, entry: &Arc<Entry>) {
        *self.counts.entry(entry.what).or_default() += 1;
        self.severity = self.severity.max(severity(entry));
        self.first = Some(self.first.map_or(entry.at, |first| first.min(entry.at)));
        self.last = Some(self.last.map_or(entry.at, |last| last.max(entry.at)));
        let target = &entry.target;
        if !self.stories.contains_key(target) && self.stories.len() >= self.room {
            // A more serious one takes the place of a less serious one.
            match self.less_serious(severity(entry)) {
                Some(mild) => {
                    self.remove_story(&mild);
                    self.add_other(&mild);
                }
                None => return self.add_other(target),
            }
            self.others.remove(target);
        }
        let mut story = self.remove_story(target).unwrap_or_default();
        story.add(entry);
        *self.severities.entry(story.severity).or_default() += 1;
        self.stories.insert(target.clone(), story);
    }

    /// A workload with a story that is less serious than this.
    fn less_serious(&self, severity: Severity) -> Option<Target> {
        // Seldom is there one, and looking for it takes time.
        if self.severities.range(..severity).all(|(_, stories)| *stories == 0) {
            return None;
        }
        let mild = self.stories.iter().find(|(_, story)| story.severity < severity);
        mild.map(|(target, _)| target.clone())
    }

    fn remove_story(&mut self, target: &Target) -> Option<Story> {
        let story = self.stories.remove(target)?;
        if let Some(stories) = self.severities.get_mut(&story.severity) {
            *stories -= 1;
        }
        Some(story)
    }

    fn add_other(&mut self, target: &Target) {
        if self.others.len() < MAX_OTHERS {
            self.others.insert(target.clone());
        }
    }

    /// Records that events were missed, because there were too many.
    pub fn miss(&mut self, events: u64) {
        self.missed += events;
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.missed == 0
    }

    /// The workloads that are told of, the most serious first.
    pub fn stories(&self) -> Vec<(&Target, &Story)> {
        let mut stories: Vec<_> = self.stories.iter().collect();
        stories.sort_by_key(|(_, story)| Reverse(story.severity));
        stories
    }

    /// What happened to a workload. `None`: nothing, or it is not told of.
    pub fn story(&self, target: &Target) -> Option<&Story> {
        self.stories.get(target)
    }

    /// How many workloads there are without a story, at least.
    pub fn left_out(&self) -> usize {
        self.others.len()
    }

    /// How many workloads there are, at least.
    pub fn workloads(&self) -> usize {
        self.stories.len() + self.others.len()
    }

    /// How many events of each kind there were.
    pub fn counts(&self) -> &BTreeMap<What, u64> {
        &self.counts
    }

    /// How many events there were.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// How many events were missed.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// How serious the most serious event is.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// When the first and the last event happened. `None`: there is none.
    pub fn period(&self) -> Option<(Timestamp, Timestamp)> {
        Some((self.first?, self.last?))
    }
}
