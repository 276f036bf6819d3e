//! The count of this process alone.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Mutex,
    time::{Duration, Instant},
};

use governor::{
    RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::HashMapStateStore,
};

use super::{Counted, Decision, Quota};

/// Whoever is counted beyond them shares a count with others: a flood from many addresses fills no memory.
const MAX_KEYS: usize = 100_000;
const SHARED_COUNTS: u64 = 4096;
/// Those that have all of their quota again are forgotten so often.
const TIDY: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    One(Counted),
    Some(u64),
}

type Limiter = RateLimiter<Key, HashMapStateStore<Key>, DefaultClock, StateInformationMiddleware>;

pub struct Local {
    quota: Quota,
    limiter: Limiter,
    clock: DefaultClock,
    tidied: Mutex<Instant>,
}

impl Local {
    pub fn new(quota: Quota) -> Self {
        let burst = quota.per_minute.max(1).try_into().expect("at least 1");
        let rate = governor::Quota::with_period(quota.interval()).expect("longer than nothing").allow_burst(burst);
        let limiter = RateLimiter::hashmap(rate).with_middleware::<StateInformationMiddleware>();
        Self { quota, limiter, clock: DefaultClock::default(), tidied: Mutex::new(Instant::now()) }
    }

    pub fn quota(&self) -> Quota {
        self.quota
    }

    pub fn count(&self, who: Counted) -> Decision {
        self.tidy();
        let key = if self.limiter.len() < MAX_KEYS { Key::One(who) } else { Key::Some(place(who)) };
        let limit = self.quota.per_minute;
        match self.limiter.check_key(&key) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                Decision { is_allowed: true, limit, remaining, wait: Duration::ZERO }
            }
            Err(until) => {
                Decision { is_allowed: false, limit, remaining: 0, wait: until.wait_time_from(self.clock.now()) }
            }
        }
    }

    fn tidy(&self) {
        // Whoever holds it is at it already.
        let Ok(mut tidied) = self.tidied.try_lock() else { return };
        if tidied.elapsed() >= TIDY {
            self.limiter.retain_recent();
            *tidied = Instant::now();
        }
    }
}

fn place(who: Counted) -> u64 {
    let mut hasher = DefaultHasher::new();
    who.hash(&mut hasher);
    hasher.finish() % SHARED_COUNTS
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    #[test]
    fn a_flood_of_addresses_does_not_grow_without_bound() {
        let local = Local::new(Quota { per_minute: 1 });
        for address in 0..u32::try_from(MAX_KEYS).unwrap() + 20_000 {
            local.count(Counted::Client(IpAddr::V4(Ipv4Addr::from_bits(address))));
        }
        assert!(local.limiter.len() <= MAX_KEYS + usize::try_from(SHARED_COUNTS).unwrap(), "{}", local.limiter.len());
    }
}
