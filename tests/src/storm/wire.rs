//! As much of PostgreSQL's protocol as tells what a client asks for: begin, commit, and which statement.

use std::collections::HashMap;

/// What a client asks of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A transaction is begun.
    Begin,
    /// What was written is to be durable: `COMMIT`, or the end of a writing statement outside of a transaction.
    Commit,
    /// A statement is run; its text.
    Statement(String),
}

impl Step {
    /// Whether it is a statement with these words in it.
    #[must_use]
    pub fn says(&self, words: &str) -> bool {
        matches!(self, Self::Statement(sql) if sql.contains(words))
    }
}

/// One client's side of a connection.
#[derive(Debug, Default)]
pub struct Session {
    prepared: HashMap<Vec<u8>, String>,
    in_transaction: bool,
    /// What was run outside of a transaction and is committed by the next sync.
    alone: Option<String>,
}

impl Session {
    /// Takes in a whole message of the client: its type, then its body.
    pub fn hear(&mut self, kind: u8, body: &[u8]) -> Option<Step> {
        match kind {
            b'Q' => Some(self.simple(&text(body))),
            b'P' => {
                let (name, rest) = split(body);
                self.prepared.insert(name.to_vec(), text(rest));
                None
            }
            b'B' => {
                let (_portal, rest) = split(body);
                let sql = self.prepared.get(split(rest).0)?.clone();
                self.alone = (!self.in_transaction).then(|| sql.clone());
                Some(Step::Statement(sql))
            }
            b'S' => self.alone.take().filter(|sql| writes(sql)).map(|_| Step::Commit),
            _ => None,
        }
    }

    fn simple(&mut self, sql: &str) -> Step {
        let begins = |word: &str| sql.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        if begins("BEGIN") {
            self.in_transaction = true;
            Step::Begin
        } else if begins("COMMIT") {
            self.in_transaction = false;
            Step::Commit
        } else {
            self.in_transaction &= !begins("ROLLBACK");
            Step::Statement(sql.to_owned())
        }
    }
}

fn writes(sql: &str) -> bool {
    ["append_events", "store_delivery", "INSERT INTO", "UPDATE", "DELETE FROM"].iter().any(|word| sql.contains(word))
}

/// A text up to its zero, and what follows.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    (&bytes[..end], bytes.get(end + 1..).unwrap_or_default())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(split(bytes).0).into_owned()
}

/// Takes a whole message from the front of what was read: its length with all, where its body begins, and its type.
/// The very first one of a client has no type.
#[must_use]
pub fn whole(buffer: &[u8], has_type: bool) -> Option<(usize, usize, u8)> {
    let skip = usize::from(has_type);
    let length = buffer.get(skip..skip + 4)?;
    let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
    let end = skip + length.max(4);
    (buffer.len() >= end).then(|| (end, skip + 4, if has_type { buffer[0] } else { 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_told_from_what_stands_in_a_transaction() {
        let mut session = Session::default();
        assert_eq!(session.hear(b'P', b"s1\0SELECT append_events($1)\0\0\0"), None);
        // Alone: the sync commits it.
        assert!(session.hear(b'B', b"\0s1\0").unwrap().says("append_events"));
        assert_eq!(session.hear(b'E', b"\0\0\0\0\0"), None);
        assert_eq!(session.hear(b'S', b""), Some(Step::Commit));
        assert_eq!(session.hear(b'S', b""), None);
        // In a transaction: only its end does.
        assert_eq!(session.hear(b'Q', b"BEGIN; SET LOCAL ROLE x\0"), Some(Step::Begin));
        assert!(session.hear(b'B', b"\0s1\0").unwrap().says("append_events"));
        assert_eq!(session.hear(b'S', b""), None);
        assert_eq!(session.hear(b'Q', b"COMMIT\0"), Some(Step::Commit));
        assert_eq!(session.hear(b'Q', b"BEGIN\0"), Some(Step::Begin));
        assert_eq!(session.hear(b'Q', b"ROLLBACK\0"), Some(Step::Statement("ROLLBACK".into())));
        assert!(session.hear(b'B', b"\0s1\0").is_some());
        assert_eq!(session.hear(b'S', b""), Some(Step::Commit));
    }

    #[test]
    fn messages_are_taken_whole() {
        assert_eq!(whole(b"Q\0\0\0\x08abc", true), None);
        assert_eq!(whole(b"Q\0\0\0\x08abcdX", true), Some((9, 5, b'Q')));
        assert_eq!(whole(b"\0\0\0\x08abcd", false), Some((8, 4, 0)));
        assert_eq!(whole(b"\0\0", false), None);
    }
}
