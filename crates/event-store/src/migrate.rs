//! The schema, and the role that every transaction runs as.

use std::time::Duration;

use sqlx::{
    Connection, PgConnection, Row,
    migrate::{MigrateError as SqlxMigrateError, Migrator},
};

use crate::inspect::{force_row_security, may_become_app_role};

/// The migrations that this build knows.
pub static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// The lock's number: any will do, as long as every build uses the same.
const LOCK: i64 = 0x0065_636f_6d64_6173;
const PATIENCE: Duration = Duration::from_secs(120);

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The login may not make roles, and the role is not there or not granted to it.
    #[error(
        "the database login `{login}` needs the right CREATEROLE, or an administrator runs: \
         CREATE ROLE ecomdash_app NOLOGIN; GRANT ecomdash_app TO \"{login}\";"
    )]
    MissingRight {
        /// Who is logged in.
        login: String,
    },
    /// Another process has been migrating for too long.
    #[error("another process has been migrating for more than two minutes")]
    Locked,
    /// A migration failed, or was changed since it was applied.
    #[error("the schema could not be brought up to date")]
    Migration(#[from] SqlxMigrateError),
    /// The database did not answer.
    #[error("the database could not be reached")]
    Database(#[from] sqlx::Error),
}

/// Brings the schema up to date, and row-level security with it where a dump has lifted it. Any number of processes may try
/// at once: one does it, all see it done.
///
/// # Errors
/// [`MigrateError`].
pub async fn migrate(url: &str) -> Result<(), MigrateError> {
    // The lock has a connection of its own and is polled: a waiter that blocks holds a snapshot, which an index that is
    // built concurrently by the holder would wait for.
    let mut guard = PgConnection::connect(url).await?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !sqlx::query_scalar::<_, bool>("SELECT pg_try_advisory_lock($1)").bind(LOCK).fetch_one(&mut guard).await? {
        if tokio::time::Instant::now() > deadline {
            return Err(MigrateError::Locked);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut connection = PgConnection::connect(url).await?;
    let outcome = async {
        ensure_role(&mut connection).await?;
        let mut migrator = Migrator { migrations: MIGRATIONS.migrations.clone(), ..Migrator::DEFAULT };
        migrator.set_locking(false);
        // What a newer build has added is for it to know: an older one that is put back works on it.
        migrator.set_ignore_missing(true);
        migrator.run(&mut connection).await?;
        Ok(force_row_security(&mut connection).await?)
    }
    .await;
    connection.close().await?;
    guard.close().await?;
    outcome
}

/// Whether every migration of this build has been applied.
///
/// # Errors
/// Whatever the database answers.
pub async fn schema_is_current(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let exists = sqlx::query("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(&mut *connection).await?;
    if !exists.get::<bool, _>(0) {
        return Ok(false);
    }
    let applied = sqlx::query("SELECT version FROM _sqlx_migrations WHERE success").fetch_all(&mut *connection).await?;
    let applied: Vec<i64> = applied.iter().map(|row| row.get(0)).collect();
    Ok(MIGRATIONS.iter().all(|migration| applied.contains(&migration.version)))
}

/// The role belongs to the cluster, not to the database: other databases' migrators may be making it at this moment,
/// and concurrent grants collide, so it is tried again.
async fn ensure_role(connection: &mut PgConnection) -> Result<(), MigrateError> {
    let mut attempts = 0;
    loop {
        let failure = match try_ensure_role(connection).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        let code = failure.as_database_error().and_then(|refusal| refusal.code()).unwrap_or_default().into_owned();
        attempts += 1;
        match code.as_str() {
            "42501" => {
                let login = sqlx::query_scalar("SELECT current_user::text").fetch_one(&mut *connection).await?;
                return Err(MigrateError::MissingRight { login });
            }
            // XX000 tuple concurrently updated, 42710 and 23505 made meanwhile
            "XX000" | "42710" | "23505" if attempts < 50 => tokio::time::sleep(Duration::from_millis(20)).await,
            _ => return Err(failure.into()),
        }
    }
}

async fn try_ensure_role(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let exists = sqlx::query_scalar::<_, bool>("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ecomdash_app')")
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        sqlx::query("CREATE ROLE ecomdash_app NOLOGIN").execute(&mut *connection).await?;
    }
    if !may_become_app_role(connection).await? {
        sqlx::query("GRANT ecomdash_app TO CURRENT_USER").execute(&mut *connection).await?;
    }
    Ok(())
}
