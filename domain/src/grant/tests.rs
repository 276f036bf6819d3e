use chrono::{DateTime, Utc};
use cqrs_es::test::TestFramework;

use super::*;
use crate::redaction::Said;

fn at(hour: u32) -> DateTime<Utc> {
    format!("2026-11-01T{hour:02}:00:00Z").parse().unwrap()
}

fn issued(from: u32, until: DateTime<Utc>) -> Issued {
    Issued { token: "a".into(), reason: "audit of 2026".into(), by: "ann".into(), at: at(from), until }
}

fn said(hour: u32) -> Said {
    Said { by: "bob".into(), reason: Some("it is over".into()), at: at(hour) }
}

fn issue() -> GrantEvent {
    GrantEvent::GrantIssued(issued(1, at(10)))
}

fn used(token: &str, hour: u32) -> Used {
    Used { token: token.into(), read: Read::default(), at: at(hour) }
}

fn outcome(past: Vec<GrantEvent>, command: GrantCommand) -> Result<usize, GrantError> {
    TestFramework::<Grant>::with(()).given(past).when(command).inspect_result().map(|events| events.len())
}

fn use_it(past: Vec<GrantEvent>, token: &str, hour: u32) -> Result<usize, GrantError> {
    outcome(past, GrantCommand::Use(used(token, hour)))
}

#[test]
fn it_is_used_by_its_holder_alone_in_its_time_and_while_it_is_not_revoked() {
    assert_eq!(use_it(vec![issue()], "a", 9), Ok(1));
    assert_eq!(use_it(vec![issue()], "a", 10), Err(GrantError::NotAllowed));
    assert_eq!(use_it(vec![issue()], "b", 9), Err(GrantError::NotAllowed));
    let revoked = GrantEvent::GrantRevoked(said(2));
    assert_eq!(use_it(vec![issue(), revoked.clone()], "a", 9), Err(GrantError::NotAllowed));
    assert_eq!(use_it(vec![], "a", 9), Err(GrantError::Unknown));
    let revoke = || GrantCommand::Revoke(said(3));
    assert_eq!(outcome(vec![issue()], revoke()), Ok(1));
    assert_eq!(outcome(vec![issue(), revoked], revoke()), Ok(0));
    assert_eq!(outcome(vec![], revoke()), Err(GrantError::Unknown));
}

#[test]
fn its_time_has_an_end_that_is_not_far() {
    let of = |until| outcome(vec![], GrantCommand::Issue(issued(1, until)));
    assert_eq!(of(at(1) + Grant::LONGEST), Ok(1));
    assert_eq!(of(at(2) + Grant::LONGEST), Err(GrantError::Time));
    assert_eq!(of(at(1)), Err(GrantError::Time));
    assert_eq!(outcome(vec![issue()], GrantCommand::Issue(issued(1, at(11)))), Ok(0), "it is not made longer");
}

#[test]
fn stored_bytes_are_held() {
    crate::samples::hold("grant", &samples::samples(), &[]);
}
