//! Transactions for one shop, in which row-level security applies, and for the fleet's few shared tables.

use std::{
    borrow::Cow,
    ops::{Deref, DerefMut},
    panic::resume_unwind,
    sync::Arc,
    time::Duration,
};

use domain::ShopId;
use sqlx::{
    Connection, Executor, PgConnection, PgPool, Postgres, Row, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use vault::MasterRing;

use crate::{
    Appended, StoreError,
    metrics::{COUNTERS, count},
    recent::Recent,
};

/// A connection may be dead without being told so: the server was replaced, or somebody between dropped it. For an answer
/// to what takes no time it is given so long, then it is given up: less when somebody waits for it.
const PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE_OF_USERS: Duration = Duration::from_secs(2);
/// One that was used within this time is not asked whether it lives.
const FRESH: Duration = Duration::from_secs(1);
/// For a connection and the answer to `BEGIN`.
const BEGIN_PATIENCE: Duration = Duration::from_secs(10);

/// How to reach the database.
#[derive(Debug, Clone)]
pub struct DatabaseOptions {
    /// `postgres://…`
    pub url: String,
    /// At most so many connections at once.
    pub max_connections: u32,
    /// Shown in `pg_stat_activity`.
    pub application_name: &'static str,
}

/// The database and the keys that open what it holds. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pool: PgPool,
    ring: Arc<MasterRing>,
    recent: Arc<Recent>,
}

impl Database {
    /// A pool that connects when it is first used.
    ///
    /// # Errors
    /// [`StoreError::Database`] when the URL is not one.
    pub fn connect_lazy(options: &DatabaseOptions, ring: MasterRing) -> Result<Self, StoreError> {
        let connect: PgConnectOptions = options.url.parse::<PgConnectOptions>()?;
        let connect = connect.application_name(options.application_name).options([
            // Frees what a frozen worker holds.
            ("idle_in_transaction_session_timeout", "30s"),
            ("statement_timeout", "60s"),
            ("lock_timeout", "10s"),
            ("TimeZone", "UTC"),
            // Statements are prepared once and take sets: planning them for each set costs more than it gains.
            ("plan_cache_mode", "force_generic_plan"),
            ("jit", "off"),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(Duration::from_secs(3))
            .idle_timeout(Duration::from_secs(300))
            .max_lifetime(Duration::from_secs(1800))
            // No ping before each use, which would be a round trip: `begin` tries again on a connection that died.
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for >= FRESH {
                        in_time(PATIENCE_OF_USERS, connection.ping()).await?;
                    }
                    Ok(true)
                })
            })
            // The pool asks, too, and would wait for ever. What was given up while it began a transaction is closed.
            .after_release(|connection, _| Box::pin(in_time(PATIENCE, is_outside(connection))))
            .connect_lazy_with(connect);
        Ok(Self { pool, ring: Arc::new(ring), recent: Arc::default() })
    }

    /// The key ring.
    #[must_use]
    pub fn ring(&self) -> &MasterRing {
        &self.ring
    }

    /// Ends every connection, each when what uses it is done.
    pub async fn close(&self) {
        let closed = self.pool.close();
        self.recent.give_back(&self.pool);
        closed.await;
    }

    pub(crate) fn recent(&self) -> &Recent {
        &self.recent
    }

    /// The pool itself, for what is neither a shop's nor the fleet's: migrations, health.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A transaction that sees one shop.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no connection can be had.
    pub async fn begin(&self, shop: ShopId) -> Result<ShopTx, StoreError> {
        let tx = self.begin_with(begin_sql(shop)).await?;
        Ok(ShopTx { tx, shop, ring: Arc::clone(&self.ring), appended: 0 })
    }

    /// A transaction that reads one shop, at one moment: all its statements see the same state.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no connection can be had.
    pub async fn begin_reading(&self, shop: ShopId) -> Result<ShopTx, StoreError> {
        let sql = begin_sql(shop).replacen("BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", 1);
        let tx = self.begin_with(sql).await?;
        Ok(ShopTx { tx, shop, ring: Arc::clone(&self.ring), appended: 0 })
    }

    /// A transaction that sees no shop: only the directory, tokens, unclaimed deliveries and the work queue.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no connection can be had.
    pub async fn begin_fleet(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        let sql = "BEGIN; SET LOCAL ROLE ecomdash_app; SET LOCAL app.current_shop_id = ''";
        self.begin_with(sql).await
    }

    async fn begin_with(
        &self,
        sql: impl Into<Cow<'static, str>>,
    ) -> Result<Transaction<'static, Postgres>, StoreError> {
        let sql = sql.into();
        self.recent.give_back(&self.pool);
        // Nothing has happened yet when `BEGIN` fails, so a dead connection (the server was restarted) is tried past.
        let mut attempts = 0;
        loop {
            // In a task of its own: dropped while `BEGIN` is under way, sqlx would put the open transaction into the pool.
            let (pool, sql) = (self.pool.clone(), sql.clone());
            let begun = tokio::spawn(async move {
                let begun = tokio::time::timeout(BEGIN_PATIENCE, pool.begin_with(sql)).await;
                begun.unwrap_or(Err(sqlx::Error::PoolTimedOut))
            })
            .await;
            match begun.unwrap_or_else(|error| resume_unwind(error.into_panic())) {
                Err(sqlx::Error::Io(_) | sqlx::Error::Protocol(_)) if attempts < self.pool.size() => attempts += 1,
                Err(sqlx::Error::Database(refusal))
                    if attempts < self.pool.size()
                        && refusal.code().is_some_and(|code| code == "57P01" || code == "25P03") =>
                {
                    attempts += 1;
                }
                outcome => {
                    if matches!(outcome, Err(sqlx::Error::PoolTimedOut)) {
                        COUNTERS.acquire_timeouts.increment(1);
                    }
                    return Ok(outcome?);
                }
            }
        }
    }
}

async fn in_time<T>(limit: Duration, answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let answer = tokio::time::timeout(limit, answer).await;
    answer.unwrap_or_else(|late| Err(sqlx::Error::Io(late.into())))
}

/// Whether no transaction is open: one that was opened before began before this statement. A prepared statement would not
/// do, as its own transaction begins a little before it runs.
async fn is_outside(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    connection.fetch_one("SELECT now() = statement_timestamp()").await?.try_get(0)
}

/// Role and shop hold until the transaction ends, so a pooled connection keeps neither. Three plain settings in one
/// round trip: nothing in it has to be planned.
fn begin_sql(shop: ShopId) -> String {
    format!("BEGIN; SET LOCAL ROLE ecomdash_app; SET LOCAL app.current_shop_id = '{shop}'")
}

/// A transaction of one shop. It cannot reach another: every table is under row-level security, and the role that it
/// runs as cannot lift it. Rolled back when dropped.
pub struct ShopTx {
    tx: Transaction<'static, Postgres>,
    shop: ShopId,
    ring: Arc<MasterRing>,
    /// Events that are there once this commits.
    appended: u64,
}

impl ShopTx {
    /// Whose.
    #[must_use]
    pub fn shop(&self) -> ShopId {
        self.shop
    }

    /// The key ring.
    #[must_use]
    pub fn ring(&self) -> &MasterRing {
        &self.ring
    }

    /// The same, for as long as the transaction is at work.
    pub(crate) fn shared_ring(&self) -> Arc<MasterRing> {
        Arc::clone(&self.ring)
    }

    /// Makes it so.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] leaves open whether it was made so: what was written must bear being written again.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.tx.commit().await?;
        COUNTERS.events_appended.increment(self.appended);
        Ok(())
    }

    pub(crate) fn note_appended(&mut self, appended: &[Appended]) {
        self.appended += appended.iter().map(|appended| count(appended.events)).sum::<u64>();
    }

    /// Undoes it, and returns when its locks are free. Merely dropped, it is undone a little later.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the server undoes it when it notices.
    pub async fn rollback(self) -> Result<(), StoreError> {
        Ok(self.tx.rollback().await?)
    }
}

impl Deref for ShopTx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.tx
    }
}

impl DerefMut for ShopTx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}
