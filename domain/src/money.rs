//! Money: minor units in `i64` with their currency, checked arithmetic, decimal strings at the edges, never a float.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The largest amount, in minor units, that is taken from a body: beyond it something is wrong with the body.
pub const MAX_MINOR: i64 = 10_000_000_000_000;

/// Why an amount was refused. No variant shows the text: whoever sends bodies could put anything there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a decimal number.
    #[error("it is not a decimal amount")]
    NotADecimal,
    /// Over [`MAX_MINOR`].
    #[error("it is out of range")]
    OutOfRange,
    /// Not three to eight letters or digits.
    #[error("it is not a currency code")]
    NotACurrency,
}

/// A currency code: ISO 4217, or whatever else Shopify names (legacy and digital ones exist).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 8]);

impl Currency {
    /// The code in upper case.
    #[must_use]
    pub fn code(&self) -> &str {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(8);
        std::str::from_utf8(&self.0[..end]).expect("made of ASCII letters only")
    }

    /// Digits after the point: 2 for USD, 0 for JPY, 3 for KWD, 2 for codes that ISO 4217 does not know.
    #[must_use]
    pub fn exponent(&self) -> u32 {
        iso_currency::Currency::from_code(self.code()).and_then(iso_currency::Currency::exponent).map_or(2, u32::from)
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(code: &str) -> Result<Self, MoneyError> {
        let valid = (3..=8).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric());
        if !valid {
            return Err(MoneyError::NotACurrency);
        }
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(code.bytes()) {
            *to = from.to_ascii_uppercase();
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        code.parse().map_err(serde::de::Error::custom)
    }
}

/// An amount of one currency, in its minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    /// Cents, yen, fils: the currency's smallest unit.
    pub minor: i64,
    /// Of which currency.
    pub currency: Currency,
}

impl Money {
    /// Reads `"398.00"`, `"-5"`, `"57.5"` or `"1e2"`. Digits beyond the currency's own round half to even.
    ///
    /// # Errors
    /// [`MoneyError::NotADecimal`], or [`MoneyError::OutOfRange`] beyond [`MAX_MINOR`].
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let minor = scaled(text, currency.exponent())?;
        if minor.unsigned_abs() > MAX_MINOR.unsigned_abs() {
            return Err(MoneyError::OutOfRange);
        }
        Ok(Self { minor, currency })
    }
}

/// The decimal string with exactly the currency's digits: `110.00`, `267`, `12.346`; never `-0.00`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exponent = self.currency.exponent() as usize;
        let sign = if self.minor < 0 { "-" } else { "" };
        let digits = format!("{:0>width$}", self.minor.unsigned_abs(), width = exponent + 1);
        let (whole, fraction) = digits.split_at(digits.len() - exponent);
        match exponent {
            0 => write!(f, "{sign}{whole}"),
            _ => write!(f, "{sign}{whole}.{fraction}"),
        }
    }
}

/// `{"amount": "110.00", "currency": "USD"}`.
impl Serialize for Money {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut object = serializer.serialize_struct("Money", 2)?;
        object.serialize_field("amount", &self.to_string())?;
        object.serialize_field("currency", &self.currency)?;
        object.end()
    }
}

/// A decimal text as an integer of `exponent` digits after the point; what is beyond rounds half to even.
///
/// # Errors
/// [`MoneyError::NotADecimal`], or [`MoneyError::OutOfRange`] beyond `i64`.
pub fn scaled(text: &str, exponent: u32) -> Result<i64, MoneyError> {
    let (mantissa, power) = match text.split_once(['e', 'E']) {
        Some((mantissa, power)) => (mantissa, power.parse::<i32>().map_err(|_| MoneyError::NotADecimal)?),
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let empty = whole.is_empty() && fraction.is_empty();
    if empty || !all_digits(whole) || !all_digits(fraction) || mantissa.len() > 40 || power.abs() > 40 {
        return Err(MoneyError::NotADecimal);
    }
    // value = digits * 10^shift, in units of 10^-exponent
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let point = i64::from(power) + i64::from(exponent) - i64::try_from(fraction.len()).expect("at most 40");
    let mut value: i128 = 0;
    let mut rest: Vec<u8> = Vec::new();
    let kept = i64::try_from(digits.len()).expect("at most 40") + point.min(0);
    for (index, digit) in digits.bytes().map(|byte| byte - b'0').enumerate() {
        if i64::try_from(index).expect("at most 40") < kept {
            // Forty digits are more than it holds.
            let longer = value.checked_mul(10).and_then(|value| value.checked_add(i128::from(digit)));
            value = longer.ok_or(MoneyError::OutOfRange)?;
        } else {
            // a number below the last kept digit's place has leading zeros there
            rest.push(digit);
        }
    }
    if kept < 0 {
        rest.insert(0, 0);
    }
    for _ in 0..point.max(0) {
        value = value.checked_mul(10).ok_or(MoneyError::OutOfRange)?;
    }
    let tail_is_zero = rest.iter().skip(1).all(|digit| *digit == 0);
    let round_up = match rest.first() {
        Some(6..=9) => true,
        Some(5) => !tail_is_zero || value % 2 == 1,
        _ => false,
    };
    value += i128::from(round_up);
    i64::try_from(if negative { -value } else { value }).map_err(|_| MoneyError::OutOfRange)
}

/// `numerator / denominator`, rounded half to even. The denominator is positive.
///
/// # Panics
/// Where the quotient does not fit: a share of an amount always does.
#[must_use]
pub fn divide_half_even(numerator: i128, denominator: i128) -> i64 {
    checked_divide_half_even(numerator, denominator).expect("a share of an i64 amount is one")
}

/// The same; `None` where the quotient does not fit.
#[must_use]
pub fn checked_divide_half_even(numerator: i128, denominator: i128) -> Option<i64> {
    debug_assert!(denominator > 0, "a share is of something");
    let floor = numerator.div_euclid(denominator);
    let twice_rest = 2 * numerator.rem_euclid(denominator);
    let up = twice_rest > denominator || (twice_rest == denominator && floor.rem_euclid(2) == 1);
    i64::try_from(floor + i128::from(up)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usd(text: &str) -> Result<i64, MoneyError> {
        Money::parse(text, "USD".parse().unwrap()).map(|money| money.minor)
    }

    #[test]
    fn decimal_strings_become_minor_units() {
        for (text, minor) in [
            ("398.00", 39800),
            ("57.5", 5750),
            ("0.0", 0),
            ("-5", -500),
            (".5", 50),
            ("1e2", 10_000),
            ("1.005", 100),
            ("1.015", 102),
            ("1.0151", 102),
            ("0.005", 0),
            ("0.0051", 1),
            ("0.0009", 0),
            ("-0.00", 0),
            ("12.345678901234567890123", 1235),
        ] {
            assert_eq!(usd(text), Ok(minor), "{text}");
        }
        for text in ["", "-", ".", "1,5", "NaN", "1e999", "0x10", "1.2.3", " 1", "--1"] {
            assert!(usd(text).is_err(), "{text}");
        }
        assert_eq!(usd("1000000000000.00"), Err(MoneyError::OutOfRange));
    }

    #[test]
    fn a_currency_has_its_own_digits() {
        let show = |minor, code: &str| Money { minor, currency: code.parse().unwrap() }.to_string();
        assert_eq!(show(3667, "USD"), "36.67");
        assert_eq!(show(-5, "USD"), "-0.05");
        assert_eq!(show(0, "USD"), "0.00");
        assert_eq!(show(267, "JPY"), "267");
        assert_eq!(show(12346, "KWD"), "12.346");
        assert_eq!(show(100, "USDC"), "1.00");
        assert!("U".parse::<Currency>().is_err());
    }

    proptest! {
        #[test]
        fn printing_and_reading_are_inverse(minor in -MAX_MINOR..MAX_MINOR, code in "USD|JPY|KWD") {
            let money = Money { minor, currency: code.parse().unwrap() };
            prop_assert_eq!(Money::parse(&money.to_string(), money.currency), Ok(money));
        }

        #[test]
        fn a_share_is_at_most_half_a_unit_off(n in -1_000_000_i128..1_000_000, d in 1_i128..1000) {
            let share = i128::from(divide_half_even(n, d));
            prop_assert!((share * d - n).abs() * 2 <= d);
        }
    }
}
