//! What is counted about the log. A handle is taken once, so that counting is one addition, and no work at all in a
//! process that nobody asks for its metrics.

use std::sync::LazyLock;

use metrics::{Counter, counter, describe_counter};

/// Counters of the log and its database.
pub(crate) struct Counters {
    pub events_appended: Counter,
    pub commands_direct: Counter,
    pub commands_locked: Counter,
    pub head_conflicts: Counter,
    pub acquire_timeouts: Counter,
}

pub(crate) static COUNTERS: LazyLock<Counters> = LazyLock::new(|| {
    describe_counter!("events_appended_total", "Events that this process added to the log, once committed");
    describe_counter!("commands_total", "Commands decided: direct on what was known, or under the head's lock");
    describe_counter!("head_conflicts_total", "Single commands whose head had moved, and that were decided again");
    describe_counter!("database_acquire_timeouts_total", "Times that no connection of the pool was free in time");
    Counters {
        events_appended: counter!("events_appended_total"),
        commands_direct: counter!("commands_total", "way" => "direct"),
        commands_locked: counter!("commands_total", "way" => "locked"),
        head_conflicts: counter!("head_conflicts_total"),
        acquire_timeouts: counter!("database_acquire_timeouts_total"),
    }
});

/// Makes the counters be there before the first is counted: what is missing cannot be told from what is zero. To be called
/// after the recorder is installed and before anything else.
pub fn register_metrics() {
    LazyLock::force(&COUNTERS);
}

/// A number of things as counters take it.
pub(crate) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
