//! The structure holds: who depends on whom, one sqlx, and nothing in the wrong place.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_json::Value;

/// Each crate and those of ours that it may depend on.
const ARROWS: [(&str, &[&str]); 11] = [
    ("ecomdash-domain", &[]),
    ("ecomdash-simulator", &[]),
    ("ecomdash-shopify", &["ecomdash-domain"]),
    ("ecomdash-vault", &["ecomdash-domain"]),
    ("ecomdash-read-models", &["ecomdash-domain"]),
    ("ecomdash-event-store", &["ecomdash-domain", "ecomdash-vault"]),
    ("ecomdash-ingest", &["ecomdash-domain", "ecomdash-event-store", "ecomdash-shopify", "ecomdash-vault"]),
    (
        "ecomdash-compliance",
        &[
            "ecomdash-domain",
            "ecomdash-event-store",
            "ecomdash-ingest",
            "ecomdash-read-models",
            "ecomdash-shopify",
            "ecomdash-vault",
        ],
    ),
    (
        "ecomdash-projector",
        &[
            "ecomdash-compliance",
            "ecomdash-domain",
            "ecomdash-event-store",
            "ecomdash-ingest",
            "ecomdash-read-models",
            "ecomdash-vault",
        ],
    ),
    (
        "ecomdash-api",
        &[
            "ecomdash-compliance",
            "ecomdash-domain",
            "ecomdash-event-store",
            "ecomdash-ingest",
            "ecomdash-read-models",
            "ecomdash-shopify",
            "ecomdash-vault",
        ],
    ),
    (
        "ecomdash",
        &[
            "ecomdash-api",
            "ecomdash-compliance",
            "ecomdash-domain",
            "ecomdash-event-store",
            "ecomdash-ingest",
            "ecomdash-projector",
            "ecomdash-read-models",
            "ecomdash-shopify",
            "ecomdash-simulator",
            "ecomdash-vault",
        ],
    ),
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn dependencies_follow_the_arrows_and_there_is_one_sqlx() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let mut seen = BTreeMap::new();
    for package in packages.iter().filter(|package| package["source"].is_null()) {
        let ours: Vec<&str> = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dependency| dependency["path"].is_string() && dependency["kind"].is_null())
            .map(|dependency| dependency["name"].as_str().unwrap())
            .collect();
        seen.insert(package["name"].as_str().unwrap(), ours);
    }
    seen.remove("ecomdash-tests").expect("this one");
    for (name, allowed) in ARROWS {
        let found = seen.remove(name).unwrap_or_else(|| panic!("{name} is gone"));
        for dependency in found {
            assert!(allowed.contains(&dependency), "{name} must not depend on {dependency}");
        }
    }
    assert!(seen.is_empty(), "crates without arrows: {seen:?}");
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).unwrap();
    let versions = lock.lines().filter(|line| *line == "name = \"sqlx-core\"").count();
    assert_eq!(versions, 1, "two versions of sqlx could not share a transaction");
}

fn each_source(folder: &Path, look: &mut dyn FnMut(&Path, &str)) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if entry.file_name() != "target" && !entry.file_name().to_string_lossy().starts_with('.') {
                each_source(&path, look);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            look(&path, &std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn each_thing_is_done_in_its_place_alone() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    // What, and where it may stand.
    let rules: [(&str, &[&str]); 6] = [
        ("INSERT INTO events", &["crates/event-store/", "tests/"]),
        ("std::env::var", &["crates/cli/", "tests/", "domain/src/samples.rs"]),
        ("Utc::now()", &["crates/cli/", "tests/"]),
        ("axum::serve(", &[]),
        ("QueryReplay", &["tests/", "crates/event-store/src/repository.rs"]),
        ("pg_notify", &[]),
    ];
    each_source(root, &mut |path, text| {
        let place = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        if place == "tests/tests/architecture.rs" || place.ends_with("/tests.rs") {
            return;
        }
        for (what, allowed) in rules {
            let stands = text.lines().any(|line| line.contains(what) && !line.trim_start().starts_with("//"));
            assert!(!stands || allowed.iter().any(|folder| place.starts_with(folder)), "`{what}` stands in {place}");
        }
    });
}
