//! `GET /api/dashboard/restatements?from&to`: why the figures of one moment are not those of another.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    Currency,
    ledger::DEFINITION,
    shop::{Restatement, Shop, ShopEvent},
};
use read_models::{
    daily_sales::DailySales,
    metrics::{METRICS, Value},
    restatements::{self, Cause, Changed, Changes},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    ApiError, App,
    auth::CurrentShop,
    figures::{AsOf, Figures, Known},
    moment::Moment,
    openapi::Figure,
    period::{self, EVER, Period},
};

/// Between which moments, and of which days.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RestatementsQuery {
    /// What was known then: a position of the shop's log, or an instant.
    #[param(
        required = true,
        example = "1",
        pattern = r"^([0-9]{1,18}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}(Z|[+-][0-9]{2}:[0-9]{2}))$"
    )]
    from: Option<String>,
    /// What was known later, likewise; the present where it is left out.
    #[param(pattern = r"^([0-9]{1,18}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}(Z|[+-][0-9]{2}:[0-9]{2}))$")]
    to: Option<String>,
    /// The first of the shop's days that are looked at; without it `period_to`, without both every day.
    #[param(format = Date, example = "2026-11-01")]
    period_from: Option<String>,
    /// The last of these days, included; without it `period_from`.
    #[param(format = Date, example = "2026-11-30")]
    period_to: Option<String>,
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Restatements {
    from: KnownAt,
    to: KnownAt,
    /// The days that are looked at; `null` for all.
    #[schema(required)]
    period: Option<RestatedDays>,
    /// In a fixed order; each goes on where the one before ended, so that their changes add up to the total's, also of
    /// averages.
    causes: Vec<CauseOfChange>,
    /// From the figures as known at the first moment to those as known at the second.
    total: TotalChange,
    /// Rebuilds that showed other figures than before. Both moments are told by the present definition, so they are no part
    /// of the total.
    definition_changes: Vec<DefinitionChange>,
    /// The version of the definitions that both moments are told by.
    definition: u32,
    #[serde(flatten)]
    as_of: AsOf,
}

/// A moment of the log.
#[derive(Debug, Serialize, ToSchema)]
struct KnownAt {
    position: i64,
    /// When that event was recorded; `null` before the first.
    #[schema(required)]
    recorded_at: Option<DateTime<Utc>>,
    /// IANA; that the shop's days were cut in then.
    timezone: &'static str,
}

/// Days, both included.
#[derive(Debug, Serialize, ToSchema)]
struct RestatedDays {
    from: NaiveDate,
    to: NaiveDate,
}

/// What one cause changed.
#[derive(Debug, Serialize, ToSchema)]
struct CauseOfChange {
    #[schema(value_type = CauseName)]
    cause: &'static str,
    /// Of so many orders.
    orders: i64,
    /// Told by so many events.
    events: i64,
    /// Of those, how many told of a day that had ended when they were recorded.
    late_events: i64,
    metrics: BTreeMap<&'static str, Change>,
}

/// `settings`: another zone or currency of the shop; `late_webhook`: a sale told after its day had ended; `refund`; `edit`;
/// `cancellation`; `deletion`; `backfill`: told by a document of the Admin API; `correction`: another body of a known order
/// told of its sale otherwise; `new_sale`: on its day; `merge` and `redaction` move no sale; `definition_change`: a rebuild.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "`read_models::restatements::Cause` is what is written")]
enum CauseName {
    Settings,
    LateWebhook,
    Refund,
    Edit,
    Cancellation,
    Deletion,
    Backfill,
    Correction,
    NewSale,
    Merge,
    Redaction,
    DefinitionChange,
}

/// What all of them changed.
#[derive(Debug, Serialize, ToSchema)]
struct TotalChange {
    /// Of so many orders; one can be of several causes.
    orders: i64,
    /// Told by so many events; one can be of several causes.
    events: i64,
    metrics: BTreeMap<&'static str, Change>,
}

/// A figure before and after.
#[derive(Debug, Serialize, ToSchema)]
struct Change {
    #[schema(value_type = Figure)]
    before: Value,
    #[schema(value_type = Figure)]
    after: Value,
    /// `null` where one of them is, or they are of two currencies.
    #[schema(value_type = Figure)]
    change: Value,
}

/// A rebuilt ledger that shows other figures took the place of the old one.
#[derive(Debug, Serialize, ToSchema)]
struct DefinitionChange {
    /// Of the event in the shop's log.
    position: i64,
    recorded_at: DateTime<Utc>,
    projection: String,
    /// Versions of the read model, before and after.
    version: [u32; 2],
    /// IANA, before and after.
    #[schema(value_type = [String; 2])]
    timezone: [&'static str; 2],
    /// Both were compared at this position.
    compared_at: i64,
    /// Sums of all days by currency and name, in minor units or counts.
    before: BTreeMap<String, i64>,
    after: BTreeMap<String, i64>,
}

/// What changed between two moments of the shop's log, by cause. The changes add up to the difference of the figures.
#[utoipa::path(
    get, path = "/api/dashboard/restatements", tag = "figures",
    params(RestatementsQuery),
    responses(
        (status = 200, description = "The causes", body = Restatements),
        (status = 400, description = "No such moment or period, or one that ends before it begins"),
        (status = 404, description = "The token's shop is not there"),
    ),
    security(("bearer" = ["merchant"]), ("bearer" = ["auditor"])),
)]
pub async fn restatements(
    shop: CurrentShop,
    State(app): State<App>,
    query: Result<Query<RestatementsQuery>, QueryRejection>,
) -> Result<Json<Restatements>, ApiError> {
    let Query(query) = query?;
    let (from, to) = query.moments()?;
    let period = query.period()?;
    // A connection each, of the few there are: they take turns.
    let _turn = app.adding_up.take(shop.id).await?;
    let mut figures = Figures::open(&app, shop, "sales").await?;
    let (known, later) = (figures.known_at(from).await?, figures.known_at(to).await?);
    if known.asked > later.asked {
        return Err(backwards());
    }
    let between = (known.as_of.as_of_position, later.as_of.as_of_position);

    let mut sums = Sums::between(&mut figures, &known, &later, period).await?;
    let mut changes = changes(&mut figures, between, period).await?;
    if sums.reset != (sums.before, known.currency) {
        changes.by_cause.entry(Cause::Settings).or_default();
    }
    let mut causes = Vec::new();
    let mut reached = (sums.before, known.currency);
    for (cause, changed) in &changes.by_cause {
        let mut next = (reached.0, later.currency);
        match cause {
            Cause::Settings => next = sums.reset,
            _ => next.0 += changed.sums,
        }
        causes.push(CauseOfChange {
            cause: cause.as_str(),
            orders: changed.orders,
            events: changed.events,
            late_events: changed.late_events,
            metrics: metrics(&reached, &next),
        });
        reached = next;
    }
    sums.assert_reached(&reached.0)?;
    Ok(Json(Restatements {
        total: TotalChange {
            orders: changes.all.orders,
            events: changes.all.events,
            metrics: metrics(&(sums.before, known.currency), &(sums.after, later.currency)),
        },
        from: KnownAt::of(&known),
        to: KnownAt::of(&later),
        period: period.map(|Period { from, to }| RestatedDays { from, to }),
        causes,
        definition_changes: definition_changes(&mut figures, between).await?,
        definition: DEFINITION,
        as_of: later.as_of,
    }))
}

fn backwards() -> ApiError {
    ApiError::BadRequest("`from` is after `to`".into())
}

impl RestatementsQuery {
    fn moments(&self) -> Result<(Moment, Moment), ApiError> {
        let from = self.from.as_deref().ok_or_else(|| ApiError::BadRequest("`from` is missing".into()))?;
        let from = Moment::parse("from", from)?;
        let to = self.to.as_deref().map(|text| Moment::parse("to", text)).transpose()?;
        match (from, to) {
            (Moment::Instant(from), Some(Moment::Instant(to))) if from > to => Err(backwards()),
            (Moment::Position(from), Some(Moment::Position(to))) if from > to => Err(backwards()),
            // Behind whatever there is: the present.
            _ => Ok((from, to.unwrap_or(Moment::Position(i64::MAX)))),
        }
    }

    fn period(&self) -> Result<Option<Period>, ApiError> {
        let day = |name, text: &Option<String>| text.as_deref().map(|text| period::parse(name, text)).transpose();
        let (from, to) = (day("period_from", &self.period_from)?, day("period_to", &self.period_to)?);
        let Some((from, to)) = from.or(to).zip(to.or(from)) else { return Ok(None) };
        Period::checked(from, to, ("period_from", "period_to")).map(Some)
    }
}

/// Sums of the days at both moments.
struct Sums {
    before: DailySales,
    /// What was known at the first moment, with the zone and currency of the second.
    reset: (DailySales, Currency),
    after: DailySales,
}

impl Sums {
    /// Leaves the figures at the later moment.
    async fn between(
        figures: &mut Figures,
        known: &Known,
        later: &Known,
        period: Option<Period>,
    ) -> Result<Self, ApiError> {
        figures.take_on(known.clone());
        let before = figures.sums(period).await?;
        let mut reset = (before, later.currency);
        if (known.timezone, known.currency) != (later.timezone, later.currency) {
            let of_later = Known { timezone: later.timezone, currency: later.currency, ..known.clone() };
            figures.take_on(of_later);
            reset.0 = figures.sums(period).await?;
        }
        figures.take_on(later.clone());
        Ok(Self { before, reset, after: figures.sums(period).await? })
    }

    /// Whoever is told why a figure changed is told all of it, or nothing.
    fn assert_reached(&mut self, reached: &DailySales) -> Result<(), ApiError> {
        if *reached == self.after {
            return Ok(());
        }
        Err(ApiError::Internal(format!("causes add up to {reached:?}, not to {:?}", self.after).into()))
    }
}

/// What changed, by cause, with those that move nothing.
async fn changes(figures: &mut Figures, between: (i64, i64), period: Option<Period>) -> Result<Changes, ApiError> {
    let (after, up_to) = between;
    let first = figures.tx.recorded_at(after + 1).await?;
    let last = figures.tx.recorded_at(up_to).await?;
    let (Some((first, last)), true) = (first.zip(last), after < up_to) else { return Ok(Changes::default()) };
    let (zone, ledger, currency) = (figures.timezone, figures.ledger(), figures.currency);
    let days: Vec<_> =
        Period { from: zone.day_of(first), to: zone.day_of(last) }.each_day().map(|day| zone.start_of(day)).collect();
    let bounds = figures.bounds(period.unwrap_or(EVER));
    let mut changes = restatements::since(&mut figures.tx, ledger, after, bounds, currency, &days).await?;
    for (cause, events) in restatements::without_rows(&mut figures.tx, ledger.shop, after, up_to).await? {
        changes.by_cause.entry(cause).or_insert(Changed { ..events });
    }
    Ok(changes)
}

async fn definition_changes(figures: &mut Figures, between: (i64, i64)) -> Result<Vec<DefinitionChange>, ApiError> {
    let (after, up_to) = between;
    let mut changes = Vec::new();
    for event in figures.tx.histories("shop", &[Shop::ID.to_owned()], up_to).await? {
        if event.position <= after || event.event_type != "LedgerRestated" {
            continue;
        }
        if let ShopEvent::LedgerRestated(restatement) = event.decode()? {
            changes.push(DefinitionChange::of(event.position, event.recorded_at, restatement));
        }
    }
    Ok(changes)
}

impl DefinitionChange {
    fn of(position: i64, recorded_at: DateTime<Utc>, restatement: Restatement) -> Self {
        Self {
            position,
            recorded_at,
            projection: restatement.projection,
            version: restatement.definition.into(),
            timezone: [restatement.timezone.0.name(), restatement.timezone.1.name()],
            compared_at: restatement.position,
            before: restatement.before,
            after: restatement.after,
        }
    }
}

impl KnownAt {
    fn of(known: &Known) -> Self {
        let AsOf { as_of_position, as_of, .. } = known.as_of;
        Self { position: as_of_position, recorded_at: as_of, timezone: known.timezone.name() }
    }
}

type InCurrency = (DailySales, Currency);

fn metrics(before: &InCurrency, after: &InCurrency) -> BTreeMap<&'static str, Change> {
    let each = METRICS.iter().map(|metric| {
        let (before, after) = (metric.value(&before.0, before.1), metric.value(&after.0, after.1));
        (metric.name, Change { before, after, change: after.minus(before) })
    });
    each.collect()
}
