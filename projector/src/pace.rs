//! How soon after a small batch the same work of a shop is taken up again. A shop that is told a lot has its deliveries come
//! together into larger batches: fewer transactions and flushes, which everybody else's requests would wait behind.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use domain::ShopId;

use crate::claim::Candidate;

/// Nobody sees it in a figure that is 250 ms old at most.
const REST: Duration = Duration::from_millis(20);

/// What this process works on, and has worked on within the last moment.
#[derive(Default)]
pub struct Pace(Mutex<HashMap<(ShopId, String), State>>);

enum State {
    /// By another task of this process.
    InHand,
    /// Until then.
    Resting(Instant),
}

/// Whether work is to be taken up.
pub enum Turn<'a> {
    /// It is the caller's, until this is dropped.
    Yours(InHand<'a>),
    /// Another task has it.
    Taken,
    /// It rests for so long.
    Rests(Duration),
}

impl Pace {
    /// Takes up work, unless it rests or is in somebody's hand. Other processes are kept out by the shop's lock: this
    /// spares asking the database for it.
    pub fn take_up(&self, candidate: &Candidate) -> Turn<'_> {
        let work = (candidate.shop, candidate.kind.clone());
        let mut states = self.states();
        match states.get(&work) {
            Some(State::InHand) => return Turn::Taken,
            Some(State::Resting(until)) => {
                let rest = until.saturating_duration_since(Instant::now());
                if !rest.is_zero() {
                    return Turn::Rests(rest);
                }
            }
            None => {}
        }
        states.insert(work.clone(), State::InHand);
        Turn::Yours(InHand { pace: self, work, rest: None })
    }

    fn states(&self) -> MutexGuard<'_, HashMap<(ShopId, String), State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work in the hand of a task.
pub struct InHand<'a> {
    pace: &'a Pace,
    work: (ShopId, String),
    rest: Option<Duration>,
}

impl InHand<'_> {
    /// Lets go of it after a batch that took everything there was.
    pub fn rest(mut self) {
        self.rest = Some(REST);
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        let mut states = self.pace.states();
        let now = Instant::now();
        states.remove(&self.work);
        states.retain(|_, state| {
            matches!(state, State::InHand) || matches!(state, State::Resting(until) if *until > now)
        });
        if let Some(rest) = self.rest {
            states.insert(self.work.clone(), State::Resting(now + rest));
        }
    }
}
