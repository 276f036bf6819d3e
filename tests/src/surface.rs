//! The operations of the API as its document has them, for tests that are to see every one, also those that come later.

use api::Role;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// Every role.
pub const ROLES: [Role; 4] = [Role::Merchant, Role::Auditor, Role::Compliance, Role::Operator];

/// The document.
pub fn document() -> Value {
    serde_json::from_str(api::document()).expect("the document is JSON")
}

/// An operation of the document.
#[derive(Debug, Clone)]
pub struct Operation {
    /// `GET` …
    pub method: Method,
    /// With its parameters in braces.
    pub path: String,
    /// The whole of it.
    pub value: Value,
}

/// A parameter of an operation.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// `path`, `query` or `header`.
    pub place: String,
    /// It must be there.
    pub required: bool,
    /// A value that is well formed.
    pub sample: String,
    /// What values it takes.
    pub schema: Value,
}

/// Every operation.
pub fn operations() -> Vec<Operation> {
    let document = document();
    let paths = document["paths"].as_object().expect("paths").clone();
    let operations = paths.into_iter().flat_map(|(path, item)| {
        let item = item.as_object().expect("operations").clone();
        item.into_iter().map(move |(method, value)| Operation {
            method: method.to_uppercase().parse().expect("a method"),
            path: path.clone(),
            value,
        })
    });
    operations.collect()
}

impl Operation {
    /// `GET /path`.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The roles whose tokens it takes; none, if it takes no token.
    pub fn roles(&self) -> Vec<&str> {
        let schemes = self.value["security"].as_array().map_or(&[][..], Vec::as_slice);
        schemes.iter().filter_map(|scheme| scheme["bearer"][0].as_str()).collect()
    }

    /// Its parameters.
    pub fn parameters(&self) -> Vec<Parameter> {
        let parameters = self.value["parameters"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let parameter = |value: Value| Parameter {
            name: text(&value["name"]),
            place: text(&value["in"]),
            required: value["required"] == true,
            sample: sample(&value),
            schema: resolve(&value["schema"]),
        };
        parameters.into_iter().map(parameter).collect()
    }

    /// The properties of its body, if it has one that is described.
    pub fn body_properties(&self) -> Vec<String> {
        let schema = resolve(&self.value["requestBody"]["content"]["application/json"]["schema"]);
        schema["properties"].as_object().map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
    }

    /// A request of it with its required parameters, where `with` (name and value) replaces or adds some.
    pub fn request(&self, client: &reqwest::Client, url: &str, with: &[(&str, &str)]) -> RequestBuilder {
        let given = |name: &str| with.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned());
        let parameters = self.parameters();
        let mut path = self.path.clone();
        let mut query: Vec<(String, String)> = Vec::new();
        let mut headers: Vec<(String, String)> = Vec::new();
        for parameter in &parameters {
            let value = given(&parameter.name).or_else(|| parameter.required.then(|| parameter.sample.clone()));
            let Some(value) = value else { continue };
            match parameter.place.as_str() {
                "path" => path = path.replace(&format!("{{{}}}", parameter.name), &encoded(&value)),
                "query" => query.push((parameter.name.clone(), value)),
                _ => headers.push((parameter.name.clone(), value)),
            }
        }
        let others = with.iter().filter(|(name, _)| parameters.iter().all(|parameter| parameter.name != *name));
        query.extend(others.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let query: Vec<String> =
            query.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        let request = client.request(self.method.clone(), format!("{url}{path}?{}", query.join("&")));
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        if self.value["requestBody"].is_object() { request.json(&json!({})) } else { request }
    }
}

/// What a reference stands for.
fn resolve(schema: &Value) -> Value {
    match schema["$ref"].as_str() {
        Some(reference) => document().pointer(reference.trim_start_matches('#')).cloned().expect("a schema"),
        None => schema.clone(),
    }
}

fn sample(parameter: &Value) -> String {
    let schema = resolve(&parameter["schema"]);
    let example = [&parameter["example"], &schema["example"], &schema["examples"][0], &schema["enum"][0]];
    match example.into_iter().find(|value| !value.is_null()) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "1".to_owned(),
    }
}

/// For a path or a query.
fn encoded(text: &str) -> String {
    let each = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    each.collect()
}
