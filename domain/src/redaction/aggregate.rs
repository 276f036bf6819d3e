//! What may be done with a redaction, and when.

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use super::event::{Actor, Erased, Receipt, RedactionEvent, Request, Said};
use crate::personal::{PersonalFields, Visit};

/// Who asks, where Shopify does.
pub const WEBHOOK: &str = "webhook";

/// A redaction.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Redaction {
    /// Who is to be erased, and at whose word.
    pub request: Option<Request>,
    /// Why it must not be, if the law says so.
    pub hold: Option<String>,
    /// Who said so.
    pub held_by: Option<Actor>,
    /// What was odd about the request, while the law keeps it from being done: nobody has looked yet.
    #[serde(default)]
    pub oddity: Option<String>,
    /// Who said that it is not to be waited with.
    pub confirmed_by: Option<Actor>,
    /// Since when it is not to be.
    pub cancelled_at: Option<DateTime<Utc>>,
    /// What was erased.
    pub erased: Option<Erased>,
    /// What was looked at afterwards.
    pub receipt: Option<Receipt>,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is waited with.
    Waiting,
    /// It must not be done for now.
    Held,
    /// It is not to be.
    Cancelled,
    /// The keys are destroyed.
    Erased,
    /// And a receipt says so.
    Certified,
}

/// A command to one redaction.
#[derive(Debug, Clone, PartialEq)]
pub enum RedactionCommand {
    /// Somebody is to be erased. Asking twice is asking once.
    Request(Request),
    /// Must not be, for now.
    Hold {
        /// Which law or case.
        reason: String,
        /// Who says so.
        by: Actor,
        /// When.
        at: DateTime<Utc>,
    },
    /// May be again.
    Release(Said),
    /// Is not to be waited with, says another person than who asked.
    Confirm(Said),
    /// Is not to be.
    Cancel(Said),
    /// The keys are destroyed, in the same transaction.
    Erase(Erased),
    /// What was looked at afterwards.
    Certify(Receipt),
}

/// Why a command is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedactionError {
    /// Nobody asked for it.
    #[error("there is no such redaction")]
    Unknown,
    /// It is done already.
    #[error("it is done: what is erased cannot be had back")]
    Done,
    /// It was cancelled.
    #[error("it was cancelled")]
    Cancelled,
    /// The law says that it must not be done.
    #[error("a legal hold is on it")]
    Held,
    /// It is still waited with.
    #[error("it is not due yet")]
    NotDue,
    /// Whoever asked cannot confirm.
    #[error("another person than who asked for it has to confirm it")]
    SamePerson,
}

impl Redaction {
    /// How it stands; `None` where nobody asked for it.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.request.as_ref()?;
        Some(match self {
            Self { receipt: Some(_), .. } => Status::Certified,
            Self { erased: Some(_), .. } => Status::Erased,
            Self { cancelled_at: Some(_), .. } => Status::Cancelled,
            Self { hold: Some(_), .. } => Status::Held,
            _ => Status::Waiting,
        })
    }

    /// When it may be done, unless something is in the way; `None` where nobody asked for it, or nobody has confirmed yet what
    /// has to be confirmed.
    #[must_use]
    pub fn due_at(&self) -> Option<DateTime<Utc>> {
        let request = self.request.as_ref()?;
        match &self.confirmed_by {
            Some(_) => Some(request.at),
            None => (!request.needs_confirmation).then_some(request.due_at),
        }
    }

    /// It is held by somebody's word, not because a request was odd.
    #[must_use]
    pub fn is_legally_held(&self) -> bool {
        self.status() == Some(Status::Held) && self.held_by.as_deref() != Some(WEBHOOK)
    }

    /// It is neither cancelled nor certified.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.status(), Some(Status::Waiting | Status::Held | Status::Erased))
    }

    fn decide(&self, command: RedactionCommand) -> Result<Option<RedactionEvent>, RedactionError> {
        use RedactionCommand as C;
        use RedactionEvent as E;
        if let C::Request(request) = command {
            return Ok(self.request.is_none().then_some(E::RedactionRequested(request)));
        }
        let request = self.request.as_ref().ok_or(RedactionError::Unknown)?;
        if let C::Certify(receipt) = command {
            self.erased.as_ref().ok_or(RedactionError::NotDue)?;
            return Ok(self.receipt.is_none().then_some(E::RedactionCertified(receipt)));
        }
        if self.erased.is_some() {
            return if matches!(command, C::Erase(_)) { Ok(None) } else { Err(RedactionError::Done) };
        }
        if self.cancelled_at.is_some() {
            return if matches!(command, C::Cancel(_)) { Ok(None) } else { Err(RedactionError::Cancelled) };
        }
        Ok(Some(match command {
            // Each is lifted by itself: a second one would go with the first.
            C::Hold { .. } if self.is_legally_held() => return Err(RedactionError::Held),
            C::Hold { reason, by, at } => E::RedactionHeld { reason, by, at },
            C::Release(_) if self.hold.is_none() => return Ok(None),
            C::Release(said) => E::RedactionReleased(said),
            C::Confirm(said) if said.by == request.by => return Err(RedactionError::SamePerson),
            C::Confirm(_) if self.confirmed_by.is_some() => return Ok(None),
            C::Confirm(said) => E::RedactionConfirmed(said),
            // The hold is on the person: it must not end unseen, with a request that it was put on.
            C::Cancel(_) if self.is_legally_held() => return Err(RedactionError::Held),
            C::Cancel(said) => E::RedactionCancelled(said),
            C::Erase(_) if self.hold.is_some() => return Err(RedactionError::Held),
            C::Erase(erased) if self.due_at().is_none_or(|due| erased.at < due) => return Err(RedactionError::NotDue),
            C::Erase(erased) => E::SubjectsErased(erased),
            C::Request(_) | C::Certify(_) => unreachable!("decided above"),
        }))
    }
}

impl Aggregate for Redaction {
    const TYPE: &'static str = "redaction";
    type Command = RedactionCommand;
    type Event = RedactionEvent;
    type Error = RedactionError;
    type Services = ();

    async fn handle(&mut self, command: Self::Command, (): &(), sink: &EventSink<Self>) -> Result<(), RedactionError> {
        if let Some(event) = self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: RedactionEvent) {
        match event {
            RedactionEvent::RedactionRequested(request) => self.request = Some(request),
            RedactionEvent::RedactionHeld { reason, by, .. } => {
                if self.held_by.as_deref() == Some(WEBHOOK) && by != WEBHOOK {
                    self.oddity = self.hold.take();
                }
                (self.hold, self.held_by) = (Some(reason), Some(by));
            }
            RedactionEvent::RedactionReleased(_) => {
                self.hold = self.oddity.take();
                self.held_by = self.hold.is_some().then(|| WEBHOOK.to_owned());
            }
            RedactionEvent::RedactionConfirmed(said) => self.confirmed_by = Some(said.by),
            RedactionEvent::RedactionCancelled(said) => self.cancelled_at = Some(said.at),
            RedactionEvent::SubjectsErased(erased) => self.erased = Some(erased),
            RedactionEvent::RedactionCertified(receipt) => self.receipt = Some(receipt),
        }
    }
}

impl PersonalFields for RedactionCommand {
    fn personal_fields(&mut self, _: Visit<'_>) {}
}
