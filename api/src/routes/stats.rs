//! `GET /api/dashboard/stats?from&to&as_of`: every figure of a period, and of the one before it.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use chrono::NaiveDate;
use domain::ledger::DEFINITION;
use read_models::{
    daily_sales::DailySales,
    metrics::{METRICS, Metric, Value},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    ApiError, App,
    auth::CurrentShop,
    figures::{AsOf, Figures, sum},
    moment::AsOfQuery,
    openapi::Figure,
    period::{Period, PeriodQuery},
};

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stats {
    /// Its permanent domain.
    shop: String,
    period: Days,
    #[schema(value_type = BTreeMap<String, Figure>)]
    metrics: BTreeMap<&'static str, Value>,
    comparison: Comparison,
    #[serde(flatten)]
    as_of: AsOf,
    definitions: Definitions,
}

/// Days, both included.
#[derive(Debug, Serialize, ToSchema)]
struct Days {
    from: NaiveDate,
    to: NaiveDate,
    /// IANA.
    timezone: &'static str,
    /// The period is still running.
    partial: bool,
}

/// The period before.
#[derive(Debug, Serialize, ToSchema)]
struct Comparison {
    period: Days,
    #[schema(value_type = BTreeMap<String, Figure>)]
    metrics: BTreeMap<&'static str, Value>,
    /// In percent of the earlier figure, one digit; `null` where there is nothing to compare with.
    #[schema(value_type = BTreeMap<String, Option<String>>)]
    change: BTreeMap<&'static str, Option<String>>,
}

/// What the figures mean.
#[derive(Debug, Serialize, ToSchema)]
struct Definitions {
    /// Another number: some figure means something else.
    version: u32,
    #[schema(value_type = BTreeMap<String, String>)]
    formulas: BTreeMap<&'static str, &'static str>,
}

/// Every figure of a period, of the one before it, and the change.
#[utoipa::path(
    get, path = "/api/dashboard/stats", tag = "figures",
    params(PeriodQuery, AsOfQuery),
    responses(
        (status = 200, description = "The figures", body = Stats),
        (status = 400, description = "No such period or moment"),
        (status = 404, description = "The token's shop is not there"),
    ),
    security(("bearer" = ["merchant"]), ("bearer" = ["auditor"])),
)]
pub async fn stats(
    shop: CurrentShop,
    State(app): State<App>,
    query: Result<Query<PeriodQuery>, QueryRejection>,
    as_of: Result<Query<AsOfQuery>, QueryRejection>,
) -> Result<Json<Stats>, ApiError> {
    let (Query(query), Query(as_of)) = (query?, as_of?);
    let mut figures = Figures::open_as_of(&app, shop, as_of.moment()?).await?;
    let today = figures.today();
    let period = query.resolve(today)?;
    // One query for both: they lie side by side.
    let days = figures.days(Period { from: period.previous().from, to: period.to }).await?;
    let sums = sum(&days, period);
    let (compared, base) = earlier(&mut figures, &days, period, today).await?;

    let currency = figures.currency;
    // What has not begun has no figures yet, and none that could be compared.
    let is_to_come = |period: Period| period.from > today;
    let metrics = |period: Period, sums: &DailySales| {
        let value = |metric: &Metric| if is_to_come(period) { Value::Unknown } else { metric.value(sums, currency) };
        METRICS.iter().map(|metric| (metric.name, value(metric))).collect()
    };
    let changed = |metric: &Metric| metric.change_percent(&sums, &base).filter(|_| !is_to_come(period));
    let change = METRICS.iter().map(|metric| (metric.name, changed(metric))).collect();
    let timezone = figures.timezone.name();
    let partial = (period.from..=period.to).contains(&today);
    Ok(Json(Stats {
        period: Days { from: period.from, to: period.to, timezone, partial },
        metrics: metrics(period, &sums),
        comparison: Comparison {
            period: Days { from: compared.from, to: compared.to, timezone, partial },
            metrics: metrics(compared, &base),
            change,
        },
        as_of: figures.as_of,
        definitions: Definitions {
            version: DEFINITION,
            formulas: METRICS.iter().map(|metric| (metric.name, metric.formula)).collect(),
        },
        shop: figures.domain,
    }))
}

/// The same number of days directly before. While the period is running, only as much of them as has elapsed of it, by
/// the shop's clock: like is compared with like.
async fn earlier(
    figures: &mut Figures,
    days: &[(NaiveDate, DailySales)],
    period: Period,
    today: NaiveDate,
) -> Result<(Period, DailySales), ApiError> {
    let previous = period.previous();
    if !(period.from..=period.to).contains(&today) {
        return Ok((previous, sum(days, previous)));
    }
    let zone = figures.timezone;
    let last = previous.from + (today - period.from);
    let mut sums = if last > previous.from {
        sum(days, Period { from: previous.from, to: last.pred_opt().unwrap_or(last) })
    } else {
        DailySales::default()
    };
    let (start, until) = (zone.start_of(last), zone.at(last, zone.time_of(figures.now)));
    for part in figures.parts(&[start, until.max(start)]).await? {
        sums += part;
    }
    Ok((Period { from: previous.from, to: last }, sums))
}
