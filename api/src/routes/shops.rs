//! `GET /api/shops/{domain}`: what is known of a shop and how far its figures are. Operators may name any shop, everyone
//! else their own.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
};
use domain::{Currency, shop::Shop};
use ingest::InboxCounts;
use read_models::{Parked, parked};
use serde::Serialize;
use shopify::ShopDomain;
use utoipa::ToSchema;

use crate::{
    ApiError, App,
    auth::{Caller, CurrentShop, Role},
    figures::{AsOf, Figures},
};

/// The answer: no figure, nothing personal.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShopInfo {
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
    /// Deliveries by what became of them.
    #[schema(value_type = Deliveries)]
    inbox: InboxCounts,
    /// Read models that stand still.
    #[schema(value_type = Vec<ParkedReadModel>)]
    parked: Vec<Parked>,
    #[serde(flatten)]
    as_of: AsOf,
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

    let mut figures = Figures::open(&app, CurrentShop { id: entry.shop }, "sales").await?;
    let shop: Shop = figures.tx.load(Shop::ID).await?;
    Ok(Json(ShopInfo {
        domain: entry.domain.to_string(),
        shop_id: entry.shop.to_string(),
        shopify_id: entry.shopify_id.map(|id| id.to_string()),
        timezone: shop.timezone().name(),
        currency: figures.currency,
        installed: shop.is_installed(),
        paused: entry.is_paused,
        inbox: ingest::counts(&mut figures.tx).await?,
        parked: parked(&mut figures.tx, entry.shop).await?,
        as_of: figures.as_of,
    }))
}
