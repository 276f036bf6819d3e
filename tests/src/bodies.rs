//! Bodies in the shape of Shopify's webhooks, written by hand: amounts in decimal strings with their `*_set` twins.

use serde_json::{Value, json};

/// An amount with its twin.
fn set(amount: &str, currency: &str) -> Value {
    json!({ "shop_money": { "amount": amount, "currency_code": currency },
            "presentment_money": { "amount": amount, "currency_code": currency } })
}

/// A line being put together.
#[derive(Clone)]
pub struct Line(pub Value);

/// A line of `quantity` units at `price`.
pub fn line(id: u64, price: &str, quantity: i64) -> Line {
    Line(json!({
        "id": id, "admin_graphql_api_id": format!("gid://shopify/LineItem/{id}"),
        "title": format!("Thing {id}"), "name": format!("Thing {id}"), "vendor": "Example", "sku": format!("SKU-{id}"),
        "variant_title": null, "product_id": 7000 + id, "variant_id": 8000 + id, "product_exists": true,
        "price": price, "price_set": set(price, "USD"), "quantity": quantity, "current_quantity": quantity,
        "gift_card": false, "taxable": true, "requires_shipping": true, "properties": [],
        "total_discount": "0.00", "discount_allocations": [], "tax_lines": [], "duties": [],
    }))
}

impl Line {
    /// A discount's share.
    pub fn discount(mut self, amount: &str) -> Self {
        let allocation = json!({ "amount": amount, "amount_set": set(amount, "USD"), "discount_application_index": 0 });
        self.0["discount_allocations"].as_array_mut().unwrap().push(allocation);
        self
    }

    /// A tax.
    pub fn tax(mut self, amount: &str, rate: &str) -> Self {
        let rate: serde_json::Number = rate.parse().unwrap();
        let tax = json!({ "title": "Tax", "price": amount, "rate": rate, "price_set": set(amount, "USD") });
        self.0["tax_lines"].as_array_mut().unwrap().push(tax);
        self
    }

    /// A gift card.
    pub fn gift_card(mut self) -> Self {
        self.0["gift_card"] = json!(true);
        self
    }

    /// A tip.
    pub fn tip(mut self) -> Self {
        self.0["tip_payment_gateway"] = Value::Null;
        self.0["product_id"] = Value::Null;
        self.0["variant_id"] = Value::Null;
        self
    }

    /// Any field.
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.0[key] = value;
        self
    }
}

/// An order being put together.
#[derive(Clone)]
pub struct Order(pub Value);

/// An order of one thing for 10.00, placed on 2026-11-01, where nothing else about it matters.
pub fn placed(id: u64) -> Value {
    order(id, "2026-11-01T12:00:00Z", vec![line(id, "10.00", 1)]).0
}

/// An order placed at an instant.
pub fn order(id: u64, placed_at: &str, lines: Vec<Line>) -> Order {
    let lines: Vec<Value> = lines.into_iter().map(|line| line.0).collect();
    Order(json!({
        "id": id, "admin_graphql_api_id": format!("gid://shopify/Order/{id}"), "name": format!("#{id}"),
        "created_at": placed_at, "processed_at": placed_at, "updated_at": placed_at,
        "cancelled_at": null, "cancel_reason": null, "closed_at": null,
        "currency": "USD", "presentment_currency": "USD", "taxes_included": false, "test": false,
        "financial_status": "paid", "fulfillment_status": null, "source_name": "web", "confirmed": true,
        "email": "jane.doe@example.com", "contact_email": "jane.doe@example.com", "phone": null,
        "browser_ip": "203.0.113.7", "note": null, "note_attributes": [], "tags": "",
        "landing_site": null, "referring_site": null, "total_price": "0.00", "total_tip_received": "0.00",
        "original_total_duties_set": null, "original_total_additional_fees_set": null,
        "discount_applications": [], "discount_codes": [],
        "customer": { "id": 5_000_000 + id, "first_name": "Jane", "last_name": "Doe",
                      "email": "jane.doe@example.com", "phone": null },
        "billing_address": null, "shipping_address": null,
        "line_items": lines, "shipping_lines": [], "refunds": [], "returns": [], "fulfillments": [],
    }))
}

impl Order {
    /// Any field.
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.0[key] = value;
        self
    }

    /// A shipping line.
    pub fn shipping(mut self, id: u64, price: &str) -> Self {
        let line = json!({
            "id": id, "title": "Standard", "code": "Standard", "price": price, "price_set": set(price, "USD"),
            "discounted_price": price, "discount_allocations": [], "tax_lines": [], "is_removed": false, "source": "shopify",
        });
        self.0["shipping_lines"].as_array_mut().unwrap().push(line);
        self
    }

    /// A code that `discount_allocations` point at.
    pub fn code(mut self, code: &str) -> Self {
        let application = json!({ "type": "discount_code", "code": code, "value": "10.0", "value_type": "percentage",
            "target_type": "line_item", "target_selection": "all", "allocation_method": "across" });
        self.0["discount_applications"].as_array_mut().unwrap().push(application);
        self
    }

    /// A later snapshot.
    pub fn updated(self, at: &str) -> Self {
        self.with("updated_at", json!(at))
    }

    /// With a refund inside.
    pub fn refunded(mut self, refund: &Refund) -> Self {
        self.0["refunds"].as_array_mut().unwrap().push(refund.0.clone());
        self
    }
}

/// A refund being put together.
#[derive(Clone)]
pub struct Refund(pub Value);

/// A refund processed at an instant.
pub fn refund(id: u64, order_id: u64, at: &str) -> Refund {
    Refund(json!({
        "id": id, "order_id": order_id, "created_at": at, "processed_at": at, "note": null, "restock": false,
        "duties": [], "total_duties_set": set("0.00", "USD"), "return": null,
        "refund_line_items": [], "refund_shipping_lines": [], "order_adjustments": [], "transactions": [],
    }))
}

impl Refund {
    /// Units of a line; `subtotal` and `total_tax` are JSON numbers, as Shopify sends them.
    pub fn line(mut self, line_id: u64, quantity: i64, subtotal: &str, tax: &str, restock: &str) -> Self {
        let rows = self.0["refund_line_items"].as_array_mut().unwrap();
        let id = 900_000 + line_id * 10 + rows.len() as u64;
        let number = |text: &str| text.parse::<serde_json::Number>().unwrap();
        rows.push(json!({
            "id": id, "line_item_id": line_id, "quantity": quantity, "restock_type": restock, "location_id": null,
            "subtotal": number(subtotal), "total_tax": number(tax),
            "subtotal_set": set(subtotal, "USD"), "total_tax_set": set(tax, "USD"),
        }));
        self
    }

    /// Shipping.
    pub fn shipping(mut self, shipping_line_id: u64, amount: &str) -> Self {
        let rows = self.0["refund_shipping_lines"].as_array_mut().unwrap();
        rows.push(json!({ "id": 600_000 + shipping_line_id, "shipping_line_id": shipping_line_id,
                          "subtotal_amount_set": set(amount, "USD") }));
        self
    }

    /// An adjustment, signed.
    pub fn adjustment(mut self, id: u64, kind: &str, amount: &str, tax: &str) -> Self {
        let rows = self.0["order_adjustments"].as_array_mut().unwrap();
        rows.push(json!({ "id": id, "kind": kind, "reason": kind, "amount": amount, "tax_amount": tax,
                          "amount_set": set(amount, "USD"), "tax_amount_set": set(tax, "USD") }));
        self
    }

    /// Any field.
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.0[key] = value;
        self
    }
}

/// An edit: units added to and taken off lines.
pub fn edit(id: u64, order_id: u64, at: &str, additions: &[(u64, i64)], removals: &[(u64, i64)]) -> Value {
    let deltas = |deltas: &[(u64, i64)]| -> Vec<Value> {
        deltas.iter().map(|(id, delta)| json!({ "id": id, "delta": delta })).collect()
    };
    json!({ "order_edit": {
        "id": id, "order_id": order_id, "created_at": at, "committed_at": at, "notify_customer": false,
        "staff_note": "", "user_id": null, "app_id": null,
        "line_items": { "additions": deltas(additions), "removals": deltas(removals) },
        "discounts": { "line_item": { "additions": [], "removals": [] } },
        "shipping_lines": { "additions": [], "removals": [] },
    } })
}

/// A merge of two customers that took place.
pub fn merge(kept: u64, absorbed: u64) -> Value {
    let gid = |id: u64| format!("gid://shopify/Customer/{id}");
    json!({ "admin_graphql_api_customer_kept_id": gid(kept), "admin_graphql_api_customer_deleted_id": gid(absorbed),
            "admin_graphql_api_job_id": null, "status": "completed", "errors": [] })
}
