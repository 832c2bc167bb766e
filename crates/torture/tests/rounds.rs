//! A few rounds of torture, always the same: more of them, and all cases one by one, are what `make torture` and `make
//! torture-all` are for.

use replica_count_torture::run;
use replica_count_torture::stage::Stage;

const SEED: u64 = 5;
const ROUNDS: u64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fixed_seed_ends_as_promised() {
    let stage = Stage::start().await.unwrap();
    run::rounds(&stage, SEED, ROUNDS).await.unwrap();
}
