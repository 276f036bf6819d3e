//! The join of what was observed of a customer.

use std::{collections::BTreeMap, convert::Infallible};

use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use super::{
    command::CustomerCommand,
    event::{CustomerEvent, Merge, Profile, Purchases},
};
use crate::{
    ids::CustomerId,
    join::{Member, is_newer, join_member},
    version::Version,
};

/// Everything that was observed of a customer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Customer {
    /// Of the greatest version.
    pub profile: Option<Member<Profile>>,
    /// Union by the other customer.
    pub merges: BTreeMap<CustomerId, Member<Merge>>,
    /// Shopify's counters, of the greatest version.
    pub purchases: Option<Member<Purchases>>,
    /// A tombstone that wins.
    pub deleted: bool,
    /// The key is destroyed.
    pub redacted: bool,
}

impl Customer {
    /// Who is the same person under another number, whichever of both stayed.
    pub fn merged_with(&self) -> impl Iterator<Item = CustomerId> {
        self.merges.iter().filter(|(_, member)| member.value.is_completed()).map(|(other, _)| *other)
    }

    fn decide(&self, command: CustomerCommand) -> Option<CustomerEvent> {
        let newer = |known: Option<Version>, version| known.is_none_or(|known| version > known);
        match command {
            CustomerCommand::Observe { version, profile, .. } => match &self.profile {
                Some(known) if version <= known.version => None,
                Some(known) if *profile == known.value => Some(CustomerEvent::CustomerReaffirmed { version }),
                _ => Some(CustomerEvent::CustomerUpdated { version, profile }),
            },
            CustomerCommand::ObserveMerge { version, other, merge } => is_newer(&self.merges, &other, version)
                .then_some(CustomerEvent::CustomerMerged { version, other, merge }),
            CustomerCommand::ObservePurchases { version, purchases } => {
                let known = self.purchases.as_ref().map(|known| known.version);
                newer(known, version).then_some(CustomerEvent::PurchasesCounted { version, purchases })
            }
            CustomerCommand::ObserveDeletion { at } => (!self.deleted).then_some(CustomerEvent::CustomerDeleted { at }),
            CustomerCommand::Redact { redaction } => {
                (!self.redacted).then_some(CustomerEvent::CustomerRedacted { redaction })
            }
        }
    }
}

impl Aggregate for Customer {
    const TYPE: &'static str = "customer";
    type Command = CustomerCommand;
    type Event = CustomerEvent;
    type Error = Infallible; // Shopify is the authority: an observation is never refused
    type Services = ();

    async fn handle(&mut self, command: CustomerCommand, (): &(), sink: &EventSink<Self>) -> Result<(), Infallible> {
        if let Some(event) = self.decide(command) {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: CustomerEvent) {
        match event {
            CustomerEvent::CustomerUpdated { version, profile } => {
                Member::join(&mut self.profile, version, *profile);
            }
            CustomerEvent::CustomerReaffirmed { version } => Member::vouch(&mut self.profile, version),
            CustomerEvent::CustomerMerged { version, other, merge } => {
                join_member(&mut self.merges, version, other, merge);
            }
            CustomerEvent::PurchasesCounted { version, purchases } => {
                Member::join(&mut self.purchases, version, purchases);
            }
            CustomerEvent::CustomerDeleted { .. } => self.deleted = true,
            CustomerEvent::CustomerRedacted { .. } => self.redacted = true,
        }
    }
}
