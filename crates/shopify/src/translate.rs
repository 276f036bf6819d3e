//! From a body to commands. Pure: the same body, topic and context give the same commands.

mod admin_order;
mod bounds;
mod catalogue;
mod customer;
mod order;
mod shop;
mod values;

use chrono::{DateTime, Utc};
use domain::{Command, Currency, Digest, MoneyError, Version, compliance::ComplianceKind, ids::ShopifyShopId};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::ShopDomain;

/// Version of the translation. Raise it when a mended translation must replace what an older one made of a body.
pub const REVISION: u32 = 3;

/// The topic of an order that comes as a document of the Admin API. No webhook has it.
pub const ORDER_DOCUMENT: &str = "sync/order";

/// What a translation may look at beside the body.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// `orders/create` …
    pub topic: &'a str,
    /// X-Shopify-Triggered-At.
    pub triggered_at: Option<DateTime<Utc>>,
    /// When the delivery reached us.
    pub received_at: DateTime<Utc>,
    /// By which the body is known: it decides between bodies of one instant.
    pub digest: Digest,
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
        | "orders/partially_fulfilled"
        | "orders/link_requested" => order::snapshot(context, body)?,
        ORDER_DOCUMENT => admin_order::document(context, body)?,
        "orders/edited" => order::edit(context, body)?,
        "orders/delete" => order::deletion(context, body)?,
        "refunds/create" => order::refund(context, body)?,
        "fulfillments/create" | "fulfillments/update" => order::parcel(context, body)?,
        "order_transactions/create" => order::payment(context, body)?,
        "returns/request" | "returns/approve" | "returns/process" | "returns/decline" | "returns/close"
        | "returns/reopen" | "returns/cancel" => order::returned(context, body)?,
        "returns/update" => {
            return Ok(Translation::Ignored("it names neither order nor amounts: the order's own body does"));
        }
        "customers/create" | "customers/update" | "customers/enable" | "customers/disable" => {
            customer::profile(context, body)?
        }
        "customers/delete" => customer::deletion(context, body)?,
        "customers/merge" => customer::merge(context, body)?,
        "customers/purchasing_summary" => customer::purchases(context, body)?,
        "customers/data_request" | "customer/data_request" => {
            customer::request(context, ComplianceKind::CustomerData, body)?
        }
        "customers/redact" | "customer/redact" => customer::request(context, ComplianceKind::CustomerRedaction, body)?,
        "shop/redact" => customer::request(context, ComplianceKind::ShopRedaction, body)?,
        "checkouts/create" | "checkouts/update" => customer::checkout(context, body)?,
        "checkouts/delete" => customer::checkout_deletion(context, body)?,
        "draft_orders/create" | "draft_orders/update" => customer::draft_order(context, body)?,
        "draft_orders/delete" => customer::draft_order_deletion(context, body)?,
        "products/create" | "products/update" => catalogue::product(context, body)?,
        "products/delete" => catalogue::product_deletion(context, body)?,
        "variants/in_stock" | "variants/out_of_stock" => catalogue::variant_alone(context, body)?,
        "inventory_items/create" | "inventory_items/update" => catalogue::inventory_item(context, body)?,
        "inventory_items/delete" => catalogue::inventory_item_deletion(context, body)?,
        "inventory_levels/connect" | "inventory_levels/update" | "inventory_levels/disconnect" => {
            catalogue::inventory_level(context, body)?
        }
        "locations/create" | "locations/update" | "locations/activate" | "locations/deactivate" => {
            catalogue::location(context, body)?
        }
        "locations/delete" => catalogue::location_deletion(context, body)?,
        "discounts/create" | "discounts/update" => catalogue::discount(context, body)?,
        "discounts/delete" => catalogue::discount_deletion(context, body)?,
        "app/scopes_update" => shop::scopes(context, body)?,
        "shop/update" => shop::update(context, body)?,
        "app/uninstalled" => return shop::uninstall(context, body),
        _ => return Ok(Translation::Ignored("no figure depends on this topic")),
    };
    Ok(Translation::Commands(commands))
}

/// A digest of a body's bytes that anybody could make.
#[must_use]
pub fn body_digest(body: &[u8]) -> Digest {
    let hash: [u8; 32] = Sha256::digest(body).into();
    Digest(hash[..16].try_into().expect("16 of 32 bytes"))
}

fn version(context: &Context<'_>, updated_at: Option<DateTime<Utc>>) -> Version {
    let Context { triggered_at, digest, .. } = *context;
    Version { updated_at, triggered_at, digest, revision: REVISION }
}

/// Of a body that is read: the largest orders have a tenth of it.
const MAX_PARTS: usize = 250_000;

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, TranslateError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    // An empty part of a list costs three bytes to send, and hundreds to hold.
    if body.iter().filter(|byte| **byte == b'{').count() > MAX_PARTS {
        return Err(TranslateError::Shape(format!("it has more than {MAX_PARTS} parts")));
    }
    serde_json::from_slice(body).map_err(|error| {
        let kind = match error.classify() {
            serde_json::error::Category::Eof => "it ends too early",
            serde_json::error::Category::Syntax => "it is not JSON",
            serde_json::error::Category::Data => "a field has another type or is there twice",
            serde_json::error::Category::Io => "it cannot be read",
        };
        TranslateError::Shape(format!("{kind}, line {} column {}", error.line(), error.column()))
    })
}
