//! Amounts in minor units, as Shopify writes them.

use serde_json::{Value, json};

/// A currency of a shop or of a buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Currency {
    pub code: &'static str,
    /// Digits behind the point.
    pub digits: u32,
    /// How many of its minor units a thousand minor units of the US dollar are: only for the size of prices.
    pub per_thousand_cents: i64,
}

pub const CURRENCIES: [Currency; 6] = [
    Currency { code: "USD", digits: 2, per_thousand_cents: 1_000 },
    Currency { code: "EUR", digits: 2, per_thousand_cents: 920 },
    Currency { code: "GBP", digits: 2, per_thousand_cents: 790 },
    Currency { code: "CAD", digits: 2, per_thousand_cents: 1_370 },
    Currency { code: "JPY", digits: 0, per_thousand_cents: 1_500 },
    Currency { code: "AUD", digits: 2, per_thousand_cents: 1_520 },
];

/// The one of that code.
pub fn currency(code: &str) -> Currency {
    CURRENCIES.into_iter().find(|currency| currency.code == code).unwrap_or(CURRENCIES[0])
}

impl Currency {
    /// `110.00`, or `110` where there are no smaller coins.
    pub fn text(self, minor: i64) -> String {
        let unit = 10_i64.pow(self.digits);
        let (whole, rest) = (minor.abs() / unit, minor.abs() % unit);
        let sign = if minor < 0 { "-" } else { "" };
        if self.digits == 0 {
            format!("{sign}{whole}")
        } else {
            format!("{sign}{whole}.{rest:0width$}", width = self.digits as usize)
        }
    }

    /// A price that looks like one: a dollar's worth of `cents`, ending in 9.
    pub fn price(self, cents: i64) -> i64 {
        let minor = cents * self.per_thousand_cents / 1_000;
        (minor / 10).max(1) * 10 - 1
    }
}

/// What the shop counts in, and what its buyer pays in.
#[derive(Debug, Clone, Copy)]
pub struct Exchange {
    pub shop: Currency,
    pub buyer: Currency,
}

impl Exchange {
    /// A `*_set`.
    pub fn set(self, minor: i64) -> Value {
        let paid = if self.shop == self.buyer {
            minor
        } else {
            minor * self.buyer.per_thousand_cents / self.shop.per_thousand_cents
        };
        json!({
            "shop_money": { "amount": self.shop.text(minor), "currency_code": self.shop.code },
            "presentment_money": { "amount": self.buyer.text(paid), "currency_code": self.buyer.code },
        })
    }
}

/// The first `part` of `whole` shares of an amount. Shares of consecutive parts add up to the amount.
pub fn share(amount: i64, part: i64, whole: i64) -> i64 {
    if whole == 0 { 0 } else { amount * part / whole }
}
