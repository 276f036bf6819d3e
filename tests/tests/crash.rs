//! Processes killed with `kill -9` under load: what was acknowledged is in the inbox once, its news in the log once, and
//! the figures are right.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    bodies::{line, order},
    random::{rng, seed},
};
use event_store::verify;
use rand::RngExt;

const KILLS: u32 = 10;
const CLIENTS: u64 = 4;

/// An amount that no other order has, so that a total names what was lost or doubled.
fn amount(id: u64) -> i64 {
    i64::try_from(id * 7 + 13).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_kills_under_load_lose_and_double_nothing() {
    let seed = seed();
    let database = TestDatabase::new().await;
    let api = Ecomdash::start(&["serve", "--port", "0"], &database, &[]);
    let store = database.open();
    let shop = Shop::register(&store, &api.url, "UTC", "USD").await;

    let next = Arc::new(AtomicU64::new(1));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let (shop, next) = (shop.at(&api.url), Arc::clone(&next));
        let (acknowledged, stop) = (Arc::clone(&acknowledged), Arc::clone(&stop));
        clients.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let id = next.fetch_add(1, Ordering::Relaxed);
                let cents = amount(id);
                let price = format!("{}.{:02}", cents / 100, cents % 100);
                let body = order(id, "2026-11-01T12:00:00Z", vec![line(id, &price, 1)]).0.to_string();
                // As Shopify does: the same delivery again until it is acknowledged, and now and then once more.
                for attempt in 0.. {
                    let answer = shop.try_deliver("orders/create", &body, &id.to_string(), None).await;
                    if answer.is_ok_and(|answer| answer.status() == 200) && (attempt > 0 || id % 5 != 0) {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    let mut superuser = database.superuser().await;
    let mut rng = rng(seed);
    for kill in 1..=KILLS {
        let mut worker = worker(&database);
        tokio::time::sleep(Duration::from_millis(rng.random_range(150..900))).await;
        let in_flight: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM inbox WHERE status = 'pending') +
                    (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                        AND application_name = 'ecomdash' AND state <> 'idle')",
        )
        .fetch_one(&mut superuser)
        .await
        .unwrap();
        worker.kill().unwrap();
        worker.wait().unwrap();
        let acknowledged = acknowledged.load(Ordering::Relaxed);
        eprintln!("kill {kill}: {in_flight} in flight, {acknowledged} acknowledged");
        assert!(in_flight > 0 && acknowledged > 0, "kill {kill} hit nothing: the load is too light");
    }
    stop.store(true, Ordering::Relaxed);
    clients.join_all().await;
    let orders = next.load(Ordering::Relaxed) - 1;
    assert_eq!(orders, acknowledged.load(Ordering::Relaxed));
    let mut last = worker(&database);

    let expected: i64 = (1..=orders).map(amount).sum();
    let metrics = shop.metrics("2026-11-01", "2026-11-01").await;
    assert_eq!(metrics.all(["orders", "gross_sales"]), [i64::try_from(orders).unwrap(), expected], "seed {seed}");
    let (inbox, distinct, events, placed): (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM inbox), (SELECT count(DISTINCT webhook_id) FROM inbox WHERE status = 'translated'),
                (SELECT count(*) FROM events WHERE aggregate_type = 'order'),
                (SELECT count(DISTINCT aggregate_id) FROM events WHERE event_type = 'OrderPlaced')",
    )
    .fetch_one(&mut superuser)
    .await
    .unwrap();
    let orders = i64::try_from(orders).unwrap();
    assert_eq!((inbox, distinct, events, placed), (orders, orders, orders, orders), "seed {seed}");
    let verified = verify(&store, shop.id, |_| {}).await.unwrap();
    assert_eq!((verified.events, verified.fault), (orders + 1, None));
    let _ = last.kill();
    let _ = last.wait();
}

fn worker(database: &TestDatabase) -> std::process::Child {
    ecomdash_tests::command_on(database)
        .arg("work")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the binary runs")
}
