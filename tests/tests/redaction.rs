//! Erasing a person: what could be read before cannot be read afterwards, wherever it stands and whatever comes later; and no
//! figure moves.

use std::{collections::BTreeSet, time::Duration};

use api::Role;
use compliance::is_genuine;
use domain::{
    Subject,
    ids::{CustomerId, OrderId},
    redaction::{Erased, Receipt},
};
use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    bodies::{line, order, refund},
    client, command_on, number, run, until,
};
use event_store::{Database, ShopTx, events, shop_key};
use futures::TryStreamExt;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::{PgConnection, Row};
use vault::{MasterRing, SigningKeys};

const ZEBEDEE: Subject = Subject::Customer(CustomerId(42));
const PERIOD: (&str, &str) = ("2026-11-01", "2026-11-30");

/// One for every field that can be personal, in several alphabets.
const PLANTED: [&str; 17] = [
    "Zebedee",
    "Quillfeather",
    "zebedee.q@planted.example",
    "+1 555 010 7788",
    "77 Plantation Mews",
    "Cabbageville",
    "98.51.100.77",
    "please ring twice",
    "Gift wrap for Ottoline",
    "vip-zebedee",
    "Engraving: Ottoline",
    "zebedee-SAVE@planted.example",
    "Custom cape for Ottoline",
    "arrived in tatters",
    "Ottoline asked for it",
    "Зебедей Петрович",
    "髙橋の友",
];

struct World {
    database: TestDatabase,
    store: Database,
    server: Ecomdash,
    shop: Shop,
    signing: SigningKeys,
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let seed = MasterRing::generate_key().unwrap();
        let server = Ecomdash::start(&["up", "--port", "0"], &database, &[("SIGNING_KEYS", &seed)]);
        let store = database.open();
        let shop = Shop::register(&store, &server.url, "UTC", "USD").await;
        Self { server, store, shop, signing: SigningKeys::parse(&seed).unwrap(), database }
    }

    async fn deliver_all(&self, bodies: &[(&str, Value)]) {
        for (topic, body) in bodies {
            assert_eq!(self.shop.deliver(topic, body).await, 200, "{topic}");
        }
        self.shop.stats(PERIOD.0, PERIOD.1).await;
    }

    /// Everything that can be read with all keys at hand: rows as they stand, bodies and values opened.
    async fn readable(&self) -> String {
        let mut superuser = self.database.superuser().await;
        let mut text = every_row(&mut superuser).await;
        let mut tx = self.store.begin(self.shop.id).await.unwrap();
        let key = shop_key(&mut tx).await.unwrap();
        let bodies = sqlx::query("SELECT id, body FROM inbox WHERE body IS NOT NULL").fetch_all(&mut superuser).await;
        for row in bodies.unwrap() {
            let body: Vec<u8> = row.get("body");
            let opened: Vec<u8> = key.body(row.get("id")).open(&body).unwrap();
            text += &unescaped(&opened);
        }
        let (head, _) = tx.head().await.unwrap();
        let all: Vec<_> = events(&self.store, self.shop.id, 0, head).try_collect().await.unwrap();
        let subjects = sqlx::query("SELECT subject FROM subject_keys").fetch_all(&mut superuser).await.unwrap();
        let subjects: BTreeSet<Subject> = subjects.iter().map(|row| row.get::<String, _>(0).parse().unwrap()).collect();
        let keys = tx.subject_keys(&key, &subjects).await.unwrap();
        for value in ShopTx::values_of(&all, &subjects) {
            if let Some(Ok(opened)) = keys.get(&value.sealed.subject).map(|key| value.open(key)) {
                text += &unescaped(&opened);
            }
        }
        text
    }

    fn found_in(text: &str) -> Vec<&'static str> {
        let text = text.to_lowercase();
        PLANTED.into_iter().filter(|planted| text.contains(&planted.to_lowercase())).collect()
    }

    async fn as_handler(&self) -> Handler<'_> {
        let token = api::issue(&self.store, Some(self.shop.id), Role::Compliance, None).await.unwrap();
        Handler { token: token.secret.expose_secret().to_owned(), url: &self.server.url }
    }

    async fn redaction(&self, handler: &Handler<'_>, id: &str) -> Value {
        let (status, redaction) = handler.get(&format!("/api/compliance/redactions/{id}")).await;
        assert_eq!(status, 200, "{redaction}");
        redaction
    }

    async fn certified(&self, handler: &Handler<'_>, id: &str) -> Value {
        until("it is certified", async || self.redaction(handler, id).await["status"] == "certified").await;
        self.redaction(handler, id).await
    }

    fn assert_genuine(&self, redaction: &Value) {
        let id = redaction["id"].as_str().unwrap();
        let erased: Erased = serde_json::from_value(redaction["erased"].clone()).unwrap();
        let receipt: Receipt = serde_json::from_value(redaction["receipt"].clone()).unwrap();
        let (key_id, public) = self.signing.public().swap_remove(0);
        assert_eq!(receipt.key_id, key_id);
        assert!(is_genuine(&public, self.shop.id, id, &erased, &receipt));
        let forged = Erased { values: erased.values + 1, ..erased };
        assert!(!is_genuine(&public, self.shop.id, id, &forged, &receipt));
        assert!(receipt.searched > 0 && receipt.found == 0 && receipt.vacuumed && receipt.links > 0, "{receipt:?}");
        assert_eq!(receipt.sums_unchanged, Some(true));
    }
}

struct Handler<'a> {
    token: String,
    url: &'a str,
}

impl Handler<'_> {
    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = client().get(format!("{}{path}", self.url)).bearer_auth(&self.token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = client().post(format!("{}{path}", self.url)).bearer_auth(&self.token).json(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn ask(&self, body: &Value) -> (u16, Value) {
        self.post("/api/compliance/redactions", body).await
    }
}

/// JSON escapes as what they stand for.
fn unescaped(bytes: &[u8]) -> String {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value) => value.to_string(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

async fn every_row(superuser: &mut PgConnection) -> String {
    let tables = "SELECT format('%I', relname) FROM pg_class
                  WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";
    let tables = sqlx::query(tables).fetch_all(&mut *superuser).await.unwrap();
    let mut text = String::new();
    for table in tables {
        let table: String = table.get(0);
        let rows = sqlx::query(&format!("SELECT t::text FROM {table} t")).fetch_all(&mut *superuser).await.unwrap();
        for row in rows {
            text += &row.get::<String, _>(0);
            text.push('\n');
        }
    }
    text
}

/// An order with something personal in every place, a refund and an edit that name the order alone, and others about it.
fn bodies(updated: &str) -> Vec<(&'static str, Value)> {
    let address = json!({ "first_name": "Zebedee", "last_name": "Quillfeather", "name": "Зебедей Петрович",
        "address1": "77 Plantation Mews", "city": "Cabbageville", "company": "髙橋の友",
        "phone": "+1 555 010 7788", "country_code": "US", "province_code": "IL" });
    let customer = json!({ "id": 42, "first_name": "Zebedee", "last_name": "Quillfeather",
        "email": "zebedee.q@planted.example", "phone": "+1 555 010 7788", "updated_at": updated,
        "default_address": address, "tags": "vip-zebedee", "note": "please ring twice" });
    let custom = line(2, "5.00", 1)
        .with("product_id", json!(null))
        .with("title", json!("Custom cape for Ottoline"))
        .with("properties", json!([{ "name": "text", "value": "Engraving: Ottoline" }]));
    let placed = order(1, "2026-11-01T12:00:00Z", vec![line(1, "10.00", 1), custom])
        .updated(updated)
        .code("zebedee-SAVE@planted.example")
        .with("email", json!("Zebedee.Q@planted.example"))
        .with("contact_email", json!("zebedee.q@planted.example"))
        .with("phone", json!("(555) 010-7788"))
        .with("browser_ip", json!("98.51.100.77"))
        .with("note", json!("please ring twice"))
        .with("note_attributes", json!([{ "name": "wrap", "value": "Gift wrap for Ottoline" }]))
        .with("tags", json!("vip-zebedee"))
        .with("customer", customer.clone())
        .with("shipping_address", address.clone())
        .with("billing_address", address.clone());
    let refunded = refund(1, 1, "2026-11-02T12:00:00Z")
        .line(1, 1, "10.00", "0.00", "return")
        .with("note", json!("arrived in tatters"));
    let edited = json!({ "order_edit": { "id": 1, "order_id": 1, "committed_at": "2026-11-02T13:00:00Z",
        "staff_note": "Ottoline asked for it", "line_items": { "additions": [], "removals": [] } } });
    let fulfilled = json!({ "id": 5, "order_id": 1, "status": "success", "created_at": "2026-11-02T12:00:00Z",
        "updated_at": updated, "email": "zebedee.q@planted.example", "destination": address, "line_items": [] });
    let checkout = json!({ "id": 9, "token": "t9", "created_at": "2026-11-01T11:00:00Z", "updated_at": updated,
        "currency": "USD", "email": "zebedee.q@planted.example", "customer": { "id": 42 }, "line_items": [],
        "total_price": "15.00", "subtotal_price": "15.00", "shipping_address": address });
    vec![
        ("customers/create", customer),
        ("orders/create", placed.0),
        ("refunds/create", refunded.0),
        ("orders/edited", edited),
        ("fulfillments/create", fulfilled),
        ("checkouts/create", checkout),
    ]
}

fn others() -> Vec<(&'static str, Value)> {
    vec![("orders/create", order(2, "2026-11-03T12:00:00Z", vec![line(3, "20.00", 2)]).0)]
}

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
    let (status, refused) = ann.post(&confirm, &json!({})).await;
    assert_eq!(status, 409, "{refused}");
    assert_eq!(World::found_in(&world.readable().await), PLANTED, "it is waited with");
    let (status, confirmed) = bob.post(&confirm, &json!({})).await;
    assert_eq!(status, 200, "{confirmed}");
    let done = world.certified(&ann, id).await;
    world.assert_genuine(&done);
    assert_eq!(done["erased"]["subjects"], json!(["customer:42", "order:1"]));
    assert!(done["erased"]["bodies"].as_u64().unwrap() >= 7, "{done}");

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
    let metrics = world.shop.stats(PERIOD.0, PERIOD.1).await["metrics"].clone();
    let (ok, text) = run(&world.database, &["rebuild"]);
    assert!(ok && text.contains("the same figures"), "{text}");
    assert_eq!(world.shop.stats(PERIOD.0, PERIOD.1).await["metrics"], metrics);
    assert_eq!(World::found_in(&world.readable().await), [""; 0], "rebuilt");
    let (ok, text) = run(&world.database, &["verify"]);
    assert!(ok && text.contains("unbroken"), "{text}");
    // The other customer is as before.
    let mut tx = world.store.begin(world.shop.id).await.unwrap();
    let jane = BTreeSet::from([Subject::Customer(CustomerId(5_000_002)), Subject::Order(OrderId(2))]);
    assert!(tx.redacted_among(&jane).await.unwrap().is_empty());
    // Again is harmless.
    let (_, again) = ann.ask(&asked).await;
    let again = again["id"].as_str().unwrap();
    bob.post(&format!("/api/compliance/redactions/{again}/confirm"), &json!({})).await;
    assert_eq!(world.certified(&ann, again).await["erased"]["keys"], 0);
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

    // By address: an address may be another's, so somebody has to look.
    let by_email = request(json!({ "email": "ZEBEDEE.q@planted.example", "phone": null }), json!([]));
    assert_eq!(world.shop.deliver("customers/redact", &by_email).await, 200);
    until("it is there", async || list().await.len() == 2).await;
    let held = list().await.remove(0);
    assert_eq!((&held["status"], &held["request"]["subjects"]), (&json!("held"), &json!(["customer:42"])), "{held}");
    let path = format!("/api/compliance/redactions/{}/release", held["id"].as_str().unwrap());
    assert_eq!(handler.post(&path, &json!({})).await.0, 200);
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
    let merge = json!({ "admin_graphql_api_customer_kept_id": "gid://shopify/Customer/43",
        "admin_graphql_api_customer_deleted_id": "gid://shopify/Customer/42",
        "admin_graphql_api_job_id": null, "status": "completed", "errors": [] });
    let bare = order(7, "2026-11-04T12:00:00Z", vec![line(9, "10.00", 1)]);
    let bare = ["email", "contact_email", "browser_ip"].into_iter().fold(bare, |bare, key| bare.with(key, Value::Null));
    let bare = bare.with("customer", json!({ "id": 43 }));
    let noted = refund(7, 7, "2026-11-05T12:00:00Z").with("note", json!("arrived in tatters"));
    world.deliver_all(&[("customers/merge", merge), ("orders/create", bare.0), ("refunds/create", noted.0)]).await;
    let (ann, bob) = (world.as_handler().await, world.as_handler().await);
    let (_, asked) = ann.ask(&json!({ "kind": "customer", "customer_id": "43", "reason": "case 15" })).await;
    let id = asked["id"].as_str().unwrap();
    assert_eq!(bob.post(&format!("/api/compliance/redactions/{id}/confirm"), &json!({})).await.0, 200);
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
    assert_eq!(other.post(&path("confirm"), &json!({})).await.0, 200);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.redaction(&handler, id).await["status"], "held", "a hold is in the way of a confirmed one");
    // And of another that is of the same person.
    let (_, second) = handler.ask(&json!({ "kind": "customer", "customer_id": "1", "reason": "case 16" })).await;
    let second = second["id"].as_str().unwrap();
    assert_eq!(other.post(&format!("/api/compliance/redactions/{second}/confirm"), &json!({})).await.0, 200);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.redaction(&handler, second).await["status"], "waiting");
    assert_eq!(handler.post(&format!("/api/compliance/redactions/{second}/cancel"), &json!({})).await.0, 200);
    assert_eq!(handler.post(&path("hold"), &json!({ "reason": "another" })).await.0, 409, "one at a time");
    let (status, cancelled) = handler.post(&path("cancel"), &json!({})).await;
    assert_eq!((status, &cancelled["status"]), (200, &json!("cancelled")));
    assert_eq!(handler.post(&path("release"), &json!({})).await.0, 409);

    for (bad, detail) in [
        (json!({ "kind": "customer", "reason": "x" }), "name one of"),
        (json!({ "kind": "customer", "customer_id": "x", "reason": "x" }), "in digits"),
        (json!({ "kind": "customer", "email": "nobody", "reason": "x" }), "no e-mail address"),
        (json!({ "kind": "customer", "customer_id": "1", "reason": "jane@example.com" }), "kept for ever"),
        (json!({ "kind": "shop", "reason": "x" }), "`kind`"),
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
    let token = api::issue(&world.store, Some(stranger.id), Role::Compliance, None).await.unwrap();
    let stranger = Handler { token: token.secret.expose_secret().to_owned(), url: &world.server.url };
    assert_eq!(stranger.get(&format!("/api/compliance/redactions/{id}")).await.0, 404);
    assert_eq!(stranger.post(&path("cancel"), &json!({})).await.0, 404);
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
