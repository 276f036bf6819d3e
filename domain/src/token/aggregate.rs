//! What may be done with a token.

use std::convert::Infallible;

use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use super::event::{Issued, TokenEvent};
use crate::{
    personal::{PersonalFields, Visit},
    redaction::Said,
};

/// A token.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Token {
    /// As what, for how long and why. Those of earlier releases are not in the log.
    pub issued: Option<Issued>,
    /// At whose word it ended, and why.
    pub revoked: Option<Said>,
}

/// A command to one token.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenCommand {
    /// Its holder may ask.
    Issue(Issued),
    /// Not any more. Twice is once.
    Revoke(Said),
}

impl Aggregate for Token {
    const TYPE: &'static str = "token";
    type Command = TokenCommand;
    type Event = TokenEvent;
    type Error = Infallible;
    type Services = ();

    async fn handle(&mut self, command: Self::Command, (): &(), sink: &EventSink<Self>) -> Result<(), Infallible> {
        match command {
            TokenCommand::Issue(issued) if self.issued.is_none() => {
                sink.write(TokenEvent::TokenIssued(issued), self).await;
            }
            TokenCommand::Revoke(said) if self.revoked.is_none() => {
                sink.write(TokenEvent::TokenRevoked(said), self).await;
            }
            _ => {}
        }
        Ok(())
    }

    fn apply(&mut self, event: TokenEvent) {
        match event {
            TokenEvent::TokenIssued(issued) => self.issued = Some(issued),
            TokenEvent::TokenRevoked(said) => self.revoked = Some(said),
        }
    }
}

impl PersonalFields for TokenCommand {
    fn personal_fields(&mut self, _: Visit<'_>) {}
}
