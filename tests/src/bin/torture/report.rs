//! The report: what was thrown at the program, and what it held.

use std::{collections::BTreeMap, fmt::Write, path::Path, time::Instant};

use ecomdash_tests::storm::Summary;

/// All storms of a run.
pub struct Report {
    seed: u64,
    began: Instant,
    storms: Vec<Summary>,
}

/// One storm in a line.
pub fn line(storm: &Summary) -> String {
    let faults: u32 = storm.faults.values().sum();
    format!(
        "| {} | {} | {} | {} | {} | {} | {} ms | {} |",
        storm.seed,
        storm.deliveries,
        storm.tries,
        storm.orders,
        storm.kills.len(),
        faults,
        storm.settled_in.as_millis(),
        if storm.checked.breaches.is_empty() { "held" } else { "BROKEN" },
    )
}

impl Report {
    pub fn begin(seed: u64) -> Self {
        Self { seed, began: Instant::now(), storms: Vec::new() }
    }

    pub fn add(&mut self, storm: Summary) {
        self.storms.push(storm);
    }

    /// Writes it anew after each storm, so that one that was interrupted is told of, too.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        Ok(std::fs::write(path, self.text()?)?)
    }

    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let sum = |count: fn(&Summary) -> usize| self.storms.iter().map(count).sum::<usize>();
        let minutes = self.began.elapsed().as_secs().div_ceil(60);
        let breaches: Vec<_> = self.storms.iter().flat_map(|storm| &storm.checked.breaches).collect();
        writeln!(text, "# Torture\n")?;
        writeln!(
            text,
            "Written by `bin/torture`, which runs storms one after another: see [reliability.md](reliability.md).\n"
        )?;
        let result = if breaches.is_empty() { "every invariant held" } else { "BROKEN" };
        writeln!(
            text,
            "{}, {minutes} minutes, seed {}: {} storms, {} deliveries in {} tries, {} orders, {} kills, {} faults in all. \
             Result: **{result}**.\n",
            chrono::Utc::now().format("%Y-%m-%d"),
            self.seed,
            self.storms.len(),
            sum(|storm| storm.deliveries),
            sum(|storm| storm.tries as usize),
            sum(|storm| storm.orders),
            sum(|storm| storm.kills.len()),
            sum(|storm| storm.faults.values().sum::<u32>() as usize),
        )?;
        for breach in breaches {
            writeln!(text, "- {breach}")?;
        }
        let mut faults: BTreeMap<&str, u32> = BTreeMap::new();
        for (kind, times) in self.storms.iter().flat_map(|storm| &storm.faults) {
            *faults.entry(kind).or_default() += times;
        }
        writeln!(text, "| fault | times |\n| --- | --- |")?;
        for (kind, times) in faults {
            writeln!(text, "| {kind} | {times} |")?;
        }
        writeln!(text, "\nWhat was looked at after each storm, with the numbers of the last one:\n")?;
        writeln!(text, "| invariant | found |\n| --- | --- |")?;
        for (invariant, found) in self.storms.last().iter().flat_map(|storm| &storm.checked.held) {
            writeln!(text, "| {invariant} | {found} |")?;
        }
        writeln!(text, "\n| seed | deliveries | tries | orders | kills | faults | settled in | result |")?;
        writeln!(text, "| --- | --- | --- | --- | --- | --- | --- | --- |")?;
        self.storms.iter().try_for_each(|storm| writeln!(text, "{}", line(storm)))?;
        Ok(text)
    }
}
