//! What processes say of themselves: to whom, under which names, and that it is true.

use std::time::{Duration, Instant};

use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    bodies::placed,
    observed::{emitted, listed, samples, value},
    run,
};
use reqwest::StatusCode;
use serde_json::json;

const TOKEN: &str = "who may read the metrics must not have blanks";

fn token() -> String {
    TOKEN.replace(' ', "-")
}

fn start(database: &TestDatabase, arguments: &[&str]) -> Ecomdash {
    Ecomdash::start(arguments, database, &[("METRICS_TOKEN", &token())])
}

async fn page(server: &Ecomdash) -> String {
    let answer =
        ecomdash_tests::client().get(format!("{}/metrics", server.url)).bearer_auth(token()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    answer.text().await.unwrap()
}

async fn page_when(server: &Ecomdash, what: &str, is_so: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let page = page(server).await;
        if is_so(&page) {
            return page;
        }
        assert!(Instant::now() < deadline, "{what}:\n{page}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn metrics_are_for_whoever_has_the_token() {
    let database = TestDatabase::new().await;
    let server = start(&database, &["serve", "--port", "0"]);
    let ask = async |authorization: &[&str]| {
        let mut request = ecomdash_tests::client().get(format!("{}/metrics", server.url));
        for value in authorization {
            request = request.header("Authorization", *value);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    let good = format!("Bearer {}", token());
    assert_eq!(ask(&[&good]).await.0, 200);
    assert_eq!(ask(&[&good.replace("Bearer", "bearer")]).await.0, 200);
    let almost = &good[..good.len() - 1];
    for wrong in [&[][..], &["Bearer"], &["Bearer "], &["Bearer wrong"], &[almost], &[&good, &good], &[&token()]] {
        let (status, text) = ask(wrong).await;
        assert_eq!(status, 401, "{wrong:?}");
        assert!(!text.contains("http_requests_total"));
    }
    assert_eq!(ask(&[&good.replace("Bearer", "Basic")]).await.0, 401);

    let without = Ecomdash::start(&["serve", "--port", "0"], &database, &[]);
    let answer =
        ecomdash_tests::client().get(format!("{}/metrics", without.url)).bearer_auth(token()).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    let (ok, text) = {
        let mut command = ecomdash_tests::command_on(&database);
        let output = command.args(["serve", "--port", "0"]).env("METRICS_TOKEN", "a b").output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert!(!ok && text.contains("METRICS_TOKEN") && !text.contains("a b"), "{text}");
}

#[tokio::test]
async fn a_busy_process_emits_exactly_what_is_listed_and_no_label_tells_of_a_shop() {
    let database = TestDatabase::new().await;
    let server = start(&database, &["up", "--port", "0"]);
    let shop = Shop::register(&database.open(), &server.url, "UTC", "USD").await;
    assert_eq!(shop.deliver("orders/create", &placed(424_242)).await, 200);
    assert_eq!(shop.deliver_at("orders/create", &placed(2), "one id", None).await, 200);
    assert_eq!(shop.deliver_at("orders/create", &placed(2), "one id", None).await, 200);
    assert_eq!(shop.deliver("orders/create", &json!({ "id": null })).await, 200);
    assert_eq!(shop.deliver("themes/create", &json!({ "id": 1 })).await, 200);
    shop.stats("2026-11-01", "2026-11-01").await;
    let client = ecomdash_tests::client();
    let get = async |path: &str| client.get(format!("{}{path}", server.url)).send().await.unwrap().status();
    assert_eq!(get(&format!("/no/such/path/{}", shop.domain)).await, 404);
    assert_eq!(get(&format!("/api/shops/{}", shop.domain)).await, 401);
    let made_up = reqwest::Method::from_bytes(b"INVENTED").unwrap();
    client.request(made_up, format!("{}/health", server.url)).send().await.unwrap();
    let forged = client.post(format!("{}/webhooks", server.url)).body("{}").send().await.unwrap();
    assert_eq!(forged.status(), 401);

    let page = page(&server).await;
    assert_eq!(emitted(&page), listed(), "what is emitted (left) and the table in docs/operations.md (right)");
    for secret in [&shop.domain, &shop.id.to_string(), &shop.token, "424242", TOKEN, &token(), "INVENTED", "/no/such"] {
        assert!(!page.contains(secret), "{secret} is on the page");
    }
    let endpoints: Vec<String> = samples(&page).iter().filter_map(|s| s.labels.get("endpoint").cloned()).collect();
    for endpoint in &endpoints {
        assert!(endpoint == "unmatched" || endpoint.starts_with('/'), "{endpoint}");
    }
    for (name, labels, expected) in [
        ("http_requests_total", &[("endpoint", "unmatched"), ("status", "404")][..], 1.0),
        ("http_requests_total", &[("endpoint", "/api/shops/{domain}"), ("method", "GET"), ("status", "401")], 1.0),
        ("http_requests_total", &[("endpoint", "/health"), ("method", "other"), ("status", "405")], 1.0),
        ("http_requests_total", &[("endpoint", "/webhooks"), ("status", "200")], 5.0),
        ("http_request_duration_seconds_count", &[("endpoint", "/webhooks"), ("method", "POST")], 6.0),
        ("webhooks_total", &[("outcome", "stored")], 4.0),
        ("webhooks_total", &[("outcome", "duplicate")], 1.0),
        ("webhooks_total", &[("outcome", "forged")], 1.0),
        ("deliveries_settled_total", &[("outcome", "translated")], 2.0),
        ("deliveries_settled_total", &[("outcome", "dead")], 1.0),
        ("deliveries_settled_total", &[("outcome", "ignored")], 1.0),
        ("events_appended_total", &[], 2.0),
        ("commands_total", &[("way", "locked")], 2.0),
        // The shop's own first event is of another process.
        ("projection_events_total", &[], 3.0),
        ("projection_batches_total", &[("outcome", "failed")], 0.0),
        ("database_connections_max", &[], 10.0),
    ] {
        assert_eq!(value(&page, name, labels), Some(expected), "{name} {labels:?}\n{page}");
    }
    assert!(value(&page, "process_open_fds", &[]).unwrap() > 2.0);
    assert!(value(&page, "process_cpu_seconds_total", &[]).unwrap() > 0.0);
    if listed().contains_key("process_resident_memory_bytes") {
        assert!(value(&page, "process_resident_memory_bytes", &[]).unwrap() > 1e6);
    }
}

#[tokio::test]
async fn workers_serve_their_metrics_and_their_health_on_a_port_of_their_own() {
    let database = TestDatabase::new().await;
    let mut worker = start(&database, &["work", "--metrics-port", "0"]);
    assert!(worker.url.starts_with("http://127.0.0.1:"));
    page(&worker).await;
    let known = listed();
    for metric in emitted(&page(&worker).await) {
        assert_eq!(known.get(&metric.0), Some(&metric.1), "{}", metric.0);
    }
    let ask = async |path: &str| {
        let answer = ecomdash_tests::client().get(format!("{}{path}", worker.url)).send().await.unwrap();
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        answer.status()
    };
    assert_eq!(ask("/health").await, 200);
    assert_eq!(ask("/metrics").await, 401);
    assert_eq!(ask("/api/orders").await, 404, "the API is not there");
    assert!(worker.terminate().success());
}

#[tokio::test]
async fn gauges_of_the_fleet_are_true() {
    let database = TestDatabase::new().await;
    let serve = Ecomdash::start(&["serve", "--port", "0"], &database, &[]);
    let store = database.open();
    let (first, second) = (
        Shop::register(&store, &serve.url, "UTC", "USD").await,
        Shop::register(&store, &serve.url, "UTC", "USD").await,
    );
    let paused = Shop::register(&store, &serve.url, "UTC", "USD").await;
    assert!(run(&database, &["shop", "pause", &paused.domain]).0);
    for id in 1..=3 {
        assert_eq!(first.deliver("orders/create", &placed(id)).await, 200);
    }
    assert_eq!(second.deliver("orders/create", &json!({ "id": null })).await, 200);
    assert_eq!(paused.deliver("orders/create", &placed(1)).await, 200);
    let mut stranger = second.at(&serve.url);
    stranger.domain = "nobody.myshopify.com".to_owned();
    assert_eq!(stranger.deliver("orders/create", &placed(1)).await, StatusCode::OK);

    // Nobody works yet: a process that only serves sees all of it.
    let watching = start(&database, &["serve", "--port", "0"]);
    let before = page_when(&watching, "a first look", |page| {
        value(page, "fleet_sample_timestamp_seconds", &[]).is_some_and(|at| at > 0.0)
    })
    .await;
    for (name, labels, expected) in [
        ("active_shops", &[][..], 2.0),
        ("paused_shops", &[], 1.0),
        ("inbox_pending", &[], 4.0),
        ("inbox_unclaimed", &[], 1.0),
        ("dead_letters", &[], 0.0),
        ("projection_lag_events", &[("projection", "sales")], 3.0),
        ("projection_lag_events_max", &[("projection", "orders")], 1.0),
        ("work_queue_rows", &[("kind", "project")], 3.0),
        ("parked_projections", &[("projection", "sales")], 0.0),
    ] {
        assert_eq!(value(&before, name, labels), Some(expected), "{name} {labels:?}\n{before}");
    }
    assert!(value(&before, "inbox_oldest_pending_seconds", &[]).unwrap() > 0.0);
    assert!(value(&before, "projection_lag_seconds_max", &[("projection", "sales")]).unwrap() > 0.0);

    // To a process with a newer master key, all that is sealed is yet to come under it: three shops' keys and a body.
    let newer = format!("{},{}", vault::MasterRing::generate_key().unwrap(), database.encryption_keys);
    let environment = [("METRICS_TOKEN", &*token()), ("ENCRYPTION_KEYS", &newer)];
    let rotating = Ecomdash::start(&["serve", "--port", "0"], &database, &environment);
    page_when(&rotating, "what is to be rotated", |page| value(page, "keys_to_rotate", &[]) == Some(4.0)).await;
    assert_eq!(value(&before, "keys_to_rotate", &[]), Some(0.0));
    drop(rotating);

    // Once it is worked off, one read model of one shop is said to stand.
    let working = Ecomdash::start(&["work", "--metrics-port", "0"], &database, &[]);
    first.stats("2026-11-01", "2026-11-01").await;
    second.stats("2026-11-01", "2026-11-01").await;
    drop(working);
    sqlx::query("UPDATE checkpoints SET parked_at = 2 WHERE projection = 'sales' AND generation = 1 AND shop_id = $1")
        .bind(second.id.0)
        .execute(&mut database.superuser().await)
        .await
        .unwrap();
    let after = page_when(&watching, "what is worked off is gone", |page| {
        value(page, "inbox_pending", &[]) == Some(0.0)
            && value(page, "parked_projections", &[("projection", "sales")]) == Some(1.0)
    })
    .await;
    for (name, expected) in [("dead_letters", 1.0), ("inbox_oldest_pending_seconds", 0.0), ("inbox_unclaimed", 1.0)] {
        assert_eq!(value(&after, name, &[]), Some(expected), "{name}\n{after}");
    }
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_is_counted_all_the_same() {
    use std::io::Write;
    let database = TestDatabase::new().await;
    let server = start(&database, &["serve", "--port", "0"]);
    // A body that never comes, and a client that goes away.
    let mut stream = std::net::TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    let signature = shopify::signature::sign(b"{}", b"x");
    write!(
        stream,
        "POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nX-Shopify-Hmac-Sha256: {signature}\r\n\r\n{{"
    )
    .unwrap();
    drop(stream);
    page_when(&server, "the broken request is counted", |page| {
        let count = |status| value(page, "http_requests_total", &[("endpoint", "/webhooks"), ("status", status)]);
        // Whether the body's end or the connection's is noticed first is not ours to say.
        count("499") == Some(1.0) || count("400") == Some(1.0)
    })
    .await;
}
