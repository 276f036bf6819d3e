//! Receipts outside the database: a restore brings back what was erased since the backup, and what stands there does it again.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, SecondsFormat, Utc};
use domain::{
    ShopId,
    redaction::{Actor, Erased, Receipt, Redaction, RedactionCommand, Request, Said, Status},
};
use event_store::{Database, ShopTx, StoreError};
use serde::{Deserialize, Serialize};
use vault::SigningKeys;

use crate::{certify, erase::erase_with, redactions, tell};

/// Redactions that are read at a time.
const PAGE: i64 = 100;

/// A certified redaction, with all that it takes to do it again. Nothing in it is personal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Whose.
    pub shop: ShopId,
    /// Of the redaction.
    pub id: String,
    /// Who was to be erased, and at whose word.
    pub request: Request,
    /// Who said that it was not to be waited with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_by: Option<Actor>,
    /// What was erased.
    pub erased: Erased,
    /// What was looked at afterwards, signed.
    pub receipt: Receipt,
}

impl Entry {
    fn of(shop: ShopId, id: String, redaction: Redaction) -> Option<Self> {
        let Redaction { request, confirmed_by, erased, receipt, .. } = redaction;
        Some(Self { shop, id, request: request?, confirmed_by, erased: erased?, receipt: receipt? })
    }

    /// Whether one of the keys signed it, as it stands.
    #[must_use]
    pub fn is_genuine(&self, keys: &SigningKeys) -> bool {
        let public = keys.public();
        let key = public.iter().find(|(id, _)| *id == self.receipt.key_id);
        let is_signed =
            |text: &str| key.is_some_and(|(_, key)| vault::is_signed(key, text.as_bytes(), &self.receipt.signature));
        // Neither was in what was signed before.
        let is_earlier = self.erased.histories.is_empty() && self.erased.tables.is_empty();
        self.request_fits() && (is_signed(&self.signed_text()) || is_earlier && is_signed(&self.signed_text_before()))
    }

    /// What was asked for follows from what was done, which was all that was signed in releases before.
    fn request_fits(&self) -> bool {
        self.request.subjects.iter().all(|subject| self.erased.subjects.contains(subject))
            && match self.erased.installed_again_at {
                Some(since) => self.request.triggered_at.is_some_and(|sent| sent < since),
                None => self.erased.goes_on_as.is_none(),
            }
    }

    /// What the signature is over: a line that says what it is, and all of this as it is written to JSON, with an empty signature.
    #[must_use]
    pub fn signed_text(&self) -> String {
        let mut unsigned = self.clone();
        unsigned.receipt.signature.clear();
        let json = serde_json::to_string(&unsigned).expect("plain data has a JSON form");
        format!("ecomdash: redaction receipt 2\n{json}\n")
    }

    /// What it was over in releases before.
    fn signed_text_before(&self) -> String {
        let Self { shop, id, erased, receipt, .. } = self;
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Micros, true);
        let subjects: Vec<String> = erased.subjects.iter().map(ToString::to_string).collect();
        let fields: Vec<String> = erased.fields.iter().map(|(name, count)| format!("{name}={count}")).collect();
        let mut lines = vec![
            ("ecomdash", "redaction receipt 1".to_owned()),
            ("shop", shop.to_string()),
            ("redaction", id.clone()),
            ("subjects", subjects.join(",")),
            ("keys", erased.keys.to_string()),
            ("streams", erased.streams.to_string()),
            ("values", erased.values.to_string()),
            ("fields", fields.join(",")),
            ("bodies", erased.bodies.to_string()),
            ("contacts", erased.contacts.to_string()),
            ("erased_at", time(erased.at)),
            ("position", receipt.position.to_string()),
            ("hash", receipt.hash.clone()),
            ("searched", receipt.searched.to_string()),
            ("found", receipt.found.to_string()),
            ("links", receipt.links.to_string()),
            ("sums_unchanged", receipt.sums_unchanged.map_or("unknown".to_owned(), |same| same.to_string())),
            ("vacuumed", receipt.vacuumed.to_string()),
            ("horizon", time(receipt.horizon)),
            ("at", time(receipt.at)),
        ];
        lines.extend(erased.goes_on_as.map(|shop| ("goes_on_as", shop.to_string())));
        lines.extend(erased.installed_again_at.map(|since| ("installed_again_at", time(since))));
        lines.iter().fold(String::new(), |mut text, (name, value)| {
            let _ = writeln!(text, "{name}: {value}");
            text
        })
    }
}

/// A shop's certified redactions, the newest first.
///
/// # Errors
/// [`StoreError`].
pub async fn entries(tx: &mut ShopTx) -> Result<Vec<Entry>, StoreError> {
    let shop = tx.shop();
    let (mut entries, mut before) = (Vec::new(), None::<String>);
    loop {
        let page = redactions(tx, before.as_deref(), PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(entries) };
        before = Some(last.clone());
        entries.extend(page.into_iter().filter_map(|(id, redaction)| Entry::of(shop, id, redaction)));
    }
}

/// A file to which every receipt is written, a line of JSON each, and in which each is kept once by whoever writes it. It
/// belongs elsewhere than the database and its backups.
#[derive(Debug)]
pub struct Book {
    file: Mutex<File>,
    known: Mutex<BTreeSet<(ShopId, String)>>,
}

impl Book {
    /// Opens it, or begins it.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds something else.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut known = BTreeSet::new();
        for line in BufReader::new(&file).split(b'\n') {
            // The last line may be cut: it is written again.
            if let Ok(entry) = serde_json::from_slice::<Entry>(&line?) {
                known.insert((entry.shop, entry.id));
            }
        }
        Ok(Self { file: Mutex::new(file), known: Mutex::new(known) })
    }

    /// Writes a shop's receipts that are not in it, durably.
    ///
    /// # Errors
    /// [`StoreError`], also where the file cannot be written: they are written the next time.
    pub async fn keep(&self, database: &Database, shop: ShopId) -> Result<usize, StoreError> {
        let mut tx = database.begin_reading(shop).await?;
        let mut entries = entries(&mut tx).await?;
        tx.commit().await?;
        let known = |entry: &Entry| {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.contains(&(entry.shop, entry.id.clone()))
        };
        entries.retain(|entry| !known(entry));
        self.write(&entries).map_err(|fault| StoreError::Refused(fault.into()))?;
        Ok(entries.len())
    }

    fn write(&self, entries: &[Entry]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        // In the order in which they were asked for, and never behind a line that was cut.
        let mut lines = String::from("\n");
        for entry in entries.iter().rev() {
            lines += &serde_json::to_string(entry)?;
            lines.push('\n');
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(lines.as_bytes())?;
        file.sync_all()?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(entries.iter().map(|entry| (entry.shop, entry.id.clone())));
        Ok(())
    }
}

/// What came of doing a redaction again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redone {
    /// It is done here.
    Already,
    /// The shop is not here.
    NoSuchShop,
    /// It was undone, and is done again.
    Again,
}

/// Does a redaction again that a restore undid. Before that, `settle` turns what waits of the shop into events, as it may be of them,
/// too; `false`: some of it still waits.
///
/// # Errors
/// [`StoreError`].
pub async fn redo(
    database: &Database,
    entry: &Entry,
    signing: &SigningKeys,
    now: DateTime<Utc>,
    settle: impl AsyncFnOnce() -> Result<bool, StoreError>,
) -> Result<Redone, StoreError> {
    let said = || Said { by: "restore".to_owned(), reason: Some("a restore undid it".to_owned()), at: now };
    let mut tx = database.begin(entry.shop).await?;
    match tx.head().await {
        Err(StoreError::NoSuchShop(_)) => return Ok(Redone::NoSuchShop),
        head => drop(head?),
    }
    let known: Redaction = tx.load(&entry.id).await?;
    if known.receipt.is_some() {
        return Ok(Redone::Already);
    }
    tx.rollback().await?;
    if !settle().await? {
        return Err(StoreError::Refused("deliveries of the shop still wait: do it again once they are settled".into()));
    }
    let mut tx = database.begin(entry.shop).await?;
    let known: Redaction = tx.load(&entry.id).await?;
    if known.erased.is_none() {
        if known.request.is_none() {
            tell(&mut tx, &entry.id, RedactionCommand::Request(entry.request.clone()), &said().by).await?;
        }
        if known.status() == Some(Status::Held) {
            // What was odd about the request is beneath a legal hold, and is released by itself.
            for _ in [&known.hold, &known.oddity].into_iter().flatten() {
                tell(&mut tx, &entry.id, RedactionCommand::Release(said()), &said().by).await?;
            }
        }
        if known.confirmed_by.is_none() {
            tell(&mut tx, &entry.id, RedactionCommand::Confirm(said()), &said().by).await?;
        }
    }
    tx.commit().await?;
    // Also whom only news from after the backup led to: they are signed.
    let before = erase_with(database, entry.shop, &entry.id, &entry.erased.subjects, now).await?;
    certify(database, entry.shop, &entry.id, signing, before, now).await?;
    Ok(Redone::Again)
}

#[cfg(test)]
mod tests {
    use domain::{Subject, ids::CustomerId};
    use uuid::Uuid;
    use vault::MasterRing;

    use super::*;

    fn entry() -> Entry {
        let (at, subjects) = (DateTime::UNIX_EPOCH, vec![Subject::Customer(CustomerId(7))]);
        let request = Request {
            subjects: subjects.clone(),
            reason: "shop/redact".to_owned(),
            by: "webhook".to_owned(),
            at,
            due_at: at,
            request: Some("shop_redaction/1".to_owned()),
            needs_confirmation: false,
            triggered_at: Some(at),
        };
        let receipt = Receipt {
            position: 9,
            hash: "ab".to_owned(),
            searched: 3,
            found: 0,
            links: 4,
            sums_unchanged: Some(true),
            vacuumed: true,
            horizon: at,
            key_id: String::new(),
            signature: String::new(),
            at,
        };
        let (id, confirmed_by) = ("1".to_owned(), Some("compliance 1".to_owned()));
        let erased = Erased { subjects, ..Erased::nothing(at) };
        Entry { shop: ShopId(Uuid::nil()), id, request, confirmed_by, erased, receipt }
    }

    #[test]
    fn nothing_in_a_receipt_can_be_said_otherwise() {
        let keys = SigningKeys::parse(&MasterRing::generate_key().unwrap()).unwrap();
        let mut signed = entry();
        signed.receipt.key_id = keys.newest_id();
        signed.receipt.signature = keys.sign(signed.signed_text().as_bytes());
        assert!(signed.is_genuine(&keys));
        let forge = |change: fn(&mut Entry)| {
            let mut forged = signed.clone();
            change(&mut forged);
            forged.is_genuine(&keys)
        };
        assert!(forge(|_| {}));
        assert!(!forge(|entry| entry.id.push('1')));
        assert!(!forge(|entry| entry.confirmed_by = None));
        assert!(!forge(|entry| entry.request.triggered_at = None));
        assert!(!forge(|entry| entry.erased.keys += 1));
        assert!(!forge(|entry| entry.receipt.found += 1));
        // What stands in one place is not said by another.
        assert!(!forge(|entry| {
            let time = entry.request.triggered_at.take().map(|at| at.to_rfc3339()).unwrap_or_default();
            let by = entry.confirmed_by.take().unwrap_or_default();
            entry.request.request = Some(format!("shop_redaction/1\ntriggered_at: {time}\nconfirmed_by: {by}"));
        }));
        assert!(!forge(|entry| {
            entry.request.reason = format!("shop/redact\",\"by\":\"{}", entry.request.by);
        }));
    }

    #[test]
    fn one_of_a_release_before_is_genuine_as_far_as_it_was_signed() {
        let keys = SigningKeys::parse(&MasterRing::generate_key().unwrap()).unwrap();
        let mut signed = entry();
        signed.confirmed_by = None;
        signed.receipt.key_id = keys.newest_id();
        signed.receipt.signature = keys.sign(signed.signed_text_before().as_bytes());
        assert!(signed.is_genuine(&keys));
        let mut other = signed.clone();
        other.request.subjects.push(Subject::Shop);
        assert!(!other.is_genuine(&keys), "who was not erased was not asked for");
        let mut other = signed.clone();
        other.erased.histories.push("order:7".to_owned());
        assert!(!other.is_genuine(&keys), "it did not list any");
        signed.erased.bodies += 1;
        assert!(!signed.is_genuine(&keys));
    }
}
