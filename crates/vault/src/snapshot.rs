//! Sealing the states of aggregates.

use crate::{ShopKey, VaultError};

/// What a snapshot is of: sealed for one, it opens for no other.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotOf<'a> {
    /// `order`, `shop` …
    pub aggregate_type: &'a str,
    /// Within the type.
    pub aggregate_id: &'a str,
    /// Of the last event that is in it.
    pub sequence: i64,
    /// Of that event.
    pub hash: &'a [u8],
    /// Of the form of the state and of the fold that made it.
    pub state_version: i64,
}

impl SnapshotOf<'_> {
    /// Each part is preceded by its length, so that no two lists are alike. The shop is in the key.
    fn binding(&self) -> Vec<u8> {
        let mut binding = b"snapshot".to_vec();
        for part in [
            self.aggregate_type.as_bytes(),
            self.aggregate_id.as_bytes(),
            &self.sequence.to_be_bytes(),
            self.hash,
            &self.state_version.to_be_bytes(),
        ] {
            binding.extend((part.len() as u64).to_be_bytes());
            binding.extend(part);
        }
        binding
    }
}

impl ShopKey {
    /// Seals a state, whose personal values are sealed under their subjects' keys already: so a snapshot says nothing to
    /// whoever lacks the shop's key, and no more than the events do to whoever has it.
    #[must_use]
    pub fn seal_snapshot(&self, of: &SnapshotOf<'_>, state: &[u8]) -> Vec<u8> {
        self.snapshots().seal(&of.binding(), state)
    }

    /// The state again.
    ///
    /// # Errors
    /// [`VaultError::DoesNotOpen`] when it was changed, or is of something else.
    pub fn open_snapshot(&self, of: &SnapshotOf<'_>, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        self.snapshots().open(&of.binding(), sealed)
    }
}

#[cfg(test)]
mod tests {
    use domain::ShopId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_snapshot_opens_only_as_what_it_is_of() {
        let shop = ShopKey::generate(ShopId(Uuid::from_u128(1))).unwrap();
        let of =
            SnapshotOf { aggregate_type: "shop", aggregate_id: "7", sequence: 100, hash: &[1; 32], state_version: 5 };
        let sealed = shop.seal_snapshot(&of, b"state");
        assert_eq!(shop.open_snapshot(&of, &sealed).unwrap(), b"state");
        let others = [
            SnapshotOf { aggregate_type: "sho", aggregate_id: "p7", ..of },
            SnapshotOf { aggregate_id: "8", ..of },
            SnapshotOf { sequence: 101, ..of },
            SnapshotOf { hash: &[2; 32], ..of },
            SnapshotOf { hash: &[1; 31], ..of },
            SnapshotOf { state_version: 6, ..of },
        ];
        for other in others {
            assert_eq!(shop.open_snapshot(&other, &sealed), Err(VaultError::DoesNotOpen), "{other:?}");
        }
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(shop.open_snapshot(&of, &changed), Err(VaultError::DoesNotOpen), "byte {index}");
        }
        let elsewhere = ShopKey::from_secret(ShopId(Uuid::from_u128(2)), &shop.secret().0).unwrap();
        assert_eq!(elsewhere.open_snapshot(&of, &sealed), Err(VaultError::DoesNotOpen), "another shop's");
    }
}
