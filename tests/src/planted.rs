//! A shop with a person in it who has left something in every place where something personal can stand, and ways to look for
//! it: what the tests of erasing and of handing out share.

use std::{collections::BTreeSet, sync::OnceLock};

use api::Role;
use chrono::{TimeDelta, Utc};
use compliance::Entry;
use domain::{
    ShopId, Subject,
    ids::CustomerId,
    redaction::{Erased, Request},
};
use event_store::{Database, ShopTx, events, shop_key};
use futures::TryStreamExt;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::{PgConnection, Row};
use vault::{MasterRing, SigningKeys};

use crate::{
    Ecomdash, Shop, TestDatabase,
    bodies::{line, order, refund},
    client,
    search::{Search, escaped},
    until,
};

/// The person.
pub const ZEBEDEE: Subject = Subject::Customer(CustomerId(42));
/// When it happens.
pub const PERIOD: (&str, &str) = ("2026-11-01", "2026-11-30");

/// One for every field that can be personal, in several alphabets.
pub const PLANTED: [&str; 23] = [
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
    "５５５ ０１０ ９９",
    "٥٥٥٠١٠٧٧",
    "ottolines-landing",
    "ottolines-referrer",
    "planted-token-9f3a",
    "Zebedophone/7",
];

/// The shop, with its process and its database.
pub struct World {
    /// See its type.
    pub database: TestDatabase,
    /// See its type.
    pub store: Database,
    /// See its type.
    pub server: Ecomdash,
    /// See its type.
    pub shop: Shop,
    /// See its type.
    pub signing: SigningKeys,
    /// `SIGNING_KEYS`.
    pub seed: String,
}

fn start(database: &TestDatabase, seed: &str, settings: &[(&str, &str)]) -> Ecomdash {
    let settings: Vec<_> = settings.iter().copied().chain([("SIGNING_KEYS", seed)]).collect();
    Ecomdash::start(&["up", "--port", "0"], database, &settings)
}

impl World {
    /// Starts everything.
    pub async fn new() -> Self {
        Self::on(TestDatabase::new().await, &[]).await
    }

    /// The same on a database, with settings besides.
    pub async fn on(database: TestDatabase, settings: &[(&str, &str)]) -> Self {
        let seed = MasterRing::generate_key().unwrap();
        let server = start(&database, &seed, settings);
        let store = database.open();
        let shop = Shop::register(&store, &server.url, "UTC", "USD").await;
        Self { server, store, shop, signing: SigningKeys::parse(&seed).unwrap(), seed, database }
    }

    /// This shop as another database has it, with settings besides.
    pub fn as_in(&self, database: TestDatabase, settings: &[(&str, &str)]) -> Self {
        let server = start(&database, &self.seed, settings);
        let signing = SigningKeys::parse(&self.seed).unwrap();
        Self {
            shop: self.shop.at(&server.url),
            server,
            store: database.open(),
            signing,
            seed: self.seed.clone(),
            database,
        }
    }

    /// Delivers bodies, and waits until they are in the figures.
    pub async fn deliver_all(&self, bodies: &[(&str, Value)]) {
        for (topic, body) in bodies {
            assert_eq!(self.shop.deliver(topic, body).await, 200, "{topic}");
        }
        self.shop.stats(PERIOD.0, PERIOD.1).await;
    }

    /// Takes in documents of a sync, likewise.
    pub async fn sync(&self, documents: &[Value]) {
        let documents: Vec<_> = documents.iter().map(|document| document.to_string().into_bytes()).collect();
        let mut tx = self.store.begin(self.shop.id).await.unwrap();
        let key = shop_key(&mut tx).await.unwrap();
        ingest::store_documents(&mut tx, &key, &documents, Utc::now()).await.unwrap();
        tx.commit().await.unwrap();
        self.shop.stats(PERIOD.0, PERIOD.1).await;
    }

    /// The same of bodies as they are written.
    pub async fn deliver_as_written(&self, bodies: &[(&str, String)]) {
        for (topic, body) in bodies {
            let id = uuid::Uuid::new_v4().to_string();
            assert_eq!(self.shop.try_deliver(topic, body, &id, None).await.unwrap().status(), 200, "{topic}");
        }
        self.shop.stats(PERIOD.0, PERIOD.1).await;
    }

    /// Everything that can be read with all keys at hand: rows as they stand, bodies and values opened.
    pub async fn readable(&self) -> String {
        let mut superuser = self.database.superuser().await;
        every_row(&mut superuser).await + &opened(&mut superuser, &self.store, self.shop.id).await
    }

    /// Which of the planted values a text says, in whichever spelling.
    pub fn found_in(text: &str) -> Vec<&'static str> {
        static SEARCH: OnceLock<Search> = OnceLock::new();
        SEARCH.get_or_init(|| Search::of(PLANTED)).in_text(text)
    }

    /// A new token of the compliance role.
    pub async fn as_handler(&self) -> Handler<'_> {
        let token = crate::issue_token(&self.store, Some(self.shop.id), Role::Compliance, None).await.unwrap();
        Handler { token: token.secret.expose_secret().to_owned(), url: &self.server.url }
    }

    /// A redaction as the API tells it.
    pub async fn redaction(&self, handler: &Handler<'_>, id: &str) -> Value {
        let (status, redaction) = handler.get(&format!("/api/compliance/redactions/{id}")).await;
        assert_eq!(status, 200, "{redaction}");
        redaction
    }

    /// The same, once it is certified.
    pub async fn certified(&self, handler: &Handler<'_>, id: &str) -> Value {
        until("it is certified", async || self.redaction(handler, id).await["status"] == "certified").await;
        self.redaction(handler, id).await
    }

    /// Checks a receipt: who signed it, and that nothing was found.
    pub fn assert_genuine(&self, redaction: &Value) {
        self.assert_genuine_of(self.shop.id, redaction);
        assert_eq!(redaction["receipt"]["sums_unchanged"], true);
    }

    /// The same of any shop's, but for the figures.
    pub fn assert_genuine_of(&self, shop: ShopId, redaction: &Value) {
        let mut entry = redaction.clone();
        entry["shop"] = json!(shop);
        let entry: Entry = serde_json::from_value(entry).unwrap();
        let Entry { request, erased, receipt, .. } = entry.clone();
        assert_eq!(receipt.key_id, self.signing.newest_id());
        assert!(entry.is_genuine(&self.signing));
        let forged_request = |request| Entry { request, ..entry.clone() };
        for forged in [
            Entry { erased: Erased { values: erased.values + 1, ..erased.clone() }, ..entry.clone() },
            Entry { confirmed_by: Some("compliance 1".to_owned()), ..entry.clone() },
            forged_request(Request { by: "command".to_owned() + &request.by, ..request.clone() }),
            forged_request(Request { reason: format!("{}\nasked_by: bob", request.reason), ..request.clone() }),
            forged_request(Request { request: Some("customer_redaction/1".to_owned()), ..request.clone() }),
            forged_request(Request { at: request.at + TimeDelta::days(1), ..request.clone() }),
        ] {
            assert!(!forged.is_genuine(&self.signing), "{forged:?}");
        }
        assert!(receipt.horizon >= erased.at && receipt.at >= receipt.horizon, "{receipt:?}");
        assert!(receipt.searched > 0 && receipt.found == 0 && receipt.vacuumed && receipt.links > 0, "{receipt:?}");
    }
}

/// Somebody who handles the shop's compliance.
pub struct Handler<'a> {
    /// Theirs.
    pub token: String,
    /// Of the API.
    pub url: &'a str,
}

impl Handler<'_> {
    /// Asks.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let answer = client().get(format!("{}{path}", self.url)).bearer_auth(&self.token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Tells.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = client().post(format!("{}{path}", self.url)).bearer_auth(&self.token).json(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Asks that somebody be erased.
    pub async fn ask(&self, body: &Value) -> (u16, Value) {
        self.post("/api/compliance/redactions", body).await
    }
}

/// Every row of every table, as it stands.
pub async fn every_row(superuser: &mut PgConnection) -> String {
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

/// What is sealed of a shop, bodies and values, as far as it can be opened with all keys at hand.
pub async fn opened(superuser: &mut PgConnection, store: &Database, shop: ShopId) -> String {
    let mut text = String::new();
    let mut tx = store.begin(shop).await.unwrap();
    let key = shop_key(&mut tx).await.unwrap();
    let bodies = sqlx::query("SELECT id, body FROM inbox WHERE body IS NOT NULL AND shop_id = $1")
        .bind(shop.0)
        .fetch_all(&mut *superuser)
        .await;
    for row in bodies.unwrap() {
        let body: Vec<u8> = row.get("body");
        let opened: Vec<u8> = key.body(row.get("id")).open(&body).unwrap();
        text += &String::from_utf8_lossy(&opened);
    }
    let (head, _) = tx.head().await.unwrap();
    let all: Vec<_> = events(store, shop, 0, head).try_collect().await.unwrap();
    let subjects = sqlx::query("SELECT subject FROM subject_keys WHERE shop_id = $1").bind(shop.0);
    let subjects = subjects.fetch_all(&mut *superuser).await.unwrap();
    let subjects: BTreeSet<Subject> = subjects.iter().map(|row| row.get::<String, _>(0).parse().unwrap()).collect();
    let keys = tx.subject_keys(&key, &subjects).await.unwrap();
    for value in ShopTx::values_of(&all, &subjects) {
        if let Some(Ok(opened)) = keys.get(&value.sealed.subject).map(|key| value.open(key)) {
            text += &String::from_utf8_lossy(&opened);
        }
    }
    text
}

/// An order with something personal in every place, a refund and an edit that name the order alone, and others about it.
pub fn bodies(updated: &str) -> Vec<(&'static str, Value)> {
    let address = json!({ "first_name": "Zebedee", "last_name": "Quillfeather", "name": "Зебедей Петрович",
        "address1": "77 Plantation Mews", "city": "Cabbageville", "company": "髙橋の友",
        "phone": "555.010.7788", "country_code": "US", "province_code": "IL" });
    let customer = json!({ "id": 42, "first_name": "Zebedee", "last_name": "Quillfeather",
        "email": "zebedee.q@planted.example", "phone": "+1 555 010 7788", "updated_at": updated,
        "default_address": address, "tags": "vip-zebedee", "note": "please ring twice, or ５５５ ０１０ ９９" });
    let custom = line(2, "5.00", 1)
        .with("product_id", json!(null))
        .with("title", json!("Custom cape for Ottoline"))
        .with("properties", json!([{ "name": "text", "value": "Engraving: Ottoline" }]));
    let placed = order(1, "2026-11-01T12:00:00Z", vec![line(1, "10.00", 1), custom])
        .updated(updated)
        .code("zebedee-SAVE@planted.example")
        .code("RING ٥٥٥٠١٠٧٧")
        .with(
            "landing_site",
            json!("/capes?who=ottolines-landing&utm_source=mail&utm_campaign=zebedee.q%2540planted.example"),
        )
        .with("referring_site", json!("https://search.example/?q=ottolines-referrer"))
        .with("order_status_url", json!(STATUS_URL))
        .with("client_details", json!({ "browser_ip": "98.51.100.77", "user_agent": "Zebedophone/7" }))
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

/// With a token that opens it, and an address.
const STATUS_URL: &str =
    "https://capes.example/1/orders/77ab/authenticate?key=planted-token-9f3a&to=zebedee.q%40planted.example";

/// The same in capitals, and with everything escaped that JSON can escape; one that is no JSON, and one that cannot be read.
pub fn odd_bodies(updated: &str) -> Vec<(&'static str, String)> {
    let (customer, placed) = (&bodies(updated)[0].1, &bodies(updated)[1].1);
    let unreadable = json!({ "id": 1, "updated_at": "please ring twice", "currency": "Zebedee", "total_price": "Cabbageville",
        "customer": { "id": 42, "email": "zebedee.q@planted.example" } });
    vec![
        ("customers/update", written(customer, str::to_uppercase)),
        ("orders/updated", written(placed, str::to_owned)),
        ("orders/updated", format!("{} and more", written(placed, str::to_uppercase))),
        ("orders/updated", unreadable.to_string()),
    ]
}

fn written(value: &Value, changed: fn(&str) -> String) -> String {
    match value {
        // What is read as a name or a time stays in its case.
        Value::String(text) if text.starts_with("20") => value.to_string(),
        Value::String(text) => format!("\"{}\"", escaped(&changed(text), |char| char.is_ascii_digit())),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(|item| written(item, changed)).collect::<Vec<_>>().join(","))
        }
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| format!("{}:{}", json!(name), written(value, changed));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

/// Of somebody else.
pub fn others() -> Vec<(&'static str, Value)> {
    vec![("orders/create", order(2, "2026-11-03T12:00:00Z", vec![line(3, "20.00", 2)]).0)]
}
