//! Where an event came from. Values are strings: cqrs-es reads a map of them.

use std::collections::BTreeMap;

/// Metadata of a command: every event that it causes carries it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata(BTreeMap<&'static str, String>);

impl Metadata {
    /// `source` is `webhook`, `sync` or `command`.
    #[must_use]
    pub fn from_source(source: &str) -> Self {
        Self::default().with("source", source)
    }

    /// Adds one value: `webhook_id`, `body_digest`, `request_id`, `causation_id`, `correlation_id`, `actor` …
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.insert(key, value.into());
        self
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(&self.0).expect("a map of strings has a JSON form")
    }
}
