//! Telling a person what is kept of them: all of it, to whoever handles compliance alone, for a while, and never again once they
//! are erased.

use api::Role;
use chrono::{TimeDelta, Utc};
use ecomdash_tests::{
    bodies::{line, order},
    client, number,
    planted::{Handler, PLANTED, World, bodies, every_row, others},
    tampering::append,
    until,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

const OF_OTHER: &str = "jane.doe@example.com";

impl Fetch for Handler<'_> {
    async fn fetch(&self, id: &str, form: &str) -> (u16, String) {
        let path = format!("{}/api/compliance/exports/{id}/document?form={form}", self.url);
        let answer = client().get(path).bearer_auth(&self.token).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn ready(&self, id: &str) -> Value {
        let path = format!("/api/compliance/exports/{id}");
        until("it is put together", async || self.get(&path).await.1["status"] == "ready").await;
        self.get(&path).await.1
    }
}

trait Fetch {
    async fn fetch(&self, id: &str, form: &str) -> (u16, String);
    async fn ready(&self, id: &str) -> Value;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_says_all_that_is_kept_of_somebody_and_goes_with_them() {
    let world = World::new().await;
    world.deliver_all(&bodies("2026-11-01T12:00:00Z")).await;
    world.deliver_all(&others()).await;
    let (ann, bob) = (world.as_handler().await, world.as_handler().await);
    let (status, problem) =
        ann.post("/api/compliance/exports", &json!({ "customer_id": "42", "reason": "a@b.example" })).await;
    assert_eq!(status, 400, "{problem}");
    let (status, problem) =
        ann.post("/api/compliance/exports", &json!({ "phone": "999 999 9999", "reason": "case 30" })).await;
    assert_eq!(status, 404, "{problem}");
    let by_email = json!({ "email": " ZEBEDEE.q@planted.example", "reason": "case 30" });
    let (status, asked) = ann.post("/api/compliance/exports", &by_email).await;
    assert_eq!((status, &asked["status"]), (202, &json!("waiting")), "{asked}");
    let id = asked["id"].as_str().unwrap();
    let built = ann.ready(id).await;
    assert!(built["built"]["values"].as_u64().unwrap() >= 7 && built["fetched_at"].is_null(), "{built}");
    let mut superuser = world.database.superuser().await;
    assert_eq!(World::found_in(&every_row(&mut superuser).await), [""; 0], "it is sealed where it stands");

    let open = async || ann.get("/api/compliance/requests?open=true").await.1["items"].clone();
    assert_eq!((&open().await[0]["kind"], &open().await[0]["id"]), (&json!("customer_data"), &json!(id)));
    let (status, text) = ann.fetch(id, "json").await;
    assert_eq!(status, 200, "{text}");
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(World::found_in(&told.to_string()), PLANTED, "all that is kept is told");
    assert!(!text.contains(OF_OTHER) && !text.contains("\"sealed\""), "and nothing of anybody else");
    let (status, page) = ann.fetch(id, "html").await;
    assert_eq!((status, World::found_in(&page).len()), (200, PLANTED.len()), "{page}");
    // In words, and with what was bought.
    for (there, words) in
        [("Order placed, recorded on ", true), ("Thing 1", true), ("[sealed]", false), ("OrderPlaced", false)]
    {
        assert_eq!(page.contains(there), words, "{there}: {page}");
    }
    assert!(!text.contains("[sealed]"), "{text}");
    assert_eq!(ann.fetch(id, "xml").await.0, 400);
    assert_eq!(open().await, json!([]), "it is answered");
    let fetched =
        "SELECT count(*) FROM events WHERE event_type = 'ExportFetched' AND metadata->>'actor' LIKE 'compliance %'";
    assert_eq!(number(&mut superuser, fetched).await, 2, "and who fetched it is recorded");

    // For nobody else.
    for role in [Role::Merchant, Role::Auditor] {
        let token = ecomdash_tests::issue_token(&world.store, Some(world.shop.id), role, None).await.unwrap();
        let other = Handler { token: token.secret.expose_secret().to_owned(), url: &world.server.url };
        assert_eq!(other.fetch(id, "json").await.0, 403);
    }
    assert_eq!(ann.fetch("none", "json").await.0, 404);

    // Erased, it is gone with them: the one that is there, and one that is asked for afterwards says nothing.
    let (_, second) = ann.post("/api/compliance/exports", &by_email).await;
    let second = second["id"].as_str().unwrap();
    ann.ready(second).await;
    let (_, redaction) = ann.ask(&json!({ "kind": "customer", "customer_id": "42", "reason": "case 31" })).await;
    let redaction = redaction["id"].as_str().unwrap();
    bob.post(&format!("/api/compliance/redactions/{redaction}/confirm"), &ecomdash_tests::why()).await;
    world.assert_genuine(&world.certified(&ann, redaction).await);
    for gone in [id, second] {
        let (status, text) = ann.fetch(gone, "json").await;
        assert!(status == 409 && text.contains("erased"), "{text}");
        assert_eq!(ann.get(&format!("/api/compliance/exports/{gone}")).await.1["status"], "redacted");
        assert_eq!(ann.post(&format!("/api/compliance/exports/{gone}/renew"), &ecomdash_tests::why()).await.0, 409);
    }
    assert_eq!(number(&mut superuser, "SELECT count(*) FROM exports").await, 0);
    let by_number = json!({ "customer_id": "42", "reason": "case 32" });
    let (_, after) = ann.post("/api/compliance/exports", &by_number).await;
    let after = after["id"].as_str().unwrap();
    ann.ready(after).await;
    let (_, text) = ann.fetch(after, "json").await;
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&told["nothing_kept_of"], &told["kept"]), (&json!(["customer:42"]), &json!([])), "{text}");
    assert_eq!(World::found_in(&text), [""; 0]);
}

/// What was bought under one number may have been told under another since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_goes_with_whoever_else_an_order_in_it_is_of() {
    let world = World::new().await;
    world.deliver_all(&bodies("2026-11-01T12:00:00Z")).await;
    let (ann, bob) = (world.as_handler().await, world.as_handler().await);
    let (_, asked) = ann.post("/api/compliance/exports", &json!({ "customer_id": "42", "reason": "case 33" })).await;
    let id = asked["id"].as_str().unwrap();
    ann.ready(id).await;
    let mut order = bodies("2026-11-05T12:00:00Z").into_iter().find(|(topic, _)| *topic == "orders/create").unwrap().1;
    order["customer"]["id"] = json!(43);
    world.deliver_all(&[("orders/updated", order)]).await;
    assert_eq!(ann.fetch(id, "json").await.0, 200);
    let (_, redaction) = ann.ask(&json!({ "kind": "customer", "customer_id": "43", "reason": "case 34" })).await;
    let redaction = redaction["id"].as_str().unwrap();
    assert_eq!(
        bob.post(&format!("/api/compliance/redactions/{redaction}/confirm"), &ecomdash_tests::why()).await.0,
        200
    );
    let done = world.certified(&ann, redaction).await;
    assert_eq!(done["erased"]["subjects"], json!(["customer:43", "order:1"]), "{done}");
    let (status, text) = ann.fetch(id, "json").await;
    assert!(status == 409 && text.contains("erased"), "{text}");
}

/// All that is theirs may stand under a number from before, and of what an address finds somebody has to choose.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_shopify_asks_for_is_one_person_s_under_all_of_their_numbers_and_never_two_persons() {
    let world = World::new().await;
    world.deliver_all(&bodies("2026-11-01T12:00:00Z")).await;
    let merge = ecomdash_tests::bodies::merge(43, 42);
    let same_address = order(5, "2026-11-04T12:00:00Z", vec![line(9, "10.00", 1)])
        .with("email", json!("zebedee.q@planted.example"))
        .with("customer", json!({ "id": 50, "email": "zebedee.q@planted.example", "first_name": "Rosalind" }));
    world.deliver_all(&[("customers/merge", merge), ("orders/create", same_address.0)]).await;
    let ann = world.as_handler().await;
    let request = |number: u64, customer: Value| {
        json!({ "shop_id": 1, "shop_domain": world.shop.domain, "customer": customer, "orders_requested": [],
                "data_request": { "id": number } })
    };
    let by_number = request(1, json!({ "id": 43, "email": null, "phone": null }));
    let by_email = request(2, json!({ "email": "zebedee.q@planted.example", "phone": null }));
    let exports = async || ann.get("/api/compliance/exports").await.1["items"].as_array().unwrap().clone();
    let asked = async |body: &Value, count: usize, status: &str| {
        assert_eq!(world.shop.deliver("customers/data_request", body).await, 200);
        until("it is asked for, or put together", async || {
            let exports = exports().await;
            exports.len() == count && exports[0]["status"] == status
        })
        .await;
        exports().await.remove(0)
    };
    let told = async |body: &Value, count: usize| {
        let export = asked(body, count, "ready").await;
        let id = export["id"].as_str().unwrap();
        let (json, html) = (ann.fetch(id, "json").await.1, ann.fetch(id, "html").await.1);
        (export, serde_json::from_str::<Value>(&json).unwrap(), html)
    };
    let (_, json, _) = told(&by_number, 1).await;
    assert_eq!((&json["nothing_kept_of"], json["kept"].as_array().unwrap().len()), (&json!([]), 1), "{json}");
    assert_eq!(json["kept"][0]["subject"], "customer:43");
    assert_eq!(World::found_in(&json.to_string()), PLANTED);
    let export = asked(&by_email, 2, "several").await;
    assert_eq!(export["request"]["several"], json!(["customer:42", "customer:50"]), "{export}");
    let id = export["id"].as_str().unwrap();
    assert_eq!(ann.fetch(id, "json").await.0, 409, "it is not answered before somebody chooses");
    let (_, open) = ann.get("/api/compliance/requests?open=true").await;
    assert!(open["items"].as_array().unwrap().iter().any(|open| open["id"] == id), "{open}");
    let choose = async |subjects: Value, reason: &str| {
        let path = format!("/api/compliance/exports/{id}/choose");
        ann.post(&path, &json!({ "subjects": subjects, "reason": reason })).await
    };
    for (subjects, reason, expected) in [
        (json!(["customer:43"]), "seen by letter", 409),
        (json!(["customer:50", "order:1"]), "seen by letter", 409),
        (json!(["Rosalind"]), "seen by letter", 400),
        (json!(["customer:50"]), "", 400),
    ] {
        let (status, answer) = choose(subjects.clone(), reason).await;
        assert_eq!(status, expected, "{subjects} {reason}: {answer}");
    }
    let (status, chosen) = choose(json!(["customer:50"]), "case 45: seen by letter").await;
    assert_eq!((status, &chosen["request"]["subjects"]), (200, &json!(["customer:50"])), "{chosen}");
    assert_eq!(choose(json!(["customer:42"]), "case 45").await.0, 409, "it is told of one, and of no other");
    ann.ready(id).await;
    let (text, html) = (ann.fetch(id, "json").await.1, ann.fetch(id, "html").await.1);
    assert!(text.contains("Rosalind") && html.contains("Rosalind"), "{text}");
    assert_eq!(World::found_in(&text), ["Zebedee", "zebedee.q@planted.example"], "the address of both");
    // Chosen by an order.
    let by_order =
        async |id: &str| ann.post("/api/compliance/exports", &json!({ "order_id": id, "reason": "case 46" })).await;
    let (status, asked) = by_order("5").await;
    assert_eq!(status, 202, "{asked}");
    let chosen = asked["id"].as_str().unwrap();
    ann.ready(chosen).await;
    let text = ann.fetch(chosen, "json").await.1;
    assert!(text.contains("Rosalind") && text.contains("\"customer:50\""), "{text}");
    assert_eq!(World::found_in(&text), ["Zebedee", "zebedee.q@planted.example"], "the address of both");
    assert_eq!((by_order("999").await.0, by_order("five").await.0), (404, 400));
    // One person under two numbers is one, and orders that the request names are not among whom somebody has to choose.
    let merge = ecomdash_tests::bodies::merge(42, 50);
    world.deliver_all(&[("customers/merge", merge)]).await;
    let mut by_email = by_email;
    (by_email["data_request"]["id"], by_email["orders_requested"]) = (json!(3), json!([1]));
    let (export, json, _) = told(&by_email, 4).await;
    assert_eq!(export["request"]["subjects"], json!(["customer:42", "order:1"]), "{export}");
    assert_eq!((&json["nothing_kept_of"], json["kept"].as_array().unwrap().len()), (&json!([]), 1), "{json}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shopify_s_request_for_data_is_built_and_keeps_no_address() {
    let world = World::new().await;
    world.deliver_all(&bodies("2026-11-01T12:00:00Z")).await;
    let ann = world.as_handler().await;
    let request = |number: u64, customer: Value| {
        json!({ "shop_id": 1, "shop_domain": world.shop.domain, "customer": customer, "orders_requested": [],
                "data_request": { "id": number } })
    };
    let by_number = request(1, json!({ "id": 42, "email": "zebedee.q@planted.example", "phone": null }));
    let by_email = request(2, json!({ "email": "nobody.known@planted.example", "phone": null }));
    for body in [&by_number, &by_number, &by_email] {
        assert_eq!(world.shop.deliver("customers/data_request", body).await, 200);
    }
    let exports = async || ann.get("/api/compliance/exports").await.1["items"].as_array().unwrap().clone();
    until("both are put together", async || {
        let exports = exports().await;
        exports.len() == 2 && exports.iter().all(|export| export["status"] == "ready")
    })
    .await;
    let of_nobody = exports().await.remove(0);
    assert_eq!((&of_nobody["request"]["by"], &of_nobody["request"]["subjects"]), (&json!("webhook"), &json!([])));
    let (_, text) = ann.fetch(of_nobody["id"].as_str().unwrap(), "html").await;
    assert!(text.contains("Nothing personal is kept"), "{text}");
    let of_known = exports().await.remove(1);
    let (_, text) = ann.fetch(of_known["id"].as_str().unwrap(), "json").await;
    assert_eq!(World::found_in(&serde_json::from_str::<Value>(&text).unwrap().to_string()), PLANTED);
    // By what nobody was found with is kept nowhere but in the delivery's body, which goes after its time.
    let mut superuser = world.database.superuser().await;
    sqlx::query("UPDATE inbox SET body = NULL").execute(&mut superuser).await.unwrap();
    assert!(!world.readable().await.contains("nobody.known"));
    let requests = ann.get("/api/compliance/requests?limit=1").await.1;
    assert_eq!(requests["items"][0]["reason"], "customers/data_request");
    let cursor = requests["next_cursor"].as_str().unwrap();
    let next = ann.get(&format!("/api/compliance/requests?limit=1&cursor={cursor}")).await.1;
    assert_eq!((&next["items"][0]["id"], &next["next_cursor"]), (&of_known["id"], &Value::Null), "{next}");
    for bad in ["limit=0", "limit=101", "cursor=x", "open=maybe"] {
        assert_eq!(ann.get(&format!("/api/compliance/requests?{bad}")).await.0, 400, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_expires_and_can_be_put_together_again() {
    let world = World::new().await;
    world.deliver_all(&bodies("2026-11-01T12:00:00Z")).await;
    let ann = world.as_handler().await;
    let (_, asked) = ann.post("/api/compliance/exports", &json!({ "customer_id": "42", "reason": "case 33" })).await;
    let id = asked["id"].as_str().unwrap();
    ann.ready(id).await;
    assert_eq!(
        ann.post(&format!("/api/compliance/exports/{id}/renew"), &ecomdash_tests::why()).await.1["status"],
        "ready"
    );
    let later = Utc::now() + TimeDelta::days(8);
    compliance::run_due(&world.store, world.shop.id, &world.signing, later, true).await.unwrap();
    let mut superuser = world.database.superuser().await;
    assert_eq!(number(&mut superuser, "SELECT count(*) FROM exports").await, 0);
    let (status, text) = ann.fetch(id, "json").await;
    assert!(status == 409 && text.contains("again"), "{text}");
    let head = async || {
        let url = format!("{}/api/compliance/exports/{id}/document", world.server.url);
        ecomdash_tests::client().head(url).bearer_auth(&ann.token).send().await.unwrap().status().as_u16()
    };
    assert_eq!(head().await, 409);
    let open = ann.get("/api/compliance/requests?open=true").await.1;
    assert_eq!(open["items"][0]["id"], id, "nobody has been answered: {open}");
    assert_eq!(ann.post(&format!("/api/compliance/exports/{id}/renew"), &ecomdash_tests::why()).await.0, 200);
    ann.ready(id).await;
    assert_eq!(head().await, 200);
    let still = ann.get("/api/compliance/requests?open=true").await.1;
    assert_eq!(still["items"][0]["id"], id, "whoever asks for the head alone has been told nothing: {still}");
    assert_eq!(ann.fetch(id, "json").await.0, 200);
    assert_eq!(ann.get("/api/compliance/requests?open=true").await.1["items"], json!([]));
    let renewed = "SELECT count(*) FROM events WHERE payload #>> '{ExportRenewed,reason}' = 'to see what happens'";
    assert_eq!(number(&mut superuser, renewed).await, 1);
}

/// Of several who have an address: none may be meant, some may be erased before anybody chooses, and an earlier release put together
/// what it could.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_of_one_of_several_ends_whatever_becomes_of_them() {
    let world = World::new().await;
    let of = |order_id: u64, customer: u64, name: &str| {
        let customer = json!({ "id": customer, "email": "two@planted.example", "first_name": name });
        let placed = order(order_id, "2026-11-04T12:00:00Z", vec![line(9, "10.00", 1)]);
        placed.with("email", json!("two@planted.example")).with("customer", customer).0
    };
    world.deliver_all(&[("orders/create", of(11, 61, "Rosalind")), ("orders/create", of(12, 62, "Ottilie"))]).await;
    let (ann, bob) = (world.as_handler().await, world.as_handler().await);
    let mut superuser = world.database.superuser().await;
    let request = |number: u64| {
        json!({ "shop_id": 1, "shop_domain": world.shop.domain, "orders_requested": [],
                "customer": { "email": "two@planted.example", "phone": null }, "data_request": { "id": number } })
    };
    let exports = async || ann.get("/api/compliance/exports").await.1["items"].as_array().unwrap().clone();
    let asked = async |number: u64| {
        assert_eq!(world.shop.deliver("customers/data_request", &request(number)).await, 200);
        until("it is asked for", async || exports().await.len() as u64 == number).await;
        let export = exports().await.remove(0);
        assert_eq!(export["status"], "several", "{export}");
        export["id"].as_str().unwrap().to_owned()
    };
    let choose = async |id: &str, subjects: Value| {
        let path = format!("/api/compliance/exports/{id}/choose");
        ann.post(&path, &json!({ "subjects": subjects, "reason": "seen by letter" })).await
    };
    let status = async |id: &str| ann.get(&format!("/api/compliance/exports/{id}")).await.1["status"].clone();
    let (none, other, left) = (asked(1).await, asked(2).await, asked(3).await);
    assert_eq!(ann.post(&format!("/api/compliance/exports/{none}/renew"), &ecomdash_tests::why()).await.0, 409);
    // None of them.
    assert_eq!(choose(&none, json!([])).await.0, 200);
    ann.ready(&none).await;
    let (told, page) = (ann.fetch(&none, "json").await.1, ann.fetch(&none, "html").await.1);
    assert!(serde_json::from_str::<Value>(&told).unwrap()["kept"] == json!([]), "{told}");
    assert!(page.contains("Nothing personal is kept"), "{page}");
    // As an earlier release left it: put together, and its list fetched, which was taken for the answer.
    let built = domain::export::Built {
        histories: 0,
        values: 0,
        bytes: 0,
        at: Utc::now(),
        expires_at: Utc::now() + TimeDelta::days(7),
    };
    let fetched = json!({ "ExportFetched": { "by": "ann", "form": "json", "at": Utc::now() } });
    for event in [json!({ "ExportBuilt": built }), fetched] {
        append(&world.store, &mut superuser, &world.shop, ("export", &other), &event).await;
    }
    let row = format!(
        "INSERT INTO exports (shop_id, export_id, subject, sealed, expires_at)
         VALUES ('{}', '{other}', 'customer:62', 'old', now() + interval '7 days')",
        world.shop.id
    );
    sqlx::raw_sql(&row).execute(&mut superuser).await.unwrap();

    // One is erased: the other may be meant.
    let erase = async |customer: &str| {
        let (_, asked) = ann.ask(&json!({ "kind": "customer", "customer_id": customer, "reason": "case 51" })).await;
        let id = asked["id"].as_str().unwrap();
        bob.post(&format!("/api/compliance/redactions/{id}/confirm"), &ecomdash_tests::why()).await;
        world.certified(&ann, id).await;
    };
    erase("61").await;
    assert_eq!((status(&left).await, status(&other).await), (json!("several"), json!("several")));
    assert_eq!(choose(&other, json!(["customer:61", "customer:62"])).await.0, 200);
    ann.ready(&other).await;
    let waiting = async || projector::backlog(&world.store, world.shop.id).await.unwrap().unwrap().requests;
    assert_eq!(waiting().await, 2, "the list that was fetched was no answer");
    let text = ann.fetch(&other, "json").await.1;
    assert!(text.contains("Ottilie") && !text.contains("Rosalind"), "{text}");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["nothing_kept_of"], json!(["customer:61"]), "{text}");
    // And once all are, nobody is left to be told.
    erase("62").await;
    assert_eq!((status(&left).await, status(&other).await), (json!("redacted"), json!("redacted")));
    assert_eq!(choose(&left, json!(["customer:62"])).await.0, 409);
    assert_eq!(ann.get("/api/compliance/requests?open=true").await.1["items"], json!([]));
    assert_eq!(number(&mut superuser, "SELECT count(*) FROM exports").await, 0);
    assert_eq!(waiting().await, 0);
}

/// What waits is told by a gauge to the second, from when it reached us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_98_what_is_due_is_told() {
    let world = World::new().await;
    world.deliver_all(&bodies("2026-11-01T12:00:00Z")).await;
    let gauges = async || {
        let backlog = projector::backlog(&world.store, world.shop.id).await.unwrap().unwrap();
        (backlog.requests, backlog.oldest_request_s)
    };
    assert_eq!(gauges().await, (0, 0.0));
    let sixteen_days_ago = Utc::now() - TimeDelta::days(16);
    let ask = async |hold: TimeDelta, at| {
        let mut tx = world.store.begin(world.shop.id).await.unwrap();
        let whom = compliance::Whom::Customer(domain::ids::CustomerId(42));
        let (reason, by) = ("case 34".parse().unwrap(), "ann".to_owned());
        let ask = compliance::Ask { whom, reason, by, at, hold, all: false };
        let compliance::Answer::Asked { id, .. } = compliance::ask(&mut tx, ask).await.unwrap() else { panic!() };
        tx.commit().await.unwrap();
        id
    };
    let first = ask(TimeDelta::days(20), sixteen_days_ago).await;
    ask(TimeDelta::days(1), Utc::now()).await;
    let (count, oldest) = gauges().await;
    assert_eq!(count, 2);
    let exact = (Utc::now() - sixteen_days_ago).as_seconds_f64();
    assert!((exact - oldest).abs() < 5.0, "{oldest} s of {exact}");
    let ann = world.as_handler().await;
    let (_, open) = ann.get("/api/compliance/requests?open=true").await;
    let due: chrono::DateTime<Utc> = open["items"][1]["due_at"].as_str().unwrap().parse().unwrap();
    assert_eq!((due - sixteen_days_ago).num_days(), 30);
    ann.post(&format!("/api/compliance/redactions/{first}/cancel"), &ecomdash_tests::why()).await;
    let (count, oldest) = gauges().await;
    assert!(count == 1 && oldest < 60.0, "{count} {oldest}");

    // Nobody has read yet what waits for a paused shop, and nobody can read what is dead: all the same it is a request.
    let paused = async |paused| {
        let mut fleet = world.store.begin_fleet().await.unwrap();
        ingest::set_paused(&mut fleet, world.shop.id, paused).await.unwrap();
        fleet.commit().await.unwrap();
    };
    paused(true).await;
    let request = json!({ "shop_id": 1, "shop_domain": world.shop.domain, "orders_to_redact": [],
                          "customer": { "id": 4_711, "email": null, "phone": null } });
    assert_eq!(world.shop.deliver("customers/redact", &request).await, 200);
    assert_eq!(gauges().await.0, 2);
    paused(false).await;
    until("it is done", async || gauges().await.0 == 1).await;
    assert_eq!(world.shop.deliver("customers/redact", &json!({ "customer": "nobody" })).await, 200);
    until("it is dead", async || {
        number(&mut world.database.superuser().await, "SELECT count(*) FROM inbox WHERE status = 'dead'").await == 1
    })
    .await;
    assert_eq!(gauges().await.0, 2);
}
