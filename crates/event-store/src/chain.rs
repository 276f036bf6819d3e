//! The hash chain: each event's hash covers the one before it and every column.

use chrono::{DateTime, Utc};
use domain::ShopId;
use sha2::{Digest, Sha256};

/// The hash before the first event of every shop.
pub const GENESIS: [u8; 32] = [0; 32];

/// What of an event is chained: every column but the hash itself.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// Whose log.
    pub shop: ShopId,
    /// 1, 2, 3 … without a gap.
    pub position: i64,
    /// To the microsecond.
    pub recorded_at: DateTime<Utc>,
    /// `order`, `shop` …
    pub aggregate_type: &'a str,
    /// Within the type.
    pub aggregate_id: &'a str,
    /// 1, 2, 3 … within the aggregate.
    pub sequence: i64,
    /// `OrderPlaced` …
    pub event_type: &'a str,
    /// `1` …
    pub event_version: &'a str,
    /// The stored bytes.
    pub payload: &'a str,
    /// The stored bytes.
    pub metadata: &'a str,
}

impl Link<'_> {
    /// SHA-256 over the previous hash and every column; each part is preceded by its length, so that no two rows that
    /// differ can be written the same way.
    #[must_use]
    pub fn hash(&self, previous: &[u8; 32]) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let mut add = |part: &[u8]| {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        };
        add(previous);
        add(self.shop.0.as_bytes());
        add(&self.position.to_be_bytes());
        add(&self.recorded_at.timestamp_micros().to_be_bytes());
        add(self.aggregate_type.as_bytes());
        add(self.aggregate_id.as_bytes());
        add(&self.sequence.to_be_bytes());
        add(self.event_type.as_bytes());
        add(self.event_version.as_bytes());
        add(self.payload.as_bytes());
        add(self.metadata.as_bytes());
        hasher.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_and_its_place_matter() {
        let link = Link {
            shop: ShopId(uuid::Uuid::from_u128(1)),
            position: 1,
            recorded_at: DateTime::from_timestamp_micros(1).unwrap(),
            aggregate_type: "order",
            aggregate_id: "7",
            sequence: 1,
            event_type: "OrderPlaced",
            event_version: "1",
            payload: "{}",
            metadata: "{}",
        };
        let variants = [
            link,
            Link { shop: ShopId(uuid::Uuid::from_u128(2)), ..link },
            Link { position: 2, ..link },
            Link { recorded_at: DateTime::from_timestamp_micros(2).unwrap(), ..link },
            Link { aggregate_type: "orde", aggregate_id: "r7", ..link },
            Link { sequence: 2, ..link },
            Link { event_type: "OrderPlaced1", event_version: "", ..link },
            Link { payload: "{ }", ..link },
            Link { payload: "{}{}", metadata: "", ..link },
        ];
        let mut hashes: Vec<_> = variants.iter().map(|link| link.hash(&GENESIS)).collect();
        hashes.push(link.hash(&[1; 32]));
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), variants.len() + 1);
    }
}
