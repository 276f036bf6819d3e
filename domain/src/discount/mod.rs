//! A discount as the shop set it up; what it took off is told by orders. A [`Document`].

#[cfg(test)]
pub(crate) mod samples;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    document::Document,
    personal::{Field, Personal, PersonalFields, Subject, Visit},
};

/// What a body says of a discount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discount {
    /// `DiscountAutomaticNode`, `DiscountCodeNode` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `ACTIVE`, `EXPIRED`, `SCHEDULED`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// When staff made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    /// What the shop calls it: it may be a code with somebody's address in it.
    pub title: Personal<String>,
}

impl PersonalFields for Discount {
    fn personal_fields(&mut self, visit: Visit<'_>) {
        visit(Subject::Shop, Field::DiscountTitle, &mut self.title);
    }
}

impl Document for Discount {
    const TYPE: &'static str = "discount";
    const EVENTS: [&'static str; 4] = ["DiscountUpdated", "DiscountReaffirmed", "DiscountDeleted", "DiscountRedacted"];
}
