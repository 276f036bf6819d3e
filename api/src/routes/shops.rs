//! `GET /api/shops?limit&cursor` and `GET /api/shops/{domain}`: which shops there are and how far their figures are. Operators
//! may ask for any shop, everyone else for their own.

use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
};
use chrono::{DateTime, Utc};
use domain::Currency;
use event_store::EventHeading;
use ingest::{DirectoryEntry, InboxCounts};
use read_models::{Parked, parked};
use serde::Serialize;
use shopify::ShopDomain;
use utoipa::ToSchema;

use super::page::{DEFAULT_LIMIT, MAX_LIMIT, PageQuery, cut, limit_of};
use crate::{
    ApiError, App,
    auth::{Caller, CurrentShop, Role},
    figures::{AsOf, Figures},
};

/// How many of a shop's last events are shown.
const LAST_EVENTS: i64 = 10;

/// A shop and how far its figures are: no figure, nothing personal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Shop)]
struct ShopState {
    /// Its permanent one.
    domain: String,
    /// Ours.
    shop_id: String,
    /// Shopify's, once it is known.
    #[schema(required)]
    shopify_id: Option<String>,
    /// IANA.
    timezone: &'static str,
    /// ISO 4217.
    #[schema(value_type = String, pattern = "^[A-Z]{3}$")]
    currency: Currency,
    installed: bool,
    paused: bool,
    /// Deliveries that could not be read.
    #[schema(minimum = 0)]
    dead_letters: i64,
    /// Read models that stand still.
    #[schema(value_type = Vec<ParkedReadModel>)]
    parked: Vec<Parked>,
    /// Of its log, newest first.
    #[schema(max_items = 10)]
    last_events: Vec<Event>,
    #[serde(flatten)]
    as_of: AsOf,
}

/// What an event is, without what it says.
#[derive(Debug, Serialize, ToSchema)]
struct Event {
    /// 1, 2, 3 … in the shop's log.
    #[schema(minimum = 1)]
    position: i64,
    recorded_at: DateTime<Utc>,
    /// `order`, `customer` …
    aggregate_type: String,
    /// `OrderPlaced` …
    event_type: String,
}

impl From<EventHeading> for Event {
    fn from(heading: EventHeading) -> Self {
        let EventHeading { position, recorded_at, aggregate_type, event_type } = heading;
        Self { position, recorded_at, aggregate_type, event_type }
    }
}

/// A page of shops.
#[derive(Debug, Serialize, ToSchema)]
pub struct Shops {
    /// The token's.
    #[schema(pattern = "^(merchant|auditor|compliance|operator)$")]
    role: &'static str,
    items: Vec<ShopState>,
    /// Shops of this page whose state cannot be told.
    unreadable: Vec<UnreadableShop>,
    /// Of the next page; `null` on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// A shop whose log or keys are not as they should be. The operators' log says more.
#[derive(Debug, Serialize, ToSchema)]
struct UnreadableShop {
    /// Its permanent one.
    domain: String,
    /// Ours.
    shop_id: String,
    /// What is wrong with it.
    fault: String,
}

/// A shop, and what became of its deliveries.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShopInfo {
    #[serde(flatten)]
    state: ShopState,
    /// Deliveries by what became of them.
    #[schema(value_type = Deliveries)]
    inbox: InboxCounts,
}

/// How many deliveries there are of each kind.
#[derive(ToSchema)]
#[expect(dead_code, reason = "`ingest::InboxCounts` is what is written")]
struct Deliveries {
    /// Not turned into events yet.
    #[schema(minimum = 0)]
    pending: i64,
    /// Turned into events.
    #[schema(minimum = 0)]
    translated: i64,
    /// Kept and not counted.
    #[schema(minimum = 0)]
    ignored: i64,
    /// Dead letters.
    #[schema(minimum = 0)]
    dead: i64,
}

/// A read model that met what it could not digest. It is tried again when a worker starts.
#[derive(ToSchema)]
#[expect(dead_code, reason = "`read_models::Parked` is what is written")]
struct ParkedReadModel {
    /// `sales`, `orders`.
    projection: String,
    /// The last position that is folded in.
    after_position: i64,
    /// What it could not digest, and why.
    reason: String,
    /// The version of the build that could not.
    build: String,
}

/// The shops by domain, and how far their figures are: every shop for operators, everyone else's own.
#[utoipa::path(
    get, path = "/api/shops", tag = "shops",
    params(PageQuery),
    responses(
        (status = 200, description = "A page", body = Shops),
        (status = 400, description = "No such limit or cursor"),
    ),
    security(
        ("bearer" = ["merchant"]), ("bearer" = ["auditor"]), ("bearer" = ["compliance"]), ("bearer" = ["operator"]),
    ),
)]
pub async fn shops(
    caller: Caller,
    State(app): State<App>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Shops>, ApiError> {
    let Query(query) = query?;
    let limit = limit_of(query.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let after = query.cursor.as_deref().map(str::parse::<ShopDomain>).transpose();
    let after = after.map_err(|_| ApiError::BadRequest("`cursor` is not one that a page answered".into()))?;
    let mut fleet = app.database.begin_fleet().await?;
    let mut entries = match caller.shop {
        // One's own is the only page.
        Some(shop) => ingest::find_by_id(&mut fleet, shop).await?.into_iter().collect(),
        None => ingest::page_of_shops(&mut fleet, after.as_ref(), limit + 1).await?,
    };
    fleet.commit().await?;
    let next_cursor = cut(&mut entries, limit).map(|entry| entry.domain.to_string());
    let (mut items, mut unreadable) = (Vec::with_capacity(entries.len()), Vec::new());
    for entry in entries {
        let (domain, shop_id) = (entry.domain.to_string(), entry.shop.to_string());
        // One of them is no reason to show none.
        let fault = match state_of(&app, entry).await {
            Ok((state, _)) => {
                items.push(state);
                continue;
            }
            Err(ApiError::NotFound(_)) => "it has no log".to_owned(),
            Err(ApiError::Internal(error)) => {
                tracing::error!(shop = shop_id, error = &*error as &dyn std::error::Error, "a shop cannot be read");
                "it cannot be read: see `ecomdash doctor`".to_owned()
            }
            Err(error) => return Err(error),
        };
        unreadable.push(UnreadableShop { domain, shop_id, fault });
    }
    Ok(Json(Shops { role: caller.role.as_str(), items, unreadable, next_cursor }))
}

/// What is known of a shop and how far its figures are. Operators may name any shop, everyone else their own.
#[utoipa::path(
    get, path = "/api/shops/{domain}", tag = "shops",
    params(("domain" = String, Path, description = "The shop's permanent domain", example = "example.myshopify.com")),
    responses(
        (status = 200, description = "The shop", body = ShopInfo),
        (status = 400, description = "The domain is not UTF-8"),
        (status = 404, description = "Not there, or not the token's"),
    ),
    security(
        ("bearer" = ["merchant"]), ("bearer" = ["auditor"]), ("bearer" = ["compliance"]), ("bearer" = ["operator"]),
    ),
)]
pub async fn shop(
    caller: Caller,
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<ShopInfo>, ApiError> {
    const UNKNOWN: ApiError = ApiError::NotFound("no such shop");
    let Path(domain) = path?;
    let domain: ShopDomain = domain.parse().map_err(|_| UNKNOWN)?;
    let mut fleet = app.database.begin_fleet().await?;
    let entry = ingest::find(&mut fleet, &domain).await?;
    fleet.commit().await?;
    // Another's shop and an unknown one look the same.
    let entry =
        entry.filter(|entry| caller.role == Role::Operator || caller.shop == Some(entry.shop)).ok_or(UNKNOWN)?;
    let (state, mut figures) = state_of(&app, entry).await?;
    Ok(Json(ShopInfo { state, inbox: ingest::counts(&mut figures.tx).await? }))
}

/// With the read that it was made in.
async fn state_of(app: &App, entry: DirectoryEntry) -> Result<(ShopState, Figures), ApiError> {
    let mut figures = Figures::open(app, CurrentShop { id: entry.shop }, "sales").await?;
    let state = ShopState {
        domain: entry.domain.to_string(),
        shop_id: entry.shop.to_string(),
        shopify_id: entry.shopify_id.map(|id| id.to_string()),
        timezone: figures.shop.timezone().name(),
        currency: figures.currency,
        installed: figures.shop.is_installed(),
        paused: entry.is_paused,
        dead_letters: ingest::dead_letters(&mut figures.tx).await?,
        parked: parked(&mut figures.tx, entry.shop).await?,
        last_events: figures.tx.last_events(LAST_EVENTS).await?.into_iter().map(Event::from).collect(),
        as_of: figures.as_of.clone(),
    };
    Ok((state, figures))
}
