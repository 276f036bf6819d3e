//! Sealing a command's personal fields before it is decided.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use domain::{PersonalFields, Subject};

use crate::{ContactKey, ShopKey, SubjectKey, VaultError};

/// What is known of a subject's key, read under the shop's lock.
#[derive(Debug, Clone)]
pub enum SubjectState {
    /// Alive.
    Key(SubjectKey),
    /// Destroyed: nothing of this subject is kept again.
    Redacted,
}

/// What a command's personal fields tell of persons.
#[derive(Debug, Default)]
pub struct Named {
    /// Whose they are.
    pub subjects: BTreeSet<Subject>,
    /// Those of them that are redacted.
    pub redacted: BTreeSet<Subject>,
    /// By which keyed digests they can be found.
    pub contacts: Vec<([u8; 16], Subject)>,
}

/// Seals personal fields of one shop. Subjects that have no key yet get one, which the caller must store.
pub struct Sealer {
    /// `None` once the shop is erased: then so is everybody in it.
    shop_key: Option<ShopKey>,
    subjects: BTreeMap<Subject, SubjectState>,
    created: Vec<(Subject, Vec<u8>)>,
}

impl Sealer {
    /// A sealer that knows no subject yet; without a key, whatever is personal becomes redacted.
    #[must_use]
    pub fn new(shop_key: Option<ShopKey>) -> Self {
        Self { shop_key, subjects: BTreeMap::new(), created: Vec::new() }
    }

    /// Takes in a row of the key table: the wrapped key, or `None` where it was destroyed.
    ///
    /// # Errors
    /// [`VaultError::DoesNotOpen`] when the wrapped key is not this shop's and subject's.
    pub fn know(&mut self, subject: Subject, wrapped: Option<&[u8]>) -> Result<(), VaultError> {
        let state = match (wrapped, &self.shop_key) {
            (Some(wrapped), Some(shop_key)) => SubjectState::Key(shop_key.unwrap_subject(subject, wrapped)?),
            _ => SubjectState::Redacted,
        };
        self.subjects.insert(subject, state);
        Ok(())
    }

    /// Every subject of a command's fields.
    pub fn subjects_of(command: &mut dyn PersonalFields, mut each: impl FnMut(Subject)) {
        command.personal_fields(&mut |subject, _, _| each(subject));
        command.about().into_iter().for_each(each);
    }

    /// Takes in that a subject is redacted from here on. A key that was made for it here is not to be stored any more.
    pub fn redact(&mut self, subject: Subject) {
        self.subjects.insert(subject, SubjectState::Redacted);
        self.created.retain(|(created, _)| *created != subject);
    }

    /// Whether a subject is known to be redacted.
    #[must_use]
    pub fn is_redacted(&self, subject: Subject) -> bool {
        matches!(self.subjects.get(&subject), Some(SubjectState::Redacted))
    }

    /// Redacts every clear field of a command that is about a person, whoever that is.
    pub fn redact_persons(command: &mut dyn PersonalFields) {
        command.personal_fields(&mut |subject, _, field| {
            if subject != Subject::Shop && field.clear_json().is_some() {
                field.set_redacted();
            }
        });
    }

    /// Seals every clear field of a command; those of redacted subjects become redacted.
    ///
    /// # Errors
    /// [`VaultError::NoRandomness`] when a new subject needs a key and there is none to be had.
    pub fn seal(&mut self, command: &mut dyn PersonalFields) -> Result<Named, VaultError> {
        let mut failure = None;
        let mut named = Named::default();
        match command.about().map(|subject| (subject, self.subjects.get(&subject))) {
            Some((subject, Some(SubjectState::Redacted))) => drop(named.redacted.insert(subject)),
            Some((subject, _)) => drop(named.subjects.insert(subject)),
            None => {}
        }
        command.personal_fields(&mut |subject, which, field| {
            let Some(plain) = field.clear_json() else {
                return;
            };
            match self.keys_of(subject) {
                Ok(Some((shop_key, key))) => {
                    field.set_sealed(key.seal(which.name(), &plain));
                    // The shop's owner is found by being the owner.
                    if subject != Subject::Shop {
                        named.subjects.insert(subject);
                        let contacts = ContactKey::all_in(&plain);
                        let digests = contacts.iter().map(|contact| (shop_key.contact_digest(contact), subject));
                        named.contacts.extend(digests);
                    }
                }
                Ok(None) => {
                    field.set_redacted();
                    named.redacted.insert(subject);
                }
                Err(error) => failure = Some(error),
            }
        });
        failure.map_or(Ok(named), Err)
    }

    fn keys_of(&mut self, subject: Subject) -> Result<Option<(&ShopKey, &SubjectKey)>, VaultError> {
        let Some(shop_key) = &self.shop_key else { return Ok(None) };
        let state = match self.subjects.entry(subject) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let (key, wrapped) = shop_key.generate_subject(subject)?;
                self.created.push((subject, wrapped));
                new.insert(SubjectState::Key(key))
            }
        };
        Ok(match state {
            SubjectState::Key(key) => Some((shop_key, key)),
            SubjectState::Redacted => None,
        })
    }

    /// The keys that were made, wrapped: they go into the same transaction as what they sealed.
    pub fn take_created(&mut self) -> Vec<(Subject, Vec<u8>)> {
        std::mem::take(&mut self.created)
    }
}
