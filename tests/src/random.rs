//! Histories of orders drawn from a seed: what Shopify would send about them, in the order in which it happened.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::{Value, json};
use shopify::ShopDomain;

use crate::bodies::{Line, Order, edit, line, order, refund};

/// One delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// `orders/create` …
    pub topic: &'static str,
    /// Its body.
    pub body: Value,
    /// Shopify's id of it.
    pub webhook_id: String,
    /// When it was triggered.
    pub triggered_at: Option<DateTime<Utc>>,
}

impl Delivery {
    /// Whether it tells of that order: as itself, as its refund, or as its edit.
    pub fn is_about_order(&self, order: u64) -> bool {
        let ids = [&self.body["order_edit"]["order_id"], &self.body["order_id"], &self.body["id"]];
        ids.into_iter().find_map(Value::as_u64) == Some(order)
    }

    /// As the inbox takes it.
    pub fn to_inbox<'a>(
        &'a self,
        domain: &'a ShopDomain,
        body: &'a str,
        received_at: DateTime<Utc>,
    ) -> ingest::Delivery<'a> {
        ingest::Delivery {
            domain: Some(domain),
            topic: self.topic,
            webhook_id: Some(&self.webhook_id),
            triggered_at: self.triggered_at,
            event_id: None,
            note: None,
            body: body.as_bytes(),
            received_at,
        }
    }
}

/// What a history has in it, so that a test can insist on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Made {
    /// Snapshots of one order with equal `updated_at`.
    pub ties: usize,
    /// Refunds.
    pub refunds: usize,
    /// Edits.
    pub edits: usize,
    /// Cancellations.
    pub cancellations: usize,
    /// Deletions.
    pub deletions: usize,
    /// After shuffling: a refund that stands before the first snapshot of its order.
    pub refunds_before_create: usize,
    /// After shuffling: a deletion that stands before the first snapshot of its order.
    pub deletions_before_create: usize,
}

/// A generator for a seed.
pub fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn money(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// What happened to `orders` orders, in order.
pub fn history(rng: &mut StdRng, orders: u64, made: &mut Made) -> Vec<Delivery> {
    let start: DateTime<Utc> = "2026-10-20T12:00:00Z".parse().unwrap();
    let mut all = Vec::new();
    for number in 1..=orders {
        let placed = start + Duration::seconds(rng.random_range(0..14 * 86_400));
        all.extend(one_order(rng, 1000 + number, placed, made));
    }
    all
}

fn one_order(rng: &mut StdRng, id: u64, placed: DateTime<Utc>, made: &mut Made) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    let mut at = placed;
    let mut body = placed_order(rng, id, placed);
    let mut send = |topic: &'static str, body: &Value, triggered_at: Option<DateTime<Utc>>, rng: &mut StdRng| {
        let webhook_id = format!("{id}-{:016x}", rng.random::<u64>());
        deliveries.push(Delivery { topic, body: body.clone(), webhook_id, triggered_at });
    };
    send("orders/create", &body.0, Some(at), rng);
    for step in 0..rng.random_range(0..5_u32) {
        // Half of the time within the same second: equal `updated_at` is what Shopify does.
        let tie = rng.random_bool(0.5);
        made.ties += usize::from(tie);
        at += if tie {
            Duration::milliseconds(rng.random_range(1..300))
        } else {
            Duration::minutes(rng.random_range(1..9000))
        };
        if !tie {
            body = body.updated(&text(at));
        }
        let triggered_at = rng.random_bool(0.8).then_some(at);
        match rng.random_range(0..10_u32) {
            0..=2 => {
                let refund = random_refund(rng, id, u64::from(step) + 1, &body, at);
                made.refunds += 1;
                send("refunds/create", &refund.0, triggered_at, rng);
                body = body.refunded(&refund);
                send("orders/updated", &body.0, triggered_at, rng);
            }
            3 | 4 => {
                let (edited, new_body) = random_edit(rng, id, u64::from(step) + 1, body, at);
                made.edits += 1;
                body = new_body;
                // The edit's own body is lost at times.
                if rng.random_bool(0.8) {
                    send("orders/edited", &edited, triggered_at, rng);
                }
                send("orders/updated", &body.0, triggered_at, rng);
            }
            5 if body.0["cancelled_at"].is_null() => {
                made.cancellations += 1;
                body = body.with("cancelled_at", json!(text(at))).with("cancel_reason", json!("customer"));
                send("orders/cancelled", &body.0, triggered_at, rng);
            }
            6 => {
                body = body.with("financial_status", json!("paid")).with("customer", Value::Null);
                send("orders/paid", &body.0, triggered_at, rng);
            }
            7 if step > 0 => {
                made.deletions += 1;
                send("orders/delete", &json!({ "id": id }), triggered_at, rng);
            }
            _ => {
                let tags = format!("t{}", rng.random_range(0..4_u32));
                body = body.with("fulfillment_status", json!("fulfilled")).with("tags", json!(tags));
                send("orders/fulfilled", &body.0, triggered_at, rng);
            }
        }
    }
    deliveries
}

fn placed_order(rng: &mut StdRng, id: u64, placed: DateTime<Utc>) -> Order {
    let lines = (1..=rng.random_range(1..4_u64))
        .map(|number| {
            let price = rng.random_range(0..9000_i64);
            let quantity = rng.random_range(1..4_i64);
            let discount = if rng.random_bool(0.4) { rng.random_range(0..=price * quantity) } else { 0 };
            let tax = (price * quantity - discount) / 10;
            let line = line(id * 100 + number, &money(price), quantity);
            let line = if discount > 0 { line.discount(&money(discount)) } else { line };
            let line = if tax > 0 { line.tax(&money(tax), "0.1") } else { line };
            match rng.random_range(0..12_u32) {
                0 => line.gift_card(),
                1 => line.tip(),
                _ => line,
            }
        })
        .collect::<Vec<Line>>();
    let order = order(id, &text(placed), lines).with("test", json!(rng.random_bool(0.05)));
    let order = order.with("taxes_included", json!(rng.random_bool(0.2)));
    if rng.random_bool(0.7) { order.shipping(id * 10, &money(rng.random_range(0..1500))) } else { order }
}

fn random_refund(
    rng: &mut StdRng,
    order_id: u64,
    number: u64,
    body: &Order,
    at: DateTime<Utc>,
) -> crate::bodies::Refund {
    let mut made = refund(order_id * 100 + number, order_id, &text(at));
    let lines = body.0["line_items"].as_array().unwrap();
    if rng.random_bool(0.8) {
        let line = &lines[rng.random_range(0..lines.len())];
        let restock = ["return", "no_restock", "cancel"][rng.random_range(0..3_usize)];
        let (subtotal, tax) =
            if restock == "cancel" { (0, 0) } else { (rng.random_range(0..4000), rng.random_range(0..400)) };
        made = made.line(line["id"].as_u64().unwrap(), 1, &money(subtotal), &money(tax), restock);
    }
    if rng.random_bool(0.3) && !body.0["shipping_lines"].as_array().unwrap().is_empty() {
        made = made.shipping(order_id * 10, &money(rng.random_range(0..700)));
    }
    if rng.random_bool(0.3) {
        let amount = rng.random_range(1..500);
        made = made.adjustment(order_id * 1000 + number, "refund_discrepancy", &format!("-{}", money(amount)), "0.00");
    }
    made
}

fn random_edit(rng: &mut StdRng, order_id: u64, number: u64, mut body: Order, at: DateTime<Utc>) -> (Value, Order) {
    let edit_id = order_id * 100 + number;
    let lines = body.0["line_items"].as_array_mut().unwrap();
    let (mut additions, mut removals) = (Vec::new(), Vec::new());
    if rng.random_bool(0.6) {
        let id = order_id * 100 + 50 + number;
        let price = rng.random_range(100..5000);
        lines.push(line(id, &money(price), 1).tax(&money(price / 10), "0.1").0);
        additions.push((id, 1));
    } else {
        let index = rng.random_range(0..lines.len());
        let left = lines[index]["current_quantity"].as_i64().unwrap();
        if left > 0 {
            lines[index]["current_quantity"] = json!(left - 1);
            removals.push((lines[index]["id"].as_u64().unwrap(), 1));
        }
    }
    (edit(edit_id, order_id, &text(at), &additions, &removals), body)
}

/// The same deliveries in another order, some of them twice and three times.
pub fn storm(rng: &mut StdRng, history: &[Delivery], made: &mut Made) -> Vec<Delivery> {
    let mut storm: Vec<Delivery> = Vec::new();
    for delivery in history {
        for copy in 0..rng.random_range(1..4_u32) {
            let mut again = delivery.clone();
            if copy > 0 && rng.random_bool(0.3) {
                // The same body under another id: a second subscription.
                again.webhook_id = format!("{:016x}", rng.random::<u64>());
            }
            storm.push(again);
        }
    }
    storm.shuffle(rng);
    let mut created = std::collections::HashSet::new();
    for delivery in &storm {
        match delivery.topic {
            "refunds/create" if !created.contains(&delivery.body["order_id"].as_u64()) => {
                made.refunds_before_create += 1
            }
            "orders/delete" if !created.contains(&delivery.body["id"].as_u64()) => made.deletions_before_create += 1,
            "refunds/create" | "orders/delete" | "orders/edited" => {}
            _ => {
                created.insert(delivery.body["id"].as_u64());
            }
        }
    }
    storm
}

/// A number to begin with, printed so that a failure can be repeated: `SEED=… bin/test`.
pub fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0));
    eprintln!("SEED={seed}");
    seed
}
