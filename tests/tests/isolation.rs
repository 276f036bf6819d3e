//! One shop never sees another's data: over HTTP, and by raw SQL as the application's role.

use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    bodies::{line, order},
};
use sqlx::{Executor, PgConnection, Row};

/// Without row-level security: none holds readable content of a shop.
const FLEET_TABLES: [&str; 6] =
    ["_sqlx_migrations", "api_tokens", "directory", "former_shops", "inbox_unclaimed", "work_queue"];

struct World {
    database: TestDatabase,
    _server: Ecomdash,
    ours: Shop,
    theirs: Shop,
}

/// Two shops with the same order ids and other amounts.
async fn world() -> World {
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    let store = database.open();
    let ours = Shop::register(&store, &server.url, "UTC", "USD").await;
    let theirs = Shop::register(&store, &server.url, "UTC", "USD").await;
    for (shop, price) in [(&ours, "10.00"), (&theirs, "99.00")] {
        for id in 1..4 {
            let body = order(id, "2026-11-01T12:00:00Z", vec![line(id, price, 1)]).0;
            assert_eq!(shop.deliver("orders/create", &body).await, 200);
        }
        shop.stats("2026-11-01", "2026-11-01").await;
    }
    World { database, _server: server, ours, theirs }
}

#[tokio::test]
async fn every_endpoint_answers_from_the_token_s_shop_alone() {
    let World { ours, theirs, _server, .. } = world().await;
    for (shop, gross) in [(&ours, 3000), (&theirs, 29700)] {
        assert_eq!(shop.metrics("2026-11-01", "2026-11-01").await.all(["gross_sales", "orders"]), [gross, 3]);
    }
    // A shop that is named in path, query or header changes nothing.
    let named = format!("shop={}&shop_id={}&shop_domain={}", theirs.domain, theirs.id, theirs.domain);
    for path in [
        format!("/api/dashboard/stats?from=2026-11-01&to=2026-11-01&{named}"),
        format!("/api/dashboard/series?metric=gross_sales&from=2026-11-01&to=2026-11-01&{named}"),
        format!("/api/orders?{named}"),
    ] {
        let (status, answer) = ours.get(&path).await;
        assert_eq!(status, 200, "{path}");
        let text = answer.to_string();
        assert!(
            !text.contains("99.00") && !text.contains("297.00") && !text.contains(&theirs.domain),
            "{path}: {text}"
        );
    }
    let (status, own) = ours.get(&format!("/api/shops/{}", ours.domain)).await;
    assert_eq!((status.as_u16(), own["inbox"]["translated"].as_i64()), (200, Some(3)));
    let (status, other) = ours.get(&format!("/api/shops/{}", theirs.domain)).await;
    let (_, unknown) = ours.get("/api/shops/nobody.myshopify.com").await;
    assert_eq!(status, 404);
    assert_eq!(other["detail"], unknown["detail"], "another's shop looks like one that is not there");
    // A cursor of the other shop leads through one's own orders.
    let (_, page) = theirs.get("/api/orders?limit=1").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let (_, page) = ours.get(&format!("/api/orders?limit=5&cursor={cursor}")).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    assert!(!page.to_string().contains("99.00"));
}

/// Rows of every table of shops that a connection sees.
async fn visible(connection: &mut PgConnection) -> i64 {
    let tables = tenant_tables(connection).await;
    let mut rows = 0;
    for table in tables {
        let count: i64 =
            sqlx::query_scalar(&format!("SELECT count(*) FROM {table}")).fetch_one(&mut *connection).await.unwrap();
        rows += count;
    }
    rows
}

async fn assert_isolated(database: &TestDatabase, ours: &Shop, theirs: &Shop) -> Result<(), String> {
    let mut login = database.login().await;
    let row = sqlx::query("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")
        .fetch_one(&mut login)
        .await
        .unwrap();
    assert!(!row.get::<bool, _>(0) && !row.get::<bool, _>(1), "the tests' login must be an ordinary one");

    let check =
        |what: &str, rows: i64| if rows == 0 { Ok(()) } else { Err(format!("{what}: {rows} rows are visible")) };
    check("the owner without a transaction", visible(&mut login).await)?;
    login.execute("SET ROLE ecomdash_app").await.unwrap();
    check("no setting", visible(&mut login).await)?;
    login.execute("SET app.current_shop_id = ''").await.unwrap();
    check("an empty setting", visible(&mut login).await)?;
    let foreign = uuid::Uuid::new_v4();
    login.execute(format!("SET app.current_shop_id = '{foreign}'").as_str()).await.unwrap();
    check("a foreign setting", visible(&mut login).await)?;
    login.execute("RESET app.current_shop_id").await.unwrap();

    // A connection that was used for a shop keeps nothing of it.
    let sql = format!("BEGIN; SELECT set_config('app.current_shop_id', '{}', true)", ours.id);
    login.execute(sql.as_str()).await.unwrap();
    assert!(visible(&mut login).await > 0, "a shop sees its own rows");
    let others = format!("SELECT count(*) FROM events WHERE shop_id = '{}'", theirs.id);
    check("another shop by name", sqlx::query_scalar(&others).fetch_one(&mut login).await.unwrap())?;
    login.execute("COMMIT").await.unwrap();
    check("a connection used before", visible(&mut login).await)?;

    // Nor can it write for another.
    let sql = format!("BEGIN; SELECT set_config('app.current_shop_id', '{}', true)", ours.id);
    login.execute(sql.as_str()).await.unwrap();
    let insert =
        format!("INSERT INTO live_generations (shop_id, projection, generation) VALUES ('{}', 'theft', 1)", theirs.id);
    let refused = login.execute(insert.as_str()).await;
    login.execute("ROLLBACK").await.unwrap();
    match refused {
        Err(error) if error.to_string().contains("row-level security") => Ok(()),
        other => Err(format!("writing for another shop: {other:?}")),
    }
}

#[tokio::test]
async fn raw_sql_as_the_application_s_role_sees_one_shop_or_none() {
    let World { database, ours, theirs, _server } = world().await;
    assert_isolated(&database, &ours, &theirs).await.unwrap();

    // The check itself can fail: without one policy it does.
    let mut superuser = database.superuser().await;
    for sabotage in [
        "DROP POLICY tenant ON events; ALTER TABLE events DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE events ENABLE ROW LEVEL SECURITY; CREATE POLICY tenant ON events USING (true)",
    ] {
        sqlx::raw_sql(sabotage).execute(&mut superuser).await.unwrap();
        let caught = assert_isolated(&database, &ours, &theirs).await;
        assert!(caught.is_err(), "the check does not notice: {sabotage}");
    }
}

#[tokio::test]
async fn the_log_cannot_be_changed_by_anyone_who_does_not_lift_the_trigger() {
    let World { database, ours, _server, .. } = world().await;
    let mut superuser = database.superuser().await;
    for sql in [
        "UPDATE events SET event_type = 'x'",
        "DELETE FROM events",
        "TRUNCATE events",
        "DELETE FROM events WHERE false",
    ] {
        let refused = superuser.execute(sql).await.unwrap_err().to_string();
        assert!(refused.contains("append only"), "{sql}: {refused}");
    }
    let mut login = database.login().await;
    let sql =
        format!("BEGIN; SET LOCAL ROLE ecomdash_app; SELECT set_config('app.current_shop_id', '{}', true)", ours.id);
    for change in ["UPDATE events SET event_type = 'x'", "DELETE FROM events", "ALTER TABLE events DISABLE TRIGGER ALL"]
    {
        login.execute(sql.as_str()).await.unwrap();
        assert!(login.execute(change).await.is_err(), "{change}");
        login.execute("ROLLBACK").await.unwrap();
    }
}

/// Tables of shops, as the catalogue has them.
async fn tenant_tables(connection: &mut PgConnection) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    assert!(tables.len() >= 15, "{tables:?}");
    tables.into_iter().filter(|table| !FLEET_TABLES.contains(&table.as_str())).collect()
}

#[tokio::test]
async fn r_86_no_row_of_another_shop_can_be_written_changed_or_taken_in_any_table() {
    let World { database, ours, theirs, _server } = world().await;
    let (mut superuser, mut login) = (database.superuser().await, database.login().await);
    let mut with_rows = 0;
    for table in tenant_tables(&mut superuser).await {
        let sql = format!("SELECT row_to_json(t)::text FROM {table} t WHERE shop_id = '{}' LIMIT 1", theirs.id);
        let Some(row) = sqlx::query_scalar::<_, String>(&sql).fetch_optional(&mut superuser).await.unwrap() else {
            continue;
        };
        with_rows += 1;
        let copy = format!("INSERT INTO {table} SELECT * FROM json_populate_record(NULL::{table}, $json${row}$json$)");
        for (statement, must_be_refused) in [
            (copy, true),
            (format!("UPDATE {table} SET shop_id = '{}' WHERE shop_id = '{}'", ours.id, theirs.id), false),
            (format!("UPDATE {table} SET shop_id = '{}' WHERE shop_id = '{}'", theirs.id, ours.id), true),
            (format!("DELETE FROM {table} WHERE shop_id = '{}'", theirs.id), false),
            (format!("SELECT 1 FROM {table} WHERE shop_id = '{}' FOR UPDATE", theirs.id), false),
        ] {
            let begin = format!(
                "BEGIN; SET LOCAL ROLE ecomdash_app; SELECT set_config('app.current_shop_id', '{}', true)",
                ours.id
            );
            login.execute(begin.as_str()).await.unwrap();
            let outcome = login.execute(statement.as_str()).await;
            login.execute("ROLLBACK").await.unwrap();
            match outcome {
                // A table that the shop itself has nothing in refuses nothing that touches nothing.
                Ok(done) => assert!(done.rows_affected() == 0 && !must_be_refused, "{statement}: {done:?}"),
                Err(error) => {
                    let error = error.to_string();
                    let is_refusal = error.contains("row-level security") || error.contains("permission denied");
                    assert!(is_refusal, "{statement}: {error}");
                }
            }
        }
    }
    assert!(with_rows >= 9, "only {with_rows} tables had rows");
}

#[tokio::test]
async fn r_86_a_pooled_connection_keeps_nothing_of_a_shop_whatever_ended_its_transaction() {
    let World { database, ours, _server, .. } = world().await;
    // One connection, so that each is the one that was used before.
    let store = database.open_with(1);
    let seen = async || {
        let mut connection = store.acquire().await.unwrap();
        let setting: Option<String> =
            sqlx::query_scalar("SELECT NULLIF(current_setting('app.current_shop_id', true), '')")
                .fetch_one(&mut *connection)
                .await
                .unwrap();
        let role: String = sqlx::query_scalar("SELECT current_user::text").fetch_one(&mut *connection).await.unwrap();
        let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *connection).await.unwrap();
        assert_eq!((setting.as_deref(), role.as_str()), (None, "ecomdash_owner"));
        assert_eq!(visible(&mut connection).await, 0);
        backend
    };
    let before = seen().await;
    for ending in ["commit", "rollback", "an error", "a statement that is not awaited"] {
        let mut tx = store.begin(ours.id).await.unwrap();
        let own: i64 = sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(&mut *tx).await.unwrap();
        assert!(own > 0, "a shop sees its own");
        match ending {
            "commit" => tx.commit().await.unwrap(),
            "rollback" => drop(tx),
            "an error" => {
                sqlx::query("SELECT 1 / 0").execute(&mut *tx).await.unwrap_err();
                sqlx::query("SELECT 1").execute(&mut *tx).await.unwrap_err();
                drop(tx);
            }
            _ => {
                let sleeping = tokio::time::timeout(
                    std::time::Duration::from_millis(20),
                    sqlx::query("SELECT pg_sleep(0.2)").execute(&mut *tx),
                );
                assert!(sleeping.await.is_err());
                drop(tx);
            }
        }
        assert_eq!(seen().await, before, "after {ending}: the connection was used again");
    }
}

#[tokio::test]
async fn only_a_good_token_of_the_right_role_gets_in() {
    let World { database, ours, _server, .. } = world().await;
    let store = database.open();
    let client = ecomdash_tests::client();
    let ask = async |header: Option<String>, path: &str| {
        let request = client.get(format!("{}{path}", _server.url));
        let request = header.into_iter().fold(request, |request, value| request.header("Authorization", value));
        request.send().await.unwrap().status().as_u16()
    };
    let stats = "/api/dashboard/stats";
    let long = "a".repeat(9000);
    for bad in [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic eDp5"), Some("Bearer ecd_x"), Some(&*long)]
    {
        assert_eq!(ask(bad.map(str::to_owned), stats).await, 401, "{:.30?}", bad);
    }
    use secrecy::ExposeSecret;
    let shop_page = format!("/api/shops/{}", ours.domain);
    for (role, figures, page) in [
        (api::Role::Merchant, 200, 200),
        (api::Role::Auditor, 200, 200),
        (api::Role::Compliance, 403, 200),
        (api::Role::Operator, 403, 200),
    ] {
        let shop = (role != api::Role::Operator).then_some(ours.id);
        let token = ecomdash_tests::issue_token(&store, shop, role, None).await.unwrap();
        let header = format!("Bearer {}", token.secret.expose_secret());
        for path in [stats, "/api/dashboard/series?metric=orders", "/api/orders"] {
            assert_eq!(ask(Some(header.clone()), path).await, figures, "{role:?} {path}");
        }
        assert_eq!(ask(Some(header.clone()), &shop_page).await, page, "{role:?}");
        assert!(api::revoke(&store, token.id, ecomdash_tests::said()).await.unwrap());
        assert_eq!(ask(Some(header), stats).await, 401, "a revoked token");
    }
    let brief =
        ecomdash_tests::issue_token(&store, Some(ours.id), api::Role::Merchant, Some(chrono::Duration::seconds(3)))
            .await
            .unwrap();
    let header = format!("Bearer {}", brief.secret.expose_secret());
    assert_eq!(ask(Some(header.clone()), stats).await, 200);
    tokio::time::sleep(std::time::Duration::from_millis(3200)).await;
    assert_eq!(ask(Some(header), stats).await, 401, "an expired token");
}
