//! The rules of the schema, asked of the database's own catalogue, so that a new table cannot be forgotten.

use ecomdash_tests::TestDatabase;
use sqlx::{PgConnection, Row};

/// Without row-level security: none holds readable content of a shop.
const FLEET_TABLES: [&str; 6] =
    ["_sqlx_migrations", "api_tokens", "directory", "former_shops", "inbox_unclaimed", "work_queue"];

/// What policies allow: the rows of the shop that the transaction has set, or none.
const OWN_ROWS: &str = "(shop_id = (NULLIF(current_setting('app.current_shop_id'::text, true), ''::text))::uuid)";

/// Each query finds what breaks a rule, one line of text for each.
fn rules() -> Vec<(&'static str, String)> {
    let fleet = FLEET_TABLES.map(|name| format!("'{name}'")).join(", ");
    let is_ours = "c.relnamespace = 'public'::regnamespace";
    let is_tenant = format!("{is_ours} AND c.relkind IN ('r', 'p') AND c.relname NOT IN ({fleet})");
    vec![
        (
            "a tenant table has a shop, and one that is no fleet table is a tenant table",
            format!(
                "SELECT c.relname::text FROM pg_class c WHERE {is_tenant} AND NOT EXISTS (
                     SELECT FROM pg_attribute a
                     WHERE a.attrelid = c.oid AND a.attname = 'shop_id' AND a.attnotnull AND a.atttypid = 'uuid'::regtype)"
            ),
        ),
        (
            "every tenant table has a primary key",
            format!(
                "SELECT c.relname::text FROM pg_class c WHERE {is_tenant}
                 AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)"
            ),
        ),
        (
            "every index of a tenant table, and so every unique key, begins with the shop",
            format!(
                "SELECT i.indexrelid::regclass::text FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid
                 WHERE {is_tenant} AND NOT COALESCE((
                     SELECT a.attname = 'shop_id' FROM pg_attribute a
                     WHERE a.attrelid = c.oid AND a.attnum = i.indkey[0]), false)"
            ),
        ),
        (
            "no constraint leaves its table",
            "SELECT conname::text FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace"
                .to_owned(),
        ),
        (
            "row-level security is on and forced for every tenant table",
            format!(
                "SELECT c.relname::text FROM pg_class c
                 WHERE {is_tenant} AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"
            ),
        ),
        (
            "and for no fleet table, which is read without a shop",
            format!("SELECT c.relname::text FROM pg_class c WHERE c.relname IN ({fleet}) AND c.relrowsecurity"),
        ),
        (
            "whoever reads or writes a tenant table has one policy, which lets only the shop's own rows through",
            format!(
                "SELECT c.relname::text || ': ' || count(p.*) || ' policies' FROM pg_class c
                 LEFT JOIN pg_policies p ON p.schemaname = 'public' AND p.tablename = c.relname
                 WHERE {is_tenant} GROUP BY c.relname
                 HAVING count(p.*) <> 1 OR NOT bool_and(
                     p.permissive = 'PERMISSIVE' AND p.cmd = 'ALL' AND p.roles = '{{public}}'
                     AND p.qual = $rule${OWN_ROWS}$rule$ AND p.with_check = $rule${OWN_ROWS}$rule$)"
            ),
        ),
        (
            "no trigger but those that refuse, which is always on, for every change",
            "SELECT t.tgname::text FROM pg_trigger t WHERE NOT t.tgisinternal
             AND NOT ((t.tgname, t.tgrelid) IN (('events_are_immutable', 'events'::regclass),
                                                ('checkpoints_are_immutable', 'log_checkpoints'::regclass))
                      AND t.tgenabled = 'O'
                      AND t.tgqual IS NULL AND t.tgtype & 63 = 2 + 8 + 16 + 32)
             UNION ALL
             SELECT 'one is gone'
             WHERE (SELECT count(*) FROM pg_trigger
                    WHERE tgname IN ('events_are_immutable', 'checkpoints_are_immutable')) <> 2"
                .to_owned(),
        ),
        (
            "no sequence, and so no order over shops",
            format!("SELECT c.relname::text FROM pg_class c WHERE {is_ours} AND c.relkind = 'S'"),
        ),
        (
            "no rule, view or generated column between a statement and its table",
            format!(
                "SELECT c.relname::text FROM pg_class c WHERE {is_ours} AND c.relkind NOT IN ('r', 'p', 'i', 'I', 't', 'c', 'S')
                 UNION ALL SELECT r.rulename::text FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class WHERE {is_ours}"
            ),
        ),
        (
            "texts in keys compare as bytes",
            format!(
                "SELECT DISTINCT c.relname || '.' || a.attname FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey::int2[])
                 JOIN pg_collation l ON l.oid = a.attcollation
                 WHERE {is_ours} AND c.relname <> '_sqlx_migrations' AND i.indisunique AND l.collname <> 'C'"
            ),
        ),
        (
            "no function works with the rights of its owner, or looks in places of its own",
            "SELECT p.proname::text FROM pg_proc p
             WHERE p.pronamespace = 'public'::regnamespace AND (p.prosecdef OR array_to_string(p.proconfig, ',') ~ 'search_path|role')"
                .to_owned(),
        ),
        (
            "the application's role is an ordinary one that nobody can log in as, and owns nothing",
            "SELECT r.rolname::text FROM pg_roles r WHERE r.rolname = 'ecomdash_app'
             AND (r.rolsuper OR r.rolbypassrls OR r.rolcanlogin OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication
                  OR EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid)
                  OR EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid))
             UNION ALL
             SELECT 'it is gone' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ecomdash_app')"
                .to_owned(),
        ),
        (
            "nobody but the owner can put a table or a function before ours",
            "SELECT 'ecomdash_app may create in ' || n.nspname FROM pg_namespace n
             WHERE n.nspname !~ '^pg_(toast|temp)' AND has_schema_privilege('ecomdash_app', n.oid, 'CREATE')
             UNION ALL
             SELECT 'everybody may create in public' FROM pg_namespace n, aclexplode(n.nspacl) acl
             WHERE n.nspname = 'public' AND acl.grantee = 0 AND acl.privilege_type = 'CREATE'"
                .to_owned(),
        ),
        (
            "the log is only read and appended to, and nothing of ours is truncated",
            format!(
                "SELECT c.relname || ' ' || privilege FROM pg_class c,
                     UNNEST(ARRAY['UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
                 WHERE {is_ours} AND c.relkind IN ('r', 'p') AND has_table_privilege('ecomdash_app', c.oid, privilege)
                 AND (c.relname IN ('events', '_sqlx_migrations') OR privilege IN ('TRUNCATE', 'REFERENCES', 'TRIGGER'))"
            ),
        ),
        (
            "nobody else has any right to a table",
            format!(
                "SELECT c.relname || ' to ' || acl.grantee::regrole FROM pg_class c, aclexplode(c.relacl) acl
                 WHERE {is_ours} AND c.relkind IN ('r', 'p')
                 AND acl.grantee NOT IN (c.relowner, 'ecomdash_app'::regrole)"
            ),
        ),
        (
            "every fleet table that the list names is there",
            format!(
                "SELECT name FROM UNNEST(ARRAY[{fleet}]) AS name
                 WHERE NOT EXISTS (SELECT FROM pg_class c WHERE {is_ours} AND c.relname = name)"
            ),
        ),
    ]
}

/// What breaks a rule, by rule.
async fn broken(connection: &mut PgConnection) -> Vec<String> {
    let mut broken = Vec::new();
    for (rule, sql) in rules() {
        let rows =
            sqlx::raw_sql(&sql).fetch_all(&mut *connection).await.unwrap_or_else(|error| panic!("{rule}: {error}"));
        broken.extend(rows.iter().map(|row| format!("{rule}: {}", row.get::<String, _>(0))));
    }
    broken
}

#[tokio::test]
async fn r_112_the_schema_keeps_its_rules_and_each_rule_can_be_seen_to_break() {
    let database = TestDatabase::new().await;
    let mut superuser = database.superuser().await;
    assert_eq!(broken(&mut superuser).await, [""; 0]);

    // Each rule notices what it is for.
    let sabotage = [
        "CREATE TABLE forgotten (id uuid PRIMARY KEY)",
        "ALTER TABLE heads DROP CONSTRAINT heads_pkey",
        "CREATE INDEX ON events (recorded_at)",
        "ALTER TABLE inbox ADD FOREIGN KEY (shop_id) REFERENCES heads (shop_id)",
        "ALTER TABLE events NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE work_queue ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY another ON inbox FOR SELECT USING (true)",
        "ALTER TABLE events DISABLE TRIGGER events_are_immutable",
        "CREATE SEQUENCE positions",
        "CREATE VIEW everything AS SELECT * FROM events",
        "ALTER TABLE subject_keys ALTER COLUMN subject TYPE text COLLATE \"default\"",
        "ALTER FUNCTION refuse_change() SECURITY DEFINER",
        "ALTER TABLE order_list OWNER TO ecomdash_app",
        "GRANT CREATE ON SCHEMA public TO ecomdash_app",
        "GRANT UPDATE ON events TO ecomdash_app",
        "GRANT SELECT ON events TO PUBLIC",
        "ALTER TABLE work_queue RENAME TO work",
    ];
    assert_eq!(sabotage.len(), rules().len());
    for (statement, (rule, _)) in sabotage.into_iter().zip(rules()) {
        sqlx::raw_sql(&format!("BEGIN; {statement}")).execute(&mut superuser).await.expect(statement);
        let broken = broken(&mut superuser).await;
        sqlx::raw_sql("ROLLBACK").execute(&mut superuser).await.unwrap();
        assert!(broken.iter().any(|broken| broken.starts_with(rule)), "{statement} breaks {broken:?}, not: {rule}");
    }
}
