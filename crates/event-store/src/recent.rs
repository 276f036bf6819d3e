//! Single commands, each durable on its own, decided on what this process knows of the log.
//!
//! What the log held at a head is true for as long as the head stands there. So a command is decided without a lock on
//! what is known from a moment ago, and appended on the condition that the head has not moved: one round trip. Where a
//! shop is known but not a history, the history is taken for new, and the append looks whether it is. If either fails, the
//! command is decided again on what the log holds under its lock.

use std::{
    collections::HashMap,
    panic::resume_unwind,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::{Command, ShopId};

use crate::{
    Appended, Database, Envelope, Metadata, StoreError,
    append::{Basis, Deciding, Lock, Wanted},
    metrics::{COUNTERS, count},
};

/// How long wrapped keys and histories are kept.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// Histories kept of one shop.
const STREAMS: usize = 64;
/// Shops kept.
const SHOPS: usize = 64;

/// What single commands leave behind for the next.
pub(crate) struct Recent {
    logs: Mutex<HashMap<ShopId, Basis>>,
    /// Commands to one shop take turns, instead of making each other decide again. Several shops may share a turn.
    turns: Vec<tokio::sync::Mutex<()>>,
}

impl Default for Recent {
    fn default() -> Self {
        let turns = (0..512).map(|_| tokio::sync::Mutex::default()).collect();
        Self { logs: Mutex::default(), turns }
    }
}

impl Recent {
    async fn turn(&self, shop: ShopId) -> tokio::sync::MutexGuard<'_, ()> {
        let place = shop.0.as_u128() % self.turns.len() as u128;
        self.turns[usize::try_from(place).expect("less than their number")].lock().await
    }

    /// Whoever takes it puts back what it has become, or nothing: what failed is not known any more.
    fn take(&self, shop: ShopId) -> Option<Basis> {
        locked(&self.logs).remove(&shop).filter(|basis| basis.age() < KEPT_FOR)
    }

    fn put(&self, shop: ShopId, basis: Basis) {
        let mut logs = locked(&self.logs);
        logs.retain(|_, basis| basis.age() < KEPT_FOR);
        if logs.len() < SHOPS && basis.streams() <= STREAMS {
            logs.insert(shop, basis);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Database {
    /// Executes one command in a transaction of its own. When this returns, what it made is durable.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Unavailable`] leaves open whether it was executed.
    pub async fn execute(&self, shop: ShopId, command: Command, metadata: Metadata) -> Result<Appended, StoreError> {
        // In a task of its own: if the caller goes away, the command keeps its turn until its outcome is known.
        let database = self.clone();
        let done = tokio::spawn(async move { database.execute_in_turn(shop, command, metadata).await }).await;
        done.unwrap_or_else(|error| resume_unwind(error.into_panic()))
    }

    async fn execute_in_turn(
        &self,
        shop: ShopId,
        command: Command,
        metadata: Metadata,
    ) -> Result<Appended, StoreError> {
        let _turn = self.recent().turn(shop).await;
        if let Some(appended) = self.try_execute(shop, Envelope::new(command.clone(), metadata.clone())).await? {
            return Ok(appended);
        }
        let mut tx = self.begin(shop).await?;
        let appended = tx.execute(vec![Envelope::new(command, metadata)]).await?;
        tx.commit().await?;
        Ok(appended[0])
    }

    /// Without a lock. `None` leaves it to the log under its lock: somebody else wrote, what was taken for new is not, what
    /// is known here may be why the command was refused or told nothing new, a snapshot is to be written with it, or the
    /// database could not be asked. An error is an append of which nobody knows whether it took place.
    async fn try_execute(&self, shop: ShopId, mut command: Envelope) -> Result<Option<Appended>, StoreError> {
        let wanted = Wanted::by(std::slice::from_mut(&mut command));
        let Ok(mut connection) = self.connections().acquire().await else { return Ok(None) };
        let known = match self.recent().take(shop) {
            Some(known) => Some(known.with_new(&wanted)),
            None => Basis::load(&mut connection, shop, self.ring(), &wanted, Lock::Nothing).await.ok(),
        };
        let Some(mut basis) = known else { return Ok(None) };
        let decided = Deciding::begin(&mut basis, shop, self.ring(), &wanted).and_then(|mut to| to.decide_one(command));
        let Ok((appended, news)) = decided else { return Ok(None) };
        if news.is_empty() || basis.is_snapshot_due() {
            return Ok(None);
        }
        match news.append(&mut connection, shop).await {
            Ok(true) => {}
            Ok(false) => {
                COUNTERS.head_conflicts.increment(1);
                return Ok(None);
            }
            Err(error) if error.leaves_open() => return Err(error),
            Err(_) => return Ok(None),
        }
        COUNTERS.commands_direct.increment(1);
        COUNTERS.events_appended.increment(count(appended.events));
        self.recent().put(shop, basis);
        self.connections().give_back(connection);
        Ok(Some(appended))
    }
}
