//! A shop's figures, to be compared with another's: as it answers them, at any moment of its log, and as its rows hold them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;
use domain::ShopId;
use event_store::Database;
use ingest::Receiver;
use serde_json::Value;
use shopify::ORDER_DOCUMENT;
use sqlx::{Connection, PgConnection, Row};

use crate::{Shop, random::Delivery};

/// Days that are asked for.
pub const PERIODS: [(&str, &str); 3] =
    [("2026-10-20", "2026-11-12"), ("2026-10-25", "2026-10-27"), ("2026-11-03", "2026-11-03")];

/// Puts deliveries and documents into the inbox, as if they had been received.
pub async fn deliver(store: &Database, shop: &Shop, deliveries: &[Delivery]) {
    let receiver = Receiver::new(store.clone());
    let domain = shop.domain.parse().unwrap();
    for delivery in deliveries {
        let body = delivery.body.to_string();
        if delivery.topic == ORDER_DOCUMENT {
            let mut tx = store.begin(shop.id).await.unwrap();
            let key = event_store::shop_key(&mut tx).await.unwrap();
            ingest::store_documents(&mut tx, &key, &[body.into_bytes()], Utc::now()).await.unwrap();
            tx.commit().await.unwrap();
        } else {
            receiver.receive(&delivery.to_inbox(&domain, &body, Utc::now())).await.unwrap();
        }
    }
}

/// What a path of the API answers.
pub async fn answer(shop: &Shop, path: &str) -> Value {
    let (status, answer) = shop.get(path).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// Everything that the shop answers about its sales, at a moment or now, without what says of when it is.
pub async fn answers(shop: &Shop, as_of: Option<i64>) -> BTreeMap<String, Value> {
    let mut answers: BTreeMap<String, Value> = BTreeMap::new();
    for (from, to) in PERIODS {
        let mut paths = vec![format!("stats?from={from}&to={to}")];
        for metric in ["total_sales", "average_order_value", "units_per_order", "tax_reversals"] {
            paths.push(format!("series?metric={metric}&from={from}&to={to}"));
        }
        paths.push(format!("series?metric=net_sales&granularity=hour&from={from}&to={to}"));
        paths.push(format!("series?metric=orders&granularity=week&from={from}&to={to}"));
        for by in ["product", "variant", "line_type", "reason"] {
            paths.push(format!("breakdown?metric=net_sales&by={by}&from={from}&to={to}"));
        }
        for path in paths {
            let moment = as_of.map_or(String::new(), |position| format!("&as_of={position}"));
            let mut answer = answer(shop, &format!("/api/dashboard/{path}{moment}")).await;
            assert_eq!(answer["lag"], 0, "{path}: {answer}");
            if let Some(as_of) = as_of {
                assert_eq!(answer["as_of_position"], as_of, "{path}");
            }
            if path.starts_with("breakdown") {
                let rows = answer["rows"].as_array().unwrap().iter();
                let sum: i64 = rows.map(|row| digits(&row["value"]).unwrap()).sum();
                assert_eq!(Some(sum), digits(&answer["total"]), "{path}: {answer}");
                assert_eq!(answer["total"], answers[&format!("stats?from={from}&to={to}")]["metrics"]["net_sales"]);
            }
            for differs in ["shop", "as_of_position", "as_of", "lag"] {
                answer.as_object_mut().unwrap().remove(differs);
            }
            answers.insert(path, answer);
        }
    }
    answers
}

/// Each of these answers is the one that is expected.
pub fn assert_same(answers: &BTreeMap<String, Value>, expected: &BTreeMap<String, Value>, why: &str) {
    assert_eq!(answers.len(), expected.len());
    for (path, answer) in answers {
        assert_eq!(answer, &expected[path], "{why}: {path}");
    }
}

/// A figure as digits only; `None` for `null`.
pub fn digits(value: &Value) -> Option<i64> {
    match value {
        Value::Null => None,
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.replace('.', "").parse().ok(),
        money => money["amount"].as_str().and_then(|text| text.replace('.', "").parse().ok()),
    }
}

/// Between two positions, causes lead from what was known at the one to what was known at the other, and an erasure changes
/// nothing. Returns the causes.
pub async fn assert_restatements_add_up(
    shop: &Shop,
    (from, to): (i64, i64),
    (first, last): (&str, &str),
    why: &str,
) -> BTreeSet<String> {
    let days = format!("period_from={first}&period_to={last}");
    let told = answer(shop, &format!("/api/dashboard/restatements?from={from}&to={to}&{days}")).await;
    let stats = async |position: i64| {
        answer(shop, &format!("/api/dashboard/stats?from={first}&to={last}&as_of={position}")).await["metrics"].clone()
    };
    let (before, after) = (stats(from).await, stats(to).await);
    let causes = told["causes"].as_array().unwrap();
    for (name, change) in told["total"]["metrics"].as_object().unwrap() {
        assert_eq!(change["before"], before[name], "{why}: {name}");
        assert_eq!(change["after"], after[name], "{why}: {name}");
        let mut reached = change["before"].clone();
        // What nothing is known of at first, as an average of no orders, has no difference, whether or not anything changed it.
        let mut sum = digits(&before[name]).map(|_| 0);
        for cause in causes {
            let of_cause = &cause["metrics"][name];
            if cause["cause"] == "redaction" {
                assert_eq!(of_cause["before"], of_cause["after"], "{why}: {name} by an erasure");
            }
            assert_eq!(of_cause["before"], reached, "{why}: {name} by {}", cause["cause"]);
            reached = of_cause["after"].clone();
            sum = sum.zip(digits(&of_cause["change"])).map(|(sum, change)| sum + change);
        }
        assert_eq!(reached, change["after"], "{why}: {name}");
        if let Some(sum) = sum {
            assert_eq!(Some(sum), digits(&change["change"]), "{why}: {name}");
        }
    }
    // All days: the sums are compared by the handler itself, which fails where they differ.
    answer(shop, &format!("/api/dashboard/restatements?from={from}&to={to}")).await;
    causes.iter().map(|cause| cause["cause"].as_str().unwrap().to_owned()).collect()
}

/// Another shop, whose log is that of the first up to a position, and which was never told more.
pub async fn cut(store: &Database, superuser: &mut PgConnection, url: &str, of: ShopId, position: i64) -> Shop {
    let shop = Shop::register(store, url, "America/New_York", "USD").await;
    shop.stats("2026-11-01", "2026-11-01").await;
    let mut tx = superuser.begin().await.unwrap();
    // Triggers rest: the log is not to be touched, but this one never was anybody's.
    for sql in [
        "SET LOCAL session_replication_role = replica",
        "DELETE FROM events WHERE shop_id = $1 AND $2 <> shop_id AND $3 > 0",
        "DELETE FROM checkpoints WHERE shop_id = $1 AND $2 <> shop_id AND $3 > 0 AND generation > 0",
        "DELETE FROM live_generations WHERE shop_id = $1 AND $2 <> shop_id AND $3 > 0",
        "INSERT INTO events (shop_id, position, recorded_at, aggregate_type, aggregate_id, sequence, event_type,
                             event_version, payload, metadata, hash)
         SELECT $1, position, recorded_at, aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
                metadata, hash
         FROM events WHERE shop_id = $2 AND position <= $3",
        "UPDATE heads h SET position = e.position, hash = e.hash, recorded_at = e.recorded_at
         FROM events e WHERE h.shop_id = $1 AND e.shop_id = $2 AND e.position = $3",
        "INSERT INTO work_queue (shop_id, kind, due_at) SELECT $1, 'project', now() WHERE $2 <> $1 AND $3 > 0",
    ] {
        let query = sqlx::query(sql);
        let query = if sql.contains("$1") { query.bind(shop.id.0).bind(of.0).bind(position) } else { query };
        query.execute(&mut *tx).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    tx.commit().await.unwrap();
    shop.stats("2026-11-01", "2026-11-01").await;
    shop
}

/// The current view: facts netted by business key, rollups, orders; by key, without generation, positions, times, and
/// rows that are all zero.
pub async fn view(superuser: &mut PgConnection, shop: ShopId) -> String {
    let mut view = String::new();
    for sql in [
        "SELECT (order_id, business_key, line_item_id, product_id, variant_id, occurred_at, shop_day, reason, line_type,
                 currency, is_initial, is_reversal, provenance, sum(units), sum(gross_minor), sum(discount_minor),
                 sum(net_minor), sum(tax_minor), sum(orders), sum(gift_card_orders))::text
         FROM sale_fact f JOIN live_generations l USING (shop_id, generation)
         WHERE shop_id = $1 AND l.projection = 'sales'
         GROUP BY order_id, business_key, line_item_id, product_id, variant_id, occurred_at, shop_day, reason, line_type,
                  currency, is_initial, is_reversal, provenance
         HAVING (sum(units), sum(gross_minor), sum(discount_minor), sum(net_minor), sum(tax_minor), sum(orders),
                 sum(gift_card_orders)) <> (0, 0, 0, 0, 0, 0, 0)
         ORDER BY 1",
        "SELECT (d.day, d.currency, d.orders, gift_card_orders, gross_minor, discount_minor, reversed_gross_minor,
                 reversed_discount_minor, adjustment_minor, shipping_minor, shipping_reversed_minor, duty_minor,
                 additional_fee_minor, return_fee_minor, tax_minor, tax_reversed_minor, tip_minor, gift_card_minor,
                 unclassified_minor, initial_gross_minor, initial_discount_minor, initial_units, units_ordered,
                 units_reversed)::text
         FROM daily_sales d JOIN live_generations l USING (shop_id, generation)
         WHERE shop_id = $1 AND l.projection = 'sales'
           AND (d.orders, gift_card_orders, gross_minor, discount_minor, reversed_gross_minor, reversed_discount_minor,
                adjustment_minor, shipping_minor, shipping_reversed_minor, tax_minor, tip_minor, gift_card_minor)
               <> (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
         ORDER BY 1",
        "SELECT (order_id, name, placed_at, currency, total_price_minor, net_sales_minor, financial_status,
                 fulfillment_status, cancelled_at, test, customer_id, country, source_name)::text
         FROM order_list o JOIN live_generations l USING (shop_id, generation)
         WHERE shop_id = $1 AND l.projection = 'orders'
         ORDER BY 1",
    ] {
        for row in sqlx::query(sql).bind(shop.0).fetch_all(&mut *superuser).await.unwrap() {
            view.push_str(row.get::<&str, _>(0));
            view.push('\n');
        }
        view.push('\n');
    }
    view
}
