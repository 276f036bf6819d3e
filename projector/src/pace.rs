//! How soon after a small batch the same work of a shop is taken up again. A shop that is told a lot has its deliveries come
//! together into larger batches: fewer transactions and flushes, which everybody else's requests would wait behind.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use domain::ShopId;

use crate::claim::Candidate;

/// Nobody sees it in a figure that is 250 ms old at most.
const REST: Duration = Duration::from_millis(20);

/// What was worked on within the last moment.
#[derive(Default)]
pub struct Pace(Mutex<HashMap<(ShopId, String), Instant>>);

impl Pace {
    /// How long this work is still to rest.
    pub fn rest_of(&self, candidate: &Candidate) -> Option<Duration> {
        let lately = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let worked = lately.get(&(candidate.shop, candidate.kind.clone()))?;
        REST.checked_sub(worked.elapsed()).filter(|rest| !rest.is_zero())
    }

    /// Notes a batch that took everything there was.
    pub fn rest(&self, candidate: &Candidate) {
        let mut lately = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lately.retain(|_, worked| worked.elapsed() < REST);
        lately.insert((candidate.shop, candidate.kind.clone()), Instant::now());
    }
}
