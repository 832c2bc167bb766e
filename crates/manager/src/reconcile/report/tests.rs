//! The lines of the log, as the README shows them, and their order.

use std::io;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use replica_count_core::event::Resolution;
use replica_count_core::failures::Failure;
use replica_count_core::history::Bounds;
use replica_count_core::history::entry::{Entry, What};
use replica_count_core::history::sample::sample;
use replica_count_core::managed_fields::{FieldOwner, Operation, Writer};
use replica_count_core::target::Target;
use tracing::Level;

use super::*;
use crate::history;
use crate::traces::Traces;

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn event(kind: EventKind) -> Event {
    let target = Target::deployment("shop", "web").expect("valid");
    Event { target, at: Timestamp::UNIX_EPOCH, generation: Some(2), kind }
}

fn count(count: i32) -> Replicas {
    Replicas::new(count).expect("valid")
}

fn drift(by: Option<&str>) -> Drift {
    let by = by.map(|manager| {
        let subresource = Some("scale".into());
        let writer = Writer { manager: manager.into(), operation: Operation::Update, subresource };
        FieldOwner { writer: Arc::new(writer), time: None }
    });
    Drift { uid: "u".into(), by, likely_by: None, at: Timestamp::UNIX_EPOCH, from: count(3), to: count(7) }
}

fn failure(should_warn: bool) -> EventKind {
    EventKind::WriteFailed(WriteFailure {
        drift: Some(drift(Some("helm"))),
        to: count(3),
        failure: Failure::Forbidden,
        code: Some(403),
        message: "no".to_owned(),
        in_a_row: 2,
        should_warn,
        delay: Duration::from_secs(1),
    })
}

/// Reports events, all at the same time, and returns the lines of the log.
async fn logged(events: impl IntoIterator<Item = EventKind>) -> Vec<String> {
    logged_at(events.into_iter().map(|kind| (0, kind))).await
}

/// Reports events at these seconds, and returns the lines of the log.
async fn logged_at(events: impl IntoIterator<Item = (i64, EventKind)>) -> Vec<String> {
    let log = Log::default();
    let writer = log.clone();
    let logging = tracing_subscriber::fmt()
        .with_max_level(Level::DEBUG)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(logging);
    let (report, reporter) =
        report(history::in_memory(Bounds::DEFAULT).1, Traces::default(), Leadership::default(), None);
    for (second, kind) in events {
        report.emit(Event { at: Timestamp::from_second(second).expect("in range"), ..event(kind) });
    }
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    reporter.run(shutdown).await;
    let log = log.0.lock().unwrap();
    String::from_utf8_lossy(&log).lines().map(|line| line.trim_start().to_owned()).collect()
}

#[tokio::test]
async fn lines_are_as_documented_and_in_order() {
    let took = Duration::from_micros(3_678);
    let (by, from, to) = (Some("alice".to_owned()), count(7), count(3));
    let ignore = Enforcement::Ignore { until: None };
    let how = Resolution::InSync;
    let cases = [
        (
            EventKind::Set { by: by.clone(), from: None, to, until: None, reason: Some("sale".to_owned()) },
            r#"INFO set target=shop/web by="alice" to=3 generation=2 reason="sale""#,
        ),
        (
            EventKind::EnforcementSet { by: by.clone(), enforcement: ignore },
            r#"INFO enforcement set target=shop/web by="alice" enforcement="ignore" generation=2"#,
        ),
        (
            EventKind::Drifted { drift: drift(Some("kubectl")), is_contested: false },
            r#"INFO drifted target=shop/web desired=3 found=7 by="kubectl" via="scale" generation=2"#,
        ),
        (
            EventKind::Drifted { drift: drift(None), is_contested: true },
            r#"DEBUG drifted target=shop/web desired=3 found=7 by="unknown" via="unknown" generation=2"#,
        ),
        (
            failure(true),
            r#"WARN write failed target=shop/web to=3 by="helm" reason="forbidden" code=403 error="no" failures=2 delay=1s"#,
        ),
        (
            failure(false),
            r#"DEBUG write failed target=shop/web to=3 by="helm" reason="forbidden" code=403 error="no" failures=2 delay=1s"#,
        ),
        (
            EventKind::Repaired { drift: drift(Some("kubectl")), from, to, took, lasted: took, pods_lost: 2 },
            r#"INFO repaired target=shop/web from=7 to=3 by="kubectl" took_ms=3.678 pods_lost=2"#,
        ),
        (EventKind::Applied { from, to, took }, "INFO applied target=shop/web from=7 to=3 took_ms=3.678"),
        (
            EventKind::Resolved { drift: drift(Some("kubectl")), how, is_contested: false, pods_lost: 0 },
            r#"INFO resolved target=shop/web desired=3 found=7 by="kubectl" how="in_sync" pods_lost=0"#,
        ),
        (
            EventKind::LateCost(LateCost { drift: drift(Some("kubectl")), pods_lost: 3 }),
            r#"INFO pods lost after the end of a drift target=shop/web desired=3 found=7 by="kubectl" pods_lost=3"#,
        ),
        (EventKind::Missing, "INFO missing: it does not exist, or is being deleted target=shop/web"),
        (
            EventKind::Autoscaled { autoscaler: Some("HorizontalPodAutoscaler/web".into()) },
            "WARN autoscaled: an autoscaler targets it, too target=shop/web autoscaler=HorizontalPodAutoscaler/web",
        ),
        (EventKind::Autoscaled { autoscaler: None }, "INFO no longer autoscaled target=shop/web"),
        (EventKind::Deleted { by, desired: to }, r#"INFO deleted target=shop/web by="alice" desired=3"#),
    ];
    let (events, lines): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    assert_eq!(logged(events).await, lines);
}

#[tokio::test]
async fn another_server_is_an_error_once_while_it_lasts() {
    let seen = |second| (second, EventKind::AnotherServer { drift: drift(Some("replica-count-manager")) });
    let lines = logged_at([0, 1, 3_000, 6_000, 9_600].map(seen)).await;
    let errors: Vec<_> = lines.iter().map(|line| line.starts_with("ERROR ")).collect();
    assert_eq!(errors, [true, false, false, false, true], "{lines:#?}");
    let expected = "ERROR another replica-count-manager changes counts in this cluster: run only one, with one store \
                    target=shop/web desired=3 found=7 by=\"replica-count-manager\"";
    assert_eq!(lines[0], expected);
}

#[tokio::test]
async fn lines_about_conflicts_are_as_documented() {
    let cases = [
        (
            EventKind::Drifted {
                drift: Drift { likely_by: Some("kubectl".into()), ..drift(None) },
                is_contested: false,
            },
            r#"INFO drifted target=shop/web desired=3 found=7 by="unknown" likely_by="kubectl" via="unknown" generation=2"#,
        ),
        (
            EventKind::Contested { drift: Some(drift(Some("kubectl"))), wait: Duration::from_secs(5) },
            r#"WARN contested target=shop/web by="kubectl" via="scale" wait=5s"#,
        ),
        (EventKind::Calmed, "INFO no longer contested target=shop/web"),
        (
            EventKind::SteadyConflict(SteadyConflict {
                by: drift(Some("flux")).by.map(|owner| owner.writer),
                likely_by: None,
                period: Duration::from_millis(60_250),
                rounds: 8,
            }),
            r#"WARN steady conflict target=shop/web by="flux" period=60.25s rounds=8"#,
        ),
        (EventKind::SteadyConflictEnded, "INFO steady conflict ended target=shop/web"),
    ];
    let (events, lines): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    assert_eq!(logged(events).await, lines);
}

#[tokio::test]
async fn an_event_that_finds_no_room_is_counted() {
    let (report, _reporter) =
        report(history::in_memory(Bounds::DEFAULT).1, Traces::default(), Leadership::default(), None);
    for _ in 0..MAX_WAITING + 2 {
        report.emit(event(EventKind::Calmed));
    }
    let mut registry = prometheus_client::registry::Registry::default();
    report.metrics.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("unreported_events_total 2\n"), "{text}");
}

#[tokio::test]
async fn what_an_object_tells_and_finds_no_room_is_a_gap() {
    let (history, recorder) = history::in_objects(Bounds::DEFAULT);
    let (report, mut reporter) = report(recorder, Traces::default(), Leadership::default(), None);
    let told = |version| {
        let target = Target::deployment("shop", "web").expect("valid");
        let entries = vec![Entry { id: 1000 + version, ..sample("shop", "web", What::Calmed) }];
        Told { target, entries, missing: 0, version, is_latest: true, is_news: true }
    };
    report.listed(10);
    let token = history.watch_since(None).2;
    for _ in 1..MAX_WAITING {
        report.shown(11);
    }
    report.told(told(12));
    report.shown(12);
    let mut report_next = async || {
        let item = reporter.items.recv().await.expect("an item");
        reporter.report(item);
    };
    for _ in 0..MAX_WAITING {
        report_next().await;
    }
    let position = history.watch_since(None).2;
    assert_eq!((token.version, position.version), (0, 11));
    report.told(told(13));
    report.shown(13);
    report.shown(14);
    report_next().await;
    assert_eq!(history.watch_since(None).2.version, 11);
    report_next().await;
    report_next().await;
    let (_, since, position) = history.watch_since(Some(&position));
    assert_eq!((since, position.version), (None, 14));
    assert!(history.watch_since(Some(&position)).1.is_some());
    report.shown(15);
    report_next().await;
    assert!(history.watch_since(Some(&position)).1.is_some(), "a gap only once");
}
