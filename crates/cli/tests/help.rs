//! The command line as people see it.

use std::process::Command;

#[test]
fn every_command_has_help() {
    for arguments in [
        &["--help"][..],
        &["up", "--help"],
        &["serve", "--help"],
        &["work", "--help"],
        &["migrate", "--help"],
        &["shop", "register", "--help"],
        &["token", "issue", "--help"],
        &["inbox", "list", "--help"],
        &["inbox", "retry", "--help"],
        &["rebuild", "--help"],
        &["verify", "--help"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_ecomdash")).args(arguments).output().expect("the binary runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("Usage:"), "{arguments:?}: {text}");
    }
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
