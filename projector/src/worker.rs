//! The loop: look for work, do a batch, look again.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use compliance::Book;
use domain::ShopId;
use event_store::{Database, PROJECT, StoreError, name_subjects_by_and_by, sign_if_due};
use futures::FutureExt;
use ingest::{INGEST, IngestError, REDACT, enqueue};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vault::SigningKeys;

use crate::{
    checkpoint::stale_projections,
    claim::{Candidate, REBUILD, candidates, claim, forget, make_lock, queued},
    fold::OrderCache,
    metrics::{count_failed, count_folded, count_parked, count_put_off},
    pace::{Pace, Turn},
    project::{BATCH, park, project, unpark},
    rebuild::{RebuildOptions, rebuild},
    settle::{ingest_one_by_one, report, settle_deliveries},
};

/// How many shops a look at the queue sees: more than workers can hold at once, so that a free one is among them.
pub(crate) const CANDIDATES: i64 = 64;

/// Orders that each task keeps between batches: most that is told of an order comes within a short time.
const CACHED_ORDERS: usize = 2_000;
/// How often every shop is visited.
const HOUSEKEEPING: Duration = Duration::from_secs(3600);
/// How soon after the first time: the release before is gone by then.
const AFTER_A_DEPLOY: Duration = Duration::from_secs(300);
/// Nobody waits for a rebuild as for a figure.
const REBUILD_POLL: Duration = Duration::from_secs(1);

/// A redaction is due in days, but for Shopify's, which nobody waits for either.
const REDACT_POLL: Duration = Duration::from_secs(1);

/// For a look at the queue, and for a batch, whose every statement may take a minute. What takes longer hangs on a
/// connection that is dead without being told so.
const LOOK_PATIENCE: Duration = Duration::from_secs(10);
const BATCH_PATIENCE: Duration = Duration::from_secs(90);
/// For a round through every shop.
const HOUSE_PATIENCE: Duration = Duration::from_secs(3600);

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Shops worked on at the same time by this process.
    pub concurrency: usize,
    /// The wait before looking for work again right after there was some. It doubles while there is none.
    pub poll: Duration,
    /// The longest wait.
    pub idle_poll: Duration,
    /// How long settled bodies are kept, in days; 0 lets them go at once.
    pub body_retention_days: i32,
    /// By which receipts of redactions are signed; without, redactions are left to others.
    pub signing: Option<Arc<SigningKeys>>,
    /// Where receipts are kept outside the database.
    pub book: Option<Arc<Book>>,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            concurrency: 2,
            poll: Duration::from_millis(40),
            idle_poll: Duration::from_millis(250),
            body_retention_days: 30,
            signing: None,
            book: None,
        }
    }
}

/// Works on whatever is due, until it is told to stop. Any number may run, in any number of processes.
pub struct Worker {
    database: Database,
    options: WorkerOptions,
    /// A hint that there is work, from the same process.
    wake: Arc<Notify>,
    /// Work of no other shop is looked at.
    only: Option<ShopId>,
    /// Where the next look begins, when the last one did not reach the end.
    from: Mutex<Uuid>,
    pace: Pace,
}

/// What a look for work came to.
enum Found {
    /// A batch was done.
    Work,
    /// All that is due rests for so long.
    Rest(Duration),
    Nothing,
}

/// What a batch came to.
#[derive(PartialEq, Eq)]
enum Batch {
    /// Another worker is at it.
    Held,
    /// It took all there was.
    All,
    /// There is more.
    Full,
}

impl Worker {
    /// A worker that looks when it is woken, and every now and then.
    #[must_use]
    pub fn new(database: Database, options: WorkerOptions, wake: Arc<Notify>) -> Self {
        Self { database, options, wake, only: None, from: Mutex::new(Uuid::nil()), pace: Pace::default() }
    }

    /// Runs until `stop`; a batch that has begun is finished first.
    pub async fn run(self, stop: CancellationToken) {
        let worker = Arc::new(self);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..worker.options.concurrency.max(1) {
            tasks.spawn(Arc::clone(&worker).work(&[INGEST, PROJECT], worker.options.idle_poll, stop.clone()));
        }
        // Apart from the rest: a rebuild takes as long as the shop's log is.
        tasks.spawn(Arc::clone(&worker).work(&[REBUILD], REBUILD_POLL, stop.clone()));
        if worker.options.signing.is_some() {
            tasks.spawn(Arc::clone(&worker).work(&[REDACT], REDACT_POLL, stop.clone()));
        }
        tasks.spawn(Arc::clone(&worker).keep_house(stop.clone()));
        tasks.join_all().await;
    }

    async fn due(&self, kinds: &[&str]) -> Result<Vec<Candidate>, StoreError> {
        match self.only {
            Some(shop) => Ok(kinds.iter().map(|kind| Candidate { shop, kind: (*kind).to_owned() }).collect()),
            None => {
                let from = *self.from.lock().expect("no panic while held");
                let look = candidates(&self.database, kinds, from, CANDIDATES).await?;
                *self.from.lock().expect("no panic while held") = look.next;
                Ok(look.candidates)
            }
        }
    }

    async fn work(self: Arc<Self>, kinds: &'static [&'static str], longest: Duration, stop: CancellationToken) {
        let mut cache = OrderCache::with_capacity(CACHED_ORDERS);
        let mut failures = 0_u32;
        let mut idle = self.options.poll;
        // A rebuild is never what a delivery hints at.
        let is_woken = kinds != [REBUILD] && kinds != [REDACT];
        while !stop.is_cancelled() {
            let wait = match self.work_once(kinds, &mut cache, &stop).await {
                Ok(Found::Work) => {
                    failures = 0;
                    idle = self.options.poll;
                    continue;
                }
                Ok(Found::Rest(rest)) => {
                    // Not to be woken: what has come meanwhile is what is waited for.
                    tokio::time::sleep(rest).await;
                    continue;
                }
                Ok(Found::Nothing) => {
                    failures = 0;
                    let wait = idle;
                    idle = (2 * idle).min(longest.max(self.options.poll));
                    wait
                }
                Err(error) => {
                    failures = (failures + 1).min(6);
                    tracing::warn!(error = &error as &dyn std::error::Error, "no work can be done");
                    Duration::from_millis(50) * 2_u32.pow(failures)
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified(), if is_woken && failures == 0 => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Does one batch of whatever waits longest, is free, and does not rest.
    async fn work_once(
        &self,
        kinds: &[&str],
        cache: &mut OrderCache,
        stop: &CancellationToken,
    ) -> Result<Found, StoreError> {
        let mut resting: Option<Duration> = None;
        for candidate in in_time(LOOK_PATIENCE, self.due(kinds)).await? {
            let in_hand = match self.pace.take_up(&candidate) {
                Turn::Yours(in_hand) => in_hand,
                Turn::Taken => continue,
                Turn::Rests(rest) => {
                    resting = Some(resting.map_or(rest, |other| other.min(rest)));
                    continue;
                }
            };
            let outcome = match candidate.kind.as_str() {
                INGEST => in_time(BATCH_PATIENCE, guarded(self.ingest(&candidate))).await,
                PROJECT => in_time(BATCH_PATIENCE, guarded(self.project(&candidate, cache))).await,
                REDACT => guarded(self.redact(&candidate)).await,
                _ => guarded(self.rebuild_stale(&candidate, stop)).await,
            };
            match outcome {
                Ok(Batch::Held) => {}
                Ok(done) => {
                    if done == Batch::All {
                        in_hand.rest();
                    }
                    return Ok(Found::Work);
                }
                // One shop's trouble is not the others': they are next.
                Err(error) => in_time(LOOK_PATIENCE, self.put_off(&candidate, &error)).await?,
            }
        }
        Ok(resting.map_or(Found::Nothing, Found::Rest))
    }

    /// A shop's next batch of deliveries.
    async fn ingest(&self, candidate: &Candidate) -> Result<Batch, StoreError> {
        let Some(mut claim) = claim(&self.database, candidate).await? else {
            return Ok(Batch::Held);
        };
        let entry = ingest::find_by_id(&mut claim.tx, candidate.shop).await?;
        let Some(entry) = entry.filter(|entry| !entry.is_paused) else {
            claim.settle(None).await?; // resuming makes its own work
            claim.commit().await?;
            return Ok(Batch::All);
        };
        match ingest::ingest(&mut claim.tx, &entry, ingest::BATCH).await {
            Ok(ingested) => {
                // A delivery that was put off has made its own row, due when it is.
                claim.settle(ingested.is_full.then_some(0.0)).await?;
                claim.commit().await?;
                report(candidate.shop, ingested);
                if ingested.events > 0 {
                    self.wake.notify_one();
                }
                if ingested.is_full {
                    return Ok(Batch::Full);
                }
            }
            Err(IngestError::Store(error)) => {
                claim.give_up().await;
                return Err(error);
            }
            Err(error @ IngestError::Deliveries(..)) => {
                claim.give_up().await;
                tracing::warn!(shop = %candidate.shop, error = &error as &dyn std::error::Error, "a batch failed: one by one");
                ingest_one_by_one(&self.database, candidate.shop, &entry).await?;
            }
        }
        Ok(Batch::All)
    }

    /// The next page of a shop's log into its read models.
    async fn project(&self, candidate: &Candidate, cache: &mut OrderCache) -> Result<Batch, StoreError> {
        let began = Instant::now();
        let Some(mut claim) = claim(&self.database, candidate).await? else {
            return Ok(Batch::Held);
        };
        match guarded(project(&mut claim, cache)).await {
            Ok(events) => {
                claim.commit().await?;
                count_folded(events, began.elapsed());
                if events >= BATCH.unsigned_abs() {
                    return Ok(Batch::Full);
                }
            }
            Err(error) => {
                claim.give_up().await;
                count_failed();
                // Whatever is not the event's own fault passes, or is mended outside.
                if !error.blames_the_input() {
                    return Err(error);
                }
                tracing::error!(shop = %candidate.shop, error = &error as &dyn std::error::Error, "projection parked");
                if let Some(mut claim) = crate::claim::claim(&self.database, candidate).await? {
                    park(&mut claim, &error).await?;
                    claim.commit().await?;
                    count_parked();
                }
            }
        }
        Ok(Batch::All)
    }

    /// Tries again later; how much later depends on what is the matter.
    async fn put_off(&self, candidate: &Candidate, error: &StoreError) -> Result<(), StoreError> {
        let seconds = match error {
            StoreError::Conflict(_) => 0.1,
            StoreError::Unavailable(_) => 1.0,
            // Deploys overlap: the newer build is at work already, and this one waits for its end.
            StoreError::Newer { .. } => 5.0,
            _ => 15.0,
        };
        count_put_off(&candidate.kind, error);
        tracing::warn!(shop = %candidate.shop, kind = candidate.kind, error = error as &dyn std::error::Error, "put off");
        if let Some(mut claim) = claim(&self.database, candidate).await? {
            claim.settle(Some(seconds)).await?;
            claim.commit().await?;
        }
        Ok(())
    }

    /// Rebuilds what stands in another zone than the shop, or follows older definitions than this build's.
    async fn rebuild_stale(&self, candidate: &Candidate, stop: &CancellationToken) -> Result<Batch, StoreError> {
        let Some(mut claim) = claim(&self.database, candidate).await? else {
            return Ok(Batch::Held);
        };
        let stale = stale_projections(&mut claim.tx).await?;
        // Left in the queue until all is done: whoever finds the row after a crash goes on. Two that are at it at once
        // take turns, step by step.
        claim.settle(if stale.is_empty() { None } else { Some(60.0) }).await?;
        claim.commit().await?;
        for name in stale {
            let options = RebuildOptions::of(name);
            let rebuilt = tokio::select! {
                rebuilt = rebuild(&self.database, candidate.shop, options, |_, _| {}) => rebuilt?,
                () = stop.cancelled() => return Ok(Batch::Full),
            };
            tracing::info!(shop = %candidate.shop, projection = name, generation = rebuilt.generation, "rebuilt");
        }
        Ok(Batch::Full)
    }

    /// Erases whoever is due in a shop.
    async fn redact(&self, candidate: &Candidate) -> Result<Batch, StoreError> {
        let Some(signing) = &self.options.signing else { return Ok(Batch::Held) };
        let mut tx = self.database.begin(candidate.shop).await?;
        make_lock(&mut tx, REDACT).await?;
        let now = tx.clock().await?;
        tx.commit().await?;
        let Some(mut claim) = claim(&self.database, candidate).await? else {
            return Ok(Batch::Held);
        };
        // Left in the queue until it is done: whoever finds the row after a crash goes on.
        claim.settle(Some(600.0)).await?;
        let known = queued(&mut claim.tx, REDACT).await?;
        let due_since = compliance::due_since(&mut claim.tx, now).await?;
        claim.commit().await?;
        name_subjects_by_and_by(&self.database, candidate.shop).await?;
        let is_settled = match due_since {
            Some(since) => settle_deliveries(&self.database, candidate.shop, since).await?,
            None => true,
        };
        if !is_settled {
            tracing::warn!(shop = %candidate.shop, "a redaction waits for deliveries that are not settled");
        }
        let done = compliance::run_due(&self.database, candidate.shop, signing, now, is_settled).await;
        if let Some(book) = &self.options.book {
            book.keep(&self.database, candidate.shop).await?;
        }
        let next = done?;
        let mut tx = self.database.begin(candidate.shop).await?;
        // What was asked for meanwhile has left a row of its own.
        forget(&mut tx, REDACT, &known).await?;
        if let Some(next) = next {
            let in_s = (next - now).as_seconds_f64().max(0.0);
            enqueue(&mut tx, REDACT, in_s).await?;
        }
        tx.commit().await?;
        self.wake.notify_one();
        Ok(Batch::All)
    }

    /// Once: what an older build left undone. Now and then: lets go of what has been kept long enough.
    async fn keep_house(self: Arc<Self>, stop: CancellationToken) {
        let mut is_new = true;
        loop {
            let rest = match in_time(HOUSE_PATIENCE, self.for_every_shop(is_new, &stop)).await {
                Ok(()) if is_new => {
                    is_new = false;
                    AFTER_A_DEPLOY
                }
                Ok(()) => HOUSEKEEPING,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the house was not kept");
                    Duration::from_secs(10)
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    async fn for_every_shop(&self, is_new: bool, stop: &CancellationToken) -> Result<(), StoreError> {
        ingest::purge_unclaimed(&self.database).await?;
        let mut fleet = self.database.begin_fleet().await?;
        let shops = ingest::list_shops(&mut fleet).await?;
        let former = ingest::former_shops(&mut fleet).await?;
        fleet.commit().await?;
        if is_new {
            for shop in shops.iter().map(|entry| entry.shop).chain(former.iter().copied()) {
                if stop.is_cancelled() {
                    return Ok(());
                }
                self.catch_up(shop).await?;
            }
        }
        for entry in shops {
            if stop.is_cancelled() {
                return Ok(());
            }
            let mut tx = self.database.begin(entry.shop).await?;
            // In every round: a worker of the release before, which knows of no newer definition, takes such work off the queue.
            if !stale_projections(&mut tx).await?.is_empty() {
                enqueue(&mut tx, REBUILD, 0.0).await?;
            }
            if is_new {
                unpark(&mut tx).await?;
                if compliance::has_open(&mut tx).await? {
                    enqueue(&mut tx, REDACT, 0.0).await?;
                }
            }
            ingest::purge_bodies(&mut tx, self.options.body_retention_days).await?;
            tx.commit().await?;
            self.sign(entry.shop).await?;
        }
        for shop in former {
            self.sign(shop).await?;
        }
        Ok(())
    }

    /// Looks through what a release before this one appended, and writes down receipts that are not in the book.
    async fn catch_up(&self, shop: ShopId) -> Result<(), StoreError> {
        let outcome = async {
            name_subjects_by_and_by(&self.database, shop).await?;
            match &self.options.book {
                Some(book) => book.keep(&self.database, shop).await.map(drop),
                None => Ok(()),
            }
        };
        match outcome.await {
            Err(error @ StoreError::Unavailable(_)) => Err(error),
            // One shop's keys, or a full disk, are not what the others wait for.
            Err(error) => {
                tracing::error!(%shop, error = &error as &dyn std::error::Error, "not caught up");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn sign(&self, shop: ShopId) -> Result<(), StoreError> {
        let Some(signing) = &self.options.signing else { return Ok(()) };
        let mut tx = self.database.begin(shop).await?;
        let now = tx.clock().await?;
        tx.commit().await?;
        match sign_if_due(&self.database, shop, signing, now).await {
            // One shop's log is not the others'.
            Err(error @ StoreError::BrokenChain { .. }) => {
                tracing::error!(%shop, error = &error as &dyn std::error::Error, "the log was not signed");
                Ok(())
            }
            signed => signed.map(drop),
        }
    }
}

/// Works on one shop's deliveries and read models, until `stop`: beside workers, and without their housekeeping.
pub async fn work_on(database: Database, shop: ShopId, stop: CancellationToken) {
    let worker = Worker { only: Some(shop), ..Worker::new(database, WorkerOptions::default(), Arc::default()) };
    let worker = Arc::new(worker);
    let mut tasks = tokio::task::JoinSet::new();
    for kind in [&[INGEST], &[PROJECT]] {
        tasks.spawn(Arc::clone(&worker).work(kind, worker.options.idle_poll, stop.clone()));
    }
    tasks.join_all().await;
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let outcome = tokio::time::timeout(limit, work).await;
    outcome.unwrap_or_else(|late| Err(StoreError::Unavailable(sqlx::Error::Io(late.into()))))
}

/// A panic is a fault of ours that some event or body brought to light: it is treated as that one's, and the worker lives.
/// Boxed: a worker would hold room for each kind of work.
fn guarded<T>(work: impl Future<Output = Result<T, StoreError>>) -> impl Future<Output = Result<T, StoreError>> {
    let work = AssertUnwindSafe(Box::pin(work)).catch_unwind();
    work.map(|outcome| outcome.unwrap_or_else(|_| Err(StoreError::Refused("the work panicked".into()))))
}
