//! No personal value is readable in the database: what comes in by webhook is sealed in inbox, log and read models.

use base64::{Engine, engine::general_purpose::STANDARD};
use ecomdash_tests::{
    Ecomdash, SECRET, Shop, TestDatabase,
    bodies::{line, order, refund},
    canaries::Canaries,
    command_on,
};
use serde_json::json;

/// One for every field that can be personal.
const PLANTED: [&str; 30] = [
    "Zebedee",
    "Quillfeather",
    "zebedee.q@planted.example",
    "contact.q@planted.example",
    "+1 555 010 7788",
    "77 Plantation Mews",
    "Cabbageville",
    "98.51.100.77",
    "please ring twice",
    "Gift wrap for Ottoline",
    "vip-zebedee",
    "Engraving: Ottoline",
    "zebedee-SAVE@planted.example",
    "Custom cape for Ottoline",
    "arrived in tatters",
    "Ottoline asked for it",
    "Owner Quimby",
    "owner.q@planted.example",
    "Quimby Road 9",
    "authenticate?key=plantedkey",
    "Company of Zebedee",
    "utm_content=ottoline",
    "Cellar of Quimby",
    "Quimby's Ottoman",
    "SKU-OTTOMAN",
    "OTTOLINE10@planted.example",
    "merged.q@planted.example",
    "likes Ottomans",
    "parcel to Ottoline",
    "98 765 432 10",
];

async fn world() -> (TestDatabase, Ecomdash, Shop) {
    let database = TestDatabase::new().await;
    let server = Ecomdash::start(&["up", "--port", "0"], &database, &[("LOG_LEVEL", "trace")]);
    let shop = Shop::register(&database.open(), &server.url, "UTC", "USD").await;
    let address = json!({ "first_name": "Zebedee", "last_name": "Quillfeather", "name": "Zebedee Quillfeather",
        "address1": "77 Plantation Mews", "city": "Cabbageville", "company": "Company of Zebedee",
        "phone": "+1 555 010 7788", "country_code": "US", "province_code": "IL" });
    let custom = line(2, "5.00", 1)
        .with("product_id", json!(null))
        .with("title", json!("Custom cape for Ottoline"))
        .with("properties", json!([{ "name": "text", "value": "Engraving: Ottoline" }]));
    let body = order(1, "2026-11-01T12:00:00Z", vec![line(1, "10.00", 1), custom])
        .code("zebedee-SAVE@planted.example")
        .with("email", json!("zebedee.q@planted.example"))
        .with("contact_email", json!("contact.q@planted.example"))
        .with("phone", json!("+1 555 010 7788"))
        .with("browser_ip", json!("98.51.100.77"))
        .with("note", json!("please ring twice"))
        .with("note_attributes", json!([{ "name": "wrap", "value": "Gift wrap for Ottoline" }]))
        .with("tags", json!("vip-zebedee"))
        .with("landing_site", json!("/x?utm_source=mail&utm_content=ottoline"))
        .with("order_status_url", json!("https://shop.example/orders/authenticate?key=plantedkey"))
        .with("customer", json!({ "id": 7, "first_name": "Zebedee", "last_name": "Quillfeather" }))
        .with("shipping_address", address.clone())
        .with("billing_address", address);
    let refund = refund(1, 1, "2026-11-02T12:00:00Z")
        .line(1, 1, "10.00", "0.00", "return")
        .with("note", json!("arrived in tatters"));
    let edited = json!({ "order_edit": { "id": 1, "order_id": 1, "committed_at": "2026-11-02T13:00:00Z",
        "staff_note": "Ottoline asked for it", "line_items": { "additions": [], "removals": [] } } });
    let owner = json!({ "id": 1, "name": "Shop", "shop_owner": "Owner Quimby", "email": "owner.q@planted.example",
        "address1": "Quimby Road 9", "updated_at": "2026-11-01T00:00:00Z", "iana_timezone": "UTC" });
    let customer = json!({ "id": 7, "first_name": "Zebedee", "last_name": "Quillfeather",
        "email": "zebedee.q@planted.example", "phone": "98 765 432 10", "note": "likes Ottomans", "tags": "vip-zebedee",
        "default_address": { "address1": "77 Plantation Mews", "country_code": "US" } });
    let product = json!({ "id": 1, "title": "Quimby's Ottoman", "vendor": "Company of Zebedee",
        "variants": [{ "id": 1, "title": "Gift wrap for Ottoline", "sku": "SKU-OTTOMAN", "price": "1.00" }] });
    let discount = json!({ "admin_graphql_api_id": "gid://shopify/DiscountCodeNode/1", "status": "ACTIVE",
        "title": "OTTOLINE10@planted.example" });
    let buyers = |name: &str| {
        json!({ "id": 1, "name": name, "email": "zebedee.q@planted.example", "note": "please ring twice",
            "customer": { "id": 7, "first_name": "Zebedee" }, "shipping_address": { "address1": "77 Plantation Mews" } })
    };
    let parcel = json!({ "id": 1, "order_id": 1, "status": "success", "tracking_company": "UPS",
        "tracking_number": "parcel to Ottoline", "destination": { "name": "Zebedee Quillfeather" } });
    let request = json!({ "shop_domain": shop.domain, "data_request": { "id": 1 },
        "customer": { "id": 7, "email": "merged.q@planted.example", "phone": "98 765 432 10" } });
    for (topic, body) in [
        ("orders/create", &body.0),
        ("refunds/create", &refund.0),
        ("orders/edited", &edited),
        ("shop/update", &owner),
        ("carts/update", &body.0),
        ("customers/update", &customer),
        ("products/update", &product),
        ("inventory_items/update", &json!({ "id": 1, "sku": "SKU-OTTOMAN", "tracked": true })),
        ("locations/create", &json!({ "id": 1, "name": "Cellar of Quimby", "address1": "77 Plantation Mews" })),
        ("discounts/create", &discount),
        ("checkouts/create", &buyers("#1")),
        ("draft_orders/create", &buyers("#D1")),
        ("fulfillments/create", &parcel),
        ("customers/data_request", &request),
    ] {
        assert_eq!(shop.deliver(topic, body).await, 200);
    }
    // For a shop that nobody knows, and one that is no JSON: kept, too.
    let mut unknown = shop.at(&server.url);
    unknown.domain = "unknown.myshopify.com".into();
    assert_eq!(unknown.deliver("orders/create", &body.0).await, 200);
    let broken = format!("{} Zebedee", body.0);
    assert_eq!(shop.try_deliver("orders/create", &broken, "broken", None).await.unwrap().status(), 200);
    // What is shown has caught up: it is all in the log.
    assert_eq!(shop.metrics("2026-11-01", "2026-11-01").await.get("orders"), Some(1));
    (database, server, shop)
}

fn found(text: &str) -> Vec<&'static str> {
    let lower = text.to_lowercase();
    PLANTED.into_iter().filter(|value| lower.contains(&value.to_lowercase())).collect()
}

#[tokio::test]
async fn planted_values_are_in_no_table_no_log_and_no_answer() {
    let (database, mut server, shop) = world().await;
    let dump = database.dump();
    // The dump holds what it should, so that finding nothing means something.
    for event in [
        "OrderPlaced",
        "RefundIssued",
        "ShopUpdated",
        "CustomerUpdated",
        "ProductUpdated",
        "ItemUpdated",
        "LocationUpdated",
        "DiscountUpdated",
        "CheckoutUpdated",
        "DraftOrderUpdated",
        "FulfillmentUpdated",
        "ComplianceRequested",
    ] {
        assert!(dump.contains(event), "{event}");
    }
    assert_eq!(found(&dump), [""; 0], "in the clear in the database");
    // Bytea is dumped in hex: the same values in that spelling.
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let in_hex: Vec<_> = PLANTED.iter().filter(|value| dump.contains(&hex(value))).collect();
    assert!(in_hex.is_empty(), "in the clear in bytes: {in_hex:?}");

    for path in
        ["/api/orders", "/api/dashboard/stats?from=2026-11-01&to=2026-11-02", &format!("/api/shops/{}", shop.domain)]
    {
        assert_eq!(found(&shop.get(path).await.1.to_string()), [""; 0], "{path}");
    }
    server.terminate();
    let log = server.log();
    assert!(log.contains("request"), "the log is there");
    assert_eq!(found(&log), [""; 0], "in the log");
    // That it holds no secret, either, is looked at whenever a process of a test ends.
}

/// Secrets in every variable that takes one: they are in no table, no answer and no complaint.
#[tokio::test]
async fn r_88_secrets_are_in_no_dump_no_answer_and_no_complaint() {
    let (database, server, shop) = world().await;
    let canaries = Canaries::of([SECRET, &*database.encryption_keys, &*shop.token]);

    // A dump, as text; what is in bytes stands there in hex, which is one of the spellings.
    let dump = database.dump();
    assert!(dump.contains("INSERT INTO public.api_tokens"));
    assert_eq!(canaries.found_in(&dump), [""; 0], "in the database");

    // Answers, above all those that say what was wrong with something that holds a secret.
    let client = ecomdash_tests::client();
    let url = |path: &str| format!("{}{path}", server.url);
    let (token, named) = (&shop.token, format!("/api/{}", shop.token));
    let bearer = format!("Bearer {token}");
    let requests = [
        client.get(url("/health")),
        client.get(url("/health/ready")),
        client.get(url("/api/orders")).header("Authorization", &bearer),
        client.get(url("/api/orders?limit=x")).header("Authorization", &bearer),
        client.get(url(&format!("/api/orders?cursor={token}"))).header("Authorization", &bearer),
        client.get(url(&format!("/api/dashboard/stats?from={token}"))).header("Authorization", &bearer),
        client.get(url(&format!("/api/dashboard/series?metric={token}"))).header("Authorization", &bearer),
        client.get(url(&format!("/api/shops/{token}"))).header("Authorization", &bearer),
        client.get(url("/api/orders")).header("Authorization", format!("{bearer}x")),
        client.get(url("/api/orders")).header("Authorization", format!("Basic {token}")),
        client.get(url("/api/orders")).header("Authorization", &bearer).header("Authorization", &bearer),
        client.get(url(&named)),
        client.put(url("/webhooks")).header("X-Shopify-Hmac-Sha256", token).body(SECRET),
        client.post(url("/webhooks")).header("X-Shopify-Hmac-Sha256", token).body(SECRET),
        client.post(url(&format!("/webhooks/{token}"))).body(token.clone()),
    ];
    for request in requests {
        let answer = request.send().await.unwrap();
        let (head, body) = (format!("{answer:?}"), answer.text().await.unwrap());
        // The address is the client's own, not the answer.
        let head = head.split_once("headers").expect("they are there").1.to_owned();
        assert_eq!(canaries.found_in(&(head + &body)), [""; 0], "in an answer: {body}");
    }
    // A token in an address is not logged, either: `Ecomdash` looks when it ends.
    drop(server);

    // Settings that cannot be used: what is wrong is said, and not what it is.
    let password = "canary-of-a-wrong-setting-19c4";
    let unreachable = format!("postgres://login:{password}@127.0.0.1:1/x");
    let malformed = format!("postgres://login:{password}@[::1/x?sslmode=no");
    let odd_option = format!("{unreachable}?sslmode={password}");
    let short_key = STANDARD.encode(password);
    let keys = [password, &*short_key, &format!("{},{password}", database.encryption_keys)];
    let cases = ["DATABASE_URL"; 3].into_iter().zip([&*unreachable, &*malformed, &*odd_option]);
    let cases = cases.chain(["ENCRYPTION_KEYS"; 3].into_iter().zip(keys));
    for (variable, value) in cases.chain([("DATABASE_DIRECT_URL", &*unreachable)]) {
        for arguments in [&["migrate"][..], &["shop", "list"], &["--help"], &["serve", "--port", "x"], &["no-command"]]
        {
            let mut command = command_on(&database);
            let output = command.env("LOG_LEVEL", "trace").env(variable, value).args(arguments).output().unwrap();
            let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            let found = Canaries::of([password, SECRET, &*database.encryption_keys]).found_in(&text);
            assert!(found.is_empty(), "{variable} {arguments:?} shows {found:?}: {text}");
            assert!(!text.trim().is_empty(), "{variable} {arguments:?} says nothing");
        }
    }
}
