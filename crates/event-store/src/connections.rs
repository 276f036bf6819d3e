//! The pool, and the connections that are passed on without it.
//!
//! The pool pings what comes back to it, and asks a second time whether it lives: round trips that cost Postgres as much as
//! the work itself. A connection whose transaction ended well a moment ago needs neither, so whoever comes next takes it
//! as it is.

use std::{
    ops::{Deref, DerefMut},
    panic::resume_unwind,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{
    Connection, Executor, PgConnection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow},
    query::Map,
};
use tokio::{runtime::Handle, time::timeout};

use crate::metrics::COUNTERS;

/// A connection may be dead without being told so: the server was replaced, or somebody between dropped it. For an answer
/// to what takes no time it is given so long, then it is given up: less when somebody waits for it.
const PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE_OF_USERS: Duration = Duration::from_secs(2);
/// One that was used within this time is not asked whether it lives.
const FRESH: Duration = Duration::from_secs(1);
/// For a connection, and for the answer to `BEGIN`.
const ACQUIRE_PATIENCE: Duration = Duration::from_secs(3);
const BEGIN_PATIENCE: Duration = Duration::from_secs(10);
/// So long it may do without the pool, which looks how old it is.
const APART_FOR: Duration = Duration::from_secs(60);

/// A connection out of its pool. When it is dropped the pool has it back, after a look whether it lives.
pub struct Lent {
    connection: PoolConnection<Postgres>,
    since: Instant,
}

impl Lent {
    /// Without a runtime it can neither be asked for anything nor go back.
    fn close_at_once(self) {
        drop(self.connection.detach());
    }
}

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

/// The connections of a [`Database`](crate::Database).
pub(crate) struct Connections {
    pub(crate) pool: PgPool,
    apart: Mutex<Apart>,
}

/// What the pool does not know of.
#[derive(Default)]
struct Apart {
    /// Connections, and when they were last used.
    kept: Vec<(Instant, Lent)>,
    /// How many wait for the pool: what is given back is for them.
    waiting: usize,
}

impl Connections {
    pub(crate) fn lazy(options: PgConnectOptions, max_connections: u32) -> Arc<Self> {
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_PATIENCE)
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
            // The pool asks, too, and would wait for ever.
            .after_release(|connection, _| {
                Box::pin(async move {
                    in_time(PATIENCE, connection.ping()).await?;
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        Arc::new(Self { pool, apart: Mutex::default() })
    }

    /// A connection that no transaction is open on.
    pub(crate) async fn acquire(&self) -> Result<Lent, sqlx::Error> {
        let waiting = {
            let mut apart = self.apart();
            apart.kept.retain(|(used, _)| used.elapsed() < FRESH);
            if let Some((_, lent)) = apart.kept.pop().filter(|_| !self.pool.is_closed()) {
                return Ok(lent);
            }
            apart.waiting += 1;
            Waiting(self)
        };
        // In a task of its own: whoever gives up while a connection is being opened would make the next one open another.
        let pool = self.pool.clone();
        let acquired = tokio::spawn(async move { pool.acquire().await }).await;
        drop(waiting);
        let acquired = acquired.unwrap_or_else(|error| resume_unwind(error.into_panic()));
        if matches!(acquired, Err(sqlx::Error::PoolTimedOut)) {
            COUNTERS.acquire_timeouts.increment(1);
        }
        Ok(Lent { connection: acquired?, since: Instant::now() })
    }

    /// Takes back a connection that has just answered, and that no transaction is open on.
    pub(crate) fn give_back(&self, lent: Lent) {
        let most = self.pool.options().get_max_connections() as usize;
        let mut apart = self.apart();
        let is_kept = apart.waiting == 0 && 2 * apart.kept.len() < most && lent.since.elapsed() < APART_FOR;
        if is_kept && !self.pool.is_closed() {
            apart.kept.push((Instant::now(), lent));
        }
    }

    /// Those that wait for somebody to use them.
    pub(crate) fn idle(&self) -> usize {
        self.pool.num_idle() + self.apart().kept.len()
    }

    /// Ends every connection, each when what uses it is done.
    pub(crate) async fn close(&self) {
        let closed = self.pool.close();
        self.apart().kept.clear();
        closed.await;
    }

    fn apart(&self) -> MutexGuard<'_, Apart> {
        self.apart.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a transaction by `sql`.
    pub(crate) async fn begin(self: &Arc<Self>, sql: &str) -> Result<Transaction, sqlx::Error> {
        let mut attempts = 0;
        loop {
            let mut tx = Transaction { lent: Some(self.acquire().await?), connections: Arc::clone(self) };
            match in_time(BEGIN_PATIENCE, tx.execute(sql)).await {
                Ok(_) => return Ok(tx),
                Err(error) => {
                    tx.close();
                    self.past(error, &mut attempts)?;
                }
            }
        }
    }

    /// The rows of a statement in a transaction of its own.
    pub(crate) async fn single<'q, T: Send + Unpin, F: FnMut(PgRow) -> Result<T, sqlx::Error> + Send>(
        &self,
        query: impl Fn() -> Map<'q, Postgres, F, PgArguments>,
    ) -> Result<Vec<T>, sqlx::Error> {
        let mut attempts = 0;
        loop {
            let mut lent = self.acquire().await?;
            match in_time(BEGIN_PATIENCE, query().fetch_all(&mut *lent)).await {
                Ok(rows) => {
                    self.give_back(lent);
                    return Ok(rows);
                }
                Err(error) => {
                    lent.connection.close_on_drop();
                    self.past(error, &mut attempts)?;
                }
            }
        }
    }

    /// Whether to try another connection after an error: this one had died, as all do when the server is restarted.
    fn past(&self, error: sqlx::Error, attempts: &mut u32) -> Result<(), sqlx::Error> {
        if *attempts >= self.pool.options().get_max_connections() || !is_dead(&error) {
            return Err(error);
        }
        *attempts += 1;
        Ok(())
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        if Handle::try_current().is_err() {
            self.apart().kept.drain(..).for_each(|(_, lent)| lent.close_at_once());
        }
    }
}

/// Somebody who waits for the pool.
struct Waiting<'a>(&'a Connections);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.apart().waiting -= 1;
    }
}

/// Whether the connection had gone, most likely before anything was asked of it.
fn is_dead(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(refusal) => refusal.code().is_some_and(|code| code == "57P01" || code == "25P03"),
        _ => false,
    }
}

async fn in_time<T>(limit: Duration, answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(limit, answer).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// An open transaction. Rolled back when dropped, also while a statement is under way, and a little later.
///
/// sqlx does not know of it, and would begin one on the connection as if there were none: nobody does.
pub struct Transaction {
    /// There until it ends.
    lent: Option<Lent>,
    connections: Arc<Connections>,
}

impl Transaction {
    /// Makes it so.
    ///
    /// # Errors
    /// Whatever Postgres says, or that it says nothing, which leaves open whether it was made so.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        self.end("COMMIT").await
    }

    /// Undoes it, and returns when its locks are free.
    ///
    /// # Errors
    /// The connection is gone: the server undoes it when it notices.
    pub async fn rollback(self) -> Result<(), sqlx::Error> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, sql: &str) -> Result<(), sqlx::Error> {
        self.execute(sql).await?;
        if let Some(lent) = self.lent.take() {
            self.connections.give_back(lent);
        }
        Ok(())
    }

    /// Nobody knows what its connection is in the middle of.
    fn close(mut self) {
        if let Some(mut lent) = self.lent.take() {
            lent.connection.close_on_drop();
        }
    }
}

const ENDED: &str = "a transaction has its connection until it ends";

impl Deref for Transaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.lent.as_ref().expect(ENDED)
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.lent.as_mut().expect(ENDED)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(mut lent) = self.lent.take() else { return };
        let Ok(runtime) = Handle::try_current() else { return lent.close_at_once() };
        let connections = Arc::clone(&self.connections);
        runtime.spawn(async move {
            // Behind whatever was under way.
            match in_time(PATIENCE, lent.execute("ROLLBACK")).await {
                Ok(_) => connections.give_back(lent),
                Err(_) => lent.connection.close_on_drop(),
            }
        });
    }
}
