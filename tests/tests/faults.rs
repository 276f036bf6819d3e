//! Faults of the surroundings cost no delivery, and one shop's trouble is not another's.

use std::{process::Stdio, time::Duration};

use chrono::{TimeDelta, Utc};
use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    bodies::{line, order, placed},
    command_on, number, run, until,
};
use ingest::{Delivery, Receiver};
use serde_json::json;

async fn orders(shop: &Shop) -> Option<i64> {
    shop.metrics("2026-11-01", "2026-11-01").await.get("orders")
}

#[tokio::test]
async fn a_clock_that_is_ahead_of_the_database_s_loses_no_delivery() {
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    let store = database.open();
    let shop = Shop::register(&store, &server.url, "UTC", "USD").await;
    let domain = shop.domain.parse().unwrap();
    let body = placed(1).to_string();
    let delivery = Delivery {
        domain: Some(&domain),
        topic: "orders/create",
        webhook_id: Some("1"),
        triggered_at: None,
        event_id: None,
        note: None,
        body: body.as_bytes(),
        received_at: Utc::now() + TimeDelta::hours(1),
    };
    Receiver::new(store).receive(&delivery).await.unwrap();
    assert_eq!(orders(&shop).await, Some(1));
}

#[tokio::test]
async fn a_right_that_is_missing_for_a_while_makes_no_dead_letter() {
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    let shop = Shop::register(&database.open(), &server.url, "UTC", "USD").await;
    let mut superuser = database.superuser().await;
    sqlx::raw_sql("REVOKE INSERT ON events FROM ecomdash_app").execute(&mut superuser).await.unwrap();
    for id in 1..=3 {
        assert_eq!(shop.deliver("orders/create", &placed(id)).await, 200);
    }
    until("the worker meets the fault", async || server.log().contains("put off")).await;
    assert_eq!(number(&mut superuser, "SELECT count(*) FROM inbox WHERE status = 'pending' AND attempts = 0").await, 3);
    sqlx::raw_sql("GRANT INSERT ON events TO ecomdash_app").execute(&mut superuser).await.unwrap();
    assert_eq!(orders(&shop).await, Some(3));
}

#[tokio::test]
async fn a_worker_with_the_wrong_keys_ends_and_touches_nothing() {
    let database = TestDatabase::new().await;
    let serve = Ecomdash::start(&["serve", "--port", "0"], &database, &[]);
    let shop = Shop::register(&database.open(), &serve.url, "UTC", "USD").await;
    assert_eq!(shop.deliver("orders/create", &placed(1)).await, 200);
    let other = vault::MasterRing::generate_key().unwrap();
    for arguments in [&["work"][..], &["serve", "--port", "0"]] {
        let mut command = command_on(&database);
        command.env("ENCRYPTION_KEYS", &other).args(arguments).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains("cannot open the keys"), "{arguments:?}: {text}");
    }
    let mut superuser = database.superuser().await;
    assert_eq!(number(&mut superuser, "SELECT count(*) FROM inbox WHERE status = 'pending' AND attempts = 0").await, 1);
}

#[tokio::test]
async fn a_worker_waits_for_the_schema() {
    let database = TestDatabase::empty(ecomdash_tests::Login::Ordinary).await;
    let serve = Ecomdash::start(&["serve", "--port", "0"], &database, &[]);
    let mut work = command_on(&database).arg("work").stderr(Stdio::null()).spawn().unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let (ok, text) = run(&database, &["migrate"]);
    assert!(ok, "{text}");
    let shop = Shop::register(&database.open(), &serve.url, "UTC", "USD").await;
    assert_eq!(shop.deliver("orders/create", &placed(1)).await, 200);
    assert_eq!(orders(&shop).await, Some(1));
    work.kill().unwrap();
    work.wait().unwrap();
}

#[tokio::test]
async fn shops_that_cannot_go_on_do_not_hold_up_the_others() {
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    let store = database.open();
    let mut superuser = database.superuser().await;
    // More of them than a look at the queue sees at once, all waiting longer than the one that is well.
    let mut broken = Vec::new();
    for _ in 0..70 {
        broken.push(Shop::register(&store, &server.url, "UTC", "USD").await);
    }
    sqlx::raw_sql("DELETE FROM heads").execute(&mut superuser).await.unwrap();
    for shop in &broken {
        assert_eq!(shop.deliver("orders/create", &placed(1)).await, 200);
    }
    let well = Shop::register(&store, &server.url, "UTC", "USD").await;
    assert_eq!(well.deliver("orders/create", &placed(1)).await, 200);
    assert_eq!(orders(&well).await, Some(1));
    assert_eq!(number(&mut superuser, "SELECT count(*) FROM inbox WHERE status = 'dead'").await, 0);
}

#[tokio::test]
async fn an_event_that_cannot_be_digested_parks_its_read_models_until_a_worker_starts() {
    let database = TestDatabase::new().await;
    let mut server = Ecomdash::up(&database);
    let store = database.open();
    let shop = Shop::register(&store, &server.url, "UTC", "USD").await;
    let other = Shop::register(&store, &server.url, "UTC", "USD").await;
    let mut superuser = database.superuser().await;
    assert_eq!(shop.deliver("orders/create", &placed(1)).await, 200);
    assert_eq!(orders(&shop).await, Some(1));

    // The second order's event loses its shape between the log and the projector.
    let mut holder = database.superuser().await;
    sqlx::raw_sql("BEGIN; SELECT FROM checkpoints WHERE projection = 'project' FOR UPDATE")
        .execute(&mut holder)
        .await
        .unwrap();
    assert_eq!(shop.deliver("orders/create", &placed(2)).await, 200);
    until("it is in the log", async || {
        number(&mut superuser, "SELECT count(*) FROM events WHERE aggregate_id = '2'").await == 1
    })
    .await;
    sqlx::raw_sql(
        "ALTER TABLE events DISABLE TRIGGER ALL;
         CREATE TABLE kept AS SELECT shop_id, position, payload FROM events WHERE aggregate_id = '2';
         UPDATE events SET payload = '{\"OrderPlaced\": {}}' WHERE aggregate_id = '2'",
    )
    .execute(&mut superuser)
    .await
    .unwrap();
    sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
    const PARKED: &str = "SELECT count(*) FROM checkpoints WHERE parked_at = 3 AND generation > 0";
    until("both are parked at the event", async || number(&mut superuser, PARKED).await == 2).await;
    // The shop's ingestion and other shops go on.
    assert_eq!(shop.deliver("orders/create", &placed(3)).await, 200);
    assert_eq!(other.deliver("orders/create", &placed(1)).await, 200);
    assert_eq!(orders(&other).await, Some(1));
    until("its deliveries become events", async || {
        number(&mut superuser, "SELECT count(*) FROM events WHERE aggregate_id = '3'").await == 1
    })
    .await;
    let (_, page) = shop.get(&format!("/api/shops/{}", shop.domain)).await;
    assert!(page.to_string().contains("OrderPlaced"), "the reason is visible: {page}");
    server.terminate();

    sqlx::raw_sql(
        "UPDATE events e SET payload = k.payload FROM kept k WHERE (e.shop_id, e.position) = (k.shop_id, k.position)",
    )
    .execute(&mut superuser)
    .await
    .unwrap();
    let mended = Ecomdash::up(&database);
    assert_eq!(orders(&shop.at(&mended.url)).await, Some(3));
}

#[tokio::test]
async fn no_reason_shows_a_value_of_the_body() {
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    let shop = Shop::register(&database.open(), &server.url, "UTC", "USD").await;
    let secret = "jane.doe@example.com";
    let fields = [
        ("currency", json!(secret)),
        ("total_tip_received", json!(secret)),
        ("total_price", json!(format!("1\u{0}{secret}"))),
        ("created_at", json!(secret)),
        ("id", json!(secret)),
        ("line_items", json!(secret)),
        ("taxes_included", json!(secret)),
        ("total_price_set", json!({ "shop_money": { "amount": secret, "currency_code": secret } })),
    ];
    for (number, (field, value)) in fields.iter().enumerate() {
        let mut body = placed(number as u64 + 1);
        body[field] = value.clone();
        assert_eq!(shop.deliver("orders/create", &body).await, 200);
    }
    shop.stats("2026-11-01", "2026-11-01").await;
    let (ok, text) = run(&database, &["inbox", "list", "--shop", &shop.domain, "--json"]);
    assert!(ok && !text.contains("jane") && !text.contains("example.com"), "{text}");
    assert!(text.matches("dead").count() >= fields.len() - 1, "{text}");
    assert!(!server.log().contains("jane"), "{}", server.log());
}

#[tokio::test]
async fn an_order_whose_sums_would_not_fit_is_a_dead_letter_and_no_more() {
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    let shop = Shop::register(&database.open(), &server.url, "UTC", "USD").await;
    let lines = |price: &str| (1..=200).map(|id| line(id, price, 1_000)).collect();
    assert_eq!(shop.deliver("orders/create", &order(1, "2026-11-01T12:00:00Z", lines("99999999.99")).0).await, 200);
    assert_eq!(shop.deliver("orders/create", &order(2, "2026-11-01T12:00:00Z", lines("99999.99")).0).await, 200);
    let tiny = order(3, "2026-10-31T12:00:00Z", vec![line(900, "0.01", 1)]);
    assert_eq!(shop.deliver("orders/create", &tiny.0).await, 200);
    let metrics = shop.metrics("2026-11-01", "2026-11-01").await;
    assert_eq!(metrics.all(["orders", "gross_sales"]), [1, 9_999_999 * 200_000]);
    let (_, text) = run(&database, &["inbox", "list", "--shop", &shop.domain, "--status", "dead"]);
    assert!(text.contains("out of range"), "{text}");
}
