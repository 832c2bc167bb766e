//! A few fixed rounds. `make faults` plays random ones, and `make faults-all` every case.

use replica_count_faults::environment::Environment;
use replica_count_faults::run;

const SEED: u64 = 37;
const ROUNDS: u64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rounds_of_a_fixed_seed_pass() {
    let environment = Environment::start().await.unwrap();
    let table = run::rounds(&environment, SEED, ROUNDS).await.unwrap();
    assert!(table.count_of("faults") > 0, "no fault was injected: {table:?}");
    assert!(table.count_of("server faults") > 0, "no server fault was injected: {table:?}");
}
