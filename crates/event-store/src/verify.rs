//! Whether a shop's log is what was written: every hash recomputed, every position and sequence counted.

use std::collections::HashMap;

use domain::ShopId;
use futures::TryStreamExt;

use crate::{Database, GENESIS, StoreError, events};

/// The outcome of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many events were looked at.
    pub events: i64,
    /// The hash of the last good one.
    pub hash: [u8; 32],
    /// The first thing that is wrong.
    pub fault: Option<Fault>,
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The first bad position.
    pub position: i64,
    /// What is wrong with it.
    pub kind: FaultKind,
}

/// What can be wrong with a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// The next stored position is a later one.
    #[error("events are missing here")]
    Missing,
    /// A column or the hash was changed, or the row belongs elsewhere.
    #[error("the event is not the one that was written")]
    Changed,
    /// The aggregate's own count does not go on.
    #[error("the event is out of its aggregate's order")]
    OutOfSequence,
    /// The head says that there are more events, or other ones.
    #[error("the head does not match the last event")]
    Head,
}

/// Reads a shop's whole log, calling `progress` with the number of events so far.
///
/// # Errors
/// [`StoreError::NoSuchShop`] or [`StoreError::Unavailable`]. A log that is wrong is an outcome, not an error.
pub async fn verify(database: &Database, shop: ShopId, mut progress: impl FnMut(i64)) -> Result<Verified, StoreError> {
    let mut tx = database.begin(shop).await?;
    let head = sqlx::query!("SELECT position, hash FROM heads WHERE shop_id = $1", shop.0)
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(StoreError::NoSuchShop(shop))?;
    tx.commit().await?;

    let mut verified = Verified { events: 0, hash: GENESIS, fault: None };
    // The count of each aggregate: a number each, whatever the length of the log.
    let mut sequences: HashMap<u64, i64> = HashMap::new();
    // To the end of what is stored, so that a row put in behind the head is seen too.
    let mut log = events(database, shop, 0, i64::MAX);
    while let Some(event) = log.try_next().await? {
        let expected = verified.events + 1;
        let sequence = sequences.entry(fingerprint(&event.aggregate_type, &event.aggregate_id)).or_insert(0);
        *sequence += 1;
        let hash = event.link(shop).hash(&verified.hash);
        let kind = match () {
            () if event.position != expected => Some(FaultKind::Missing),
            () if hash.as_slice() != event.hash => Some(FaultKind::Changed),
            () if event.sequence != *sequence => Some(FaultKind::OutOfSequence),
            () if event.position == head.position && hash.as_slice() != head.hash => Some(FaultKind::Head),
            () => None,
        };
        if let Some(kind) = kind {
            verified.fault = Some(Fault { position: expected, kind });
            return Ok(verified);
        }
        verified.hash = hash;
        verified.events = expected;
        progress(expected);
    }
    // Events may have been appended since the head was read, never taken away.
    if verified.events < head.position || (head.position == 0 && head.hash != GENESIS) {
        verified.fault = Some(Fault { position: verified.events + 1, kind: FaultKind::Head });
    }
    // Whatever stands behind the head as it is now was not written by an append.
    let mut tx = database.begin(shop).await?;
    let (position, _) = tx.head().await?;
    tx.commit().await?;
    if verified.fault.is_none() && verified.events > position {
        verified.fault = Some(Fault { position: position + 1, kind: FaultKind::Head });
    }
    Ok(verified)
}

fn fingerprint(aggregate_type: &str, aggregate_id: &str) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::hash::DefaultHasher::new();
    (aggregate_type, aggregate_id).hash(&mut hasher);
    hasher.finish()
}
