//! What a running `up` is like to work with: how soon a delivery is in the figures, what a neighbour's burst does to
//! others, what idle shops cost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    bodies::{line, order},
};
use serde_json::Value;
use tokio::time::sleep_until;

use crate::{
    Scale,
    http::{Connection, delivery, percentile, query},
};

const DAY: &str = "/api/dashboard/stats?from=2026-11-01&to=2026-11-01";

fn placed(shop: &Shop, id: u64) -> Vec<u8> {
    let body = order(id, "2026-11-01T12:00:00Z", vec![line(id * 2, "58.79", 2).tax("11.76", "0.1")]);
    delivery(shop, "orders/create", &id.to_string(), &body.0)
}

/// From a delivery's first byte to the first answer that has it in; 300 a second, whether or not they are answered.
pub async fn visible(database: &TestDatabase, scale: Scale) -> anyhow::Result<(Duration, Duration)> {
    const PER_SECOND: u64 = 300;
    let server = Ecomdash::start(&["up", "--port", "0"], database, &crate::UNLIMITED);
    let shop = Shop::register(&database.open(), &server.url, "UTC", "USD").await;
    let count = PER_SECOND * scale.seconds;
    let requests: Vec<Vec<u8>> = (1..=count).map(|id| placed(&shop, id)).collect();
    // Each answer says how many orders are in it; with the times of both, every delivery has its own.
    let done = Arc::new(AtomicBool::new(false));
    let watching = {
        let (url, request, done) = (server.url.clone(), query(&shop, DAY), Arc::clone(&done));
        tokio::spawn(async move {
            let mut connection = Connection::to(&url).await?;
            let mut seen = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let (status, body) = connection.exchange(&request).await?;
                anyhow::ensure!(status == 200, "{status}");
                let stats: Value = serde_json::from_slice(body)?;
                seen.push((stats["metrics"]["orders"].as_u64().unwrap_or(0), Instant::now()));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            anyhow::Ok(seen)
        })
    };
    let mut senders = tokio::task::JoinSet::new();
    let began = tokio::time::Instant::now() + Duration::from_millis(100);
    for (number, request) in requests.into_iter().enumerate() {
        let url = server.url.clone();
        let at = began + Duration::from_micros(1_000_000 / PER_SECOND * number as u64);
        senders.spawn(async move {
            sleep_until(at).await;
            let sent = Instant::now();
            Connection::to(&url).await?.timed(&request).await?;
            anyhow::Ok(sent)
        });
    }
    let mut sent: Vec<Instant> = Vec::new();
    for outcome in senders.join_all().await {
        sent.push(outcome?);
    }
    shop.stats("2026-11-01", "2026-11-01").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    done.store(true, Ordering::Relaxed);
    let seen = watching.await??;
    sent.sort();
    // The n-th sent is taken to be in when n are: whoever was overtaken waited for longer, whoever overtook for less.
    let mut times = Vec::new();
    for (number, sent) in sent.into_iter().enumerate() {
        let first = seen.iter().find(|(orders, _)| *orders > number as u64);
        let (_, at) = first.ok_or_else(|| anyhow::anyhow!("delivery {number} was never seen"))?;
        times.push(at.saturating_duration_since(sent));
    }
    Ok((percentile(&mut times, 0.5), percentile(&mut times, 0.99)))
}

/// A shop's 95th percentile while it is quiet, and while another one sends 500 deliveries a second.
pub type QuietAndBusy = (Duration, Duration);

/// By how much the second is the longer.
pub fn slowdown((quiet, busy): &QuietAndBusy) -> f64 {
    busy.as_secs_f64() / quiet.as_secs_f64()
}

/// What a neighbour's burst does: of each the median of the runs, by its slowdown.
pub struct Burst {
    pub deliveries: QuietAndBusy,
    pub queries: QuietAndBusy,
    pub lost: i64,
}

pub async fn burst(database: &TestDatabase, scale: Scale) -> anyhow::Result<Burst> {
    let server = Ecomdash::start(&["up", "--port", "0"], database, &crate::UNLIMITED);
    let store = database.open();
    let calm = Shop::register(&store, &server.url, "UTC", "USD").await;
    let wild = Shop::register(&store, &server.url, "UTC", "USD").await;
    // Warm: connections, keys, plans.
    ordinary_load(&server.url, &calm, 1, 5).await?;
    let count = 500 * scale.seconds;
    let (mut deliveries, mut queries) = (Vec::new(), Vec::new());
    for run in 1..=scale.runs as u64 {
        let quiet = ordinary_load(&server.url, &calm, 1_000_000 * run, scale.seconds).await?;
        let requests = (0..count).map(|number| placed(&wild, 1_000_000 * run + number)).collect();
        let bursting = tokio::spawn(send_500_a_second(server.url.clone(), requests));
        let busy = ordinary_load(&server.url, &calm, 1_000_000 * run + 500_000, scale.seconds).await?;
        bursting.await??;
        wild.stats("2026-11-01", "2026-11-01").await; // until all of it is in
        deliveries.push((quiet.0, busy.0));
        queries.push((quiet.1, busy.1));
    }
    let stats = wild.stats("2026-11-01", "2026-11-01").await;
    let sent = i64::try_from(count)? * i64::try_from(scale.runs)?;
    let lost = sent - stats["metrics"]["orders"].as_i64().unwrap_or(0);
    let median = |mut runs: Vec<QuietAndBusy>| {
        runs.sort_by(|one, other| slowdown(one).total_cmp(&slowdown(other)));
        runs[runs.len() / 2]
    };
    Ok(Burst { deliveries: median(deliveries), queries: median(queries), lost })
}

/// Over sixteen connections, whether or not the others are answered.
async fn send_500_a_second(url: String, requests: Vec<Vec<u8>>) -> anyhow::Result<()> {
    let mut senders = tokio::task::JoinSet::new();
    let began = tokio::time::Instant::now();
    for (lane, requests) in requests.chunks(requests.len() / 16 + 1).map(<[_]>::to_vec).enumerate() {
        let url = url.clone();
        senders.spawn(async move {
            let mut connection = Connection::to(&url).await?;
            for (number, request) in requests.into_iter().enumerate() {
                sleep_until(began + Duration::from_micros(32_000 * number as u64 + 2_000 * lane as u64)).await;
                connection.timed(&request).await?;
            }
            anyhow::Ok(())
        });
    }
    senders.join_all().await.into_iter().collect()
}

/// Twenty deliveries and twenty queries a second; the 95th percentile of each.
async fn ordinary_load(url: &str, shop: &Shop, first: u64, seconds: u64) -> anyhow::Result<(Duration, Duration)> {
    let (mut sending, mut asking) = (Connection::to(url).await?, Connection::to(url).await?);
    let ask = query(shop, DAY);
    let (mut deliveries, mut queries) = (Vec::new(), Vec::new());
    let began = tokio::time::Instant::now();
    for number in 0..20 * seconds {
        sleep_until(began + Duration::from_millis(50 * number)).await;
        deliveries.push(sending.timed(&placed(shop, first + number)).await?);
        sleep_until(began + Duration::from_millis(50 * number + 25)).await;
        queries.push(asking.timed(&ask).await?);
    }
    Ok((percentile(&mut deliveries, 0.95), percentile(&mut queries, 0.95)))
}

/// What waiting for work costs.
pub struct Idle {
    /// Of a core, in percent: the program, and the backends that it keeps.
    pub program_percent: f64,
    pub postgres_percent: f64,
    /// A look for work, with ten shops and with all.
    pub poll: (Duration, Duration),
}

pub async fn idle(database: &TestDatabase, scale: Scale) -> anyhow::Result<Idle> {
    let store = database.open();
    let mut superuser = database.superuser().await;
    let url = "http://127.0.0.1:1"; // nothing is asked of it
    for _ in 0..10 {
        Shop::register(&store, url, "UTC", "USD").await;
    }
    settle(database, &mut superuser).await?;
    let few = poll(&store).await?;
    for _ in 10..scale.idle_shops {
        Shop::register(&store, url, "UTC", "USD").await;
    }
    let server = Ecomdash::start(&["up", "--port", "0"], database, &crate::UNLIMITED);
    wait_until_idle(&mut superuser, server.pid()).await?;
    let (program, postgres) = (cpu_ticks(server.pid())?, backends_ticks(&mut superuser).await?);
    tokio::time::sleep(Duration::from_secs(scale.idle_seconds)).await;
    let program = cpu_ticks(server.pid())? - program;
    let postgres = backends_ticks(&mut superuser).await?.saturating_sub(postgres);
    drop(server);
    let many = poll(&store).await?;
    let percent = |ticks: u64| ticks as f64 / scale.idle_seconds as f64; // a tick is a hundredth of a second
    Ok(Idle { program_percent: percent(program), postgres_percent: percent(postgres), poll: (few, many) })
}

/// The median of a look for work.
async fn poll(store: &event_store::Database) -> anyhow::Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..2_000 {
        let began = Instant::now();
        projector::look_for_work(store).await?;
        times.push(began.elapsed());
    }
    Ok(percentile(&mut times, 0.5))
}

async fn settle(database: &TestDatabase, superuser: &mut sqlx::PgConnection) -> anyhow::Result<()> {
    let server = Ecomdash::start(&["up", "--port", "0"], database, &crate::UNLIMITED);
    wait_until_idle(superuser, server.pid()).await
}

/// Until nothing is queued and the program has come to rest.
async fn wait_until_idle(superuser: &mut sqlx::PgConnection, pid: u32) -> anyhow::Result<()> {
    let mut before = cpu_ticks(pid)?;
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let queued: i64 = sqlx::query_scalar("SELECT count(*) FROM work_queue").fetch_one(&mut *superuser).await?;
        let now = cpu_ticks(pid)?;
        if queued == 0 && now - before <= 10 {
            sqlx::raw_sql("VACUUM ANALYZE").execute(&mut *superuser).await?;
            return Ok(());
        }
        before = now;
    }
    anyhow::bail!("it does not come to rest")
}

fn cpu_ticks(pid: u32) -> anyhow::Result<u64> {
    let stat =
        std::fs::read_to_string(format!("/proc/{pid}/stat")).context("only Linux tells the time of a process")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
}

async fn backends_ticks(superuser: &mut sqlx::PgConnection) -> anyhow::Result<u64> {
    let pids: Vec<i32> = sqlx::query_scalar(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'ecomdash'",
    )
    .fetch_all(superuser)
    .await?;
    // One that has gone meanwhile is missing from the sum: connections live longer than this takes.
    Ok(pids.into_iter().filter_map(|pid| cpu_ticks(pid.unsigned_abs()).ok()).sum())
}
