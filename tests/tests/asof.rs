//! What was known at a moment, why it changed since, and what it is made of: against the same shop with its log cut there.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, SecondsFormat, Timelike, Utc};
use domain::{Command, ids::OrderId, order::OrderCommand};
use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    bodies::{edit, line, order, refund},
    documents::{agreement, document, documents_of, line_sale},
    figures::{PERIODS, answer, answers, assert_restatements_add_up, assert_same, cut, deliver, digits},
    key_of,
    random::{Made, history, rng, seed, storm},
};
use event_store::Metadata;
use projector::{RebuildOptions, rebuild};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use read_models::daily_sales_at::KEPT_EVERY;
use serde_json::{Value, json};

/// Enough that days were kept on the way.
const ORDERS: u64 = 300;
const RANDOM_POSITIONS: usize = 6;

/// Waits until all is folded, and the days are cut in that zone.
async fn settled(shop: &Shop, timezone: &str) -> i64 {
    for _ in 0..3000 {
        let stats = shop.stats("2026-11-01", "2026-11-01").await;
        if stats["period"]["timezone"] == timezone {
            return stats["as_of_position"].as_i64().unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the days are never cut in {timezone}");
}

fn zone_change(timezone: &str, at: &str) -> Value {
    json!({ "id": 548_380_009, "name": "Example", "iana_timezone": timezone, "currency": "USD", "updated_at": at })
}

async fn assert_facts_add_up(shop: &Shop, position: i64, metric: &str, why: &str) -> usize {
    let (first, last) = PERIODS[0];
    let question = format!("from={first}&to={last}&as_of={position}");
    let stats = answer(shop, &format!("/api/dashboard/stats?{question}")).await;
    let (mut sum, mut per, mut facts) = (0, 0, BTreeSet::new());
    let mut cursor = String::new();
    loop {
        let path = format!("/api/dashboard/explain?metric={metric}&{question}&limit=250{cursor}");
        let page = answer(shop, &path).await;
        assert_eq!(page["value"], stats["metrics"][metric], "{why}");
        assert_eq!(page["formula"], stats["definitions"]["formulas"][metric]);
        assert_eq!(page["definition"], stats["definitions"]["version"]);
        for fact in page["items"].as_array().unwrap() {
            assert!(facts.insert(fact["fact_id"].as_str().unwrap().to_owned()), "{why}: twice {fact}");
            sum += digits(&fact["adds"]).unwrap();
            per += fact["per"].as_i64().unwrap_or(0);
            assert!(fact["event"]["position"].as_i64().unwrap() <= position, "{why}: {fact}");
            assert!((first..=last).contains(&fact["day"].as_str().unwrap()), "{why}: {fact}");
            let id = fact["origin"]["webhook_id"].as_str().unwrap();
            assert_eq!(fact["origin"]["source"], if id.starts_with("sync:") { "sync" } else { "webhook" }, "{fact}");
        }
        let Some(next) = page["next_cursor"].as_str() else {
            assert_eq!(Some(sum), digits(&page["sum"]), "{why}: {metric}");
            assert_eq!(per, page["per"].as_i64().unwrap_or(0), "{why}: {metric}");
            return facts.len();
        };
        cursor = format!("&cursor={next}");
    }
}

fn pair(rng: &mut StdRng, positions: &[i64]) -> (i64, i64) {
    let (one, other) = (*positions.choose(rng).unwrap(), *positions.choose(rng).unwrap());
    (one.min(other), one.max(other))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_as_of_any_position_are_those_of_a_log_that_ends_there() {
    let seed = seed();
    let mut rng = rng(seed);
    let database = TestDatabase::new().await;
    let server = Ecomdash::start(&["up", "--port", "0"], &database, &[("LOG_LEVEL", "info")]);
    let store = database.open();
    let mut superuser = database.superuser().await;
    let shop = Shop::register(&store, &server.url, "America/New_York", "USD").await;

    let mut made = Made::default();
    // A part in order, the rest doubled and shuffled, with documents in between.
    let mut told = history(&mut rng, ORDERS, &mut made);
    let (midway, _) = documents_of(&mut rng, &key_of(&store, shop.id).await, &told);
    let mut rest = told.split_off(3 * told.len() / 4);
    rest.extend(midway);
    told.extend(storm(&mut rng, &rest, &mut made));
    let (before, after) = told.split_at(rng.random_range(told.len() / 3..2 * told.len() / 3));
    deliver(&store, &shop, before).await;
    let before = settled(&shop, "America/New_York").await;
    assert_eq!(shop.deliver("shop/update", &zone_change("Asia/Tokyo", "2026-11-02T00:00:00Z")).await, 200);
    let zone_changed = settled(&shop, "Asia/Tokyo").await;
    deliver(&store, &shop, after).await;
    let head = settled(&shop, "Asia/Tokyo").await;
    assert!(head > KEPT_EVERY + 100, "SEED={seed}: only {head} events");

    let mut positions = vec![1, KEPT_EVERY - 1, KEPT_EVERY, KEPT_EVERY + 1, zone_changed, head];
    positions.extend((0..RANDOM_POSITIONS).map(|_| rng.random_range(2..head)));
    let mut expected = BTreeMap::new();
    for &position in &positions {
        let why = format!("SEED={seed} position {position} of {head}");
        let replayed = cut(&store, &mut superuser, &server.url, shop.id, position).await;
        let replayed = answers(&replayed, None).await;
        assert_same(&answers(&shop, Some(position)).await, &replayed, &why);
        expected.insert(position, replayed);
        assert_facts_add_up(&shop, position, "total_sales", &why).await;
    }
    assert_same(&answers(&shop, None).await, &expected[&head], "as of the head is as of now");
    let by_product =
        answer(&shop, "/api/dashboard/breakdown?metric=net_sales&by=product&from=2026-10-20&to=2026-11-12").await;
    let labels: Vec<_> = by_product["rows"].as_array().unwrap().iter().map(|row| row["label"].clone()).collect();
    assert_eq!(labels[250..], ["(not attributed)", "(others)"], "SEED={seed}");
    for metric in ["net_sales", "average_order_value", "units_per_order", "tips", "orders"] {
        let facts = assert_facts_add_up(&shop, head, metric, &format!("SEED={seed}")).await;
        assert!(facts > 0, "SEED={seed}: {metric}");
    }
    let mut causes = BTreeSet::new();
    let mut ranges: Vec<_> = (0..8).map(|_| pair(&mut rng, &positions)).collect();
    ranges.extend([(0, head), (1, head), (before, zone_changed)]);
    for (from, to) in ranges {
        for period in PERIODS {
            let why = format!("SEED={seed} {from} to {to}");
            causes.extend(assert_restatements_add_up(&shop, (from, to), period, &why).await);
        }
    }
    for cause in ["settings", "late_webhook", "refund", "edit", "cancellation", "deletion", "backfill", "correction"] {
        assert!(causes.contains(cause), "SEED={seed}: {cause} is none of {causes:?}");
    }

    // So does a ledger of a release that kept nothing on the way, until it is rebuilt.
    sqlx::query("UPDATE checkpoints SET definition = $2 WHERE shop_id = $1 AND projection = 'sales'")
        .bind(shop.id.0)
        .bind(i32::try_from(domain::ledger::DEFINITION).unwrap())
        .execute(&mut superuser)
        .await
        .unwrap();
    for position in [head, positions[positions.len() - 1]] {
        assert_same(
            &answers(&shop, Some(position)).await,
            &expected[&position],
            &format!("SEED={seed} {position}, old"),
        );
    }
    assert_restatements_add_up(&shop, (1, head), PERIODS[1], &format!("SEED={seed} old")).await;

    // Another build of the ledger answers the same.
    let rebuilt = rebuild(&store, shop.id, RebuildOptions::of("sales"), |_, _| {}).await.unwrap();
    assert!(rebuilt.switched && rebuilt.comparison.is_equal(), "{rebuilt:?}");
    for (position, expected) in expected {
        let why = format!("SEED={seed} position {position}, rebuilt");
        assert_same(&answers(&shop, Some(position)).await, &expected, &why);
    }
}

/// A zone in which it is about noon, so that no day ends meanwhile.
fn zone_of_noon(now: DateTime<Utc>) -> String {
    match 12 - i64::from(now.hour()) {
        0 => "UTC".to_owned(),
        // Their names have the sign that people expect least.
        ahead @ 1.. => format!("Etc/GMT-{ahead}"),
        behind => format!("Etc/GMT+{}", -behind),
    }
}

#[tokio::test]
async fn each_change_is_told_under_its_cause() {
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    let now = Utc::now();
    let shop = Shop::register(&database.open(), &server.url, &zone_of_noon(now), "USD").await;
    let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let (today, earlier) = (text(now), text(now - Duration::days(3)));
    let later = |seconds| text(now + Duration::seconds(seconds));

    let one = order(1, &today, vec![line(11, "50.00", 2)]);
    let back = refund(1, 1, &today).line(11, 1, "50.00", "0.00", "return");
    let late = order(2, &earlier, vec![line(21, "30.00", 1)]);
    let mut edited = late.clone().updated(&later(3));
    edited.0["line_items"].as_array_mut().unwrap().push(line(22, "7.00", 1).0);
    let three = order(3, &today, vec![line(31, "20.00", 1)]);
    let dearer = order(3, &today, vec![line(31, "25.00", 1)]).updated(&later(4));
    let cancelled = dearer.clone().updated(&later(5)).with("cancelled_at", json!(later(5)));
    let booked = agreement(9, &earlier, "ORDER", vec![line_sale(9, "ORDER", 41, 1, ["40.00", "0.00", "0.00"])]);
    let imported = document(4, &earlier, &earlier, &[(41, "40.00")], vec![booked]);
    let merged = ecomdash_tests::bodies::merge(71, 72);
    // What is told, why net sales then change, by how much, and how many of the events were late.
    let steps: [(&str, Value, &str, &str, i64); 9] = [
        ("orders/create", one.0.clone(), "new_sale", "100.00", 0),
        ("refunds/create", back.0, "refund", "-50.00", 0),
        ("orders/create", late.0, "late_webhook", "30.00", 1),
        ("orders/edited", edit(1, 2, &today, &[(22, 1)], &[]), "edit", "0.00", 0),
        ("orders/create", three.0, "new_sale", "20.00", 0),
        ("orders/updated", dearer.0, "correction", "5.00", 0),
        ("orders/cancelled", cancelled.0, "cancellation", "-25.00", 0),
        ("orders/delete", json!({ "id": 1 }), "deletion", "-50.00", 0),
        ("customers/merge", merged, "merge", "0.00", 0),
    ];
    let mut known = shop.stats("2026-11-01", "2026-11-01").await["as_of_position"].as_i64().unwrap();
    for (topic, body, cause, expected, late) in steps {
        assert_eq!(shop.deliver(topic, &body).await, 200);
        let position = shop.stats("2026-11-01", "2026-11-01").await["as_of_position"].as_i64().unwrap();
        assert!(position > known, "{topic} taught nothing");
        let told = answer(&shop, &format!("/api/dashboard/restatements?from={known}&to={position}")).await;
        known = position;
        let causes = told["causes"].as_array().unwrap();
        if cause == "edit" {
            // Without money: that comes with the next body.
            assert!(causes.is_empty(), "{told}");
            continue;
        }
        let names: Vec<_> = causes.iter().map(|cause| cause["cause"].as_str().unwrap()).collect();
        assert_eq!(names, [cause], "{topic}: {told}");
        assert_eq!(causes[0]["metrics"]["net_sales"]["change"]["amount"], expected, "{topic}: {told}");
        assert_eq!(causes[0]["late_events"], late, "{topic}");
        assert_eq!(told["total"]["metrics"]["net_sales"]["change"]["amount"], expected, "{topic}");
        assert!(causes[0]["events"].as_i64().unwrap() >= 1 && causes[0]["orders"].as_i64().unwrap() <= 1, "{told}");
    }
    assert_eq!(shop.deliver("orders/updated", &edited.0).await, 200);
    let told = told_since(&shop, &mut known).await;
    assert_eq!(told, [("edit".to_owned(), "7.00".to_owned())]);

    let store = database.open();
    let mut tx = store.begin(shop.id).await.unwrap();
    let key = event_store::shop_key(&mut tx).await.unwrap();
    ingest::store_documents(&mut tx, &key, &[imported.to_string().into_bytes()], Utc::now()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(told_since(&shop, &mut known).await, [("backfill".to_owned(), "40.00".to_owned())]);

    let redact = Command::Order(OrderId(2), OrderCommand::Redact { redaction: "case 12".to_owned() });
    store.execute(shop.id, redact, Metadata::from_source("command")).await.unwrap();
    assert_eq!(told_since(&shop, &mut known).await, [("redaction".to_owned(), "0.00".to_owned())]);
}

/// Causes since a position with what they changed of net sales; the position moves on.
async fn told_since(shop: &Shop, known: &mut i64) -> Vec<(String, String)> {
    let position = shop.stats("2026-11-01", "2026-11-01").await["as_of_position"].as_i64().unwrap();
    let told = answer(shop, &format!("/api/dashboard/restatements?from={known}&to={position}")).await;
    *known = position;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let causes = told["causes"].as_array().unwrap().iter();
    causes.map(|cause| (text(&cause["cause"]), text(&cause["metrics"]["net_sales"]["change"]["amount"]))).collect()
}

#[tokio::test]
async fn a_change_of_zone_is_told_and_what_was_known_before_is_cut_as_it_was() {
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    let shop = Shop::register(&database.open(), &server.url, "America/New_York", "USD").await;
    let body = order(1, "2026-11-01T02:00:00Z", vec![line(11, "50.00", 1)]);
    assert_eq!(shop.deliver("orders/create", &body.0).await, 200);
    let before = settled(&shop, "America/New_York").await;
    assert_eq!(shop.deliver("shop/update", &zone_change("Asia/Tokyo", "2026-11-02T00:00:00Z")).await, 200);
    settled(&shop, "Asia/Tokyo").await;
    let after = shop.stats("2026-11-01", "2026-11-01").await["as_of_position"].as_i64().unwrap();

    let gross = async |as_of: &str| {
        let path = format!("/api/dashboard/series?metric=gross_sales&from=2026-10-31&to=2026-11-01{as_of}");
        let series = answer(&shop, &path).await;
        let points = series["points"].as_array().unwrap().iter();
        (series["timezone"].clone(), points.map(|point| point["value"]["amount"].clone()).collect::<Vec<_>>())
    };
    let (new_york, tokyo) = (json!("America/New_York"), json!("Asia/Tokyo"));
    assert_eq!(gross("").await, (tokyo.clone(), vec![json!("0.00"), json!("50.00")]));
    assert_eq!(gross(&format!("&as_of={after}")).await, gross("").await);
    assert_eq!(gross(&format!("&as_of={before}")).await, (new_york, vec![json!("50.00"), json!("0.00")]));

    let days = "period_from=2026-10-31&period_to=2026-10-31";
    let told = answer(&shop, &format!("/api/dashboard/restatements?from={before}&{days}")).await;
    let causes = told["causes"].as_array().unwrap();
    let changes: Vec<_> =
        causes.iter().map(|cause| (&cause["cause"], &cause["metrics"]["gross_sales"]["change"]["amount"])).collect();
    assert_eq!(
        changes,
        [(&json!("settings"), &json!("-50.00")), (&json!("definition_change"), &json!("0.00"))],
        "{told}"
    );
    let restated = &told["definition_changes"][0];
    assert_eq!(restated["timezone"], json!(["America/New_York", "Asia/Tokyo"]), "{told}");
    assert_eq!(restated["before"]["USD.gross_minor"], 5000);
    assert_eq!(told["from"]["timezone"], "America/New_York");
    assert_eq!(told["to"]["timezone"], tokyo);
}

#[tokio::test]
async fn a_moment_is_the_last_event_that_was_recorded_by_then_and_its_day_is_today() {
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    let shop = Shop::register(&database.open(), &server.url, "UTC", "USD").await;
    let stats = async |as_of: &str| answer(&shop, &format!("/api/dashboard/stats?as_of={as_of}")).await;
    for id in 1..=4 {
        let body = order(id, "2026-11-01T02:00:00Z", vec![line(10 + id, "50.00", 1)]);
        assert_eq!(shop.deliver("orders/create", &body.0).await, 200);
        shop.stats("2026-11-01", "2026-11-01").await;
    }
    let head = shop.stats("2026-11-01", "2026-11-01").await;
    let last = head["as_of_position"].as_i64().unwrap();
    let micros = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Micros, true);
    for position in 1..=last {
        let of_position = stats(&position.to_string()).await;
        assert_eq!(of_position["as_of_position"], position);
        let recorded_at: DateTime<Utc> = of_position["as_of"].as_str().unwrap().parse().unwrap();
        for (as_of, expected) in [
            (recorded_at, position),
            (recorded_at - Duration::microseconds(1), position - 1),
            (recorded_at + Duration::microseconds(1), position),
        ] {
            let answer = stats(&micros(as_of)).await;
            assert_eq!(answer["as_of_position"], expected, "{as_of} is of position {expected}");
            assert_eq!(answer["lag"], 0);
        }
        assert_eq!(of_position["period"]["to"], recorded_at.date_naive().to_string(), "today is the moment's day");
        assert_eq!(of_position["period"]["partial"], true);
    }

    // Before the first event a shop is one without sales, and its days after the moment are still to come.
    let days = "from=2026-11-01&to=2026-11-02";
    let nothing = answer(&shop, &format!("/api/dashboard/stats?{days}&as_of=0")).await;
    assert_eq!((&nothing["as_of_position"], &nothing["as_of"]), (&json!(0), &Value::Null));
    assert_eq!(nothing["metrics"]["total_sales"], json!({ "amount": "0.00", "currency": "USD" }));
    assert_eq!((&nothing["metrics"]["orders"], &nothing["metrics"]["average_order_value"]), (&json!(0), &Value::Null));
    let series = format!("/api/dashboard/series?metric=orders&{days}&as_of=2026-11-01T23:59:59Z");
    let values = answer(&shop, &series).await["points"].clone();
    assert_eq!((&values[0]["value"], &values[1]["value"]), (&json!(0), &Value::Null));

    // What is yet to come is as of now, and says so.
    for beyond in ["2999-01-01T00:00:00Z", &(last + 1).to_string(), "999999999999999999"] {
        let path = format!("/api/dashboard/stats?from=2026-11-01&to=2026-11-01&as_of={beyond}");
        assert_eq!(answer(&shop, &path).await, head, "{beyond}");
    }

    // What is not folded is not promised.
    drop(server);
    let serve = Ecomdash::start(&["serve", "--port", "0"], &database, &[]);
    let new = Shop::register(&database.open(), &serve.url, "UTC", "USD").await;
    let behind = answer(&new, "/api/dashboard/stats?as_of=1").await;
    assert_eq!((&behind["as_of_position"], &behind["lag"]), (&json!(0), &json!(1)), "{behind}");
}

#[tokio::test]
async fn what_is_no_moment_is_refused_with_what_to_change() {
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    let shop = Shop::register(&database.open(), &server.url, "UTC", "USD").await;
    for (path, words) in [
        ("stats?as_of=yesterday", "`as_of` is neither a position of the log like 120 nor an instant like"),
        ("stats?as_of=-1", "`as_of` is a position before the log's first"),
        ("stats?as_of=", "`as_of` is neither"),
        ("stats?as_of=2026-11-30", "`as_of` is neither"),
        ("stats?as_of=1&as_of=2", "duplicate field"),
        ("series?metric=orders&as_of=1.5", "`as_of` is neither"),
        ("breakdown?metric=net_sales&by=product&as_of=x", "`as_of` is neither"),
        ("breakdown?metric=net_sales", "`by` is missing"),
        ("breakdown?metric=orders&by=product", "cannot be broken down"),
        ("breakdown?metric=average_order_value&by=product", "cannot be broken down"),
        ("breakdown?metric=net_sales&by=weather", "unknown variant"),
        ("explain?as_of=1", "`metric` is missing"),
        ("explain?metric=orders&as_of=x", "`as_of` is neither"),
        ("explain?metric=orders&limit=0", "`limit` is not between 1 and 250"),
        ("explain?metric=orders&cursor=x", "`cursor` is not one that a page answered"),
        ("restatements", "`from` is missing"),
        ("restatements?from=-3", "`from` is a position before the log's first"),
        ("restatements?from=1&to=x", "`to` is neither"),
        ("restatements?from=9&to=8", "`from` is after `to`"),
        ("restatements?from=2026-11-02T00:00:00Z&to=2026-11-01T00:00:00Z", "`from` is after `to`"),
        ("restatements?from=1&to=1970-01-01T00:00:00Z", "`from` is after `to`"),
        ("restatements?from=0&period_from=2026-11-02&period_to=2026-11-01", "`period_from` is after `period_to`"),
        ("restatements?from=0&period_from=soon", "`period_from` is not a day like"),
    ] {
        let (status, problem) = shop.get(&format!("/api/dashboard/{path}")).await;
        let detail = problem["detail"].as_str().unwrap_or_default().to_owned();
        assert_eq!(status, 400, "{path}: {problem}");
        assert!(detail.contains(words), "{path}: {detail}");
    }
}
