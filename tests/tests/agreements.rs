//! Sales agreements, by `ecomdash ingest`: what Shopify itself booked takes the place of what is derived.

use std::{io::Write, path::PathBuf};

use domain::{ids::OrderId, order::Order};
use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    bodies::{edit, line, order, refund},
    documents::{agreement, document, document_of, line_sale, sale},
    free_folder, run,
};
use event_store::Database;
use serde_json::{Value, json};

struct World {
    database: TestDatabase,
    store: Database,
    server: Ecomdash,
    folder: PathBuf,
}

const PLACED: &str = "2026-11-01T12:00:00Z";
const SECOND: &str = "2026-11-02T12:00:00Z";
const THIRD: &str = "2026-11-03T12:00:00Z";
const FIFTH: &str = "2026-11-05T12:00:00Z";

impl World {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let server = Ecomdash::up(&database);
        Self { store: database.open(), database, server, folder: free_folder() }
    }

    async fn shop(&self, zone: &str) -> Shop {
        Shop::register(&self.store, &self.server.url, zone, "USD").await
    }

    /// Runs `ecomdash ingest` on lines.
    fn try_ingest(&self, shop: &Shop, lines: &[u8]) -> (bool, String) {
        let path = self.folder.join(format!("{}.jsonl", shop.domain));
        std::fs::File::create(&path).unwrap().write_all(lines).unwrap();
        run(&self.database, &["ingest", "--shop", &shop.domain, path.to_str().unwrap()])
    }

    fn ingest(&self, shop: &Shop, documents: &[Value]) -> String {
        let lines: String = documents.iter().map(|document| format!("{document}\n")).collect();
        let (success, output) = self.try_ingest(shop, lines.as_bytes());
        assert!(success, "{output}");
        output
    }

    async fn order(&self, shop: &Shop, id: u64) -> Order {
        let mut tx = self.store.begin_reading(shop.id).await.unwrap();
        tx.load(&id.to_string()).await.unwrap()
    }
}

const FIGURES: [&str; 8] =
    ["gross_sales", "discounts", "sales_reversals", "net_sales", "shipping", "taxes", "return_fees", "total_sales"];

async fn day(shop: &Shop, day: &str) -> [i64; 8] {
    shop.metrics(day, day).await.all(FIGURES)
}

/// The order of the vectors of reversals: 50.00 and 10 % tax.
fn placed() -> Value {
    agreement(1, PLACED, "ORDER", vec![line_sale(1, "ORDER", 1, 1, ["55.00", "5.00", "0.00"])])
}

#[tokio::test]
async fn rows_count_as_they_were_booked() {
    let world = World::new().await;
    // rev-7: a return before its money is a pair of adjustments, and both are kept.
    let shop = world.shop("UTC").await;
    let returned = vec![
        line_sale(2, "RETURN", 1, -1, ["-55.00", "-5.00", "0.00"]),
        sale(3, "RETURN", "ADJUSTMENT", 0, ["55.00", "0.00", "0.00"]),
    ];
    let paid = vec![sale(4, "RETURN", "ADJUSTMENT", 0, ["-55.00", "0.00", "0.00"])];
    let agreements = vec![placed(), agreement(2, SECOND, "RETURN", returned), agreement(3, FIFTH, "REFUND", paid)];
    world.ingest(&shop, &[document(1, PLACED, FIFTH, &[(1, "50.00")], agreements)]);
    assert_eq!(day(&shop, "2026-11-01").await, [5000, 0, 0, 5000, 0, 500, 0, 5500]);
    assert_eq!(day(&shop, "2026-11-02").await, [0, 0, -500, 500, 0, -500, 0, 0]);
    assert_eq!(day(&shop, "2026-11-05").await, [0, 0, 5500, -5500, 0, 0, 0, -5500]);

    // upd-1: a discount added by an edit is a discount of the edit's day, and no reversal.
    let shop = world.shop("UTC").await;
    let agreements = vec![
        agreement(1, PLACED, "ORDER", vec![line_sale(1, "ORDER", 1, 1, ["100.00", "0.00", "0.00"])]),
        agreement(2, THIRD, "ORDER_EDIT", vec![line_sale(2, "UPDATE", 1, 0, ["-10.00", "0.00", "10.00"])]),
    ];
    world.ingest(&shop, &[document(1, PLACED, THIRD, &[(1, "100.00")], agreements)]);
    assert_eq!(day(&shop, "2026-11-03").await, [0, 1000, 0, -1000, 0, 0, 0, -1000]);
    let whole = shop.metrics("2026-11-01", "2026-11-03").await;
    assert_eq!(whole.all(["orders", "average_order_value", "quantity_ordered"]), [1, 10000, 1]);

    // rev-5: a fee that is kept; rev-6: a discount comes back with its line, whatever sign its amount carries.
    for discount in ["5.00", "-5.00"] {
        let shop = world.shop("UTC").await;
        let sold = agreement(1, PLACED, "ORDER", vec![line_sale(1, "ORDER", 1, 1, ["49.50", "4.50", "5.00"])]);
        let back = vec![
            line_sale(2, "RETURN", 1, -1, ["-49.50", "-4.50", discount]),
            sale(3, "ORDER", "FEE", 1, ["7.00", "0.00", "0.00"]),
        ];
        world.ingest(
            &shop,
            &[document(1, PLACED, SECOND, &[(1, "50.00")], vec![sold, agreement(2, SECOND, "RETURN", back)])],
        );
        assert_eq!(day(&shop, "2026-11-02").await, [0, 0, 4500, -4500, 0, -450, 700, -4250], "{discount}");
        let metrics = shop.metrics("2026-11-02", "2026-11-02").await;
        assert_eq!(metrics.all(["gross_sales_reversals", "discount_reversals", "reversed_quantity"]), [5000, 500, 1]);
    }

    // What has no name yet is in total sales, and nowhere else.
    let shop = world.shop("UTC").await;
    let odd = vec![
        sale(2, "ORDER", "SUBSCRIPTION", 1, ["3.30", "0.30", "0.00"]),
        line_sale(3, "SWAP", 1, 1, ["1.00", "0.00", "0.00"]),
    ];
    let agreements = vec![placed(), agreement(2, SECOND, "LATER", odd)];
    world.ingest(&shop, &[document(1, PLACED, SECOND, &[(1, "50.00")], agreements)]);
    assert_eq!(day(&shop, "2026-11-02").await, [0, 0, 0, 0, 0, 0, 0, 430]);
    assert_eq!(shop.metrics("2026-11-02", "2026-11-02").await.all(["unclassified", "orders"]), [430, 0]);
}

#[tokio::test]
async fn agreements_replace_what_webhooks_taught_and_later_webhooks_go_on_from_there() {
    let world = World::new().await;
    let ordered = order(1, PLACED, vec![line(1, "50.00", 1).tax("5.00", "0.1")]);
    // Booked with a day of its own: the difference shows which of the two counts.
    let booked = agreement(1, SECOND, "ORDER", vec![line_sale(1, "ORDER", 1, 1, ["44.00", "4.00", "10.00"])]);
    let agreed = document(1, PLACED, SECOND, &[(1, "50.00")], vec![booked]);
    let back = refund(9, 1, THIRD).line(1, 1, "50.00", "5.00", "return");
    let cancelled = ordered.clone().updated(FIFTH).with("cancelled_at", json!(FIFTH));

    let shop = world.shop("UTC").await;
    shop.deliver("orders/create", &ordered.0).await;
    assert_eq!(day(&shop, "2026-11-01").await, [5000, 0, 0, 5000, 0, 500, 0, 5500]);
    world.ingest(&shop, std::slice::from_ref(&agreed));
    assert_eq!(day(&shop, "2026-11-01").await, [0; 8]);
    assert_eq!(day(&shop, "2026-11-02").await, [5000, 1000, 0, 4000, 0, 400, 0, 4400]);

    // A refund that no agreement names is derived; then a document names it, and it is not counted twice.
    shop.deliver("refunds/create", &back.0).await;
    assert_eq!(day(&shop, "2026-11-03").await, [0, 0, 5000, -5000, 0, -500, 0, -5500]);
    let mut told = agreed.clone();
    told["updatedAt"] = json!(THIRD);
    let mut of_refund =
        agreement(2, THIRD, "REFUND", vec![line_sale(2, "RETURN", 1, -1, ["-44.00", "-4.00", "-10.00"])]);
    of_refund["refund"] = json!({ "id": "gid://shopify/Refund/9" });
    told["agreements"]["nodes"].as_array_mut().unwrap().push(of_refund);
    world.ingest(&shop, &[told]);
    assert_eq!(day(&shop, "2026-11-03").await, [0, 0, 4000, -4000, 0, -400, 0, -4400]);

    // So is one from before the newest document, as long as no agreement names it.
    let shop = world.shop("UTC").await;
    world.ingest(&shop, std::slice::from_ref(&agreed));
    let early = refund(8, 1, "2026-11-01T18:00:00Z").line(1, 1, "50.00", "5.00", "return");
    shop.deliver("refunds/create", &early.0).await;
    assert_eq!(day(&shop, "2026-11-01").await, [0, 0, 5000, -5000, 0, -500, 0, -5500]);
    // A removal without money goes with an edit or a cancellation: those, agreements tell.
    let removed = refund(7, 1, "2026-11-02T01:00:00Z").line(1, 1, "0.00", "0.00", "cancel");
    let shop = world.shop("UTC").await;
    world.ingest(&shop, std::slice::from_ref(&agreed));
    shop.deliver("refunds/create", &removed.0).await;
    assert_eq!(day(&shop, "2026-11-02").await, [5000, 1000, 0, 4000, 0, 400, 0, 4400]);

    // A cancellation after the newest document gives back what is left of what was booked; before it, nothing.
    let shop = world.shop("UTC").await;
    world.ingest(&shop, std::slice::from_ref(&agreed));
    shop.deliver("orders/cancelled", &cancelled.0).await;
    assert_eq!(day(&shop, "2026-11-05").await, [0, 0, 4000, -4000, 0, -400, 0, -4400]);
    let mut later = agreed.clone();
    later["updatedAt"] = json!("2026-11-05T12:00:01Z");
    later["cancelledAt"] = json!(FIFTH);
    world.ingest(&shop, &[later]);
    assert_eq!(day(&shop, "2026-11-05").await, [0; 8], "the document is newer and books no reversal");

    // A refund and then the cancellation, both after it: nothing is given back twice, though webhooks know the line's
    // product and the document's rows do not.
    let shop = world.shop("UTC").await;
    world.ingest(&shop, std::slice::from_ref(&agreed));
    let all = refund(6, 1, THIRD).line(1, 1, "40.00", "4.00", "cancel");
    shop.deliver("refunds/create", &all.0).await;
    shop.deliver("orders/cancelled", &cancelled.clone().refunded(&all).0).await;
    assert_eq!(day(&shop, "2026-11-03").await, [0, 0, 4000, -4000, 0, -400, 0, -4400]);
    assert_eq!(day(&shop, "2026-11-05").await, [0; 8]);

    // A refund that pays a return which is booked gives back what it gives back besides the goods; its fee is booked, too.
    let shop = world.shop("UTC").await;
    let goods = vec![
        line_sale(2, "RETURN", 1, -1, ["-44.00", "-4.00", "-10.00"]),
        sale(3, "ORDER", "FEE", 1, ["7.00", "0.00", "0.00"]),
    ];
    let mut returned = agreed.clone();
    returned["updatedAt"] = json!(THIRD);
    returned["agreements"]["nodes"].as_array_mut().unwrap().push(agreement(2, THIRD, "RETURN", goods));
    world.ingest(&shop, &[returned]);
    let paid = refund(5, 1, FIFTH).line(1, 1, "40.00", "4.00", "return").shipping(1, "5.00");
    let paid = paid.with("return", json!({ "id": 102 }));
    let fee = json!([{ "id": 102, "status": "closed", "return_shipping_fees": [
        { "id": 1, "price": { "shop_money": { "amount": "7.00", "currency_code": "USD" } } }] }]);
    shop.deliver("refunds/create", &paid.0).await;
    shop.deliver("orders/updated", &ordered.clone().updated(FIFTH).refunded(&paid).with("returns", fee).0).await;
    assert_eq!(day(&shop, "2026-11-03").await, [0, 0, 4000, -4000, 0, -400, 700, -3700]);
    assert_eq!(day(&shop, "2026-11-05").await, [0, 0, 0, 0, -500, 0, 0, -500]);

    // An edit after the newest document adds its line; one before it does not.
    for (at, expected) in [(THIRD, 1000), (PLACED, 0)] {
        let shop = world.shop("UTC").await;
        world.ingest(&shop, std::slice::from_ref(&agreed));
        let mut edited = ordered.clone().updated(THIRD);
        edited.0["line_items"].as_array_mut().unwrap().push(line(2, "10.00", 1).0);
        shop.deliver("orders/edited", &edit(5, 1, at, &[(2, 1)], &[])).await;
        shop.deliver("orders/updated", &edited.0).await;
        assert_eq!(shop.metrics("2026-11-01", "2026-11-05").await.all(["gross_sales"]), [5000 + expected], "{at}");
    }
}

#[tokio::test]
async fn of_a_file_every_line_is_accounted_for() {
    let world = World::new().await;
    let shop = world.shop("UTC").await;
    let good = document(1, PLACED, PLACED, &[(1, "50.00")], vec![placed()]);
    let mut cut = document(2, PLACED, PLACED, &[(1, "50.00")], vec![placed()]);
    cut["agreements"]["pageInfo"]["hasNextPage"] = json!(true);
    let mut bare = document(3, PLACED, PLACED, &[(1, "50.00")], vec![placed()]);
    bare.as_object_mut().unwrap().remove("agreements");
    let mut unnamed = document(5, PLACED, PLACED, &[(1, "50.00")], vec![placed()]);
    unnamed["agreements"]["nodes"][0]["reason"] = json!("REFUND");
    unnamed["agreements"]["nodes"][0]["refund"] = json!(null);
    let mut unasked = document(6, PLACED, PLACED, &[(1, "50.00")], vec![placed()]);
    unasked.as_object_mut().unwrap().remove("cancelledAt");
    let mut huge = document(7, PLACED, PLACED, &[(1, "50.00")], vec![placed()]);
    huge["agreements"]["nodes"][0]["sales"] = json!(vec![json!({}); 260_000]);
    let (success, output) = world.try_ingest(&shop, format!("{unnamed}\n{unasked}\n{huge}").as_bytes());
    assert!(!success, "{output}");
    for said in ["no usable `agreements.refund.id`", "no usable `cancelledAt`", "more than 250000 parts"] {
        assert!(output.contains(said), "{said} is not in {output}");
    }
    let mut twice = document(4, PLACED, PLACED, &[(1, "50.00")], vec![placed(), placed()]);
    twice["agreements"]["nodes"][1]["reason"] = json!("REFUND");
    let lines = format!(
        "\u{feff}{good}\r\n\n{cut}\n{{\"id\":\n{bare}\n{good}\n{twice}\n{}",
        json!({ "id": "gid://shopify/Product/1" })
    );
    let (success, output) = world.try_ingest(&shop, lines.as_bytes());
    assert!(!success, "{output}");
    for said in [
        "7 documents: 6 new, 1 known already; 1 translated, 5 dead",
        "`pageInfo.hasNextPage` is true",
        "no usable `agreements`",
        "two of `agreements` have one id",
        "it ends too early",
        "no usable `id`",
    ] {
        assert!(output.contains(said), "{said} is not in {output}");
    }
    assert_eq!(shop.metrics("2026-11-01", "2026-11-01").await.all(["orders", "gross_sales"]), [1, 5000]);
    // The same file again says nothing new.
    let (success, output) = world.try_ingest(&shop, lines.as_bytes());
    assert!(!success && output.contains("7 documents: 0 new, 7 known already; 0 translated, 5 dead"), "{output}");

    // What a paused shop is told waits; the same file, once it is resumed, ends what was begun.
    let later = document(
        11,
        PLACED,
        PLACED,
        &[(1, "20.00")],
        vec![agreement(1, PLACED, "ORDER", vec![line_sale(1, "ORDER", 1, 1, ["20.00", "0.00", "0.00"])])],
    );
    assert!(run(&world.database, &["shop", "pause", &shop.domain]).0);
    let (success, output) = world.try_ingest(&shop, later.to_string().as_bytes());
    assert!(success && output.contains("1 wait: the shop is paused"), "{output}");
    let mut superuser = world.database.superuser().await;
    sqlx::query("DELETE FROM work_queue").execute(&mut superuser).await.unwrap();
    sqlx::query("UPDATE directory SET paused_at = NULL").execute(&mut superuser).await.unwrap();
    let (success, output) = world.try_ingest(&shop, later.to_string().as_bytes());
    assert!(success && output.contains("1 documents: 0 new, 1 known already; 1 translated"), "{output}");
    assert_eq!(shop.metrics("2026-11-01", "2026-11-01").await.all(["orders", "gross_sales"]), [2, 7000]);

    let flat = format!("{}\n", json!({ "id": "gid://shopify/LineItem/1", "__parentId": "gid://shopify/Order/1" }));
    let (success, output) = world.try_ingest(&shop, flat.as_bytes());
    assert!(!success && output.contains("`__parentId`"), "{output}");
    let (success, output) = world.try_ingest(&shop, b"no,json\n");
    assert!(!success && output.contains("line 1 is no order"), "{output}");
    let (success, output) = run(&world.database, &["ingest", "--shop", &shop.domain, "/nowhere/at/all.jsonl"]);
    assert!(!success && output.contains("cannot be read"), "{output}");
    let long = format!("{good}\n{}\n{good}", " ".repeat(17 * 1024 * 1024));
    let (success, output) = world.try_ingest(&shop, long.as_bytes());
    assert!(!success && output.contains("line 2 is longer than") && output.contains("2 documents"), "{output}");

    // A delivery cannot pass itself off as a document: its topic is not signed.
    let forged = document(9, PLACED, PLACED, &[(1, "70.00")], vec![placed()]);
    assert_eq!(shop.deliver("sync/order", &forged).await, 200);
    assert_eq!(shop.metrics("2026-11-01", "2026-11-01").await.all(["orders"]), [2]);
}

#[tokio::test]
async fn what_is_booked_as_derived_gives_the_same_days() {
    let world = World::new().await;
    // Each order by webhooks, and in another shop as the document that books the same.
    let discounted =
        order(1, PLACED, vec![line(11, "20.00", 1).discount("3.34"), line(12, "20.00", 1).discount("3.33")])
            .code("TEN")
            .shipping(1, "5.00");
    let back = refund(1, 1, SECOND).line(11, 1, "16.66", "0.00", "return").shipping(1, "5.00");
    let included = order(2, PLACED, vec![line(21, "120.00", 1).discount("12.00").tax("18.00", "0.2")])
        .with("taxes_included", json!(true));
    let goodwill = refund(2, 2, THIRD).adjustment(1, "refund_discrepancy", "-6.00", "-1.00");
    let tipped = order(3, PLACED, vec![line(31, "10.00", 3).tax("3.00", "0.1"), line(32, "100.00", 1).gift_card()])
        .with("total_tip_received", json!("4.00"));
    let cancelled = tipped.clone().updated(FIFTH).with("cancelled_at", json!(FIFTH));
    let edited = order(4, PLACED, vec![line(41, "30.00", 2)]);
    let mut after_edit = edited.clone().updated(SECOND);
    after_edit.0["line_items"].as_array_mut().unwrap().push(line(42, "10.00", 1).0);
    after_edit.0["line_items"][0]["current_quantity"] = json!(1);
    let deliveries = [
        ("orders/create", discounted.0),
        ("refunds/create", back.0),
        ("orders/create", included.0),
        ("refunds/create", goodwill.0),
        ("orders/create", tipped.0),
        ("orders/cancelled", cancelled.0),
        ("orders/create", edited.0),
        ("orders/edited", edit(4, 4, SECOND, &[(42, 1)], &[(41, 1)])),
        ("orders/updated", after_edit.0),
    ];
    let by_webhook = world.shop("America/New_York").await;
    for (topic, body) in &deliveries {
        assert_eq!(by_webhook.deliver(topic, body).await, 200);
    }
    by_webhook.stats("2026-11-01", "2026-11-05").await;
    let mut documents = Vec::new();
    for id in 1..=4 {
        let known = world.order(&by_webhook, id).await;
        documents.push(document_of(OrderId(id), &known, "2026-11-06T00:00:00Z".parse().unwrap()));
    }
    let by_document = world.shop("America/New_York").await;
    world.ingest(&by_document, &documents);
    // And both together, which is what happens.
    let by_both = world.shop("America/New_York").await;
    for (topic, body) in deliveries.iter().rev() {
        assert_eq!(by_both.deliver(topic, body).await, 200);
    }
    world.ingest(&by_both, &documents);
    for (from, to) in [("2026-11-01", "2026-11-01"), ("2026-11-02", "2026-11-02"), ("2026-11-03", "2026-11-05")] {
        let expected = by_webhook.metrics(from, to).await.0;
        assert_eq!(by_document.metrics(from, to).await.0, expected, "{from}");
        assert_eq!(by_both.metrics(from, to).await.0, expected, "{from}");
    }
    assert_ne!(by_webhook.metrics("2026-11-01", "2026-11-05").await.get("total_sales"), Some(0));
}
