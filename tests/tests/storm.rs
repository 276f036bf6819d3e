//! A storm in short, and the checker on what is wrong. `bin/torture` has the long ones, `docs/reliability.md` says what
//! they hold.

use std::time::Duration;

use ecomdash_tests::{
    free_folder,
    random::seed,
    storm::{Options, check, rage, run},
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
    assert!(faults >= 8 && summary.kills.len() >= 2, "SEED={seed}: {:?}", summary.faults);
    assert!(summary.deliveries >= 300 && summary.orders >= 30, "SEED={seed}: {summary:?}");
    std::fs::remove_dir_all(folder).unwrap();
}

/// A checker that finds nothing wrong in a world where something is would prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_checker_names_what_is_lost_doubled_stuck_and_laid_open() {
    let seed = seed();
    let folder = free_folder();
    let history = folder.join("history.jsonl");
    let options = Options { length: Duration::from_secs(3), faults: false, shops: 2, ..Options::short(seed) };
    let (mut world, settled_in) = rage(&options, &history).await;
    let mut superuser = world.database.superuser().await;
    let harm = "
        CREATE TABLE harm (what text, who text);
        -- Not one that was deleted since: its rows add up to nothing.
        CREATE TEMP TABLE counted AS SELECT order_id FROM sale_fact GROUP BY order_id HAVING sum(orders) = 1;
        WITH lost AS (DELETE FROM inbox WHERE id = (SELECT id FROM inbox WHERE status = 'translated' LIMIT 1)
                      RETURNING webhook_id) INSERT INTO harm SELECT 'lost', webhook_id FROM lost;
        WITH stuck AS (UPDATE inbox SET status = 'dead', reason = NULL
                       WHERE id = (SELECT id FROM inbox WHERE status = 'translated' LIMIT 1)
                       RETURNING webhook_id) INSERT INTO harm SELECT 'stuck', webhook_id FROM stuck;
        WITH gone AS (DELETE FROM sale_fact WHERE order_id = (SELECT min(order_id) FROM counted)
                      RETURNING order_id) INSERT INTO harm SELECT 'unsold', min(order_id)::text FROM gone;
        UPDATE sale_fact SET orders = orders * 2
        WHERE order_id = (SELECT max(order_id) FROM counted) AND orders = 1;
        ALTER TABLE events DISABLE TRIGGER ALL;
        UPDATE events SET recorded_at = recorded_at + interval '1 microsecond'
        WHERE (shop_id, position) = (SELECT shop_id, position FROM heads LIMIT 1);
        UPDATE checkpoints SET position = position + 1 WHERE generation > 0;
        INSERT INTO work_queue (shop_id, kind, due_at) SELECT shop_id, 'ingest', now() + interval '1 hour' FROM heads LIMIT 1;
        INSERT INTO harm VALUES ('laid open', 'jane.doe@example.com')";
    sqlx::raw_sql(harm).execute(&mut superuser).await.unwrap();
    let found = check(&mut world, &history, settled_in).await.checked.breaches.join("\n");
    let named: Vec<(String, String)> =
        sqlx::query_as("SELECT what, who FROM harm WHERE what <> 'laid open'").fetch_all(&mut superuser).await.unwrap();
    assert_eq!(named.len(), 3);
    for (what, who) in named {
        assert!(found.contains(&who), "{what} {who}:\n{found}");
    }
    for invariant in ["I-1: ", "chain of shop", "I-3: the ledger", "I-5: ", "I-6: ", "I-7: "] {
        assert!(found.contains(invariant), "{invariant}:\n{found}");
    }
    drop(world);
    std::fs::remove_dir_all(folder).unwrap();
}
