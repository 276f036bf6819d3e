//! Rate limits: per client by its address, per shop by its token, and per client for deliveries whose signature does not
//! fit. A signed delivery is never refused, whatever its address has done before.
//!
//! Each process counts for itself, and asks Redis, where there is one, to count for all of them. What this process alone
//! would refuse needs no question. While Redis is away or slow, each process's own count stands.

mod address;
mod local;
mod shared;

use std::{
    net::IpAddr,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use domain::ShopId;
use metrics::{Counter, counter, describe_counter};
use secrecy::{ExposeSecret, SecretString};
use shopify::signature::sign;

pub use address::{Peer, client_of};
use local::Local;
pub use shared::SharedLimits;

/// How much is allowed. In a minute, and at once: who has not asked for a minute may ask for all of it in one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Requests a minute; 0 sets no limit.
    pub per_minute: u32,
}

impl Quota {
    /// The time that one request takes up.
    fn interval(self) -> Duration {
        Duration::from_micros((60_000_000 / u64::from(self.per_minute.max(1))).max(1))
    }
}

/// The limits of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quotas {
    /// Of one address, whoever it says that it is.
    pub client: Quota,
    /// Of all tokens of one shop.
    pub shop: Quota,
    /// Of one address, for deliveries whose signature is missing or wrong.
    pub forged: Quota,
}

/// Who is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counted {
    /// An address: of IPv6, its /64.
    Client(IpAddr),
    /// A shop.
    Shop(ShopId),
    /// An address that sent a delivery whose signature does not fit.
    Forger(IpAddr),
}

impl Counted {
    fn scope(self) -> usize {
        match self {
            Self::Client(_) => 0,
            Self::Shop(_) => 1,
            Self::Forger(_) => 2,
        }
    }
}

/// What was decided about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// It may pass.
    pub is_allowed: bool,
    /// Requests a minute.
    pub limit: u32,
    /// Requests that would pass right now.
    pub remaining: u32,
    /// Until the next one passes; zero if that is now.
    pub wait: Duration,
}

impl Decision {
    /// Until all of the quota is there again, in whole seconds.
    pub(crate) fn reset_s(&self) -> u64 {
        let spent = u64::from(self.limit.saturating_sub(self.remaining));
        (spent * 60).div_ceil(u64::from(self.limit.max(1)))
    }

    /// In whole seconds, as `Retry-After` has it.
    pub(crate) fn wait_s(&self) -> u64 {
        self.wait.as_secs() + u64::from(self.wait.subsec_nanos() > 0)
    }
}

/// The tightest decision about a request, for the headers of its answer.
#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<Option<Decision>>>);

impl Tally {
    pub(crate) fn note(&self, decision: Decision) {
        let mut tightest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tightest.is_none_or(|known| (decision.is_allowed, decision.remaining) < (known.is_allowed, known.remaining))
        {
            *tightest = Some(decision);
        }
    }

    pub(crate) fn get(&self) -> Option<Decision> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts requests and says which are too many.
pub struct Limits {
    own: [Option<Local>; 3],
    shared: Option<Arc<SharedLimits>>,
    /// Addresses and shops go to Redis as keyed digests: what it holds names nobody.
    key: SecretString,
}

impl Limits {
    /// Limits of this process, shared with others through Redis where there is one. `key` is the same in all of them.
    #[must_use]
    pub fn new(quotas: Quotas, shared: Option<Arc<SharedLimits>>, key: SecretString) -> Self {
        let local = |quota: Quota| (quota.per_minute > 0).then(|| Local::new(quota));
        Self { own: [local(quotas.client), local(quotas.shop), local(quotas.forged)], shared, key }
    }

    /// No limit at all.
    #[must_use]
    pub fn off() -> Self {
        Self::new(Quotas::default(), None, SecretString::default())
    }

    /// Whether Redis is to be asked and is away.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| !shared.is_connected())
    }

    /// Counts one request; `None` where there is no limit.
    pub async fn count(&self, who: Counted) -> Option<Decision> {
        let own = self.own[who.scope()].as_ref()?;
        let mut decision = own.count(who);
        if decision.is_allowed
            && let Some(shared) = &self.shared
        {
            match shared.count(&self.name(who), own.quota()).await {
                Some(of_all) => decision = of_all,
                None => COUNTERS.fallbacks.increment(1),
            }
        }
        if !decision.is_allowed {
            COUNTERS.refused[who.scope()].increment(1);
        }
        Some(decision)
    }

    fn name(&self, who: Counted) -> String {
        let (scope, who) = match who {
            Counted::Client(address) => ("client", address.to_string()),
            Counted::Shop(shop) => ("shop", shop.to_string()),
            Counted::Forger(address) => ("forged", address.to_string()),
        };
        let digest = sign(format!("limit {scope} {who}").as_bytes(), self.key.expose_secret().as_bytes());
        format!("ecomdash:limit:{scope}:{digest}")
    }
}

struct Counters {
    /// By [`Counted::scope`].
    refused: [Counter; 3],
    fallbacks: Counter,
}

static COUNTERS: LazyLock<Counters> = LazyLock::new(|| {
    describe_counter!("rate_limited_requests_total", "Requests that were refused for being too many");
    describe_counter!("rate_limit_fallbacks_total", "Requests counted by this process alone because Redis was away");
    Counters {
        refused: ["client", "shop", "forged"].map(|scope| counter!("rate_limited_requests_total", "scope" => scope)),
        fallbacks: counter!("rate_limit_fallbacks_total"),
    }
});

/// Makes the counters be there before the first request.
pub(crate) fn register_metrics() {
    LazyLock::force(&COUNTERS);
    shared::register_metrics();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(client: u32, shop: u32) -> Limits {
        let quota = |per_minute| Quota { per_minute };
        Limits::new(
            Quotas { client: quota(client), shop: quota(shop), forged: quota(1) },
            None,
            SecretString::default(),
        )
    }

    #[tokio::test]
    async fn a_quota_is_there_at_once_and_then_no_more() {
        let limits = limits(3, 0);
        let one = Counted::Client("192.0.2.1".parse().unwrap());
        for remaining in [2, 1, 0] {
            let decision = limits.count(one).await.unwrap();
            assert_eq!((decision.is_allowed, decision.limit, decision.remaining), (true, 3, remaining));
        }
        let refused = limits.count(one).await.unwrap();
        assert!(!refused.is_allowed && refused.remaining == 0);
        assert!((19..=20).contains(&refused.wait_s()), "{refused:?}");
        assert_eq!(refused.reset_s(), 60);
        assert!(limits.count(Counted::Client("192.0.2.2".parse().unwrap())).await.unwrap().is_allowed, "another's");
        assert!(limits.count(Counted::Forger("192.0.2.1".parse().unwrap())).await.unwrap().is_allowed, "another count");
        assert!(limits.count(Counted::Shop(ShopId(uuid::Uuid::nil()))).await.is_none(), "0 sets no limit");
    }

    #[test]
    fn names_for_redis_show_no_address() {
        let limits = Limits::new(Quotas::default(), None, "a key".into());
        let name = limits.name(Counted::Client("192.0.2.1".parse().unwrap()));
        assert!(name.starts_with("ecomdash:limit:client:") && !name.contains("192.0.2.1"));
        assert_eq!(name, limits.name(Counted::Client("192.0.2.1".parse().unwrap())));
    }

    #[test]
    fn a_tally_keeps_the_tightest() {
        let decision = |is_allowed, remaining| Decision { is_allowed, limit: 9, remaining, wait: Duration::ZERO };
        let tally = Tally::default();
        for next in [decision(true, 5), decision(true, 3), decision(false, 0), decision(true, 0)] {
            tally.note(next);
        }
        assert_eq!(tally.get(), Some(decision(false, 0)));
    }
}
