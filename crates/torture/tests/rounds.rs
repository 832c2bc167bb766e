//! A few rounds of torture, always the same: more of them, and all cases one by one, are what `make torture` and `make
//! torture-all` are for.

use replica_count_torture::run;
use replica_count_torture::stage::Stage;

const SEED: u64 = 37;
const ROUNDS: u64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fixed_seed_ends_as_promised() {
    let stage = Stage::start().await.unwrap();
    let table = run::rounds(&stage, SEED, ROUNDS).await.unwrap();
    assert!(table.count_of("faults") > 0, "no request met a fault: {table:?}");
    assert!(table.count_of("blows struck") > 0, "no kill: {table:?}");
}
