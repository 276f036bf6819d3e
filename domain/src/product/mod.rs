//! A product with its variants.
//!
//! A join like every aggregate: the product's terms are of the greatest version, variants a union by id. Which variants
//! exist is a term: a body lists them all, though it describes the first hundred only.

mod aggregate;
mod command;
mod event;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

pub use aggregate::Product;
pub use command::{ObservedProduct, ProductCommand};
pub use event::{ProductEvent, ProductNews, ProductTerms, ProductText, Variant, VariantText};
