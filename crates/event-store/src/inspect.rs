//! What the server and its catalogue say of the ground that the log stands on, for whoever looks for trouble. Nothing here
//! needs the schema to be whole: that it may not be is what is looked at.

use chrono::{DateTime, Utc};
use sqlx::{Executor, PgConnection, Row, postgres::PgRow};

use crate::MIGRATIONS;

/// Tables that belong to the fleet: no readable content of a shop, no row-level security.
pub const FLEET_TABLES: [&str; 6] =
    ["_sqlx_migrations", "api_tokens", "directory", "former_shops", "inbox_unclaimed", "work_queue"];

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
    /// What this login may have at most: of the whole server, of the database, and by itself. In use, and how many.
    pub connections: Vec<Connections>,
    /// Size of the database in bytes.
    pub bytes: i64,
    /// Its clock.
    pub now: DateTime<Utc>,
}

/// A bound on connections, and how near it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Whose bound: `the server`, `the database`, `the login`.
    pub of: &'static str,
    /// There are now.
    pub used: i64,
    /// There may be.
    pub most: i64,
}

/// Asks the server about itself.
///
/// # Errors
/// Whatever it answers.
pub async fn server(connection: &mut PgConnection) -> Result<Server, sqlx::Error> {
    // `reserved_connections` is there since PostgreSQL 16. An ordinary login does not see what kind of backend others' are,
    // but whose.
    let row = sqlx::query(
        "SELECT current_setting('server_version_num')::int AS version_number,
                split_part(current_setting('server_version'), ' ', 1) AS version,
                pg_is_in_recovery() AS is_standby,
                pg_encoding_to_char(encoding)::text AS encoding,
                current_user::text AS login,
                (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user) AS is_superuser,
                current_setting('max_connections')::bigint
                    - current_setting('superuser_reserved_connections')::bigint
                    - COALESCE(current_setting('reserved_connections', true), '0')::bigint AS most_of_server,
                datconnlimit::bigint AS most_of_database,
                (SELECT rolconnlimit::bigint FROM pg_roles WHERE rolname = current_user) AS most_of_login,
                a.of_server, a.of_database, a.of_login,
                pg_database_size(current_database()) AS bytes,
                clock_timestamp() AS now
         FROM pg_database
         CROSS JOIN (
             SELECT count(*) AS of_server, count(*) FILTER (WHERE datname = current_database()) AS of_database,
                    count(*) FILTER (WHERE usename = current_user) AS of_login
             FROM pg_stat_activity
             WHERE usesysid IS NOT NULL AND datid IS NOT NULL
         ) a
         WHERE datname = current_database()",
    )
    .fetch_one(connection)
    .await?;
    let bound = |of, used: &str, most: &str| -> Result<Connections, sqlx::Error> {
        Ok(Connections { of, used: row.try_get(used)?, most: row.try_get(most)? })
    };
    let bounds = [
        bound("the server", "of_server", "most_of_server")?,
        bound("the database", "of_database", "most_of_database")?,
        bound("the login", "of_login", "most_of_login")?,
    ];
    Ok(Server {
        version_number: row.try_get("version_number")?,
        version: row.try_get("version")?,
        is_standby: row.try_get("is_standby")?,
        encoding: row.try_get("encoding")?,
        login: row.try_get("login")?,
        is_superuser: row.try_get("is_superuser")?,
        // -1: no bound.
        connections: bounds.into_iter().filter(|bound| bound.most >= 0).collect(),
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
    /// Tables of shops whose policies are not exactly the one that they are made with.
    pub wrong_policy: Vec<String>,
    /// Rights on the log that the application's role must not have: `UPDATE`, `DELETE`, `TRUNCATE`.
    pub rights_on_log: Vec<String>,
    /// Grants that the application's role should have and has not, as statements.
    pub missing_rights: Vec<String>,
    /// Whether the trigger that refuses changes to the log is there and on.
    pub log_refuses_changes: bool,
    /// Indexes that were begun and not ended, and are used by nothing.
    pub invalid_indexes: Vec<String>,
}

/// Tenant tables that the owner passes, or everybody. Other people's tables are none of ours, whatever their columns are
/// called.
const UNFORCED: &str = "SELECT c.relname::text
    FROM pg_class c
    JOIN pg_policy p ON p.polrelid = c.oid AND p.polname = 'tenant'
    WHERE c.relnamespace = current_schema()::regnamespace AND NOT (c.relrowsecurity AND c.relforcerowsecurity)";

/// Reads them from the catalogue.
///
/// # Errors
/// Whatever the database answers.
pub async fn guards(connection: &mut PgConnection) -> Result<Guards, sqlx::Error> {
    // What the application's role may read or write and has a shop in every row.
    let wrong_policy = "SELECT c.relname::text
         FROM pg_class c
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'shop_id' AND NOT a.attisdropped
         LEFT JOIN pg_policy p ON p.polrelid = c.oid
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND c.relname <> ALL ($1)
           AND has_table_privilege('ecomdash_app', c.oid, 'SELECT, INSERT, UPDATE, DELETE')
         GROUP BY c.relname
         HAVING count(p.oid) <> 1 OR bool_and(
             p.polname = 'tenant' AND p.polcmd = '*' AND p.polpermissive AND p.polroles = '{0}'
             AND pg_get_expr(p.polqual, p.polrelid) = $2
             AND COALESCE(pg_get_expr(p.polwithcheck, p.polrelid), $2) = $2) IS NOT TRUE
         ORDER BY 1";
    let policy = "(shop_id = (NULLIF(current_setting('app.current_shop_id'::text, true), ''::text))::uuid)";
    let rights_on_log = "SELECT r.name FROM UNNEST(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) AS r (name)
         WHERE has_table_privilege('ecomdash_app', to_regclass('events'), r.name)
            OR r.name = 'UPDATE' AND has_any_column_privilege('ecomdash_app', to_regclass('events'), r.name)";
    let log_refuses_changes = "SELECT EXISTS (SELECT FROM pg_trigger
         WHERE tgrelid = to_regclass('events') AND tgname = 'events_are_immutable' AND tgenabled IN ('O', 'A'))";
    let invalid_indexes = "SELECT i.indexrelid::regclass::text FROM pg_index i
         JOIN pg_class c ON c.oid = i.indrelid AND c.relnamespace = current_schema()::regnamespace
         WHERE NOT i.indisvalid ORDER BY 1";
    let name = |row: PgRow| row.try_get::<String, _>(0);
    let fleet = FLEET_TABLES.map(str::to_owned).to_vec();
    Ok(Guards {
        unforced: sqlx::query(&format!("{UNFORCED} ORDER BY 1")).try_map(name).fetch_all(&mut *connection).await?,
        wrong_policy: sqlx::query(wrong_policy)
            .bind(fleet)
            .bind(policy)
            .try_map(name)
            .fetch_all(&mut *connection)
            .await?,
        rights_on_log: sqlx::query(rights_on_log).try_map(name).fetch_all(&mut *connection).await?,
        missing_rights: missing_rights(&mut *connection).await?,
        log_refuses_changes: sqlx::query_scalar(log_refuses_changes).fetch_one(&mut *connection).await?,
        invalid_indexes: sqlx::query(invalid_indexes).try_map(name).fetch_all(connection).await?,
    })
}

async fn missing_rights(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let (rights, tables): (Vec<_>, Vec<_>) = granted().into_iter().unzip();
    sqlx::query(
        "SELECT format('GRANT %s ON %I TO ecomdash_app', r.name, r.of)
         FROM UNNEST($1::text[], $2::text[]) AS r (name, of)
         WHERE NOT COALESCE(has_table_privilege('ecomdash_app', to_regclass(r.of), r.name), false)
         ORDER BY 1",
    )
    .bind(rights)
    .bind(tables)
    .try_map(|row: PgRow| row.try_get(0))
    .fetch_all(connection)
    .await
}

/// What the migrations grant to the application's role: a right and a table each.
fn granted() -> Vec<(String, String)> {
    let mut granted = Vec::new();
    for statement in MIGRATIONS.iter().flat_map(|migration| migration.sql.split(';')) {
        let Some((rights, tables)) = grant(statement) else { continue };
        for right in rights.split(',') {
            granted.extend(tables.split(',').map(|table| (right.trim().to_owned(), table.trim().to_owned())));
        }
    }
    granted
}

fn grant(statement: &str) -> Option<(&str, &str)> {
    let (_, grant) = statement.rsplit_once("GRANT ")?;
    grant.trim_end().strip_suffix(" TO ecomdash_app")?.split_once(" ON ")
}

/// Makes row-level security hold for the owner, too, wherever it does not: a dump lifts it, and what is restored has the
/// lifted state of the dump.
///
/// A table that somebody reads as a whole, as a dump does, is left as it is after three seconds, and from then on each such
/// table at once: everybody who wants it would wait behind this. Autovacuum gives way after one.
pub(crate) async fn force_row_security(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    const LOCK_NOT_AVAILABLE: &str = "55P03";
    let owned = format!("{UNFORCED} AND pg_has_role(c.relowner, 'USAGE') ORDER BY 1");
    let unforced: Vec<String> =
        sqlx::query(&owned).try_map(|row: PgRow| row.try_get(0)).fetch_all(&mut *connection).await?;
    if unforced.is_empty() {
        return Ok(());
    }
    connection.execute("SET lock_timeout = '3s'").await?;
    let mut left = Vec::new();
    for table in unforced {
        let name = table.replace('"', "\"\"");
        let sql = format!("ALTER TABLE \"{name}\" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY");
        match connection.execute(&*sql).await {
            Ok(_) => tracing::warn!(table, "row-level security was lifted and holds again"),
            Err(error) => {
                let code = error.as_database_error().and_then(|refusal| refusal.code());
                if code.as_deref() != Some(LOCK_NOT_AVAILABLE) {
                    return Err(error);
                }
                left.push(table);
                connection.execute("SET lock_timeout = '100ms'").await?;
            }
        }
    }
    if !left.is_empty() {
        tracing::warn!(
            tables = left.join(", "),
            "row-level security is lifted and stays so for now: somebody reads whole tables, a pg_dump? `ecomdash migrate` \
             again when it has ended"
        );
    }
    connection.execute("RESET lock_timeout").await?;
    Ok(())
}

/// Whether the planner knows how large the log is: on a restored database it does not before `ANALYZE`.
///
/// # Errors
/// Whatever the database answers.
pub async fn has_statistics(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    // Small tables do well without. The statistics themselves are hidden from the owner by row-level security. After a crash
    // the server has forgotten when it last looked, and the count of what changed since: what was restored just before and
    // never looked at is not told from what was.
    sqlx::query_scalar(
        "SELECT COALESCE(s.last_analyze, s.last_autoanalyze) IS NOT NULL OR s.n_mod_since_analyze <= c.reltuples / 2
             OR pg_relation_size(c.oid) < 1000000
         FROM pg_class c
         JOIN pg_stat_user_tables s ON s.relid = c.oid
         WHERE c.oid = to_regclass('events')",
    )
    .fetch_one(connection)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_grant_of_the_migrations_is_known() {
        let statements = MIGRATIONS.iter().flat_map(|migration| migration.sql.split(';'));
        for statement in statements.filter(|statement| statement.contains("GRANT ")) {
            assert!(grant(statement).is_some(), "{statement}");
        }
        let granted = granted();
        for (right, table) in
            [("SELECT", "events"), ("INSERT", "events"), ("DELETE", "inbox"), ("UPDATE", "subject_keys")]
        {
            assert!(granted.contains(&(right.to_owned(), table.to_owned())), "{right} on {table}");
        }
        assert!(!granted.contains(&("UPDATE".to_owned(), "events".to_owned())));
    }
}
