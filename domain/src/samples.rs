//! Holds the stored bytes of every version of every event that was ever written.

use std::fmt::Debug;

use crate::command::Stored;

/// `src/{folder}/samples.tsv` has a line for every version of every event: type, version, payload. Lines are added
/// (`WRITE_SAMPLES` adds those of `samples` that are not there), never changed: the logs of all shops hold such bytes.
///
/// What this build writes is in the file, byte for byte; everything in it reads back as `samples` or, for versions that
/// are not written any more, as `of_older`, in the file's order.
pub(crate) fn hold<E: Stored + PartialEq + Debug>(folder: &str, samples: &[E], of_older: &[E]) {
    let path = format!("{}/src/{folder}/samples.tsv", env!("CARGO_MANIFEST_DIR"));
    let mut file = std::fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("WRITE_SAMPLES").is_some() {
        let missing: Vec<&E> = samples.iter().filter(|sample| !of_version(&file, *sample)).collect();
        for sample in missing {
            file.push_str(&line(sample));
            file.push('\n');
        }
        std::fs::write(&path, &file).unwrap();
    }
    let mut older = of_older.iter();
    for stored in file.lines() {
        let [event_type, version, payload] = *stored.splitn(3, '\t').collect::<Vec<_>>() else {
            panic!("not three columns: {stored}")
        };
        assert!(E::knows(event_type, version), "{event_type} {version}");
        assert!(!E::knows(event_type, "99"), "a newer version is waited for");
        let event = E::from_stored(event_type, version, payload).unwrap();
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
}

fn line<E: Stored>(sample: &E) -> String {
    let payload = serde_json::to_string(sample).unwrap();
    format!("{}\t{}\t{payload}", sample.event_type(), sample.event_version())
}

fn of_version<E: Stored>(file: &str, sample: &E) -> bool {
    let begin = format!("{}\t{}\t", sample.event_type(), sample.event_version());
    file.lines().any(|line| line.starts_with(&begin))
}
