//! The HTTP surface: webhooks in, figures out. It translates and holds no rules.
//!
//! To add an endpoint: a file in `routes/`, and a line in `routes()`. What its `#[utoipa::path]` says goes into the document.

mod auth;
mod body_budget;
mod edge;
mod error;
mod figures;
mod limits;
mod metrics;
mod moment;
mod ndjson;
mod openapi;
mod period;
mod request_log;
mod routes;
mod server;
mod side;
mod tokens;
mod turns;
mod webhooks;

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit, middleware};
use chrono::{DateTime, Utc};
use event_store::Database;
use ingest::Receiver;
use secrecy::SecretString;
use tokio::sync::Notify;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};
use vault::SigningKeys;

pub use auth::Role;
pub use edge::{Edge, Origins};
pub use error::ApiError;
pub use limits::{Limits, Peer, Quota, Quotas, SharedLimits};
pub use metrics::{MetricsPage, register_metrics};
pub use openapi::document;
pub use server::{ServerOptions, serve};
pub use side::side_router;
pub use tokens::{IssuedToken, TokenInfo, issue, list, revoke};
pub use turns::Turns;

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
    /// How many logs may be verified at once.
    pub verifying: Arc<Turns>,
    /// How many figures may be made at once that read the ledger itself.
    pub adding_up: Arc<Turns>,
    /// How long a redaction is waited with.
    pub redaction_hold_hours: u32,
    /// By which checkpoints are signed and checked; without, none is signed here.
    pub signing: Option<Arc<SigningKeys>>,
}

/// Every route, with what the document says of it.
fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::Surroundings::openapi())
        .routes(routes!(routes::stats::stats))
        .routes(routes!(routes::series::series))
        .routes(routes!(routes::breakdown::breakdown))
        .routes(routes!(routes::explain::explain))
        .routes(routes!(routes::restatements::restatements))
        .routes(routes!(routes::orders::orders))
        .routes(routes!(routes::shops::shops))
        .routes(routes!(routes::shops::shop))
        .routes(routes!(routes::redactions::request, routes::redactions::list))
        .routes(routes!(routes::redactions::one))
        .routes(routes!(routes::redactions::confirm))
        .routes(routes!(routes::redactions::cancel))
        .routes(routes!(routes::redactions::hold))
        .routes(routes!(routes::redactions::release))
        .routes(routes!(routes::exports::request, routes::exports::list))
        .routes(routes!(routes::exports::one))
        .routes(routes!(routes::exports::choose))
        .routes(routes!(routes::exports::renew))
        .routes(routes!(routes::exports::document))
        .routes(routes!(routes::requests::list))
        .routes(routes!(routes::grants::issue, routes::grants::list))
        .routes(routes!(routes::grants::revoke))
        .routes(routes!(routes::audit::events))
        .routes(routes!(routes::audit::aggregate))
        .routes(routes!(routes::audit_verify::verify))
        .routes(routes!(routes::audit_verify::checkpoint))
        .routes(routes!(webhooks::receive))
        .routes(routes!(webhooks::receive_topic))
        .routes(routes!(routes::health::live))
        .routes(routes!(routes::health::ready))
        .routes(routes!(metrics::page))
        .routes(routes!(routes::home::page))
        .routes(routes!(routes::home::file))
        .routes(routes!(routes::docs::document))
        .routes(routes!(routes::docs::page))
        .routes(routes!(routes::docs::page_in_folder))
        .routes(routes!(routes::docs::file))
}

/// The whole surface.
pub fn router(app: App) -> Router {
    let edge = Arc::clone(&app.edge);
    let (routes, document) = routes().split_for_parts();
    let gate = auth::Gate::new(app.clone(), &document);
    surface(routes.route_layer(middleware::from_fn_with_state(gate, auth::admit)))
        .layer(middleware::from_fn_with_state(edge, edge::guard))
        .layer(middleware::from_fn(request_log::observe))
        .with_state(app)
}

fn surface(routes: Router<App>) -> Router<App> {
    routes
        .fallback(async || ApiError::NotFound("no such route"))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}
