//! What browsers are told: which origins may call the API, and the headers that every answer carries.

use ecomdash_tests::{Ecomdash, Shop, TestDatabase, command_on};
use reqwest::{Method, Response, header::HeaderMap};

const ORIGIN: &str = "https://dash.example.com";

fn start(database: &TestDatabase, environment: &[(&str, &str)]) -> Ecomdash {
    let settings = [("ALLOWED_ORIGINS", "https://dash.example.com, http://localhost:5173"), ("METRICS_TOKEN", "t")];
    let settings: Vec<(&str, &str)> = settings.into_iter().chain(environment.iter().copied()).collect();
    Ecomdash::start(&["serve", "--port", "0"], database, &settings)
}

async fn ask(server: &Ecomdash, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = ecomdash_tests::client().request(method, format!("{}{path}", server.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn only_listed_origins_may_call_the_api_and_nobody_webhooks_or_metrics() {
    let database = TestDatabase::new().await;
    let server = start(&database, &[]);
    let preflight = [("Access-Control-Request-Method", "GET"), ("Access-Control-Request-Headers", "authorization")];
    let cases = [
        (ORIGIN, true),
        ("http://localhost:5173", true),
        ("https://dash.example.com.evil.test", false),
        ("https://evil.test", false),
        ("http://dash.example.com", false),
        ("https://dash.example.com:444", false),
        ("https://DASH.example.com", false),
        ("null", false),
    ];
    for (origin, is_allowed) in cases {
        let headers: Vec<_> = preflight.into_iter().chain([("Origin", origin)]).collect();
        let before = ask(&server, Method::OPTIONS, "/api/orders", &headers).await;
        assert_eq!(before.status(), 200, "without a token");
        let expected = is_allowed.then_some(origin);
        assert_eq!(text(before.headers(), "access-control-allow-origin"), expected, "{origin}");
        assert_eq!(text(before.headers(), "access-control-allow-methods"), Some("GET,POST,PUT,PATCH,DELETE,OPTIONS"));
        let allowed = text(before.headers(), "access-control-allow-headers").unwrap().to_lowercase();
        assert_eq!(allowed, "authorization,content-type,x-request-id");
        let answer = ask(&server, Method::GET, "/api/orders", &[("Origin", origin)]).await;
        assert_eq!(answer.status(), 401);
        assert_eq!(text(answer.headers(), "access-control-allow-origin"), expected, "{origin}");
        for headers in [before.headers(), answer.headers()] {
            assert_eq!(text(headers, "vary").map(str::to_lowercase).as_deref(), Some("origin"), "{origin}");
        }
        for path in ["/webhooks", "/webhooks/orders_create", "/metrics", "/health"] {
            for method in [Method::OPTIONS, Method::GET, Method::POST] {
                let answer = ask(&server, method.clone(), path, &headers).await;
                let told = answer.headers().keys().find(|name| name.as_str().starts_with("access-control"));
                assert_eq!(told, None, "{method} {path}");
                assert!(method != Method::OPTIONS || answer.status() == 405, "{path}");
            }
        }
    }
    let without = ask(&server, Method::GET, "/api/orders", &[]).await;
    assert_eq!(text(without.headers(), "access-control-allow-origin"), None);
    assert_eq!(text(without.headers(), "vary").map(str::to_lowercase).as_deref(), Some("origin"));
}

#[tokio::test]
async fn a_page_may_read_figures_and_why_it_was_refused() {
    let database = TestDatabase::new().await;
    let server = start(&database, &[("RATE_LIMIT_PER_SHOP", "1")]);
    let shop = Shop::register(&database.open(), &server.url, "UTC", "USD").await;
    let token = format!("Bearer {}", shop.token);
    for status in [200, 429] {
        let answer = ask(&server, Method::GET, "/api/orders", &[("Origin", ORIGIN), ("Authorization", &token)]).await;
        assert_eq!(answer.status(), status);
        assert_eq!(text(answer.headers(), "access-control-allow-origin"), Some(ORIGIN));
        assert_eq!(text(answer.headers(), "access-control-allow-credentials"), Some("true"));
        let exposed = text(answer.headers(), "access-control-expose-headers").unwrap().to_lowercase();
        for name in ["x-request-id", "retry-after", "ratelimit-remaining"] {
            assert!(exposed.contains(name), "{exposed}");
        }
    }
}

#[tokio::test]
async fn wildcards_and_what_is_no_origin_end_the_start() {
    let database = TestDatabase::new().await;
    for (bad, entry) in
        [("*", 1), ("https://good.example.com,https://secret.example.org/", 2), ("secret.example.org", 1)]
    {
        let mut command = command_on(&database);
        let output = command.args(["serve", "--port", "0"]).env("ALLOWED_ORIGINS", bad).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{bad}");
        assert!(
            told.contains(&format!("ALLOWED_ORIGINS: entry {entry} ")) && !told.contains("secret"),
            "{bad}: {told}"
        );
    }
}

#[tokio::test]
async fn every_answer_carries_the_plain_headers_and_production_asks_for_https() {
    let database = TestDatabase::new().await;
    let development = start(&database, &[]);
    let production =
        Ecomdash::start(&["serve", "--port", "0", "--host", "127.0.0.1"], &database, &[("ENVIRONMENT", "production")]);
    for (server, is_production) in [(&development, false), (&production, true)] {
        for (method, path) in [
            (Method::GET, "/health"),
            (Method::GET, "/health/ready"),
            (Method::GET, "/metrics"),
            (Method::GET, "/api/orders"),
            (Method::OPTIONS, "/api/orders"),
            (Method::POST, "/webhooks"),
            (Method::DELETE, "/webhooks"),
            (Method::GET, "/no/such"),
        ] {
            let answer = ask(server, method.clone(), path, &[]).await;
            let headers = answer.headers();
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "no-referrer"),
                ("cache-control", "no-store"),
                ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ] {
                assert_eq!(text(headers, name), Some(value), "{method} {path}");
            }
            let expected = is_production.then_some("max-age=31536000; includeSubDomains");
            assert_eq!(text(headers, "strict-transport-security"), expected, "{method} {path}");
        }
    }
}
