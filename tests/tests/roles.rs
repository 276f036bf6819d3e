//! Who may call what: every role, and whoever has no good token, at every operation of the document. What is expected follows from
//! the document, so that an operation which is added is tried as well.

use api::Role;
use chrono::TimeDelta;
use domain::ShopId;
use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    bodies::{line, order},
    run,
    surface::{Operation, ROLES, operations},
};
use event_store::Database;
use read_models::metrics::METRICS;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

/// Operations that take no token. Webhooks are signed, and `/metrics` has a token of its own.
const PUBLIC: [&str; 11] = [
    "GET /",
    "GET /docs",
    "GET /docs/",
    "GET /docs/{file}",
    "GET /health",
    "GET /health/ready",
    "GET /home/{file}",
    "GET /metrics",
    "GET /openapi.json",
    "POST /webhooks",
    "POST /webhooks/{topic}",
];

/// What nobody who runs the service is to see.
const AMOUNT: &str = "987.65";
const PERSON: [&str; 3] = ["Zebedee", "Quillfeather", "zebedee.q@planted.example"];

struct World {
    database: TestDatabase,
    store: Database,
    server: Ecomdash,
    ours: Shop,
    theirs: Shop,
}

async fn world() -> World {
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    let store = database.open();
    let ours = Shop::register(&store, &server.url, "UTC", "USD").await;
    let theirs = Shop::register(&store, &server.url, "UTC", "USD").await;
    let body = order(1, "2026-11-10T12:00:00Z", vec![line(1, AMOUNT, 1)])
        .with("email", json!(PERSON[2]))
        .with("customer", json!({ "id": 42, "first_name": PERSON[0], "last_name": PERSON[1] }));
    for topic in ["orders/create", "orders/unread"] {
        assert_eq!(ours.deliver(topic, &body.0).await, 200);
    }
    assert_eq!(ours.deliver("orders/updated", &json!({ "id": PERSON[2], "note": PERSON[0] })).await, 200);
    ours.stats("2026-11-10", "2026-11-10").await;
    World { database, store, server, ours, theirs }
}

impl World {
    async fn token(&self, shop: ShopId, role: Role, ttl: Option<TimeDelta>) -> (uuid::Uuid, String) {
        let shop = (role != Role::Operator).then_some(shop);
        let issued = ecomdash_tests::issue_token(&self.store, shop, role, ttl).await.unwrap();
        (issued.id, issued.secret.expose_secret().to_owned())
    }

    /// The answer to an operation about our shop, which is one that the document names.
    async fn ask(&self, operation: &Operation, token: Option<&str>) -> (u16, String) {
        let client = ecomdash_tests::client();
        let request = operation.request(&client, &self.server.url, &[("domain", &self.ours.domain)]);
        let answer = token.into_iter().fold(request, |request, token| request.bearer_auth(token)).send().await.unwrap();
        let status = answer.status().as_u16();
        let documented = operation.value["responses"].as_object().unwrap();
        assert!(documented.contains_key(&status.to_string()), "{}: {status}", operation.name());
        (status, answer.text().await.unwrap())
    }
}

/// Tokens of one role.
struct Tokens {
    role: Role,
    good: String,
    expired: String,
    revoked: String,
    /// Of the same role in another shop; operators have none.
    theirs: Option<String>,
}

async fn tokens(world: &World) -> Vec<Tokens> {
    let mut all = Vec::new();
    for role in ROLES {
        let (_, good) = world.token(world.ours.id, role, None).await;
        let (_, expired) = world.token(world.ours.id, role, Some(TimeDelta::seconds(-1))).await;
        let (id, revoked) = world.token(world.ours.id, role, None).await;
        assert!(api::revoke(&world.store, id, ecomdash_tests::said()).await.unwrap());
        let theirs = match role {
            Role::Operator => None,
            _ => Some(world.token(world.theirs.id, role, None).await.1),
        };
        all.push(Tokens { role, good, expired, revoked, theirs });
    }
    all
}

#[tokio::test]
async fn every_operation_answers_the_roles_that_its_document_names_and_nobody_else() {
    let world = world().await;
    let tokens = tokens(&world).await;
    let (mut public, mut cells) = (Vec::new(), 0);
    for operation in operations() {
        let (name, roles) = (operation.name(), operation.roles());
        if roles.is_empty() {
            world.ask(&operation, None).await;
            public.push(name);
            continue;
        }
        for token in [None, Some("ecd_nobody"), Some("")] {
            assert_eq!(world.ask(&operation, token).await.0, 401, "{name} with {token:?}");
            cells += 1;
        }
        for Tokens { role, good, expired, revoked, theirs } in &tokens {
            let is_named = roles.contains(&role.as_str());
            for gone in [expired, revoked] {
                assert_eq!(world.ask(&operation, Some(gone)).await.0, 401, "{name} as one who was {role:?}");
            }
            let (status, _) = world.ask(&operation, Some(good)).await;
            assert_eq!((status == 403, status == 401), (!is_named, false), "{name} as {role:?}: {status}");
            // What a token may do it may in its own shop, and what it may not it may nowhere.
            if let Some(theirs) = theirs {
                let (status, text) = world.ask(&operation, Some(theirs)).await;
                assert_eq!((status == 403, status == 401), (!is_named, false), "{name} as their {role:?}: {status}");
                let is_about_ours = operation.path.contains("{domain}");
                assert!(!(is_about_ours && is_named) || status == 404, "{name} as their {role:?}: {status}");
                assert!(!text.contains(AMOUNT) && !text.contains(&world.ours.id.to_string()), "{name}: {text}");
            }
            cells += 4;
        }
        // What answers GET answers HEAD, to the same people.
        if operation.method == Method::GET {
            let head = Operation { method: Method::HEAD, ..operation.clone() };
            assert_eq!(world.ask(&head, None).await.0, 401, "HEAD of {name}");
            for Tokens { role, good, .. } in &tokens {
                let (status, _) = world.ask(&head, Some(good)).await;
                assert_eq!(status == 403, !roles.contains(&role.as_str()), "HEAD of {name} as {role:?}: {status}");
            }
        }
    }
    public.sort_unstable();
    assert_eq!(public, PUBLIC, "who is asked for no token: add to the list what is meant to be open to everybody");
    eprintln!("{cells} cells");
    assert!(cells >= 200, "{cells}");
}

/// The names of all members, at any depth.
fn members(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                found.push(name.clone());
                members(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| members(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn operators_see_no_figure_and_nothing_personal() {
    let world = world().await;
    let (_, operator) = world.token(world.ours.id, Role::Operator, None).await;
    let (_, merchant) = world.token(world.ours.id, Role::Merchant, None).await;
    let mut seen = 0;
    let mut figures = 0;
    for operation in operations().into_iter().filter(|operation| operation.method == Method::GET) {
        let roles = operation.roles();
        if roles.contains(&"merchant") {
            let (_, text) = world.ask(&operation, Some(&merchant)).await;
            figures += usize::from(text.contains(AMOUNT));
        }
        // What everybody may see an operator may, too.
        if !roles.is_empty() && !roles.contains(&"operator") {
            continue;
        }
        let (_, text) = world.ask(&operation, Some(&operator)).await;
        for planted in PERSON.into_iter().chain([AMOUNT]) {
            assert!(!text.contains(planted), "{} shows {planted} to operators", operation.name());
        }
        if roles.contains(&"operator") {
            seen += usize::from(text.contains(&world.ours.domain));
            let mut names = Vec::new();
            members(&serde_json::from_str(&text).unwrap(), &mut names);
            let of_figures = |name: &&String| *name == "amount" || METRICS.iter().any(|metric| metric.name == **name);
            assert_eq!(names.iter().find(of_figures), None, "{}", operation.name());
        }
    }
    assert!(seen >= 2, "an operator sees the shop itself");
    assert!(figures >= 1, "there is a figure to be seen");
}

#[tokio::test]
async fn a_revoked_token_is_refused_by_the_next_request_at_every_process() {
    let world = world().await;
    let beside = Ecomdash::start(&["serve", "--port", "0"], &world.database, &[]);
    // Connections that stay open, and whatever a process might remember.
    let client = ecomdash_tests::client();
    let ask = async |url: &str, token: &str| {
        let request = client.get(format!("{url}/api/shops")).bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    };
    for role in ROLES {
        let (id, token) = world.token(world.ours.id, role, None).await;
        for _ in 0..3 {
            for url in [&world.server.url, &beside.url] {
                assert_eq!(ask(url, &token).await, 200, "{role:?}");
            }
        }
        let (ok, text) = run(&world.database, &["token", "revoke", &id.to_string(), "--reason", "leaked"]);
        assert!(ok, "{text}");
        for url in [&world.server.url, &beside.url] {
            assert_eq!(ask(url, &token).await, 401, "{role:?}");
        }
    }
}
