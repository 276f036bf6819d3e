//! Gauges of the whole fleet: how far behind read models are, what waits in inboxes and in the queue, what is dead.
//!
//! Deliveries, events and checkpoints are under row-level security: no statement sees two shops, and none is to. So a
//! round sets one shop after another and keeps, in this process, the numbers of those that have something to tell. A
//! round reads a bounded number of shops: those with work due, those that had something to tell, and the next of the
//! directory in turn. What is kept are numbers under an id, and only sums and maxima of them are shown: no label names
//! a shop.
//!
//! Every process that shows metrics sees the same fleet, so its gauges are compared by their maximum and never added up.

use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

use domain::ShopId;
use event_store::{Database, StoreError};
use metrics::{Gauge, describe_gauge, gauge};
use read_models::PROJECTIONS;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::metrics::{KINDS, kind_label};

/// Shops that a round reads of each sort.
const STEP: i64 = 100;
/// Shops whose numbers are kept: beyond them, sums are too small, and maxima of those that are kept.
const MAX_KEPT: usize = 20_000;

/// What waits of one shop; what waits because the shop is paused waits for nobody.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Backlog {
    /// Deliveries that are not in the log yet.
    pub pending: i64,
    /// Age of the oldest of them.
    pub oldest_pending_s: f64,
    /// For how long one of them has been due: what is put off, or was asked for again, is younger than its delivery.
    pub oldest_due_s: f64,
    /// Dead letters.
    pub dead: i64,
    /// Requests about persons or the shop that wait to be answered.
    pub requests: i64,
    /// Age of the oldest of them.
    pub oldest_request_s: f64,
    /// Its key is not under the newest master key.
    pub is_under_older_key: bool,
    /// In the order of [`PROJECTIONS`].
    pub models: Vec<ModelBacklog>,
}

/// How far behind a read model is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ModelBacklog {
    /// Events that are not in it yet.
    pub lag: i64,
    /// Age of the oldest of them.
    pub lag_s: f64,
    /// It stands at an event that it cannot digest.
    pub is_parked: bool,
}

impl Backlog {
    fn is_quiet(&self) -> bool {
        self.pending == 0
            && self.dead == 0
            && self.requests == 0
            && !self.is_under_older_key
            && self.models.iter().all(|model| model.lag == 0 && !model.is_parked)
    }
}

/// Keeps the gauges until `stop`. While the database is away they stay as they were, and their time says so.
pub async fn watch_fleet(database: Database, every: Duration, stop: CancellationToken) {
    let mut watch =
        Watch { database, kept: BTreeMap::new(), next: Uuid::nil(), next_kept: Uuid::nil(), bodies_to_rotate: 0 };
    loop {
        if let Err(error) = watch.round().await {
            tracing::debug!(error = &error as &dyn std::error::Error, "the fleet was not looked at");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

struct Watch {
    database: Database,
    kept: BTreeMap<ShopId, Backlog>,
    /// Where the turn through the directory goes on, and the one through what is kept.
    next: Uuid,
    next_kept: Uuid,
    /// Deliveries of shops that are not registered whose bodies are not under the newest master key.
    bodies_to_rotate: i64,
}

impl Watch {
    async fn round(&mut self) -> Result<(), StoreError> {
        let now = self.shared_tables().await?;
        for shop in self.shops_to_read().await? {
            let sample = match backlog(&self.database, shop).await {
                Err(StoreError::Unavailable(error)) => return Err(StoreError::Unavailable(error)),
                // One shop's trouble is not the others'.
                Err(error) => {
                    tracing::warn!(%shop, error = &error as &dyn std::error::Error, "a shop was not looked at");
                    continue;
                }
                Ok(sample) => sample,
            };
            match sample {
                Some(sample) if !sample.is_quiet() => {
                    if self.kept.len() < MAX_KEPT || self.kept.contains_key(&shop) {
                        self.kept.insert(shop, sample);
                    }
                }
                _ => drop(self.kept.remove(&shop)),
            }
        }
        self.show();
        GAUGES.sampled_at.set(now);
        Ok(())
    }

    /// The tables that belong to the fleet. Returns the database's time.
    async fn shared_tables(&mut self) -> Result<f64, StoreError> {
        let mut fleet = self.database.begin_fleet().await?;
        let row = sqlx::query!(
            r#"SELECT (SELECT count(*) FROM directory WHERE paused_at IS NULL) AS "active!",
                      (SELECT count(*) FROM directory WHERE paused_at IS NOT NULL) AS "paused!",
                      (SELECT count(*) FROM inbox_unclaimed) AS "unclaimed!",
                      EXTRACT(epoch FROM clock_timestamp())::float8 AS "now!""#
        )
        .fetch_one(&mut *fleet)
        .await?;
        let kinds = sqlx::query!(
            r#"SELECT kind, count(*) AS "rows!",
                      GREATEST(EXTRACT(epoch FROM clock_timestamp() - min(due_at))::float8, 0) AS "oldest_s!"
               FROM work_queue
               GROUP BY kind"#
        )
        .fetch_all(&mut *fleet)
        .await?;
        // By the index: two looks beside the newest key.
        self.bodies_to_rotate = sqlx::query_scalar!(
            r#"SELECT (SELECT count(*) FROM inbox_unclaimed WHERE substr(body, 1, 4) < decode($1, 'hex'))
                    + (SELECT count(*) FROM inbox_unclaimed WHERE substr(body, 1, 4) > decode($1, 'hex')) AS "count!""#,
            self.database.ring().newest(),
        )
        .fetch_one(&mut *fleet)
        .await?;
        fleet.commit().await?;

        GAUGES.active_shops.set(float(row.active));
        GAUGES.paused_shops.set(float(row.paused));
        GAUGES.unclaimed.set(float(row.unclaimed));
        for (kind, (depth, oldest)) in KINDS.iter().zip(&GAUGES.queue) {
            let of_kind = || kinds.iter().filter(|row| kind_label(&row.kind) == *kind);
            depth.set(float(of_kind().map(|row| row.rows).sum()));
            oldest.set(of_kind().map(|row| row.oldest_s).fold(0.0, f64::max));
        }
        Ok(row.now)
    }

    async fn shops_to_read(&mut self) -> Result<Vec<ShopId>, StoreError> {
        let mut fleet = self.database.begin_fleet().await?;
        let due = sqlx::query_scalar!(
            "SELECT shop_id
             FROM work_queue
             WHERE due_at <= clock_timestamp()
             GROUP BY shop_id
             ORDER BY min(due_at)
             LIMIT $1",
            STEP,
        )
        .fetch_all(&mut *fleet)
        .await?;
        let in_turn = sqlx::query_scalar!(
            "SELECT shop_id FROM directory WHERE shop_id > $1 ORDER BY shop_id LIMIT $2",
            self.next,
            STEP
        )
        .fetch_all(&mut *fleet)
        .await?;
        fleet.commit().await?;

        let step = usize::try_from(STEP).expect("a small number");
        let here = ShopId(self.next_kept);
        let mut kept = self.kept.range(here..).chain(self.kept.range(..here)).map(|(shop, _)| *shop);
        let mut shops: Vec<ShopId> = kept.by_ref().take(step).collect();
        self.next_kept = kept.next().map_or(Uuid::nil(), |shop| shop.0);
        shops.extend(due.into_iter().map(ShopId));
        let is_full = in_turn.len() == step;
        self.next = in_turn.last().copied().filter(|_| is_full).unwrap_or_default();
        shops.extend(in_turn.into_iter().map(ShopId));
        shops.sort_unstable();
        shops.dedup();
        Ok(shops)
    }

    fn show(&self) {
        let samples = || self.kept.values();
        GAUGES.pending.set(float(samples().map(|sample| sample.pending).sum()));
        GAUGES.oldest_pending.set(samples().map(|sample| sample.oldest_pending_s).fold(0.0, f64::max));
        GAUGES.dead.set(float(samples().map(|sample| sample.dead).sum()));
        GAUGES.requests.set(float(samples().map(|sample| sample.requests).sum()));
        GAUGES.oldest_request.set(samples().map(|sample| sample.oldest_request_s).fold(0.0, f64::max));
        let keys = samples().map(|sample| i64::from(sample.is_under_older_key)).sum::<i64>();
        GAUGES.to_rotate.set(float(keys + self.bodies_to_rotate));
        for (index, gauges) in GAUGES.models.iter().enumerate() {
            let models = || samples().filter_map(move |sample| sample.models.get(index));
            gauges.lag.set(float(models().map(|model| model.lag).sum()));
            gauges.lag_max.set(float(models().map(|model| model.lag).max().unwrap_or(0)));
            gauges.lag_s.set(models().map(|model| model.lag_s).fold(0.0, f64::max));
            gauges.parked.set(float(models().map(|model| i64::from(model.is_parked)).sum()));
        }
    }
}

/// Reads what waits of a shop; `None` when it is not there any more.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn backlog(database: &Database, shop: ShopId) -> Result<Option<Backlog>, StoreError> {
    let names: Vec<String> = PROJECTIONS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut tx = database.begin_reading(shop).await?;
    let inbox = sqlx::query!(
        r#"SELECT count(*) AS "pending!",
                  COALESCE(GREATEST(EXTRACT(epoch FROM clock_timestamp() - min(received_at))::float8, 0), 0)
                      AS "oldest_s!",
                  COALESCE(GREATEST(EXTRACT(epoch FROM clock_timestamp() - min(due_at))::float8, 0), 0) AS "due_s!",
                  (SELECT count(*) FROM inbox WHERE shop_id = $1 AND status = 'dead') AS "dead!",
                  (SELECT encode(substr(wrapped, 1, 4), 'hex') FROM shop_keys WHERE shop_id = $1) AS key_id
           FROM inbox
           WHERE shop_id = $1 AND status = 'pending'
             AND NOT EXISTS (SELECT FROM directory WHERE shop_id = $1 AND paused_at IS NOT NULL)"#,
        shop.0,
    )
    .fetch_one(&mut *tx)
    .await?;
    // The first event that is missing tells how old the lag is.
    let models = sqlx::query!(
        r#"SELECT h.position - COALESCE(c.position, 0) AS "lag!", c.parked_at IS NOT NULL AS "is_parked!",
                  COALESCE(GREATEST(EXTRACT(epoch FROM clock_timestamp() - e.recorded_at)::float8, 0), 0) AS "lag_s!"
           FROM UNNEST($2::text[]) WITH ORDINALITY AS p (projection, n)
           JOIN heads h ON h.shop_id = $1
           LEFT JOIN live_generations l ON l.shop_id = $1 AND l.projection = p.projection
           LEFT JOIN checkpoints c
             ON c.shop_id = $1 AND c.projection = p.projection AND c.generation = l.generation
           LEFT JOIN events e ON e.shop_id = $1 AND e.position = COALESCE(c.position, 0) + 1
           ORDER BY p.n"#,
        shop.0,
        &names,
    )
    .fetch_all(&mut *tx)
    .await?;
    let (requests, oldest_request) = compliance::waiting(&mut tx).await?;
    let now = tx.clock().await?;
    tx.commit().await?;
    let models: Vec<ModelBacklog> = models
        .into_iter()
        .map(|row| ModelBacklog { lag: row.lag, lag_s: row.lag_s, is_parked: row.is_parked })
        .collect();
    Ok((!models.is_empty()).then_some(Backlog {
        pending: inbox.pending,
        oldest_pending_s: inbox.oldest_s,
        oldest_due_s: inbox.due_s,
        dead: inbox.dead,
        requests,
        oldest_request_s: oldest_request.map_or(0.0, |at| (now - at).as_seconds_f64().max(0.0)),
        is_under_older_key: inbox.key_id.is_some_and(|id| id != database.ring().newest()),
        models,
    }))
}

struct Gauges {
    active_shops: Gauge,
    paused_shops: Gauge,
    unclaimed: Gauge,
    pending: Gauge,
    oldest_pending: Gauge,
    dead: Gauge,
    requests: Gauge,
    oldest_request: Gauge,
    to_rotate: Gauge,
    sampled_at: Gauge,
    /// Depth and age by [`KINDS`].
    queue: Vec<(Gauge, Gauge)>,
    /// By [`PROJECTIONS`].
    models: Vec<ModelGauges>,
}

struct ModelGauges {
    lag: Gauge,
    lag_max: Gauge,
    lag_s: Gauge,
    parked: Gauge,
}

static GAUGES: LazyLock<Gauges> = LazyLock::new(|| {
    describe_gauge!("active_shops", "Registered shops that are not paused");
    describe_gauge!("paused_shops", "Shops whose deliveries are kept and not worked on");
    describe_gauge!("inbox_unclaimed", "Deliveries for shops that are not registered");
    describe_gauge!(
        "inbox_pending",
        "Accepted deliveries of shops that are not paused and that are not in the log yet"
    );
    describe_gauge!("inbox_oldest_pending_seconds", "Age of the oldest of them");
    describe_gauge!("dead_letters", "Deliveries that could not be read");
    describe_gauge!("compliance_requests_open", "Requests about persons or shops that wait to be answered");
    describe_gauge!("compliance_oldest_open_seconds", "Age of the oldest of them; an answer is due after 30 days");
    describe_gauge!("keys_to_rotate", "Keys of shops and unclaimed bodies that are not under the newest master key");
    describe_gauge!("work_queue_rows", "Rows of the work queue, due or not");
    describe_gauge!("work_queue_oldest_due_seconds", "How long the first row of a kind has been due");
    describe_gauge!("projection_lag_events", "Events that are not in the read model yet, over all shops");
    describe_gauge!("projection_lag_events_max", "The same of the shop that is furthest behind");
    describe_gauge!("projection_lag_seconds_max", "Age of the oldest event that is not in the read model yet");
    describe_gauge!("parked_projections", "Shops whose read model stands at an event that it cannot digest");
    describe_gauge!(
        "fleet_sample_timestamp_seconds",
        "When the fleet's gauges were last read, by the database's clock"
    );
    let queue =
        |kind| (gauge!("work_queue_rows", "kind" => kind), gauge!("work_queue_oldest_due_seconds", "kind" => kind));
    let model = |name| ModelGauges {
        lag: gauge!("projection_lag_events", "projection" => name),
        lag_max: gauge!("projection_lag_events_max", "projection" => name),
        lag_s: gauge!("projection_lag_seconds_max", "projection" => name),
        parked: gauge!("parked_projections", "projection" => name),
    };
    Gauges {
        active_shops: gauge!("active_shops"),
        paused_shops: gauge!("paused_shops"),
        unclaimed: gauge!("inbox_unclaimed"),
        pending: gauge!("inbox_pending"),
        oldest_pending: gauge!("inbox_oldest_pending_seconds"),
        dead: gauge!("dead_letters"),
        requests: gauge!("compliance_requests_open"),
        oldest_request: gauge!("compliance_oldest_open_seconds"),
        to_rotate: gauge!("keys_to_rotate"),
        sampled_at: gauge!("fleet_sample_timestamp_seconds"),
        queue: KINDS.into_iter().map(queue).collect(),
        models: PROJECTIONS.into_iter().map(|(name, _)| model(name)).collect(),
    }
});

/// As gauges take numbers: exact up to 2^53.
#[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn float(number: i64) -> f64 {
    number as f64
}
