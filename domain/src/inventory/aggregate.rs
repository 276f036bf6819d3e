//! The join of what was observed of an inventory item.

use std::{collections::BTreeMap, convert::Infallible};

use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use super::{
    command::InventoryCommand,
    event::{InventoryEvent, ItemTerms, Level},
};
use crate::{
    ids::LocationId,
    join::{Member, is_newer, join_member},
};

/// Everything that was observed of an inventory item.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct InventoryItem {
    /// Of the greatest version.
    pub terms: Option<Member<ItemTerms>>,
    /// Union by location.
    pub levels: BTreeMap<LocationId, Member<Level>>,
    /// A tombstone that wins.
    pub deleted: bool,
}

impl InventoryItem {
    fn decide(&self, command: InventoryCommand) -> Option<InventoryEvent> {
        match command {
            InventoryCommand::Observe { version, terms } => match &self.terms {
                Some(known) if version <= known.version => None,
                Some(known) if terms == known.value => Some(InventoryEvent::ItemReaffirmed { version }),
                _ => Some(InventoryEvent::ItemUpdated { version, terms }),
            },
            InventoryCommand::ObserveLevel { version, location, level } => is_newer(&self.levels, &location, version)
                .then_some(InventoryEvent::StockCounted { version, location, level }),
            InventoryCommand::ObserveDeletion { at } => (!self.deleted).then_some(InventoryEvent::ItemDeleted { at }),
        }
    }
}

impl Aggregate for InventoryItem {
    const TYPE: &'static str = "inventory_item";
    type Command = InventoryCommand;
    type Event = InventoryEvent;
    type Error = Infallible; // Shopify is the authority: an observation is never refused
    type Services = ();

    async fn handle(&mut self, command: InventoryCommand, (): &(), sink: &EventSink<Self>) -> Result<(), Infallible> {
        if let Some(event) = self.decide(command) {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: InventoryEvent) {
        match event {
            InventoryEvent::ItemUpdated { version, terms } => Member::join(&mut self.terms, version, terms),
            InventoryEvent::ItemReaffirmed { version } => Member::vouch(&mut self.terms, version),
            InventoryEvent::StockCounted { version, location, level } => {
                join_member(&mut self.levels, version, location, level);
            }
            InventoryEvent::ItemDeleted { .. } => self.deleted = true,
        }
    }
}
