//! `GET /openapi.json`: the document of the surface, and `GET /docs`: a page that shows it. Its files are in the binary, and the
//! page may load nothing from elsewhere.

use std::sync::Arc;

use axum::{
    extract::{Path, rejection::PathRejection},
    http::{HeaderName, header},
    response::{Html, IntoResponse},
};
use utoipa_swagger_ui::Config;

use crate::{ApiError, openapi};

/// Styles may stand in the page: Swagger UI writes them into its elements, and its icons are `data:`.
const POLICY: [(HeaderName, &str); 3] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// With paths that hold for `/docs` and `/docs/`. What it names is served, and nothing else.
const PAGE: &str = include_str!("docs/index.html");

/// Ours, beside those of Swagger UI: name, type, content.
const FILES: [(&str, &str, &str); 2] = [
    ("docs.css", "text/css; charset=utf-8", include_str!("docs/docs.css")),
    ("docs.js", "text/javascript; charset=utf-8", include_str!("docs/docs.js")),
];

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "document", tag = "service",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)),
)]
pub async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], openapi::document())
}

/// This document as a page.
#[utoipa::path(
    get, path = "/docs", operation_id = "docs", tag = "service",
    responses((status = 200, description = "HTML", body = String, content_type = "text/html")),
)]
pub async fn page() -> impl IntoResponse {
    (POLICY, Html(PAGE))
}

/// The same page.
#[utoipa::path(
    get, path = "/docs/", operation_id = "docs_in_folder", tag = "service",
    responses((status = 200, description = "HTML", body = String, content_type = "text/html")),
)]
pub async fn page_in_folder() -> impl IntoResponse {
    page().await
}

/// A file of the page.
#[utoipa::path(
    get, path = "/docs/{file}", operation_id = "docs_file", tag = "service",
    params(("file" = String, Path, description = "Its name", example = "swagger-ui.css")),
    responses(
        (status = 200, description = "The file", content(
            (String = "text/css"), (String = "text/javascript"), ("image/png"),
        )),
        (status = 400, description = "The name is not UTF-8"),
        (status = 404, description = "There is none of that name"),
    ),
)]
pub async fn file(path: Result<Path<String>, PathRejection>) -> Result<impl IntoResponse, ApiError> {
    let Path(name) = path?;
    if !PAGE.contains(&format!("\"/docs/{name}\"")) {
        return Err(ApiError::NotFound("no such file"));
    }
    let ours = FILES.into_iter().find(|(file, ..)| *file == name);
    let (content_type, content) = match ours {
        Some((_, content_type, content)) => (content_type.to_owned(), content.as_bytes().to_vec()),
        None => {
            let found = utoipa_swagger_ui::serve(&name, Arc::new(Config::new(["/openapi.json"])));
            let found = found.map_err(|error| ApiError::Internal(error.to_string().into()))?;
            let found = found.ok_or(ApiError::NotFound("no such file"))?;
            (found.content_type, found.bytes.into_owned())
        }
    };
    let kept = (header::CACHE_CONTROL, "public, max-age=3600");
    Ok((POLICY, [kept], [(header::CONTENT_TYPE, content_type)], content))
}
