//! `GET /api/dashboard/explain?metric&from&to&as_of&limit&cursor`: from a figure to the rows of the ledger that add up to it,
//! their events, and the deliveries that those came from.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use domain::{Currency, Money, ledger::DEFINITION};
use read_models::{
    daily_sales::DailySales,
    explain::{self, Cursor, Explained},
    metrics::{Computed, Metric, Value},
};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    orders::PageQuery,
    series::{MetricQuery, named},
};
use crate::{
    ApiError, App,
    auth::CurrentShop,
    figures::{AsOf, Figures},
    moment::AsOfQuery,
    openapi,
    period::PeriodQuery,
};

/// Rows that are read at a time, and how often for one page: of some figures most rows are no part.
const READ: i64 = 1000;
const MAX_READS: usize = 20;

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explanation {
    #[schema(value_type = openapi::MetricName)]
    metric: &'static str,
    /// In words.
    formula: &'static str,
    /// The version of the definitions that it was computed by.
    definition: u32,
    from: NaiveDate,
    to: NaiveDate,
    /// IANA.
    timezone: &'static str,
    /// As stats answers it.
    #[schema(value_type = openapi::Figure)]
    value: Value,
    /// What `adds` of all facts comes to: the figure, or what is divided.
    #[schema(value_type = openapi::Figure)]
    sum: Value,
    /// What `per` of all facts comes to; `null` where nothing is divided.
    #[schema(required)]
    per: Option<i64>,
    /// By when they happened, then as they were learned. A page may have fewer than were asked for, also none; the last one
    /// is that without `next_cursor`.
    items: Vec<Fact>,
    /// Of the next page; `null` on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
    #[serde(flatten)]
    as_of: AsOf,
}

/// A row of the ledger that is a part of the figure. What was believed and is not any more has one that takes it back.
#[derive(Debug, Serialize, ToSchema)]
struct Fact {
    /// The same in every replay.
    #[schema(value_type = String)]
    fact_id: Uuid,
    occurred_at: DateTime<Utc>,
    /// The shop's, on which it counts.
    day: NaiveDate,
    /// What it is about: the same thing has the same key.
    key: String,
    /// `order`, `refund` …
    reason: String,
    /// `product`, `shipping` …
    line_type: String,
    /// `agreement`: Shopify booked it; `derived_from_order_json`: derived from the order.
    provenance: String,
    /// Shopify's.
    order_id: String,
    #[schema(required)]
    line_id: Option<String>,
    #[schema(required)]
    product_id: Option<String>,
    #[schema(required)]
    variant_id: Option<String>,
    /// Its part of the figure, or of what is divided.
    #[schema(value_type = openapi::Figure)]
    adds: Value,
    /// Its part of what is divided by; `null` where nothing is.
    #[schema(required)]
    per: Option<i64>,
    event: FactEvent,
    origin: FactOrigin,
}

/// The event that taught it.
#[derive(Debug, Serialize, ToSchema)]
struct FactEvent {
    position: i64,
    recorded_at: DateTime<Utc>,
    /// `OrderPlaced` …
    r#type: String,
    version: String,
    aggregate_type: &'static str,
    aggregate_id: String,
}

/// What the event came from.
#[derive(Debug, Serialize, ToSchema)]
struct FactOrigin {
    /// `webhook`; `sync`: a document of the Admin API; `command`: somebody's.
    #[schema(required)]
    source: Option<String>,
    #[schema(required)]
    topic: Option<String>,
    /// Shopify's, of the delivery; a document's is made of its digest.
    #[schema(required)]
    webhook_id: Option<String>,
    /// By which the body is known in this shop, in hexadecimal digits: a digest under the shop's key.
    #[schema(required)]
    body_digest: Option<String>,
    /// In the inbox.
    #[schema(required)]
    delivery_id: Option<String>,
}

/// From a figure to the rows of the ledger that add up to it, with their events and where those came from.
#[utoipa::path(
    get, path = "/api/dashboard/explain", tag = "figures",
    params(MetricQuery, PeriodQuery, AsOfQuery, PageQuery),
    responses(
        (status = 200, description = "A page of facts", body = Explanation),
        (status = 400, description = "No such figure, period, moment, limit or cursor"),
        (status = 404, description = "The token's shop is not there"),
    ),
    security(("bearer" = ["merchant"]), ("bearer" = ["auditor"])),
)]
pub async fn explain(
    shop: CurrentShop,
    State(app): State<App>,
    query: Result<Query<MetricQuery>, QueryRejection>,
    period: Result<Query<PeriodQuery>, QueryRejection>,
    as_of: Result<Query<AsOfQuery>, QueryRejection>,
    page: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Explanation>, ApiError> {
    let (Query(query), Query(period), Query(as_of), Query(page)) = (query?, period?, as_of?, page?);
    let metric = named(query.metric.as_deref())?;
    let limit = usize::try_from(page.limit()?).expect("a small number");
    let after = page.cursor.as_deref().map(read_cursor).transpose()?;
    // A connection each, of the few there are: they take turns.
    let _turn = app.adding_up.take(shop.id).await?;
    let mut figures = Figures::open_as_of(&app, shop, as_of.moment()?).await?;
    let today = figures.today();
    let period = period.resolve(today)?;
    let sums = figures.sums(Some(period)).await?;
    let currency = figures.currency;
    let (rows, next_cursor) = facts(&mut figures, metric, period, after, limit).await?;
    let (sum, per) = parts(metric, &sums, currency);
    let zone = figures.timezone;
    Ok(Json(Explanation {
        metric: metric.name,
        formula: metric.formula,
        definition: DEFINITION,
        from: period.from,
        to: period.to,
        timezone: zone.name(),
        // What has not begun has no figures yet.
        value: if period.from > today { Value::Unknown } else { metric.value(&sums, currency) },
        sum,
        per,
        items: rows.into_iter().map(|row| fact(row, metric, currency, |at| zone.day_of(at))).collect(),
        next_cursor: next_cursor.map(write_cursor),
        as_of: figures.as_of,
    }))
}

/// A page of the rows that are a part of the figure, and where the next one begins.
async fn facts(
    figures: &mut Figures,
    metric: &Metric,
    period: crate::period::Period,
    mut after: Option<Cursor>,
    limit: usize,
) -> Result<(Vec<Explained>, Option<Cursor>), ApiError> {
    let (ledger, bounds, currency) = (figures.ledger(), figures.bounds(period), figures.currency);
    let mut found: Vec<Explained> = Vec::new();
    for _ in 0..MAX_READS {
        let rows = explain::page(&mut figures.tx, ledger, bounds, currency, after, READ).await?;
        let is_last = i64::try_from(rows.len()).is_ok_and(|count| count < READ);
        for row in rows {
            let cursor = row.cursor();
            if !is_nothing(metric, &row.sums()) {
                if found.len() == limit {
                    return Ok((found, after));
                }
                found.push(row);
            }
            after = Some(cursor);
        }
        if is_last {
            return Ok((found, None));
        }
    }
    Ok((found, after))
}

fn is_nothing(metric: &Metric, sums: &DailySales) -> bool {
    match metric.computed(sums) {
        Computed::Minor(number) | Computed::Count(number) => number == 0,
        Computed::MinorPer(number, per) | Computed::RatioOf(number, per) => number == 0 && per == 0,
    }
}

/// What is added up, and what it is divided by.
fn parts(metric: &Metric, sums: &DailySales, currency: Currency) -> (Value, Option<i64>) {
    let money = |minor| Value::Money(Money { minor, currency });
    match metric.computed(sums) {
        Computed::Minor(minor) => (money(minor), None),
        Computed::Count(count) => (Value::Count(count), None),
        Computed::MinorPer(minor, per) => (money(minor), Some(per)),
        Computed::RatioOf(count, per) => (Value::Count(count), Some(per)),
    }
}

fn fact(row: Explained, metric: &Metric, currency: Currency, day_of: impl Fn(DateTime<Utc>) -> NaiveDate) -> Fact {
    let (adds, per) = parts(metric, &row.sums(), currency);
    let id = |id: Option<i64>| id.map(|id| id.cast_unsigned().to_string());
    let order_id = row.order_id.cast_unsigned().to_string();
    Fact {
        fact_id: row.fact_id,
        occurred_at: row.occurred_at,
        day: day_of(row.occurred_at),
        key: row.business_key,
        reason: row.reason,
        line_type: row.line_type,
        provenance: row.provenance,
        order_id: order_id.clone(),
        line_id: id(row.line_item_id),
        product_id: id(row.product_id),
        variant_id: id(row.variant_id),
        adds,
        per,
        event: FactEvent {
            position: row.position,
            recorded_at: row.recorded_at,
            r#type: row.event_type,
            version: row.event_version,
            aggregate_type: "order",
            aggregate_id: order_id,
        },
        origin: FactOrigin {
            source: row.source,
            topic: row.topic,
            webhook_id: row.webhook_id,
            body_digest: row.body_digest,
            delivery_id: row.delivery,
        },
    }
}

fn write_cursor(cursor: Cursor) -> String {
    let Cursor { occurred_at, position, ordinal } = cursor;
    URL_SAFE_NO_PAD.encode(format!("{}:{position}:{ordinal}", occurred_at.timestamp_micros()))
}

fn read_cursor(text: &str) -> Result<Cursor, ApiError> {
    let decoded = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let parts = decoded.as_deref().and_then(|text| {
        let mut parts = text.splitn(3, ':');
        let occurred_at = DateTime::from_timestamp_micros(parts.next()?.parse().ok()?)?;
        let (position, ordinal) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        // The database's calendar ends before ours does.
        (1..9999).contains(&occurred_at.year()).then_some(Cursor { occurred_at, position, ordinal })
    });
    parts.ok_or_else(|| ApiError::BadRequest("`cursor` is not one that a page answered".into()))
}
