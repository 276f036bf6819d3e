//! `verify` finds whatever a superuser did to the log with the trigger lifted: by the chain, and by what was signed of it.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use api::Role;
use chrono::{TimeDelta, Utc};
use ecomdash_tests::{
    Ecomdash, Shop,
    bodies::{line, order},
    client, command_on, free_folder, run,
    system::{forget_peak, peak_kib},
    tampering::{cut_off, hex, keep, lengthen, new_keys, plant, restore, rewrite, tamper, world},
};
use event_store::{Checkpoint, Database, FaultKind, Trust, Verified, events, sign, sign_if_due, verify, verify_with};
use futures::TryStreamExt;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use shopify::REVISION;
use vault::{MasterRing, SigningKeys};

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
    let revision = |number: u32| format!("\"r\":{number}");
    for (from, to) in [
        ("price_minor\":1000", "price_minor\":1001"),
        (&*revision(REVISION), &*revision(REVISION + 1)),
        ("sealed", "sealee"),
    ] {
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

/// What is found with these keys and anchors.
async fn found(store: &Database, shop: &Shop, keys: &SigningKeys, anchors: &[Checkpoint]) -> Verified {
    let trust = Trust { keys: keys.public(), anchors: anchors.to_vec(), ..Trust::default() };
    verify_with(store, shop.id, trust, |_| {}).await.unwrap()
}

fn fault(verified: &Verified) -> Option<(i64, FaultKind)> {
    verified.fault.as_ref().map(|fault| (fault.position, fault.kind))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_written_anew_with_a_chain_that_holds_is_found_by_what_was_signed() {
    let (database, _server, shop) = world().await;
    let store = database.open();
    let keys = new_keys();
    let anchor = sign(&store, shop.id, &keys, Utc::now()).await.unwrap();
    assert_eq!(anchor.position, 11);
    assert_eq!(
        sign(&store, shop.id, &keys, Utc::now() + TimeDelta::hours(1)).await.unwrap(),
        anchor,
        "once for a position"
    );
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
    let second = sign(&store, shop.id, &keys, Utc::now()).await.unwrap();
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

/// Whoever rewrites the log and the table of checkpoints can sign with a key of their own. It shows nothing to nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_signed_by_a_key_that_nobody_knows_proves_nothing() {
    let (database, _server, shop) = world().await;
    let store = database.open();
    let (ours, theirs) = (new_keys(), new_keys());
    sign(&store, shop.id, &ours, Utc::now()).await.unwrap();
    let mut superuser = database.superuser().await;
    rewrite(&store, &mut superuser, &shop, 4).await;
    tamper(&mut superuser, "DELETE FROM log_checkpoints").await;
    sign(&store, shop.id, &theirs, Utc::now()).await.unwrap();

    let unknown = found(&store, &shop, &ours, &[]).await;
    assert_eq!(fault(&unknown), Some((11, FaultKind::UnknownKey)));
    assert_eq!((unknown.events, unknown.checkpoints, unknown.unchecked_signatures), (11, 1, 1));
    assert_eq!((unknown.signed_up_to, unknown.unknown_key.clone()), (0, Some(theirs.newest_id())));
    // Whoever knows it, and says so, is told the rest.
    let trust = Trust { keys: ours.public(), accepts_unknown_keys: true, ..Trust::default() };
    let accepted = verify_with(&store, shop.id, trust, |_| {}).await.unwrap();
    assert_eq!(accepted, Verified { fault: None, ..unknown });
    // There is no place for another signature: nobody reads the log every hour to sign it.
    assert_eq!(sign_if_due(&store, shop.id, &ours, Utc::now()).await.unwrap(), None);
    // What is worse is told first, and nothing is found to be signed by what they signed.
    tamper(&mut superuser, "UPDATE events SET event_version = '99' WHERE position = 9").await;
    assert_eq!(fault(&found(&store, &shop, &ours, &[]).await), Some((9, FaultKind::Changed)));
    tamper(&mut superuser, "UPDATE events SET event_version = '1' WHERE position = 9").await;
    let body = order(6, "2026-11-01T12:00:00Z", vec![line(6, "10.00", 1)]);
    assert_eq!(shop.deliver("orders/create", &body.0).await, 200);
    shop.stats("2026-11-01", "2026-11-01").await;
    let mut forged = sign(&store, shop.id, &ours, Utc::now()).await.unwrap();
    tamper(&mut superuser, "DELETE FROM log_checkpoints WHERE position = 12").await;
    forged.signature = "AAAA".into();
    plant(&mut superuser, &shop, &forged).await;
    assert_eq!(fault(&found(&store, &shop, &ours, &[]).await), Some((12, FaultKind::Forged)));
    tamper(&mut superuser, "DELETE FROM log_checkpoints WHERE position = 12").await;

    // From the command line.
    let (_, public) = ours.public().swap_remove(0);
    let (ok, text) = run(&database, &["verify", "--public-key", &public]);
    let (id, told) = (theirs.newest_id(), "NOT PROVEN at position 11");
    assert!(!ok && text.contains(told) && text.contains(&format!("first one of key {id}")), "{text}");
    let (ok, text) = run(&database, &["verify", "--public-key", &public, "--json"]);
    let answer: Value = serde_json::from_str(text.trim()).unwrap();
    assert!(!ok && answer["unknown_key"] == *id && answer["fault"]["position"] == 11, "{text}");
    let (ok, text) = run(&database, &["verify", "--public-key", &public, "--accept-unknown-keys"]);
    assert!(ok && text.contains("; 0 checkpoints as they were signed") && text.contains("prove nothing"), "{text}");
    let (_, their_public) = theirs.public().swap_remove(0);
    let (ok, text) = run(&database, &["verify", "--public-key", &public, "--public-key", &their_public]);
    assert!(ok && text.contains("; 1 checkpoints as they were signed"), "{text}");
    // Beside those of the settings; and whoever has no settings makes no key that would sign what nobody can check.
    let with_settings = |arguments: &[&str], keys: &str| {
        let output = command_on(&database).args(arguments).env("SIGNING_KEYS", keys).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let seed = MasterRing::generate_key().unwrap();
    let newest = SigningKeys::parse(&seed).unwrap();
    sign(&store, shop.id, &newest, Utc::now()).await.unwrap();
    let (ok, text) = with_settings(&["verify", "--public-key", &their_public], &seed);
    assert!(ok && text.contains("; 2 checkpoints as they were signed"), "{text}");
    let (empty, export) = (free_folder(), ["verify", "--shop", &*shop.domain, "--export", "/nowhere/at/all"]);
    let output = command_on(&database).args(export).env("ECOMDASH_DATA", &empty).output().unwrap();
    let (ok, text) = (output.status.success(), String::from_utf8_lossy(&output.stderr));
    assert!(std::fs::read_dir(&empty).unwrap().next().is_none());
    std::fs::remove_dir(empty).unwrap();
    assert!(!ok && text.contains("SIGNING_KEYS is not set"), "{text}");
}

/// A key is replaced: of the former one the public half is enough to check what it signed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_signs_no_more_goes_on_to_check_what_it_signed() {
    let (database, _server, shop) = world().await;
    let store = database.open();
    let (former, newest) = (new_keys(), MasterRing::generate_key().unwrap());
    let first = sign(&store, shop.id, &former, Utc::now()).await.unwrap();
    let (_, public) = former.public().swap_remove(0);
    let keys = SigningKeys::parse(&format!("{newest},public:{public}")).unwrap();
    // The whole by the new key, for whoever trusts no other; stored it is once.
    let anew = sign(&store, shop.id, &keys, Utc::now()).await.unwrap();
    assert_eq!((&anew.key_id, &anew.hash, anew.position), (&keys.newest_id(), &first.hash, 11));
    assert_eq!(
        sign_if_due(&store, shop.id, &keys, Utc::now() + TimeDelta::days(3)).await.unwrap(),
        None,
        "nothing is new"
    );
    let body = order(6, "2026-11-01T12:00:00Z", vec![line(6, "10.00", 1)]);
    assert_eq!(shop.deliver("orders/create", &body.0).await, 200);
    shop.stats("2026-11-01", "2026-11-01").await;
    assert_eq!(sign(&store, shop.id, &keys, Utc::now()).await.unwrap().key_id, keys.newest_id());
    let verified = found(&store, &shop, &keys, &[]).await;
    assert_eq!((verified.checkpoints, verified.unchecked_signatures, verified.fault), (2, 0, None));
    assert_eq!(verified.signed_up_to, 12);
    let without = found(&store, &shop, &SigningKeys::parse(&newest).unwrap(), &[]).await;
    assert_eq!(fault(&without), Some((11, FaultKind::UnknownKey)));
}

/// What comes while it is read, and is signed meanwhile, is no fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_grows_and_is_signed_meanwhile_is_whole() {
    let (database, _server, shop) = world().await;
    let store = database.open();
    let keys = new_keys();
    let growing = async {
        for burst in 10..18 {
            for id in 10 * burst..10 * (burst + 1) {
                let body = order(id, "2026-11-01T12:00:00Z", vec![line(id, "10.00", 1)]);
                assert_eq!(shop.deliver("orders/create", &body.0).await, 200);
                // Wherever the log happens to end.
                sign(&store, shop.id, &keys, Utc::now()).await.unwrap();
            }
            // The worker may be slower than the signer, who then finds nothing new.
            shop.stats("2026-11-01", "2026-11-01").await;
            sign(&store, shop.id, &keys, Utc::now()).await.unwrap();
        }
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
    assert!(looks >= 8 && verified.checkpoints >= 8, "{looks} looks, {} checkpoints", verified.checkpoints);
}

/// Runs a command to its end. What it printed, and how much memory it took at most, in KiB.
fn peak_of(command: &mut Command) -> (String, i64) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        // It may end in between.
        peak = peak_kib(child.id()).unwrap_or(0).max(peak);
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{text}");
    (text, peak)
}

/// By whoever asks, by the command, of a database or a bundle: of many short events as of some very long ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_any_length_is_verified_in_constant_memory_and_says_how_far_it_is() {
    // A page of the log is at most 4 MiB, as it is stored, as it is read and as it is hashed; the long events are 60 MB.
    const MOST_KIB: i64 = 24 * 1024;
    let (database, _, shop) = world().await;
    let keys = MasterRing::generate_key().unwrap();
    let server = Ecomdash::start(&["serve", "--port", "0"], &database, &[("SIGNING_KEYS", &keys)]);
    let (store, mut superuser) = (database.open(), database.superuser().await);
    let token = ecomdash_tests::issue_token(&store, Some(shop.id), Role::Auditor, None).await.unwrap();
    let (_, public) = SigningKeys::parse(&keys).unwrap().public().remove(0);
    let folder = free_folder();
    let bundle = folder.join("bundle.ndjson").to_str().unwrap().to_owned();
    let verify = |arguments: &[&str]| {
        let mut command = command_on(&database);
        command.arg("verify").args(arguments).env("SIGNING_KEYS", &keys);
        peak_of(&mut command)
    };
    // What each takes of a log of a moderate length.
    let measure = async || {
        forget_peak(server.pid());
        let url = format!("{}/api/audit/verify", server.url);
        let answer = client().get(url).bearer_auth(token.secret.expose_secret()).send().await.unwrap();
        let lines: Vec<Value> =
            answer.text().await.unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of_server = peak_kib(server.pid()).unwrap();
        let (log, of_log) = verify(&["--shop", &shop.domain]);
        assert!(log.contains("unbroken"), "{log}");
        let (writing, of_writing) = verify(&["--shop", &shop.domain, "--export", &bundle]);
        let (text, of_bundle) = verify(&["--bundle", &bundle, "--public-key", &public]);
        assert!(text.contains("unbroken") && text.contains("by the given key"), "{text}");
        (lines, [log, writing], [of_server, of_log, of_writing, of_bundle])
    };
    lengthen(&store, &mut superuser, &shop, 3_000, 100).await;
    measure().await;
    let (lines, _, before) = measure().await;
    assert_eq!(lines.len(), 1, "nobody is told how far a short one is: {lines:?}");
    for (events, bytes) in [(60_000, 100), (150, 400_000)] {
        lengthen(&store, &mut superuser, &shop, events, bytes).await;
        let (head, _) = store.begin(shop.id).await.unwrap().head().await.unwrap();
        let (lines, texts, after) = measure().await;
        eprintln!("{before:?} {after:?} KiB");
        let [progress @ .., outcome] = &lines[..] else { panic!("an outcome") };
        assert_eq!((&outcome["valid"], &outcome["events"]), (&json!(true), &json!(head)), "{outcome}");
        assert!(!progress.is_empty(), "of {head} events");
        for line in progress {
            let (events, of) = (line["progress"]["events"].as_i64().unwrap(), &line["progress"]["of"]);
            assert!((50_000..=head).contains(&events) && *of == head, "{line}");
        }
        for text in texts {
            assert!(text.contains(&format!(" of {head} events")), "{text}");
        }
        for (before, after) in before.iter().zip(after) {
            assert!(after - before < MOST_KIB, "{events} events of {bytes} bytes: {before} became {after} KiB");
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}
