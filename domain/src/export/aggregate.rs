//! What may be done with an export, and when.

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use super::event::{Built, Chosen, ExportEvent, ExportRequest, Gone};
use crate::{
    personal::{PersonalFields, Visit},
    redaction::{Actor, Said},
};

/// An export.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Export {
    /// Whose data is asked for, and at whose word.
    pub request: Option<ExportRequest>,
    /// What is put together and can be fetched.
    pub built: Option<Built>,
    /// Why what was put together is there no more.
    pub gone: Option<Gone>,
    /// When it was first fetched: the request is answered since then.
    pub fetched_at: Option<DateTime<Utc>>,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportStatus {
    /// Several are known by what was asked with: somebody has to choose.
    Several,
    /// It is being put together.
    Waiting,
    /// It can be fetched.
    Ready,
    /// It can be fetched no more, and can be put together again.
    Expired,
    /// Somebody in it is erased.
    Redacted,
}

/// A command to one export.
#[derive(Debug, Clone, PartialEq)]
pub enum ExportCommand {
    /// Somebody is to be told. Asking twice is asking once.
    Request(ExportRequest),
    /// Who is meant of several.
    Choose(Chosen),
    /// It is put together.
    Build(Built),
    /// Somebody fetches it.
    Fetch {
        /// Who.
        by: Actor,
        /// In which form.
        form: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// What was put together goes.
    Drop {
        /// Why.
        why: Gone,
        /// When.
        at: DateTime<Utc>,
    },
    /// It is to be put together again.
    Renew(Said),
}

/// Why a command is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// Nobody asked for it.
    #[error("there is no such export")]
    Unknown,
    /// It is not known yet whose data it is to be.
    #[error("several are known by what was asked with: choose who is meant")]
    Several,
    /// There is nobody to be chosen from.
    #[error("it is known who is meant")]
    NotSeveral,
    /// Whoever is chosen is none of those who are known by what was asked with.
    #[error("choose among those who are known by what was asked with")]
    NotOneOfThem,
    /// Nothing is there to be fetched yet.
    #[error("it is being put together")]
    NotBuilt,
    /// Nothing is there any more.
    #[error("it is there no more: let it be put together again")]
    Expired,
    /// Nothing will be there again.
    #[error("somebody in it is erased")]
    Redacted,
}

impl Export {
    /// How it stands; `None` where nobody asked for it.
    #[must_use]
    pub fn status(&self) -> Option<ExportStatus> {
        let request = self.request.as_ref()?;
        Some(match (self.gone, &self.built) {
            (Some(Gone::Redacted), _) => ExportStatus::Redacted,
            _ if !request.several.is_empty() => ExportStatus::Several,
            (Some(Gone::Expired), _) => ExportStatus::Expired,
            (None, Some(_)) => ExportStatus::Ready,
            (None, None) => ExportStatus::Waiting,
        })
    }

    /// Nobody has been answered yet, and somebody still can be.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.request.is_some() && self.fetched_at.is_none() && self.gone != Some(Gone::Redacted)
    }

    fn decide(&self, command: ExportCommand) -> Result<Option<ExportEvent>, ExportError> {
        use ExportCommand as C;
        use ExportEvent as E;
        use ExportStatus as S;
        if let C::Request(request) = command {
            return Ok(self.request.is_none().then_some(E::ExportRequested(request)));
        }
        let status = self.status().ok_or(ExportError::Unknown)?;
        match (command, status) {
            (C::Choose(chosen), S::Several) => {
                let is_known = |subject| self.request.iter().any(|request| request.several.contains(subject));
                match chosen.subjects.iter().all(is_known) {
                    true => Ok(Some(E::ExportChosen(chosen))),
                    false => Err(ExportError::NotOneOfThem),
                }
            }
            (C::Choose(_), S::Waiting | S::Ready | S::Expired) => Err(ExportError::NotSeveral),
            (C::Fetch { .. } | C::Renew(_), S::Several) => Err(ExportError::Several),
            (C::Build(built), S::Waiting) => Ok(Some(E::ExportBuilt(built))),
            (C::Fetch { at, .. }, S::Ready) if self.built.as_ref().is_some_and(|built| at >= built.expires_at) => {
                Err(ExportError::Expired)
            }
            (C::Fetch { by, form, at }, S::Ready) => Ok(Some(E::ExportFetched { by, form, at })),
            (C::Fetch { .. }, S::Waiting) => Err(ExportError::NotBuilt),
            (C::Fetch { .. }, S::Expired) => Err(ExportError::Expired),
            (C::Fetch { .. } | C::Renew(_) | C::Choose(_), S::Redacted) => Err(ExportError::Redacted),
            (C::Drop { why: why @ Gone::Redacted, at }, S::Several | S::Waiting | S::Ready | S::Expired)
            | (C::Drop { why, at }, S::Ready) => Ok(Some(E::ExportGone { why, at })),
            (C::Drop { why, at }, S::Several) if self.built.is_some() => Ok(Some(E::ExportGone { why, at })),
            (C::Renew(said), S::Expired) => Ok(Some(E::ExportRenewed(said))),
            (C::Build(_) | C::Drop { .. } | C::Renew(_), _) => Ok(None),
            (C::Request(_), _) => unreachable!("decided above"),
        }
    }
}

impl Aggregate for Export {
    const TYPE: &'static str = "export";
    type Command = ExportCommand;
    type Event = ExportEvent;
    type Error = ExportError;
    type Services = ();

    async fn handle(&mut self, command: Self::Command, (): &(), sink: &EventSink<Self>) -> Result<(), ExportError> {
        if let Some(event) = self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: ExportEvent) {
        match event {
            ExportEvent::ExportRequested(request) => self.request = Some(request),
            ExportEvent::ExportChosen(chosen) => {
                if let Some(request) = &mut self.request {
                    request.several.clear();
                    request.subjects.extend(chosen.subjects);
                    request.subjects.sort_unstable();
                    request.subjects.dedup();
                }
                // An earlier release put together what named orders say, and took the list of several for an answer.
                (self.built, self.gone, self.fetched_at) = (None, None, None);
            }
            ExportEvent::ExportBuilt(built) => self.built = Some(built),
            ExportEvent::ExportFetched { at, .. } => self.fetched_at = self.fetched_at.or(Some(at)),
            ExportEvent::ExportGone { why, .. } => (self.built, self.gone) = (None, Some(why)),
            ExportEvent::ExportRenewed(_) => (self.built, self.gone) = (None, None),
        }
    }
}

impl PersonalFields for ExportCommand {
    fn personal_fields(&mut self, _: Visit<'_>) {}
}
