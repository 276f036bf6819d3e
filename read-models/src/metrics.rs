//! Every figure's formula over the sums of the ledger. `docs/metrics.md` says what each means.

use domain::{
    Currency, Money,
    money::{checked_divide_half_even, divide_half_even},
};
use serde::{Serialize, Serializer};

use crate::daily_sales::DailySales;

/// A figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// `{"amount": "110.00", "currency": "USD"}`.
    Money(Money),
    /// An integer.
    Count(i64),
    /// Hundredths, shown as a decimal string: `"1.43"`.
    Ratio(i64),
    /// `null`: never 0.
    Unknown,
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Money(money) => money.serialize(serializer),
            Self::Count(count) => serializer.serialize_i64(*count),
            Self::Ratio(hundredths) => {
                let sign = if *hundredths < 0 { "-" } else { "" };
                let hundredths = hundredths.unsigned_abs();
                serializer.collect_str(&format_args!("{sign}{}.{:02}", hundredths / 100, hundredths % 100))
            }
            Self::Unknown => serializer.serialize_none(),
        }
    }
}

/// A figure's name and formula.
pub struct Metric {
    /// As queries and answers name it.
    pub name: &'static str,
    /// In words.
    pub formula: &'static str,
    compute: fn(&DailySales) -> Computed,
}

/// What a figure is made of, before it is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Computed {
    /// Minor units.
    Minor(i64),
    /// A count.
    Count(i64),
    /// Minor units over a count.
    MinorPer(i64, i64),
    /// A count over a count, in hundredths.
    RatioOf(i64, i64),
}

use Computed::{Count, Minor, MinorPer, RatioOf};

fn reversals(sums: &DailySales) -> i64 {
    sums.reversed_gross_minor - sums.reversed_discount_minor - sums.adjustment_minor
}

fn net_sales(sums: &DailySales) -> i64 {
    sums.gross_minor - sums.discount_minor - reversals(sums)
}

fn total_sales(sums: &DailySales) -> i64 {
    net_sales(sums) + sums.shipping_minor - sums.shipping_reversed_minor
        + sums.duty_minor
        + sums.additional_fee_minor
        + sums.return_fee_minor
        + sums.tax_minor
        + sums.unclassified_minor
}

macro_rules! metrics {
    ($($name:ident = $formula:literal: |$sums:ident| $compute:expr;)*) => {
        /// Every figure, in the order in which they are shown.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: stringify!($name),
            formula: $formula,
            compute: |$sums| $compute,
        }),*];
    };
}

metrics! {
    gross_sales = "price × units of goods placed or added, before discounts, tax and reversals":
        |sums| Minor(sums.gross_minor);
    discounts = "discounts on those goods, before tax":
        |sums| Minor(sums.discount_minor);
    sales_reversals = "goods given back, after discounts, before tax, and what refunds' lines do not explain":
        |sums| Minor(reversals(sums));
    net_sales = "gross_sales - discounts - sales_reversals":
        |sums| Minor(net_sales(sums));
    shipping = "shipping charged - its discounts - shipping given back, before tax":
        |sums| Minor(sums.shipping_minor - sums.shipping_reversed_minor);
    duties = "import duties charged - given back":
        |sums| Minor(sums.duty_minor);
    additional_fees = "additional fees charged - given back":
        |sums| Minor(sums.additional_fee_minor);
    return_fees = "fees kept for returns":
        |sums| Minor(sums.return_fee_minor);
    taxes = "taxes charged - given back, without those on gift cards and tips":
        |sums| Minor(sums.tax_minor);
    total_sales = "net_sales + shipping + duties + additional_fees + return_fees + taxes + unclassified":
        |sums| Minor(total_sales(sums));
    orders = "orders whose first sale of goods lies in the period":
        |sums| Count(sums.orders);
    average_order_value = "(gross sales - discounts of the orders as they were placed) / orders":
        |sums| MinorPer(sums.initial_gross_minor - sums.initial_discount_minor, sums.orders);
    quantity_ordered = "units of goods placed or added":
        |sums| Count(sums.units_ordered);
    reversed_quantity = "units of goods given back":
        |sums| Count(sums.units_reversed);
    net_items_sold = "quantity_ordered - reversed_quantity":
        |sums| Count(sums.units_ordered - sums.units_reversed);
    units_per_order = "units of the orders as they were placed / orders":
        |sums| RatioOf(sums.initial_units, sums.orders);
    tips = "tips received - given back; not in sales":
        |sums| Minor(sums.tip_minor);
    gift_card_sales = "gift cards sold - given back; not in sales":
        |sums| Minor(sums.gift_card_minor);
    gift_card_orders = "orders that sell nothing but gift cards; not in orders":
        |sums| Count(sums.gift_card_orders);
    gross_sales_reversals = "goods given back, before their discounts":
        |sums| Minor(sums.reversed_gross_minor);
    discount_reversals = "discounts on goods given back":
        |sums| Minor(sums.reversed_discount_minor);
    shipping_reversals = "shipping given back":
        |sums| Minor(sums.shipping_reversed_minor);
    tax_reversals = "taxes given back":
        |sums| Minor(sums.tax_reversed_minor);
    unclassified = "money of a kind that has no name here; in total_sales":
        |sums| Minor(sums.unclassified_minor);
}

impl Value {
    /// What is added to `before` to come to this; unknown where one of them is, or they are of two currencies.
    #[must_use]
    pub fn minus(self, before: Self) -> Self {
        match (self, before) {
            (Self::Money(after), Self::Money(before)) if after.currency == before.currency => {
                Self::Money(Money { minor: after.minor - before.minor, ..after })
            }
            (Self::Count(after), Self::Count(before)) => Self::Count(after - before),
            (Self::Ratio(after), Self::Ratio(before)) => Self::Ratio(after - before),
            _ => Self::Unknown,
        }
    }
}

impl Metric {
    /// The figure of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        METRICS.iter().find(|metric| metric.name == name)
    }

    /// The figure from sums. Averages are computed from sums, never averaged.
    #[must_use]
    pub fn value(&self, sums: &DailySales, currency: Currency) -> Value {
        match (self.compute)(sums) {
            Minor(minor) => Value::Money(Money { minor, currency }),
            Count(count) => Value::Count(count),
            MinorPer(_, per) | RatioOf(_, per) if per <= 0 => Value::Unknown,
            MinorPer(minor, per) => {
                Value::Money(Money { minor: divide_half_even(i128::from(minor), i128::from(per)), currency })
            }
            RatioOf(count, per) => {
                checked_divide_half_even(i128::from(count) * 100, i128::from(per)).map_or(Value::Unknown, Value::Ratio)
            }
        }
    }

    /// What the figure is made of. Parts of it add up to it, divided or not.
    #[must_use]
    pub fn computed(&self, sums: &DailySales) -> Computed {
        (self.compute)(sums)
    }

    /// Whether parts of it by what was sold mean something and add up to it: not an average, nor a count of orders, each of
    /// which is of many things.
    #[must_use]
    pub fn can_be_broken_down(&self) -> bool {
        let adds_up = matches!(self.computed(&DailySales::default()), Minor(_) | Count(_));
        adds_up && !matches!(self.name, "orders" | "gift_card_orders")
    }

    /// By how many percent the figure changed, with one digit; `None` where there is nothing to compare with, or the
    /// base is so small that the number would say nothing. Averages are compared as they are, not as they are shown.
    #[must_use]
    pub fn change_percent(&self, current: &DailySales, base: &DailySales) -> Option<String> {
        let fraction = |sums| match self.computed(sums) {
            Minor(number) | Count(number) => Some((i128::from(number), 1)),
            MinorPer(number, per) | RatioOf(number, per) => (per > 0).then_some((i128::from(number), i128::from(per))),
        };
        let ((current, current_per), (base, base_per)) = (fraction(current)?, fraction(base)?);
        if base == 0 {
            return None;
        }
        let change = current.checked_mul(base_per)?.checked_sub(base.checked_mul(current_per)?)?;
        let tenths = checked_divide_half_even(change.checked_mul(1000)?, base.abs().checked_mul(current_per)?)?;
        let sign = if tenths < 0 { "-" } else { "" };
        Some(format!("{sign}{}.{}", tenths.unsigned_abs() / 10, tenths.unsigned_abs() % 10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd() -> Currency {
        "USD".parse().unwrap()
    }

    #[test]
    fn an_average_is_rounded_half_to_even_and_unknown_without_orders() {
        let aov = Metric::named("average_order_value").unwrap();
        let sums = |gross, orders| DailySales { initial_gross_minor: gross, orders, ..Default::default() };
        let show = |sums: DailySales| serde_json::to_string(&aov.value(&sums, usd())).unwrap();
        assert_eq!(show(sums(11000, 3)), r#"{"amount":"36.67","currency":"USD"}"#);
        assert_eq!(show(sums(5, 2)), r#"{"amount":"0.02","currency":"USD"}"#);
        assert_eq!(show(sums(0, 0)), "null");
    }

    #[test]
    fn a_difference_of_ratios_keeps_its_sign() {
        let show = |ratio| serde_json::to_string(&ratio).unwrap();
        assert_eq!(show(Value::Ratio(110).minus(Value::Ratio(114))), r#""-0.04""#);
        assert_eq!(show(Value::Ratio(300).minus(Value::Ratio(114))), r#""1.86""#);
        assert_eq!(show(Value::Ratio(300).minus(Value::Unknown)), "null");
    }

    #[test]
    fn a_change_is_in_percent_of_the_base_and_none_for_a_base_of_zero() {
        let metric = Metric::named("gross_sales").unwrap();
        let of = |minor| DailySales { gross_minor: minor, ..Default::default() };
        assert_eq!(metric.change_percent(&of(-3100), &of(-1000)).as_deref(), Some("-210.0"));
        assert_eq!(metric.change_percent(&of(500), &of(0)), None);
        assert_eq!(metric.change_percent(&of(1005), &of(1000)).as_deref(), Some("0.5"));
        assert_eq!(metric.change_percent(&of(i64::MAX), &of(1)), None);
    }

    #[test]
    fn averages_change_by_what_they_are_not_by_what_is_shown_of_them() {
        let change = |name: &str, current: &DailySales, base: &DailySales| {
            Metric::named(name).unwrap().change_percent(current, base)
        };
        // 1.67 and 1.33 are shown: that would be 25.6.
        let units = |initial_units, orders| DailySales { initial_units, orders, ..Default::default() };
        assert_eq!(change("units_per_order", &units(5, 3), &units(4, 3)).as_deref(), Some("25.0"));
        assert_eq!(change("units_per_order", &units(5, 3), &units(4, 6)).as_deref(), Some("150.0"));
        assert_eq!(change("units_per_order", &units(5, 3), &units(4, 0)), None);
        assert_eq!(change("units_per_order", &units(0, 0), &units(4, 3)), None);
        // Of a currency without digits, 333 and 167 are shown: that would be 99.4.
        let gross = |initial_gross_minor| DailySales { initial_gross_minor, orders: 3, ..Default::default() };
        assert_eq!(change("average_order_value", &gross(1000), &gross(500)).as_deref(), Some("100.0"));
        assert_eq!(change("average_order_value", &gross(-1000), &gross(-500)).as_deref(), Some("-100.0"));
    }
}
