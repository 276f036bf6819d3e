//! Answers of any length: JSON, a value a line.

use std::error::Error;

use axum::{
    body::Body,
    http::{HeaderValue, Version, header},
    response::{IntoResponse, Response},
};
use event_store::StoreError;
use futures::{Stream, StreamExt, TryStreamExt, stream};

use crate::ApiError;

/// What such answers say that they are.
pub const NDJSON: &str = "application/x-ndjson";

/// An answer of what a stream yields, each whole lines, or nothing while it looks for more. What
/// fails before the first of these is a problem as anywhere else;
/// what fails later ends the connection without the end of the body, so that no client takes a part for the whole.
pub async fn answer(
    version: Version,
    mut lines: impl Stream<Item = Result<String, StoreError>> + Send + Unpin + 'static,
) -> Result<Response, ApiError> {
    if version < Version::HTTP_11 {
        // It would end a body that was cut as it ends a whole one.
        return Err(ApiError::BadRequest("this answer needs HTTP/1.1".into()));
    }
    let first = lines.try_next().await?;
    let all = stream::iter(first.map(Ok)).chain(lines).inspect_err(|error| {
        // The status is sent: this is all that is said of it.
        tracing::warn!(error = error as &dyn Error, "an answer was cut");
    });
    let mut response = Body::from_stream(all).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    Ok(response)
}
