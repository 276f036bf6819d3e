//! Statements are planned once for a connection, on whatever the tables hold then, often nothing. What they read must not
//! grow with the shop all the same.

use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    bodies::{line, order, refund},
};
use sqlx::Row;

const ORDERS: u64 = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_new_database_work_is_proportional_to_what_comes_in() {
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    let shop = Shop::register(&database.open(), &server.url, "UTC", "USD").await;
    // Plans are made while there is next to nothing.
    let placed = |id: u64| order(id, &format!("2026-11-{:02}T12:00:00Z", 1 + id % 20), vec![line(id, "10.00", 1)]).0;
    for id in 1..=3 {
        assert_eq!(shop.deliver("orders/create", &placed(id)).await, 200);
        shop.stats("2026-11-01", "2026-11-30").await;
    }
    for id in 4..=ORDERS {
        assert_eq!(shop.deliver("orders/create", &placed(id)).await, 200);
        if id % 10 == 0 {
            let back = refund(id, id, "2026-11-22T12:00:00Z").line(id, 1, "10.00", "0.00", "return");
            assert_eq!(shop.deliver("refunds/create", &back.0).await, 200);
        }
    }
    shop.stats("2026-11-01", "2026-11-30").await;
    drop(server); // backends report their counts when they end at the latest
    let mut superuser = database.superuser().await;
    let mut worst = Vec::new();
    for _ in 0..50 {
        let rows = sqlx::query(
            "SELECT relname::text, COALESCE(seq_tup_read, 0) + COALESCE(idx_tup_fetch, 0)
                    + COALESCE((SELECT sum(i.idx_tup_read)::bigint FROM pg_stat_user_indexes i WHERE i.relid = t.relid), 0)
             FROM pg_stat_user_tables t WHERE schemaname = 'public' ORDER BY 2 DESC",
        )
        .fetch_all(&mut superuser)
        .await
        .unwrap();
        worst = rows.iter().map(|row| (row.get::<String, _>(0), row.get::<i64, _>(1))).collect::<Vec<_>>();
        if worst.iter().any(|(table, read)| table == "sale_fact" && *read > 0) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    // The inbox is hashed once for a batch; a batch here is a delivery or two. The queue is read by whoever looks for work
    // as often as they look: while deliveries wait for a busy machine, that says nothing of plans.
    let others = |(table, _): &(String, i64)| table != "inbox" && table != "work_queue";
    for (table, read) in worst.into_iter().filter(others) {
        let for_each = read / i64::try_from(ORDERS).unwrap();
        // What grows with the shop would be half of its orders or more.
        assert!(for_each < 150, "{table}: {for_each} rows were read for each order");
    }
}
