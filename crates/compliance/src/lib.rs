//! Erasing a person or a shop, and proving it; telling a person what is kept.
//!
//! A redaction is a history of its own in the shop's log ([`domain::redaction`]). When it is due, one transaction under the log's
//! lock destroys the keys of the person and of the orders that are theirs, lets go of whatever they were found by, and appends
//! what was done ([`erase`]). What is sealed under a destroyed key cannot be read any more, wherever it stands; a subject that has
//! no key never gets one again, so that nothing that comes later brings anything back. Afterwards the bodies go and each history
//! gets a tombstone, it is looked at, and the receipt is signed ([`certify`]). But for that one transaction, all is done some
//! histories at a time: a person may have thousands of orders, and others write meanwhile.

pub mod audit;
mod book;
mod due;
mod erase;
mod export;
pub mod grant;
mod hold;
mod labels;
mod ledger;
mod page;
mod person;
mod receipt;
mod request;
mod search;
mod shop;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    Command, ShopId, Snapshot,
    redaction::{Redaction, RedactionCommand, RedactionError, Status},
};
use event_store::{Database, Envelope, Metadata, ShopTx, StoreError};
use vault::SigningKeys;

use crate::{erase::follow_up, export::run_exports};

pub use book::{Book, Entry, Redone, entries, redo};
pub use due::{DEADLINE, Demand, Demanded, demands, waiting};
pub use erase::{Before, erase};
pub use export::{Document, ExportAnswer, KEPT_FOR, act_on_export, ask_export, exports, fetch};
pub use hold::{LegalHolds, OtherHold};
pub use page::page;
pub use person::{Match, Named, Whom, matches};
pub use receipt::certify;
pub use request::{Answer, Ask, Plan, Reason, Who, ask, plan};

/// What somebody says of a redaction, as `by`. Workers look whether it is due now. The caller commits.
///
/// # Errors
/// [`StoreError::Refused`] with a [`domain::redaction::RedactionError`], or [`StoreError`].
pub async fn act(tx: &mut ShopTx, id: &str, command: RedactionCommand, by: &str) -> Result<(), StoreError> {
    tell(tx, id, command, by).await?;
    ingest::enqueue(tx, ingest::REDACT, 0.0).await
}

/// Appends a command to a redaction, as `by`.
///
/// # Errors
/// [`StoreError::Refused`] with the aggregate's reason, or [`StoreError`].
pub(crate) async fn tell(tx: &mut ShopTx, id: &str, command: RedactionCommand, by: &str) -> Result<(), StoreError> {
    append(tx, Command::Redaction(id.to_owned(), command), by).await
}

/// Appends what a command comes to, as `by`.
///
/// # Errors
/// [`StoreError::Refused`] with the aggregate's reason, or [`StoreError`].
pub async fn append(tx: &mut ShopTx, command: Command, by: &str) -> Result<(), StoreError> {
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
    states_before(tx, before, limit).await
}

/// At most `limit` aggregates of a type, the newest first, those that began before one of them.
async fn states_before<A: Snapshot>(
    tx: &mut ShopTx,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<(String, A)>, StoreError> {
    let shop = tx.shop();
    let ids = sqlx::query_scalar!(
        "SELECT e.aggregate_id
         FROM (
             SELECT aggregate_id, position FROM events
             WHERE shop_id = $1 AND aggregate_type = $4 AND sequence = 1 OFFSET 0
         ) e
         WHERE ($2::text IS NULL OR e.position < (
               SELECT b.position FROM events b
               WHERE b.shop_id = $1 AND b.aggregate_type = $4 AND b.aggregate_id = $2 AND b.sequence = 1))
         ORDER BY e.position DESC
         LIMIT $3",
        shop.0,
        before,
        limit,
        A::TYPE,
    )
    .fetch_all(&mut **tx)
    .await?;
    states(tx, ids).await
}

/// The shop's redactions that are neither cancelled nor certified.
async fn open(tx: &mut ShopTx) -> Result<Vec<(String, Redaction)>, StoreError> {
    let mut open = states_without(tx, &["RedactionCertified", "RedactionCancelled"]).await?;
    open.retain(|(_, redaction): &(String, Redaction)| redaction.is_open());
    Ok(open)
}

/// The aggregates of a type whose last event is none of these, in the order in which they began.
async fn states_without<A: Snapshot>(tx: &mut ShopTx, last: &[&str]) -> Result<Vec<(String, A)>, StoreError> {
    let shop = tx.shop();
    let ids = sqlx::query_scalar!(
        "SELECT e.aggregate_id
         FROM events e
         WHERE e.shop_id = $1 AND e.aggregate_type = $2 AND e.sequence = 1
           AND (SELECT l.event_type FROM events l
                WHERE l.shop_id = $1 AND l.aggregate_type = $2 AND l.aggregate_id = e.aggregate_id
                ORDER BY l.sequence DESC
                LIMIT 1) <> ALL ($3)
         ORDER BY e.position",
        shop.0,
        A::TYPE,
        &last.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(),
    )
    .fetch_all(&mut **tx)
    .await?;
    states(tx, ids).await
}

async fn states<A: Snapshot>(tx: &mut ShopTx, ids: Vec<String>) -> Result<Vec<(String, A)>, StoreError> {
    let mut states = folded::<A>(tx, &ids, i64::MAX).await?;
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

/// After so long, what follows from an erasure is not left to whoever erased, should that one be gone.
const ABOUT_TO_FOLLOW_UP: TimeDelta = TimeDelta::minutes(1);
/// After so long it is seen again whether what waits of the shop is settled.
const UNTIL_SETTLED: TimeDelta = TimeDelta::seconds(3);
/// After so long, whoever erased is taken for gone.
const ABOUT_TO_CERTIFY: TimeDelta = TimeDelta::minutes(30);

/// Does what is due of a shop's redactions and exports. Returns when the next one is. Nobody is erased unless what waits of the
/// shop is settled: it may say more of whom is meant.
///
/// # Errors
/// [`StoreError`]: what was done stays done, and the rest can be tried again.
pub async fn run_due(
    database: &Database,
    shop: ShopId,
    signing: &SigningKeys,
    now: DateTime<Utc>,
    is_settled: bool,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let mut tx = database.begin_reading(shop).await?;
    let open = open(&mut tx).await?;
    tx.commit().await?;
    let (mut next, mut failed) = (None::<DateTime<Utc>>, None);
    match run_exports(database, shop, now).await {
        Ok(due) => next = due,
        Err(error) => failed = Some(error),
    }
    for (id, redaction) in open {
        match (redaction.status(), redaction.due_at()) {
            (Some(Status::Waiting), Some(due)) if due > now => {
                next = next.into_iter().chain([due]).min();
                continue;
            }
            (Some(Status::Waiting), None) => continue, // somebody has to confirm it
            (Some(Status::Waiting), Some(_)) if !is_settled => {
                next = next.into_iter().chain([now + UNTIL_SETTLED]).min();
                continue;
            }
            // Whoever erased is about to certify, and knows what was there.
            (Some(Status::Erased), _) => {
                let Some(erased) = &redaction.erased else { continue };
                let (to_follow_up, taken_for_gone) = (erased.at + ABOUT_TO_FOLLOW_UP, erased.at + ABOUT_TO_CERTIFY);
                if now < taken_for_gone {
                    let is_left = now < to_follow_up;
                    if !is_left
                        && !erased.is_of_shop()
                        && let Err(error) = follow_up(database, shop, &id, erased).await
                    {
                        tracing::error!(%shop, redaction = id, error = &error as &dyn std::error::Error, "a redaction failed");
                        failed = Some(error);
                    }
                    let then = if is_left { to_follow_up } else { taken_for_gone };
                    next = next.into_iter().chain([then]).min();
                    continue;
                }
            }
            _ => {}
        }
        // One that fails holds up no other.
        match run(database, shop, &id, &redaction, signing, now).await {
            Ok(()) => {}
            // A hold is on a person, however often and under whichever number they are asked for: it is looked at under the
            // log's lock, and its release makes its own work.
            Err(StoreError::Refused(reason)) if reason.downcast_ref() == Some(&RedactionError::Held) => {
                tracing::info!(%shop, redaction = id, "a legal hold is in the way");
            }
            Err(error) => {
                tracing::error!(%shop, redaction = id, error = &error as &dyn std::error::Error, "a redaction failed");
                failed = Some(error);
            }
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

/// Since when redactions of the shop are to be done: the last of those instants. `None`: none is.
///
/// # Errors
/// [`StoreError`].
pub async fn due_since(tx: &mut ShopTx, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
    let waiting = open(tx).await?.into_iter().filter(|(_, redaction)| redaction.status() == Some(Status::Waiting));
    Ok(waiting.filter_map(|(_, redaction)| redaction.due_at()).filter(|due| *due <= now).max())
}

/// Whether a shop has redactions that are neither cancelled nor certified, or exports that are not gone.
///
/// # Errors
/// [`StoreError`].
pub async fn has_open(tx: &mut ShopTx) -> Result<bool, StoreError> {
    Ok(!open(tx).await?.is_empty() || !export::kept(tx).await?.is_empty())
}
