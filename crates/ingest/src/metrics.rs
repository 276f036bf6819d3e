//! What is counted about deliveries, once it is committed: so whoever commits counts.

use std::sync::LazyLock;

use metrics::{Counter, counter, describe_counter};

use crate::Ingested;

struct Counters {
    translated: Counter,
    ignored: Counter,
    dead: Counter,
    put_off: Counter,
}

static COUNTERS: LazyLock<Counters> = LazyLock::new(|| {
    describe_counter!("deliveries_settled_total", "Deliveries by what became of them");
    describe_counter!("deliveries_put_off_total", "Times that a delivery could not be stored and is tried again later");
    Counters {
        translated: counter!("deliveries_settled_total", "outcome" => "translated"),
        ignored: counter!("deliveries_settled_total", "outcome" => "ignored"),
        dead: counter!("deliveries_settled_total", "outcome" => "dead"),
        put_off: counter!("deliveries_put_off_total"),
    }
});

/// Makes the counters be there before the first delivery.
pub fn register_metrics() {
    LazyLock::force(&COUNTERS);
}

impl Ingested {
    /// Counts a batch that was committed.
    pub fn count(&self) {
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let translated = self.deliveries.saturating_sub(self.dead).saturating_sub(self.ignored);
        COUNTERS.translated.increment(number(translated));
        COUNTERS.ignored.increment(number(self.ignored));
        COUNTERS.dead.increment(number(self.dead));
    }
}

/// Counts a delivery that was put off, or given up.
pub fn count_put_off(is_dead: bool) {
    if is_dead { COUNTERS.dead.increment(1) } else { COUNTERS.put_off.increment(1) }
}
