//! States of aggregates kept beside their histories, so that what a command reads does not grow with the log.
//!
//! A snapshot is written in the transaction of the append that makes a history 100 events longer than the last one: the
//! state is at hand there and is what the log holds at its head, so nothing is read for it, no queue has to be worked
//! off, and it is there exactly if its events are. It is no truth of its own: it is sealed, bound to the event it stands
//! at and to the version of the fold that made it, and one that is of no use is made anew by the next append to its
//! history. Verification, replays and the folds of read models are made of events alone.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
};

use domain::{ShopId, Snapshot};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use vault::{ShopKey, SnapshotOf};

use crate::{
    StoreError, StreamId,
    command::AnyState,
    metrics::{SealedThing, opened},
};

/// A history this much longer than its snapshot gets a new one.
pub(crate) const EVERY: i64 = 100;

/// The version of a state's form and of the fold that made it: a digest of what this build makes of the samples of every
/// version of every event. So it is another one whenever a state of another build might not be what this one would make.
pub(crate) fn state_version<A: Snapshot>() -> i64 {
    static KNOWN: LazyLock<Mutex<HashMap<&'static str, i64>>> = LazyLock::new(Mutex::default);
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(A::TYPE).copied();
    known.unwrap_or_else(|| {
        let mut hasher = Sha256::new();
        hasher.update(A::FOLD.to_be_bytes());
        for state in A::sample_states() {
            let state = serde_json::to_vec(&state).expect("the state of a sample has a JSON form");
            hasher.update((state.len() as u64).to_be_bytes());
            hasher.update(state);
        }
        let digest: [u8; 32] = hasher.finalize().into();
        let version = i64::from_be_bytes(*digest.first_chunk().expect("longer"));
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(A::TYPE, version);
        version
    })
}

/// Snapshots as `load_aggregates` returns them, column by column.
pub(crate) struct Stored {
    /// Of which of the streams that were asked for, from 1.
    pub streams: Vec<i64>,
    pub sequences: Vec<i64>,
    pub hashes: Vec<Vec<u8>>,
    pub state_versions: Vec<i64>,
    pub sealed: Vec<Vec<u8>>,
    /// Streams whose log has the event that a snapshot of this build stands at, with that hash.
    pub fitting: Vec<i64>,
}

/// What came of looking at a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restored {
    /// The state is that of the snapshot.
    Yes,
    /// Written by a build that folds otherwise.
    OtherBuild,
    /// Not what was written, or not of this log.
    Unfit(&'static str),
}

impl Stored {
    /// Makes one the state of its stream, if it is of this log and of this build.
    pub(crate) fn restore(&self, index: usize, id: &StreamId, key: &ShopKey, state: &mut dyn AnyState) -> Restored {
        let of = SnapshotOf {
            aggregate_type: id.aggregate_type,
            aggregate_id: &id.aggregate_id,
            sequence: self.sequences[index],
            hash: &self.hashes[index],
            state_version: self.state_versions[index],
        };
        let Ok(json) = opened(SealedThing::Snapshot, key.open_snapshot(&of, &self.sealed[index])) else {
            return Restored::Unfit("it is not what was written");
        };
        match () {
            () if of.state_version != state.version() => Restored::OtherBuild,
            () if !self.fitting.contains(&self.streams[index]) => {
                Restored::Unfit("the log has another event where it stands")
            }
            () if state.restore(&json).is_err() => Restored::Unfit("it is not a state"),
            () => Restored::Yes,
        }
    }
}

/// Snapshots to be written, column by column, as `UNNEST` takes them.
#[derive(Default)]
pub(crate) struct Due {
    aggregate_types: Vec<String>,
    aggregate_ids: Vec<String>,
    sequences: Vec<i64>,
    hashes: Vec<Vec<u8>>,
    state_versions: Vec<i64>,
    sealed: Vec<Vec<u8>>,
}

impl Due {
    /// Adds a state. One that cannot be written is left out: its history is there all the same.
    pub(crate) fn add(
        &mut self,
        key: &ShopKey,
        shop: ShopId,
        stream: &StreamId,
        sequence: i64,
        hash: [u8; 32],
        state: &dyn AnyState,
    ) {
        let state_version = state.version();
        let (aggregate_type, aggregate_id) = (stream.aggregate_type, &*stream.aggregate_id);
        let of = SnapshotOf { aggregate_type, aggregate_id, sequence, hash: &hash, state_version };
        // A personal value in the clear refuses to be serialised.
        let sealed = state.to_json().map_err(|error| error.to_string());
        match sealed.map(|json| key.seal_snapshot(&of, &json)) {
            Ok(sealed) => {
                self.aggregate_types.push(aggregate_type.to_owned());
                self.aggregate_ids.push(aggregate_id.to_owned());
                self.sequences.push(sequence);
                self.hashes.push(hash.to_vec());
                self.state_versions.push(state_version);
                self.sealed.push(sealed);
            }
            Err(error) => tracing::warn!(%shop, %stream, sequence, error, "a snapshot cannot be made"),
        }
    }

    /// Writes them in place of older ones. The caller holds the shop's head, so none of them is older than what is there.
    pub(crate) async fn write(&self, connection: &mut PgConnection, shop: ShopId) -> Result<(), StoreError> {
        if self.sequences.is_empty() {
            return Ok(());
        }
        sqlx::query!(
            "INSERT INTO snapshots (shop_id, aggregate_type, aggregate_id, sequence, hash, state_version, sealed)
             SELECT $1, * FROM UNNEST($2::text[], $3::text[], $4::bigint[], $5::bytea[], $6::bigint[], $7::bytea[])
             ON CONFLICT ON CONSTRAINT snapshots_pkey DO UPDATE
             SET sequence = excluded.sequence, hash = excluded.hash, state_version = excluded.state_version,
                 sealed = excluded.sealed",
            shop.0,
            &self.aggregate_types,
            &self.aggregate_ids,
            &self.sequences,
            &self.hashes,
            &self.state_versions,
            &self.sealed,
        )
        .execute(connection)
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use cqrs_es::{Aggregate, event_sink::EventSink};
    use domain::inventory::{InventoryEvent, InventoryItem};
    use serde::{Deserialize, Serialize};

    use super::*;

    /// An aggregate that counts events of an inventory item.
    macro_rules! counting {
        ($name:ident { $field:ident }, $fold:literal, $counts:pat) => {
            #[derive(Default, Serialize, Deserialize)]
            struct $name {
                $field: u32,
            }

            impl Aggregate for $name {
                const TYPE: &'static str = stringify!($name);
                type Command = ();
                type Event = InventoryEvent;
                type Error = Infallible;
                type Services = ();

                async fn handle(&mut self, (): (), (): &(), _: &EventSink<Self>) -> Result<(), Infallible> {
                    Ok(())
                }

                fn apply(&mut self, event: InventoryEvent) {
                    self.$field += u32::from(matches!(event, $counts));
                }
            }

            impl Snapshot for $name {
                const FOLD: u32 = $fold;
                const SAMPLES: &'static str = InventoryItem::SAMPLES;
            }
        };
    }

    counting!(Counts { number }, 1, InventoryEvent::StockCounted { .. });
    counting!(CountsLikewise { number }, 1, InventoryEvent::StockCounted { .. });
    counting!(NamesItOtherwise { count }, 1, InventoryEvent::StockCounted { .. });
    counting!(CountsOthers { number }, 1, InventoryEvent::ItemUpdated { .. });
    counting!(SaysThatItIsOther { number }, 2, InventoryEvent::StockCounted { .. });

    #[test]
    fn another_form_or_fold_is_another_version() {
        let ours = state_version::<Counts>();
        assert_eq!(ours, state_version::<Counts>());
        assert_eq!(ours, state_version::<CountsLikewise>());
        assert_ne!(ours, state_version::<NamesItOtherwise>());
        // As many of them are in the samples: which one it was is told by the states after each alone.
        assert_ne!(ours, state_version::<CountsOthers>());
        assert_ne!(ours, state_version::<SaysThatItIsOther>());
    }
}
