use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, DomainEvent, test::TestFramework};

use super::*;
use crate::{
    personal::{Personal, Sealed, Subject},
    version::{Digest, Version},
};

fn at(day: u32) -> DateTime<Utc> {
    format!("2026-11-{day:02}T12:00:00Z").parse().unwrap()
}

fn sealed<T>() -> Personal<T> {
    Personal::Sealed(Sealed { subject: Subject::Shop, bytes: "AA".into() })
}

fn register(day: u32) -> ShopCommand {
    let (timezone, currency) = ("America/New_York".parse().unwrap(), "USD".parse().unwrap());
    ShopCommand::Register { domain: sealed(), shopify_id: None, timezone, currency, at: at(day) }
}

fn update(day: u32, timezone: Option<&str>) -> ShopCommand {
    let version = Version { updated_at: Some(at(day)), triggered_at: None, digest: Digest([1; 16]), revision: 1 };
    ShopCommand::Observe {
        version,
        timezone: timezone.map(|name| name.parse().unwrap()),
        currency: None,
        profile: sealed(),
    }
}

fn after(commands: Vec<ShopCommand>) -> (Vec<String>, Shop) {
    let (mut all, mut shop) = (Vec::new(), Shop::default());
    for command in commands {
        let past = all.clone();
        for event in TestFramework::<Shop>::with(()).given(past).when(command).inspect_result().unwrap() {
            shop.apply(event.clone());
            all.push(event);
        }
    }
    (all.iter().map(DomainEvent::event_type).collect(), shop)
}

#[test]
fn registering_twice_is_registering_once() {
    assert_eq!(after(vec![register(1), register(2)]).0, ["ShopRegistered"]);
}

#[test]
fn a_shop_that_removed_the_app_can_be_registered_again_and_an_old_removal_changes_nothing() {
    let removal = |day| ShopCommand::ObserveUninstall { at: at(day) };
    let (events, shop) = after(vec![register(1), removal(2), register(3), removal(2)]);
    assert_eq!(events, ["ShopRegistered", "AppUninstalled", "ShopRegistered"]);
    assert!(shop.is_installed());
    assert!(!after(vec![register(1), removal(2)]).1.is_installed());
}

#[test]
fn the_newest_zone_that_a_body_names_counts_in_any_order() {
    let bodies = [update(2, Some("Asia/Tokyo")), update(3, Some("Europe/Berlin")), update(4, None)];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 0, 2]] {
        let commands = std::iter::once(register(1)).chain(order.map(|index| bodies[index].clone())).collect();
        assert_eq!(after(commands).1.timezone().name(), "Europe/Berlin", "{order:?}");
    }
}

#[test]
fn a_body_that_is_older_and_tells_no_zone_says_nothing() {
    assert_eq!(after(vec![register(1), update(3, None), update(2, None)]).0.len(), 2);
}

#[test]
fn stored_bytes_never_change() {
    crate::samples::hold("shop", &samples::samples(), &[]);
}
