//! The files that a deployment is made of fit their schemas, each other and the program.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use ecomdash_tests::{
    Ecomdash, Redis, SECRET, Shop, TestDatabase, bare_command, binary,
    bodies::{line, order},
    free_folder,
    repository::{read, root},
    run,
    surface::operations,
};
use serde_json::{Value, json};

const BLUEPRINTS: [&str; 2] = ["render.yaml", "render-staging.yaml"];
/// What is known to the platform and to whoever it is told, and stands in no file.
const SECRETS: [&str; 6] =
    ["DATABASE_URL", "REDIS_URL", "ENCRYPTION_KEYS", "SIGNING_KEYS", "SHOPIFY_API_SECRET", "METRICS_TOKEN"];
/// Connections that the smallest plan leaves to the services and a command beside them, two releases at once.
const CONNECTIONS: u64 = 22;

fn yaml(file: &str) -> Value {
    serde_saphyr::from_str(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// The platform's schemas, where this checkout has them beside it. Says loudly when it has not.
fn schemas() -> Vec<Value> {
    let beside = root().join("../shared/render");
    let folder = std::env::var_os("ECOMDASH_BLUEPRINT_SCHEMAS").map_or(beside, Into::into);
    let names = ["render-blueprint.schema.json", "render-blueprint.strict.schema.json"];
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let schemas: Vec<Value> =
        names.into_iter().filter_map(read).map(|text| serde_json::from_str(&text).unwrap()).collect();
    if schemas.len() < names.len() {
        ecomdash_tests::looked_at_nothing("the schemas of Blueprints are absent");
    }
    schemas
}

#[test]
fn blueprints_fit_their_schemas_and_the_schemas_see_what_does_not() {
    for schema in schemas() {
        let validator = jsonschema::validator_for(&schema).unwrap();
        for file in BLUEPRINTS {
            let blueprint = yaml(file);
            let faults: Vec<String> =
                validator.iter_errors(&blueprint).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
            assert_eq!(faults, [""; 0], "{file}");
            let mut broken = blueprint.clone();
            broken["services"][0]["plan"] = json!("enormous");
            assert!(!validator.is_valid(&broken), "{file}");
        }
    }
}

/// The settings that the program has.
fn settings() -> BTreeSet<String> {
    let example = read(".env.example");
    let lines = example.lines().filter_map(|line| line.trim_start_matches("# ").split_once('='));
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    lines.map(|(name, _)| name.to_owned()).filter(|name| is_name(name)).collect()
}

/// A service's variables: where each comes from.
fn variables<'a>(blueprint: &'a Value, service: &'a Value) -> BTreeMap<&'a str, &'a Value> {
    let mut all = BTreeMap::new();
    for variable in items(service, "envVars") {
        let group = text(variable, "fromGroup");
        if group.is_empty() {
            all.insert(text(variable, "key"), variable);
            continue;
        }
        let found = items(blueprint, "envVarGroups").find(|of| text(of, "name") == group);
        for variable in items(found.unwrap_or_else(|| panic!("no group {group}")), "envVars") {
            all.insert(text(variable, "key"), variable);
        }
    }
    all
}

/// The services that are made of the image.
fn programs(blueprint: &Value) -> Vec<&Value> {
    items(blueprint, "services").filter(|service| service["runtime"] == "docker").collect()
}

#[test]
fn blueprints_name_what_is_there() {
    let settings = settings();
    assert!(settings.len() >= 15);
    for file in BLUEPRINTS {
        let blueprint = yaml(file);
        let mut regions = BTreeSet::new();
        let mut names = BTreeSet::new();
        for resource in items(&blueprint, "services").chain(items(&blueprint, "databases")) {
            regions.insert(text(resource, "region"));
            assert!(names.insert(text(resource, "name")), "{file}: {} is there twice", text(resource, "name"));
            assert!(resource.get("readReplicas").is_none(), "an empty list would destroy every replica");
        }
        assert_eq!(regions.len(), 1, "{file}: what is in other regions is reached slowly, or not at all");
        for service in programs(&blueprint) {
            let name = text(service, "name");
            for (key, variable) in variables(&blueprint, service) {
                assert!(settings.contains(key), "{file}: {key} of {name} is no setting");
                let of = &variable["fromDatabase"];
                if !of.is_null() {
                    assert!(
                        items(&blueprint, "databases").any(|database| database["name"] == of["name"]),
                        "{file}: {of}"
                    );
                }
                let of = &variable["fromService"];
                if !of.is_null() {
                    let service = items(&blueprint, "services").find(|service| service["name"] == of["name"]);
                    let service = service.unwrap_or_else(|| panic!("{file}: no service {of}"));
                    assert_eq!(service["type"], of["type"], "{file}: {of}");
                    let copied = text(of, "envVarKey");
                    assert!(copied.is_empty() || variables(&blueprint, service).contains_key(copied), "{file}: {of}");
                }
            }
            let health = text(service, "healthCheckPath");
            let is_route = operations().iter().any(|operation| operation.name() == format!("GET {health}"));
            assert!(service["type"] != "web" || is_route, "{file}: {health}");
            for path in items(&service["buildFilter"], "paths").filter_map(Value::as_str) {
                assert!(root().join(path.trim_end_matches("/**")).exists(), "{file}: {path}");
            }
            assert!(
                items(&service["buildFilter"], "ignoredPaths").count() > 0,
                "{file}: a filter replaces, and never adds"
            );
            assert!(root().join(text(service, "dockerfilePath")).exists());
        }
    }
}

#[test]
fn every_command_of_a_blueprint_is_one_of_the_program() {
    for file in BLUEPRINTS {
        let blueprint = yaml(file);
        let mut commands = Vec::new();
        for service in programs(&blueprint) {
            for key in ["dockerCommand", "preDeployCommand"] {
                commands.extend(service[key].as_str());
            }
        }
        assert_eq!(commands, ["/ecomdash serve", "/ecomdash migrate", "/ecomdash work"], "{file}");
        for command in commands {
            // There is no shell that would split, expand or chain.
            assert!(!command.contains(['&', '|', ';', '$', '"', '\'', '>']), "{file}: {command}");
            let mut words = command.split(' ');
            assert_eq!(words.next(), Some("/ecomdash"), "the image's program");
            let output = Command::new(binary()).args(words).arg("--help").output().unwrap();
            assert!(output.status.success(), "{file}: {command}");
        }
    }
}

#[test]
fn secrets_are_made_once_and_shared_and_stand_in_no_file() {
    for file in BLUEPRINTS {
        let blueprint = yaml(file);
        let mut generated = BTreeSet::new();
        for service in programs(&blueprint) {
            for (key, variable) in variables(&blueprint, service) {
                if !SECRETS.contains(&key) {
                    continue;
                }
                assert!(variable.get("value").is_none(), "{file}: {key} stands there");
                let ways = ["generateValue", "sync", "fromDatabase", "fromService"];
                assert_eq!(ways.iter().filter(|way| variable.get(**way).is_some()).count(), 1, "{file}: {variable}");
                if variable["generateValue"] == true {
                    assert!(generated.insert(key), "{file}: {key} would have two values");
                }
                assert!(variable["sync"] != true);
            }
        }
        assert!(generated.contains("ENCRYPTION_KEYS"), "{file}");
        for group in items(&blueprint, "envVarGroups").flat_map(|group| items(group, "envVars")) {
            assert!(group.get("sync").is_none(), "{file}: nobody is asked for what stands in a group");
            assert!(!SECRETS.contains(&text(group, "key")), "{file}: {group}");
        }
    }
}

#[test]
fn a_blueprint_s_services_fit_its_database_and_end_in_good_order() {
    for file in BLUEPRINTS {
        let blueprint = yaml(file);
        let mut needed = 2;
        for service in programs(&blueprint) {
            let usual = if service["type"] == "web" { cli::SERVE_CONNECTIONS } else { cli::WORK_CONNECTIONS };
            let given =
                variables(&blueprint, service).get("DATABASE_POOL_SIZE").map(|size| size["value"].as_str().unwrap());
            let own: u64 = given.map_or(u64::from(usual), |size| size.parse().unwrap());
            let instances =
                service["scaling"]["maxInstances"].as_u64().or(service["numInstances"].as_u64()).unwrap_or(1);
            needed += 2 * instances * own;
            // An API drains for 20 s, a batch of a worker takes 90 s at most.
            let least = if service["type"] == "web" { 25 } else { 100 };
            let delay = service["maxShutdownDelaySeconds"].as_u64().unwrap_or(30);
            assert!((least..=300).contains(&delay), "{file}: {} may take {delay} s", text(service, "name"));
            assert_eq!(service["autoDeployTrigger"], "checksPass", "{file}");
        }
        assert!(needed <= CONNECTIONS, "{file}: {needed} connections");
        assert!(blueprint["previews"].is_null(), "{file}: a preview of another branch would ignore `branch`");
    }
}

/// Staging is production under other names, so that what works there works here.
#[test]
fn staging_differs_in_names_and_branch_alone() {
    let (production, staging) = (yaml(BLUEPRINTS[0]), yaml(BLUEPRINTS[1]));
    let mut same = staging.clone();
    for service in same["services"].as_array_mut().unwrap() {
        let branch = service.as_object_mut().unwrap().remove("branch");
        assert!(service["type"] == "keyvalue" || branch == Some(json!("staging")));
    }
    let renamed = same.to_string().replace("ecomdash-staging-", "ecomdash-");
    assert_eq!(serde_json::from_str::<Value>(&renamed).unwrap(), production);
    for resource in
        items(&staging, "services").chain(items(&staging, "databases")).chain(items(&staging, "envVarGroups"))
    {
        assert!(
            text(resource, "name").starts_with("ecomdash-staging-"),
            "one name is one thing in a workspace: {resource}"
        );
    }
}

/// The environment that the platform would give a service.
fn environment(blueprint: &Value, service: &Value, given: &BTreeMap<&str, String>) -> Vec<(String, String)> {
    let value = |key: &str, variable: &Value| match variable["value"].as_str() {
        Some(value) => value.to_owned(),
        None => given[key].clone(),
    };
    let all = variables(blueprint, service);
    all.into_iter().map(|(key, variable)| (key.to_owned(), value(key, variable))).collect()
}

/// The fleet of the Blueprint, with what it says and nothing else: migrated first, then a webhook becomes a figure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fleet_of_the_blueprint_works() {
    let Some(redis) = Redis::start() else { return };
    let blueprint = yaml(BLUEPRINTS[0]);
    let database = TestDatabase::empty(ecomdash_tests::Login::Ordinary).await;
    let given = BTreeMap::from([
        ("DATABASE_URL", database.url.clone()),
        ("REDIS_URL", redis.url()),
        // As the platform makes them: 256 bits in base64.
        ("ENCRYPTION_KEYS", database.encryption_keys.clone()),
        ("SIGNING_KEYS", vault::MasterRing::generate_key().unwrap()),
        ("METRICS_TOKEN", "bWV0cmljcyBvZiB0aGUgZmxlZXQgb2YgYSB0ZXN0IQ==".to_owned()),
        ("SHOPIFY_API_SECRET", SECRET.to_owned()),
    ]);
    let data = free_folder();
    let command = |service: &Value, key: &str| {
        let mut command = bare_command(&data);
        command.env_remove("SHOPIFY_API_SECRET").env_remove("ECOMDASH_DATA").current_dir(&data);
        command.args(text(service, key).split(' ').skip(1)).envs(environment(&blueprint, service, &given));
        command
    };
    let services = programs(&blueprint);
    let [api, worker] = services[..] else { panic!("an API and a worker") };
    assert!(command(api, "preDeployCommand").output().unwrap().status.success());
    let mut serve = command(api, "dockerCommand");
    serve.args(["--host", "127.0.0.1"]).env("PORT", "0");
    let serve = Ecomdash::spawn(serve);
    let mut work = Ecomdash::work(command(worker, "dockerCommand"));
    let shop = Shop::register(&database.open(), &serve.url, "UTC", "USD").await;
    let body = order(1, "2026-11-01T12:00:00Z", vec![line(1, "10.00", 1)]).0;
    assert_eq!(shop.deliver("orders/create", &body).await, 200);
    assert_eq!(shop.metrics("2026-11-01", "2026-11-01").await.get("orders"), Some(1));
    let ready: Value =
        ecomdash_tests::client().get(format!("{}/health/ready", serve.url)).send().await.unwrap().json().await.unwrap();
    assert_eq!(ready["status"], "ready", "Redis is used");
    let (ok, told) = run(&database, &["doctor"]);
    assert!(ok, "{told}");
    assert!(work.terminate().success());
    // It keeps nothing beside the database: its disk goes with it.
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0);
    std::fs::remove_dir_all(data).unwrap();
}

/// Actions are named by commit, so that nobody can put another one in their place; a job may read the code and no more.
#[test]
fn the_workflow_pins_its_actions_and_has_the_least_rights() {
    let folder = root().join(".github/workflows");
    let mut steps = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        let workflow = yaml(&name);
        assert_eq!(workflow["permissions"], json!({ "contents": "read" }), "{name}");
        assert!(!read(&name).contains("secrets."), "{name}: nothing here needs one");
        assert!(workflow["on"].get("pull_request_target").is_none());
        for (job, of) in workflow["jobs"].as_object().unwrap() {
            assert!(of["timeout-minutes"].is_u64(), "{name}: {job} may go on for hours");
            assert!(of.get("permissions").is_none(), "{name}: {job}");
            for step in items(of, "steps") {
                if let Some(uses) = step["uses"].as_str() {
                    let (_, commit) = uses.split_once('@').unwrap_or_default();
                    assert!(
                        commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()),
                        "{name}: {uses}"
                    );
                    let is_checkout = uses.starts_with("actions/checkout@");
                    assert!(!is_checkout || step["with"]["persist-credentials"] == false, "{name}: {job}");
                }
                steps.extend(step["run"].as_str().map(str::to_owned));
            }
        }
    }
    for script in ["bin/check", "bin/test"] {
        assert!(steps.iter().any(|step| step == script), "{script} is not run: {steps:?}");
        assert!(root().join(script).exists());
    }
}
