//! The system calls of a Set: what comes before what, and what a crash between any two of them leaves.

use std::fs;
use std::pin::pin;

use futures_util::future::{Either, select};
use replica_count_core::target::Target;

use super::strace::{Strace, calls};
use super::{settings, temporary};
use crate::scene::Scene;

const RENAMES: [&str; 3] = ["rename", "renameat", "renameat2"];
const SENDS: [&str; 4] = ["write", "writev", "sendto", "sendmsg"];

#[tokio::test]
async fn the_answer_leaves_after_both_syncs() {
    let mut scene = Scene::new().await;
    scene.create_managed("web", 3).await;
    // A sync that takes its time shows whoever does not wait for it.
    let arguments = ["-e", "inject=fsync:delay_enter=100000"];
    let Some(strace) = Strace::attach(&scene, &arguments).await else { return };
    let mut client = scene.client.clone();
    let set = client.set_deployment(scene.set_request("web", 4));
    // Other work goes on meanwhile, so calls of several threads are under way at once.
    let other_work = async {
        loop {
            scene.manager.get("/livez").await.unwrap();
        }
    };
    match select(pin!(set), pin!(other_work)).await {
        Either::Left((answer, _)) => answer.unwrap(),
        Either::Right((never, _)) => never,
    };
    let trace = strace.detach().await;
    // Shown by --nocapture, and when this fails.
    let other_work = format!("<TCP:[{}->", scene.manager.http_address());
    trace.lines().filter(|line| !line.contains(&other_work)).for_each(|line| println!("{line}"));

    let temporary = temporary(&scene.options).display().to_string();
    let folder = scene.options.store().parent().unwrap().display().to_string();
    let client = format!("<TCP:[{}->", scene.manager.grpc_address());
    // Of each kind the first one of all counts, so nothing at all is sent to the client before.
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
        assert!(earlier.ended < later.begun, "`{first}` must have ended before `{then}`: see the trace");
    }
}

#[tokio::test]
async fn a_crash_between_two_steps_leaves_the_old_file_or_the_new_one() {
    let mut scene = Scene::new().await;
    scene.create("web", 1).await;
    scene.set("web", 1).await;
    let temporary = temporary(&scene.options);
    let folder = scene.options.store().parent().unwrap().to_owned();
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
        scene.set("web", 1).await;
        let inject = format!("inject={calls}:signal=KILL");
        let path = path.display().to_string();
        let Some(strace) = Strace::attach(&scene, &["-e", &inject, "-P", &path]).await else { return };
        scene.client.set_deployment(scene.set_request("web", 7)).await.expect_err(&context);
        strace.ended().await;

        let target = Target::deployment(&scene.namespace, "web").unwrap();
        let stored = settings(&scene.options)[&target].replicas.get();
        assert_eq!(stored, expected, "{context}");
        scene = scene.restart(async |_| {}).await;
        let answer = scene.get("web").await.unwrap();
        assert_eq!(answer.desired_replicas, Some(expected), "{context}");
        assert!(!fs::exists(&temporary).unwrap(), "{context}");
        scene.until_count("web", expected).await;
    }
}
