//! `GET /api/dashboard/series?metric&granularity&from&to&as_of`: one figure over time, a point for every part of the period.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use chrono::{DateTime, Datelike, Days, NaiveDate, SecondsFormat, Utc};
use read_models::{
    daily_sales::DailySales,
    metrics::{Metric, Value},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    ApiError, App,
    auth::CurrentShop,
    figures::{AsOf, Figures},
    moment::AsOfQuery,
    openapi,
    period::{Period, PeriodQuery},
};

const MAX_POINTS: usize = 2000;
const MAX_HOURLY_DAYS: i64 = 62;

/// Which figure.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MetricQuery {
    /// A figure that stats answers.
    #[param(required = true, value_type = openapi::MetricName)]
    pub metric: Option<String>,
}

/// What is asked for beside the figure and the period.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SeriesQuery {
    /// How long the parts are; `day` where it is left out. Hours of at most 62 days, and at most 2000 points.
    granularity: Option<Granularity>,
}

/// How long the parts of a period are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Granularity {
    Hour,
    Day,
    Week,
    Month,
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Series {
    #[schema(value_type = openapi::MetricName)]
    metric: &'static str,
    granularity: Granularity,
    /// IANA.
    timezone: &'static str,
    points: Vec<Point>,
    #[serde(flatten)]
    as_of: AsOf,
}

/// A part of the period: dates, both included, or instants, the end excluded.
#[derive(Debug, Serialize, ToSchema)]
struct Point {
    #[schema(examples("2026-11-01", "2026-11-01T08:00:00Z"))]
    start: String,
    #[schema(examples("2026-11-30", "2026-11-01T09:00:00Z"))]
    end: String,
    #[schema(value_type = openapi::Figure)]
    value: Value,
}

type Part = (NaiveDate, NaiveDate);

/// One figure over time: a point for every part of the period.
#[utoipa::path(
    get, path = "/api/dashboard/series", tag = "figures",
    params(MetricQuery, SeriesQuery, PeriodQuery, AsOfQuery),
    responses(
        (status = 200, description = "The points", body = Series),
        (status = 400, description = "No such figure, granularity, period or moment, or too many points"),
        (status = 404, description = "The token's shop is not there"),
    ),
    security(("bearer" = ["merchant"]), ("bearer" = ["auditor"])),
)]
pub async fn series(
    shop: CurrentShop,
    State(app): State<App>,
    period: Result<Query<PeriodQuery>, QueryRejection>,
    metric: Result<Query<MetricQuery>, QueryRejection>,
    query: Result<Query<SeriesQuery>, QueryRejection>,
    as_of: Result<Query<AsOfQuery>, QueryRejection>,
) -> Result<Json<Series>, ApiError> {
    let (Query(period), Query(metric), Query(query), Query(as_of)) = (period?, metric?, query?, as_of?);
    let metric = named(metric.metric.as_deref())?;
    let (granularity, moment) = (query.granularity.unwrap_or(Granularity::Day), as_of.moment()?);
    // Days are kept as sums. Hours have to be added up: that takes a connection for longer, of the few there are.
    let _turn = if granularity == Granularity::Hour { Some(app.adding_up.take(shop.id).await?) } else { None };
    let mut figures = Figures::open_as_of(&app, shop, moment).await?;
    let period = period.resolve(figures.today())?;
    let points = match granularity {
        Granularity::Day => by_days(&mut figures, metric, period, |day| (day, day)).await?,
        Granularity::Week => by_days(&mut figures, metric, period, week_of).await?,
        Granularity::Month => by_days(&mut figures, metric, period, month_of).await?,
        Granularity::Hour => by_hours(&mut figures, metric, period).await?,
    };
    let timezone = figures.timezone.name();
    Ok(Json(Series { metric: metric.name, granularity, timezone, points, as_of: figures.as_of }))
}

/// The figure that a parameter names.
pub fn named(name: Option<&str>) -> Result<&'static Metric, ApiError> {
    let name = name.ok_or_else(|| ApiError::BadRequest("`metric` is missing".into()))?;
    Metric::named(name).ok_or_else(|| ApiError::BadRequest("`metric` is none of the figures that stats answers".into()))
}

/// Weeks begin on Monday.
fn week_of(day: NaiveDate) -> Part {
    let start = day - Days::new(u64::from(day.weekday().num_days_from_monday()));
    (start, start + Days::new(6))
}

fn month_of(day: NaiveDate) -> Part {
    let start = day.with_day(1).expect("every month has a first day");
    let next = start + chrono::Months::new(1);
    (start, next.pred_opt().expect("after the first year"))
}

/// Weeks and months are cut to the period that is asked for.
async fn by_days(
    figures: &mut Figures,
    metric: &Metric,
    period: Period,
    part_of: fn(NaiveDate) -> Part,
) -> Result<Vec<Point>, ApiError> {
    let mut parts: Vec<(Part, DailySales)> = Vec::new();
    for day in period.each_day() {
        let (start, end) = part_of(day);
        let part = (start.max(period.from), end.min(period.to));
        if parts.last().is_none_or(|(last, _)| *last != part) {
            if parts.len() >= MAX_POINTS {
                return Err(ApiError::BadRequest(format!("more than {MAX_POINTS} points: ask for less").into()));
            }
            parts.push((part, DailySales::default()));
        }
    }
    for (day, sums) in figures.days(period).await? {
        let index = parts.partition_point(|((_, end), _)| *end < day);
        parts[index].1 += sums;
    }
    let today = figures.today();
    let point = |((start, end), sums): ((NaiveDate, NaiveDate), DailySales)| Point {
        start: start.to_string(),
        end: end.to_string(),
        value: if start > today { Value::Unknown } else { metric.value(&sums, figures.currency) },
    };
    Ok(parts.into_iter().map(point).collect())
}

/// Hours are instants: on a day of 25 hours one of them is there twice.
async fn by_hours(figures: &mut Figures, metric: &Metric, period: Period) -> Result<Vec<Point>, ApiError> {
    if period.days() > MAX_HOURLY_DAYS {
        return Err(ApiError::BadRequest(format!("hours of more than {MAX_HOURLY_DAYS} days: ask for less").into()));
    }
    let zone = figures.timezone;
    let mut bounds: Vec<DateTime<Utc>> = period.each_day().flat_map(|day| zone.hours_of(day)).collect();
    bounds.push(zone.end_of(period.to));
    let parts = figures.parts(&bounds).await?;
    let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    Ok(bounds
        .windows(2)
        .zip(parts)
        .map(|(bounds, sums)| Point {
            start: text(bounds[0]),
            end: text(bounds[1]),
            value: if bounds[0] > figures.now { Value::Unknown } else { metric.value(&sums, figures.currency) },
        })
        .collect())
}
