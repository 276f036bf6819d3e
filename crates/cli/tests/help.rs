//! The command line as people see it.

use std::process::Command;

/// Helps itself from the program down to the last command within a command, and counts them.
fn help_of(command: &[&str]) -> usize {
    let output = Command::new(env!("CARGO_BIN_EXE_ecomdash")).args(command).arg("--help").output();
    let output = output.expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("Usage:"), "{command:?}: {text}");
    let listed = text.split_once("\nCommands:\n").map_or("", |(_, rest)| rest.split("\n\n").next().unwrap_or_default());
    let mut count = 1;
    for line in listed.lines() {
        let (name, about) =
            line.trim().split_once(' ').unwrap_or_else(|| panic!("{command:?}: nothing is said of {line}"));
        assert!(!about.trim().is_empty(), "{command:?}: {line}");
        if name != "help" {
            count += help_of(&[command, &[name]].concat());
        }
    }
    count
}

#[test]
fn every_command_has_help() {
    let count = help_of(&[]);
    assert!(count >= 30, "{count} commands");
}

#[test]
fn a_wrong_argument_is_named() {
    for (arguments, hint) in [
        (&["shop", "register", "https://x.test", "--timezone", "UTC", "--currency", "USD"][..], "myshopify.com"),
        (&["shop", "register", "a.myshopify.com", "--timezone", "Mars", "--currency", "USD"], "IANA"),
        (&["shop", "register", "a.myshopify.com", "--timezone", "UTC", "--currency", "$"], "currency"),
        (&["token", "issue", "--role", "king"], "merchant, auditor, compliance, operator"),
        (&["token", "issue", "--role", "merchant", "--ttl", "5w"], "30d"),
        (&["up", "--port", "99999"], "port"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_ecomdash")).args(arguments).output().expect("the binary runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(hint), "{arguments:?}: {text}");
    }
}
