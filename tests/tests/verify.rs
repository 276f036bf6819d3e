//! `verify` finds whatever a superuser did to the log with the trigger lifted: by the chain, by what was signed of it, and
//! in a bundle without any database.

use std::{path::PathBuf, process::Command};

use api::Role;
use chrono::{DateTime, TimeDelta, Utc};
use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase, bare_command,
    bodies::{line, order, refund},
    client, command_on, free_folder, number,
    random::{rng, seed},
    run, until,
};
use event_store::{
    BundleError, Checked, Checkpoint, Database, FaultKind, StoreError, Trust, Verified, check_bundle, events, export,
    sign_if_due, verify, verify_with,
};
use futures::TryStreamExt;
use rand::RngExt;
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::PgConnection;
use vault::{MasterRing, SigningKeys};

async fn world() -> (TestDatabase, Ecomdash, Shop) {
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    let shop = Shop::register(&database.open(), &server.url, "UTC", "USD").await;
    for id in 1..=5 {
        let body = order(id, "2026-11-01T12:00:00Z", vec![line(id, "10.00", 1)]);
        assert_eq!(shop.deliver("orders/create", &body.0).await, 200);
        let refund = refund(id, id, "2026-11-02T12:00:00Z").line(id, 1, "10.00", "0.00", "return");
        assert_eq!(shop.deliver("refunds/create", &refund.0).await, 200);
    }
    shop.stats("2026-11-01", "2026-11-01").await;
    // A worker may have signed the first events when it began.
    tamper(&mut database.superuser().await, "DELETE FROM log_checkpoints").await;
    (database, server, shop)
}

async fn tamper(connection: &mut PgConnection, sql: &str) {
    let sql = format!(
        "BEGIN; ALTER TABLE events DISABLE TRIGGER ALL; ALTER TABLE log_checkpoints DISABLE TRIGGER ALL; {sql};
         ALTER TABLE events ENABLE TRIGGER ALL; ALTER TABLE log_checkpoints ENABLE TRIGGER ALL; COMMIT"
    );
    sqlx::raw_sql(&sql).execute(connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

#[tokio::test]
async fn every_kind_of_tampering_is_found_at_its_place() {
    let (database, _server, shop) = world().await;
    let store = database.open();
    let clean = verify(&store, shop.id, |_| {}).await.unwrap();
    assert_eq!((clean.events, clean.fault), (11, None));

    let mut superuser = database.superuser().await;
    sqlx::raw_sql("CREATE TABLE kept AS SELECT * FROM events; CREATE TABLE kept_heads AS SELECT * FROM heads")
        .execute(&mut superuser)
        .await
        .unwrap();
    let id = shop.id;
    let other = uuid::Uuid::new_v4();
    let at = |position: i64| format!("WHERE shop_id = '{id}' AND position = {position}");
    // Every column, one after the other.
    let mut cases: Vec<(String, i64)> = vec![
        (format!("UPDATE events SET recorded_at = recorded_at + interval '1 microsecond' {}", at(4)), 4),
        (format!("UPDATE events SET aggregate_type = 'ordeR' {}", at(4)), 4),
        (format!("UPDATE events SET aggregate_id = aggregate_id || '0' {}", at(4)), 4),
        (format!("UPDATE events SET sequence = sequence + 7 {}", at(4)), 4),
        (format!("UPDATE events SET event_type = 'OrderDeleted' {}", at(4)), 4),
        (format!("UPDATE events SET event_version = '99' {}", at(4)), 4),
        (format!("UPDATE events SET payload = (payload::text || ' ')::json {}", at(4)), 4),
        (format!("UPDATE events SET metadata = replace(metadata::text, 'webhook', 'webhooK')::json {}", at(4)), 4),
        (format!("UPDATE events SET hash = set_byte(hash, 31, get_byte(hash, 31) # 1) {}", at(4)), 4),
        (format!("UPDATE events SET hash = set_byte(hash, 0, get_byte(hash, 0) # 128) {}", at(11)), 11),
        (format!("UPDATE events SET position = 100 {}", at(4)), 4),
        (format!("UPDATE events SET shop_id = '{other}' {}", at(4)), 4),
        (format!("DELETE FROM events {}", at(1)), 1),
        (format!("DELETE FROM events {}", at(6)), 6),
        (format!("DELETE FROM events {}", at(11)), 11),
        (format!("DELETE FROM events WHERE shop_id = '{id}'"), 1),
        // Two rows change places.
        (
            format!(
                "UPDATE events SET position = 50 {}; UPDATE events SET position = 4 {}; \
                 UPDATE events SET position = 5 WHERE shop_id = '{id}' AND position = 50",
                at(4),
                at(5)
            ),
            4,
        ),
        // A row put in between, behind the end, and with a hash copied from another.
        (
            format!(
                "UPDATE events SET position = position + 1000 WHERE shop_id = '{id}' AND position > 6; \
                 UPDATE events SET position = position - 999 WHERE shop_id = '{id}' AND position > 1000; \
                 INSERT INTO events SELECT shop_id, 7, recorded_at, aggregate_type, 'x', 1, event_type, event_version, \
                 payload, metadata, hash FROM events {}",
                at(6)
            ),
            7,
        ),
        (
            format!(
                "INSERT INTO events SELECT shop_id, 12, recorded_at, aggregate_type, 'x', 1, event_type, event_version, \
                 payload, metadata, hash FROM events {}",
                at(11)
            ),
            12,
        ),
        (format!("UPDATE heads SET hash = set_byte(hash, 3, get_byte(hash, 3) # 2) WHERE shop_id = '{id}'"), 11),
        (format!("UPDATE heads SET position = 12 WHERE shop_id = '{id}'"), 12),
    ];
    // A flipped bit anywhere in a payload, keeping it JSON: another digit, another letter.
    for (from, to) in [("price_minor\":1000", "price_minor\":1001"), ("\"r\":1", "\"r\":2"), ("sealed", "sealee")] {
        cases
            .push((format!("UPDATE events SET payload = replace(payload::text, '{from}', '{to}')::json {}", at(2)), 2));
    }
    for (sql, position) in cases {
        tamper(&mut superuser, &sql).await;
        let found = verify(&store, shop.id, |_| {}).await.unwrap();
        assert_eq!(found.fault.as_ref().map(|fault| fault.position), Some(position), "{sql}: {found:?}");
        tamper(
            &mut superuser,
            "DELETE FROM events; INSERT INTO events SELECT * FROM kept; DELETE FROM heads; INSERT INTO heads SELECT * FROM kept_heads",
        )
        .await;
        assert_eq!(verify(&store, shop.id, |_| {}).await.unwrap().fault, None, "restored after {sql}");
    }
    let (ok, text) = run(&database, &["verify", "--shop", &shop.domain, "--json"]);
    assert!(ok && text.contains("\"good_events\":11"), "{text}");
    tamper(&mut superuser, &format!("DELETE FROM events {}", at(6))).await;
    let (ok, text) = run(&database, &["verify", "--shop", &shop.domain]);
    assert!(!ok && text.contains("BROKEN at position 6"), "{text}");
}

fn new_keys() -> SigningKeys {
    SigningKeys::parse(&MasterRing::generate_key().unwrap()).unwrap()
}

async fn sign(store: &Database, shop: &Shop, keys: &SigningKeys, at: DateTime<Utc>) -> Checkpoint {
    let mut tx = store.begin(shop.id).await.unwrap();
    let checkpoint = tx.checkpoint(keys, at).await.unwrap();
    tx.commit().await.unwrap();
    checkpoint
}

/// What is found with these keys and anchors.
async fn found(store: &Database, shop: &Shop, keys: &SigningKeys, anchors: &[Checkpoint]) -> Verified {
    let trust = Trust { keys: keys.public(), anchors: anchors.to_vec() };
    verify_with(store, shop.id, trust, |_| {}).await.unwrap()
}

fn fault(verified: &Verified) -> Option<(i64, FaultKind)> {
    verified.fault.as_ref().map(|fault| (fault.position, fault.kind))
}

/// What whoever has the database and the program can do: another log from a position on, whose chain and head hold.
async fn rewrite(store: &Database, superuser: &mut PgConnection, shop: &Shop, from: i64) {
    let log: Vec<_> = events(store, shop.id, 0, i64::MAX).try_collect().await.unwrap();
    let (kept, changed) = log.split_at(usize::try_from(from).unwrap() - 1);
    let mut hash: [u8; 32] = kept.last().map_or(event_store::GENESIS, |last| last.hash.as_slice().try_into().unwrap());
    let mut sql = String::new();
    for event in changed {
        let mut event = event.clone();
        event.metadata = event.metadata.replace("webhook", "command");
        hash = event.link(shop.id).hash(&hash);
        sql += &format!(
            "UPDATE events SET metadata = '{}', hash = '\\x{}' WHERE shop_id = '{}' AND position = {};",
            event.metadata,
            hex(&hash),
            shop.id,
            event.position
        );
    }
    sql += &format!("UPDATE heads SET hash = '\\x{}' WHERE shop_id = '{}'", hex(&hash), shop.id);
    tamper(superuser, &sql).await;
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The log ends after so many events, and its head says so.
async fn cut_off(superuser: &mut PgConnection, shop: &Shop, after: i64) {
    let id = shop.id;
    let sql = format!(
        "UPDATE heads h SET position = e.position, hash = e.hash, recorded_at = e.recorded_at
         FROM events e WHERE e.shop_id = h.shop_id AND h.shop_id = '{id}' AND e.position = {after};
         DELETE FROM events WHERE shop_id = '{id}' AND position > {after}"
    );
    tamper(superuser, &sql).await;
}

async fn keep(superuser: &mut PgConnection) {
    let sql = "CREATE TABLE kept AS SELECT * FROM events; CREATE TABLE kept_heads AS SELECT * FROM heads;
               CREATE TABLE kept_checkpoints AS SELECT * FROM log_checkpoints";
    sqlx::raw_sql(sql).execute(superuser).await.unwrap();
}

async fn restore(superuser: &mut PgConnection) {
    let sql = "DELETE FROM events; INSERT INTO events SELECT * FROM kept; DELETE FROM heads;
               INSERT INTO heads SELECT * FROM kept_heads; DELETE FROM log_checkpoints;
               INSERT INTO log_checkpoints SELECT * FROM kept_checkpoints";
    tamper(superuser, sql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_written_anew_with_a_chain_that_holds_is_found_by_what_was_signed() {
    let (database, _server, shop) = world().await;
    let store = database.open();
    let keys = new_keys();
    let anchor = sign(&store, &shop, &keys, Utc::now()).await;
    assert_eq!(anchor.position, 11);
    assert_eq!(sign(&store, &shop, &keys, Utc::now() + TimeDelta::hours(1)).await, anchor, "once for a position");
    for id in 6..=7 {
        let body = order(id, "2026-11-01T12:00:00Z", vec![line(id, "10.00", 1)]);
        assert_eq!(shop.deliver("orders/create", &body.0).await, 200);
    }
    shop.stats("2026-11-01", "2026-11-01").await;
    let clean = found(&store, &shop, &keys, &[]).await;
    assert_eq!((clean.events, clean.checkpoints, clean.unchecked_signatures, clean.fault), (13, 1, 0, None));

    let mut superuser = database.superuser().await;
    keep(&mut superuser).await;
    let forget = format!("DELETE FROM log_checkpoints WHERE shop_id = '{}'", shop.id);
    for (first, expected) in [(13, None), (12, None), (11, Some(11)), (6, Some(11)), (1, Some(11))] {
        rewrite(&store, &mut superuser, &shop, first).await;
        let expected = expected.map(|position| (position, FaultKind::Rewritten(0)));
        assert_eq!(fault(&found(&store, &shop, &keys, &[]).await), expected, "rewritten from {first}");
        // Where the table was rewritten, too, what is kept elsewhere shows it.
        tamper(&mut superuser, &forget).await;
        assert_eq!(fault(&found(&store, &shop, &keys, &[]).await), None);
        assert_eq!(
            fault(&found(&store, &shop, &keys, std::slice::from_ref(&anchor)).await),
            expected,
            "rewritten from {first}"
        );
        restore(&mut superuser).await;
    }
    for (after, expected) in [(12, None), (11, None), (10, Some(11)), (4, Some(5))] {
        cut_off(&mut superuser, &shop, after).await;
        let expected = expected.map(|position| (position, FaultKind::CutOff(11)));
        assert_eq!(fault(&found(&store, &shop, &keys, &[]).await), expected, "cut off after {after}");
        tamper(&mut superuser, &forget).await;
        assert_eq!(
            fault(&found(&store, &shop, &keys, std::slice::from_ref(&anchor)).await),
            expected,
            "cut off after {after}"
        );
        restore(&mut superuser).await;
    }
    // A good one in between is where the search may begin.
    let second = sign(&store, &shop, &keys, Utc::now()).await;
    rewrite(&store, &mut superuser, &shop, 12).await;
    assert_eq!(fault(&found(&store, &shop, &keys, &[]).await), Some((13, FaultKind::Rewritten(11))));
    restore(&mut superuser).await;

    // Whoever writes a checkpoint of their log cannot sign it.
    rewrite(&store, &mut superuser, &shop, 6).await;
    let log: Vec<_> = events(&store, shop.id, 10, 11).try_collect().await.unwrap();
    let forge = format!("UPDATE log_checkpoints SET hash = '\\x{}'", hex(&log[0].hash));
    tamper(&mut superuser, &forge).await;
    assert_eq!(fault(&found(&store, &shop, &keys, &[]).await), Some((11, FaultKind::Forged)));
    for change in ["signed_at = signed_at - interval '1 day'", "position = 9", "signature = 'AAAA'"] {
        restore(&mut superuser).await;
        tamper(&mut superuser, &format!("UPDATE log_checkpoints SET {change}")).await;
        let position = if change.starts_with("position") { 9 } else { 11 };
        assert_eq!(fault(&found(&store, &shop, &keys, &[]).await), Some((position, FaultKind::Forged)), "{change}");
    }
    restore(&mut superuser).await;
    // By other keys it is compared, and said that nobody knows who signed.
    let others = new_keys();
    let unknown = found(&store, &shop, &others, &[]).await;
    assert_eq!((unknown.checkpoints, unknown.unchecked_signatures, unknown.fault), (1, 1, None));

    // From the command line.
    let folder = free_folder();
    let (_, public) = keys.public().swap_remove(0);
    let file = folder.join("anchor.json");
    std::fs::write(
        &file,
        format!("{}\n{}", serde_json::to_string_pretty(&anchor).unwrap(), serde_json::to_string(&second).unwrap()),
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let verify = ["verify", "--shop", &shop.domain, "--anchor", file, "--public-key", &public];
    let (ok, text) = run(&database, &verify);
    assert!(ok && text.contains("13 events, unbroken") && text.contains("; 3 checkpoints"), "{text}");
    let (ok, text) = run(&database, &verify[..5]);
    assert!(!ok && text.contains("give it by --public-key"), "{text}");
    let mut forged = anchor.clone();
    forged.position = 10;
    std::fs::write(file, serde_json::to_string(&forged).unwrap()).unwrap();
    let (ok, text) = run(&database, &verify);
    assert!(!ok && text.contains("is not what key"), "{text}");
    std::fs::write(file, serde_json::to_string(&second).unwrap()).unwrap();
    cut_off(&mut superuser, &shop, 12).await;
    let (ok, text) = run(&database, &verify);
    assert!(!ok && text.contains("BROKEN at position 13: events are missing here"), "{text}");
    std::fs::remove_dir_all(folder).unwrap();
}

/// What comes while it is read, and is signed meanwhile, is no fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_grows_and_is_signed_meanwhile_is_whole() {
    let (database, _server, shop) = world().await;
    let store = database.open();
    let keys = new_keys();
    let growing = async {
        for id in 100..180 {
            let body = order(id, "2026-11-01T12:00:00Z", vec![line(id, "10.00", 1)]);
            assert_eq!(shop.deliver("orders/create", &body.0).await, 200);
            sign(&store, &shop, &keys, Utc::now()).await;
        }
        shop.stats("2026-11-01", "2026-11-01").await;
    };
    let mut looks = 0;
    let looking = async {
        loop {
            let verified = found(&store, &shop, &keys, &[]).await;
            assert_eq!(verified.fault, None, "{verified:?}");
            looks += 1;
        }
    };
    tokio::select! {
        () = growing => {}
        () = looking => {}
    }
    let verified = found(&store, &shop, &keys, &[]).await;
    assert_eq!((verified.events, verified.fault), (91, None));
    assert!(looks >= 10 && verified.checkpoints >= 5, "{looks} looks, {} checkpoints", verified.checkpoints);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_sign_what_follows_from_what_was_signed_and_nothing_else() {
    let (database, server, shop) = world().await;
    let store = database.open();
    let keys = new_keys();
    let now = Utc::now();
    let due = async |at| sign_if_due(&store, shop.id, &keys, at).await;
    let signed = due(now).await.unwrap().expect("nothing was signed before");
    assert_eq!((signed.position, signed.is_genuine(&keys.public()[0].1)), (11, true));
    assert_eq!(due(now + TimeDelta::days(2)).await.unwrap(), None, "nothing is new");
    let body = order(8, "2026-11-01T12:00:00Z", vec![line(8, "10.00", 1)]);
    assert_eq!(shop.deliver("orders/create", &body.0).await, 200);
    shop.stats("2026-11-01", "2026-11-01").await;
    assert_eq!(due(now + TimeDelta::hours(23)).await.unwrap(), None, "it is not long ago");
    let mut superuser = database.superuser().await;
    keep(&mut superuser).await;
    let next = now + TimeDelta::days(1);
    for harm in ["UPDATE events SET event_version = '99' WHERE position = 12", "UPDATE heads SET position = 13"] {
        tamper(&mut superuser, harm).await;
        let refused = due(next).await.unwrap_err();
        assert!(matches!(refused, StoreError::BrokenChain { .. }), "{harm}: {refused}");
        restore(&mut superuser).await;
    }
    cut_off(&mut superuser, &shop, 10).await;
    assert!(matches!(due(next).await, Err(StoreError::BrokenChain { position: 11, .. })));
    restore(&mut superuser).await;
    rewrite(&store, &mut superuser, &shop, 11).await;
    assert!(matches!(due(next).await, Err(StoreError::BrokenChain { position: 12, .. })));
    restore(&mut superuser).await;
    assert_eq!(due(next).await.unwrap().map(|signed| signed.position), Some(12));
    // A worker does it by itself.
    tamper(&mut superuser, "DELETE FROM log_checkpoints").await;
    drop(server);
    let mut command = command_on(&database);
    command.arg("work");
    let _worker = Ecomdash::work(command);
    let count = "SELECT count(*) FROM log_checkpoints WHERE position = 12";
    until("it is signed", async || number(&mut superuser, count).await == 1).await;
}

struct Bundle {
    folder: PathBuf,
    bytes: Vec<u8>,
    /// In base64.
    public: String,
}

impl Bundle {
    async fn new(store: &Database, shop: &Shop) -> Self {
        let (old, new) = (MasterRing::generate_key().unwrap(), MasterRing::generate_key().unwrap());
        let old_keys = SigningKeys::parse(&old).unwrap();
        sign(store, shop, &old_keys, Utc::now()).await;
        let body = order(9, "2026-11-01T12:00:00Z", vec![line(9, "10.00", 1)]).with("note", "ö \"\\".into());
        assert_eq!(shop.deliver("orders/create", &body.0).await, 200);
        shop.stats("2026-11-01", "2026-11-01").await;
        let keys = SigningKeys::parse(&format!("{new},{old}")).unwrap();
        let mut bytes = Vec::new();
        let verified = export(store, shop.id, &keys, Utc::now(), &mut bytes, |_, _| {}).await.unwrap();
        assert_eq!((verified.events, verified.checkpoints, verified.fault), (12, 3, None));
        Self { folder: free_folder(), bytes, public: keys.public().swap_remove(0).1 }
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
        assert!(is_bad(&check_bundle(&bundle.bytes[..cut], &[], |_| {})), "cut at {cut}, SEED={seed}");
        let (at, bit) = (rng.random_range(0..bundle.bytes.len()), rng.random_range(0..8));
        let mut flipped = bundle.bytes.clone();
        flipped[at] ^= 1 << bit;
        assert!(is_bad(&check_bundle(&*flipped, &[], |_| {})), "bit {bit} of byte {at}, SEED={seed}");
    }
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
    assert!(!is_bad(&check_bundle(&*whole, &[], |_| {})));
    let mut superuser = database.superuser().await;
    tamper(&mut superuser, "UPDATE events SET event_version = '99' WHERE position = 7").await;
    let (ok, text) = run(&database, &export);
    assert!(!ok && text.contains("BROKEN at position 7"), "{text}");
    assert_eq!(std::fs::read(&file).unwrap(), whole, "what was there is whole");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auditor_verifies_the_log_and_takes_a_signed_checkpoint() {
    let (database, server, shop) = world().await;
    let store = database.open();
    let token = api::issue(&store, Some(shop.id), Role::Auditor, None).await.unwrap();
    let ask = async |path: &str| {
        let request = client().get(format!("{}{path}", server.url)).bearer_auth(token.secret.expose_secret());
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let verify = async || {
        let (status, text) = ask("/api/audit/verify").await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str::<Value>(text.lines().last().unwrap()).unwrap()
    };
    let (status, text) = ask("/api/audit/checkpoint").await;
    assert_eq!(status, 200, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let checkpoint: Checkpoint = serde_json::from_value(answer.clone()).unwrap();
    assert!(checkpoint.is_genuine(answer["public_key"].as_str().unwrap()), "{answer}");
    let good = verify().await;
    assert_eq!((&good["valid"], &good["events"]), (&true.into(), &11.into()), "{good}");
    assert_eq!(
        (&good["hash"], &good["checkpoints"], &good["unchecked_signatures"]),
        (&answer["hash"], &1.into(), &0.into())
    );
    assert_eq!(ask("/api/audit/checkpoint").await.1, text, "as long as nothing is new");
    let mut superuser = database.superuser().await;
    keep(&mut superuser).await;
    tamper(&mut superuser, "UPDATE events SET event_version = '99' WHERE position = 7").await;
    let bad = verify().await;
    assert_eq!(
        (&bad["valid"], &bad["events"], &bad["first_bad"]["position"]),
        (&false.into(), &6.into(), &7.into()),
        "{bad}"
    );
    restore(&mut superuser).await;
    rewrite(&store, &mut superuser, &shop, 3).await;
    let bad = verify().await;
    assert_eq!(bad["first_bad"]["position"], 11, "{bad}");
    assert_eq!(ask("/api/audit/checkpoint").await.0, 409);
}
