//! `POST` and `GET /api/compliance/redactions`, `GET /api/compliance/redactions/{id}` and what is done with one: for those who
//! handle compliance, each of whom is known by their token.

use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    http::StatusCode,
};
use chrono::{DateTime, TimeDelta, Utc};
use compliance::{Answer, Ask, LegalHolds, Match, OtherHold, Whom};
use domain::{
    ids::{CustomerId, OrderId},
    redaction::{Erased, Receipt, Redaction, RedactionCommand, RedactionError, Request, Said, Status},
};
use event_store::{ShopTx, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use vault::ContactKey;

use super::{
    page::{PageQuery, cut},
    said::{ReasonRequest, bad, id_of, reason_of},
};
use crate::{ApiError, App, auth::Handler};

const UNKNOWN: ApiError = ApiError::NotFound("no such redaction");

/// Who is to be erased, and why: a customer by one of `customer_id`, `order_id`, `email` and `phone`, or the shop.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RedactionRequest {
    /// `customer`, or `shop`: everybody in it, and the shop itself.
    #[schema(pattern = "^(customer|shop)$")]
    kind: String,
    /// Shopify's number.
    customer_id: Option<String>,
    /// Shopify's number of an order: its buyer is meant, who may be a guest.
    order_id: Option<String>,
    /// In any spelling.
    email: Option<String>,
    /// In any spelling; its last nine digits count.
    phone: Option<String>,
    /// Kept for ever, so without anybody's address or number.
    #[schema(max_length = 200)]
    reason: String,
    /// Only shows who would be erased.
    #[serde(default)]
    dry_run: bool,
    /// Everybody who has the address or number.
    #[serde(default)]
    all: bool,
}

/// What came of the request.
#[derive(Debug, Serialize, ToSchema)]
pub struct RedactionAnswer {
    /// Of the redaction; `null` where none was asked for.
    #[schema(required)]
    id: Option<String>,
    /// `waiting`, `dry_run` or `several`: then nothing was asked for, since somebody has to choose.
    #[schema(pattern = "^(waiting|dry_run|several)$")]
    status: &'static str,
    /// When it will be done; `null` where another person has to confirm it first.
    #[schema(required)]
    due_at: Option<DateTime<Utc>>,
    /// Who is meant.
    matches: Vec<MatchInfo>,
    /// Of a dry run: the legal hold of another redaction that would be in the way, with its id and reason.
    #[schema(value_type = Option<Object>, required)]
    held_by: Option<OtherHold>,
}

/// Whoever was found.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MatchInfo {
    /// `customer:42`, `order:7` of a guest, or `shop`.
    subject: String,
    /// Orders that name them.
    orders: usize,
    /// They are erased already.
    redacted: bool,
}

impl From<&Match> for MatchInfo {
    fn from(found: &Match) -> Self {
        Self { subject: found.subject.to_string(), orders: found.orders, redacted: found.redacted }
    }
}

/// A redaction. Nothing in it is personal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Redaction)]
pub struct RedactionInfo {
    id: String,
    #[schema(value_type = String, pattern = "^(waiting|held|cancelled|erased|certified)$")]
    status: Option<Status>,
    /// When it will be done, or would have been.
    #[schema(required)]
    due_at: Option<DateTime<Utc>>,
    /// Who is meant, why, and who asks.
    #[schema(value_type = Object)]
    request: Option<Request>,
    /// The legal hold that is on it.
    #[schema(required)]
    hold: Option<String>,
    /// While it waits: the legal hold of another redaction that is in the way, with its id and reason.
    #[schema(value_type = Option<Object>, required)]
    held_by: Option<OtherHold>,
    /// Who said that it is not to be waited with.
    #[schema(required)]
    confirmed_by: Option<String>,
    /// What was erased.
    #[schema(value_type = Option<Object>, required)]
    erased: Option<Erased>,
    /// What was looked at afterwards, signed.
    #[schema(value_type = Option<Object>, required)]
    receipt: Option<Receipt>,
}

impl RedactionInfo {
    async fn of(tx: &mut ShopTx, holds: &LegalHolds, id: String, redaction: Redaction) -> Result<Self, StoreError> {
        let held_by = holds.on(tx, &id, &redaction).await?;
        let (status, due_at) = (redaction.status(), redaction.due_at());
        let Redaction { request, hold, confirmed_by, cancelled_at: _, held_by: _, oddity: _, erased, receipt } =
            redaction;
        Ok(Self { id, status, due_at, request, hold, held_by, confirmed_by, erased, receipt })
    }
}

/// A page of a shop's redactions.
#[derive(Debug, Serialize, ToSchema)]
pub struct Redactions {
    /// The newest first.
    items: Vec<RedactionInfo>,
    /// Of the next page; `null` on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Asks that a customer be erased, or the shop. It is waited with, so that it can be cancelled, unless another person confirms
/// it; a shop's is done only once another person has.
#[utoipa::path(
    post, path = "/api/compliance/redactions", tag = "compliance",
    request_body = RedactionRequest,
    responses(
        (status = 202, description = "It is asked for", body = RedactionAnswer),
        (status = 200, description = "Who would be erased, or who has to be chosen from", body = RedactionAnswer),
        (status = 400, description = "It cannot be understood; the detail says what to change"),
        (status = 404, description = "Nobody is known by that"),
        (status = 409, description = "The shop is erased: nobody can be found by address or number"),
    ),
    security(("bearer" = ["compliance"])),
)]
pub async fn request(
    handler: Handler,
    State(app): State<App>,
    body: Result<Json<RedactionRequest>, JsonRejection>,
) -> Result<(StatusCode, Json<RedactionAnswer>), ApiError> {
    let Json(asked) = body?;
    let reason = reason_of(&asked.reason)?;
    let named = [&asked.customer_id, &asked.order_id, &asked.email, &asked.phone].map(Option::as_deref);
    let whom = match (asked.kind.as_str(), named) {
        ("customer", named) => customer_named(named)?,
        ("shop", [None, None, None, None]) => Whom::Shop,
        ("shop", ..) => return Err(bad("the whole shop is meant: name nobody")),
        _ => return Err(bad("`kind` is `customer` or `shop`")),
    };
    if asked.dry_run {
        let said = reason.said_by(&handler.actor(), (app.clock)());
        let plan = compliance::plan(&app.database, handler.shop, &whom, &said).await?;
        let matches = plan.matches.iter().map(MatchInfo::from).collect();
        return Ok((
            StatusCode::OK,
            Json(RedactionAnswer { id: None, status: "dry_run", due_at: None, matches, held_by: plan.held_by }),
        ));
    }
    let ask = Ask {
        whom,
        reason,
        by: handler.actor(),
        at: (app.clock)(),
        hold: TimeDelta::hours(app.redaction_hold_hours.into()),
        all: asked.all,
    };
    let mut tx = app.database.begin(handler.shop).await?;
    let answer = compliance::ask(&mut tx, ask).await?;
    tx.commit().await?;
    match answer {
        Answer::Nobody => Err(ApiError::NotFound("nobody is known by that")),
        Answer::Several(found) => {
            let matches = found.iter().map(MatchInfo::from).collect();
            Ok((
                StatusCode::OK,
                Json(RedactionAnswer { id: None, status: "several", due_at: None, matches, held_by: None }),
            ))
        }
        Answer::Asked { id, due_at, matches } => {
            let matches = matches.iter().map(MatchInfo::from).collect();
            let answer = RedactionAnswer { id: Some(id), status: "waiting", due_at, matches, held_by: None };
            Ok((StatusCode::ACCEPTED, Json(answer)))
        }
    }
}

/// Whoever is meant by one of these: a customer's number, an order's, an address, a telephone number.
pub(super) fn customer_named(by: [Option<&str>; 4]) -> Result<Whom, ApiError> {
    match by {
        [Some(id), None, None, None] => {
            let id = id.parse().map_err(|_| bad("`customer_id` is a number in digits"))?;
            Ok(Whom::Customer(CustomerId(id)))
        }
        [None, Some(id), None, None] => {
            let id = id.parse().map_err(|_| bad("`order_id` is a number in digits"))?;
            Ok(Whom::Order(OrderId(id)))
        }
        [None, None, Some(email), None] => {
            ContactKey::of_email(email).map(Whom::Email).ok_or_else(|| bad("`email` is no e-mail address"))
        }
        [None, None, None, Some(phone)] => {
            ContactKey::of_phone(phone).map(Whom::Phone).ok_or_else(|| bad("`phone` is no telephone number"))
        }
        _ => Err(bad("name one of `customer_id`, `order_id`, `email` and `phone`")),
    }
}

/// The shop's redactions, with their receipts.
#[utoipa::path(
    get, path = "/api/compliance/redactions", tag = "compliance",
    params(PageQuery),
    responses(
        (status = 200, description = "A page", body = Redactions),
        (status = 400, description = "No such limit"),
    ),
    security(("bearer" = ["compliance"])),
)]
pub async fn list(
    handler: Handler,
    State(app): State<App>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Redactions>, ApiError> {
    let Query(query) = query?;
    let (cursor, limit) = query.checked()?;
    let mut tx = app.database.begin_reading(handler.shop).await?;
    let mut page = compliance::redactions(&mut tx, cursor.as_deref(), limit + 1).await?;
    let next_cursor = cut(&mut page, limit).map(|(id, _)| id.clone());
    let holds = LegalHolds::of(&mut tx).await?;
    let mut items = Vec::with_capacity(page.len());
    for (id, redaction) in page {
        items.push(RedactionInfo::of(&mut tx, &holds, id, redaction).await?);
    }
    Ok(Json(Redactions { items, next_cursor }))
}

/// One of them; also that of the whole shop from before the app was put in again, where this one goes on in its place.
#[utoipa::path(
    get, path = "/api/compliance/redactions/{id}", tag = "compliance",
    params(("id" = String, Path, description = "The redaction's id")),
    responses(
        (status = 200, description = "The redaction", body = RedactionInfo),
        (status = 404, description = "Not there, or another shop's"),
    ),
    security(("bearer" = ["compliance"])),
)]
pub async fn one(
    handler: Handler,
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<RedactionInfo>, ApiError> {
    let id = id_of(path)?;
    let mut tx = app.database.begin_reading(handler.shop).await?;
    let own = tx.load::<Redaction>(&id).await?;
    if own.status().is_some() {
        return told(&mut tx, id, own).await;
    }
    let former = ingest::predecessors(&mut tx, Some(handler.shop), None).await?;
    tx.commit().await?;
    for before in former {
        let mut tx = app.database.begin_reading(before.shop).await?;
        let redaction: Redaction = tx.load(&id).await?;
        if redaction.request.as_ref().is_some_and(Request::is_of_shop) {
            return told(&mut tx, id, redaction).await;
        }
    }
    Err(UNKNOWN)
}

async fn told(tx: &mut ShopTx, id: String, redaction: Redaction) -> Result<Json<RedactionInfo>, ApiError> {
    let holds = LegalHolds::of(tx).await?;
    Ok(Json(RedactionInfo::of(tx, &holds, id, redaction).await?))
}

/// Says, as another person than who asked, that it is not to be waited with.
#[utoipa::path(
    post, path = "/api/compliance/redactions/{id}/confirm", tag = "compliance",
    params(("id" = String, Path, description = "The redaction's id")),
    request_body = ReasonRequest,
    responses(
        (status = 200, description = "The redaction", body = RedactionInfo),
        (status = 400, description = "The reason cannot be taken"),
        (status = 404, description = "Not there, or another shop's"),
        (status = 409, description = "As it stands it cannot be; the detail says why"),
    ),
    security(("bearer" = ["compliance"])),
)]
pub async fn confirm(
    handler: Handler,
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    body: Result<Json<ReasonRequest>, JsonRejection>,
) -> Result<Json<RedactionInfo>, ApiError> {
    act(handler, &app, path, body, RedactionCommand::Confirm).await
}

/// Takes it back, while it is not done. A legal hold is released first.
#[utoipa::path(
    post, path = "/api/compliance/redactions/{id}/cancel", tag = "compliance",
    params(("id" = String, Path, description = "The redaction's id")),
    request_body = ReasonRequest,
    responses(
        (status = 200, description = "The redaction", body = RedactionInfo),
        (status = 400, description = "The reason cannot be taken"),
        (status = 404, description = "Not there, or another shop's"),
        (status = 409, description = "As it stands it cannot be; the detail says why"),
    ),
    security(("bearer" = ["compliance"])),
)]
pub async fn cancel(
    handler: Handler,
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    body: Result<Json<ReasonRequest>, JsonRejection>,
) -> Result<Json<RedactionInfo>, ApiError> {
    act(handler, &app, path, body, RedactionCommand::Cancel).await
}

/// Puts a legal hold on it: it is not done until the hold is released.
#[utoipa::path(
    post, path = "/api/compliance/redactions/{id}/hold", tag = "compliance",
    params(("id" = String, Path, description = "The redaction's id")),
    request_body = ReasonRequest,
    responses(
        (status = 200, description = "The redaction", body = RedactionInfo),
        (status = 400, description = "The reason cannot be taken"),
        (status = 404, description = "Not there, or another shop's"),
        (status = 409, description = "As it stands it cannot be; the detail says why"),
    ),
    security(("bearer" = ["compliance"])),
)]
pub async fn hold(
    handler: Handler,
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    body: Result<Json<ReasonRequest>, JsonRejection>,
) -> Result<Json<RedactionInfo>, ApiError> {
    let hold = |Said { by, reason, at }| RedactionCommand::Hold { reason: reason.unwrap_or_default(), by, at };
    act(handler, &app, path, body, hold).await
}

/// Lifts the legal hold.
#[utoipa::path(
    post, path = "/api/compliance/redactions/{id}/release", tag = "compliance",
    params(("id" = String, Path, description = "The redaction's id")),
    request_body = ReasonRequest,
    responses(
        (status = 200, description = "The redaction", body = RedactionInfo),
        (status = 400, description = "The reason cannot be taken"),
        (status = 404, description = "Not there, or another shop's"),
        (status = 409, description = "As it stands it cannot be; the detail says why"),
    ),
    security(("bearer" = ["compliance"])),
)]
pub async fn release(
    handler: Handler,
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    body: Result<Json<ReasonRequest>, JsonRejection>,
) -> Result<Json<RedactionInfo>, ApiError> {
    act(handler, &app, path, body, RedactionCommand::Release).await
}

async fn act(
    handler: Handler,
    app: &App,
    path: Result<Path<String>, PathRejection>,
    body: Result<Json<ReasonRequest>, JsonRejection>,
    command: impl FnOnce(Said) -> RedactionCommand,
) -> Result<Json<RedactionInfo>, ApiError> {
    let id = id_of(path)?;
    let by = handler.actor();
    let command = command(ReasonRequest::said(body, &by, (app.clock)())?);
    let mut tx = app.database.begin(handler.shop).await?;
    if let Err(error) = compliance::act(&mut tx, &id, command, &by).await {
        return Err(match error {
            StoreError::Refused(reason) => match reason.downcast::<RedactionError>() {
                Ok(reason) if *reason == RedactionError::Unknown => UNKNOWN,
                Ok(reason) => ApiError::Conflict(reason.to_string().into()),
                Err(reason) => StoreError::Refused(reason).into(),
            },
            other => other.into(),
        });
    }
    tx.commit().await?;
    let mut tx = app.database.begin_reading(handler.shop).await?;
    let redaction: Redaction = tx.load(&id).await?;
    told(&mut tx, id, redaction).await
}
