//! Erasing a shop: its key goes, with everybody in it, and its log stays; whoever comes back is another shop, and what came since
//! they came back stays theirs.

use std::time::Duration;

use api::Role;
use chrono::{DateTime, TimeDelta, Utc};
use domain::ShopId;
use ecomdash_tests::{
    Shop,
    bodies::{line, order},
    client, key_of, number,
    planted::{Handler, PERIOD, PLANTED, World, bodies, every_row, others},
    run,
    surface::operations,
    until,
};
use event_store::verify;
use ingest::Registration;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use uuid::Uuid;

/// The shop's own.
const OWNER: [&str; 3] = ["Octavia Ownersworth", "octavia@owner.example", "12 Proprietor Row"];

fn shop_body(domain: &str) -> Value {
    json!({ "id": 1, "myshopify_domain": domain, "name": "Octavia's", "shop_owner": OWNER[0], "email": OWNER[1],
            "address1": OWNER[2], "updated_at": "2026-11-01T12:00:00Z", "iana_timezone": "UTC", "currency": "USD" })
}

fn redact_body(domain: &str) -> Value {
    json!({ "shop_id": 1, "shop_domain": domain })
}

async fn deliver(shop: &Shop, topic: &str, body: &Value, triggered: DateTime<Utc>) {
    assert_eq!(shop.deliver_at(topic, body, &Uuid::new_v4().to_string(), Some(triggered)).await, 200, "{topic}");
}

async fn reinstall(world: &World, at: DateTime<Utc>) -> ShopId {
    let registration = Registration {
        domain: world.shop.domain.parse().unwrap(),
        shopify_id: None,
        timezone: "UTC".parse().unwrap(),
        currency: "USD".parse().unwrap(),
    };
    ingest::register(&world.store, &registration, at).await.unwrap()
}

async fn assert_nothing_left(world: &World, shop: ShopId) {
    let mut superuser = world.database.superuser().await;
    let rows = every_row(&mut superuser).await.to_lowercase();
    let found: Vec<_> = PLANTED.iter().chain(&OWNER).filter(|word| rows.contains(&word.to_lowercase())).collect();
    assert!(found.is_empty(), "{found:?}");
    for (table, only) in [
        ("shop_keys", "AND wrapped IS NOT NULL"),
        ("subject_keys", "AND wrapped IS NOT NULL"),
        ("inbox", ""),
        ("inbox_subjects", ""),
        ("subject_contacts", ""),
        ("snapshots", ""),
        ("exports", ""),
        ("sale_fact", ""),
        ("daily_sales", ""),
        ("daily_sales_at", ""),
        ("order_list", ""),
        ("directory", ""),
    ] {
        let sql = format!("SELECT count(*) FROM {table} WHERE shop_id = '{shop}' {only}");
        assert_eq!(number(&mut superuser, &sql).await, 0, "{table}");
    }
    assert!(number(&mut superuser, &format!("SELECT count(*) FROM events WHERE shop_id = '{shop}'")).await > 0);
    let verified = verify(&world.store, shop, |_| {}).await.unwrap();
    assert_eq!(verified.fault, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_97_a_shop_is_erased_once_another_person_has_confirmed_it() {
    let world = World::new().await;
    world.deliver_all(&bodies("2026-11-01T12:00:00Z")).await;
    world.deliver_all(&[("shop/update", shop_body(&world.shop.domain))]).await;
    let neighbour = Shop::register(&world.store, &world.server.url, "UTC", "USD").await;
    assert_eq!(neighbour.deliver("orders/create", &others()[0].1).await, 200);
    let sums_of_neighbour = neighbour.stats(PERIOD.0, PERIOD.1).await["metrics"].clone();
    let readable = world.readable().await;
    assert_eq!(World::found_in(&readable), PLANTED);
    assert!(OWNER.iter().all(|word| readable.contains(word)), "the search finds the owner, too");

    let (ann, bob) = (world.as_handler().await, world.as_handler().await);
    let (status, plan) = ann.ask(&json!({ "kind": "shop", "reason": "case 20", "dry_run": true })).await;
    assert_eq!(
        (status, &plan["matches"][0]["subject"], &plan["matches"][0]["orders"]),
        (200, &json!("shop"), &json!(1))
    );
    let (status, refused) = ann.ask(&json!({ "kind": "shop", "customer_id": "1", "reason": "case 20" })).await;
    assert_eq!(status, 400, "{refused}");
    let (status, asked) = ann.ask(&json!({ "kind": "shop", "reason": "case 20" })).await;
    assert_eq!((status, &asked["due_at"]), (202, &Value::Null), "{asked}");
    let id = asked["id"].as_str().unwrap();
    let path = |what: &str| format!("/api/compliance/redactions/{id}/{what}");
    assert_eq!(ann.post(&path("confirm"), &ecomdash_tests::why()).await.0, 409);

    // Whoever is held by the law is not erased with the shop.
    let (_, held) = ann.ask(&json!({ "kind": "customer", "customer_id": "42", "reason": "case 21" })).await;
    let of_held = |what: &str| format!("/api/compliance/redactions/{}/{what}", held["id"].as_str().unwrap());
    assert_eq!(ann.post(&of_held("hold"), &json!({ "reason": "tax audit" })).await.0, 200);
    assert_eq!(bob.post(&path("confirm"), &ecomdash_tests::why()).await.0, 200);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.redaction(&ann, id).await["status"], "waiting");
    assert_eq!(World::found_in(&world.readable().await), PLANTED);
    assert_eq!(ann.post(&of_held("release"), &ecomdash_tests::why()).await.0, 200);

    let done = world.certified(&ann, id).await;
    world.assert_genuine_of(world.shop.id, &done);
    assert_eq!(done["erased"]["subjects"], json!(["shop"]));
    assert!(done["erased"]["keys"].as_u64().unwrap() >= 3 && done["erased"]["bodies"].as_u64().unwrap() >= 7, "{done}");
    let tables = done["erased"]["tables"].as_array().unwrap();
    let rows = |name: &str| tables.iter().find(|of| of[0] == name).map(|of| of[1].as_u64().unwrap());
    assert_eq!((rows("directory"), rows("shop_keys"), rows("order_list")), (Some(1), Some(1), Some(1)), "{done}");
    for name in ["inbox", "inbox_subjects", "sale_fact", "subject_contacts", "subject_keys", "subject_streams"] {
        assert!(rows(name).unwrap() >= 1, "{name}: {done}");
    }
    assert_nothing_left(&world, world.shop.id).await;
    // The log says that the merchants are out, and why.
    let ended = "SELECT count(*) FROM events
                 WHERE event_type = 'TokenRevoked' AND payload #>> '{TokenRevoked,reason}' = 'the shop is erased'";
    assert_eq!(number(&mut world.database.superuser().await, ended).await, 1);
    // Whoever was waited with is erased with it.
    world.certified(&ann, held["id"].as_str().unwrap()).await;
    // What can be asked about it is answered as it is documented.
    let role_of = async |role: Role| {
        let token = ecomdash_tests::issue_token(&world.store, Some(world.shop.id), role, None).await.unwrap();
        token.secret.expose_secret().to_owned()
    };
    for role in [Role::Auditor, Role::Compliance] {
        let token = role_of(role).await;
        for operation in operations().iter().filter(|operation| operation.roles().contains(&role.as_str())) {
            let bodies = match operation.name().as_str() {
                "POST /api/compliance/redactions" => [
                    json!({ "kind": "customer", "customer_id": "42", "reason": "case 23" }),
                    json!({ "kind": "customer", "email": "a@b.example", "reason": "case 23" }),
                    json!({ "kind": "customer", "email": "a@b.example", "reason": "case 23", "dry_run": true }),
                ]
                .to_vec(),
                "POST /api/compliance/exports" => [
                    json!({ "customer_id": "42", "reason": "case 23" }),
                    json!({ "phone": "999 999 999", "reason": "case 23" }),
                ]
                .to_vec(),
                "POST /api/compliance/grants" => {
                    let auditor = ecomdash_tests::issue_token(&world.store, Some(world.shop.id), Role::Auditor, None)
                        .await
                        .unwrap();
                    [json!({ "token": auditor.id, "reason": "case 23", "hours": 1 })].to_vec()
                }
                _ => [json!({})].to_vec(),
            };
            for body in bodies {
                let request = operation.request(&client(), &world.server.url, &[]).bearer_auth(&token);
                let request = if operation.value["requestBody"].is_object() { request.json(&body) } else { request };
                let status = request.send().await.unwrap().status().as_u16();
                let documented = operation.value["responses"].as_object().unwrap();
                assert!(status < 500 && documented.contains_key(&status.to_string()), "{}: {status}", operation.name());
            }
        }
    }
    // By its domain it is not known any more: it is said by what it is.
    let (ok, text) = run(&world.database, &["redact", "list", "--shop", &world.shop.domain]);
    assert!(!ok && text.contains("was erased at") && text.contains(&format!("--shop {}", world.shop.id)), "{text}");
    // The merchant is out, a delivery is that of a shop that nobody knows, and the neighbour is as before.
    assert_eq!(world.shop.get("/api/dashboard/stats?from=2026-11-01&to=2026-11-30").await.0, 401);
    assert_eq!(world.shop.deliver("orders/create", &others()[0].1).await, 200);
    let mut superuser = world.database.superuser().await;
    assert_eq!(number(&mut superuser, "SELECT count(*) FROM inbox_unclaimed").await, 1);
    assert_eq!(neighbour.stats(PERIOD.0, PERIOD.1).await["metrics"], sums_of_neighbour);
    // Who comes back is another shop, without a past.
    let again = Shop::register_as(&world.store, &world.server.url, &world.shop.domain, "UTC", "USD").await;
    assert_ne!(again.id, world.shop.id);
    assert_eq!(again.stats(PERIOD.0, PERIOD.1).await["metrics"]["orders"], 1);
    let deliver_again = redact_body(&again.domain);
    deliver(&again, "shop/redact", &deliver_again, Utc::now() - TimeDelta::days(1)).await;
    assert_eq!(again.stats(PERIOD.0, PERIOD.1).await["metrics"]["orders"], 1);
    // Nor does what was sent before bring anything back.
    for (topic, body) in bodies("2026-11-01T12:00:00Z") {
        deliver(&again, topic, &body, Utc::now() - TimeDelta::days(1)).await;
    }
    assert_eq!(again.stats(PERIOD.0, PERIOD.1).await["metrics"]["orders"], 1);
    let kept = "SELECT count(*) FROM inbox WHERE status = 'ignored' AND body IS NOT NULL";
    assert_eq!(number(&mut superuser, kept).await, 0);
    assert_eq!(number(&mut superuser, "SELECT count(*) FROM former_shops").await, 1);
    assert_nothing_left(&world, world.shop.id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_55_a_late_request_erases_the_old_installation_and_not_the_new_one() {
    let world = World::new().await;
    let days_ago = |days| Utc::now() - TimeDelta::days(days);
    for (topic, body) in bodies("2026-11-01T12:00:00Z") {
        deliver(&world.shop, topic, &body, days_ago(6)).await;
    }
    deliver(&world.shop, "shop/update", &shop_body(&world.shop.domain), days_ago(0)).await;
    world.shop.stats(PERIOD.0, PERIOD.1).await;
    let uninstall = json!({ "id": 1, "myshopify_domain": world.shop.domain });
    let removed_at = Utc::now();
    deliver(&world.shop, "app/uninstalled", &uninstall, removed_at).await;
    world.shop.stats(PERIOD.0, PERIOD.1).await;
    let installed_at = Utc::now();
    assert_eq!(reinstall(&world, installed_at).await, world.shop.id, "who comes back at once has lost nothing");
    let new = [
        ("orders/create", order(2, "2026-11-03T12:00:00Z", vec![line(3, "20.00", 2)]).0),
        ("orders/create", order(3, "2026-11-04T12:00:00Z", vec![line(4, "30.00", 1)]).0),
    ];
    for (topic, body) in &new {
        deliver(&world.shop, topic, body, Utc::now()).await;
    }
    let whole = world.shop.stats(PERIOD.0, PERIOD.1).await["metrics"].clone();
    assert_eq!(whole["orders"], 3);
    let ann = world.as_handler().await;

    // The old ones again, late.
    deliver(&world.shop, "app/uninstalled", &uninstall, removed_at).await;
    deliver(&world.shop, "shop/redact", &redact_body(&world.shop.domain), removed_at + TimeDelta::microseconds(1))
        .await;
    let mut superuser = world.database.superuser().await;
    until("the old one is erased", async || {
        number(&mut superuser, "SELECT count(*) FROM events WHERE event_type = 'RedactionCertified'").await == 1
    })
    .await;
    let stats = world.shop.stats(PERIOD.0, PERIOD.1).await;
    assert_eq!(stats["metrics"]["orders"], 2, "the new installation's orders, by the same token: {stats}");
    assert_eq!(stats["metrics"]["gross_sales"]["amount"], "70.00");
    let sql = "SELECT shop_id::text FROM directory";
    let now: String = sqlx::query_scalar(sql).fetch_one(&mut superuser).await.unwrap();
    let now = ShopId(now.parse().unwrap());
    assert_ne!(now, world.shop.id);
    let taken_over = format!(
        "SELECT count(*) FROM events WHERE shop_id = '{now}' AND event_type = 'TokenIssued'
         AND payload #>> '{{TokenIssued,by}}' = 'redaction'"
    );
    assert_eq!(number(&mut superuser, &taken_over).await, 2, "its log says whose tokens it has");
    assert_nothing_left(&world, world.shop.id).await;
    let mut tx = world.store.begin(world.shop.id).await.unwrap();
    let (id, redaction) = compliance::redactions(&mut tx, None, 1).await.unwrap().remove(0);
    tx.commit().await.unwrap();
    assert_eq!(redaction.erased.as_ref().unwrap().goes_on_as, Some(now));
    let told = json!({ "id": id, "request": redaction.request, "confirmed_by": redaction.confirmed_by,
                        "erased": redaction.erased, "receipt": redaction.receipt });
    world.assert_genuine_of(world.shop.id, &told);
    // Its receipt is shown by its id to whoever runs the service, and to its handlers, who now handle the new one.
    let (status, shown) = ann.get(&format!("/api/compliance/redactions/{id}")).await;
    assert_eq!((status, &shown["status"]), (200, &json!("certified")), "{shown}");
    world.assert_genuine_of(world.shop.id, &shown);
    let stranger = Shop::register(&world.store, &world.server.url, "UTC", "USD").await;
    let token = ecomdash_tests::issue_token(&world.store, Some(stranger.id), Role::Compliance, None).await.unwrap();
    let stranger = Handler { token: token.secret.expose_secret().to_owned(), url: &world.server.url };
    assert_eq!(stranger.get(&format!("/api/compliance/redactions/{id}")).await.0, 404, "nobody else's");
    let (ok, text) = run(&world.database, &["redact", "list", "--shop", &world.shop.domain]);
    assert!(ok && text.contains("one before it") && text.contains(&world.shop.id.to_string()), "{text}");
    let (ok, text) = run(&world.database, &["redact", "list", "--shop", &world.shop.id.to_string()]);
    assert!(ok && text.contains("certified"), "{text}");
    assert_eq!(ann.get("/api/compliance/redactions").await.1["items"], json!([]));

    for (topic, body) in bodies("2026-11-01T12:00:00Z") {
        deliver(&world.shop, topic, &body, days_ago(6)).await;
    }
    assert_eq!(world.shop.stats(PERIOD.0, PERIOD.1).await["metrics"]["orders"], 2, "the old one's, replayed");
    assert_nothing_left(&world, world.shop.id).await;

    // And once more: they are of an installation that nothing is kept of.
    deliver(&world.shop, "app/uninstalled", &uninstall, removed_at).await;
    deliver(&world.shop, "shop/redact", &redact_body(&world.shop.domain), removed_at).await;
    deliver(&world.shop, "orders/create", &order(4, "2026-11-05T12:00:00Z", vec![line(5, "1.00", 1)]).0, Utc::now())
        .await;
    assert_eq!(world.shop.stats(PERIOD.0, PERIOD.1).await["metrics"]["orders"], 3);
    assert_eq!(ann.get("/api/compliance/redactions").await.1["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shopify_s_request_is_waited_with_while_the_app_is_in_and_done_at_once_after_it_was_removed() {
    let world = World::new().await;
    world.deliver_all(&bodies("2026-11-01T12:00:00Z")).await;
    let ann = world.as_handler().await;
    let list = async || ann.get("/api/compliance/redactions").await.1["items"].as_array().unwrap().clone();
    // Nothing but exactly its own keys is taken for it.
    let mut more = redact_body(&world.shop.domain);
    more["customer"] = json!({ "id": 42 });
    for odd in
        [more, json!({ "shop_domain": world.shop.domain }), json!({ "shop_id": 1, "shop_domain": "b.myshopify.com" })]
    {
        assert_eq!(world.shop.deliver("shop/redact", &odd).await, 200);
    }
    world.shop.stats(PERIOD.0, PERIOD.1).await;
    assert_eq!(list().await, [] as [Value; 0]);
    let mut superuser = world.database.superuser().await;
    assert_eq!(number(&mut superuser, "SELECT count(*) FROM inbox WHERE status = 'dead'").await, 3);

    deliver(&world.shop, "shop/redact", &redact_body(&world.shop.domain), Utc::now()).await;
    until("it is asked for", async || list().await.len() == 1).await;
    let first = list().await.remove(0);
    let due: DateTime<Utc> = first["due_at"].as_str().unwrap().parse().unwrap();
    assert!(due > Utc::now() + TimeDelta::hours(23), "nobody has seen the app removed: {first}");
    let cancel = format!("/api/compliance/redactions/{}/cancel", first["id"].as_str().unwrap());
    assert_eq!(ann.post(&cancel, &ecomdash_tests::why()).await.0, 200);

    let uninstall = json!({ "id": 1, "myshopify_domain": world.shop.domain });
    deliver(&world.shop, "app/uninstalled", &uninstall, Utc::now()).await;
    world.shop.stats(PERIOD.0, PERIOD.1).await;
    deliver(&world.shop, "shop/redact", &redact_body(&world.shop.domain), Utc::now()).await;
    until("it is certified", async || list().await.first().is_some_and(|last| last["status"] == "certified")).await;
    assert_eq!(list().await.len(), 2, "what was cancelled is asked for again by a later request");
    world.assert_genuine_of(world.shop.id, &list().await[0]);
    assert_nothing_left(&world, world.shop.id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_new_installation_s_bodies_are_not_kept_somebody_has_to_look() {
    let world = World::new().await;
    world.deliver_all(&bodies("2026-11-01T12:00:00Z")).await;
    let removed_at = Utc::now();
    deliver(&world.shop, "app/uninstalled", &json!({ "id": 1, "myshopify_domain": world.shop.domain }), removed_at)
        .await;
    world.shop.stats(PERIOD.0, PERIOD.1).await;
    reinstall(&world, Utc::now()).await;
    deliver(&world.shop, "orders/create", &others()[0].1, Utc::now()).await;
    deliver(&world.shop, "orders/create", &order(3, "2026-11-04T12:00:00Z", vec![line(4, "30.00", 1)]).0, Utc::now())
        .await;
    world.shop.stats(PERIOD.0, PERIOD.1).await;
    let mut superuser = world.database.superuser().await;
    let purge = "UPDATE inbox SET body = NULL WHERE id = (SELECT max(id::text)::uuid FROM inbox)";
    sqlx::query(purge).execute(&mut superuser).await.unwrap();
    let ann = world.as_handler().await;
    deliver(&world.shop, "shop/redact", &redact_body(&world.shop.domain), removed_at).await;
    let list = async || ann.get("/api/compliance/redactions").await.1["items"].as_array().unwrap().clone();
    until("it is asked for", async || list().await.len() == 1).await;
    let held = list().await.remove(0);
    assert!(held["status"] == "held" && held["hold"].as_str().unwrap().contains("only what is kept stays"), "{held}");
    let release = format!("/api/compliance/redactions/{}/release", held["id"].as_str().unwrap());
    assert_eq!(ann.post(&release, &ecomdash_tests::why()).await.0, 200);
    until("it is erased", async || {
        number(&mut superuser, "SELECT count(*) FROM events WHERE event_type = 'RedactionCertified'").await == 1
    })
    .await;
    assert_eq!(world.shop.stats(PERIOD.0, PERIOD.1).await["metrics"]["orders"], 1);
    assert_nothing_left(&world, world.shop.id).await;
}

/// Whatever is acknowledged while the old installation is erased and the new one is given its own is of one of the two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_delivery_is_lost_while_the_new_installation_is_given_its_own() {
    let world = World::new().await;
    world.deliver_all(&bodies("2026-11-01T12:00:00Z")).await;
    let removed_at = Utc::now();
    deliver(&world.shop, "app/uninstalled", &json!({ "id": 1, "myshopify_domain": world.shop.domain }), removed_at)
        .await;
    world.shop.stats(PERIOD.0, PERIOD.1).await;
    reinstall(&world, Utc::now()).await;
    let mut superuser = world.database.superuser().await;
    let sending = async {
        for id in 100..500 {
            let body = order(id, "2026-11-05T12:00:00Z", vec![line(id, "1.00", 1)]).0;
            deliver(&world.shop, "orders/create", &body, Utc::now()).await;
        }
    };
    let asking = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        // It is held up after it has given the new one its own, and before that is so.
        let mut blocker = world.database.superuser().await;
        sqlx::raw_sql("BEGIN; LOCK TABLE former_shops IN EXCLUSIVE MODE").execute(&mut blocker).await.unwrap();
        deliver(&world.shop, "shop/redact", &redact_body(&world.shop.domain), removed_at).await;
        let waits = "SELECT count(*) FROM pg_locks WHERE relation = 'former_shops'::regclass AND NOT granted";
        until("it is in the midst of it", async || number(&mut blocker, waits).await == 1).await;
        let body = order(500, "2026-11-05T12:00:00Z", vec![line(500, "1.00", 1)]).0;
        let in_the_midst = deliver(&world.shop, "orders/create", &body, Utc::now());
        let go_on = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            sqlx::raw_sql("COMMIT").execute(&mut blocker).await.unwrap();
        };
        tokio::join!(in_the_midst, go_on);
    };
    tokio::join!(sending, asking);
    until("the old one is erased", async || {
        number(&mut superuser, "SELECT count(*) FROM events WHERE event_type = 'RedactionCertified'").await == 1
    })
    .await;
    assert_eq!(world.shop.stats(PERIOD.0, PERIOD.1).await["metrics"]["orders"], 401);
    assert_nothing_left(&world, world.shop.id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_while_the_request_waits_keeps_what_came_since() {
    let world = World::new().await;
    world.deliver_all(&bodies("2026-11-01T12:00:00Z")).await;
    let (ann, bob) = (world.as_handler().await, world.as_handler().await);
    let (_, held) = ann.ask(&json!({ "kind": "customer", "customer_id": "42", "reason": "case 22" })).await;
    let of_held = |what: &str| format!("/api/compliance/redactions/{}/{what}", held["id"].as_str().unwrap());
    assert_eq!(ann.post(&of_held("hold"), &json!({ "reason": "tax audit" })).await.0, 200);
    let uninstall = json!({ "id": 1, "myshopify_domain": world.shop.domain });
    deliver(&world.shop, "app/uninstalled", &uninstall, Utc::now()).await;
    world.shop.stats(PERIOD.0, PERIOD.1).await;
    deliver(&world.shop, "shop/redact", &redact_body(&world.shop.domain), Utc::now()).await;
    let list = async || ann.get("/api/compliance/redactions").await.1["items"].as_array().unwrap().clone();
    until("it is asked for", async || list().await.len() == 2).await;
    // The app is back: its first delivery comes before anybody has registered it again.
    deliver(&world.shop, "orders/create", &others()[0].1, Utc::now()).await;
    world.shop.stats(PERIOD.0, PERIOD.1).await;
    reinstall(&world, Utc::now()).await;
    let third = order(3, "2026-11-04T12:00:00Z", vec![line(4, "30.00", 1)]).0;
    deliver(&world.shop, "orders/create", &third, Utc::now()).await;
    world.shop.stats(PERIOD.0, PERIOD.1).await;
    // A release before this one had stored it, too, under the digest by which it knew bodies.
    let mut superuser = world.database.superuser().await;
    let (id, third, key) = (Uuid::now_v7(), third.to_string(), key_of(&world.store, world.shop.id).await);
    let again = "INSERT INTO inbox (shop_id, id, webhook_id, body_digest, topic, received_at, body, due_at)
                 SELECT shop_id, $2, webhook_id, $3, topic, received_at, $4, now() FROM inbox
                 WHERE shop_id = $1 AND topic = 'orders/create' ORDER BY received_at DESC LIMIT 1";
    let again = sqlx::query(again)
        .bind(world.shop.id.0)
        .bind(id)
        .bind(shopify::body_digest(third.as_bytes()).0)
        .bind(key.body(id).seal(third.as_bytes()));
    assert_eq!(again.execute(&mut superuser).await.unwrap().rows_affected(), 1);
    for what in ["release", "cancel"] {
        assert_eq!(bob.post(&of_held(what), &ecomdash_tests::why()).await.0, 200);
    }
    until("the old one is erased", async || {
        number(&mut superuser, "SELECT count(*) FROM events WHERE event_type = 'RedactionCertified'").await == 1
    })
    .await;
    assert_eq!(world.shop.stats(PERIOD.0, PERIOD.1).await["metrics"]["orders"], 2);
    assert_nothing_left(&world, world.shop.id).await;
}

/// The new installation's log knows of no merge that the old one's told of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_asked_of_the_shop_that_goes_on_for_both_numbers_of_a_merge() {
    let world = World::new().await;
    let before = Utc::now() - TimeDelta::days(6);
    for (topic, body) in bodies("2026-11-01T12:00:00Z") {
        deliver(&world.shop, topic, &body, before).await;
    }
    world.shop.stats(PERIOD.0, PERIOD.1).await;
    let ann = world.as_handler().await;
    let (status, asked) = ann.ask(&json!({ "kind": "customer", "customer_id": "42", "reason": "case 23" })).await;
    assert_eq!((status, asked["matches"].as_array().unwrap().len()), (202, 1), "{asked}");
    let merged = ecomdash_tests::bodies::merge(43, 42);
    deliver(&world.shop, "customers/merge", &merged, before).await;
    let removed_at = Utc::now();
    let uninstall = json!({ "id": 1, "myshopify_domain": world.shop.domain });
    deliver(&world.shop, "app/uninstalled", &uninstall, removed_at).await;
    world.shop.stats(PERIOD.0, PERIOD.1).await;
    reinstall(&world, Utc::now()).await;
    deliver(&world.shop, "shop/redact", &redact_body(&world.shop.domain), removed_at + TimeDelta::microseconds(1))
        .await;
    let mut superuser = world.database.superuser().await;
    until("the old one is erased", async || {
        number(&mut superuser, "SELECT count(*) FROM events WHERE event_type = 'RedactionCertified'").await == 1
    })
    .await;
    let (_, list) = ann.get("/api/compliance/redactions").await;
    let [waiting] = &list["items"].as_array().unwrap()[..] else { panic!("{list}") };
    assert_eq!((&waiting["id"], &waiting["status"]), (&asked["id"], &json!("waiting")), "{list}");
    assert_eq!(waiting["request"]["subjects"], json!(["customer:42", "customer:43"]), "{list}");
}

/// A body that does not open is in nobody's way: it is put aside, and told of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_body_from_before_a_registration_is_a_dead_letter_and_no_obstacle() {
    let world = World::new().await;
    let domain = format!("s{}.myshopify.com", Uuid::new_v4().simple());
    let mut sender = world.shop.at(&world.server.url);
    sender.domain = domain.clone();
    for id in 1..=3 {
        let body = order(id, "2026-11-05T12:00:00Z", vec![line(id, "1.00", 1)]).0;
        assert_eq!(sender.deliver("orders/create", &body).await, 200);
    }
    let mut superuser = world.database.superuser().await;
    let damage = "UPDATE inbox_unclaimed SET body = set_byte(body, 40, get_byte(body, 40) # 1)
                  WHERE id = (SELECT id FROM inbox_unclaimed ORDER BY received_at LIMIT 1)";
    sqlx::query(damage).execute(&mut superuser).await.unwrap();
    let shop = Shop::register_as(&world.store, &world.server.url, &domain, "UTC", "USD").await;
    assert_eq!(shop.stats(PERIOD.0, PERIOD.1).await["metrics"]["orders"], 2);
    let mut tx = world.store.begin(shop.id).await.unwrap();
    let dead = ingest::list(&mut tx, Some(ingest::InboxStatus::Dead), 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert!(dead[0].reason.as_ref().unwrap().contains("does not open"), "{dead:?}");
    assert_eq!(
        number(&mut superuser, "SELECT count(*) FROM inbox WHERE status = 'dead' AND body IS NOT NULL").await,
        1
    );
    assert_eq!(number(&mut superuser, "SELECT count(*) FROM inbox_unclaimed").await, 0);
}
