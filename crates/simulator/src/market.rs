//! The shops, and how busy they are.

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc, Weekday};
use chrono_tz::Tz;

/// Of a shop what does not change.
#[derive(Debug, Clone)]
pub struct ShopProfile {
    /// From 0.
    pub number: usize,
    /// Its name, which is its vendor's, too.
    pub name: &'static str,
    /// `….myshopify.com`
    pub domain: String,
    /// ISO 4217.
    pub currency: &'static str,
    /// IANA.
    pub zone: Tz,
    /// In hundredths of a percent.
    pub tax_rate: i64,
    /// As the tax is called.
    pub tax_title: &'static str,
    /// Whether prices include it.
    pub taxes_included: bool,
    /// `US` …
    pub country: &'static str,
    /// In words.
    pub country_name: &'static str,
    /// Of some orders the buyer's currency is this one.
    pub buyers_currency: &'static str,
}

struct Template(
    &'static str,
    &'static str,
    &'static str,
    Tz,
    i64,
    &'static str,
    bool,
    &'static str,
    &'static str,
    &'static str,
);

/// Shops of different kinds; with more shops than these, they come again under other domains.
pub const SHOPS: usize = TEMPLATES.len();

const TEMPLATES: [Template; 6] = [
    Template(
        "Harbor Goods",
        "harbor-goods",
        "USD",
        Tz::America__New_York,
        825,
        "State Tax",
        false,
        "US",
        "United States",
        "CAD",
    ),
    Template("Atelier Nord", "atelier-nord", "EUR", Tz::Europe__Berlin, 1_900, "VAT", true, "DE", "Germany", "GBP"),
    Template("Kumo Paper", "kumo-paper", "JPY", Tz::Asia__Tokyo, 1_000, "CT", true, "JP", "Japan", "USD"),
    Template(
        "Fen & Moor",
        "fen-and-moor",
        "GBP",
        Tz::Europe__London,
        2_000,
        "VAT",
        true,
        "GB",
        "United Kingdom",
        "EUR",
    ),
    Template(
        "Prairie Supply",
        "prairie-supply",
        "CAD",
        Tz::America__Winnipeg,
        500,
        "GST",
        false,
        "CA",
        "Canada",
        "USD",
    ),
    Template("Bondi Made", "bondi-made", "AUD", Tz::Australia__Sydney, 1_000, "GST", true, "AU", "Australia", "USD"),
];

/// The shop of that number.
#[must_use]
pub fn shop_profile(number: usize) -> ShopProfile {
    let Template(name, domain, currency, zone, tax_rate, tax_title, taxes_included, country, country_name, buyers) =
        TEMPLATES[number % SHOPS];
    let again = number / SHOPS;
    let domain = if again == 0 { format!("{domain}.myshopify.com") } else { format!("{domain}-{again}.myshopify.com") };
    ShopProfile {
        number,
        name,
        domain,
        currency,
        zone,
        tax_rate,
        tax_title,
        taxes_included,
        country,
        country_name,
        buyers_currency: buyers,
    }
}

impl ShopProfile {
    /// An id that no other shop has.
    #[must_use]
    pub fn id(&self, number: u64) -> u64 {
        (self.number as u64 + 1) * 10_000_000_000 + number
    }

    /// How many orders come in the hour of this instant, in thousandths of the usual number.
    #[must_use]
    pub fn bustle(&self, at: DateTime<Utc>) -> u64 {
        let local = at.with_timezone(&self.zone);
        // Nobody buys at four, everybody after work.
        const BY_HOUR: [u64; 24] = [
            350, 200, 120, 80, 60, 90, 220, 500, 850, 1_050, 1_150, 1_200, 1_300, 1_250, 1_150, 1_150, 1_250, 1_400,
            1_650, 1_900, 2_000, 1_750, 1_250, 700,
        ];
        let by_weekday = match local.weekday() {
            Weekday::Sat | Weekday::Sun => 1_250,
            Weekday::Mon => 1_050,
            _ => 900,
        };
        let by_hour = BY_HOUR[local.hour() as usize];
        let season = season(local.date_naive());
        by_hour * by_weekday / 1_000 * season / 1_000
    }

    /// What is off, in percent, while a promotion runs.
    #[must_use]
    pub fn promotion(&self, at: DateTime<Utc>) -> Option<(&'static str, i64)> {
        let day = at.with_timezone(&self.zone).date_naive();
        if is_black_friday(day) {
            return Some(("BLACKFRIDAY", 25));
        }
        // Each shop has its own week of the month.
        (u32::try_from(self.number).unwrap_or(0) % 4 == day.day0() / 7).then_some(("WEEK10", 10))
    }
}

/// The Friday after the fourth Thursday of November, to the Monday.
fn is_black_friday(day: NaiveDate) -> bool {
    let friday = NaiveDate::from_weekday_of_month_opt(day.year(), 11, Weekday::Thu, 4).and_then(|day| day.succ_opt());
    friday.is_some_and(|friday| (0..4).contains(&(day - friday).num_days()))
}

fn season(day: NaiveDate) -> u64 {
    if is_black_friday(day) {
        return 3_000;
    }
    match (day.month(), day.day()) {
        (12, 1..=20) => 1_800,
        (12, 25..=26) => 400,
        (1, _) => 800,
        (7 | 8, _) => 850,
        (11, 15..) => 1_300,
        _ => 1_000,
    }
}
