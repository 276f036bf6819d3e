//! From a body to commands. Pure: the same body, topic and context give the same commands.

mod bounds;
mod order;
mod shop;
mod values;

use chrono::{DateTime, Utc};
use domain::{Command, Currency, Digest, MoneyError, Version, ids::ShopifyShopId};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::ShopDomain;

/// Version of the translation. Raise it when a mended translation must replace what an older one made of a body.
pub const REVISION: u32 = 1;

/// What a translation may look at beside the body.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// `orders/create` …
    pub topic: &'a str,
    /// X-Shopify-Triggered-At.
    pub triggered_at: Option<DateTime<Utc>>,
    /// When the delivery reached us.
    pub received_at: DateTime<Utc>,
    /// The shop that the delivery names in its header.
    pub domain: &'a ShopDomain,
    /// Shopify's number of that shop, when it is known.
    pub shopify_id: Option<ShopifyShopId>,
    /// The shop's currency: for bodies that carry amounts without one.
    pub currency: Currency,
}

/// What a body means.
#[derive(Debug, Clone, PartialEq)]
pub enum Translation {
    /// It says this.
    Commands(Vec<Command>),
    /// It is kept and says nothing that is counted; why.
    Ignored(&'static str),
}

/// Why a body could not be read. No variant shows a value of the body: it may be a person's.
#[derive(Debug, thiserror::Error)]
pub enum TranslateError {
    /// Not JSON, or not of the topic's shape. The text names the place, never the value.
    #[error("the body is not what the topic promises: {0}")]
    Shape(String),
    /// A field without which the body says nothing.
    #[error("the body has no usable `{0}`")]
    Missing(&'static str),
    /// An amount, a quantity or a currency that cannot be one.
    #[error("`{field}` cannot be read: {source}")]
    Amount {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: MoneyError,
    },
    /// A time outside of 1970 to 9998.
    #[error("`{0}` is not a time that anything happens at")]
    Time(&'static str),
    /// The body speaks of another shop than its header.
    #[error("the body names another shop than the delivery's header")]
    OtherShop,
}

/// Reads a body.
///
/// # Errors
/// [`TranslateError`]: the delivery is kept with the reason and can be driven again once the translation is mended.
pub fn translate(context: &Context<'_>, body: &[u8]) -> Result<Translation, TranslateError> {
    let commands = match context.topic {
        "orders/create"
        | "orders/updated"
        | "orders/paid"
        | "orders/cancelled"
        | "orders/fulfilled"
        | "orders/partially_fulfilled" => order::snapshot(context, body)?,
        "orders/edited" => order::edit(context, body)?,
        "orders/delete" => order::deletion(context, body)?,
        "refunds/create" => order::refund(context, body)?,
        "shop/update" => shop::update(context, body)?,
        "app/uninstalled" => return shop::uninstall(context, body),
        _ => return Ok(Translation::Ignored("no figure depends on this topic")),
    };
    Ok(Translation::Commands(commands))
}

/// The digest by which deliveries of one body are known as such.
#[must_use]
pub fn body_digest(body: &[u8]) -> Digest {
    let hash: [u8; 32] = Sha256::digest(body).into();
    Digest(hash[..16].try_into().expect("16 of 32 bytes"))
}

fn version(context: &Context<'_>, updated_at: Option<DateTime<Utc>>, body: &[u8]) -> Version {
    Version { updated_at, triggered_at: context.triggered_at, digest: body_digest(body), revision: REVISION }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, TranslateError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    serde_json::from_slice(body).map_err(|error| {
        let kind = match error.classify() {
            serde_json::error::Category::Eof => "it ends too early",
            serde_json::error::Category::Syntax => "it is not JSON",
            serde_json::error::Category::Data => "a field has another type",
            serde_json::error::Category::Io => "it cannot be read",
        };
        TranslateError::Shape(format!("{kind}, line {} column {}", error.line(), error.column()))
    })
}
