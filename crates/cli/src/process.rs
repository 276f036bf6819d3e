//! What the system says of this process, under the names that Prometheus's own libraries use. Where there is no `/proc`, its
//! memory and its time are not known.

use std::{fs, time::Duration};

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

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
    let read = |file: &str| fs::read_to_string(format!("/proc/self/{file}")).ok();
    if let Some(pages) = read("statm").and_then(|text| nth(&text, 1)) {
        let bytes = pages.saturating_mul(u64::try_from(page_size()).unwrap_or(4096));
        figures.push(("process_resident_memory_bytes", "gauge", "Memory in use", bytes.to_string()));
    }
    // The name in brackets may hold blanks: fields are counted from behind it.
    let stat = read("stat").and_then(|text| Some(text.rsplit_once(')')?.1.to_owned()));
    if let Some((user, system)) = stat.and_then(|text| Some((nth(&text, 11)?, nth(&text, 12)?))) {
        let ms = (user + system).saturating_mul(1000) / clock_ticks_per_second().max(1);
        let seconds = Duration::from_millis(ms).as_secs_f64();
        figures.push(("process_cpu_seconds_total", "counter", "Time on a processor", seconds.to_string()));
    }
    if let Ok(open) = fs::read_dir("/dev/fd") {
        figures.push(("process_open_fds", "gauge", "Open file descriptors", open.count().to_string()));
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        figures.push(("process_max_fds", "gauge", "How many there may be", most.to_string()));
    }
    figures
}

fn nth(text: &str, index: usize) -> Option<u64> {
    text.split_ascii_whitespace().nth(index)?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn linux_tells_everything() {
        let figures = figures(0.0);
        let value = |name: &str| -> f64 {
            figures.iter().find(|figure| figure.0 == name).unwrap_or_else(|| panic!("{name}")).3.parse().unwrap()
        };
        assert!((1e6..1e10).contains(&value("process_resident_memory_bytes")));
        assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") <= value("process_max_fds"));
        assert!((0.0..1e6).contains(&value("process_cpu_seconds_total")));
    }
}
