//! `POST` and `GET /api/compliance/grants`, `POST /api/compliance/grants/{id}/revoke`: who may see personal data in the log, for
//! how long and why, and how often they did.

use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    http::StatusCode,
};
use chrono::{DateTime, Utc};
use compliance::grant;
use domain::grant::{Grant, GrantError};
use event_store::{ShopTx, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    page::{PageQuery, cut},
    said::{ReasonRequest, id_of, reason_of},
};
use crate::{ApiError, App, auth::Handler};

const UNKNOWN: ApiError = ApiError::NotFound("no such grant");

/// Who may see personal data, for how long, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantRequest {
    /// The id of an auditor's token, as `ecomdash token list` shows it.
    #[schema(value_type = String, format = "uuid")]
    token: Uuid,
    /// Kept for ever, so without anybody's address or number.
    #[schema(max_length = 200)]
    reason: String,
    /// For so long from now.
    #[schema(minimum = 1, maximum = 72)]
    hours: u32,
}

/// A grant. Nothing in it is personal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Grant)]
pub struct GrantInfo {
    id: String,
    /// Whose it is: the id of an auditor's token.
    token: String,
    reason: String,
    /// Who issued it.
    by: String,
    issued_at: DateTime<Utc>,
    until: DateTime<Utc>,
    /// Personal data can be seen under it now.
    is_running: bool,
    /// Who took it back.
    #[schema(required)]
    revoked_by: Option<String>,
    /// How often it was used. What was read each time stands in the log.
    uses: u64,
    #[schema(required)]
    last_used_at: Option<DateTime<Utc>>,
}

impl GrantInfo {
    fn of(id: String, grant: Grant, now: DateTime<Utc>) -> Option<Self> {
        let is_running = grant.issued.as_ref().is_some_and(|issued| grant.allows(&issued.token, now));
        let Grant { issued, revoked_by, uses, last_used_at } = grant;
        let issued = issued?;
        Some(Self {
            id,
            token: issued.token,
            reason: issued.reason,
            by: issued.by,
            issued_at: issued.at,
            until: issued.until,
            is_running,
            revoked_by,
            uses,
            last_used_at,
        })
    }
}

/// A page of a shop's grants.
#[derive(Debug, Serialize, ToSchema)]
pub struct Grants {
    /// The newest first.
    items: Vec<GrantInfo>,
    /// Of the next page; `null` on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Lets an auditor see personal data in the log, for a reason and for a time. Each use of it is written into the log.
#[utoipa::path(
    post, path = "/api/compliance/grants", tag = "compliance", operation_id = "issue_grant",
    request_body = GrantRequest,
    responses(
        (status = 201, description = "The grant", body = GrantInfo),
        (status = 400, description = "It cannot be understood; the detail says what to change"),
        (status = 404, description = "The shop has no good auditor's token of that id"),
    ),
    security(("bearer" = ["compliance"])),
)]
pub async fn issue(
    handler: Handler,
    State(app): State<App>,
    body: Result<Json<GrantRequest>, JsonRejection>,
) -> Result<(StatusCode, Json<GrantInfo>), ApiError> {
    let Json(asked) = body?;
    let reason = reason_of(&asked.reason)?;
    let now = (app.clock)();
    let mut tx = app.database.begin(handler.shop).await?;
    let issued = grant::issue(&mut tx, asked.token, &reason, asked.hours, &handler.actor(), now).await;
    let id = issued.map_err(refusal)?;
    let shown = shown(&mut tx, id, now).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(shown)))
}

/// The shop's grants.
#[utoipa::path(
    get, path = "/api/compliance/grants", tag = "compliance", operation_id = "list_grants",
    params(PageQuery),
    responses(
        (status = 200, description = "A page", body = Grants),
        (status = 400, description = "No such limit"),
    ),
    security(("bearer" = ["compliance"])),
)]
pub async fn list(
    handler: Handler,
    State(app): State<App>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Grants>, ApiError> {
    let Query(query) = query?;
    let (cursor, limit) = query.checked()?;
    let mut tx = app.database.begin_reading(handler.shop).await?;
    let mut page = grant::list(&mut tx, cursor.as_deref(), limit + 1).await?;
    let next_cursor = cut(&mut page, limit).map(|(id, _)| id.clone());
    let now = (app.clock)();
    let items = page.into_iter().filter_map(|(id, grant)| GrantInfo::of(id, grant, now)).collect();
    Ok(Json(Grants { items, next_cursor }))
}

/// Takes a grant back. What is being shown under it ends.
#[utoipa::path(
    post, path = "/api/compliance/grants/{id}/revoke", tag = "compliance", operation_id = "revoke_grant",
    params(("id" = String, Path, description = "The grant's id")),
    request_body = ReasonRequest,
    responses(
        (status = 200, description = "The grant", body = GrantInfo),
        (status = 400, description = "The reason cannot be taken"),
        (status = 404, description = "Not there, or another shop's"),
    ),
    security(("bearer" = ["compliance"])),
)]
pub async fn revoke(
    handler: Handler,
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    body: Result<Json<ReasonRequest>, JsonRejection>,
) -> Result<Json<GrantInfo>, ApiError> {
    let id = id_of(path)?;
    let now = (app.clock)();
    let said = ReasonRequest::said(body, &handler.actor(), now)?;
    let mut tx = app.database.begin(handler.shop).await?;
    grant::revoke(&mut tx, &id, said).await.map_err(refusal)?;
    let shown = shown(&mut tx, id, now).await?;
    tx.commit().await?;
    Ok(Json(shown))
}

async fn shown(tx: &mut ShopTx, id: String, now: DateTime<Utc>) -> Result<GrantInfo, ApiError> {
    let grant = tx.load(&id).await?;
    GrantInfo::of(id, grant, now).ok_or(UNKNOWN)
}

fn refusal(error: StoreError) -> ApiError {
    let reason = match error {
        StoreError::Refused(reason) => reason,
        other => return other.into(),
    };
    match reason.downcast::<GrantError>() {
        Ok(reason) if *reason == GrantError::Unknown => UNKNOWN,
        Ok(reason) if *reason == GrantError::NoAuditor => ApiError::NotFound("no good auditor's token has that id"),
        Ok(reason) => ApiError::BadRequest(reason.to_string().into()),
        Err(reason) => StoreError::Refused(reason).into(),
    }
}
