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
    peer: Option<(&'static str, f64, f64)>,
}

/// What is held to a bound instead of a limit.
pub struct Bound {
    pub what: &'static str,
    pub measured: String,
    pub bound: &'static str,
    pub holds: bool,
}

impl Row {
    pub fn new(what: &'static str, unit: &'static str, runs: Vec<f64>) -> Self {
        Self { what, unit, ours: median(runs), limit: ("", 0.0, 0.0), peer: None }
    }

    pub fn limit(mut self, what: &'static str, runs: Vec<f64>, at_least: f64) -> Self {
        self.limit = (what, median(runs), at_least);
        self
    }

    pub fn peer(mut self, what: &'static str, runs: Vec<f64>, at_least: f64) -> Self {
        self.peer = Some((what, median(runs), at_least));
        self
    }

    /// What it is compared with: name, rate, ratio, floor.
    fn compared(&self) -> impl Iterator<Item = (&'static str, f64, f64, f64)> {
        let ours = self.ours;
        let compare = move |(what, rate, floor): (_, f64, _)| (what, rate, ours / rate, floor);
        std::iter::once(self.limit).chain(self.peer).map(compare)
    }
}

pub fn median(mut runs: Vec<f64>) -> f64 {
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
    bounds: Vec<Bound>,
}

impl Report {
    pub async fn begin(database: &TestDatabase, scale: Scale) -> anyhow::Result<Self> {
        Ok(Self { scale, settings: settings(database).await?, row_bytes: 0, rows: Vec::new(), bounds: Vec::new() })
    }

    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub fn bound(&mut self, bound: Bound) {
        self.bounds.push(bound);
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
            for (what, rate, ratio, floor) in row.compared() {
                let verdict = if ratio >= floor { "ok" } else { "SHORT" };
                let _ = writeln!(
                    table,
                    "| {} ({:.0} {}) | {what} ({rate:.0}) | {ratio:.2} | {floor} | {verdict} |",
                    row.what, row.ours, row.unit
                );
            }
        }
        if !self.bounds.is_empty() {
            table.push_str("\n| what | measured | bound | |\n| --- | --- | --- | --- |\n");
        }
        for bound in &self.bounds {
            let verdict = if bound.holds { "ok" } else { "SHORT" };
            let _ = writeln!(table, "| {} | {} | {} | {verdict} |", bound.what, bound.measured, bound.bound);
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
                let compared: Vec<Value> = row
                    .compared()
                    .map(|(what, rate, ratio, floor)| {
                        json!({ "what": what, "median": rate, "ratio": ratio, "at_least": floor })
                    })
                    .collect();
                json!({ "what": row.what, "unit": row.unit, "median": row.ours, "compared": compared })
            })
            .collect();
        let bounds: Vec<Value> = self
            .bounds
            .iter()
            .map(|of| json!({ "what": of.what, "measured": of.measured, "bound": of.bound, "holds": of.holds }))
            .collect();
        let json = json!({ "runs": self.scale.runs, "settings": self.settings, "row_bytes": self.row_bytes, "rows": rows, "bounds": bounds });
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
