//! What the system gives this process, and what it says of it, under the names that Prometheus's own libraries use. Its memory
//! is known only where there is a `/proc`.

use std::{fs, io, time::Duration};

use rustix::{
    param::page_size,
    process::{Resource, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};

/// As many as macOS lets a process ask for, though it says that there is no limit.
const MOST_FILES: u64 = 10_240;

/// A connection is a file, and many systems begin with as few files as the API takes connections.
pub fn allow_many_files() -> io::Result<()> {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum.or(files.current.map(|now| now.max(MOST_FILES)));
    Ok(setrlimit(Resource::Nofile, files)?)
}

/// Name, type, meaning, value.
type Figure = (&'static str, &'static str, &'static str, String);

/// The figures of now.
pub fn figures(started_s: f64) -> Vec<Figure> {
    let mut figures = vec![(
        "process_start_time_seconds",
        "gauge",
        "When the process started, in seconds since 1970",
        started_s.to_string(),
    )];
    let sizes = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    if let Some(pages) = sizes.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()) {
        let bytes = pages.saturating_mul(u64::try_from(page_size()).unwrap_or(4096));
        figures.push(("process_resident_memory_bytes", "gauge", "Memory in use", bytes.to_string()));
    }
    if let Ok(spent) = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)) {
        let seconds = spent.as_secs_f64().to_string();
        figures.push(("process_cpu_seconds_total", "counter", "Time on a processor", seconds));
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd").or_else(|_| fs::read_dir("/dev/fd")) {
        figures.push(("process_open_fds", "gauge", "Open file descriptors", open.count().to_string()));
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        figures.push(("process_max_fds", "gauge", "How many there may be", most.to_string()));
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_tells_everything_but_memory_and_linux_tells_that_too() {
        let figures = figures(0.0);
        let value = |name: &str| -> f64 {
            figures.iter().find(|figure| figure.0 == name).unwrap_or_else(|| panic!("{name}")).3.parse().unwrap()
        };
        if fs::exists("/proc/self/statm").unwrap() {
            assert!((1e6..1e10).contains(&value("process_resident_memory_bytes")));
        }
        assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") <= value("process_max_fds"));
        assert!((0.0..1e6).contains(&value("process_cpu_seconds_total")));
    }
}
