//! Transactions for one shop, in which row-level security applies, and for the fleet's few shared tables.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use domain::ShopId;
use sqlx::{
    Executor, PgConnection, PgPool, Postgres,
    postgres::{PgArguments, PgConnectOptions, PgRow},
    query::Map,
};
use vault::MasterRing;

use crate::{
    Appended, StoreError,
    connections::{Connections, Lent, Transaction},
    metrics::{COUNTERS, count},
    recent::Recent,
};

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
    connections: Arc<Connections>,
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
        let connections = Connections::lazy(connect, options.max_connections);
        Ok(Self { connections, ring: Arc::new(ring), recent: Arc::default() })
    }

    /// The key ring.
    #[must_use]
    pub fn ring(&self) -> &MasterRing {
        &self.ring
    }

    /// Ends every connection, each when what uses it is done.
    pub async fn close(&self) {
        self.connections.close().await;
    }

    pub(crate) fn recent(&self) -> &Recent {
        &self.recent
    }

    pub(crate) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// A connection as whoever the program logged in as, for what is neither a shop's nor the fleet's: the schema's
    /// state, and what only the tables' owner may do.
    ///
    /// # Errors
    /// When none can be had.
    pub async fn acquire(&self) -> Result<Lent, sqlx::Error> {
        self.connections.acquire().await
    }

    /// The pool, for its numbers.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.connections.pool
    }

    /// Connections that wait to be used.
    #[must_use]
    pub fn idle_connections(&self) -> usize {
        self.connections.idle()
    }

    /// A transaction that sees one shop.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no connection can be had.
    pub async fn begin(&self, shop: ShopId) -> Result<ShopTx, StoreError> {
        let tx = self.connections.begin(&begin_sql(shop)).await?;
        Ok(ShopTx { tx, shop, ring: Arc::clone(&self.ring), appended: 0 })
    }

    /// A transaction that reads one shop, at one moment: all its statements see the same state.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no connection can be had.
    pub async fn begin_reading(&self, shop: ShopId) -> Result<ShopTx, StoreError> {
        // Whoever asked has gone by then, and others wait for the connection.
        let sql = begin_sql(shop).replacen("BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", 1)
            + "; SET LOCAL statement_timeout = '14s'";
        let tx = self.connections.begin(&sql).await?;
        Ok(ShopTx { tx, shop, ring: Arc::clone(&self.ring), appended: 0 })
    }

    /// A transaction that sees no shop: only the directory, tokens, unclaimed deliveries and the work queue.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no connection can be had.
    pub async fn begin_fleet(&self) -> Result<Transaction, StoreError> {
        let sql = "BEGIN; SET LOCAL ROLE ecomdash_app; SET LOCAL app.current_shop_id = ''";
        Ok(self.connections.begin(sql).await?)
    }

    /// Runs one statement in a transaction of its own, in one round trip: a call of a function that takes on role and shop
    /// itself. On a connection that turns out to be dead it is run again, so it must bear being done twice.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], which leaves open whether it was done.
    pub async fn single<'q, T: Send + Unpin, F: FnMut(PgRow) -> Result<T, sqlx::Error> + Send>(
        &self,
        query: impl Fn() -> Map<'q, Postgres, F, PgArguments>,
    ) -> Result<Vec<T>, StoreError> {
        Ok(self.connections.single(query).await?)
    }
}

/// Role and shop hold until the transaction ends, so a pooled connection keeps neither. Three plain settings in one
/// round trip: nothing in it has to be planned.
fn begin_sql(shop: ShopId) -> String {
    format!("BEGIN; SET LOCAL ROLE ecomdash_app; SET LOCAL app.current_shop_id = '{shop}'")
}

/// A transaction of one shop. It cannot reach another: every table is under row-level security, and the role that it
/// runs as cannot lift it. Rolled back when dropped.
pub struct ShopTx {
    tx: Transaction,
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

    /// The database's time, by which the log goes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn clock(&mut self) -> Result<DateTime<Utc>, StoreError> {
        Ok(sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(&mut **self).await?)
    }

    /// Turns the transaction to another shop, from here on: for what must be taken from one shop and given to another at once.
    /// Each statement sees one of them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn turn_to(&mut self, shop: ShopId) -> Result<(), StoreError> {
        self.tx.execute(format!("SET LOCAL app.current_shop_id = '{shop}'").as_str()).await?;
        self.shop = shop;
        Ok(())
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
