//! Telling somebody what is kept of them: put together by a worker, sealed under their own key, handed out for a while.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    Command, Sealed, ShopId, Subject,
    export::{Built, Export, ExportCommand, ExportRequest, ExportStatus, Gone},
};
use event_store::{Database, ShopTx, StoreError, shop_key};
use ingest::{OpenedBody, find_bodies, open_bodies};
use serde::Serialize;
use serde_json::{Value, json};
use shopify::persons;
use uuid::Uuid;
use vault::SubjectKey;

use crate::{
    Match, Named, Reason, Whom, append, audit::replace, erase::in_steps, matches, person::record_lookup, states_before,
    states_without,
};

/// How long an export can be fetched.
pub const KEPT_FOR: TimeDelta = TimeDelta::days(7);
/// By what a part is bound to being one.
const FIELD: &str = "export";

/// What came of asking for an export.
#[derive(Debug)]
pub enum ExportAnswer {
    /// Nobody is known by that.
    Nobody,
    /// Several are: somebody has to choose. What is kept of one is not for another's eyes.
    Several(Vec<Match>),
    /// It is being put together.
    Asked(String),
}

/// Asks for an export. Where nothing is asked for, that somebody was told who is known is recorded. The caller commits either.
///
/// # Errors
/// [`StoreError`].
pub async fn ask_export(
    tx: &mut ShopTx,
    whom: &Whom,
    reason: &Reason,
    by: &str,
    at: DateTime<Utc>,
) -> Result<ExportAnswer, StoreError> {
    tx.lock_log().await?;
    tx.name_subjects().await?;
    let found = matches(tx, whom).await?;
    if found.len() != 1 {
        record_lookup(tx, whom, &found, "export", &reason.said_by(by, at)).await?;
        return Ok(if found.is_empty() { ExportAnswer::Nobody } else { ExportAnswer::Several(found) });
    }
    let id = Uuid::now_v7().to_string();
    let request = ExportRequest {
        subjects: found.iter().map(|found| found.subject).collect(),
        reason: reason.to_string(),
        by: by.to_owned(),
        at,
        request: None,
        several: Vec::new(),
    };
    act_on_export(tx, &id, ExportCommand::Request(request), by).await?;
    Ok(ExportAnswer::Asked(id))
}

/// What somebody says of an export, as `by`. Workers look whether it is to be put together. The caller commits.
///
/// # Errors
/// [`StoreError::Refused`] with a [`domain::export::ExportError`], or [`StoreError`].
pub async fn act_on_export(tx: &mut ShopTx, id: &str, command: ExportCommand, by: &str) -> Result<(), StoreError> {
    tell_export(tx, id, command, by).await?;
    ingest::enqueue(tx, ingest::REDACT, 0.0).await
}

/// Appends a command to an export, as `by`.
///
/// # Errors
/// [`StoreError::Refused`] with the aggregate's reason, or [`StoreError`].
async fn tell_export(tx: &mut ShopTx, id: &str, command: ExportCommand, by: &str) -> Result<(), StoreError> {
    append(tx, Command::Export(id.to_owned(), command), by).await
}

/// At most `limit` of a shop's exports, the newest first, those that were asked for before one of them.
///
/// # Errors
/// [`StoreError`].
pub async fn exports(tx: &mut ShopTx, before: Option<&str>, limit: i64) -> Result<Vec<(String, Export)>, StoreError> {
    states_before(tx, before, limit).await
}

/// Exports that are being put together or can be fetched.
pub(crate) async fn kept(tx: &mut ShopTx) -> Result<Vec<(String, Export)>, StoreError> {
    states_without(tx, &["ExportGone"]).await
}

/// Puts together what is waited for, and lets go of what was there long enough. Returns when the next one goes.
pub(crate) async fn run_exports(
    database: &Database,
    shop: ShopId,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let mut tx = database.begin_reading(shop).await?;
    let pending = kept(&mut tx).await?;
    tx.commit().await?;
    let (mut next, mut failed) = (None::<DateTime<Utc>>, None);
    for (id, export) in pending {
        let outcome = match (export.status(), &export.built) {
            (Some(ExportStatus::Waiting), _) => build(database, shop, &id, now).await.map(Some),
            (Some(ExportStatus::Ready | ExportStatus::Several), Some(built)) if built.expires_at <= now => {
                expire(database, shop, &id, now).await.map(|()| None)
            }
            (Some(ExportStatus::Ready | ExportStatus::Several), Some(built)) => Ok(Some(built.expires_at)),
            _ => Ok(None),
        };
        match outcome {
            Ok(Some(due)) => next = Some(next.map_or(due, |next| next.min(due))),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%shop, export = id, error = &error as &dyn std::error::Error, "an export failed");
                failed = Some(error);
            }
        }
    }
    failed.map_or(Ok(next), Err)
}

async fn expire(database: &Database, shop: ShopId, id: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
    let mut tx = database.begin(shop).await?;
    tell_export(&mut tx, id, ExportCommand::Drop { why: Gone::Expired, at: now }, "export").await?;
    sqlx::query!("DELETE FROM exports WHERE shop_id = $1 AND export_id = $2", shop.0, id).execute(&mut *tx).await?;
    tx.commit().await
}

/// Returns until when it can be fetched.
async fn build(database: &Database, shop: ShopId, id: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, StoreError> {
    let expires_at = now + KEPT_FOR;
    let mut tx = database.begin(shop).await?;
    // So that nobody is erased between reading and writing.
    tx.lock_log().await?;
    let export: Export = tx.load(id).await?;
    let is_waited_for = export.status() == Some(ExportStatus::Waiting);
    let Some(request) = export.request.filter(|_| is_waited_for) else { return Ok(expires_at) };
    // An earlier release may have put something together before anybody chose.
    sqlx::query!("DELETE FROM exports WHERE shop_id = $1 AND export_id = $2", shop.0, id).execute(&mut *tx).await?;
    let mut built = Built { histories: 0, values: 0, bytes: 0, at: now, expires_at };
    if let Some(key) = tx.living_shop_key().await? {
        let mut told = BTreeSet::new();
        for subject in request.subjects {
            let named = Named::of(&mut tx, [subject]).await?;
            let keys = tx.subject_keys(&key, &named.subjects).await?;
            // What is kept of one person is told once, under however many numbers it is asked for.
            if named.subjects.is_subset(&told) {
                continue;
            }
            // Sealed under their own key, or where all that is theirs stands under another number, under that one's.
            let mut untold = keys.iter().filter(|(of, _)| !told.contains(*of));
            let own = untold.clone().find(|(of, _)| **of == subject);
            let Some((under, own_key)) = own.or_else(|| untold.next()) else { continue };
            let under = *under;
            told.extend(&named.subjects);
            let part = part(&mut tx, subject, &named, &keys, &mut built).await?;
            let text = serde_json::to_vec(&part).map_err(|fault| StoreError::Refused(fault.into()))?;
            built.bytes += text.len() as u64;
            sqlx::query!(
                "INSERT INTO exports (shop_id, export_id, subject, sealed, expires_at) VALUES ($1, $2, $3, $4, $5)",
                shop.0,
                id,
                under.to_string(),
                own_key.seal(FIELD, &text).bytes,
                expires_at,
            )
            .execute(&mut *tx)
            .await?;
        }
    }
    tell_export(&mut tx, id, ExportCommand::Build(built), "export").await?;
    tx.commit().await?;
    Ok(expires_at)
}

/// All that is kept of a subject: every event of the histories that they stand in, what is theirs opened, and the bodies of
/// deliveries about them that are still there.
async fn part(
    tx: &mut ShopTx,
    subject: Subject,
    named: &Named,
    keys: &BTreeMap<Subject, SubjectKey>,
    built: &mut Built,
) -> Result<Value, StoreError> {
    let key = shop_key(tx).await?;
    // Titles of products … are the shop's own, and stand in what is told of the person.
    let mut and_of_shop = keys.clone();
    and_of_shop.extend(tx.subject_keys(&key, &BTreeSet::from([Subject::Shop])).await?);
    let mut histories: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
    for (kind, ids) in in_steps(&named.streams) {
        tx.each_event_of((kind, &ids), (0, i64::MAX), |event, _| {
            let values = ShopTx::values_of(std::slice::from_ref(&event), &named.subjects);
            built.values += values.iter().filter(|value| keys.contains_key(&value.sealed.subject)).count() as u64;
            let mut says: Value = serde_json::from_str(&event.payload).unwrap_or_default();
            replace(&mut says, &BTreeSet::new(), &and_of_shop);
            histories.entry((event.aggregate_type, event.aggregate_id)).or_default().push(json!({
                "recorded_at": event.recorded_at, "event": event.event_type, "says": says,
            }));
            Ok(())
        })
        .await?;
    }
    built.histories += histories.len() as u64;
    let histories: Vec<Value> = histories
        .into_iter()
        .map(|((kind, number), events)| json!({ "type": kind, "id": number, "events": events }))
        .collect();
    // What names somebody else, too, or nobody but by an address that others may share, is not this one's to see.
    let deliveries = find_bodies(tx, &key, &named.subjects, &[], None).await?;
    let is_theirs = |delivery: &OpenedBody| {
        let named_in = persons(&delivery.topic, &delivery.body);
        named_in.iter().all(|subject| named.subjects.contains(subject))
    };
    let deliveries: Vec<Value> = open_bodies(tx, &key, &deliveries)
        .await?
        .into_iter()
        .filter(is_theirs)
        .map(|delivery| json!({ "topic": delivery.topic, "received_at": delivery.received_at, "body": delivery.body }))
        .collect();
    Ok(json!({ "subject": subject, "also": named.subjects, "histories": histories, "deliveries": deliveries }))
}

/// Lets go of exports in which somebody is who is erased now. The commands say so in their histories; beside them, how many parts
/// there were.
pub(crate) async fn drop_exports(
    tx: &mut ShopTx,
    subjects: &BTreeSet<Subject>,
    now: DateTime<Utc>,
) -> Result<(Vec<Command>, u64), StoreError> {
    let (mut commands, mut parts) = (Vec::new(), 0);
    for (id, export) in states_without::<Export>(tx, &[]).await? {
        if export.gone == Some(Gone::Redacted) {
            continue;
        }
        let Some(ExportRequest { subjects: asked, several, .. }) = export.request else { continue };
        // Nothing is told of any of several, and another one of them may be meant, while there is one.
        let left: BTreeSet<Subject> = several.iter().copied().filter(|of| !subjects.contains(of)).collect();
        let is_nobody_left = !several.is_empty() && tx.redacted_among(&left).await?.len() == left.len();
        let mut theirs: BTreeSet<Subject> = asked.into_iter().collect();
        if export.gone.is_none() {
            // An order may be somebody else's, too.
            theirs = Named::of(tx, theirs).await?.subjects;
        }
        if is_nobody_left || !theirs.is_disjoint(subjects) {
            let shop = tx.shop();
            let gone = sqlx::query!("DELETE FROM exports WHERE shop_id = $1 AND export_id = $2", shop.0, id);
            parts += gone.execute(&mut **tx).await?.rows_affected();
            commands.push(Command::Export(id, ExportCommand::Drop { why: Gone::Redacted, at: now }));
        }
    }
    Ok((commands, parts))
}

/// What is handed out.
#[derive(Debug, Serialize)]
pub struct Document {
    /// Of the export.
    pub export: String,
    /// The shop's permanent domain.
    pub shop: String,
    /// When it was put together.
    pub made_at: DateTime<Utc>,
    /// Whoever it was asked of, `customer:42` …, of whom nothing personal is kept.
    pub nothing_kept_of: Vec<Subject>,
    /// For each other one what is kept: histories with all their events, and deliveries as they came.
    pub kept: Vec<Value>,
}

/// Hands an export out, and records who fetched it. The caller commits before it sends anything.
///
/// # Errors
/// [`StoreError::Refused`] with the aggregate's reason, or [`StoreError`].
pub async fn fetch(tx: &mut ShopTx, id: &str, form: &str, by: &str, at: DateTime<Utc>) -> Result<Document, StoreError> {
    tell_export(tx, id, ExportCommand::Fetch { by: by.to_owned(), form: form.to_owned(), at }, by).await?;
    let export: Export = tx.load(id).await?;
    let shop = tx.shop();
    let key = shop_key(tx).await?;
    let asked = export.request.map(|request| request.subjects).unwrap_or_default();
    let parts = sqlx::query!(
        "SELECT subject, sealed FROM exports WHERE shop_id = $1 AND export_id = $2 ORDER BY subject",
        shop.0,
        id
    )
    .fetch_all(&mut **tx)
    .await?;
    let under: BTreeSet<Subject> = parts.iter().filter_map(|part| part.subject.parse().ok()).collect();
    let keys = tx.subject_keys(&key, &under).await?;
    let (mut kept, mut nothing) = (Vec::new(), BTreeSet::from_iter(asked));
    for part in parts {
        let Ok(subject) = part.subject.parse::<Subject>() else { continue };
        let Some(key) = keys.get(&subject) else { continue };
        let opened = key.open(FIELD, &Sealed { subject, bytes: part.sealed });
        let opened = opened.map_err(|error| StoreError::Keys(shop, error))?;
        let part: Value = serde_json::from_slice(&opened).map_err(|fault| StoreError::Refused(fault.into()))?;
        nothing.remove(&subject);
        for also in part["also"].as_array().into_iter().flatten() {
            nothing.retain(|subject| *also != subject.to_string());
        }
        kept.push(part);
    }
    let entry = ingest::find_by_id(tx, shop).await?;
    let domain = entry.map(|entry| entry.domain.to_string()).unwrap_or_default();
    let made_at = export.built.map_or(at, |built| built.at);
    let nothing_kept_of = nothing.into_iter().collect();
    Ok(Document { export: id.to_owned(), shop: domain, made_at, nothing_kept_of, kept })
}
