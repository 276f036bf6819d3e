//! Legal holds: each is put on one redaction, and stops every other one of the same person, and that of the shop.

use std::collections::BTreeSet;

use domain::{
    Subject,
    redaction::{Redaction, Request, Status},
};
use event_store::{ShopTx, StoreError};
use serde::Serialize;

use crate::{Named, open};

/// A legal hold that is on another redaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OtherHold {
    /// That redaction.
    pub redaction: String,
    /// Which law or case.
    pub reason: String,
}

/// The redactions of a shop that the law keeps from being done.
pub struct LegalHolds(Vec<(String, Redaction)>);

impl LegalHolds {
    /// As they stand.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of(tx: &mut ShopTx) -> Result<Self, StoreError> {
        let mut held = open(tx).await?;
        held.retain(|(_, redaction)| redaction.is_legally_held());
        Ok(Self(held))
    }

    /// The one that is in the way of erasing all of `subjects`, which [`Named`] has put together: on one of them, or for a whole shop
    /// on anybody.
    #[must_use]
    pub fn against(&self, own: &str, subjects: &BTreeSet<Subject>) -> Option<OtherHold> {
        let is_meant = |request: &Request| {
            subjects.contains(&Subject::Shop) || request.subjects.iter().any(|subject| subjects.contains(subject))
        };
        let mut others = self.0.iter().filter(|(id, _)| id != own);
        let (id, redaction) = others.find(|(_, other)| other.request.as_ref().is_some_and(is_meant))?;
        Some(OtherHold { redaction: id.clone(), reason: redaction.hold.clone().unwrap_or_default() })
    }

    /// The one that is in the way of a redaction that waits.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn on(&self, tx: &mut ShopTx, id: &str, redaction: &Redaction) -> Result<Option<OtherHold>, StoreError> {
        let request = redaction.request.as_ref().filter(|_| redaction.status() == Some(Status::Waiting));
        match request {
            // Nearly always there is none.
            Some(request) if !self.0.is_empty() => {
                let named = Named::of(tx, request.subjects.iter().copied()).await?;
                Ok(self.against(id, &named.subjects))
            }
            _ => Ok(None),
        }
    }
}
