//! The log as cqrs-es's `PersistedEventRepository`.

use std::sync::Arc;

use cqrs_es::{
    Aggregate,
    persist::{PersistedEventRepository, PersistenceError, ReplayStream, SerializedEvent, SerializedSnapshot},
};
use futures::lock::Mutex;
use serde_json::Value;

use crate::{ShopTx, StoreError, StoredEvent};

/// One shop's events inside the caller's transaction. Reading serves cqrs-es's tools; writing goes through
/// [`ShopTx::execute`] alone, because an event without its place in the chain is none.
#[derive(Clone)]
pub struct ShopEvents(Arc<Mutex<ShopTx>>);

impl ShopEvents {
    /// Over a transaction, which comes back by [`Self::into_tx`].
    #[must_use]
    pub fn new(tx: ShopTx) -> Self {
        Self(Arc::new(Mutex::new(tx)))
    }

    /// The transaction, once no clone of this is left.
    #[must_use]
    pub fn into_tx(self) -> Option<ShopTx> {
        Arc::into_inner(self.0).map(Mutex::into_inner)
    }

    async fn history(&self, aggregate_type: &str, id: &str) -> Result<Vec<SerializedEvent>, PersistenceError> {
        let events = self.0.lock().await.histories(aggregate_type, &[id.to_owned()], i64::MAX).await;
        events.map_err(unknown)?.into_iter().map(serialized).collect()
    }
}

fn serialized(event: StoredEvent) -> Result<SerializedEvent, PersistenceError> {
    Ok(SerializedEvent {
        aggregate_id: event.aggregate_id,
        sequence: usize::try_from(event.sequence).map_err(|error| PersistenceError::UnknownError(error.into()))?,
        aggregate_type: event.aggregate_type,
        event_type: event.event_type,
        event_version: event.event_version,
        payload: serde_json::from_str(&event.payload)?,
        metadata: serde_json::from_str(&event.metadata)?,
    })
}

fn unknown(error: StoreError) -> PersistenceError {
    match error {
        StoreError::Conflict(_) => PersistenceError::OptimisticLockError,
        StoreError::Unavailable(source) => PersistenceError::ConnectionError(Box::new(source)),
        other => PersistenceError::UnknownError(Box::new(other)),
    }
}

/// Why cqrs-es may not write here.
#[derive(Debug, thiserror::Error)]
#[error("events are appended by a batch of commands only")]
struct AppendOnlyByBatch;

impl PersistedEventRepository for ShopEvents {
    async fn get_events<A: Aggregate>(&self, aggregate_id: &str) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.history(A::TYPE, aggregate_id).await
    }

    async fn get_last_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
        last_sequence: usize,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        let mut events = self.history(A::TYPE, aggregate_id).await?;
        events.retain(|event| event.sequence > last_sequence);
        Ok(events)
    }

    /// None for it: cqrs-es 0.5.0 applies events twice to what it snapshots. Ours serve commands and [`ShopTx::load`].
    async fn get_snapshot<A: Aggregate>(&self, _: &str) -> Result<Option<SerializedSnapshot>, PersistenceError> {
        Ok(None)
    }

    async fn persist<A: Aggregate>(
        &self,
        _: &[SerializedEvent],
        _: Option<(String, Value, usize)>,
    ) -> Result<(), PersistenceError> {
        Err(PersistenceError::UnknownError(Box::new(AppendOnlyByBatch)))
    }

    async fn stream_events<A: Aggregate>(&self, aggregate_id: &str) -> Result<ReplayStream, PersistenceError> {
        let events = self.history(A::TYPE, aggregate_id).await?;
        let (mut feed, stream) = ReplayStream::new(events.len().max(1));
        for event in events {
            feed.push(Ok(event)).await?;
        }
        Ok(stream)
    }

    /// Not here: cqrs-es's replay has no position, no resumption and no way to say that it was cut short.
    async fn stream_all_events<A: Aggregate>(&self) -> Result<ReplayStream, PersistenceError> {
        Err(PersistenceError::UnknownError(Box::new(AppendOnlyByBatch)))
    }
}
