//! `GET /metrics`, and what is counted about requests and webhooks.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, PoisonError, RwLock},
    time::Duration,
};

use axum::{
    extract::{FromRef, State},
    http::{HeaderMap, Method, header},
    response::{IntoResponse, Response},
};
use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{ApiError, App, limits};

/// Who may read the metrics, and how they are written.
#[derive(Clone)]
pub struct MetricsPage {
    /// Two digests are compared in the same time, however the tokens differ, in length too.
    token_hash: [u8; 32],
    render: Arc<dyn Fn() -> String + Send + Sync>,
}

impl MetricsPage {
    /// A page for whoever has the token.
    pub fn new(token: &SecretString, render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self { token_hash: digest(token.expose_secret()), render: Arc::new(render) }
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// What the route needs: nothing where there is no token, and it answers as if it were not there.
#[derive(Clone)]
pub(crate) struct Page(pub(crate) Option<MetricsPage>);

impl FromRef<App> for Page {
    fn from_ref(app: &App) -> Self {
        Self(app.edge.metrics.clone())
    }
}

/// Prometheus metrics of this process and of the fleet.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "service",
    responses(
        (status = 200, description = "In Prometheus' text format", body = String, content_type = "text/plain"),
        (status = 401, description = "No token, or another one"),
        (status = 404, description = "Without METRICS_TOKEN there is no such route"),
    ),
    security(("metrics" = [])),
)]
pub(crate) async fn page(State(Page(page)): State<Page>, headers: HeaderMap) -> Result<Response, ApiError> {
    let page = page.ok_or(ApiError::NotFound("no such route"))?;
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(ApiError::Unauthorized);
    };
    let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or(ApiError::Unauthorized)?;
    let fits: bool = digest(token.trim()).ct_eq(&page.token_hash).into();
    if !fits || !scheme.eq_ignore_ascii_case("bearer") {
        return Err(ApiError::Unauthorized);
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (page.render)()).into_response())
}

/// A route's handles: which methods and statuses it meets is known once it has met them.
#[derive(Default)]
struct Endpoint {
    requests: HashMap<(&'static str, u16), Counter>,
    durations: HashMap<&'static str, Histogram>,
}

static ENDPOINTS: LazyLock<RwLock<HashMap<String, Endpoint>>> = LazyLock::new(|| {
    describe_counter!("http_requests_total", "Requests by method, route and status; 499: the client went away");
    describe_histogram!("http_request_duration_seconds", "From a request's head to its answer");
    RwLock::default()
});

/// Counts a request. `endpoint` is a route's pattern: paths are not bounded, and may hold what labels must not.
pub(crate) fn count_request(method: &Method, endpoint: &str, status: u16, took: Duration) {
    let method = method_label(method);
    {
        let endpoints = ENDPOINTS.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = endpoints.get(endpoint)
            && let (Some(requests), Some(duration)) =
                (known.requests.get(&(method, status)), known.durations.get(method))
        {
            requests.increment(1);
            duration.record(took);
            return;
        }
    }
    let mut endpoints = ENDPOINTS.write().unwrap_or_else(PoisonError::into_inner);
    let known = endpoints.entry(endpoint.to_owned()).or_default();
    let new_counter = || {
        let labels = [("method", method.to_owned()), ("endpoint", endpoint.to_owned()), ("status", status.to_string())];
        counter!("http_requests_total", &labels)
    };
    known.requests.entry((method, status)).or_insert_with(new_counter).increment(1);
    let new_histogram =
        || histogram!("http_request_duration_seconds", "method" => method, "endpoint" => endpoint.to_owned());
    known.durations.entry(method).or_insert_with(new_histogram).record(took);
}

/// Methods can be made up.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// What became of a webhook at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WebhookOutcome {
    Stored,
    Duplicate,
    Unclaimed,
    /// The signature is missing or does not fit.
    Forged,
    /// Too long, or broken off.
    Unreadable,
    /// It could not be made durable: Shopify sends it again.
    NotStored,
}

static WEBHOOKS: LazyLock<[Counter; 6]> = LazyLock::new(|| {
    describe_counter!("webhooks_total", "Webhooks by what became of them at the door");
    ["stored", "duplicate", "unclaimed", "forged", "unreadable", "not_stored"]
        .map(|outcome| counter!("webhooks_total", "outcome" => outcome))
});

pub(crate) fn count_webhook(outcome: WebhookOutcome) {
    WEBHOOKS[outcome as usize].increment(1);
}

static REFUSED_CONNECTIONS: LazyLock<Counter> = LazyLock::new(|| {
    describe_counter!("http_connections_refused_total", "Connections that were closed for being too many at once");
    counter!("http_connections_refused_total")
});

pub(crate) fn count_refused_connection() {
    REFUSED_CONNECTIONS.increment(1);
}

/// Makes the counters be there before the first request. To be called after the recorder is installed.
pub fn register_metrics() {
    LazyLock::force(&ENDPOINTS);
    LazyLock::force(&WEBHOOKS);
    LazyLock::force(&REFUSED_CONNECTIONS);
    limits::register_metrics();
}
