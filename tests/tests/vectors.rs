//! The worked examples of the definitions, over HTTP.

use chrono::{TimeDelta, Timelike, Utc};
use ecomdash_tests::{
    Ecomdash, Metrics, Shop, TestDatabase,
    bodies::{edit, line, order, refund},
};
use event_store::Database;
use serde_json::{Value, json};

struct World {
    _database: TestDatabase,
    store: Database,
    server: Ecomdash,
}

const DAY: &str = "2026-11-01";
const PLACED: &str = "2026-11-01T12:00:00Z";
const NEXT: &str = "2026-11-02";
const LATER: &str = "2026-11-02T12:00:00Z";

impl World {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let server = Ecomdash::up(&database);
        Self { store: database.open(), _database: database, server }
    }

    /// A shop of its own to which the deliveries were made, in this order and in the opposite one: the same figures.
    async fn after(&self, currency: &str, deliveries: &[(&str, Value)]) -> Shop {
        let shop = Shop::register(&self.store, &self.server.url, "UTC", currency).await;
        let backwards = Shop::register(&self.store, &self.server.url, "UTC", currency).await;
        for (topic, body) in deliveries {
            assert_eq!(shop.deliver(topic, body).await, 200);
        }
        for (topic, body) in deliveries.iter().rev() {
            assert_eq!(backwards.deliver(topic, body).await, 200);
        }
        for day in [DAY, NEXT] {
            assert_eq!(shop.metrics(day, day).await.0, backwards.metrics(day, day).await.0, "{day}");
        }
        shop
    }
}

const REFUND: [&str; 7] =
    ["sales_reversals", "taxes", "shipping", "return_fees", "total_sales", "reversed_quantity", "discounts"];

async fn day(shop: &Shop, day: &str) -> Metrics {
    shop.metrics(day, day).await
}

#[tokio::test]
async fn sales_discounts_and_tax_inclusive_prices() {
    let world = World::new().await;
    // gross-1
    let shop = world
        .after("USD", &[("orders/create", order(1, PLACED, vec![line(1, "50.00", 2), line(2, "0.00", 1)]).0)])
        .await;
    assert_eq!(day(&shop, DAY).await.all(["gross_sales", "quantity_ordered", "orders"]), [10000, 3, 1]);

    // disc-1: a shipping discount is not a discount on goods
    let mut body = order(1, PLACED, vec![line(1, "100.00", 1).discount("10.00")]).shipping(1, "5.00").code("TEN");
    body.0["shipping_lines"][0]["discount_allocations"] =
        json!([{ "amount": "5.00", "discount_application_index": 0 }]);
    let body = body.with("total_discounts", json!("15.00"));
    let shop = world.after("USD", &[("orders/create", body.0)]).await;
    assert_eq!(day(&shop, DAY).await.all(["discounts", "shipping", "net_sales"]), [1000, 0, 9000]);

    // alloc-1: shares are as they were handed out, also when a line comes back
    let lines = vec![
        line(1, "20.00", 1).discount("3.34"),
        line(2, "20.00", 1).discount("3.33"),
        line(3, "20.00", 1).discount("3.33"),
    ];
    let back = refund(1, 1, LATER).line(1, 1, "16.66", "0.00", "return");
    let shop = world.after("USD", &[("orders/create", order(1, PLACED, lines).0), ("refunds/create", back.0)]).await;
    assert_eq!(day(&shop, DAY).await.get("discounts"), Some(1000));
    assert_eq!(day(&shop, NEXT).await.all(["sales_reversals", "discounts"]), [1666, 0]);

    // alloc-2 and alloc-3: no decimals, and three
    for (currency, price, shares, discounts) in
        [("JPY", "300", ["34", "33", "33"], 100), ("KWD", "2.000", ["0.334", "0.333", "0.333"], 1000)]
    {
        let lines = shares.iter().zip(1..).map(|(share, id)| line(id, price, 1).discount(share)).collect();
        let body = order(1, PLACED, lines).with("currency", json!(currency));
        let shop = world.after(currency, &[("orders/create", body.0)]).await;
        assert_eq!(day(&shop, DAY).await.get("discounts"), Some(discounts), "{currency}");
    }

    // tax-incl-1, -2 and -3
    let taxed = line(1, "120.00", 1).discount("12.00").tax("18.00", "0.2");
    let body = order(1, PLACED, vec![taxed]).with("taxes_included", json!(true));
    let back = refund(1, 1, LATER).line(1, 1, "108.00", "18.00", "return");
    let shop = world.after("USD", &[("orders/create", body.0), ("refunds/create", back.0)]).await;
    let names = ["gross_sales", "discounts", "net_sales", "taxes", "total_sales"];
    assert_eq!(day(&shop, DAY).await.all(names), [10000, 1000, 9000, 1800, 10800]);
    assert_eq!(day(&shop, NEXT).await.all(["sales_reversals", "taxes", "total_sales"]), [9000, -1800, -10800]);
    let free = line(1, "120.00", 1).discount("120.00").tax("0.00", "0.2");
    let body = order(1, PLACED, vec![free]).with("taxes_included", json!(true));
    let shop = world.after("USD", &[("orders/create", body.0)]).await;
    assert_eq!(day(&shop, DAY).await.all(names), [10000, 10000, 0, 0, 0]);
}

#[tokio::test]
async fn refunds_of_every_form() {
    let world = World::new().await;
    let sold = |discount: bool| {
        let goods = if discount {
            line(1, "50.00", 1).discount("5.00").tax("4.50", "0.1")
        } else {
            line(1, "50.00", 1).tax("5.00", "0.1")
        };
        order(1, PLACED, vec![goods]).shipping(1, "5.00")
    };
    let at = || refund(1, 1, LATER);
    let cases = [
        ("rev-1", false, at().line(1, 1, "50.00", "5.00", "return"), [5000, -500, 0, 0, -5500, 1, 0]),
        ("rev-2", false, at().shipping(1, "5.00"), [0, 0, -500, 0, -500, 0, 0]),
        ("rev-3", false, at().adjustment(1, "refund_discrepancy", "-6.00", "0.00"), [600, 0, 0, 0, -600, 0, 0]),
        (
            "rev-4",
            false,
            at().line(1, 1, "50.00", "5.00", "return").adjustment(1, "refund_discrepancy", "10.00", "0.00"),
            [4000, -500, 0, 0, -4500, 1, 0],
        ),
        ("rev-6", true, at().line(1, 1, "45.00", "4.50", "return"), [4500, -450, 0, 0, -4950, 1, 0]),
        ("legacy shipping", false, at().adjustment(1, "shipping_refund", "-5.00", "0.00"), [0, 0, -500, 0, -500, 0, 0]),
        (
            "shipping told twice",
            false,
            at().shipping(1, "5.00").adjustment(1, "shipping_refund", "-5.00", "0.00"),
            [0, 0, -500, 0, -500, 0, 0],
        ),
    ];
    for (name, discount, refund, expected) in cases {
        let body = sold(discount);
        let snapshot = body.clone().updated(LATER).refunded(&refund);
        let deliveries = [("orders/create", body.0), ("refunds/create", refund.0), ("orders/updated", snapshot.0)];
        let shop = world.after("USD", &deliveries).await;
        assert_eq!(day(&shop, NEXT).await.all(REFUND), expected, "{name}");
    }
    // Additional fees: a part by a refund, the rest by a cancellation.
    let fees = |amount: &str| {
        json!({ "shop_money": { "amount": amount, "currency_code": "USD" },
                                      "presentment_money": { "amount": amount, "currency_code": "USD" } })
    };
    let body = order(1, PLACED, vec![line(1, "50.00", 1)]).with("original_total_additional_fees_set", fees("3.00"));
    let refund_of_fees = refund(1, 1, LATER).with("total_additional_fees_set", fees("1.00"));
    let told = [("orders/create", body.clone().0), ("refunds/create", refund_of_fees.clone().0)];
    let shop = world.after("USD", &told).await;
    assert_eq!(day(&shop, DAY).await.all(["additional_fees", "total_sales"]), [300, 5300]);
    assert_eq!(day(&shop, NEXT).await.all(["additional_fees", "total_sales"]), [-100, -100]);
    let cancelled = body.updated(LATER).refunded(&refund_of_fees).with("cancelled_at", json!(LATER));
    let shop = world.after("USD", &[&told[..], &[("orders/cancelled", cancelled.0)]].concat()).await;
    assert_eq!(day(&shop, NEXT).await.all(["additional_fees", "total_sales"]), [-300, -5300]);

    // rev-8: money that is still pending
    let body = order(1, PLACED, vec![line(1, "50.00", 1)]).shipping(1, "135.00");
    let pending = refund(1, 1, LATER)
        .shipping(1, "135.00")
        .adjustment(1, "shipping_refund", "-135.00", "0.00")
        .adjustment(2, "refund_discrepancy", "135.00", "0.00");
    let shop = world.after("USD", &[("orders/create", body.0), ("refunds/create", pending.0)]).await;
    assert_eq!(
        day(&shop, NEXT).await.all(["shipping", "sales_reversals", "net_sales", "total_sales"]),
        [-13500, -13500, 13500, 0]
    );
    // fx-1: the shop's side of a refund counts, not half of what was sold
    let body = order(1, PLACED, vec![line(1, "100.00", 1)]).with("presentment_currency", json!("EUR"));
    let mut half = refund(1, 1, LATER).line(1, 0, "51.20", "0.00", "no_restock");
    half.0["refund_line_items"][0]["subtotal_set"]["presentment_money"] =
        json!({ "amount": "46.00", "currency_code": "EUR" });
    let shop = world.after("USD", &[("orders/create", body.0), ("refunds/create", half.0)]).await;
    assert_eq!(day(&shop, NEXT).await.get("sales_reversals"), Some(5120));
}

#[tokio::test]
async fn edits_cancellations_and_what_does_not_count() {
    let world = World::new().await;
    let names = ["gross_sales", "sales_reversals", "net_sales", "taxes", "reversed_quantity", "orders"];
    let sold = order(1, PLACED, vec![line(1, "50.00", 2).tax("10.00", "0.1")]).shipping(1, "5.00");

    // A unit taken off by an edit, told by the edit and the snapshot; then also by a refund row without money.
    let mut shown = sold.clone().updated(LATER);
    shown.0["line_items"][0]["current_quantity"] = json!(1);
    let edited = ("orders/edited", edit(1, 1, LATER, &[], &[(1, 1)]));
    let deliveries = [("orders/create", sold.0.clone()), edited.clone(), ("orders/updated", shown.0.clone())];
    let shop = world.after("USD", &deliveries).await;
    assert_eq!(day(&shop, NEXT).await.all(names), [0, 5000, -5000, -500, 1, 0]);
    let removal = refund(1, 1, LATER).line(1, 1, "0.00", "0.00", "cancel");
    let deliveries = [
        ("orders/create", sold.0.clone()),
        edited,
        ("refunds/create", removal.0.clone()),
        ("orders/updated", shown.refunded(&removal).0),
    ];
    let shop = world.after("USD", &deliveries).await;
    assert_eq!(day(&shop, NEXT).await.all(names), [0, 5000, -5000, -500, 1, 0], "one removal, told twice");

    // A cancellation takes back what is left: after a refund of one unit, the other one and the shipping.
    let part = refund(1, 1, LATER).line(1, 1, "50.00", "5.00", "return");
    let cancelled = sold.clone().updated(LATER).with("cancelled_at", json!(LATER)).refunded(&part);
    let deliveries = [("orders/create", sold.0.clone()), ("refunds/create", part.0), ("orders/cancelled", cancelled.0)];
    let shop = world.after("USD", &deliveries).await;
    let both = shop.metrics(DAY, NEXT).await;
    assert_eq!(both.all(["net_sales", "taxes", "shipping", "total_sales", "reversed_quantity"]), [0, 0, 0, 0, 2]);
    assert_eq!(both.all(["orders", "average_order_value"]), [1, 10000], "it stays an order");

    // Units that an edit added to a line count on its day, with their share of discount and tax; the rest stays where it was.
    let discounted = order(1, PLACED, vec![line(1, "50.00", 1).discount("5.00").tax("4.50", "0.1")]);
    let more = line(1, "50.00", 2).discount("10.00").tax("9.00", "0.1");
    let edited = ("orders/edited", edit(1, 1, LATER, &[(1, 1)], &[]));
    let grown = order(1, PLACED, vec![more]).updated(LATER);
    let deliveries = [("orders/create", discounted.0.clone()), edited.clone(), ("orders/updated", grown.0)];
    let names = ["gross_sales", "discounts", "taxes", "total_sales", "orders", "quantity_ordered"];
    let shop = world.after("USD", &deliveries).await;
    assert_eq!(day(&shop, DAY).await.all(names), [5000, 500, 450, 4950, 1, 1]);
    assert_eq!(day(&shop, NEXT).await.all(names), [5000, 500, 450, 4950, 0, 1]);
    assert_eq!(shop.metrics(DAY, NEXT).await.get("average_order_value"), Some(4500));
    // Until a body knows of it, nothing moves.
    let shop = world.after("USD", &deliveries[..2]).await;
    assert_eq!(day(&shop, DAY).await.all(names), [5000, 500, 450, 4950, 1, 1]);
    assert_eq!(day(&shop, NEXT).await.all(names), [0; 6]);

    // A line that an edit added, whose own body is lost: on the day of the first snapshot that has it.
    let mut grown = sold.clone().updated(LATER);
    grown.0["line_items"].as_array_mut().unwrap().push(line(9, "10.00", 1).0);
    let shop = world.after("USD", &[("orders/create", sold.0.clone()), ("orders/updated", grown.0)]).await;
    assert_eq!(day(&shop, DAY).await.all(["gross_sales", "orders"]), [10000, 1]);
    assert_eq!(day(&shop, NEXT).await.all(["gross_sales", "orders"]), [1000, 0]);

    // Deleted, also before it was created; test orders; gift cards; tips.
    let shop = world.after("USD", &[("orders/create", sold.0.clone()), ("orders/delete", json!({ "id": 1 }))]).await;
    assert_eq!(day(&shop, DAY).await.all(["total_sales", "orders"]), [0, 0]);
    let shop = world.after("USD", &[("orders/create", sold.clone().with("test", json!(true)).0)]).await;
    assert_eq!(day(&shop, DAY).await.all(["total_sales", "orders"]), [0, 0]);
    let cards = order(2, PLACED, vec![line(3, "100.00", 1).gift_card()]).shipping(2, "1.00");
    let shop = world.after("USD", &[("orders/create", cards.0)]).await;
    let figures = ["gross_sales", "total_sales", "gift_card_sales", "gift_card_orders", "orders"];
    assert_eq!(day(&shop, DAY).await.all(figures), [0, 100, 10000, 1, 0]);
    let tipped =
        order(3, PLACED, vec![line(4, "10.00", 1), line(5, "4.00", 1).tip()]).with("total_tip_received", json!("4.00"));
    let shop = world.after("USD", &[("orders/create", tipped.0)]).await;
    assert_eq!(day(&shop, DAY).await.all(["gross_sales", "tips", "quantity_ordered"]), [1000, 400, 1]);
}

/// Like is compared with like: of the days before, as much as has elapsed of these.
#[tokio::test]
async fn a_running_period_is_compared_with_as_much_of_the_days_before() {
    let world = World::new().await;
    // Wherever it is about noon.
    let east = 12 - i32::try_from(Utc::now().hour()).unwrap();
    let zone = format!("Etc/GMT{:+}", -east);
    let shop = Shop::register(&world.store, &world.server.url, &zone, "USD").await;
    let today = (Utc::now() + TimeDelta::hours(east.into())).date_naive();
    let day = |back: i64| (today - TimeDelta::days(back)).to_string();
    for (id, back, hour, price) in [
        (1, 0, 9, "100.00"),
        (2, 1, 9, "50.00"),
        (3, 1, 23, "70.00"),
        (4, 2, 9, "20.00"),
        (5, 2, 23, "10.00"),
        (6, 3, 20, "30.00"),
    ] {
        let at = format!("{}T{hour:02}:00:00{:+03}:00", day(back), east);
        assert_eq!(shop.deliver("orders/create", &order(id, &at, vec![line(id, price, 1)]).0).await, 200);
    }
    let amount = |value: &Value| value["amount"].as_str().map(str::to_owned);
    for (from, to, total, compared, base, change, partial) in [
        (0, 0, Some("100.00"), (1, 1), Some("50.00"), Some("100.0"), true),
        (1, 0, Some("220.00"), (3, 2), Some("50.00"), Some("340.0"), true),
        (1, 1, Some("120.00"), (2, 2), Some("30.00"), Some("300.0"), false),
        (3, 3, Some("30.00"), (4, 4), Some("0.00"), None, false),
        // What has not begun has no figures yet, and none that could be compared.
        (-1, -1, None, (0, 0), Some("100.00"), None, false),
        (-2, -2, None, (-1, -1), None, None, false),
    ] {
        let stats = shop.stats(&day(from), &day(to)).await;
        let comparison = &stats["comparison"];
        assert_eq!(amount(&stats["metrics"]["total_sales"]).as_deref(), total, "{stats}");
        assert_eq!(amount(&comparison["metrics"]["total_sales"]).as_deref(), base, "{stats}");
        assert_eq!(comparison["change"]["total_sales"].as_str(), change, "{stats}");
        let period = &comparison["period"];
        assert_eq!((&period["from"], &period["to"]), (&json!(day(compared.0)), &json!(day(compared.1))), "{stats}");
        assert_eq!((&stats["period"]["partial"], &period["partial"]), (&json!(partial), &json!(partial)), "{stats}");
        assert_eq!(stats["metrics"]["orders"].is_null(), total.is_none(), "{stats}");
    }
}
