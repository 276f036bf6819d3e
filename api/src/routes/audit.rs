//! `GET /api/audit/events` and `GET /api/audit/aggregates/{type}/{id}`: a shop's log as it is shown to an auditor, and what a
//! history had made of its aggregate at any event.

use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::Version,
    response::Response,
};
use chrono::{DateTime, Utc};
use compliance::audit::{self, Heading, Leave};
use domain::{
    grant::Read,
    snapshot::{AGGREGATE_TYPES, all_event_types},
};
use event_store::{Selection, ShopTx};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::{ApiError, App, auth::Auditor, ndjson, openapi};

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 250;
const UNKNOWN: ApiError = ApiError::NotFound("no such aggregate");

/// Which events. All that is given must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Of this type of aggregates.
    #[param(value_type = Option<openapi::AggregateType>, inline)]
    aggregate_type: Option<String>,
    /// Of this one of them; with `aggregate_type`.
    aggregate_id: Option<String>,
    /// Of this type of events.
    #[param(value_type = Option<openapi::EventType>, inline)]
    event_type: Option<String>,
    /// Recorded then or later.
    from: Option<DateTime<Utc>>,
    /// Recorded before then.
    to: Option<DateTime<Utc>>,
    /// Behind this position.
    #[param(minimum = 0)]
    after: Option<i64>,
    /// Up to this position; up to the log's present end where it is left out.
    #[param(minimum = 0)]
    up_to: Option<i64>,
    /// At most so many; any number where it is left out.
    #[param(minimum = 1)]
    limit: Option<i64>,
    /// Opens personal values, under a grant that runs; the use is written into the log.
    #[serde(default)]
    personal: bool,
}

/// Which part of a history.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// The state after so many events; after all of them where it is left out.
    #[param(minimum = 1)]
    sequence: Option<i64>,
    /// Events behind this sequence.
    #[param(minimum = 0)]
    after: Option<i64>,
    /// At most so many events; 50 where it is left out.
    #[param(minimum = 1, maximum = 250)]
    limit: Option<i64>,
    /// Opens personal values of the state, under a grant that runs; the use is written into the log.
    #[serde(default)]
    personal: bool,
}

/// A history, and what it had made of its aggregate.
#[derive(Debug, Serialize, ToSchema)]
pub struct History {
    #[schema(value_type = openapi::AggregateType)]
    aggregate_type: String,
    aggregate_id: String,
    /// How many events it has.
    #[schema(minimum = 1)]
    length: i64,
    /// The last event that is in the state.
    #[schema(value_type = Object)]
    as_of: Heading,
    /// As the program has it: its form may change with a release.
    #[schema(value_type = Object)]
    state: Value,
    /// Without what they say, in order.
    #[schema(value_type = Vec<Object>)]
    events: Vec<Heading>,
    /// `after` of the next page; `null` on the last one.
    #[schema(required)]
    next_after: Option<i64>,
}

/// The shop's log, in its order: an event a line, as JSON.
///
/// A line is a view of the event: the bytes that `hash` is over are in the log and in a bundle of it (`ecomdash verify
/// --export`). Sealed values read `[sealed]`, those of redacted persons `[redacted]`. An answer that ends without the end of its
/// chunked body was cut.
#[utoipa::path(
    get, path = "/api/audit/events", tag = "audit",
    params(EventsQuery),
    responses(
        (status = 200, description = "The events, one a line", body = String, content_type = "application/x-ndjson"),
        (status = 400, description = "It cannot be understood; the detail says what to change"),
        (status = 403, description = "The token's role may not do this, or personal data is asked for without a grant"),
        (status = 404, description = "No such aggregate"),
    ),
    security(("bearer" = ["auditor"])),
)]
pub async fn events(
    auditor: Auditor,
    version: Version,
    State(app): State<App>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query?;
    check(&query)?;
    let mut tx = app.database.begin(auditor.shop).await?;
    let (head, _) = tx.head().await?;
    let mut selection = Selection {
        aggregate_type: query.aggregate_type,
        aggregate_id: query.aggregate_id,
        event_type: query.event_type,
        after: query.after.unwrap_or(0),
        up_to: head.min(query.up_to.unwrap_or(head)),
    };
    if let (Some(kind), Some(id)) = (&selection.aggregate_type, &selection.aggregate_id)
        && tx.history_length(kind, id).await? == 0
    {
        return Err(UNKNOWN);
    }
    if let Some(from) = query.from {
        selection.after = selection.after.max(tx.position_before(from).await?);
    }
    if let Some(to) = query.to {
        selection.up_to = selection.up_to.min(tx.position_before(to).await?);
    }
    let leave = if query.personal {
        let read = Read {
            route: "/api/audit/events".to_owned(),
            aggregate_type: selection.aggregate_type.clone(),
            aggregate_id: selection.aggregate_id.clone(),
            event_type: selection.event_type.clone(),
            after: selection.after,
            up_to: selection.up_to,
            limit: query.limit,
            from: query.from,
            to: query.to,
        };
        Some(make_use(&app, auditor, &mut tx, read).await?)
    } else {
        None
    };
    // What is seen is written down before it is seen.
    tx.commit().await?;
    let pages = audit::pages(&app.database, auditor.shop, selection, query.limit, leave, Some(auditor.token));
    ndjson::answer(version, pages).await
}

/// What is written down of a read holds nothing that a caller made up: types are known ones.
fn check(query: &EventsQuery) -> Result<(), ApiError> {
    let fault = match query {
        EventsQuery { aggregate_type: Some(kind), .. } if !AGGREGATE_TYPES.contains(&&**kind) => {
            "`aggregate_type` is none that there is"
        }
        EventsQuery { aggregate_type: None, aggregate_id: Some(_), .. } => "`aggregate_id` needs `aggregate_type`",
        EventsQuery { event_type: Some(kind), .. } if !all_event_types().contains(&&**kind) => {
            "`event_type` is none that there is"
        }
        EventsQuery { after: Some(..0), .. } | EventsQuery { up_to: Some(..0), .. } => "a position is negative",
        EventsQuery { limit: Some(..1), .. } => "`limit` is not positive",
        _ => return id_is_text(query.aggregate_id.as_deref().unwrap_or_default()),
    };
    Err(ApiError::BadRequest(fault.into()))
}

/// The database takes no zero byte, and no id has one.
fn id_is_text(id: &str) -> Result<(), ApiError> {
    if id.contains('\0') { Err(UNKNOWN) } else { Ok(()) }
}

async fn make_use(app: &App, auditor: Auditor, tx: &mut ShopTx, read: Read) -> Result<Leave, ApiError> {
    let grant = compliance::grant::make_use(tx, auditor.token, read, (app.clock)()).await?;
    let grant = grant.ok_or(ApiError::NoGrant)?;
    Ok(Leave { grant, token: auditor.token, clock: app.clock })
}

/// One aggregate: its events, and its state after any of them.
///
/// The state is folded from the events alone, as every command folds them.
#[utoipa::path(
    get, path = "/api/audit/aggregates/{type}/{id}", tag = "audit",
    params(
        ("type" = inline(openapi::AggregateType), Path, description = "Its type"),
        ("id" = String, Path, description = "Its id within the type"),
        HistoryQuery,
    ),
    responses(
        (status = 200, description = "The aggregate", body = History),
        (status = 400, description = "It cannot be understood; the detail says what to change"),
        (status = 403, description = "The token's role may not do this, or personal data is asked for without a grant"),
        (status = 404, description = "Not there, another shop's, or not that many events"),
    ),
    security(("bearer" = ["auditor"])),
)]
pub async fn aggregate(
    auditor: Auditor,
    State(app): State<App>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Json<History>, ApiError> {
    let (Path((aggregate_type, aggregate_id)), Query(query)) = (path?, query?);
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    let after = query.after.unwrap_or(0);
    if !(1..=MAX_LIMIT).contains(&limit) || after < 0 || query.sequence.is_some_and(|sequence| sequence < 1) {
        return Err(ApiError::BadRequest("`limit`, `after` or `sequence` is out of its range".into()));
    }
    id_is_text(&aggregate_id)?;
    if !AGGREGATE_TYPES.contains(&&*aggregate_type) {
        return Err(UNKNOWN);
    }
    let mut tx = app.database.begin(auditor.shop).await?;
    let length = tx.history_length(&aggregate_type, &aggregate_id).await?;
    if length == 0 {
        return Err(UNKNOWN);
    }
    let sequence = query.sequence.unwrap_or(length);
    if sequence > length {
        return Err(ApiError::NotFound("the aggregate does not have that many events"));
    }
    if query.personal {
        let read = Read {
            route: "/api/audit/aggregates".to_owned(),
            aggregate_type: Some(aggregate_type.clone()),
            aggregate_id: Some(aggregate_id.clone()),
            up_to: sequence,
            ..Read::default()
        };
        make_use(&app, auditor, &mut tx, read).await?;
        tx.commit().await?;
        tx = app.database.begin(auditor.shop).await?;
    }
    let shown = audit::state_at(&mut tx, &aggregate_type, &aggregate_id, sequence, query.personal).await?;
    let shown = shown.ok_or(UNKNOWN)?;
    let events = audit::headings(&mut tx, &aggregate_type, &aggregate_id, after, limit).await?;
    tx.commit().await?;
    let next_after = events.last().map(|last| last.sequence).filter(|last| *last < length);
    let (as_of, state) = (shown.last, shown.state);
    Ok(Json(History { aggregate_type, aggregate_id, length, as_of, state, events, next_after }))
}
