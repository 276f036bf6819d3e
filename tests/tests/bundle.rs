//! Bundles: a log in a file, which is checked without a database, and in which every change is found.

use std::{path::PathBuf, process::Command};

use chrono::Utc;
use ecomdash_tests::{
    Shop, bare_command,
    bodies::{line, order},
    free_folder, number,
    random::{rng, seed},
    run,
    tampering::{cut_off, forget, keep, new_keys, restore, rewrite, tamper, world},
};
use event_store::{BundleError, Checked, Checkpoint, Database, Trust, check_bundle, export, sign};
use rand::RngExt;
use serde_json::Value;
use vault::{MasterRing, SigningKeys};

struct Bundle {
    folder: PathBuf,
    bytes: Vec<u8>,
    /// In base64.
    public: String,
    /// Of the events before the last one, by an older key, and of all.
    anchors: [Checkpoint; 2],
}

impl Bundle {
    async fn new(store: &Database, shop: &Shop) -> Self {
        let (old, new) = (MasterRing::generate_key().unwrap(), MasterRing::generate_key().unwrap());
        let old_keys = SigningKeys::parse(&old).unwrap();
        let first = sign(store, shop.id, &old_keys, Utc::now()).await.unwrap();
        let body = order(9, "2026-11-01T12:00:00Z", vec![line(9, "10.00", 1)]).with("note", "ö \"\\".into());
        assert_eq!(shop.deliver("orders/create", &body.0).await, 200);
        shop.stats("2026-11-01", "2026-11-01").await;
        let keys = SigningKeys::parse(&format!("{new},{old}")).unwrap();
        let second = sign(store, shop.id, &keys, Utc::now()).await.unwrap();
        let mut bytes = Vec::new();
        let verified = export(store, shop.id, &keys, false, Utc::now(), &mut bytes, |_, _| {}).await.unwrap();
        assert_eq!((verified.events, verified.checkpoints, verified.fault), (12, 2, None));
        Self { folder: free_folder(), bytes, public: keys.public().swap_remove(0).1, anchors: [first, second] }
    }

    /// Without a database, a setting or a data folder.
    fn check(&self, bytes: &[u8], arguments: &[&str]) -> (bool, String) {
        let file = self.folder.join("log.bundle");
        std::fs::write(&file, bytes).unwrap();
        let mut command: Command = bare_command(&self.folder.join("none"));
        command.env_remove("SHOPIFY_API_SECRET").args(["verify", "--bundle"]).arg(&file).args(arguments);
        let output = command.output().unwrap();
        assert!(!self.folder.join("none").exists(), "it needs no data folder");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text.into_owned())
    }

    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.bytes.clone()).unwrap().lines().map(|line| format!("{line}\n")).collect()
    }
}

fn is_bad(checked: &Result<Checked, BundleError>) -> bool {
    checked.as_ref().map_or(true, |checked| checked.verified.fault.is_some())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_is_checked_without_a_database_and_every_change_of_it_is_found() {
    let (database, _server, shop) = world().await;
    let bundle = Bundle::new(&database.open(), &shop).await;
    let (ok, text) = bundle.check(&bundle.bytes, &[]);
    assert!(ok && text.contains("12 events, unbroken") && text.contains("which the file names itself"), "{text}");
    let (ok, text) = bundle.check(&bundle.bytes, &["--public-key", &bundle.public]);
    assert!(ok && text.contains("by the given key"), "{text}");
    let key_file = bundle.folder.join("key");
    std::fs::write(&key_file, format!("{}\n", bundle.public)).unwrap();
    let (ok, text) = bundle.check(&bundle.bytes, &["--public-key", key_file.to_str().unwrap(), "--json"]);
    let answer: Value = serde_json::from_str(text.trim()).unwrap();
    assert!(
        ok && answer["good_events"] == 12 && answer["end"]["position"] == 12 && answer["fault"].is_null(),
        "{text}"
    );
    let stranger = new_keys().public().swap_remove(0).1;
    let (ok, text) = bundle.check(&bundle.bytes, &["--public-key", &stranger]);
    assert!(!ok && text.contains("which is not the given one"), "{text}");
    let (ok, text) = bundle.check(&bundle.bytes, &["--public-key", "none"]);
    assert!(!ok && text.contains("neither 32 bytes"), "{text}");

    // Line 1 is the header, event n stands in line n + 1 up to 11, then comes a checkpoint, event 12, and the end.
    let lines = bundle.lines();
    assert_eq!(lines.len(), 16, "{lines:#?}");
    let without =
        |index: usize| lines.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, line)| &**line).collect();
    let swapped = |a: usize, b: usize| {
        let mut lines: Vec<&str> = lines.iter().map(|line| &**line).collect();
        lines.swap(a, b);
        lines.concat()
    };
    let replaced = |index: usize, from: &str, to: &str| {
        let mut lines = lines.clone();
        let changed = lines[index].replacen(from, to, 1);
        assert_ne!(changed, lines[index], "{from}");
        lines[index] = changed;
        lines.concat()
    };
    let in_capitals = |index: usize| {
        let (rest, hash) = lines[index].rsplit_once(":\"").unwrap();
        let hash = hash.trim_end_matches("\"}}\n");
        replaced(index, &format!("{rest}:\"{hash}"), &format!("{rest}:\"{}", hash.to_uppercase()))
    };
    let end = lines.last().unwrap();
    let harms: Vec<(String, &str)> = vec![
        (without(5), "BROKEN at position 5: events are missing here"),
        (swapped(4, 5), "BROKEN at position 4: events are missing here"),
        (
            replaced(3, "subtotal_minor\\\":1000", "subtotal_minor\\\":1001"),
            "BROKEN at position 3: the event is not the one",
        ),
        (replaced(3, "webhook", "webhooK"), "BROKEN at position 3: the event is not the one"),
        (replaced(3, "\"sequence\":2", "\"sequence\":3"), "BROKEN at position 3: the event is not the one"),
        (replaced(3, "Z\"", "+00:00\""), "line 4: it is not written as it was"),
        (replaced(3, "{\"event\":{", "{\"event\": {"), "line 4: it is not written as it was"),
        (replaced(3, "\"hash\":\"", "\"hash\":\"x"), "line 4: its hash is none"),
        (in_capitals(3), "line 4: its hash is none"),
        (replaced(3, "{\"event\"", "{\"happening\""), "line 4: it cannot be read"),
        (replaced(3, "\n", "\n\n"), "line 5: it cannot be read"),
        (replaced(0, "ecomdash log 1", "ecomdash log 2"), "line 1: it is a bundle of another format"),
        (replaced(0, &shop.id.to_string()[..8], "00000000"), "BROKEN at position 1"),
        (replaced(0, "\"keys\":[[\"", "\"keys\":[[\"f"), "line 1: a key does not have the id"),
        (replaced(12, "\"position\":11", "\"position\":12"), "line 13: the checkpoint is not of the event before it"),
        (
            replaced(12, "\"at\":\"2", "\"at\":\"3"),
            "BROKEN at position 11: the checkpoint of this position was not signed",
        ),
        (
            replaced(15, "\"at\":\"2", "\"at\":\"3"),
            "BROKEN at position 12: the checkpoint of this position was not signed",
        ),
        (
            replaced(15, "\"key_id\":\"", "\"key_id\":\"f"),
            "line 16: the checkpoint is of a key that the bundle does not have",
        ),
        (without(15), "line 16: the bundle was cut"),
        ([&lines[..8].concat(), end.as_str()].concat(), "BROKEN at position 8: events are missing here"),
        (lines.concat() + "\n", "line 17"),
        (lines.concat() + end, "line 17: there is something behind the end"),
        (lines.concat().trim_end().to_owned(), "line 16: the line was cut"),
        (lines[1..].concat(), "line 1: it is not the header"),
        (lines[0].clone() + &lines.concat(), "line 2: there is a second header"),
        (String::new(), "it is not the header"),
    ];
    for (text, told) in harms {
        let (ok, said) = bundle.check(text.as_bytes(), &[]);
        assert!(!ok && said.contains(told), "{told}: {said}");
    }

    // Any cut, and any changed byte, wherever it is.
    let seed = seed();
    eprintln!("SEED={seed}");
    let mut rng = rng(seed);
    for _ in 0..400 {
        let cut = rng.random_range(0..bundle.bytes.len());
        assert!(is_bad(&check_bundle(&bundle.bytes[..cut], &Trust::default(), |_| {})), "cut at {cut}, SEED={seed}");
        let (at, bit) = (rng.random_range(0..bundle.bytes.len()), rng.random_range(0..8));
        let mut flipped = bundle.bytes.clone();
        flipped[at] ^= 1 << bit;
        assert!(is_bad(&check_bundle(&*flipped, &Trust::default(), |_| {})), "bit {bit} of byte {at}, SEED={seed}");
    }
    std::fs::remove_dir_all(&bundle.folder).unwrap();
}

/// Whoever wrote a bundle anew has signed it with a key of their own, which it names. What was kept elsewhere shows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_is_compared_with_checkpoints_that_were_kept_elsewhere() {
    let (database, _server, shop) = world().await;
    let store = database.open();
    let bundle = Bundle::new(&store, &shop).await;
    let file = bundle.folder.join("anchor.json");
    let anchor = ["--anchor", file.to_str().unwrap()];
    let write = |anchors: &[Checkpoint]| {
        let lines: Vec<String> = anchors.iter().map(|anchor| serde_json::to_string(anchor).unwrap()).collect();
        std::fs::write(&file, lines.join("\n")).unwrap();
    };
    write(&bundle.anchors);
    let (ok, text) = bundle.check(&bundle.bytes, &anchor);
    assert!(ok && text.contains("; 5 checkpoints as they were signed"), "{text}");
    let (ok, text) = bundle.check(&bundle.bytes, &[&anchor[..], &["--public-key", &bundle.public]].concat());
    assert!(ok && text.contains("by the given key"), "{text}");

    // The log is written anew, and so is what was signed of it.
    let mut superuser = database.superuser().await;
    tamper(&mut superuser, "DELETE FROM log_checkpoints").await;
    rewrite(&store, &mut superuser, &shop, 5).await;
    let theirs = new_keys();
    let mut bytes = Vec::new();
    export(&store, shop.id, &theirs, false, Utc::now(), &mut bytes, |_, _| {}).await.unwrap();
    let (ok, text) = bundle.check(&bytes, &[]);
    assert!(ok && text.contains("which the file names itself"), "{text}");
    let (ok, text) = bundle.check(&bytes, &anchor);
    assert!(!ok && text.contains("the checkpoint of position 11 is signed by key"), "{text}");
    write(&bundle.anchors[1..]);
    let given = [&anchor[..], &["--public-key", &bundle.public]].concat();
    let (ok, text) = bundle.check(&bytes, &given);
    assert!(!ok && text.contains("BROKEN at position 12: the log is not the one that was signed"), "{text}");
    // One that ends before what was signed, too.
    tamper(&mut superuser, "DELETE FROM log_checkpoints").await;
    cut_off(&mut superuser, &shop, 8).await;
    let mut bytes = Vec::new();
    export(&store, shop.id, &theirs, false, Utc::now(), &mut bytes, |_, _| {}).await.unwrap();
    let (ok, text) = bundle.check(&bytes, &given);
    assert!(!ok && text.contains("BROKEN at position 9: events are missing here"), "{text}");
    let mut strange = bundle.anchors[1].clone();
    strange.shop = domain::ShopId(uuid::Uuid::nil());
    write(&[strange]);
    let (ok, text) = bundle.check(&bytes, &given);
    assert!(!ok && text.contains("is of another shop"), "{text}");
    let (ok, text) = run(&database, &["verify", "--anchor", file.to_str().unwrap()]);
    assert!(!ok && text.contains("--shop"), "{text}");
    std::fs::remove_dir_all(&bundle.folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_of_a_broken_log_is_not_written() {
    let (database, _server, shop) = world().await;
    let folder = free_folder();
    let file = folder.join("log.bundle");
    let export = ["verify", "--shop", &shop.domain, "--export", file.to_str().unwrap()];
    let (ok, text) = run(&database, &export);
    assert!(ok && text.contains("11 events, unbroken"), "{text}");
    let whole = std::fs::read(&file).unwrap();
    assert!(!is_bad(&check_bundle(&*whole, &Trust::default(), |_| {})));
    let mut superuser = database.superuser().await;
    keep(&mut superuser).await;
    tamper(&mut superuser, "UPDATE events SET event_version = '99' WHERE position = 7").await;
    let (ok, text) = run(&database, &export);
    assert!(!ok && text.contains("BROKEN at position 7"), "{text}");
    assert_eq!(std::fs::read(&file).unwrap(), whole, "what was there is whole");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);

    // Nor is it signed, however short of its end it is broken, or where more was signed than there is.
    restore(&mut superuser).await;
    let body = order(9, "2026-11-01T12:00:00Z", vec![line(9, "10.00", 1)]);
    assert_eq!(shop.deliver("orders/create", &body.0).await, 200);
    shop.stats("2026-11-01", "2026-11-01").await;
    forget(&mut superuser).await;
    keep(&mut superuser).await;
    let harms = [
        (
            "UPDATE events SET event_version = '99' WHERE position = 12",
            "BROKEN at position 12: the event is not the one",
        ),
        ("UPDATE heads SET hash = set_byte(hash, 3, get_byte(hash, 3) # 2)", "BROKEN at position 12: the head"),
        ("UPDATE heads SET position = 13", "BROKEN at position 13: the head"),
        ("UPDATE log_checkpoints SET signature = 'AAAA'", "BROKEN at position 11: the checkpoint"),
        ("UPDATE log_checkpoints SET key_id = 'stranger'", "NOT PROVEN at position 11"),
    ];
    for (harm, told) in harms {
        tamper(&mut superuser, harm).await;
        let (ok, text) = run(&database, &export);
        assert!(!ok && text.contains(told), "{harm}: {text}");
        assert_eq!(number(&mut superuser, "SELECT max(position) FROM log_checkpoints").await, 11, "{harm}");
        restore(&mut superuser).await;
    }
    cut_off(&mut superuser, &shop, 10).await;
    let (ok, text) = run(&database, &export);
    assert!(!ok && text.contains("BROKEN at position 11: events are missing here"), "{text}");
    assert_eq!(std::fs::read(&file).unwrap(), whole, "what was there is whole");
    std::fs::remove_dir_all(folder).unwrap();
}
