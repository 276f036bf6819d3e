use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, test::TestFramework};

use super::*;
use crate::{ids::CustomerId, personal::Subject, redaction::Said};

fn at(hour: u32) -> DateTime<Utc> {
    format!("2026-11-01T{hour:02}:00:00Z").parse().unwrap()
}

fn request() -> ExportCommand {
    let (reason, by) = ("case 12".to_owned(), "ann".to_owned());
    ExportCommand::Request(ExportRequest { subjects: vec![], reason, by, at: at(1), request: None, several: vec![] })
}

fn build() -> ExportCommand {
    ExportCommand::Build(built())
}

fn built() -> Built {
    Built { histories: 1, values: 1, bytes: 1, at: at(2), expires_at: at(9) }
}

fn fetch() -> ExportCommand {
    ExportCommand::Fetch { by: "ann".to_owned(), form: "json".to_owned(), at: at(3) }
}

fn gone(why: Gone) -> ExportCommand {
    ExportCommand::Drop { why, at: at(9) }
}

fn renew() -> ExportCommand {
    ExportCommand::Renew(Said { by: "ann".to_owned(), reason: Some("once more".to_owned()), at: at(10) })
}

/// The last command's outcome after the others, how it stands then, and whether somebody waits.
fn after(commands: Vec<ExportCommand>) -> (Result<usize, ExportError>, Option<ExportStatus>, bool) {
    let (mut past, mut last, mut state) = (Vec::new(), Ok(0), Export::default());
    for command in commands {
        let outcome = TestFramework::<Export>::with(()).given(past.clone()).when(command).inspect_result();
        for event in outcome.iter().flatten() {
            state.apply(event.clone());
            past.push(event.clone());
        }
        last = outcome.map(|events| events.len());
    }
    (last, state.status(), state.is_open())
}

#[test]
fn it_is_built_fetched_as_often_as_one_likes_and_expires() {
    use ExportStatus::{Expired, Ready, Waiting};
    assert_eq!(after(vec![fetch()]), (Err(ExportError::Unknown), None, false));
    assert_eq!(after(vec![request(), request()]), (Ok(0), Some(Waiting), true));
    assert_eq!(after(vec![request(), fetch()]), (Err(ExportError::NotBuilt), Some(Waiting), true));
    assert_eq!(after(vec![request(), build(), build()]), (Ok(0), Some(Ready), true));
    assert_eq!(after(vec![request(), build(), fetch(), fetch()]), (Ok(1), Some(Ready), false));
    let late = ExportCommand::Fetch { by: "ann".to_owned(), form: "json".to_owned(), at: at(9) };
    assert_eq!(after(vec![request(), build(), late]).0, Err(ExportError::Expired), "whoever drops it is late");
    assert_eq!(after(vec![request(), build(), gone(Gone::Expired)]), (Ok(1), Some(Expired), true));
    assert_eq!(after(vec![request(), build(), gone(Gone::Expired), fetch()]).0, Err(ExportError::Expired));
    assert_eq!(after(vec![request(), build(), gone(Gone::Expired), renew()]), (Ok(1), Some(Waiting), true));
    assert_eq!(after(vec![request(), gone(Gone::Expired)]), (Ok(0), Some(Waiting), true));
}

#[test]
fn of_several_somebody_chooses_before_anything_is_put_together() {
    use ExportStatus::{Ready, Several, Waiting};
    let subject = |id| Subject::Customer(CustomerId(id));
    let asked = || {
        let ExportCommand::Request(request) = request() else { unreachable!() };
        ExportCommand::Request(ExportRequest { several: vec![subject(7), subject(8)], ..request })
    };
    let choose = |ids: &[u64]| {
        let (reason, by) = ("seen by letter".to_owned(), "ann".to_owned());
        ExportCommand::Choose(Chosen { subjects: ids.iter().copied().map(subject).collect(), reason, by, at: at(2) })
    };
    assert_eq!(after(vec![asked(), build()]), (Ok(0), Some(Several), true));
    assert_eq!(after(vec![asked(), fetch()]), (Err(ExportError::Several), Some(Several), true));
    for nobody in [&[9][..], &[7, 9]] {
        assert_eq!(after(vec![asked(), choose(nobody)]).0, Err(ExportError::NotOneOfThem));
    }
    assert_eq!(after(vec![asked(), choose(&[8])]), (Ok(1), Some(Waiting), true));
    assert_eq!(after(vec![asked(), choose(&[])]), (Ok(1), Some(Waiting), true), "none of them is meant");
    assert_eq!(after(vec![asked(), renew()]).0, Err(ExportError::Several));
    assert_eq!(after(vec![asked(), gone(Gone::Expired)]), (Ok(0), Some(Several), true));
    assert_eq!(after(vec![request(), choose(&[7])]).0, Err(ExportError::NotSeveral));
    // As an earlier release left it: put together, and the list fetched.
    let past = vec![
        ExportEvent::ExportBuilt(built()),
        ExportEvent::ExportFetched { by: "ann".to_owned(), form: "json".to_owned(), at: at(3) },
    ];
    let ExportCommand::Request(request) = asked() else { unreachable!() };
    let past: Vec<_> = [ExportEvent::ExportRequested(request)].into_iter().chain(past).collect();
    let decide = |command| TestFramework::<Export>::with(()).given(past.clone()).when(command).inspect_result();
    assert_eq!(decide(gone(Gone::Expired)).unwrap().len(), 1);
    let mut state = Export::default();
    past.iter().cloned().chain(decide(choose(&[8])).unwrap()).for_each(|event| state.apply(event));
    assert!(state.is_open() && state.status() == Some(Waiting), "the list was no answer");
    assert_eq!(after(vec![asked(), choose(&[8]), build(), fetch()]), (Ok(1), Some(Ready), false));
    assert_eq!(after(vec![asked(), choose(&[8]), choose(&[7])]).0, Err(ExportError::NotSeveral));
    let request = state.request.unwrap();
    assert_eq!((request.subjects, request.several), (vec![subject(8)], vec![]));
}

#[test]
fn a_redaction_ends_it_for_good() {
    let ended = (Err(ExportError::Redacted), Some(ExportStatus::Redacted), false);
    for past in [vec![request()], vec![request(), build()], vec![request(), build(), gone(Gone::Expired)]] {
        let then = |command| past.iter().cloned().chain([gone(Gone::Redacted), command]).collect();
        assert_eq!(after(then(fetch())), ended);
        assert_eq!(after(then(renew())), ended);
        let chosen = Chosen { subjects: vec![], reason: String::new(), by: String::new(), at: at(9) };
        assert_eq!(after(then(ExportCommand::Choose(chosen))), ended);
        assert_eq!(after(then(gone(Gone::Redacted))).0, Ok(0));
    }
}

#[test]
fn stored_bytes_are_held() {
    crate::samples::hold("export", &samples::samples(), &[]);
}
