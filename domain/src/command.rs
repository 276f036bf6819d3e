//! The one list of what the log is about: every command, whether a body becomes one or somebody gives it.

use cqrs_es::DomainEvent;

use crate::{
    checkout::Checkout,
    compliance::ComplianceRequest,
    customer::{Customer, CustomerCommand},
    discount::Discount,
    document::{DocumentCommand, Observed},
    draft_order::DraftOrder,
    export::{Export, ExportCommand},
    grant::{Grant, GrantCommand},
    ids::{CheckoutId, CustomerId, DiscountId, DraftOrderId, InventoryItemId, LocationId, OrderId, ProductId},
    inventory::{InventoryCommand, InventoryItem},
    location::Location,
    lookup::{Lookup, LookupCommand},
    order::{Order, OrderCommand},
    personal::{PersonalFields, Visit},
    product::{Product, ProductCommand},
    redaction::{Redaction, RedactionCommand},
    shop::{Shop, ShopCommand},
    snapshot::Snapshot,
    token::{Token, TokenCommand},
};

/// A command and the stream that it is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// To the shop itself.
    Shop(ShopCommand),
    /// To one order.
    Order(OrderId, OrderCommand),
    /// To one customer.
    Customer(CustomerId, CustomerCommand),
    /// To one product.
    Product(ProductId, ProductCommand),
    /// To one inventory item.
    InventoryItem(InventoryItemId, InventoryCommand),
    /// To one location.
    Location(LocationId, DocumentCommand<Location>),
    /// To one checkout.
    Checkout(CheckoutId, DocumentCommand<Checkout>),
    /// To one draft of an order.
    DraftOrder(DraftOrderId, DocumentCommand<DraftOrder>),
    /// To one discount.
    Discount(DiscountId, DocumentCommand<Discount>),
    /// To one request about somebody's data, known by what it asks for.
    Compliance(String, DocumentCommand<ComplianceRequest>),
    /// To one redaction, known by an id of ours.
    Redaction(String, RedactionCommand),
    /// To one export, known by an id of ours.
    Export(String, ExportCommand),
    /// To one grant, known by an id of ours.
    Grant(String, GrantCommand),
    /// To one token, known by its id.
    Token(String, TokenCommand),
    /// To one look for a person, known by an id of ours.
    Lookup(String, LookupCommand),
}

impl Command {
    /// Hands the command on with its aggregate's type and its id within the shop.
    pub fn dispatch<D: Dispatch>(self, to: D) -> D::Output {
        match self {
            Self::Shop(command) => to.dispatch::<Shop>(Shop::ID.to_owned(), command),
            Self::Order(id, command) => to.dispatch::<Order>(id.to_string(), command),
            Self::Customer(id, command) => to.dispatch::<Customer>(id.to_string(), command),
            Self::Product(id, command) => to.dispatch::<Product>(id.to_string(), command),
            Self::InventoryItem(id, command) => to.dispatch::<InventoryItem>(id.to_string(), command),
            Self::Location(id, command) => to.dispatch::<Observed<Location>>(id.to_string(), command),
            Self::Checkout(id, command) => to.dispatch::<Observed<Checkout>>(id.to_string(), command),
            Self::DraftOrder(id, command) => to.dispatch::<Observed<DraftOrder>>(id.to_string(), command),
            Self::Discount(id, command) => to.dispatch::<Observed<Discount>>(id.to_string(), command),
            Self::Compliance(id, command) => to.dispatch::<Observed<ComplianceRequest>>(id, command),
            Self::Redaction(id, command) => to.dispatch::<Redaction>(id, command),
            Self::Export(id, command) => to.dispatch::<Export>(id, command),
            Self::Grant(id, command) => to.dispatch::<Grant>(id, command),
            Self::Token(id, command) => to.dispatch::<Token>(id, command),
            Self::Lookup(id, command) => to.dispatch::<Lookup>(id, command),
        }
    }
}

/// Takes a command of whichever aggregate, e.g. to store what it decides.
pub trait Dispatch {
    /// What becomes of it.
    type Output;

    /// Takes a command of one aggregate.
    fn dispatch<A>(self, id: String, command: A::Command) -> Self::Output
    where
        A: Snapshot<Services = ()> + 'static,
        A::Command: PersonalFields + Send + Sync + 'static,
        A::Error: Send + Sync + 'static;
}

/// An event that is kept for ever: what of its past a build can read.
pub trait Stored: DomainEvent {
    /// Whether this build knows that version of that event. What it does not know is from a newer build.
    fn knows(event_type: &str, event_version: &str) -> bool;

    /// Reads stored bytes; older versions become the newest here.
    ///
    /// # Errors
    /// When the bytes do not have the shape of their type and version.
    fn from_stored(_event_type: &str, _event_version: &str, payload: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(payload)
    }
}

impl PersonalFields for Command {
    fn personal_fields(&mut self, visit: Visit<'_>) {
        match self {
            Self::Shop(command) => command.personal_fields(visit),
            Self::Order(_, command) => command.personal_fields(visit),
            Self::Customer(_, command) => command.personal_fields(visit),
            Self::Product(_, command) => command.personal_fields(visit),
            Self::InventoryItem(_, command) => command.personal_fields(visit),
            Self::Location(_, command) => command.personal_fields(visit),
            Self::Checkout(_, command) => command.personal_fields(visit),
            Self::DraftOrder(_, command) => command.personal_fields(visit),
            Self::Discount(_, command) => command.personal_fields(visit),
            Self::Compliance(_, command) => command.personal_fields(visit),
            Self::Redaction(_, command) => command.personal_fields(visit),
            Self::Export(_, command) => command.personal_fields(visit),
            Self::Grant(_, command) => command.personal_fields(visit),
            Self::Token(_, command) => command.personal_fields(visit),
            Self::Lookup(_, command) => command.personal_fields(visit),
        }
    }
}
