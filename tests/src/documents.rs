//! Orders in the shape of the Admin API's GraphQL, with their sales agreements: made by hand, or of what webhooks taught.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use cqrs_es::{Aggregate, test::TestFramework};
use domain::{
    Command, Currency, Money,
    ids::OrderId,
    ledger::{LineType, Reason, sales_of},
    order::{Line, LineKind, Order, OrderCommand, OrderEvent, Refund, Restock},
};
use rand::{RngExt, rngs::StdRng};
use serde_json::{Value, json};
use shopify::{Context, ORDER_DOCUMENT, Translation, translate};
use vault::ShopKey;

use crate::random::Delivery;

fn gid(kind: &str, id: u64) -> String {
    format!("gid://shopify/{kind}/{id}")
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn bag(amount: &str, currency: &str) -> Value {
    json!({ "shopMoney": { "amount": amount, "currencyCode": currency },
            "presentmentMoney": { "amount": amount, "currencyCode": currency } })
}

/// One row of an agreement. Amounts are in US dollars.
pub fn sale(id: u64, action: &str, line_type: &str, quantity: i64, amounts: [&str; 3]) -> Value {
    let [total, tax, discount] = amounts;
    json!({ "id": gid("Sale", id), "actionType": action, "lineType": line_type, "quantity": quantity,
            "totalAmount": bag(total, "USD"), "totalTaxAmount": bag(tax, "USD"),
            "totalDiscountAmountBeforeTaxes": bag(discount, "USD"),
            "totalDiscountAmountAfterTaxes": bag(discount, "USD") })
}

/// The same of a line.
pub fn line_sale(id: u64, action: &str, line: u64, quantity: i64, amounts: [&str; 3]) -> Value {
    let mut sale = sale(id, action, "PRODUCT", quantity, amounts);
    sale["lineItem"] = json!({ "id": gid("LineItem", line) });
    sale
}

/// An agreement.
pub fn agreement(id: u64, at: &str, reason: &str, sales: Vec<Value>) -> Value {
    let kind = match reason {
        "ORDER" => "OrderAgreement",
        "ORDER_EDIT" => "OrderEditAgreement",
        "RETURN" => "ReturnAgreement",
        _ => "RefundAgreement",
    };
    // Of a refund or a return that no body tells of, unless a test says otherwise.
    json!({ "__typename": kind, "id": gid(kind, id), "happenedAt": at, "reason": reason,
            "refund": { "id": gid("Refund", 100 + id) }, "return": (reason == "RETURN").then(|| json!({ "id": gid("Return", 100 + id) })),
            "sales": { "nodes": sales, "pageInfo": { "hasNextPage": false } } })
}

/// An order of one unit of each line, in US dollars.
pub fn document(id: u64, placed_at: &str, updated_at: &str, lines: &[(u64, &str)], agreements: Vec<Value>) -> Value {
    let line = |(id, price): &(u64, &str)| {
        json!({ "id": gid("LineItem", *id), "title": "Thing", "quantity": 1, "currentQuantity": 1, "isGiftCard": false,
                "product": { "id": gid("Product", 7000 + id) }, "variant": { "id": gid("ProductVariant", 8000 + id) },
                "originalUnitPriceSet": bag(price, "USD"), "discountAllocations": [], "taxLines": [], "duties": [] })
    };
    json!({
        "id": gid("Order", id), "name": format!("#{id}"), "createdAt": placed_at, "processedAt": placed_at,
        "updatedAt": updated_at, "currencyCode": "USD", "presentmentCurrencyCode": "USD", "taxesIncluded": false,
        "test": false, "cancelledAt": null, "displayFinancialStatus": "PAID", "displayFulfillmentStatus": "UNFULFILLED",
        "lineItems": { "edges": lines.iter().map(|of| json!({ "node": line(of) })).collect::<Vec<_>>(),
                       "pageInfo": { "hasNextPage": false } },
        "shippingLines": { "nodes": [] }, "refunds": [],
        "agreements": { "nodes": agreements, "pageInfo": { "hasNextPage": false } },
    })
}

/// What Shopify would answer about an order of which all of this is known: its agreements book what we derive.
pub fn document_of(id: OrderId, order: &Order, updated_at: DateTime<Utc>) -> Value {
    let terms = order.terms.as_ref().expect("a snapshot is known");
    let money = Amounts(terms.currency);
    let lines = order.lines.iter().map(|(id, seen)| line_of(id.0, &seen.value, &money));
    let shipping = order.shipping_lines.iter().map(|(id, seen)| {
        json!({ "id": gid("ShippingLine", id.0), "originalPriceSet": money.bag(seen.value.price_minor),
                "isRemoved": seen.value.removed, "discountAllocations": allocations(&seen.value.allocations, &money),
                "taxLines": taxes(&seen.value.taxes, &money) })
    });
    let refunds = order.refunds.iter().map(|(id, refund)| refund_of(id.0, &refund.value, &money));
    json!({
        "id": gid("Order", id.0), "name": terms.name, "updatedAt": text(updated_at),
        "createdAt": terms.created_at.map(text), "processedAt": terms.processed_at.map(text),
        "cancelledAt": order.status.cancelled_at.map(text), "currencyCode": terms.currency.code(),
        "presentmentCurrencyCode": terms.currency.code(), "taxesIncluded": terms.taxes_included, "test": terms.test,
        "displayFinancialStatus": order.status.financial.as_deref().map(str::to_uppercase),
        "displayFulfillmentStatus": "UNFULFILLED", "sourceName": terms.source_name,
        "customer": order.customer.as_ref().map(|known| json!({ "id": gid("Customer", known.value.0) })),
        "totalPriceSet": money.bag(terms.total_price), "totalTipReceivedSet": money.bag(terms.tip),
        "originalTotalDutiesSet": terms.duties.map(|duties| money.bag(duties)),
        "originalTotalAdditionalFeesSet": terms.additional_fees.map(|fees| money.bag(fees)),
        "lineItems": { "nodes": lines.collect::<Vec<_>>() },
        "shippingLines": { "edges": shipping.map(|node| json!({ "node": node })).collect::<Vec<_>>() },
        "refunds": refunds.collect::<Vec<_>>(),
        "agreements": { "nodes": agreements_of(id, order, &money) },
    })
}

/// Documents of a history's orders: of each one as it was at some moment of it, and of each one at its end. Orders that were
/// deleted have none, nor those of which random refunds gave back more than there was: no shop books a negative reversal. Of two
/// bodies of one instant that one counts which does in a shop of that key.
pub fn documents_of(rng: &mut StdRng, key: &ShopKey, history: &[Delivery]) -> (Vec<Delivery>, Vec<Delivery>) {
    let mut orders: BTreeMap<u64, Vec<OrderCommand>> = BTreeMap::new();
    for delivery in history {
        let context = Context {
            topic: delivery.topic,
            triggered_at: delivery.triggered_at,
            digest: key.body_digest(delivery.body.to_string().as_bytes()),
            received_at: DateTime::default(),
            domain: &"documents.myshopify.com".parse().expect("a domain"),
            shopify_id: None,
            currency: "USD".parse().expect("a currency"),
        };
        let translation = translate(&context, delivery.body.to_string().as_bytes()).expect("a body that can be read");
        let Translation::Commands(commands) = translation else { continue };
        for command in commands {
            if let Command::Order(id, command) = command {
                orders.entry(id.0).or_default().push(command);
            }
        }
    }
    let end: DateTime<Utc> = "2027-06-01T00:00:00Z".parse().expect("an instant");
    let (mut midway, mut at_the_end) = (Vec::new(), Vec::new());
    for (id, commands) in orders {
        let seen = rng.random_range(1..=commands.len());
        let [known, at_last] = states_of([&commands[..seen], &commands]);
        let at = known.newest.and_then(|version| version.updated_at);
        let at = known.edits.values().map(|edit| edit.value.at).chain(known.status.cancelled_at).chain(at).max();
        let deliver = |order: &Order, at| Delivery {
            topic: ORDER_DOCUMENT,
            body: document_of(OrderId(id), order, at),
            webhook_id: String::new(),
            triggered_at: None,
        };
        if let Some(at) = at.filter(|_| can_be_booked(&known)) {
            midway.push(deliver(&known, at));
        }
        let known = at_last;
        if can_be_booked(&known) {
            at_the_end.push(deliver(&known, end));
        }
    }
    (midway, at_the_end)
}

fn can_be_booked(order: &Order) -> bool {
    let is_odd = |(row, amounts): (&domain::ledger::Dimensions, &domain::ledger::Amounts)| {
        row.is_reversal
            && row.line_type != LineType::Adjustment
            && (amounts.net_minor > 0 || amounts.tax_minor > 0 || amounts.net_minor + amounts.tax_minor > 0)
    };
    order.terms.is_some() && !order.deleted && !sales_of(order).iter().any(is_odd)
}

/// On a thread of its own: the framework has a runtime of its own, too.
fn states_of<const N: usize>(commands: [&[OrderCommand]; N]) -> [Order; N] {
    std::thread::scope(|scope| scope.spawn(|| commands.map(state_of)).join().expect("no panic"))
}

fn state_of(commands: &[OrderCommand]) -> Order {
    let (mut past, mut state): (Vec<OrderEvent>, Order) = (Vec::new(), Order::default());
    for command in commands {
        let given = TestFramework::<Order>::with(()).given(past.clone());
        for event in given.when(command.clone()).inspect_result().expect("never refused") {
            state.apply(event.clone());
            past.push(event);
        }
    }
    state
}

struct Amounts(Currency);

impl Amounts {
    fn bag(&self, minor: i64) -> Value {
        bag(&Money { minor, currency: self.0 }.to_string(), self.0.code())
    }
}

fn allocations(allocations: &[domain::order::Allocation], money: &Amounts) -> Value {
    let node = |allocation: &domain::order::Allocation| {
        json!({ "allocatedAmountSet": money.bag(allocation.amount_minor),
                "discountApplication": { "index": allocation.application } })
    };
    allocations.iter().map(node).collect()
}

fn taxes(taxes: &[domain::order::Tax], money: &Amounts) -> Value {
    let node = |tax: &domain::order::Tax| {
        let rate = format!("{}.{:09}", tax.rate_nano / 1_000_000_000, tax.rate_nano % 1_000_000_000);
        json!({ "title": "Tax", "rate": rate, "priceSet": money.bag(tax.amount_minor) })
    };
    taxes.iter().map(node).collect()
}

fn line_of(id: u64, line: &Line, money: &Amounts) -> Value {
    json!({
        "id": gid("LineItem", id), "title": "Thing", "quantity": line.quantity,
        "currentQuantity": line.current_quantity, "isGiftCard": line.kind == LineKind::GiftCard,
        "product": line.product_id.map(|id| json!({ "id": gid("Product", id.0) })),
        "variant": line.variant_id.map(|id| json!({ "id": gid("ProductVariant", id.0) })),
        "originalUnitPriceSet": money.bag(line.price_minor),
        "discountAllocations": allocations(&line.allocations, money), "taxLines": taxes(&line.taxes, money),
        "duties": if line.duties_minor == 0 { json!([]) } else { json!([{ "price": money.bag(line.duties_minor) }]) },
    })
}

fn refund_of(id: u64, refund: &Refund, money: &Amounts) -> Value {
    let restock = |restock| match restock {
        Restock::Return => "RETURN",
        Restock::Cancel => "CANCEL",
        Restock::NoRestock => "NO_RESTOCK",
        Restock::LegacyRestock => "LEGACY_RESTOCK",
        Restock::Other => "OTHER",
    };
    let lines = refund.lines.iter().map(|row| {
        json!({ "id": gid("RefundLineItem", row.id.0), "lineItem": { "id": gid("LineItem", row.line_id.0) },
                "quantity": row.units, "restockType": restock(row.restock),
                "subtotalSet": money.bag(row.subtotal_minor), "totalTaxSet": money.bag(row.tax_minor) })
    });
    let shipping = refund.shipping.iter().map(|row| {
        json!({ "id": gid("RefundShippingLine", row.id.0), "subtotalAmountSet": money.bag(row.amount_minor),
                "shippingLine": row.shipping_line_id.map(|id| json!({ "id": gid("ShippingLine", id.0) })) })
    });
    let adjustments = refund.adjustments.iter().map(|row| {
        json!({ "id": gid("OrderAdjustment", row.id.0), "amountSet": money.bag(row.amount_minor),
                "taxAmountSet": money.bag(row.tax_minor), "reason": "REFUND_DISCREPANCY" })
    });
    json!({
        "id": gid("Refund", id), "createdAt": text(refund.at), "processedAt": text(refund.at),
        "return": refund.return_id.map(|id| json!({ "id": gid("Return", id.0) })),
        "duties": [{ "amountSet": money.bag(refund.duties_minor) }],
        "refundLineItems": { "nodes": lines.collect::<Vec<_>>() },
        "refundShippingLines": { "nodes": shipping.collect::<Vec<_>>() },
        "orderAdjustments": { "nodes": adjustments.collect::<Vec<_>>() },
    })
}

fn agreements_of(order_id: OrderId, order: &Order, money: &Amounts) -> Vec<Value> {
    let sales = sales_of(order);
    // By instant, why, and the refund that they book.
    let mut groups: BTreeMap<(DateTime<Utc>, Reason, Option<u64>), Vec<Value>> = BTreeMap::new();
    if !sales.is_empty() {
        for (id, refund) in &order.refunds {
            let reason = if refund.value.return_id.is_some() { Reason::Return } else { Reason::Refund };
            groups.entry((refund.value.at, reason, Some(id.0))).or_default();
        }
    }
    for ((row, amounts), number) in sales.iter().zip(1..) {
        let mut words = row.business_key.split('/').skip_while(|word| *word != "refund").skip(1);
        let refund = words.next().and_then(|id| id.parse().ok());
        let line_type = match row.line_type {
            LineType::Product => "PRODUCT",
            LineType::Shipping => "SHIPPING",
            LineType::Tip => "TIP",
            LineType::GiftCard => "GIFT_CARD",
            LineType::Duty => "DUTY",
            LineType::AdditionalFee => "ADDITIONAL_FEE",
            LineType::Fee => "FEE",
            LineType::Adjustment => "ADJUSTMENT",
            LineType::Unknown => "UNKNOWN",
        };
        // A tip that is a total of the order has no line: Shopify makes one.
        let line = row.line_id.map(|id| id.0).or((row.line_type == LineType::Tip).then_some(order_id.0));
        let shipping = row.business_key.strip_prefix("shipping/").and_then(|rest| rest.split('/').next()?.parse().ok());
        let mut sale = json!({
            "id": gid("Sale", number), "actionType": if row.is_reversal { "RETURN" } else { "ORDER" },
            "lineType": line_type, "quantity": amounts.units,
            "totalAmount": money.bag(amounts.net_minor + amounts.tax_minor),
            "totalTaxAmount": money.bag(amounts.tax_minor),
            "totalDiscountAmountBeforeTaxes": money.bag(amounts.discount_minor),
        });
        if let Some(id) = line {
            sale["lineItem"] = json!({ "id": gid("LineItem", id),
                "product": row.product_id.map(|id| json!({ "id": gid("Product", id.0) })),
                "variant": row.variant_id.map(|id| json!({ "id": gid("ProductVariant", id.0) })) });
        }
        if let Some(id) = shipping {
            sale["shippingLine"] = json!({ "id": gid("ShippingLine", id) });
        }
        groups.entry((row.occurred_at, row.reason, refund)).or_default().push(sale);
    }
    type Group = ((DateTime<Utc>, Reason, Option<u64>), Vec<Value>);
    let agreement = |(((at, reason, refund), sales), number): (Group, u64)| {
        let (kind, reason) = match reason {
            Reason::Order => ("OrderAgreement", "ORDER"),
            Reason::OrderEdit | Reason::Cancel => ("OrderEditAgreement", "ORDER_EDIT"),
            Reason::Return => ("RefundAgreement", "RETURN"),
            Reason::Refund => ("RefundAgreement", "REFUND"),
            Reason::Unknown => ("OrderAgreement", "UNKNOWN"),
        };
        json!({ "id": gid(kind, order_id.0 * 1000 + number), "happenedAt": text(at), "reason": reason,
                "refund": refund.map(|id| json!({ "id": gid("Refund", id) })), "sales": { "nodes": sales } })
    };
    groups.into_iter().zip(1..).map(agreement).collect()
}
