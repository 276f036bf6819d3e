//! What the operating system tells of processes: Linux in `/proc`, others by the programs that every Unix has. Only Linux tells
//! how much memory a process had at most: elsewhere a test that asks is told that nothing was looked at.

use std::{fs::read_to_string, io::ErrorKind, path::Path, process::Command};

use crate::{looked_at_nothing, raw_http::address_of};

fn is_linux() -> bool {
    Path::new("/proc/self/status").exists()
}

/// It was started and did not end.
pub fn runs(pid: &str) -> bool {
    let state = if is_linux() {
        let stat = read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name in brackets may hold anything.
        stat.rsplit(')').next().unwrap_or_default().trim().to_owned()
    } else {
        said(Command::new("ps").args(["-o", "stat=", "-p", pid]))
    };
    // One that ended and was not collected yet does not run.
    !state.is_empty() && !state.starts_with('Z')
}

/// Memory that a process has now, in KiB. `None`: it ended.
pub fn memory_kib(pid: u32) -> Option<i64> {
    if is_linux() {
        return status_kib(pid, "VmRSS:");
    }
    said(Command::new("ps").args(["-o", "rss=", "-p", &pid.to_string()])).parse().ok()
}

/// The most memory that a process had since [`forget_peak`], in KiB; 0 where no system tells. `None`: it ended.
pub fn peak_kib(pid: u32) -> Option<i64> {
    if is_linux() { status_kib(pid, "VmHWM:") } else { Some(0) }
}

fn status_kib(pid: u32, name: &str) -> Option<i64> {
    let status = read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse().ok())
}

/// Lets [`peak_kib`] begin anew.
pub fn forget_peak(pid: u32) {
    match std::fs::write(format!("/proc/{pid}/clear_refs"), "5") {
        Err(error) if error.kind() == ErrorKind::NotFound && !is_linux() => {
            looked_at_nothing("this system does not tell how much memory a process had at most");
        }
        done => done.expect("the process is ours"),
    }
}

/// How many connections a server on this machine holds, whatever its clients make of them.
pub async fn connections(url: &str) -> usize {
    let address = address_of(url);
    let Ok(table) = read_to_string("/proc/net/tcp") else {
        // It takes a while, in which the clients go on.
        let look = move || said(Command::new("lsof").args(["-nP", &format!("-iTCP@{address}")]));
        let sockets = tokio::task::spawn_blocking(look).await.expect("it is waited for");
        // Of a connection's two ends, the server's names its own address first.
        return sockets.matches(&format!(" {address}->")).count();
    };
    let port = format!(":{:04X}", address.port());
    let held = table.lines().skip(1).filter(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        // Of a process (those of nobody have no inode), and not the one that listens.
        fields[1].ends_with(&port) && fields[3] != "0A" && fields[9] != "0"
    });
    held.count()
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
