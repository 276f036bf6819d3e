//! An order as the shop knows it, and what may become of it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::Item,
    market::{ShopProfile, shop_profile},
    money::{Exchange, currency, share},
};

/// An order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub shop: usize,
    /// Counted within the shop, from 1.
    pub number: u64,
    pub placed_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub cancelled_at: Option<DateTime<Utc>>,
    pub fulfilled_at: Option<DateTime<Utc>>,
    pub is_paid: bool,
    /// Its buyer sees another currency than the shop's.
    pub is_abroad: bool,
    pub buyer: u64,
    pub lines: Vec<Line>,
    /// What shipping costs, less what is off; `None`: nothing is shipped.
    pub shipping: Option<i64>,
    /// And the tax on it.
    pub shipping_tax: i64,
    pub tip: i64,
    /// A code, and what it takes off in percent.
    pub code: Option<(String, i64)>,
    pub refunds: Vec<Refund>,
}

/// A line. Amounts are of all units that were ordered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    pub item: Item,
    pub quantity: i64,
    /// Units taken off by an edit.
    pub removed: i64,
    /// Units given back.
    pub refunded: i64,
    pub price: i64,
    pub discount: i64,
    pub tax: i64,
}

/// Something that was given back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refund {
    pub at: DateTime<Utc>,
    pub rows: Vec<RefundRow>,
    /// Of the shipping, without its tax, and the tax.
    pub shipping: Option<(i64, i64)>,
    /// The tip, which no row tells of.
    pub tip: i64,
    /// Given back beyond what the rows say.
    pub goodwill: i64,
    pub note: Option<String>,
}

/// Units of a line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefundRow {
    /// The line's place.
    pub line: usize,
    pub units: i64,
    /// What the customer paid for them, tax included where prices include it.
    pub subtotal: i64,
    pub tax: i64,
    /// `return`, `cancel` or `no_restock`.
    pub restock: RestockType,
}

/// Whether the goods come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestockType {
    Return,
    Cancel,
    NoRestock,
}

impl RestockType {
    pub fn name(self) -> &'static str {
        match self {
            Self::Return => "return",
            Self::Cancel => "cancel",
            Self::NoRestock => "no_restock",
        }
    }
}

impl Line {
    /// A line with its discount and its tax.
    pub fn new(item: Item, quantity: i64, percent_off: i64, shop: &ShopProfile) -> Self {
        let price = item.price(currency(shop.currency));
        let percent_off = if item.is_gift_card() { 0 } else { percent_off };
        let discount = price * quantity * percent_off / 100;
        let tax = if item.is_gift_card() { 0 } else { tax_on(price * quantity - discount, shop) };
        Self { item, quantity, removed: 0, refunded: 0, price, discount, tax }
    }

    /// Units that the buyer has or will have.
    pub fn left(&self) -> i64 {
        self.quantity - self.removed - self.refunded
    }

    /// The discount and the tax on some units, behind those that left before.
    fn shares(&self, units: i64) -> (i64, i64) {
        let gone = self.removed + self.refunded;
        let of = |amount| share(amount, gone + units, self.quantity) - share(amount, gone, self.quantity);
        (of(self.discount), of(self.tax))
    }
}

/// Half a minor unit is rounded up.
pub fn tax_on(amount: i64, shop: &ShopProfile) -> i64 {
    let (rate, whole) = (shop.tax_rate, 10_000);
    let whole = if shop.taxes_included { whole + rate } else { whole };
    (2 * amount * rate + whole) / (2 * whole)
}

/// What an order comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub items: i64,
    pub discounts: i64,
    pub tax: i64,
    pub shipping: i64,
    pub tip: i64,
    pub total: i64,
}

impl Order {
    pub fn profile(&self) -> ShopProfile {
        shop_profile(self.shop)
    }

    pub fn id(&self) -> u64 {
        self.profile().id(1_000_000_000 + self.number * 1_000)
    }

    /// Of something that belongs to it: each kind counts in its own hundred.
    pub fn id_of(&self, kind: u64, place: usize) -> u64 {
        self.id() + kind * 100 + place as u64 + 1
    }

    pub fn line_id(&self, place: usize) -> u64 {
        self.id_of(1, place)
    }

    pub fn exchange(&self) -> Exchange {
        let profile = self.profile();
        let shop = currency(profile.currency);
        let buyer = if self.is_abroad { currency(profile.buyers_currency) } else { shop };
        Exchange { shop, buyer }
    }

    /// As it was ordered and edited.
    pub fn totals(&self) -> Totals {
        self.sum(|line| line.quantity, self.shipping.unwrap_or(0), self.shipping_tax)
    }

    /// As it stands after edits and refunds.
    pub fn current_totals(&self) -> Totals {
        let (mut shipping, mut tax) = (self.shipping.unwrap_or(0), self.shipping_tax);
        for (given_back, its_tax) in self.refunds.iter().filter_map(|refund| refund.shipping) {
            shipping -= given_back;
            tax -= its_tax;
        }
        let mut totals = self.sum(Line::left, shipping, tax);
        let tip: i64 = self.refunds.iter().map(|refund| refund.tip).sum();
        totals.tip -= tip;
        totals.total -= tip;
        totals
    }

    fn sum(&self, units: impl Fn(&Line) -> i64, shipping: i64, shipping_tax: i64) -> Totals {
        let mut totals = Totals { shipping, tax: shipping_tax, tip: self.tip, ..Totals::default() };
        for line in &self.lines {
            let units = units(line);
            let rest = |amount: i64| amount - share(amount, line.quantity - units, line.quantity);
            totals.items += line.price * units;
            totals.discounts += rest(line.discount);
            totals.tax += rest(line.tax);
        }
        totals.total = totals.items - totals.discounts + totals.shipping + totals.tip;
        if !self.profile().taxes_included {
            totals.total += totals.tax;
        }
        totals
    }

    /// What was given back, as money.
    pub fn refunded(&self) -> i64 {
        self.refunds.iter().map(|refund| refund.total(&self.profile())).sum()
    }

    pub fn financial_status(&self) -> &'static str {
        let given_back = self.refunded();
        match (self.is_paid, self.cancelled_at.is_some()) {
            (false, true) => "voided",
            (false, false) => "pending",
            (true, _) if given_back == 0 => "paid",
            (true, _) if given_back >= self.totals().total => "refunded",
            (true, _) => "partially_refunded",
        }
    }

    /// Gives back some units of some lines: `(line, units)`.
    pub fn give_back(&mut self, at: DateTime<Utc>, units: &[(usize, i64)], restock: RestockType) -> &mut Refund {
        let mut rows = Vec::new();
        for &(place, units) in units {
            let line = &mut self.lines[place];
            let units = units.min(line.left());
            if units <= 0 {
                continue;
            }
            let (discount, tax) = line.shares(units);
            rows.push(RefundRow { line: place, units, subtotal: line.price * units - discount, tax, restock });
            line.refunded += units;
        }
        self.updated_at = at;
        self.refunds.push(Refund { at, rows, shipping: None, tip: 0, goodwill: 0, note: None });
        self.refunds.last_mut().expect("it was just pushed")
    }

    /// What is left of the shipping that was paid, and of the tax on it.
    pub fn shipping_left(&self) -> (i64, i64) {
        let given_back = self.refunds.iter().filter_map(|refund| refund.shipping);
        given_back
            .fold((self.shipping.unwrap_or(0), self.shipping_tax), |left, back| (left.0 - back.0, left.1 - back.1))
    }

    /// All of what is left, and nothing will be sent.
    pub fn cancel(&mut self, at: DateTime<Utc>) {
        self.cancelled_at = Some(at);
        let all: Vec<(usize, i64)> = self.lines.iter().enumerate().map(|(place, line)| (place, line.left())).collect();
        let (shipping, tip) = (self.shipping_left(), self.tip);
        let refund = self.give_back(at, &all, RestockType::Cancel);
        refund.shipping = (shipping.0 > 0).then_some(shipping);
        refund.tip = tip;
    }
}

impl Refund {
    /// As money.
    pub fn total(&self, shop: &ShopProfile) -> i64 {
        let rows: i64 = self.rows.iter().map(|row| row.subtotal + if shop.taxes_included { 0 } else { row.tax }).sum();
        let (shipping, tax) = self.shipping.unwrap_or_default();
        rows + shipping + self.tip + self.goodwill + if shop.taxes_included { 0 } else { tax }
    }
}
