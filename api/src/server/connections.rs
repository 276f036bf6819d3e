//! Which connections there are, and which of them gives way when there is no room.
//!
//! A flood holds connections and asks for nothing. So when all places are taken, the connection that has gone longest
//! without a complete request is closed for the new one. When all are being answered or have only just come, new ones are
//! told to come again, but for `/health`: that the process lives must be seen exactly then, or it is restarted for being
//! busy. Whoever asks at once gets an answer either way.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

/// A connection that has just come has its chance to ask, as long as there is any room.
const GRACE: Duration = Duration::from_secs(1);
/// For `/health`, and for telling others to come again.
const RESERVE: usize = 64;

/// All that are open.
#[derive(Debug)]
pub struct Connections {
    open: Mutex<HashMap<u64, Arc<Activity>>>,
    capacity: usize,
    began: Instant,
    next: AtomicU64,
}

/// How far a connection is with its requests.
#[derive(Debug, Default)]
pub struct Activity {
    /// Since when, in milliseconds, it owes a request.
    waiting_since: AtomicU64,
    /// Requests that have come completely.
    received: AtomicU64,
    answered: AtomicU64,
    asked: AtomicU64,
    /// Asks it to end at once.
    pub evicted: CancellationToken,
}

/// A connection's place, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    id: u64,
    connections: Arc<Connections>,
    /// Of this connection.
    pub activity: Arc<Activity>,
    /// There is no room: only `/health` is answered.
    pub is_spare: bool,
}

impl Connections {
    /// For so many at once.
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), capacity, began: Instant::now(), next: AtomicU64::new(0) })
    }

    /// A place for a new connection, if need be that of another.
    pub fn admit(self: &Arc<Self>) -> Option<Place> {
        let now = self.now_ms();
        let mut open = self.lock();
        let (is_full, is_crowded) = (open.len() >= self.capacity, open.len() >= self.capacity + RESERVE);
        let longest = if is_full { longest_waiting(&open, now) } else { None };
        let had_its_chance = longest.is_some_and(|(_, waited)| waited >= GRACE);
        match longest {
            Some((id, _)) if had_its_chance || is_crowded => {
                if let Some(activity) = open.remove(&id) {
                    activity.evicted.cancel();
                }
            }
            _ if is_crowded => return None,
            _ => {}
        }
        let activity = Arc::new(Activity { waiting_since: AtomicU64::new(now), ..Activity::default() });
        let id = self.next.fetch_add(1, Relaxed);
        open.insert(id, Arc::clone(&activity));
        drop(open);
        let is_spare = is_full && !had_its_chance;
        Some(Place { id, connections: Arc::clone(self), activity, is_spare })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Activity>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn longest_waiting(open: &HashMap<u64, Arc<Activity>>, now_ms: u64) -> Option<(u64, Duration)> {
    let waiting = open.iter().filter(|(_, activity)| !activity.is_being_answered());
    let (id, activity) = waiting.min_by_key(|(_, activity)| activity.waiting_since.load(Relaxed))?;
    let waited_ms = now_ms.saturating_sub(activity.waiting_since.load(Relaxed));
    Some((*id, Duration::from_millis(waited_ms)))
}

impl Activity {
    /// So many requests have come completely.
    pub fn received(&self, requests: u64) {
        self.received.store(requests, Relaxed);
    }

    /// A request's head is understood, and it is worked on.
    pub fn asked(&self) {
        self.asked.fetch_add(1, Relaxed);
    }

    /// How many requests were worked on, if none is now.
    pub fn settled(&self) -> Option<u64> {
        let asked = self.asked.load(Relaxed);
        (asked == self.answered.load(Relaxed)).then_some(asked)
    }

    /// A client that is slow to send or to read does not count: it keeps itself waiting.
    fn is_being_answered(&self) -> bool {
        self.received.load(Relaxed) > self.answered.load(Relaxed)
    }
}

impl Place {
    /// The answer to a request is ready.
    pub fn answered(&self) {
        self.activity.waiting_since.store(self.connections.now_ms(), Relaxed);
        self.activity.answered.fetch_add(1, Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long_ago(place: &Place) {
        place.activity.waiting_since.store(0, Relaxed);
    }

    #[test]
    fn without_room_whoever_waited_longest_gives_way() {
        let began = Instant::now() - 2 * GRACE;
        let connections = Arc::new(Connections { open: Mutex::default(), capacity: 2, began, next: AtomicU64::new(0) });
        let [first, second] = [(); 2].map(|()| connections.admit().expect("there is room"));
        let spare = connections.admit().expect("for /health");
        assert!(spare.is_spare && !first.is_spare && !second.is_spare);
        drop(spare);

        long_ago(&first);
        let third = connections.admit().expect("the first one's place");
        assert!(!third.is_spare && first.activity.evicted.is_cancelled() && !second.activity.evicted.is_cancelled());
        drop(first); // takes nobody else's place away

        // Whoever is being answered stays, and there are only so many spare places.
        for place in [&second, &third] {
            long_ago(place);
            place.activity.received(2);
        }
        let spare: Vec<Place> = (0..RESERVE).filter_map(|_| connections.admit()).collect();
        assert!(spare.len() == RESERVE && spare.iter().all(|place| place.is_spare));
        // One that has only just come gives way to the next, unless it is being answered.
        let next = connections.admit().expect("another's spare place");
        assert!(next.is_spare && spare.iter().filter(|place| place.activity.evicted.is_cancelled()).count() == 1);
        spare.iter().chain([&next]).for_each(|place| place.activity.received(1));
        assert!(connections.admit().is_none());
        second.answered();
        second.answered();
        long_ago(&second);
        assert!(!connections.admit().expect("the second one's place").is_spare);
    }
}
