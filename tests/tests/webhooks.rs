//! Deliveries as Shopify sends them, and as nobody should.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use ecomdash_tests::{
    Ecomdash, SECRET, Shop, TestDatabase,
    bodies::{line, order, refund},
    run,
};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use shopify::signature::sign;

struct World {
    database: TestDatabase,
    server: Ecomdash,
    shop: Shop,
    client: Client,
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let server = Ecomdash::up(&database);
        let shop = Shop::register(&database.open(), &server.url, "UTC", "USD").await;
        Self { database, server, shop, client: ecomdash_tests::client() }
    }

    /// A post with no header but what the test adds.
    fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.server.url)).body(body.into())
    }

    fn signed(&self, path: &str, body: impl Into<Vec<u8>>) -> RequestBuilder {
        let body = body.into();
        let signature = sign(&body, SECRET.as_bytes());
        self.post(path, body)
            .header("X-Shopify-Hmac-Sha256", signature)
            .header("X-Shopify-Shop-Domain", &self.shop.domain)
    }

    async fn inbox(&self) -> i64 {
        let mut superuser = self.database.superuser().await;
        sqlx::query_scalar("SELECT (SELECT count(*) FROM inbox) + (SELECT count(*) FROM inbox_unclaimed)")
            .fetch_one(&mut superuser)
            .await
            .unwrap()
    }

    fn list(&self) -> String {
        let (ok, text) = run(&self.database, &["inbox", "list", "--shop", &self.shop.domain, "--json"]);
        assert!(ok, "{text}");
        text
    }
}

fn body() -> Value {
    order(1, "2026-11-01T12:00:00Z", vec![line(1, "10.00", 1)]).0
}

async fn status(request: RequestBuilder) -> StatusCode {
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn a_bad_or_missing_signature_is_401_whatever_the_topic_and_leaves_nothing() {
    let world = World::new().await;
    let text = body().to_string();
    let good = sign(text.as_bytes(), SECRET.as_bytes());
    let wrong_secret = sign(text.as_bytes(), b"another secret");
    let other_body = sign(b"{}", SECRET.as_bytes());
    for path in ["/webhooks", "/webhooks/orders_create", "/webhooks/no_such_topic", "/webhooks/shop_redact"] {
        for signature in [None, Some(""), Some("!"), Some(&good[..20]), Some(&*wrong_secret), Some(&*other_body)] {
            for body in ["", &*text] {
                if body.is_empty() && signature == Some(&*good) {
                    continue;
                }
                let request = world.post(path, body).header("X-Shopify-Shop-Domain", &world.shop.domain);
                let request = request.header("X-Shopify-Topic", "orders/create");
                let request = match signature {
                    Some(signature) => request.header("X-Shopify-Hmac-Sha256", signature),
                    None => request,
                };
                let answer = request.send().await.unwrap();
                assert_eq!(answer.status(), 401, "{path} {signature:?}");
                assert_eq!(answer.headers()["content-type"], "application/problem+json");
            }
        }
    }
    let twice = world.signed("/webhooks", text.clone()).header("X-Shopify-Hmac-Sha256", &good);
    assert_eq!(status(twice).await, 401, "two signatures");
    assert_eq!(world.inbox().await, 0);
}

/// (R-81) The header's every wrong form, one body and one byte at a time.
#[tokio::test]
async fn r_81_nothing_but_the_very_signature_of_the_very_bytes_is_let_in() {
    let world = World::new().await;
    let text = body().to_string();
    let good = sign(text.as_bytes(), SECRET.as_bytes());
    let raw = STANDARD.decode(&good).unwrap();
    let changed = |at: usize, bit: u8| {
        let mut raw = raw.clone();
        raw[at] ^= bit;
        STANDARD.encode(raw)
    };
    let mut wrong: Vec<String> = vec![
        String::new(),
        " ".into(),
        "=".into(),
        "null".into(),
        raw.iter().map(|byte| format!("{byte:02x}")).collect(),
        raw.iter().map(|byte| format!("{byte:02X}")).collect(),
        good.trim_end_matches('=').into(),
        good[..good.len() - 2].into(),
        STANDARD.encode(&raw[..31]),
        STANDARD.encode([&raw[..], &[0]].concat()),
        STANDARD.encode(&good),
        URL_SAFE.encode([0xff; 32]),
        good.to_lowercase(),
        format!("sha256={good}"),
        format!("\"{good}\""),
        format!("{good},{good}"),
        format!("{good};"),
        sign(text.as_bytes(), b""),
        sign(text.as_bytes(), SECRET.to_uppercase().as_bytes()),
        sign(text.as_bytes(), format!("{SECRET}\n").as_bytes()),
        sign(format!("{text}\n").as_bytes(), SECRET.as_bytes()),
        sign(b"", SECRET.as_bytes()),
    ];
    wrong.extend((0..32).map(|at| changed(at, 1 << (at % 8))));
    for signature in &wrong {
        let request = world.post("/webhooks/orders_create", text.clone());
        let request = request.header("X-Shopify-Hmac-Sha256", signature);
        let answer = request.header("X-Shopify-Shop-Domain", &world.shop.domain).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{signature:?}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["type"], "/problems/bad-signature");
        assert!(!problem.to_string().contains(&good[..10]), "the answer says what would have been right: {problem}");
    }
    // The right signature, of a body that is another by one byte: at its beginning, in it, at its end.
    for (at, byte) in [(0, b' '), (text.len() / 2, b'~'), (text.len() - 1, b']')] {
        let mut other = text.clone().into_bytes();
        other[at] = byte;
        let request = world.post("/webhooks/orders_create", other).header("X-Shopify-Hmac-Sha256", &good);
        assert_eq!(status(request).await, 401, "byte {at}");
    }
    for other in [format!("{text} "), format!(" {text}"), text[..text.len() - 1].to_owned(), String::new()] {
        let request = world.post("/webhooks/orders_create", other).header("X-Shopify-Hmac-Sha256", &good);
        assert_eq!(status(request).await, 401);
    }
    // Twice, whichever comes first, and under no other name.
    for pair in [[&*good, "x"], ["x", &*good], [&*good, &*good]] {
        let request = world.post("/webhooks/orders_create", text.clone());
        let request = pair.iter().fold(request, |request, one| request.header("X-Shopify-Hmac-Sha256", *one));
        assert_eq!(status(request).await, 401, "{pair:?}");
    }
    for name in ["X-Shopify-Hmac-SHA1", "X-Hmac-Sha256", "Authorization", "X-Shopify-Hmac_Sha256"] {
        let request = world.post("/webhooks/orders_create", text.clone()).header(name, &good);
        assert_eq!(status(request).await, 401, "{name}");
    }
    // Nothing is parsed before: what cannot be parsed, in body, topic and shop, is as unsigned as anything else.
    let nested = "[".repeat(200_000);
    for (path, domain, body) in [
        ("/webhooks/orders_create", "x.myshopify.com", &*nested),
        ("/webhooks/%F0%9F%92%A5", "x.myshopify.com", "{}"),
        ("/webhooks", "not a domain at all", "\u{0}"),
    ] {
        let request = world.post(path, body.to_owned()).header("X-Shopify-Hmac-Sha256", &good);
        let request = request.header("X-Shopify-Shop-Domain", domain).header("X-Shopify-Topic", "no/such topic!");
        assert_eq!(status(request).await, 401, "{path}");
    }
    assert_eq!(world.inbox().await, 0, "nothing of it is kept");

    // With the right one, the header of another shop moves the delivery there, and a body that names its shop stays out.
    let other = Shop::register(&world.database.open(), &world.server.url, "UTC", "USD").await;
    let own = json!({ "id": 5, "myshopify_domain": world.shop.domain, "iana_timezone": "Asia/Tokyo", "currency": "USD",
        "name": "Shop", "email": "owner@example.com", "updated_at": "2026-11-02T00:00:00Z" });
    for topic in ["shop/update", "app/uninstalled"] {
        assert_eq!(other.deliver(topic, &own).await, 200);
    }
    assert_eq!(other.stats("2026-11-01", "2026-11-01").await["period"]["timezone"], "UTC");
    let (_, page) = other.get(&format!("/api/shops/{}", other.domain)).await;
    assert_eq!(page["inbox"]["dead"], 2, "{page}");
    let (_, page) = world.shop.get(&format!("/api/shops/{}", world.shop.domain)).await;
    assert_eq!(page["inbox"]["dead"].as_i64().unwrap_or_default(), 0, "{page}");
}

/// What is signed are the bytes as they come: a body that says it is packed is refused, and never unpacked.
#[tokio::test]
async fn an_encoded_body_is_415_and_one_that_is_encoded_as_itself_is_kept() {
    let world = World::new().await;
    for coding in ["gzip", "br", "deflate", "zstd", "gzip, identity", "x"] {
        let request = world.signed("/webhooks/orders_create", body().to_string()).header("Content-Encoding", coding);
        assert_eq!(status(request).await, 415, "{coding}");
    }
    assert_eq!(world.inbox().await, 0);
    let request = world.signed("/webhooks/orders_create", body().to_string()).header("Content-Encoding", "identity");
    assert_eq!(status(request).await, 200);
    assert_eq!(world.inbox().await, 1);
}

#[tokio::test]
async fn the_previous_secret_still_signs() {
    let database = TestDatabase::new().await;
    let server = Ecomdash::start(
        &["up", "--port", "0"],
        &database,
        &[("SHOPIFY_API_SECRET", &format!("a newer secret, {SECRET}"))],
    );
    let shop = Shop::register(&database.open(), &server.url, "UTC", "USD").await;
    assert_eq!(shop.deliver("orders/create", &body()).await, 200);
    assert_eq!(shop.metrics("2026-11-01", "2026-11-01").await.get("orders"), Some(1));
}

#[tokio::test]
async fn odd_deliveries_are_answered_200_kept_and_listed() {
    let world = World::new().await;
    let cases: [(&str, Option<&str>, &[u8], &str); 9] = [
        ("/webhooks", Some("orders/create"), b"not json", "dead"),
        ("/webhooks", Some("orders/create"), b"", "dead"),
        ("/webhooks", Some("orders/create"), b"\xff\xfe{}", "dead"),
        ("/webhooks", Some("orders/create"), b"{\"id\": null}", "dead"),
        ("/webhooks", Some("orders/create"), b"[]", "dead"),
        ("/webhooks", Some("carts/update"), b"{}", "ignored"),
        ("/webhooks", Some("a/topic/of/next/year"), b"{}", "ignored"),
        ("/webhooks", None, b"{\"no\": \"topic\"}", "ignored"),
        ("/webhooks/app_uninstalled", None, b"{}", "ignored"),
    ];
    for (path, topic, body, _) in cases {
        let request = world.signed(path, body);
        let request = match topic {
            Some(topic) => request.header("X-Shopify-Topic", topic),
            None => request,
        };
        assert_eq!(status(request).await, 200, "{path} {topic:?}");
    }
    let deep = format!("{}1{}", "[".repeat(2000), "]".repeat(2000));
    let deep = format!("{{\"id\": 9, \"note_attributes\": {deep}}}");
    assert_eq!(status(world.signed("/webhooks/orders_create", deep)).await, 200);
    // Values that are JSON and cannot be: they stop nobody.
    let mut hostile = order(50, "2026-11-01T12:00:00Z", vec![line(50, "90000000000.00", 1)]);
    hostile.0["name"] = json!("#\u{0}50");
    let row = refund(50, 50, "2026-11-01T13:00:00Z").line(50, 999_999_999, "1.00", "0.00", "return");
    for body in [
        hostile.clone().refunded(&row).0,
        hostile.clone().with("processed_at", json!("-0300-01-01T00:00:00Z")).0,
        hostile.with("processed_at", json!("+99999-01-01T00:00:00Z")).0,
        order(51, "2026-11-01T12:00:00Z", vec![line(51, "99999999999999999.99", 1_000_000)]).0,
        order(u64::MAX - 10_000_000, "2026-10-01T12:00:00Z", vec![line(u64::MAX - 10_000, "1.00", 1)]).0,
    ] {
        assert_eq!(status(world.signed("/webhooks/orders_create", body.to_string())).await, 200);
    }
    // A good order behind all of them is counted all the same.
    assert_eq!(world.shop.deliver("orders/create", &body()).await, 200);
    assert_eq!(world.shop.metrics("2026-11-01", "2026-11-01").await.get("orders"), Some(2));

    let list = world.list();
    let count = |status: &str| list.lines().filter(|line| line.contains(&format!("\"status\":\"{status}\""))).count();
    let expected = |status: &str| cases.iter().filter(|case| case.3 == status).count();
    assert_eq!(count("dead"), expected("dead") + 4, "{list}");
    assert_eq!(count("ignored"), expected("ignored"), "{list}");
    assert_eq!(count("translated"), 3);
    for line in list.lines().filter(|line| line.contains("\"dead\"")) {
        assert!(line.contains("\"reason\":\""), "{line}");
    }
}

#[tokio::test]
async fn deliveries_for_an_unknown_shop_wait_for_its_registration() {
    let world = World::new().await;
    let domain = "late.myshopify.com";
    for id in ["1", "2", "1"] {
        let text = order(id.parse().unwrap(), "2026-11-01T12:00:00Z", vec![line(1, "10.00", 1)]).0.to_string();
        let signature = sign(text.as_bytes(), SECRET.as_bytes());
        let request = world
            .post("/webhooks/orders_create", text)
            .header("X-Shopify-Hmac-Sha256", signature)
            .header("X-Shopify-Webhook-Id", id)
            .header("X-Shopify-Shop-Domain", domain);
        assert_eq!(status(request).await, 200);
    }
    let late = Shop::register_as(&world.database.open(), &world.server.url, domain, "UTC", "USD").await;
    assert_eq!(late.metrics("2026-11-01", "2026-11-01").await.get("orders"), Some(2));
    // No domain at all, or none that could be a shop's: kept, and nobody's.
    let nobody = world.post("/webhooks", "{}").header("X-Shopify-Hmac-Sha256", sign(b"{}", SECRET.as_bytes()));
    assert_eq!(status(nobody).await, 200);
    let odd = world
        .post("/webhooks", "{ }")
        .header("X-Shopify-Hmac-Sha256", sign(b"{ }", SECRET.as_bytes()))
        .header("X-Shopify-Shop-Domain", "late.myshopify.com.evil.test");
    assert_eq!(status(odd).await, 200);
}

#[tokio::test]
async fn a_delivery_is_stored_once_however_often_and_at_once_it_comes() {
    let world = World::new().await;
    let body = body().to_string();
    let mut deliveries = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let shop = world.shop.at(&world.server.url);
        let body = body.clone();
        deliveries
            .spawn(async move { shop.try_deliver("orders/create", &body, "the same", None).await.unwrap().status() });
    }
    for status in deliveries.join_all().await {
        assert_eq!(status, 200);
    }
    assert_eq!(world.inbox().await, 1);
    // The same body under another id moves no figure a second time.
    assert_eq!(world.shop.try_deliver("orders/updated", &body, "another", None).await.unwrap().status(), 200);
    assert_eq!(world.shop.metrics("2026-11-01", "2026-11-01").await.all(["orders", "gross_sales"]), [1, 1000]);
}

#[tokio::test]
async fn a_body_over_five_mebibytes_is_413_and_one_below_it_is_kept() {
    let world = World::new().await;
    let large = |bytes: usize| {
        let mut body = body();
        body["note"] = json!("");
        let padding = bytes - body.to_string().len();
        body["note"] = json!("x".repeat(padding));
        body.to_string()
    };
    let limit = 5 * 1024 * 1024;
    assert_eq!(status(world.signed("/webhooks/orders_create", large(limit + 1))).await, 413);
    assert_eq!(status(world.signed("/webhooks/orders_create", large(limit))).await, 200);
    assert_eq!(world.shop.metrics("2026-11-01", "2026-11-01").await.get("orders"), Some(1));
}

#[tokio::test]
async fn without_the_database_a_delivery_is_503_so_that_it_comes_again() {
    let mut world = World::new().await;
    assert_eq!(world.shop.deliver("orders/create", &body()).await, 200);
    let mut superuser =
        sqlx::Connection::connect(&world.database.superuser_url.replace(&world.database.name, "postgres"))
            .await
            .unwrap();
    let connection: &mut sqlx::PgConnection = &mut superuser;
    let name = &world.database.name;
    let forbid = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false");
    let hang_up = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    sqlx::raw_sql(&forbid).execute(&mut *connection).await.unwrap();
    sqlx::raw_sql(&hang_up).execute(&mut *connection).await.unwrap();
    let second = order(2, "2026-11-01T12:00:00Z", vec![line(2, "10.00", 1)]).0;
    let answer = world.shop.try_deliver("orders/create", &second.to_string(), "again", None).await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    let health = world.client.get(format!("{}/health", world.server.url)).send().await.unwrap();
    assert_eq!(health.status(), 200, "the process lives");
    let ready = world.client.get(format!("{}/health/ready", world.server.url)).send().await.unwrap();
    assert_eq!(ready.status(), 503);

    sqlx::raw_sql(&forbid.replace("false", "true")).execute(&mut *connection).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while world.shop.deliver_at("orders/create", &second, "again", None).await != 200 {
        assert!(Instant::now() < deadline, "it does not recover");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(world.shop.metrics("2026-11-01", "2026-11-01").await.get("orders"), Some(2));
    assert!(world.server.terminate().success());
}

#[tokio::test]
async fn a_client_that_sends_half_a_header_is_cut_off_and_does_not_hold_up_the_end() {
    let mut world = World::new().await;
    let address = world.server.url.strip_prefix("http://").unwrap().to_owned();
    let mut slow = TcpStream::connect(&address).unwrap();
    slow.write_all(b"POST /webhooks HTTP/1.1\r\nHost: x\r\nX-Half").unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let began = Instant::now();
    let mut answer = Vec::new();
    let _ = slow.read_to_end(&mut answer);
    assert!(began.elapsed() < Duration::from_secs(15), "cut off after {:?}", began.elapsed());

    let mut another = TcpStream::connect(&address).unwrap();
    another.write_all(b"GET /hea").unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    assert!(world.server.terminate().success());
    assert!(began.elapsed() < Duration::from_secs(25), "ended after {:?}", began.elapsed());
}

#[tokio::test]
async fn a_dead_letter_can_be_driven_again() {
    let world = World::new().await;
    assert_eq!(status(world.signed("/webhooks/orders_create", "not json")).await, 200);
    world.shop.stats("2026-11-01", "2026-11-01").await;
    let (ok, text) = run(&world.database, &["inbox", "retry", "--shop", &world.shop.domain]);
    assert!(ok && text.starts_with("1 dead"), "{text}");
    world.shop.stats("2026-11-01", "2026-11-01").await;
    assert!(world.list().contains("\"status\":\"dead\""), "it is as unreadable as before");
    let (ok, text) =
        run(&world.database, &["inbox", "retry", "--shop", &world.shop.domain, "--since", "2100-01-01T00:00:00Z"]);
    assert!(ok && text.starts_with("0 dead"), "{text}");
}

#[tokio::test]
async fn a_shop_s_own_body_must_be_about_that_shop() {
    let world = World::new().await;
    let named = |domain: &str, zone: &str| {
        json!({ "id": 5, "myshopify_domain": domain, "iana_timezone": zone, "currency": "USD", "name": "Shop",
                "email": "owner@example.com", "updated_at": "2026-11-02T00:00:00Z" })
    };
    assert_eq!(world.shop.deliver("shop/update", &named("other.myshopify.com", "Asia/Tokyo")).await, 200);
    assert_eq!(world.shop.stats("2026-11-01", "2026-11-01").await["period"]["timezone"], "UTC");
    assert!(world.list().contains("quarantined"));

    // Of its own accord: days are cut anew.
    let late = order(1, "2026-11-01T20:00:00Z", vec![line(1, "10.00", 1)]).0;
    assert_eq!(world.shop.deliver("orders/create", &late).await, 200);
    assert_eq!(world.shop.metrics("2026-11-01", "2026-11-01").await.get("orders"), Some(1));
    assert_eq!(world.shop.deliver("shop/update", &named(&world.shop.domain, "Asia/Tokyo")).await, 200);
    let deadline = Instant::now() + Duration::from_secs(30);
    while world.shop.stats("2026-11-01", "2026-11-01").await["period"]["timezone"] != "Asia/Tokyo" {
        assert!(Instant::now() < deadline, "the ledger is not rebuilt in the new zone");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(world.shop.metrics("2026-11-01", "2026-11-01").await.get("orders"), Some(0));
    assert_eq!(world.shop.metrics("2026-11-02", "2026-11-02").await.get("orders"), Some(1));
}
