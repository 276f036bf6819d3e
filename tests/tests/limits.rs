//! How often one may ask: per client, per shop, over all processes; and what happens while Redis is away.

use std::time::{Duration, Instant};

use ecomdash_tests::{
    Ecomdash, Redis, Shop, TestDatabase,
    bodies::{line, order},
    command_on,
    observed::value,
    proxy::Proxy,
};
use futures::future::join_all;
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;

const METRICS: (&str, &str) = ("METRICS_TOKEN", "a-token");

fn serve(database: &TestDatabase, settings: &[(&str, &str)]) -> Ecomdash {
    let settings: Vec<(&str, &str)> = settings.iter().copied().chain([METRICS]).collect();
    Ecomdash::start(&["serve", "--port", "0"], database, &settings)
}

/// A route that needs no database: no token is given, so that 401 says that the request was let through.
async fn knock(client: &Client, url: &str, forwarded: Option<&str>) -> Response {
    let mut request = client.get(format!("{url}/api/orders"));
    if let Some(forwarded) = forwarded {
        request = request.header("X-Forwarded-For", forwarded);
    }
    request.send().await.unwrap()
}

/// How many of `count` requests, 16 at a time, are let through.
async fn let_through(urls: &[&str], count: usize, forwarded: Option<&str>) -> usize {
    let client = ecomdash_tests::client();
    let mut passed = 0;
    for begin in (0..count).step_by(16) {
        let batch = (begin..count.min(begin + 16)).map(|n| knock(&client, urls[n % urls.len()], forwarded));
        for answer in join_all(batch).await {
            match answer.status() {
                StatusCode::UNAUTHORIZED => passed += 1,
                status => assert_eq!(status, StatusCode::TOO_MANY_REQUESTS),
            }
        }
    }
    passed
}

async fn metric(url: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let answer = ecomdash_tests::client().get(format!("{url}/metrics")).bearer_auth(METRICS.1).send().await.unwrap();
    value(&answer.text().await.unwrap(), name, labels).unwrap_or_else(|| panic!("{name}"))
}

async fn until_shared(url: &str, is_shared: bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while metric(url, "rate_limit_shared", &[]).await != f64::from(u8::from(is_shared)) {
        assert!(Instant::now() < deadline, "shared: {is_shared}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Does something that Redis is to count, and checks what came of it if Redis counted all of it: on a busy machine, an
/// answer may come later than it is waited for.
async fn counted_by_redis<Check: FnOnce()>(urls: &[&str], mut act: impl AsyncFnMut(u32) -> Check) {
    let fallbacks = async || {
        let counts = urls.iter().map(|url| metric(url, "rate_limit_fallbacks_total", &[]));
        join_all(counts).await.into_iter().sum::<f64>()
    };
    for attempt in 100..110 {
        for url in urls {
            until_shared(url, true).await;
        }
        let before = fallbacks().await;
        let check = act(attempt).await;
        if fallbacks().await == before {
            return check();
        }
    }
    panic!("Redis never counted all of it");
}

/// What a process that can serve says of itself.
async fn readiness(url: &str) -> String {
    let answer = ecomdash_tests::client().get(format!("{url}/health/ready")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.unwrap();
    body["status"].as_str().unwrap().to_owned()
}

/// What a quota lets through that was whole when the clock started: all of it, and what came back since.
fn allowed(quota: usize, since: Instant) -> usize {
    quota + usize::try_from(since.elapsed().as_millis()).unwrap() * quota / 60_000 + 1
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_to_wait_and_how_long() {
    let database = TestDatabase::new().await;
    let server = serve(&database, &[("RATE_LIMIT_PER_CLIENT", "5")]);
    let client = ecomdash_tests::client();
    for remaining in (0..5).rev() {
        let answer = knock(&client, &server.url, None).await;
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.headers()["ratelimit-limit"], "5");
        assert_eq!(answer.headers()["ratelimit-remaining"], remaining.to_string().as_str());
    }
    let refused = knock(&client, &server.url, None).await;
    assert_eq!(refused.status(), 429);
    let headers = refused.headers().clone();
    assert_eq!(headers["content-type"], "application/problem+json");
    assert_eq!(headers["ratelimit-remaining"], "0");
    let number = |name: &str| headers[name].to_str().unwrap().parse::<u64>().unwrap();
    assert!((1..=12).contains(&number("retry-after")), "{headers:?}");
    assert!((48..=60).contains(&number("ratelimit-reset")), "{headers:?}");
    let problem: Value = refused.json().await.unwrap();
    assert_eq!((&problem["type"], &problem["status"]), (&"/problems/too-many-requests".into(), &429.into()));
    assert!(problem["request_id"].is_string());
    // What an operator needs in a flood is not counted, nor is a path a way around.
    for free in ["/health", "/metrics"] {
        assert_ne!(client.get(format!("{}{free}", server.url)).send().await.unwrap().status(), 429, "{free}");
    }
    let elsewhere = client.get(format!("{}/no/such", server.url)).send().await.unwrap();
    assert_eq!(elsewhere.status(), 429);
    assert_eq!(metric(&server.url, "rate_limited_requests_total", &[("scope", "client")]).await, 2.0);
}

#[tokio::test]
async fn nobody_chooses_the_address_that_counts() {
    let database = TestDatabase::new().await;
    // No proxy in front: whatever the header says, there is one client.
    let direct = serve(&database, &[("RATE_LIMIT_PER_CLIENT", "20")]);
    let client = ecomdash_tests::client();
    let mut passed = 0;
    let since = Instant::now();
    for n in 0..60 {
        let answer = knock(&client, &direct.url, Some(&format!("203.0.113.{n}"))).await;
        passed += usize::from(answer.status() == 401);
    }
    assert!((20..=allowed(20, since)).contains(&passed), "{passed}");

    // One proxy: the last entry is its word, what stands before is the client's.
    let behind = serve(&database, &[("RATE_LIMIT_PER_CLIENT", "20"), ("TRUSTED_PROXIES", "1")]);
    let since = Instant::now();
    let mut passed = 0;
    for n in 0..60 {
        let answer = knock(&client, &behind.url, Some(&format!("198.51.100.{n}, 203.0.113.7"))).await;
        passed += usize::from(answer.status() == 401);
    }
    assert!((20..=allowed(20, since)).contains(&passed), "{passed}");
    assert_eq!(let_through(&[&behind.url], 5, Some("203.0.113.7, 203.0.113.8")).await, 5, "another client");

    // A /64 is one client, another one is another.
    let since = Instant::now();
    let mut passed = 0;
    for n in 0..60 {
        let answer = knock(&client, &behind.url, Some(&format!("2001:db8:1:2:{n:x}::{n:x}"))).await;
        passed += usize::from(answer.status() == 401);
    }
    assert!((20..=allowed(20, since)).contains(&passed), "{passed}");
    assert_eq!(let_through(&[&behind.url], 5, Some("2001:db8:1:3::1")).await, 5);
}

#[tokio::test]
async fn a_shop_s_tokens_share_its_quota_and_another_shop_has_its_own() {
    let database = TestDatabase::new().await;
    let server = serve(&database, &[("RATE_LIMIT_PER_SHOP", "10")]);
    let store = database.open();
    let (busy, quiet) = (
        Shop::register(&store, &server.url, "UTC", "USD").await,
        Shop::register(&store, &server.url, "UTC", "USD").await,
    );
    let mut second_token = busy.at(&server.url);
    let token = ecomdash_tests::issue_token(&store, Some(busy.id), api::Role::Auditor, None).await.unwrap();
    second_token.token = secrecy::ExposeSecret::expose_secret(&token.secret).to_owned();
    let since = Instant::now();
    let mut passed = 0;
    for n in 0..30 {
        let shop = if n % 2 == 0 { &busy } else { &second_token };
        let (status, _) = shop.get("/api/orders").await;
        passed += usize::from(status == 200);
    }
    assert!((10..=allowed(10, since)).contains(&passed), "{passed}");
    assert_eq!(quiet.get("/api/orders").await.0, 200);
    // Its deliveries go on.
    let body = order(1, "2026-11-01T12:00:00Z", vec![line(1, "10.00", 1)]).0;
    assert_eq!(busy.deliver("orders/create", &body).await, 200);
}

#[tokio::test]
async fn a_flood_of_forged_deliveries_holds_up_no_signed_one() {
    let database = TestDatabase::new().await;
    let settings = [("RATE_LIMIT_PER_CLIENT", "10"), ("RATE_LIMIT_PER_SHOP", "10"), ("RATE_LIMIT_FORGED", "10")];
    let server = serve(&database, &settings);
    let shop = Shop::register(&database.open(), &server.url, "UTC", "USD").await;
    let client = ecomdash_tests::client();
    let since = Instant::now();
    let mut answers = Vec::new();
    for n in 0..40 {
        let forged = client.post(format!("{}/webhooks/orders_create", server.url)).body("{}");
        let forged = if n % 2 == 0 { forged } else { forged.header("X-Shopify-Hmac-Sha256", "A".repeat(43) + "=") };
        answers.push(forged.send().await.unwrap().status().as_u16());
    }
    let unauthorized = answers.iter().filter(|status| **status == 401).count();
    assert!((10..=allowed(10, since)).contains(&unauthorized), "{answers:?}");
    assert_eq!(answers.iter().filter(|status| **status == 429).count(), 40 - unauthorized);

    // From the very same address: a burst of signed deliveries, all of which pass.
    const BURST: usize = 1_000;
    let began = Instant::now();
    for begin in (0..BURST).step_by(32) {
        let batch = (begin..BURST.min(begin + 32)).map(|n| {
            let id = u64::try_from(n).unwrap() + 1;
            let body = order(id, "2026-11-01T12:00:00Z", vec![line(id, "10.00", 1)]).0;
            let shop = &shop;
            async move { shop.deliver("orders/create", &body).await }
        });
        for status in join_all(batch).await {
            assert_eq!(status, 200);
        }
    }
    eprintln!("{BURST} signed deliveries in {:?}", began.elapsed());
    assert_eq!(metric(&server.url, "webhooks_total", &[("outcome", "stored")]).await, 1_000.0);
}

#[tokio::test]
async fn two_processes_share_a_limit_through_redis_and_redis_learns_no_address() {
    let Some(redis) = Redis::start() else { return };
    let database = TestDatabase::new().await;
    let url = redis.url();
    let settings = [("RATE_LIMIT_PER_CLIENT", "300"), ("REDIS_URL", &*url), ("TRUSTED_PROXIES", "1")];
    let (one, other) = (serve(&database, &settings), serve(&database, &settings));
    until_shared(&one.url, true).await;
    until_shared(&other.url, true).await;
    counted_by_redis(&[&one.url, &other.url], async |attempt| {
        let client = format!("203.0.113.{attempt}");
        let since = Instant::now();
        let passed = let_through(&[&one.url, &other.url], 900, Some(&client)).await;
        let expected = allowed(300, since);
        move || assert!(passed.abs_diff(expected) * 10 <= expected, "{passed} were let through, {expected} are allowed")
    })
    .await;
    assert_eq!(let_through(&[&one.url, &other.url], 10, Some("203.0.113.8")).await, 10, "another client");
    let keys = redis.ask("KEYS *\r\n").unwrap();
    assert!(keys.contains("ecomdash:limit:client:") && !keys.contains("203.0.113"), "{keys}");
    let lives = redis.ask(&format!("PTTL {}\r\n", keys.lines().find(|line| line.contains(':')).unwrap())).unwrap();
    assert!(lives.trim_start_matches(':').trim().parse::<i64>().unwrap() > 0, "keys go by themselves: {lives}");
}

#[tokio::test]
async fn redis_may_be_gone_from_the_start_die_and_come_back_and_nobody_is_refused_for_it() {
    let Some(mut redis) = Redis::start() else { return };
    let database = TestDatabase::new().await;
    let url = redis.url();
    let settings = [("RATE_LIMIT_PER_CLIENT", "6000"), ("REDIS_URL", &*url)];
    redis.kill();
    let server = serve(&database, &settings);
    assert_eq!(let_through(&[&server.url], 50, None).await, 50, "gone from the start");
    assert_eq!(readiness(&server.url).await, "degraded");
    assert!(metric(&server.url, "rate_limit_fallbacks_total", &[]).await >= 50.0);
    redis.start_again();
    until_shared(&server.url, true).await;
    assert_eq!(readiness(&server.url).await, "ready");
    assert_eq!(let_through(&[&server.url], 50, None).await, 50);

    // Killed under load.
    let url = server.url.clone();
    let load = tokio::spawn(async move { let_through(&[&url], 1_000, None).await });
    let passed = [("endpoint", "/api/orders"), ("status", "401")];
    let deadline = Instant::now() + Duration::from_secs(20);
    while metric(&server.url, "http_requests_total", &passed).await < 200.0 {
        assert!(Instant::now() < deadline, "the load runs");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    redis.kill();
    assert_eq!(load.await.unwrap(), 1_000);
    assert_eq!(let_through(&[&server.url], 50, None).await, 50);
    until_shared(&server.url, false).await;
    redis.start_again();
    until_shared(&server.url, true).await;
    counted_by_redis(&[&server.url], async |_| {
        let passed = let_through(&[&server.url], 50, None).await;
        move || assert_eq!(passed, 50)
    })
    .await;
}

#[tokio::test]
async fn a_limit_holds_in_each_process_while_redis_is_away() {
    let Some(mut redis) = Redis::start() else { return };
    let database = TestDatabase::new().await;
    let url = redis.url();
    let server = serve(&database, &[("RATE_LIMIT_PER_CLIENT", "100"), ("REDIS_URL", &*url)]);
    until_shared(&server.url, true).await;
    let since = Instant::now();
    assert_eq!(let_through(&[&server.url], 60, None).await, 60);
    redis.kill();
    // What Redis counted was counted here, too: its end is no fresh start.
    let passed = 60 + let_through(&[&server.url], 100, None).await;
    let expected = allowed(100, since);
    assert!(passed.abs_diff(expected) * 10 <= expected, "{passed} were let through, {expected} are allowed");
}

#[tokio::test]
async fn a_redis_that_hangs_costs_the_first_requests_50_ms_and_the_others_nothing() {
    let Some(redis) = Redis::start() else { return };
    let proxy = Proxy::to(redis.port());
    let database = TestDatabase::new().await;
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let server = serve(&database, &[("RATE_LIMIT_PER_CLIENT", "60000"), ("REDIS_URL", &*url)]);
    until_shared(&server.url, true).await;
    let client = ecomdash_tests::client();
    assert_eq!(knock(&client, &server.url, None).await.status(), 401);

    proxy.set_silent(true);
    let connections = proxy.accepted();
    let mut slowest = Vec::new();
    let began = Instant::now();
    for _ in 0..200 {
        let asked = Instant::now();
        assert_eq!(knock(&client, &server.url, None).await.status(), 401);
        slowest.push(asked.elapsed());
    }
    let took = began.elapsed();
    slowest.sort_unstable();
    // If each waited, they would take 10 s. A busy machine gets some slack.
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert!(slowest[100] < Duration::from_millis(40), "{slowest:?}");
    until_shared(&server.url, false).await;
    assert!(metric(&server.url, "rate_limit_fallbacks_total", &[]).await >= 199.0);
    let tried = proxy.accepted() - connections;
    assert!(tried <= 3 + usize::try_from(took.as_millis()).unwrap() / 100, "{tried} connections in {took:?}");

    proxy.set_silent(false);
    until_shared(&server.url, true).await;
    counted_by_redis(&[&server.url], async |_| {
        let passed = let_through(&[&server.url], 20, None).await;
        move || assert_eq!(passed, 20)
    })
    .await;
}

#[tokio::test]
async fn a_redis_url_that_is_none_ends_the_start_and_is_not_shown() {
    let database = TestDatabase::new().await;
    for bad in ["http://:hunter2@127.0.0.1", "hunter2", "redis://:hunter2@127.0.0.1:notaport"] {
        let mut command = command_on(&database);
        let output = command.args(["serve", "--port", "0"]).env("REDIS_URL", bad).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains("REDIS_URL") && !text.contains("hunter2"), "{bad}: {text}");
    }
}
