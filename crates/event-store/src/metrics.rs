//! What is counted about the log. A handle is taken once, so that counting is one addition, and no work at all in a
//! process that nobody asks for its metrics.

use std::sync::LazyLock;

use metrics::{Counter, counter, describe_counter};
use vault::VaultError;

/// Counters of the log and its database.
pub(crate) struct Counters {
    pub events_appended: Counter,
    pub commands_direct: Counter,
    pub commands_locked: Counter,
    pub head_conflicts: Counter,
    pub acquire_timeouts: Counter,
    /// By [`SealedThing`].
    refused: [Counter; SealedThing::LABELS.len()],
}

pub(crate) static COUNTERS: LazyLock<Counters> = LazyLock::new(|| {
    describe_counter!("events_appended_total", "Events that this process added to the log, once committed");
    describe_counter!("commands_total", "Commands decided: direct on what was known, or under the head's lock");
    describe_counter!("head_conflicts_total", "Single commands whose head had moved, and that were decided again");
    describe_counter!("database_acquire_timeouts_total", "Times that no connection of the pool was free in time");
    describe_counter!("sealed_refused_total", "Times that something sealed did not open where it stood");
    Counters {
        events_appended: counter!("events_appended_total"),
        commands_direct: counter!("commands_total", "way" => "direct"),
        commands_locked: counter!("commands_total", "way" => "locked"),
        head_conflicts: counter!("head_conflicts_total"),
        acquire_timeouts: counter!("database_acquire_timeouts_total"),
        refused: SealedThing::LABELS.map(|what| counter!("sealed_refused_total", "what" => what)),
    }
});

/// Makes the counters be there before the first is counted: what is missing cannot be told from what is zero. To be called
/// after the recorder is installed and before anything else.
pub fn register_metrics() {
    LazyLock::force(&COUNTERS);
}

/// What is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealedThing {
    /// Wrapped under the master ring.
    ShopKey,
    /// Wrapped under a shop's key.
    SubjectKey,
    /// A personal value in an event.
    Value,
    /// Of a delivery.
    Body,
    /// Of an aggregate.
    Snapshot,
}

impl SealedThing {
    const LABELS: [&str; 5] = ["shop_key", "subject_key", "value", "body", "snapshot"];
}

/// Counts what was refused because it was changed, cut or moved, or sealed under a key that is not at hand.
///
/// # Errors
/// The one that it was given.
pub fn opened<T>(what: SealedThing, outcome: Result<T, VaultError>) -> Result<T, VaultError> {
    if matches!(outcome, Err(VaultError::DoesNotOpen | VaultError::UnknownKey(_))) {
        COUNTERS.refused[what as usize].increment(1);
    }
    outcome
}

/// A number of things as counters take it.
pub(crate) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
