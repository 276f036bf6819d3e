//! The join, and the decision that emits only what the join changes.

use std::{collections::BTreeMap, convert::Infallible};

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use super::{
    command::{ObservedOrder, OrderCommand},
    event::{Listed, OrderEvent, SnapshotNews},
    parts::{Edit, Line, Refund, Return, ShippingLine, Status, Terms},
};
use crate::{
    ids::{CustomerId, EditId, LineId, RefundId, ReturnId, ShippingLineId},
    version::Version,
};

/// A member of a union, with the version of the body that it came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member<T> {
    /// The greatest version that listed it.
    pub version: Version,
    /// What that body said.
    pub value: T,
}

/// A member of a union of which it also matters when it was there first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen<T> {
    /// The greatest version that listed it.
    pub version: Version,
    /// The least `updated_at` of a snapshot that listed it.
    pub first_seen: Option<DateTime<Utc>>,
    /// What the greatest one said.
    pub value: T,
}

/// Everything that was observed of an order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Order {
    /// The greatest version of a snapshot.
    pub newest: Option<Version>,
    /// The least `updated_at` of a snapshot.
    pub first_seen: Option<DateTime<Utc>>,
    /// Of the newest snapshot.
    pub terms: Option<Terms>,
    /// Of the newest snapshot.
    pub status: Status,
    /// Of the newest snapshot that names one.
    pub customer: Option<Member<CustomerId>>,
    /// Union by id.
    pub lines: BTreeMap<LineId, Seen<Line>>,
    /// Union by id.
    pub shipping_lines: BTreeMap<ShippingLineId, Seen<ShippingLine>>,
    /// Union by id.
    pub refunds: BTreeMap<RefundId, Member<Refund>>,
    /// Union by id.
    pub edits: BTreeMap<EditId, Member<Edit>>,
    /// Union by id.
    pub returns: BTreeMap<ReturnId, Member<Return>>,
    /// A tombstone that wins.
    pub deleted: bool,
}

impl Order {
    fn decide(&self, command: OrderCommand) -> Vec<OrderEvent> {
        match command {
            OrderCommand::Observe(seen) => self.observe(*seen),
            OrderCommand::ObserveRefund { version, id, refund, .. } => {
                self.refund_news(version, id, refund).into_iter().collect()
            }
            OrderCommand::ObserveEdit { version, id, edit, .. } => match self.edits.get(&id) {
                // The same body under a later delivery says nothing new, but it may outrank another one.
                Some(known) if version <= known.version => vec![],
                _ => vec![OrderEvent::OrderEdited { version, id, edit }],
            },
            OrderCommand::ObserveDeletion { .. } if self.deleted => vec![],
            OrderCommand::ObserveDeletion { at } => vec![OrderEvent::OrderDeleted { at }],
        }
    }

    fn observe(&self, seen: ObservedOrder) -> Vec<OrderEvent> {
        let version = seen.version;
        let is_newest = self.newest.is_none_or(|known| version > known);
        let cancels = is_newest && self.status.cancelled_at.is_none() && seen.status.cancelled_at.is_some();

        let mut vouched = Vec::new();
        let mut refunds = Vec::new();
        for (id, refund) in seen.refunds {
            match self.refunds.get(&id) {
                Some(known) if version > known.version && refund == known.value => vouched.push(id),
                _ => refunds.extend(self.refund_news(version, id, refund)),
            }
        }
        let customer_is_news = self.customer.as_ref().is_none_or(|known| version > known.version);
        let news = SnapshotNews {
            version,
            terms: (is_newest && self.terms.as_ref() != Some(&seen.terms)).then_some(seen.terms),
            status: (is_newest && self.status != seen.status).then_some(seen.status),
            customer: seen.customer.filter(|_| customer_is_news),
            lines: listed(&self.lines, version, seen.lines),
            shipping_lines: listed(&self.shipping_lines, version, seen.shipping_lines),
            refunds: vouched,
            returns: listed_members(&self.returns, version, seen.returns),
        };
        let is_earlier = match (version.updated_at, self.first_seen) {
            (Some(at), Some(known)) => at < known,
            (at, known) => at.is_some() && known.is_none(),
        };
        let says_something = is_newest || is_earlier || news.says_something();
        let snapshot = says_something.then(|| {
            let changes = news.terms.is_some() || news.status.is_some() || news.changes_a_member();
            let news = Box::new(news);
            match () {
                () if self.newest.is_none() => OrderEvent::OrderPlaced(news),
                () if cancels => OrderEvent::OrderCancelled(news),
                () if changes || !is_newest => OrderEvent::OrderRevised(news),
                () => OrderEvent::OrderReaffirmed(news),
            }
        });
        // An order is placed before it is refunded; a body that tells of a refund and of what followed from it,
        // a cancellation say, is told in that order. So each event's share of the ledger is its own doing.
        if self.newest.is_none() {
            snapshot.into_iter().chain(refunds).collect()
        } else {
            refunds.into_iter().chain(snapshot).collect()
        }
    }

    fn refund_news(&self, version: Version, id: RefundId, refund: Refund) -> Option<OrderEvent> {
        match self.refunds.get(&id) {
            None => Some(OrderEvent::RefundIssued { version, id, refund }),
            Some(known) if version > known.version => Some(OrderEvent::RefundRevised { version, id, refund }),
            Some(_) => None,
        }
    }

    fn join_snapshot(&mut self, news: SnapshotNews) {
        let version = news.version;
        if self.newest.is_none_or(|known| version > known) {
            self.newest = Some(version);
            if let Some(terms) = news.terms {
                self.terms = Some(terms);
            }
            if let Some(status) = news.status {
                self.status = status;
            }
        }
        self.first_seen = earliest(self.first_seen, version.updated_at);
        if let Some(value) = news.customer
            && self.customer.as_ref().is_none_or(|known| version > known.version)
        {
            self.customer = Some(Member { version, value });
        }
        join_seen(&mut self.lines, version, news.lines);
        join_seen(&mut self.shipping_lines, version, news.shipping_lines);
        for id in news.refunds {
            if let Some(known) = self.refunds.get_mut(&id) {
                known.version = known.version.max(version);
            }
        }
        for Listed { id, value } in news.returns {
            match (self.returns.get_mut(&id), value) {
                (Some(known), None) => known.version = known.version.max(version),
                (Some(known), Some(_)) if known.version >= version => {}
                (_, Some(value)) => {
                    self.returns.insert(id, Member { version, value });
                }
                (None, None) => {}
            }
        }
    }
}

impl SnapshotNews {
    fn says_something(&self) -> bool {
        self.customer.is_some()
            || !(self.lines.is_empty()
                && self.shipping_lines.is_empty()
                && self.refunds.is_empty()
                && self.returns.is_empty())
    }

    fn changes_a_member(&self) -> bool {
        self.lines.iter().any(|line| line.value.is_some())
            || self.shipping_lines.iter().any(|line| line.value.is_some())
            || self.returns.iter().any(|returned| returned.value.is_some())
    }
}

/// Of what a body lists: the members that are new, changed, vouched for by a greater version, or seen earlier.
fn listed<Id: Ord + Copy, T: PartialEq>(
    known: &BTreeMap<Id, Seen<T>>,
    version: Version,
    members: Vec<(Id, T)>,
) -> Vec<Listed<Id, T>> {
    let mut news = Vec::new();
    for (id, value) in members {
        match known.get(&id) {
            None => news.push(Listed { id, value: Some(value) }),
            Some(seen) if version > seen.version => {
                news.push(Listed { id, value: (seen.value != value).then_some(value) });
            }
            Some(seen) => {
                if earliest(seen.first_seen, version.updated_at) != seen.first_seen {
                    news.push(Listed { id, value: None });
                }
            }
        }
    }
    news
}

fn listed_members<Id: Ord + Copy, T: PartialEq>(
    known: &BTreeMap<Id, Member<T>>,
    version: Version,
    members: Vec<(Id, T)>,
) -> Vec<Listed<Id, T>> {
    members
        .into_iter()
        .filter(|(id, _)| known.get(id).is_none_or(|member| version > member.version))
        .map(|(id, value)| {
            let same = known.get(&id).is_some_and(|member| member.value == value);
            Listed { id, value: (!same).then_some(value) }
        })
        .collect()
}

fn join_seen<Id: Ord, T>(known: &mut BTreeMap<Id, Seen<T>>, version: Version, news: Vec<Listed<Id, T>>) {
    for Listed { id, value } in news {
        match (known.get_mut(&id), value) {
            (Some(seen), value) => {
                seen.first_seen = earliest(seen.first_seen, version.updated_at);
                if version > seen.version {
                    seen.version = version;
                    if let Some(value) = value {
                        seen.value = value;
                    }
                }
            }
            (None, Some(value)) => {
                known.insert(id, Seen { version, first_seen: version.updated_at, value });
            }
            (None, None) => {}
        }
    }
}

fn earliest(known: Option<DateTime<Utc>>, seen: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    match (known, seen) {
        (Some(known), Some(seen)) => Some(known.min(seen)),
        (known, seen) => known.or(seen),
    }
}

impl Aggregate for Order {
    const TYPE: &'static str = "order";
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Error = Infallible; // Shopify is the authority: an observation is never refused
    type Services = ();

    async fn handle(&mut self, command: OrderCommand, (): &(), sink: &EventSink<Self>) -> Result<(), Infallible> {
        for event in self.decide(command) {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: OrderEvent) {
        match event {
            OrderEvent::OrderPlaced(news)
            | OrderEvent::OrderRevised(news)
            | OrderEvent::OrderCancelled(news)
            | OrderEvent::OrderReaffirmed(news) => self.join_snapshot(*news),
            OrderEvent::RefundIssued { version, id, refund } | OrderEvent::RefundRevised { version, id, refund } => {
                join_member(&mut self.refunds, version, id, refund);
            }
            OrderEvent::OrderEdited { version, id, edit } => join_member(&mut self.edits, version, id, edit),
            OrderEvent::OrderDeleted { .. } => self.deleted = true,
        }
    }
}

fn join_member<Id: Ord, T>(known: &mut BTreeMap<Id, Member<T>>, version: Version, id: Id, value: T) {
    if known.get(&id).is_none_or(|member| version > member.version) {
        known.insert(id, Member { version, value });
    }
}
