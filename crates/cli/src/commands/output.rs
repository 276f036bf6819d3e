//! What commands print.

use std::io::Write;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

/// A line on standard output. A reader that went away is no fault.
pub fn line(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stdout().lock(), "{}", text.as_ref());
}

/// A remark on standard error, for whoever reads along.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// JSON on one line.
pub fn json(value: &Value) {
    line(value.to_string());
}

/// How far a long log is: a bar on a terminal, and elsewhere a line on standard error now and then.
pub struct Along {
    what: String,
    bar: ProgressBar,
    told: u64,
}

impl Along {
    /// Between two lines.
    const TOLD_EVERY: u64 = 50_000;

    /// At its beginning.
    pub fn new(what: &str) -> Self {
        Self { what: what.to_owned(), bar: progress(what), told: 0 }
    }

    /// So many events of so many.
    pub fn is_at(&mut self, events: i64, of: i64) {
        let (events, of) = (events.unsigned_abs(), of.unsigned_abs());
        self.bar.set_length(of);
        self.bar.set_position(events);
        if self.bar.is_hidden() && events >= self.told + Self::TOLD_EVERY {
            note(&format!("{}: {events} of {of} events", self.what));
            self.told = events;
        }
    }

    /// At its end.
    pub fn end(self) {
        self.bar.finish_and_clear();
    }
}

/// A progress bar on a terminal; nothing elsewhere.
pub fn progress(what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{msg} {human_pos}/{human_len} {wide_bar} {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what.to_owned());
    bar
}
