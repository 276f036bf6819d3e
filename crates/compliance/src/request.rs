//! Asking for a redaction.

use std::{collections::BTreeSet, fmt};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    ShopId, Subject,
    redaction::{RedactionCommand, Request, Said, WEBHOOK},
};
use event_store::{Database, ShopTx, StoreError, name_subjects_by_and_by};
use uuid::Uuid;

use crate::{
    LegalHolds, Match, Named, OtherHold, Whom,
    erase::in_steps,
    matches,
    person::{and_merged, count_of, record_lookup, with_merged},
    tell,
};

/// What is asked for.
pub struct Ask {
    /// Who is meant.
    pub whom: Whom,
    /// Why.
    pub reason: Reason,
    /// Who asks.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
    /// How long it is waited with.
    pub hold: TimeDelta,
    /// Also when several persons have the address or number: all of them.
    pub all: bool,
}

/// What came of it.
#[derive(Debug)]
pub enum Answer {
    /// Nobody is known by that.
    Nobody,
    /// Several are: somebody has to choose, or to say that all are meant.
    Several(Vec<Match>),
    /// It is asked for.
    Asked {
        /// Of the redaction.
        id: String,
        /// When it will be done; `None` where another person has to confirm it first.
        due_at: Option<DateTime<Utc>>,
        /// Who is meant, and under which other numbers.
        matches: Vec<Match>,
    },
}

/// What would be erased.
#[derive(Debug)]
pub struct Plan {
    /// Who is meant, and under which other numbers.
    pub matches: Vec<Match>,
    /// Histories that they stand in.
    pub streams: usize,
    /// Sealed values in these; of a shop nobody counts them.
    pub values: Option<usize>,
    /// A legal hold that would be in the way.
    pub held_by: Option<OtherHold>,
}

/// A reason, for ever in the log: so nothing that could be a person's address or number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(String);

/// Who says so: as long in the log, and under the same rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who(Reason);

impl Who {
    /// Whoever gave a command, where that cannot be told.
    #[must_use]
    pub fn of_command() -> Self {
        Self(Reason("command".to_owned()))
    }
}

impl std::str::FromStr for Who {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // What the program does by itself is said by these, and what is asked with a token by its role.
        const TAKEN: [&str; 6] = [WEBHOOK, "redaction", "restore", "export", "compliance", "auditor"];
        let who: Reason = text.parse()?;
        match who.0.split_whitespace().next() {
            Some(first) if TAKEN.contains(&first.to_lowercase().as_str()) => {
                Err("that is how the program names itself, or a token: say who you are")
            }
            _ => Ok(Self(who)),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for Reason {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const MOST: usize = 200;
        const DIGITS: usize = 9; // a date has eight
        let text = text.trim();
        let is_digit = |char: &char| vault::digit(*char).is_some();
        let has_number = text
            .split(|char: char| !(is_digit(&char) || may_stand_in_number(char)))
            .any(|run| run.chars().filter(is_digit).count() >= DIGITS);
        let has_address = ["@", "＠", "﹫", "%40"].iter().any(|sign| text.contains(sign));
        match () {
            () if text.is_empty() => Err("it must not be empty"),
            () if text.chars().any(char::is_control) => Err("it has a sign in it that cannot be shown"),
            () if text.chars().count() > MOST => Err("it is longer than 200 characters"),
            () if has_address || has_number => {
                Err("it is kept for ever: it must not hold an e-mail address or a telephone number")
            }
            () => Ok(Self(text.to_owned())),
        }
    }
}

/// Between the digits of a telephone number: signs that part them, also those that are not seen.
fn may_stand_in_number(char: char) -> bool {
    char.is_whitespace()
        || "-./()+_·".contains(char)
        || matches!(char, '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

impl Reason {
    /// Somebody's word, for this reason.
    #[must_use]
    pub fn said_by(&self, by: &str, at: DateTime<Utc>) -> Said {
        Said { by: by.to_owned(), reason: Some(self.0.clone()), at }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Asks for a redaction. Where nothing is asked for, that somebody was told who is known is recorded. The caller commits either.
///
/// # Errors
/// [`StoreError`].
pub async fn ask(tx: &mut ShopTx, ask: Ask) -> Result<Answer, StoreError> {
    tx.lock_log().await?;
    if !matches!(ask.whom, Whom::Shop) {
        tx.name_subjects().await?;
    }
    let matches = matches(tx, &ask.whom).await?;
    if matches.len() != 1 && !(ask.all && matches.len() > 1) {
        record_lookup(tx, &ask.whom, &matches, "redaction", &ask.reason.said_by(&ask.by, ask.at)).await?;
        return Ok(if matches.is_empty() { Answer::Nobody } else { Answer::Several(matches) });
    }
    let id = Uuid::now_v7().to_string();
    // Nobody alone erases a shop.
    let needs_confirmation = matches!(ask.whom, Whom::Shop);
    let due_at = ask.at + ask.hold;
    let request = Request {
        subjects: matches.iter().map(|found| found.subject).collect(),
        reason: ask.reason.to_string(),
        by: ask.by.clone(),
        at: ask.at,
        due_at,
        request: None,
        needs_confirmation,
        triggered_at: None,
    };
    tell(tx, &id, RedactionCommand::Request(request), &ask.by).await?;
    let matches = if needs_confirmation {
        matches
    } else {
        let all = with_merged(tx, matches.iter().map(|found| found.subject).collect()).await?;
        and_merged(tx, matches, &all).await?
    };
    ingest::enqueue(tx, ingest::REDACT, ask.hold.as_seconds_f64()).await?;
    Ok(Answer::Asked { id, due_at: (!needs_confirmation).then_some(due_at), matches })
}

/// What would be erased. Nothing is written but that somebody was told who is known, and what a release before this one did not
/// note.
///
/// # Errors
/// [`StoreError`].
pub async fn plan(database: &Database, shop: ShopId, whom: &Whom, said: &Said) -> Result<Plan, StoreError> {
    name_subjects_by_and_by(database, shop).await?;
    let mut tx = database.begin(shop).await?;
    let matches = matches(&mut tx, whom).await?;
    if let Whom::Shop = whom {
        let held_by = LegalHolds::of(&mut tx).await?.against("", &BTreeSet::from([Subject::Shop]));
        return Ok(Plan { streams: count_of(&mut tx, None).await?, matches, values: None, held_by });
    }
    let named = Named::of(&mut tx, matches.iter().map(|found| found.subject)).await?;
    let matches = and_merged(&mut tx, matches, &named.subjects).await?;
    let held_by = LegalHolds::of(&mut tx).await?.against("", &named.subjects);
    record_lookup(&mut tx, whom, &matches, "redaction", said).await?;
    // Not counted under the log's lock.
    tx.commit().await?;
    let mut tx = database.begin(shop).await?;
    let mut values = 0;
    for (kind, ids) in in_steps(&named.streams) {
        tx.each_event_of((kind, &ids), (0, i64::MAX), |event, _| {
            values += ShopTx::values_of(&[event], &named.subjects).len();
            Ok(())
        })
        .await?;
    }
    tx.commit().await?;
    Ok(Plan { matches, streams: named.streams.len(), values: Some(values), held_by })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_holds_nobody_s_address_or_number() {
        for good in ["case 2026-114", "asked by letter on 2026-11-01", "GDPR art. 17"] {
            assert!(good.parse::<Reason>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "  ",
            "jane@example.com asked",
            "jane＠example.com",
            "jane%40example.com",
            "call +1 613 555 0142",
            "6135550142",
            "６１３ ５５５ ０１４２",
            "٦١٣٥٥٥٠١٤٢",
            "613\u{a0}555\u{2009}0142",
            "613\u{2011}555\u{2014}0142",
            "613_555_0142",
            "613\u{200b}555\u{200b}0142",
            "a\0b",
            "a\nb",
            &"x".repeat(201),
        ] {
            assert!(bad.parse::<Reason>().is_err(), "{bad}");
        }
    }

    #[test]
    fn nobody_goes_by_the_names_of_the_program() {
        for good in ["ann", "Ann of compliance", "command", "on call", "webhooks team"] {
            assert!(good.parse::<Who>().is_ok(), "{good}");
        }
        for bad in ["webhook", "Redaction", "restore", "export", "compliance 018f", " auditor 1", "ann@example.com"] {
            assert!(bad.parse::<Who>().is_err(), "{bad}");
        }
    }
}
