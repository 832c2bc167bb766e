//! What the elector does, step by step; `tests/models/election.rs` shows that terms never overlap.

use super::*;
use crate::lease::Holder;

const ME: &str = "me";

/// An elector, and the seconds of its clock.
struct Process {
    elector: Elector,
    start: Instant,
    seconds: f64,
}

impl Process {
    fn new() -> Self {
        let start = Instant::now();
        let timing = Timing::default();
        timing.check().expect("valid");
        Self { elector: Elector::new(ME.to_owned(), timing, start), start, seconds: 0.0 }
    }

    fn at(&mut self, seconds: f64) -> &mut Self {
        assert!(seconds >= self.seconds, "time does not go back");
        self.seconds = seconds;
        self
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.seconds)
    }

    fn term(&self, number: u64, until: f64) -> Term {
        Term { number, may_write_until: self.start + Duration::from_secs_f64(until) }
    }

    #[track_caller]
    fn expect(&mut self, expected: &Action) -> &mut Self {
        assert_eq!(self.elector.next(self.now()), *expected, "at {} s", self.seconds);
        self
    }

    #[track_caller]
    fn sends(&mut self, request: Request) -> &mut Self {
        let deadline = self.now() + Duration::from_millis(2500);
        self.expect(&Action::Send(request, deadline))
    }

    #[track_caller]
    fn waits_until(&mut self, seconds: Option<f64>) -> &mut Self {
        let until = seconds.map(|seconds| self.start + Duration::from_secs_f64(seconds));
        self.expect(&Action::Wait(until))
    }

    fn gets(&mut self, outcome: Outcome) -> &mut Self {
        self.elector.answered(outcome, self.now());
        self
    }

    fn sees(&mut self, observed: Observation) -> &mut Self {
        self.elector.observe(observed, self.now());
        self
    }

    /// Holds version 1 from second 0 on.
    fn holding() -> Self {
        let mut this = Self::new();
        this.sends(Request::Read).gets(Outcome::Read(Some(free(1))));
        this.sends(hold(1)).gets(Outcome::Written(mine(2)));
        let begun = Action::Begin(this.term(1, 10.0));
        this.expect(&begun).waits_until(Some(2.0));
        this
    }
}

fn version(version: u64) -> NonZeroU64 {
    NonZeroU64::new(version).expect("not 0")
}

fn lease(number: u64, holder: Holder) -> Lease {
    Lease { uid: "u".into(), version: version(number), holder }
}

fn free(number: u64) -> Lease {
    lease(number, Holder::Released)
}

fn held_by(identity: &str, number: u64) -> Lease {
    let duration = Some(Duration::from_secs(15));
    lease(number, Holder::Somebody { identity: identity.to_owned(), duration })
}

fn mine(number: u64) -> Lease {
    held_by(ME, number)
}

fn hold(number: u64) -> Request {
    Request::Hold("u".into(), version(number))
}

#[test]
fn a_lease_that_does_not_exist_is_made_at_once_and_held_after_a_whole_duration() {
    let mut process = Process::new();
    process.sends(Request::Read).gets(Outcome::Read(None)).at(1.0).sends(Request::Create);
    process.at(1.1).gets(Outcome::Written(lease(1, Holder::Never))).waits_until(Some(16.1));
    process.at(16.1).sends(hold(1)).at(16.2).gets(Outcome::Written(mine(2)));
    // Counted from when it was sent.
    let begun = Action::Begin(process.term(1, 26.1));
    process.expect(&begun).waits_until(Some(18.1));
}

#[test]
fn a_term_is_renewed_and_lasts_from_when_the_renewal_was_sent() {
    let mut process = Process::holding();
    process.at(2.0).sends(hold(2)).waits_until(Some(10.0)).at(3.0).gets(Outcome::Written(mine(3)));
    let extended = Action::Extend(process.term(1, 12.0));
    process.expect(&extended).waits_until(Some(4.0));
    // Its own event changes nothing.
    process.sees(Observation::Present(mine(3))).waits_until(Some(4.0));
}

#[test]
fn a_renewal_without_an_answer_is_tried_again_until_the_term_expires() {
    let mut process = Process::holding();
    for at in [2.0, 4.5, 7.0, 9.5] {
        process.at(at).sends(hold(2)).at(at + 0.4).gets(Outcome::Unknown);
        process.waits_until(Some(f64::min(at + 2.0, 10.0)));
    }
    process.at(10.0).expect(&Action::End(1, End::Expired));
    assert_eq!(process.elector.term(), None);
    // One of the renewals was made, so the version is another one; it is still this process' own.
    process.at(11.5).sends(hold(2)).gets(Outcome::Refused).sends(Request::Read);
    process.gets(Outcome::Read(Some(mine(3)))).waits_until(Some(13.5));
    process.at(13.5).sends(hold(3)).gets(Outcome::Written(mine(4)));
    let begun = Action::Begin(process.term(2, 23.5));
    process.expect(&begun);
}

#[test]
fn an_answer_that_comes_too_late_begins_nothing() {
    let mut process = Process::holding();
    process.at(2.0).sends(hold(2)).at(12.0).expect(&Action::End(1, End::Expired));
    process.gets(Outcome::Written(mine(3))).sends(hold(3));
    assert_eq!(process.elector.term(), None);
}

#[test]
fn a_term_ends_at_once_with_the_lease() {
    for (observed, end) in [
        (Observation::Present(held_by("you", 3)), End::Lost),
        (Observation::Present(free(3)), End::Lost),
        (Observation::Present(lease(3, Holder::Unreadable)), End::Lost),
        (Observation::Deleted(version(3)), End::Gone),
        (Observation::Present(Lease { uid: "v".into(), ..mine(3) }), End::Gone),
    ] {
        let mut process = Process::holding();
        process.at(1.0).sees(observed.clone()).expect(&Action::End(1, end));
        assert_eq!(process.elector.term(), None, "{observed:?}");
        // Also if a renewal was in flight, whatever becomes of it.
        let mut process = Process::holding();
        process.at(2.0).sends(hold(2)).sees(observed.clone()).expect(&Action::End(1, end));
        process.gets(Outcome::Written(mine(9))).sends(Request::Read);
        assert_eq!(process.elector.term(), None, "{observed:?}");
    }
}

#[test]
fn what_was_deleted_while_it_was_taken_is_not_held() {
    let mut process = Process::new();
    process.sends(Request::Read).gets(Outcome::Read(Some(free(1)))).sends(hold(1));
    process.sees(Observation::Present(mine(2))).sees(Observation::Deleted(version(3)));
    process.gets(Outcome::Written(mine(2))).sends(Request::Read);
    assert_eq!(process.elector.term(), None);
}

#[test]
fn one_that_was_made_by_another_replica_is_left_alone_for_as_long() {
    let mut process = Process::new();
    process.sends(Request::Read).gets(Outcome::Read(None)).sends(Request::Create).at(1.0);
    process.gets(Outcome::Refused).sends(Request::Read);
    process.gets(Outcome::Read(Some(lease(1, Holder::Never)))).waits_until(Some(16.0));
}

#[test]
fn a_change_by_others_costs_one_more_attempt() {
    let mut process = Process::holding();
    process.at(2.0).sends(hold(2)).gets(Outcome::Refused).sends(Request::Read);
    process.gets(Outcome::Read(Some(mine(3)))).waits_until(Some(4.0)).at(4.0).sends(hold(3));
    process.gets(Outcome::Written(mine(4)));
    let extended = Action::Extend(process.term(1, 14.0));
    process.expect(&extended);
}

#[test]
fn the_lease_of_another_is_taken_when_it_was_released_or_did_not_change() {
    let mut process = Process::new();
    process.sends(Request::Read).gets(Outcome::Read(Some(held_by("you", 1)))).waits_until(Some(15.0));
    process.at(9.0).sees(Observation::Present(held_by("you", 2))).waits_until(Some(24.0));
    assert_eq!(process.elector.holder(), Some("you"));
    process.at(10.0).sees(Observation::Present(free(3))).sends(hold(3)).gets(Outcome::Refused);
    process.sends(Request::Read).gets(Outcome::Read(Some(held_by("third", 4)))).waits_until(Some(25.0));
    process.at(25.0).sends(hold(4));
}

#[test]
fn the_lease_of_another_program_is_left_alone_for_as_long_as_it_says() {
    let hour = Duration::from_hours(1);
    let holder = Holder::Somebody { identity: "backup".to_owned(), duration: Some(hour) };
    let mut process = Process::new();
    process.sends(Request::Read).gets(Outcome::Read(Some(lease(1, holder)))).waits_until(Some(3600.0));
}

#[test]
fn an_api_server_that_is_away_is_asked_again() {
    let mut process = Process::new();
    process.sends(Request::Read).at(1.0).gets(Outcome::Unknown).waits_until(Some(2.0));
    // Meanwhile, a watch may show it.
    process.sees(Observation::Present(free(1))).sends(hold(1));
}

#[test]
fn at_the_end_the_lease_is_given_up_after_the_last_write() {
    let mut process = Process::holding();
    process.elector.shut_down();
    process.at(1.0).expect(&Action::End(1, End::Shutdown)).waits_until(None);
    process.elector.drained();
    process.sends(Request::Release("u".into(), version(2))).gets(Outcome::Written(free(3)));
    process.expect(&Action::Finish);
}

#[test]
fn a_renewal_in_flight_at_the_end_begins_nothing_and_is_given_up() {
    let mut process = Process::holding();
    process.at(2.0).sends(hold(2));
    process.elector.shut_down();
    process.expect(&Action::End(1, End::Shutdown));
    process.elector.drained();
    process.waits_until(None).gets(Outcome::Written(mine(3)));
    process.sends(Request::Release("u".into(), version(3))).gets(Outcome::Unknown).expect(&Action::Finish);
}

#[test]
fn who_holds_nothing_gives_nothing_up() {
    let mut process = Process::new();
    process.sends(Request::Read).gets(Outcome::Read(Some(held_by("you", 1))));
    process.elector.shut_down();
    process.elector.drained();
    process.expect(&Action::Finish);
}

#[test]
fn times_that_do_not_fit_together_are_refused() {
    let seconds = Duration::from_secs;
    for (duration, renew_deadline, retry_period, expected) in [
        (seconds(15), seconds(10), seconds(2), Ok(())),
        (seconds(1), Duration::from_millis(700), Duration::from_millis(100), Ok(())),
        (seconds(0), seconds(10), seconds(2), Err(TimingError::Duration)),
        (Duration::from_millis(15_500), seconds(10), seconds(2), Err(TimingError::Duration)),
        (seconds(10), seconds(10), seconds(2), Err(TimingError::RenewDeadline)),
        (seconds(15), seconds(10), seconds(5), Err(TimingError::RetryPeriod)),
        (seconds(15), seconds(10), seconds(0), Err(TimingError::RetryPeriod)),
    ] {
        let timing = Timing { duration, renew_deadline, retry_period };
        assert_eq!(timing.check(), expected, "{timing:?}");
    }
}
