//! The state at an event and the events behind it are the whole history: of every aggregate, wherever it is cut.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Duration, Utc};
use cqrs_es::{DomainEvent, event_sink::EventSink};
use domain::{
    Command, Personal, PersonalFields, ShopId, Snapshot,
    command::{Dispatch, Stored},
    shop::ShopCommand,
};
use ecomdash_tests::{
    catalogue::catalogue,
    random::{Delivery, Made, history, rng, seed, storm},
};
use futures::FutureExt;
use rand::{RngExt, rngs::StdRng};
use serde_json::json;
use shopify::{Context, Translation, translate};
use uuid::Uuid;
use vault::{Sealer, ShopKey};

/// As it is stored: type, version, payload.
type Bytes = [String; 3];

/// One aggregate: all of its events; and the newest state that was kept, with the events behind it.
struct History {
    events: Vec<Bytes>,
    /// Where it was cut, and the state's bytes.
    kept: Option<(usize, String)>,
    cuts: usize,
}

fn fold<A: Snapshot>(mut state: A, events: &[Bytes]) -> A {
    for [event_type, version, payload] in events {
        state.apply(A::Event::from_stored(event_type, version, payload).unwrap());
    }
    state
}

fn decide<A: Snapshot<Services = ()>>(state: &mut A, command: A::Command) -> Vec<Bytes> {
    let sink = EventSink::<A>::default();
    assert!(state.handle(command, &(), &sink).now_or_never().unwrap().is_ok(), "nothing is refused");
    let events = sink.collect().now_or_never().unwrap();
    let bytes = |event: &A::Event| [event.event_type(), event.event_version(), serde_json::to_string(event).unwrap()];
    events.iter().map(bytes).collect()
}

/// Decides a command on the whole history, or on the kept state and the rest.
struct Decide<'a> {
    histories: &'a mut HashMap<(&'static str, String), History>,
    every: usize,
    on_kept: bool,
}

/// What was decided, and the state's bytes before and after.
type Decided = (String, Vec<Bytes>, String);

impl Dispatch for Decide<'_> {
    type Output = Decided;

    fn dispatch<A>(self, id: String, command: A::Command) -> Decided
    where
        A: Snapshot<Services = ()> + 'static,
        A::Command: PersonalFields + Send + Sync + 'static,
        A::Error: Send + Sync + 'static,
    {
        let begun = || History { events: Vec::new(), kept: None, cuts: 0 };
        let history = self.histories.entry((A::TYPE, id)).or_insert_with(begun);
        let mut state = match &history.kept {
            Some((cut, kept)) if self.on_kept => {
                fold::<A>(serde_json::from_str(kept).unwrap(), &history.events[*cut..])
            }
            _ => fold(A::default(), &history.events),
        };
        let before = serde_json::to_string(&state).unwrap();
        let decided = decide(&mut state, command);
        let after = serde_json::to_string(&state).unwrap();
        if self.on_kept {
            // As the store does: from the state that was itself made of a kept one.
            history.events.extend(decided.clone());
            let cut = history.kept.as_ref().map_or(0, |(cut, _)| *cut);
            if history.events.len() - cut >= self.every {
                history.kept = Some((history.events.len(), after.clone()));
                history.cuts += 1;
            }
        }
        (before, decided, after)
    }
}

/// What the random histories leave out: the shop itself, and requests about data.
fn of_the_shop(rng: &mut StdRng) -> Vec<Delivery> {
    let begin: DateTime<Utc> = "2026-10-20T12:00:00Z".parse().unwrap();
    let made = (0..80).map(|step| {
        let at = begin + Duration::seconds(rng.random_range(0..40));
        let zone = ["America/New_York", "Asia/Tokyo", "Europe/Paris"][rng.random_range(0..3_usize)];
        let (topic, body) = match rng.random_range(0..8_u32) {
            0 => ("app/scopes_update", json!({ "current": ["read_orders", zone], "updated_at": at })),
            1 => ("app/uninstalled", json!({ "id": 1, "myshopify_domain": "x.myshopify.com" })),
            2..=4 => (
                "customers/data_request",
                json!({ "shop_domain": "x.myshopify.com", "data_request": { "id": 1 },
                "customer": { "id": 7, "email": zone } }),
            ),
            _ => ("shop/update", json!({ "id": 1, "updated_at": at, "iana_timezone": zone, "currency": "USD" })),
        };
        Delivery { topic, body, webhook_id: format!("shop-{step}"), triggered_at: Some(at) }
    });
    made.collect()
}

fn commands_of(delivery: &Delivery) -> Vec<Command> {
    let domain = "x.myshopify.com".parse().unwrap();
    let context = Context {
        topic: delivery.topic,
        triggered_at: delivery.triggered_at,
        digest: shopify::body_digest(delivery.body.to_string().as_bytes()),
        received_at: "2026-11-20T12:00:00Z".parse().unwrap(),
        domain: &domain,
        shopify_id: None,
        currency: "USD".parse().unwrap(),
    };
    match translate(&context, delivery.body.to_string().as_bytes()).unwrap() {
        Translation::Commands(commands) => commands,
        Translation::Ignored(why) => panic!("{}: {why}", delivery.topic),
    }
}

#[test]
fn a_kept_state_and_the_rest_decide_as_the_whole_history_does() {
    let seed = seed();
    let mut made = Made::default();
    let mut cuts: BTreeMap<&'static str, usize> = BTreeMap::new();
    for (round, every) in (0_u64..).zip([1, 2, 3, 7]) {
        let mut rng = rng(seed.wrapping_add(round));
        let mut deliveries = history(&mut rng, 12, &mut made);
        deliveries.extend(catalogue(&mut rng, 400, &mut made));
        deliveries.extend(of_the_shop(&mut rng));
        let mut commands: Vec<Command> = storm(&mut rng, &deliveries, &mut made).iter().flat_map(commands_of).collect();
        let register = ShopCommand::Register {
            domain: Personal::Clear("x.myshopify.com".into()),
            shopify_id: None,
            timezone: "UTC".parse().unwrap(),
            currency: "USD".parse().unwrap(),
            at: "2026-10-20T12:00:10Z".parse().unwrap(),
        };
        commands.insert(commands.len() / 2, Command::Shop(register));

        let mut sealer = Sealer::new(ShopKey::generate(ShopId(Uuid::from_u128(1))).ok());
        let mut histories = HashMap::new();
        for mut command in commands {
            sealer.seal(&mut command).unwrap();
            let text = || format!("SEED={seed} round {round}, every {every}");
            let whole = command.clone().dispatch(Decide { histories: &mut histories, every, on_kept: false });
            let kept = command.dispatch(Decide { histories: &mut histories, every, on_kept: true });
            assert_eq!(kept, whole, "{}", text());
        }
        for ((aggregate_type, _), history) in histories {
            *cuts.entry(aggregate_type).or_default() += history.cuts;
        }
    }
    // Every aggregate was cut, and more than once.
    eprintln!("{cuts:?}");
    assert_eq!(cuts.len(), 10, "{cuts:?}");
    assert!(cuts.values().all(|cuts| *cuts >= 4), "{cuts:?}");
}
