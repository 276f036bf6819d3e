//! Odd bodies, signed and delivered: none stops a shop, none is lost, and each is read or dead for a reason that shows
//! nothing of what is in it.

use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    bodies::{line, order},
    run,
};
use serde_json::{Value, json};

const AT: &str = "2026-11-01T12:00:00Z";

/// What it is called, its bytes, and what the reason of its death begins with; `None` where it is read.
type Odd = (&'static str, Vec<u8>, Option<&'static str>);

fn plain(id: u64) -> Value {
    order(id, AT, vec![line(id, "10.00", 1)]).0
}

fn with(id: u64, path: &str, value: Value) -> Vec<u8> {
    let mut body = plain(id);
    match path.split_once('/') {
        Some((list, field)) => body[list][0][field] = value,
        None => body[path] = value,
    }
    body.to_string().into_bytes()
}

fn odd_bodies() -> Vec<Odd> {
    let text = |id| plain(id).to_string();
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let inserted = |id, field: &str| text(id).replacen('{', &format!("{{{field},"), 1).into_bytes();
    let mut invalid = text(20).replace("USD\"", "USD\",\"note\":\"@\"").into_bytes();
    let at = invalid.iter().position(|byte| *byte == b'@').unwrap();
    invalid[at] = 0xff;
    let mut crowded = plain(21);
    let cheap = |id: u64| json!({ "id": id, "price": "0.01", "quantity": 1 });
    crowded["line_items"] = Value::Array((1..=60_000).map(cheap).collect());
    vec![
        ("a customer that is null", with(1, "customer", Value::Null), None),
        ("a product that is null", with(2, "line_items/product_id", Value::Null), None),
        ("no lines", with(3, "line_items", json!([])), None),
        ("lines that are null", with(4, "line_items", Value::Null), None),
        ("numbers as strings", with(5, "line_items/quantity", json!("1")), None),
        ("amounts as numbers", with(6, "line_items/price", json!(10.0)), None),
        ("the greatest id", with(7, "id", json!(u64::MAX)), None),
        (
            "an id beyond that",
            text(8).replace("\"id\":8", "\"id\":18446744073709551616").into(),
            Some("the body has no usable"),
        ),
        ("a key that is there twice", inserted(9, "\"name\":\"#a\""), Some("the body is not what the topic promises")),
        ("an unknown key that is there twice", inserted(10, "\"odd\":1,\"odd\":2"), None),
        ("a byte-order mark", [b"\xef\xbb\xbf", text(11).as_bytes()].concat(), None),
        ("invalid UTF-8", invalid, Some("the body is not what the topic promises")),
        ("2,000 levels in a field that is not read", inserted(13, &format!("\"odd\":{}", nested(2000))), None),
        (
            "2,000 levels in one that is",
            inserted(14, &format!("\"note_attributes\":{}", nested(2000))),
            Some("the body is not"),
        ),
        ("2,000 levels and nothing else", nested(2000).into(), Some("the body is not what the topic promises")),
        (
            "a number of 5,000 digits",
            with(16, "total_price", json!("9".repeat(5000))),
            Some("`total_price` cannot be read"),
        ),
        ("an enumeration that is new", with(17, "financial_status", json!("on_the_moon")), None),
        ("a line with an absurd quantity", with(18, "line_items/quantity", json!(1e18)), Some("`line_items.quantity`")),
        ("no body at all", Vec::new(), Some("the body is not what the topic promises")),
        ("60,000 lines", crowded.to_string().into_bytes(), None),
    ]
}

#[tokio::test]
async fn odd_bodies_are_read_or_dead_and_never_stop_a_shop() {
    let database = TestDatabase::new().await;
    let server = Ecomdash::start(&["up", "--port", "0"], &database, &[]);
    let shop = Shop::register(&database.open(), &server.url, "UTC", "USD").await;
    let odd = odd_bodies();
    for (number, (name, body, _)) in odd.iter().enumerate() {
        assert!(body.len() <= 5 * 1024 * 1024, "{name}: {} bytes", body.len());
        let answer = shop.try_deliver_bytes("orders/create", body.clone(), &format!("odd-{number}")).await.unwrap();
        assert_eq!(answer.status(), 200, "{name}");
    }
    // What comes behind them is not held up, nor is the shop.
    assert_eq!(shop.deliver("orders/create", &plain(1000)).await, 200);
    let read = odd.iter().filter(|(_, _, death)| death.is_none()).count();
    // All but those two have lines that count.
    let orders = i64::try_from(read + 1 - 2).unwrap();
    assert_eq!(shop.metrics("2026-11-01", "2026-11-01").await.get("orders"), Some(orders));

    let (ok, list) = run(&database, &["inbox", "list", "--shop", &shop.domain, "--json"]);
    assert!(ok, "{list}");
    let items: Vec<Value> = list.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (number, (name, _, death)) in odd.iter().enumerate() {
        let item = items.iter().find(|item| item["webhook_id"] == format!("odd-{number}")).expect(name);
        let (status, reason) = (item["status"].as_str().unwrap(), item["reason"].as_str().unwrap_or_default());
        match death {
            None => assert_eq!((status, reason), ("translated", ""), "{name}"),
            Some(begins) => assert!(status == "dead" && reason.starts_with(begins), "{name}: {status} {reason}"),
        }
    }

    // Driven again, whatever it was: nothing has an effect twice.
    let before = shop.stats("2026-11-01", "2026-11-01").await;
    for status in ["translated", "dead"] {
        let (ok, text) = run(&database, &["inbox", "retry", "--shop", &shop.domain, "--status", status]);
        assert!(ok && !text.starts_with('0'), "{text}");
    }
    let after = shop.stats("2026-11-01", "2026-11-01").await;
    assert_eq!((&before["metrics"], &before["as_of_position"]), (&after["metrics"], &after["as_of_position"]));
}
