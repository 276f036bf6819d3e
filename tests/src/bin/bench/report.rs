//! The table.

use std::{fmt::Write, fs, path::Path};

use ecomdash_tests::TestDatabase;
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::Scale;

/// One measurement with what it is compared to; medians, per second.
pub struct Row {
    what: &'static str,
    unit: &'static str,
    ours: f64,
    limit: (&'static str, f64, f64),
    peer: (&'static str, f64, f64),
}

impl Row {
    pub fn new(what: &'static str, unit: &'static str, runs: Vec<f64>) -> Self {
        Self { what, unit, ours: median(runs), limit: ("", 0.0, 0.0), peer: ("", 0.0, 0.0) }
    }

    pub fn limit(mut self, what: &'static str, runs: Vec<f64>, at_least: f64) -> Self {
        self.limit = (what, median(runs), at_least);
        self
    }

    pub fn peer(mut self, what: &'static str, runs: Vec<f64>, at_least: f64) -> Self {
        self.peer = (what, median(runs), at_least);
        self
    }

    fn ratios(&self) -> [(f64, f64); 2] {
        [(self.ours / self.limit.1, self.limit.2), (self.ours / self.peer.1, self.peer.2)]
    }
}

fn median(mut runs: Vec<f64>) -> f64 {
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

/// All of it, and under which settings it was measured.
pub struct Report {
    scale: Scale,
    settings: Value,
    /// Of one order's events, payload and metadata.
    pub row_bytes: i64,
    rows: Vec<Row>,
}

impl Report {
    pub async fn begin(database: &TestDatabase, scale: Scale) -> anyhow::Result<Self> {
        Ok(Self { scale, settings: settings(database).await?, row_bytes: 0, rows: Vec::new() })
    }

    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Any other durability than the default one would make the figures worthless.
    pub async fn check_durability(&self, database: &TestDatabase) -> anyhow::Result<()> {
        let after = settings(database).await?;
        let safe = json!({ "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on" });
        anyhow::ensure!(after == self.settings && after == safe, "not the default durability: {after}");
        Ok(())
    }

    pub fn print(&self) {
        println!("{}", self.table());
    }

    fn table(&self) -> String {
        let mut table =
            String::from("| what | compared with | ratio | at least | |\n| --- | --- | --- | --- | --- |\n");
        for row in &self.rows {
            for ((what, rate, _), (ratio, floor)) in [row.limit, row.peer].into_iter().zip(row.ratios()) {
                let verdict = if ratio >= floor { "ok" } else { "SHORT" };
                let _ = writeln!(
                    table,
                    "| {} ({:.0} {}) | {what} ({rate:.0}) | {ratio:.2} | {floor} | {verdict} |",
                    row.what, row.ours, row.unit
                );
            }
        }
        table
    }

    pub fn write(&self, docs: &Path) -> anyhow::Result<()> {
        let text = format!(
            "# Benchmarks\n\nWritten by `bin/bench`. Ratios to limits that were measured in the same run, medians of {}; the \
             rates beside them depend on the machine and say nothing alone. An order is three events with {} bytes of \
             payload and metadata. Settings: {}.\n\n{}{}",
            self.scale.runs,
            self.row_bytes,
            self.settings,
            self.table(),
            include_str!("profile.md")
        );
        fs::write(docs.join("bench.md"), text)?;
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let [limit, peer] = row.ratios();
                json!({ "what": row.what, "unit": row.unit, "median": row.ours,
                        "limit": { "what": row.limit.0, "median": row.limit.1, "ratio": limit.0, "at_least": limit.1 },
                        "peer": { "what": row.peer.0, "median": row.peer.1, "ratio": peer.0, "at_least": peer.1 } })
            })
            .collect();
        let json =
            json!({ "runs": self.scale.runs, "settings": self.settings, "row_bytes": self.row_bytes, "rows": rows });
        fs::write(docs.join("bench.json"), serde_json::to_string_pretty(&json)? + "\n")?;
        Ok(())
    }
}

async fn settings(database: &TestDatabase) -> anyhow::Result<Value> {
    let mut login = database.login().await;
    let sql =
        "SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes')";
    let row = sqlx::query(sql).fetch_one(&mut login).await?;
    Ok(json!({ "fsync": row.get::<String, _>(0), "synchronous_commit": row.get::<String, _>(1),
               "full_page_writes": row.get::<String, _>(2) }))
}
