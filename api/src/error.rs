//! Everything that a handler can answer instead of what was asked for, as RFC 9457 problem details.

use std::{borrow::Cow, error::Error};

use axum::{
    Json,
    extract::rejection::{JsonRejection, PathRejection, QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use event_store::StoreError;
use serde_json::{Value, json};

use crate::{MAX_BODY_BYTES, request_log::request_id};

/// A problem. No variant shows a secret, a person or an inner workings.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The request cannot be understood; the text says what to change.
    #[error("{0}")]
    BadRequest(Cow<'static, str>),
    /// No token, or none that is good.
    #[error("a valid bearer token is needed")]
    Unauthorized,
    /// The delivery's signature is missing or wrong.
    #[error("the signature is missing or does not fit")]
    BadSignature,
    /// The token's role may not do this.
    #[error("the token's role may not do this")]
    Forbidden,
    /// Personal data is not shown to this token.
    #[error("personal data is shown under a grant alone, and this token has none that runs: compliance issues them")]
    NoGrant,
    /// Not there, or not the caller's.
    #[error("{0}")]
    NotFound(&'static str),
    /// As things stand it cannot be; the text says why.
    #[error("{0}")]
    Conflict(Cow<'static, str>),
    /// Another method.
    #[error("the route does not take this method")]
    MethodNotAllowed,
    /// The body is too long.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// The request's address is too long.
    #[error("the request's first line is too long")]
    UriTooLong,
    /// There is too much before the body.
    #[error("the headers are too many or too long")]
    HeadersTooLarge,
    /// The body is packed.
    #[error("a delivery is taken as it was signed: without Content-Encoding")]
    Encoded,
    /// The client did not send its request in time.
    #[error("the request did not come in time")]
    TooSlow,
    /// More than are allowed; with the seconds after which the next one passes.
    #[error("too many requests; try again later")]
    TooManyRequests(u64),
    /// It took too long.
    #[error("the request took too long")]
    Timeout,
    /// The database is away or busy.
    #[error("the service cannot do this just now; try again shortly")]
    Unavailable(#[source] Option<Box<dyn Error + Send + Sync>>),
    /// A fault of ours.
    #[error("internal error")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
}

impl ApiError {
    fn status(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad-request", "The request cannot be understood"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "Not authenticated"),
            Self::BadSignature => (StatusCode::UNAUTHORIZED, "bad-signature", "Not signed"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "Not allowed"),
            Self::NoGrant => (StatusCode::FORBIDDEN, "no-grant", "Not allowed without a grant"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict", "It cannot be as things stand"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed"),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too long"),
            Self::UriTooLong => (StatusCode::URI_TOO_LONG, "uri-too-long", "The address is too long"),
            Self::HeadersTooLarge => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers-too-large", "The headers are too long")
            }
            Self::Encoded => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "encoded", "The body is encoded"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too-slow", "The request came too slowly"),
            Self::TooManyRequests(_) => (StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests"),
            Self::Timeout => (StatusCode::SERVICE_UNAVAILABLE, "timeout", "It took too long"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available just now"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
        }
    }
}

impl ApiError {
    fn problem(&self) -> (StatusCode, Value) {
        let (status, slug, title) = self.status();
        let problem = json!({
            "type": format!("/problems/{slug}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.to_string(),
            "request_id": request_id(),
        });
        (status, problem)
    }

    /// The whole answer as bytes, for a request that was not understood and so reached no route.
    pub(crate) fn to_wire(&self) -> Vec<u8> {
        let (status, problem) = self.problem();
        tracing::info!(status = status.as_u16(), reason = %self, "request refused before it was read");
        let problem = problem.to_string();
        let length = problem.len();
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n{problem}"
        )
        .into_bytes()
    }

    #[cfg(test)]
    pub(crate) fn status_code(&self) -> u16 {
        self.status().0.as_u16()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        // Logged here, once, with its causes; the caller sees none of them.
        match &self {
            Self::Internal(source) => {
                tracing::error!(error = &**source as &dyn Error, "request failed")
            }
            Self::Unavailable(Some(source)) => {
                tracing::warn!(error = &**source as &dyn Error, "not available")
            }
            _ => {}
        }
        let (status, problem) = self.problem();
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
            }
            _ => {}
        }
        if let Self::TooManyRequests(seconds) = self {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Conflict(_) => Self::Unavailable(Some(Box::new(error))),
            StoreError::NoSuchShop(_) => Self::NotFound("no such shop"),
            StoreError::Keys(_, vault::VaultError::Redacted) => Self::Conflict("the shop is erased".into()),
            StoreError::Duplicate { .. }
            | StoreError::BrokenChain { .. }
            | StoreError::Newer { .. }
            | StoreError::Unreadable { .. }
            | StoreError::Keys(..)
            | StoreError::Refused(_)
            | StoreError::Database(_) => Self::Internal(Box::new(error)),
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::BadRequest(rejection.body_text().into())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::BadRequest(rejection.body_text().into())
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge(MAX_BODY_BYTES),
            _ => Self::BadRequest(rejection.body_text().into()),
        }
    }
}
