//! The golden scenario over HTTP: every figure of every day, and the wrong answers that others give.

use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    bodies::{edit, line, order, refund},
    documents::{agreement, document, line_sale, sale},
    free_folder, run,
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

/// The same orders as Shopify books them, written by hand: nothing of them is derived.
fn documents() -> Vec<Value> {
    let goods = |id, line, units, amounts| line_sale(id, "ORDER", line, units, amounts);
    let back = |id, line, units, amounts| line_sale(id, "RETURN", line, units, amounts);
    let shipping = |id| sale(id, "ORDER", "SHIPPING", 1, ["5.00", "0.00", "0.00"]);
    let shipping_back = |id| sale(id, "RETURN", "SHIPPING", -1, ["-5.00", "0.00", "0.00"]);
    let placed = |id: u64, at: &str, sales| agreement(10 * id, at, "ORDER", sales);
    // By the number that webhooks have of the refund.
    let refunded = |id: u64, at: &str, refund: u64, sales| {
        let mut booked = agreement(id, at, "REFUND", sales);
        booked["refund"] = json!({ "id": format!("gid://shopify/Refund/{refund}") });
        booked
    };
    let of_order = |id: u64, placed_at: &str, updated_at: &str, lines: &[(u64, &str)], agreements| {
        document(id, placed_at, updated_at, lines, agreements)
    };
    let at = ["2026-10-30T15:00:00Z", "2026-11-01T03:30:00Z", "2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"];
    let [o1, o2, o3, o4] = at;
    let [o5, o6, o7, o8] =
        ["2026-11-01T15:00:00Z", "2026-11-02T04:30:00Z", "2026-11-02T17:00:00Z", "2026-11-04T20:00:00Z"];
    let [r1, r2, r3] = ["2026-11-02T15:00:00Z", "2026-11-03T15:00:00Z", "2026-11-03T16:00:00Z"];
    let [e1, x7, r4] = ["2026-11-03T18:00:00Z", "2026-11-04T14:00:00Z", "2026-11-04T15:00:00Z"];

    let first = vec![
        placed(1, o1, vec![goods(101, 100 + A, 2, ["99.00", "9.00", "10.00"]), shipping(102)]),
        refunded(11, r1, 1, vec![back(111, 100 + A, -1, ["-49.50", "-4.50", "-5.00"])]),
    ];
    let second = vec![
        placed(2, o2, vec![goods(201, 200 + B, 1, ["33.00", "3.00", "0.00"])]),
        agreement(21, e1, "ORDER_EDIT", vec![goods(211, 200 + C, 1, ["11.00", "1.00", "0.00"])]),
    ];
    let fee = sale(322, "ORDER", "FEE", 1, ["7.00", "0.00", "0.00"]);
    let mut returned = agreement(32, r4, "RETURN", vec![back(321, 300 + A, -1, ["-55.00", "-5.00", "0.00"]), fee]);
    returned["refund"] = json!({ "id": "gid://shopify/Refund/4" });
    returned["return"] = json!({ "id": "gid://shopify/Return/77" });
    let third = vec![
        placed(3, o3, vec![goods(301, 300 + A, 1, ["55.00", "5.00", "0.00"]), shipping(302)]),
        refunded(31, r2, 2, vec![shipping_back(311)]),
        returned,
    ];
    let mut card = sale(401, "ORDER", "GIFT_CARD", 1, ["100.00", "0.00", "0.00"]);
    card["lineItem"] = json!({ "id": "gid://shopify/LineItem/400" });
    let fourth = vec![placed(4, o4, vec![card, goods(402, 400 + B, 1, ["33.00", "3.00", "0.00"])])];
    let mut tip = sale(603, "ORDER", "TIP", 1, ["4.00", "0.00", "0.00"]);
    tip["lineItem"] = json!({ "id": "gid://shopify/LineItem/690" });
    let sixth = vec![
        placed(6, o6, vec![goods(601, 600 + C, 3, ["33.00", "3.00", "0.00"]), shipping(602), tip]),
        refunded(61, r3, 3, vec![sale(611, "RETURN", "ADJUSTMENT", 0, ["-6.00", "0.00", "0.00"])]),
    ];
    let seventh = vec![
        placed(7, o7, vec![goods(701, 700 + B, 1, ["33.00", "3.00", "0.00"]), shipping(702)]),
        agreement(71, x7, "ORDER_EDIT", vec![back(711, 700 + B, -1, ["-33.00", "-3.00", "0.00"]), shipping_back(712)]),
    ];
    let mut test = of_order(5, o5, o5, &[(500, "999.00")], vec![]);
    test["test"] = json!(true);
    test["agreements"]["nodes"] = json!([placed(5, o5, vec![goods(501, 500, 1, ["999.00", "0.00", "0.00"])])]);
    let mut cancelled = of_order(7, o7, x7, &[(700 + B, "30.00")], seventh);
    cancelled["cancelledAt"] = json!(x7);
    vec![
        of_order(1, o1, r1, &[(100 + A, "50.00")], first),
        of_order(2, o2, e1, &[(200 + B, "30.00"), (200 + C, "10.00")], second),
        of_order(3, o3, r4, &[(300 + A, "50.00")], third),
        of_order(4, o4, o4, &[(400, "100.00"), (400 + B, "30.00")], fourth),
        test,
        of_order(6, o6, r3, &[(600 + C, "10.00")], sixth),
        cancelled,
        of_order(
            8,
            o8,
            o8,
            &[(800 + A, "50.00")],
            vec![placed(8, o8, vec![goods(801, 800 + A, 1, ["55.00", "5.00", "0.00"])])],
        ),
    ]
}

/// Both sources, each written by hand, of the same orders: the same days, whichever comes first.
#[tokio::test]
async fn the_golden_scenario_gives_its_figures_as_it_is_booked_too() {
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    let store = database.open();
    let lines: String = documents().iter().map(|document| format!("{document}\n")).collect();
    let path = free_folder().join("golden.jsonl");
    std::fs::write(&path, lines).unwrap();
    for (how, webhooks_first, webhooks_last) in
        [("booked", false, false), ("told, then booked", true, false), ("booked, then told", false, true)]
    {
        let shop = Shop::register(&store, &server.url, "America/New_York", "USD").await;
        let tell = async || {
            for (topic, body) in deliveries() {
                assert_eq!(shop.deliver(topic, &body).await, 200);
            }
        };
        if webhooks_first {
            tell().await;
        }
        let (success, output) = run(&database, &["ingest", "--shop", &shop.domain, path.to_str().unwrap()]);
        assert!(success, "{output}");
        if webhooks_last {
            tell().await;
        }
        assert_gold(&shop, how).await;
    }
}
