//! What the server and its catalogue say of the ground that the log stands on, for whoever looks for trouble. Nothing here
//! needs the schema to be whole: that it may not be is what is looked at.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Row, postgres::PgRow};

use crate::MIGRATIONS;

/// Tables that belong to the fleet: no readable content of a shop, no row-level security.
pub const FLEET_TABLES: [&str; 5] = ["_sqlx_migrations", "api_tokens", "directory", "inbox_unclaimed", "work_queue"];

/// The server, and who is logged in.
#[derive(Debug, Clone)]
pub struct Server {
    /// Like `150018`.
    pub version_number: i32,
    /// Like `15.18`.
    pub version: String,
    /// A standby: it takes no writes.
    pub is_standby: bool,
    /// `UTF8`.
    pub encoding: String,
    /// Who is logged in.
    pub login: String,
    /// Whoever it is may do anything, and row-level security holds nothing back from it.
    pub is_superuser: bool,
    /// Connections that an ordinary login may have, all together.
    pub connections: i64,
    /// Of these there are now.
    pub connected: i64,
    /// Size of the database in bytes.
    pub bytes: i64,
    /// Its clock.
    pub now: DateTime<Utc>,
}

/// Asks the server about itself.
///
/// # Errors
/// Whatever it answers.
pub async fn server(connection: &mut PgConnection) -> Result<Server, sqlx::Error> {
    // `reserved_connections` is there since PostgreSQL 16.
    let row = sqlx::query(
        "SELECT current_setting('server_version_num')::int AS version_number,
                split_part(current_setting('server_version'), ' ', 1) AS version,
                pg_is_in_recovery() AS is_standby,
                pg_encoding_to_char(encoding)::text AS encoding,
                current_user::text AS login,
                (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user) AS is_superuser,
                current_setting('max_connections')::bigint
                    - current_setting('superuser_reserved_connections')::bigint
                    - COALESCE(current_setting('reserved_connections', true), '0')::bigint AS connections,
                (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connected,
                pg_database_size(current_database()) AS bytes,
                clock_timestamp() AS now
         FROM pg_database
         WHERE datname = current_database()",
    )
    .fetch_one(connection)
    .await?;
    Ok(Server {
        version_number: row.try_get("version_number")?,
        version: row.try_get("version")?,
        is_standby: row.try_get("is_standby")?,
        encoding: row.try_get("encoding")?,
        login: row.try_get("login")?,
        is_superuser: row.try_get("is_superuser")?,
        connections: row.try_get("connections")?,
        connected: row.try_get("connected")?,
        bytes: row.try_get("bytes")?,
        now: row.try_get("now")?,
    })
}

/// Migrations by what became of them; none of any kind is as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SchemaState {
    /// Known here and not applied.
    pub missing: Vec<i64>,
    /// Begun and not ended.
    pub failed: Vec<i64>,
    /// Applied from another text than this build's.
    pub changed: Vec<i64>,
    /// Applied by a newer build: no fault.
    pub newer: Vec<i64>,
}

/// Compares what was applied with what this build knows.
///
/// # Errors
/// Whatever the database answers.
pub async fn schema_state(connection: &mut PgConnection) -> Result<SchemaState, sqlx::Error> {
    let mut state = SchemaState::default();
    let exists = sqlx::query("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(&mut *connection).await?;
    let applied = match exists.try_get::<bool, _>(0)? {
        true => sqlx::query("SELECT version, success, checksum FROM _sqlx_migrations").fetch_all(connection).await?,
        false => Vec::new(),
    };
    let mut seen = Vec::new();
    for row in applied {
        let (version, success, checksum): (i64, bool, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        seen.push(version);
        match MIGRATIONS.iter().find(|migration| migration.version == version) {
            _ if !success => state.failed.push(version),
            None => state.newer.push(version),
            Some(known) if *known.checksum != *checksum => state.changed.push(version),
            Some(_) => {}
        }
    }
    state.missing = MIGRATIONS.iter().map(|known| known.version).filter(|version| !seen.contains(version)).collect();
    Ok(state)
}

/// The role that every transaction runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppRole {
    /// It is there, has no rights beyond those that were granted, and the login may become it.
    Usable,
    /// There is none.
    Missing,
    /// The login may not become it.
    NotGranted,
    /// It is a superuser or passes row-level security.
    TooMighty,
}

/// Looks at `ecomdash_app`.
///
/// # Errors
/// Whatever the database answers.
pub async fn app_role(connection: &mut PgConnection) -> Result<AppRole, sqlx::Error> {
    let row = sqlx::query("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = 'ecomdash_app'")
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(AppRole::Missing) };
    if row.try_get(0)? {
        return Ok(AppRole::TooMighty);
    }
    Ok(if may_become_app_role(connection).await? { AppRole::Usable } else { AppRole::NotGranted })
}

/// Since PostgreSQL 16, whoever makes a role is a member of it without the right to become it.
pub(crate) async fn may_become_app_role(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let version = sqlx::query_scalar::<_, i32>("SELECT current_setting('server_version_num')::int")
        .fetch_one(&mut *connection)
        .await?;
    sqlx::query_scalar("SELECT pg_has_role(current_user, 'ecomdash_app', $1)")
        .bind(if version >= 160_000 { "SET" } else { "MEMBER" })
        .fetch_one(connection)
        .await
}

/// What keeps shops apart and the log as it was written. All of them empty is as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guards {
    /// Tenant tables whose row-level security is off or does not hold for their owner.
    pub unforced: Vec<String>,
    /// Tenant tables without a policy.
    pub without_policy: Vec<String>,
    /// Rights on the log that the application's role must not have: `UPDATE`, `DELETE`, `TRUNCATE`.
    pub rights_on_log: Vec<String>,
    /// Whether the trigger that refuses changes to the log is there and on.
    pub log_refuses_changes: bool,
    /// Indexes that were begun and not ended, and are used by nothing.
    pub invalid_indexes: Vec<String>,
}

/// Reads them from the catalogue.
///
/// # Errors
/// Whatever the database answers.
pub async fn guards(connection: &mut PgConnection) -> Result<Guards, sqlx::Error> {
    const TENANT_TABLES: &str =
        "SELECT c.relname::text AS name, c.relrowsecurity AND c.relforcerowsecurity AS is_forced,
                EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid) AS has_policy
         FROM pg_class c
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'shop_id' AND NOT a.attisdropped
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND c.relname <> ALL ($1)";
    let fleet = FLEET_TABLES.map(str::to_owned).to_vec();
    let unforced = format!("SELECT t.name FROM ({TENANT_TABLES}) t WHERE t.has_policy AND NOT t.is_forced ORDER BY 1");
    let without_policy = format!("SELECT t.name FROM ({TENANT_TABLES}) t WHERE NOT t.has_policy ORDER BY 1");
    let rights_on_log = "SELECT r.name FROM UNNEST(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) AS r (name)
         WHERE has_table_privilege('ecomdash_app', to_regclass('events'), r.name)";
    let log_refuses_changes = "SELECT EXISTS (SELECT FROM pg_trigger
         WHERE tgrelid = to_regclass('events') AND tgname = 'events_are_immutable' AND tgenabled IN ('O', 'A'))";
    let invalid_indexes = "SELECT i.indexrelid::regclass::text FROM pg_index i
         JOIN pg_class c ON c.oid = i.indrelid AND c.relnamespace = current_schema()::regnamespace
         WHERE NOT i.indisvalid ORDER BY 1";
    let name = |row: PgRow| row.try_get::<String, _>(0);
    Ok(Guards {
        unforced: sqlx::query(&unforced).bind(&fleet).try_map(name).fetch_all(&mut *connection).await?,
        without_policy: sqlx::query(&without_policy).bind(&fleet).try_map(name).fetch_all(&mut *connection).await?,
        rights_on_log: sqlx::query(rights_on_log).try_map(name).fetch_all(&mut *connection).await?,
        log_refuses_changes: sqlx::query_scalar(log_refuses_changes).fetch_one(&mut *connection).await?,
        invalid_indexes: sqlx::query(invalid_indexes).try_map(name).fetch_all(connection).await?,
    })
}

/// Makes row-level security hold for the owner, too, wherever it does not: a dump lifts it, and what is restored has the
/// lifted state of the dump.
pub(crate) async fn force_row_security(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    for table in guards(connection).await?.unforced {
        let name = table.replace('"', "\"\"");
        let sql = format!("ALTER TABLE \"{name}\" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY");
        sqlx::query(&sql).execute(&mut *connection).await?;
        tracing::warn!(table, "row-level security was lifted and holds again");
    }
    Ok(())
}

/// Whether the planner knows how large the log is: on a restored database it does not before `ANALYZE`.
///
/// # Errors
/// Whatever the database answers.
pub async fn has_statistics(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    // Small tables do well without.
    sqlx::query_scalar(
        "SELECT reltuples >= 0 OR pg_relation_size(oid) < 1000000 FROM pg_class WHERE oid = to_regclass('events')",
    )
    .fetch_one(connection)
    .await
}
