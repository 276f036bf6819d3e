//! The join, and the decision that emits only what the join changes.

use std::{collections::BTreeMap, convert::Infallible};

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use super::{
    agreement::Agreement,
    command::{ObservedOrder, OrderCommand},
    event::{OrderEvent, SnapshotNews},
    parts::{Edit, Fulfillment, Line, Refund, Return, ShippingLine, Status, Terms, Transaction},
};
use crate::{
    ids::{AgreementId, CustomerId, EditId, FulfillmentId, LineId, RefundId, ReturnId, ShippingLineId, TransactionId},
    join::{Listed, Member, Seen, earliest, is_newer, join_listed, join_member, join_seen, listed, listed_seen},
    version::Version,
};

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
    /// How each return stands. Union by id.
    pub return_states: BTreeMap<ReturnId, Member<String>>,
    /// What each return costs the buyer. Union by id: a body may tell of one and not of the other.
    pub return_fees: BTreeMap<ReturnId, Member<i64>>,
    /// Union by id.
    pub fulfillments: BTreeMap<FulfillmentId, Member<Fulfillment>>,
    /// Union by id.
    pub transactions: BTreeMap<TransactionId, Member<Transaction>>,
    /// What Shopify itself booked. Union by id.
    pub agreements: BTreeMap<AgreementId, Member<Agreement>>,
    /// The greatest `updatedAt` of a document that had agreements: up to then they tell all edits and cancellations.
    pub agreed_until: Option<DateTime<Utc>>,
    /// A tombstone that wins.
    pub deleted: bool,
    /// The buyer's key is destroyed.
    pub redacted: bool,
}

impl Order {
    fn decide(&self, command: OrderCommand) -> Vec<OrderEvent> {
        match command {
            OrderCommand::Observe(seen) => self.observe(*seen),
            OrderCommand::ObserveRefund { version, id, refund, .. } => {
                self.refund_news(version, id, refund).into_iter().collect()
            }
            // A later delivery of the same body says nothing new, but it may outrank another one: likewise below.
            OrderCommand::ObserveEdit { version, id, edit, .. } => {
                let news = is_newer(&self.edits, &id, version);
                news.then_some(OrderEvent::OrderEdited { version, id, edit }).into_iter().collect()
            }
            OrderCommand::ObserveFulfillment { version, id, fulfillment } => {
                let news = is_newer(&self.fulfillments, &id, version);
                news.then_some(OrderEvent::FulfillmentUpdated { version, id, fulfillment }).into_iter().collect()
            }
            OrderCommand::ObserveTransaction { version, id, transaction } => {
                let news = is_newer(&self.transactions, &id, version);
                news.then_some(OrderEvent::TransactionRecorded { version, id, transaction }).into_iter().collect()
            }
            OrderCommand::ObserveReturn { version, id, seen } => {
                let news = Return {
                    status: seen.status.filter(|_| is_newer(&self.return_states, &id, version)),
                    fees_minor: seen.fees_minor.filter(|_| is_newer(&self.return_fees, &id, version)),
                };
                let says_something = news != Return::default();
                says_something.then_some(OrderEvent::ReturnUpdated { version, id, seen: news }).into_iter().collect()
            }
            OrderCommand::ObserveDeletion { .. } if self.deleted => vec![],
            OrderCommand::ObserveDeletion { at } => vec![OrderEvent::OrderDeleted { at }],
            OrderCommand::Redact { .. } if self.redacted => vec![],
            OrderCommand::Redact { redaction } => vec![OrderEvent::OrderRedacted { redaction }],
        }
    }

    fn observe(&self, seen: ObservedOrder) -> Vec<OrderEvent> {
        let version = seen.version;
        let is_newest = self.newest.is_none_or(|known| version > known);
        let cancels = is_newest && self.status.cancelled_at.is_none() && seen.status.cancelled_at.is_some();

        let agreed = self.agreed_news(version, seen.agreements);
        let mut vouched = Vec::new();
        let mut refunds = Vec::new();
        for (id, refund) in seen.refunds {
            match self.refunds.get(&id) {
                Some(known) if version > known.version && refund == known.value => vouched.push(id),
                _ => refunds.extend(self.refund_news(version, id, refund)),
            }
        }
        let (mut return_states, mut return_fees) = (Vec::new(), Vec::new());
        for (id, Return { status, fees_minor }) in seen.returns {
            return_states.extend(status.map(|status| (id, status)));
            return_fees.extend(fees_minor.map(|fees| (id, fees)));
        }
        let customer_is_news = self.customer.as_ref().is_none_or(|known| version > known.version);
        let news = SnapshotNews {
            version,
            terms: (is_newest && self.terms.as_ref() != Some(&seen.terms)).then_some(seen.terms),
            status: (is_newest && self.status != seen.status).then_some(seen.status),
            customer: seen.customer.filter(|_| customer_is_news),
            lines: listed_seen(&self.lines, version, seen.lines),
            shipping_lines: listed_seen(&self.shipping_lines, version, seen.shipping_lines),
            refunds: vouched,
            return_states: listed(&self.return_states, version, return_states),
            return_fees: listed(&self.return_fees, version, return_fees),
            fulfillments: listed(&self.fulfillments, version, seen.fulfillments),
            transactions: listed(&self.transactions, version, seen.transactions),
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
        // Agreements come first: what they book is never derived in between.
        if self.newest.is_none() {
            agreed.into_iter().chain(snapshot).chain(refunds).collect()
        } else {
            agreed.into_iter().chain(refunds).chain(snapshot).collect()
        }
    }

    fn agreed_news(&self, version: Version, agreements: Vec<(AgreementId, Agreement)>) -> Option<OrderEvent> {
        let reaches_on = !agreements.is_empty() && version.updated_at > self.agreed_until;
        let agreements = listed(&self.agreements, version, agreements);
        (reaches_on || !agreements.is_empty()).then_some(OrderEvent::SalesAgreed { version, agreements })
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
        join_listed(&mut self.return_states, version, news.return_states);
        join_listed(&mut self.return_fees, version, news.return_fees);
        join_listed(&mut self.fulfillments, version, news.fulfillments);
        join_listed(&mut self.transactions, version, news.transactions);
    }
}

impl SnapshotNews {
    fn says_something(&self) -> bool {
        self.customer.is_some()
            || !(self.lines.is_empty()
                && self.shipping_lines.is_empty()
                && self.refunds.is_empty()
                && self.return_states.is_empty()
                && self.return_fees.is_empty()
                && self.fulfillments.is_empty()
                && self.transactions.is_empty())
    }

    fn changes_a_member(&self) -> bool {
        changes(&self.lines)
            || changes(&self.shipping_lines)
            || changes(&self.return_states)
            || changes(&self.return_fees)
            || changes(&self.fulfillments)
            || changes(&self.transactions)
    }
}

fn changes<Id, T>(listed: &[Listed<Id, T>]) -> bool {
    listed.iter().any(|member| member.value.is_some())
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
            OrderEvent::FulfillmentUpdated { version, id, fulfillment } => {
                join_member(&mut self.fulfillments, version, id, fulfillment);
            }
            OrderEvent::TransactionRecorded { version, id, transaction } => {
                join_member(&mut self.transactions, version, id, transaction);
            }
            OrderEvent::ReturnUpdated { version, id, seen } => {
                if let Some(status) = seen.status {
                    join_member(&mut self.return_states, version, id, status);
                }
                if let Some(fees) = seen.fees_minor {
                    join_member(&mut self.return_fees, version, id, fees);
                }
            }
            OrderEvent::SalesAgreed { version, agreements } => {
                join_listed(&mut self.agreements, version, agreements);
                self.agreed_until = self.agreed_until.max(version.updated_at);
            }
            OrderEvent::OrderDeleted { .. } => self.deleted = true,
            OrderEvent::OrderRedacted { .. } => self.redacted = true,
        }
    }
}
