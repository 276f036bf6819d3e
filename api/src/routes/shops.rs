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

use crate::{
    ApiError, App,
    auth::{Caller, CurrentShop, Role},
    figures::{AsOf, Figures},
};

/// The answer: no figure, nothing personal.
#[derive(Debug, Serialize)]
pub struct ShopInfo {
    domain: String,
    shop_id: String,
    shopify_id: Option<String>,
    timezone: &'static str,
    currency: Currency,
    installed: bool,
    paused: bool,
    inbox: InboxCounts,
    parked: Vec<Parked>,
    #[serde(flatten)]
    as_of: AsOf,
}

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
