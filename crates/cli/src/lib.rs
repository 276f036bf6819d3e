//! The command line: the only place that reads the environment, and what the one binary can do.

pub mod args;
mod commands;
mod config;
mod logging;
mod observe;
pub mod postgres;
pub mod process;
mod session;

pub use commands::{SERVE_CONNECTIONS, WORK_CONNECTIONS, run};

/// To ask others over HTTP: sqlx's cryptography serves here, too, and a second library of it would be built for nothing.
pub fn http_client() -> reqwest::ClientBuilder {
    // Fails where it was installed before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}
