//! What is measured: orders of three events (placed, fulfilled, refunded) through the real translation.

use chrono::Utc;
use domain::{Command, ShopId};
use ecomdash_tests::bodies::{line, order, refund};
use event_store::{Database, Envelope, Metadata, create_shop};
use serde_json::json;
use shopify::{Context, Translation, translate};
use uuid::Uuid;

/// A shop with a number, without read models: nothing but its log is measured.
pub fn shop(number: u128) -> ShopId {
    ShopId(Uuid::from_u128(number))
}

pub async fn create(database: &Database, shop: ShopId) -> anyhow::Result<()> {
    let mut tx = database.begin(shop).await?;
    create_shop(&mut tx).await?;
    for lock in ["ingest", "project", "rebuild"] {
        sqlx::query(
            "INSERT INTO checkpoints (shop_id, projection, generation) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING",
        )
        .bind(shop.0)
        .bind(lock)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Appends so many orders of three events.
pub async fn fill(database: &Database, shop: ShopId, orders: u64) -> anyhow::Result<()> {
    let orders: Vec<u64> = (1..=orders).collect();
    for orders in orders.chunks(500) {
        let mut tx = database.begin(shop).await?;
        tx.execute(orders.iter().flat_map(|id| commands(*id)).map(envelope).collect()).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// The three commands of an order.
pub fn commands(id: u64) -> Vec<Command> {
    let day = 1 + id % 28;
    let placed_at = format!("2026-10-{day:02}T12:{:02}:00Z", id % 60);
    let placed = order(
        id,
        &placed_at,
        vec![
            line(id * 10 + 1, "58.79", 2).discount("11.76").tax("10.58", "0.1"),
            line(id * 10 + 2, "18.38", 1).tax("1.84", "0.1"),
        ],
    )
    .code("AUTUMN10")
    .shipping(id, "13.23")
    .with(
        "shipping_address",
        json!({ "name": "Jane Doe", "address1": "1 Long Street", "city": "Springfield",
        "zip": "12345", "province_code": "IL", "country_code": "US" }),
    );
    let fulfilled =
        placed.clone().updated(&format!("2026-10-{day:02}T18:00:00Z")).with("fulfillment_status", json!("fulfilled"));
    let refund = refund(id, id, &format!("2026-11-{day:02}T09:00:00Z")).line(id * 10 + 2, 1, "18.38", "1.84", "return");
    [("orders/create", placed.0), ("orders/fulfilled", fulfilled.0), ("refunds/create", refund.0)]
        .into_iter()
        .flat_map(|(topic, body)| translated(topic, &body.to_string()))
        .collect()
}

fn translated(topic: &str, body: &str) -> Vec<Command> {
    let domain = "bench.myshopify.com".parse().expect("a domain");
    let now = Utc::now();
    let context = Context {
        topic,
        triggered_at: None,
        digest: shopify::body_digest(body.as_bytes()),
        received_at: now,
        domain: &domain,
        shopify_id: None,
        currency: "USD".parse().expect("a currency"),
    };
    match translate(&context, body.as_bytes()) {
        Ok(Translation::Commands(commands)) => commands,
        other => panic!("{other:?}"),
    }
}

pub fn metadata() -> Metadata {
    Metadata::from_source("sync").with("causation_id", Uuid::nil().to_string())
}

pub fn envelope(command: Command) -> Envelope {
    Envelope::new(command, metadata())
}
