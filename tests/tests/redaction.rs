//! Erasing a person: what could be read before cannot be read afterwards, wherever it stands and whatever comes later; and no
//! figure moves.

use std::{collections::BTreeSet, time::Duration};

use api::Role;
use chrono::{DateTime, TimeDelta, Utc};
use compliance::{Answer, Whom};
use domain::{
    Command, Digest, Subject, Version,
    compliance::{ComplianceKind, ComplianceRequest},
    document::DocumentCommand,
    ids::{CustomerId, OrderId},
    redaction::{Redaction, RedactionCommand, Request},
};
use ecomdash_tests::{
    Shop,
    bodies::{line, order, refund},
    command_on,
    documents::document,
    number,
    planted::{Handler, PERIOD, PLANTED, World, ZEBEDEE, bodies, every_row, others},
    run, until,
};
use event_store::{Envelope, Metadata, shop_key, verify};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_97_what_could_be_read_of_a_customer_cannot_be_read_again_whatever_comes_later() {
    let world = World::new().await;
    let first = bodies("2026-11-01T12:00:00Z");
    world.deliver_all(&first).await;
    world.deliver_all(&others()).await;
    // A body that nobody could read: it is about the person all the same.
    let unreadable = r#"{"id": "no order", "customer": {"id": 42}, "note": "please ring twice"}"#;
    assert_eq!(world.shop.try_deliver("orders/updated", unreadable, "dead", None).await.unwrap().status(), 200);
    let mut superuser = world.database.superuser().await;
    until("it is dead", async || number(&mut superuser, "SELECT count(*) FROM inbox WHERE status = 'dead'").await == 1)
        .await;
    let sums = world.shop.stats(PERIOD.0, PERIOD.1).await["metrics"].clone();
    assert_eq!(World::found_in(&world.readable().await), PLANTED, "the search finds what is there");
    assert_eq!(World::found_in(&every_row(&mut superuser).await), [""; 0], "nothing stands in the clear");

    let (ann, bob) = (world.as_handler().await, world.as_handler().await);
    let asked = json!({ "kind": "customer", "customer_id": "42", "reason": "case 12" });
    let (status, answer) =
        ann.ask(&json!({ "kind": "customer", "customer_id": "42", "reason": "x", "dry_run": true })).await;
    assert_eq!((status, &answer["status"], &answer["id"]), (200, &json!("dry_run"), &Value::Null), "{answer}");
    let (status, answer) = ann.ask(&asked).await;
    assert_eq!((status, &answer["matches"][0]["orders"]), (202, &json!(1)), "{answer}");
    let id = answer["id"].as_str().unwrap();
    let confirm = format!("/api/compliance/redactions/{id}/confirm");
    let (status, refused) = ann.post(&confirm, &ecomdash_tests::why()).await;
    assert_eq!(status, 409, "{refused}");
    assert_eq!(World::found_in(&world.readable().await), PLANTED, "it is waited with");
    let (status, confirmed) = bob.post(&confirm, &ecomdash_tests::why()).await;
    assert_eq!(status, 200, "{confirmed}");
    let done = world.certified(&ann, id).await;
    world.assert_genuine(&done);
    assert_eq!(done["erased"]["subjects"], json!(["customer:42", "order:1"]));
    let bodies_gone = done["erased"]["bodies"].as_u64().unwrap();
    assert!(bodies_gone >= 7, "{done}");
    assert_eq!(done["erased"]["histories"], json!(["checkout:9", "customer:42", "order:1"]));
    let names = done["erased"]["tables"][1].clone();
    assert!(
        names[0] == "inbox_subjects" && names[1].as_u64().unwrap() >= bodies_gone - 1,
        "but for the one that is none"
    );
    let tables = json!([["inbox", bodies_gone], names, ["subject_contacts", 2], ["subject_keys", 2]]);
    assert_eq!(done["erased"]["tables"], tables, "{done}");

    let nothing = async |when: &str| {
        assert_eq!(World::found_in(&world.readable().await), [""; 0], "{when}");
        assert_eq!(world.shop.stats(PERIOD.0, PERIOD.1).await["metrics"], sums, "{when}");
    };
    nothing("after the erasure").await;
    // Every delivery again, then newer ones, and what names the order alone.
    world.deliver_all(&first).await;
    nothing("redelivered").await;
    world.deliver_all(&bodies("2026-11-05T12:00:00Z")).await;
    nothing("told anew").await;
    let late = order(3, "2026-11-01T12:00:00Z", vec![])
        .with("customer", json!({ "id": 42, "first_name": "Zebedee" }))
        .with("note", json!("please ring twice"));
    let refund_of_it = refund(3, 3, "2026-11-02T12:00:00Z").with("note", json!("arrived in tatters"));
    world.deliver_all(&[("orders/create", late.0.clone()), ("refunds/create", refund_of_it.0)]).await;
    // And one whose refund comes first, when nobody can tell whose it is.
    let refund_first = refund(4, 4, "2026-11-02T12:00:00Z").with("note", json!("arrived in tatters"));
    world.deliver_all(&[("refunds/create", refund_first.0)]).await;
    assert_eq!(World::found_in(&world.readable().await), ["arrived in tatters"]);
    let mut order_after = late.0;
    order_after["id"] = json!(4);
    order_after["admin_graphql_api_id"] = json!("gid://shopify/Order/4");
    world.deliver_all(&[("orders/create", order_after)]).await;
    assert_eq!(World::found_in(&world.readable().await), [""; 0], "an order of theirs that was not known");
    // And a sync tells of them: of an order that is erased, and of one that nobody had told of.
    let of_sync = |id: u64| {
        let mut order = document(id, "2026-11-01T12:00:00Z", "2026-11-06T12:00:00Z", &[(id, "10.00")], vec![]);
        order["note"] = json!("please ring twice");
        order["email"] = json!("zebedee.q@planted.example");
        order["customer"] =
            json!({ "id": "gid://shopify/Customer/42", "firstName": "Zebedee", "lastName": "Quillfeather" });
        order
    };
    let events = "SELECT count(*) FROM events WHERE aggregate_type = 'order' AND aggregate_id IN ('1', '9')";
    let before = number(&mut superuser, events).await;
    world.sync(&[of_sync(1), of_sync(9)]).await;
    assert!(number(&mut superuser, events).await > before + 1, "both are taken in");
    assert_eq!(World::found_in(&world.readable().await), [""; 0], "told by a sync");
    let tombstones = "SELECT count(*) FROM events
                      WHERE (event_type, aggregate_id) IN
                          (('CustomerRedacted', '42'), ('OrderRedacted', '1'), ('CheckoutRedacted', '9'))";
    assert_eq!(number(&mut superuser, tombstones).await, 3);
    let metrics = world.shop.stats(PERIOD.0, PERIOD.1).await["metrics"].clone();
    let (ok, text) = run(&world.database, &["rebuild"]);
    assert!(ok && text.contains("the same figures"), "{text}");
    assert_eq!(world.shop.stats(PERIOD.0, PERIOD.1).await["metrics"], metrics);
    assert_eq!(World::found_in(&world.readable().await), [""; 0], "rebuilt");
    let verified = command_on(&world.database).arg("verify").env("SIGNING_KEYS", &world.seed).output().unwrap();
    let text = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success() && text.contains("unbroken"), "{text}");
    // The other customer is as before.
    let mut tx = world.store.begin(world.shop.id).await.unwrap();
    let jane = BTreeSet::from([Subject::Customer(CustomerId(5_000_002)), Subject::Order(OrderId(2))]);
    assert!(tx.redacted_among(&jane).await.unwrap().is_empty());
    // Again is harmless.
    let (_, again) = ann.ask(&asked).await;
    let again = again["id"].as_str().unwrap();
    bob.post(&format!("/api/compliance/redactions/{again}/confirm"), &ecomdash_tests::why()).await;
    assert_eq!(world.certified(&ann, again).await["erased"]["keys"], 0);
    // Who buys again is a new customer, by the same address too, and so is a guest.
    let returning = |id: u64, customer: Value| {
        order(id, "2026-11-07T12:00:00Z", vec![]).with("customer", customer).with("note", json!("please ring twice")).0
    };
    let as_customer = returning(11, json!({ "id": 77, "email": "zebedee.q@planted.example" }));
    world.deliver_all(&[("orders/create", as_customer), ("orders/create", returning(12, Value::Null))]).await;
    let mut tx = world.store.begin(world.shop.id).await.unwrap();
    let key = shop_key(&mut tx).await.unwrap();
    let of_new = BTreeSet::from([Subject::Customer(CustomerId(77)), Subject::Order(OrderId(12))]);
    assert_eq!(tx.subject_keys(&key, &of_new).await.unwrap().len(), 2);
    tx.commit().await.unwrap();
    assert_eq!(World::found_in(&world.readable().await), ["Zebedee", "zebedee.q@planted.example", "please ring twice"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shopify_s_request_is_done_at_once_and_held_where_it_names_no_number() {
    let world = World::new().await;
    world.deliver_all(&bodies("2026-11-01T12:00:00Z")).await;
    world.deliver_all(&others()).await;
    let handler = world.as_handler().await;
    let list = async || handler.get("/api/compliance/redactions").await.1["items"].as_array().unwrap().clone();
    let request = |customer: Value, orders: Value| json!({ "shop_id": 1, "shop_domain": world.shop.domain, "customer": customer, "orders_to_redact": orders });
    // By number: the other customer.
    let by_number = request(json!({ "id": 5_000_002, "email": "jane.doe@example.com", "phone": null }), json!([2]));
    assert_eq!(world.shop.deliver("customers/redact", &by_number).await, 200);
    until("it is certified", async || list().await.first().is_some_and(|first| first["status"] == "certified")).await;
    let first = list().await.remove(0);
    assert_eq!((&first["request"]["by"], &first["erased"]["keys"]), (&json!("webhook"), &json!(1)), "{first}");
    assert_eq!(World::found_in(&world.readable().await), PLANTED, "nobody else is");
    // Every history that names them ends with a tombstone, that of the request with their address, too.
    let histories: Vec<&str> =
        first["erased"]["histories"].as_array().unwrap().iter().map(|of| of.as_str().unwrap()).collect();
    assert!(histories[0].starts_with("compliance_request:customer_redaction/5000002"), "{histories:?}");
    assert_eq!(histories[1..], ["order:2"], "nobody has told of the customer but by the order");
    let mut superuser = world.database.superuser().await;
    let last = "SELECT count(*) FROM (
                    SELECT DISTINCT ON (aggregate_type, aggregate_id) event_type FROM events
                    WHERE aggregate_type || ':' || aggregate_id = ANY ($1)
                    ORDER BY aggregate_type, aggregate_id, sequence DESC
                ) e
                WHERE event_type IN ('ComplianceRedacted', 'OrderRedacted')";
    let tombstones: i64 = sqlx::query_scalar(last).bind(&histories).fetch_one(&mut superuser).await.unwrap();
    assert_eq!(tombstones, 2);

    // By address: an address may be another's, so somebody has to look.
    let by_email = request(json!({ "email": "ZEBEDEE.q@planted.example", "phone": null }), json!([]));
    assert_eq!(world.shop.deliver("customers/redact", &by_email).await, 200);
    until("it is there", async || list().await.len() == 2).await;
    let held = list().await.remove(0);
    assert_eq!((&held["status"], &held["request"]["subjects"]), (&json!("held"), &json!(["customer:42"])), "{held}");
    let path = format!("/api/compliance/redactions/{}/release", held["id"].as_str().unwrap());
    assert_eq!(handler.post(&path, &ecomdash_tests::why()).await.0, 200);
    let done = world.certified(&handler, held["id"].as_str().unwrap()).await;
    world.assert_genuine(&done);
    assert_eq!(done["erased"]["subjects"], json!(["customer:42", "order:1"]));
    assert_eq!(World::found_in(&world.readable().await), [""; 0]);
    // The very same bodies again are the same redactions.
    for again in [&by_number, &by_email] {
        assert_eq!(world.shop.deliver("customers/redact", again).await, 200);
    }
    world.shop.stats(PERIOD.0, PERIOD.1).await;
    assert_eq!(list().await.len(), 2);
    // Whoever has the log or the inbox cannot confirm a guess at an address: no digest that anybody can make of a body is there.
    let of_theirs = bodies("2026-11-01T12:00:00Z");
    for body in of_theirs.iter().map(|(_, body)| body).chain([&by_number, &by_email]) {
        let kept = "SELECT e::text FROM events e UNION ALL SELECT i::text FROM inbox i";
        let digest = shopify::body_digest(body.to_string().as_bytes());
        let found = format!("SELECT count(*) FROM ({kept}) k (t) WHERE t LIKE '%{digest}%'");
        assert_eq!(number(&mut superuser, &found).await, 0, "{body}");
    }
    // Nothing else is taken for a request, whatever topic it came under.
    let mut more = by_number.clone();
    more["orders_requested"] = json!([1]);
    let mut less = by_number.clone();
    less.as_object_mut().unwrap().remove("orders_to_redact");
    for odd in [more, less, json!({ "shop_domain": world.shop.domain, "customer": { "id": 42 } })] {
        assert_eq!(world.shop.deliver("customers/redact", &odd).await, 200);
    }
    world.shop.stats(PERIOD.0, PERIOD.1).await;
    assert_eq!(list().await.len(), 2);
}

/// Whoever was merged into somebody is the same person; and an order that says nothing but the number is theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_merged_and_what_names_only_the_number_goes_too() {
    let world = World::new().await;
    world.deliver_all(&bodies("2026-11-01T12:00:00Z")).await;
    let merge = ecomdash_tests::bodies::merge(43, 42);
    let bare = order(7, "2026-11-04T12:00:00Z", vec![line(9, "10.00", 1)]);
    let bare = ["email", "contact_email", "browser_ip"].into_iter().fold(bare, |bare, key| bare.with(key, Value::Null));
    let bare = bare.with("customer", json!({ "id": 43 }));
    let noted = refund(7, 7, "2026-11-05T12:00:00Z").with("note", json!("arrived in tatters"));
    world.deliver_all(&[("customers/merge", merge), ("orders/create", bare.0), ("refunds/create", noted.0)]).await;
    let (ann, bob) = (world.as_handler().await, world.as_handler().await);
    // A hold is on the person, under whichever number.
    let (_, held) = ann.ask(&json!({ "kind": "customer", "customer_id": "42", "reason": "case 19" })).await;
    let of_held = |what: &str| format!("/api/compliance/redactions/{}/{what}", held["id"].as_str().unwrap());
    assert_eq!(ann.post(&of_held("hold"), &json!({ "reason": "tax audit" })).await.0, 200);
    let (_, asked) = ann.ask(&json!({ "kind": "customer", "customer_id": "43", "reason": "case 15" })).await;
    let id = asked["id"].as_str().unwrap();
    assert_eq!(bob.post(&format!("/api/compliance/redactions/{id}/confirm"), &ecomdash_tests::why()).await.0, 200);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.redaction(&ann, id).await["status"], "waiting");
    assert_eq!(ann.post(&of_held("cancel"), &ecomdash_tests::why()).await.0, 409, "the hold would end unseen");
    for what in ["release", "cancel"] {
        assert_eq!(ann.post(&of_held(what), &ecomdash_tests::why()).await.0, 200);
    }
    let done = world.certified(&ann, id).await;
    assert_eq!(done["erased"]["subjects"], json!(["customer:42", "customer:43", "order:1", "order:7"]));
    world.assert_genuine(&done);
    assert_eq!(World::found_in(&world.readable().await), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_persons_are_listed_and_a_redaction_is_held_released_and_cancelled() {
    let world = World::new().await;
    let of = |id: u64, customer: u64| {
        let placed = order(id, "2026-11-01T12:00:00Z", vec![line(1, "10.00", 1)]);
        ("orders/create", placed.with("customer", json!({ "id": customer, "email": "two@planted.example" })).0)
    };
    world.deliver_all(&[of(1, 1), of(2, 2)]).await;
    let handler = world.as_handler().await;
    let by_email =
        |all: bool| json!({ "kind": "customer", "email": "JANE.doe@example.com", "reason": "case 13", "all": all });
    let (status, several) = handler.ask(&by_email(false)).await;
    assert_eq!((status, &several["status"]), (200, &json!("several")), "{several}");
    assert_eq!(several["matches"].as_array().unwrap().len(), 2);
    let (status, asked) = handler.ask(&by_email(true)).await;
    assert_eq!(status, 202, "{asked}");
    let id = asked["id"].as_str().unwrap();
    let path = |what: &str| format!("/api/compliance/redactions/{id}/{what}");
    let (status, held) = handler.post(&path("hold"), &json!({ "reason": "tax audit" })).await;
    assert_eq!((status, &held["status"], &held["hold"]), (200, &json!("held"), &json!("tax audit")), "{held}");
    let other = world.as_handler().await;
    assert_eq!(other.post(&path("confirm"), &ecomdash_tests::why()).await.0, 200);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.redaction(&handler, id).await["status"], "held", "a hold is in the way of a confirmed one");
    // And of another that is of the same person.
    let (_, second) = handler.ask(&json!({ "kind": "customer", "customer_id": "1", "reason": "case 16" })).await;
    let second = second["id"].as_str().unwrap();
    assert_eq!(
        other.post(&format!("/api/compliance/redactions/{second}/confirm"), &ecomdash_tests::why()).await.0,
        200
    );
    tokio::time::sleep(Duration::from_secs(3)).await;
    let waiting = world.redaction(&handler, second).await;
    assert_eq!(
        (&waiting["status"], &waiting["hold"], &waiting["held_by"]),
        (&json!("waiting"), &Value::Null, &json!({ "redaction": id, "reason": "tax audit" })),
        "{waiting}"
    );
    let listed = handler.get("/api/compliance/redactions").await.1["items"].clone();
    assert_eq!(
        (&listed[0]["held_by"]["reason"], &listed[1]["held_by"]),
        (&json!("tax audit"), &Value::Null),
        "{listed}"
    );
    let dry_run = json!({ "kind": "customer", "customer_id": "1", "reason": "case 16", "dry_run": true });
    assert_eq!(handler.ask(&dry_run).await.1["held_by"]["redaction"], id);
    assert_eq!(
        handler.post(&format!("/api/compliance/redactions/{second}/cancel"), &ecomdash_tests::why()).await.0,
        200
    );
    assert_eq!(handler.post(&path("hold"), &json!({ "reason": "another" })).await.0, 409, "one at a time");
    assert_eq!(handler.post(&path("cancel"), &ecomdash_tests::why()).await.0, 409, "held");
    assert_eq!(handler.post(&path("release"), &ecomdash_tests::why()).await.0, 200);
    let (status, cancelled) = handler.post(&path("cancel"), &ecomdash_tests::why()).await;
    assert_eq!((status, &cancelled["status"]), (200, &json!("cancelled")));
    assert_eq!(handler.post(&path("release"), &ecomdash_tests::why()).await.0, 409);

    for (bad, detail) in [
        (json!({ "kind": "customer", "reason": "x" }), "name one of"),
        (json!({ "kind": "customer", "customer_id": "x", "reason": "x" }), "in digits"),
        (json!({ "kind": "customer", "email": "nobody", "reason": "x" }), "no e-mail address"),
        (json!({ "kind": "customer", "customer_id": "1", "reason": "jane@example.com" }), "kept for ever"),
        (json!({ "kind": "shop", "phone": "5550107788", "reason": "x" }), "name nobody"),
        (json!({ "kind": "order", "reason": "x" }), "`kind`"),
    ] {
        let (status, problem) = handler.ask(&bad).await;
        assert!(status == 400 && problem["detail"].as_str().unwrap().contains(detail), "{bad}: {problem}");
    }
    assert_eq!(handler.ask(&json!({ "kind": "customer", "phone": "999 999 999", "reason": "x" })).await.0, 404);
    assert_eq!(handler.get("/api/compliance/redactions/none").await.0, 404);
    // Nobody else may.
    let (status, _) = world.shop.get("/api/compliance/redactions").await;
    assert_eq!(status, 403);
    let stranger = Shop::register(&world.store, &world.server.url, "UTC", "USD").await;
    let token = ecomdash_tests::issue_token(&world.store, Some(stranger.id), Role::Compliance, None).await.unwrap();
    let stranger = Handler { token: token.secret.expose_secret().to_owned(), url: &world.server.url };
    assert_eq!(stranger.get(&format!("/api/compliance/redactions/{id}")).await.0, 404);
    assert_eq!(stranger.post(&path("cancel"), &ecomdash_tests::why()).await.0, 404);
    let (_, page) = stranger.get(&format!("/api/compliance/redactions?cursor={id}")).await;
    assert_eq!(page["items"], json!([]));
    // Page by page.
    for number in 0..3 {
        let body = json!({ "kind": "customer", "customer_id": "9", "reason": format!("case {number}") });
        assert_eq!(handler.ask(&body).await.0, 202);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, page) = handler.get(&format!("/api/compliance/redactions?limit=2{cursor}")).await;
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["request"]["reason"].clone()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["case 2", "case 1", "case 0", "case 16", "case 13"]);
}

/// What a release before wrote, that noted nobody, is looked through when it is needed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_an_older_release_is_looked_through() {
    let world = World::new().await;
    world.deliver_all(&bodies("2026-11-01T12:00:00Z")).await;
    let mut superuser = world.database.superuser().await;
    let forget = "DELETE FROM subject_streams; DELETE FROM subject_contacts; DELETE FROM inbox_subjects;
                  UPDATE heads SET subjects_position = 0; UPDATE inbox SET subjects_known = false";
    sqlx::raw_sql(forget).execute(&mut superuser).await.unwrap();
    // Who says so is kept for ever, too.
    for by in ["jane@example.com", "+1 613 555 0142"] {
        let asked =
            ["redact", "customer", "--shop", &world.shop.domain, "--id", "42", "--reason", "case 14", "--by", by];
        let (ok, text) = run(&world.database, &asked);
        assert!(!ok && text.contains("kept for ever"), "{text}");
    }
    let mut command = command_on(&world.database);
    command.args(["redact", "customer", "--shop", &world.shop.domain, "--phone", "+1-555-010-77-88"]);
    command.args(["--reason", "case 14", "--by", "ann", "--now", "bob"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let asked: Value = serde_json::from_slice(&output.stdout).unwrap();
    let handler = world.as_handler().await;
    let done = world.certified(&handler, asked["id"].as_str().unwrap()).await;
    assert_eq!(done["erased"]["subjects"], json!(["customer:42", "order:1"]));
    world.assert_genuine(&done);
    assert_eq!(World::found_in(&world.readable().await), [""; 0]);
    let mut tx = world.store.begin(world.shop.id).await.unwrap();
    assert!(tx.redacted_among(&BTreeSet::from([ZEBEDEE])).await.unwrap().contains(&ZEBEDEE));
}

/// What waits is somebody's, too, also where nobody works on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_of_a_paused_shop_is_settled_before_somebody_is_erased() {
    let world = World::new().await;
    world.deliver_all(&others()).await;
    let mut fleet = world.store.begin_fleet().await.unwrap();
    ingest::set_paused(&mut fleet, world.shop.id, true).await.unwrap();
    fleet.commit().await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    for (topic, body) in bodies("2026-11-01T12:00:00Z") {
        assert_eq!(world.shop.deliver(topic, &body).await, 200);
    }
    let mut superuser = world.database.superuser().await;
    let pending = "SELECT count(*) FROM inbox WHERE status = 'pending'";
    assert_eq!(number(&mut superuser, pending).await, 6);
    // Two of them were tried and put off.
    let put_off = "UPDATE inbox SET attempts = 2, due_at = now() + interval '1 day'
                   WHERE topic IN ('checkouts/create', 'orders/create') AND status = 'pending'";
    sqlx::query(put_off).execute(&mut superuser).await.unwrap();
    let (ann, bob) = (world.as_handler().await, world.as_handler().await);
    let (_, asked) = ann.ask(&json!({ "kind": "customer", "customer_id": "42", "reason": "case 17" })).await;
    let id = asked["id"].as_str().unwrap();
    // Somebody else is at it, and does not end: nobody is erased meanwhile.
    let mut other = world.database.superuser().await;
    let held = "BEGIN; SELECT FROM checkpoints WHERE projection = 'ingest' AND generation = 0 FOR UPDATE";
    sqlx::raw_sql(held).execute(&mut other).await.unwrap();
    assert_eq!(bob.post(&format!("/api/compliance/redactions/{id}/confirm"), &ecomdash_tests::why()).await.0, 200);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(ann.get(&format!("/api/compliance/redactions/{id}")).await.1["status"], "waiting");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    let done = world.certified(&ann, id).await;
    assert_eq!(done["erased"]["subjects"], json!(["customer:42", "order:1"]), "{done}");
    assert_eq!(World::found_in(&world.readable().await), [""; 0]);
    assert_eq!(number(&mut superuser, pending).await, 0);
    assert_eq!(number(&mut superuser, "SELECT count(*) FROM inbox WHERE status = 'dead'").await, 0);
    assert_eq!(world.shop.stats(PERIOD.0, PERIOD.1).await["metrics"]["orders"], 2, "no sale is lost");
}

/// What says whose an order is may be nothing but a body that could not be made anything of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_theirs_by_the_word_of_a_dead_letter() {
    let world = World::new().await;
    world.deliver_all(&others()).await;
    let unreadable = json!({ "id": 3, "updated_at": "2026-11-01T12:00:00Z", "currency": "none", "total_price": "much",
        "customer": { "id": 42, "email": "zebedee.q@planted.example" } });
    let refunded = refund(3, 3, "2026-11-02T12:00:00Z").with("note", json!("arrived in tatters"));
    // One that the log knows to be another's stays theirs, whatever a letter says.
    let of_other = json!({ "id": 2, "updated_at": "2026-11-09T12:00:00Z", "currency": "none", "total_price": "much",
        "customer": { "id": 42 } });
    for (topic, body) in
        [("orders/create", &unreadable), ("refunds/create", &refunded.0), ("orders/updated", &of_other)]
    {
        assert_eq!(world.shop.deliver(topic, body).await, 200);
    }
    let mut superuser = world.database.superuser().await;
    let dead = "SELECT count(*) FROM inbox WHERE status = 'dead'";
    until("both are dead", async || number(&mut superuser, dead).await == 2).await;
    world.shop.stats(PERIOD.0, PERIOD.1).await;
    assert_eq!(
        World::found_in(&world.readable().await),
        ["Zebedee", "zebedee.q@planted.example", "arrived in tatters"]
    );
    let (ann, bob) = (world.as_handler().await, world.as_handler().await);
    let (_, asked) = ann.ask(&json!({ "kind": "customer", "customer_id": "42", "reason": "case 18" })).await;
    let id = asked["id"].as_str().unwrap();
    assert_eq!(bob.post(&format!("/api/compliance/redactions/{id}/confirm"), &ecomdash_tests::why()).await.0, 200);
    let done = world.certified(&ann, id).await;
    assert_eq!(done["erased"]["subjects"], json!(["customer:42", "order:3"]), "{done}");
    assert_eq!(World::found_in(&world.readable().await), [""; 0]);
    let later = refund(4, 3, "2026-11-03T12:00:00Z").with("note", json!("please ring twice"));
    world.deliver_all(&[("refunds/create", later.0)]).await;
    assert_eq!(World::found_in(&world.readable().await), [""; 0], "nor what comes of it later");
    // One that comes afterwards: of an order that the log knows from a refund alone, of one that it does not know, and of
    // another's.
    let of = |order: u64| {
        let mut body = unreadable.clone();
        body["id"] = json!(order);
        body
    };
    let noted =
        |id: u64, order: u64| refund(id, order, "2026-11-03T12:00:00Z").with("note", json!("arrived in tatters")).0;
    world.deliver_all(&[("refunds/create", noted(8, 8))]).await;
    assert_eq!(World::found_in(&world.readable().await), ["arrived in tatters"]);
    for order in [8, 9, 2] {
        assert_eq!(world.shop.deliver("orders/create", &of(order)).await, 200);
    }
    until("all are dead", async || number(&mut superuser, dead).await == 5).await;
    let nothing = async |when: &str| until(when, async || World::found_in(&world.readable().await) == [""; 0]).await;
    nothing("an order goes with its buyer").await;
    let of_buyers = async |count: usize| {
        let list = ann.get("/api/compliance/redactions").await.1["items"].as_array().unwrap().clone();
        let is_of_buyer =
            |item: &&Value| item["request"]["reason"] == "its buyer was erased" && item["status"] == "certified";
        let subjects: Vec<Value> =
            list.iter().filter(is_of_buyer).map(|item| item["erased"]["subjects"][0].clone()).collect();
        (subjects.len() == count).then_some(subjects)
    };
    until("each has a receipt", async || of_buyers(2).await.is_some()).await;
    world.deliver_all(&[("refunds/create", noted(9, 9)), ("refunds/create", noted(10, 8))]).await;
    nothing("also what comes of it after that").await;
    // Both at once, of a shop that nobody worked on.
    let pause = |more: &[&str]| run(&world.database, &[&["shop", "pause", &world.shop.domain][..], more].concat()).0;
    assert!(pause(&[]));
    for (topic, body) in [("refunds/create", noted(11, 12)), ("orders/create", of(12))] {
        assert_eq!(world.shop.deliver(topic, &body).await, 200);
    }
    assert!(pause(&["--resume"]));
    until("it has a receipt, too", async || of_buyers(3).await.is_some()).await;
    assert_eq!(World::found_in(&world.readable().await), [""; 0]);
    let mut subjects: Vec<String> =
        of_buyers(3).await.unwrap().iter().map(|of| of.as_str().unwrap().to_owned()).collect();
    subjects.sort();
    assert_eq!(subjects, ["order:12", "order:8", "order:9"]);
    let tombstones = "SELECT count(*) FROM events WHERE event_type = 'OrderRedacted' AND aggregate_id IN ('8', '12')";
    assert_eq!(number(&mut superuser, tombstones).await, 2);
    let mut tx = world.store.begin(world.shop.id).await.unwrap();
    let of_other = BTreeSet::from([Subject::Order(OrderId(2))]);
    assert!(tx.redacted_among(&of_other).await.unwrap().is_empty(), "the log knows whose that is");
    tx.commit().await.unwrap();
    assert_eq!(verify(&world.store, world.shop.id, |_| {}).await.unwrap().fault, None);
}

/// What a release before wrote of a request, under the digest of its body, is still the same request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_an_older_release_took_in_is_known_when_it_comes_again() {
    let world = World::new().await;
    let body = json!({ "shop_id": 1, "shop_domain": world.shop.domain, "orders_to_redact": [],
                       "customer": { "id": 42, "email": "zebedee.q@planted.example", "phone": null } });
    let (digest, at) = (shopify::body_digest(body.to_string().as_bytes()), Utc::now() - TimeDelta::days(1));
    let mut tx = world.store.begin(world.shop.id).await.unwrap();
    let id = Digest(shop_key(&mut tx).await.unwrap().pseudonym(&digest.0)).to_string();
    let version = Version { updated_at: Some(at), triggered_at: Some(at), digest, revision: shopify::REVISION };
    let value = ComplianceRequest {
        kind: ComplianceKind::CustomerRedaction,
        received_at: at,
        data_request: None,
        customer_id: Some(CustomerId(42)),
        contact: None,
        orders: Vec::new(),
    };
    let observed = Command::Compliance("customer_redaction/42".to_owned(), DocumentCommand::Observe { version, value });
    tx.execute(vec![Envelope::new(observed, Metadata::from_source("webhook"))]).await.unwrap();
    let request = RedactionCommand::Request(Request {
        subjects: vec![ZEBEDEE],
        reason: "customers/redact".to_owned(),
        by: "webhook".to_owned(),
        at,
        due_at: at + TimeDelta::days(9),
        request: None,
        needs_confirmation: false,
        triggered_at: None,
    });
    compliance::act(&mut tx, &id, request, "webhook").await.unwrap();
    tx.commit().await.unwrap();
    let handler = world.as_handler().await;
    assert_eq!(world.shop.deliver("customers/redact", &body).await, 200);
    world.shop.stats(PERIOD.0, PERIOD.1).await;
    let (_, list) = handler.get("/api/compliance/redactions").await;
    assert_eq!((list["items"].as_array().unwrap().len(), &list["items"][0]["id"]), (1, &json!(id)), "{list}");
}

/// Asks for Zebedee's erasure. Returns its id, and a moment when it is due that no worker sees.
async fn asked_without_workers(world: &World, reason: &str) -> (String, DateTime<Utc>) {
    let (mut tx, now) = (world.store.begin(world.shop.id).await.unwrap(), Utc::now());
    let (reason, by, hold) = (reason.parse().unwrap(), "ann".to_owned(), TimeDelta::days(3));
    let ask = compliance::Ask { whom: Whom::Customer(CustomerId(42)), reason, by, at: now, hold, all: false };
    let Answer::Asked { id, .. } = compliance::ask(&mut tx, ask).await.unwrap() else { panic!() };
    tx.commit().await.unwrap();
    (id, now + TimeDelta::days(4))
}

/// The receipt tells where something is left, wherever that is, and where a figure moved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_tells_of_what_is_left_beside_a_body_and_of_a_row_of_the_ledger_that_changed() {
    let receipt_after = async |harm: &str| {
        let world = World::new().await;
        world.deliver_all(&bodies("2026-11-01T12:00:00Z")).await;
        let (id, then) = asked_without_workers(&world, "case 40").await;
        let before = compliance::erase(&world.store, world.shop.id, &id, then).await.unwrap();
        let mut superuser = world.database.superuser().await;
        sqlx::query(harm).execute(&mut superuser).await.unwrap();
        compliance::certify(&world.store, world.shop.id, &id, &world.signing, before, then).await.unwrap();
        let mut tx = world.store.begin(world.shop.id).await.unwrap();
        let redaction: Redaction = tx.load(&id).await.unwrap();
        assert!(World::found_in(&world.readable().await).len() <= 1);
        redaction.receipt.unwrap()
    };
    let receipt = receipt_after("SELECT 1").await;
    assert_eq!((receipt.found, receipt.sums_unchanged), (0, Some(true)));
    let note = "UPDATE inbox SET note = 'of Zebedee' WHERE topic = 'checkouts/create'";
    assert_eq!(receipt_after(note).await.found, 1);
    let row = "UPDATE sale_fact SET tax_minor = tax_minor + 1 WHERE (position, ordinal) = (SELECT position, ordinal FROM sale_fact LIMIT 1)";
    assert_eq!(receipt_after(row).await.sums_unchanged, Some(false));
    let row =
        "INSERT INTO sale_fact SELECT (jsonb_populate_record(f, '{\"ordinal\": 999}')).* FROM sale_fact f LIMIT 1";
    assert_eq!(receipt_after(row).await.sums_unchanged, Some(false));
}

/// Whoever erased may be gone before all of it is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_kept_from_being_done_is_done_at_once_and_signed_later() {
    let world = World::new().await;
    world.deliver_all(&bodies("2026-11-01T12:00:00Z")).await;
    let (id, then) = asked_without_workers(&world, "case 44").await;
    assert!(compliance::erase(&world.store, world.shop.id, &id, then).await.unwrap().is_some());
    let state = async || {
        let mut superuser = world.database.superuser().await;
        let tombstones = number(&mut superuser, "SELECT count(*) FROM events WHERE event_type LIKE '%Redacted'").await;
        let bodies = number(&mut superuser, "SELECT count(*) FROM inbox WHERE body IS NOT NULL").await;
        let mut tx = world.store.begin(world.shop.id).await.unwrap();
        let redaction: Redaction = tx.load(&id).await.unwrap();
        (tombstones, bodies, redaction.receipt)
    };
    let (tombstones, bodies, receipt) = state().await;
    assert!(tombstones == 0 && bodies > 0 && receipt.is_none());
    let due = compliance::run_due(&world.store, world.shop.id, &world.signing, then + TimeDelta::minutes(1), true)
        .await
        .unwrap();
    let (tombstones, bodies, receipt) = state().await;
    assert!(tombstones == 3 && bodies == 0 && receipt.is_none(), "{tombstones} {bodies} {receipt:?}");
    let due = due.unwrap();
    assert!(due > then);
    compliance::run_due(&world.store, world.shop.id, &world.signing, due, true).await.unwrap();
    let receipt = state().await.2.unwrap();
    assert_eq!((receipt.searched, receipt.found, receipt.sums_unchanged, receipt.vacuumed), (0, 0, None, true));
    assert_eq!(World::found_in(&world.readable().await), [""; 0]);
}

/// Whoever began to read before still sees what was destroyed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_tells_that_somebody_still_sees_what_was_destroyed() {
    let world = World::new().await;
    world.deliver_all(&bodies("2026-11-01T12:00:00Z")).await;
    let mut reader = world.database.superuser().await;
    let (ann, bob) = (world.as_handler().await, world.as_handler().await);
    let (_, asked) = ann.ask(&json!({ "kind": "customer", "customer_id": "42", "reason": "case 45" })).await;
    for statement in ["BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM subject_keys"] {
        sqlx::raw_sql(statement).execute(&mut reader).await.unwrap();
    }
    let id = asked["id"].as_str().unwrap();
    assert_eq!(bob.post(&format!("/api/compliance/redactions/{id}/confirm"), &ecomdash_tests::why()).await.0, 200);
    let done = world.certified(&ann, id).await;
    assert_eq!((&done["receipt"]["found"], &done["receipt"]["vacuumed"]), (&json!(0), &json!(false)), "{done}");
}

/// Somebody with hundreds of orders: others write meanwhile, and all of it is erased.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_with_many_orders_is_erased_in_steps() {
    let world = World::new().await;
    let placed = |id: u64| {
        let body = order(id, "2026-11-01T12:00:00Z", vec![line(id, "10.00", 1)]);
        body.with("customer", json!({ "id": 42 })).with("note", json!(format!("please ring twice, {id}"))).0
    };
    world.deliver_all(&(1..=120).map(|id| ("orders/create", placed(id))).collect::<Vec<_>>()).await;
    let sums = world.shop.stats(PERIOD.0, PERIOD.1).await["metrics"].clone();
    let (ann, bob) = (world.as_handler().await, world.as_handler().await);
    let (_, asked) = ann.ask(&json!({ "kind": "customer", "customer_id": "42", "reason": "case 41" })).await;
    let id = asked["id"].as_str().unwrap();
    assert_eq!(bob.post(&format!("/api/compliance/redactions/{id}/confirm"), &ecomdash_tests::why()).await.0, 200);
    let done = world.certified(&ann, id).await;
    world.assert_genuine(&done);
    assert_eq!((&done["erased"]["streams"], &done["erased"]["bodies"]), (&json!(120), &json!(120)), "{done}");
    assert_eq!(World::found_in(&world.readable().await), [""; 0]);
    assert_eq!(world.shop.stats(PERIOD.0, PERIOD.1).await["metrics"], sums);
    let mut superuser = world.database.superuser().await;
    let tombstones = "SELECT count(*) FROM events WHERE event_type = 'OrderRedacted'";
    assert_eq!(number(&mut superuser, tombstones).await, 120);
}
