//! Turns at what takes long.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use domain::ShopId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ApiError;

/// A few at once, and one of each shop: however many a shop asks for, another shop waits for one of them at most.
pub struct Turns {
    of_all: Arc<Semaphore>,
    /// Of those that have one or wait.
    of_shops: Mutex<HashMap<ShopId, Weak<Semaphore>>>,
}

/// Given back when it is dropped.
pub(crate) struct Turn {
    _of_all: OwnedSemaphorePermit,
    _of_shop: OwnedSemaphorePermit,
}

impl Turns {
    /// So many at once.
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        Self { of_all: Arc::new(Semaphore::new(at_once)), of_shops: Mutex::default() }
    }

    fn of_shop(&self, shop: ShopId) -> Arc<Semaphore> {
        let mut of_shops = self.of_shops.lock().unwrap_or_else(PoisonError::into_inner);
        of_shops.retain(|_, known| known.strong_count() > 0);
        let known = of_shops.get(&shop).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let new = Arc::new(Semaphore::new(1));
            of_shops.insert(shop, Arc::downgrade(&new));
            new
        })
    }

    /// Waits for one.
    pub(crate) async fn take(&self, shop: ShopId) -> Result<Turn, ApiError> {
        let closed = |_| ApiError::Unavailable(None);
        // First among the shop's own: only one of them waits beside others.
        let of_shop = self.of_shop(shop).acquire_owned().await.map_err(closed)?;
        let of_all = Arc::clone(&self.of_all).acquire_owned().await.map_err(closed)?;
        Ok(Turn { _of_all: of_all, _of_shop: of_shop })
    }

    /// One, if there is one now; otherwise whoever asks comes again.
    pub(crate) fn try_take(&self, shop: ShopId) -> Result<Turn, ApiError> {
        let taken = |_| ApiError::Unavailable(None);
        let of_shop = self.of_shop(shop).try_acquire_owned().map_err(taken)?;
        let of_all = Arc::clone(&self.of_all).try_acquire_owned().map_err(taken)?;
        Ok(Turn { _of_all: of_all, _of_shop: of_shop })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;
    use uuid::Uuid;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_shop_that_asks_for_many_is_waited_for_once() {
        let turns = Arc::new(Turns::new(2));
        let (greedy, other, third) =
            (ShopId(Uuid::from_u128(1)), ShopId(Uuid::from_u128(2)), ShopId(Uuid::from_u128(3)));
        let first = turns.take(greedy).await.unwrap();
        let many: Vec<_> = (0..50)
            .map(|_| {
                let turns = Arc::clone(&turns);
                tokio::spawn(async move { turns.take(greedy).await.map(drop) })
            })
            .collect();
        tokio::time::sleep(SOON).await;
        assert!(turns.try_take(greedy).is_err());
        let second = timeout(SOON, turns.take(other)).await.expect("at once").unwrap();
        assert!(turns.try_take(third).is_err() && timeout(SOON, turns.take(third)).await.is_err(), "two at once");
        drop(first);
        timeout(SOON, turns.take(third)).await.expect("behind one of the many").unwrap();
        drop(second);
        for one in many {
            one.await.unwrap().unwrap();
        }
    }
}
