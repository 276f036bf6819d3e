//! Signed checkpoints of a log: who signs when, and that only what was verified is signed.

use api::Role;
use chrono::{TimeDelta, Utc};
use ecomdash_tests::{
    Ecomdash,
    bodies::{line, order},
    client, command_on, number,
    tampering::{cut_off, forget, keep, new_keys, restore, rewrite, tamper, world},
    until,
};
use event_store::{Checkpoint, StoreError, sign, sign_if_due};
use secrecy::ExposeSecret;
use serde_json::Value;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auditor_verifies_the_log_and_takes_a_signed_checkpoint() {
    let (database, server, shop) = world().await;
    let store = database.open();
    let token = ecomdash_tests::issue_token(&store, Some(shop.id), Role::Auditor, None).await.unwrap();
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
    assert_eq!((&good["valid"], &good["events"]), (&true.into(), &12.into()), "{good}");
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
    assert_eq!(bad["first_bad"]["position"], 12, "{bad}");
    assert_eq!(ask("/api/audit/checkpoint").await.0, 409);
    restore(&mut superuser).await;

    // What was added since is looked at before it is signed.
    let body = order(6, "2026-11-01T12:00:00Z", vec![line(6, "10.00", 1)]);
    assert_eq!(shop.deliver("orders/create", &body.0).await, 200);
    shop.stats("2026-11-01", "2026-11-01").await;
    forget(&mut superuser).await;
    keep(&mut superuser).await;
    for harm in [
        "UPDATE events SET payload = replace(payload::text, '1000', '1001')::json WHERE position = 13",
        "DELETE FROM events WHERE position = 13",
        "UPDATE heads SET hash = set_byte(hash, 3, get_byte(hash, 3) # 2)",
    ] {
        tamper(&mut superuser, harm).await;
        let (status, problem) = ask("/api/audit/checkpoint").await;
        assert!(status == 409 && problem.contains("nothing is signed: at position 1"), "{harm}: {status} {problem}");
        assert_eq!(number(&mut superuser, "SELECT max(position) FROM log_checkpoints").await, 12, "{harm}");
        restore(&mut superuser).await;
    }
    // One of a key that nobody knows is in nobody's way, and is not what is handed out. It is no proof either.
    let theirs = new_keys();
    tamper(&mut superuser, "DELETE FROM log_checkpoints").await;
    sign(&store, shop.id, &theirs, Utc::now()).await.unwrap();
    let (status, text) = ask("/api/audit/checkpoint").await;
    assert_eq!(status, 200, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let checkpoint: Checkpoint = serde_json::from_value(answer.clone()).unwrap();
    assert!(checkpoint.position == 13 && checkpoint.key_id != theirs.newest_id(), "{answer}");
    assert!(checkpoint.is_genuine(answer["public_key"].as_str().unwrap()), "{answer}");
    let unproven = verify().await;
    assert_eq!(
        (&unproven["valid"], &unproven["events"], &unproven["signed_up_to"]),
        (&false.into(), &13.into(), &0.into())
    );
    assert_eq!(
        (&unproven["unknown_key"], &unproven["first_bad"]["position"]),
        (&theirs.newest_id().into(), &13.into())
    );
}
