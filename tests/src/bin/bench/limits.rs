//! What the database can do at best: COPY and pgbench, by a superuser, over the same socket.

use std::{process::Command, time::Instant};

use ecomdash_tests::{Cluster, TestDatabase};

/// psql or pgbench on a database as a superuser.
pub fn client(program: &str, database: &TestDatabase) -> Command {
    let url: String = database.superuser_url.clone();
    let (_, rest) = url.split_once("://").expect("a URL");
    let (login, _) = rest.split_once('@').expect("a login");
    let (user, password) = login.split_once(':').expect("a password");
    let mut command = Command::new(Cluster::shared().program(program));
    command
        .env("PGHOST", Cluster::shared().socket_dir())
        .env("PGUSER", user)
        .env("PGPASSWORD", password)
        .env("PGDATABASE", &database.name)
        .env("PGOPTIONS", "-c client_min_messages=warning -c plan_cache_mode=force_generic_plan -c jit=off");
    command
}

/// Runs SQL; how long it took, in seconds.
pub fn psql(database: &TestDatabase, sql: &str) -> anyhow::Result<f64> {
    let began = Instant::now();
    let output = client("psql", database).args(["-q", "-v", "ON_ERROR_STOP=1", "-c", sql]).output()?;
    anyhow::ensure!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(began.elapsed().as_secs_f64())
}

/// The first value that SQL answers.
pub fn query(database: &TestDatabase, sql: &str) -> anyhow::Result<String> {
    let output = client("psql", database).args(["-AtqF", "\t", "-c", sql]).output()?;
    anyhow::ensure!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

/// Transactions a second of scripts by name and weight, each client as many of them, prepared.
pub fn pgbench(
    database: &TestDatabase,
    scripts: &[(String, u32, String)],
    clients: usize,
    transactions: usize,
) -> anyhow::Result<f64> {
    let folder = std::env::temp_dir().join(format!("ecb-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut command = client("pgbench", database);
    command.args(["-n", "-M", "prepared", "-j", "2", "-c", &clients.to_string(), "-t", &transactions.to_string()]);
    for (name, weight, script) in scripts {
        let path = folder.join(format!("{name}.sql"));
        std::fs::write(&path, script)?;
        command.arg("-f").arg(format!("{}@{weight}", path.display()));
    }
    let output = command.output()?;
    std::fs::remove_dir_all(folder)?;
    let text = String::from_utf8_lossy(&output.stdout);
    anyhow::ensure!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
    let tps = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split_whitespace().next()?.parse().ok());
    tps.ok_or_else(|| anyhow::anyhow!("pgbench says no rate: {text}"))
}

/// Copies a table's rows out to the client and in again, into an empty table with the same indexes; seconds of each.
pub fn copy_out_and_in(database: &TestDatabase, query: &str, table: &str) -> anyhow::Result<(f64, f64)> {
    let file = std::env::temp_dir().join(format!("ecb-{}-{table}.copy", std::process::id()));
    let path = file.display();
    let out = psql(database, &format!("\\copy ({query}) TO '{path}'"))?;
    psql(database, &format!("DROP TABLE IF EXISTS {table}_limit"))?;
    psql(database, &format!("CREATE TABLE {table}_limit (LIKE {table} INCLUDING ALL)"))?;
    let into = psql(database, &format!("\\copy {table}_limit FROM '{path}'"))?;
    psql(database, &format!("DROP TABLE {table}_limit"))?;
    std::fs::remove_file(file)?;
    Ok((out, into))
}
