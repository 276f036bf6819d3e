//! What people say with a request: what they mean, and why.

use axum::{
    Json,
    extract::{
        Path,
        rejection::{JsonRejection, PathRejection},
    },
};
use chrono::{DateTime, Utc};
use compliance::Reason;
use domain::redaction::Said;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::ApiError;

/// Why something is done.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReasonRequest {
    /// Which law or case; kept for ever, so without anybody's address or number.
    #[schema(max_length = 200)]
    reason: String,
}

impl ReasonRequest {
    /// The word of whoever asks, for this reason.
    pub(super) fn said(body: Result<Json<Self>, JsonRejection>, by: &str, at: DateTime<Utc>) -> Result<Said, ApiError> {
        let Json(Self { reason }) = body?;
        Ok(reason_of(&reason)?.said_by(by, at))
    }
}

/// The database takes no zero byte, and no id has one.
pub(super) fn id_of(path: Result<Path<String>, PathRejection>) -> Result<String, ApiError> {
    let Path(id) = path?;
    if id.contains('\0') { Err(ApiError::NotFound("no such id")) } else { Ok(id) }
}

/// Why something is to be.
pub(super) fn reason_of(text: &str) -> Result<Reason, ApiError> {
    text.parse().map_err(|fault| ApiError::BadRequest(format!("`reason`: {fault}").into()))
}

pub(super) fn bad(detail: &'static str) -> ApiError {
    ApiError::BadRequest(detail.into())
}
