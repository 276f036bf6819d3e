//! Every command that a body can become: the one list of what the log is about.

use cqrs_es::{Aggregate, DomainEvent};

use crate::{
    ids::OrderId,
    order::{Order, OrderCommand},
    personal::{PersonalFields, Visit},
    shop::{Shop, ShopCommand},
};

/// A command and the stream that it is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// To the shop itself.
    Shop(ShopCommand),
    /// To one order.
    Order(OrderId, OrderCommand),
}

impl Command {
    /// Hands the command on with its aggregate's type and its id within the shop.
    pub fn dispatch<D: Dispatch>(self, to: D) -> D::Output {
        match self {
            Self::Shop(command) => to.dispatch::<Shop>(Shop::ID.to_owned(), command),
            Self::Order(id, command) => to.dispatch::<Order>(id.to_string(), command),
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
        A: Aggregate<Services = ()> + 'static,
        A::Command: PersonalFields + Send + Sync + 'static,
        A::Event: Stored,
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
        }
    }
}
