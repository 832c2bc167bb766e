//! The election of one holder among replicas, by a Lease.
//!
//! It is a machine without a clock: what this process observed and what became of its writes goes in, and what to do next
//! comes out. A process holds the Lease for a *term*, during which it may write to workloads. A term lasts until a
//! moment that is counted from when the last accepted write of the Lease was *sent*, and is shorter than the time for which
//! others leave that write alone, which they count from when they *saw* it. So no two terms overlap, however long messages
//! take and however wrong clocks are, if only monotonic clocks run at about the same rate.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use crate::lease::{Lease, Observation, Seen, Source};
use crate::uid::Uid;

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long others leave a Lease alone that does not change.
    pub duration: Duration,
    /// How long a term lasts after the last renewal; less than `duration`. What is left over is for clocks that run at
    /// different rates, and for writes that arrive late.
    pub renew_deadline: Duration,
    /// How long after a write of the Lease, or a failure, the next one is sent.
    pub retry_period: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// Two of the times do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// Kubernetes has only whole seconds.
    #[error("the lease duration is not a positive number of whole seconds")]
    Duration,
    /// There would be no time between two terms.
    #[error("the renew deadline is not shorter than the lease duration")]
    RenewDeadline,
    /// There would be no second attempt.
    #[error("the retry period is not shorter than half of the renew deadline, or 0")]
    RetryPeriod,
}

impl Timing {
    /// Checks that the times fit together.
    pub fn check(&self) -> Result<(), TimingError> {
        if self.duration.is_zero() || self.duration.subsec_nanos() != 0 {
            Err(TimingError::Duration)
        } else if self.renew_deadline >= self.duration {
            Err(TimingError::RenewDeadline)
        } else if self.retry_period.is_zero() || self.retry_period * 2 >= self.renew_deadline {
            Err(TimingError::RetryPeriod)
        } else {
            Ok(())
        }
    }

    /// How long a request about the Lease may take.
    fn request_timeout(&self) -> Duration {
        self.renew_deadline / 4
    }
}

/// What this process holds the Lease for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Grows by one with each term of this process, from 1 on.
    pub number: u64,
    /// No write to a workload may be in flight from then on.
    pub may_write_until: Instant,
}

/// Why a term has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was not renewed in time.
    Expired,
    /// Somebody else holds the Lease, or nobody does.
    Lost,
    /// The Lease was deleted, or replaced by another one.
    Gone,
    /// This process ends.
    Shutdown,
}

/// A request about the Lease, to be sent at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Read it.
    Read,
    /// Make it, held by nobody. Whoever holds it waits for a whole duration first: this request could also arrive after
    /// others have made, held and lost one.
    Create,
    /// Replace it, if it is still this version of this object, held by this process.
    Hold(Uid, NonZeroU64),
    /// Replace it, if it is still this version of this object, as one that was given up.
    Release(Uid, NonZeroU64),
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A term has begun.
    Begin(Term),
    /// The term lasts longer.
    Extend(Term),
    /// The term has ended: write no more.
    End(u64, End),
    /// Send this, and tell what became of it by the deadline.
    Send(Request, Instant),
    /// Wait until something is observed, answered, or until then.
    Wait(Option<Instant>),
    /// There is nothing more to do, ever.
    Finish,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was read; `None`: it does not exist.
    Read(Option<Lease>),
    /// It was written, and is this now.
    Written(Lease),
    /// It is another version, or exists already, or not any more; nothing was written.
    Refused,
    /// It is not known: there was no answer in time, or the API server failed.
    Unknown,
}

/// Decides when to hold the Lease, and for how long. Each process has its own.
#[derive(Debug)]
pub struct Elector {
    identity: String,
    timing: Timing,
    seen: Seen,
    term: Option<Term>,
    /// How many terms there were.
    terms: u64,
    /// What nobody has been told yet of terms.
    news: VecDeque<Action>,
    in_flight: Option<InFlight>,
    /// When the Lease must be read, because it is not what was seen. `None`: it need not be.
    read_at: Option<Instant>,
    /// When it may be written again. `None`: now.
    write_at: Option<Instant>,
    shutdown: Shutdown,
}

#[derive(Debug)]
struct InFlight {
    request: Request,
    sent: Instant,
    /// Whether something was observed meanwhile that speaks against what was sent.
    is_contradicted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shutdown {
    No,
    /// Writes of the last term may still be in flight.
    Requested,
    /// They are not.
    Drained,
    /// The Lease is no longer held, or that was tried.
    Released,
}

impl Elector {
    /// Before anything is known. The identity is that of this process alone: no earlier process may have had it.
    pub fn new(identity: String, timing: Timing, now: Instant) -> Self {
        Self {
            identity,
            timing,
            seen: Seen::Nothing,
            term: None,
            terms: 0,
            news: VecDeque::new(),
            in_flight: None,
            read_at: Some(now),
            write_at: None,
            shutdown: Shutdown::No,
        }
    }

    /// The term, if there is one that has not been ended yet. Whoever uses it must look at its end.
    pub fn term(&self) -> Option<Term> {
        self.term
    }

    /// Who holds the Lease, as far as was observed: this process or another one.
    pub fn holder(&self) -> Option<&str> {
        self.seen.lease().and_then(Lease::identity)
    }

    /// Takes in what a watch shows.
    pub fn observe(&mut self, observed: Observation, now: Instant) {
        self.see(observed, Source::Watch, now);
    }

    fn see(&mut self, observed: Observation, source: Source, now: Instant) {
        let before = self.seen.lease().map(|lease| lease.uid.clone());
        if !self.seen.observe(observed, source, now) {
            return;
        }
        self.read_at = None;
        let (is_own, after) = (self.is_own(), self.seen.lease().map(|lease| &lease.uid));
        let is_same = before.as_ref() == after;
        // The event of what is being created may come before the answer.
        if (!is_own || (before.is_some() && !is_same))
            && let Some(in_flight) = &mut self.in_flight
        {
            in_flight.is_contradicted = true;
        }
        if !is_same {
            self.end(End::Gone);
        } else if !is_own {
            self.end(End::Lost);
        }
    }

    fn is_own(&self) -> bool {
        self.holder() == Some(&self.identity)
    }

    /// Takes in what became of the request in flight.
    pub fn answered(&mut self, outcome: Outcome, now: Instant) {
        let Some(InFlight { request, sent, is_contradicted }) = self.in_flight.take() else { return };
        let retry_at = sent + self.timing.retry_period;
        let is_release = matches!(request, Request::Release(..));
        if request != Request::Read {
            self.write_at = Some(retry_at);
        }
        match outcome {
            Outcome::Read(lease) => {
                self.read_at = None;
                let observed = lease.map_or(Observation::Absent, Observation::Present);
                self.see(observed, Source::Answer, now);
            }
            Outcome::Written(_) if is_contradicted => self.read_at = Some(now),
            Outcome::Written(lease) => {
                // Its watch event may have come first.
                self.seen.observe(Observation::Present(lease), Source::Watch, now);
                if matches!(request, Request::Hold(..)) {
                    self.hold_since(sent, now);
                }
            }
            Outcome::Refused => self.read_at = Some(now),
            // A write that has no effect yet may be sent again: it tests the version, as the first one does.
            Outcome::Unknown if request == Request::Read => self.read_at = Some(retry_at),
            Outcome::Unknown => {}
        }
        if is_release {
            self.shutdown = Shutdown::Released;
        }
    }

    /// Others leave the Lease alone for its duration, from when they see what was sent at `sent`.
    fn hold_since(&mut self, sent: Instant, now: Instant) {
        let may_write_until = sent + self.timing.renew_deadline;
        self.end_if_expired(now);
        if self.shutdown != Shutdown::No || may_write_until <= now {
            return;
        }
        if let Some(term) = &mut self.term {
            term.may_write_until = may_write_until;
            let term = *term;
            // Only the newest end counts, also of a term that nobody was told of.
            let news = match self.news.pop_back() {
                Some(Action::Begin(_)) => Action::Begin(term),
                _ => Action::Extend(term),
            };
            self.news.push_back(news);
        } else {
            self.terms += 1;
            let term = Term { number: self.terms, may_write_until };
            self.term = Some(term);
            self.news.push_back(Action::Begin(term));
        }
    }

    /// Ends the term. From now on, this process only gives up the Lease.
    pub fn shut_down(&mut self) {
        if self.shutdown == Shutdown::No {
            self.shutdown = Shutdown::Requested;
            self.end(End::Shutdown);
        }
    }

    /// Says that no write of an earlier term is in flight any more, so that the Lease can be given up.
    pub fn drained(&mut self) {
        if self.shutdown == Shutdown::Requested {
            self.shutdown = Shutdown::Drained;
        }
    }

    fn end(&mut self, end: End) {
        let Some(term) = self.term.take() else { return };
        // What nobody was told of ends in silence.
        match self.news.pop_back() {
            Some(Action::Begin(_)) => {}
            _ => self.news.push_back(Action::End(term.number, end)),
        }
    }

    fn end_if_expired(&mut self, now: Instant) {
        if self.term.is_some_and(|term| term.may_write_until <= now) {
            self.end(End::Expired);
        }
    }

    /// What to do next. To be called until it is to wait, and again after each observation, answer and wait.
    pub fn next(&mut self, now: Instant) -> Action {
        self.end_if_expired(now);
        if let Some(news) = self.news.pop_front() {
            return news;
        }
        let expires = self.term.map(|term| term.may_write_until);
        if self.in_flight.is_some() {
            return Action::Wait(expires);
        }
        match self.next_request() {
            None if matches!(self.shutdown, Shutdown::Drained | Shutdown::Released) => Action::Finish,
            None => Action::Wait(expires),
            Some((_, Some(due))) if due > now => {
                Action::Wait(Some(expires.map_or(due, |expires| expires.min(due))))
            }
            Some((request, _)) => {
                self.in_flight =
                    Some(InFlight { request: request.clone(), sent: now, is_contradicted: false });
                Action::Send(request, now + self.timing.request_timeout())
            }
        }
    }

    /// The next request, and when it is due, if not at once. `None`: there is none.
    fn next_request(&self) -> Option<(Request, Option<Instant>)> {
        match self.shutdown {
            Shutdown::Requested | Shutdown::Released => None,
            Shutdown::Drained => match &self.seen {
                Seen::Present { lease, .. } if self.is_own() => {
                    Some((Request::Release(lease.uid.clone(), lease.version), None))
                }
                Seen::Present { .. } | Seen::Absent | Seen::Nothing => None,
            },
            Shutdown::No => self.read_at.map(|due| (Request::Read, Some(due))).or_else(|| self.next_write()),
        }
    }

    fn next_write(&self) -> Option<(Request, Option<Instant>)> {
        match &self.seen {
            Seen::Nothing => None,
            Seen::Absent => Some((Request::Create, self.write_at)),
            Seen::Present { lease, .. } => {
                let free_at = self.seen.free_at(&self.identity, self.timing.duration);
                // `None` is the past.
                Some((Request::Hold(lease.uid.clone(), lease.version), free_at.max(self.write_at)))
            }
        }
    }
}

#[cfg(test)]
mod tests;
