//! What a process serves that has no API: whether it lives, and its metrics.

use std::sync::Arc;

use axum::{Router, middleware, response::Response, routing::get};

use crate::{ApiError, MetricsPage, edge, metrics, request_log, routes::health::alive};

/// `/health` and `/metrics`.
pub fn side_router(environment: Arc<str>, page: Option<MetricsPage>) -> Router {
    let live = async move || alive(&environment);
    let with_headers = async |mut response: Response| {
        edge::plain_headers(response.headers_mut());
        response
    };
    Router::new()
        .route("/health", get(live))
        .route("/metrics", get(metrics::page))
        .fallback(async || ApiError::NotFound("no such route"))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(middleware::map_response(with_headers))
        .layer(middleware::from_fn(request_log::observe))
        .with_state(metrics::Page(page))
}
