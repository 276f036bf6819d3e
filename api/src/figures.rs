//! What every answer about figures begins with: of when it is, what is still missing, and in which zone and currency.

use chrono::{DateTime, NaiveDate, Utc};
use domain::{Currency, Zone, shop::Shop};
use event_store::ShopTx;
use read_models::{
    PROJECTIONS,
    daily_sales::{self, DailySales, Days, Ledger},
    daily_sales_at,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    ApiError, App,
    auth::CurrentShop,
    moment::Moment,
    period::{EVER, Period},
};

/// A read of a shop's figures, all at one moment.
pub struct Figures {
    /// The transaction.
    pub tx: ShopTx,
    /// Of when the answer is.
    pub as_of: AsOf,
    /// The zone that the figures' days are cut in.
    pub timezone: Zone,
    /// Of the figures.
    pub currency: Currency,
    /// The shop's permanent domain.
    pub domain: String,
    /// What its log says of it.
    pub shop: Shop,
    /// What time it is, or was at the moment that is asked for.
    pub now: DateTime<Utc>,
    /// A moment is asked for, not the present.
    is_as_of: bool,
    generation: Generation,
    log: Log,
}

/// The generation that serves.
struct Generation {
    number: i32,
    /// That its days are cut in.
    timezone: Zone,
    /// What its days came to on the way was kept.
    is_kept: bool,
}

/// How far the shop's log and the read model are.
#[derive(Debug, Clone, Copy)]
struct Log {
    head: i64,
    folded: i64,
    pending: i64,
    /// What time it really is.
    now: DateTime<Utc>,
}

/// Of when an answer is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AsOf {
    /// The last position of the log that is in it.
    #[schema(minimum = 0)]
    pub as_of_position: i64,
    /// When that event was recorded; `null` before the first.
    #[schema(required)]
    pub as_of: Option<DateTime<Utc>>,
    /// Accepted webhooks and events that are not in it yet. 0: all that was acknowledged is, or was known at the moment that
    /// is asked for.
    #[schema(minimum = 0)]
    pub lag: i64,
}

/// A moment of the log, and how the shop was set up then.
#[derive(Clone)]
pub struct Known {
    /// The position that is asked for, of those that there are.
    pub asked: i64,
    /// Of when it is.
    pub as_of: AsOf,
    /// The shop's, in force then.
    pub timezone: Zone,
    /// The shop's, in force then.
    pub currency: Currency,
    /// The shop as its log told of it then.
    pub shop: Shop,
    /// What time it was.
    pub now: DateTime<Utc>,
}

impl Figures {
    /// Opens a read of one of the shop's read models as it is.
    pub async fn open(app: &App, shop: CurrentShop, projection: &str) -> Result<Self, ApiError> {
        let mut tx = app.database.begin_reading(shop.id).await?;
        let row = sqlx::query!(
            r#"SELECT h.position AS head, d.domain, c.position AS "position?", c.timezone AS "timezone?",
                      c.generation AS "generation?", c.definition AS "definition?",
                      (SELECT e.recorded_at FROM events e
                       WHERE e.shop_id = $1 AND e.position = c.position) AS as_of,
                      (SELECT count(*) FROM inbox i WHERE i.shop_id = $1 AND i.status = 'pending') AS "pending!"
               FROM heads h
               JOIN directory d ON d.shop_id = h.shop_id
               LEFT JOIN live_generations l ON l.shop_id = h.shop_id AND l.projection = $2
               LEFT JOIN checkpoints c
                 ON c.shop_id = h.shop_id AND c.projection = l.projection AND c.generation = l.generation
               WHERE h.shop_id = $1"#,
            shop.id.0,
            projection,
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(ApiError::NotFound("no such shop"))?;
        let of_shop: Shop = tx.load(Shop::ID).await?;
        let folded = row.position.unwrap_or(0);
        let timezone = row.timezone.and_then(|name| name.parse().ok()).unwrap_or(of_shop.timezone());
        let version = PROJECTIONS.iter().find(|(name, _)| *name == projection).map_or(0, |(_, version)| *version);
        let now = (app.clock)();
        Ok(Self {
            as_of: AsOf { as_of_position: folded, as_of: row.as_of, lag: row.pending + row.head - folded },
            timezone,
            currency: of_shop.currency().ok_or(ApiError::NotFound("no such shop"))?,
            domain: row.domain,
            shop: of_shop,
            now,
            is_as_of: false,
            generation: Generation {
                number: row.generation.unwrap_or(0),
                timezone,
                is_kept: row.definition.is_some_and(|known| known.cast_unsigned() >= version),
            },
            log: Log { head: row.head, folded, pending: row.pending, now },
            tx,
        })
    }

    /// Opens a read of the ledger as it was known at a moment; as it is, where none is asked for.
    pub async fn open_as_of(app: &App, shop: CurrentShop, moment: Option<Moment>) -> Result<Self, ApiError> {
        let mut figures = Self::open(app, shop, "sales").await?;
        if let Some(moment) = moment {
            let known = figures.known_at(moment).await?;
            figures.take_on(known);
        }
        Ok(figures)
    }

    /// What a moment means: which position of the log it is, and how the shop was set up then. Nothing that is not folded
    /// yet is promised.
    pub async fn known_at(&mut self, moment: Moment) -> Result<Known, ApiError> {
        let log = self.log;
        let (asked, is_present) = match moment {
            Moment::Position(position) => (position.min(log.head), position > log.head),
            Moment::Instant(at) => (self.tx.position_at(at).await?, at >= log.now),
        };
        let position = asked.min(log.folded);
        let recorded_at = self.tx.recorded_at(position).await?;
        let now = match moment {
            _ if is_present => log.now,
            Moment::Instant(at) => at,
            Moment::Position(_) if asked == position => recorded_at.unwrap_or(log.now),
            // Of an event that is not folded yet it is that event's time all the same: today is what it was then.
            Moment::Position(_) => self.tx.recorded_at(asked).await?.unwrap_or(log.now),
        };
        // Before it was registered, a shop is what it is now, without sales.
        let then: Shop = self.tx.load_as_of(Shop::ID, position).await?;
        let shop = if then.currency().is_some() { then } else { self.shop.clone() };
        let pending = if is_present { log.pending } else { 0 };
        Ok(Known {
            asked,
            as_of: AsOf { as_of_position: position, as_of: recorded_at, lag: asked - position + pending },
            timezone: shop.timezone(),
            currency: shop.currency().unwrap_or(self.currency),
            shop,
            now,
        })
    }

    /// From here on, all that is read is of that moment.
    pub fn take_on(&mut self, known: Known) {
        self.as_of = known.as_of;
        self.timezone = known.timezone;
        self.currency = known.currency;
        self.shop = known.shop;
        self.now = known.now;
        self.is_as_of = true;
    }

    /// The shop's present day, or its day at the moment that is asked for.
    pub fn today(&self) -> NaiveDate {
        self.timezone.day_of(self.now)
    }

    /// The generation that serves, up to the answer's position.
    pub fn ledger(&self) -> Ledger {
        Ledger { shop: self.tx.shop(), generation: self.generation.number, up_to: self.as_of.as_of_position }
    }

    /// The sums of each day that has any.
    pub async fn days(&mut self, period: Period) -> Result<Days, ApiError> {
        let (ledger, currency) = (self.ledger(), self.currency);
        if !self.is_as_of {
            return Ok(daily_sales::between(&mut self.tx, ledger, period.from, period.to, currency).await?);
        }
        if self.generation.is_kept && self.timezone == self.generation.timezone {
            return Ok(daily_sales_at::between(&mut self.tx, ledger, period.from, period.to, currency).await?);
        }
        // The days were cut otherwise then, or nothing was kept: every fact is looked at.
        let mut bounds: Vec<_> = period.each_day().map(|day| self.timezone.start_of(day)).collect();
        bounds.push(self.timezone.end_of(period.to));
        Ok(period.each_day().zip(self.parts(&bounds).await?).collect())
    }

    /// The sums of a period, or of all days.
    pub async fn sums(&mut self, period: Option<Period>) -> Result<DailySales, ApiError> {
        if let Some(period) = period {
            return Ok(sum(&self.days(period).await?, period));
        }
        let (ledger, currency) = (self.ledger(), self.currency);
        if self.generation.is_kept {
            // Whichever zone they are cut in, all days are all days.
            let days = daily_sales_at::between(&mut self.tx, ledger, EVER.from, EVER.to, currency).await?;
            return Ok(sum(&days, EVER));
        }
        let bounds = self.bounds(EVER);
        Ok(self.parts(&[bounds.0, bounds.1]).await?.into_iter().next().unwrap_or_default())
    }

    /// The sums between instants, from the ledger.
    pub async fn parts(&mut self, bounds: &[DateTime<Utc>]) -> Result<Vec<DailySales>, ApiError> {
        let (ledger, currency) = (self.ledger(), self.currency);
        Ok(daily_sales::between_instants(&mut self.tx, ledger, bounds, currency).await?)
    }

    /// When a period begins and ends.
    pub fn bounds(&self, period: Period) -> (DateTime<Utc>, DateTime<Utc>) {
        (self.timezone.start_of(period.from), self.timezone.end_of(period.to))
    }
}

/// The sums of all of these days that are in a period.
pub fn sum(days: &[(NaiveDate, DailySales)], period: Period) -> DailySales {
    let mut sums = DailySales::default();
    for (_, of_day) in days.iter().filter(|(day, _)| (period.from..=period.to).contains(day)) {
        sums += *of_day;
    }
    sums
}
