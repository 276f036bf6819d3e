//! A sample of every event: its stored bytes never change, whatever becomes of the types.

use super::Location;
use crate::{
    document::{DocumentEvent, samples::of},
    personal::{Personal, Sealed, Subject},
};

/// Every event, with every field filled.
#[must_use]
pub fn samples() -> Vec<DocumentEvent<Location>> {
    of(Location {
        active: true,
        country: Some("CA".to_owned()),
        region: Some("ON".to_owned()),
        place: Personal::Sealed(Sealed { subject: Subject::Shop, bytes: "c2VhbGVkIGJ5dGVz".to_owned() }),
    })
}
