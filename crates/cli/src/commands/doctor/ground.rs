//! The server, its roles, the schema and what guards it: what everything else stands on.

use std::time::Duration;

use chrono::Utc;
use event_store::inspect::{self, AppRole, Guards};
use sqlx::{Connection, PgConnection};

use super::Report;
use crate::{
    commands::serve::{SERVE_CONNECTIONS, WORK_CONNECTIONS},
    config::Environment,
};

const OLDEST: i32 = 150_000;
const PATIENCE: Duration = Duration::from_secs(10);
/// Between the clocks of the database and of this machine.
const SKEW_S: i64 = 5;
/// `migrate`, or a command beside the services.
const COMMAND_CONNECTIONS: u32 = 2;

/// Whether it makes sense to look further.
pub async fn examine(environment: &Environment, url: &str, report: &mut Report) -> bool {
    let connected = tokio::time::timeout(PATIENCE, PgConnection::connect(url)).await;
    let mut connection = match connected {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            let (finding, fix) = no_connection(&error);
            report.trouble("database", &finding, fix);
            return false;
        }
        Err(_) => {
            report.trouble(
                "database",
                "no answer within ten seconds",
                "see that the server runs and is reachable from here",
            );
            return false;
        }
    };
    let is_usable = match server(environment, &mut connection, report).await {
        Ok(()) => match schema(&mut connection, report).await {
            Ok(is_usable) => is_usable,
            Err(error) => {
                report.failed("schema", &error);
                false
            }
        },
        Err(error) => {
            report.failed("server", &error);
            false
        }
    };
    let _ = connection.close().await;
    is_usable
}

/// By what the server says, in its codes; its own words may hold more than they should.
fn no_connection(error: &sqlx::Error) -> (String, &'static str) {
    let code = error.as_database_error().and_then(|refusal| refusal.code()).unwrap_or_default().into_owned();
    match (code.as_str(), error) {
        ("28P01" | "28000", _) => (
            "the server refuses the login".to_owned(),
            "copy user and password into DATABASE_URL again; other characters than letters and digits are percent-encoded",
        ),
        ("3D000", _) => ("there is no such database on the server".to_owned(), "name one that exists, or create it"),
        ("53300", _) => (
            "the server has no connection left".to_owned(),
            "see who holds them (pg_stat_activity), lower DATABASE_POOL_SIZE or the number of instances, or take a larger plan",
        ),
        ("57P03", _) => ("the server is starting or stopping".to_owned(), "wait, then look again"),
        // Its own words quote what it could not read, which may be a part of the password.
        ("", sqlx::Error::Configuration(_)) => (
            "DATABASE_URL cannot be read as an address".to_owned(),
            "write postgres://USER:PASSWORD@HOST:PORT/DATABASE; a password's @, : / ? # and % are written as %40 …",
        ),
        ("", sqlx::Error::Tls(_)) => (
            "the encrypted connection cannot be made".to_owned(),
            "check sslmode and sslrootcert in DATABASE_URL; `sslmode=require` encrypts and trusts any certificate",
        ),
        ("", sqlx::Error::Io(error)) => (
            format!("it cannot be reached: {error}"),
            "check host and port in DATABASE_URL, and that the server lets this machine in",
        ),
        _ => (format!("it refuses: {error}"), "see the server's log"),
    }
}

async fn server(
    environment: &Environment,
    connection: &mut PgConnection,
    report: &mut Report,
) -> Result<(), sqlx::Error> {
    let server = inspect::server(connection).await?;
    let mebibytes = server.bytes / (1 << 20);
    report.good("database", &format!("PostgreSQL {} answers; {mebibytes} MiB, login {}", server.version, server.login));
    if server.version_number < OLDEST {
        report.trouble("server", "it is older than PostgreSQL 15", "dump it and restore it into a newer one");
    }
    if server.is_standby {
        report.trouble("server", "it is a standby, which takes no writes", "name the primary in DATABASE_URL");
    }
    if server.encoding != "UTF8" {
        report.trouble(
            "server",
            &format!("the database's encoding is {}", server.encoding),
            "create the database with ENCODING 'UTF8' and restore into it",
        );
    }
    if server.is_superuser && environment.database_url.is_some() {
        report.warning(
            "server",
            "the login is a superuser or passes row-level security: a mistake in it would hold nothing back",
            "use a login with CREATEROLE and nothing else",
        );
    }
    let skew = (server.now - Utc::now()).num_seconds();
    if skew.abs() > SKEW_S {
        report.warning(
            "clock",
            &format!("the database's clock differs from this machine's by {skew} s"),
            "let both follow a time server; the log goes by the database's",
        );
    }
    let of = |usual| i64::from(environment.pool_size(usual));
    let needed = 2 * (of(SERVE_CONNECTIONS) + of(WORK_CONNECTIONS)) + i64::from(COMMAND_CONNECTIONS);
    let bounds = server.connections.iter().map(|bound| format!("{} of {} of {}", bound.used, bound.most, bound.of));
    let finding = format!(
        "in use {}; one API and one worker, two releases of both while a deploy runs, and a command need {needed}",
        bounds.collect::<Vec<_>>().join(", ")
    );
    if server.connections.iter().any(|bound| needed > bound.most) {
        report.trouble(
            "connections",
            &finding,
            "lower DATABASE_POOL_SIZE, or raise the bound: max_connections (a larger plan), CONNECTION LIMIT of database or login",
        );
    } else if server.connections.iter().any(|bound| bound.used * 10 > bound.most * 9) {
        report.warning("connections", &finding, "see who holds them: pg_stat_activity, by application_name");
    } else {
        report.good("connections", &finding);
    }
    match inspect::app_role(connection).await? {
        AppRole::Usable => report.good("rights", "the login may become ecomdash_app, which may no more than was granted"),
        AppRole::Missing => report.trouble(
            "rights",
            "there is no role ecomdash_app: nothing was migrated here, or the database was restored into another cluster",
            "ecomdash migrate (with a login that has CREATEROLE), or as an administrator: CREATE ROLE ecomdash_app NOLOGIN; \
             GRANT ecomdash_app TO the login; then restore again, since grants went missing",
        ),
        AppRole::NotGranted => report.trouble(
            "rights",
            "the login may not become ecomdash_app",
            "as an administrator: GRANT ecomdash_app TO the login",
        ),
        AppRole::TooMighty => report.trouble(
            "rights",
            "ecomdash_app passes row-level security: shops are not kept apart",
            "as an administrator: ALTER ROLE ecomdash_app NOSUPERUSER NOBYPASSRLS",
        ),
    }
    Ok(())
}

async fn schema(connection: &mut PgConnection, report: &mut Report) -> Result<bool, sqlx::Error> {
    let state = inspect::schema_state(connection).await?;
    let list = |versions: &[i64]| versions.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    if !state.failed.is_empty() {
        let failed = list(&state.failed);
        report.trouble(
            "schema",
            &format!("migration {failed} was begun and not ended, and no other is applied before it is"),
            &format!(
                "undo by hand what it left (its text is in migrations/), then DELETE FROM _sqlx_migrations WHERE version IN \
                 ({failed}), then ecomdash migrate"
            ),
        );
        return Ok(false);
    }
    if !state.missing.is_empty() {
        report.trouble(
            "schema",
            &format!("it is behind this build: migration {} is missing, and the API answers 503", list(&state.missing)),
            "ecomdash migrate",
        );
        return Ok(false);
    }
    if !state.changed.is_empty() {
        report.trouble(
            "schema",
            &format!("migration {} was applied from another text than this build's", list(&state.changed)),
            "run the build that the database belongs to",
        );
        return Ok(false);
    }
    let newer = if state.newer.is_empty() { "" } else { "; a newer build has been here, which does no harm" };
    report.good("schema", &format!("every migration of this build is applied{newer}"));

    guards(connection, report).await?;
    if !inspect::has_statistics(connection).await? {
        report.warning("statistics", "the planner knows nothing of the tables yet: slow until it does", "ANALYZE");
    }
    Ok(true)
}

async fn guards(connection: &mut PgConnection, report: &mut Report) -> Result<(), sqlx::Error> {
    let Guards { unforced, wrong_policy, rights_on_log, missing_rights, log_refuses_changes, invalid_indexes } =
        inspect::guards(connection).await?;
    let before = report.troubles;
    if !unforced.is_empty() {
        report.trouble(
            "isolation",
            &format!("row-level security is lifted on {}", unforced.join(", ")),
            "first see that no pg_dump runs, which lifts it; then ecomdash migrate, which makes it hold again",
        );
    }
    if !wrong_policy.is_empty() {
        report.trouble(
            "isolation",
            &format!("{} has not the policy that keeps shops apart, or others beside it", wrong_policy.join(", ")),
            "drop what others have added, or make the policy `tenant` again as the table's migration does",
        );
    }
    if !log_refuses_changes || !rights_on_log.is_empty() {
        report.trouble(
            "log",
            "events could be changed: the trigger events_are_immutable is off, or ecomdash_app has too many rights",
            "ALTER TABLE events ENABLE TRIGGER events_are_immutable; REVOKE UPDATE, DELETE, TRUNCATE ON events FROM \
             ecomdash_app; then `ecomdash verify`",
        );
    }
    if !missing_rights.is_empty() {
        report.trouble(
            "rights",
            &format!("ecomdash_app may not do {} things that it has to", missing_rights.len()),
            &missing_rights.join("; "),
        );
    }
    if before == report.troubles {
        report.good("isolation", "row-level security holds on every tenant table, and the log refuses changes");
    }
    if !invalid_indexes.is_empty() {
        report.warning(
            "indexes",
            &format!("{} was begun and not ended", invalid_indexes.join(", ")),
            &format!("REINDEX INDEX CONCURRENTLY {}", invalid_indexes.join("; REINDEX INDEX CONCURRENTLY ")),
        );
    }
    Ok(())
}
