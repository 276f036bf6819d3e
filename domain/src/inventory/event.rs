//! What happened to an inventory item.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::{command::Stored, ids::LocationId, money::Currency, personal::Personal, version::Version};

/// An event of an inventory item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum InventoryEvent {
    /// The newest body about the item says something new.
    ItemUpdated {
        /// Of the body.
        #[serde(rename = "v")]
        version: Version,
        /// What it says.
        terms: ItemTerms,
    },
    /// The newest body about the item says the same: kept because it may outrank a later arrival.
    ItemReaffirmed {
        /// Of the body.
        #[serde(rename = "v")]
        version: Version,
    },
    /// Stock at a location, as the newest body about it says; also when that is what the one before said.
    StockCounted {
        /// Of the body.
        #[serde(rename = "v")]
        version: Version,
        /// Where.
        #[serde(rename = "at")]
        location: LocationId,
        /// How much.
        level: Level,
    },
    /// The item was deleted.
    ItemDeleted {
        /// When that was triggered, if the delivery says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<DateTime<Utc>>,
    },
}

/// All of an item but its stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemTerms {
    /// Its stock is counted at all.
    pub tracked: bool,
    /// What a unit costs the shop. `None` is not zero: nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_minor: Option<i64>,
    /// The shop's.
    pub currency: Currency,
    /// Stock-keeping unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<Personal<String>>,
}

/// Stock at one location.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// Units: negative when more was sold than there was, `None` when nobody counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<i64>,
    /// The item is kept there.
    pub connected: bool,
}

impl DomainEvent for InventoryEvent {
    fn event_type(&self) -> String {
        match self {
            Self::ItemUpdated { .. } => "ItemUpdated",
            Self::ItemReaffirmed { .. } => "ItemReaffirmed",
            Self::StockCounted { .. } => "StockCounted",
            Self::ItemDeleted { .. } => "ItemDeleted",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Stored for InventoryEvent {
    fn knows(event_type: &str, event_version: &str) -> bool {
        let known = ["ItemUpdated", "ItemReaffirmed", "StockCounted", "ItemDeleted"];
        event_version == "1" && known.contains(&event_type)
    }
}
