//! The document of the surface says what the surface does: methods, answers, and what a fuzzer finds. Roles are in `roles.rs`.

use std::{collections::BTreeMap, path::PathBuf, process::Command, time::Duration};

use api::Role;
use domain::{
    Subject,
    export::{ExportCommand, ExportRequest},
    ids::CustomerId,
    redaction::RedactionCommand,
};
use ecomdash_tests::{
    Ecomdash, SECRET, Shop, TestDatabase,
    bodies::{line, order},
    free_folder,
    surface::{ROLES, document, operations},
    until,
};
use event_store::Database;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

const METRICS_TOKEN: &str = "the-token-of-whoever-collects";

struct World {
    _database: TestDatabase,
    store: Database,
    server: Ecomdash,
    ours: Shop,
    /// By what is to be done with each, as JSON.
    redactions: String,
    /// The id of one that can be fetched.
    export: String,
    /// The id of one for which somebody has to choose.
    several: String,
    /// The id of an auditor's token, and of a grant that it has.
    auditor: String,
    grant: String,
}

/// Asks for the erasure of somebody who never bought. With a hold on one of them, each stays one that can be confirmed, but what is
/// held cannot be cancelled.
async fn redaction(store: &Database, shop: &Shop, is_held: bool) -> String {
    let mut tx = store.begin(shop.id).await.unwrap();
    let ask = compliance::Ask {
        whom: compliance::Whom::Customer(CustomerId(99)),
        reason: "case 11".parse().unwrap(),
        by: "ann".to_owned(),
        at: chrono::Utc::now(),
        hold: chrono::TimeDelta::days(1),
        all: false,
    };
    let compliance::Answer::Asked { id, .. } = compliance::ask(&mut tx, ask).await.unwrap() else { panic!("asked") };
    if is_held {
        let (reason, by) = ("tax audit".to_owned(), "ann".to_owned());
        let hold = RedactionCommand::Hold { reason, by, at: chrono::Utc::now() };
        compliance::act(&mut tx, &id, hold, "ann").await.unwrap();
    }
    tx.commit().await.unwrap();
    id
}

/// Asks for what is kept of somebody whom nobody erases, and waits until it can be fetched.
async fn export(store: &Database, shop: &Shop) -> String {
    let mut tx = store.begin(shop.id).await.unwrap();
    let whom = compliance::Whom::Customer(CustomerId(98));
    let reason = "case 12".parse().unwrap();
    let asked = compliance::ask_export(&mut tx, &whom, &reason, "ann", chrono::Utc::now()).await.unwrap();
    let compliance::ExportAnswer::Asked(id) = asked else { panic!("asked") };
    tx.commit().await.unwrap();
    until("it can be fetched", async || {
        let export: domain::export::Export = store.begin(shop.id).await.unwrap().load(&id).await.unwrap();
        export.built.is_some()
    })
    .await;
    id
}

/// Asks for what is kept of one of two, of whom somebody has to choose.
async fn several(store: &Database, shop: &Shop) -> String {
    let request = ExportRequest {
        subjects: Vec::new(),
        reason: "customers/data_request".to_owned(),
        by: "webhook".to_owned(),
        at: chrono::Utc::now(),
        request: None,
        several: [96, 97].map(|id| Subject::Customer(CustomerId(id))).to_vec(),
    };
    let mut tx = store.begin(shop.id).await.unwrap();
    compliance::act_on_export(&mut tx, "several", ExportCommand::Request(request), "webhook").await.unwrap();
    tx.commit().await.unwrap();
    "several".to_owned()
}

async fn world() -> World {
    let database = TestDatabase::new().await;
    let unlimited = [("RATE_LIMIT_PER_CLIENT", "0"), ("RATE_LIMIT_PER_SHOP", "0"), ("RATE_LIMIT_FORGED", "0")];
    let environment: Vec<_> = unlimited.into_iter().chain([("METRICS_TOKEN", METRICS_TOKEN)]).collect();
    let server = Ecomdash::start(&["up", "--port", "0"], &database, &environment);
    let store = database.open();
    let ours = Shop::register(&store, &server.url, "America/New_York", "USD").await;
    let theirs = Shop::register(&store, &server.url, "Asia/Tokyo", "JPY").await;
    for (shop, first) in [(&ours, 1), (&theirs, 7001)] {
        for id in first..first + 5 {
            let body = order(id, "2026-11-10T12:00:00Z", vec![line(id, "10.00", 2).tax("1.00", "0.05")]).0;
            assert_eq!(shop.deliver("orders/create", &body).await, 200);
        }
        shop.stats("2026-11-10", "2026-11-10").await;
    }
    let [confirm, cancel, hold] = [
        redaction(&store, &ours, true).await,
        redaction(&store, &ours, false).await,
        redaction(&store, &ours, true).await,
    ];
    let redactions = json!({ "confirm": confirm, "cancel": cancel, "hold": hold, "release": hold }).to_string();
    let (export, several) = (export(&store, &ours).await, several(&store, &ours).await);
    let auditor = ecomdash_tests::issue_token(&store, Some(ours.id), Role::Auditor, None).await.unwrap().id;
    let mut tx = store.begin(ours.id).await.unwrap();
    let reason = "audit of 2026".parse().unwrap();
    let grant = compliance::grant::issue(&mut tx, auditor, &reason, 1, "ann", chrono::Utc::now()).await.unwrap();
    tx.commit().await.unwrap();
    World { _database: database, store, server, ours, redactions, export, several, auditor: auditor.to_string(), grant }
}

async fn token(world: &World, role: Role) -> String {
    let shop = (role != Role::Operator).then_some(world.ours.id);
    let token = ecomdash_tests::issue_token(&world.store, shop, role, None).await.unwrap();
    token.secret.expose_secret().to_owned()
}

#[test]
fn the_document_is_the_committed_one() {
    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    if std::env::var_os("WRITE_OPENAPI").is_some() {
        std::fs::write(FILE, api::document()).unwrap();
    }
    assert!(
        std::fs::read_to_string(FILE).unwrap() == api::document(),
        "the surface is not what docs/openapi.json says. If that is meant, run\n\
         WRITE_OPENAPI=1 cargo test -p ecomdash-tests --test openapi document_is\nand commit the file"
    );
}

#[test]
fn no_two_operations_have_one_name() {
    let mut names = BTreeMap::new();
    for operation in operations() {
        let name = operation.value["operationId"].as_str().expect("a name").to_owned();
        assert_eq!(names.insert(name, operation.name()), None, "{}", operation.name());
    }
}

#[tokio::test]
async fn other_methods_are_refused_with_the_ones_there_are() {
    let world = world().await;
    let client = ecomdash_tests::client();
    let mut methods: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for operation in operations() {
        methods.entry(operation.path.clone()).or_default().push(operation.method.to_string());
    }
    for (path, mut expected) in methods {
        if expected.iter().any(|method| method == "GET") {
            expected.push("HEAD".to_owned());
        }
        expected.sort();
        let path = path.replace("{domain}", "example.myshopify.com").replace(['{', '}'], "");
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            // A browser asks beforehand, and is answered for every path of the API.
            let is_preflight = method == Method::OPTIONS && path.starts_with("/api/");
            if is_preflight || expected.contains(&method.to_string()) {
                continue;
            }
            let answer = client.request(method.clone(), format!("{}{path}", world.server.url)).send().await.unwrap();
            assert_eq!(answer.status(), 405, "{method} {path}");
            let allowed = answer.headers()["allow"].to_str().unwrap();
            let mut allowed: Vec<&str> = allowed.split(',').map(str::trim).collect();
            allowed.sort_unstable();
            assert_eq!(allowed, expected, "{method} {path}");
            assert_eq!(answer.headers()["content-type"], "application/problem+json", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn odd_parameters_are_refused_and_odd_deliveries_kept() {
    let world = world().await;
    let client = ecomdash_tests::client();
    let token = token(&world, Role::Merchant).await;
    let long = "9".repeat(4000);
    for (path, expected) in [
        ("/api/orders?limit=-1", 400),
        ("/api/orders?limit=0", 400),
        ("/api/orders?limit=251", 400),
        ("/api/orders?limit=1.0", 400),
        ("/api/orders?limit=", 400),
        (&format!("/api/orders?limit={long}"), 400),
        (&format!("/api/orders?cursor={long}"), 400),
        ("/api/orders?cursor=%00", 400),
        ("/api/orders?cursor=%FF", 400),
        ("/api/orders?limit=1&limit=2", 400),
        ("/api/orders?&&=&x", 200),
        ("/api/orders?limit=%31", 200),
        ("/api/dashboard/stats?from=2026-11-01%00", 400),
        ("/api/dashboard/stats?from=2026-11-01&from=2026-11-02", 400),
        ("/api/dashboard/stats?from=-2026-11-01", 400),
        ("/api/dashboard/stats?from=9998-12-31&to=9998-12-31", 200),
        ("/api/dashboard/series", 400),
        ("/api/dashboard/series?metric=gross_sales%00", 400),
        ("/api/dashboard/series?metric=gross_sales&granularity=Day", 400),
        ("/api/dashboard/series?metric=gross_sales&granularity=hour&from=2026-01-01&to=2026-12-31", 400),
        ("/api/shops/%FF", 400),
        ("/api/shops/%00", 404),
        ("/api/shops/", 404),
        ("/api/shops/a%2F..%2Fb", 404),
    ] {
        let request = client.get(format!("{}{path}", world.server.url)).bearer_auth(&token);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), expected, "{path}");
        let problem = answer.headers()["content-type"] == "application/problem+json";
        assert_eq!(problem, expected >= 400, "{path}");
    }
    // Whatever is signed is kept: a refusal would make Shopify send it again for ever.
    let triggered_at = |at: &'static str| ("X-Shopify-Triggered-At", at);
    for (path, (header, value)) in [
        ("/webhooks/orders%00_create", ("X-Odd", "1")),
        ("/webhooks/%FF", ("X-Odd", "1")),
        (&format!("/webhooks/{long}"), ("X-Odd", "1")),
        ("/webhooks", triggered_at("-200000-01-01T00:00:00Z")),
        ("/webhooks", triggered_at("+262000-01-01T00:00:00Z")),
        ("/webhooks", ("X-Shopify-Shop-Domain", "http://a.myshopify.com/../")),
    ] {
        let request = client.post(format!("{}{path}", world.server.url)).header(header, value);
        let signature = shopify::signature::sign(b"{}", SECRET.as_bytes());
        let answer = request.header("X-Shopify-Hmac-Sha256", signature).body("{}").send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path} {header}: {value}");
    }
}

/// What a page or a style sheet would load: the values of `src`, `href` and `url(…)`.
fn loaded(text: &str) -> Vec<&str> {
    let attributes = ["src=\"", "href=\""].into_iter().flat_map(|name| text.split(name).skip(1));
    let values = attributes.filter_map(|rest| rest.split('"').next());
    let styles = text.split("url(").skip(1).filter_map(|rest| rest.split(')').next());
    values.chain(styles.map(|value| value.trim_matches(['"', '\'']))).collect()
}

#[tokio::test]
async fn the_page_of_the_document_loads_nothing_from_elsewhere() {
    let world = world().await;
    let get =
        async |path: &str| ecomdash_tests::client().get(format!("{}{path}", world.server.url)).send().await.unwrap();
    let served: Value = get("/openapi.json").await.json().await.unwrap();
    assert_eq!(served, document());
    for page in ["/", "/docs", "/docs/"] {
        let answer = get(page).await;
        assert_eq!(answer.status(), 200);
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("http"), "{policy}");
        let text = answer.text().await.unwrap();
        let files = loaded(&text).into_iter().filter(|file| !file.starts_with("data:"));
        let files: Vec<&str> = files.filter(|file| !file.is_empty()).collect();
        assert!(files.len() >= 4, "{text}");
        for file in files {
            assert!(file.starts_with('/') && !file.starts_with("//"), "{file} is elsewhere");
            let answer = get(file).await;
            assert_eq!(answer.status(), 200, "{file}");
            if file.ends_with(".css") {
                let text = answer.text().await.unwrap();
                assert!(loaded(&text).iter().all(|url| url.starts_with("data:")), "{file}: {:?}", loaded(&text));
            }
        }
    }
    let configuration = get("/docs/docs.js").await.text().await.unwrap();
    assert!(!configuration.contains("://"), "{configuration}");
    for missing in [
        "/home/none",
        "/home/index.html",
        "/docs/none",
        "/docs/..%2findex.html",
        "/docs/%00",
        "/docs/swagger-ui.css.map",
    ] {
        assert_eq!(get(missing).await.status(), 404, "{missing}");
    }
}

/// The fuzzer's folder, that `bin/test` makes.
fn schemathesis() -> Option<PathBuf> {
    let exe = std::env::current_exe().expect("a test is a program");
    let beside = exe.ancestors().map(|folder| folder.join("schemathesis")).find(|folder| folder.is_dir());
    let folder = std::env::var_os("ECOMDASH_SCHEMATHESIS").map(PathBuf::from).or(beside);
    let complete = folder.filter(|folder| folder.join("installed").is_file());
    let program = complete.map(|folder| folder.join("bin/st"));
    if program.is_none() {
        ecomdash_tests::looked_at_nothing("schemathesis is absent");
    }
    program
}

const SEED: u64 = 20_261_124;
/// Of each operation, beside those that its parameters' bounds give.
const EXAMPLES: u32 = 12;

/// Runs it as one role; what it asked and was answered, as method, path and status.
async fn fuzz(program: &PathBuf, world: &World, role: Role, seed: u64) -> Vec<(String, String, u16)> {
    let folder = free_folder();
    let (_, page) = world.ours.get("/api/orders?limit=1").await;
    let record = folder.join("record");
    std::fs::write(folder.join("openapi.json"), api::document()).unwrap();
    eprintln!("{role:?}: seed {seed}");
    let output = Command::new(program)
        // From a file: it leaves out the operation that it has the document from.
        .args(["run", "openapi.json", "--url", &world.server.url, "--checks", "all"])
        .args(["--seed", &seed.to_string(), "--max-examples", &EXAMPLES.to_string()])
        .args(["--continue-on-failure", "--no-color"])
        .args(["--generation-database", "none", "--request-timeout", "20", "--suppress-health-check", "all"])
        .args(["-H", &format!("Authorization: Bearer {}", token(world, role).await)])
        .current_dir(&folder)
        .env("SCHEMATHESIS_HOOKS", concat!(env!("CARGO_MANIFEST_DIR"), "/schemathesis/hooks.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("FUZZ_RECORD", &record)
        .env("FUZZ_SECRET", SECRET)
        .env("FUZZ_METRICS_TOKEN", METRICS_TOKEN)
        .env("FUZZ_DOMAIN", &world.ours.domain)
        .env("FUZZ_REDACTIONS", &world.redactions)
        .env("FUZZ_EXPORT", &world.export)
        .env("FUZZ_SEVERAL", &world.several)
        .env("FUZZ_AUDITOR", &world.auditor)
        .env("FUZZ_GRANT", &world.grant)
        .env("FUZZ_CURSOR", page["next_cursor"].as_str().unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "as {role:?}:\n{said}");
    let record = std::fs::read_to_string(record).expect("the hooks record each answer");
    std::fs::remove_dir_all(folder).unwrap();
    let answer = |line: &str| {
        let [method, path, status] = line.split(' ').collect::<Vec<_>>().try_into().expect("three words");
        (method.to_owned(), path.to_owned(), status.parse().expect("a status"))
    };
    record.lines().map(answer).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fuzzer_finds_no_fault_and_reaches_every_operation_as_every_role() {
    let Some(program) = schemathesis() else { return };
    let world = world().await;
    let mut examples = 0;
    for (role, seed) in ROLES.into_iter().zip(SEED..) {
        let answers = fuzz(&program, &world, role, seed).await;
        examples += answers.len();
        for operation in operations() {
            let of_it = answers.iter().filter(|(method, path, _)| operation.name() == format!("{method} {path}"));
            let statuses: Vec<u16> = of_it.map(|(_, _, status)| *status).collect();
            let good = statuses.iter().filter(|status| (200..300).contains(*status)).count();
            let roles = operation.roles();
            let meant = roles.is_empty() || roles.contains(&role.as_str());
            assert_eq!(good > 0, meant, "{} was answered {statuses:?} as {role:?}", operation.name());
        }
        let faults: Vec<_> = answers.iter().filter(|(_, _, status)| *status >= 500).collect();
        assert!(faults.is_empty(), "{faults:?}");
    }
    eprintln!("{examples} examples");
    assert!(examples >= 2000, "only {examples} examples");
    // What it delivered is worked on, and nothing of it holds up the shop.
    tokio::time::timeout(Duration::from_secs(60), world.ours.stats("2026-11-10", "2026-11-10")).await.unwrap();
    let log = world.server.log();
    assert!(!log.contains("panicked") && !log.contains("request failed"), "{log}");
}
