//! `GET /`: the first page, of what runs and how far it is. It is made of what the API answers to whoever pastes a token;
//! without one it shows what `/health` does.

use axum::{
    extract::{Path, rejection::PathRejection},
    http::{HeaderName, header},
    response::{Html, IntoResponse},
};

use crate::ApiError;

/// Nothing may be loaded from elsewhere, and nothing but the page's own files may run.
const POLICY: [(HeaderName, &str); 1] = [(
    header::CONTENT_SECURITY_POLICY,
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)];

const PAGE: &str = include_str!("home/index.html");

/// Name, type, content.
const FILES: [(&str, &str, &str); 2] = [
    ("home.css", "text/css; charset=utf-8", include_str!("home/home.css")),
    ("home.js", "text/javascript; charset=utf-8", include_str!("home/home.js")),
];

/// What runs, which shops there are, how far their figures are: as a page.
#[utoipa::path(
    get, path = "/", operation_id = "home", tag = "service",
    responses((status = 200, description = "HTML", body = String, content_type = "text/html")),
)]
pub async fn page() -> impl IntoResponse {
    (POLICY, Html(PAGE))
}

/// A file of the page.
#[utoipa::path(
    get, path = "/home/{file}", operation_id = "home_file", tag = "service",
    params(("file" = String, Path, description = "Its name", example = "home.css")),
    responses(
        (status = 200, description = "The file", content((String = "text/css"), (String = "text/javascript"))),
        (status = 400, description = "The name is not UTF-8"),
        (status = 404, description = "There is none of that name"),
    ),
)]
pub async fn file(path: Result<Path<String>, PathRejection>) -> Result<impl IntoResponse, ApiError> {
    let Path(name) = path?;
    let (_, content_type, content) =
        FILES.into_iter().find(|(file, ..)| *file == name).ok_or(ApiError::NotFound("no such file"))?;
    Ok((POLICY, [(header::CONTENT_TYPE, content_type)], content))
}
