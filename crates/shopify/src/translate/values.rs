//! Single values: amounts, ids, quantities, and what in a text is about a person.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Utc};
use domain::{
    Currency, Money, MoneyError,
    money::scaled,
    order::{Allocation, Tax},
};

use serde_json::Value;

use super::TranslateError;
use crate::payload::{AllocationBody, Number, TaxBody};

pub(super) fn minor(field: &'static str, value: Option<&Number>, currency: Currency) -> Result<i64, TranslateError> {
    let Some(number) = value else { return Ok(0) };
    Money::parse(&number.0, currency)
        .map(|money| money.minor)
        .map_err(|source| TranslateError::Amount { field, source })
}

/// A whole number from 0 to a billion.
pub(super) fn units(field: &'static str, value: Option<&Number>) -> Result<i64, TranslateError> {
    let Some(number) = value else { return Ok(0) };
    let fault = |source| TranslateError::Amount { field, source };
    let units = scaled(&number.0, 0).map_err(fault)?;
    if !(0..=1_000_000_000).contains(&units) {
        return Err(fault(MoneyError::OutOfRange));
    }
    Ok(units)
}

/// A whole number from minus a billion to a billion: what was oversold is negative.
pub(super) fn signed_units(field: &'static str, number: &Number) -> Result<i64, TranslateError> {
    match number.0.strip_prefix('-') {
        Some(magnitude) => Ok(-units(field, Some(&Number(magnitude.to_owned())))?),
        None => units(field, Some(number)),
    }
}

/// Refuses a time that no order was ever placed at, and that the database would refuse later.
pub(super) fn instant(field: &'static str, at: Option<DateTime<Utc>>) -> Result<Option<DateTime<Utc>>, TranslateError> {
    match at {
        Some(at) if !(1970..9999).contains(&at.year()) => Err(TranslateError::Time(field)),
        at => Ok(at),
    }
}

/// A short text as columns can hold it: without NUL, at most 255 characters, `None` when nothing is left.
pub(super) fn plain(text: Option<&str>) -> Option<String> {
    let text: String = text?.chars().filter(|c| *c != '\0').take(255).collect();
    (!text.is_empty()).then_some(text)
}

/// A text that says something.
pub(super) fn text(value: Option<String>) -> Option<String> {
    value.filter(|text| !text.is_empty())
}

/// A value that says something.
pub(super) fn is_said(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    }
}

/// Comma-separated tags: some bodies have them so, some as a list.
pub(super) fn tags(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(tags) => text(Some(tags.clone())),
        Value::Array(tags) if !tags.is_empty() => {
            Some(tags.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
        }
        _ => None,
    }
}

/// Parts of an address in one line.
pub(super) fn joined(parts: [Option<String>; 4]) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

pub(super) fn id(field: &'static str, value: Option<&Number>) -> Result<u64, TranslateError> {
    value.and_then(Number::id).ok_or(TranslateError::Missing(field))
}

pub(super) fn currency(field: &'static str, code: &str) -> Result<Currency, TranslateError> {
    code.parse().map_err(|source| TranslateError::Amount { field, source })
}

pub(super) fn allocations(
    bodies: Option<&Vec<AllocationBody>>,
    currency: Currency,
) -> Result<Vec<Allocation>, TranslateError> {
    bodies
        .into_iter()
        .flatten()
        .map(|body| {
            let amount = crate::payload::shop_amount(body.amount_set.as_ref(), body.amount.as_ref());
            let application = units("discount_application_index", body.discount_application_index.as_ref())?;
            Ok(Allocation {
                application: u32::try_from(application).expect("at most a billion"),
                amount_minor: minor("discount_allocations.amount", amount, currency)?,
            })
        })
        .collect()
}

pub(super) fn taxes(bodies: Option<&Vec<TaxBody>>, currency: Currency) -> Result<Vec<Tax>, TranslateError> {
    bodies
        .into_iter()
        .flatten()
        .map(|body| {
            let amount = crate::payload::shop_amount(body.price_set.as_ref(), body.price.as_ref());
            let rate = body.rate.as_ref().map_or(Ok(0), |rate| scaled(&rate.0, 9));
            Ok(Tax {
                rate_nano: rate.map_err(|source| TranslateError::Amount { field: "tax_lines.rate", source })?,
                amount_minor: minor("tax_lines.price", amount, currency)?,
            })
        })
        .collect()
}

/// The `utm_*` values of a landing page that name a campaign. The rest of the URL is not kept.
pub(super) fn utm(landing_site: Option<&str>) -> BTreeMap<String, String> {
    let query = landing_site.and_then(|url| url.split_once('?')).map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .filter(|(key, value)| {
            matches!(&**key, "utm_source" | "utm_medium" | "utm_campaign")
                && (1..=100).contains(&value.len())
                && !names_a_person(value)
        })
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect()
}

/// An e-mail address or a phone number is in it, in any script's digits, also where it is escaped as in a link, or in a link in one.
pub(super) fn names_a_person(text: &str) -> bool {
    let unescaped = |text: &String| {
        let parts = form_urlencoded::parse(text.as_bytes()).flat_map(|(key, value)| [key, value]);
        text.contains('%').then(|| parts.collect::<Vec<_>>().join(" "))
    };
    std::iter::successors(Some(text.to_owned()), unescaped).take(3).any(|text| holds_a_contact(&text))
}

fn holds_a_contact(text: &str) -> bool {
    let mut digits = 0;
    let has_phone = text.chars().any(|c| {
        match c {
            c if c.is_numeric() => digits += 1,
            ' ' | '-' | '.' | '(' | ')' | '+' | '/' => {}
            _ => digits = 0,
        }
        digits >= 7
    });
    has_phone || text.contains(['@', '\u{ff20}'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_with_an_address_or_a_phone_number_are_personal() {
        for personal in [
            "jane@example.com",
            "jane%2540example.com",
            "WELCOME-+1 (555) 010-9999",
            "WELCOME%2B1%20555%20010",
            "5550109",
            "CALL ٥٥٥٠١٠٩",
            "５５５ ０１０９",
        ] {
            assert!(names_a_person(personal), "{personal}");
        }
        for business in ["SAVE10", "BF2026", "2026-11", "AUTUMN 10 % off 200", "50%OFF"] {
            assert!(!names_a_person(business), "{business}");
        }
    }

    #[test]
    fn of_a_landing_page_only_the_campaign_is_kept() {
        let url = "/products/x?utm_source=news%20letter&utm_content=jane&email=j@x.test&utm_campaign=j%40x.test#top";
        assert_eq!(utm(Some(url)), BTreeMap::from([("utm_source".into(), "news letter".into())]));
        assert!(utm(None).is_empty());
    }
}
