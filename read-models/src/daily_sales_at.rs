//! The ledger's sums by shop day as they stood at earlier positions of the log: what answers as of a moment begin with.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use domain::Currency;
use sqlx::PgConnection;

use crate::{
    Generation,
    daily_sales::{DailySales, Days, Ledger, sums_of_day, sums_of_kind},
};

/// What days came to is kept at every so many positions of the log. Fewer, and more facts are added up for an answer as of a
/// moment; more, and an import into many days writes all of them as often.
pub const KEPT_EVERY: i64 = 1024;

/// Keeps what the days of a generation come to at a position, where they changed since the one before.
///
/// # Errors
/// Whatever the database answers.
pub async fn keep(connection: &mut PgConnection, generation: &Generation, position: i64) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO daily_sales_at (shop_id, generation, day, currency, position, orders, gift_card_orders, gross_minor,
             discount_minor, reversed_gross_minor, reversed_discount_minor, adjustment_minor, shipping_minor,
             shipping_reversed_minor, duty_minor, additional_fee_minor, return_fee_minor, tax_minor,
             tax_reversed_minor, tip_minor, gift_card_minor, unclassified_minor, initial_gross_minor,
             initial_discount_minor, initial_units, units_ordered, units_reversed)
         SELECT $1, $2, d.day, d.currency, $4, d.orders, d.gift_card_orders, d.gross_minor,
                d.discount_minor, d.reversed_gross_minor, d.reversed_discount_minor, d.adjustment_minor, d.shipping_minor,
                d.shipping_reversed_minor, d.duty_minor, d.additional_fee_minor, d.return_fee_minor, d.tax_minor,
                d.tax_reversed_minor, d.tip_minor, d.gift_card_minor, d.unclassified_minor, d.initial_gross_minor,
                d.initial_discount_minor, d.initial_units, d.units_ordered, d.units_reversed
         FROM (SELECT DISTINCT f.shop_day, f.currency
               FROM sale_fact f
               WHERE f.shop_id = $1 AND f.generation = $2 AND f.position > $3 AND f.position <= $4) t
         CROSS JOIN LATERAL (
             SELECT * FROM daily_sales
             WHERE shop_id = $1 AND generation = $2 AND day = t.shop_day AND currency = t.currency OFFSET 0
         ) d",
        generation.shop.0,
        generation.number,
        position - KEPT_EVERY,
        position,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The days that have a row, both ends included, in one currency, as known at the ledger's position: what they came to
/// where that was kept last, and the facts since. Of a generation that kept it from its beginning.
///
/// # Errors
/// Whatever the database answers.
pub async fn between(
    connection: &mut PgConnection,
    ledger: Ledger,
    from: NaiveDate,
    to: NaiveDate,
    currency: Currency,
) -> Result<Days, sqlx::Error> {
    let kept_at = ledger.up_to - ledger.up_to % KEPT_EVERY;
    // A day that has a row there has one here: rows are never taken away.
    let rows = sqlx::query!(
        "SELECT k.day, k.orders, k.gift_card_orders, k.gross_minor, k.discount_minor, k.reversed_gross_minor,
                k.reversed_discount_minor, k.adjustment_minor, k.shipping_minor, k.shipping_reversed_minor,
                k.duty_minor, k.additional_fee_minor, k.return_fee_minor, k.tax_minor, k.tax_reversed_minor,
                k.tip_minor, k.gift_card_minor, k.unclassified_minor, k.initial_gross_minor,
                k.initial_discount_minor, k.initial_units, k.units_ordered, k.units_reversed
         FROM daily_sales d
         CROSS JOIN LATERAL (
             SELECT * FROM daily_sales_at
             WHERE shop_id = $1 AND generation = $2 AND day = d.day AND currency = $5 AND position <= $6
             ORDER BY position DESC
             LIMIT 1
         ) k
         WHERE d.shop_id = $1 AND d.generation = $2 AND d.day BETWEEN $3 AND $4 AND d.currency = $5",
        ledger.shop.0,
        ledger.generation,
        from,
        to,
        currency.code(),
        kept_at,
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut days: BTreeMap<NaiveDate, DailySales> = rows.into_iter().map(|row| (row.day, sums_of_day!(row))).collect();
    let rows = sqlx::query!(
        r#"SELECT f.shop_day, f.line_type, f.is_initial, f.is_reversal,
                  sum(f.units)::bigint AS "units!", sum(f.gross_minor)::bigint AS "gross_minor!",
                  sum(f.discount_minor)::bigint AS "discount_minor!", sum(f.net_minor)::bigint AS "net_minor!",
                  sum(f.tax_minor)::bigint AS "tax_minor!", sum(f.orders)::bigint AS "orders!",
                  sum(f.gift_card_orders)::bigint AS "gift_card_orders!"
           FROM sale_fact f
           WHERE f.shop_id = $1 AND f.generation = $2 AND f.position > $6 AND f.position <= $7
             AND f.shop_day BETWEEN $3 AND $4 AND f.currency = $5
           GROUP BY f.shop_day, f.line_type, f.is_initial, f.is_reversal"#,
        ledger.shop.0,
        ledger.generation,
        from,
        to,
        currency.code(),
        kept_at,
        ledger.up_to,
    )
    .fetch_all(connection)
    .await?;
    for row in rows {
        *days.entry(row.shop_day).or_default() += sums_of_kind!(row);
    }
    Ok(days.into_iter().collect())
}
