//! Moments of a shop's log, as questions name them.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::ApiError;

/// A moment of the log: what was known then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// All events that were recorded by then.
    Instant(DateTime<Utc>),
    /// All events up to this one.
    Position(i64),
}

/// As of when.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AsOfQuery {
    /// As known then: a position of the shop's log, or an instant. The present where it is left out. A moment that is yet to
    /// come is the present; the answer says which position it is of.
    #[param(
        pattern = r"^([0-9]{1,18}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}(Z|[+-][0-9]{2}:[0-9]{2}))$",
        example = "2026-11-30T12:00:00Z"
    )]
    as_of: Option<String>,
}

impl AsOfQuery {
    /// The moment, if one is asked for.
    pub fn moment(&self) -> Result<Option<Moment>, ApiError> {
        self.as_of.as_deref().map(|text| Moment::parse("as_of", text)).transpose()
    }
}

impl Moment {
    /// Reads the value of a parameter.
    pub fn parse(name: &str, text: &str) -> Result<Self, ApiError> {
        let refused = |why: &str| Err(ApiError::BadRequest(format!("`{name}` {why}").into()));
        let is_digits =
            |text: &str| !text.is_empty() && text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_digits(text) {
            return Ok(Self::Position(text.parse().expect("at most 18 digits")));
        }
        if text.strip_prefix('-').is_some_and(is_digits) {
            return refused("is a position before the log's first: positions are 0 (nothing is known yet), 1, 2 …");
        }
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"-:.TZ+".contains(&byte));
        match DateTime::parse_from_rfc3339(text) {
            Ok(instant) if is_plain && text.len() <= 35 => Ok(Self::Instant(instant.to_utc())),
            _ => refused("is neither a position of the log like 120 nor an instant like 2026-11-30T12:00:00Z"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_position_or_an_instant_and_nothing_else() {
        let parse = |text: &str| Moment::parse("as_of", text);
        assert_eq!(parse("0").unwrap(), Moment::Position(0));
        assert_eq!(parse("999999999999999999").unwrap(), Moment::Position(999_999_999_999_999_999));
        let noon = Moment::Instant("2026-11-30T12:00:00Z".parse().unwrap());
        assert_eq!(parse("2026-11-30T12:00:00Z").unwrap(), noon);
        assert_eq!(parse("2026-11-30T13:00:00.000+01:00").unwrap(), noon);
        for odd in [
            "",
            "-1",
            "+1",
            "1.5",
            "1e3",
            "now",
            "2026-11-30",
            "2026-11-30T12:00:00",
            "2026-11-30 12:00:00Z",
            "2026-11-30t12:00:00z",
            "2026-02-30T12:00:00Z",
            "9999999999999999999",
            "٣",
        ] {
            let text = parse(odd).unwrap_err().to_string();
            assert!(text.starts_with("`as_of` is"), "{odd}: {text}");
        }
    }
}
