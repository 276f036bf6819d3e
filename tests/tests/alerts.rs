//! Rules, scrape configuration and dashboard: they are what Prometheus takes, and ask for nothing that is not there.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Output},
};

use ecomdash_tests::{
    free_folder,
    observed::{Metrics, base_name, listed},
    repository::read,
};
use serde_json::Value;

/// `None`, loudly, where there is no promtool.
fn promtool(folder: &Path, arguments: &[&str]) -> Option<Output> {
    match Command::new("promtool").args(arguments).current_dir(folder).output() {
        Ok(output) => Some(output),
        Err(error) => {
            ecomdash_tests::looked_at_nothing(&format!("promtool cannot be run ({error})"));
            None
        }
    }
}

#[test]
fn prometheus_takes_the_rules_and_each_fires_when_it_should() {
    let folder = free_folder();
    for file in ["alerts.yml", "alerts.test.yml", "prometheus.yml"] {
        std::fs::write(folder.join(file), read(&format!("ops/{file}"))).unwrap();
    }
    // The token's file is looked for.
    let token = folder.join("token");
    std::fs::write(&token, "a token").unwrap();
    let config = read("ops/prometheus.yml");
    assert!(config.contains("/etc/prometheus/ecomdash.token"));
    let config = config.replace("/etc/prometheus/ecomdash.token", token.to_str().unwrap());
    std::fs::write(folder.join("prometheus.yml"), config).unwrap();
    for arguments in [
        &["check", "rules", "alerts.yml"][..],
        &["check", "config", "prometheus.yml"],
        &["test", "rules", "alerts.test.yml"],
    ] {
        let Some(output) = promtool(&folder, arguments) else { return };
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "promtool {arguments:?}: {text}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// A rule of alerts.yml, as it is laid out there: one key a line, each rule begins with its name.
struct Rule {
    name: String,
    is_alert: bool,
    text: String,
}

fn rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for line in read("ops/alerts.yml").lines().filter(|line| !line.trim_start().starts_with('#')) {
        let begun = ["- alert: ", "- record: "].iter().find_map(|mark| Some((*mark, line.trim().strip_prefix(mark)?)));
        match (begun, rules.last_mut()) {
            (Some((mark, name)), _) => {
                rules.push(Rule { name: name.to_owned(), is_alert: mark.contains("alert"), text: String::new() });
            }
            (None, Some(rule)) if !line.trim().starts_with("- name:") => {
                rule.text.push_str(line);
                rule.text.push('\n');
            }
            _ => {}
        }
    }
    rules
}

impl Rule {
    fn value(&self, key: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "))
    }

    /// On the key's line, or indented below it.
    fn expression(&self) -> String {
        let (_, rest) = self.text.split_once("expr: ").unwrap_or_else(|| panic!("{} has no expr", self.name));
        let end = rest.find("\n        for:").or_else(|| rest.find("\n        labels:")).unwrap_or(rest.len());
        rest[..end].trim_start_matches('|').to_owned()
    }
}

#[test]
fn every_alert_says_what_is_the_matter_how_bad_it_is_and_what_to_do() {
    let document = read("docs/operations.md");
    let headings = document.lines().filter_map(|line| line.strip_prefix('#'));
    let anchors: BTreeSet<String> = headings.map(|heading| anchor(heading.trim_start_matches('#'))).collect();
    let tests = read("ops/alerts.test.yml");
    let mut described = BTreeSet::new();
    let rules = rules();
    let alerts: Vec<&Rule> = rules.iter().filter(|rule| rule.is_alert).collect();
    assert!(alerts.len() >= 20, "they are found");
    for alert in alerts {
        let name = &alert.name;
        assert!(alert.value("summary").is_some_and(|summary| summary.len() > 10), "{name} has no summary");
        assert!(
            ["{ severity: warning }", "{ severity: critical }"].contains(&alert.value("labels").unwrap_or_default()),
            "{name} has no severity"
        );
        let runbook = alert.value("runbook").unwrap_or_else(|| panic!("{name} has no runbook"));
        let place = runbook.strip_prefix("docs/operations.md#").unwrap_or_else(|| panic!("{name}: {runbook}"));
        assert!(anchors.contains(place), "{name}: {place} is none of {anchors:?}");
        described.insert(place.to_owned());
        let fires = format!("alertname: {name}\n        exp_alerts:\n");
        assert!(tests.contains(&fires), "no test shows {name} fire");
        assert!(tests.contains(&format!("alertname: {name}, exp_alerts: []")), "no test shows {name} silent");
    }
    let (_, runbooks) = document.split_once("\n## Alerts\n").expect("the runbooks");
    for heading in runbooks.lines().filter_map(|line| line.strip_prefix("### ")) {
        assert!(described.contains(&anchor(heading)), "no alert leads to `{heading}`");
    }
}

/// As GitHub makes it of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn rules_and_dashboard_ask_for_metrics_that_are_there_by_labels_that_they_have() {
    let known = listed();
    let rules = rules();
    let recorded: BTreeSet<&str> = rules.iter().filter(|rule| !rule.is_alert).map(|rule| rule.name.as_str()).collect();
    let mut asked = BTreeSet::new();
    for rule in &rules {
        asked.extend(check(&rule.name, &rule.expression(), &known, &recorded));
    }
    let dashboard: Value = serde_json::from_str(&read("ops/grafana.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 15);
    for panel in panels {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{}", panel["title"]);
        for target in targets {
            let expression = target["expr"].as_str().unwrap().replace("$__rate_interval", "5m");
            asked.extend(check(&panel["title"].to_string(), &expression, &known, &recorded));
        }
    }
    // What nobody looks at need not be counted; these are for looking closer.
    let unasked: Vec<&String> = known.keys().filter(|name| !asked.contains(*name)).collect();
    assert_eq!(unasked, ["build_info", "projections_parked_total"]);
}

/// Names that Prometheus itself gives, and labels that it adds.
const OF_PROMETHEUS: [&str; 1] = ["up"];
const ADDED_LABELS: [&str; 3] = ["job", "instance", "le"];

/// The metrics that an expression asks for.
fn check(place: &str, expression: &str, known: &Metrics, recorded: &BTreeSet<&str>) -> BTreeSet<String> {
    let selectors = selectors(expression);
    assert!(!selectors.is_empty(), "{place}: nothing is asked for in {expression}");
    let mut metrics = BTreeSet::new();
    for (name, labels) in selectors {
        if recorded.contains(name.as_str()) {
            continue;
        }
        if OF_PROMETHEUS.contains(&name.as_str()) {
            continue;
        }
        let metric = base_name(&name, |name| known.get(name).map(|(kind, _)| kind.as_str()));
        let metric = metric.unwrap_or_else(|| panic!("{place} asks for {name}, which is not listed"));
        for label in labels {
            let has = known[&metric].1.contains(&label) || ADDED_LABELS.contains(&label.as_str());
            assert!(has, "{place}: {name} has no label {label}");
        }
        metrics.insert(metric);
    }
    metrics
}

/// The metrics' names in a PromQL expression, each with the labels it is selected by. Everything else that is a word there
/// is a function or an aggregation, which a bracket follows, a keyword, a label in brackets after a keyword, or a number
/// with its unit.
fn selectors(expression: &str) -> Vec<(String, Vec<String>)> {
    const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
    const KEYWORDS: [&str; 6] = ["and", "or", "unless", "offset", "bool", "inf"];
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        match first {
            '{' => {
                let (inside, behind) = braces(rest);
                found.last_mut().unwrap_or_else(|| panic!("no name in {expression}")).1.extend(inside);
                rest = behind;
            }
            '[' => rest = rest.split_once(']').unwrap_or_else(|| panic!("no `]` in {expression}")).1,
            '"' | '\'' => panic!("a string outside of a selector: {expression}"),
            _ if first.is_ascii_alphabetic() || first == '_' => {
                let (word, behind) = rest.split_at(end);
                let next = behind.trim_start();
                let opens = ["(", "by (", "without ("].iter().any(|opening| next.starts_with(opening));
                rest = behind;
                if BEFORE_LABELS.contains(&word) && opens {
                    rest = behind.split_once(')').unwrap_or_else(|| panic!("no `)` in {expression}")).1;
                } else if !opens && !KEYWORDS.contains(&word) {
                    found.push((word.to_owned(), Vec::new()));
                }
            }
            _ if first.is_ascii_digit() => rest = &rest[end..],
            _ => rest = &rest[first.len_utf8()..],
        }
    }
    found
}

/// The keys of `{…}`, and what stands behind it. Values are in quotes, and may hold anything but those.
fn braces(text: &str) -> (Vec<String>, &str) {
    let mut keys = Vec::new();
    let mut rest = &text[1..];
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(behind) = rest.strip_prefix('}') {
            return (keys, behind);
        }
        let end = rest.find(['=', '!']).unwrap_or_else(|| panic!("no matcher in {text}"));
        keys.push(rest[..end].trim().to_owned());
        let quoted = rest.split_once('"').unwrap_or_else(|| panic!("no value in {text}")).1;
        rest = quoted.split_once('"').unwrap_or_else(|| panic!("no end of a value in {text}")).1;
    }
}

#[test]
fn names_are_found_in_expressions() {
    let names = |expression: &str| selectors(expression).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names("sum by (le) (rate(a_bucket{x=~\"b_total|c\",y!=\"}\"}[5m])) > 0.8"), ["a_bucket"]);
    assert_eq!(names("max(a) - max(a offset 30m) > 0 and b:c / on(d) group_left(e) f"), ["a", "a", "b:c", "f"]);
    assert_eq!(names("time() - 1e3 * x"), ["x"]);
    let found = selectors("m{one=\"1\", two!~\"2,3\"}");
    assert_eq!(found, [("m".to_owned(), vec!["one".to_owned(), "two".to_owned()])]);
}
