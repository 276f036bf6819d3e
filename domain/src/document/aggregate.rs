//! The aggregate, for every kind of document.

use std::{convert::Infallible, fmt::Debug};

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, DomainEvent, event_sink::EventSink};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    command::Stored,
    join::Member,
    personal::{PersonalFields, Subject, Visit},
    version::Version,
};

/// What a body says of a thing that Shopify sends whole.
pub trait Document:
    Clone + PartialEq + Debug + Serialize + DeserializeOwned + PersonalFields + Send + Sync + Unpin + 'static
{
    /// The aggregate's type: `location` …
    const TYPE: &'static str;
    /// How its events are called: `LocationUpdated`, `LocationReaffirmed`, `LocationDeleted`, `LocationRedacted`.
    const EVENTS: [&'static str; 4];
}

/// A command to one document.
#[derive(Debug, Clone, PartialEq)]
pub enum DocumentCommand<T> {
    /// A body was seen.
    Observe {
        /// Of the body.
        version: Version,
        /// What it says.
        value: T,
    },
    /// The thing was deleted.
    ObserveDeletion {
        /// When that was triggered, if the delivery says.
        at: Option<DateTime<Utc>>,
    },
    /// Somebody whom it names was erased.
    Redact {
        /// By which redaction.
        redaction: String,
    },
}

impl<T: PersonalFields> PersonalFields for DocumentCommand<T> {
    fn about(&self) -> Option<Subject> {
        match self {
            Self::Observe { value, .. } => value.about(),
            Self::ObserveDeletion { .. } | Self::Redact { .. } => None,
        }
    }

    fn personal_fields(&mut self, visit: Visit<'_>) {
        match self {
            Self::Observe { value, .. } => value.personal_fields(visit),
            Self::ObserveDeletion { .. } | Self::Redact { .. } => {}
        }
    }
}

/// An event of one document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum DocumentEvent<T> {
    /// The newest body says something new.
    Updated {
        /// Of the body.
        #[serde(rename = "v")]
        version: Version,
        /// What it says.
        #[serde(rename = "is")]
        value: T,
    },
    /// The newest body says the same: kept because it may outrank a later arrival.
    Reaffirmed {
        /// Of the body.
        #[serde(rename = "v")]
        version: Version,
    },
    /// The thing was deleted.
    Deleted {
        /// When that was triggered, if the delivery says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<DateTime<Utc>>,
    },
    /// Somebody whom it names was erased: what is sealed for them cannot be opened.
    Redacted {
        /// By which redaction.
        redaction: String,
    },
}

impl<T: Document> DomainEvent for DocumentEvent<T> {
    fn event_type(&self) -> String {
        let [updated, reaffirmed, deleted, redacted] = T::EVENTS;
        match self {
            Self::Updated { .. } => updated,
            Self::Reaffirmed { .. } => reaffirmed,
            Self::Deleted { .. } => deleted,
            Self::Redacted { .. } => redacted,
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl<T: Document> Stored for DocumentEvent<T> {
    fn knows(event_type: &str, event_version: &str) -> bool {
        event_version == "1" && T::EVENTS.contains(&event_type)
    }
}

/// All that is known of one document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observed<T> {
    /// What the greatest version says.
    pub newest: Option<Member<T>>,
    /// A tombstone that wins.
    pub deleted: bool,
    /// Somebody whom it names was erased.
    #[serde(default)]
    pub redacted: bool,
}

impl<T> Default for Observed<T> {
    fn default() -> Self {
        Self { newest: None, deleted: false, redacted: false }
    }
}

impl<T: Document> Observed<T> {
    fn decide(&self, command: DocumentCommand<T>) -> Option<DocumentEvent<T>> {
        match (command, &self.newest) {
            (DocumentCommand::ObserveDeletion { at }, _) => (!self.deleted).then_some(DocumentEvent::Deleted { at }),
            (DocumentCommand::Redact { redaction }, _) => {
                (!self.redacted).then_some(DocumentEvent::Redacted { redaction })
            }
            (DocumentCommand::Observe { version, .. }, Some(known)) if version <= known.version => None,
            (DocumentCommand::Observe { version, value }, Some(known)) if value == known.value => {
                Some(DocumentEvent::Reaffirmed { version })
            }
            (DocumentCommand::Observe { version, value }, _) => Some(DocumentEvent::Updated { version, value }),
        }
    }
}

impl<T: Document> Aggregate for Observed<T> {
    const TYPE: &'static str = T::TYPE;
    type Command = DocumentCommand<T>;
    type Event = DocumentEvent<T>;
    type Error = Infallible; // Shopify is the authority: an observation is never refused
    type Services = ();

    async fn handle(&mut self, command: Self::Command, (): &(), sink: &EventSink<Self>) -> Result<(), Infallible> {
        if let Some(event) = self.decide(command) {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Self::Event) {
        match event {
            DocumentEvent::Updated { version, value } => Member::join(&mut self.newest, version, value),
            DocumentEvent::Reaffirmed { version } => Member::vouch(&mut self.newest, version),
            DocumentEvent::Deleted { .. } => self.deleted = true,
            DocumentEvent::Redacted { .. } => self.redacted = true,
        }
    }
}
