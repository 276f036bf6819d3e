//! Rebuilds that are cut off, meet each other, or meet a shop that was never folded.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::ShopId;
use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    bodies::{line, order, refund},
    run,
};
use event_store::{Database, StoreError};
use projector::{RebuildOptions, rebuild};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::sync::Notify;

const ORDERS: u64 = 30;
const SMALL: i64 = 4;

fn sales() -> RebuildOptions {
    RebuildOptions { step: SMALL, ..RebuildOptions::of("sales") }
}

struct World {
    database: TestDatabase,
    server: Ecomdash,
    store: Database,
    shop: Shop,
    superuser: PgConnection,
}

impl World {
    /// A shop whose orders are all folded.
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let server = Ecomdash::up(&database);
        let store = database.open();
        let shop = Shop::register(&store, &server.url, "UTC", "USD").await;
        for id in 1..=ORDERS {
            let placed = order(id, "2026-11-01T23:30:00Z", vec![line(id, "10.00", 2)]);
            assert_eq!(shop.deliver("orders/create", &placed.0).await, 200);
            let back = refund(id, id, "2026-11-02T12:00:00Z").line(id, 1, "10.00", "0.00", "return");
            assert_eq!(shop.deliver("refunds/create", &back.0).await, 200);
        }
        shop.stats("2026-11-01", "2026-11-02").await;
        let superuser = database.superuser().await;
        Self { database, server, store, shop, superuser }
    }

    /// A rebuild that is dropped after its first steps, as if its process had died.
    async fn cut_off_a_rebuild(&self) {
        let some_steps = Arc::new(Notify::new());
        let told = Arc::clone(&some_steps);
        let progress = move |position, _| {
            if position >= 3 * SMALL {
                told.notify_one();
            }
        };
        tokio::select! {
            biased;
            () = some_steps.notified() => {}
            rebuilt = rebuild(&self.store, self.shop.id, sales(), progress) => panic!("not cut off: {rebuilt:?}"),
        }
    }

    /// The facts of the generation that serves, and which one it is.
    async fn live(&mut self) -> (i32, String) {
        facts(&mut self.superuser, self.shop.id).await
    }

    async fn rows_of_others(&mut self) -> i64 {
        sqlx::query_scalar(
            "SELECT count(*) FROM sale_fact f
             WHERE generation <> (SELECT generation FROM live_generations l
                                  WHERE l.shop_id = f.shop_id AND l.projection = 'sales')",
        )
        .fetch_one(&mut self.superuser)
        .await
        .unwrap()
    }
}

async fn facts(superuser: &mut PgConnection, shop: ShopId) -> (i32, String) {
    sqlx::query_as(
        "SELECT l.generation, string_agg((f.position, f.ordinal, f.fact_id, f.shop_day, f.net_minor)::text, ' '
                                         ORDER BY f.position, f.ordinal)
         FROM sale_fact f JOIN live_generations l USING (shop_id, generation)
         WHERE f.shop_id = $1 AND l.projection = 'sales'
         GROUP BY l.generation",
    )
    .bind(shop.0)
    .fetch_one(superuser)
    .await
    .unwrap()
}

fn shop_update(zone: &str) -> Value {
    json!({ "id": 5, "myshopify_domain": null, "iana_timezone": zone, "currency": "USD", "name": "Shop" })
}

#[tokio::test]
async fn a_rebuild_that_was_cut_off_is_gone_on_with() {
    let mut world = World::new().await;
    let before = world.live().await;
    world.cut_off_a_rebuild().await;
    assert!(world.rows_of_others().await > 0, "it had begun");
    let rebuilt = rebuild(&world.store, world.shop.id, sales(), |_, _| {}).await.unwrap();
    assert!(rebuilt.comparison.is_equal() && rebuilt.switched, "{rebuilt:?}");
    assert!(rebuilt.events < i64::try_from(2 * ORDERS).unwrap(), "it did not begin anew: {rebuilt:?}");
    let after = world.live().await;
    assert_eq!((after.0, &after.1), (before.0 + 1, &before.1));
    assert_eq!(world.rows_of_others().await, 0, "what it replaced is gone");
}

#[tokio::test]
async fn what_a_rebuild_left_behind_is_in_nobody_s_way() {
    let mut world = World::new().await;
    let (_, before) = world.live().await;
    world.cut_off_a_rebuild().await;
    // Its zone is not the shop's any more, so it is abandoned; the next one must not meet its rows.
    assert_eq!(world.shop.deliver("shop/update", &shop_update("Asia/Tokyo")).await, 200);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while world.shop.stats("2026-11-01", "2026-11-01").await["period"]["timezone"] != "Asia/Tokyo" {
        assert!(std::time::Instant::now() < deadline, "{}", world.server.log());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let (_, after) = world.live().await;
    assert_ne!(before, after, "days are cut anew");
    assert_eq!(before.split(' ').count(), after.split(' ').count(), "and nothing else changed");
    let moved = world.shop.metrics("2026-11-02", "2026-11-02").await;
    assert_eq!(moved.get("orders"), Some(30), "23:30 UTC is the next day in Tokyo");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rebuilds_that_meet_leave_one_result() {
    let mut world = World::new().await;
    let (_, before) = world.live().await;
    for round in 0..5 {
        let at_once = (0..3).map(|_| rebuild(&world.store, world.shop.id, sales(), |_, _| {}));
        let outcomes = futures::future::join_all(at_once).await;
        let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert!(done >= 1, "round {round}: {outcomes:?}");
        for outcome in &outcomes {
            match outcome {
                Ok(rebuilt) => assert!(rebuilt.comparison.is_equal(), "{rebuilt:?}"),
                Err(StoreError::Conflict(_)) => {}
                Err(error) => panic!("round {round}: {error:?}"),
            }
        }
        assert_eq!(world.live().await.1, before, "round {round}");
    }
}

#[tokio::test]
async fn a_shop_that_no_worker_has_seen_can_be_rebuilt_and_goes_on() {
    let database = TestDatabase::new().await;
    let mut serve = Ecomdash::start(&["serve", "--port", "0"], &database, &[]);
    let shop = Shop::register(&database.open(), &serve.url, "UTC", "USD").await;
    let (ok, text) = run(&database, &["rebuild", "--shop", &shop.domain]);
    assert!(ok, "{text}");
    serve.terminate();
    let up = Ecomdash::up(&database);
    let shop = shop.at(&up.url);
    let placed = order(1, "2026-11-01T12:00:00Z", vec![line(1, "10.00", 1)]);
    assert_eq!(shop.deliver("orders/create", &placed.0).await, 200);
    assert_eq!(shop.metrics("2026-11-01", "2026-11-01").await.get("orders"), Some(1));
}

#[tokio::test]
async fn read_models_of_an_older_definition_are_rebuilt_when_a_worker_starts() {
    let mut world = World::new().await;
    let (generation, before) = world.live().await;
    world.server.terminate();
    // As if an older build had folded: one of its rows had another amount.
    sqlx::raw_sql(
        "UPDATE checkpoints SET definition = 0 WHERE projection = 'sales' AND generation > 0;
         UPDATE daily_sales SET gross_minor = gross_minor + 1;
         UPDATE sale_fact SET gross_minor = gross_minor + 1, net_minor = net_minor + 1 WHERE position = 2",
    )
    .execute(&mut world.superuser)
    .await
    .unwrap();
    let server = Ecomdash::up(&world.database);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while world.live().await.0 == generation {
        assert!(std::time::Instant::now() < deadline, "{}", server.log());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(world.live().await.1, before);
    let told: Option<DateTime<Utc>> =
        sqlx::query_scalar("SELECT recorded_at FROM events WHERE event_type = 'LedgerRestated'")
            .fetch_optional(&mut world.superuser)
            .await
            .unwrap();
    assert!(told.is_some(), "a figure changed, and the log says so");
}
