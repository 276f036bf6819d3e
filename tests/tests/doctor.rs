//! `ecomdash doctor` finds each trouble that it says it looks for, and names what mends it.

use std::process::Command;

use ecomdash_tests::{
    Ecomdash, Login, Shop, TestDatabase, bare_command,
    bodies::{line, order},
    command_on, free_folder, number, until,
};
use serde_json::{Value, json};
use sqlx::{Executor, PgConnection};

/// What it found: verdict, what, finding, fix.
struct Findings {
    all: Vec<Value>,
    ok: bool,
}

impl Findings {
    fn of(command: &mut Command, arguments: &[&str]) -> Self {
        let output = command.args(["doctor", "--json"]).args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let all = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Self { all, ok: output.status.success() }
    }

    fn on(database: &TestDatabase) -> Self {
        Self::of(&mut command_on(database), &[])
    }

    /// Fails unless there is such a finding, with a fix that says these words.
    fn assert(&self, verdict: &str, what: &str, finding: &str, fix: &str) {
        let has = |value: &Value, words: &str| value.as_str().unwrap_or_default().contains(words);
        let found = self.all.iter().any(|found| {
            found["verdict"] == verdict
                && found["what"] == what
                && has(&found["finding"], finding)
                && has(&found["fix"], fix)
        });
        assert!(found, "{verdict} {what} `{finding}` → `{fix}` is not in {:#?}", self.all);
        assert_eq!(
            self.ok,
            self.all.iter().all(|found| !["trouble", "unseen"].contains(&found["verdict"].as_str().unwrap()))
        );
    }

    fn assert_whole(&self) {
        assert!(self.ok && self.all.iter().all(|found| found["verdict"] == "good"), "{:#?}", self.all);
    }
}

fn placed(id: u64) -> Value {
    order(id, "2026-11-01T12:00:00Z", vec![line(id, "10.00", 1)]).0
}

/// Does something to the database, looks, and undoes it.
async fn with(database: &TestDatabase, superuser: &mut PgConnection, harm: &str, undo: &str) -> Findings {
    superuser.execute(harm).await.unwrap();
    let findings = tokio::task::block_in_place(|| Findings::on(database));
    superuser.execute(undo).await.unwrap();
    findings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_what_is_wrong_with_server_schema_and_guards() {
    let database = TestDatabase::new().await;
    let mut superuser = database.superuser().await;
    let findings = Findings::on(&database);
    findings.assert("warning", "shops", "none is registered", "shop register");

    let mut elsewhere = command_on(&database);
    elsewhere.env("DATABASE_URL", database.url.replace("canary-of-the-login", "some-other-login"));
    Findings::of(&mut elsewhere, &[]).assert("trouble", "database", "refuses the login", "DATABASE_URL");
    let mut elsewhere = command_on(&database);
    elsewhere.env("DATABASE_URL", database.url.replace(&database.name, "nowhere"));
    Findings::of(&mut elsewhere, &[]).assert("trouble", "database", "no such database", "create it");
    let mut elsewhere = command_on(&database);
    elsewhere.env("DATABASE_URL", "postgres://a:b@127.0.0.1:1/c");
    Findings::of(&mut elsewhere, &[]).assert("trouble", "database", "cannot be reached", "host and port");

    let empty = TestDatabase::empty(Login::Ordinary).await;
    Findings::on(&empty).assert("trouble", "schema", "behind this build", "ecomdash migrate");
    let version = "(SELECT max(version) FROM _sqlx_migrations)";
    let findings = with(
        &database,
        &mut superuser,
        &format!("UPDATE _sqlx_migrations SET success = false WHERE version = {version}"),
        "UPDATE _sqlx_migrations SET success = true",
    )
    .await;
    findings.assert("trouble", "schema", "begun and not ended", "ecomdash migrate");
    let findings = with(
        &database,
        &mut superuser,
        &format!("UPDATE _sqlx_migrations SET checksum = checksum || 'a' WHERE version = {version}"),
        &format!(
            "UPDATE _sqlx_migrations SET checksum = substr(checksum, 1, length(checksum) - 1) WHERE version = {version}"
        ),
    )
    .await;
    findings.assert("trouble", "schema", "another text", "the build that the database belongs to");

    for (harm, undo, what, finding) in [
        (
            "ALTER TABLE sale_fact NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE sale_fact FORCE ROW LEVEL SECURITY",
            "isolation",
            "lifted on sale_fact",
        ),
        (
            "ALTER TABLE inbox DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE inbox ENABLE ROW LEVEL SECURITY",
            "isolation",
            "lifted on inbox",
        ),
        (
            "ALTER POLICY tenant ON daily_sales RENAME TO other; CREATE TABLE kept AS SELECT 1; DROP POLICY other ON daily_sales",
            "DROP TABLE kept; CREATE POLICY tenant ON daily_sales
                 USING (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid)",
            "isolation",
            "has no policy",
        ),
        (
            "ALTER TABLE events DISABLE TRIGGER events_are_immutable",
            "ALTER TABLE events ENABLE TRIGGER events_are_immutable",
            "log",
            "events could be changed",
        ),
        (
            "GRANT UPDATE ON events TO ecomdash_app",
            "REVOKE UPDATE ON events FROM ecomdash_app",
            "log",
            "events could be changed",
        ),
    ] {
        let findings = with(&database, &mut superuser, harm, undo).await;
        findings.assert("trouble", what, finding, "");
        assert!(
            findings.all.iter().any(|found| found["verdict"] == "trouble" && found["fix"].as_str().unwrap().len() > 10)
        );
    }
    let findings = with(
        &database,
        &mut superuser,
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'sale_fact_by_time'::regclass",
        "UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'sale_fact_by_time'::regclass",
    )
    .await;
    findings.assert("warning", "indexes", "sale_fact_by_time", "REINDEX INDEX CONCURRENTLY");

    let mut greedy = command_on(&database);
    greedy.env("DATABASE_POOL_SIZE", "40");
    Findings::of(&mut greedy, &[]).assert("trouble", "connections", "need 162", "DATABASE_POOL_SIZE");
    let mut as_superuser = command_on(&database);
    as_superuser.env("DATABASE_URL", &database.superuser_url);
    Findings::of(&mut as_superuser, &[]).assert("warning", "server", "superuser", "CREATEROLE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_what_is_wrong_with_shops_deliveries_and_read_models() {
    let database = TestDatabase::new().await;
    let mut superuser = database.superuser().await;
    let server = Ecomdash::up(&database);
    let store = database.open();
    let shop = Shop::register(&store, &server.url, "UTC", "USD").await;
    assert_eq!(shop.deliver("orders/create", &placed(1)).await, 200);
    shop.stats("2026-11-01", "2026-11-01").await;
    Findings::of(&mut command_on(&database), &["--url", &server.url]).assert_whole();

    let mut other_keys = command_on(&database);
    other_keys.env("ENCRYPTION_KEYS", TestDatabase::new().await.encryption_keys);
    Findings::of(&mut other_keys, &[]).assert("trouble", "keys", &shop.domain, "behind the newest one");

    assert_eq!(shop.deliver("orders/create", &json!("no order")).await, 200);
    until("it is dead", async || number(&mut superuser, "SELECT count(*) FROM inbox WHERE status = 'dead'").await == 1)
        .await;
    Findings::on(&database).assert("warning", "deliveries", "1 could not be read", "inbox retry");
    superuser.execute("DELETE FROM inbox WHERE status = 'dead'").await.unwrap();

    let stranger = "a-shop-nobody-knows.myshopify.com";
    let body = "{\"id\": 1}";
    let delivered = reqwest::Client::new()
        .post(format!("{}/webhooks", server.url))
        .header("X-Shopify-Topic", "orders/create")
        .header("X-Shopify-Shop-Domain", stranger)
        .header("X-Shopify-Webhook-Id", "1")
        .header("X-Shopify-Hmac-Sha256", shopify::signature::sign(body.as_bytes(), ecomdash_tests::SECRET.as_bytes()))
        .body(body);
    assert_eq!(delivered.send().await.unwrap().status(), 200);
    Findings::on(&database).assert("warning", "deliveries", stranger, "shop register");
    superuser.execute("DELETE FROM inbox_unclaimed").await.unwrap();

    let park =
        "UPDATE checkpoints SET parked_at = 1, parked_reason = 'a test', parked_by = '0' WHERE projection = 'sales'";
    let findings = with(
        &database,
        &mut superuser,
        park,
        "UPDATE checkpoints SET parked_at = NULL, parked_reason = NULL, parked_by = NULL",
    )
    .await;
    findings.assert("trouble", "read models", "a test", "deploy a build that can");

    let (mut pause, mut resume) = (command_on(&database), command_on(&database));
    assert!(pause.args(["shop", "pause", &shop.domain]).output().unwrap().status.success());
    Findings::on(&database).assert("warning", "shops", "1 paused", "--resume");
    assert!(resume.args(["shop", "pause", &shop.domain, "--resume"]).output().unwrap().status.success());

    // Nobody works.
    let serve_only =
        Ecomdash::start(&["serve", "--port", "0"], &database, &[("ALLOWED_ORIGINS", "https://a.example.com")]);
    drop(server);
    assert_eq!(shop.at(&serve_only.url).deliver("orders/create", &placed(2)).await, 200);
    superuser.execute("UPDATE inbox SET received_at = received_at - interval '5 minutes'").await.unwrap();
    Findings::on(&database).assert("trouble", "workers", &shop.domain, "ecomdash work");

    // The API, and who may call it from a browser.
    let mut same = command_on(&database);
    same.env("ALLOWED_ORIGINS", "https://a.example.com");
    Findings::of(&mut same, &["--url", &serve_only.url]).assert("good", "cors", "https://a.example.com", "");
    let mut other = command_on(&database);
    other.env("ALLOWED_ORIGINS", "https://b.example.com");
    Findings::of(&mut other, &["--url", &serve_only.url]).assert(
        "trouble",
        "cors",
        "https://b.example.com",
        "ALLOWED_ORIGINS",
    );
    Findings::of(&mut command_on(&database), &["--url", "http://127.0.0.1:1"]).assert(
        "trouble",
        "api",
        "does not answer",
        "PORT",
    );
    let migration = "(SELECT max(version) FROM _sqlx_migrations)";
    superuser
        .execute(format!("UPDATE _sqlx_migrations SET success = false WHERE version = {migration}").as_str())
        .await
        .unwrap();
    Findings::of(&mut command_on(&database), &["--url", &serve_only.url]).assert("trouble", "api", "503", "migrate");
}

#[test]
fn it_names_every_fault_of_the_settings_and_shows_no_secret() {
    let data = free_folder();
    let mut command = bare_command(&data);
    command
        .env("ENVIRONMENT", "production")
        .env("ENCRYPTION_KEYS", "not-a-key-canary-27c1")
        .env("ALLOWED_ORIGINS", "https://app.example.com, *")
        .env("METRICS_TOKEN", "two words canary-27c1")
        .env("REDIS_URL", "http://canary-27c1")
        .env("RATE_LIMIT_PER_CLIENT", "10")
        .env("DATABASE_URL", "postgres://a:canary-27c1@127.0.0.1:1/c")
        .env_remove("SHOPIFY_API_SECRET");
    let findings = Findings::of(&mut command, &[]);
    for (finding, fix) in [
        ("ENCRYPTION_KEYS", "openssl rand"),
        ("SHOPIFY_API_SECRET is not set", "client secret"),
        ("METRICS_TOKEN", "openssl rand"),
        ("entry 2 is a wildcard", "separated by commas"),
    ] {
        findings.assert("trouble", "settings", finding, fix);
    }
    findings.assert("warning", "settings", "TRUSTED_PROXIES", "number of proxies");
    findings.assert("trouble", "redis", "REDIS_URL cannot be used", "redis://");
    findings.assert("trouble", "database", "cannot be reached", "host and port");
    assert!(!format!("{:?}", findings.all).contains("canary"), "{:#?}", findings.all);

    let mut away = bare_command(&data);
    away.env("REDIS_URL", "redis://127.0.0.1:1").env("DATABASE_URL", "postgres://a:b@127.0.0.1:1/c");
    Findings::of(&mut away, &[]).assert("warning", "redis", "does not answer", "REDIS_URL");
    std::fs::remove_dir_all(data).unwrap();
}
