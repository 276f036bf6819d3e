//! That somebody looked whether a person is known: whoever asks by an address learns from the answer whose it is, or that it is
//! nobody's, also where nothing comes of it. Each is a history of its own in the shop's log, of one event.
//!
//! Nothing here is personal: whoever was found is known by a number, and by what they were looked for is not kept.

use std::convert::Infallible;

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, DomainEvent, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use crate::{
    command::Stored,
    personal::{PersonalFields, Subject, Visit},
    redaction::Actor,
};

#[cfg(test)]
pub(crate) mod samples;

/// A look.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Lookup {
    /// Who looked for whom, and why.
    pub made: Option<LookedUp>,
}

/// Who looked for whom, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookedUp {
    /// By what: `customer`, `order`, `email` or `phone`.
    pub by_what: String,
    /// For what: `redaction` or `export`.
    pub purpose: String,
    /// Whom the answer named.
    pub found: Vec<Subject>,
    /// Why. Not who.
    pub reason: String,
    /// Who looked.
    pub by: Actor,
    /// When.
    pub at: DateTime<Utc>,
}

/// The event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum LookupEvent {
    /// Somebody looked, and was answered.
    PersonLookedUp(LookedUp),
}

/// The command.
#[derive(Debug, Clone, PartialEq)]
pub enum LookupCommand {
    /// Somebody looks.
    Make(LookedUp),
}

impl Aggregate for Lookup {
    const TYPE: &'static str = "lookup";
    type Command = LookupCommand;
    type Event = LookupEvent;
    type Error = Infallible;
    type Services = ();

    async fn handle(&mut self, command: Self::Command, (): &(), sink: &EventSink<Self>) -> Result<(), Infallible> {
        let LookupCommand::Make(made) = command;
        if self.made.is_none() {
            sink.write(LookupEvent::PersonLookedUp(made), self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: LookupEvent) {
        let LookupEvent::PersonLookedUp(made) = event;
        self.made = Some(made);
    }
}

impl DomainEvent for LookupEvent {
    fn event_type(&self) -> String {
        "PersonLookedUp".to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Stored for LookupEvent {
    fn knows(event_type: &str, event_version: &str) -> bool {
        (event_type, event_version) == ("PersonLookedUp", "1")
    }
}

impl PersonalFields for LookupCommand {
    fn personal_fields(&mut self, _: Visit<'_>) {}
}

#[cfg(test)]
mod tests {
    #[test]
    fn stored_bytes_are_held() {
        crate::samples::hold("lookup", &super::samples::samples(), &[]);
    }
}
