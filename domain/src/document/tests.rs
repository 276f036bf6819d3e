use super::*;
use crate::{
    draft_order::{DraftOrder, samples::samples as drafts},
    join::tests::{Applied, arrivals, at, version},
    samples::hold,
};

fn draft(total_minor: i64) -> DraftOrder {
    let Some(DocumentEvent::Updated { value, .. }) = drafts().into_iter().next() else { unreachable!("the first") };
    DraftOrder { total_minor, ..value }
}

fn observe(hours: i64, total_minor: i64) -> DocumentCommand<DraftOrder> {
    DocumentCommand::Observe { version: version(hours, 1), value: draft(total_minor) }
}

#[test]
fn the_newest_body_counts_and_an_older_one_says_nothing() {
    let draft = Applied::<Observed<DraftOrder>>::of([observe(2, 20), observe(1, 10), observe(3, 20), observe(3, 20)]);
    assert_eq!(draft.events, ["DraftOrderUpdated", "DraftOrderReaffirmed"]);
    assert_eq!(draft.state.newest.unwrap().value.total_minor, 20);
}

#[test]
fn the_order_of_arrival_does_not_matter() {
    arrivals::<Observed<DraftOrder>>(&[
        observe(1, 10),
        observe(2, 20),
        observe(3, 20),
        DocumentCommand::ObserveDeletion { at: Some(at(1)) },
        DocumentCommand::Redact { redaction: "1".to_owned() },
    ]);
}

#[test]
fn a_tombstone_is_set_once_and_what_is_told_later_is_taken_in() {
    let redact = || DocumentCommand::Redact { redaction: "1".to_owned() };
    let draft = Applied::<Observed<DraftOrder>>::of([observe(1, 10), redact(), redact(), observe(2, 20)]);
    assert_eq!(draft.events, ["DraftOrderUpdated", "DraftOrderRedacted", "DraftOrderUpdated"]);
    assert!(draft.state.redacted);
}

#[test]
fn stored_bytes_never_change() {
    hold("checkout", &crate::checkout::samples::samples(), &[]);
    hold("compliance", &crate::compliance::samples::samples(), &[]);
    hold("discount", &crate::discount::samples::samples(), &[]);
    hold("draft_order", &drafts(), &[]);
    hold("location", &crate::location::samples::samples(), &[]);
}
