//! The sale ledger: append-only and additive. One row when a sale is learned, compensating rows when what was believed
//! changes.

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    ids::OrderId,
    ledger::{Amounts, Dimensions, difference},
};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Change, Generation};

/// A row of the ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct SaleFact {
    /// The same in every replay.
    pub fact_id: Uuid,
    /// Of the event that taught it.
    pub position: i64,
    /// Which of that event's rows.
    pub ordinal: i32,
    /// When it was learned.
    pub recorded_at: DateTime<Utc>,
    /// Which order.
    pub order_id: OrderId,
    /// The shop's day on which it counts.
    pub shop_day: NaiveDate,
    /// What it is about.
    pub row: Dimensions,
    /// What is added.
    pub amounts: Amounts,
}

/// The rows that an event's change adds. Facts net within one event, never across a batch: a replacement that nets to
/// zero writes nothing.
#[must_use]
pub fn facts_of(generation: &Generation, change: &Change<'_>) -> Vec<SaleFact> {
    let rows = difference(change.before, change.after);
    let mut facts = Vec::with_capacity(rows.len());
    for ((row, amounts), ordinal) in rows.into_iter().zip(1_i32..) {
        let mut hasher = Sha256::new();
        hasher.update(generation.shop.0.as_bytes());
        hasher.update(change.order_id.0.to_be_bytes());
        hasher.update(row.business_key.as_bytes());
        hasher.update(change.position.to_be_bytes());
        hasher.update(ordinal.to_be_bytes());
        let hash: [u8; 32] = hasher.finalize().into();
        facts.push(SaleFact {
            fact_id: uuid::Builder::from_custom_bytes(hash[..16].try_into().expect("16 of 32")).into_uuid(),
            position: change.position,
            ordinal,
            recorded_at: change.recorded_at,
            order_id: change.order_id,
            shop_day: generation.timezone.day_of(row.occurred_at),
            row,
            amounts,
        });
    }
    facts
}

macro_rules! column {
    ($facts:expr, |$fact:ident| $value:expr) => {
        &$facts.iter().map(|$fact| $value).collect::<Vec<_>>()
    };
}

/// Appends rows to a generation of the ledger.
///
/// # Errors
/// Whatever the database answers.
pub async fn append(
    connection: &mut PgConnection,
    generation: &Generation,
    facts: &[SaleFact],
) -> Result<(), sqlx::Error> {
    // A set is bounded, so that neither side holds more than some megabytes of it.
    for facts in facts.chunks(2000) {
        sqlx::query!(
            "INSERT INTO sale_fact (shop_id, generation, position, ordinal, fact_id, recorded_at, order_id,
                                    business_key, line_item_id, product_id, variant_id, occurred_at, shop_day, reason,
                                    line_type, currency, is_initial, is_reversal, provenance, units, gross_minor, discount_minor,
                                    net_minor, tax_minor, orders, gift_card_orders)
             SELECT $1, $2, f.*
             FROM UNNEST($3::bigint[], $4::integer[], $5::uuid[], $6::timestamptz[], $7::bigint[], $8::text[],
                         $9::bigint[], $10::bigint[], $11::bigint[], $12::timestamptz[], $13::date[], $14::text[],
                         $15::text[], $16::text[], $17::boolean[], $18::boolean[], $19::text[], $20::bigint[],
                         $21::bigint[], $22::bigint[], $23::bigint[], $24::bigint[], $25::bigint[],
                         $26::bigint[]) AS f",
            generation.shop.0,
            generation.number,
            column!(facts, |fact| fact.position),
            column!(facts, |fact| fact.ordinal),
            column!(facts, |fact| fact.fact_id),
            column!(facts, |fact| fact.recorded_at),
            column!(facts, |fact| fact.order_id.to_sql()),
            column!(facts, |fact| fact.row.business_key.clone()),
            column!(facts, |fact| fact.row.line_id.map(domain::ids::LineId::to_sql)) as &[Option<i64>],
            column!(facts, |fact| fact.row.product_id.map(domain::ids::ProductId::to_sql)) as &[Option<i64>],
            column!(facts, |fact| fact.row.variant_id.map(domain::ids::VariantId::to_sql)) as &[Option<i64>],
            column!(facts, |fact| fact.row.occurred_at),
            column!(facts, |fact| fact.shop_day),
            column!(facts, |fact| fact.row.reason.as_str().to_owned()),
            column!(facts, |fact| fact.row.line_type.as_str().to_owned()),
            column!(facts, |fact| fact.row.currency.code().to_owned()),
            column!(facts, |fact| fact.row.is_initial),
            column!(facts, |fact| fact.row.is_reversal),
            column!(facts, |fact| fact.row.provenance.as_str().to_owned()),
            column!(facts, |fact| fact.amounts.units),
            column!(facts, |fact| fact.amounts.gross_minor),
            column!(facts, |fact| fact.amounts.discount_minor),
            column!(facts, |fact| fact.amounts.net_minor),
            column!(facts, |fact| fact.amounts.tax_minor),
            column!(facts, |fact| fact.amounts.orders),
            column!(facts, |fact| fact.amounts.gift_card_orders),
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
