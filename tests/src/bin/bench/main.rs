//! The benchmarks: each figure is a ratio to a limit that is measured in the same run, the median of five.

mod data;
mod import;
mod limits;
mod one_command;
mod rebuild;
mod report;

use std::path::Path;

use ecomdash_tests::{Login, TestDatabase};
use event_store::migrate;

use report::{Report, Row};

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
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let is_given = |flag: &str| std::env::args().any(|argument| argument == flag);
    let quick = is_given("--quick");
    // For trying one of them: what is left out is not reported either.
    let skips = |part: &str| is_given("--only") && !is_given(part);
    let scale = if quick {
        Scale { runs: 1, import_orders: 2_000, commands: 2_400, rebuild_orders: 5_000 }
    } else {
        Scale { runs: 5, import_orders: 20_000, commands: 9_600, rebuild_orders: 100_000 }
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
