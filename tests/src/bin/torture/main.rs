//! Storms one after another until the time is over, or until one of them breaks something.

mod report;

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use ecomdash_tests::{
    free_folder,
    random::rng,
    storm::{Options, run},
};
use rand::RngExt;
use report::Report;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<ExitCode> {
    let minutes = argument("--minutes")?.unwrap_or(60);
    let seed = argument("--seed")?.unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0));
    println!("{minutes} minutes of storms, seed {seed}");
    let folder = free_folder();
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let mut seeds = rng(seed);
    let mut report = Report::begin(seed);
    while Instant::now() < end {
        // Small enough to be typed.
        let seed = u64::from(seeds.random::<u32>());
        let history = folder.join(format!("storm-{seed}.jsonl"));
        let summary = run(&Options::long(seed), &history).await;
        println!("{}", report::line(&summary));
        let broken = !summary.checked.breaches.is_empty();
        if broken {
            println!("the history is {}", history.display());
            summary.checked.breaches.iter().for_each(|breach| println!("BREACH {breach}"));
        } else {
            std::fs::remove_file(&history)?;
        }
        report.add(summary);
        report.write(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/torture.md")))?;
        if broken {
            return Ok(ExitCode::FAILURE);
        }
    }
    std::fs::remove_dir(folder)?;
    Ok(ExitCode::SUCCESS)
}

/// The number that follows a flag.
fn argument(flag: &str) -> anyhow::Result<Option<u64>> {
    let mut arguments = std::env::args().skip_while(|argument| argument != flag).skip(1);
    let given = std::env::args().any(|argument| argument == flag);
    let value = arguments.next().filter(|_| given);
    anyhow::ensure!(!given || value.is_some(), "{flag} needs a number");
    value.map(|text| text.parse().with_context(|| format!("{flag} {text}"))).transpose()
}
