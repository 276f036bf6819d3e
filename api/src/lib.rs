//! The HTTP surface: webhooks in, figures out. It translates and holds no rules.
//!
//! To add an endpoint: a file in `routes/`, and a line in [`router`].

mod auth;
mod edge;
mod error;
mod figures;
mod limits;
mod metrics;
mod period;
mod request_log;
mod routes;
mod server;
mod side;
mod tokens;
mod webhooks;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use event_store::Database;
use ingest::Receiver;
use secrecy::SecretString;
use tokio::sync::Notify;

pub use auth::Role;
pub use edge::{Edge, Origins};
pub use error::ApiError;
pub use limits::{Limits, Peer, Quota, Quotas, SharedLimits};
pub use metrics::{MetricsPage, register_metrics};
pub use server::{ServerOptions, serve};
pub use side::side_router;
pub use tokens::{IssuedToken, TokenInfo, issue, list, revoke};

/// Bodies other than webhooks are at most this long.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// What handlers need. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The log and the read models.
    pub database: Database,
    /// Stores deliveries.
    pub receiver: Receiver,
    /// The app's secrets, newest first.
    pub secrets: Arc<[SecretString]>,
    /// Wakes the workers of this process.
    pub wake: Arc<Notify>,
    /// What time it is.
    pub clock: fn() -> DateTime<Utc>,
    /// `development`, `production` …
    pub environment: Arc<str>,
    /// How it meets the world: limits, origins, metrics.
    pub edge: Arc<Edge>,
}

/// Every route.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/health", get(routes::health::live))
        .route("/health/ready", get(routes::health::ready))
        .route("/metrics", get(metrics::page))
        .route("/api/dashboard/stats", get(routes::stats::stats))
        .route("/api/dashboard/series", get(routes::series::series))
        .route("/api/orders", get(routes::orders::orders))
        .route("/api/shops/{domain}", get(routes::shops::shop))
        .route("/webhooks", post(webhooks::receive))
        .route("/webhooks/{topic}", post(webhooks::receive_topic))
        .fallback(async || ApiError::NotFound("no such route"))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(Arc::clone(&app.edge), edge::guard))
        .layer(middleware::from_fn(request_log::observe))
        .with_state(app)
}
