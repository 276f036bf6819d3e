//! Nobody crosses from one shop into another. Made of the document, so that an operation which is added is tried as well:
//! everything of the other shop, in every place of a request where it can stand.

use api::Role;
use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    bodies::{line, order},
    surface::{Operation, operations},
};
use reqwest::RequestBuilder;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

/// A price that only the other shop asks, and the sums that follow from it.
const THEIR_PRICE: &str = "987.65";
const THEIR_AMOUNTS: [&str; 4] = ["987.65", "1975.30", "2962.95", "3950.60"];

/// A value of the other shop, and one of the same form that nobody has.
struct Foreign {
    theirs: String,
    nobodys: String,
}

struct World {
    _database: TestDatabase,
    server: Ecomdash,
    /// Tokens of ours, by role.
    tokens: Vec<(Role, String)>,
    theirs: Shop,
    foreign: Vec<Foreign>,
}

async fn world() -> World {
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    let store = database.open();
    let ours = Shop::register(&store, &server.url, "UTC", "USD").await;
    let theirs = Shop::register(&store, &server.url, "UTC", "USD").await;
    for (shop, first, price) in [(&ours, 1_001, "10.00"), (&theirs, 770_001, THEIR_PRICE)] {
        for id in first..first + 4 {
            let body = order(id, "2026-11-01T12:00:00Z", vec![line(id, price, 1)]).0;
            assert_eq!(shop.deliver("orders/create", &body).await, 200);
        }
        shop.stats("2026-11-01", "2026-11-01").await;
    }
    let mut tokens = Vec::new();
    for role in [Role::Merchant, Role::Auditor, Role::Compliance] {
        let token = ecomdash_tests::issue_token(&store, Some(ours.id), role, None).await.unwrap();
        tokens.push((role, token.secret.expose_secret().to_owned()));
    }
    let pair = |theirs: &str, nobodys: &str| Foreign { theirs: theirs.to_owned(), nobodys: nobodys.to_owned() };
    let foreign = vec![
        pair(&theirs.domain, &format!("s{}.myshopify.com", uuid::Uuid::new_v4().simple())),
        pair(&theirs.id.to_string(), &uuid::Uuid::now_v7().to_string()),
        pair("770002", "770902"),
        pair("gid://shopify/Order/770002", "gid://shopify/Order/770902"),
        pair("#770002", "#770902"),
        pair("jane.doe@example.com", "jane.roe@example.com"),
    ];
    World { _database: database, server, tokens, theirs, foreign }
}

/// An answer without what differs between any two: its request's id.
async fn answer(request: RequestBuilder) -> (u16, String) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    (status, answer.text().await.unwrap().replace(&id, "ID"))
}

impl World {
    /// Fails where an answer holds anything of the other shop that was not in the question.
    fn assert_holds_nothing_of_theirs(&self, question: &str, text: &str) {
        let marks = [self.theirs.domain.clone(), self.theirs.id.to_string()];
        let orders = (770_001..770_005).map(|id: u64| id.to_string());
        let marks = marks.into_iter().chain(orders).chain(THEIR_AMOUNTS.map(str::to_owned));
        for mark in marks.filter(|mark| !question.contains(mark.as_str())) {
            assert!(!text.contains(&mark), "{question} answers {mark}: {text}");
        }
    }

    /// Asks with their value and with nobody's, which must not differ.
    async fn cross(&self, what: &str, foreign: &Foreign, request: impl Fn(&str) -> RequestBuilder) -> u16 {
        let (status, of_theirs) = answer(request(&foreign.theirs)).await;
        let (_, of_nobodys) = answer(request(&foreign.nobodys)).await;
        let question = format!("{what} = {}", foreign.theirs);
        self.assert_holds_nothing_of_theirs(&question, &of_theirs);
        // A value may come back as it was sent.
        let (of_theirs, of_nobodys) =
            (of_theirs.replace(&foreign.theirs, "VALUE"), of_nobodys.replace(&foreign.nobodys, "VALUE"));
        assert_eq!(of_theirs, of_nobodys, "{question}: another's and nobody's look different");
        status
    }
}

fn guarded() -> Vec<Operation> {
    operations().into_iter().filter(|operation| !operation.roles().is_empty()).collect()
}

#[tokio::test]
async fn what_is_another_shop_s_is_as_if_it_were_not_there() {
    let world = world().await;
    let client = ecomdash_tests::client();
    let url = &world.server.url;
    let mut crossed = 0;
    for operation in guarded() {
        let parameters = operation.parameters();
        for (role, token) in &world.tokens {
            for foreign in &world.foreign {
                for parameter in &parameters {
                    let what = format!("{} as {role:?}, {} {}", operation.name(), parameter.place, parameter.name);
                    let status = world.cross(&what, foreign, |value| {
                        operation.request(&client, url, &[(&parameter.name, value)]).bearer_auth(token)
                    });
                    let status = status.await;
                    assert!(parameter.place != "path" || status >= 400, "{what} = {}: {status}", foreign.theirs);
                    crossed += 1;
                }
                // What the document does not know, and a careless reader might.
                for name in ["shop", "shop_id", "shop_domain", "tenant", "domain", "id"] {
                    if parameters.iter().any(|parameter| parameter.name == name) {
                        continue;
                    }
                    let what = format!("{} as {role:?}, query {name}", operation.name());
                    world
                        .cross(&what, foreign, |value| {
                            operation.request(&client, url, &[(name, value)]).bearer_auth(token)
                        })
                        .await;
                }
                for name in ["X-Shop-Id", "X-Shopify-Shop-Domain", "X-Tenant", "X-Forwarded-Host", "Cookie"] {
                    let what = format!("{} as {role:?}, header {name}", operation.name());
                    world
                        .cross(&what, foreign, |value| {
                            operation.request(&client, url, &[]).bearer_auth(token).header(name, value)
                        })
                        .await;
                }
                let mut names = operation.body_properties();
                names.extend(["shop", "shop_id", "shop_domain"].map(str::to_owned));
                let what = format!("{} as {role:?}, body", operation.name());
                world
                    .cross(&what, foreign, |value| {
                        let body: Value = names.iter().map(|name| (name.clone(), json!(value))).collect();
                        operation.request(&client, url, &[]).bearer_auth(token).json(&body)
                    })
                    .await;
            }
        }
    }
    assert!(crossed >= 50, "{crossed}");
}

#[tokio::test]
async fn another_shop_s_cursors_lead_nowhere_else() {
    let world = world().await;
    let client = ecomdash_tests::client();
    let mut cursors = 0;
    for operation in guarded() {
        // The list of redactions, which merchants may not see, has a test of its own.
        let has_cursor = operation.parameters().iter().any(|parameter| parameter.name == "cursor");
        if !has_cursor || !operation.roles().contains(&"merchant") {
            continue;
        }
        let first = operation.request(&client, &world.server.url, &[("limit", "1")]).bearer_auth(&world.theirs.token);
        let (status, text) = answer(first).await;
        assert_eq!(status, 200, "{}: {text}", operation.name());
        let page: Value = serde_json::from_str(&text).unwrap();
        // A list of which the other shop has one page has no cursor to try.
        let Some(cursor) = page["next_cursor"].as_str() else { continue };
        cursors += 1;
        let known = operation.request(&client, &world.server.url, &[("cursor", cursor)]);
        let (_, text) = answer(known.bearer_auth(&world.theirs.token)).await;
        assert!(text.contains(THEIR_PRICE), "the mark is in their own page: {text}");
        for (role, token) in &world.tokens {
            let request = operation.request(&client, &world.server.url, &[("cursor", cursor)]).bearer_auth(token);
            let (status, text) = answer(request).await;
            let question = format!("{} as {role:?} with {cursor}", operation.name());
            world.assert_holds_nothing_of_theirs(&question, &text);
            let may = operation.roles().contains(&role.as_str());
            assert!(!may || matches!(status, 200 | 400), "{question}: {status} {text}");
        }
    }
    assert!(cursors >= 1, "no list has a cursor");
}
