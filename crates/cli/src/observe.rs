//! The metrics of this process: where they are collected, and how its page is written.

use std::{
    fmt::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use api::MetricsPage;
use event_store::Database;
use metrics::{Gauge, describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tokio_util::sync::CancellationToken;

use crate::{config::Environment, process};

/// From a webhook's millisecond to the deadline of a request.
const SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];
/// How often the fleet is looked at.
const FLEET: Duration = Duration::from_secs(10);

/// Collects from now on, if `METRICS_TOKEN` says who may read it; otherwise counting costs nothing and nobody looks at the
/// fleet. Called once, before anything is counted.
pub fn start(
    environment: &Environment,
    database: &Database,
    stop: &CancellationToken,
) -> anyhow::Result<Option<MetricsPage>> {
    let Some(token) = environment.metrics_token()? else { return Ok(None) };
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?;
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).context("metrics are collected already")?;
    event_store::register_metrics();
    ingest::register_metrics();
    projector::register_metrics();
    api::register_metrics();
    let version = env!("CARGO_PKG_VERSION");
    let revision = environment.revision.clone().unwrap_or_default();
    describe_gauge!("build_info", "1, with the build's version and the revision that it was made of");
    gauge!("build_info", "version" => version, "revision" => revision).set(1);

    let upkeep = handle.clone();
    let stopped = stop.clone();
    tokio::spawn(async move {
        // Observations are put into their buckets: without it, they pile up while nobody reads.
        while stopped.run_until_cancelled(tokio::time::sleep(Duration::from_secs(5))).await.is_some() {
            upkeep.run_upkeep();
        }
    });
    tokio::spawn(projector::watch_fleet(database.clone(), FLEET, stop.clone()));

    let pool = PoolGauges::new(database);
    let database = database.clone();
    let started_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    Ok(Some(MetricsPage::new(&token, move || {
        pool.set(&database);
        let mut page = handle.render();
        for (name, kind, help, value) in process::figures(started_s) {
            let _ = write!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
        page
    })))
}

/// Of this process's pool; read when the page is.
struct PoolGauges {
    in_use: Gauge,
    idle: Gauge,
}

impl PoolGauges {
    fn new(database: &Database) -> Self {
        describe_gauge!("database_connections", "Connections of this process's pool, by what they do");
        describe_gauge!("database_connections_max", "How many it may have");
        gauge!("database_connections_max").set(database.pool().options().get_max_connections());
        Self {
            in_use: gauge!("database_connections", "state" => "in_use"),
            idle: gauge!("database_connections", "state" => "idle"),
        }
    }

    fn set(&self, database: &Database) {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let idle = count(database.idle_connections());
        self.idle.set(idle);
        self.in_use.set(database.pool().size().saturating_sub(idle));
    }
}
