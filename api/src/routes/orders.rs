//! `GET /api/orders?limit&cursor`: orders, newest first.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Datelike, Utc};
use domain::{Money, ids::OrderId};
use read_models::orders::{self, Cursor, OrderRow};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::page::{cut, limit_of};
use crate::{
    ApiError, App,
    auth::CurrentShop,
    figures::{AsOf, Figures},
    openapi,
};

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 250;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// At most so many; 50 where it is left out.
    #[param(minimum = 1, maximum = 250)]
    limit: Option<i64>,
    /// `next_cursor` of the page before; the first page where it is left out.
    pub cursor: Option<String>,
}

impl PageQuery {
    /// How many are asked for.
    pub fn limit(&self) -> Result<i64, ApiError> {
        limit_of(self.limit, DEFAULT_LIMIT, MAX_LIMIT)
    }
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Orders {
    items: Vec<Item>,
    /// Of the next page; `null` on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
    #[serde(flatten)]
    as_of: AsOf,
}

/// An order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Order)]
struct Item {
    /// Shopify's.
    id: String,
    #[schema(required)]
    name: Option<String>,
    placed_at: DateTime<Utc>,
    #[schema(value_type = openapi::Money)]
    total_price: Money,
    #[schema(value_type = openapi::Money)]
    net_sales: Money,
    #[schema(required)]
    financial_status: Option<String>,
    #[schema(required)]
    fulfillment_status: Option<String>,
    #[schema(required)]
    cancelled_at: Option<DateTime<Utc>>,
    test: bool,
    /// Shopify's.
    #[schema(required)]
    customer_id: Option<String>,
    #[schema(required)]
    country: Option<String>,
    #[schema(required)]
    source_name: Option<String>,
}

/// Orders, newest first.
#[utoipa::path(
    get, path = "/api/orders", tag = "figures",
    params(PageQuery),
    responses(
        (status = 200, description = "A page", body = Orders),
        (status = 400, description = "No such limit or cursor"),
        (status = 404, description = "The token's shop is not there"),
    ),
    security(("bearer" = ["merchant"]), ("bearer" = ["auditor"])),
)]
pub async fn orders(
    shop: CurrentShop,
    State(app): State<App>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Orders>, ApiError> {
    let Query(query) = query?;
    let limit = query.limit()?;
    let after = query.cursor.as_deref().map(read_cursor).transpose()?;
    let mut figures = Figures::open(&app, shop, "orders").await?;
    let mut rows = orders::page(&mut figures.tx, shop.id, after, limit + 1).await?;
    let next_cursor = cut(&mut rows, limit).map(|row| write_cursor((row.placed_at, row.order_id)));
    Ok(Json(Orders { items: rows.into_iter().map(Item::from).collect(), next_cursor, as_of: figures.as_of }))
}

impl From<OrderRow> for Item {
    fn from(row: OrderRow) -> Self {
        let money = |minor| Money { minor, currency: row.currency };
        Self {
            id: row.order_id.to_string(),
            placed_at: row.placed_at,
            total_price: money(row.total_price_minor),
            net_sales: money(row.net_sales_minor),
            name: row.name,
            financial_status: row.financial_status,
            fulfillment_status: row.fulfillment_status,
            cancelled_at: row.cancelled_at,
            test: row.test,
            customer_id: row.customer_id.map(|id| id.to_string()),
            country: row.country,
            source_name: row.source_name,
        }
    }
}

fn write_cursor((placed_at, id): Cursor) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{id}", placed_at.timestamp_micros()))
}

fn read_cursor(text: &str) -> Result<Cursor, ApiError> {
    let decoded = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let parts = decoded.as_deref().and_then(|text| text.split_once(':'));
    parts
        .and_then(|(micros, id)| {
            let at = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
            // The database's calendar ends before ours does.
            (1..9999).contains(&at.year()).then_some((at, OrderId(id.parse().ok()?)))
        })
        .ok_or_else(|| ApiError::BadRequest("`cursor` is not one that a page answered".into()))
}
