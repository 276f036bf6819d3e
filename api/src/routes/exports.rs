//! `/api/compliance/exports`: what is kept of a person, for those who handle compliance to hand on. Who fetched it is recorded.

use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    http::{HeaderName, Method, StatusCode, header},
};
use chrono::{DateTime, Utc};
use compliance::ExportAnswer;
use domain::{
    Subject,
    export::{Built, Chosen, Export, ExportCommand, ExportError, ExportRequest, ExportStatus},
};
use event_store::{ShopTx, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    page::{PageQuery, cut},
    redactions::{MatchInfo, customer_named},
    said::{ReasonRequest, bad, id_of, reason_of},
};
use crate::{ApiError, App, auth::Handler};

const UNKNOWN: ApiError = ApiError::NotFound("no such export");

/// Whose data is asked for, and why: one of `customer_id`, `order_id`, `email` and `phone`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewExport {
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
}

/// What came of asking.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExportAsked {
    /// Of the export; `null` where none was asked for.
    #[schema(required)]
    id: Option<String>,
    /// `waiting`, or `several`: then nothing was asked for, since somebody has to choose.
    #[schema(pattern = "^(waiting|several)$")]
    status: &'static str,
    /// Whoever has the address or number, where several do.
    matches: Vec<MatchInfo>,
}

/// An export. Nothing in it is personal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Export)]
pub struct ExportInfo {
    id: String,
    #[schema(value_type = String, pattern = "^(several|waiting|ready|expired|redacted)$")]
    status: Option<ExportStatus>,
    /// Whose data, why, and who asks; where Shopify named nobody by number and several have the address, these as `several`: somebody
    /// has to choose.
    #[schema(value_type = Object)]
    request: Option<ExportRequest>,
    /// What was put together, and until when it can be fetched.
    #[schema(value_type = Option<Object>, required)]
    built: Option<Built>,
    /// When it was first fetched.
    #[schema(required)]
    fetched_at: Option<DateTime<Utc>>,
}

impl ExportInfo {
    fn of(id: String, export: Export) -> Self {
        let status = export.status();
        let Export { request, built, gone: _, fetched_at } = export;
        Self { id, status, request, built, fetched_at }
    }
}

/// A page of a shop's exports.
#[derive(Debug, Serialize, ToSchema)]
pub struct Exports {
    /// The newest first.
    items: Vec<ExportInfo>,
    /// Of the next page; `null` on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Asks for what is kept of a customer. It is put together within seconds, and can be fetched for seven days.
#[utoipa::path(
    post, path = "/api/compliance/exports", tag = "compliance", operation_id = "request_export",
    request_body = NewExport,
    responses(
        (status = 202, description = "It is being put together", body = ExportAsked),
        (status = 200, description = "Who has to be chosen from", body = ExportAsked),
        (status = 400, description = "It cannot be understood; the detail says what to change"),
        (status = 404, description = "Nobody is known by that"),
        (status = 409, description = "The shop is erased: nobody can be found by address or number"),
    ),
    security(("bearer" = ["compliance"])),
)]
pub async fn request(
    handler: Handler,
    State(app): State<App>,
    body: Result<Json<NewExport>, JsonRejection>,
) -> Result<(StatusCode, Json<ExportAsked>), ApiError> {
    let Json(asked) = body?;
    let reason = reason_of(&asked.reason)?;
    let named = [&asked.customer_id, &asked.order_id, &asked.email, &asked.phone];
    let whom = customer_named(named.map(Option::as_deref))?;
    let mut tx = app.database.begin(handler.shop).await?;
    let answer = compliance::ask_export(&mut tx, &whom, &reason, &handler.actor(), (app.clock)()).await?;
    tx.commit().await?;
    match answer {
        ExportAnswer::Nobody => Err(ApiError::NotFound("nobody is known by that")),
        ExportAnswer::Several(found) => {
            let matches = found.iter().map(MatchInfo::from).collect();
            Ok((StatusCode::OK, Json(ExportAsked { id: None, status: "several", matches })))
        }
        ExportAnswer::Asked(id) => {
            Ok((StatusCode::ACCEPTED, Json(ExportAsked { id: Some(id), status: "waiting", matches: Vec::new() })))
        }
    }
}

/// The shop's exports.
#[utoipa::path(
    get, path = "/api/compliance/exports", tag = "compliance", operation_id = "list_exports",
    params(PageQuery),
    responses(
        (status = 200, description = "A page", body = Exports),
        (status = 400, description = "No such limit"),
    ),
    security(("bearer" = ["compliance"])),
)]
pub async fn list(
    handler: Handler,
    State(app): State<App>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Exports>, ApiError> {
    let Query(query) = query?;
    let (cursor, limit) = query.checked()?;
    let mut tx = app.database.begin_reading(handler.shop).await?;
    let mut page = compliance::exports(&mut tx, cursor.as_deref(), limit + 1).await?;
    let next_cursor = cut(&mut page, limit).map(|(id, _)| id.clone());
    let items = page.into_iter().map(|(id, export)| ExportInfo::of(id, export)).collect();
    Ok(Json(Exports { items, next_cursor }))
}

/// One of them.
#[utoipa::path(
    get, path = "/api/compliance/exports/{id}", tag = "compliance", operation_id = "export",
    params(("id" = String, Path, description = "The export's id")),
    responses(
        (status = 200, description = "The export", body = ExportInfo),
        (status = 404, description = "Not there, or another shop's"),
    ),
    security(("bearer" = ["compliance"])),
)]
pub async fn one(
    handler: Handler,
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<ExportInfo>, ApiError> {
    let id = id_of(path)?;
    let mut tx = app.database.begin_reading(handler.shop).await?;
    shown(&mut tx, id).await
}

async fn shown(tx: &mut ShopTx, id: String) -> Result<Json<ExportInfo>, ApiError> {
    let export: Export = tx.load(&id).await?;
    export.status().ok_or(UNKNOWN)?;
    Ok(Json(ExportInfo::of(id, export)))
}

/// Who is meant of several.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// Of the export's `request.several`, like `customer:42`; none, where none of them is meant.
    subjects: Vec<String>,
    /// By what it is known that it is they; kept for ever, so without anybody's address or number.
    #[schema(max_length = 200)]
    reason: String,
}

/// Says who is meant of several who have the address that was asked with. It is put together then.
#[utoipa::path(
    post, path = "/api/compliance/exports/{id}/choose", tag = "compliance", operation_id = "choose_for_export",
    params(("id" = String, Path, description = "The export's id")),
    request_body = Choice,
    responses(
        (status = 200, description = "The export", body = ExportInfo),
        (status = 400, description = "It cannot be understood; the detail says what to change"),
        (status = 404, description = "Not there, or another shop's"),
        (status = 409, description = "As it stands it cannot be; the detail says why"),
    ),
    security(("bearer" = ["compliance"])),
)]
pub async fn choose(
    handler: Handler,
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    body: Result<Json<Choice>, JsonRejection>,
) -> Result<Json<ExportInfo>, ApiError> {
    let (id, Json(choice)) = (id_of(path)?, body?);
    let reason = reason_of(&choice.reason)?.to_string();
    let subjects: Result<Vec<Subject>, _> = choice.subjects.iter().map(|subject| subject.parse()).collect();
    let subjects = subjects.map_err(|_| bad("`subjects` are like `customer:42`"))?;
    let chosen = Chosen { subjects, reason, by: handler.actor(), at: (app.clock)() };
    tell(handler, &app, id, ExportCommand::Choose(chosen)).await
}

/// Lets one that can be fetched no more be put together again.
#[utoipa::path(
    post, path = "/api/compliance/exports/{id}/renew", tag = "compliance", operation_id = "renew_export",
    params(("id" = String, Path, description = "The export's id")),
    request_body = ReasonRequest,
    responses(
        (status = 200, description = "The export", body = ExportInfo),
        (status = 400, description = "The reason cannot be taken"),
        (status = 404, description = "Not there, or another shop's"),
        (status = 409, description = "As it stands it cannot be; the detail says why"),
    ),
    security(("bearer" = ["compliance"])),
)]
pub async fn renew(
    handler: Handler,
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    body: Result<Json<ReasonRequest>, JsonRejection>,
) -> Result<Json<ExportInfo>, ApiError> {
    let id = id_of(path)?;
    let said = ReasonRequest::said(body, &handler.actor(), (app.clock)())?;
    tell(handler, &app, id, ExportCommand::Renew(said)).await
}

async fn tell(handler: Handler, app: &App, id: String, command: ExportCommand) -> Result<Json<ExportInfo>, ApiError> {
    let mut tx = app.database.begin(handler.shop).await?;
    compliance::act_on_export(&mut tx, &id, command, &handler.actor()).await.map_err(refused)?;
    let shown = shown(&mut tx, id).await?;
    tx.commit().await?;
    Ok(shown)
}

/// Which form.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FormQuery {
    /// `json`, or `html`: a page to be read. `json` where it is left out.
    #[param(pattern = "^(json|html)$")]
    form: Option<String>,
}

/// What is kept of the persons, as a file. That it was fetched, and by whom, is recorded.
#[utoipa::path(
    get, path = "/api/compliance/exports/{id}/document", tag = "compliance", operation_id = "export_document",
    params(("id" = String, Path, description = "The export's id"), FormQuery),
    responses(
        (status = 200, description = "All that is kept: as JSON, or as a page to be read", content(
            (Object = "application/json"), (String = "text/html"),
        )),
        (status = 400, description = "No such form"),
        (status = 404, description = "Not there, or another shop's"),
        (status = 409, description = "It is not put together yet, or is gone; the detail says why"),
    ),
    security(("bearer" = ["compliance"])),
)]
pub async fn document(
    method: Method,
    handler: Handler,
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<FormQuery>, QueryRejection>,
) -> Result<([(HeaderName, String); 4], String), ApiError> {
    let (id, Query(query)) = (id_of(path)?, query?);
    let form = query.form.as_deref().unwrap_or("json");
    if !matches!(form, "json" | "html") {
        return Err(bad("`form` is `json` or `html`"));
    }
    let kind = if form == "html" { "text/html; charset=utf-8" } else { "application/json" };
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"export.{form}\"")),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; sandbox".to_owned()),
    ];
    let mut tx = app.database.begin(handler.shop).await?;
    if method == Method::HEAD {
        // Nobody is told anything: it is not answered by that.
        return match tx.load::<Export>(&id).await?.status() {
            Some(ExportStatus::Ready) => Ok((headers, String::new())),
            Some(_) => Err(ApiError::Conflict("there is nothing to be fetched".into())),
            None => Err(UNKNOWN),
        };
    }
    let fetched = compliance::fetch(&mut tx, &id, form, &handler.actor(), (app.clock)()).await.map_err(refused)?;
    tx.commit().await?;
    let text = match form {
        "html" => compliance::page(&fetched),
        _ => serde_json::to_string_pretty(&fetched).map_err(|_| bad("it cannot be shown"))?,
    };
    Ok((headers, text))
}

fn refused(error: StoreError) -> ApiError {
    match error {
        StoreError::Refused(reason) => match reason.downcast::<ExportError>() {
            Ok(reason) if *reason == ExportError::Unknown => UNKNOWN,
            Ok(reason) => ApiError::Conflict(reason.to_string().into()),
            Err(reason) => StoreError::Refused(reason).into(),
        },
        other => other.into(),
    }
}
