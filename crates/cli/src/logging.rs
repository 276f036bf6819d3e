//! Logs: to standard error, as JSON in production.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::{EnvFilter, fmt};

/// Starts logging. Called once.
pub fn start(level: &str, json: bool) {
    // sqlx logs statements, hyper logs bytes: neither says anything that our own lines do not. What sqlx could not read in
    // an address may be a part of the password.
    // A directive is for every target that begins so: every crate of ours.
    let filter = EnvFilter::try_new(format!("warn,sqlx_postgres::options=off,ecomdash={level}"))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = fmt().with_env_filter(filter).with_writer(|| Errors).with_ansi(io::stderr().is_terminal());
    if json {
        builder.json().flatten_event(true).with_current_span(true).with_span_list(false).init();
    } else {
        builder.with_target(false).init();
    }
}

/// Standard error, whose reader may go away: the subscriber would report that there, too, and panic in whatever task had
/// something to log.
struct Errors;

impl Write for Errors {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
