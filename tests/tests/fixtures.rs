//! Shopify's real bodies of the topics that are translated.

use std::path::Path;

use chrono::Utc;
use ecomdash_tests::fixtures;
use shopify::{Context, Translation, translate};

fn outcome(topic: &str, body: &[u8]) -> Result<Translation, String> {
    // A shop's own body must be about the shop of its header.
    let named = serde_json::from_slice::<serde_json::Value>(body).ok();
    let named = named.as_ref().and_then(|body| body["myshopify_domain"].as_str());
    let domain = named.unwrap_or("fixture.myshopify.com").parse().unwrap();
    let context = Context {
        topic,
        triggered_at: None,
        received_at: Utc::now(),
        domain: &domain,
        shopify_id: None,
        currency: "USD".parse().unwrap(),
    };
    translate(&context, body).map_err(|error| error.to_string())
}

/// `orders__create.some_case.json` is of the topic `orders/create`.
fn topic_of(file: &Path) -> String {
    let name = file.file_name().unwrap().to_string_lossy();
    name.split('.').next().unwrap().replace("__", "/")
}

#[test]
fn every_order_refund_and_shop_body_is_read() {
    let Some(folder) = fixtures() else { return };
    let mut read = 0;
    for subfolder in ["webhooks/2026-07", "webhooks/2025-07", "webhooks/2024-01", "webhooks/legacy", "derived"] {
        for entry in std::fs::read_dir(folder.join(subfolder)).unwrap().flatten() {
            let topic = topic_of(&entry.path());
            let translated = [
                "orders/create",
                "orders/updated",
                "orders/paid",
                "orders/cancelled",
                "orders/fulfilled",
                "orders/partially_fulfilled",
                "orders/edited",
                "orders/delete",
                "refunds/create",
                "shop/update",
                "app/uninstalled",
            ];
            let outcome = outcome(&topic, &std::fs::read(entry.path()).unwrap());
            if translated.contains(&topic.as_str()) {
                assert!(matches!(outcome, Ok(Translation::Commands(_))), "{:?}: {outcome:?}", entry.path());
                read += 1;
            } else {
                assert!(matches!(outcome, Ok(Translation::Ignored(_))), "{:?}: {outcome:?}", entry.path());
            }
        }
    }
    assert!(read >= 25, "only {read} bodies were there");
}
