//! The loop: look for work, do a batch, look again.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use event_store::{Database, PROJECT, StoreError};
use futures::FutureExt;
use ingest::{DirectoryEntry, INGEST, Ingested};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    claim::{Candidate, Claim, candidates, claim, lock},
    fold::OrderCache,
    project::{park, project, stale_projections},
    rebuild::{REBUILD, RebuildOptions, rebuild},
};

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Shops worked on at the same time by this process.
    pub concurrency: usize,
    /// The longest wait before looking for work again.
    pub poll: Duration,
    /// How long settled bodies are kept, in days; 0 lets them go at once.
    pub body_retention_days: i32,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self { concurrency: 2, poll: Duration::from_millis(100), body_retention_days: 30 }
    }
}

/// Works on whatever is due, until it is told to stop. Any number may run, in any number of processes.
pub struct Worker {
    database: Database,
    options: WorkerOptions,
    /// A hint that there is work, from the same process.
    wake: Arc<Notify>,
}

impl Worker {
    /// A worker that looks when it is woken, and every now and then.
    #[must_use]
    pub fn new(database: Database, options: WorkerOptions, wake: Arc<Notify>) -> Self {
        Self { database, options, wake }
    }

    /// Runs until `stop`; a batch that has begun is finished first.
    pub async fn run(self, stop: CancellationToken) {
        let worker = Arc::new(self);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..worker.options.concurrency.max(1) {
            tasks.spawn(Arc::clone(&worker).work(stop.clone()));
        }
        tasks.spawn(Arc::clone(&worker).keep_house(stop.clone()));
        tasks.join_all().await;
    }

    async fn work(self: Arc<Self>, stop: CancellationToken) {
        let mut cache = OrderCache::with_capacity(10_000);
        let mut failures = 0_u32;
        while !stop.is_cancelled() {
            let wait = match self.work_once(&mut cache).await {
                Ok(true) => {
                    failures = 0;
                    continue;
                }
                Ok(false) => {
                    failures = 0;
                    self.options.poll
                }
                Err(error) => {
                    failures = (failures + 1).min(6);
                    tracing::warn!(error = &error as &dyn std::error::Error, "work was put off");
                    Duration::from_millis(50) * 2_u32.pow(failures)
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified(), if failures == 0 => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Does one batch of whatever waits longest and is free. `false`: nothing was to do.
    async fn work_once(&self, cache: &mut OrderCache) -> Result<bool, StoreError> {
        for candidate in candidates(&self.database, 16).await? {
            if candidate.kind == REBUILD {
                if self.rebuild_stale(&candidate).await? {
                    return Ok(true);
                }
                continue;
            }
            let Some(mut claim) = claim(&self.database, &candidate).await? else {
                continue;
            };
            match candidate.kind.as_str() {
                INGEST => self.ingest(claim, &candidate).await?,
                PROJECT => match guarded(project(&mut claim, cache)).await {
                    Ok(()) => claim.commit().await?,
                    Err(error) => self.put_off_projection(claim, &candidate, error).await?,
                },
                other => {
                    // A newer build's kind of work: it is for that build.
                    tracing::debug!(kind = other, "a kind of work that this build does not know");
                    continue;
                }
            }
            return Ok(true);
        }
        Ok(false)
    }

    async fn ingest(&self, mut claim: Claim, candidate: &Candidate) -> Result<(), StoreError> {
        let entry = ingest::find_by_id(&mut claim.tx, candidate.shop).await?;
        let Some(entry) = entry.filter(|entry| !entry.is_paused) else {
            claim.settle(None).await?; // resuming makes its own work
            return claim.commit().await;
        };
        let failure = match guarded(ingest::ingest(&mut claim.tx, &entry, ingest::BATCH)).await {
            Ok(ingested) => {
                // A delivery that was put off has made its own row, due when it is.
                claim.settle(ingested.is_full.then_some(0.0)).await?;
                claim.commit().await?;
                report(candidate, ingested);
                if ingested.events > 0 {
                    self.wake.notify_waiters();
                }
                return Ok(());
            }
            Err(error @ (StoreError::Unavailable(_) | StoreError::Conflict(_))) => {
                return Err(error);
            }
            Err(error @ StoreError::Newer { .. }) => {
                drop(claim);
                return self.put_off(candidate, 5.0, &error).await;
            }
            Err(error) => error,
        };
        drop(claim);
        tracing::warn!(shop = %candidate.shop, error = &failure as &dyn std::error::Error, "a batch failed: one by one");
        self.ingest_one_by_one(candidate, &entry).await
    }

    /// Finds the delivery of a batch that cannot be stored: it is put off, the others are not held up.
    async fn ingest_one_by_one(&self, candidate: &Candidate, entry: &DirectoryEntry) -> Result<(), StoreError> {
        for _ in 0..ingest::BATCH {
            let Some(mut tx) = lock(&self.database, candidate.shop, INGEST).await? else {
                return Ok(());
            };
            match guarded(ingest::ingest(&mut tx, entry, 1)).await {
                Ok(ingested) => {
                    tx.commit().await?;
                    report(candidate, ingested);
                    if ingested.deliveries == 0 {
                        break;
                    }
                }
                Err(error @ (StoreError::Unavailable(_) | StoreError::Conflict(_) | StoreError::Newer { .. })) => {
                    return Err(error);
                }
                Err(error) => {
                    drop(tx);
                    let Some(mut tx) = lock(&self.database, candidate.shop, INGEST).await? else {
                        return Ok(());
                    };
                    ingest::put_off_first(&mut tx, &error).await?;
                    tx.commit().await?;
                }
            }
        }
        Ok(())
    }

    async fn put_off_projection(
        &self,
        claim: Claim,
        candidate: &Candidate,
        error: StoreError,
    ) -> Result<(), StoreError> {
        drop(claim);
        match error {
            StoreError::Unavailable(_) | StoreError::Conflict(_) => Err(error),
            // Deploys overlap: the newer build is at work already, and this one waits for its end.
            StoreError::Newer { .. } => self.put_off(candidate, 5.0, &error).await,
            error => {
                tracing::error!(shop = %candidate.shop, error = &error as &dyn std::error::Error, "projection parked");
                if let Some(mut claim) = crate::claim::claim(&self.database, candidate).await? {
                    park(&mut claim, &error).await?;
                    claim.commit().await?;
                }
                Ok(())
            }
        }
    }

    async fn put_off(&self, candidate: &Candidate, seconds: f64, error: &StoreError) -> Result<(), StoreError> {
        tracing::info!(shop = %candidate.shop, kind = candidate.kind, error = error as &dyn std::error::Error, "waiting");
        if let Some(mut claim) = crate::claim::claim(&self.database, candidate).await? {
            claim.settle(Some(seconds)).await?;
            claim.commit().await?;
        }
        Ok(())
    }

    /// Rebuilds what stands in another zone than the shop. `false`: another worker is at it.
    async fn rebuild_stale(&self, candidate: &Candidate) -> Result<bool, StoreError> {
        let Some(mut claim) = claim(&self.database, candidate).await? else {
            return Ok(false);
        };
        let stale = stale_projections(&mut claim.tx).await?;
        // Left in the queue until all is done: whoever finds the row after a crash goes on.
        claim.settle(if stale.is_empty() { None } else { Some(10.0) }).await?;
        claim.commit().await?;
        for name in stale {
            let options = RebuildOptions { projection: name.to_owned(), check_only: false };
            let rebuilt = rebuild(&self.database, candidate.shop, options, |_, _| {}).await?;
            tracing::info!(shop = %candidate.shop, projection = name, generation = rebuilt.generation, "rebuilt");
        }
        Ok(true)
    }

    /// Lets go of what has been kept long enough.
    async fn keep_house(self: Arc<Self>, stop: CancellationToken) {
        loop {
            if let Err(error) = self.purge().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "old bodies were not purged");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(Duration::from_secs(600)) => {}
            }
        }
    }

    async fn purge(&self) -> Result<(), StoreError> {
        ingest::purge_unclaimed(&self.database).await?;
        let mut fleet = self.database.begin_fleet().await?;
        let shops = ingest::list_shops(&mut fleet).await?;
        fleet.commit().await?;
        for entry in shops {
            let mut tx = self.database.begin(entry.shop).await?;
            ingest::purge_bodies(&mut tx, self.options.body_retention_days).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}

/// A panic is a fault of ours that some event or body brought to light: it is treated as that one's, and the worker lives.
async fn guarded<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    outcome.unwrap_or_else(|_| Err(StoreError::Refused("the work panicked".into())))
}

fn report(candidate: &Candidate, ingested: Ingested) {
    if ingested.dead > 0 {
        tracing::warn!(shop = %candidate.shop, dead = ingested.dead, "deliveries became dead letters");
    }
    tracing::debug!(shop = %candidate.shop, deliveries = ingested.deliveries, events = ingested.events, "ingested");
}
