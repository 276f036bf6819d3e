//! What may be done with a grant, and when.

use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use super::event::{GrantEvent, Issued, Used};
use crate::{
    personal::{PersonalFields, Visit},
    redaction::{Actor, Said},
};

/// A grant.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Grant {
    /// To whom, why and for how long.
    pub issued: Option<Issued>,
    /// Who took it back.
    pub revoked_by: Option<Actor>,
    /// How often personal data was shown under it.
    pub uses: u64,
    /// The last time that it was.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A command to one grant.
#[derive(Debug, Clone, PartialEq)]
pub enum GrantCommand {
    /// Somebody may see personal data for a while.
    Issue(Issued),
    /// Not any more.
    Revoke(Said),
    /// Personal data is about to be shown.
    Use(Used),
}

/// Why a command is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// There is none.
    #[error("there is no such grant")]
    Unknown,
    /// The time that was asked for is not one that is granted.
    #[error("a grant is for at least one hour and at most 72")]
    Time,
    /// Nobody could make use of it.
    #[error("no good auditor's token of the shop has that id: `ecomdash token list` shows them")]
    NoAuditor,
    /// It was taken back, its time is over, or it is another's.
    #[error("the grant does not allow it: it is over, or another's")]
    NotAllowed,
}

impl Grant {
    /// No grant is for longer.
    pub const LONGEST: TimeDelta = TimeDelta::hours(72);

    /// Whether the holder of a token may see personal data at an instant.
    #[must_use]
    pub fn allows(&self, token: &str, at: DateTime<Utc>) -> bool {
        let issued = self.issued.as_ref().filter(|issued| issued.token == token);
        self.revoked_by.is_none() && issued.is_some_and(|issued| at < issued.until)
    }

    fn decide(&self, command: GrantCommand) -> Result<Option<GrantEvent>, GrantError> {
        use GrantCommand as C;
        use GrantEvent as E;
        match command {
            C::Issue(issued) => {
                let time = issued.until - issued.at;
                if time <= TimeDelta::zero() || time > Self::LONGEST {
                    return Err(GrantError::Time);
                }
                Ok(self.issued.is_none().then_some(E::GrantIssued(issued)))
            }
            _ if self.issued.is_none() => Err(GrantError::Unknown),
            C::Revoke(_) if self.revoked_by.is_some() => Ok(None),
            C::Revoke(said) => Ok(Some(E::GrantRevoked(said))),
            C::Use(used) if self.allows(&used.token, used.at) => Ok(Some(E::GrantUsed(used))),
            C::Use(_) => Err(GrantError::NotAllowed),
        }
    }
}

impl Aggregate for Grant {
    const TYPE: &'static str = "grant";
    type Command = GrantCommand;
    type Event = GrantEvent;
    type Error = GrantError;
    type Services = ();

    async fn handle(&mut self, command: Self::Command, (): &(), sink: &EventSink<Self>) -> Result<(), GrantError> {
        if let Some(event) = self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: GrantEvent) {
        match event {
            GrantEvent::GrantIssued(issued) => self.issued = Some(issued),
            GrantEvent::GrantRevoked(said) => self.revoked_by = Some(said.by),
            GrantEvent::GrantUsed(used) => {
                self.uses += 1;
                self.last_used_at = Some(used.at);
            }
        }
    }
}

impl PersonalFields for GrantCommand {
    fn personal_fields(&mut self, _: Visit<'_>) {}
}
