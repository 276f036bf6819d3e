//! An export as a page that can be read without a program, printed, and sent on. It loads nothing and runs nothing.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{Document, labels};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}\
    table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}th,td{border:1px solid #767676;padding:.25rem .5rem;\
    text-align:left;vertical-align:top;overflow-wrap:anywhere}th{width:40%;font-weight:600}";

/// The page.
#[must_use]
pub fn page(document: &Document) -> String {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>What is kept</title><style>{STYLE}</style></head><body><main>\
         <h1>What is kept</h1><p>By the analytics of {}, put together on {}.</p>",
        escaped(&document.shop),
        told(document.made_at),
    );
    for subject in &document.nothing_kept_of {
        let _ = write!(html, "<p>Nothing personal is kept of {}.</p>", escaped(&labels::subject(&subject.to_string())));
    }
    if document.kept.is_empty() && document.nothing_kept_of.is_empty() {
        html += "<p>Nothing personal is kept of whoever was asked for.</p>";
    }
    for part in &document.kept {
        let _ = write!(html, "<h2>{}</h2>", escaped(&labels::subject(text_at(part, "subject"))));
        for history in part["histories"].as_array().into_iter().flatten() {
            let (kind, id) = (text_at(history, "type"), text_at(history, "id"));
            let _ = write!(html, "<h3>{} {}</h3>", escaped(&labels::thing(kind)), escaped(id));
            for event in history["events"].as_array().into_iter().flatten() {
                let (at, name) = (text_at(event, "recorded_at"), text_at(event, "event"));
                section(&mut html, &format!("{}, recorded on {}", labels::event(name), time(at)), &event["says"]);
            }
        }
        let deliveries = part["deliveries"].as_array().map_or(&[][..], Vec::as_slice);
        if !deliveries.is_empty() {
            html += "<h3>Messages from Shopify, as they came</h3>";
        }
        for delivery in deliveries {
            let (at, topic) = (text_at(delivery, "received_at"), text_at(delivery, "topic"));
            section(&mut html, &format!("{}, received on {}", labels::topic(topic), time(at)), &delivery["body"]);
        }
    }
    html += "</main></body></html>\n";
    html
}

fn section(html: &mut String, title: &str, value: &Value) {
    let _ = write!(html, "<h4>{}</h4><table><tbody>", escaped(title));
    rows(html, "", value);
    *html += "</tbody></table>";
}

/// A row for each thing that is said, with the way to it.
fn rows(html: &mut String, path: &str, value: &Value) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path} › {name}") };
    let named = |name: &str| labels::field(name).map_or_else(|| path.to_owned(), |label| below(&label));
    match value {
        Value::Object(members) => members.iter().for_each(|(name, member)| rows(html, &named(name), member)),
        Value::Array(members) => {
            let members = members.iter().enumerate();
            members.for_each(|(index, member)| rows(html, &below(&(index + 1).to_string()), member));
        }
        Value::Null => {}
        said => {
            let text = match said {
                Value::String(text) => time(text),
                Value::Bool(true) => "yes".to_owned(),
                Value::Bool(false) => "no".to_owned(),
                other => other.to_string(),
            };
            let _ = write!(html, "<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escaped(path), escaped(&text));
        }
    }
}

/// An instant as it is said; any other text as it is.
fn time(text: &str) -> String {
    text.parse().map_or_else(|_| text.to_owned(), told)
}

fn told(at: DateTime<Utc>) -> String {
    at.format("%-d %B %Y, %H:%M:%S UTC").to_string()
}

fn text_at<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            _ => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_somebody_wrote_is_text_and_nothing_else() {
        let document = Document {
            export: "1".to_owned(),
            shop: "a.myshopify.com".to_owned(),
            made_at: chrono::DateTime::UNIX_EPOCH,
            nothing_kept_of: Vec::new(),
            kept: vec![json!({ "subject": "customer:1", "deliveries": [], "histories": [{ "type": "order", "id": "1",
                "events": [{ "event": "OrderPlaced", "recorded_at": "2026",
                             "says": { "<b>note": "<script>alert('1')</script>", "none": null, "lines": [{ "is": { "units": 2 } }],
                                       "at": "2026-11-01T12:00:00Z" } }] }] })],
        };
        let page = page(&document);
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
        assert!(
            page.contains("&lt;script&gt;alert(&#39;1&#39;)") && page.contains("Lines › 1 › Units</th><td>2<"),
            "{page}"
        );
        assert!(
            page.contains("<h4>Order placed, recorded on 2026<")
                && page.contains("When</th><td>1 November 2026, 12:00:00 UTC<")
        );
        assert!(!page.contains("None"));
    }
}
