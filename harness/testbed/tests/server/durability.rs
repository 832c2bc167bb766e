//! What was acknowledged is there after whatever ends the server, at whatever moment.

mod disk;
mod load;
mod strace;
mod trace;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::{env, fs};

use replica_count_core::setting::Settings;
use replica_count_core::settings_file;
use replica_count_testbed::manager::Options;

use self::load::{Ending, Load};
use crate::scene::Scene;

/// Set this to the seed of a run that failed, to get its random moments again.
const SEED: &str = "DURABILITY_SEED";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_set_survives_a_kill() {
    check(Ending::Kill, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_termination_answers_every_set_that_it_stores() {
    check(Ending::Terminate, 3).await;
}

/// Ends the server at a random moment of a load of Sets, again and again, and looks at what is left each time.
async fn check(ending: Ending, rounds: u32) {
    let seed = env::var(SEED).map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(seed);
    let mut scene = Scene::new().await;
    let mut load = Load::new(&scene.namespace);
    for name in load.deployments() {
        scene.create(name, 0).await;
    }
    let mut unanswered = 0;
    for round in 1..=rounds {
        let context = format!("round {round} of {ending:?}, {SEED}={seed}");
        let options = scene.options.clone();
        scene = scene
            .restart_after(async |manager| {
                load.run(manager, ending, &mut random, &context).await;
                unanswered += load.unanswered();
                load.learn(&settings(&options), ending, &context);
            })
            .await;
        assert!(!temporary(&options).exists(), "the start removes what a write left; {context}");
        load.check_answers(&scene, &context).await;
    }
    assert!(unanswered > 0, "every end came when there was nothing to do; {SEED}={seed}");
    for name in load.deployments() {
        scene.until_count(name, load.count(name)).await;
    }
}

/// What the file says.
fn settings(options: &Options) -> Settings {
    settings_file::parse(&fs::read(options.store()).unwrap()).unwrap()
}

/// The file that a write is prepared in.
fn temporary(options: &Options) -> PathBuf {
    let mut path = options.store().into_os_string();
    path.push(".tmp");
    path.into()
}

/// Says what this machine could not show.
#[expect(clippy::explicit_write, reason = "the test harness hides what a passing test prints by a macro")]
fn report_not_run(what: &str, why: &str) {
    let banner = "*".repeat(80);
    writeln!(io::stderr(), "\n{banner}\n*** NOT TESTED: {what}\n*** {why}\n{banner}").unwrap();
}
