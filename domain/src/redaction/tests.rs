use chrono::{DateTime, Utc};
use cqrs_es::test::TestFramework;

use super::*;
use crate::{ids::CustomerId, personal::Subject};

fn at(hour: u32) -> DateTime<Utc> {
    format!("2026-11-01T{hour:02}:00:00Z").parse().unwrap()
}

fn request() -> RedactionCommand {
    RedactionCommand::Request(Request {
        subjects: vec![Subject::Customer(CustomerId(7))],
        reason: "case 12".into(),
        by: "ann".into(),
        at: at(1),
        due_at: at(10),
        request: None,
        needs_confirmation: false,
        triggered_at: None,
    })
}

fn erase(hour: u32) -> RedactionCommand {
    RedactionCommand::Erase(Erased::nothing(at(hour)))
}

fn said(by: &str) -> Said {
    Said { by: by.to_owned(), reason: Some("case 12".to_owned()), at: at(2) }
}

fn cancel() -> RedactionCommand {
    RedactionCommand::Cancel(said("ann"))
}

fn hold() -> RedactionCommand {
    RedactionCommand::Hold { reason: "tax audit".into(), by: "ann".into(), at: at(2) }
}

fn release() -> RedactionCommand {
    RedactionCommand::Release(said("ann"))
}

fn confirm(name: &str) -> RedactionCommand {
    RedactionCommand::Confirm(said(name))
}

/// The last command's outcome after the others, and how it stands then.
fn after(commands: Vec<RedactionCommand>) -> (Result<usize, RedactionError>, Option<Status>) {
    let (mut past, mut last, mut state) = (Vec::new(), Ok(0), Redaction::default());
    for command in commands {
        let outcome = TestFramework::<Redaction>::with(()).given(past.clone()).when(command).inspect_result();
        if let Ok(events) = &outcome {
            for event in events {
                cqrs_es::Aggregate::apply(&mut state, event.clone());
                past.push(event.clone());
            }
        }
        last = outcome.map(|events| events.len());
    }
    (last, state.status())
}

#[test]
fn it_is_waited_with_unless_another_person_confirms_it() {
    assert_eq!(after(vec![request(), erase(9)]), (Err(RedactionError::NotDue), Some(Status::Waiting)));
    assert_eq!(after(vec![request(), erase(10)]), (Ok(1), Some(Status::Erased)));
    assert_eq!(after(vec![request(), confirm("ann")]).0, Err(RedactionError::SamePerson));
    assert_eq!(after(vec![request(), confirm("bob"), erase(2)]), (Ok(1), Some(Status::Erased)));
}

#[test]
fn a_legal_hold_is_in_the_way_until_it_is_released() {
    assert_eq!(after(vec![request(), hold(), erase(11)]), (Err(RedactionError::Held), Some(Status::Held)));
    assert_eq!(after(vec![request(), hold(), hold()]), (Err(RedactionError::Held), Some(Status::Held)));
    assert_eq!(after(vec![request(), hold(), release(), erase(11)]), (Ok(1), Some(Status::Erased)));
    assert_eq!(after(vec![request(), hold(), cancel()]), (Err(RedactionError::Held), Some(Status::Held)));
    assert_eq!(after(vec![request(), hold(), release(), cancel()]), (Ok(1), Some(Status::Cancelled)));
}

#[test]
fn a_legal_hold_does_not_settle_what_was_odd_about_a_request() {
    let odd = || RedactionCommand::Hold { reason: "nobody is known".into(), by: WEBHOOK.into(), at: at(1) };
    assert_eq!(after(vec![request(), odd(), release(), erase(11)]), (Ok(1), Some(Status::Erased)));
    let both = vec![request(), odd(), hold(), release()];
    assert_eq!(after([both.clone(), vec![erase(11)]].concat()), (Err(RedactionError::Held), Some(Status::Held)));
    assert_eq!(after([both, vec![release(), erase(11)]].concat()), (Ok(1), Some(Status::Erased)));
}

#[test]
fn it_can_be_cancelled_until_it_is_done_and_repeating_is_harmless() {
    assert_eq!(after(vec![request(), cancel(), erase(11)]), (Err(RedactionError::Cancelled), Some(Status::Cancelled)));
    assert_eq!(after(vec![request(), cancel(), cancel()]), (Ok(0), Some(Status::Cancelled)));
    assert_eq!(after(vec![request(), erase(11), cancel()]), (Err(RedactionError::Done), Some(Status::Erased)));
    assert_eq!(after(vec![request(), request()]), (Ok(0), Some(Status::Waiting)));
    assert_eq!(after(vec![request(), erase(11), erase(12)]), (Ok(0), Some(Status::Erased)));
    assert_eq!(after(vec![erase(11)]), (Err(RedactionError::Unknown), None));
}

#[test]
fn stored_bytes_are_held() {
    crate::samples::hold("redaction", &samples::samples(), &samples::of_older());
}

#[test]
fn what_has_to_be_confirmed_is_not_done_by_waiting() {
    let RedactionCommand::Request(asked) = request() else { unreachable!() };
    let asked = || {
        RedactionCommand::Request(Request { subjects: vec![Subject::Shop], needs_confirmation: true, ..asked.clone() })
    };
    assert_eq!(after(vec![asked(), erase(23)]), (Err(RedactionError::NotDue), Some(Status::Waiting)));
    assert_eq!(after(vec![asked(), confirm("ann"), erase(23)]).0, Err(RedactionError::NotDue));
    assert_eq!(after(vec![asked(), confirm("bob"), erase(2)]), (Ok(1), Some(Status::Erased)));
}
