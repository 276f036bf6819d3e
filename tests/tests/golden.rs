//! The golden scenario over HTTP: every figure of every day, and the wrong answers that others give.

use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    bodies::{edit, line, order, refund},
};
use serde_json::{Value, json};

const A: u64 = 11;
const B: u64 = 12;
const C: u64 = 13;

/// Every delivery, in the order in which it happened.
fn deliveries() -> Vec<(&'static str, Value)> {
    let o1 = order(1, "2026-10-30T15:00:00Z", vec![line(100 + A, "50.00", 2).discount("10.00").tax("9.00", "0.1")])
        .code("SAVE10")
        .shipping(1, "5.00");
    let o2 = order(2, "2026-11-01T03:30:00Z", vec![line(200 + B, "30.00", 1).tax("3.00", "0.1")]);
    let o3 = order(3, "2026-11-01T05:30:00Z", vec![line(300 + A, "50.00", 1).tax("5.00", "0.1")]).shipping(3, "5.00");
    let o4 = order(
        4,
        "2026-11-01T06:30:00Z",
        vec![line(400, "100.00", 1).gift_card(), line(400 + B, "30.00", 1).tax("3.00", "0.1")],
    );
    let o5 = order(5, "2026-11-01T15:00:00Z", vec![line(500, "999.00", 1)]).with("test", json!(true));
    let o6 = order(6, "2026-11-02T04:30:00Z", vec![line(600 + C, "10.00", 3).tax("3.00", "0.1")])
        .shipping(6, "5.00")
        .with("total_tip_received", json!("4.00"));
    let o7 = order(7, "2026-11-02T17:00:00Z", vec![line(700 + B, "30.00", 1).tax("3.00", "0.1")])
        .shipping(7, "5.00")
        .with("financial_status", json!("pending"));
    let o8 = order(8, "2026-11-04T20:00:00Z", vec![line(800 + A, "50.00", 1).tax("5.00", "0.1")])
        .with("payment_gateway_names", json!(["gift_card"]));

    let r1 = refund(1, 1, "2026-11-02T15:00:00Z").line(100 + A, 1, "45.00", "4.50", "return");
    let r2 = refund(2, 3, "2026-11-03T15:00:00Z").shipping(3, "5.00");
    let r3 = refund(3, 6, "2026-11-03T16:00:00Z").adjustment(1, "refund_discrepancy", "-6.00", "0.00");
    let r4 = refund(4, 3, "2026-11-04T15:00:00Z")
        .line(300 + A, 1, "50.00", "5.00", "return")
        .with("return", json!({ "id": 77, "admin_graphql_api_id": "gid://shopify/Return/77" }));
    let fee = json!([{ "id": 77, "status": "closed", "return_shipping_fees": [
        { "id": 1, "price": { "shop_money": { "amount": "7.00", "currency_code": "USD" },
                              "presentment_money": { "amount": "7.00", "currency_code": "USD" } } }] }]);

    let mut o2_edited = o2.clone().updated("2026-11-03T18:00:00Z");
    o2_edited.0["line_items"].as_array_mut().unwrap().push(line(200 + C, "10.00", 1).tax("1.00", "0.1").0);
    let o7_cancelled = o7
        .clone()
        .updated("2026-11-04T14:00:00Z")
        .with("cancelled_at", json!("2026-11-04T14:00:00Z"))
        .with("financial_status", json!("voided"));
    let o3_returned = o3.clone().updated("2026-11-04T15:00:01Z").refunded(&r2).refunded(&r4).with("returns", fee);

    vec![
        ("orders/create", o1.0.clone()),
        ("orders/create", o2.0),
        ("orders/create", o3.0),
        ("orders/create", o4.0),
        ("orders/create", o5.0),
        ("orders/create", o6.0),
        ("refunds/create", r1.0.clone()),
        ("orders/updated", o1.updated("2026-11-02T15:00:00Z").refunded(&r1).0),
        ("orders/create", o7.0),
        ("refunds/create", r2.0),
        ("refunds/create", r3.0),
        ("orders/edited", edit(1, 2, "2026-11-03T18:00:00Z", &[(200 + C, 1)], &[])),
        ("orders/updated", o2_edited.0),
        ("orders/cancelled", o7_cancelled.0),
        ("refunds/create", r4.0),
        ("orders/updated", o3_returned.0),
        ("orders/create", o8.0),
    ]
}

const FIGURES: [&str; 11] = [
    "gross_sales",
    "discounts",
    "sales_reversals",
    "net_sales",
    "shipping",
    "return_fees",
    "taxes",
    "total_sales",
    "orders",
    "quantity_ordered",
    "reversed_quantity",
];

/// gross, discounts, reversals, net, shipping, return fees, taxes, total, orders, ordered, reversed; and the average.
const EXPECTED: [(&str, &str, [i64; 11], Option<i64>); 7] = [
    ("2026-10-30", "2026-10-30", [10000, 1000, 0, 9000, 500, 0, 900, 10400, 1, 2, 0], Some(9000)),
    ("2026-10-31", "2026-10-31", [3000, 0, 0, 3000, 0, 0, 300, 3300, 1, 1, 0], Some(3000)),
    ("2026-11-01", "2026-11-01", [11000, 0, 0, 11000, 1000, 0, 1100, 13100, 3, 5, 0], Some(3667)),
    ("2026-11-02", "2026-11-02", [3000, 0, 4500, -1500, 500, 0, -150, -1150, 1, 1, 1], Some(3000)),
    ("2026-11-03", "2026-11-03", [1000, 0, 600, 400, -500, 0, 100, 0, 0, 1, 0], None),
    ("2026-11-04", "2026-11-04", [5000, 0, 8000, -3000, -500, 700, -300, -3100, 1, 1, 2], Some(5000)),
    ("2026-10-30", "2026-11-04", [33000, 1000, 13100, 18900, 1000, 700, 1950, 22550, 7, 11, 3], Some(4429)),
];

async fn assert_gold(shop: &Shop, how: &str) {
    for (from, to, figures, average) in EXPECTED {
        let metrics = shop.metrics(from, to).await;
        assert_eq!(metrics.all(FIGURES), figures, "{how}: {from} to {to}");
        assert_eq!(metrics.get("average_order_value"), average, "{how}: {from} to {to}");
    }
    let first = shop.metrics("2026-11-01", "2026-11-01").await;
    assert_eq!(first.all(["tips", "gift_card_sales", "gift_card_orders"]), [400, 10000, 0]);

    // What other tools answer. Each of these must not be our answer.
    let whole = shop.metrics("2026-10-30", "2026-11-04").await;
    let average = whole.get("average_order_value");
    assert_ne!(average, Some(2700), "net sales over orders");
    assert_ne!(average, Some(3221), "total sales over orders");
    assert_ne!(whole.get("orders"), Some(8), "an edit is no order");
    assert_ne!(first.get("total_sales"), Some(12600), "days cut in UTC");
    let second = shop.metrics("2026-11-02", "2026-11-02").await;
    assert_ne!(second.get("total_sales"), Some(2650), "days cut in UTC, or at a fixed offset");
    assert_ne!(shop.metrics("2026-10-30", "2026-10-30").await.get("sales_reversals"), Some(4500), "dated by the order");
}

#[tokio::test]
async fn the_golden_scenario_gives_its_figures_in_any_order_of_delivery() {
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    let store = database.open();
    let deliveries = deliveries();
    let mut backwards = deliveries.clone();
    backwards.reverse();
    let twice: Vec<_> = deliveries.iter().chain(&deliveries).cloned().collect();
    for (how, deliveries) in [("in order", deliveries), ("backwards", backwards), ("twice", twice)] {
        let shop = Shop::register(&store, &server.url, "America/New_York", "USD").await;
        for (topic, body) in &deliveries {
            assert_eq!(shop.deliver(topic, body).await, 200);
        }
        assert_gold(&shop, how).await;
        assert_series(&shop).await;
    }
}

/// A point for every day that is asked for, in both spellings of a day's length, and hours that are there twice.
async fn assert_series(shop: &Shop) {
    let (_, series) = shop.get("/api/dashboard/series?metric=total_sales&from=2026-10-29&to=2026-11-05").await;
    let values: Vec<_> =
        series["points"].as_array().unwrap().iter().map(|point| point["value"]["amount"].as_str().unwrap()).collect();
    assert_eq!(values, ["0.00", "104.00", "33.00", "131.00", "-11.50", "0.00", "-31.00", "0.00"]);

    let (_, hours) =
        shop.get("/api/dashboard/series?metric=orders&granularity=hour&from=2026-11-01&to=2026-11-01").await;
    let hours = hours["points"].as_array().unwrap();
    assert_eq!(hours.len(), 25, "the day on which clocks go back");
    let with_orders: Vec<_> =
        hours.iter().filter(|hour| hour["value"] != 0).map(|hour| hour["start"].as_str().unwrap()).collect();
    assert_eq!(with_orders, ["2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z", "2026-11-02T04:00:00Z"]);

    let (_, months) =
        shop.get("/api/dashboard/series?metric=net_sales&granularity=month&from=2026-10-01&to=2026-11-30").await;
    let months: Vec<_> =
        months["points"].as_array().unwrap().iter().map(|month| month["value"]["amount"].clone()).collect();
    assert_eq!(months, [json!("120.00"), json!("69.00")]);
}
