//! Every place of a world where something could stand in the clear: what is answered, kept, written and printed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use api::Role;
use event_store::events;
use futures::TryStreamExt;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::{
    Redis, client, command_on, free_folder,
    planted::{Handler, PERIOD, PLANTED, World, every_row},
    search::Search,
    surface::{Operation, ROLES, operations},
};

/// Somebody who was not erased, and stands in the clear where each search is to find them.
pub const CONTROL: &str = "Beetlebrook";
/// `METRICS_TOKEN`.
pub const METRICS_TOKEN: &str = "canary-of-the-metrics-31d7";

/// What was found, by the place where it stands.
pub type Found = BTreeMap<String, BTreeSet<&'static str>>;

/// Somebody who asks.
pub struct Caller {
    name: String,
    role: Option<Role>,
    token: Option<String>,
    /// Asks for what is personal, too.
    under_a_grant: bool,
}

/// Where to look.
pub struct Everywhere<'a> {
    /// Of the planted values, the control, and what a test adds.
    pub search: Search,
    world: &'a World,
    /// The server's.
    folder: &'a Path,
    callers: &'a [Caller],
    redis: Option<(&'a Redis, Arc<Mutex<String>>)>,
}

/// Everybody who can ask something of a shop: each role, an auditor under a grant, whoever reads metrics, and nobody.
pub async fn callers(world: &World) -> Vec<Caller> {
    let mut callers = Vec::new();
    for (role, under_a_grant) in ROLES.map(|role| (role, false)).into_iter().chain([(Role::Auditor, true)]) {
        let shop = (role != Role::Operator).then_some(world.shop.id);
        let token = crate::issue_token(&world.store, shop, role, None).await.unwrap();
        if under_a_grant {
            let body = json!({ "token": token.id, "reason": format!("audit by {CONTROL}"), "hours": 2 });
            assert_eq!(world.as_handler().await.post("/api/compliance/grants", &body).await.0, 201);
        }
        let name = format!("{}{}", role.as_str(), if under_a_grant { " under a grant" } else { "" });
        let token = Some(token.secret.expose_secret().to_owned());
        callers.push(Caller { name, role: Some(role), token, under_a_grant });
    }
    for (name, token) in [("metrics", Some(METRICS_TOKEN.to_owned())), ("nobody", None)] {
        callers.push(Caller { name: name.to_owned(), role: None, token, under_a_grant: false });
    }
    callers
}

impl<'a> Everywhere<'a> {
    /// In a world, whose server keeps its files in that folder, and in a Redis.
    pub fn of(
        world: &'a World,
        folder: &'a Path,
        callers: &'a [Caller],
        redis: Option<(&'a Redis, Arc<Mutex<String>>)>,
    ) -> Self {
        let search = Search::of(PLANTED.into_iter().chain([CONTROL]));
        Self { search, world, folder, callers, redis }
    }

    /// The same in another world of the same server, without Redis.
    pub fn in_another(self, world: &'a World) -> Self {
        Self { world, redis: None, ..self }
    }

    fn look(&self, found: &mut Found, place: &str, text: &str) {
        found.entry(place.to_owned()).or_default().extend(self.search.in_text(text));
    }

    /// In what every `GET` of the document answers to every caller about whatever there is. Fails where nobody is answered.
    pub async fn answers(&self) -> Found {
        let mut found = Found::new();
        let aggregates = self.aggregates().await;
        for operation in operations().into_iter().filter(|operation| operation.method == Method::GET) {
            let mut is_answered = false;
            for caller in self.callers {
                let may = operation.roles().is_empty()
                    || caller.role.is_some_and(|role| operation.roles().contains(&role.as_str()));
                let place = format!("{} as {}", operation.name(), caller.name);
                let questions = questions(&operation, &aggregates, &self.world.shop.domain);
                for mut question in questions.into_iter().take(if may { usize::MAX } else { 1 }) {
                    if caller.under_a_grant {
                        question.push(("personal".to_owned(), "true".to_owned()));
                    }
                    let (status, text) = self.ask(&operation, caller, &question).await;
                    is_answered |= status == 200;
                    self.look(&mut found, &place, &text);
                }
            }
            assert!(
                is_answered,
                "{} is never answered: `questions` gives it no parameters that are there",
                operation.name()
            );
        }
        let by_contact = [("email", "zebedee.q@planted.example"), ("phone", "555 010 7788"), ("customer_id", "42")];
        for (name, value) in by_contact {
            let handler = self.world.as_handler().await;
            let (_, answer) =
                handler.ask(&json!({ "kind": "customer", name: value, "reason": "case 50", "dry_run": true })).await;
            self.look(&mut found, "POST /api/compliance/redactions", &answer.to_string());
        }
        found
    }

    async fn ask(&self, operation: &Operation, caller: &Caller, question: &[(String, String)]) -> (u16, String) {
        let question: Vec<(&str, &str)> = question.iter().map(|(name, value)| (&**name, &**value)).collect();
        let request = operation.request(&client(), &self.world.server.url, &question);
        let request = caller.token.iter().fold(request, |request, token| request.bearer_auth(token));
        let answer = request.header("X-Request-Id", format!("of-{CONTROL}")).send().await.unwrap();
        let (status, head) = (answer.status().as_u16(), format!("{:?}", answer.headers()));
        (status, head + &answer.text().await.unwrap())
    }

    /// Types and ids.
    async fn aggregates(&self) -> BTreeSet<(String, String)> {
        let log = events(&self.world.store, self.world.shop.id, 0, i64::MAX);
        log.map_ok(|event| (event.aggregate_type, event.aggregate_id)).try_collect().await.unwrap()
    }

    /// In rows, in what opens with all keys at hand, in Redis and in the process's log.
    pub async fn kept(&self) -> Found {
        let mut found = Found::new();
        let mut superuser = self.world.database.superuser().await;
        self.look(&mut found, "rows", &every_row(&mut superuser).await);
        self.look(&mut found, "opened with every key", &self.world.readable().await);
        self.look(&mut found, "log", &self.world.server.log());
        if let Some((redis, overheard)) = &self.redis {
            self.look(&mut found, "Redis", &redis.everything());
            self.look(&mut found, "commands to Redis", &overheard.lock().unwrap());
        }
        found
    }

    /// In a dump, and in the server's files once nothing is left in them that could be cleared away.
    pub async fn stored(&self) -> Found {
        let mut found = Found::new();
        self.look(&mut found, "dump", &self.world.database.dump());
        let mut superuser = self.world.database.superuser().await;
        for sql in ["VACUUM", "CHECKPOINT"] {
            sqlx::query(sql).execute(&mut superuser).await.unwrap();
        }
        for file in every_file(self.folder) {
            let is_of_log = file.to_string_lossy().contains("/pg_wal/");
            let place = if is_of_log { "write-ahead log" } else { "data folder" };
            // Some end meanwhile.
            let Ok(bytes) = std::fs::read(&file) else { continue };
            found.entry(place.to_owned()).or_default().extend(self.search.in_bytes(&bytes));
        }
        found
    }

    /// In what the commands print that only read, and in the file that one of them writes.
    pub fn printed(&self, redaction: &str) -> Found {
        let mut found = Found::new();
        let folder = free_folder();
        let file = folder.join("bundle").display().to_string();
        let shop = &*self.world.shop.domain;
        let of_customer = ["redact", "customer", "--shop", shop, "--reason", "case 51", "--dry-run"];
        let by = |name: &'static str, value: &'static str| [&of_customer[..], &[name, value]].concat();
        let commands: Vec<Vec<&str>> = vec![
            vec!["redact", "list", "--shop", shop],
            vec!["redact", "show", redaction, "--shop", shop],
            vec!["redact", "receipts"],
            by("--id", "42"),
            by("--email", "zebedee.q@planted.example"),
            vec!["grant", "list", "--shop", shop],
            vec!["inbox", "list", "--shop", shop],
            vec!["shop", "show", shop],
            vec!["replay", "--shop", shop],
            vec!["verify", "--shop", shop, "--export", &file],
            vec!["doctor", "--after-restore"],
        ];
        for arguments in commands {
            let mut command = command_on(&self.world.database);
            command.args(&arguments).env("LOG_LEVEL", "debug").env("SIGNING_KEYS", &self.world.seed);
            let output = command.output().expect("the binary runs");
            let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            self.look(&mut found, &format!("ecomdash {} {}", arguments[0], arguments[1]), &text);
        }
        self.look(&mut found, "bundle", &std::fs::read_to_string(&file).expect("it was written"));
        std::fs::remove_dir_all(folder).unwrap();
        found
    }
}

/// Every way to ask an operation about what there is: each aggregate, each value of what must be chosen, each form.
fn questions(
    operation: &Operation,
    aggregates: &BTreeSet<(String, String)>,
    domain: &str,
) -> Vec<Vec<(String, String)>> {
    let parameters = operation.parameters();
    let has = |name: &str| parameters.iter().any(|parameter| parameter.place == "path" && parameter.name == name);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut about: Vec<Vec<(String, String)>> = match () {
        () if has("type") => aggregates.iter().map(|(kind, id)| vec![pair("type", kind), pair("id", id)]).collect(),
        () if has("id") => aggregates.iter().map(|(_, id)| vec![pair("id", id)]).collect(),
        () if has("domain") => vec![vec![pair("domain", domain)]],
        () => vec![vec![]],
    };
    for parameter in &parameters {
        let (name, schema) = (&parameter.name, &parameter.schema);
        if schema["format"] == "date" {
            let day = if name.ends_with("from") { PERIOD.0 } else { PERIOD.1 };
            about.iter_mut().for_each(|question| question.push(pair(name, day)));
        }
        let values: Vec<&str> = match schema["enum"].as_array() {
            Some(values) if parameter.required && parameter.place == "query" => {
                values.iter().filter_map(|value| value.as_str()).collect()
            }
            _ if name == "form" => vec!["json", "html"],
            _ => continue,
        };
        let each = |question: &Vec<(String, String)>| {
            let more = |value: &&str| question.iter().cloned().chain([pair(name, value)]).collect();
            values.iter().map(more).collect::<Vec<Vec<_>>>()
        };
        about = about.iter().flat_map(each).collect();
    }
    about
}

/// Every file of a folder, at whatever depth.
fn every_file(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files.extend(every_file(&path)) } else { files.push(path) }
    }
    files
}

/// Somebody's redaction, from the asking to the receipt: as the API tells it.
pub async fn erased(world: &World, handlers: [&Handler<'_>; 2], customer: &str) -> Value {
    let asked = json!({ "kind": "customer", "customer_id": customer, "reason": format!("case of {CONTROL}") });
    let (_, asked) = handlers[0].ask(&asked).await;
    let id = asked["id"].as_str().unwrap();
    let path = format!("/api/compliance/redactions/{id}/confirm");
    assert_eq!(handlers[1].post(&path, &crate::why()).await.0, 200);
    world.certified(handlers[0], id).await
}
