//! Erasing a person, and proving it.
//!
//! A redaction is a history of its own in the shop's log ([`domain::redaction`]). When it is due, one transaction under the log's
//! lock destroys the keys of the person and of the orders that are theirs, lets go of bodies and of whatever they were found by,
//! and appends what was done, with a tombstone to each history that they stand in ([`erase`]). What is sealed under a destroyed key
//! cannot be read any more, wherever it stands; a subject that has no key never gets one again, so that nothing that comes later
//! brings anything back. Afterwards it is looked at, and the receipt is signed ([`certify`]).

pub mod audit;
mod erase;
pub mod grant;
mod person;
mod receipt;
mod request;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::{
    Command, ShopId, Snapshot, Subject,
    redaction::{Redaction, RedactionCommand, Status},
};
use event_store::{Database, Envelope, Metadata, ShopTx, StoreError};
use vault::SigningKeys;

pub use erase::{Before, erase};
pub use person::{Match, Named, Person, matches};
pub use receipt::{certify, is_genuine, signed_text};
pub use request::{Answer, Ask, Plan, Reason, ask, plan};

/// Appends commands to a redaction, as `by`.
///
/// # Errors
/// [`StoreError::Refused`] with the aggregate's reason, or [`StoreError`].
pub async fn tell(tx: &mut ShopTx, id: &str, command: RedactionCommand, by: &str) -> Result<(), StoreError> {
    append(tx, Command::Redaction(id.to_owned(), command), by).await
}

/// Appends what a command comes to, as `by`.
async fn append(tx: &mut ShopTx, command: Command, by: &str) -> Result<(), StoreError> {
    let metadata = Metadata::from_source("command").with("actor", by);
    tx.execute(vec![Envelope::new(command, metadata)]).await?;
    Ok(())
}

/// At most `limit` of a shop's redactions, the newest first, those that were asked for before one of them.
///
/// # Errors
/// [`StoreError`].
pub async fn redactions(
    tx: &mut ShopTx,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<(String, Redaction)>, StoreError> {
    let ids = newest(tx, "redaction", before, limit).await?;
    states(tx, ids).await
}

/// At most `limit` histories of a type, the newest first, those that began before one of them.
async fn newest(
    tx: &mut ShopTx,
    aggregate_type: &str,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    let shop = tx.shop();
    Ok(sqlx::query_scalar!(
        "SELECT e.aggregate_id
         FROM (
             SELECT aggregate_id, position FROM events
             WHERE shop_id = $1 AND aggregate_type = $2 AND sequence = 1 OFFSET 0
         ) e
         WHERE ($3::text IS NULL OR e.position < (
               SELECT b.position FROM events b
               WHERE b.shop_id = $1 AND b.aggregate_type = $2 AND b.aggregate_id = $3 AND b.sequence = 1))
         ORDER BY e.position DESC
         LIMIT $4",
        shop.0,
        aggregate_type,
        before,
        limit,
    )
    .fetch_all(&mut **tx)
    .await?)
}

/// The shop's redactions that are neither cancelled nor certified.
async fn open(tx: &mut ShopTx) -> Result<Vec<(String, Redaction)>, StoreError> {
    let shop = tx.shop();
    let ids = sqlx::query_scalar!(
        "SELECT e.aggregate_id
         FROM events e
         WHERE e.shop_id = $1 AND e.aggregate_type = 'redaction' AND e.sequence = 1
           AND NOT EXISTS (
               SELECT FROM events d
               WHERE d.shop_id = $1 AND d.aggregate_type = 'redaction' AND d.aggregate_id = e.aggregate_id
                 AND d.event_type IN ('RedactionCertified', 'RedactionCancelled'))
         ORDER BY e.position",
        shop.0,
    )
    .fetch_all(&mut **tx)
    .await?;
    states(tx, ids).await
}

async fn states(tx: &mut ShopTx, ids: Vec<String>) -> Result<Vec<(String, Redaction)>, StoreError> {
    let mut states = folded::<Redaction>(tx, &ids, i64::MAX).await?;
    Ok(ids.into_iter().filter_map(|id| states.remove_entry(&id)).collect())
}

/// Aggregates of one type as their histories made them up to a position, all read at once.
async fn folded<A: Snapshot>(tx: &mut ShopTx, ids: &[String], up_to: i64) -> Result<BTreeMap<String, A>, StoreError> {
    let mut states: BTreeMap<String, A> = BTreeMap::new();
    for event in tx.histories(A::TYPE, ids, up_to).await? {
        states.entry(event.aggregate_id.clone()).or_default().apply(event.decode::<A::Event>()?);
    }
    Ok(states)
}

/// Does what is due of a shop's redactions. Returns when the next one is.
///
/// # Errors
/// [`StoreError`]: what was done stays done, and the rest can be tried again.
pub async fn run_due(
    database: &Database,
    shop: ShopId,
    signing: &SigningKeys,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let mut tx = database.begin_reading(shop).await?;
    let open = open(&mut tx).await?;
    tx.commit().await?;
    let held: BTreeSet<Subject> = open
        .iter()
        .filter(|(_, redaction)| redaction.status() == Some(Status::Held))
        .flat_map(|(_, redaction)| redaction.request.iter().flat_map(|request| request.subjects.iter().copied()))
        .collect();
    let (mut next, mut failed) = (None::<DateTime<Utc>>, None);
    for (id, redaction) in open {
        let subjects = redaction.request.iter().flat_map(|request| &request.subjects);
        // A hold is on a person, however often they are asked for.
        if redaction.erased.is_none() && subjects.into_iter().any(|subject| held.contains(subject)) {
            continue;
        }
        let due = redaction.due_at().filter(|due| *due > now);
        if let (Some(Status::Waiting), Some(due)) = (redaction.status(), due) {
            next = Some(next.map_or(due, |next| next.min(due)));
            continue;
        }
        // One that fails holds up no other.
        if let Err(error) = run(database, shop, &id, &redaction, signing, now).await {
            tracing::error!(%shop, redaction = id, error = &error as &dyn std::error::Error, "a redaction failed");
            failed = Some(error);
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    Ok(next)
}

async fn run(
    database: &Database,
    shop: ShopId,
    id: &str,
    redaction: &Redaction,
    signing: &SigningKeys,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    match redaction.status() {
        Some(Status::Waiting) => {
            if let Some(before) = erase(database, shop, id, now).await? {
                certify(database, shop, id, signing, Some(before), now).await?;
                tracing::info!(%shop, redaction = id, "erased and certified");
            }
        }
        Some(Status::Erased) => certify(database, shop, id, signing, None, now).await?,
        _ => {}
    }
    Ok(())
}

/// Whether a shop has redactions that are neither cancelled nor certified.
///
/// # Errors
/// [`StoreError`].
pub async fn has_open(tx: &mut ShopTx) -> Result<bool, StoreError> {
    Ok(!open(tx).await?.is_empty())
}
