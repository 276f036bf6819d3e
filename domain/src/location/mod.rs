//! A place that stock lies at: a [`Document`].

#[cfg(test)]
pub(crate) mod samples;

use serde::{Deserialize, Serialize};

use crate::{
    document::Document,
    personal::{Field, Personal, PersonalFields, Subject, Visit},
};

/// What a body says of a location.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// Stock at it counts.
    pub active: bool,
    /// ISO country.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Region code within that country.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// What the shop calls it, and where it is.
    pub place: Personal<Place>,
}

/// A location's name and address.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Place {
    /// As the shop calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Street, postal code, city.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// As typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
}

impl PersonalFields for Location {
    fn personal_fields(&mut self, visit: Visit<'_>) {
        visit(Subject::Shop, Field::LocationPlace, &mut self.place);
    }
}

impl Document for Location {
    const TYPE: &'static str = "location";
    const EVENTS: [&'static str; 4] = ["LocationUpdated", "LocationReaffirmed", "LocationDeleted", "LocationRedacted"];
}
