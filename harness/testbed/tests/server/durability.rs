//! Acknowledged changes survive any end of the server at any moment.

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
use crate::fixture::Fixture;

/// Set this to the seed of a failed run to repeat its random choices.
const SEED: &str = "DURABILITY_SEED";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_set_survives_a_kill() {
    check(Ending::Kill, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminating_server_answers_every_set_it_stores() {
    check(Ending::Terminate, 3).await;
}

/// Repeatedly ends the server at a random moment under a load of Sets, and checks what is stored.
async fn check(ending: Ending, rounds: u32) {
    let seed = env::var(SEED).map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(seed);
    let mut fixture = Fixture::new().await;
    let mut load = Load::new(&fixture.namespace);
    for name in load.deployments() {
        fixture.create(name, 0).await;
    }
    let mut unanswered = 0;
    for round in 1..=rounds {
        let context = format!("round {round} of {ending:?}, {SEED}={seed}");
        let options = fixture.options.clone();
        fixture = fixture
            .restart_after(async |manager| {
                load.run(manager, ending, &mut random, &context).await;
                unanswered += load.unanswered();
                load.learn(&settings(&options), ending, &context);
            })
            .await;
        assert!(!temporary(&options).exists(), "the start removes temporary files; {context}");
        load.check_answers(&fixture, &context).await;
    }
    assert!(unanswered > 0, "no Set was in flight at any end; {SEED}={seed}");
    for name in load.deployments() {
        fixture.wait_for_count(name, load.count(name)).await;
    }
}

/// The stored settings.
fn settings(options: &Options) -> Settings {
    settings_file::parse(&fs::read(options.store()).unwrap()).unwrap().settings
}

/// The temporary file of a write.
fn temporary(options: &Options) -> PathBuf {
    let mut path = options.store().into_os_string();
    path.push(".tmp");
    path.into()
}

/// Reports what could not be tested on this machine.
#[expect(clippy::explicit_write, reason = "the test harness hides what a passing test prints by a macro")]
pub(crate) fn report_not_run(what: &str, why: &str) {
    let banner = "*".repeat(80);
    writeln!(io::stderr(), "\n{banner}\n*** NOT TESTED: {what}\n*** {why}\n{banner}").unwrap();
}
