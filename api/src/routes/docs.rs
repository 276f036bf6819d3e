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
const PAGE: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>EcomDash API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/swagger-ui-standalone-preset.js"></script>
<script src="/docs/swagger-initializer.js"></script>
</body>
</html>
"#;

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "service",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)),
)]
pub async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], openapi::document())
}

/// This document as a page.
#[utoipa::path(
    get, path = "/docs", tag = "service",
    responses((status = 200, description = "HTML", body = String, content_type = "text/html")),
)]
pub async fn page() -> impl IntoResponse {
    (POLICY, Html(PAGE))
}

/// The same page.
#[utoipa::path(
    get, path = "/docs/", tag = "service",
    responses((status = 200, description = "HTML", body = String, content_type = "text/html")),
)]
pub async fn page_in_folder() -> impl IntoResponse {
    page().await
}

/// A file of the page.
#[utoipa::path(
    get, path = "/docs/{file}", tag = "service",
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
    // No validator: it would be a page elsewhere that is told the document's address.
    let config = Config::new(["/openapi.json"]).validator_url("none").use_base_layout();
    if !PAGE.contains(&format!("\"/docs/{name}\"")) {
        return Err(ApiError::NotFound("no such file"));
    }
    let found = utoipa_swagger_ui::serve(&name, Arc::new(config));
    let found = found.map_err(|error| ApiError::Internal(error.to_string().into()))?;
    let found = found.ok_or(ApiError::NotFound("no such file"))?;
    let kept = (header::CACHE_CONTROL, "public, max-age=3600");
    Ok((POLICY, [kept], [(header::CONTENT_TYPE, found.content_type)], found.bytes.into_owned()))
}
