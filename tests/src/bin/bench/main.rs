//! The benchmarks: each figure is a ratio to a limit that is measured in the same run, the median of five.

mod accept;
mod data;
mod http;
mod import;
mod limits;
mod live;
mod million;
mod one_command;
mod rebuild;
mod redaction;
mod report;
mod verify;

use std::path::Path;

use ecomdash_tests::{Login, TestDatabase};
use event_store::migrate;

use report::{Bound, Report, Row, median};

/// Limits of rates would be what is measured.
pub const UNLIMITED: [(&str, &str); 5] = [
    ("LOG_LEVEL", "info"),
    ("RATE_LIMIT_PER_CLIENT", "0"),
    ("RATE_LIMIT_PER_SHOP", "0"),
    ("RATE_LIMIT_FORGED", "0"),
    ("METRICS_TOKEN", "collected-as-in-production"),
];

/// How much is measured. `--quick` is for trying the benchmark itself.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Times that each is measured.
    pub runs: usize,
    /// Orders of three events in an import.
    pub import_orders: u64,
    /// Commands of eight clients.
    pub commands: u64,
    /// Orders of three events in a rebuild.
    pub rebuild_orders: u64,
    /// Deliveries accepted.
    pub deliveries: usize,
    /// Orders of the large shop.
    pub large_shop: u64,
    /// Queries of a shop's figures.
    pub queries: usize,
    /// How long loads last.
    pub seconds: u64,
    /// Shops that do nothing, and for how long.
    pub idle_shops: usize,
    pub idle_seconds: u64,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let is_given = |flag: &str| std::env::args().any(|argument| argument == flag);
    let quick = is_given("--quick");
    // For trying one of them: what is left out is not reported either.
    let skips = |part: &str| is_given("--only") && !is_given(part);
    let scale = if quick {
        Scale {
            runs: 1,
            import_orders: 2_000,
            commands: 2_400,
            rebuild_orders: 5_000,
            deliveries: 1_600,
            large_shop: 20_000,
            queries: 800,
            seconds: 3,
            idle_shops: 200,
            idle_seconds: 10,
        }
    } else {
        Scale {
            runs: 5,
            import_orders: 20_000,
            commands: 9_600,
            rebuild_orders: 100_000,
            deliveries: 9_600,
            large_shop: 1_000_000,
            queries: 4_000,
            seconds: 10,
            idle_shops: 10_000,
            idle_seconds: 60,
        }
    };
    let database = TestDatabase::empty(Login::Ordinary).await;
    migrate(&database.url).await?;
    create_plain_table(&database).await?;
    let mut report = Report::begin(&database, scale).await?;

    if !skips("import") {
        let import = import::measure(&database, scale).await?;
        report.row_bytes = import.row_bytes;
        report.add(
            Row::new("import of 3-event orders, sealed, chained, 1 writer", "events/s", import.ours)
                .limit("COPY of the same row bytes into the same table and indexes", import.copy, 0.25)
                .peer("postgres-es 0.5 `persist`, batches of the same size", import.peer, 2.0),
        );
        let percent = median(import.sealing_percent);
        report.bound(Bound {
            what: "sealing and keys, part of the time in which the same batches are appended",
            measured: format!("{percent:.1} %"),
            bound: "at most 25 %",
            holds: percent <= 25.0,
        });
    }

    if !skips("command") {
        let command = one_command::measure(&database, scale).await?;
        report.add(
            Row::new("one command, 8 clients over 20 shops", "commands/s", command.ours)
                .limit("the same statements by pgbench -M prepared", command.pgbench, 0.7)
                .peer("postgres-es 0.5 `execute`", command.peer, 1.0),
        );
    }

    if !skips("rebuild") {
        let rebuild = rebuild::measure(&database, scale).await?;
        report.add(
            Row::new("rebuild of ledger and rollup", "events/s", rebuild.ours)
                .limit("COPY out of the events plus COPY in of the facts", rebuild.copy, 0.3)
                .peer("postgres-es 0.5 replay, one upsert an event", rebuild.peer, 5.0),
        );
    }

    if !skips("verify") {
        let verify = verify::measure(&database, scale).await?;
        report.add(Row::new("verify of a log, every hash recomputed", "events/s", verify.ours).limit(
            "COPY out of its events",
            verify.copy,
            0.5,
        ));
    }

    if !skips("accept") {
        let fresh = TestDatabase::new().await;
        let accepted = accept::measure(&fresh, scale).await?;
        report.add(Row::new("webhook accepted over HTTP, 32 connections", "deliveries/s", accepted.ours).limit(
            "the call that stores it by pgbench -M prepared",
            accepted.pgbench,
            0.4,
        ));
    }

    if !skips("visible") {
        let fresh = TestDatabase::new().await;
        let (p50, p99) = live::visible(&fresh, scale).await?;
        report.bound(Bound {
            what: "webhook to visible in stats, 300 a second, two cores shared with clients and Postgres",
            measured: format!("p50 {} ms, p99 {} ms", p50.as_millis(), p99.as_millis()),
            bound: "p99 under 250 ms",
            holds: p99.as_millis() < 250,
        });
    }

    if !skips("burst") {
        let fresh = TestDatabase::new().await;
        let burst = live::burst(&fresh, scale).await?;
        let (deliveries, queries) = (live::slowdown(&burst.deliveries), live::slowdown(&burst.queries));
        report.bound(Bound {
            what: "another shop's p95 during a burst of 500 webhooks a second for 10 s, to its p95 while quiet",
            measured: format!(
                "deliveries {deliveries:.2} ({:.1?} to {:.1?}), queries {queries:.2} ({:.1?} to {:.1?}), {} lost",
                burst.deliveries.0, burst.deliveries.1, burst.queries.0, burst.queries.1, burst.lost
            ),
            bound: "within 1.5, none lost",
            holds: deliveries <= 1.5 && queries <= 1.5 && burst.lost == 0,
        });
    }

    if !skips("idle") {
        let fresh = TestDatabase::new().await;
        let idle = live::idle(&fresh, scale).await?;
        let polls = idle.poll.1.as_secs_f64() / idle.poll.0.as_secs_f64();
        report.bound(Bound {
            what: "10,000 idle shops, 60 s: part of a core that `up` takes, and a look for work to one with 10 shops",
            measured: format!(
                "program {:.2} %, its Postgres backends {:.2} %; p50 {:?} to {:?}: {polls:.2}",
                idle.program_percent, idle.postgres_percent, idle.poll.0, idle.poll.1
            ),
            bound: "under 1 %, within 1.2",
            holds: idle.program_percent < 1.0 && polls <= 1.2,
        });
    }

    if !skips("million") {
        let fresh = TestDatabase::new().await;
        let million = million::measure(&fresh, scale).await?;
        let (ratio, as_of) = (median(million.small_to_large), median(million.now_to_as_of));
        report.add(Row::new("stats for 90 days over HTTP, shop of 1,000,000 orders", "queries/s", million.ours).limit(
            "its SQL by pgbench -M prepared, same role and settings",
            million.pgbench,
            0.35,
        ));
        report.bound(Bound {
            what: "stats over a shop of 1,000,000 orders, to a shop of 10,000",
            measured: format!("{ratio:.2} ({} orders)", million.orders),
            bound: "within 1.2",
            holds: ratio <= 1.2,
        });
        report.bound(Bound {
            what: "stats as known at moments all over the log of that shop, to its present stats",
            measured: format!("{as_of:.2}"),
            bound: "within 5",
            holds: as_of <= 5.0,
        });
        let (of_large, of_small) = (median(million.redactions.large), median(million.redactions.small));
        report.bound(Bound {
            what: "a customer of 20 orders redacted in that shop, to one of a database with 10,000 orders",
            measured: format!("{:.2} ({:.0} ms to {:.0} ms)", of_large / of_small, of_large * 1e3, of_small * 1e3),
            bound: "within 2, for a hundred times the orders",
            holds: of_large <= 2.0 * of_small,
        });
        report.bound(Bound {
            what: "memory of `up` without Postgres, a million orders ingested",
            measured: format!("{:.0} MiB at most, at {:.0} orders/s", million.peak_mib, million.ingested_per_second),
            bound: "under 150 MB",
            holds: million.peak_mib * 1.048_576 < 150.0,
        });
    }

    report.check_durability(&database).await?;
    report.print();
    if !quick && !is_given("--only") {
        report.write(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs")))?;
    }
    Ok(())
}

/// A table as postgres-es says to make it, in the same database.
async fn create_plain_table(database: &TestDatabase) -> anyhow::Result<()> {
    let mut plain = database.superuser().await;
    sqlx::raw_sql(
        "CREATE SCHEMA plain; CREATE TABLE plain.events (aggregate_type text NOT NULL, aggregate_id text NOT NULL,
         sequence bigint CHECK (sequence >= 0) NOT NULL, event_type text NOT NULL, event_version text NOT NULL,
         payload json NOT NULL, metadata json NOT NULL, PRIMARY KEY (aggregate_type, aggregate_id, sequence))",
    )
    .execute(&mut plain)
    .await?;
    Ok(())
}
