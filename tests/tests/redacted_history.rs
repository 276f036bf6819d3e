//! The central property of erasing: whenever persons are erased within a history, and however its deliveries come again, its
//! figures are those of the same history without it, at every moment; and nothing of these persons is ever read again.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use compliance::{Answer, Ask, Whom};
use domain::{
    ShopId, Subject,
    ids::{CustomerId, OrderId},
    redaction::{Redaction, Status},
};
use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    catalogue::catalogue,
    figures::{PERIODS, answers, assert_restatements_add_up, assert_same, cut, deliver, view},
    number,
    planted::{PLANTED, World as Planted, bodies, every_row, opened},
    random::{Delivery, Made, history, rng, seed, storm},
    search::Search,
    share_key, until,
};
use event_store::{Database, shop_key, verify};
use projector::{RebuildOptions, rebuild};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use sqlx::PgConnection;
use vault::{ContactKey, MasterRing, SigningKeys};

const ORDERS: u64 = 30;
const PARTS: usize = 4;
/// Shops in which persons are erased.
const WORLDS: usize = 3;
/// Each stands in every value of theirs.
const PERSONS: [&str; 6] = ["Ottoline", "Barnaby", "Clementina", "Fitzwilliam", "Gwendolyn", "Marmaduke"];
/// Shopify knows no customer of this one's orders: each is a person of its own, known by its address.
const GUEST: usize = 5;

fn customer_id(person: usize) -> u64 {
    42_000 + person as u64
}

/// What persons do in a history, and which orders are whose.
struct Told {
    deliveries: Vec<Delivery>,
    orders: BTreeMap<usize, BTreeSet<u64>>,
    /// All that is personal in it.
    values: BTreeSet<String>,
}

impl Told {
    /// Gives each order of a history to somebody, who leaves something in every place of it.
    fn of(rng: &mut StdRng, made: &mut Made) -> Self {
        let mut told = Self { deliveries: Vec::new(), orders: BTreeMap::new(), values: BTreeSet::new() };
        let mut buyers = BTreeMap::new();
        for mut delivery in history(rng, ORDERS, made) {
            let order = (1001..=1000 + ORDERS).find(|order| delivery.is_about_order(*order)).unwrap();
            let buyer = *buyers.entry(order).or_insert_with(|| rng.random_range(0..PERSONS.len()));
            told.orders.entry(buyer).or_default().insert(order);
            told.personalize(&mut delivery, order, buyer);
            told.deliveries.push(delivery);
        }
        for person in (0..PERSONS.len()).filter(|person| *person != GUEST) {
            for (topic, at) in
                [("customers/create", "2026-10-20T12:00:00Z"), ("customers/update", "2026-10-27T12:00:00Z")]
            {
                let mut body = told.customer(person);
                body["updated_at"] = json!(at);
                body["note"] = told.value(topic, person);
                body["default_address"] = told.address(person);
                let webhook_id = format!("{topic}-{person}");
                let place = rng.random_range(0..=told.deliveries.len());
                told.deliveries.insert(place, Delivery { topic, body, webhook_id, triggered_at: at.parse().ok() });
            }
        }
        for delivery in catalogue(rng, 60, made) {
            told.deliveries.insert(rng.random_range(0..=told.deliveries.len()), delivery);
        }
        told
    }

    fn value(&mut self, what: &str, person: usize) -> Value {
        let value = format!("{what} of {}", PERSONS[person]);
        self.values.insert(value.clone());
        json!(value)
    }

    fn email(&mut self, person: usize) -> Value {
        self.values.insert(email(person));
        json!(email(person))
    }

    fn customer(&mut self, person: usize) -> Value {
        json!({ "id": customer_id(person), "first_name": self.value("first name", person),
                "last_name": self.value("last name", person), "email": self.email(person) })
    }

    fn address(&mut self, person: usize) -> Value {
        json!({ "address1": self.value("street", person), "city": self.value("city", person), "country_code": "US",
                "province_code": "IL" })
    }

    fn personalize(&mut self, delivery: &mut Delivery, order: u64, buyer: usize) {
        let refund_note = |told: &mut Self| told.value(&format!("refund of {order}"), buyer);
        let body = &mut delivery.body;
        match delivery.topic {
            "orders/delete" => {}
            "orders/edited" => body["order_edit"]["staff_note"] = self.value(&format!("edit of {order}"), buyer),
            "refunds/create" => body["note"] = refund_note(self),
            _ => {
                // A body may leave out whose it is, as it does in the history that was drawn.
                let names_buyer = !body["customer"].is_null() && buyer != GUEST;
                body["customer"] = if names_buyer { self.customer(buyer) } else { Value::Null };
                body["email"] = self.email(buyer);
                body["contact_email"] = self.email(buyer);
                body["browser_ip"] = self.value(&format!("machine of {order}"), buyer);
                body["note"] = self.value(&format!("note of {order}"), buyer);
                body["tags"] = self.value(&format!("tag of {order}"), buyer);
                body["shipping_address"] = self.address(buyer);
                body["line_items"][0]["properties"] =
                    json!([{ "name": "text", "value": self.value(&format!("engraving of {order}"), buyer) }]);
                for refund in body["refunds"].as_array_mut().unwrap() {
                    refund["note"] = refund_note(self);
                }
            }
        }
    }

    /// Their customers and orders.
    fn subjects(&self, persons: &BTreeSet<usize>) -> BTreeSet<Subject> {
        let customers = persons.iter().filter(|person| **person != GUEST);
        let customers = customers.map(|person| Subject::Customer(CustomerId(customer_id(*person))));
        let orders = persons.iter().filter_map(|person| self.orders.get(person)).flatten();
        customers.chain(orders.map(|order| Subject::Order(OrderId(*order)))).collect()
    }
}

fn email(person: usize) -> String {
    format!("mail.{}@persons.example", PERSONS[person])
}

/// Persons to be erased while a part of the deliveries comes in, or before it.
#[derive(Debug, Clone, Copy)]
struct Erasure {
    person: usize,
    part: usize,
    meanwhile: bool,
    /// Rather than by this test itself, which does not wait for what came in.
    by_worker: bool,
}

fn erasures(rng: &mut StdRng, persons: &BTreeSet<usize>) -> Vec<Erasure> {
    let mut erasures = Vec::new();
    for person in persons.iter().copied() {
        // The guest's orders are found once they are there.
        let first = if person == GUEST { PARTS } else { 0 };
        for _ in 0..rng.random_range(1..=2_u32) {
            let (meanwhile, by_worker) = (rng.random_bool(0.6), rng.random_bool(0.4));
            erasures.push(Erasure { person, part: rng.random_range(first..=PARTS), meanwhile, by_worker });
        }
    }
    erasures
}

/// A shop among others of one server.
struct World<'a> {
    store: &'a Database,
    signing: &'a SigningKeys,
    shop: Shop,
    why: String,
}

impl World<'_> {
    /// The position at which everything that came in is in the figures.
    async fn settled(&self) -> i64 {
        self.shop.stats(PERIODS[0].0, PERIODS[0].1).await["as_of_position"].as_i64().unwrap()
    }

    async fn redaction(&self, id: &str) -> Redaction {
        let mut tx = self.store.begin(self.shop.id).await.unwrap();
        tx.load(id).await.unwrap()
    }

    /// Erases somebody, and looks at the receipt.
    async fn erase(&self, erasure: &Erasure) {
        let why = format!("{} {erasure:?}", self.why);
        let (store, shop, now) = (self.store, self.shop.id, Utc::now());
        let whom = match erasure.person {
            GUEST => Whom::Email(ContactKey::of_email(&email(GUEST)).unwrap()),
            person => Whom::Customer(CustomerId(customer_id(person))),
        };
        let hold = TimeDelta::days(if erasure.by_worker { 0 } else { 3 });
        let ask = Ask { whom, reason: "case 7".parse().unwrap(), by: "ann".to_owned(), at: now, hold, all: true };
        let mut tx = store.begin(shop).await.unwrap();
        let answer = compliance::ask(&mut tx, ask).await.unwrap();
        tx.commit().await.unwrap();
        let id = match answer {
            Answer::Asked { id, .. } => id,
            // Nothing leads to them any more.
            Answer::Nobody if erasure.person == GUEST => return,
            other => panic!("{why}: {other:?}"),
        };
        if !erasure.by_worker {
            let then: DateTime<Utc> = now + hold;
            let before = compliance::erase(store, shop, &id, then).await.unwrap();
            compliance::certify(store, shop, &id, self.signing, before, then).await.unwrap();
        }
        until("it is certified", async || self.redaction(&id).await.status() == Some(Status::Certified)).await;
        let mut tx = store.begin(shop).await.unwrap();
        let entry = compliance::entries(&mut tx).await.unwrap().into_iter().find(|entry| entry.id == id).unwrap();
        tx.commit().await.unwrap();
        let receipt = &entry.receipt;
        assert_eq!((receipt.found, receipt.sums_unchanged), (0, Some(true)), "{why}: {entry:?}");
        assert!(entry.is_genuine(self.signing), "{why}");
    }

    /// Delivers a part, with erasures before it or meanwhile.
    async fn tell(&self, part: &[Delivery], erasures: &[Erasure]) {
        for erasure in erasures.iter().filter(|erasure| !erasure.meanwhile) {
            self.erase(erasure).await;
        }
        let erase = async {
            for erasure in erasures.iter().filter(|erasure| erasure.meanwhile) {
                self.erase(erasure).await;
            }
        };
        tokio::join!(deliver(self.store, &self.shop, part), erase);
    }

    async fn assert_keys_are_gone(&self, subjects: &BTreeSet<Subject>) {
        let mut tx = self.store.begin(self.shop.id).await.unwrap();
        assert_eq!(&tx.redacted_among(subjects).await.unwrap(), subjects, "{}", self.why);
        let key = shop_key(&mut tx).await.unwrap();
        assert!(tx.subject_keys(&key, subjects).await.unwrap().is_empty(), "{}", self.why);
    }
}

fn parts(deliveries: &[Delivery]) -> impl Iterator<Item = &[Delivery]> {
    deliveries.chunks(deliveries.len().div_ceil(PARTS))
}

/// Where the log tells of erasures.
async fn positions_of_erasures(superuser: &mut PgConnection, shop: ShopId) -> Vec<i64> {
    let sql = "SELECT position FROM events
               WHERE shop_id = $1 AND event_type IN ('SubjectsErased', 'OrderRedacted', 'CustomerRedacted')";
    sqlx::query_scalar(sql).bind(shop.0).fetch_all(superuser).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_persons_are_erased_no_figure_moves_and_nothing_of_them_comes_back() {
    let seed = seed();
    let mut rng = rng(seed);
    let database = TestDatabase::new().await;
    let keys = MasterRing::generate_key().unwrap();
    let settings = [("LOG_LEVEL", "info"), ("SIGNING_KEYS", keys.as_str())];
    let server = Ecomdash::start(&["up", "--port", "0"], &database, &settings);
    let (store, signing) = (database.open_with(6), SigningKeys::parse(&keys).unwrap());
    let mut superuser = database.superuser().await;
    let mut made = Made::default();
    let told = Told::of(&mut rng, &mut made);
    let search = Search::of(told.values.iter().map(|value| &*value.clone().leak()));
    let values_without = |erased: &BTreeSet<usize>| -> BTreeSet<&str> {
        let is_left = |value: &&str| !erased.iter().any(|person| value.contains(PERSONS[*person]));
        told.values.iter().map(String::as_str).filter(is_left).collect()
    };
    let world = async |why: String| {
        let shop = Shop::register(&store, &server.url, "America/New_York", "USD").await;
        World { store: &store, signing: &signing, shop, why }
    };

    // Nobody is erased.
    let whole = world(format!("SEED={seed} whole")).await;
    let mut reached = Vec::new();
    for part in parts(&told.deliveries) {
        whole.tell(part, &[]).await;
        reached.push(whole.settled().await);
    }
    let expected = answers(&whole.shop, None).await;
    let expected_view = view(&mut superuser, whole.shop.id).await;
    assert!(expected_view.lines().count() > 100, "the view is not empty");
    let found = async |superuser: &mut PgConnection, shop: ShopId| -> BTreeSet<&str> {
        search.in_bytes(opened(superuser, &store, shop).await.as_bytes()).into_iter().collect()
    };
    assert_eq!(found(&mut superuser, whole.shop.id).await, values_without(&BTreeSet::new()), "SEED={seed}");

    for number_of_world in 0..WORLDS {
        let mut persons: Vec<usize> = (0..PERSONS.len()).collect();
        persons.retain(|_| rng.random_bool(0.5));
        let erased: BTreeSet<usize> = persons.into_iter().chain([number_of_world]).collect();
        let erasures = erasures(&mut rng, &erased);
        let world = world(format!("SEED={seed} world {number_of_world}")).await;
        share_key(&store, &mut superuser, whole.shop.id, world.shop.id).await;
        let why = &world.why;
        // In the first one everything comes as it did where nobody was erased.
        let is_in_order = number_of_world == 0;
        let deliveries =
            if is_in_order { told.deliveries.clone() } else { storm(&mut rng, &told.deliveries, &mut made) };
        // So that the ledger of a new shop is there to be compared with.
        let mut positions = vec![world.settled().await];
        for (number, part) in parts(&deliveries).enumerate() {
            let now: Vec<Erasure> = erasures.iter().copied().filter(|erasure| erasure.part == number).collect();
            world.tell(part, &now).await;
            if is_in_order || rng.random_bool(0.6) {
                positions.push(world.settled().await);
            }
        }
        // Everything comes again.
        world.settled().await;
        let again = storm(&mut rng, &told.deliveries, &mut made);
        let now: Vec<Erasure> = erasures.iter().copied().filter(|erasure| erasure.part == PARTS).collect();
        world.tell(&again, &now).await;
        let head = world.settled().await;

        assert_same(&answers(&world.shop, None).await, &expected, why);
        assert!(view(&mut superuser, world.shop.id).await == expected_view, "{why}: the rows");
        if is_in_order {
            for (here, there) in positions[1..].iter().zip(&reached) {
                let there = answers(&whole.shop, Some(*there)).await;
                assert_same(&answers(&world.shop, Some(*here)).await, &there, &format!("{why} at {here}"));
            }
        }
        let of_erasures = positions_of_erasures(&mut superuser, world.shop.id).await;
        let around: Vec<i64> = of_erasures.iter().flat_map(|position| [position - 1, *position]).collect();
        let moments = [*around.choose(&mut rng).unwrap(), rng.random_range(2..head)];
        let mut as_of = BTreeMap::new();
        for position in moments {
            let replayed = cut(&store, &mut superuser, &server.url, world.shop.id, position).await;
            let replayed = answers(&replayed, None).await;
            assert_same(&answers(&world.shop, Some(position)).await, &replayed, &format!("{why} at {position}"));
            as_of.insert(position, replayed);
        }
        let at_an_erasure = *of_erasures.choose(&mut rng).unwrap();
        let mut causes = BTreeSet::new();
        for (from, to) in [(0, head), (at_an_erasure - 1, at_an_erasure), (1, moments[1])] {
            causes.extend(assert_restatements_add_up(&world.shop, (from, to), PERIODS[0], why).await);
        }
        assert!(causes.contains("redaction"), "{why}: {causes:?}");

        for projection in ["sales", "orders"] {
            let rebuilt = rebuild(&store, world.shop.id, RebuildOptions::of(projection), |_, _| {}).await.unwrap();
            assert!(rebuilt.switched && rebuilt.comparison.is_equal(), "{why}: {rebuilt:?}");
        }
        assert_same(&answers(&world.shop, None).await, &expected, &format!("{why}, rebuilt"));
        assert!(view(&mut superuser, world.shop.id).await == expected_view, "{why}: the rows, rebuilt");
        for (position, replayed) in as_of {
            let answers = answers(&world.shop, Some(position)).await;
            assert_same(&answers, &replayed, &format!("{why} at {position}, rebuilt"));
        }
        assert_eq!(verify(&store, world.shop.id, |_| {}).await.unwrap().fault, None, "{why}");
        world.assert_keys_are_gone(&told.subjects(&erased)).await;
        assert_eq!(found(&mut superuser, world.shop.id).await, values_without(&erased), "{why} {erasures:?}");
    }
    assert_eq!(search.in_bytes(every_row(&mut superuser).await.as_bytes()), [""; 0], "SEED={seed}: in the clear");
    let dead = "SELECT count(*) FROM inbox WHERE status IN ('pending', 'dead')";
    assert_eq!(number(&mut superuser, dead).await, 0, "SEED={seed}: every delivery of the generator can be read");
}

/// Shopify gives one person's orders another number when it merges two customers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_order_stays_so_under_another_number_and_either_number_of_a_merge_means_the_person() {
    let merged = ecomdash_tests::bodies::merge(43, 42);
    let under_the_other: Vec<(&str, Value)> = bodies("2026-11-05T12:00:00Z")
        .into_iter()
        .filter(|(topic, _)| *topic == "orders/create")
        .map(|(_, mut body)| {
            body["customer"]["id"] = json!(43);
            ("orders/updated", body)
        })
        .collect();
    for merged_first in [false, true] {
        let planted = Planted::new().await;
        planted.deliver_all(&bodies("2026-11-01T12:00:00Z")).await;
        if merged_first {
            planted.deliver_all(&[("customers/merge", merged.clone())]).await;
            planted.deliver_all(&under_the_other).await;
        }
        let sums = planted.shop.stats(PERIODS[0].0, PERIODS[0].1).await["metrics"].clone();
        assert_eq!(Planted::found_in(&planted.readable().await), PLANTED);
        let handler = planted.as_handler().await;
        let (_, asked) = handler.ask(&json!({ "kind": "customer", "customer_id": "42", "reason": "case 8" })).await;
        let told: Vec<&str> =
            asked["matches"].as_array().unwrap().iter().map(|of| of["subject"].as_str().unwrap()).collect();
        assert_eq!(told, &["customer:42", "customer:43"][..1 + usize::from(merged_first)], "{asked}");
        let id = asked["id"].as_str().unwrap();
        let confirm = format!("/api/compliance/redactions/{id}/confirm");
        assert_eq!(planted.as_handler().await.post(&confirm, &ecomdash_tests::why()).await.0, 200);
        let done = planted.certified(&handler, id).await;
        planted.assert_genuine(&done);
        assert_eq!(Planted::found_in(&planted.readable().await), [""; 0], "merged before: {merged_first}");
        planted.deliver_all(&under_the_other).await;
        assert_eq!(Planted::found_in(&planted.readable().await), [""; 0], "merged before: {merged_first}; told again");
        assert_eq!(planted.shop.stats(PERIODS[0].0, PERIODS[0].1).await["metrics"], sums);
    }
}

/// Somebody may also have come back since: a person tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_turns_out_to_be_one_with_somebody_erased_is_asked_about() {
    let planted = Planted::new().await;
    planted.deliver_all(&bodies("2026-11-01T12:00:00Z")).await;
    let merged = |kept: u64, absorbed: u64, status: &str| {
        let mut body = ecomdash_tests::bodies::merge(kept, absorbed);
        body["status"] = json!(status);
        body
    };
    planted.deliver_all(&[("customers/merge", merged(71, 72, "completed"))]).await;
    let (ann, bob) = (planted.as_handler().await, planted.as_handler().await);
    let (_, asked) = ann.ask(&json!({ "kind": "customer", "customer_id": "71", "reason": "case 9" })).await;
    let id = asked["id"].as_str().unwrap().to_owned();
    assert_eq!(bob.post(&format!("/api/compliance/redactions/{id}/confirm"), &ecomdash_tests::why()).await.0, 200);
    planted.certified(&ann, &id).await;
    // One that failed, one between others, and twice the one that is meant.
    let told = [(71, 83, "failed"), (81, 82, "completed"), (71, 42, "completed"), (71, 42, "completed")];
    for (kept, absorbed, status) in told {
        planted.deliver_all(&[("customers/merge", merged(kept, absorbed, status))]).await;
    }
    let (_, list) = ann.get("/api/compliance/redactions").await;
    let [opened, _] = &list["items"].as_array().unwrap()[..] else { panic!("{list}") };
    assert_eq!(
        (&opened["status"], &opened["request"]["reason"]),
        (&json!("held"), &json!("customers/merge")),
        "{list}"
    );
    assert!(opened["hold"].as_str().unwrap().contains("merged with customer:71"), "{opened}");
    // Nor is it told by whoever asks for the erased one again.
    let (_, again) = ann.ask(&json!({ "kind": "customer", "customer_id": "71", "reason": "case 10" })).await;
    let path = format!("/api/compliance/redactions/{}/confirm", again["id"].as_str().unwrap());
    assert_eq!(bob.post(&path, &ecomdash_tests::why()).await.0, 200);
    planted.certified(&ann, again["id"].as_str().unwrap()).await;
    assert_eq!(Planted::found_in(&planted.readable().await), PLANTED, "nobody has told yet");
    let id = opened["id"].as_str().unwrap();
    let (status, _) = bob.post(&format!("/api/compliance/redactions/{id}/release"), &ecomdash_tests::why()).await;
    assert_eq!(status, 200);
    planted.assert_genuine(&planted.certified(&ann, id).await);
    assert_eq!(Planted::found_in(&planted.readable().await), [""; 0]);
}
