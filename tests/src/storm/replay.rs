//! What the figures must be: the acknowledged bodies, translated and folded in memory, without database or process.

use std::collections::BTreeMap;

use cqrs_es::{Aggregate, event_sink::EventSink};
use domain::{
    Command,
    ids::OrderId,
    ledger::{Amounts, LineType, sales_of},
    order::Order,
};
use shopify::{Context, Translation, translate};
use vault::ShopKey;

use super::history::Delivered;

/// What one order must come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expected {
    /// Sums of its ledger: units, gross, discounts, net, tax, orders.
    pub sums: [i64; 6],
    /// Goods sold, as the API's `gross_sales` counts them.
    pub gross_sales: i64,
    /// It was told of by a whole body, so `OrderPlaced` is in the log once.
    pub placed: bool,
    /// It is in the list of orders, with this total and these net sales.
    pub listed: Option<(i64, i64)>,
}

/// A ledger's sums in one row.
#[must_use]
pub fn sums_of<'a>(amounts: impl Iterator<Item = &'a Amounts>) -> [i64; 6] {
    amounts.fold([0; 6], |mut sums, amounts| {
        let row = [
            amounts.units,
            amounts.gross_minor,
            amounts.discount_minor,
            amounts.net_minor,
            amounts.tax_minor,
            amounts.orders,
        ];
        sums.iter_mut().zip(row).for_each(|(sum, amount)| *sum += amount);
        sums
    })
}

/// Folds one shop's deliveries, in whatever order they stand.
pub async fn replay<'a>(
    domain: &str,
    key: &ShopKey,
    deliveries: impl Iterator<Item = &'a Delivered>,
) -> BTreeMap<u64, Expected> {
    let domain = domain.parse().expect("a shop's domain");
    let mut orders: BTreeMap<OrderId, Order> = BTreeMap::new();
    for delivered in deliveries {
        let context = Context {
            topic: &delivered.topic,
            triggered_at: delivered.triggered_at,
            digest: key.body_digest(delivered.body.as_bytes()),
            received_at: chrono::Utc::now(),
            domain: &domain,
            shopify_id: None,
            currency: "USD".parse().expect("a currency"),
        };
        let Ok(Translation::Commands(commands)) = translate(&context, delivered.body.as_bytes()) else { continue };
        for command in commands {
            if let Command::Order(id, command) = command {
                let sink = EventSink::default();
                let Ok(()) = orders.entry(id).or_default().handle(command, &(), &sink).await;
            }
        }
    }
    orders.iter().map(|(id, order)| (id.0, expected(order))).collect()
}

fn expected(order: &Order) -> Expected {
    let sales = sales_of(order);
    let of_goods = sales.iter().filter(|(row, _)| matches!(row.line_type, LineType::Product | LineType::Adjustment));
    let sold = sales.iter().filter(|(row, _)| row.line_type == LineType::Product && !row.is_reversal);
    let net = of_goods.map(|(_, amounts)| amounts.net_minor).sum();
    let terms = order.terms.as_ref();
    Expected {
        sums: sums_of(sales.values()),
        gross_sales: sold.map(|(_, amounts)| amounts.gross_minor).sum(),
        placed: terms.is_some(),
        listed: terms.filter(|_| !order.deleted).map(|terms| (terms.total_price, net)),
    }
}
