//! The ledger's sums by shop day and currency: what the dashboard reads. They always equal the sum of the facts.

use std::{collections::BTreeMap, ops::AddAssign};

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    Currency, ShopId,
    ledger::{Amounts, LineType},
};
use sqlx::PgConnection;

use crate::{Generation, sale_fact::SaleFact};

/// A batch's additions, ordered, so that rows lock in one order.
pub type Delta = BTreeMap<(NaiveDate, Currency), DailySales>;

macro_rules! sums {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Sums over facts: counts, units, and minor units of one currency. Reversals are positive magnitudes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct DailySales {
            $($(#[$doc])* pub $name: i64,)*
        }

        impl AddAssign for DailySales {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

sums! {
    /// Orders whose first sale of goods lies here.
    orders,
    /// Orders that sell nothing but gift cards.
    gift_card_orders,
    /// Goods: price times units.
    gross_minor,
    /// Goods: discounts.
    discount_minor,
    /// Goods given back, before discounts.
    reversed_gross_minor,
    /// The discounts on them.
    reversed_discount_minor,
    /// What refunds' lines do not explain: negative when more was given back.
    adjustment_minor,
    /// Shipping charged, after its discounts.
    shipping_minor,
    /// Shipping given back.
    shipping_reversed_minor,
    /// Duties, net of those given back.
    duty_minor,
    /// Additional fees, net of those given back.
    additional_fee_minor,
    /// Return fees.
    return_fee_minor,
    /// Taxes, net of those given back; none on gift cards and tips.
    tax_minor,
    /// Taxes given back.
    tax_reversed_minor,
    /// Tips, net of those given back.
    tip_minor,
    /// Gift cards sold, net of those given back.
    gift_card_minor,
    /// Money of a kind that has no name here: in total sales, in nothing else.
    unclassified_minor,
    /// Of the orders' first agreements only: gross.
    initial_gross_minor,
    /// Of the orders' first agreements only: discounts.
    initial_discount_minor,
    /// Of the orders' first agreements only: units.
    initial_units,
    /// Units of goods.
    units_ordered,
    /// Units of goods given back.
    units_reversed,
}

/// Adds one fact to the day on which it counts, not to the day on which we heard of it.
pub fn fold(delta: &mut Delta, fact: &SaleFact) {
    let row = &fact.row;
    let kind = Kind { line_type: row.line_type, is_initial: row.is_initial, is_reversal: row.is_reversal };
    *delta.entry((fact.shop_day, row.currency)).or_default() += kind.sums_of(&fact.amounts);
}

/// What decides which sums a fact is in. Facts of one kind can be added up before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// What it is about.
    pub line_type: LineType,
    /// Of the order's first agreement.
    pub is_initial: bool,
    /// It gives something back.
    pub is_reversal: bool,
}

impl Kind {
    /// The sums that amounts of this kind are in.
    #[must_use]
    pub fn sums_of(self, amounts: &Amounts) -> DailySales {
        let mut sums =
            DailySales { orders: amounts.orders, gift_card_orders: amounts.gift_card_orders, ..Default::default() };
        match self.line_type {
            LineType::Product if self.is_reversal => {
                sums.reversed_gross_minor = -amounts.gross_minor;
                sums.reversed_discount_minor = -amounts.discount_minor;
                sums.units_reversed = -amounts.units;
            }
            LineType::Product => {
                sums.gross_minor = amounts.gross_minor;
                sums.discount_minor = amounts.discount_minor;
                sums.units_ordered = amounts.units;
                if self.is_initial {
                    sums.initial_gross_minor = amounts.gross_minor;
                    sums.initial_discount_minor = amounts.discount_minor;
                    sums.initial_units = amounts.units;
                }
            }
            LineType::Shipping if self.is_reversal => sums.shipping_reversed_minor = -amounts.net_minor,
            LineType::Shipping => sums.shipping_minor = amounts.net_minor,
            LineType::Duty => sums.duty_minor = amounts.net_minor,
            LineType::AdditionalFee => sums.additional_fee_minor = amounts.net_minor,
            LineType::Fee => sums.return_fee_minor = amounts.net_minor,
            LineType::Adjustment => sums.adjustment_minor = amounts.net_minor,
            LineType::Tip => sums.tip_minor = amounts.net_minor,
            LineType::GiftCard => sums.gift_card_minor = amounts.net_minor,
            LineType::Unknown => sums.unclassified_minor = amounts.net_minor + amounts.tax_minor,
        }
        if !matches!(self.line_type, LineType::Tip | LineType::GiftCard | LineType::Unknown) {
            sums.tax_minor = amounts.tax_minor;
            if self.is_reversal {
                sums.tax_reversed_minor = -amounts.tax_minor;
            }
        }
        sums
    }
}

/// The amounts of a row of a query that adds up facts.
macro_rules! amounts {
    ($row:expr) => {
        domain::ledger::Amounts {
            units: $row.units,
            gross_minor: $row.gross_minor,
            discount_minor: $row.discount_minor,
            net_minor: $row.net_minor,
            tax_minor: $row.tax_minor,
            orders: $row.orders,
            gift_card_orders: $row.gift_card_orders,
        }
    };
}

/// The sums of a row of a query that adds up facts by their kind.
macro_rules! sums_of_kind {
    ($row:expr) => {
        $crate::daily_sales::Kind {
            line_type: domain::ledger::LineType::named(&$row.line_type),
            is_initial: $row.is_initial,
            is_reversal: $row.is_reversal,
        }
        .sums_of(&$crate::daily_sales::amounts!($row))
    };
}
pub(crate) use amounts;
pub(crate) use sums_of_kind;

macro_rules! column {
    ($delta:expr, $name:ident) => {
        &$delta.values().map(|sums| sums.$name).collect::<Vec<i64>>()
    };
}

/// Adds a batch to a generation.
///
/// # Errors
/// Whatever the database answers.
pub async fn write(connection: &mut PgConnection, generation: &Generation, delta: &Delta) -> Result<(), sqlx::Error> {
    if delta.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO daily_sales AS d (shop_id, generation, day, currency, orders, gift_card_orders, gross_minor,
             discount_minor, reversed_gross_minor, reversed_discount_minor, adjustment_minor, shipping_minor,
             shipping_reversed_minor, duty_minor, additional_fee_minor, return_fee_minor, tax_minor,
             tax_reversed_minor, tip_minor, gift_card_minor, unclassified_minor, initial_gross_minor,
             initial_discount_minor, initial_units, units_ordered, units_reversed)
         SELECT $1, $2, n.*
         FROM UNNEST($3::date[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
                     $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[],
                     $16::bigint[], $17::bigint[], $18::bigint[], $19::bigint[], $20::bigint[], $21::bigint[],
                     $22::bigint[], $23::bigint[], $24::bigint[], $25::bigint[], $26::bigint[]) AS n
         ON CONFLICT ON CONSTRAINT daily_sales_pkey DO UPDATE
         SET orders = d.orders + excluded.orders,
             gift_card_orders = d.gift_card_orders + excluded.gift_card_orders,
             gross_minor = d.gross_minor + excluded.gross_minor,
             discount_minor = d.discount_minor + excluded.discount_minor,
             reversed_gross_minor = d.reversed_gross_minor + excluded.reversed_gross_minor,
             reversed_discount_minor = d.reversed_discount_minor + excluded.reversed_discount_minor,
             adjustment_minor = d.adjustment_minor + excluded.adjustment_minor,
             shipping_minor = d.shipping_minor + excluded.shipping_minor,
             shipping_reversed_minor = d.shipping_reversed_minor + excluded.shipping_reversed_minor,
             duty_minor = d.duty_minor + excluded.duty_minor,
             additional_fee_minor = d.additional_fee_minor + excluded.additional_fee_minor,
             return_fee_minor = d.return_fee_minor + excluded.return_fee_minor,
             tax_minor = d.tax_minor + excluded.tax_minor,
             tax_reversed_minor = d.tax_reversed_minor + excluded.tax_reversed_minor,
             tip_minor = d.tip_minor + excluded.tip_minor,
             gift_card_minor = d.gift_card_minor + excluded.gift_card_minor,
             unclassified_minor = d.unclassified_minor + excluded.unclassified_minor,
             initial_gross_minor = d.initial_gross_minor + excluded.initial_gross_minor,
             initial_discount_minor = d.initial_discount_minor + excluded.initial_discount_minor,
             initial_units = d.initial_units + excluded.initial_units,
             units_ordered = d.units_ordered + excluded.units_ordered,
             units_reversed = d.units_reversed + excluded.units_reversed",
        generation.shop.0,
        generation.number,
        &delta.keys().map(|(day, _)| *day).collect::<Vec<_>>(),
        &delta.keys().map(|(_, currency)| currency.code().to_owned()).collect::<Vec<_>>(),
        column!(delta, orders),
        column!(delta, gift_card_orders),
        column!(delta, gross_minor),
        column!(delta, discount_minor),
        column!(delta, reversed_gross_minor),
        column!(delta, reversed_discount_minor),
        column!(delta, adjustment_minor),
        column!(delta, shipping_minor),
        column!(delta, shipping_reversed_minor),
        column!(delta, duty_minor),
        column!(delta, additional_fee_minor),
        column!(delta, return_fee_minor),
        column!(delta, tax_minor),
        column!(delta, tax_reversed_minor),
        column!(delta, tip_minor),
        column!(delta, gift_card_minor),
        column!(delta, unclassified_minor),
        column!(delta, initial_gross_minor),
        column!(delta, initial_discount_minor),
        column!(delta, initial_units),
        column!(delta, units_ordered),
        column!(delta, units_reversed),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// One generation of the ledger, up to a position.
#[derive(Debug, Clone, Copy)]
pub struct Ledger {
    /// Whose.
    pub shop: ShopId,
    /// Which build of it.
    pub generation: i32,
    /// The last position that counts; [`i64::MAX`] for all that is folded.
    pub up_to: i64,
}

macro_rules! sums_of_day {
    ($row:expr) => {
        $crate::daily_sales::DailySales {
            orders: $row.orders,
            gift_card_orders: $row.gift_card_orders,
            gross_minor: $row.gross_minor,
            discount_minor: $row.discount_minor,
            reversed_gross_minor: $row.reversed_gross_minor,
            reversed_discount_minor: $row.reversed_discount_minor,
            adjustment_minor: $row.adjustment_minor,
            shipping_minor: $row.shipping_minor,
            shipping_reversed_minor: $row.shipping_reversed_minor,
            duty_minor: $row.duty_minor,
            additional_fee_minor: $row.additional_fee_minor,
            return_fee_minor: $row.return_fee_minor,
            tax_minor: $row.tax_minor,
            tax_reversed_minor: $row.tax_reversed_minor,
            tip_minor: $row.tip_minor,
            gift_card_minor: $row.gift_card_minor,
            unclassified_minor: $row.unclassified_minor,
            initial_gross_minor: $row.initial_gross_minor,
            initial_discount_minor: $row.initial_discount_minor,
            initial_units: $row.initial_units,
            units_ordered: $row.units_ordered,
            units_reversed: $row.units_reversed,
        }
    };
}
pub(crate) use sums_of_day;

/// Days with their sums, in order.
pub type Days = Vec<(NaiveDate, DailySales)>;

/// The days that have a row, both ends included, in one currency, of all that is folded.
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
    let rows = sqlx::query!(
        "SELECT d.day, d.orders, d.gift_card_orders, d.gross_minor, d.discount_minor, d.reversed_gross_minor,
                d.reversed_discount_minor, d.adjustment_minor, d.shipping_minor, d.shipping_reversed_minor,
                d.duty_minor, d.additional_fee_minor, d.return_fee_minor, d.tax_minor, d.tax_reversed_minor,
                d.tip_minor, d.gift_card_minor, d.unclassified_minor, d.initial_gross_minor,
                d.initial_discount_minor, d.initial_units, d.units_ordered, d.units_reversed
         FROM daily_sales d
         WHERE d.shop_id = $1 AND d.generation = $2 AND d.day BETWEEN $3 AND $4 AND d.currency = $5
         ORDER BY d.day",
        ledger.shop.0,
        ledger.generation,
        from,
        to,
        currency.code(),
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.day, sums_of_day!(row))).collect())
}

/// The sums over parts of days, from the facts: part `n` holds what occurred from `bounds[n]` until `bounds[n + 1]`.
/// Parts without sales are zero.
///
/// # Errors
/// Whatever the database answers.
pub async fn between_instants(
    connection: &mut PgConnection,
    ledger: Ledger,
    bounds: &[DateTime<Utc>],
    currency: Currency,
) -> Result<Vec<DailySales>, sqlx::Error> {
    let mut parts = vec![DailySales::default(); bounds.len().saturating_sub(1)];
    let (Some(first), Some(last)) = (bounds.first(), bounds.last()) else {
        return Ok(parts);
    };
    let rows = sqlx::query!(
        r#"SELECT width_bucket(f.occurred_at, $4::timestamptz[]) AS "part!", f.line_type, f.is_initial, f.is_reversal,
                  sum(f.units)::bigint AS "units!", sum(f.gross_minor)::bigint AS "gross_minor!",
                  sum(f.discount_minor)::bigint AS "discount_minor!", sum(f.net_minor)::bigint AS "net_minor!",
                  sum(f.tax_minor)::bigint AS "tax_minor!", sum(f.orders)::bigint AS "orders!",
                  sum(f.gift_card_orders)::bigint AS "gift_card_orders!"
           FROM sale_fact f
           WHERE f.shop_id = $1 AND f.generation = $2 AND f.position <= $3 AND f.currency = $5
             AND f.occurred_at >= $6 AND f.occurred_at < $7
           GROUP BY 1, f.line_type, f.is_initial, f.is_reversal"#,
        ledger.shop.0,
        ledger.generation,
        ledger.up_to,
        bounds,
        currency.code(),
        first,
        last,
    )
    .fetch_all(connection)
    .await?;
    for row in rows {
        let part = usize::try_from(row.part - 1).expect("not before the first bound");
        parts[part] += sums_of_kind!(row);
    }
    Ok(parts)
}
