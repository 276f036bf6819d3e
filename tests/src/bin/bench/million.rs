//! A shop of a million orders, taken in by `up`: what memory that takes, and what a query of its figures costs.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    documents::{agreement, document, line_sale},
    system::peak_kib,
};
use event_store::{Database, shop_key};

use crate::{
    Scale,
    http::{Connection, query},
    limits,
    redaction::{self, Redactions},
};

const CLIENTS: usize = 8;
const DAYS: i64 = 180;

pub struct Million {
    pub ours: Vec<f64>,
    pub pgbench: Vec<f64>,
    /// The rate of the present figures in relation to that of those as known at moments all over the log, of each run.
    pub now_to_as_of: Vec<f64>,
    /// The rate over a small shop in relation to that over the large one, of each run.
    pub small_to_large: Vec<f64>,
    pub redactions: Redactions,
    pub orders: u64,
    pub peak_mib: f64,
    pub ingested_per_second: f64,
}

pub async fn measure(database: &TestDatabase, scale: Scale) -> anyhow::Result<Million> {
    let server = Ecomdash::start(&["up", "--port", "0"], database, &crate::UNLIMITED);
    let store = database.open();
    let large = Shop::register(&store, &server.url, "America/New_York", "USD").await;
    let small = Shop::register(&store, &server.url, "America/New_York", "USD").await;
    take_in(&store, &small, scale.large_shop.min(10_000)).await?;
    let began = Instant::now();
    take_in(&store, &large, scale.large_shop).await?;
    let ingested_per_second = scale.large_shop as f64 / began.elapsed().as_secs_f64();
    let peak_mib = peak_mib(server.pid())?;
    let mut superuser = database.superuser().await;
    sqlx::raw_sql("VACUUM ANALYZE").execute(&mut superuser).await?;

    // What belongs to a table and not to a shop shows only where nobody else is.
    let other = TestDatabase::new().await;
    let other_server = Ecomdash::start(&["up", "--port", "0"], &other, &crate::UNLIMITED);
    let other_store = other.open();
    let alone = Shop::register(&other_store, &other_server.url, "America/New_York", "USD").await;
    take_in(&other_store, &alone, scale.large_shop.min(10_000)).await?;
    // What a redaction does is compared, not how long autovacuum keeps it from the tables that it writes anew.
    sqlx::raw_sql("VACUUM ANALYZE").execute(&mut other.superuser().await).await?;
    for setting in ["ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()"] {
        sqlx::raw_sql(setting).execute(&mut superuser).await?;
    }
    let redactions = redaction::measure((&store, &large), (&other_store, &alone), scale.runs).await?;
    for setting in ["ALTER SYSTEM RESET autovacuum", "SELECT pg_reload_conf()"] {
        sqlx::raw_sql(setting).execute(&mut superuser).await?;
    }
    drop(other_server);

    let mut measured = Million {
        redactions,
        ours: vec![],
        pgbench: vec![],
        now_to_as_of: vec![],
        small_to_large: vec![],
        orders: scale.large_shop,
        peak_mib,
        ingested_per_second,
    };
    for run in 0..=scale.runs {
        let of_large = rate(&server.url, &large, scale.queries).await?;
        let as_of = rate_as_of(&server.url, &large, scale.queries / 4).await?;
        let limit = pgbench(database, &large, scale.queries / CLIENTS)?;
        let of_small = rate(&server.url, &small, scale.queries).await?;
        if run > 0 {
            measured.ours.push(of_large);
            measured.pgbench.push(limit);
            measured.now_to_as_of.push(of_large / as_of);
            measured.small_to_large.push(of_small / of_large);
        }
    }
    Ok(measured)
}

const PERIOD: (&str, &str) = ("2026-04-01", "2026-06-29");

/// Orders over half a year, as documents, no more waiting at once than a sync would leave.
async fn take_in(store: &Database, shop: &Shop, orders: u64) -> anyhow::Result<()> {
    let start: DateTime<Utc> = "2026-01-05T12:00:00Z".parse()?;
    let mut next = 1;
    while next <= orders {
        let mut documents = Vec::new();
        for id in next..(next + 500).min(orders + 1) {
            let at = start + chrono::Duration::days(i64::try_from(id)? % DAYS) + chrono::Duration::seconds(7);
            let at = at.to_rfc3339();
            let sold = agreement(id, &at, "ORDER", vec![line_sale(id, "ORDER", id, 1, ["55.00", "5.00", "0.00"])]);
            documents.push(document(id, &at, &at, &[(id, "50.00")], vec![sold]).to_string().into_bytes());
        }
        next += 500;
        let mut tx = store.begin(shop.id).await?;
        let key = shop_key(&mut tx).await?;
        ingest::store_documents(&mut tx, &key, &documents, Utc::now()).await?;
        tx.commit().await?;
        if next % 10_000 == 1 {
            settled(shop, 20_000).await?;
        }
    }
    settled(shop, 0).await
}

async fn settled(shop: &Shop, lag: i64) -> anyhow::Result<()> {
    let mut patience = 60_000;
    loop {
        let (_, stats) = shop.get("/api/dashboard/stats?from=2026-01-01&to=2026-01-01").await;
        if stats["lag"].as_i64().is_some_and(|now| now <= lag) {
            return Ok(());
        }
        patience -= 1;
        anyhow::ensure!(patience > 0, "the lag stays: {}", stats["lag"]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The most memory that a process ever had.
fn peak_mib(pid: u32) -> anyhow::Result<f64> {
    let peak = i32::try_from(peak_kib(pid).unwrap_or(0))?;
    anyhow::ensure!(peak > 0, "only Linux tells the most memory that a process had");
    Ok(f64::from(peak) / 1024.0)
}

async fn rate(url: &str, shop: &Shop, queries: usize) -> anyhow::Result<f64> {
    rate_of(url, queries, &[query(shop, &stats())]).await
}

fn stats() -> String {
    format!("/api/dashboard/stats?from={}&to={}", PERIOD.0, PERIOD.1)
}

/// As known at positions all over the log, no two queries after each other at the same.
async fn rate_as_of(url: &str, shop: &Shop, queries: usize) -> anyhow::Result<f64> {
    let (_, now) = shop.get(&stats()).await;
    let head = now["as_of_position"].as_i64().ok_or_else(|| anyhow::anyhow!("no position: {now}"))?;
    // A prime, so that it is as near to the kept positions as to those between them.
    let positions = (0..997).map(|step| head * (step + 1) / 998);
    let requests: Vec<_> = positions.map(|position| query(shop, &format!("{}&as_of={position}", stats()))).collect();
    rate_of(url, queries, &requests).await
}

async fn rate_of(url: &str, queries: usize, requests: &[Vec<u8>]) -> anyhow::Result<f64> {
    let mut clients = tokio::task::JoinSet::new();
    let began = Instant::now();
    for client in 0..CLIENTS {
        let (requests, url) = (requests.to_vec(), url.to_owned());
        clients.spawn(async move {
            let mut connection = Connection::to(&url).await?;
            for number in 0..queries / CLIENTS {
                connection.timed(&requests[(client * 125 + number * 389) % requests.len()]).await?;
            }
            anyhow::Ok(())
        });
    }
    for outcome in clients.join_all().await {
        outcome?;
    }
    Ok(queries as f64 / began.elapsed().as_secs_f64())
}

/// What a query asks the database, under the same role and settings: the token, where the read model stands, the shop
/// itself, and the days of the period with those of the one before it.
fn pgbench(database: &TestDatabase, shop: &Shop, transactions: usize) -> anyhow::Result<f64> {
    let days = |from: &str, to: &str| {
        format!(
            "SELECT d.day, d.orders, d.gift_card_orders, d.gross_minor, d.discount_minor, d.reversed_gross_minor,
       d.reversed_discount_minor, d.adjustment_minor, d.shipping_minor, d.shipping_reversed_minor, d.duty_minor,
       d.additional_fee_minor, d.return_fee_minor, d.tax_minor, d.tax_reversed_minor, d.tip_minor, d.gift_card_minor,
       d.unclassified_minor, d.initial_gross_minor, d.initial_discount_minor, d.initial_units, d.units_ordered,
       d.units_reversed
FROM daily_sales d
WHERE d.shop_id = '{shop}' AND d.generation = 1 AND d.day BETWEEN '{from}' AND '{to}' AND d.currency = 'USD'
ORDER BY d.day;
",
            shop = shop.id
        )
    };
    let script = format!(
        "SELECT shop_id, role FROM find_token(decode(repeat('ab', 32), 'hex'));
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT set_config('role', 'ecomdash_app', true), set_config('app.current_shop_id', '{shop}', true);
SELECT h.position AS head, d.domain, c.position, c.timezone, c.generation, c.definition,
       (SELECT e.recorded_at FROM events e WHERE e.shop_id = '{shop}' AND e.position = c.position) AS as_of,
       (SELECT count(*) FROM inbox i WHERE i.shop_id = '{shop}' AND i.status = 'pending') AS pending
FROM heads h
JOIN directory d ON d.shop_id = h.shop_id
LEFT JOIN live_generations l ON l.shop_id = h.shop_id AND l.projection = 'sales'
LEFT JOIN checkpoints c ON c.shop_id = h.shop_id AND c.projection = l.projection AND c.generation = l.generation
WHERE h.shop_id = '{shop}';
SELECT position, aggregate_id, sequence, event_type, event_version, payload::text FROM events
WHERE shop_id = '{shop}' AND aggregate_type = 'shop' AND aggregate_id = 'shop' ORDER BY sequence;
{}COMMIT;
",
        days("2026-01-01", PERIOD.1),
        shop = shop.id,
    );
    limits::pgbench(database, &[("stats".to_owned(), 1, script)], CLIENTS, transactions)
}
