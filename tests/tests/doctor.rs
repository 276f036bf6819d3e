//! `ecomdash doctor` finds each trouble that it says it looks for, and names what mends it.

use std::{io::Read, net::TcpListener, path::Path, process::Command};

use ecomdash_tests::{
    Cluster, Ecomdash, Login, Shop, TestDatabase, bare_command, bodies::placed, command_on, free_folder, number,
    repository::said, until, with_clock,
};
use rustix::process::Signal;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};

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
    let mut elsewhere = command_on(&database);
    elsewhere.env("DATABASE_URL", "postgres://a:canary-27c1#b@127.0.0.1:1/c?canary-27c1=canary-27c1");
    let (ok, text) = said(elsewhere.arg("doctor"));
    assert!(!ok && text.contains("cannot be read as an address") && !text.contains("canary"), "{text}");
    let mut elsewhere = command_on(&database);
    elsewhere.env("DATABASE_URL", "postgres://a:b@127.0.0.1:1/c?canary-27c1=canary-27c1");
    let (ok, text) = said(elsewhere.arg("doctor"));
    assert!(!ok && text.contains("cannot be reached") && !text.contains("canary"), "{text}");

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
    findings.assert("trouble", "schema", "begun and not ended", "DELETE FROM _sqlx_migrations WHERE version IN (");
    let none_is_good = |findings: &Findings| {
        assert!(!findings.all.iter().any(|found| found["verdict"] == "good" && found["what"] == "schema"));
    };
    none_is_good(&findings);
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
    none_is_good(&findings);

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
            "daily_sales has not the policy",
        ),
        (
            "CREATE POLICY other ON inbox USING (true)",
            "DROP POLICY other ON inbox",
            "isolation",
            "inbox has not the policy",
        ),
        (
            "ALTER POLICY tenant ON order_list USING (true)",
            "ALTER POLICY tenant ON order_list
                 USING (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid)",
            "isolation",
            "order_list has not the policy",
        ),
        (
            "GRANT UPDATE (hash) ON events TO ecomdash_app",
            "REVOKE UPDATE (hash) ON events FROM ecomdash_app",
            "log",
            "events",
        ),
        (
            "DROP POLICY tenant ON inbox; CREATE POLICY tenant ON inbox WITH CHECK (true)",
            "ALTER POLICY tenant ON inbox
                 USING (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid)
                 WITH CHECK (shop_id = NULLIF(current_setting('app.current_shop_id', true), '')::uuid)",
            "isolation",
            "inbox has not the policy",
        ),
        ("REVOKE INSERT ON inbox FROM ecomdash_app", "GRANT INSERT ON inbox TO ecomdash_app", "rights", "1 things"),
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
    let both = "indexrelid IN ('sale_fact_by_time'::regclass, 'order_list_by_time'::regclass)";
    let findings = with(
        &database,
        &mut superuser,
        &format!("UPDATE pg_index SET indisvalid = false WHERE {both}"),
        &format!("UPDATE pg_index SET indisvalid = true WHERE {both}"),
    )
    .await;
    findings.assert(
        "warning",
        "indexes",
        "order_list_by_time, sale_fact_by_time",
        "REINDEX INDEX CONCURRENTLY order_list_by_time; REINDEX INDEX CONCURRENTLY sale_fact_by_time",
    );
    // What others keep in the same schema is theirs.
    superuser
        .execute("CREATE TABLE theirs (shop_id text); ALTER TABLE theirs ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON theirs")
        .await
        .unwrap();
    Findings::on(&database).assert("good", "isolation", "holds", "");

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
    let delivered = ecomdash_tests::client()
        .post(format!("{}/webhooks", server.url))
        .header("X-Shopify-Topic", "orders/create")
        .header("X-Shopify-Shop-Domain", stranger)
        .header("X-Shopify-Webhook-Id", "1")
        .header("X-Shopify-Hmac-Sha256", shopify::signature::sign(body.as_bytes(), ecomdash_tests::SECRET.as_bytes()))
        .body(body);
    assert_eq!(delivered.send().await.unwrap().status(), 200);
    Findings::on(&database).assert("warning", "deliveries", stranger, "shop register");
    superuser.execute("UPDATE inbox_unclaimed SET body = '\\x00000000'::bytea || substr(body, 5)").await.unwrap();
    Findings::on(&database).assert("trouble", "keys", "cannot open 1 deliveries", "behind the newest one");
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
    // What was received long ago and is due only now, as after `inbox retry`, has waited for nobody yet.
    superuser.execute("UPDATE inbox SET received_at = received_at - interval '5 minutes'").await.unwrap();
    Findings::on(&database).assert("good", "workers", "nothing waits", "");
    superuser.execute("UPDATE inbox SET due_at = received_at").await.unwrap();
    Findings::on(&database).assert("trouble", "workers", "for 30", "ecomdash work");
    Findings::on(&database).assert("trouble", "workers", &shop.domain, "ecomdash work");
    // Or what is in the log waits for its read model.
    superuser.execute("UPDATE inbox SET status = 'ignored' WHERE status = 'pending'").await.unwrap();
    let behind = "ALTER TABLE events DISABLE TRIGGER USER;
         UPDATE events SET recorded_at = recorded_at - interval '10 minutes';
         ALTER TABLE events ENABLE TRIGGER USER;
         UPDATE checkpoints SET position = 0 WHERE projection = 'sales'";
    superuser.execute(behind).await.unwrap();
    Findings::on(&database).assert("trouble", "workers", "for 60", "ecomdash work");

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

/// A shop whose log, keys or history are gone is named, and is no reason to show no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_names_a_shop_that_cannot_be_read_and_the_api_shows_the_others() {
    let database = TestDatabase::new().await;
    let mut superuser = database.superuser().await;
    let server = Ecomdash::start(&["serve", "--port", "0"], &database, &[]);
    let store = database.open();
    let mut shops = Vec::new();
    for _ in 0..4 {
        shops.push(Shop::register(&store, &server.url, "UTC", "USD").await);
    }
    let [whole, without_log, without_key, unreadable] = &shops[..] else { unreachable!() };
    let harm = format!(
        "DELETE FROM heads WHERE shop_id = '{}';
         DELETE FROM shop_keys WHERE shop_id = '{}';
         ALTER TABLE events DISABLE TRIGGER USER;
         UPDATE events SET payload = '{{\"ShopRegistered\": 1}}' WHERE shop_id = '{}';
         ALTER TABLE events ENABLE TRIGGER USER",
        without_log.id, without_key.id, unreadable.id
    );
    superuser.execute(harm.as_str()).await.unwrap();
    let findings = Findings::on(&database);
    findings.assert("trouble", "shops", &without_log.domain, "restore");
    findings.assert("trouble", "shops", &without_key.domain, "restore");
    findings.assert("trouble", "shops", &format!("cannot be read, of {}", unreadable.domain), "ecomdash verify");
    findings.assert("good", "keys", "of 1 shops", "");

    let operator = ecomdash_tests::issue_token(&store, None, api::Role::Operator, None).await.unwrap();
    let asked =
        ecomdash_tests::client().get(format!("{}/api/shops", server.url)).bearer_auth(operator.secret.expose_secret());
    let page: Value = asked.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
    let named = |what: &str| -> Vec<&str> {
        page[what].as_array().unwrap().iter().map(|shop| shop["domain"].as_str().unwrap()).collect()
    };
    assert_eq!(named("items").len() + named("unreadable").len(), 4, "{page}");
    assert!(named("items").contains(&&*whole.domain));
    assert!(named("unreadable").contains(&&*without_log.domain), "{page}");
    assert!(named("unreadable").contains(&&*unreadable.domain), "{page}");
    let (status, _) = unreadable.get(&format!("/api/shops/{}", unreadable.domain)).await;
    assert_eq!(status, 500);
}

/// What is the server's, on one that nobody else uses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_what_is_wrong_with_the_server_its_roles_and_its_clock() {
    let folder = free_folder();
    let cluster = Cluster::own(&folder);
    let database = TestDatabase::on(&cluster).await;
    let mut superuser = database.superuser().await;
    for (harm, undo, verdict, what, finding, fix) in [
        (
            // Since PostgreSQL 16, a role is granted to its maker, on which depends what the maker grants.
            "REVOKE ecomdash_app FROM ecomdash_owner CASCADE",
            "GRANT ecomdash_app TO ecomdash_owner",
            "trouble",
            "rights",
            "may not become",
            "GRANT ecomdash_app",
        ),
        (
            "ALTER ROLE ecomdash_app BYPASSRLS",
            "ALTER ROLE ecomdash_app NOBYPASSRLS",
            "trouble",
            "rights",
            "passes row-level security",
            "NOBYPASSRLS",
        ),
        (
            "ALTER ROLE ecomdash_owner CONNECTION LIMIT 12",
            "ALTER ROLE ecomdash_owner CONNECTION LIMIT -1",
            "trouble",
            "connections",
            "of 12 of the login",
            "DATABASE_POOL_SIZE",
        ),
    ] {
        with(&database, &mut superuser, harm, undo).await.assert(verdict, what, finding, fix);
    }

    // Those of others count, too.
    let mut others = Vec::new();
    while let Ok(other) = PgConnection::connect(&database.superuser_url).await {
        others.push(other);
        if others.len() == 43 {
            break;
        }
    }
    Findings::on(&database).assert("warning", "connections", "in use", "pg_stat_activity");
    drop(others);

    // Rows that nobody has counted, and an index that only knows how many there are.
    superuser
        .execute(
            "INSERT INTO events
             SELECT '00000000-0000-7000-8000-000000000001', n, now(), 'order', n, 1, 'OrderPlaced', '1',
                    json_build_object('text', repeat('x', 500)), '{}', sha256('')
             FROM generate_series(1, 3000) n;
             CREATE INDEX counted ON events (recorded_at)",
        )
        .await
        .unwrap();
    until("the server has counted", async || {
        number(&mut superuser, "SELECT n_mod_since_analyze FROM pg_stat_user_tables WHERE relname = 'events'").await
            >= 3000
    })
    .await;
    Findings::on(&database).assert("warning", "statistics", "knows nothing", "ANALYZE");
    superuser.execute("ANALYZE events").await.unwrap();
    until("the server knows", async || !Findings::on(&database).all.iter().any(|found| found["what"] == "statistics"))
        .await;

    if let Some(mut ahead) = with_clock(&database, &[("FAKETIME", "-1h")], &[]) {
        Findings::of(&mut ahead, &[]).assert("warning", "clock", "differs from this machine's by 3", "time server");
    }

    let latin = "CREATE DATABASE latin OWNER ecomdash_owner ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0";
    superuser.execute(latin).await.unwrap();
    let mut elsewhere = command_on(&database);
    elsewhere.env("DATABASE_URL", database.url.replace(&database.name, "latin"));
    Findings::of(&mut elsewhere, &[]).assert("trouble", "server", "SQL_ASCII", "UTF8");

    // It follows another from here on.
    let data: String = sqlx::query_scalar("SHOW data_directory").fetch_one(&mut superuser).await.unwrap();
    superuser.execute("COPY (SELECT 1 WHERE false) TO PROGRAM 'touch standby.signal'").await.unwrap();
    drop(superuser);
    cluster.restart(Signal::INT, Path::new(&data));
    Findings::on(&database).assert("trouble", "server", "standby", "primary");
    drop(cluster);
    std::fs::remove_dir_all(folder).unwrap();
}

/// The API is behind TLS wherever it is deployed.
#[test]
fn it_asks_an_api_over_tls() {
    let data = free_folder();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let mut first = [0];
        listener.accept().unwrap().0.read_exact(&mut first).unwrap();
        first[0]
    });
    let mut command = bare_command(&data);
    command.env("ENCRYPTION_KEYS", "none").env("DATABASE_URL", "postgres://a:b@127.0.0.1:1/c");
    Findings::of(&mut command, &["--url", &url]).assert("trouble", "api", "does not answer", "PORT");
    assert_eq!(asked.join().unwrap(), 0x16, "a handshake");
    std::fs::remove_dir_all(data).unwrap();
}

#[test]
fn it_makes_nothing_where_nothing_is() {
    let folder = free_folder();
    let data = folder.join("data");
    Findings::of(&mut bare_command(&data), &[]).assert("trouble", "database", "no private database", "DATABASE_URL");
    let mut command = bare_command(&data);
    command.env("DATABASE_URL", "postgres://a:b@127.0.0.1:1/c");
    Findings::of(&mut command, &[]).assert("trouble", "settings", "none was made", "set it");
    assert!(!data.exists());
    std::fs::remove_dir_all(folder).unwrap();
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
    away.env("ENCRYPTION_KEYS", "not-a-key");
    away.env("REDIS_URL", "redis://127.0.0.1:1").env("DATABASE_URL", "postgres://a:b@127.0.0.1:1/c");
    Findings::of(&mut away, &[]).assert("warning", "redis", "does not answer", "REDIS_URL");
    std::fs::remove_dir_all(data).unwrap();
}
