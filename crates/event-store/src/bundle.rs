//! A shop's log in a file, with all that is needed to check it: its events as they are stored, what was signed of them, and
//! public keys. Checking it needs no database, and no more memory for a longer one.
//!
//! A line each, as JSON in one spelling: the header, then events in order, each checkpoint after the event that it is of, and
//! as the last line the checkpoint of the whole. A file without that was cut.

use std::io::{self, BufRead, Read, Write};

use chrono::{DateTime, Utc};
use domain::ShopId;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use vault::{SigningKeys, key_id};

use crate::{
    AnchorError, Checkpoint, Database, FaultKind, StoreError, StoredEvent, Trust, Verified, checker::Checker, events,
};

/// What the header names.
const FORMAT: &str = "ecomdash log 1";
/// No event is as long, by far.
const MAX_LINE_BYTES: u64 = 64 * 1024 * 1024;
/// Checkpoints that are read at a time.
const CHECKPOINTS: i64 = 500;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Bundle(Header),
    Event(Row),
    Checkpoint(Checkpoint),
    End(Checkpoint),
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    shop: ShopId,
    /// Id, and 32 bytes in base64; newest first.
    keys: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    position: i64,
    recorded_at: DateTime<Utc>,
    aggregate_type: String,
    aggregate_id: String,
    sequence: i64,
    event_type: String,
    event_version: String,
    payload: String,
    metadata: String,
    hash: String,
}

/// Why a bundle could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Of the log.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Of the file.
    #[error("the file cannot be written")]
    Write(#[from] io::Error),
}

/// Why a bundle is none.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It cannot be read.
    #[error("the file cannot be read")]
    Read(#[from] io::Error),
    /// A line is not one of a bundle, or not where it stands.
    #[error("line {0}: {1}")]
    Line(u64, &'static str),
    /// Another key than the one that is trusted signed it.
    #[error("it is signed by key {0}, which is not the given one")]
    OtherKey(String),
    /// What it is to be compared with is not of it.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
}

/// What was found in a bundle.
#[derive(Debug)]
pub struct Checked {
    /// Whose log.
    pub shop: ShopId,
    /// As of a log in a database.
    pub verified: Verified,
    /// What is signed of the whole; `None` where something is wrong before it.
    pub end: Option<Checkpoint>,
}

/// Writes a shop's log as a bundle, checking it on the way: it is signed, and has its end, only if all is well. `progress` is
/// called with the number of events so far, and of all.
///
/// # Errors
/// [`ExportError`].
pub async fn export(
    database: &Database,
    shop: ShopId,
    keys: &SigningKeys,
    accepts_unknown_keys: bool,
    now: DateTime<Utc>,
    out: &mut impl Write,
    mut progress: impl FnMut(i64, i64),
) -> Result<Verified, ExportError> {
    // At one moment: nothing is signed of more than there is.
    let mut tx = database.begin_reading(shop).await?;
    let head = sqlx::query!("SELECT position, hash FROM heads WHERE shop_id = $1", shop.0)
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::from)?
        .ok_or(StoreError::NoSuchShop(shop))?;
    let later = tx.checkpoints_after(head.position, 1).await?;
    tx.commit().await?;
    let public = keys.public();
    write(out, &Line::Bundle(Header { format: FORMAT.to_owned(), shop, keys: public.clone() }))?;
    let trust = Trust { keys: public.clone(), accepts_unknown_keys, ..Trust::default() };
    let mut checker = Checker::new(shop, trust);
    let mut log = events(database, shop, 0, head.position);
    let (mut signed, mut signed_up_to) = (Vec::new().into_iter().peekable(), 0);
    while let Some(event) = log.try_next().await? {
        if !checker.take(&event) {
            return Ok(checker.outcome());
        }
        let position = event.position;
        write(out, &Line::Event(Row::from(event)))?;
        if signed.peek().is_none() && signed_up_to < position {
            let mut tx = database.begin(shop).await?;
            let page = tx.checkpoints_after(position - 1, CHECKPOINTS).await?;
            tx.commit().await?;
            // There may be none before the end of what is written here.
            signed_up_to = page.last().map_or(head.position, |last: &Checkpoint| last.position);
            signed = page.into_iter().peekable();
        }
        while let Some(checkpoint) = signed.next_if(|next: &Checkpoint| next.position <= position) {
            if !checker.compare(&checkpoint) {
                return Ok(checker.outcome());
            }
            // What no key at hand has signed proves nothing to anybody.
            if public.iter().any(|(id, _)| *id == checkpoint.key_id) {
                write(out, &Line::Checkpoint(checkpoint))?;
            }
        }
        progress(position, head.position);
    }
    let events = checker.verified.events;
    if checker.compare_beyond(&later) && (events < head.position || checker.verified.hash.as_slice() != head.hash) {
        checker.fault(events.min(head.position - 1) + 1, FaultKind::Head);
    }
    let mut verified = checker.outcome();
    if verified.fault.is_none() {
        let mut tx = database.begin(shop).await?;
        let end = tx.sign_verified(&verified, keys, now).await?;
        tx.commit().await?;
        verified.signed_up_to = end.position;
        write(out, &Line::End(end))?;
        out.flush()?;
    }
    Ok(verified)
}

fn write(out: &mut impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// Checks a bundle, from its first line to its last. Of the trusted keys one must have signed the whole; without any it is only
/// shown to agree with itself, and with anchors. `progress` is called with the number of bytes so far.
///
/// # Errors
/// [`BundleError`]: what is in the file is no bundle, or not the whole of one. A log that is wrong is an outcome.
pub fn check_bundle(input: impl BufRead, trust: &Trust, mut progress: impl FnMut(u64)) -> Result<Checked, BundleError> {
    let mut lines = Lines { input, number: 0, read: 0, text: Vec::new() };
    let Some(Line::Bundle(header)) = lines.next()? else { return Err(lines.fault("it is not the header of a bundle")) };
    if header.format != FORMAT {
        return Err(lines.fault("it is a bundle of another format"));
    }
    if header.keys.iter().any(|(id, key)| key_id(key).as_ref() != Some(id)) {
        return Err(lines.fault("a key does not have the id that it is named by"));
    }
    let of_header = |id: &str| header.keys.iter().any(|(known, _)| known == id);
    let keys = trust.keys.iter().chain(&header.keys).cloned().collect();
    Trust { keys, ..trust.clone() }.check_anchors(header.shop)?;
    // Where keys are trusted, no other one's signature counts, whatever the file says; that of the end is looked at below.
    let mut checker = Checker::new(
        header.shop,
        match trust.keys.is_empty() {
            true => Trust { keys: header.keys.clone(), ..trust.clone() },
            false => Trust { accepts_unknown_keys: true, ..trust.clone() },
        },
    );
    let outcome = |checker: Checker, end| Ok(Checked { shop: header.shop, verified: checker.outcome(), end });
    loop {
        let line = lines.next()?.ok_or(BundleError::Line(lines.number + 1, "the bundle was cut: it has no end"))?;
        progress(lines.read);
        let is_good = match line {
            Line::Bundle(_) => return Err(lines.fault("there is a second header")),
            Line::Event(row) => {
                let event = StoredEvent::try_from(row).map_err(|what| lines.fault(what))?;
                checker.take(&event)
            }
            Line::Checkpoint(checkpoint) | Line::End(checkpoint) if !of_header(&checkpoint.key_id) => {
                return Err(lines.fault("the checkpoint is of a key that the bundle does not have"));
            }
            Line::Checkpoint(checkpoint) if checkpoint.position != checker.verified.events => {
                return Err(lines.fault("the checkpoint is not of the event before it"));
            }
            Line::Checkpoint(checkpoint) => checker.compare(&checkpoint),
            Line::End(end) => {
                if lines.next()?.is_some() {
                    return Err(lines.fault("there is something behind the end"));
                }
                if end.position < checker.verified.events {
                    return Err(lines.fault("there are more events than the end is of"));
                }
                if !checker.compare(&end) || !checker.compare_beyond(&[]) {
                    return outcome(checker, None);
                }
                if !trust.keys.is_empty() && end.is_signed_by(&trust.keys) != Some(true) {
                    return Err(BundleError::OtherKey(end.key_id));
                }
                return outcome(checker, Some(end));
            }
        };
        if !is_good {
            return outcome(checker, None);
        }
    }
}

struct Lines<R> {
    input: R,
    number: u64,
    read: u64,
    text: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Option<Line>, BundleError> {
        self.text.clear();
        let count = self.input.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut self.text)? as u64;
        if count == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.read += count;
        let Some(text) = self.text.strip_suffix(b"\n") else { return Err(self.fault("the line was cut")) };
        let line = serde_json::from_slice(text).map_err(|_| self.fault("it cannot be read"))?;
        // There is one spelling of everything: what reads the same and is written otherwise was changed.
        if serde_json::to_vec(&line).map_err(io::Error::from)? != text {
            return Err(self.fault("it is not written as it was"));
        }
        Ok(Some(line))
    }

    fn fault(&self, what: &'static str) -> BundleError {
        BundleError::Line(self.number, what)
    }
}

impl From<StoredEvent> for Row {
    fn from(event: StoredEvent) -> Self {
        Self {
            position: event.position,
            recorded_at: event.recorded_at,
            aggregate_type: event.aggregate_type,
            aggregate_id: event.aggregate_id,
            sequence: event.sequence,
            event_type: event.event_type,
            event_version: event.event_version,
            payload: event.payload,
            metadata: event.metadata,
            hash: hex::encode(event.hash),
        }
    }
}

impl TryFrom<Row> for StoredEvent {
    type Error = &'static str;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        Ok(Self {
            position: row.position,
            recorded_at: row.recorded_at,
            aggregate_type: row.aggregate_type,
            aggregate_id: row.aggregate_id,
            sequence: row.sequence,
            event_type: row.event_type,
            event_version: row.event_version,
            payload: row.payload,
            metadata: row.metadata,
            hash: hex::decode(&row.hash).ok().filter(|hash| hex::encode(hash) == row.hash).ok_or("its hash is none")?,
        })
    }
}
