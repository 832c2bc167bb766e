//! Whether this server may write, and until when. With the settings in a file it always may; with ReplicaCounts, while it
//! holds the Lease.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use replica_count_core::leader::Term;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// The number of the only term of a server that is alone.
const ALONE: u64 = 0;
/// What is left of a term when nothing is sent any more: it could not be answered.
const TOO_LITTLE: Duration = Duration::from_millis(100);

/// The right to write. Clones are the same right.
#[derive(Clone, Debug, Default)]
pub struct Leadership {
    /// `None`: this server is alone.
    election: Option<Election>,
    /// Writes that have no answer yet.
    in_flight: Arc<watch::Sender<usize>>,
}

#[derive(Clone, Debug)]
struct Election {
    term: watch::Receiver<Option<Term>>,
    holder: watch::Receiver<Option<String>>,
}

/// Who writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// This server is alone.
    Alone,
    /// This server holds the Lease.
    This,
    /// Another server holds it.
    Other(String),
    /// Nobody holds it, as far as is known.
    Nobody,
}

/// Why a write has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// It was not sent, because this server may not write.
    NotSent,
    /// There was none in time; it may have been carried out.
    Deadline {
        /// How long it was waited for.
        after: Duration,
        /// Whether there was less time than the caller allowed, because the term may end.
        is_cut: bool,
    },
}

impl Leadership {
    /// The right of whoever holds the Lease.
    pub fn elected(term: watch::Receiver<Option<Term>>, holder: watch::Receiver<Option<String>>) -> Self {
        Self { election: Some(Election { term, holder }), ..Self::default() }
    }

    /// The number of the term, which grows with each term of this process. `None`: this server may not write.
    pub fn term(&self) -> Option<u64> {
        let Some(election) = &self.election else { return Some(ALONE) };
        let term = *election.term.borrow();
        term.filter(|term| term.may_write_until > Instant::now().into_std()).map(|term| term.number)
    }

    /// The terms from now on.
    pub fn terms(&self) -> Terms {
        let last = self.election.is_none().then_some(ALONE);
        Terms { term: self.election.as_ref().map(|election| election.term.clone()), last }
    }

    /// Who writes.
    pub fn holder(&self) -> Holder {
        let Some(election) = &self.election else { return Holder::Alone };
        if self.term().is_some() {
            return Holder::This;
        }
        election.holder.borrow().clone().map_or(Holder::Nobody, Holder::Other)
    }

    /// The name of whoever holds the Lease. `None`: nobody, as far as is known, or this server is alone.
    pub fn holder_name(&self) -> Option<String> {
        self.election.as_ref()?.holder.borrow().clone()
    }

    /// Sends a write if this server may write now, and waits for its answer: for `limit`, and not longer than the term.
    /// `send` gets the time that there is.
    pub async fn write<F: Future>(
        &self,
        limit: Duration,
        send: impl FnOnce(Duration) -> F,
    ) -> Result<F::Output, NoAnswer> {
        // Counted before it is looked whether there is a term, so that a drained server sends nothing.
        let _in_flight = InFlight::begin(&self.in_flight);
        let Some(election) = &self.election else {
            let expired = |_| NoAnswer::Deadline { after: limit, is_cut: false };
            return tokio::time::timeout(limit, send(limit)).await.map_err(expired);
        };
        let now = Instant::now();
        let end = election.term.borrow().map(|term| Instant::from(term.may_write_until));
        let left = end.map_or(Duration::ZERO, |end| end.saturating_duration_since(now));
        if left < TOO_LITTLE {
            return Err(NoAnswer::NotSent);
        }
        let (after, is_cut) = (limit.min(left), left < limit);
        let deadline = now + after;
        let mut sending = pin!(send(after));
        // After a pause of the process, timers are late, and the clock is not.
        let in_time = poll_fn(|context| {
            if Instant::now() < deadline { sending.as_mut().poll(context).map(Some) } else { None.into() }
        });
        let answer = timeout_at(deadline, in_time).await.ok().flatten();
        answer.ok_or(NoAnswer::Deadline { after, is_cut })
    }

    /// Waits until no write is in flight.
    pub async fn drained(&self) {
        // The sender is not dropped before `self`.
        let _ = self.in_flight.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// A write, until it is answered or given up.
struct InFlight<'a>(&'a watch::Sender<usize>);

impl<'a> InFlight<'a> {
    fn begin(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Waits for terms.
#[derive(Debug)]
pub struct Terms {
    /// `None`: this server is alone.
    term: Option<watch::Receiver<Option<Term>>>,
    last: Option<u64>,
}

impl Terms {
    /// Waits until a term begins or ends; returns the number of the one that has begun. It never returns if this server is
    /// alone, and returns at once if a term has begun before.
    pub async fn changed(&mut self) -> Option<u64> {
        let last = self.last;
        let number = |term: &Option<Term>| term.map(|term| term.number);
        let changed = match &mut self.term {
            None => None,
            Some(term) => term.wait_for(|term| number(term) != last).await.ok().map(|term| number(&term)),
        };
        match changed {
            Some(term) => {
                self.last = term;
                term
            }
            // There will be no other term.
            None => pending().await,
        }
    }

    /// Waits until a term begins, also one of a server that is alone.
    pub async fn begun(&mut self) {
        while self.last.is_none() {
            self.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    struct Fixture {
        term: watch::Sender<Option<Term>>,
        holder: watch::Sender<Option<String>>,
        leadership: Leadership,
    }

    impl Fixture {
        fn new() -> Self {
            let (term, holder) = (watch::Sender::default(), watch::Sender::default());
            let leadership = Leadership::elected(term.subscribe(), holder.subscribe());
            Self { term, holder, leadership }
        }

        fn begin(&self, number: u64, lasts: Duration) {
            let may_write_until = (Instant::now() + lasts).into_std();
            self.term.send_replace(Some(Term { number, may_write_until }));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_term_nothing_is_sent() {
        let fixture = Fixture::new();
        let sent = fixture.leadership.write(SECOND, async |_| panic!("sent")).await;
        assert_eq!(sent, Err::<(), _>(NoAnswer::NotSent));
        fixture.begin(1, SECOND);
        assert_eq!(fixture.leadership.term(), Some(1));
        tokio::time::advance(SECOND).await;
        let sent = fixture.leadership.write(SECOND, async |_| panic!("sent")).await;
        assert_eq!(sent, Err::<(), _>(NoAnswer::NotSent), "expired, and not told yet");
        assert_eq!(fixture.leadership.term(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_ends_before_the_term() {
        let fixture = Fixture::new();
        fixture.begin(1, 3 * SECOND);
        let check = async |limit: Duration, expected: Duration, is_cut: bool| {
            let started = Instant::now();
            let hangs = async |time| {
                assert_eq!(time, expected);
                pending::<()>().await;
            };
            let answer = fixture.leadership.write(limit, hangs).await;
            assert_eq!(answer, Err(NoAnswer::Deadline { after: expected, is_cut }));
            assert_eq!(started.elapsed(), expected);
        };
        check(SECOND, SECOND, false).await;
        check(5 * SECOND, 2 * SECOND, true).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_sent_before_a_pause_is_not_sent_after_it() {
        let fixture = Fixture::new();
        fixture.begin(1, SECOND);
        let mut is_sent = false;
        let mut write = Box::pin(fixture.leadership.write(SECOND, async |_| {
            tokio::task::yield_now().await;
            is_sent = true;
        }));
        assert!(futures_util::poll!(&mut write).is_pending());
        tokio::time::advance(2 * SECOND).await;
        assert!(write.await.is_err());
        assert!(!is_sent);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_drained_when_all_is_answered() {
        let fixture = Fixture::new();
        fixture.begin(1, 10 * SECOND);
        let mut write = Box::pin(fixture.leadership.write(SECOND, async |_| pending::<()>().await));
        assert!(futures_util::poll!(&mut write).is_pending());
        let mut drained = Box::pin(fixture.leadership.drained());
        assert!(futures_util::poll!(&mut drained).is_pending());
        drop(write);
        drained.await;
    }

    #[tokio::test(start_paused = true)]
    async fn each_term_is_told_once_and_not_its_renewals() {
        let fixture = Fixture::new();
        let mut terms = fixture.leadership.terms();
        fixture.begin(1, SECOND);
        assert_eq!(terms.changed().await, Some(1));
        fixture.begin(1, 2 * SECOND);
        assert!(futures_util::poll!(Box::pin(terms.changed())).is_pending());
        fixture.term.send_replace(None);
        assert_eq!(terms.changed().await, None);
        fixture.begin(2, SECOND);
        assert_eq!(terms.changed().await, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_alone_has_one_term() {
        let alone = Leadership::default();
        assert_eq!((alone.term(), alone.holder()), (Some(ALONE), Holder::Alone));
        alone.terms().begun().await;
        assert!(futures_util::poll!(Box::pin(alone.terms().changed())).is_pending());
        assert_eq!(alone.write(SECOND, async |time| time).await, Ok(SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn the_holder_is_known() {
        let fixture = Fixture::new();
        assert_eq!(fixture.leadership.holder(), Holder::Nobody);
        fixture.holder.send_replace(Some("pod-1_x".to_owned()));
        assert_eq!(fixture.leadership.holder(), Holder::Other("pod-1_x".to_owned()));
        fixture.begin(1, SECOND);
        assert_eq!(fixture.leadership.holder(), Holder::This);
    }
}
