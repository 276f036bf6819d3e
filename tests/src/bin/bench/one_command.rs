//! Single commands: eight clients over twenty shops, each command a transaction.

use std::{sync::Arc, time::Instant};

use cqrs_es::{CqrsFramework, persist::PersistedEventStore};
use domain::order::{Order, OrderCommand};
use ecomdash_tests::TestDatabase;
use postgres_es::PostgresEventRepository;
use sqlx::postgres::PgPoolOptions;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Scale, data, limits};

const CLIENTS: u64 = 8;
const SHOPS: u64 = 20;

pub struct OneCommand {
    pub ours: Vec<f64>,
    pub pgbench: Vec<f64>,
    pub peer: Vec<f64>,
}

pub async fn measure(database: &TestDatabase, scale: Scale) -> anyhow::Result<OneCommand> {
    let store = database.open_with(CLIENTS as u32 + 2);
    let mut measured = OneCommand { ours: vec![], pgbench: vec![], peer: vec![] };
    for number in 1..=SHOPS {
        data::create(&store, data::shop(u128::from(number))).await?;
    }
    let plain = PgPoolOptions::new().max_connections(CLIENTS as u32).connect(&database.superuser_url).await?;
    let next = Arc::new(AtomicU64::new(1));
    // The first, unmeasured, run connects and prepares.
    for run in 0..=scale.runs {
        let warming_up = run == 0;
        // Orders as they come: placed, then fulfilled, then refunded, each command on its own. Each order has a buyer
        // of its own, whose key is made with the first.
        let work: Vec<_> = split(&next, scale.commands);
        let began = Instant::now();
        let mut clients = tokio::task::JoinSet::new();
        for commands in work {
            let store = store.clone();
            clients.spawn(async move {
                for (id, command) in commands {
                    store.execute(data::shop(shop_of(id)), command, data::metadata()).await?;
                }
                Ok::<_, event_store::StoreError>(())
            });
        }
        for outcome in clients.join_all().await {
            outcome?;
        }
        let ours = scale.commands as f64 / began.elapsed().as_secs_f64();
        let limit = pgbench(database, scale.commands)?;

        let work: Vec<_> = split(&next, scale.commands);
        let began = Instant::now();
        let mut clients = tokio::task::JoinSet::new();
        for commands in work {
            let repository = PostgresEventRepository::new(plain.clone()).with_tables("plain.events", "plain.snapshots");
            let events = PersistedEventStore::<_, Order>::new_event_store(repository);
            let framework = CqrsFramework::new(events, vec![], ());
            clients.spawn(async move {
                for (id, command) in commands {
                    let domain::Command::Order(_, command) = command else { unreachable!("orders only") };
                    framework.execute(&id.to_string(), sealed(command)).await.map_err(|error| error.to_string())?;
                }
                Ok::<_, String>(())
            });
        }
        for outcome in clients.join_all().await {
            outcome.map_err(anyhow::Error::msg)?;
        }
        let peer = scale.commands as f64 / began.elapsed().as_secs_f64();
        if !warming_up {
            measured.ours.push(ours);
            measured.pgbench.push(limit);
            measured.peer.push(peer);
        }
    }
    Ok(measured)
}

/// Any of the shops, as if by chance. By turns, the clients would walk over the shops in step, all in the same one.
fn shop_of(order: u64) -> u128 {
    u128::from(1 + (order.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % SHOPS)
}

type Work = Vec<(u64, domain::Command)>;

/// Each client's commands, made beforehand.
fn split(next: &AtomicU64, commands: u64) -> Vec<Work> {
    let share = commands / CLIENTS / 3;
    let of_order = |id: u64| data::commands(id).into_iter().map(move |command| (id, command));
    let work =
        |_| -> Work { (0..share).flat_map(|_| of_order(5_000_000 + next.fetch_add(1, Ordering::Relaxed))).collect() };
    (0..CLIENTS).map(work).collect()
}

/// postgres-es does not seal: its values are replaced by sealed bytes of the same length beforehand, at no cost to it.
fn sealed(mut command: OrderCommand) -> OrderCommand {
    use domain::{PersonalFields, Sealed};
    command.personal_fields(&mut |subject, _, field| {
        let plain = field.clear_json().map_or(0, |plain| plain.len());
        field.set_sealed(Sealed { subject, bytes: "A".repeat((plain + 32) * 4 / 3) });
    });
    command
}

/// The statements that a command makes, with the bytes of a real row, scripts for each shop. A third of the commands meets
/// a new order and a new buyer.
fn pgbench(database: &TestDatabase, transactions: u64) -> anyhow::Result<f64> {
    let row = limits::query(
        database,
        "SELECT payload::text, metadata::text FROM events WHERE event_type = 'OrderPlaced' AND aggregate_id LIKE '5000%' LIMIT 1",
    )?;
    let (payload, metadata) = row.split_once('\t').ok_or_else(|| anyhow::anyhow!("no row to copy"))?;
    // pgbench does not know where the head stands, so its append takes any head, and is otherwise the same.
    let append = limits::query(database, "SELECT pg_get_functiondef('append_events_of_subjects'::regproc)")?;
    let anywhere = append.replace("append_events_of_subjects", "append_anywhere").replace("AND hash = expected", "");
    anyhow::ensure!(
        anywhere.len() < append.len() + 100 && !anywhere.contains("= expected"),
        "not the append: {append}"
    );
    limits::psql(database, &anywhere)?;

    let mut scripts = Vec::new();
    for (number, is_first) in (1..=SHOPS).flat_map(|number| [(number, true), (number, false)]) {
        let shop = data::shop(u128::from(number));
        let (took_for_new, keys, named, weight) = if is_first {
            (
                "true",
                "ARRAY['customer:' || :agg], ARRAY[decode(repeat('ab', 60), 'hex')]",
                "ARRAY['customer:' || :agg], ARRAY['order'], ARRAY[:agg::text], \
                 ARRAY[decode(lpad(to_hex(:agg::bigint), 32, '0'), 'hex')], ARRAY['customer:' || :agg]",
                1,
            )
        } else {
            let nobody = "'{}'::text[], '{}'::text[], '{}'::text[], '{}'::bytea[], '{}'::text[]";
            ("false", "'{}'::text[], '{}'::bytea[]", nobody, 2)
        };
        let script = format!(
            "\\set agg random(1, 9000000000000000)
SELECT append_anywhere('{shop}', '', {took_for_new}, {keys}, ARRAY[now()], ARRAY['order'], ARRAY[:agg::text], ARRAY[1::bigint], \
ARRAY['OrderPlaced'], ARRAY['1'], ARRAY['{payload}'], ARRAY['{metadata}'], ARRAY[decode(repeat('cd', 32), 'hex')], \
{named}, '{{}}'::text[]);
",
            payload = payload.replace('\'', "''"),
        );
        scripts.push((format!("{number}-{weight}"), weight, script));
    }
    limits::pgbench(database, &scripts, usize::try_from(CLIENTS)?, usize::try_from(transactions / CLIENTS)?)
}
