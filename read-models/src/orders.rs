//! The projection `orders`: what each order is now, newest first.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::{
    Currency, ShopId,
    ids::{CustomerId, OrderId},
    ledger::LineType,
};
use sqlx::PgConnection;

use crate::{BoxFuture, Change, Generation, Projection};

/// An order as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRow {
    /// Which.
    pub order_id: OrderId,
    /// `#1001`.
    pub name: Option<String>,
    /// When the sale took place.
    pub placed_at: DateTime<Utc>,
    /// Of the amounts.
    pub currency: Currency,
    /// As the order's own body says.
    pub total_price_minor: i64,
    /// What the ledger holds of it: goods after discounts, less what was given back.
    pub net_sales_minor: i64,
    /// `paid` …
    pub financial_status: Option<String>,
    /// `fulfilled` …
    pub fulfillment_status: Option<String>,
    /// When it was cancelled.
    pub cancelled_at: Option<DateTime<Utc>>,
    /// It counts nowhere.
    pub test: bool,
    /// Whose: a pseudonym.
    pub customer_id: Option<CustomerId>,
    /// ISO country.
    pub country: Option<String>,
    /// The channel.
    pub source_name: Option<String>,
}

/// A batch of orders: the last state of each, `None` for deleted ones.
#[derive(Default)]
pub struct OrderList {
    rows: BTreeMap<OrderId, Option<OrderRow>>,
}

fn row_of(change: &Change<'_>) -> Option<OrderRow> {
    let order = change.order;
    let terms = order.terms.as_ref().filter(|_| !order.deleted)?;
    let of_goods = |line_type| matches!(line_type, LineType::Product | LineType::Adjustment);
    let net = change.after.iter().filter(|(row, _)| of_goods(row.line_type)).map(|(_, amounts)| amounts.net_minor);
    Some(OrderRow {
        order_id: change.order_id,
        name: terms.name.clone(),
        placed_at: terms.processed_at.or(terms.created_at).or(order.first_seen)?,
        currency: terms.currency,
        total_price_minor: terms.total_price,
        net_sales_minor: net.sum(),
        financial_status: order.status.financial.clone(),
        fulfillment_status: order.status.fulfillment.clone(),
        cancelled_at: order.status.cancelled_at,
        test: terms.test,
        customer_id: order.customer.as_ref().map(|known| known.value),
        country: terms.country.clone(),
        source_name: terms.source_name.clone(),
    })
}

macro_rules! column {
    ($rows:expr, |$row:ident| $value:expr) => {
        &$rows.iter().map(|$row| $value).collect::<Vec<_>>()
    };
}

impl Projection for OrderList {
    fn fold(&mut self, _: &Generation, change: &Change<'_>) {
        self.rows.insert(change.order_id, row_of(change));
    }

    fn write<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        generation: &'a Generation,
        _: i64,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            let rows = std::mem::take(&mut self.rows);
            let gone: Vec<i64> = rows.iter().filter(|(_, row)| row.is_none()).map(|(id, _)| id.to_sql()).collect();
            let rows: Vec<OrderRow> = rows.into_values().flatten().collect();
            if !gone.is_empty() {
                sqlx::query!(
                    "DELETE FROM order_list WHERE shop_id = $1 AND generation = $2 AND order_id = ANY($3)",
                    generation.shop.0,
                    generation.number,
                    &gone,
                )
                .execute(&mut *connection)
                .await?;
            }
            if !rows.is_empty() {
                upsert(connection, generation, &rows).await?;
            }
            Ok(())
        })
    }

    fn delete<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        shop: ShopId,
        limit: i64,
    ) -> BoxFuture<'a, Result<u64, sqlx::Error>> {
        Box::pin(async move {
            let done = sqlx::query!(
                "DELETE FROM order_list
                 WHERE shop_id = $1 AND ctid = ANY (ARRAY(
                     SELECT ctid FROM order_list
                     WHERE shop_id = $1 AND generation <> ALL (ARRAY(
                         SELECT generation FROM checkpoints WHERE shop_id = $1 AND projection = 'orders'))
                     LIMIT $2))",
                shop.0,
                limit,
            )
            .execute(connection)
            .await?;
            Ok(done.rows_affected())
        })
    }

    /// A list shows what orders are now: there is no sum to restate.
    fn sums<'a>(
        &'a self,
        _: &'a mut PgConnection,
        _: ShopId,
        _: i32,
        _: i64,
    ) -> BoxFuture<'a, Result<BTreeMap<String, i64>, sqlx::Error>> {
        Box::pin(async { Ok(BTreeMap::new()) })
    }
}

async fn upsert(connection: &mut PgConnection, generation: &Generation, rows: &[OrderRow]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO order_list (shop_id, generation, order_id, name, placed_at, currency, total_price_minor,
                                 net_sales_minor, financial_status, fulfillment_status, cancelled_at, test,
                                 customer_id, country, source_name)
         SELECT $1, $2, o.*
         FROM UNNEST($3::bigint[], $4::text[], $5::timestamptz[], $6::text[], $7::bigint[], $8::bigint[], $9::text[],
                     $10::text[], $11::timestamptz[], $12::boolean[], $13::bigint[], $14::text[], $15::text[]) AS o
         ON CONFLICT ON CONSTRAINT order_list_pkey DO UPDATE
         SET name = excluded.name,
             placed_at = excluded.placed_at,
             currency = excluded.currency,
             total_price_minor = excluded.total_price_minor,
             net_sales_minor = excluded.net_sales_minor,
             financial_status = excluded.financial_status,
             fulfillment_status = excluded.fulfillment_status,
             cancelled_at = excluded.cancelled_at,
             test = excluded.test,
             customer_id = excluded.customer_id,
             country = excluded.country,
             source_name = excluded.source_name",
        generation.shop.0,
        generation.number,
        column!(rows, |row| row.order_id.to_sql()),
        column!(rows, |row| row.name.clone()) as &[Option<String>],
        column!(rows, |row| row.placed_at),
        column!(rows, |row| row.currency.code().to_owned()),
        column!(rows, |row| row.total_price_minor),
        column!(rows, |row| row.net_sales_minor),
        column!(rows, |row| row.financial_status.clone()) as &[Option<String>],
        column!(rows, |row| row.fulfillment_status.clone()) as &[Option<String>],
        column!(rows, |row| row.cancelled_at) as &[Option<DateTime<Utc>>],
        column!(rows, |row| row.test),
        column!(rows, |row| row.customer_id.map(CustomerId::to_sql)) as &[Option<i64>],
        column!(rows, |row| row.country.clone()) as &[Option<String>],
        column!(rows, |row| row.source_name.clone()) as &[Option<String>],
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Where a page begins: after this order.
pub type Cursor = (DateTime<Utc>, OrderId);

/// Orders of the live generation, newest first.
///
/// # Errors
/// Whatever the database answers.
pub async fn page(
    connection: &mut PgConnection,
    shop: ShopId,
    after: Option<Cursor>,
    limit: i64,
) -> Result<Vec<OrderRow>, sqlx::Error> {
    let (placed_at, order_id) = after.unwrap_or((DateTime::<Utc>::MAX_UTC, OrderId(0)));
    let placed_at = placed_at.min("9999-12-31T00:00:00Z".parse().expect("an instant"));
    let rows = sqlx::query!(
        "SELECT o.order_id, o.name, o.placed_at, o.currency, o.total_price_minor, o.net_sales_minor,
                o.financial_status, o.fulfillment_status, o.cancelled_at, o.test, o.customer_id, o.country,
                o.source_name
         FROM order_list o
         JOIN live_generations l ON l.shop_id = o.shop_id AND l.projection = 'orders' AND l.generation = o.generation
         WHERE o.shop_id = $1 AND (o.placed_at, o.order_id) < ($2, $3)
         ORDER BY o.placed_at DESC, o.order_id DESC
         LIMIT $4",
        shop.0,
        placed_at,
        order_id.to_sql(),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| OrderRow {
            order_id: OrderId::from_sql(row.order_id),
            name: row.name,
            placed_at: row.placed_at,
            currency: row.currency.parse().expect("written from a currency"),
            total_price_minor: row.total_price_minor,
            net_sales_minor: row.net_sales_minor,
            financial_status: row.financial_status,
            fulfillment_status: row.fulfillment_status,
            cancelled_at: row.cancelled_at,
            test: row.test,
            customer_id: row.customer_id.map(CustomerId::from_sql),
            country: row.country,
            source_name: row.source_name,
        })
        .collect())
}
