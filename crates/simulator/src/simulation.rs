//! What happens, in its order: shops open, sell, and sometimes take back.

use std::{cmp::Reverse, collections::BinaryHeap};

use chrono::{DateTime, TimeDelta, Utc};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    body,
    catalogue::{Item, SHELF, weights},
    market::{ShopProfile, shop_profile},
    money::currency,
    order::{Line, Order, RestockType, tax_on},
};

/// Orders that all shops together take on a usual day of their past.
const ORDERS_A_DAY: u64 = 180;
/// And each of them at least.
const LEAST_ORDERS_A_DAY: u64 = 6;
/// What is made at a time while the past is told.
const CHUNK: usize = 500;

/// A webhook to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The shop's permanent domain.
    pub domain: String,
    /// `orders/create` …
    pub topic: String,
    /// The same when it is sent again.
    pub webhook_id: Uuid,
    /// The same for all that one happening brings.
    pub event_id: Uuid,
    /// When it happened.
    pub triggered_at: DateTime<Utc>,
    /// JSON.
    pub body: String,
}

/// The state of all shops, and what is still to be sent.
#[derive(Debug, Serialize, Deserialize)]
pub struct Simulation {
    seed: u64,
    shops: usize,
    /// When the past begins, and when it ends and sales are live.
    begins: DateTime<Utc>,
    ends: DateTime<Utc>,
    /// Up to where the past was told.
    clock: DateTime<Utc>,
    /// Orders of each shop.
    orders: Vec<u64>,
    /// What is to become of orders that were placed.
    due: BinaryHeap<Reverse<Due>>,
    outbox: Vec<Delivery>,
}

/// An order and what becomes of it next.
#[derive(Debug, Serialize, Deserialize)]
struct Due {
    at: DateTime<Utc>,
    order: Order,
    /// The next first.
    plan: Vec<(DateTime<Utc>, Change)>,
}

impl Due {
    fn key(&self) -> (DateTime<Utc>, usize, u64) {
        (self.at, self.order.shop, self.order.number)
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Change {
    Pay,
    Fulfil,
    AddLine,
    TakeUnitOff,
    Cancel,
    ReturnUnit,
    ReturnAll,
    RefundShipping,
    Goodwill,
    KeepGoods,
}

const REFUNDS: [Change; 6] = [
    Change::ReturnUnit,
    Change::ReturnUnit,
    Change::ReturnAll,
    Change::RefundShipping,
    Change::Goodwill,
    Change::KeepGoods,
];

impl Simulation {
    /// Shops that have sold for some days when it is `now`.
    #[must_use]
    pub fn new(seed: u64, shops: usize, days: i64, now: DateTime<Utc>) -> Self {
        let begins = now - TimeDelta::days(days);
        let mut simulation = Self {
            seed,
            shops,
            begins,
            ends: now,
            clock: begins,
            orders: vec![0; shops],
            due: BinaryHeap::new(),
            outbox: Vec::new(),
        };
        for number in 0..shops {
            let shop = shop_profile(number);
            for item in (0..SHELF).map(|number| Item { number }) {
                let of = [5, number as u64, item.number as u64];
                simulation.tell(&shop, begins, &of, &[("products/create", item.body(&shop, begins))]);
            }
        }
        simulation
    }

    /// By which all of it can be had again.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How long its past is.
    #[must_use]
    pub fn days(&self) -> i64 {
        (self.ends - self.begins).num_days()
    }

    /// The shops.
    pub fn shops(&self) -> impl Iterator<Item = ShopProfile> {
        (0..self.shops).map(shop_profile)
    }

    /// Whether the past is told.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.clock >= self.ends
    }

    /// How much of the past is told, in thousandths.
    #[must_use]
    pub fn told(&self) -> u64 {
        let whole = (self.ends - self.begins).num_minutes().max(1);
        u64::try_from((self.clock - self.begins).num_minutes() * 1_000 / whole).unwrap_or(0).min(1_000)
    }

    /// What was made and not acknowledged.
    #[must_use]
    pub fn outbox(&self) -> &[Delivery] {
        &self.outbox
    }

    /// All of it was acknowledged.
    pub fn sent(&mut self) {
        self.outbox.clear();
    }

    /// Tells the next piece of the past.
    pub fn go_on(&mut self) {
        let a_day = (ORDERS_A_DAY / self.shops.max(1) as u64).max(LEAST_ORDERS_A_DAY);
        while self.outbox.len() < CHUNK && !self.is_live() {
            let minute = self.clock;
            for number in 0..self.shops {
                let shop = shop_profile(number);
                let mut rng = self.rng(&[1, number as u64, minute.timestamp().unsigned_abs()]);
                // Of the minutes of a usual day one in so many brings an order.
                let (often, of) = (a_day * shop.bustle(minute), 1_440 * 1_000_u64);
                if rng.random_range(0..of) < often {
                    self.place(&shop, minute + TimeDelta::seconds(rng.random_range(0..60)), TimeDelta::hours(1));
                }
            }
            self.clock = minute + TimeDelta::minutes(1);
            self.change_what_is_due(self.clock.min(self.ends));
        }
        self.disorder();
    }

    /// Live: what is due, and some orders. Their hours are seconds, so that it can be watched, and so that orders which wait
    /// for what becomes of them are soon as many as they will ever be.
    pub fn sell(&mut self, now: DateTime<Utc>, orders: u64) {
        self.change_what_is_due(now);
        for number in 0..orders {
            let shop = {
                let mut rng = self.rng(&[2, now.timestamp_micros().unsigned_abs(), number]);
                shop_profile(rng.random_range(0..self.shops))
            };
            self.place(&shop, now, TimeDelta::seconds(1));
        }
    }

    fn rng(&self, of: &[u64]) -> StdRng {
        let mix = |state: u64, word: u64| (state ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        StdRng::seed_from_u64(of.iter().fold(self.seed, |state, word| mix(state, *word)))
    }

    /// An order and its plan, whose usual step takes `hour`.
    fn place(&mut self, shop: &ShopProfile, at: DateTime<Utc>, hour: TimeDelta) {
        self.orders[shop.number] += 1;
        let number = self.orders[shop.number];
        let mut rng = self.rng(&[3, shop.number as u64, number]);
        let code =
            shop.promotion(at).filter(|_| rng.random_ratio(6, 10)).map(|(code, percent)| (code.to_owned(), percent));
        let percent_off = code.as_ref().map_or(0, |(_, percent)| *percent);
        let shelf: Vec<(Item, u32)> = weights().collect();
        let lines: Vec<Line> = (0..*[1, 1, 1, 2, 2, 3].choose(&mut rng).unwrap_or(&1))
            .filter_map(|_| shelf.choose_weighted(&mut rng, |(_, weight)| *weight).ok().map(|(item, _)| *item))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|item| Line::new(item, *[1, 1, 1, 1, 2, 2, 3].choose(&mut rng).unwrap_or(&1), percent_off, shop))
            .collect();
        let money = currency(shop.currency);
        let goods: i64 = lines.iter().map(|line| line.price * line.quantity - line.discount).sum();
        let is_shipped = lines.iter().any(|line| !line.item.is_gift_card());
        let price = if goods > money.price(10_000) { 0 } else { money.price(600) };
        let shipping = is_shipped.then_some(price);
        let is_new_buyer = number == 1 || rng.random_ratio(6, 10);
        let order = Order {
            shop: shop.number,
            number,
            placed_at: at,
            updated_at: at,
            cancelled_at: None,
            fulfilled_at: None,
            is_paid: rng.random_ratio(92, 100),
            is_abroad: rng.random_ratio(8, 100),
            buyer: if is_new_buyer { number } else { rng.random_range(1..number) },
            lines,
            shipping,
            shipping_tax: shipping.map_or(0, |price| tax_on(price, shop)),
            tip: if rng.random_ratio(4, 100) { money.price(300) } else { 0 },
            code: code.filter(|_| is_shipped),
            refunds: Vec::new(),
        };
        let plan = plan(&order, hour, &mut rng);
        let mut told = Vec::new();
        if is_new_buyer {
            told.push(("customers/create", body::customer(shop, order.buyer, at)));
        }
        told.push(("orders/create", body::order(&order)));
        if order.is_paid {
            told.push(("orders/paid", body::order(&order)));
        }
        self.tell(shop, at, &[4, shop.number as u64, number, 0], &told);
        self.wait(order, plan);
    }

    fn wait(&mut self, order: Order, plan: Vec<(DateTime<Utc>, Change)>) {
        if let Some((at, _)) = plan.first() {
            self.due.push(Reverse(Due { at: *at, order, plan }));
        }
    }

    fn change_what_is_due(&mut self, until: DateTime<Utc>) {
        while self.due.peek().is_some_and(|Reverse(due)| due.at <= until) {
            let Some(Reverse(Due { at, mut order, mut plan })) = self.due.pop() else { return };
            let (_, change) = plan.remove(0);
            let shop = order.profile();
            let told = apply(&mut order, change, at);
            self.tell(&shop, at, &[4, shop.number as u64, order.number, plan.len() as u64 + 1], &told);
            self.wait(order, plan);
        }
    }

    fn tell(&mut self, shop: &ShopProfile, at: DateTime<Utc>, of: &[u64], told: &[(&str, Value)]) {
        let mut rng = self.rng(of);
        let event_id = uuid(&mut rng);
        for (topic, body) in told {
            self.outbox.push(Delivery {
                domain: shop.domain.clone(),
                topic: (*topic).to_owned(),
                webhook_id: uuid(&mut rng),
                event_id,
                triggered_at: at,
                body: body.to_string(),
            });
        }
    }

    /// Some come twice, some late.
    fn disorder(&mut self) {
        let mut rng = self.rng(&[6, self.clock.timestamp().unsigned_abs()]);
        let mut placed = Vec::with_capacity(self.outbox.len());
        for (place, delivery) in self.outbox.drain(..).enumerate() {
            if rng.random_ratio(2, 100) {
                placed.push((place + rng.random_range(1..40), delivery.clone()));
            }
            let late = if rng.random_ratio(4, 100) { rng.random_range(1..60) } else { 0 };
            placed.push((place + late, delivery));
        }
        placed.sort_by_key(|(place, _)| *place);
        self.outbox = placed.into_iter().map(|(_, delivery)| delivery).collect();
    }
}

fn uuid(rng: &mut StdRng) -> Uuid {
    uuid::Builder::from_random_bytes(rng.random()).into_uuid()
}

/// What is to become of an order.
fn plan(order: &Order, hour: TimeDelta, rng: &mut StdRng) -> Vec<(DateTime<Utc>, Change)> {
    let mut plan = Vec::new();
    let mut at = order.placed_at;
    let mut then = |hours: std::ops::Range<i32>, change: Change, rng: &mut StdRng| {
        // To the second, as Shopify tells times, and never two at once.
        at += TimeDelta::seconds((hour * rng.random_range(hours)).num_seconds() + 1);
        plan.push((at, change));
    };
    if !order.is_paid {
        then(1..6, Change::Pay, rng);
    }
    if rng.random_ratio(4, 100) {
        then(1..4, if rng.random_ratio(1, 2) { Change::AddLine } else { Change::TakeUnitOff }, rng);
    }
    if rng.random_ratio(2, 100) {
        then(1..5, Change::Cancel, rng);
        return plan;
    }
    then(8..72, Change::Fulfil, rng);
    for often in [9, 12] {
        if !rng.random_ratio(often, 100) {
            break;
        }
        then(48..480, *REFUNDS.choose(rng).unwrap_or(&Change::ReturnAll), rng);
    }
    plan
}

/// Makes the change, and says what is told of it: nothing, if there is nothing left to change.
fn apply(order: &mut Order, change: Change, at: DateTime<Utc>) -> Vec<(&'static str, Value)> {
    let shop = order.profile();
    let edits = order.lines.len();
    let unit = order.lines.iter().position(|line| line.left() > 0 && !line.item.is_gift_card());
    let refunds = order.refunds.len();
    match change {
        Change::Pay => {
            order.is_paid = true;
            order.updated_at = at;
            vec![("orders/paid", body::order(order))]
        }
        Change::Fulfil => {
            order.fulfilled_at = Some(at);
            order.updated_at = at;
            vec![("fulfillments/create", body::fulfillment(order, at)), ("orders/fulfilled", body::order(order))]
        }
        Change::AddLine => {
            let item = Item { number: usize::try_from(order.number).unwrap_or(0) % (SHELF - 1) };
            order.lines.push(Line::new(item, 1, 0, &shop));
            order.updated_at = at;
            let edit = body::edit(order, edits, at, &[(edits, 1)], &[]);
            vec![("orders/edited", edit), ("orders/updated", body::order(order))]
        }
        Change::TakeUnitOff => {
            let Some(place) = unit.filter(|_| order.lines.iter().map(Line::left).sum::<i64>() > 1) else {
                return Vec::new();
            };
            order.lines[place].removed += 1;
            order.updated_at = at;
            let edit = body::edit(order, edits, at, &[], &[(place, 1)]);
            vec![("orders/edited", edit), ("orders/updated", body::order(order))]
        }
        Change::Cancel => {
            order.cancel(at);
            vec![("refunds/create", body::refund(order, refunds)), ("orders/cancelled", body::order(order))]
        }
        Change::ReturnUnit | Change::KeepGoods => {
            let Some(place) = unit else { return Vec::new() };
            let restock = if change == Change::KeepGoods { RestockType::NoRestock } else { RestockType::Return };
            order.give_back(at, &[(place, 1)], restock);
            refunded(order, refunds)
        }
        Change::ReturnAll => {
            let all: Vec<(usize, i64)> =
                order.lines.iter().map(Line::left).enumerate().filter(|(_, left)| *left > 0).collect();
            if all.is_empty() {
                return Vec::new();
            }
            order.give_back(at, &all, RestockType::Return);
            refunded(order, refunds)
        }
        Change::RefundShipping => {
            let left = order.shipping_left();
            if left.0 <= 0 {
                return Vec::new();
            }
            order.give_back(at, &[], RestockType::NoRestock).shipping = Some(left);
            refunded(order, refunds)
        }
        Change::Goodwill => {
            let goodwill = currency(shop.currency).price(200);
            if order.current_totals().total <= goodwill {
                return Vec::new();
            }
            order.give_back(at, &[], RestockType::NoRestock).goodwill = goodwill;
            refunded(order, refunds)
        }
    }
}

fn refunded(order: &Order, place: usize) -> Vec<(&'static str, Value)> {
    vec![("refunds/create", body::refund(order, place)), ("orders/updated", body::order(order))]
}
