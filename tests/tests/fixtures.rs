//! Every one of Shopify's real bodies has the outcome that `fixtures.tsv` says: which events it becomes, or why it is
//! kept and not counted, or why it is dead. `WRITE_FIXTURES` writes the table anew.

use std::{collections::BTreeMap, path::Path};

use chrono::Utc;
use cqrs_es::{Aggregate, DomainEvent, event_sink::EventSink};
use domain::{
    Command, Currency, Money, PersonalFields,
    command::{Dispatch, Stored},
    ledger::sales_of,
    order::Order,
};
use ecomdash_tests::fixtures;
use futures::FutureExt;
use serde_json::Value;
use shopify::{Context, Translation, body_digest, translate};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures.tsv");

/// What a command tells an aggregate that knows nothing: the types of its events.
struct Told;

impl Dispatch for Told {
    type Output = Vec<String>;

    fn dispatch<A>(self, _: String, command: A::Command) -> Vec<String>
    where
        A: Aggregate<Services = ()> + 'static,
        A::Command: PersonalFields + Send + Sync + 'static,
        A::Event: Stored,
        A::Error: Send + Sync + 'static,
    {
        let sink = EventSink::<A>::default();
        A::default().handle(command, &(), &sink).now_or_never().unwrap().unwrap();
        sink.collect().now_or_never().unwrap().iter().map(DomainEvent::event_type).collect()
    }
}

fn outcome(topic: &str, body: &[u8]) -> String {
    // A shop's own body must be about the shop of its header.
    let named = serde_json::from_slice::<Value>(body).ok();
    let named = named.as_ref().and_then(|body| body["myshopify_domain"].as_str());
    let domain = named.unwrap_or("fixture.myshopify.com").parse().unwrap();
    let context = Context {
        topic,
        triggered_at: None,
        digest: body_digest(body),
        received_at: Utc::now(),
        domain: &domain,
        shopify_id: None,
        currency: "USD".parse().unwrap(),
    };
    match translate(&context, body) {
        Ok(Translation::Commands(commands)) => {
            let events: Vec<String> = commands.into_iter().flat_map(|command| command.dispatch(Told)).collect();
            events.join(" ")
        }
        Ok(Translation::Ignored(why)) => format!("ignored: {why}"),
        Err(error) => format!("dead: {error}"),
    }
}

/// `orders__create.some_case.json` is of the topic `orders/create`.
fn topic_of(file: &str) -> Option<String> {
    let is_topic = |name: &str| name.contains("__") && !file.starts_with("rest/");
    let name = file.rsplit('/').next().filter(|name| is_topic(name) && name.ends_with(".json"))?;
    let first_dot =
        if name.starts_with("customer.") { name.match_indices('.').nth(1)? } else { name.match_indices('.').next()? };
    Some(name[..first_dot.0].replace("__", "/"))
}

/// An answer of the REST API holds what a webhook's body is: under one key, or a list of such.
fn answered(json: &Value) -> Option<(&'static str, Vec<Value>)> {
    let (key, value) = json.as_object()?.iter().next()?;
    let topic = match key.trim_end_matches('s') {
        "order" => "orders/updated",
        "refund" => "refunds/create",
        "customer" => "customers/update",
        "product" => "products/update",
        "inventory_item" => "inventory_items/update",
        "inventory_level" => "inventory_levels/update",
        "location" => "locations/update",
        "fulfillment" => "fulfillments/update",
        "transaction" => "order_transactions/create",
        "draft_order" => "draft_orders/update",
        "checkout" => "checkouts/update",
        "shop" => "shop/update",
        _ => return None,
    };
    let bodies = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    // What a payout is made of, and a refund that is only being thought of, belong to no order.
    let of_an_order = !matches!(topic, "refunds/create" | "order_transactions/create");
    (of_an_order || bodies.iter().any(|body| body.get("order_id").is_some())).then_some((topic, bodies))
}

/// How a file is read, and what became of what is in it.
fn account_for(file: &str, bytes: &[u8]) -> (String, String) {
    if let Some(topic) = topic_of(file) {
        let text = String::from_utf8_lossy(bytes).replace("{shop}", "fixture");
        return (topic.clone(), outcome(&topic, text.as_bytes()));
    }
    if !file.starts_with("rest/") {
        return ("-".to_owned(), "no delivery".to_owned());
    }
    let Ok(json) = serde_json::from_slice::<Value>(bytes) else {
        return ("orders/updated".to_owned(), outcome("orders/updated", bytes));
    };
    let Some((topic, bodies)) = answered(&json) else {
        return ("-".to_owned(), "an answer of which there is no webhook that is read".to_owned());
    };
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for body in &bodies {
        *outcomes.entry(outcome(topic, body.to_string().as_bytes())).or_default() += 1;
    }
    let outcomes: Vec<String> = outcomes.into_iter().map(|(outcome, count)| format!("{count} × {outcome}")).collect();
    (topic.to_owned(), if outcomes.is_empty() { "an empty list".to_owned() } else { outcomes.join("; ") })
}

fn files(folder: &Path, within: &Path, into: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => files(&entry.path(), within, into),
            false => into.push(entry.path().strip_prefix(within).unwrap().to_string_lossy().into_owned()),
        }
    }
}

#[test]
fn every_fixture_is_accounted_for() {
    let Some(folder) = fixtures() else { return };
    let mut names = Vec::new();
    files(&folder, &folder, &mut names);
    names.sort();
    let mut table = String::new();
    for name in &names {
        let (read_as, outcome) = account_for(name, &std::fs::read(folder.join(name)).unwrap());
        table.push_str(&format!("{name}\t{read_as}\t{outcome}\n"));
    }
    if std::env::var_os("WRITE_FIXTURES").is_some() {
        std::fs::write(TABLE, &table).unwrap();
    }
    let expected = std::fs::read_to_string(TABLE).expect("the table is committed");
    for (found, expected) in table.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(table.lines().count(), expected.lines().count());
    assert!(names.len() >= 375, "only {} files were there", names.len());
}

/// Of the newest version, all that sales, customers and stock depend on is read.
#[test]
fn everything_that_counts_is_read() {
    let table = std::fs::read_to_string(TABLE).expect("the table is committed");
    // Their bodies are no orders: an assessment, a decision about insurance.
    let no_orders = ["orders/risk_assessment_changed", "orders/shopify_protect_eligibility_changed"];
    let counts = ["orders/", "refunds/", "customers/", "products/", "inventory_", "fulfillments/"];
    let mut read = 0;
    for row in table.lines().filter(|row| row.starts_with("webhooks/2026-07/")) {
        let [_, topic, outcome] = *row.split('\t').collect::<Vec<_>>() else { panic!("not three columns: {row}") };
        if counts.iter().any(|family| topic.starts_with(family)) && !no_orders.contains(&topic) {
            assert!(!outcome.is_empty() && !outcome.starts_with("ignored") && !outcome.starts_with("dead"), "{row}");
            read += 1;
        }
    }
    assert!(read >= 30, "only {read} bodies");
}

/// What the ledger makes of an order as it was placed, and of all that was given back since; minor units.
fn totals(body: &Value) -> Option<(i64, i64, i64)> {
    let context = Context {
        topic: "orders/updated",
        triggered_at: None,
        digest: body_digest(body.to_string().as_bytes()),
        received_at: Utc::now(),
        domain: &"fixture.myshopify.com".parse().unwrap(),
        shopify_id: None,
        currency: "USD".parse().unwrap(),
    };
    let Ok(Translation::Commands(commands)) = translate(&context, body.to_string().as_bytes()) else { return None };
    let mut order = Order::default();
    for command in commands {
        let Command::Order(_, command) = command else { return None };
        order.handle(command, &(), &EventSink::default()).now_or_never()?.unwrap();
    }
    // The documentation's test orders are counted here: that they do not count is another matter.
    order.terms.as_mut()?.test = false;
    let (mut placed, mut back, mut discounts) = (0, 0, 0);
    for (row, amounts) in sales_of(&order) {
        let total = amounts.net_minor + amounts.tax_minor;
        match row.is_reversal {
            true => back -= total,
            false => placed += total,
        }
        if !row.is_reversal {
            discounts += amounts.discount_minor;
        }
    }
    Some((placed, back, discounts))
}

/// The ledger's total of an order is the body's own `total_price`, which no figure reads.
#[test]
fn totals_of_orders_reconcile_with_their_bodies() {
    let Some(folder) = fixtures() else { return };
    let mut names = Vec::new();
    files(&folder, &folder, &mut names);
    names.sort();
    let (mut exact, mut explained) = (0, 0);
    for name in names {
        let is_order = topic_of(&name).is_some_and(|topic| topic.starts_with("orders/"));
        let is_answer = name.starts_with("rest/2026-07/order");
        if !(is_order && (name.starts_with("derived/") || name.starts_with("webhooks/2026-07/")) || is_answer) {
            continue;
        }
        let Ok(json) = serde_json::from_slice::<Value>(&std::fs::read(folder.join(&name)).unwrap()) else { continue };
        let bodies = if is_answer { answered(&json).map_or(Vec::new(), |(_, bodies)| bodies) } else { vec![json] };
        for body in bodies.into_iter().filter(|body| body["line_items"].is_array() && body["total_price"].is_string()) {
            let currency: Currency = body["currency"].as_str().unwrap().parse().unwrap();
            let own = |key: &str| Money::parse(body[key].as_str().unwrap_or("0"), currency).unwrap().minor;
            let Some((placed, back, discounts)) = totals(&body) else { panic!("{name} is not read") };
            // The documentation's samples were made by hand: a discount in the total that no line has a share of.
            let not_shared_out = own("total_discounts") - discounts;
            if placed == own("total_price") {
                exact += 1;
                assert!(back <= placed, "{name}: more was given back than sold");
            } else {
                assert_eq!(placed - not_shared_out, own("total_price"), "{name}");
                explained += 1;
            }
        }
    }
    assert!(
        exact >= 20 && explained <= 7,
        "{exact} to the cent, {explained} but for discounts that no line has a share of"
    );
}
