//! What the workers count.

use std::{sync::LazyLock, time::Duration};

use event_store::{PROJECT, StoreError};
use ingest::{INGEST, REDACT};
use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};
use read_models::PROJECTIONS;

use crate::claim::REBUILD;

/// Kinds of work as labels know them. A newer build's kinds are `other`.
pub(crate) const KINDS: [&str; 5] = [INGEST, PROJECT, REBUILD, REDACT, "other"];

struct Counters {
    folded: Counter,
    failed: Counter,
    events: Counter,
    duration: Histogram,
    parked: Counter,
}

static COUNTERS: LazyLock<Counters> = LazyLock::new(|| {
    describe_counter!("projection_batches_total", "Batches of events for the live read models");
    describe_counter!("projection_events_total", "Events that were folded into the live read models");
    describe_histogram!("projection_batch_duration_seconds", "Of a batch, from its claim to its commit");
    describe_counter!("projections_parked_total", "Times that read models stopped at an event they cannot digest");
    describe_counter!("rebuilds_total", "Rebuilds by read model and outcome");
    describe_counter!("work_put_off_total", "Times that work failed and is tried again later");
    for (projection, _) in PROJECTIONS {
        for outcome in ["switched", "compared", "failed"] {
            counter!("rebuilds_total", "projection" => projection, "outcome" => outcome).increment(0);
        }
    }
    for kind in KINDS {
        for reason in ["conflict", "unavailable", "newer", "fault"] {
            counter!("work_put_off_total", "kind" => kind, "reason" => reason).increment(0);
        }
    }
    Counters {
        folded: counter!("projection_batches_total", "outcome" => "folded"),
        failed: counter!("projection_batches_total", "outcome" => "failed"),
        events: counter!("projection_events_total"),
        duration: histogram!("projection_batch_duration_seconds"),
        parked: counter!("projections_parked_total"),
    }
});

/// Makes the counters be there before the first batch.
pub fn register_metrics() {
    LazyLock::force(&COUNTERS);
}

/// A batch that was committed.
pub(crate) fn count_folded(events: u64, took: Duration) {
    COUNTERS.folded.increment(1);
    COUNTERS.events.increment(events);
    COUNTERS.duration.record(took);
}

/// A batch that was given up.
pub(crate) fn count_failed() {
    COUNTERS.failed.increment(1);
}

/// Read models of a shop that stopped.
pub(crate) fn count_parked() {
    COUNTERS.parked.increment(1);
}

/// A rebuild's end. Rare, so it looks its counter up.
pub(crate) fn count_rebuild(name: &str, outcome: &'static str) {
    if let Some((projection, _)) = PROJECTIONS.iter().find(|(projection, _)| *projection == name) {
        counter!("rebuilds_total", "projection" => *projection, "outcome" => outcome).increment(1);
    }
}

/// Work that failed, by what is the matter.
pub(crate) fn count_put_off(kind: &str, error: &StoreError) {
    let reason = match error {
        StoreError::Conflict(_) => "conflict",
        StoreError::Unavailable(_) => "unavailable",
        StoreError::Newer { .. } => "newer",
        _ => "fault",
    };
    counter!("work_put_off_total", "kind" => kind_label(kind), "reason" => reason).increment(1);
}

/// Never a text of the database: labels are bounded.
pub(crate) fn kind_label(kind: &str) -> &'static str {
    KINDS.into_iter().find(|known| *known == kind).unwrap_or("other")
}
