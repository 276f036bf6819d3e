//! Joins of observations: what every aggregate keeps of the bodies that it saw.
//!
//! Each is commutative, associative and idempotent: the same set of bodies gives the same state, however they came.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::version::Version;

/// A value of which the greatest version counts, with that version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member<T> {
    /// The greatest version that told of it.
    pub version: Version,
    /// What that body said.
    pub value: T,
}

impl<T> Member<T> {
    /// Joins a value, told whole.
    pub(crate) fn join(known: &mut Option<Self>, version: Version, value: T) {
        if known.as_ref().is_none_or(|known| version > known.version) {
            *known = Some(Self { version, value });
        }
    }

    /// Joins a body that says what is known already.
    pub(crate) fn vouch(known: &mut Option<Self>, version: Version) {
        if let Some(known) = known {
            known.version = known.version.max(version);
        }
    }
}

/// A member of a union of which it also matters when it was there first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen<T> {
    /// The greatest version that listed it.
    pub version: Version,
    /// The least `updated_at` of a snapshot that listed it.
    pub first_seen: Option<DateTime<Utc>>,
    /// What the greatest one said.
    pub value: T,
}

/// A member of a union that a snapshot lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listed<Id, T> {
    /// Which.
    pub id: Id,
    /// `None`: as it is known already; this body only vouches for it.
    #[serde(rename = "is", default = "none", skip_serializing_if = "Option::is_none")]
    pub value: Option<T>,
}

fn none<T>() -> Option<T> {
    None
}

/// Of what a body lists: the members that are new, changed, or vouched for by a greater version.
pub(crate) fn listed<Id: Ord + Copy, T: PartialEq>(
    known: &BTreeMap<Id, Member<T>>,
    version: Version,
    members: Vec<(Id, T)>,
) -> Vec<Listed<Id, T>> {
    members
        .into_iter()
        .filter(|(id, _)| known.get(id).is_none_or(|member| version > member.version))
        .map(|(id, value)| {
            let same = known.get(&id).is_some_and(|member| member.value == value);
            Listed { id, value: (!same).then_some(value) }
        })
        .collect()
}

/// The same of members of which the first sighting counts, too.
pub(crate) fn listed_seen<Id: Ord + Copy, T: PartialEq>(
    known: &BTreeMap<Id, Seen<T>>,
    version: Version,
    members: Vec<(Id, T)>,
) -> Vec<Listed<Id, T>> {
    let mut news = Vec::new();
    for (id, value) in members {
        match known.get(&id) {
            None => news.push(Listed { id, value: Some(value) }),
            Some(seen) if version > seen.version => {
                news.push(Listed { id, value: (seen.value != value).then_some(value) });
            }
            Some(seen) => {
                if earliest(seen.first_seen, version.updated_at) != seen.first_seen {
                    news.push(Listed { id, value: None });
                }
            }
        }
    }
    news
}

/// Whether a body tells of a member that is not known, or known from a lesser version.
pub(crate) fn is_newer<Id: Ord, T>(known: &BTreeMap<Id, Member<T>>, id: &Id, version: Version) -> bool {
    known.get(id).is_none_or(|member| version > member.version)
}

/// Joins one member, told whole.
pub(crate) fn join_member<Id: Ord, T>(known: &mut BTreeMap<Id, Member<T>>, version: Version, id: Id, value: T) {
    if is_newer(known, &id, version) {
        known.insert(id, Member { version, value });
    }
}

/// Joins what [`listed`] found.
pub(crate) fn join_listed<Id: Ord, T>(known: &mut BTreeMap<Id, Member<T>>, version: Version, news: Vec<Listed<Id, T>>) {
    for Listed { id, value } in news {
        match (known.get_mut(&id), value) {
            (Some(member), None) => member.version = member.version.max(version),
            (_, Some(value)) => join_member(known, version, id, value),
            (None, None) => {}
        }
    }
}

/// Joins what [`listed_seen`] found.
pub(crate) fn join_seen<Id: Ord, T>(known: &mut BTreeMap<Id, Seen<T>>, version: Version, news: Vec<Listed<Id, T>>) {
    for Listed { id, value } in news {
        match (known.get_mut(&id), value) {
            (Some(seen), value) => {
                seen.first_seen = earliest(seen.first_seen, version.updated_at);
                if version > seen.version {
                    seen.version = version;
                    if let Some(value) = value {
                        seen.value = value;
                    }
                }
            }
            (None, Some(value)) => {
                known.insert(id, Seen { version, first_seen: version.updated_at, value });
            }
            (None, None) => {}
        }
    }
}

/// The lesser of two instants, where there are any.
pub(crate) fn earliest(known: Option<DateTime<Utc>>, seen: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    match (known, seen) {
        (Some(known), Some(seen)) => Some(known.min(seen)),
        (known, seen) => known.or(seen),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    //! What the tests of every aggregate have in common.

    use std::fmt::Debug;

    use chrono::{DateTime, Duration, Utc};
    use cqrs_es::{Aggregate, DomainEvent, test::TestFramework};
    use proptest::{prelude::*, test_runner::TestRunner};

    use crate::{
        personal::{Personal, Sealed, Subject},
        version::{Digest, Version},
    };

    pub(crate) fn at(hours: i64) -> DateTime<Utc> {
        "2026-11-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + Duration::hours(hours)
    }

    pub(crate) fn version(hours: i64, digest: u8) -> Version {
        Version { updated_at: Some(at(hours)), triggered_at: None, digest: Digest([digest; 16]), revision: 1 }
    }

    pub(crate) fn sealed<T>() -> Personal<T> {
        Personal::Sealed(Sealed { subject: Subject::Shop, bytes: "AA".into() })
    }

    /// What became of commands, in their order.
    pub(crate) struct Applied<A> {
        /// Types of the events.
        pub(crate) events: Vec<String>,
        pub(crate) state: A,
    }

    impl<A: Aggregate<Services = (), Error: Debug>> Applied<A> {
        pub(crate) fn of(commands: impl IntoIterator<Item = A::Command>) -> Self {
            let (mut past, mut state): (Vec<A::Event>, A) = (Vec::new(), A::default());
            for command in commands {
                let given = TestFramework::<A>::with(()).given(past.clone());
                for event in given.when(command).inspect_result().unwrap() {
                    state.apply(event.clone());
                    past.push(event);
                }
            }
            Self { events: past.iter().map(DomainEvent::event_type).collect(), state }
        }
    }

    /// Commands give one state, whatever their order and however often they come.
    pub(crate) fn arrivals<A>(commands: &[A::Command])
    where
        A: Aggregate<Services = (), Error: Debug> + PartialEq + Debug,
        A::Command: Clone + Debug,
    {
        let once = Applied::<A>::of(commands.to_vec()).state;
        let twice: Vec<A::Command> = commands.iter().chain(commands).cloned().collect();
        let arrivals = Just(twice).prop_shuffle();
        let outcome = TestRunner::default().run(&arrivals, |arrived| {
            prop_assert_eq!(&Applied::<A>::of(arrived).state, &once);
            Ok(())
        });
        outcome.unwrap();
    }
}
