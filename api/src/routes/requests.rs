//! `GET /api/compliance/requests`: what was asked about persons and the shop, by Shopify or by hand, and by when it is due.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use chrono::{DateTime, Utc};
use compliance::{DEADLINE, Demand, Demanded};
use domain::{export::ExportStatus, redaction::Status};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    page::{DEFAULT_LIMIT, MAX_LIMIT, limit_of},
    said::bad,
};
use crate::{ApiError, App, auth::Handler};

/// Which of them.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RequestsQuery {
    /// Only those that wait to be answered.
    open: Option<bool>,
    /// At most so many; 25 where it is left out.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<i64>,
    /// `next_cursor` of the page before; the first page where it is left out.
    #[param(pattern = "^[0-9]+$")]
    cursor: Option<String>,
}

/// A request. Nothing in it is personal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ComplianceRequest)]
pub struct RequestInfo {
    /// Of the redaction or the export that it is answered by.
    id: String,
    /// What is asked for.
    #[schema(pattern = "^(customer_data|customer_redaction|shop_redaction)$")]
    kind: &'static str,
    /// Of the redaction or the export.
    #[schema(value_type = String)]
    status: RequestStatus,
    /// Somebody still waits for it.
    open: bool,
    /// `webhook`, `command`, or a token's role and id.
    by: String,
    /// A case's number, or Shopify's topic.
    reason: String,
    received_at: DateTime<Utc>,
    /// The thirty days end.
    due_at: DateTime<Utc>,
    /// When it was answered or taken back.
    #[schema(required)]
    done_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum RequestStatus {
    Redaction(Option<Status>),
    Export(Option<ExportStatus>),
}

impl RequestInfo {
    fn of(demanded: &Demanded) -> Option<Self> {
        let (received_at, by, reason) = demanded.received()?;
        Some(Self {
            kind: demanded.kind(),
            status: match &demanded.demand {
                Demand::Redaction(redaction) => RequestStatus::Redaction(redaction.status()),
                Demand::Export(export) => RequestStatus::Export(export.status()),
            },
            open: demanded.is_open(),
            by: by.to_owned(),
            reason: reason.to_owned(),
            received_at,
            due_at: received_at + DEADLINE,
            done_at: demanded.done_at(),
            id: demanded.id.clone(),
        })
    }
}

/// A page of a shop's requests.
#[derive(Debug, Serialize, ToSchema)]
pub struct Requests {
    /// The newest first.
    items: Vec<RequestInfo>,
    /// Of the next page; `null` on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// What was asked about persons and the shop, and by when it is due.
#[utoipa::path(
    get, path = "/api/compliance/requests", tag = "compliance", operation_id = "list_requests",
    params(RequestsQuery),
    responses(
        (status = 200, description = "A page", body = Requests),
        (status = 400, description = "No such limit or cursor"),
    ),
    security(("bearer" = ["compliance"])),
)]
pub async fn list(
    handler: Handler,
    State(app): State<App>,
    query: Result<Query<RequestsQuery>, QueryRejection>,
) -> Result<Json<Requests>, ApiError> {
    let Query(query) = query?;
    let limit = limit_of(query.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let cursor = query.cursor.as_deref().map_or(Ok(i64::MAX), str::parse);
    let mut before: i64 = cursor.map_err(|_| bad("`cursor` is not one that an answer gave"))?;
    let only_open = query.open.unwrap_or(false);
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut tx = app.database.begin_reading(handler.shop).await?;
    let mut found: Vec<Demanded> = Vec::new();
    while found.len() <= most {
        let page = compliance::demands(&mut tx, before, MAX_LIMIT).await?;
        let Some(last) = page.last() else { break };
        before = last.position;
        found.extend(page.into_iter().filter(|demanded| demanded.is_open() || !only_open));
    }
    let has_more = found.len() > most;
    found.truncate(most);
    let next_cursor = found.last().filter(|_| has_more).map(|last| last.position.to_string());
    Ok(Json(Requests { items: found.iter().filter_map(RequestInfo::of).collect(), next_cursor }))
}
