//! What every answer about figures begins with: of when it is, what is still missing, and in which zone and currency.

use chrono::{DateTime, NaiveDate, Utc};
use domain::{Currency, Zone, shop::Shop};
use event_store::ShopTx;
use read_models::daily_sales::{self, DailySales};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{ApiError, App, auth::CurrentShop, period::Period};

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
    /// What time it is.
    pub now: DateTime<Utc>,
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
    /// Accepted webhooks and events that are not in it yet. 0: all that was acknowledged is.
    #[schema(minimum = 0)]
    pub lag: i64,
}

impl Figures {
    /// Opens a read of one of the shop's read models.
    pub async fn open(app: &App, shop: CurrentShop, projection: &str) -> Result<Self, ApiError> {
        let mut tx = app.database.begin_reading(shop.id).await?;
        let row = sqlx::query!(
            r#"SELECT h.position AS head, d.domain, c.position AS "position?", c.timezone AS "timezone?",
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
        let position = row.position.unwrap_or(0);
        Ok(Self {
            as_of: AsOf { as_of_position: position, as_of: row.as_of, lag: row.pending + row.head - position },
            timezone: row.timezone.and_then(|name| name.parse().ok()).unwrap_or(of_shop.timezone()),
            currency: of_shop.currency().ok_or(ApiError::NotFound("no such shop"))?,
            domain: row.domain,
            shop: of_shop,
            now: (app.clock)(),
            tx,
        })
    }

    /// The shop's present day.
    pub fn today(&self) -> NaiveDate {
        self.timezone.day_of(self.now)
    }

    /// The sums of each day that has any.
    pub async fn days(&mut self, period: Period) -> Result<Vec<(NaiveDate, DailySales)>, ApiError> {
        let shop = self.tx.shop();
        Ok(daily_sales::between(&mut self.tx, shop, period.from, period.to, self.currency).await?)
    }

    /// The sums between instants, from the ledger.
    pub async fn parts(&mut self, bounds: &[DateTime<Utc>]) -> Result<Vec<DailySales>, ApiError> {
        let shop = self.tx.shop();
        Ok(daily_sales::between_instants(&mut self.tx, shop, bounds, self.currency).await?)
    }
}
