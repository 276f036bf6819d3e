//! Personal data: held only in [`Personal`] fields, sealed from the first stored event.

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::ids::{CustomerId, OrderId};

/// Whose key seals a value: destroying it makes every value of that subject unreadable at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A customer that Shopify has numbered.
    Customer(CustomerId),
    /// The buyer of an order that names no customer.
    Order(OrderId),
    /// The shop's own data: its owner's, its titles, its domain.
    Shop,
}

impl Subject {
    /// Type and id of the history that is named after it.
    #[must_use]
    pub fn stream(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Customer(id) => Some(("customer", id.to_string())),
            Self::Order(id) => Some(("order", id.to_string())),
            Self::Shop => None,
        }
    }

    /// The subject of what an order's history says without naming a customer; `None` for other histories.
    #[must_use]
    pub fn of_order_stream(aggregate_type: &str, aggregate_id: &str) -> Option<Self> {
        (aggregate_type == "order").then(|| aggregate_id.parse().ok().map(|id| Self::Order(OrderId(id)))).flatten()
    }
}

/// `customer:42`, `order:7`, `shop`: how the key table names a subject.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Customer(id) => write!(f, "customer:{id}"),
            Self::Order(id) => write!(f, "order:{id}"),
            Self::Shop => f.write_str("shop"),
        }
    }
}

impl std::str::FromStr for Subject {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |digits: &str| digits.parse().map_err(|_| "a subject's id is a number");
        match text.split_once(':') {
            Some(("customer", digits)) => Ok(Self::Customer(CustomerId(number(digits)?))),
            Some(("order", digits)) => Ok(Self::Order(OrderId(number(digits)?))),
            None if text == "shop" => Ok(Self::Shop),
            _ => Err("no such kind of subject"),
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A value that only the vault can read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sealed {
    /// Under whose key.
    #[serde(rename = "by")]
    pub subject: Subject,
    /// What the vault wrote, in base64: key id, digest, ciphertext. Equal values of one subject and field have equal bytes.
    #[serde(rename = "sealed")]
    pub bytes: String,
}

/// A personal value. It has no `Display`, its `Debug` shows nothing, and in the clear it cannot be serialised.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Personal<T> {
    /// Readable: in commands only, on its way to the vault.
    Clear(T),
    /// As stored. Equal when the values are equal: 'changed or not' needs no plaintext.
    Sealed(Sealed),
    /// The subject's key is destroyed: the value is gone, and none will be kept again.
    Redacted,
}

impl<T> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clear(_) => "Personal(clear)",
            Self::Sealed(_) => "Personal(sealed)",
            Self::Redacted => "Personal(redacted)",
        })
    }
}

impl<T> Serialize for Personal<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Clear(_) => Err(serde::ser::Error::custom("a personal value must be sealed before it is stored")),
            Self::Sealed(sealed) => sealed.serialize(serializer),
            Self::Redacted => serializer.serialize_str("[redacted]"),
        }
    }
}

impl<'de, T> Deserialize<'de> for Personal<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(std::marker::PhantomData<T>);
        impl<'de, T> serde::de::Visitor<'de> for Visitor<T> {
            type Value = Personal<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sealed value or \"[redacted]\"")
            }

            fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Self::Value, E> {
                Ok(Personal::Redacted)
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Sealed::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Personal::Sealed)
            }
        }
        deserializer.deserialize_any(Visitor(std::marker::PhantomData))
    }
}

/// What the vault needs of a [`Personal`] field, whatever type it holds.
pub trait Sealable {
    /// The value's JSON while it is clear, otherwise `None`.
    fn clear_json(&self) -> Option<Vec<u8>>;
    /// Replaces the clear value.
    fn set_sealed(&mut self, sealed: Sealed);
    /// Replaces the value for good.
    fn set_redacted(&mut self);
}

impl<T: Serialize + DeserializeOwned> Sealable for Personal<T> {
    fn clear_json(&self) -> Option<Vec<u8>> {
        match self {
            Self::Clear(value) => {
                // Most values are shorter, and one that is not grows it.
                let mut json = Vec::with_capacity(512);
                serde_json::to_writer(&mut json, value).expect("plain data has a JSON form");
                Some(json)
            }
            Self::Sealed(_) | Self::Redacted => None,
        }
    }

    fn set_sealed(&mut self, sealed: Sealed) {
        *self = Self::Sealed(sealed);
    }

    fn set_redacted(&mut self) {
        *self = Self::Redacted;
    }
}

macro_rules! fields {
    ($($field:ident = $name:literal),* $(,)?) => {
        /// A field that is sealed. Its name, to which its ciphertexts are bound, never changes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "their names say what they are")]
        pub enum Field {
            $($field),*
        }

        impl Field {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$field),*];

            /// What its ciphertexts are bound to.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$field => $name),*
                }
            }
        }
    };
}

fields! {
    // About persons.
    CustomerPerson = "customer.person",
    ComplianceContact = "compliance.contact",
    OrderBuyer = "order.buyer",
    OrderDiscount = "order.discount",
    OrderLineText = "order.line.text",
    OrderLineProperties = "order.line.properties",
    OrderRefundNote = "order.refund.note",
    OrderEditNote = "order.edit.note",
    // The shop's own.
    DiscountTitle = "discount.title",
    InventorySku = "inventory.sku",
    LocationPlace = "location.place",
    ProductText = "product.text",
    ProductVariantText = "product.variant.text",
    ShopDomain = "shop.domain",
    ShopProfile = "shop.profile",
}

/// Visits every personal field with its subject.
pub type Visit<'a> = &'a mut dyn FnMut(Subject, Field, &mut dyn Sealable);

/// A command that carries personal fields. All of them are visited: one that is left out cannot be stored,
/// because a clear value refuses to be serialised.
pub trait PersonalFields {
    /// Calls `visit` for each personal field.
    fn personal_fields(&mut self, visit: Visit<'_>);

    /// Whom it is about besides, also where it carries nothing of theirs: an order's customer.
    fn about(&self) -> Option<Subject> {
        None
    }
}
