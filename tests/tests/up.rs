//! `ecomdash up` as people start it: private Postgres, ports, signals, and what is missing.

use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use ecomdash_tests::{Ecomdash, bare_command, binary, free_folder, system::runs};
use rustix::process::Signal;

fn up(data: &Path, arguments: &[&str]) -> Ecomdash {
    let mut command = bare_command(data);
    command.arg("up").args(arguments);
    Ecomdash::spawn(command)
}

fn server_pid(data: &Path) -> Option<String> {
    let file = data.join("postgres/cluster/postmaster.pid");
    std::fs::read_to_string(file).ok()?.lines().next().map(str::to_owned)
}

#[test]
fn it_starts_ends_and_goes_on_where_it_stopped() {
    let data = free_folder();
    for signal in [Signal::INT, Signal::TERM] {
        let mut first = up(&data, &["--port", "0"]);
        let postgres = server_pid(&data).expect("a private Postgres runs");
        assert!(first.url.starts_with("http://127.0.0.1:"));
        // A command on the same folder joins the same server, and does not stop it.
        let mut register = bare_command(&data);
        register.args(["shop", "register", "a.myshopify.com", "--timezone", "UTC", "--currency", "USD"]);
        assert!(register.output().unwrap().status.success());
        assert!(runs(&postgres), "the last one out stops it, and this was not the last one");
        first.signal(signal);
        assert!(first.wait(Duration::from_secs(30)).success());
        // Its last files go a moment before it does.
        let deadline = Instant::now() + Duration::from_secs(5);
        while runs(&postgres) {
            assert!(Instant::now() < deadline, "a server is left behind");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let mut list = bare_command(&data);
    let output = list.args(["shop", "list"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("a.myshopify.com"), "a command alone starts it, too");
    assert!(server_pid(&data).is_none_or(|pid| !runs(&pid)));
    std::fs::remove_dir_all(data).unwrap();
}

#[test]
fn a_postgres_that_dies_is_started_again() {
    let data = free_folder();
    let mut server = up(&data, &["--port", "0"]);
    let postgres = server_pid(&data).unwrap();
    assert!(Command::new("kill").args(["-9", &postgres]).status().unwrap().success());
    let deadline = Instant::now() + Duration::from_secs(20);
    while server_pid(&data).is_none_or(|pid| pid == postgres || !runs(&pid)) {
        assert!(Instant::now() < deadline, "it is not started again: {}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(server.terminate().success());
    std::fs::remove_dir_all(data).unwrap();
}

#[test]
fn a_taken_port_is_said_and_another_one_taken_unless_it_was_asked_for() {
    let data = free_folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = bare_command(&data).args(["up", "--port", &port]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains(&port), "the port is named");
    // The usual port may be free or taken here: it starts either way.
    let usual = TcpListener::bind("127.0.0.1:8000");
    let mut server = up(&data, &[]);
    if usual.is_ok() {
        // The log comes by another pipe than the address.
        let deadline = Instant::now() + Duration::from_secs(10);
        while !server.log().contains("port 8000 is taken") {
            assert!(Instant::now() < deadline, "{}", server.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    assert!(server.terminate().success());
    std::fs::remove_dir_all(data).unwrap();
}

#[test]
fn without_postgres_s_programs_it_says_how_to_install_them() {
    let data = free_folder();
    // A root of its own in which there are none: the folders where packages put them are looked at by their names.
    let output = Command::new("unshare")
        .args([
            "--mount",
            "sh",
            "-c",
            "mount -t tmpfs none /usr/lib/postgresql && PATH=/usr/bin:/bin exec \"$0\" up --port 0",
        ])
        .arg(binary())
        .env("ECOMDASH_DATA", &data)
        .env_remove("DATABASE_URL")
        .env_remove("ECOMDASH_PG_BIN")
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if !String::from_utf8_lossy(&output.stderr).contains("unshare") => {
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && text.contains("apt-get install -y postgresql"), "{text}");
        }
        _ => ecomdash_tests::looked_at_nothing("this machine gives no mount namespaces"),
    }
    let _ = std::fs::remove_dir_all(data);
}

#[test]
fn production_demands_its_keys() {
    let data = free_folder();
    let mut command = bare_command(&data);
    command.env("ENVIRONMENT", "production").env("DATABASE_URL", "postgres://nobody@localhost/none");
    let output = command.args(["serve", "--port", "0"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("ENCRYPTION_KEYS is not set"), "{text}");
    std::fs::remove_dir_all(data).unwrap();
}
