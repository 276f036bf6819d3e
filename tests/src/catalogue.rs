//! Histories of everything but orders' own bodies, drawn from a seed: customers, products, stock, locations, checkouts,
//! drafts, discounts, parcels, payments and returns.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use rand::{RngExt, rngs::StdRng};
use serde_json::{Value, json};

use crate::random::{Delivery, Made};

const TOPICS: [&str; 25] = [
    "customers/create",
    "customers/update",
    "customers/merge",
    "customers/purchasing_summary",
    "customers/delete",
    "products/create",
    "products/update",
    "variants/in_stock",
    "products/delete",
    "inventory_items/update",
    "inventory_levels/update",
    "inventory_levels/update",
    "inventory_levels/disconnect",
    "inventory_items/delete",
    "locations/update",
    "locations/delete",
    "checkouts/create",
    "checkouts/update",
    "checkouts/delete",
    "draft_orders/update",
    "discounts/update",
    "fulfillments/update",
    "order_transactions/create",
    "returns/approve",
    "returns/close",
];

/// What happened to a few of each, in order.
pub fn catalogue(rng: &mut StdRng, steps: usize, made: &mut Made) -> Vec<Delivery> {
    let mut at: DateTime<Utc> = "2026-10-20T12:00:00Z".parse().expect("an instant");
    let mut deliveries = Vec::new();
    for step in 0..steps {
        // Often within the same second: equal `updated_at` is what Shopify does.
        let tie = rng.random_bool(0.4);
        made.ties += usize::from(tie);
        at += if tie {
            Duration::milliseconds(rng.random_range(1..300))
        } else {
            Duration::seconds(rng.random_range(1..900))
        };
        let topic = TOPICS[rng.random_range(0..TOPICS.len())];
        // A deletion is rare, so that something is left to be compared.
        if topic.ends_with("/delete") && rng.random_bool(0.7) {
            continue;
        }
        deliveries.push(Delivery {
            topic,
            body: body(rng, topic, &at.to_rfc3339_opts(SecondsFormat::Secs, true)),
            webhook_id: format!("catalogue-{step}-{:08x}", rng.random::<u32>()),
            triggered_at: rng.random_bool(0.8).then_some(at),
        });
    }
    deliveries
}

fn body(rng: &mut StdRng, topic: &str, at: &str) -> Value {
    let id = rng.random_range(1..5_u64);
    let one_of = |rng: &mut StdRng, values: &[&str]| values[rng.random_range(0..values.len())].to_owned();
    let price = format!("{}.00", rng.random_range(1..4_u32));
    let variant = json!({ "id": 10 * id + rng.random_range(0..2), "product_id": id, "title": "Small", "price": price,
        "sku": "S", "inventory_item_id": id, "updated_at": at });
    match topic {
        "customers/merge" => json!({ "admin_graphql_api_customer_kept_id": format!("gid://shopify/Customer/{id}"),
            "admin_graphql_api_customer_deleted_id": format!("gid://shopify/Customer/{}", id % 4 + 1),
            "status": one_of(rng, &["completed", "failed"]) }),
        "customers/purchasing_summary" => {
            json!({ "customerId": format!("gid://shopify/Customer/{id}"), "occurredAt": at,
            "numberOfOrders": rng.random_range(0..3), "amountSpent": { "amount": price, "currencyCode": "USD" } })
        }
        "customers/create" | "customers/update" => json!({ "id": id, "updated_at": at, "first_name": "Ann",
            "email": one_of(rng, &["a@shop.example", "b@shop.example"]), "state": one_of(rng, &["enabled", "invited"]) }),
        "products/create" | "products/update" => json!({ "id": id, "updated_at": at, "title": one_of(rng, &["A", "B"]),
            "status": one_of(rng, &["active", "draft"]), "variants": [variant],
            "variant_gids": [{ "admin_graphql_api_id": format!("gid://shopify/ProductVariant/{}", 10 * id + 5) }] }),
        "variants/in_stock" => variant,
        "inventory_items/update" => json!({ "id": id, "updated_at": at, "sku": "S", "tracked": true,
            "cost": rng.random_bool(0.5).then_some(price) }),
        "inventory_levels/update" => json!({ "inventory_item_id": id, "location_id": rng.random_range(1..3),
            "updated_at": at, "available": rng.random_range(-3..9) }),
        "inventory_levels/disconnect" => json!({ "inventory_item_id": id, "location_id": rng.random_range(1..3) }),
        "locations/update" => json!({ "id": id, "updated_at": at, "name": one_of(rng, &["Cellar", "Shop"]),
            "active": rng.random_bool(0.5) }),
        "checkouts/create" | "checkouts/update" => {
            json!({ "name": format!("#{id}"), "updated_at": at, "email": "a@b.c",
            "total_price": price, "completed_at": rng.random_bool(0.3).then_some(at),
            "line_items": [{ "product_id": id, "quantity": 1 }] })
        }
        "draft_orders/update" => json!({ "id": id, "updated_at": at, "status": one_of(rng, &["open", "completed"]),
            "total_price": price, "order_id": rng.random_bool(0.3).then_some(id) }),
        "discounts/update" => json!({ "admin_graphql_api_id": format!("gid://shopify/DiscountCodeNode/{id}"),
            "updated_at": at, "title": one_of(rng, &["TEN", "TWENTY"]), "status": one_of(rng, &["ACTIVE", "EXPIRED"]) }),
        "fulfillments/update" => json!({ "id": id, "order_id": 1000 + id, "updated_at": at,
            "status": one_of(rng, &["success", "cancelled"]), "line_items": [{ "id": 1, "quantity": 1 }] }),
        "order_transactions/create" => json!({ "id": id, "order_id": 1000 + id, "created_at": at, "amount": price,
            "kind": "sale", "status": one_of(rng, &["pending", "success"]), "currency": "USD" }),
        "returns/approve" => json!({ "id": id, "order": { "id": 1000 + id }, "status": "open",
            "return_shipping_fees": [{ "price": { "shop_money": { "amount": price, "currency_code": "USD" } } }] }),
        "returns/close" => json!({ "id": id, "order_id": 1000 + id, "status": "closed" }),
        _ => json!({ "id": id }), // deletions
    }
}
