//! The order of the system calls of a Set, and what remains after a crash between any two of them.

use std::fs;
use std::pin::pin;

use futures_util::future::{Either, select};
use replica_count_core::target::Target;

use super::strace::{Strace, calls};
use super::{settings, temporary};
use crate::fixture::Fixture;

const RENAMES: [&str; 3] = ["rename", "renameat", "renameat2"];
const SENDS: [&str; 4] = ["write", "writev", "sendto", "sendmsg"];

#[tokio::test]
async fn the_answer_is_sent_after_both_syncs() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    // A slow sync reveals any step that does not wait for it.
    let arguments = ["-e", "inject=fsync:delay_enter=100000"];
    let Some(strace) = Strace::attach(&fixture, &arguments).await else { return };
    let mut client = fixture.client.clone();
    let set = client.set_deployment(fixture.set_request("web", 4));
    // Concurrent work, so calls of several threads overlap.
    let other_work = async {
        loop {
            fixture.manager.get("/livez").await.unwrap();
        }
    };
    match select(pin!(set), pin!(other_work)).await {
        Either::Left((answer, _)) => answer.unwrap(),
        Either::Right((never, _)) => never,
    };
    let trace = strace.detach().await;
    // Printed with --nocapture, or on failure.
    let other_work = format!("<TCP:[{}->", fixture.manager.http_address());
    trace.lines().filter(|line| !line.contains(&other_work)).for_each(|line| println!("{line}"));

    let temporary = temporary(&fixture.options).display().to_string();
    let folder = fixture.options.store().parent().unwrap().display().to_string();
    let client = format!("<TCP:[{}->", fixture.manager.grpc_address());
    // Only the first call of each kind counts, so this also shows that nothing is sent to the client earlier.
    let steps: [(&[&str], String); 5] = [
        (&["write"], format!("<{temporary}>")),
        (&["fsync"], format!("<{temporary}>")),
        (&RENAMES, format!("\"{temporary}\"")),
        (&["fsync"], format!("<{folder}>")),
        (&SENDS, client),
    ];
    let calls = calls(&trace);
    let steps = steps.map(|(names, what)| {
        let found = calls.iter().find(|call| names.contains(&call.name) && call.text.contains(&what));
        found.unwrap_or_else(|| panic!("there is no {names:?} of {what}: see the trace"))
    });
    for (earlier, later) in steps.iter().zip(&steps[1..]) {
        let (first, then) = (earlier.text, later.text);
        assert!(earlier.ended < later.begun, "`{first}` must end before `{then}`: see the trace");
    }
}

#[tokio::test]
async fn a_crash_between_two_steps_leaves_the_old_file_or_the_new_one() {
    let mut fixture = Fixture::new().await;
    fixture.create("web", 1).await;
    fixture.set("web", 1).await;
    let temporary = temporary(&fixture.options);
    let folder = fixture.options.store().parent().unwrap().to_owned();
    let renames = format!("?{}", RENAMES.join(",?"));
    let cases = [
        ("openat", &temporary, 1),
        ("write", &temporary, 1),
        ("fsync", &temporary, 1),
        (renames.as_str(), &temporary, 1),
        ("fsync", &folder, 7),
    ];
    for (calls, path, expected) in cases {
        let context = format!("killed before {calls} of {}", path.display());
        fixture.set("web", 1).await;
        let inject = format!("inject={calls}:signal=KILL");
        let path = path.display().to_string();
        let Some(strace) = Strace::attach(&fixture, &["-e", &inject, "-P", &path]).await else { return };
        fixture.client.set_deployment(fixture.set_request("web", 7)).await.expect_err(&context);
        strace.ended().await;

        let target = Target::deployment(&fixture.namespace, "web").unwrap();
        let stored = settings(&fixture.options)[&target].replicas.get();
        assert_eq!(stored, expected, "{context}");
        fixture = fixture.restart(async |_| {}).await;
        let answer = fixture.get("web").await.unwrap();
        assert_eq!(answer.desired_replicas, Some(expected), "{context}");
        assert!(!fs::exists(&temporary).unwrap(), "{context}");
        fixture.wait_for_count("web", expected).await;
    }
}
