//! What an auditor sees of a shop's log: all of it and nobody in it, but under a grant, whose every use is in the log itself.

use api::Role;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{order::Order, snapshot::Snapshot};
use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    bodies::{line, order, refund},
    client, command_on, run,
    system::{forget_peak, memory_kib, peak_kib},
    until,
};
use event_store::{Database, StoredEvent, events};
use futures::TryStreamExt;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use uuid::Uuid;

/// Personal values, each in a field of its own.
const PLANTED: [&str; 6] = [
    "Quillfeather",
    "zebedee.q@planted.example",
    "+1 555 010 7788",
    "77 Plantation Mews",
    "please ring twice",
    "arrived in tatters",
];

struct World {
    database: TestDatabase,
    store: Database,
    server: Ecomdash,
    shop: Shop,
    auditor: Token,
    compliance: Token,
}

struct Token {
    id: Uuid,
    secret: String,
    url: String,
}

impl Token {
    async fn issue(store: &Database, url: &str, shop: &Shop, role: Role) -> Self {
        let token = ecomdash_tests::issue_token(store, Some(shop.id), role, None).await.unwrap();
        Self { id: token.id, secret: token.secret.expose_secret().to_owned(), url: url.to_owned() }
    }

    async fn send(&self, path: &str) -> reqwest::Response {
        client().get(format!("{}{path}", self.url)).bearer_auth(&self.secret).send().await.unwrap()
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.send(path).await;
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn json(&self, path: &str) -> (u16, Value) {
        let (status, text) = self.get(path).await;
        (status, serde_json::from_str(&text).unwrap())
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let request = client().post(format!("{}{path}", self.url)).bearer_auth(&self.secret).json(&body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// The lines of the log that a query asks for.
    async fn lines(&self, query: &str) -> Vec<Value> {
        let (status, text) = self.get(&format!("/api/audit/events?{query}")).await;
        assert_eq!(status, 200, "{query}: {text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn positions(&self, query: &str) -> Vec<i64> {
        self.lines(query).await.iter().map(|line| line["position"].as_i64().unwrap()).collect()
    }

    /// Issues a grant to an auditor; its id.
    async fn grant(&self, auditor: &Self) -> String {
        let body = json!({ "token": auditor.id, "reason": "audit of 2026", "hours": 2 });
        let (status, grant) = self.post("/api/compliance/grants", body).await;
        assert_eq!((status, &grant["is_running"], &grant["uses"]), (201, &json!(true), &json!(0)), "{grant}");
        grant["id"].as_str().unwrap().to_owned()
    }
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let server = Ecomdash::up(&database);
        let store = database.open();
        let shop = Shop::register(&store, &server.url, "UTC", "USD").await;
        let auditor = Token::issue(&store, &server.url, &shop, Role::Auditor).await;
        let compliance = Token::issue(&store, &server.url, &shop, Role::Compliance).await;
        Self { database, store, server, shop, auditor, compliance }
    }

    async fn with_orders() -> Self {
        let world = Self::new().await;
        let customer = json!({ "id": 42, "first_name": "Zebedee", "last_name": "Quillfeather",
            "email": "zebedee.q@planted.example", "phone": "+1 555 010 7788", "updated_at": "2026-11-01T12:00:00Z" });
        let address = json!({ "address1": "77 Plantation Mews", "country_code": "US" });
        let placed = order(1, "2026-11-01T12:00:00Z", vec![line(1, "10.00", 1)])
            .with("customer", customer.clone())
            .with("note", json!("please ring twice"))
            .with("shipping_address", address);
        let refunded = refund(1, 1, "2026-11-02T12:00:00Z")
            .line(1, 1, "10.00", "0.00", "return")
            .with("note", json!("arrived in tatters"));
        let cancelled =
            placed.clone().updated("2026-11-03T12:00:00Z").with("cancelled_at", json!("2026-11-03T12:00:00Z"));
        let other = order(2, "2026-11-01T12:00:00Z", vec![line(2, "10.00", 1)]);
        let bodies = [
            ("orders/create", placed.0),
            ("customers/create", customer),
            ("refunds/create", refunded.0),
            ("orders/cancelled", cancelled.0),
            ("orders/create", other.0),
        ];
        for (topic, body) in bodies {
            assert_eq!(world.shop.deliver(topic, &body).await, 200, "{topic}");
            world.shop.stats("2026-11-01", "2026-11-01").await;
        }
        world
    }

    async fn log(&self) -> Vec<StoredEvent> {
        events(&self.store, self.shop.id, 0, i64::MAX).try_collect().await.unwrap()
    }

    /// What stands in the log of uses of grants.
    async fn uses(&self) -> Vec<Value> {
        let log = self.log().await;
        let used = log.iter().filter(|event| event.event_type == "GrantUsed");
        used.map(|event| json!({ "of": event.aggregate_id, "is": parsed(&event.payload)["GrantUsed"], "by": parsed(&event.metadata)["actor"] })).collect()
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn found_in(text: &str) -> Vec<&'static str> {
    PLANTED.into_iter().filter(|planted| text.contains(planted)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_answered_in_its_order_and_by_every_filter() {
    let world = World::with_orders().await;
    let auditor = &world.auditor;
    let log = world.log().await;
    let all = auditor.lines("").await;
    assert_eq!(all.len(), log.len());
    for (line, event) in all.iter().zip(&log) {
        assert_eq!(line["position"], event.position);
        assert_eq!(
            (&line["event_type"], &line["aggregate_id"]),
            (&json!(event.event_type), &json!(event.aggregate_id))
        );
        assert_eq!(line["metadata"], parsed(&event.metadata));
        assert_eq!(line["recorded_at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap(), event.recorded_at);
        let hash: String = event.hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((&line["hash"], &line["sequence"]), (&json!(hash), &json!(event.sequence)));
    }
    let which = |holds: &dyn Fn(&StoredEvent) -> bool| -> Vec<i64> {
        log.iter().filter(|event| holds(event)).map(|event| event.position).collect()
    };
    let (third, last) = (&log[2], log.last().unwrap().position);
    let instant = |event: &StoredEvent| event.recorded_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let cases: Vec<(String, Vec<i64>)> = vec![
        ("aggregate_type=order".into(), which(&|event| event.aggregate_type == "order")),
        (
            "aggregate_type=order&aggregate_id=1".into(),
            which(&|event| event.aggregate_type == "order" && event.aggregate_id == "1"),
        ),
        (
            "aggregate_type=order&aggregate_id=1&after=2&event_type=RefundIssued".into(),
            which(&|event| event.event_type == "RefundIssued"),
        ),
        ("event_type=RefundIssued".into(), which(&|event| event.event_type == "RefundIssued")),
        ("aggregate_type=shop&event_type=RefundIssued".into(), vec![]),
        ("after=3".into(), (4..=last).collect()),
        ("up_to=3".into(), vec![1, 2, 3]),
        ("after=1&up_to=4&limit=2".into(), vec![2, 3]),
        ("limit=1".into(), vec![1]),
        (format!("after={last}"), vec![]),
        ("up_to=0".into(), vec![]),
        (format!("from={}", instant(third)), (3..=last).collect()),
        (format!("to={}", instant(third)), vec![1, 2]),
        (format!("from={}&to={}", instant(third), instant(&log[4])), vec![3, 4]),
        ("from=9999-01-01T00:00:00Z".into(), vec![]),
        ("to=1970-01-01T00:00:00Z".into(), vec![]),
    ];
    for (query, expected) in &cases {
        assert_eq!(auditor.positions(query).await, *expected, "{query}");
    }
    assert!(cases[0].1.len() >= 4 && cases[1].1.len() == 3 && cases[2].1.len() == 1);
    for (query, status) in [
        ("aggregate_type=orders", 400),
        ("aggregate_id=1", 400),
        ("event_type=OrderLost", 400),
        ("after=-1", 400),
        ("limit=0", 400),
        ("from=yesterday", 400),
        ("personal=maybe", 400),
        ("aggregate_type=order&aggregate_id=77", 404),
        ("aggregate_type=order&aggregate_id=%00", 404),
    ] {
        assert_eq!(auditor.get(&format!("/api/audit/events?{query}")).await.0, status, "{query}");
    }
    // Another shop's auditor sees another log.
    let stranger = Shop::register(&world.store, &world.server.url, "UTC", "USD").await;
    let stranger = Token::issue(&world.store, &world.server.url, &stranger, Role::Auditor).await;
    assert_eq!(stranger.positions("").await, [1, 2], "the shop and a token");
    assert_eq!(stranger.get("/api/audit/events?aggregate_type=order&aggregate_id=1").await.0, 404);
    assert_eq!(stranger.get("/api/audit/aggregates/order/1").await.0, 404);

    // The command prints the very lines.
    let replay = |arguments: &[&str]| {
        let arguments = [&["replay", "--shop", &world.shop.domain], arguments].concat();
        let output = command_on(&world.database).args(&arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(replay(&[]), auditor.get("/api/audit/events").await.1);
    assert_eq!(replay(&["--as-of", "3"]), auditor.get("/api/audit/events?up_to=3").await.1);
    assert_eq!(replay(&["--as-of", &instant(third)]), auditor.get("/api/audit/events?up_to=3").await.1);
    assert_eq!(
        replay(&["--after", "2", "--aggregate-type", "order", "--aggregate-id", "1", "--limit", "1"]),
        auditor.get("/api/audit/events?after=2&aggregate_type=order&aggregate_id=1&limit=1").await.1
    );
    let (ok, text) = run(&world.database, &["replay", "--shop", &world.shop.domain, "--as-of", "soon"]);
    assert!(!ok && text.contains("neither an instant"), "{text}");
}

/// As the answers show it.
fn veiled(value: Value) -> Value {
    match value {
        Value::Object(members)
            if members.len() == 2 && members.contains_key("by") && members.contains_key("sealed") =>
        {
            json!("[sealed]")
        }
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, veiled(value))).collect(),
        Value::Array(members) => members.into_iter().map(veiled).collect(),
        other => other,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aggregate_s_state_after_any_event_is_what_its_events_make_of_it() {
    let world = World::with_orders().await;
    let auditor = &world.auditor;
    let log = world.log().await;
    let history: Vec<&StoredEvent> =
        log.iter().filter(|event| (&*event.aggregate_type, &*event.aggregate_id) == ("order", "1")).collect();
    assert_eq!(history.len(), 3);
    let mut state = Order::default();
    for event in &history {
        cqrs_es::Aggregate::apply(&mut state, event.decode::<<Order as cqrs_es::Aggregate>::Event>().unwrap());
        let sequence = event.sequence;
        let (status, shown) = auditor.json(&format!("/api/audit/aggregates/order/1?sequence={sequence}")).await;
        assert_eq!(status, 200, "{shown}");
        assert_eq!(shown["state"], veiled(serde_json::to_value(&state).unwrap()), "{sequence}");
        assert_eq!((&shown["as_of"]["position"], &shown["length"]), (&json!(event.position), &json!(3)));
        assert!(shown["state"].to_string().contains("[sealed]"));
    }
    let (_, shown) = auditor.json("/api/audit/aggregates/order/1").await;
    assert_eq!(shown["as_of"]["sequence"], 3);
    let types: Vec<&Value> = shown["events"].as_array().unwrap().iter().map(|event| &event["event_type"]).collect();
    assert_eq!(types, history.iter().map(|event| &event.event_type).collect::<Vec<_>>());
    let (_, page) = auditor.json("/api/audit/aggregates/order/1?after=1&limit=1").await;
    assert_eq!((&page["events"][0]["sequence"], &page["next_after"]), (&json!(2), &json!(2)), "{page}");
    let (_, page) = auditor.json("/api/audit/aggregates/order/1?after=2&limit=1").await;
    assert_eq!((&page["events"][0]["sequence"], &page["next_after"]), (&json!(3), &Value::Null), "{page}");
    for kind in ["shop/shop", "customer/42"] {
        assert_eq!(auditor.json(&format!("/api/audit/aggregates/{kind}")).await.0, 200, "{kind}");
    }
    for (path, status) in [
        ("order/1?sequence=4", 404),
        ("order/1?sequence=0", 400),
        ("order/1?limit=251", 400),
        ("order/77", 404),
        ("order/%00", 404),
        ("orders/1", 404),
    ] {
        assert_eq!(auditor.get(&format!("/api/audit/aggregates/{path}")).await.0, status, "{path}");
    }
    assert!(Order::SAMPLES.contains("OrderCancelled"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_seen_without_a_grant_and_who_sees_somebody_stands_in_the_log() {
    let world = World::with_orders().await;
    let (auditor, compliance) = (&world.auditor, &world.compliance);
    let surfaces = ["/api/audit/events", "/api/audit/aggregates/order/1", "/api/audit/aggregates/customer/42"];
    let see = async |by: &Token, surface: &str| by.get(&format!("{surface}?personal=true")).await;
    for surface in surfaces {
        let (status, text) = auditor.get(surface).await;
        assert_eq!((status, found_in(&text)), (200, vec![]), "{surface}");
        assert!(text.contains("[sealed]"), "{surface}: {text}");
        let (status, text) = see(auditor, surface).await;
        assert!(status == 403 && text.contains("this token has none that runs"), "{surface}: {text}");
    }
    assert!(world.uses().await.is_empty());
    let (ok, text) = run(&world.database, &["replay", "--shop", &world.shop.domain]);
    assert!(ok && found_in(&text).is_empty() && text.contains("[sealed]"), "{text}");

    // Compliance issues them, for a reason and a time, to an auditor of the shop.
    let merchant = Token::issue(&world.store, &world.server.url, &world.shop, Role::Merchant).await;
    let stranger = Shop::register(&world.store, &world.server.url, "UTC", "USD").await;
    let theirs = Token::issue(&world.store, &world.server.url, &stranger, Role::Auditor).await;
    let revoked = Token::issue(&world.store, &world.server.url, &world.shop, Role::Auditor).await;
    assert!(api::revoke(&world.store, revoked.id, ecomdash_tests::said()).await.unwrap());
    let ask = |token: Uuid, reason: &str, hours: i64| json!({ "token": token, "reason": reason, "hours": hours });
    for (body, status) in [
        (ask(auditor.id, "ask zebedee@planted.example", 1), 400),
        (ask(auditor.id, " ", 1), 400),
        (ask(auditor.id, "audit", 73), 400),
        (ask(auditor.id, "audit", 0), 400),
        (ask(auditor.id, "audit", -1), 400),
        (json!({ "token": auditor.id, "hours": 1 }), 400),
        (json!({ "token": auditor.id, "hours": 1, "reason": "audit", "until": "ever" }), 400),
        (ask(merchant.id, "audit", 1), 404),
        (ask(theirs.id, "audit", 1), 404),
        (ask(revoked.id, "audit", 1), 404),
        (ask(Uuid::nil(), "audit", 1), 404),
    ] {
        let (answered, problem) = compliance.post("/api/compliance/grants", body.clone()).await;
        assert_eq!(answered, status, "{body}: {problem}");
    }
    assert_eq!(auditor.post("/api/compliance/grants", ask(auditor.id, "audit", 1)).await.0, 403);
    let grant = compliance.grant(auditor).await;
    let other = Token::issue(&world.store, &world.server.url, &world.shop, Role::Auditor).await;
    for by in [&other, &theirs] {
        assert_eq!(see(by, "/api/audit/events").await.0, 403);
    }
    assert!(world.uses().await.is_empty());
    let head = world.log().await.len();
    let (status, text) = see(auditor, "/api/audit/events").await;
    assert_eq!((status, found_in(&text)), (200, PLANTED.to_vec()), "{text}");
    assert!(!text.contains("[sealed]"), "the shop's own values, too: {text}");
    assert_eq!(found_in(&see(auditor, "/api/audit/aggregates/order/1").await.1).len(), 5);
    assert_eq!(found_in(&see(auditor, "/api/audit/aggregates/customer/42").await.1).len(), 3);
    let query = "/api/audit/events?aggregate_type=order&aggregate_id=1&from=2026-01-01T00:00:00Z&personal=true";
    // Written down before anything is read of the answer.
    drop(auditor.send(query).await);
    let uses = world.uses().await;
    assert_eq!(uses.len(), 4, "{uses:?}");
    for used in &uses {
        assert_eq!((&used["of"], &used["by"]), (&json!(grant), &json!(format!("auditor {}", auditor.id))));
        assert_eq!(used["is"]["token"], json!(auditor.id));
    }
    assert_eq!(uses[0]["is"]["read"], json!({ "route": "/api/audit/events", "after": 0, "up_to": head }));
    let history = json!({ "route": "/api/audit/aggregates", "aggregate_type": "order", "aggregate_id": "1", "after": 0, "up_to": 3 });
    assert_eq!(uses[1]["is"]["read"], history);
    assert_eq!(uses[3]["is"]["read"]["from"], "2026-01-01T00:00:00Z");
    // Without asking for it, nobody is seen by whoever has a grant either.
    assert_eq!(found_in(&auditor.get("/api/audit/events").await.1), [""; 0]);
    let (_, list) = compliance.json("/api/compliance/grants").await;
    assert_eq!(
        (&list["items"][0]["uses"], &list["items"][0]["reason"]),
        (&json!(4), &json!("audit of 2026")),
        "{list}"
    );

    // It ends when it is taken back …
    let revoke = format!("/api/compliance/grants/{grant}/revoke");
    assert_eq!(auditor.post(&revoke, ecomdash_tests::why()).await.0, 403);
    let (status, ended) = compliance.post(&revoke, ecomdash_tests::why()).await;
    assert_eq!((status, &ended["is_running"]), (200, &json!(false)), "{ended}");
    assert_eq!(compliance.post("/api/compliance/grants/none/revoke", ecomdash_tests::why()).await.0, 404);
    for surface in surfaces {
        assert_eq!(see(auditor, surface).await.0, 403, "{surface}");
    }
    // … and when its time is over.
    let (issued_at, by) = (Utc::now() - TimeDelta::minutes(61), "ann");
    let mut tx = world.store.begin(world.shop.id).await.unwrap();
    compliance::grant::issue(&mut tx, auditor.id, &"audit".parse().unwrap(), 1, by, issued_at).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(see(auditor, "/api/audit/events").await.0, 403);
    assert_eq!(world.uses().await.len(), 4);

    // Who gives a command stands beside it.
    for line in auditor.lines("").await {
        let who = &line["metadata"]["actor"];
        assert!(line["metadata"]["source"] != "command" || who.is_string(), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_redacted_reads_so_everywhere_under_a_grant_too() {
    let world = World::with_orders().await;
    let (auditor, compliance) = (&world.auditor, &world.compliance);
    compliance.grant(auditor).await;
    let redact =
        ["redact", "customer", "--shop", &world.shop.domain, "--id", "42", "--reason", "case 12", "--now", "bob"];
    let (ok, text) = run(&world.database, &redact);
    assert!(ok, "{text}");
    until("it is certified", async || world.log().await.iter().any(|event| event.event_type == "RedactionCertified"))
        .await;
    for surface in ["/api/audit/events", "/api/audit/aggregates/order/1", "/api/audit/aggregates/customer/42"] {
        for query in ["", "?personal=true"] {
            let (status, text) = auditor.get(&format!("{surface}{query}")).await;
            assert_eq!((status, found_in(&text)), (200, vec![]), "{surface}{query}");
            assert!(text.contains("[redacted]"), "{surface}{query}: {text}");
        }
    }
    let (ok, text) = run(&world.database, &["replay", "--shop", &world.shop.domain]);
    assert!(ok && found_in(&text).is_empty() && text.contains("[redacted]"), "{text}");
    // Others are as before.
    let (_, text) = auditor.get("/api/audit/aggregates/order/2?personal=true").await;
    assert!(!text.contains("[redacted]") && text.contains("jane.doe@example.com"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_are_managed_from_the_command_line_and_listed_page_by_page() {
    let world = World::with_orders().await;
    let (auditor, compliance) = (&world.auditor, &world.compliance);
    let (domain, token) = (world.shop.domain.as_str(), auditor.id.to_string());
    let mut ids = Vec::new();
    for number in 0..3 {
        let reason = format!("case {number}");
        let issue = ["grant", "issue", "--shop", domain, "--token", &token, "--reason", &reason, "--by", "ann"];
        let (ok, text) = run(&world.database, &issue);
        assert!(ok, "{text}");
        let line = text.lines().find(|line| line.starts_with('{')).unwrap();
        let grant = parsed(line);
        assert_eq!((&grant["is_running"], &grant["issued"]["by"]), (&json!(true), &json!("ann")), "{grant}");
        ids.insert(0, grant["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(auditor.get("/api/audit/aggregates/order/1?personal=true").await.0, 200);
    let (ok, text) = run(&world.database, &["grant", "revoke", &ids[0], "--shop", domain, "--reason", "over"]);
    assert!(ok && text.contains("\"is_running\":false"), "{text}");
    let (ok, text) = run(&world.database, &["grant", "list", "--shop", domain]);
    let listed: Vec<Value> = text.lines().filter(|line| line.starts_with('{')).map(parsed).collect();
    assert!(ok && listed.iter().map(|grant| &grant["id"]).eq(ids.iter()), "{text}");
    let (ok, text) = run(&world.database, &["grant", "revoke", "none", "--shop", domain, "--reason", "over"]);
    assert!(!ok && text.contains("there is no such grant"), "{text}");
    let unknown = Uuid::nil().to_string();
    let (ok, text) = run(&world.database, &["grant", "issue", "--shop", domain, "--token", &unknown, "--reason", "x"]);
    assert!(!ok && text.contains("no good auditor's token"), "{text}");
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, page) = compliance.json(&format!("/api/compliance/grants?limit=2{cursor}")).await;
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ids);
    assert_eq!(compliance.get("/api/compliance/grants?limit=0").await.0, 400);
}

/// A log of so many events, of which those that are added are one and the same order's, and each says so much more: what is
/// answered does not look at the chain.
async fn lengthen(world: &World, events: i64, padding: usize) {
    let mut superuser = world.database.superuser().await;
    let sql = format!(
        "INSERT INTO events
         SELECT shop_id, n, recorded_at + n * interval '1 millisecond', aggregate_type, aggregate_id, n, event_type,
                event_version, jsonb_set(payload::jsonb, '{{padding}}', to_jsonb(repeat('x', {padding})))::json, metadata, hash
         FROM events, (SELECT position FROM heads WHERE shop_id = '{shop}') head,
              generate_series(head.position + 1, {events}) n
         WHERE shop_id = '{shop}' AND aggregate_type = 'order' AND aggregate_id = '1' AND sequence = 1;
         UPDATE heads SET position = {events} WHERE shop_id = '{shop}'",
        shop = world.shop.id,
    );
    sqlx::raw_sql(&sql).execute(&mut superuser).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_any_length_takes_no_more_memory_and_is_never_cut_unseen() {
    let world = World::with_orders().await;
    let (auditor, compliance, server) = (&world.auditor, &world.compliance, world.server.pid());
    lengthen(&world, 2_000, 0).await;
    auditor.lines("").await;
    let before = memory_kib(server).unwrap();
    // Many short events, and then some that are hundreds of times as long.
    for (events, padding, least) in [(40_000, 0, 30_000_000), (40_050, 500_000, 60_000_000)] {
        lengthen(&world, events, padding).await;
        forget_peak(server);
        let (mut lines, mut bytes) = (0, 0);
        let mut answer = auditor.send("/api/audit/events").await;
        assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
        while let Some(chunk) = answer.chunk().await.unwrap() {
            lines += chunk.iter().filter(|byte| **byte == b'\n').count();
            bytes += chunk.len();
        }
        assert_eq!(lines, usize::try_from(events).unwrap());
        let grown = (peak_kib(server).unwrap() - before) * 1024;
        eprintln!("{bytes} bytes, {grown} of memory");
        assert!(bytes > least && grown < 16_000_000, "{bytes} bytes took {grown}");
    }

    // A grant that is taken back ends what is being shown under it.
    let grant = compliance.grant(auditor).await;
    let mut answer = auditor.send("/api/audit/events?personal=true").await;
    assert!(answer.chunk().await.unwrap().is_some());
    assert_eq!(compliance.post(&format!("/api/compliance/grants/{grant}/revoke"), ecomdash_tests::why()).await.0, 200);
    let rest = async |mut answer: reqwest::Response| -> reqwest::Result<usize> {
        let mut bytes = 0;
        while let Some(chunk) = answer.chunk().await? {
            bytes += chunk.len();
        }
        Ok(bytes)
    };
    assert!(rest(answer).await.is_err(), "the client sees that it was cut");
    // Whatever fails in the middle, the client sees that it is the middle.
    let mut answer = auditor.send("/api/audit/events").await;
    assert!(answer.chunk().await.unwrap().is_some());
    let mut superuser = world.database.superuser().await;
    sqlx::raw_sql("ALTER TABLE events RENAME TO gone").execute(&mut superuser).await.unwrap();
    assert!(rest(answer).await.is_err(), "the client sees that it was cut");
    // And at the beginning it is a problem as any other.
    assert_eq!(auditor.get("/api/audit/events").await.0, 500);
    sqlx::raw_sql("ALTER TABLE gone RENAME TO events").execute(&mut superuser).await.unwrap();
    assert_eq!(auditor.positions("limit=1").await, [1]);
}

/// What a history of the log says, event by event.
async fn said(auditor: &Token, kind: &str, id: &str) -> Vec<(String, Value)> {
    let lines = auditor.lines(&format!("aggregate_type={kind}&aggregate_id={id}")).await;
    let of = |line: Value| {
        let name = line["event_type"].as_str().unwrap().to_owned();
        let says = line["payload"][&name].clone();
        (name, says)
    };
    lines.into_iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_let_whom_in_and_why_is_in_the_log() {
    let world = World::new().await;
    let auditor = &world.auditor;
    let domain = world.shop.domain.as_str();
    let issue = |role, more: &[&str]| {
        run(&world.database, &[&["token", "issue", "--shop", domain, "--role", role][..], more].concat())
    };
    for role in ["auditor", "compliance"] {
        let (ok, text) = issue(role, &[]);
        assert!(!ok && text.contains("--reason"), "{text}");
    }
    let (ok, text) = issue("merchant", &["--reason", "mail ann@example.com"]);
    assert!(!ok && text.contains("kept for ever"), "{text}");
    let newest = async || api::list(&world.store, Some(world.shop.id)).await.unwrap().remove(0);
    let (ok, text) = issue("auditor", &["--reason", "audit of 2026", "--by", "ann", "--ttl", "2h"]);
    assert!(ok, "{text}");
    let token = newest().await;
    let id = token.id.to_string();
    let (ok, text) = run(&world.database, &["token", "revoke", &id]);
    assert!(!ok && text.contains("--reason"), "{text}");
    for (by, reason) in [("bob", "the audit is over"), ("eve", "again")] {
        let (ok, text) = run(&world.database, &["token", "revoke", &id, "--by", by, "--reason", reason]);
        assert!(ok, "{text}");
    }
    let [(issued, of_issued), (revoked, of_revoked)] = &said(auditor, "token", &id).await[..] else { panic!("two") };
    assert_eq!((issued.as_str(), revoked.as_str()), ("TokenIssued", "TokenRevoked"));
    let fields = |says: &Value, names: &[&str]| -> Vec<String> {
        names.iter().map(|name| says[name].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(fields(of_issued, &["role", "by", "reason"]), ["auditor", "ann", "audit of 2026"]);
    let until = of_issued["until"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    assert_eq!(Some(until), token.expires_at);
    assert_eq!(fields(of_revoked, &["by", "reason"]), ["bob", "the audit is over"]);
    let (_, text) = run(&world.database, &["token", "list", "--shop", domain]);
    let line = text.lines().find(|line| line.starts_with(&id)).unwrap();
    for word in ["ann", "audit of 2026", "bob", "the audit is over"] {
        assert!(line.contains(word), "{text}");
    }
    // An operator's is of no shop's log, and is listed with the same.
    let of_operator = ["token", "issue", "--role", "operator", "--by", "ann", "--reason", "on call"];
    assert!(run(&world.database, &of_operator).0);
    let (_, text) = run(&world.database, &["token", "list"]);
    assert!(text.contains("ann") && text.contains("on call"), "{text}");

    // What keeps the log from growing keeps nobody in.
    let (_, text) = issue("merchant", &[]);
    let (secret, id) = (text.lines().last().unwrap().to_owned(), newest().await.id);
    let asks = async || {
        let url = format!("{}/api/dashboard/stats", world.server.url);
        client().get(url).bearer_auth(&secret).send().await.unwrap().status().as_u16()
    };
    assert_eq!(asks().await, 200);
    let mut log = world.store.begin(world.shop.id).await.unwrap();
    log.lock_log().await.unwrap();
    let store = world.store.clone();
    let revoking = tokio::spawn(async move { api::revoke(&store, id, ecomdash_tests::said()).await });
    ecomdash_tests::until("it ends while the log is held", async || asks().await == 401).await;
    assert!(!revoking.is_finished());
    log.rollback().await.unwrap();
    assert!(revoking.await.unwrap().unwrap());
    assert_eq!(said(auditor, "token", &id.to_string()).await.len(), 2);
    // What a crash kept from being recorded is recorded as it was; of what an earlier release did, nobody knows who did it.
    for (by, recorded) in [("'bob'", Some("bob")), ("NULL", None)] {
        let id = ecomdash_tests::issue_token(&world.store, Some(world.shop.id), Role::Auditor, None).await.unwrap().id;
        let sql = format!("UPDATE api_tokens SET revoked_at = now(), revoked_by = {by} WHERE token_id = '{id}'");
        sqlx::raw_sql(&sql).execute(&mut world.database.superuser().await).await.unwrap();
        let said_again = ["token", "revoke", &id.to_string(), "--by", "eve", "--reason", "again"];
        assert!(run(&world.database, &said_again).0);
        let events = said(auditor, "token", &id.to_string()).await;
        let revoked = events.iter().find(|(name, _)| name == "TokenRevoked").map(|(_, says)| says["by"].clone());
        assert_eq!(revoked.as_ref().and_then(Value::as_str), recorded);
    }
}

/// Also of somebody who asks by an address whether a person is known, and then for nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looked_whom_up_and_why_is_in_the_log() {
    let world = World::with_orders().await;
    let (auditor, compliance) = (&world.auditor, &world.compliance);
    let (redactions, exports) = ("/api/compliance/redactions", "/api/compliance/exports");
    let same_address = order(5, "2026-11-04T12:00:00Z", vec![line(9, "10.00", 1)])
        .with("email", json!("zebedee.q@planted.example"))
        .with("customer", json!({ "id": 50, "email": "zebedee.q@planted.example" }));
    assert_eq!(world.shop.deliver("orders/create", &same_address.0).await, 200);
    world.shop.stats("2026-11-01", "2026-11-01").await;
    let looks = async || auditor.lines("aggregate_type=lookup").await;
    assert_eq!(looks().await.len(), 0);

    let to_erase = |by: &str, value: &str, dry_run: bool| {
        let mut body = json!({ "kind": "customer", "reason": "case 31", "dry_run": dry_run });
        body[by] = json!(value);
        body
    };
    let to_tell = |by: &str, value: &str| {
        let mut body = json!({ "reason": "case 32" });
        body[by] = json!(value);
        body
    };
    let both = json!(["customer:42", "customer:50"]);
    let cases = [
        (redactions, to_erase("email", "zebedee.q@planted.example", true), 200, ("email", "redaction", both.clone())),
        (redactions, to_erase("email", "zebedee.q@planted.example", false), 200, ("email", "redaction", both.clone())),
        (redactions, to_erase("phone", "+49 30 5550199", false), 404, ("phone", "redaction", json!([]))),
        (redactions, to_erase("customer_id", "999", true), 200, ("customer", "redaction", json!(["customer:999"]))),
        (exports, to_tell("email", "zebedee.q@planted.example"), 200, ("email", "export", both)),
        (exports, to_tell("order_id", "999"), 404, ("order", "export", json!([]))),
    ];
    for (path, body, status, _) in &cases {
        assert_eq!(compliance.post(path, body.clone()).await.0, *status, "{body}");
    }
    let lines = looks().await;
    assert_eq!(lines.len(), cases.len());
    let handler = json!(format!("compliance {}", compliance.id));
    for (line, (_, body, _, (by_what, purpose, found))) in lines.iter().zip(&cases) {
        let look = &line["payload"]["PersonLookedUp"];
        assert_eq!(
            (&look["by_what"], &look["purpose"], &look["found"]),
            (&json!(by_what), &json!(purpose), found),
            "{line}"
        );
        assert_eq!((&look["reason"], &look["by"]), (&body["reason"], &handler), "{line}");
        assert_eq!(line["metadata"]["actor"], handler);
    }
    let redact = ["redact", "customer", "--shop", &world.shop.domain, "--reason", "case 33", "--by", "ann"];
    for (who, says) in [
        (&["--email", "zebedee.q@planted.example"][..], "several persons"),
        (&["--email", "zebedee.q@planted.example", "--dry-run"], "would_erase"),
        (&["--order", "999"], "nobody is known"),
        // And nobody is looked up for an answer that is not recorded.
        (&["--email", "zebedee.q@planted.example", "--now", "ann"], "another person"),
    ] {
        let (_, text) = run(&world.database, &[&redact[..], who].concat());
        assert!(text.contains(says), "{text}");
    }
    let lines = looks().await;
    let by_ann = lines.iter().filter(|line| line["payload"]["PersonLookedUp"]["by"] == "ann").count();
    assert_eq!((lines.len(), by_ann), (cases.len() + 3, 3), "{lines:?}");
    let text = format!("{lines:?}");
    assert!(!text.contains("planted.example") && !text.contains("5550199"), "by what they were looked for is not kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_decides_something_says_why() {
    let world = World::with_orders().await;
    let (auditor, compliance) = (&world.auditor, &world.compliance);
    let asked = json!({ "kind": "customer", "customer_id": "42", "reason": "case 31" });
    let (_, asked) = compliance.post("/api/compliance/redactions", asked).await;
    let id = asked["id"].as_str().unwrap();
    let path = |what: &str| format!("/api/compliance/redactions/{id}/{what}");
    let (_, grant) =
        compliance.post("/api/compliance/grants", json!({ "token": auditor.id, "reason": "audit", "hours": 1 })).await;
    let grant = grant["id"].as_str().unwrap();
    let revoke = format!("/api/compliance/grants/{grant}/revoke");
    for path in ["confirm", "cancel", "release", "hold"].map(path).iter().chain([&revoke]) {
        for body in [json!({ "reason": " " }), json!({ "reason": "ask ann@example.com" })] {
            assert_eq!(compliance.post(path, body).await.0, 400, "{path}");
        }
        assert!(matches!(compliance.post(path, json!({})).await.0, 400 | 422), "{path}");
    }
    let done = [("hold", "tax audit"), ("release", "the audit is over"), ("cancel", "taken back")];
    for (what, reason) in done {
        assert_eq!(compliance.post(&path(what), json!({ "reason": reason })).await.0, 200, "{what}");
    }
    assert_eq!(compliance.post(&revoke, json!({ "reason": "seen enough" })).await.0, 200);
    let reasons = async |kind: &str, id: &str| -> Vec<(String, String)> {
        let said = said(auditor, kind, id).await;
        said.into_iter().map(|(name, says)| (name, says["reason"].as_str().unwrap().to_owned())).collect()
    };
    let expected = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, reason)| ((*name).to_owned(), (*reason).to_owned())).collect()
    };
    let of_redaction = [
        ("RedactionRequested", "case 31"),
        ("RedactionHeld", "tax audit"),
        ("RedactionReleased", "the audit is over"),
        ("RedactionCancelled", "taken back"),
    ];
    assert_eq!(reasons("redaction", id).await, expected(&of_redaction));
    assert_eq!(reasons("grant", grant).await, expected(&[("GrantIssued", "audit"), ("GrantRevoked", "seen enough")]));
}
