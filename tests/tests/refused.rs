//! Ciphertexts that are not what was written, or not where it was written, are refused and counted; and keys that are gone are
//! out of use at once.

use std::collections::BTreeSet;

use api::Role;
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use chrono::Utc;
use domain::{ShopId, Subject, ids::CustomerId};
use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    bodies::{line, order},
    client, number,
    observed::value,
    until,
};
use event_store::{Database, Envelope, Metadata, SealedValue, ShopTx, StoreError, Streams, events, shop_key};
use futures::TryStreamExt;
use ingest::{Accepted, Delivery, Receiver};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use shopify::{Context, Translation, translate};
use sqlx::{PgConnection, Row};
use uuid::Uuid;
use vault::{MasterRing, ShopKey, SubjectKey};

const METRICS_TOKEN: &str = "the-token-of-whoever-collects";
const JANE: Subject = Subject::Customer(CustomerId(5_000_001));
const NOBODY: &str = "nobody.myshopify.com";

/// An order of customer 5,000,000 and its number.
fn placed(id: u64) -> Value {
    order(id, "2026-11-10T12:00:00Z", vec![line(id, "10.00", 1)]).0
}

struct World {
    database: TestDatabase,
    store: Database,
    server: Ecomdash,
    ours: Shop,
    theirs: Shop,
}

async fn world() -> World {
    let database = TestDatabase::new().await;
    let server = Ecomdash::start(&["up", "--port", "0"], &database, &[("METRICS_TOKEN", METRICS_TOKEN)]);
    let store = database.open();
    let ours = Shop::register(&store, &server.url, "UTC", "USD").await;
    let theirs = Shop::register(&store, &server.url, "UTC", "USD").await;
    for shop in [&ours, &theirs] {
        for id in [1, 2] {
            assert_eq!(shop.deliver("orders/create", &placed(id)).await, 200);
        }
        shop.stats("2026-11-10", "2026-11-10").await;
    }
    for id in [1, 2] {
        let mut stranger = ours.at(&server.url);
        stranger.domain = NOBODY.to_owned();
        assert_eq!(stranger.deliver("orders/create", &placed(id)).await, 200);
    }
    World { database, store, server, ours, theirs }
}

/// What can be done to a ciphertext where it stands.
fn harms(sealed: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut harms = Vec::new();
    // Every byte of a short one, in turn at each of its places; of a long one, all of its beginning and its end.
    for bit in (0..sealed.len() * 8).step_by(7) {
        if (512..(sealed.len() * 8).saturating_sub(256)).contains(&bit) && !bit.is_multiple_of(77) {
            continue;
        }
        let mut changed = sealed.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        harms.push((format!("bit {bit} flipped"), changed));
    }
    for length in [0, 1, 3, 4, 15, 16, 31, 32, sealed.len() - 16, sealed.len() - 1] {
        harms.push((format!("cut to {length}"), sealed[..length].to_vec()));
    }
    harms.push(("with a byte more".to_owned(), [sealed, &[0]].concat()));
    harms.push(("under another key's id".to_owned(), [&[0xab; 4], &sealed[4..]].concat()));
    harms.push(("of zeros".to_owned(), vec![0; sealed.len()]));
    harms
}

async fn bytes(superuser: &mut PgConnection, sql: &str) -> Vec<(Uuid, Vec<u8>)> {
    let rows = sqlx::query(sql).fetch_all(superuser).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

impl World {
    /// Puts bytes where a shop's key stands, and looks what the store makes of them.
    async fn shop_key_as(&self, superuser: &mut PgConnection, wrapped: &[u8]) -> Result<ShopKey, StoreError> {
        sqlx::query("UPDATE shop_keys SET wrapped = $2 WHERE shop_id = $1")
            .bind(self.ours.id.0)
            .bind(wrapped)
            .execute(superuser)
            .await
            .unwrap();
        shop_key(&mut self.store.begin(self.ours.id).await.unwrap()).await
    }

    async fn subject_key_as(&self, superuser: &mut PgConnection, wrapped: &[u8]) -> Result<SubjectKey, StoreError> {
        sqlx::query("UPDATE subject_keys SET wrapped = $3 WHERE shop_id = $1 AND subject = $2")
            .bind(self.ours.id.0)
            .bind(JANE.to_string())
            .bind(wrapped)
            .execute(superuser)
            .await
            .unwrap();
        subject_key(&self.store, self.ours.id, JANE).await
    }

    async fn refused(&self, what: &str) -> f64 {
        let asked = client().get(format!("{}/metrics", self.server.url)).bearer_auth(METRICS_TOKEN);
        let page = asked.send().await.unwrap().text().await.unwrap();
        value(&page, "sealed_refused_total", &[("what", what)]).unwrap_or_else(|| panic!("no {what} in {page}"))
    }
}

async fn subject_key(store: &Database, shop: ShopId, subject: Subject) -> Result<SubjectKey, StoreError> {
    let mut tx = store.begin(shop).await?;
    let key = shop_key(&mut tx).await?;
    let mut keys = tx.subject_keys(&key, &BTreeSet::from([subject])).await?;
    Ok(keys.remove(&subject).expect("it has a key"))
}

async fn values(store: &Database, shop: ShopId) -> Vec<SealedValue> {
    let all: Vec<_> = events(store, shop, 0, i64::MAX).try_collect().await.unwrap();
    ShopTx::values_of(&all, &BTreeSet::from([JANE]))
}

fn is_refused<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Keys(..)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_96_what_was_moved_changed_or_cut_is_refused() {
    let world = world().await;
    let mut superuser = world.database.superuser().await;
    let (ours, theirs) = (world.ours.id, world.theirs.id);
    let mut tried = 0;

    // That it is issued is written under the shop's key, too.
    let token = ecomdash_tests::issue_token(&world.store, Some(ours), Role::Compliance, None).await.unwrap();
    // Keys of shops, under the master ring.
    let of = |shop: ShopId| format!("SELECT shop_id, wrapped FROM shop_keys WHERE shop_id = '{shop}'");
    let own = bytes(&mut superuser, &of(ours)).await.remove(0).1;
    let another = bytes(&mut superuser, &of(theirs)).await.remove(0).1;
    for (harm, wrapped) in harms(&own).into_iter().chain([("another shop's".to_owned(), another)]) {
        assert!(is_refused(&world.shop_key_as(&mut superuser, &wrapped).await), "a shop's key, {harm}");
        tried += 1;
    }
    // A process says so, to whoever asks and to whoever looks at its metrics.
    let ask = async || {
        let body = json!({ "kind": "customer", "email": "jane.doe@example.com", "reason": "a look", "dry_run": true });
        let asked = client().post(format!("{}/api/compliance/redactions", world.server.url)).json(&body);
        asked.bearer_auth(token.secret.expose_secret()).send().await.unwrap().status().as_u16()
    };
    let before = world.refused("shop_key").await;
    assert_eq!(ask().await, 500);
    assert!(world.refused("shop_key").await > before);
    let key = world.shop_key_as(&mut superuser, &own).await.unwrap();
    assert_eq!(ask().await, 200, "once it is as it was");

    // Keys of subjects, under the shop's.
    let of = |shop: ShopId, subject: Subject| {
        format!("SELECT shop_id, wrapped FROM subject_keys WHERE shop_id = '{shop}' AND subject = '{subject}'")
    };
    let own = bytes(&mut superuser, &of(ours, JANE)).await.remove(0).1;
    let another = bytes(&mut superuser, &of(ours, Subject::Customer(CustomerId(5_000_002)))).await.remove(0).1;
    let elsewhere = bytes(&mut superuser, &of(theirs, JANE)).await.remove(0).1;
    let moved = [("another subject's".to_owned(), another), ("another shop's".to_owned(), elsewhere)];
    for (harm, wrapped) in harms(&own).into_iter().chain(moved) {
        assert!(is_refused(&world.subject_key_as(&mut superuser, &wrapped).await), "a subject's key, {harm}");
        tried += 1;
    }
    let before = world.refused("subject_key").await;
    let seen_again = order(1, "2026-11-10T12:00:00Z", vec![line(1, "10.00", 1)]).updated("2026-11-11T12:00:00Z");
    assert_eq!(world.ours.deliver("orders/updated", &seen_again.0).await, 200);
    until("the worker meets it", async || world.refused("subject_key").await > before).await;
    let jane = world.subject_key_as(&mut superuser, &own).await.unwrap();
    world.ours.stats("2026-11-10", "2026-11-10").await; // and goes on

    // Values in events, under their subjects' keys: each opens as one field, of one subject, of one shop.
    let others = subject_key(&world.store, ours, Subject::Customer(CustomerId(5_000_002))).await.unwrap();
    let elsewhere = subject_key(&world.store, theirs, JANE).await.unwrap();
    let all = values(&world.store, ours).await;
    assert!(!all.is_empty());
    for value in &all {
        let opens = domain::Field::ALL.iter().filter(|field| jane.open(field.name(), &value.sealed).is_ok()).count();
        assert_eq!(opens, 1, "{}", value.name);
        assert!(value.open(&jane).is_ok() && value.open(&others).is_err() && value.open(&elsewhere).is_err());
    }
    for (harm, bytes) in harms(&BASE64.decode(&all[0].sealed.bytes).unwrap()) {
        let sealed = domain::Sealed { subject: JANE, bytes: BASE64.encode(bytes) };
        let changed = SealedValue { position: 1, name: all[0].name.clone(), sealed };
        assert!(changed.open(&jane).is_err(), "a value, {harm}");
        tried += 1;
    }

    // Bodies of deliveries, each under a key of its own.
    let bodies =
        bytes(&mut superuser, &format!("SELECT id, body FROM inbox WHERE shop_id = '{ours}' ORDER BY id")).await;
    let [(first, own), (_, another), ..] = &bodies[..] else { panic!("two deliveries") };
    let theirs =
        bytes(&mut superuser, &format!("SELECT id, body FROM inbox WHERE shop_id = '{theirs}'")).await.remove(0).1;
    let moved = [("another delivery's".to_owned(), another.clone()), ("another shop's".to_owned(), theirs)];
    for (harm, body) in harms(own).into_iter().chain(moved) {
        assert!(key.body(*first).open(&body).is_err(), "a body, {harm}");
        tried += 1;
    }
    assert!(key.body(*first).open(own).is_ok());
    let before = world.refused("body").await;
    let harm = "UPDATE inbox SET body = $2, status = 'pending', due_at = now() WHERE id = $1";
    sqlx::query(harm).bind(first).bind(another).execute(&mut superuser).await.unwrap();
    assert_eq!(world.ours.deliver("orders/create", &placed(3)).await, 200);
    world.ours.stats("2026-11-10", "2026-11-10").await;
    assert_eq!(
        number(&mut superuser, "SELECT count(*) FROM inbox WHERE status = 'dead' AND reason LIKE '%open%'").await,
        1
    );
    assert!(world.refused("body").await > before);

    // Bodies that nobody has claimed, under the master ring.
    let bodies = bytes(&mut superuser, "SELECT id, body FROM inbox_unclaimed ORDER BY id").await;
    let [(first, own), (_, another)] = &bodies[..] else { panic!("two deliveries") };
    let ring = MasterRing::parse(&world.database.encryption_keys).unwrap();
    for (harm, body) in harms(own).into_iter().chain([("another's".to_owned(), another.clone())]) {
        assert!(ring.open_unclaimed(*first, &body).is_err(), "an unclaimed body, {harm}");
        tried += 1;
    }
    assert!(ring.open_unclaimed(*first, own).is_ok());
    eprintln!("{tried} harms");
    assert!(tried > 400, "{tried}");
}

/// A process that knew a shop a moment ago does not go on with its key when that is destroyed.
#[tokio::test]
async fn a_destroyed_shop_key_is_used_no_more_by_whoever_knew_it() {
    let world = world().await;
    let mut superuser = world.database.superuser().await;
    let receiver = Receiver::new(world.store.clone());
    let receive = async |shop: &Shop, id: &str| {
        let (domain, body) = (shop.domain.parse().unwrap(), placed(9).to_string());
        let delivery = Delivery {
            domain: Some(&domain),
            topic: "orders/create",
            webhook_id: Some(id),
            triggered_at: None,
            event_id: None,
            note: None,
            body: body.as_bytes(),
            received_at: Utc::now(),
        };
        receiver.receive(&delivery).await
    };
    for shop in [&world.ours, &world.theirs] {
        assert_eq!(receive(shop, "before").await.unwrap(), Accepted::New);
    }
    let sql = format!(
        "UPDATE shop_keys SET wrapped = NULL, destroyed_at = now() WHERE shop_id = '{}';
         DELETE FROM shop_keys WHERE shop_id = '{1}'; DELETE FROM directory WHERE shop_id = '{1}'",
        world.ours.id, world.theirs.id
    );
    sqlx::raw_sql(&sql).execute(&mut superuser).await.unwrap();
    assert!(is_refused(&receive(&world.ours, "after").await), "its key is destroyed");
    assert_eq!(receive(&world.theirs, "after").await.unwrap(), Accepted::Unclaimed, "nothing is left of the shop");
    assert_eq!(number(&mut superuser, "SELECT count(*) FROM inbox WHERE webhook_id = 'after'").await, 0);
}

/// A command that is decided on what was known a moment ago is not appended if a key was destroyed since.
#[tokio::test]
async fn a_destroyed_subject_key_is_used_no_more_by_whoever_knew_it() {
    let world = world().await;
    let shop = world.ours.id;
    let seen = |id: u64, updated: &str| {
        let body = order(id, "2026-11-10T12:00:00Z", vec![line(id, "10.00", 1)]).updated(updated);
        let body = body.with("note", json!(updated));
        let context = Context {
            topic: "orders/updated",
            triggered_at: None,
            digest: shopify::body_digest(body.0.to_string().as_bytes()),
            received_at: Utc::now(),
            domain: &NOBODY.parse().unwrap(),
            shopify_id: None,
            currency: "USD".parse().unwrap(),
        };
        match translate(&context, body.0.to_string().as_bytes()).unwrap() {
            Translation::Commands(mut commands) => commands.remove(0),
            Translation::Ignored(why) => panic!("{why}"),
        }
    };
    let metadata = || Metadata::from_source("sync");
    let known = world.store.execute(shop, seen(1, "2026-11-12T12:00:00Z"), metadata()).await.unwrap();
    assert_eq!(known.events, 1);
    let last = async || {
        let (head, _) = world.store.begin_reading(shop).await.unwrap().head().await.unwrap();
        let all: Vec<_> = events(&world.store, shop, head - 1, head).try_collect().await.unwrap();
        all[0].payload.clone()
    };
    let by_jane = format!("\"by\":\"{JANE}\"");
    assert!(last().await.contains(&by_jane), "{}", last().await);

    let elsewhere = world.database.open();
    let mut tx = elsewhere.begin(shop).await.unwrap();
    tx.lock_log().await.unwrap();
    assert_eq!(tx.destroy_subjects(&BTreeSet::from([JANE]), &Streams::new()).await.unwrap(), (1, 0));
    // As every erasure, it moves the head.
    tx.execute(vec![Envelope::new(seen(2, "2026-11-12T12:00:00Z"), metadata())]).await.unwrap();
    tx.commit().await.unwrap();

    let again = world.store.execute(shop, seen(1, "2026-11-13T12:00:00Z"), metadata()).await.unwrap();
    assert_eq!(again.events, 1);
    assert!(!last().await.contains(&by_jane), "{}", last().await);
}
