//! Metrics: as docs/operations.md lists them, and as a page shows them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// A metric by its name: its type and the keys of its labels.
pub type Metrics = BTreeMap<String, (String, BTreeSet<String>)>;

/// The frozen list, but for what this system does not tell.
pub fn listed() -> Metrics {
    let document = include_str!("../../docs/operations.md");
    let table = document.split("| metric | type | labels | meaning |").nth(1).expect("the table of metrics");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let named = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<String>>();
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let name = named(cells[0]).pop_first().expect("a name");
        (name, (cells[1].to_owned(), named(cells[2])))
    })
    .filter(|(name, _)| name != "process_resident_memory_bytes" || Path::new("/proc/self/statm").exists())
    .collect()
}

/// One sample of a page.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// With the suffix of a histogram's parts.
    pub name: String,
    /// By key.
    pub labels: BTreeMap<String, String>,
    /// As it was written.
    pub value: f64,
}

/// Every sample of a page.
pub fn samples(page: &str) -> Vec<Sample> {
    let lines = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("no sample: {line}"));
            let pairs = labels.split("\",").filter(|pair| !pair.is_empty());
            let labels = pairs
                .map(|pair| {
                    let (key, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
                    (key.to_owned(), value.trim_end_matches('"').to_owned())
                })
                .collect();
            Sample { name: name.to_owned(), labels, value: value.parse().unwrap_or_else(|_| panic!("{line}")) }
        })
        .collect()
}

/// The sum over the samples of that name that have these labels; `None` where there is none.
pub fn value(page: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let fits = |sample: &Sample| {
        sample.name == name && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|v| v == value))
    };
    samples(page).into_iter().filter(fits).map(|sample| sample.value).reduce(|a, b| a + b)
}

/// What a page shows.
pub fn emitted(page: &str) -> Metrics {
    let mut metrics = Metrics::new();
    for line in page.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            assert!(metrics.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new())).is_none(), "{name} twice");
        }
    }
    for sample in samples(page) {
        let base = base_name(&sample.name, |name| metrics.get(name).map(|(kind, _)| kind.as_str()));
        let base = base.unwrap_or_else(|| panic!("{} has no type", sample.name));
        let (_, labels) = metrics.get_mut(&base).expect("found above");
        labels.extend(sample.labels.into_keys().filter(|key| key != "le"));
    }
    metrics
}

/// The metric that a series belongs to: histograms have three for each.
pub fn base_name<'a>(series: &str, kind_of: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    if kind_of(series).is_some_and(|kind| kind != "histogram") {
        return Some(series.to_owned());
    }
    let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| series.strip_suffix(suffix))?;
    (kind_of(base) == Some("histogram")).then(|| base.to_owned())
}
