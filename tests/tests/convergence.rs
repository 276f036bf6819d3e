//! The central property, against Postgres: any order, duplication and batching of the same deliveries gives the same
//! view, byte for byte; and a rebuild gives it again.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;
use domain::{
    ShopId, checkout::Checkout, customer::Customer, discount::Discount, document::Observed, draft_order::DraftOrder,
    inventory::InventoryItem, location::Location, order::Order, product::Product,
};
use ecomdash_tests::{
    TestDatabase,
    catalogue::catalogue,
    documents::documents_of,
    figures::view,
    key_of,
    random::{Delivery, Made, history, rng, seed, storm},
    share_key,
};
use event_store::{Database, StoreError, verify};
use ingest::{Receiver, Registration};
use projector::{RebuildOptions, Worker, WorkerOptions, rebuild};
use serde::Serialize;
use serde_json::Value;
use shopify::ORDER_DOCUMENT;
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

const ROUNDS: u64 = 6;
const ORDERS: u64 = 25;
const CATALOGUE: usize = 120;
const WAYS: usize = 4;

async fn register(database: &Database, name: &str, shop_domain: &str) -> ShopId {
    let registration = Registration {
        domain: format!("{shop_domain}-{name}.myshopify.com").parse().unwrap(),
        shopify_id: None,
        timezone: "America/New_York".parse().unwrap(),
        currency: "USD".parse().unwrap(),
    };
    ingest::register(database, &registration, Utc::now()).await.unwrap()
}

async fn deliver(database: &Database, domain: &str, deliveries: &[Delivery]) {
    let receiver = Receiver::new(database.clone());
    let domain = domain.parse().unwrap();
    for delivery in deliveries {
        let body = delivery.body.to_string();
        if delivery.topic == ORDER_DOCUMENT {
            let mut fleet = database.begin_fleet().await.unwrap();
            let shop = ingest::find(&mut fleet, &domain).await.unwrap().unwrap().shop;
            fleet.commit().await.unwrap();
            let mut tx = database.begin(shop).await.unwrap();
            let key = event_store::shop_key(&mut tx).await.unwrap();
            ingest::store_documents(&mut tx, &key, &[body.into_bytes()], Utc::now()).await.unwrap();
            tx.commit().await.unwrap();
            continue;
        }
        receiver.receive(&delivery.to_inbox(&domain, &body, Utc::now())).await.unwrap();
    }
}

/// Works until nothing is left to do.
async fn settle(database: &Database, superuser: &mut PgConnection) {
    let stop = CancellationToken::new();
    let worker = Worker::new(database.clone(), WorkerOptions::default(), std::sync::Arc::default());
    let working = tokio::spawn(worker.run(stop.clone()));
    for _ in 0..3000 {
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM work_queue").fetch_one(&mut *superuser).await.unwrap();
        if left == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    stop.cancel();
    working.await.unwrap();
    let dead: i64 = sqlx::query_scalar("SELECT count(*) FROM inbox WHERE status <> 'translated'")
        .fetch_one(superuser)
        .await
        .unwrap();
    assert_eq!(dead, 0, "every delivery of the generator can be read");
}

/// What each day sold, whichever way it was told. What a refund gave back beyond its line has no discount to tell of in a
/// document: gross and discount of reversals are left out, their difference is in.
async fn days(superuser: &mut PgConnection, shop: ShopId) -> Vec<String> {
    let sql = "SELECT (d.day, orders, gift_card_orders, gross_minor, discount_minor,
                       reversed_gross_minor - reversed_discount_minor, adjustment_minor, shipping_minor,
                       shipping_reversed_minor, duty_minor, additional_fee_minor, return_fee_minor, tax_minor, tip_minor,
                       gift_card_minor, unclassified_minor, initial_gross_minor, initial_discount_minor,
                       initial_units, units_ordered, units_reversed)::text
               FROM daily_sales d JOIN live_generations l USING (shop_id, generation)
               WHERE shop_id = $1 AND l.projection = 'sales'
                 AND (orders, gift_card_orders, gross_minor, discount_minor, reversed_gross_minor - reversed_discount_minor,
                      adjustment_minor, shipping_minor, shipping_reversed_minor, tax_minor, tip_minor, gift_card_minor)
                     <> (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
               ORDER BY d.day";
    sqlx::query_scalar(sql).bind(shop.0).fetch_all(superuser).await.unwrap()
}

/// The state of every aggregate but the shop itself, whose registrations differ. Seals are each shop's own, and blanked.
async fn states(database: &Database, superuser: &mut PgConnection, shop: ShopId) -> BTreeMap<String, String> {
    let streams: Vec<(String, String)> =
        sqlx::query_as("SELECT DISTINCT aggregate_type, aggregate_id FROM events WHERE shop_id = $1")
            .bind(shop.0)
            .fetch_all(superuser)
            .await
            .unwrap();
    let mut tx = database.begin_reading(shop).await.unwrap();
    let mut states = BTreeMap::new();
    for (aggregate_type, id) in streams {
        let state = match aggregate_type.as_str() {
            "order" => json_of(tx.load::<Order>(&id).await),
            "customer" => json_of(tx.load::<Customer>(&id).await),
            "product" => json_of(tx.load::<Product>(&id).await),
            "inventory_item" => json_of(tx.load::<InventoryItem>(&id).await),
            "location" => json_of(tx.load::<Observed<Location>>(&id).await),
            "checkout" => json_of(tx.load::<Observed<Checkout>>(&id).await),
            "draft_order" => json_of(tx.load::<Observed<DraftOrder>>(&id).await),
            "discount" => json_of(tx.load::<Observed<Discount>>(&id).await),
            "shop" => continue,
            other => panic!("{other} is not compared"),
        };
        states.insert(format!("{aggregate_type}/{id}"), state);
    }
    states
}

fn json_of<A: Serialize>(state: Result<A, StoreError>) -> String {
    fn blank(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (key, field) in fields {
                    if key == "sealed" { *field = Value::Null } else { blank(field) }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(blank),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(state.unwrap()).unwrap();
    blank(&mut value);
    value.to_string()
}

/// The rollup is the sum of the facts, whatever was compensated on the way.
async fn assert_rollup_is_the_sum(superuser: &mut PgConnection, shop: ShopId) {
    let off: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM (
             SELECT day, sum(gross_minor - discount_minor - reversed_gross_minor + reversed_discount_minor
                             + adjustment_minor + shipping_minor - shipping_reversed_minor + duty_minor
                             + additional_fee_minor + return_fee_minor + tip_minor + gift_card_minor + unclassified_minor) AS net,
                    sum(tax_minor) AS tax, sum(orders) AS orders
             FROM daily_sales WHERE shop_id = $1 GROUP BY day) d
         FULL JOIN (
             SELECT shop_day AS day, sum(net_minor) AS net,
                    sum(tax_minor) FILTER (WHERE line_type NOT IN ('tip', 'gift_card')) AS tax, sum(orders) AS orders
             FROM sale_fact WHERE shop_id = $1 GROUP BY shop_day) f USING (day)
         WHERE (COALESCE(d.net, 0), COALESCE(d.tax, 0), COALESCE(d.orders, 0))
            <> (COALESCE(f.net, 0), COALESCE(f.tax, 0), COALESCE(f.orders, 0))",
    )
    .bind(shop.0)
    .fetch_one(superuser)
    .await
    .unwrap();
    assert_eq!(off, 0, "days on which the rollup is not the sum of the facts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_order_and_number_of_deliveries_ends_in_the_same_view_and_a_rebuild_in_it_again() {
    let seed = seed();
    let database = TestDatabase::new().await;
    let store = database.open_with(8);
    let mut superuser = database.superuser().await;
    // Every shop has its key: so all take the same of two bodies of one instant.
    let keeper = register(&store, "keeper", "c").await;
    let key = key_of(&store, keeper).await;
    let mut made = Made::default();
    let mut documents = 0;
    let mut types = BTreeSet::new();
    for round in 0..ROUNDS {
        let mut rng = rng(seed.wrapping_add(round));
        let mut history = history(&mut rng, ORDERS, &mut made);
        history.extend(catalogue(&mut rng, CATALOGUE, &mut made));
        // Every other time the same orders come as documents, too: as they were at some moment, and as they are at last.
        let mut expected = None;
        if round % 2 == 1 {
            let name = format!("r{round}w");
            let shop = register(&store, &name, "c").await;
            share_key(&store, &mut superuser, keeper, shop).await;
            deliver(&store, &format!("c-{name}.myshopify.com"), &history).await;
            settle(&store, &mut superuser).await;
            let by_webhook = days(&mut superuser, shop).await;
            let (midway, at_the_end) = documents_of(&mut rng, &key, &history);
            documents += midway.len() + at_the_end.len();
            let middle = history.len() / 2;
            history.splice(middle..middle, midway);
            // Without the last ones, what came after the documents is derived: in no order of arrival otherwise.
            if round != 5 {
                history.extend(at_the_end);
                expected = Some(by_webhook);
            }
        }
        let (mut views, mut all_states) = (Vec::new(), Vec::new());
        for way in 0..WAYS {
            let name = format!("r{round}w{way}");
            let shop = register(&store, &name, "c").await;
            share_key(&store, &mut superuser, keeper, shop).await;
            let domain = format!("c-{name}.myshopify.com");
            // The first in order and once; the others shuffled and doubled, in batches of other sizes.
            let deliveries = if way == 0 { history.clone() } else { storm(&mut rng, &history, &mut made) };
            let batch = [usize::MAX, usize::MAX, 7, 31][way];
            for deliveries in deliveries.chunks(batch.min(deliveries.len().max(1))) {
                deliver(&store, &domain, deliveries).await;
                settle(&store, &mut superuser).await;
            }
            assert_rollup_is_the_sum(&mut superuser, shop).await;
            assert_eq!(verify(&store, shop, |_| {}).await.unwrap().fault, None);
            let live = view(&mut superuser, shop).await;
            for projection in ["sales", "orders"] {
                let options = RebuildOptions { check_only: way % 2 == 1, ..RebuildOptions::of(projection) };
                let rebuilt = rebuild(&store, shop, options, |_, _| {}).await.unwrap();
                assert!(rebuilt.comparison.is_equal(), "seed {seed} round {round} way {way}: {rebuilt:?}");
            }
            assert_eq!(view(&mut superuser, shop).await, live, "seed {seed} round {round} way {way}: rebuilt");
            views.push(live);
            if let Some(expected) = &expected {
                let days = days(&mut superuser, shop).await;
                assert_eq!(&days, expected, "seed {seed} round {round} way {way}: documents and webhooks");
            }
            all_states.push(states(&store, &mut superuser, shop).await);
        }
        for (way, view) in views.iter().enumerate() {
            assert!(view == &views[0], "seed {seed} round {round} way {way}:\n{}", first_difference(&views[0], view));
            for (stream, state) in &all_states[0] {
                assert_eq!(all_states[way].get(stream), Some(state), "seed {seed} round {round} way {way}: {stream}");
            }
            assert_eq!(all_states[way].len(), all_states[0].len(), "seed {seed} round {round} way {way}");
        }
        assert!(views[0].lines().count() > 20, "the view is not empty");
        types.extend(all_states[0].keys().filter_map(|stream| Some(stream.split('/').next()?.to_owned())));
    }
    // A generator that makes nothing hard proves nothing.
    assert!(made.ties >= 30 && made.refunds >= 20 && made.edits >= 15 && made.cancellations >= 5, "{made:?}");
    assert_eq!(types.len(), 8, "{types:?}");
    assert!(documents >= 100, "{documents} documents");
    assert!(made.deletions >= 3 && made.refunds_before_create >= 10 && made.deletions_before_create >= 1, "{made:?}");
}

fn first_difference(left: &str, right: &str) -> String {
    let differing = left.lines().zip(right.lines()).find(|(left, right)| left != right);
    differing.map_or("one is longer".to_owned(), |(left, right)| format!("{left}\n{right}"))
}
