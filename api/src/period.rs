//! Periods in a shop's days, and what they are compared with.

use chrono::{Days, NaiveDate};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::ApiError;

/// The longest period that is answered: any shop's whole history.
const MAX_DAYS: i64 = 366 * 100;

/// `from` and `to`, both included; today where they are left out.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PeriodQuery {
    /// The first day, of the shop's own days, from 1970 on; without it `to`, or today.
    #[param(format = Date, example = "2026-11-01")]
    from: Option<String>,
    /// The last day, included, not before `from` and at most a hundred years after it; without it today.
    #[param(format = Date, example = "2026-11-30")]
    to: Option<String>,
}

/// Days of a shop, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The first.
    pub from: NaiveDate,
    /// The last.
    pub to: NaiveDate,
}

impl PeriodQuery {
    /// The period that is asked for.
    pub fn resolve(&self, today: NaiveDate) -> Result<Period, ApiError> {
        let day = |name, text: &Option<String>| text.as_deref().map(|text| parse(name, text)).transpose();
        let to = day("to", &self.to)?;
        let from = day("from", &self.from)?.or(to).unwrap_or(today);
        Period::checked(from, to.unwrap_or(today.max(from)), ("from", "to"))
    }
}

/// Every day that a sale can lie on.
pub const EVER: Period = Period {
    from: NaiveDate::from_ymd_opt(1, 1, 3).expect("a date"),
    to: NaiveDate::from_ymd_opt(9998, 12, 31).expect("a date"),
};

/// Reads the day that a parameter names.
pub fn parse(name: &str, text: &str) -> Result<NaiveDate, ApiError> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| text.len() == 10);
    let first = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a date");
    let last = NaiveDate::from_ymd_opt(9998, 12, 31).expect("a date");
    day.filter(|day| (first..=last).contains(day))
        .ok_or_else(|| ApiError::BadRequest(format!("`{name}` is not a day like 2026-11-30, from 1970 on").into()))
}

impl Period {
    /// Days that parameters of these names ask for.
    pub fn checked(from: NaiveDate, to: NaiveDate, names: (&str, &str)) -> Result<Self, ApiError> {
        if from > to {
            return Err(ApiError::BadRequest(format!("`{}` is after `{}`", names.0, names.1).into()));
        }
        let period = Self { from, to };
        if period.days() > MAX_DAYS {
            return Err(ApiError::BadRequest("the period is longer than a hundred years".into()));
        }
        Ok(period)
    }

    /// How many days.
    pub fn days(&self) -> i64 {
        (self.to - self.from).num_days() + 1
    }

    /// The same number of days directly before.
    pub fn previous(&self) -> Self {
        let days = Days::new(self.days().unsigned_abs());
        Self { from: self.from - days, to: self.to - days }
    }

    /// Every day.
    pub fn each_day(&self) -> impl Iterator<Item = NaiveDate> + use<> {
        let to = self.to;
        self.from.iter_days().take_while(move |day| *day <= to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(from: Option<&str>, to: Option<&str>) -> Result<(String, String), ApiError> {
        let query = PeriodQuery { from: from.map(Into::into), to: to.map(Into::into) };
        let period = query.resolve("2026-11-23".parse().unwrap())?;
        Ok((period.from.to_string(), period.to.to_string()))
    }

    #[test]
    fn a_period_has_a_default_and_bounds() {
        assert_eq!(ask(None, None).unwrap(), ("2026-11-23".into(), "2026-11-23".into()));
        assert_eq!(ask(Some("2026-11-01"), None).unwrap(), ("2026-11-01".into(), "2026-11-23".into()));
        for (from, to) in [
            ("2026-11-02", "2026-11-01"),
            ("2026-02-30", "2026-03-01"),
            ("1969-12-31", "2026-03-01"),
            ("+2026-1-1", "2026-03-01"),
            ("today", "2026-03-01"),
            ("1970-01-01", "9000-01-01"),
        ] {
            assert!(ask(Some(from), Some(to)).is_err(), "{from} {to}");
        }
    }

    #[test]
    fn the_previous_period_is_as_long() {
        let period = Period { from: "2026-11-01".parse().unwrap(), to: "2026-11-07".parse().unwrap() };
        assert_eq!(period.previous().from.to_string(), "2026-10-25");
        assert_eq!(period.previous().to.to_string(), "2026-10-31");
    }
}
