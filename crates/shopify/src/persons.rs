//! Whom a body is about, read off its shape: for bodies that are to be found again when somebody is erased.

use std::collections::BTreeSet;

use domain::{
    Subject,
    ids::{CustomerId, OrderId},
};
use serde_json::Value;

use crate::ORDER_DOCUMENT;

/// The customers and orders that a body names, at whatever depth, whether or not anything is made of them.
#[must_use]
pub fn persons(topic: &str, body: &Value) -> BTreeSet<Subject> {
    let mut found = BTreeSet::new();
    let of = |id: Option<u64>, subject: fn(u64) -> Subject| id.map(subject);
    match topic.split('/').next() {
        Some("orders" | "order") => found.extend(of(number(&body["id"]), order)),
        Some("customers" | "customer") => found.extend(of(number(&body["id"]), customer)),
        _ => {}
    }
    collect(body, &mut found);
    found
}

/// Whether bodies of a topic are orders.
#[must_use]
pub fn is_of_order(topic: &str) -> bool {
    topic.starts_with("orders/") || topic == ORDER_DOCUMENT
}

/// The order that a body is of, and the customer whom it names as the buyer.
#[must_use]
pub fn buyer_of(topic: &str, body: &Value) -> Option<(OrderId, CustomerId)> {
    let order = is_of_order(topic).then(|| number(&body["id"])).flatten()?;
    Some((OrderId(order), CustomerId(number(&body["customer"]["id"])?)))
}

/// What a body that is no JSON says, without JSON's escapes.
#[must_use]
pub fn text_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let (mut units, mut rest) = (Vec::with_capacity(text.len()), &*text);
    while let Some(first) = rest.chars().next() {
        let escaped = rest.strip_prefix("\\u").and_then(|digits| u16::from_str_radix(digits.get(..4)?, 16).ok());
        let length = if escaped.is_some() { "\\u0000".len() } else { first.len_utf8() };
        rest = &rest[length..];
        match (escaped, first) {
            (Some(unit), _) => units.push(unit),
            (None, '\\') => {
                // As the value has it that is looked for.
                if let Some((char, behind)) = rest.chars().next().and_then(|char| Some((control(char)?, &rest[1..]))) {
                    units.push(char);
                    rest = behind;
                }
            }
            (None, _) => units.extend_from_slice(first.encode_utf16(&mut [0; 2])),
        }
    }
    String::from_utf16_lossy(&units)
}

fn control(escape: char) -> Option<u16> {
    Some(match escape {
        'n' => 0x0a,
        'r' => 0x0d,
        't' => 0x09,
        _ => return None,
    })
}

/// The customers and orders that a text could be about: every number in it may be one's, and Shopify's are so long that hardly
/// another one is. So it is for bodies that nothing else can be told of.
#[must_use]
pub fn persons_in_text(text: &str) -> BTreeSet<Subject> {
    /// More than any order has.
    const MOST: usize = 100_000;
    let mut numbers: BTreeSet<u64> = BTreeSet::new();
    for digits in text.split(|char: char| !char.is_ascii_digit()) {
        numbers.extend(digits.parse::<u64>());
        if numbers.len() == MOST {
            break;
        }
    }
    numbers.into_iter().flat_map(|id| [customer(id), order(id)]).collect()
}

fn customer(id: u64) -> Subject {
    Subject::Customer(CustomerId(id))
}

fn order(id: u64) -> Subject {
    Subject::Order(OrderId(id))
}

fn collect(value: &Value, found: &mut BTreeSet<Subject>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match name.as_str() {
                    "customer_id" => found.extend(number(value).map(customer)),
                    "customer" => found.extend(number(&value["id"]).map(customer)),
                    "order_id" => found.extend(number(value).map(order)),
                    "orders_to_redact" | "orders_requested" => {
                        found.extend(value.as_array().into_iter().flatten().filter_map(number).map(order));
                    }
                    _ => {}
                }
                collect(value, found);
            }
        }
        Value::Array(members) => members.iter().for_each(|member| collect(member, found)),
        Value::String(text) => {
            if let Some(id) = text.strip_prefix("gid://shopify/Customer/") {
                found.extend(id.parse().ok().map(customer));
            } else if let Some(id) = text.strip_prefix("gid://shopify/Order/") {
                found.extend(id.parse().ok().map(order));
            }
        }
        _ => {}
    }
}

/// Ids come as numbers, as digits in a text, or as global ids.
fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.rsplit('/').next()?.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_order_s_body_says_who_bought() {
        let (order, customer) = (OrderId(7), CustomerId(42));
        let webhook = json!({ "id": 7, "customer": { "id": 42 } });
        let document = json!({ "id": "gid://shopify/Order/7", "customer": { "id": "gid://shopify/Customer/42" } });
        assert_eq!(buyer_of("orders/updated", &webhook), Some((order, customer)));
        assert_eq!(buyer_of(ORDER_DOCUMENT, &document), Some((order, customer)));
        assert_eq!(buyer_of("orders/updated", &json!({ "id": 7, "customer": null })), None);
        assert_eq!(buyer_of("checkouts/create", &webhook), None);
    }

    #[test]
    fn a_body_names_whom_it_is_about_in_any_of_shopify_s_ways() {
        let of = |topic: &str, body: Value| -> Vec<String> {
            persons(topic, &body).iter().map(Subject::to_string).collect()
        };
        assert_eq!(of("orders/create", json!({"id": 7, "customer": {"id": 42}})), ["customer:42", "order:7"]);
        assert_eq!(of("refunds/create", json!({"id": 9, "order_id": "7"})), ["order:7"]);
        assert_eq!(of("customers/update", json!({"id": 42, "note": "x"})), ["customer:42"]);
        assert_eq!(
            of("customers/redact", json!({"customer": {"id": 42}, "orders_to_redact": [7, 8]})),
            ["customer:42", "order:7", "order:8"]
        );
        let merge = json!({"admin_graphql_api_customer_kept_id": "gid://shopify/Customer/1",
                           "admin_graphql_api_customer_deleted_id": "gid://shopify/Customer/2"});
        assert_eq!(of("customers/merge", merge), ["customer:1", "customer:2"]);
        let document = json!({"id": "gid://shopify/Order/7", "customer": {"id": "gid://shopify/Customer/42"}});
        assert_eq!(of("admin/order", document), ["customer:42", "order:7"]);
        assert!(of("products/update", json!({"id": 1, "title": "gid"})).is_empty());
    }

    #[test]
    fn what_is_no_json_can_be_read_and_may_be_about_any_number_in_it() {
        let text =
            text_of(br#"{"id": 7, "name": "\u0417\u0435\ud83d\ude00\/\"x\"\n\t", "gid://shopify/Customer/42 \u00"#);
        assert_eq!(text, "{\"id\": 7, \"name\": \"Зе😀/\"x\"\n\t\", \"gid://shopify/Customer/42 u00");
        let named: Vec<String> = persons_in_text(&text).iter().map(Subject::to_string).collect();
        assert_eq!(named, ["customer:0", "customer:7", "customer:42", "order:0", "order:7", "order:42"]);
    }
}
