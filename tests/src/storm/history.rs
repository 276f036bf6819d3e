//! What happened, a line of JSON each, written as it happens: the checker believes nothing else.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::Mutex,
    time::Instant,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Happened {
    /// A storm begins.
    Begun {
        /// Its seed.
        seed: u64,
        /// The domains of its shops.
        shops: Vec<String>,
    },
    /// A delivery is about to be made for the first time.
    Delivery(Delivered),
    /// One try of it.
    Tried {
        /// Which delivery.
        delivery: u64,
        /// At which instance.
        at: String,
    },
    /// What came of the try; `None` when no answer came.
    Answered {
        /// Which delivery.
        delivery: u64,
        /// HTTP's status.
        status: Option<u16>,
    },
    /// A fault strikes.
    Fault {
        /// `kill serve`, `cut at commit` …
        kind: String,
        /// Whom.
        target: String,
        /// Deliveries in flight or pending at that moment.
        in_flight: i64,
    },
    /// Something that must never be was seen during the storm.
    Breach {
        /// What.
        text: String,
    },
}

/// A delivery as it was sent.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Delivered {
    /// 1, 2, 3 …
    pub number: u64,
    /// Which of the storm's shops.
    pub shop: usize,
    /// `orders/create` …
    pub topic: String,
    /// Shopify's id of it.
    pub webhook_id: String,
    /// When it was triggered.
    pub triggered_at: Option<DateTime<Utc>>,
    /// The body; a poisonous one need not be JSON.
    pub body: String,
    /// It cannot be read, on purpose.
    pub poison: bool,
}

#[derive(Serialize, Deserialize)]
struct Line {
    at_ms: u64,
    #[serde(flatten)]
    happened: Happened,
}

/// Writes the history.
pub struct Recorder {
    path: PathBuf,
    began: Instant,
    file: Mutex<File>,
}

impl Recorder {
    /// A new history.
    pub fn create(path: &Path) -> Self {
        let file = File::create(path).expect("a file for the history");
        Self { path: path.to_owned(), began: Instant::now(), file: Mutex::new(file) }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Since the beginning.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).expect("a short time")
    }

    /// One line more. It is with the kernel when this returns, so that nothing is lost if the storm's own process dies.
    pub fn write(&self, happened: &Happened) {
        let line = Line { at_ms: self.now_ms(), happened: happened.clone() };
        let line = serde_json::to_string(&line).expect("it can be written") + "\n";
        self.file.lock().unwrap().write_all(line.as_bytes()).expect("room for the history");
    }
}

/// A history that was read back.
#[derive(Debug, Default)]
pub struct History {
    /// The seed.
    pub seed: u64,
    /// The domains of the shops.
    pub shops: Vec<String>,
    /// Every delivery that was tried.
    pub deliveries: BTreeMap<u64, Delivered>,
    /// How often each was answered with 200.
    pub acknowledged: BTreeMap<u64, u32>,
    /// How often each was tried.
    pub tries: BTreeMap<u64, u32>,
    /// Answers that were neither 200 nor 503, and when there was none.
    pub odd_answers: BTreeMap<u16, u32>,
    /// When an answer was not 200 or did not come, in milliseconds since the beginning.
    pub failures_ms: Vec<u64>,
    /// Faults by kind.
    pub faults: BTreeMap<String, u32>,
    /// What was in flight at each kill.
    pub kills: Vec<i64>,
    /// What must never be.
    pub breaches: Vec<String>,
}

impl History {
    /// Reads a history.
    ///
    /// # Errors
    /// When the file is none.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let mut history = Self::default();
        for line in BufReader::new(File::open(path)?).lines() {
            let line: Line = serde_json::from_str(&line?)?;
            history.take_in(line.happened, line.at_ms);
        }
        Ok(history)
    }

    fn take_in(&mut self, happened: Happened, at_ms: u64) {
        match happened {
            Happened::Begun { seed, shops } => (self.seed, self.shops) = (seed, shops),
            Happened::Delivery(delivered) => {
                self.deliveries.insert(delivered.number, delivered);
            }
            Happened::Tried { delivery, .. } => *self.tries.entry(delivery).or_default() += 1,
            Happened::Answered { delivery, status: Some(200) } => *self.acknowledged.entry(delivery).or_default() += 1,
            Happened::Answered { status, .. } => {
                self.failures_ms.push(at_ms);
                if let Some(status) = status.filter(|status| *status != 503) {
                    *self.odd_answers.entry(status).or_default() += 1;
                }
            }
            Happened::Fault { kind, in_flight, .. } => {
                if kind.starts_with("kill") {
                    self.kills.push(in_flight);
                }
                *self.faults.entry(kind).or_default() += 1;
            }
            Happened::Breach { text } => self.breaches.push(text),
        }
    }

    /// Deliveries that were answered with 200.
    pub fn acknowledged(&self) -> impl Iterator<Item = &Delivered> {
        self.acknowledged.keys().filter_map(|number| self.deliveries.get(number))
    }
}
