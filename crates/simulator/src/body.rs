//! Bodies as Shopify sends them. Every field here is in its documentation or in what it was seen to send.

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use serde_json::{Number, Value, json};

use crate::{
    market::ShopProfile,
    money::{Currency, Exchange},
    order::{Line, Order, Refund, Totals},
};

/// A moment, by the shop's clock and to the second.
pub fn instant(at: DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Secs, false)
}

const FIRST_NAMES: [&str; 12] =
    ["Ada", "Bela", "Chidi", "Dana", "Emre", "Freya", "Goro", "Hana", "Ines", "Jonas", "Kofi", "Lena"];
const LAST_NAMES: [&str; 11] =
    ["Abara", "Brandt", "Costa", "Dufour", "Endo", "Fischer", "Grant", "Holm", "Ito", "Jansen", "Keller"];

/// Someone who buys.
pub struct Buyer {
    pub id: u64,
    pub first: &'static str,
    pub last: &'static str,
    pub email: String,
}

/// The shop's buyer of that number.
pub fn buyer(shop: &ShopProfile, number: u64) -> Buyer {
    let pick = |names: &[&'static str], at: u64| names[usize::try_from(at).unwrap_or(0) % names.len()];
    let (first, last) = (pick(&FIRST_NAMES, number), pick(&LAST_NAMES, number / 3));
    let email = format!("{}.{}.{number}@example.com", first.to_lowercase(), last.to_lowercase());
    Buyer { id: shop.id(500_000_000 + number), first, last, email }
}

fn address(buyer: &Buyer, shop: &ShopProfile) -> Value {
    json!({
        "first_name": buyer.first, "address1": format!("{} Mill Lane", buyer.id % 200 + 1), "phone": null,
        "city": "Middletown", "zip": format!("{:05}", buyer.id % 90_000 + 10_000), "province": null, "country": shop.country_name,
        "last_name": buyer.last, "address2": null, "company": null, "latitude": null, "longitude": null,
        "name": format!("{} {}", buyer.first, buyer.last), "country_code": shop.country, "province_code": null,
    })
}

/// As `customers/create` sends it, and as it stands in an order.
pub fn customer(shop: &ShopProfile, number: u64, at: DateTime<Utc>) -> Value {
    let buyer = buyer(shop, number);
    let at = instant(at, shop.zone);
    let mut home = address(&buyer, shop);
    for unknown in ["latitude", "longitude"] {
        home.as_object_mut().expect("an address").remove(unknown);
    }
    home["id"] = json!(buyer.id + 1);
    home["customer_id"] = json!(buyer.id);
    home["country_name"] = json!(shop.country_name);
    home["default"] = json!(true);
    json!({
        "id": buyer.id, "created_at": at, "updated_at": at, "first_name": buyer.first, "last_name": buyer.last,
        "state": "disabled", "note": null, "verified_email": true, "multipass_identifier": null, "tax_exempt": false,
        "email": buyer.email, "phone": null, "currency": shop.currency, "tax_exemptions": [],
        "admin_graphql_api_id": format!("gid://shopify/Customer/{}", buyer.id), "default_address": home,
    })
}

/// A rate as JSON has it: `0.0825`.
fn rate(shop: &ShopProfile) -> Value {
    let text = format!("0.{:04}", shop.tax_rate);
    text.trim_end_matches('0').parse::<Number>().map_or(json!(0), Value::Number)
}

fn tax_lines(tax: i64, shop: &ShopProfile, exchange: Exchange) -> Value {
    if tax == 0 {
        return json!([]);
    }
    json!([{
        "channel_liable": false, "price": exchange.shop.text(tax), "price_set": exchange.set(tax), "rate": rate(shop),
        "title": shop.tax_title,
    }])
}

fn line(order: &Order, place: usize, line: &Line) -> Value {
    let (shop, exchange) = (order.profile(), order.exchange());
    let item = line.item;
    let id = order.line_id(place);
    let is_sent = order.fulfilled_at.is_some();
    let allocations = if line.discount == 0 {
        json!([])
    } else {
        json!([{ "amount": exchange.shop.text(line.discount), "amount_set": exchange.set(line.discount),
                 "discount_application_index": 0 }])
    };
    json!({
        "id": id, "admin_graphql_api_id": format!("gid://shopify/LineItem/{id}"), "attributed_staffs": [],
        "current_quantity": line.left(), "fulfillable_quantity": if is_sent { 0 } else { line.left() },
        "fulfillment_service": if item.is_gift_card() { "gift_card" } else { "manual" },
        "fulfillment_status": if is_sent { json!("fulfilled") } else { Value::Null },
        "gift_card": item.is_gift_card(), "grams": item.grams(), "name": item.title(),
        "price": exchange.shop.text(line.price), "price_set": exchange.set(line.price), "product_exists": true,
        "product_id": item.product_id(&shop), "properties": [], "quantity": line.quantity,
        "requires_shipping": !item.is_gift_card(), "sales_line_item_group_id": null, "sku": item.sku(),
        "taxable": !item.is_gift_card(), "title": item.title(), "total_discount": exchange.shop.text(0),
        "total_discount_set": exchange.set(0), "variant_id": item.variant_id(&shop),
        "variant_inventory_management": if item.is_gift_card() { Value::Null } else { json!("shopify") },
        "variant_title": null, "vendor": shop.name, "tax_lines": tax_lines(line.tax, &shop, exchange), "duties": [],
        "discount_allocations": allocations,
    })
}

fn shipping_lines(order: &Order) -> Value {
    let Some(price) = order.shipping else { return json!([]) };
    let (shop, exchange) = (order.profile(), order.exchange());
    let (text, set) = (exchange.shop.text(price), exchange.set(price));
    json!([{
        "id": order.id_of(2, 0), "carrier_identifier": null, "code": "Standard", "current_discounted_price_set": set,
        "discounted_price": text, "discounted_price_set": set, "is_removed": false, "phone": null, "price": text,
        "price_set": set, "requested_fulfillment_service_id": null, "source": "shopify", "title": "Standard",
        "tax_lines": tax_lines(order.shipping_tax, &shop, exchange), "discount_allocations": [],
    }])
}

/// As `orders/*` send it.
pub fn order(order: &Order) -> Value {
    let (shop, exchange) = (order.profile(), order.exchange());
    let (Totals { items, discounts, tax, shipping, tip, total }, now) = (order.totals(), order.current_totals());
    let id = order.id();
    let buyer = buyer(&shop, order.buyer);
    let at = |at: DateTime<Utc>| instant(at, shop.zone);
    let text = |minor| exchange.shop.text(minor);
    let set = |minor| exchange.set(minor);
    let home = address(&buyer, &shop);
    let (codes, applications) = match &order.code {
        Some((code, percent)) => (
            json!([{ "code": code, "amount": text(discounts), "type": "percentage" }]),
            json!([{ "target_type": "line_item", "type": "discount_code", "value": format!("{percent}.0"),
                     "value_type": "percentage", "allocation_method": "across", "target_selection": "all", "code": code }]),
        ),
        None => (json!([]), json!([])),
    };
    let token = format!("{id:032x}");
    let first = json!({
        "id": id, "admin_graphql_api_id": format!("gid://shopify/Order/{id}"), "app_id": 580_111, "browser_ip": null,
        "buyer_accepts_marketing": false, "cancel_reason": order.cancelled_at.map(|_| "customer"),
        "cancelled_at": order.cancelled_at.map(at), "cart_token": null, "checkout_token": null, "client_details": null,
        "closed_at": null, "confirmation_number": format!("SIM{:06}", order.number), "confirmed": true,
        "contact_email": buyer.email, "created_at": at(order.placed_at), "currency": shop.currency,
        "current_shipping_price_set": set(now.shipping),
        "current_subtotal_price": text(now.items - now.discounts), "current_subtotal_price_set": set(now.items - now.discounts),
        "current_total_additional_fees_set": null, "current_total_discounts": text(now.discounts),
        "current_total_discounts_set": set(now.discounts), "current_total_duties_set": null,
        "current_total_price": text(now.total), "current_total_price_set": set(now.total),
        "current_total_tax": text(now.tax), "current_total_tax_set": set(now.tax), "customer_locale": "en", "device_id": null,
        "discount_codes": codes, "duties_included": false, "email": buyer.email, "estimated_taxes": false,
        "financial_status": order.financial_status(),
        "fulfillment_status": order.fulfilled_at.map(|_| "fulfilled"),
    });
    let second = json!({
        "landing_site": null, "landing_site_ref": null, "location_id": null, "merchant_business_entity_id": "MTU0ODM4MDAwOQ",
        "merchant_of_record_app_id": null, "name": format!("#{}", 1_000 + order.number), "note": null, "note_attributes": [],
        "number": order.number, "order_number": 1_000 + order.number,
        "order_status_url": format!("https://{}/orders/{token}", shop.domain), "original_total_additional_fees_set": null,
        "original_total_duties_set": null, "payment_gateway_names": ["shopify_payments"], "phone": null, "po_number": null,
        "presentment_currency": exchange.buyer.code, "processed_at": at(order.placed_at), "reference": null,
        "referring_site": null, "source_identifier": null, "source_name": "web", "source_url": null,
    });
    let third = json!({
        "subtotal_price": text(items - discounts), "subtotal_price_set": set(items - discounts), "tags": "",
        "tax_exempt": false, "tax_lines": tax_lines(tax, &shop, exchange), "taxes_included": shop.taxes_included,
        "test": false, "token": token, "total_cash_rounding_payment_adjustment_set": set(0),
        "total_cash_rounding_refund_adjustment_set": set(0), "total_discounts": text(discounts),
        "total_discounts_set": set(discounts), "total_line_items_price": text(items), "total_line_items_price_set": set(items),
        "total_outstanding": text(if order.is_paid { 0 } else { now.total }), "total_price": text(total),
        "total_price_set": set(total), "total_shipping_price_set": set(shipping), "total_tax": text(tax),
        "total_tax_set": set(tax), "total_tip_received": text(tip),
        "total_weight": order.lines.iter().map(|line| line.item.grams() * line.quantity).sum::<i64>(),
        "updated_at": at(order.updated_at), "user_id": null,
        "billing_address": home, "customer": customer(&shop, order.buyer, order.placed_at),
        "discount_applications": applications, "fulfillments": [],
        "line_items": order.lines.iter().enumerate().map(|(place, of)| line(order, place, of)).collect::<Vec<_>>(),
        "payment_terms": null,
        "refunds": (0..order.refunds.len()).map(|place| refund(order, place)).collect::<Vec<_>>(),
        "shipping_address": order.shipping.map(|_| home.clone()), "shipping_lines": shipping_lines(order), "returns": [],
        "line_item_groups": [],
    });
    // In one, they are too many for the macro.
    let parts = [first, second, third].into_iter().filter_map(|part| match part {
        Value::Object(fields) => Some(fields),
        _ => None,
    });
    Value::Object(parts.flatten().collect())
}

/// As `refunds/create` sends it, and as it stands in an order.
pub fn refund(order: &Order, place: usize) -> Value {
    let (shop, exchange) = (order.profile(), order.exchange());
    let refund: &Refund = &order.refunds[place];
    let id = order.id_of(3, place);
    let at = instant(refund.at, shop.zone);
    let rows: Vec<Value> = (0..)
        .zip(&refund.rows)
        .map(|(number, row)| {
            json!({
                "id": order.id_of(4, place * 20 + number), "quantity": row.units, "line_item_id": order.line_id(row.line),
                "location_id": null, "restock_type": row.restock.name(), "subtotal": number_of(exchange.shop, row.subtotal),
                "total_tax": number_of(exchange.shop, row.tax), "subtotal_set": exchange.set(row.subtotal),
                "total_tax_set": exchange.set(row.tax), "line_item": line(order, row.line, &order.lines[row.line]),
            })
        })
        .collect();
    let mut adjustments = Vec::new();
    let mut adjust = |kind: &str, reason: &str, amount: i64, tax: i64| {
        let number = adjustments.len();
        adjustments.push(json!({
            "id": order.id_of(5, place * 20 + number), "order_id": order.id(), "refund_id": id,
            "amount": exchange.shop.text(-amount), "amount_set": exchange.set(-amount),
            "tax_amount": exchange.shop.text(-tax), "tax_amount_set": exchange.set(-tax), "kind": kind, "reason": reason,
        }));
    };
    if let Some((amount, tax)) = refund.shipping {
        // Without its tax, also where the price includes it.
        adjust("shipping_refund", "Shipping refund", if shop.taxes_included { amount - tax } else { amount }, tax);
    }
    if refund.goodwill > 0 {
        adjust("refund_discrepancy", "Refund discrepancy", refund.goodwill, 0);
    }
    let transaction = order.id_of(6, place);
    let total = refund.total(&shop);
    let transactions = if order.is_paid && total > 0 {
        json!([{
            "id": transaction, "order_id": order.id(), "kind": "refund", "gateway": "shopify_payments", "status": "success",
            "message": null, "created_at": at, "test": false, "authorization": null, "location_id": null, "user_id": null,
            "parent_id": order.id_of(7, 0), "processed_at": at, "device_id": null, "error_code": null, "source_name": "web",
            "receipt": {}, "amount": exchange.shop.text(total), "currency": shop.currency,
            "payment_id": format!("#{}.{}", 1_000 + order.number, place + 2),
            "total_unsettled_set": { "presentment_money": { "amount": "0.0", "currency": exchange.buyer.code },
                                     "shop_money": { "amount": "0.0", "currency": shop.currency } },
            "manual_payment_gateway": false, "amount_rounding": null,
            "admin_graphql_api_id": format!("gid://shopify/OrderTransaction/{transaction}"),
        }])
    } else {
        json!([])
    };
    json!({
        "id": id, "order_id": order.id(), "created_at": at, "note": refund.note, "user_id": null, "processed_at": at,
        "duties": [], "total_duties_set": exchange.set(0), "return": null, "refund_shipping_lines": [],
        "restock": refund.rows.iter().any(|row| row.restock.name() != "no_restock"),
        "admin_graphql_api_id": format!("gid://shopify/Refund/{id}"), "order_adjustments": adjustments,
        "refund_line_items": rows, "transactions": transactions,
    })
}

/// Refunds' rows have JSON numbers where everything else has texts.
fn number_of(currency: Currency, minor: i64) -> Value {
    currency.text(minor).parse::<Number>().map_or(Value::Null, Value::Number)
}

/// As `orders/edited` sends it: units by line.
pub fn edit(
    order: &Order,
    number: usize,
    at: DateTime<Utc>,
    additions: &[(usize, i64)],
    removals: &[(usize, i64)],
) -> Value {
    let at = instant(at, order.profile().zone);
    let deltas = |deltas: &[(usize, i64)]| -> Vec<Value> {
        deltas.iter().map(|&(place, delta)| json!({ "id": order.line_id(place), "delta": delta })).collect()
    };
    json!({ "order_edit": {
        "id": order.id_of(8, number), "app_id": null, "created_at": at, "committed_at": at, "notify_customer": false,
        "order_id": order.id(), "staff_note": "", "user_id": null,
        "line_items": { "additions": deltas(additions), "removals": deltas(removals) },
        "discounts": { "line_item": { "additions": [], "removals": [] } },
        "shipping_lines": { "additions": [], "removals": [] },
    } })
}

/// As `fulfillments/create` sends it: one parcel with all of it.
pub fn fulfillment(order: &Order, at: DateTime<Utc>) -> Value {
    let shop = order.profile();
    let buyer = buyer(&shop, order.buyer);
    let id = order.id_of(9, 0);
    let at = instant(at, shop.zone);
    let tracking = format!("SIM{id}");
    let url = format!("https://example.com/track/{tracking}");
    json!({
        "id": id, "order_id": order.id(), "status": "success", "created_at": at, "service": "manual", "updated_at": at,
        "tracking_company": "Other", "shipment_status": null, "location_id": null, "origin_address": null,
        "email": buyer.email, "destination": address(&buyer, &shop),
        "line_items": order.lines.iter().enumerate().filter(|(_, of)| of.left() > 0)
            .map(|(place, of)| parcel_line(order, place, of)).collect::<Vec<_>>(),
        "tracking_number": tracking, "tracking_numbers": [tracking], "tracking_url": url, "tracking_urls": [url],
        "receipt": {}, "name": format!("#{}.1", 1_000 + order.number),
        "admin_graphql_api_id": format!("gid://shopify/Fulfillment/{id}"),
    })
}

/// A parcel's lines leave some of it out.
fn parcel_line(order: &Order, place: usize, of: &Line) -> Value {
    let mut line = line(order, place, of);
    for key in ["attributed_staffs", "current_quantity", "sales_line_item_group_id"] {
        line.as_object_mut().and_then(|line| line.remove(key));
    }
    line
}
