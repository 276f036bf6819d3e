//! The workers: deliveries into events, events into read models, rebuilds.
//!
//! Any number of workers cooperate without a leader: each claims one shop's work of one kind by locking that shop's
//! checkpoint row, does a bounded batch in one transaction, and lets go. What they were told to do stands in the work
//! queue; a wake-up is only a hint.

mod checkpoint;
mod claim;
mod fleet;
mod fold;
mod metrics;
mod pace;
mod project;
mod rebuild;
mod settle;
mod worker;

use event_store::{Database, PROJECT, StoreError};
use ingest::INGEST;

pub use fleet::{Backlog, ModelBacklog, backlog, watch_fleet};
pub use metrics::register_metrics;
pub use rebuild::{Comparison, RebuildOptions, Rebuilt, rebuild};
pub use settle::settle_deliveries;
pub use worker::{Worker, WorkerOptions, work_on};

/// Looks for work as a worker does, and does none of it: how many shops have any.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn look_for_work(database: &Database) -> Result<usize, StoreError> {
    Ok(claim::candidates(database, &[INGEST, PROJECT], uuid::Uuid::nil(), worker::CANDIDATES).await?.candidates.len())
}
