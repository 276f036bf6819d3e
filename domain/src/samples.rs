//! Holds the stored bytes of every version of every event that was ever written.

use std::{collections::BTreeMap, fmt::Debug};

use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use sha2::{Digest, Sha256};

use crate::command::Stored;

/// `src/{folder}/samples.tsv` has a line for every version of every event: type, version, payload. Lines are added
/// (`WRITE_SAMPLES` adds those of `samples` that are not there), never changed: the logs of all shops hold such bytes.
/// `samples.lock` beside it says what the first so many lines were; nothing writes it where that does not hold.
///
/// What this build writes is in the file, byte for byte; everything in it reads back as `samples` or, for versions that
/// are not written any more, as `of_older`, in the file's order.
pub(crate) fn hold<E: Stored + PartialEq + Debug>(folder: &str, samples: &[E], of_older: &[E]) {
    let folder = format!("{}/src/{folder}", env!("CARGO_MANIFEST_DIR"));
    let (path, lock_path) = (format!("{folder}/samples.tsv"), format!("{folder}/samples.lock"));
    let mut file = std::fs::read_to_string(&path).unwrap_or_default();
    let mut lock = std::fs::read_to_string(&lock_path).unwrap_or_default();
    if let Some(fault) = broken(&lock, &file) {
        panic!("{path}: {fault}");
    }
    if std::env::var_os("WRITE_SAMPLES").is_some() {
        let missing: Vec<&E> = samples.iter().filter(|sample| !of_version(&file, *sample)).collect();
        for sample in missing {
            file.push_str(&line(sample));
            file.push('\n');
        }
        std::fs::write(&path, &file).unwrap();
        if locked(&lock) < file.lines().count() {
            lock.push_str(&lock_of(&file));
            std::fs::write(&lock_path, &lock).unwrap();
        }
    }
    assert_eq!(locked(&lock), file.lines().count(), "{path}: lines are not locked yet: WRITE_SAMPLES=1 does it");

    let mut older = of_older.iter();
    for stored in file.lines() {
        let [event_type, version, payload] = columns(stored);
        assert!(E::knows(event_type, version), "{event_type} {version}");
        let event = E::from_stored(event_type, version, payload).unwrap();
        assert_eq!(event.event_type(), event_type);
        if event.event_version() == version {
            assert!(samples.contains(&event), "{event_type} has no such sample: {event:?}");
        } else {
            assert_eq!(Some(&event), older.next());
        }
    }
    assert_eq!(older.next(), None, "of a version that is not in the file");
    for sample in samples {
        let written = line(sample);
        assert!(
            file.lines().any(|line| line == written),
            "an event's bytes changed: it needs a new version: {written}"
        );
    }
    every_event_is_there::<E>(&file);
}

/// Every event that this build can write has a sample, and so has every version before it; a newer one is not known.
fn every_event_is_there<E: Stored>(file: &str) {
    // By variant: the type it is stored under, and the version that is written today.
    let mut written: BTreeMap<String, (String, u32)> = BTreeMap::new();
    for stored in file.lines() {
        let [event_type, version, payload] = columns(stored);
        let today = E::from_stored(event_type, version, payload).unwrap();
        let json = serde_json::to_value(&today).unwrap();
        let variant = json.as_object().and_then(|event| event.keys().next()).expect("a variant with its fields");
        written.insert(variant.clone(), (event_type.to_owned(), today.event_version().parse().unwrap()));
    }
    for variant in variants_of::<E>() {
        let (event_type, newest) = written.get(*variant).unwrap_or_else(|| panic!("{variant} has no sample"));
        for version in 1..=*newest {
            let begin = format!("{event_type}\t{version}\t");
            assert!(file.lines().any(|line| line.starts_with(&begin)), "{event_type} {version} has no sample");
            assert!(E::knows(event_type, &version.to_string()), "{event_type} {version}");
        }
        for unknown in ["", "0", "01", "99", &(newest + 1).to_string()] {
            assert!(!E::knows(event_type, unknown), "{event_type} {unknown:?}: a newer version is waited for");
        }
    }
    assert!(!E::knows("NotYetInvented", "1"), "a newer event is waited for");
}

/// The names of an enum's variants, as serde has them from its definition.
fn variants_of<E: DeserializeOwned>() -> &'static [&'static str] {
    struct Ask<'a>(&'a mut &'static [&'static str]);
    impl<'de> Deserializer<'de> for Ask<'_> {
        type Error = serde::de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(Self::Error::custom("an event is an enum"))
        }

        fn deserialize_enum<V: Visitor<'de>>(
            self,
            _: &'static str,
            variants: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = variants;
            Err(Self::Error::custom("asked"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map struct identifier ignored_any
        }
    }
    let mut variants: &'static [&'static str] = &[];
    let _ = E::deserialize(Ask(&mut variants));
    assert!(!variants.is_empty(), "an event is an enum");
    variants
}

fn columns(line: &str) -> [&str; 3] {
    let columns: Vec<&str> = line.splitn(3, '\t').collect();
    columns.try_into().unwrap_or_else(|_| panic!("not three columns: {line}"))
}

fn line<E: Stored>(sample: &E) -> String {
    let payload = serde_json::to_string(sample).unwrap();
    format!("{}\t{}\t{payload}", sample.event_type(), sample.event_version())
}

fn of_version<E: Stored>(file: &str, sample: &E) -> bool {
    let begin = format!("{}\t{}\t", sample.event_type(), sample.event_version());
    file.lines().any(|line| line.starts_with(&begin))
}

/// How many lines are locked.
fn locked(lock: &str) -> usize {
    lock.lines().last().and_then(|line| line.split('\t').next()?.parse().ok()).unwrap_or(0)
}

/// A line of the lock: how many lines there are, and a digest of them all, so that no line can be changed, moved or left
/// out, the last one included.
fn lock_of(file: &str) -> String {
    let mut hasher = Sha256::new();
    let mut lines = 0;
    for line in file.lines() {
        hasher.update(line);
        hasher.update("\n");
        lines += 1;
    }
    let digest: [u8; 32] = hasher.finalize().into();
    let digest: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{lines}\t{digest}\n")
}

/// What is wrong with lines that were locked.
fn broken(lock: &str, file: &str) -> Option<String> {
    for locked in lock.lines() {
        let lines: usize = locked.split('\t').next()?.parse().ok()?;
        if file.lines().count() < lines {
            return Some(format!("a stored sample is gone: there were {lines} lines"));
        }
        let begin: String = file.lines().take(lines).map(|line| format!("{line}\n")).collect();
        if lock_of(&begin) != format!("{locked}\n") {
            return Some(format!("a stored sample was changed, in the first {lines} lines"));
        }
    }
    None
}

#[test]
fn a_locked_line_that_changes_or_goes_is_noticed() {
    let file = "A\t1\t{}\nB\t1\t{}\nA\t2\t{}\n";
    let lock = lock_of("A\t1\t{}\nB\t1\t{}\n") + &lock_of(file);
    assert_eq!((locked(&lock), broken(&lock, file)), (3, None));
    assert_eq!(broken(&lock, &format!("{file}C\t1\t{{}}\n")), None, "lines are added");
    for other in [
        "A\t1\t{}\nB\t1\t{}\n",
        "B\t1\t{}\nA\t2\t{}\n",
        "A\t1\t{}\nB\t1\t{}\nA\t2\t{ }\n",
        "A\t1\t{}\nB\t1\t[]\nA\t2\t{}\n",
        "B\t1\t{}\nA\t1\t{}\nA\t2\t{}\n",
        "",
    ] {
        assert!(broken(&lock, other).is_some(), "{other:?}");
    }
}
