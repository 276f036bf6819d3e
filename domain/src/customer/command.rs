//! What can be said of a customer.

use chrono::{DateTime, Utc};

use super::event::{Merge, Profile, Purchases};
use crate::{
    ids::CustomerId,
    personal::{Field, PersonalFields, Subject, Visit},
    version::Version,
};

/// A command to one customer.
#[derive(Debug, Clone, PartialEq)]
pub enum CustomerCommand {
    /// A body was seen.
    Observe {
        /// Of the body.
        version: Version,
        /// Whose it is: the subject of what is personal in it.
        id: CustomerId,
        /// What it says.
        profile: Box<Profile>,
    },
    /// A merge with another customer was seen.
    ObserveMerge {
        /// Of the body.
        version: Version,
        /// With whom.
        other: CustomerId,
        /// Which way, and whether it took place.
        merge: Merge,
    },
    /// Shopify's own counters were seen.
    ObservePurchases {
        /// Of the body.
        version: Version,
        /// What they say.
        purchases: Purchases,
    },
    /// The customer was deleted.
    ObserveDeletion {
        /// When that was triggered, if the delivery says.
        at: Option<DateTime<Utc>>,
    },
    /// The customer's key was destroyed, in the same transaction.
    Redact {
        /// By which redaction.
        redaction: String,
    },
}

impl PersonalFields for CustomerCommand {
    fn personal_fields(&mut self, visit: Visit<'_>) {
        if let Self::Observe { id, profile, .. } = self
            && let Some(person) = &mut profile.person
        {
            visit(Subject::Customer(*id), Field::CustomerPerson, person);
        }
    }
}
