//! Whether a shop's log is what was written: every hash recomputed, every position and sequence counted, and the whole
//! compared with what was signed of it.

use std::collections::{HashMap, VecDeque};

use domain::ShopId;

use crate::{Checkpoint, Database, GENESIS, StoreError, StoredEvent};

/// Events of one look.
const PAGE: i64 = 1000;
/// Histories whose counts are remembered, and as many again: more would take more memory for a longer log.
const REMEMBERED: usize = 500_000;
/// Checkpoints of one look.
const CHECKPOINTS: i64 = 500;

/// The outcome of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many good events there are before whatever is wrong.
    pub events: i64,
    /// The hash of the last good one.
    pub hash: [u8; 32],
    /// Signed checkpoints that were compared with the log.
    pub checkpoints: u64,
    /// Those of them whose signature could not be checked, since their key was not at hand.
    pub unchecked_signatures: u64,
    /// The first thing that is wrong.
    pub fault: Option<Fault>,
}

impl Verified {
    /// The hash of the last good event, in hex.
    #[must_use]
    pub fn hash_hex(&self) -> String {
        hex::encode(self.hash)
    }
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
    /// The chain holds and is another one than was signed.
    #[error("the log is not the one that was signed: something was rewritten after position {0}")]
    Rewritten(i64),
    /// More was signed than there is.
    #[error("events are missing here: the log was signed up to position {0}")]
    CutOff(i64),
    /// A checkpoint is not of the key that it names.
    #[error("the checkpoint of this position was not signed by the key that it names")]
    Forged,
}

/// What a log is compared with, beside itself and its stored checkpoints.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Public keys: id, and 32 bytes in base64.
    pub keys: Vec<(String, String)>,
    /// Checkpoints that were kept elsewhere.
    pub anchors: Vec<Checkpoint>,
}

/// Goes along a log, event by event, without a database.
pub(crate) struct Checker {
    shop: ShopId,
    keys: Vec<(String, String)>,
    pub(crate) verified: Verified,
    /// The last position that was signed and is as it was.
    signed: i64,
    sequences: Sequences,
}

impl Checker {
    pub(crate) fn new(shop: ShopId, keys: Vec<(String, String)>) -> Self {
        let verified = Verified { events: 0, hash: GENESIS, checkpoints: 0, unchecked_signatures: 0, fault: None };
        Self { shop, keys, verified, signed: 0, sequences: Sequences::remembering(REMEMBERED) }
    }

    /// Takes the next event; `false` once something is wrong.
    pub(crate) fn take(&mut self, event: &StoredEvent) -> bool {
        let expected = self.verified.events + 1;
        let hash = event.link(self.shop).hash(&self.verified.hash);
        let kind = match () {
            () if event.position != expected => Some(FaultKind::Missing),
            () if hash.as_slice() != event.hash => Some(FaultKind::Changed),
            () if !self.sequences.goes_on(event) => Some(FaultKind::OutOfSequence),
            () => None,
        };
        if let Some(kind) = kind {
            return self.fault(expected, kind);
        }
        self.verified.hash = hash;
        self.verified.events = expected;
        true
    }

    /// Compares the log as it is so far with what was signed of it here, or of a later position that it does not have.
    pub(crate) fn compare(&mut self, checkpoint: &Checkpoint) -> bool {
        let events = self.verified.events;
        let key = self.keys.iter().find(|(id, _)| *id == checkpoint.key_id);
        if key.is_some_and(|(_, key)| checkpoint.shop != self.shop || !checkpoint.is_genuine(key)) {
            return self.fault(checkpoint.position.min(events + 1), FaultKind::Forged);
        }
        self.verified.checkpoints += 1;
        self.verified.unchecked_signatures += u64::from(key.is_none());
        if checkpoint.position > events {
            return self.fault(events + 1, FaultKind::CutOff(checkpoint.position));
        }
        if checkpoint.hash != self.verified.hash_hex() {
            return self.fault(checkpoint.position, FaultKind::Rewritten(self.signed));
        }
        self.signed = checkpoint.position;
        true
    }

    pub(crate) fn fault(&mut self, position: i64, kind: FaultKind) -> bool {
        self.verified.fault = Some(Fault { position, kind });
        false
    }
}

/// A verification under way: page by page, so that whoever looks can be told how far it is and can leave at any time.
pub struct Verification {
    database: Database,
    shop: ShopId,
    /// What is looked at next.
    page: Vec<StoredEvent>,
    /// Lent to a thread of its own while that looks at a page.
    along: Option<Box<Along>>,
    /// Events that were looked at, and those that there were at the beginning.
    progress: (i64, i64),
}

/// What goes along the log.
struct Along {
    checker: Checker,
    /// As it was at the beginning.
    head: (i64, Vec<u8>),
    /// Checkpoints that were kept elsewhere and are still ahead, in order.
    anchors: VecDeque<Checkpoint>,
    /// Of those that are stored, the next ones.
    stored: VecDeque<Checkpoint>,
    /// Up to this position they were read; once all were, there is no end to it.
    stored_up_to: i64,
}

impl Along {
    /// `false` once something is wrong.
    fn look_at(&mut self, page: &[StoredEvent]) -> bool {
        page.iter().all(|event| {
            let before = self.checker.verified.hash;
            if !self.checker.take(event) {
                return false;
            }
            if event.position == self.head.0 && event.hash != self.head.1 {
                self.checker.verified.events -= 1;
                self.checker.verified.hash = before;
                return self.checker.fault(event.position, FaultKind::Head);
            }
            [&mut self.anchors, &mut self.stored].into_iter().all(|ahead| {
                while let Some(checkpoint) = ahead.pop_front_if(|next| next.position <= event.position) {
                    if !self.checker.compare(&checkpoint) {
                        return false;
                    }
                }
                true
            })
        })
    }

    /// Reads the stored checkpoints up to a position.
    async fn read_checkpoints(&mut self, database: &Database, shop: ShopId, up_to: i64) -> Result<(), StoreError> {
        while self.stored_up_to < up_to {
            let mut tx = database.begin(shop).await?;
            let page = tx.checkpoints_after(self.stored_up_to, CHECKPOINTS).await?;
            tx.commit().await?;
            let is_full = i64::try_from(page.len()).is_ok_and(|count| count == CHECKPOINTS);
            // Those that come later are of a later verification, unless they are of more than there is.
            self.stored_up_to = page.last().filter(|_| is_full).map_or(i64::MAX, |last| last.position);
            self.stored.extend(page);
        }
        Ok(())
    }
}

impl Verification {
    /// Begins at the log's first event.
    ///
    /// # Errors
    /// [`StoreError::NoSuchShop`] or [`StoreError::Unavailable`].
    pub async fn begin(database: &Database, shop: ShopId, trust: Trust) -> Result<Self, StoreError> {
        let mut tx = database.begin(shop).await?;
        let head = sqlx::query!("SELECT position, hash FROM heads WHERE shop_id = $1", shop.0)
            .fetch_optional(&mut *tx)
            .await?
            .ok_or(StoreError::NoSuchShop(shop))?;
        let page = tx.events_after(0, PAGE).await?;
        tx.commit().await?;
        let mut anchors: Vec<Checkpoint> = trust.anchors.into_iter().filter(|anchor| anchor.position > 0).collect();
        anchors.sort_by_key(|anchor| anchor.position);
        let along = Along {
            checker: Checker::new(shop, trust.keys),
            head: (head.position, head.hash),
            anchors: anchors.into(),
            stored: VecDeque::new(),
            stored_up_to: 0,
        };
        Ok(Self { database: database.clone(), shop, page, along: Some(Box::new(along)), progress: (0, head.position) })
    }

    /// How many events were looked at, and how many there were at the beginning.
    #[must_use]
    pub fn progress(&self) -> (i64, i64) {
        self.progress
    }

    /// Looks at a page; the outcome, once there is one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]. A log that is wrong is an outcome, not an error.
    pub async fn step(&mut self) -> Result<Option<Verified>, StoreError> {
        let mut along = self.along.take().ok_or_else(|| StoreError::Refused("it has ended".into()))?;
        let page = std::mem::take(&mut self.page);
        let Some(last) = page.last().map(|last| last.position) else { return self.end(along).await };
        along.read_checkpoints(&self.database, self.shop, last).await?;
        let looking = tokio::task::spawn_blocking(move || (along.look_at(&page), along));
        // The next page is on its way meanwhile.
        let (looked, next) = tokio::join!(looking, read(&self.database, self.shop, last));
        let (is_good, along) = looked.map_err(|fault| StoreError::Refused(fault.into()))?;
        self.progress.0 = along.checker.verified.events;
        if !is_good {
            return Ok(Some(along.checker.verified));
        }
        self.page = next?;
        self.along = Some(along);
        Ok(None)
    }

    async fn end(&mut self, mut along: Box<Along>) -> Result<Option<Verified>, StoreError> {
        let events = along.checker.verified.events;
        let mut tx = self.database.begin(self.shop).await?;
        let later = tx.checkpoints_after(events, 1).await?;
        // Read after the checkpoints: what one of them is of was there before it.
        let news = tx.events_after(events, PAGE).await?;
        let (head, _) = tx.head().await?;
        tx.commit().await?;
        if !news.is_empty() {
            self.page = news;
            self.along = Some(along);
            return Ok(None);
        }
        let beyond: Vec<Checkpoint> = along.anchors.drain(..).chain(later).collect();
        if !beyond.iter().all(|checkpoint| along.checker.compare(checkpoint)) {
            return Ok(Some(along.checker.verified));
        }
        // Events may have been appended since the head was read, never taken away.
        if events < along.head.0 || (along.head.0 == 0 && along.head.1 != GENESIS) {
            along.checker.fault(events + 1, FaultKind::Head);
        } else if events > head {
            // Whatever stands behind the head as it is now was not written by an append.
            along.checker.fault(head + 1, FaultKind::Head);
        }
        Ok(Some(along.checker.verified))
    }
}

async fn read(database: &Database, shop: ShopId, after: i64) -> Result<Vec<StoredEvent>, StoreError> {
    let mut tx = database.begin(shop).await?;
    let page = tx.events_after(after, PAGE).await?;
    tx.commit().await?;
    Ok(page)
}

/// Reads a shop's whole log, calling `progress` with the number of events so far. Signatures are not checked: nobody says
/// whose would be good.
///
/// # Errors
/// [`StoreError::NoSuchShop`] or [`StoreError::Unavailable`]. A log that is wrong is an outcome, not an error.
pub async fn verify(database: &Database, shop: ShopId, progress: impl FnMut(i64)) -> Result<Verified, StoreError> {
    verify_with(database, shop, Trust::default(), progress).await
}

/// The same, compared with what is trusted.
///
/// # Errors
/// As [`verify`].
pub async fn verify_with(
    database: &Database,
    shop: ShopId,
    trust: Trust,
    mut progress: impl FnMut(i64),
) -> Result<Verified, StoreError> {
    let mut verification = Verification::begin(database, shop, trust).await?;
    loop {
        if let Some(verified) = verification.step().await? {
            return Ok(verified);
        }
        progress(verification.progress().0);
    }
}

/// The last sequence of each history that was heard of lately.
struct Sequences {
    most: usize,
    recent: HashMap<u64, i64>,
    before: HashMap<u64, i64>,
    /// Histories were forgotten: one that is not known may be one of them.
    has_forgotten: bool,
}

impl Sequences {
    fn remembering(most: usize) -> Self {
        Self { most, recent: HashMap::new(), before: HashMap::new(), has_forgotten: false }
    }

    /// Whether the event is the next one of its history; of one that was forgotten it is taken at its word, which is chained.
    fn goes_on(&mut self, event: &StoredEvent) -> bool {
        let history = fingerprint(&event.aggregate_type, &event.aggregate_id);
        let last = self.recent.get(&history).or_else(|| self.before.get(&history)).copied();
        if self.recent.len() >= self.most && !self.recent.contains_key(&history) {
            self.has_forgotten |= !self.before.is_empty();
            self.before = std::mem::take(&mut self.recent);
        }
        self.recent.insert(history, event.sequence);
        match last {
            Some(last) => event.sequence == last + 1,
            None => event.sequence == 1 || self.has_forgotten,
        }
    }
}

fn fingerprint(aggregate_type: &str, aggregate_id: &str) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::hash::DefaultHasher::new();
    (aggregate_type, aggregate_id).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn event(id: usize, sequence: i64) -> StoredEvent {
        StoredEvent {
            position: 1,
            recorded_at: DateTime::UNIX_EPOCH,
            aggregate_type: "order".to_owned(),
            aggregate_id: id.to_string(),
            sequence,
            event_type: String::new(),
            event_version: String::new(),
            payload: String::new(),
            metadata: String::new(),
            hash: Vec::new(),
        }
    }

    #[test]
    fn histories_that_were_heard_of_lately_are_counted_and_no_more_are_remembered_than_are_to_be() {
        let mut sequences = Sequences::remembering(10);
        assert!(sequences.goes_on(&event(1, 1)) && sequences.goes_on(&event(1, 2)) && !sequences.goes_on(&event(1, 2)));
        assert!(!sequences.goes_on(&event(2, 2)), "it has no first one");
        for id in 3..100 {
            assert!(sequences.goes_on(&event(id, 1)));
            assert!(sequences.recent.len() <= 10 && sequences.before.len() <= 10);
        }
        assert!(sequences.goes_on(&event(98, 2)) && !sequences.goes_on(&event(99, 3)));
        assert!(sequences.goes_on(&event(1, 3)), "it is not known any more");
    }
}
