//! Somebody who was erased is nowhere: not in any answer, row, file, log or print, and not again after whatever follows.

use std::collections::BTreeSet;

use ecomdash_tests::{
    Cluster, Redis, TestDatabase,
    everywhere::{CONTROL, Everywhere, Found, METRICS_TOKEN, callers, erased},
    free_folder,
    planted::{Handler, PLANTED, World, bodies, odd_bodies, others},
    run, until,
};
use serde_json::json;

/// Where something of a person may be read while they are known: by whoever is to hand it out, under a grant, and with the keys.
const WHERE_THEY_MAY_BE: [&str; 4] = [
    "GET /api/audit/aggregates/{type}/{id} as auditor under a grant",
    "GET /api/audit/events as auditor under a grant",
    "GET /api/compliance/exports/{id}/document as compliance",
    "opened with every key",
];
/// Where each search has to find who was not erased.
const WHERE_THE_CONTROL_IS: [&str; 13] = [
    "GET /api/audit/events as auditor",
    "GET /api/compliance/redactions as compliance",
    "GET /metrics as metrics", // in the heads: as the request's id
    "Redis",
    "bundle",
    "commands to Redis",
    "data folder",
    "dump",
    "ecomdash redact list",
    "ecomdash replay --shop",
    "log",
    "rows",
    "write-ahead log",
];
const KEYS: [&str; 2] = ["the customer's key", "the order's key"];

/// The places where something was found, but for the control, which has to be there.
fn people_in(found: Found, when: &str) -> Found {
    for place in WHERE_THE_CONTROL_IS.iter().filter(|place| found.contains_key(**place)) {
        assert!(found[*place].contains(CONTROL), "{when}: {place} was not looked through");
    }
    let of_people = found.into_iter().map(|(place, mut values)| {
        values.remove(CONTROL);
        (place, values)
    });
    of_people.filter(|(_, values)| !values.is_empty()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_97_nobody_who_was_erased_is_found_anywhere_whatever_follows() {
    let Some(redis) = Redis::start() else { return };
    let overheard = redis.overheard();
    let folder = free_folder();
    let cluster = Cluster::own(&folder);
    let (url, receipts) = (redis.url(), folder.join("receipts.jsonl").display().to_string());
    let settings = [
        ("LOG_LEVEL", "debug"),
        ("METRICS_TOKEN", METRICS_TOKEN),
        ("RATE_LIMIT_PER_CLIENT", "1000000"),
        ("RECEIPTS_FILE", &receipts),
        ("REDIS_URL", &url),
    ];
    let world = World::on(TestDatabase::on(&cluster).await, &settings).await;
    world.server.until_it_says("Redis answers", std::time::Duration::from_secs(20));
    redis.ask(&format!("SET somebody {CONTROL}\r\n")).unwrap();
    let deliver = async |world: &World, updated: &str| {
        world.deliver_all(&bodies(updated)).await;
        world.deliver_as_written(&odd_bodies(updated)).await;
    };
    deliver(&world, "2026-11-01T12:00:00Z").await;
    world.deliver_all(&others()).await;
    let (ann, bob) = (world.as_handler().await, world.as_handler().await);
    erased(&world, [&ann, &bob], "9").await;
    export(&ann, "case 60").await;
    let callers = callers(&world).await;
    let mut superuser = world.database.superuser().await;
    let mut everywhere = Everywhere::of(&world, &folder, &callers, Some((&redis, overheard)));
    for (name, subject) in KEYS.into_iter().zip(["customer:42", "order:1"]) {
        let key = sqlx::query_scalar("SELECT wrapped FROM subject_keys WHERE subject = $1").bind(subject);
        everywhere.search = everywhere.search.and(name, key.fetch_one(&mut superuser).await.unwrap());
    }
    let all = async |everywhere: &Everywhere<'_>, redaction: &str| {
        let mut found = everywhere.answers().await;
        found.extend(everywhere.kept().await);
        found.extend(everywhere.stored().await);
        found.extend(tokio::task::block_in_place(|| everywhere.printed(redaction)));
        found
    };

    let found = all(&everywhere, "none").await;
    let missing: Vec<_> = WHERE_THE_CONTROL_IS.iter().filter(|place| !found.contains_key(**place)).collect();
    assert_eq!(missing, [&""; 0], "a place is called otherwise now: {:?}", found.keys());
    let mut found = people_in(found, "before");
    for place in ["data folder", "write-ahead log"] {
        assert_eq!(found.remove(place), Some(BTreeSet::from(KEYS)), "{place}");
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), WHERE_THEY_MAY_BE, "{found:?}");
    for (place, values) in found {
        let is_of_events = place.contains("grant");
        assert!(is_of_events && values.len() > 10 || values == BTreeSet::from(PLANTED), "{place}: {values:?}");
    }

    let redaction = erased(&world, [&ann, &bob], "42").await;
    world.assert_genuine(&redaction);
    let redaction = redaction["id"].as_str().unwrap();
    let nothing = |found: Found, when: &str| {
        let mut found = people_in(found, when);
        // Until its horizon: the receipt says when that is. Sealed, with nothing to read in it.
        if let Some(values) = found.remove("write-ahead log") {
            assert!(values.iter().all(|value| KEYS.contains(value)), "{when}: {values:?}");
        }
        assert_eq!(found, Found::new(), "{when}");
    };
    export(&ann, "case 61").await;
    nothing(all(&everywhere, redaction).await, "erased");
    let (ok, text) = run(&world.database, &["rebuild"]);
    assert!(ok && text.contains("the same figures"), "{text}");
    nothing(everywhere.kept().await, "rebuilt");
    for updated in ["2026-11-01T12:00:00Z", "2026-11-05T12:00:00Z"] {
        deliver(&world, updated).await;
    }
    nothing(everywhere.answers().await, "told again");
    nothing(everywhere.kept().await, "told again");
    assert_eq!(World::found_in(&std::fs::read_to_string(&receipts).unwrap()), [""; 0]);

    let restored = world.database.from_dump(&cluster, &world.database.dump()).await;
    let (ok, text) = run(&restored, &["migrate"]);
    assert!(ok, "{text}");
    let restored = world.as_in(restored, &settings[..2]);
    let everywhere = everywhere.in_another(&restored);
    nothing(everywhere.answers().await, "restored");
    deliver(&restored, "2026-11-07T12:00:00Z").await;
    nothing(all(&everywhere, redaction).await, "restored and told again");
    drop((restored, world, cluster));
    std::fs::remove_dir_all(folder).unwrap();
}

/// Asks what is kept of the person, and waits for it.
async fn export(handler: &Handler<'_>, reason: &str) {
    let (_, asked) = handler.post("/api/compliance/exports", &json!({ "customer_id": "42", "reason": reason })).await;
    let path = format!("/api/compliance/exports/{}", asked["id"].as_str().unwrap());
    until("it is put together", async || handler.get(&path).await.1["status"] == json!("ready")).await;
}
