//! `ecomdash demo` as people start it: a past, lines to paste, sales; and a second start that goes on.

use std::{
    collections::BTreeSet,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use ecomdash_tests::{Ecomdash, bare_command, free_folder};
use rustix::process::Signal;
use serde_json::Value;

/// For a past to be told.
const PATIENCE: Duration = Duration::from_secs(120);

fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = bare_command(data);
    command.args(["demo", "--port", "0", "--rate", "40"]).args(arguments).env("LOG_LEVEL", "warn");
    command
}

fn sh(line: &str) -> String {
    let Output { status, stdout, stderr } = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(status.success(), "{line}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

fn lines_to_paste(server: &Ecomdash) -> Vec<String> {
    server.log().lines().filter(|line| line.trim_start().starts_with("curl ")).map(str::to_owned).collect()
}

/// The numbers of the first shop's orders, from the list, page by page.
fn orders(server: &Ecomdash) -> BTreeSet<u64> {
    let line = lines_to_paste(server).into_iter().find(|line| line.contains("/api/orders?limit=5")).unwrap();
    let (mut numbers, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let page: Value = serde_json::from_str(&sh(&line.replace("limit=5", &format!("limit=100{cursor}")))).unwrap();
        for order in page["items"].as_array().unwrap() {
            let number = order["name"].as_str().unwrap().trim_start_matches('#').parse().unwrap();
            assert!(numbers.insert(number), "{number} is there twice");
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return numbers,
        }
    }
}

fn settled(server: &Ecomdash) {
    let line = lines_to_paste(server).into_iter().find(|line| line.contains("lag")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while sh(&line).trim() != "\"lag\":0" {
        assert!(Instant::now() < deadline, "the lag does not end");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn it_tells_a_past_sells_and_goes_on_where_it_stopped() {
    let data = free_folder();
    let mut first = Ecomdash::spawn(command(&data, &["--shops", "2", "--days", "4", "--seed", "5"]));
    first.until_it_says("selling: ", PATIENCE);
    for role in ["merchant", "auditor", "compliance", "operator"] {
        assert!(first.log().lines().any(|line| line.trim_start().starts_with(role) && line.contains("ecd_")), "{role}");
    }
    let pasted = lines_to_paste(&first);
    assert_eq!(pasted.len(), 4, "{pasted:?}");
    settled(&first);
    let answers: Vec<Value> = pasted[..3].iter().map(|line| serde_json::from_str(&sh(line)).unwrap()).collect();
    assert_eq!(answers[0]["shop"], "harbor-goods.myshopify.com");
    assert_eq!(answers[1]["points"].as_array().unwrap().len(), 30);
    assert_eq!(answers[2]["items"].as_array().unwrap().len(), 5);
    let sold =
        |point: &Value| point["value"]["amount"].as_str().is_some_and(|amount| amount.parse::<f64>().unwrap() > 0.0);
    assert!(answers[1]["points"].as_array().unwrap().iter().filter(|point| sold(point)).count() >= 4);
    let before = orders(&first);
    assert!(before.len() > 150, "{}", before.len());
    assert!(first.terminate().success(), "{}", first.log());

    // Other shops than before are not mixed in.
    for other in [["--seed", "6"], ["--days", "5"], ["--shops", "3"]] {
        let refused = command(&data, &other).output().unwrap();
        assert!(!refused.status.success());
        assert!(String::from_utf8_lossy(&refused.stderr).contains("--fresh begins anew"));
    }

    let mut second = Ecomdash::spawn(command(&data, &["--shops", "2", "--days", "4", "--seed", "5"]));
    let beside = command(&data, &[]).output().unwrap();
    assert!(!beside.status.success());
    assert!(String::from_utf8_lossy(&beside.stderr).contains("a demo runs in"));
    second.until_it_says("going on where the last demo stopped", PATIENCE);
    second.until_it_says("selling: ", PATIENCE);
    let deadline = Instant::now() + Duration::from_secs(60);
    let after = loop {
        let after = orders(&second);
        if after.len() > before.len() + 20 {
            break after;
        }
        assert!(Instant::now() < deadline, "it does not sell: {} and {}", before.len(), after.len());
    };
    assert!(after.is_superset(&before));
    // Numbers without a hole: nothing was lost between the two. The last ones may still be on their way.
    let last = *after.last().unwrap();
    assert!((1_001..last.saturating_sub(20)).all(|number| after.contains(&number)), "{after:?}");
    assert!(second.terminate().success());

    let mut third = Ecomdash::spawn(command(&data, &["--fresh", "--shops", "1", "--days", "1"]));
    third.until_it_says("selling: ", PATIENCE);
    settled(&third);
    assert!(orders(&third).len() < before.len() + 100 && orders(&third).first() == Some(&1_001));
    assert!(third.terminate().success());
    std::fs::remove_dir_all(data).unwrap();
}

/// Ctrl-C at whichever moment of its start: it ends in good order, and leaves no server behind; the next one begins anew.
#[test]
fn ctrl_c_while_it_starts_leaves_nothing_behind() {
    for wait_ms in [0, 60, 150, 400, 900, 1_600] {
        let data = free_folder();
        for arguments in [["--days", "1"].as_slice(), &["--days", "1", "--fresh"]] {
            let mut demo = Ecomdash::work(command(&data, arguments));
            std::thread::sleep(Duration::from_millis(wait_ms));
            demo.signal(Signal::INT);
            let status = demo.wait(Duration::from_secs(60));
            // Before it listens for signals, one ends it as it ends any program.
            let is_ended_by_it = status.signal() == Some(2) && wait_ms < 400;
            assert!(status.success() || is_ended_by_it, "{arguments:?} after {wait_ms} ms: {status}: {}", demo.log());
            assert!(
                !data.join("demo/postgres/cluster/postmaster.pid").exists(),
                "{arguments:?}: after {wait_ms} ms a server is left"
            );
        }
        std::fs::remove_dir_all(data).unwrap();
    }
}

#[test]
fn it_keeps_away_from_what_is_not_its_own() {
    let data = free_folder();
    let elsewhere = command(&data, &[]).env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none").output().unwrap();
    assert!(!elsewhere.status.success());
    assert!(String::from_utf8_lossy(&elsewhere.stderr).contains("unset DATABASE_URL"));
    // A folder in which `up` was at work.
    let mut register = bare_command(&data);
    register.args(["shop", "register", "a.myshopify.com", "--timezone", "UTC", "--currency", "USD"]);
    assert!(register.output().unwrap().status.success());
    for arguments in [["--days", "1"].as_slice(), &["--days", "1", "--fresh"]] {
        let mut demo = Ecomdash::spawn(command(&data, arguments));
        assert!(demo.terminate().success());
    }
    let list = bare_command(&data).args(["shop", "list"]).output().unwrap();
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(list.contains("a.myshopify.com") && list.lines().count() <= 2, "{list}");
    std::fs::remove_dir_all(data).unwrap();
}
