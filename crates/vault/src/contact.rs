//! By what else than Shopify's number a person is found: e-mail addresses and telephone numbers, as keyed digests.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::ShopKey;

/// Digits by which telephone numbers are compared: what stands before them is the country's code, or a trunk's zero, or was
/// left out. So a number may find several persons.
const PHONE_DIGITS: usize = 9;
/// Fewer are no number.
const LEAST_DIGITS: usize = 6;

/// An address or a number in the one spelling that all of its spellings have in common.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContactKey {
    kind: u8,
    text: String,
}

impl ContactKey {
    /// Of an e-mail address: without blanks around it and in small letters. `None` where it is none.
    #[must_use]
    pub fn of_email(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        let (user, host) = text.rsplit_once('@')?;
        (!user.is_empty() && !host.is_empty()).then_some(Self { kind: 1, text })
    }

    /// Of a telephone number: its last nine digits, whatever stands between them, and whichever script they are of. `None` where it
    /// is none.
    #[must_use]
    pub fn of_phone(text: &str) -> Option<Self> {
        let mut digits: String = text.chars().filter_map(digit).collect();
        digits.drain(..digits.len().saturating_sub(PHONE_DIGITS));
        (digits.len() >= LEAST_DIGITS).then_some(Self { kind: 2, text: digits })
    }

    /// All that stand in a personal value, at whatever depth.
    #[must_use]
    pub fn all_in(json: &[u8]) -> Vec<Self> {
        // Most values are a line's title or a note.
        let names_one = |json: &str| json.contains("email\"") || json.contains("phone\"");
        if !std::str::from_utf8(json).is_ok_and(names_one) {
            return Vec::new();
        }
        Self::all_of(&mut serde_json::Deserializer::from_slice(json))
    }

    /// The same of one that is parsed.
    #[must_use]
    pub fn all_in_json(value: &Value) -> Vec<Self> {
        Self::all_of(value)
    }

    fn all_of<'de>(json: impl Deserializer<'de>) -> Vec<Self> {
        let mut found = Vec::new();
        if (Collector { read: |_| None, found: &mut found }).deserialize(json).is_err() {
            found.clear();
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// The digit that a character is. Of each script the ten stand one behind the other, from zero on.
#[must_use]
pub fn digit(char: char) -> Option<char> {
    /// Of Arabic, Persian, Devanagari, Bengali, Gurmukhi, Gujarati, Tamil, Telugu, Kannada, Malayalam, Thai, Lao, Burmese, Khmer, and
    /// of full width.
    const ZEROS: [u32; 15] = [
        0x0660, 0x06F0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0E50, 0x0ED0, 0x1040, 0x17E0,
        0xFF10,
    ];
    if char.is_ascii() {
        return Some(char).filter(char::is_ascii_digit);
    }
    ZEROS.iter().find_map(|zero| u32::from(char).checked_sub(*zero).and_then(|value| char::from_digit(value, 10)))
}

type Reader = fn(&str) -> Option<ContactKey>;

/// Goes through a value as it is read: it is done for all that is sealed, and nothing else is kept of it.
struct Collector<'a> {
    /// What a text is here, by the name that it stands under.
    read: Reader,
    found: &'a mut Vec<ContactKey>,
}

impl<'de> DeserializeSeed<'de> for Collector<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Collector<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<(), M::Error> {
        while let Some(read) = members.next_key_seed(Name)? {
            members.next_value_seed(Collector { read, found: &mut *self.found })?;
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut members: S) -> Result<(), S::Error> {
        while members.next_element_seed(Collector { read: |_| None, found: &mut *self.found })?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.found.extend((self.read)(text));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
}

/// A member's name, by what a text under it is.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Reader;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Reader, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Reader;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Reader, E> {
        Ok(match name {
            name if name.ends_with("email") => ContactKey::of_email,
            name if name.ends_with("phone") => ContactKey::of_phone,
            _ => |_| None,
        })
    }
}

impl ShopKey {
    /// The digest that an address or a number is found by in this shop, and in no other.
    #[must_use]
    pub fn contact_digest(&self, contact: &ContactKey) -> [u8; 16] {
        let digest = self.derive(5, &[&[contact.kind], contact.text.as_bytes()]);
        *digest.first_chunk().expect("it is longer")
    }

    /// A name for something of this shop's that nobody can guess it by without the shop's key.
    #[must_use]
    pub fn pseudonym(&self, of: &[u8]) -> [u8; 16] {
        *self.derive(6, &[of]).first_chunk().expect("it is longer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_address_or_number_are_alike() {
        let email = ContactKey::of_email("jane@example.com").unwrap();
        for spelling in ["Jane@Example.COM", " jane@example.com\n"] {
            assert!(ContactKey::of_email(spelling) == Some(email.clone()), "{spelling}");
        }
        let phone = ContactKey::of_phone("+1 613 555 0142").unwrap();
        for spelling in [
            "(613) 555-0142",
            "001 613.555.0142",
            "6135550142",
            "+16135550142",
            "٦١٣٥٥٥٠١٤٢",
            "+१ ६१३ ५५५ ०१४२",
            "６１３－５５５－０１４２",
        ] {
            assert!(ContactKey::of_phone(spelling) == Some(phone.clone()), "{spelling}");
        }
        for none in ["", "@", "a@", "@b", "no address"] {
            assert!(ContactKey::of_email(none).is_none(), "{none}");
        }
        assert!(ContactKey::of_phone("12345").is_none());
    }

    #[test]
    fn they_are_found_at_any_depth_and_under_any_name_that_ends_so() {
        let json = br#"{"email": "a@b.c", "shipping_address": {"phone": "+1 613 555 0142"}, "x": [{"contact_email": "A@B.C"}, {"phone": null}]}"#;
        assert_eq!(ContactKey::all_in(json).len(), 2);
        assert!(ContactKey::all_in(b"\"the phone is red\"").is_empty());
    }
}
