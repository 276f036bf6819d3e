//! `GET /api/dashboard/series?metric&granularity&from&to`: one figure over time, a point for every part of the period.

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

use crate::{
    ApiError, App,
    auth::CurrentShop,
    figures::{AsOf, Figures},
    period::{Period, PeriodQuery},
};

const MAX_POINTS: usize = 2000;
const MAX_HOURLY_DAYS: i64 = 62;

/// What is asked for beside the period.
#[derive(Debug, Deserialize)]
pub struct SeriesQuery {
    metric: Option<String>,
    granularity: Option<String>,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Series {
    metric: &'static str,
    granularity: &'static str,
    timezone: &'static str,
    points: Vec<Point>,
    #[serde(flatten)]
    as_of: AsOf,
}

/// A part of the period: dates, both included, or instants, the end excluded.
#[derive(Debug, Serialize)]
struct Point {
    start: String,
    end: String,
    value: Value,
}

type Part = (NaiveDate, NaiveDate);

pub async fn series(
    shop: CurrentShop,
    State(app): State<App>,
    period: Result<Query<PeriodQuery>, QueryRejection>,
    query: Result<Query<SeriesQuery>, QueryRejection>,
) -> Result<Json<Series>, ApiError> {
    let (Query(period), Query(query)) = (period?, query?);
    let name = query.metric.ok_or_else(|| ApiError::BadRequest("`metric` is missing".into()))?;
    let metric = Metric::named(&name)
        .ok_or_else(|| ApiError::BadRequest("`metric` is none of the figures that stats answers".into()))?;
    let mut figures = Figures::open(&app, shop, "sales").await?;
    let period = period.resolve(figures.today())?;
    let (granularity, points) = match query.granularity.as_deref() {
        None | Some("day") => ("day", by_days(&mut figures, metric, period, |day| (day, day)).await?),
        Some("week") => ("week", by_days(&mut figures, metric, period, week_of).await?),
        Some("month") => ("month", by_days(&mut figures, metric, period, month_of).await?),
        Some("hour") => ("hour", by_hours(&mut figures, metric, period).await?),
        Some(_) => {
            return Err(ApiError::BadRequest("`granularity` is none of hour, day, week, month".into()));
        }
    };
    let timezone = figures.timezone.name();
    Ok(Json(Series { metric: metric.name, granularity, timezone, points, as_of: figures.as_of }))
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
