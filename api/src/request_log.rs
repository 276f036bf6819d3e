//! One line for every request, with an id that the caller can quote.

use std::time::{Duration, Instant};

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use tracing::Instrument;
use uuid::Uuid;

use crate::{ApiError, metrics::count_request};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request that is being served.
pub fn request_id() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// When the accept loop gives a request up.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

/// Counts a request when it is answered, and when it is dropped: at its deadline, or because the client went away.
struct Under {
    method: Method,
    route: String,
    started: Instant,
    deadline: Option<Deadline>,
    is_counted: bool,
}

impl Under {
    fn answered(&mut self, status: u16) -> Duration {
        let took = self.started.elapsed();
        self.is_counted = true;
        count_request(&self.method, &self.route, status, took);
        took
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        if !self.is_counted {
            let is_late = self.deadline.is_some_and(|Deadline(at)| at <= Instant::now());
            // 499: what is commonly written for a client that did not wait.
            let status = if is_late { StatusCode::SERVICE_UNAVAILABLE.as_u16() } else { 499 };
            self.answered(status);
        }
    }
}

/// Gives a request its id, logs its outcome, and turns a panic into a problem.
pub async fn observe(request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| is_well_formed(id))
        .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
    // The route's pattern, not the path: a path may hold what should not be logged.
    let route =
        request.extensions().get::<MatchedPath>().map_or("unmatched".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!("request", request_id = id);
    let deadline = request.extensions().get::<Deadline>().copied();
    let method = request.method().clone();
    let mut under = Under { method, route, started: Instant::now(), deadline, is_counted: false };
    CURRENT
        .scope(id.clone(), async move {
            let outcome = AssertUnwindSafe(next.run(request)).catch_unwind().await;
            let mut response =
                outcome.unwrap_or_else(|_| ApiError::Internal("a handler panicked".into()).into_response());
            if let Ok(value) = HeaderValue::from_str(&id) {
                response.headers_mut().insert(REQUEST_ID, value);
            }
            let status = response.status().as_u16();
            let duration_us = u64::try_from(under.answered(status).as_micros()).unwrap_or(u64::MAX);
            tracing::info!(method = %under.method, route = under.route, status, duration_us, "request");
            response
        })
        .instrument(span)
        .await
}

fn is_well_formed(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}
