//! A storm in short: see `bin/torture` for the long ones, and `docs/reliability.md` for what it holds.

use ecomdash_tests::{
    free_folder,
    random::seed,
    storm::{Options, run},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_loses_nothing_doubles_nothing_and_shows_the_right_figures() {
    let seed = seed();
    let folder = free_folder();
    let summary = run(&Options::short(seed), &folder.join("history.jsonl")).await;
    eprintln!("{summary:#?}");
    assert!(summary.checked.breaches.is_empty(), "SEED={seed}: {:#?}", summary.checked.breaches);
    assert_eq!(summary.checked.held.len(), 8, "every invariant was looked at");
    // A storm in which little happened proves little.
    let faults: u32 = summary.faults.values().sum();
    assert!(faults >= 10 && summary.kills.len() >= 2, "SEED={seed}: {:?}", summary.faults);
    assert!(summary.deliveries >= 300 && summary.orders >= 50, "SEED={seed}: {summary:?}");
    std::fs::remove_dir_all(folder).unwrap();
}
