//! docs/reliability.md is true to the tests, and nothing else claims a row that is not in it.

use std::{collections::BTreeSet, fs};

use ecomdash_tests::repository::{files, root};

/// `R-12` and `I-3`, wherever they stand in a text.
fn ids(text: &str) -> BTreeSet<String> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
    let is_id = |word: &&str| {
        let number = word.strip_prefix("R-").or_else(|| word.strip_prefix("I-"));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    text.split(word).filter(is_id).map(str::to_owned).collect()
}

/// The rows of every table: their cells.
fn rows(text: &str) -> Vec<Vec<String>> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.map(|row| row.split(" | ").map(str::to_owned).collect()).collect()
}

#[test]
fn every_row_names_tests_and_commands_that_exist() {
    let text = fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    let sources: String =
        files(&root().join("tests"), "rs").iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let rows: Vec<_> = rows(&text).into_iter().filter(|row| row[0].starts_with("R-")).collect();
    assert!(rows.len() >= 15, "{} rows", rows.len());
    for row in rows {
        let [id, _, proof, _] = &row[..] else { panic!("{row:?} has not four cells") };
        let names: Vec<_> = proof.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{id} is proven by nothing");
        for name in names {
            let exists = match name.strip_prefix("bin/") {
                Some(_) => root().join(name).is_file(),
                None => sources.contains(&format!("fn {name}(")),
            };
            assert!(exists, "{id} names {name}, which is not there");
        }
    }
    let own = "the_checker_names_what_is_lost_doubled_stuck_and_laid_open";
    assert!(text.contains(own) && sources.contains(&format!("fn {own}(")));
    // And the other way round: a test that is named after a row stands in it.
    for test in sources.split("fn r_").skip(1).filter_map(|rest| rest.split('(').next()) {
        if test.bytes().take(2).all(|byte| byte.is_ascii_digit()) {
            assert!(text.contains(&format!("`r_{test}`")), "r_{test} is in no row");
        }
    }
}

#[test]
fn no_document_claims_a_row_that_is_not_proven() {
    let text = fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    let proven: BTreeSet<_> = rows(&text).into_iter().map(|row| row[0].clone()).collect();
    let mut documents = files(&root().join("docs"), "md");
    documents.extend(["README.md", "ARCHITECTURE.md"].map(|name| root().join(name)));
    for document in documents {
        let claimed = ids(&fs::read_to_string(&document).unwrap());
        let unproven: Vec<_> = claimed.difference(&proven).collect();
        assert!(unproven.is_empty(), "{} claims {unproven:?}", document.display());
    }
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(!ids(&readme).is_empty(), "what the README claims has rows");
}
