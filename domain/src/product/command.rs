//! What can be said of a product.

use chrono::{DateTime, Utc};

use super::event::{ProductTerms, Variant};
use crate::{
    ids::VariantId,
    personal::{Field, PersonalFields, Subject, Visit},
    version::Version,
};

/// A command to one product.
#[derive(Debug, Clone, PartialEq)]
pub enum ProductCommand {
    /// A whole body was seen.
    Observe(Box<ObservedProduct>),
    /// A variant was seen on its own.
    ObserveVariant {
        /// Of the body.
        version: Version,
        /// Which variant.
        id: VariantId,
        /// What the body says of it.
        variant: Variant,
    },
    /// The product was deleted.
    ObserveDeletion {
        /// When that was triggered, if the delivery says.
        at: Option<DateTime<Utc>>,
    },
}

/// A product, as one body tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservedProduct {
    /// Of the body.
    pub version: Version,
    /// All but the variants.
    pub terms: ProductTerms,
    /// Those that the body describes.
    pub variants: Vec<(VariantId, Variant)>,
}

impl PersonalFields for ProductCommand {
    fn personal_fields(&mut self, visit: Visit<'_>) {
        match self {
            Self::Observe(seen) => {
                visit(Subject::Shop, Field::ProductText, &mut seen.terms.text);
                for (_, variant) in &mut seen.variants {
                    visit(Subject::Shop, Field::ProductVariantText, &mut variant.text);
                }
            }
            Self::ObserveVariant { variant, .. } => visit(Subject::Shop, Field::ProductVariantText, &mut variant.text),
            Self::ObserveDeletion { .. } => {}
        }
    }
}
