//! What can be said of an inventory item.

use chrono::{DateTime, Utc};

use super::event::{ItemTerms, Level};
use crate::{
    ids::LocationId,
    personal::{Field, PersonalFields, Subject, Visit},
    version::Version,
};

/// A command to one inventory item.
#[derive(Debug, Clone, PartialEq)]
pub enum InventoryCommand {
    /// A body about the item was seen.
    Observe {
        /// Of the body.
        version: Version,
        /// What it says.
        terms: ItemTerms,
    },
    /// A body about its stock at one location was seen.
    ObserveLevel {
        /// Of the body.
        version: Version,
        /// Where.
        location: LocationId,
        /// How much.
        level: Level,
    },
    /// The item was deleted.
    ObserveDeletion {
        /// When that was triggered, if the delivery says.
        at: Option<DateTime<Utc>>,
    },
}

impl PersonalFields for InventoryCommand {
    fn personal_fields(&mut self, visit: Visit<'_>) {
        if let Self::Observe { terms, .. } = self
            && let Some(sku) = &mut terms.sku
        {
            visit(Subject::Shop, Field::InventorySku, sku);
        }
    }
}
