//! The ledger's sums by shop day and currency: what the dashboard reads. They always equal the sum of the facts.

use std::{collections::BTreeMap, ops::AddAssign};

use chrono::{DateTime, NaiveDate, Utc};
use domain::{Currency, ShopId, ledger::LineType};
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

        impl DailySales {
            /// The names of the sums.
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// The sums by name.
            #[must_use]
            pub fn by_name(&self) -> BTreeMap<&'static str, i64> {
                BTreeMap::from([$((stringify!($name), self.$name)),*])
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
    *delta.entry((fact.shop_day, fact.row.currency)).or_default() += sums_of(fact);
}

fn sums_of(fact: &SaleFact) -> DailySales {
    let amounts = &fact.amounts;
    let row = &fact.row;
    let mut sums =
        DailySales { orders: amounts.orders, gift_card_orders: amounts.gift_card_orders, ..Default::default() };
    match row.line_type {
        LineType::Product if row.is_reversal => {
            sums.reversed_gross_minor = -amounts.gross_minor;
            sums.reversed_discount_minor = -amounts.discount_minor;
            sums.units_reversed = -amounts.units;
        }
        LineType::Product => {
            sums.gross_minor = amounts.gross_minor;
            sums.discount_minor = amounts.discount_minor;
            sums.units_ordered = amounts.units;
            if row.is_initial {
                sums.initial_gross_minor = amounts.gross_minor;
                sums.initial_discount_minor = amounts.discount_minor;
                sums.initial_units = amounts.units;
            }
        }
        LineType::Shipping if row.is_reversal => sums.shipping_reversed_minor = -amounts.net_minor,
        LineType::Shipping => sums.shipping_minor = amounts.net_minor,
        LineType::Duty => sums.duty_minor = amounts.net_minor,
        LineType::AdditionalFee => sums.additional_fee_minor = amounts.net_minor,
        LineType::Fee => sums.return_fee_minor = amounts.net_minor,
        LineType::Adjustment => sums.adjustment_minor = amounts.net_minor,
        LineType::Tip => sums.tip_minor = amounts.net_minor,
        LineType::GiftCard => sums.gift_card_minor = amounts.net_minor,
        LineType::Unknown => sums.unclassified_minor = amounts.net_minor + amounts.tax_minor,
    }
    if !matches!(row.line_type, LineType::Tip | LineType::GiftCard | LineType::Unknown) {
        sums.tax_minor = amounts.tax_minor;
        if row.is_reversal {
            sums.tax_reversed_minor = -amounts.tax_minor;
        }
    }
    sums
}

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

/// The days of the live generation that have a row, both ends included, in one currency.
///
/// # Errors
/// Whatever the database answers.
pub async fn between(
    connection: &mut PgConnection,
    shop: ShopId,
    from: NaiveDate,
    to: NaiveDate,
    currency: Currency,
) -> Result<Vec<(NaiveDate, DailySales)>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT d.day, d.orders, d.gift_card_orders, d.gross_minor, d.discount_minor, d.reversed_gross_minor,
                d.reversed_discount_minor, d.adjustment_minor, d.shipping_minor, d.shipping_reversed_minor,
                d.duty_minor, d.additional_fee_minor, d.return_fee_minor, d.tax_minor, d.tax_reversed_minor,
                d.tip_minor, d.gift_card_minor, d.unclassified_minor, d.initial_gross_minor,
                d.initial_discount_minor, d.initial_units, d.units_ordered, d.units_reversed
         FROM daily_sales d
         JOIN live_generations l ON l.shop_id = d.shop_id AND l.projection = 'sales' AND l.generation = d.generation
         WHERE d.shop_id = $1 AND d.day BETWEEN $2 AND $3 AND d.currency = $4
         ORDER BY d.day",
        shop.0,
        from,
        to,
        currency.code(),
    )
    .fetch_all(connection)
    .await?;
    let days = rows.into_iter().map(|row| {
        let sums = DailySales {
            orders: row.orders,
            gift_card_orders: row.gift_card_orders,
            gross_minor: row.gross_minor,
            discount_minor: row.discount_minor,
            reversed_gross_minor: row.reversed_gross_minor,
            reversed_discount_minor: row.reversed_discount_minor,
            adjustment_minor: row.adjustment_minor,
            shipping_minor: row.shipping_minor,
            shipping_reversed_minor: row.shipping_reversed_minor,
            duty_minor: row.duty_minor,
            additional_fee_minor: row.additional_fee_minor,
            return_fee_minor: row.return_fee_minor,
            tax_minor: row.tax_minor,
            tax_reversed_minor: row.tax_reversed_minor,
            tip_minor: row.tip_minor,
            gift_card_minor: row.gift_card_minor,
            unclassified_minor: row.unclassified_minor,
            initial_gross_minor: row.initial_gross_minor,
            initial_discount_minor: row.initial_discount_minor,
            initial_units: row.initial_units,
            units_ordered: row.units_ordered,
            units_reversed: row.units_reversed,
        };
        (row.day, sums)
    });
    Ok(days.collect())
}

/// The same sums over parts of days, from the facts: part `n` holds what occurred from `bounds[n]` until `bounds[n + 1]`.
/// Parts without sales are zero.
///
/// # Errors
/// Whatever the database answers.
pub async fn between_instants(
    connection: &mut PgConnection,
    shop: ShopId,
    bounds: &[DateTime<Utc>],
    currency: Currency,
) -> Result<Vec<DailySales>, sqlx::Error> {
    let mut parts = vec![DailySales::default(); bounds.len().saturating_sub(1)];
    let (Some(first), Some(last)) = (bounds.first(), bounds.last()) else {
        return Ok(parts);
    };
    let rows = sqlx::query!(
        r#"SELECT width_bucket(f.occurred_at, $3::timestamptz[]) AS "part!",
                  COALESCE(sum(f.orders), 0)::bigint AS "orders!",
                  COALESCE(sum(f.gift_card_orders), 0)::bigint AS "gift_card_orders!",
                  COALESCE(sum(f.gross_minor) FILTER (WHERE f.line_type = 'product' AND NOT f.is_reversal), 0)::bigint AS "gross_minor!",
                  COALESCE(sum(f.discount_minor) FILTER (WHERE f.line_type = 'product' AND NOT f.is_reversal), 0)::bigint AS "discount_minor!",
                  COALESCE(-sum(f.gross_minor) FILTER (WHERE f.line_type = 'product' AND f.is_reversal), 0)::bigint AS "reversed_gross_minor!",
                  COALESCE(-sum(f.discount_minor) FILTER (WHERE f.line_type = 'product' AND f.is_reversal), 0)::bigint AS "reversed_discount_minor!",
                  COALESCE(sum(f.net_minor) FILTER (WHERE f.line_type = 'adjustment'), 0)::bigint AS "adjustment_minor!",
                  COALESCE(sum(f.net_minor) FILTER (WHERE f.line_type = 'shipping' AND NOT f.is_reversal), 0)::bigint AS "shipping_minor!",
                  COALESCE(-sum(f.net_minor) FILTER (WHERE f.line_type = 'shipping' AND f.is_reversal), 0)::bigint AS "shipping_reversed_minor!",
                  COALESCE(sum(f.net_minor) FILTER (WHERE f.line_type = 'duty'), 0)::bigint AS "duty_minor!",
                  COALESCE(sum(f.net_minor) FILTER (WHERE f.line_type = 'additional_fee'), 0)::bigint AS "additional_fee_minor!",
                  COALESCE(sum(f.net_minor) FILTER (WHERE f.line_type = 'fee'), 0)::bigint AS "return_fee_minor!",
                  COALESCE(sum(f.tax_minor) FILTER (WHERE f.line_type NOT IN ('tip', 'gift_card', 'unknown')), 0)::bigint AS "tax_minor!",
                  COALESCE(-sum(f.tax_minor) FILTER (WHERE f.line_type NOT IN ('tip', 'gift_card', 'unknown') AND f.is_reversal), 0)::bigint AS "tax_reversed_minor!",
                  COALESCE(sum(f.net_minor) FILTER (WHERE f.line_type = 'tip'), 0)::bigint AS "tip_minor!",
                  COALESCE(sum(f.net_minor) FILTER (WHERE f.line_type = 'gift_card'), 0)::bigint AS "gift_card_minor!",
                  COALESCE(sum(f.net_minor + f.tax_minor) FILTER (WHERE f.line_type = 'unknown'), 0)::bigint AS "unclassified_minor!",
                  COALESCE(sum(f.gross_minor) FILTER (WHERE f.line_type = 'product' AND f.is_initial AND NOT f.is_reversal), 0)::bigint AS "initial_gross_minor!",
                  COALESCE(sum(f.discount_minor) FILTER (WHERE f.line_type = 'product' AND f.is_initial AND NOT f.is_reversal), 0)::bigint AS "initial_discount_minor!",
                  COALESCE(sum(f.units) FILTER (WHERE f.line_type = 'product' AND f.is_initial AND NOT f.is_reversal), 0)::bigint AS "initial_units!",
                  COALESCE(sum(f.units) FILTER (WHERE f.line_type = 'product' AND NOT f.is_reversal), 0)::bigint AS "units_ordered!",
                  COALESCE(-sum(f.units) FILTER (WHERE f.line_type = 'product' AND f.is_reversal), 0)::bigint AS "units_reversed!"
           FROM sale_fact f
           JOIN live_generations l
             ON l.shop_id = f.shop_id AND l.projection = 'sales' AND l.generation = f.generation
           WHERE f.shop_id = $1 AND f.currency = $2 AND f.occurred_at >= $4 AND f.occurred_at < $5
           GROUP BY 1"#,
        shop.0,
        currency.code(),
        bounds,
        first,
        last,
    )
    .fetch_all(connection)
    .await?;
    for row in rows {
        let part = usize::try_from(row.part - 1).expect("not before the first bound");
        parts[part] = DailySales {
            orders: row.orders,
            gift_card_orders: row.gift_card_orders,
            gross_minor: row.gross_minor,
            discount_minor: row.discount_minor,
            reversed_gross_minor: row.reversed_gross_minor,
            reversed_discount_minor: row.reversed_discount_minor,
            adjustment_minor: row.adjustment_minor,
            shipping_minor: row.shipping_minor,
            shipping_reversed_minor: row.shipping_reversed_minor,
            duty_minor: row.duty_minor,
            additional_fee_minor: row.additional_fee_minor,
            return_fee_minor: row.return_fee_minor,
            tax_minor: row.tax_minor,
            tax_reversed_minor: row.tax_reversed_minor,
            tip_minor: row.tip_minor,
            gift_card_minor: row.gift_card_minor,
            unclassified_minor: row.unclassified_minor,
            initial_gross_minor: row.initial_gross_minor,
            initial_discount_minor: row.initial_discount_minor,
            initial_units: row.initial_units,
            units_ordered: row.units_ordered,
            units_reversed: row.units_reversed,
        };
    }
    Ok(parts)
}
