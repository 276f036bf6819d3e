//! Looking for a person's values in texts: once through each text, however many values there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use serde_json::Value;

/// Words shorter than this are anybody's.
const SHORTEST: usize = 4;
/// Shorter ones are parts of many others: they are looked for as whole texts.
const LONG: usize = 6;
/// So much of a long text is enough to know it by.
const NEEDLE: usize = 48;
/// Bytes of words that are held, and that one automaton is made of: it takes some thirty times as much while it is made.
const MOST_BYTES: usize = 4 * 1024 * 1024;
const AUTOMATON_BYTES: usize = 512 * 1024;

/// What a person's values say, in small letters. Held in memory, and for as long as it is searched for.
#[derive(Default)]
pub(crate) struct Words {
    words: BTreeSet<String>,
    bytes: usize,
    /// There were more than are held.
    pub is_cut: bool,
}

impl Words {
    /// The texts of a personal value.
    pub fn collect(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.add(text),
            Value::Array(members) => members.iter().for_each(|member| self.collect(member)),
            Value::Object(members) => {
                // Of a custom line: the shop's own, which stand elsewhere in the clear.
                let of_person = members.iter().filter(|(name, _)| !matches!(name.as_str(), "vendor" | "sku"));
                of_person.for_each(|(_, member)| self.collect(member));
            }
            _ => {}
        }
    }

    fn add(&mut self, text: &str) {
        let word = needle(text);
        if word.chars().nth(SHORTEST - 1).is_none() || self.words.contains(&word) {
            return;
        }
        if self.bytes + word.len() > MOST_BYTES {
            self.is_cut = true;
            return;
        }
        self.bytes += word.len();
        self.words.insert(word);
    }

    /// Leaves out what somebody else is called, too.
    pub fn remove(&mut self, text: &str) {
        self.words.remove(&needle(text));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.words.len()
    }
}

fn needle(text: &str) -> String {
    text.to_lowercase().chars().take(NEEDLE).collect()
}

/// Words that are searched for, and which of them were found.
#[derive(Default)]
pub(crate) struct Search {
    short: BTreeMap<String, usize>,
    /// Each with the number of its first word.
    long: Vec<(usize, AhoCorasick)>,
    found: BTreeSet<usize>,
}

impl Search {
    /// The search, made once it is asked whether a text says any of the words.
    pub fn on_demand(words: &Words) -> impl Fn(&str) -> bool + Send + Sync {
        let search = OnceLock::new();
        move |text| search.get_or_init(|| Self::of(words)).is_in(text)
    }

    /// Of these words.
    pub fn of(words: &Words) -> Self {
        let is_long = |word: &&String| word.chars().nth(LONG - 1).is_some();
        let (long, short): (Vec<&String>, Vec<&String>) = words.words.iter().partition(is_long);
        let short: BTreeMap<String, usize> = short.into_iter().cloned().zip(0..).collect();
        let (mut automata, mut first, mut rest) = (Vec::new(), short.len(), &long[..]);
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |word: &&&String| {
                bytes += word.len();
                bytes <= AUTOMATON_BYTES
            };
            let count = rest.iter().take_while(fits).count();
            let automaton = AhoCorasick::builder().kind(Some(AhoCorasickKind::ContiguousNFA)).build(&rest[..count]);
            automata.push((first, automaton.expect("there is room for so few words")));
            first += count;
            rest = &rest[count..];
        }
        Self { short, long: automata, found: BTreeSet::new() }
    }

    /// How many of the words were found.
    pub fn found(&self) -> usize {
        self.found.len()
    }

    /// Whether a text says one of the words.
    pub fn is_in(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.short.contains_key(&text) || self.long.iter().any(|(_, automaton)| automaton.is_match(&text))
    }

    /// Looks through a text, in any case.
    pub fn look_at(&mut self, text: &str) {
        let text = text.to_lowercase();
        self.found.extend(self.short.get(&text));
        for (first, automaton) in &self.long {
            self.found.extend(automaton.find_overlapping_iter(&text).map(|found| first + found.pattern().as_usize()));
        }
    }

    /// Looks through what stands in a document to be read: not the names of fields, and not what is sealed.
    pub fn look_at_document(&mut self, document: &str) {
        match serde_json::from_str(document) {
            Ok(json) => self.look_at_json(&json),
            Err(_) => self.look_at(document),
        }
    }

    fn look_at_json(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.look_at(text),
            Value::Array(members) => members.iter().for_each(|member| self.look_at_json(member)),
            Value::Object(members) => {
                let open = members.iter().filter(|(name, _)| !matches!(name.as_str(), "sealed" | "wrapped" | "hash"));
                open.for_each(|(_, member)| self.look_at_json(member));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn search(values: &Value) -> Search {
        let mut words = Words::default();
        words.collect(values);
        Search::of(&words)
    }

    #[test]
    fn each_word_is_found_in_any_case_and_only_a_long_one_within_a_text() {
        let long = "x".repeat(1000);
        let mut search =
            search(&json!(["Zoë Quill", "Quillfeather", "Mews", "abc", { "sku": "SKU-1-2-3", "note": long }]));
        for nothing in ["12 Mews", "quill", r#"{"sealed": "Quillfeather"}"#, "sku-1-2-3", "abc"] {
            search.look_at_document(nothing);
        }
        assert_eq!(search.found(), 0);
        assert!(search.is_in("of ZOË QUILLFEATHER") && !search.is_in("Mews 12"));
        search.look_at_document(r#"{"a": ["MEWS", {"b": "of ZOË QUILLFEATHER"}]}"#);
        assert_eq!(search.found(), 3, "also those that lie over each other");
        search.look_at_document(&"X".repeat(500));
        assert_eq!(search.found(), 4, "a long one is known by how it begins");
    }

    #[test]
    fn many_words_are_searched_for_in_few_passes_and_never_more_than_are_held() {
        let mut words = Words::default();
        (0..200_000).for_each(|number| words.add(&format!("the value of number {number}")));
        assert!(words.is_cut && words.bytes <= MOST_BYTES);
        let mut search = Search::of(&words);
        assert!(search.long.len() <= MOST_BYTES / AUTOMATON_BYTES + 1);
        search.look_at("it says The Value of Number 77, and no more");
        assert_eq!(search.found(), 2, "7 and 77");
    }
}
