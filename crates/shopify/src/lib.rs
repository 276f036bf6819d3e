//! Shopify's side of the wall: how its bodies look, how they are signed, and which commands they become.
//!
//! To take in a further topic: its shape in `payload/`, an arm in [`translate`], and bodies in its tests.

mod domain_name;
pub mod payload;
mod persons;
pub mod signature;
mod translate;

pub use domain_name::{InvalidShopDomain, ShopDomain};
pub use persons::{buyer_of, is_of_order, persons, persons_in_text, text_of};
pub use translate::{Context, ORDER_DOCUMENT, REVISION, TranslateError, Translation, body_digest, translate};
