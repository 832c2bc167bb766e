//! A few rounds, always the same. `make faults` plays more of them, and `make faults-all` goes through all cases one by one.

use replica_count_faults::run;
use replica_count_faults::stage::Stage;

const SEED: u64 = 37;
const ROUNDS: u64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fixed_seed_ends_as_promised() {
    let stage = Stage::start().await.unwrap();
    let table = run::rounds(&stage, SEED, ROUNDS).await.unwrap();
    assert!(table.count_of("faults") > 0, "no request met a fault: {table:?}");
    assert!(table.count_of("blows struck") > 0, "no kill: {table:?}");
}
