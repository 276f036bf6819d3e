//! Bodies that are wrong in ways nobody thought of: real ones, changed at random, through all that is pure between a
//! delivery and a figure. Each is read or dead; none panics, takes long, or makes arrival matter.
//!
//! What ever failed is kept in `poison.tsv`, cut down to what it takes; those lines run first.

use std::{
    any::Any,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use domain::{
    Command, PersonalFields,
    command::{Dispatch, Stored},
    ledger::{Amounts, Sales, difference, sales_of},
    money::MAX_MINOR,
    order::Order,
};
use ecomdash_tests::{
    fixtures,
    random::{Made, history, rng, seed},
    system::{forget_peak, memory_kib, peak_kib},
};
use futures::FutureExt;
use rand::{RngExt, rngs::StdRng};
use serde_json::{Map, Value, json};
use shopify::{Context, Translation, translate};

const POISON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/poison.tsv");
const FOR: Duration = Duration::from_secs(6);
/// For one body, in a build without optimisation on a busy machine.
const LIMIT: Duration = Duration::from_secs(3);

fn commands(topic: &str, body: &[u8]) -> Vec<Command> {
    let domain = "fixture.myshopify.com".parse().unwrap();
    let received_at: DateTime<Utc> = "2026-11-01T12:00:00Z".parse().unwrap();
    let context = Context {
        topic,
        triggered_at: None,
        digest: shopify::body_digest(body),
        received_at,
        domain: &domain,
        shopify_id: None,
        currency: "USD".parse().unwrap(),
    };
    match translate(&context, body) {
        Ok(Translation::Commands(commands)) => commands,
        Ok(Translation::Ignored(_)) => vec![],
        Err(error) => {
            let reason = error.to_string();
            assert!(!reason.is_empty() && reason.len() < 1000, "a reason of {} bytes", reason.len());
            vec![]
        }
    }
}

/// Decides a command on an aggregate that knows nothing, and once more on what came of it: the second time tells nothing.
struct Twice(Command);

impl Dispatch for Twice {
    type Output = ();

    fn dispatch<A>(self, _: String, command: A::Command)
    where
        A: Aggregate<Services = ()> + 'static,
        A::Command: PersonalFields + Send + Sync + 'static,
        A::Event: Stored,
        A::Error: Send + Sync + 'static,
    {
        let mut state = A::default();
        decide(&mut state, command);
        assert_eq!(self.0.dispatch(Again(&mut state)), 0, "the same body tells something twice");
    }
}

/// Decides a command on this state, which is of its kind.
struct Again<'a>(&'a mut dyn Any);

impl Dispatch for Again<'_> {
    type Output = usize;

    fn dispatch<A>(self, _: String, command: A::Command) -> usize
    where
        A: Aggregate<Services = ()> + 'static,
        A::Command: PersonalFields + Send + Sync + 'static,
        A::Event: Stored,
        A::Error: Send + Sync + 'static,
    {
        decide(self.0.downcast_mut::<A>().expect("the same command is for the same kind"), command)
    }
}

fn decide<A: Aggregate<Services = ()>>(state: &mut A, command: A::Command) -> usize {
    let sink = EventSink::<A>::default();
    let _ = state.handle(command, &(), &sink).now_or_never().expect("a decision waits for nothing");
    sink.collect().now_or_never().expect("nor does what it tells").len()
}

fn sales_after(bodies: &[(&str, &[u8])]) -> BTreeMap<String, Sales> {
    let mut orders: BTreeMap<String, Order> = BTreeMap::new();
    let mut ledger: BTreeMap<String, Sales> = BTreeMap::new();
    for command in bodies.iter().flat_map(|(topic, body)| commands(topic, body)) {
        let Command::Order(id, command) = command else { continue };
        let order = orders.entry(id.to_string()).or_default();
        decide(order, command);
        let (known, now) = (ledger.entry(id.to_string()).or_default(), sales_of(order));
        let rows = difference(known, &now);
        assert_eq!(rows.is_empty(), *known == now, "a difference where there is none, or none where there is one");
        *known = now;
    }
    ledger
}

/// What one body says stays so small that years of such orders can be added up: what it sold, and took back.
fn assert_bounded(sales: &Sales) {
    let of_rows = |amount: fn(&Amounts) -> i64| {
        sales.values().map(|amounts| u128::from(amount(amounts).unsigned_abs())).sum::<u128>()
    };
    let parts: [fn(&Amounts) -> i64; 4] =
        [|of| of.gross_minor, |of| of.discount_minor, |of| of.net_minor, |of| of.tax_minor];
    for part in parts {
        assert!(of_rows(part) <= 4 * u128::from(MAX_MINOR.unsigned_abs()), "an order is worth more than all there is");
    }
}

/// All that becomes of a body, alone and beside the one that it was made of.
fn digest(topic: &str, original: Option<&[u8]>, body: &[u8]) -> Result<(), String> {
    let began = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        for command in commands(topic, body) {
            command.clone().dispatch(Twice(command));
        }
        for sales in sales_after(&[(topic, body)]).values() {
            assert_bounded(sales);
        }
        let original = original.unwrap_or(b"{}");
        let there = sales_after(&[(topic, original), (topic, body), (topic, body)]);
        let back = sales_after(&[(topic, body), (topic, original)]);
        assert_eq!(there, back, "arrival matters");
    }));
    if let Err(panic) = outcome {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        return Err(format!("panicked: {}", text.unwrap_or("?")));
    }
    if began.elapsed() > LIMIT { Err(format!("took {:?}", began.elapsed())) } else { Ok(()) }
}

/// Bodies to begin with: real ones where they are, and made ones.
fn begin_with(rng: &mut StdRng) -> Vec<(String, Value)> {
    let mut bodies: Vec<(String, Value)> =
        history(rng, 20, &mut Made::default()).into_iter().map(|made| (made.topic.to_owned(), made.body)).collect();
    if let Some(folder) = fixtures() {
        for part in ["webhooks", "derived"] {
            collect(&folder.join(part), &mut bodies);
        }
        assert!(bodies.len() > 200, "only {} bodies", bodies.len());
    }
    bodies
}

fn collect(folder: &Path, into: &mut Vec<(String, Value)>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, into);
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let topic = name.split('.').next().unwrap_or_default().replace("__", "/");
        if let Ok(body) = serde_json::from_slice(&std::fs::read(&path).unwrap()) {
            into.push((topic, body));
        }
    }
}

/// A place in a body, drawn with the same chance for each.
fn place<'a>(rng: &mut StdRng, body: &'a mut Value) -> &'a mut Value {
    fn count(value: &Value) -> usize {
        1 + match value {
            Value::Array(items) => items.iter().map(count).sum(),
            Value::Object(fields) => fields.values().map(count).sum(),
            _ => 0,
        }
    }
    fn find(value: &mut Value, nth: usize) -> &mut Value {
        if nth == 0 {
            return value;
        }
        let children: Vec<&mut Value> = match value {
            Value::Array(items) => items.iter_mut().collect(),
            Value::Object(fields) => fields.values_mut().collect(),
            _ => vec![],
        };
        let mut left = nth - 1;
        for child in children {
            let size = count(child);
            if left < size {
                return find(child, left);
            }
            left -= size;
        }
        unreachable!("there are as many places as were counted")
    }
    let nth = rng.random_range(0..count(body));
    find(body, nth)
}

fn pick<'a, T>(rng: &mut StdRng, items: &'a [T]) -> &'a T {
    &items[rng.random_range(0..items.len())]
}

fn odd_value(rng: &mut StdRng) -> Value {
    let texts = [
        "",
        " ",
        "0",
        "-0",
        "-1",
        "1e400",
        "NaN",
        "0x10",
        "1,000.00",
        "٣",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "92233720368547758.07",
        "100000000000.00",
        "99999999999.99",
        "-92233720368547758.08",
        "0.000000000000000000001",
        "1.",
        ".5",
        "+1",
        "1e3",
        "USD",
        "usd",
        "XXX",
        "JPY",
        "KWD",
        "a_new_enum",
        "true",
        "null",
        "\u{0}",
        "\u{feff}",
        "💥",
        "'; --",
        "2026-11-01T12:00:00Z",
        "2026-11-01T12:00:00+14:00",
        "0000-00-00",
        "9999-12-31T23:59:60Z",
        "+262142-12-31T23:59:59Z",
        "-262143-01-01T00:00:00Z",
        "1969-12-31",
        "gid://shopify/Order/1",
        "gid://shopify/Order/18446744073709551616",
        "gid://",
        "America/New_York",
        "Mars/Olympus",
    ];
    let numbers = [
        json!(0),
        json!(-1),
        json!(1),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e18),
        json!(-1e308),
        json!(0.1),
        json!(1e-300),
        json!(2_147_483_648_u64),
        json!(9_007_199_254_740_993_u64),
        json!(1_000_000_000),
        json!(1_000_000),
        json!(100_000_000_000_u64),
    ];
    match rng.random_range(0..10_u32) {
        0 => Value::Null,
        1 => json!(rng.random_bool(0.5)),
        2 => json!([]),
        3 => json!({}),
        4 | 5 => pick(rng, &numbers).clone(),
        6 => json!("9".repeat(rng.random_range(1..400))),
        7 => {
            let levels = rng.random_range(1..100);
            (0..levels).fold(json!(1), |inner, _| if levels % 2 == 0 { json!([inner]) } else { json!({ "a": inner }) })
        }
        _ => json!(*pick(rng, &texts)),
    }
}

fn change(rng: &mut StdRng, body: &mut Value) {
    let donor = place(rng, body).clone();
    let value = odd_value(rng);
    let at = place(rng, body);
    match (rng.random_range(0..8_u32), &mut *at) {
        (0 | 1, Value::Object(fields)) if !fields.is_empty() => {
            let key = fields.keys().nth(rng.random_range(0..fields.len())).cloned().unwrap();
            fields.remove(&key);
        }
        (0 | 1, Value::Array(items)) if !items.is_empty() => {
            items.remove(rng.random_range(0..items.len()));
        }
        (2, Value::Array(items)) if !items.is_empty() => {
            let item = pick(rng, items).clone();
            items.extend(std::iter::repeat_n(item, rng.random_range(1..40)));
        }
        (2, Value::Object(fields)) => {
            *fields = std::mem::take(fields).into_iter().rev().collect::<Map<_, _>>();
            fields.insert("an_unknown_key".into(), value);
        }
        // Another type with the same meaning, or nearly.
        (3, Value::String(text)) => *at = text.parse().map_or(json!([text]), Value::Number),
        (3, Value::Number(number)) => *at = json!(number.to_string()),
        (4, Value::Number(number)) => {
            let near = number.as_i64().unwrap_or(1).wrapping_mul(*pick(rng, &[-1, 2, 1000, i64::MAX]));
            *at = json!(near);
        }
        (4, Value::String(text)) => {
            let more: &&str = pick(rng, &["0", "-", " ", "\u{0}", "Z", "99999999999"]);
            text.push_str(more);
        }
        (5, _) => *at = donor,
        _ => *at = value,
    }
}

/// What no JSON library would write.
fn spoil(rng: &mut StdRng, mut text: Vec<u8>) -> Vec<u8> {
    let at = rng.random_range(0..text.len().max(1));
    match rng.random_range(0..12_u32) {
        0 => text.truncate(at),
        1 => text.insert(at, 0xff),
        2 => text.splice(0..0, *b"\xef\xbb\xbf").for_each(drop),
        3 => text.insert(at, *pick(rng, b"{}[],:\"\\\0")),
        4 => text = [b"[".repeat(5000), text].concat(),
        // A key that is there twice.
        5 | 6 => {
            let keys: Vec<usize> =
                text.windows(2).enumerate().filter(|(_, pair)| *pair == b"\":").map(|(at, _)| at).collect();
            if let Some(end) = (!keys.is_empty()).then(|| *pick(rng, &keys)) {
                let start = text[..end].iter().rposition(|byte| *byte == b'"').unwrap_or(0);
                let key = text[start..=end].to_vec();
                let odd = odd_value(rng).to_string().into_bytes();
                text.splice(start..start, [key, b":".to_vec(), odd, b",".to_vec()].concat()).for_each(drop);
            }
        }
        _ => {}
    }
    text
}

#[test]
fn r_56_what_ever_failed_is_digested() {
    let corpus = std::fs::read_to_string(POISON).expect("it is committed");
    let mut seen = 0;
    for line in corpus.lines().filter(|line| !line.starts_with('#')) {
        let [name, topic, body] = *line.split('\t').collect::<Vec<_>>() else { panic!("not three columns: {line}") };
        digest(topic, None, body.as_bytes()).unwrap_or_else(|why| panic!("{name}: {why}"));
        seen += 1;
    }
    assert!(seen > 0);
}

#[test]
fn r_56_changed_bodies_are_read_or_dead() {
    let seed = seed();
    let mut rng = rng(seed);
    let bodies = begin_with(&mut rng);
    let memory_before = memory_kib(std::process::id()).unwrap();
    forget_peak(std::process::id());
    // Failures are reported below; thousands of backtraces would hide them.
    std::panic::set_hook(Box::new(|_| {}));
    let (began, mut digested, mut read, mut failures) = (Instant::now(), 0_u32, 0_u32, BTreeMap::new());
    while began.elapsed() < FOR || digested < 500 {
        let (topic, original) = pick(&mut rng, &bodies);
        let mut body = original.clone();
        for _ in 0..rng.random_range(1..6) {
            change(&mut rng, &mut body);
        }
        let text = spoil(&mut rng, body.to_string().into_bytes());
        let original = original.to_string();
        digested += 1;
        read += u32::from(catch_unwind(|| !commands(topic, &text).is_empty()).unwrap_or(false));
        if let Err(why) = digest(topic, Some(original.as_bytes()), &text) {
            failures.entry(why.lines().next().unwrap_or_default().to_owned()).or_insert((
                digested,
                topic.clone(),
                text,
            ));
        }
    }
    let _ = std::panic::take_hook();
    let grown = peak_kib(std::process::id()).unwrap() - memory_before;
    println!("{digested} bodies, {read} of them read, {grown} KiB more at most");
    if !failures.is_empty() {
        let folder = std::env::temp_dir();
        for (why, (number, topic, body)) in &failures {
            let file = folder.join(format!("poison-{seed}-{number}"));
            std::fs::write(&file, body).unwrap();
            eprintln!("{why}\n  {topic}, number {number}, {} bytes in {}", body.len(), file.display());
        }
        panic!("{} ways to fail, SEED={seed}", failures.len());
    }
    assert!(read > digested / 10, "only {read} of {digested} were read: the changes go too far to find anything");
    assert!(grown < 300 * 1024, "{grown} KiB more memory");
}
