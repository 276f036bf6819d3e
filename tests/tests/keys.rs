//! Master keys: what needs which, and bringing everything under the newest.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use api::Role;
use chrono::Utc;
use domain::ShopId;
use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase, binary,
    bodies::{line, order},
    client, command_on, number,
    random::{rng, seed},
    until,
};
use event_store::{Database, DatabaseOptions, shop_key};
use ingest::{Accepted, Delivery, Receiver, Registration};
use rand::RngExt;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;
use vault::{MasterRing, ShopKey};

const NOBODY: &str = "nobody.myshopify.com";
const LATE: &str = "late.myshopify.com";

/// The old ring is the database's own.
struct Keys {
    old: String,
    new: String,
    old_id: String,
    new_id: String,
}

impl Keys {
    fn of(database: &TestDatabase) -> Self {
        let (old, new) = (database.encryption_keys.clone(), MasterRing::generate_key().unwrap());
        let id = |key: &str| MasterRing::parse(key).unwrap().newest();
        Self { old_id: id(&old), new_id: id(&new), old, new }
    }

    fn old_first(&self) -> String {
        format!("{},{}", self.old, self.new)
    }

    fn new_first(&self) -> String {
        format!("{},{}", self.new, self.old)
    }
}

fn open(database: &TestDatabase, ring: &str) -> Database {
    let options = DatabaseOptions { url: database.url.clone(), max_connections: 4, application_name: "ecomdash-tests" };
    Database::connect_lazy(&options, MasterRing::parse(ring).unwrap()).unwrap()
}

fn run_with(database: &TestDatabase, ring: &str, arguments: &[&str]) -> (bool, String) {
    let output = command_on(database).env("ENCRYPTION_KEYS", ring).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(ring.split(',').all(|key| !text.contains(key)), "a key is shown");
    (output.status.success(), text)
}

/// What `keys status` says of a key.
fn status(database: &TestDatabase, ring: &str, id: &str) -> (bool, Value) {
    let (ok, text) = run_with(database, ring, &["keys", "status", "--json"]);
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = lines.into_iter().find(|line| line["key"] == id);
    (ok, found.unwrap_or_else(|| panic!("{id} is not told of: {text}")))
}

fn placed(id: u64) -> Value {
    order(id, "2026-11-10T12:00:00Z", vec![line(id, "10.00", 1)]).0
}

/// A delivery to a shop that is not registered.
async fn unclaimed(receiver: &Receiver, domain: &str, id: u64) {
    let (domain, body) = (domain.parse().unwrap(), placed(id).to_string());
    let delivery = Delivery {
        domain: Some(&domain),
        topic: "orders/create",
        webhook_id: Some(&id.to_string()),
        triggered_at: None,
        event_id: None,
        note: None,
        body: body.as_bytes(),
        received_at: Utc::now(),
    };
    assert_eq!(receiver.receive(&delivery).await.unwrap(), Accepted::Unclaimed);
}

/// What is not under a key: keys of shops, and bodies.
async fn left(superuser: &mut PgConnection, id: &str) -> i64 {
    let sql = format!(
        "SELECT (SELECT count(*) FROM shop_keys WHERE encode(substr(wrapped, 1, 4), 'hex') <> '{id}')
              + (SELECT count(*) FROM inbox_unclaimed WHERE encode(substr(body, 1, 4), 'hex') <> '{id}')"
    );
    number(superuser, &sql).await
}

/// Shops that are no more than an entry and a key, so that there are many.
async fn many_shops(superuser: &mut PgConnection, ring: &str, count: usize) -> Vec<ShopId> {
    let ring = MasterRing::parse(ring).unwrap();
    let shops: Vec<ShopId> = (0..count).map(|_| ShopId(Uuid::now_v7())).collect();
    let wrapped = shops.iter().map(|shop| ring.wrap(*shop, &ShopKey::generate(*shop).unwrap()));
    sqlx::query(
        "WITH made AS (INSERT INTO shop_keys (shop_id, wrapped) SELECT * FROM UNNEST($1::uuid[], $2::bytea[]))
         INSERT INTO directory (shop_id, domain) SELECT id, 's' || id || '.myshopify.com' FROM UNNEST($1::uuid[]) AS s (id)",
    )
    .bind(shops.iter().map(|shop| shop.0).collect::<Vec<_>>())
    .bind(wrapped.collect::<Vec<_>>())
    .execute(superuser)
    .await
    .unwrap();
    shops
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_anything_needs_cannot_be_dropped_and_one_that_nothing_needs_can() {
    let database = TestDatabase::new().await;
    let keys = Keys::of(&database);
    let mut superuser = database.superuser().await;
    // The one that needs the old key comes after many that do not.
    many_shops(&mut superuser, &keys.new, 60).await;
    let shop = many_shops(&mut superuser, &keys.old, 1).await[0];
    let refused = |what: &str| {
        for arguments in
            [&["serve", "--port", "0"][..], &["work"], &["up", "--port", "0"], &["migrate"], &["shop", "list"]]
        {
            let mut command = command_on(&database);
            command.env("ENCRYPTION_KEYS", &keys.new).args(arguments);
            let mut process = Ecomdash::work(command);
            assert!(!process.wait(Duration::from_secs(30)).success(), "{arguments:?}");
            process.until_it_says(&format!("need key {}", keys.old_id), Duration::from_secs(5));
            assert!(process.log().contains(what), "{arguments:?}: {}", process.log());
        }
        let (ok, text) = run_with(&database, &keys.new, &["keys", "rotate"]);
        assert!(!ok && text.contains(&keys.old_id), "{text}");
        let (ok, of_old) = status(&database, &keys.new, &keys.old_id);
        assert!(!ok && of_old["in_ring"] == false && of_old["needed"] == true, "{of_old}");
        let (ok, text) = run_with(&database, &keys.new, &["doctor"]);
        assert!(!ok && text.contains(&format!("need key {}", keys.old_id)), "{text}");
    };
    refused(&format!("the keys of 1 shops ({shop})"));

    let both = keys.new_first();
    let (ok, of_old) = status(&database, &both, &keys.old_id);
    assert!(ok && of_old["needed"] == true && of_old["shop_keys"] == 1, "{of_old}");
    let (_, text) = run_with(&database, &both, &["doctor"]);
    assert!(text.contains("keys rotate"), "{text}");
    let (ok, text) = run_with(&database, &both, &["keys", "rotate"]);
    assert!(ok && text.contains("the keys of 1 shops and 0 deliveries"), "{text}");
    assert!(text.contains("nothing needs an older key"), "{text}");

    // What nobody has claimed needs it as well.
    let receiver = Receiver::new(open(&database, &keys.old));
    unclaimed(&receiver, NOBODY, 1).await;
    refused("cannot open 1 deliveries of shops that are not registered");
    assert!(run_with(&database, &both, &["keys", "rotate"]).0);
    let (ok, of_old) = status(&database, &both, &keys.old_id);
    assert!(ok && of_old["needed"] == false, "{of_old}");
    let (_, text) = run_with(&database, &both, &["doctor"]);
    assert!(text.contains(&format!("nothing needs {}", keys.old_id)), "{text}");
    assert!(run_with(&database, &keys.new, &["shop", "list"]).0);
    let (ok, of_new) = status(&database, &keys.new, &keys.new_id);
    assert!(ok && of_new["shop_keys"] == 61 && of_new["unclaimed_deliveries"] == 1, "{of_new}");
}

/// Nothing that was destroyed, moved or purged while a rotation had it in hand comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_overwrites_and_brings_back_nothing() {
    let database = TestDatabase::new().await;
    let keys = Keys::of(&database);
    let mut superuser = database.superuser().await;
    let mut other = database.superuser().await;
    let shops = many_shops(&mut superuser, &keys.old, 3).await;
    let receiver = Receiver::new(open(&database, &keys.old));
    for id in 1..=3 {
        unclaimed(&receiver, NOBODY, id).await;
    }
    sqlx::raw_sql(&format!(
        "BEGIN; UPDATE shop_keys SET wrapped = NULL, destroyed_at = now() WHERE shop_id = '{}';
         DELETE FROM inbox_unclaimed WHERE webhook_id = '2'",
        shops[1]
    ))
    .execute(&mut other)
    .await
    .unwrap();
    let store = open(&database, &keys.new_first());
    let rotating = tokio::spawn(async move { ingest::rotate_keys(&store, |_| {}).await });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    until("the rotation waits for who destroys", async || number(&mut superuser, waits).await == 1).await;
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    let rotated = rotating.await.unwrap().unwrap();
    assert_eq!((rotated.shop_keys, rotated.bodies, rotated.refused), (2, 2, 0));
    assert_eq!(left(&mut superuser, &keys.new_id).await, 0);
    let gone = format!("SELECT count(*) FROM shop_keys WHERE shop_id = '{}' AND wrapped IS NULL", shops[1]);
    assert_eq!(number(&mut superuser, &gone).await, 1);
    assert_eq!(number(&mut superuser, "SELECT count(*) FROM inbox_unclaimed").await, 2);
}

/// Asks who has an address: that opens the shop's key.
struct Reader {
    url: String,
    tokens: Vec<String>,
}

impl Reader {
    async fn all_are_found(&self) -> Result<(), String> {
        let body = json!({ "kind": "customer", "email": "jane.doe@example.com", "reason": "a look", "dry_run": true });
        for token in &self.tokens {
            let asked = client().post(format!("{}/api/compliance/redactions", self.url)).bearer_auth(token).json(&body);
            let answer = asked.send().await.map_err(|error| error.to_string())?;
            let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
            if status != 200 || !text.contains("customer:") {
                return Err(format!("{status} {text}"));
            }
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_95_a_rotation_killed_twenty_times_while_all_is_read() {
    const KILLS: usize = 20;
    let seed = seed();
    let mut rng = rng(seed);
    let database = TestDatabase::new().await;
    let keys = Keys::of(&database);
    let mut superuser = database.superuser().await;
    // As the runbook has it: some processes have the new key second already, some first.
    let up = Ecomdash::start(&["up", "--port", "0"], &database, &[("ENCRYPTION_KEYS", &keys.new_first())]);
    let serve = Ecomdash::start(&["serve", "--port", "0"], &database, &[("ENCRYPTION_KEYS", &keys.old_first())]);
    let store = open(&database, &keys.old_first());
    let mut shops = Vec::new();
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let shop = Shop::register(&store, &serve.url, "UTC", "USD").await;
        assert_eq!(shop.deliver("orders/create", &placed(1)).await, 200);
        shop.stats("2026-11-10", "2026-11-10").await;
        shops.push(shop);
    }
    for shop in &shops[1..] {
        let token = ecomdash_tests::issue_token(&store, Some(shop.id), Role::Compliance, None).await.unwrap();
        tokens.push(token.secret.expose_secret().to_owned());
    }
    let many = many_shops(&mut superuser, &keys.old, 1_200).await;
    let receiver = Receiver::new(store.clone());
    for id in 1..=600 {
        unclaimed(&receiver, if id <= 20 { LATE } else { NOBODY }, id).await;
    }

    let stop = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU64::new(0));
    let mut readers = tokio::task::JoinSet::new();
    for url in [&up.url, &serve.url] {
        let reader = Reader { url: url.clone(), tokens: tokens.clone() };
        let (stopped, reads) = (Arc::clone(&stop), Arc::clone(&reads));
        readers.spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                reader.all_are_found().await.unwrap();
                reads.fetch_add(1, Ordering::Relaxed);
            }
            0
        });
        // And deliveries, which are sealed under the shop's key: to a shop that is not asked, so that asking stays cheap.
        let shop = shops[0].at(url);
        let first = if url == &up.url { 1_000 } else { 500_000 };
        let stop = Arc::clone(&stop);
        readers.spawn(async move {
            let mut delivered = 0;
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(shop.deliver("orders/create", &placed(first + delivered)).await, 200);
                delivered += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            delivered
        });
    }
    for ring in [keys.old_first(), keys.new_first()] {
        let (reading, many, stop) = (open(&database, &ring), many.clone(), Arc::clone(&stop));
        readers.spawn(async move {
            for shop in many.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let mut tx = reading.begin(*shop).await.unwrap();
                shop_key(&mut tx).await.unwrap();
                tx.commit().await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            0
        });
    }

    // Each is killed somewhere in the midst, the last of them among the bodies.
    let all = left(&mut superuser, &keys.new_id).await;
    let mut moments: Vec<i64> = (0..KILLS).map(|_| rng.random_range(60..all)).collect();
    moments.sort_unstable_by(|a, b| b.cmp(a));
    let mut late = None;
    let mut midst = 0;
    for (kill, moment) in moments.into_iter().enumerate() {
        let mut rotation = std::process::Command::new(binary());
        rotation.envs(command_on(&database).get_envs().filter_map(|(name, value)| Some((name, value?))));
        rotation.env("ENCRYPTION_KEYS", keys.new_first()).args(["keys", "rotate"]);
        let mut child = rotation.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let before = left(&mut superuser, &keys.new_id).await;
        while left(&mut superuser, &keys.new_id).await > moment && child.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_micros(rng.random_range(0..4_000))).await;
        midst += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        let after = left(&mut superuser, &keys.new_id).await;
        eprintln!("kill {kill}: {before} were left, {after} are; {} reads", reads.load(Ordering::Relaxed));
        assert!(after <= before, "seed {seed}: a rotation takes nothing back");
        if kill == KILLS / 2 {
            // A shop registers in the midst, at a process that has the old key first, and takes over what came before.
            let registration = Registration {
                domain: LATE.parse().unwrap(),
                shopify_id: None,
                timezone: "UTC".parse().unwrap(),
                currency: "USD".parse().unwrap(),
            };
            late = Some(ingest::register(&store, &registration, Utc::now()).await.unwrap());
        }
    }
    assert!(midst >= KILLS - 2, "seed {seed}: only {midst} were killed at work");
    let (ok, text) = run_with(&database, &keys.new_first(), &["keys", "rotate"]);
    assert!(ok && text.contains("nothing needs an older key"), "seed {seed}: {text}");
    stop.store(true, Ordering::Relaxed);
    let delivered: u64 = readers.join_all().await.into_iter().sum();
    assert!(reads.load(Ordering::Relaxed) > 20 && delivered > 20);
    assert_eq!(left(&mut superuser, &keys.new_id).await, 0);
    let (ok, of_old) = status(&database, &keys.new_first(), &keys.old_id);
    assert!(ok && of_old["needed"] == false, "{of_old}");

    // With the new key alone, everything is there.
    drop((up, serve));
    let alone = Ecomdash::start(&["up", "--port", "0"], &database, &[("ENCRYPTION_KEYS", &keys.new)]);
    Reader { url: alone.url.clone(), tokens }.all_are_found().await.unwrap();
    let orders = async |shop: &Shop| shop.metrics("2026-11-10", "2026-11-10").await.all(["orders"])[0].unsigned_abs();
    let mut shop = shops[0].at(&alone.url);
    assert_eq!(orders(&shop).await, 1 + delivered, "seed {seed}");
    let late = ecomdash_tests::issue_token(&store, late, Role::Merchant, None).await.unwrap();
    shop.token = late.secret.expose_secret().to_owned();
    assert_eq!(orders(&shop).await, 20, "seed {seed}");
}
