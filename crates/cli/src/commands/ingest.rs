//! `ingest`

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use event_store::shop_key;
use indicatif::ProgressBar;
use ingest::DirectoryEntry;
use serde_json::json;
use shopify::payload::Number;
use tokio_util::sync::CancellationToken;

use super::output;
use crate::{
    args::IngestArgs,
    config::Environment,
    session::{Schema, Session},
};

/// Documents of one transaction.
const BATCH: usize = 500;
/// And at most so many bytes of them.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// An order that is longer is not read: the inbox holds no longer bodies of webhooks either, by far.
const MAX_LINE_BYTES: u64 = 16 * 1024 * 1024;
/// The command stores, and works on what it stored beside whatever workers there are.
const CONNECTIONS: u32 = 6;

pub async fn run(environment: &Environment, args: &IngestArgs) -> anyhow::Result<ExitCode> {
    let mut lines = Lines::open(&args.file)?;
    let session = Session::open(environment, CONNECTIONS, Schema::Require).await?;
    let entry = session.shop(&args.shop).await?;
    let run = Run { session: &session, entry: &entry, started_at: Utc::now() };
    let stored = run.store(&mut lines).await?;
    let ended = run.work().await?;
    let outcome = run.outcome().await?;
    if environment.json {
        output::json(&json!({
            "lines": stored.lines, "new": stored.new, "known": stored.known, "too_long": stored.too_long,
            "translated": outcome.translated, "ignored": outcome.ignored, "dead": outcome.dead,
            "pending": outcome.pending, "ended": ended.to_string(),
        }));
    } else {
        output::line(format!(
            "{} documents: {} new, {} known already; {} translated, {} dead",
            stored.lines, stored.new, stored.known, outcome.translated, outcome.dead
        ));
        if ended != Ended::Followed {
            output::line(format!("{} wait: {ended}", outcome.pending));
        }
        for (reason, count) in outcome.reasons {
            output::line(format!("{count} dead: {reason}"));
        }
        for line in &stored.too_long {
            output::line(format!("line {line} is longer than {MAX_LINE_BYTES} bytes: it was not read"));
        }
    }
    // Of a paused shop nothing more was to be expected.
    let all_is_well = outcome.dead == 0 && stored.too_long.is_empty() && ended <= Ended::Paused;
    Ok(if all_is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How the work came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    /// Everything is in the figures.
    Followed,
    /// The shop is paused: what was stored waits.
    Paused,
    /// A read model is parked.
    Parked,
    /// Nothing moved for too long.
    Stuck,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Followed => "done",
            Self::Paused => "the shop is paused",
            Self::Parked => "a read model of the shop is parked, see `shop show`",
            Self::Stuck => "nothing moved for five minutes; the log of this command and of the workers says why",
        })
    }
}

/// After so long without any progress it is said instead of waited for.
const PATIENCE: Duration = Duration::from_secs(300);

struct Run<'a> {
    session: &'a Session,
    entry: &'a DirectoryEntry,
    /// Every document of this run was received then: by that they are told from others.
    started_at: DateTime<Utc>,
}

#[derive(Default)]
struct Stored {
    lines: u64,
    new: u64,
    known: u64,
    too_long: Vec<u64>,
}

struct Outcome {
    translated: i64,
    ignored: i64,
    dead: i64,
    pending: i64,
    reasons: Vec<(String, i64)>,
}

impl Run<'_> {
    async fn store(&self, lines: &mut Lines) -> anyhow::Result<Stored> {
        let bar = output::progress("reading");
        bar.set_length(lines.length);
        let mut stored = Stored::default();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        loop {
            let line = lines.next()?;
            let is_last = matches!(line, Line::End);
            match line {
                Line::Document(document) => {
                    check(&document, lines.number, stored.lines == 0)?;
                    stored.lines += 1;
                    bytes += document.len();
                    batch.push(document);
                }
                Line::TooLong => stored.too_long.push(lines.number),
                Line::End => {}
            }
            if batch.len() >= BATCH || bytes >= BATCH_BYTES || (is_last && !batch.is_empty()) {
                let mut tx = self.session.database.begin(self.entry.shop).await?;
                let key = shop_key(&mut tx).await?;
                let new = ingest::store_documents(&mut tx, &key, &batch, self.started_at).await?;
                tx.commit().await?;
                stored.new += new;
                stored.known += batch.len() as u64 - new;
                batch.clear();
                bytes = 0;
                bar.set_position(lines.read);
                if stored.lines % 10_000 < BATCH as u64 {
                    tracing::info!(documents = stored.lines, "stored");
                }
            }
            if is_last {
                bar.finish_and_clear();
                return Ok(stored);
            }
        }
    }

    /// Works on the shop beside whatever workers there are, until its documents are translated and its read models have
    /// followed to where the log ended then.
    async fn work(&self) -> anyhow::Result<Ended> {
        let bar = output::progress("translating");
        let stop = CancellationToken::new();
        let working = tokio::spawn(projector::work_on(self.session.database.clone(), self.entry.shop, stop.clone()));
        let ended = self.watch(&bar).await;
        stop.cancel();
        working.await?;
        bar.finish_and_clear();
        ended
    }

    async fn watch(&self, bar: &ProgressBar) -> anyhow::Result<Ended> {
        let (mut before, mut moved_at, mut aim) = (None, Instant::now(), None);
        loop {
            let left = {
                let mut tx = self.session.database.begin_reading(self.entry.shop).await?;
                ingest::documents_left(&mut tx, self.started_at).await?
            };
            let total = bar.length().unwrap_or(0).max(left.pending.unsigned_abs());
            bar.set_length(total);
            bar.set_position(total - left.pending.unsigned_abs());
            if left.pending == 0 {
                let aim = *aim.get_or_insert(left.head);
                if left.followed >= aim {
                    return Ok(Ended::Followed);
                }
                if left.is_parked {
                    return Ok(Ended::Parked);
                }
            } else if left.is_paused {
                return Ok(Ended::Paused);
            }
            if before != Some((left.pending, left.followed)) {
                before = Some((left.pending, left.followed));
                moved_at = Instant::now();
            } else if moved_at.elapsed() > PATIENCE {
                return Ok(Ended::Stuck);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn outcome(&self) -> anyhow::Result<Outcome> {
        let mut tx = self.session.database.begin_reading(self.entry.shop).await?;
        let mut outcome = Outcome { translated: 0, ignored: 0, dead: 0, pending: 0, reasons: Vec::new() };
        for (status, reason, count) in ingest::documents_by_outcome(&mut tx, self.started_at).await? {
            match status.as_str() {
                "translated" => outcome.translated += count,
                "ignored" => outcome.ignored += count,
                "pending" => outcome.pending += count,
                _ => {
                    outcome.dead += count;
                    outcome.reasons.push((reason.unwrap_or_default(), count));
                }
            }
        }
        Ok(outcome)
    }
}

/// Refuses a file that is something else altogether: what is read as a document and is none becomes a dead letter.
fn check(document: &[u8], number: u64, is_first: bool) -> anyhow::Result<()> {
    #[derive(serde::Deserialize)]
    struct Probe {
        id: Option<Number>,
        #[serde(rename = "__parentId")]
        parent_id: Option<Number>,
    }
    let probe: Option<Probe> = serde_json::from_slice(document).ok();
    if probe.as_ref().is_some_and(|probe| probe.parent_id.is_some()) {
        bail!(
            "line {number} has `__parentId`: this is a flat file of a bulk query, whose lines are parts of orders; \
             what is read here is one whole order a line, with its connections nested"
        );
    }
    let is_order = probe.and_then(|probe| probe.id).is_some_and(|id| id.0.starts_with("gid://shopify/Order/"));
    if is_first && !is_order {
        bail!("line {number} is no order: each line must be the JSON of one `Order` of the Admin API");
    }
    Ok(())
}

enum Line {
    Document(Vec<u8>),
    TooLong,
    End,
}

struct Lines {
    input: Box<dyn BufRead + Send>,
    /// Bytes of the file, where it is one.
    length: u64,
    read: u64,
    number: u64,
}

impl Lines {
    /// `-` is standard input.
    fn open(path: &Path) -> anyhow::Result<Self> {
        let (input, length): (Box<dyn BufRead + Send>, u64) = if path == Path::new("-") {
            (Box::new(BufReader::new(io::stdin())), 0)
        } else {
            let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
            let length = file.metadata()?.len();
            (Box::new(BufReader::with_capacity(256 * 1024, file)), length)
        };
        Ok(Self { input, length, read: 0, number: 0 })
    }

    /// The next line that is not blank, without its end; never more of it than the limit in memory.
    fn next(&mut self) -> anyhow::Result<Line> {
        loop {
            let mut line = Vec::new();
            let count = self.input.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line)? as u64;
            if count == 0 {
                return Ok(Line::End);
            }
            self.number += 1;
            self.read += count;
            if count > MAX_LINE_BYTES && line.last() != Some(&b'\n') {
                self.skip_line()?;
                return Ok(Line::TooLong);
            }
            let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line).trim_ascii();
            if !text.is_empty() {
                return Ok(Line::Document(text.to_vec()));
            }
        }
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let available = self.input.fill_buf()?;
            let end = available.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(available.len(), |end| end + 1);
            let is_done = end.is_some() || used == 0;
            self.input.consume(used);
            self.read += used as u64;
            if is_done {
                return Ok(());
            }
        }
    }
}
