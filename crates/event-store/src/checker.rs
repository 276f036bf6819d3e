//! What is looked at in a log, event by event and checkpoint by checkpoint, wherever they come from.

use std::collections::{HashMap, VecDeque};

use domain::ShopId;

use crate::{Checkpoint, GENESIS, StoredEvent};

/// Histories whose counts are remembered, and as many again: more would take more memory for a longer log.
const REMEMBERED: usize = 500_000;

/// The outcome of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many good events there are before whatever is wrong; with [`FaultKind::UnknownKey`], how many there are.
    pub events: i64,
    /// The hash of the last good one.
    pub hash: [u8; 32],
    /// Signed checkpoints that were compared with the log.
    pub checkpoints: u64,
    /// Up to this position the log is what a key that is known has signed; 0 where there is no such signature.
    pub signed_up_to: i64,
    /// Checkpoints of keys that are not known here: compared, but their signatures could not be checked.
    pub unchecked_signatures: u64,
    /// The id of the first such key.
    pub unknown_key: Option<String>,
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
    /// A checkpoint is as the log, and nobody here knows the key that it names: whoever wrote the log anew may have made both.
    #[error("the checkpoint of this position is signed by a key that is not known here, so it proves nothing")]
    UnknownKey,
}

/// What a log is compared with, beside itself and its stored checkpoints.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Public keys: id, and 32 bytes in base64.
    pub keys: Vec<(String, String)>,
    /// Checkpoints that were kept elsewhere.
    pub anchors: Vec<Checkpoint>,
    /// Stored checkpoints of other keys are only compared: somebody knows that they prove nothing. Otherwise they are a fault.
    pub accepts_unknown_keys: bool,
}

/// Why a checkpoint that was kept elsewhere is none that a log could be compared with.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// Of another log.
    #[error("the checkpoint of position {0} is of another shop")]
    OtherShop(i64),
    /// Of a key that is not among those that are known.
    #[error("the checkpoint of position {0} is signed by key {1}: give it by --public-key")]
    UnknownKey(i64, String),
    /// Changed since.
    #[error("the checkpoint of position {0} is not what key {1} signed")]
    Forged(i64, String),
}

impl Trust {
    /// Whether each anchor is of the shop, and of a key that is known.
    ///
    /// # Errors
    /// [`AnchorError`], of the first one that is not.
    pub fn check_anchors(&self, shop: ShopId) -> Result<(), AnchorError> {
        for anchor in &self.anchors {
            let (position, key) = (anchor.position, || anchor.key_id.clone());
            match anchor.is_signed_by(&self.keys) {
                _ if anchor.shop != shop => return Err(AnchorError::OtherShop(position)),
                None => return Err(AnchorError::UnknownKey(position, key())),
                Some(false) => return Err(AnchorError::Forged(position, key())),
                Some(true) => {}
            }
        }
        Ok(())
    }
}

/// Goes along a log, event by event, without a database.
pub(crate) struct Checker {
    shop: ShopId,
    keys: Vec<(String, String)>,
    /// Those that are still ahead, in order.
    anchors: VecDeque<Checkpoint>,
    accepts_unknown_keys: bool,
    /// Of the first checkpoint that could not be checked.
    unknown_at: Option<i64>,
    pub(crate) verified: Verified,
    sequences: Sequences,
}

impl Checker {
    /// Before the first event.
    pub(crate) fn new(shop: ShopId, trust: Trust) -> Self {
        let mut anchors: Vec<Checkpoint> = trust.anchors.into_iter().filter(|anchor| anchor.position > 0).collect();
        anchors.sort_by_key(|anchor| anchor.position);
        let verified = Verified {
            events: 0,
            hash: GENESIS,
            checkpoints: 0,
            signed_up_to: 0,
            unchecked_signatures: 0,
            unknown_key: None,
            fault: None,
        };
        Self {
            shop,
            keys: trust.keys,
            anchors: anchors.into(),
            accepts_unknown_keys: trust.accepts_unknown_keys,
            unknown_at: None,
            verified,
            sequences: Sequences::remembering(REMEMBERED),
        }
    }

    /// Behind what is signed, and is not looked at again: the counts of histories go on from what their next events say.
    pub(crate) fn behind(&mut self, signed: &Checkpoint) {
        self.verified.events = signed.position;
        self.verified.hash = signed.hash_bytes();
        self.verified.signed_up_to = signed.position;
        self.sequences.has_forgotten = true;
    }

    /// Takes the next event, and compares the anchor that is of it; `false` once something is wrong.
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
        while let Some(anchor) = self.anchors.pop_front_if(|next| next.position <= expected) {
            if !self.compare(&anchor) {
                return false;
            }
        }
        true
    }

    /// Compares the log as it is so far with what was signed of it here, or of a later position that it does not have.
    pub(crate) fn compare(&mut self, checkpoint: &Checkpoint) -> bool {
        let events = self.verified.events;
        let is_genuine = checkpoint.is_signed_by(&self.keys);
        if is_genuine.is_some_and(|is_genuine| checkpoint.shop != self.shop || !is_genuine) {
            return self.fault(checkpoint.position.min(events + 1), FaultKind::Forged);
        }
        self.verified.checkpoints += 1;
        if is_genuine.is_none() {
            self.verified.unchecked_signatures += 1;
            self.verified.unknown_key.get_or_insert_with(|| checkpoint.key_id.clone());
            self.unknown_at.get_or_insert(checkpoint.position);
        }
        if checkpoint.position > events {
            return self.fault(events + 1, FaultKind::CutOff(checkpoint.position));
        }
        if checkpoint.hash != self.verified.hash_hex() {
            return self.fault(checkpoint.position, FaultKind::Rewritten(self.verified.signed_up_to));
        }
        if is_genuine.is_some() {
            self.verified.signed_up_to = checkpoint.position;
        }
        true
    }

    /// At the log's end: compares it with anchors and checkpoints of more than there is.
    pub(crate) fn compare_beyond(&mut self, later: &[Checkpoint]) -> bool {
        let anchors: Vec<Checkpoint> = self.anchors.drain(..).collect();
        anchors.iter().chain(later).all(|checkpoint| self.compare(checkpoint))
    }

    pub(crate) fn fault(&mut self, position: i64, kind: FaultKind) -> bool {
        self.verified.fault = Some(Fault { position, kind });
        false
    }

    /// The outcome. That nobody knows who signed is told where nothing worse is wrong.
    pub(crate) fn outcome(mut self) -> Verified {
        if let Some(position) = self.unknown_at.filter(|_| !self.accepts_unknown_keys && self.verified.fault.is_none())
        {
            self.fault(position, FaultKind::UnknownKey);
        }
        self.verified
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
