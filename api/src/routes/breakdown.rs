//! `GET /api/dashboard/breakdown?metric&by&from&to&as_of`: one figure by what was sold, or why.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use domain::{Currency, money::checked_divide_half_even};
use futures::TryStreamExt;
use read_models::{
    breakdown::{self, By},
    daily_sales::DailySales,
    metrics::{Computed, Metric, Value},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::series::named;
use crate::{
    ApiError, App,
    auth::CurrentShop,
    figures::{AsOf, Figures},
    moment::AsOfQuery,
    openapi,
    period::PeriodQuery,
};

const MAX_ROWS: usize = 250;

/// What is asked for beside the period.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BreakdownQuery {
    /// A figure that stats answers, but an average or a count of orders.
    #[param(required = true, value_type = openapi::BreakdownMetricName)]
    metric: Option<String>,
    /// What to tell apart.
    #[param(required = true, value_type = Dimension)]
    by: Option<Dimension>,
}

/// What sales are told apart by.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Dimension {
    /// Shopify's product.
    Product,
    /// Shopify's variant.
    Variant,
    /// What a row of the ledger is about: `product`, `shipping`, `tip` …
    LineType,
    /// Why it is there: `order`, `refund`, `cancel` …
    Reason,
}

impl From<Dimension> for By {
    fn from(dimension: Dimension) -> Self {
        match dimension {
            Dimension::Product => Self::Product,
            Dimension::Variant => Self::Variant,
            Dimension::LineType => Self::LineType,
            Dimension::Reason => Self::Reason,
        }
    }
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Breakdown {
    #[schema(value_type = openapi::BreakdownMetricName)]
    metric: &'static str,
    by: Dimension,
    /// The greatest first, at most 250; then what has no value, then all others. Those that are zero are left out.
    rows: Vec<BreakdownRow>,
    /// What the rows add up to.
    #[schema(value_type = openapi::Figure)]
    total: Value,
    #[serde(flatten)]
    as_of: AsOf,
}

/// A part of the figure.
#[derive(Debug, Serialize, ToSchema)]
struct BreakdownRow {
    /// Shopify's id, or the value's name; `null` for what has none, and for all others.
    #[schema(required)]
    key: Option<String>,
    /// To be shown.
    label: String,
    #[schema(value_type = openapi::Figure)]
    value: Value,
    /// In percent of the total, one digit; `null` where that is zero.
    #[schema(required, pattern = r"^-?[0-9]+\.[0-9]$")]
    share: Option<String>,
}

/// One figure by what was sold, or why. The rows add up to the figure.
#[utoipa::path(
    get, path = "/api/dashboard/breakdown", tag = "figures",
    params(BreakdownQuery, PeriodQuery, AsOfQuery),
    responses(
        (status = 200, description = "The parts", body = Breakdown),
        (status = 400, description = "No such figure, period or moment, or none that can be broken down"),
        (status = 404, description = "The token's shop is not there"),
    ),
    security(("bearer" = ["merchant"]), ("bearer" = ["auditor"])),
)]
pub async fn breakdown(
    shop: CurrentShop,
    State(app): State<App>,
    query: Result<Query<BreakdownQuery>, QueryRejection>,
    period: Result<Query<PeriodQuery>, QueryRejection>,
    as_of: Result<Query<AsOfQuery>, QueryRejection>,
) -> Result<Json<Breakdown>, ApiError> {
    let (Query(query), Query(period), Query(as_of)) = (query?, period?, as_of?);
    let metric = named(query.metric.as_deref())?;
    if !metric.can_be_broken_down() {
        let text = "`metric` cannot be broken down: an average does not add up, and an order is of many things";
        return Err(ApiError::BadRequest(text.into()));
    }
    let by = query.by.ok_or_else(|| ApiError::BadRequest("`by` is missing".into()))?;
    // A connection each, of the few there are: they take turns.
    let _turn = app.adding_up.take(shop.id).await?;
    let mut figures = Figures::open_as_of(&app, shop, as_of.moment()?).await?;
    let today = figures.today();
    let period = period.resolve(today)?;
    let (ledger, bounds, currency) = (figures.ledger(), figures.bounds(period), figures.currency);

    let mut parts = Parts { metric, currency, top: Vec::new(), unattributed: 0, others: 0, total: 0 };
    let statement = breakdown::rows(ledger, by.into(), bounds, currency);
    let mut rows = statement.fetch(&mut *figures.tx);
    let mut current: Option<(Option<String>, DailySales)> = None;
    while let Some(row) = rows.try_next().await? {
        match &mut current {
            Some((key, sums)) if *key == row.key => *sums += row.sums(),
            _ => {
                let sums = row.sums();
                parts.extend(current.replace((row.key, sums)));
            }
        }
    }
    parts.extend(current);
    drop(rows);
    let (rows, total) = parts.finish();
    // What has not begun has no figures yet.
    let total = if period.from > today { Value::Unknown } else { total };
    Ok(Json(Breakdown { metric: metric.name, by, rows, total, as_of: figures.as_of }))
}

/// The greatest parts so far: as many as are shown, whatever there is.
struct Parts {
    metric: &'static Metric,
    currency: Currency,
    top: Vec<(i64, String)>,
    unattributed: i64,
    others: i64,
    total: i64,
}

impl Parts {
    fn extend(&mut self, part: Option<(Option<String>, DailySales)>) {
        let Some((key, sums)) = part else { return };
        let (Computed::Minor(number) | Computed::Count(number)) = self.metric.computed(&sums) else { return };
        self.total += number;
        match key {
            None => self.unattributed += number,
            Some(key) if number != 0 => {
                self.top.push((number, key));
                if self.top.len() >= 2 * MAX_ROWS {
                    self.cut();
                }
            }
            Some(_) => {}
        }
    }

    fn cut(&mut self) {
        self.top.sort_by(|(left, left_key), (right, right_key)| right.cmp(left).then_with(|| left_key.cmp(right_key)));
        self.others += self.top.drain(MAX_ROWS.min(self.top.len())..).map(|(number, _)| number).sum::<i64>();
    }

    fn finish(mut self) -> (Vec<BreakdownRow>, Value) {
        self.cut();
        let named = self.top.iter().map(|(number, key)| self.row(Some(key), key, *number));
        let rest = [("(not attributed)", self.unattributed), ("(others)", self.others)];
        let rest = rest.into_iter().filter(|(_, number)| *number != 0);
        let rows = named.chain(rest.map(|(label, number)| self.row(None, label, number))).collect();
        (rows, self.value(self.total))
    }

    fn row(&self, key: Option<&String>, label: &str, number: i64) -> BreakdownRow {
        let (number_of_1000, total) = (i128::from(number) * 1000, i128::from(self.total));
        let tenths = (total != 0).then(|| checked_divide_half_even(number_of_1000 * total.signum(), total.abs()));
        let share = tenths.flatten().map(|tenths| {
            let sign = if tenths < 0 { "-" } else { "" };
            format!("{sign}{}.{}", tenths.unsigned_abs() / 10, tenths.unsigned_abs() % 10)
        });
        BreakdownRow { key: key.cloned(), label: label.to_owned(), value: self.value(number), share }
    }

    fn value(&self, number: i64) -> Value {
        match self.metric.computed(&DailySales::default()) {
            Computed::Minor(_) => Value::Money(domain::Money { minor: number, currency: self.currency }),
            _ => Value::Count(number),
        }
    }
}
