//! What Shopify sends during a storm: orders whose amounts no other has, and everything else, doubled, out of order and late.

use rand::{RngExt, rngs::StdRng, seq::SliceRandom};
use serde_json::{Value, json};
use uuid::Uuid;

use super::history::Delivered;
use crate::{
    bodies::line,
    catalogue::catalogue,
    random::{Delivery, Made, history, rng, storm},
};

/// Ids of one shop's orders begin at its number times this.
const SHOP_STRIDE: u64 = 1_000_000;

/// An amount that no other order of any shop has: so a wrong total names the order.
#[must_use]
pub fn unique_cents(order_id: u64) -> i64 {
    i64::try_from(order_id * 7 + 13).expect("ids are small")
}

/// The line of an order that has its own amount.
#[must_use]
pub fn unique_line(order_id: u64) -> u64 {
    order_id * 100 + 99
}

/// Draws deliveries without end.
pub struct Load {
    rng: StdRng,
    /// Those that still get deliveries: from the first of them on.
    shops: std::ops::Range<usize>,
    next_order: Vec<u64>,
    next_delivery: u64,
    late: Vec<Delivered>,
    ready: Vec<Delivered>,
    /// What was drawn.
    pub made: Made,
    /// Orders drawn.
    pub orders: u64,
}

impl Load {
    /// For so many shops.
    #[must_use]
    pub fn new(seed: u64, shops: usize) -> Self {
        Self {
            rng: rng(seed),
            shops: 0..shops,
            next_order: vec![0; shops],
            next_delivery: 0,
            late: Vec::new(),
            ready: Vec::new(),
            made: Made::default(),
            orders: 0,
        }
    }

    /// The next delivery.
    pub fn draw(&mut self) -> Delivered {
        loop {
            if let Some(delivered) = self.ready.pop() {
                return delivered;
            }
            self.draw_some();
        }
    }

    /// The first shops get nothing more, so that what is stuck with them is not set going by the next delivery.
    pub fn leave(&mut self, shops: usize) {
        self.shops.start = shops.min(self.shops.end - 1);
    }

    /// What was held back until everything else was sent: hours late, in a shop's life.
    pub fn take_late(&mut self) -> Vec<Delivered> {
        let mut rest = std::mem::take(&mut self.ready);
        rest.append(&mut self.late);
        rest
    }

    fn draw_some(&mut self) {
        let shop = self.rng.random_range(self.shops.clone());
        let orders = self.rng.random_range(1..6);
        let mut deliveries = history(&mut self.rng, orders, &mut self.made);
        let first = SHOP_STRIDE * (shop as u64 + 1) + self.next_order[shop];
        self.next_order[shop] += orders;
        self.orders += orders;
        for delivery in &mut deliveries {
            renumber(&mut delivery.body, first);
            add_unique_line(&mut delivery.body);
        }
        let mut rng = rng(self.rng.random());
        deliveries.extend(
            catalogue(&mut rng, 4, &mut self.made)
                .into_iter()
                .map(|delivery| Delivery { webhook_id: Uuid::from_u128(rng.random()).to_string(), ..delivery }),
        );
        for delivery in storm(&mut self.rng, &deliveries, &mut self.made) {
            let delivered = self.number(shop, delivery.topic, delivery.body.to_string(), false);
            let delivered =
                Delivered { webhook_id: delivery.webhook_id, triggered_at: delivery.triggered_at, ..delivered };
            let is_late = shop + 1 == self.shops.end && self.rng.random_bool(0.1);
            if is_late { &mut self.late } else { &mut self.ready }.push(delivered);
        }
        if self.rng.random_bool(0.5) {
            let (topic, body) = poison(&mut self.rng);
            let poisonous = self.number(shop, topic, body, true);
            self.ready.push(poisonous);
        }
        self.ready.shuffle(&mut self.rng);
    }

    fn number(&mut self, shop: usize, topic: &str, body: String, poison: bool) -> Delivered {
        self.next_delivery += 1;
        Delivered {
            number: self.next_delivery,
            shop,
            topic: topic.to_owned(),
            webhook_id: Uuid::from_u128(self.rng.random()).to_string(),
            triggered_at: None,
            body,
            poison,
        }
    }
}

/// The generator counts from 1001; a storm's orders have ids of their own.
fn renumber(body: &mut Value, first: u64) {
    let moved = |id: u64| id - 1001 + first;
    for key in ["id", "order_id"] {
        // Refunds have ids a hundred times as large, which go with their order's.
        let id = body.get(key).and_then(Value::as_u64);
        if let Some(id) = id {
            let new = if id >= 100_000 { moved(id / 100) * 100 + id % 100 } else { moved(id) };
            body[key] = json!(new);
        }
    }
    if let Some(edit) = body.get_mut("order_edit") {
        renumber(edit, first);
    }
    for inner in body.get_mut("refunds").and_then(Value::as_array_mut).into_iter().flatten() {
        renumber(inner, first);
    }
}

fn add_unique_line(body: &mut Value) {
    let Some(id) = body["id"].as_u64() else { return };
    if let Some(lines) = body.get_mut("line_items").and_then(Value::as_array_mut) {
        let cents = unique_cents(id);
        lines.push(line(unique_line(id), &format!("{}.{:02}", cents / 100, cents % 100), 1).0);
    }
}

fn poison(rng: &mut StdRng) -> (&'static str, String) {
    let deep = format!("{{\"id\": 9, \"note_attributes\": {}1{}}}", "[".repeat(2000), "]".repeat(2000));
    let bodies = [
        "not json".to_owned(),
        String::new(),
        "{\"id\": null}".to_owned(),
        "[]".to_owned(),
        deep,
        "{\"id\": 1e400}".to_owned(),
        "{\"id\": 5, \"line_items\": 7}".to_owned(),
        "{\"id\": 5, \"total_price\": \"1e999\"".to_owned(),
    ];
    let topics = ["orders/create", "orders/updated", "refunds/create", "customers/update", "products/update"];
    let place = rng.random_range(0..bodies.len());
    (topics[rng.random_range(0..topics.len())], format!("{}{}", bodies[place], " ".repeat(rng.random_range(0..64))))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn orders_have_ids_and_amounts_of_their_own() {
        let mut load = Load::new(7, 3);
        let mut amounts = HashSet::new();
        let mut orders = HashSet::new();
        for _ in 0..3000 {
            let delivered = load.draw();
            if delivered.topic == "orders/create" {
                let body: Value = serde_json::from_str(&delivered.body).unwrap_or_default();
                let Some(id) = body["id"].as_u64().filter(|_| !delivered.poison) else { continue };
                assert_eq!(id / SHOP_STRIDE, delivered.shop as u64 + 1);
                let lines = body["line_items"].as_array().unwrap();
                let own = lines.iter().find(|line| line["id"] == unique_line(id)).expect("its own line");
                orders.insert(id);
                amounts.insert(own["price"].as_str().unwrap().to_owned());
            }
        }
        assert!(orders.len() > 100 && orders.len() == amounts.len(), "{} {}", orders.len(), amounts.len());
    }
}
