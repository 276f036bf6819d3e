//! The first page and the documentation's, as people see them: in a real browser, light and dark, on a desk and in a hand.

use std::{path::PathBuf, process::Command};

use api::Role;
use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    bodies::{line, order},
    free_folder,
    repository::root,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

struct World {
    database: TestDatabase,
    server: Ecomdash,
    shops: [Shop; 2],
    merchant: String,
    operator: String,
}

async fn world() -> World {
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    let store = database.open();
    let shops = [
        Shop::register(&store, &server.url, "America/New_York", "USD").await,
        Shop::register(&store, &server.url, "Asia/Tokyo", "JPY").await,
    ];
    for id in 1..=12 {
        let body = order(id, &chrono::Utc::now().to_rfc3339(), vec![line(id, "10.00", 1)]).0;
        assert_eq!(shops[0].deliver("orders/create", &body).await, 200);
    }
    assert_eq!(shops[1].deliver("orders/create", &json!("no order")).await, 200);
    for shop in &shops {
        shop.stats("2026-11-01", "2026-11-01").await;
    }
    let operator = ecomdash_tests::issue_token(&store, None, Role::Operator, None).await.unwrap();
    World {
        merchant: shops[0].token.clone(),
        operator: operator.secret.expose_secret().to_owned(),
        database,
        server,
        shops,
    }
}

/// A browser and what drives it, which `bin/test` sets up. Says loudly where they are not.
fn browser() -> Option<(PathBuf, PathBuf)> {
    let scripts = root().join("tests/browser");
    let program = std::env::var_os("ECOMDASH_CHROMIUM").map_or_else(|| "/usr/bin/chromium".into(), PathBuf::from);
    if program.exists() && scripts.join("node_modules").is_dir() {
        return Some((program, scripts));
    }
    ecomdash_tests::looked_at_nothing("there is no browser, or nothing that drives it");
    None
}

/// Runs one of the scripts, and reads what it prints.
fn look(script: &str, arguments: &[&str]) -> Option<Value> {
    let (program, scripts) = browser()?;
    let mut node = Command::new("node");
    node.arg(scripts.join(script)).arg("--chromium").arg(program).args(arguments);
    let output = node.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_are_whole_and_can_be_used_by_everyone() {
    let world = world().await;
    let url = &world.server.url;
    let folder = free_folder();
    let addresses = [
        format!("{url}/"),
        format!("{url}/#token={}", world.operator),
        format!("{url}/#token={}", world.merchant),
        format!("{url}/docs"),
        format!("{url}/docs/#/figures/series"),
    ];
    let mut arguments = vec!["--out", folder.to_str().unwrap()];
    arguments.extend(addresses.iter().map(String::as_str));
    let Some(seen) = tokio::task::block_in_place(|| look("look.mjs", &arguments)) else { return };
    let seen = seen.as_array().unwrap();
    assert_eq!(seen.len(), addresses.len());
    for page in seen {
        let told = serde_json::to_string_pretty(page).unwrap();
        for nothing in ["console", "failed", "foreign"] {
            assert_eq!(page[nothing], json!([]), "{told}");
        }
        assert_eq!(page["overflow"], false, "{told}");
        let is_heavy =
            |found: &&Value| ["serious", "critical"].contains(&found["impact"].as_str().unwrap_or("critical"));
        let heavy: Vec<_> = page["axe"].as_array().unwrap().iter().filter(is_heavy).collect();
        assert!(heavy.is_empty(), "{told}");
        for colours in ["light", "dark"] {
            let focus = &page["focus"][colours];
            assert_eq!(focus["trapped"], false, "{told}");
            assert_eq!((&focus["invisible"], &focus["missed"]), (&json!([]), &json!([])), "{told}");
            assert!(focus["reached"].as_u64().unwrap() >= 3, "{told}");
        }
        for screenshot in page["screenshots"].as_array().unwrap() {
            assert!(std::fs::metadata(screenshot.as_str().unwrap()).unwrap().len() > 5_000, "an empty picture");
        }
    }
    let text = |number: usize| seen[number]["text"].as_str().unwrap();
    let version = format!("answers, version {}", env!("CARGO_PKG_VERSION"));
    assert!(
        text(0).contains(&version) && text(0).contains("Token") && !text(0).contains(".myshopify.com"),
        "{}",
        text(0)
    );
    // An operator sees every shop and no figure, a merchant their own and its figures.
    for shop in &world.shops {
        assert!(text(1).contains(&shop.domain), "{}", text(1));
    }
    assert!(text(1).contains("OrderPlaced") && !text(1).contains("Total sales"), "{}", text(1));
    assert!(text(2).contains("120.00 USD") && !text(2).contains(&world.shops[1].domain), "{}", text(2));
    assert!(text(3).contains("/api/dashboard/stats"), "{}", text(3));
    drop(world.database);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_entered_kept_for_the_tab_and_forgotten() {
    let world = world().await;
    let url = format!("{}/", world.server.url);
    let wrong = "ecd_this-is-no-token";
    let Some(steps) = tokio::task::block_in_place(|| look("enter.mjs", &[&url, wrong, &world.operator])) else {
        return;
    };
    let domain = &world.shops[0].domain;
    let text = |step: &str| steps[step].as_str().unwrap();
    assert!(text("wrong").contains("not good: unknown, expired or revoked"), "{}", text("wrong"));
    assert!(text("impossible").contains("This is not a token."), "{}", text("impossible"));
    assert!(text("hanging").contains("does not answer"), "{}", text("hanging"));
    for step in ["good", "again", "linked", "late"] {
        assert!(text(step).contains(domain) && !text(step).contains("not good"), "{step}: {}", text(step));
    }
    for step in ["first", "forgotten", "reloaded"] {
        assert!(!text(step).contains(domain), "{step}: {}", text(step));
    }
    // Neither the address nor the field keeps it.
    assert_eq!(steps["kept"], json!([url, ""]));
    assert_eq!(text("address"), url);
}
