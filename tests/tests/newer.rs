//! Deploys overlap: what a newer build has written is waited for by an older one, and verified like any other.

use domain::ShopId;
use ecomdash_tests::{Ecomdash, Shop, TestDatabase, bodies::placed, number, run, until};
use event_store::{Link, verify};
use sqlx::{PgConnection, Row};

/// Appends the first event of order 9 as a build would whose events are of another version: chained as it should be.
async fn newer_build_appends(superuser: &mut PgConnection, shop: ShopId) -> i64 {
    let head = sqlx::query(
        "SELECT h.position, h.hash, h.recorded_at + interval '1 second',
                (SELECT payload::text FROM events WHERE event_type = 'OrderPlaced' LIMIT 1)
         FROM heads h WHERE shop_id = $1",
    )
    .bind(shop.0)
    .fetch_one(&mut *superuser)
    .await
    .unwrap();
    let (position, previous, payload): (i64, Vec<u8>, String) = (head.get::<i64, _>(0) + 1, head.get(1), head.get(3));
    let link = Link {
        shop,
        position,
        recorded_at: head.get(2),
        aggregate_type: "order",
        aggregate_id: "9",
        sequence: 1,
        event_type: "OrderPlaced",
        event_version: "99",
        payload: &payload,
        metadata: "{}",
    };
    let hash = link.hash(&previous.try_into().unwrap());
    let insert = "INSERT INTO events VALUES ($1, $2, $3, 'order', '9', 1, 'OrderPlaced', '99', $4::json, '{}', $5)";
    let insert = sqlx::query(insert).bind(shop.0).bind(position).bind(link.recorded_at).bind(&payload);
    insert.bind(hash).execute(&mut *superuser).await.unwrap();
    let advance = "UPDATE heads SET position = $2, hash = $3, recorded_at = $4 WHERE shop_id = $1";
    let advance = sqlx::query(advance).bind(shop.0).bind(position).bind(hash).bind(link.recorded_at);
    advance.execute(&mut *superuser).await.unwrap();
    let wake = "INSERT INTO work_queue (shop_id, kind, due_at) VALUES ($1, 'project', now())";
    sqlx::query(wake).bind(shop.0).execute(superuser).await.unwrap();
    position
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_a_newer_build_is_waited_for_and_costs_nothing() {
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    let store = database.open();
    let shop = Shop::register(&store, &server.url, "UTC", "USD").await;
    let mut superuser = database.superuser().await;
    assert_eq!(shop.deliver("orders/create", &placed(1)).await, 200);
    assert_eq!(shop.metrics("2026-11-01", "2026-11-01").await.get("orders"), Some(1));

    let newer = newer_build_appends(&mut superuser, shop.id).await;
    until("the worker meets it", async || server.log().contains("version 99 is newer than this build")).await;
    // Another order is still ingested; what is about this one waits, and is nobody's fault.
    assert_eq!(shop.deliver("orders/create", &placed(2)).await, 200);
    let translated = "SELECT count(*) FROM inbox WHERE status = 'translated'";
    until("order 2 is in the log", async || number(&mut superuser, translated).await == 2).await;
    assert_eq!(shop.deliver("orders/updated", &placed(9)).await, 200);
    until("its body is met", async || server.log().matches("put off").count() >= 2).await;
    assert_eq!(number(&mut superuser, "SELECT count(*) FROM inbox WHERE status = 'pending' AND attempts = 0").await, 1);
    let behind = format!("SELECT count(*) FROM checkpoints WHERE position >= {newer} OR parked_at IS NOT NULL");
    assert_eq!(number(&mut superuser, &behind).await, 0, "no read model went past it, none is parked");
    let (_, stats) = shop.get("/api/dashboard/stats?from=2026-11-01&to=2026-11-01").await;
    // Two events and a delivery: it shows that it is behind.
    assert_eq!((&stats["metrics"]["orders"], &stats["lag"]), (&1.into(), &3.into()), "{stats}");

    // Its bytes are chained like any other's.
    assert_eq!(verify(&store, shop.id, |_| {}).await.unwrap().fault, None);
    let (ok, text) = run(&database, &["verify", "--shop", &shop.domain]);
    assert!(ok, "{text}");

    // A build that knows it, as if the version were one of its own, goes on where this one waits.
    sqlx::raw_sql(
        "ALTER TABLE events DISABLE TRIGGER USER;
         UPDATE events SET event_version = '2' WHERE event_version = '99';
         ALTER TABLE events ENABLE TRIGGER USER",
    )
    .execute(&mut superuser)
    .await
    .unwrap();
    assert_eq!(shop.metrics("2026-11-01", "2026-11-01").await.get("orders"), Some(3));
    assert_eq!(number(&mut superuser, translated).await, 3);
}
