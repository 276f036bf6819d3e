//! What the operating system tells of processes. Linux tells it in `/proc`; elsewhere the programs that every Unix has do,
//! but for the most memory that a process ever had: who asks for that there is told that nothing was looked at.

use std::{fs::read_to_string, io::ErrorKind, path::Path, process::Command};

use crate::{looked_at_nothing, raw_http::address_of};

/// It was started and did not end.
pub fn runs(pid: &str) -> bool {
    // One that ended and was not collected yet does not run.
    let state = said(Command::new("ps").args(["-o", "stat=", "-p", pid]));
    !state.is_empty() && !state.starts_with('Z')
}

/// Whom a process started.
pub fn children_of(pid: u32) -> Vec<String> {
    let children = said(Command::new("pgrep").args(["-P", &pid.to_string()]));
    children.split_whitespace().map(str::to_owned).collect()
}

/// Memory that a process has now, in KiB; 0 if it ended.
pub fn memory_kib(pid: u32) -> i64 {
    said(Command::new("ps").args(["-o", "rss=", "-p", &pid.to_string()])).parse().unwrap_or(0)
}

/// The most memory that a process had since [`forget_peak`], in KiB; 0 if it ended, and where no system tells.
pub fn peak_kib(pid: u32) -> i64 {
    let status = read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    peak.and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

/// Lets [`peak_kib`] begin anew.
pub fn forget_peak(pid: u32) {
    match std::fs::write(format!("/proc/{pid}/clear_refs"), "5") {
        Err(error) if error.kind() == ErrorKind::NotFound && !Path::new("/proc/self/status").exists() => {
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
