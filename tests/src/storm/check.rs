//! After the storm: the invariants, from the history and the database alone.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::{Duration, Instant},
};

use event_store::{Database, verify};
use projector::{RebuildOptions, rebuild};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Storm,
    fleet::METRICS_TOKEN,
    history::History,
    load::{unique_cents, unique_line},
    replay::{Expected, replay},
};
use crate::{Metrics, SECRET, key_of, number};

/// Connections of two `serve` and two `work`.
const CONNECTIONS: i64 = 2 * 5 + 2 * 4;
/// Less memory than this is no leak, in KiB.
const MEMORY_FLOOR_KIB: i64 = 64 * 1024;

/// Values of bodies, and of settings, that must be readable nowhere.
const CANARIES: [&str; 5] = [SECRET, "jane.doe@example.com", "203.0.113.7", "a@shop.example", "b@shop.example"];

/// What was looked at, and what was wrong.
#[derive(Debug, Default, Clone)]
pub struct Checked {
    /// By invariant: what was counted.
    pub held: BTreeMap<&'static str, String>,
    /// What does not hold.
    pub breaches: Vec<String>,
}

impl Checked {
    fn hold(&mut self, invariant: &'static str, counted: impl Into<String>) {
        self.held.insert(invariant, counted.into());
    }

    fn breach(&mut self, text: impl Into<String>) {
        self.breaches.push(text.into());
    }

    fn demand(&mut self, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.breaches.push(text());
        }
    }
}

/// Shop, webhook id, digest, status, reason.
type InboxRow = (Uuid, String, Vec<u8>, String, Option<String>);

/// Looks at a world after its storm.
pub struct Checker<'a> {
    world: &'a mut Storm,
    history: &'a History,
    checked: Checked,
    /// Deliveries that logs tell of.
    told: usize,
}

impl<'a> Checker<'a> {
    /// A checker of a world by what happened in it.
    pub fn new(world: &'a mut Storm, history: &'a History) -> Self {
        Self { world, history, checked: Checked::default(), told: 0 }
    }

    /// All invariants; and how many orders there are.
    pub async fn run(mut self, settled_in: Option<Duration>) -> (Checked, usize) {
        self.checked.breaches.extend(self.history.breaches.iter().cloned());
        let all_hit = self.history.kills.iter().all(|in_flight| *in_flight > 0);
        self.checked.demand(all_hit, || format!("a kill hit nothing: {:?}", self.history.kills));
        let odd = &self.history.odd_answers;
        self.checked.demand(odd.is_empty(), || format!("answers that are neither 200 nor 503: {odd:?}"));
        self.checked.demand(settled_in.is_some(), || "I-8: the lag stays for more than 30 s".into());

        let mut superuser = self.world.database.superuser().await;
        let store = self.world.database.open_with(2);
        self.deliveries(&mut superuser, &store).await;
        let mut orders = 0;
        for shop in 0..self.world.shops.len() {
            orders += self.shop(&mut superuser, &store, shop).await;
        }
        self.queue_and_checkpoints(&mut superuser).await;
        store.close().await;
        let pages = self.metrics_pages().await;
        self.resources(&mut superuser, settled_in.unwrap_or_default()).await;
        self.canaries(&mut superuser, &pages).await;
        (self.checked, orders)
    }

    /// I-1 of the inbox, I-4 and I-5.
    async fn deliveries(&mut self, superuser: &mut PgConnection, store: &Database) {
        let rows: Vec<InboxRow> = sqlx::query_as("SELECT shop_id, webhook_id, body_digest, status, reason FROM inbox")
            .fetch_all(&mut *superuser)
            .await
            .expect("it answers");
        let places: HashMap<Uuid, usize> =
            self.world.shops.iter().enumerate().map(|(place, shop)| (shop.id.0, place)).collect();
        let mut keys = Vec::new();
        for shop in &self.world.shops {
            keys.push(key_of(store, shop.id).await);
        }
        let key = |delivered: &super::history::Delivered| {
            let digest = keys[delivered.shop].body_digest(delivered.body.as_bytes()).0.to_vec();
            (delivered.shop, delivered.webhook_id.clone(), digest)
        };
        let sent: HashMap<_, bool> =
            self.history.deliveries.values().map(|delivered| (key(delivered), delivered.poison)).collect();
        let mut stored: HashMap<_, u32> = HashMap::new();
        for (shop, webhook_id, digest, status, reason) in rows {
            let key = (places[&shop], webhook_id, digest);
            match sent.get(&key) {
                None => self.checked.breach(format!("I-4: shop {} holds {}, which was not sent to it", key.0, key.1)),
                Some(poison) => self.checked.demand(status == "translated" || *poison, || {
                    format!("I-5: {} is {status}: {}", key.1, reason.as_deref().unwrap_or("no reason"))
                }),
            }
            let has_reason = status == "translated" || reason.is_some();
            self.checked.demand(status != "pending" && has_reason, || format!("I-5: {} is {status}", key.1));
            *stored.entry(key).or_default() += 1;
        }
        let mut acknowledged = HashSet::new();
        for delivered in self.history.acknowledged() {
            let key = key(delivered);
            match stored.get(&key) {
                Some(1) => {}
                None => self.checked.breach(format!("I-1: {} was answered 200 and is lost", delivered.webhook_id)),
                Some(times) => self.checked.breach(format!("I-1: {} is stored {times} times", delivered.webhook_id)),
            }
            acknowledged.insert(key);
        }
        let tried = self.history.deliveries.len();
        self.checked.demand(tried == self.history.acknowledged.len(), || {
            format!("{} of {tried} deliveries were never acknowledged", tried - self.history.acknowledged.len())
        });
        let unclaimed = number(superuser, "SELECT count(*) FROM inbox_unclaimed").await;
        self.checked.demand(unclaimed == 0, || format!("I-4: {unclaimed} deliveries are nobody's"));
        let counted = format!("{} acknowledged deliveries, each in the inbox once", acknowledged.len());
        self.checked.hold("I-1", counted);
    }

    /// One shop's log and read models: I-1 to I-4 and I-6.
    async fn shop(&mut self, superuser: &mut PgConnection, store: &Database, place: usize) -> usize {
        let (id, domain) = (self.world.shops[place].id, self.world.shops[place].domain.clone());
        let acknowledged = self.history.acknowledged().filter(|delivered| delivered.shop == place);
        let expected = replay(&domain, &key_of(store, id).await, acknowledged).await;

        let placed: Vec<(String, i64)> = sqlx::query_as(
            "SELECT aggregate_id, count(*) FROM events WHERE shop_id = $1 AND event_type = 'OrderPlaced' GROUP BY 1",
        )
        .bind(id.0)
        .fetch_all(&mut *superuser)
        .await
        .expect("it answers");
        let placed: BTreeMap<u64, i64> = placed.into_iter().map(|(id, times)| (id.parse().unwrap(), times)).collect();
        let wanted: BTreeMap<u64, i64> =
            expected.iter().filter(|(_, expected)| expected.placed).map(|(id, _)| (*id, 1)).collect();
        self.compare("I-1: orders in the log", place, &wanted, &placed);

        let broken: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM (SELECT FROM events WHERE shop_id = $1 GROUP BY aggregate_type, aggregate_id
                                   HAVING min(sequence) <> 1 OR max(sequence) <> count(*)) s",
        )
        .bind(id.0)
        .fetch_one(&mut *superuser)
        .await
        .expect("it answers");
        self.checked.demand(broken == 0, || format!("I-2: {broken} histories of shop {place} have gaps or repeats"));
        let (events, last, head): (i64, Option<i64>, i64) = sqlx::query_as(
            "SELECT count(*), max(position), (SELECT position FROM heads WHERE shop_id = $1)
             FROM events WHERE shop_id = $1",
        )
        .bind(id.0)
        .fetch_one(&mut *superuser)
        .await
        .expect("it answers");
        self.checked.demand(events == head && last == Some(head), || {
            format!("I-2: shop {place} has {events} events, the last at {last:?}, and its head at {head}")
        });
        let verified = verify(store, id, |_| {}).await.expect("it answers");
        self.checked.demand(verified.fault.is_none(), || format!("the chain of shop {place}: {:?}", verified.fault));
        self.checked.hold("I-2", "every history 1..n, every log 1..head, every chain verified");

        self.read_models(superuser, place, &expected).await;
        for projection in ["sales", "orders"] {
            let options = RebuildOptions { check_only: true, ..RebuildOptions::of(projection) };
            match rebuild(store, id, options, |_, _| {}).await {
                Ok(rebuilt) => self.checked.demand(rebuilt.comparison.is_equal(), || {
                    format!("I-3: {projection} of shop {place} differs from a rebuild: {:?}", rebuilt.comparison)
                }),
                Err(error) => self.checked.breach(format!("I-3: {projection} of shop {place}: {error}")),
            }
        }
        self.foreign(superuser, place).await;
        expected.len()
    }

    /// I-3: the ledger and the list of orders by order, and the totals that a merchant sees.
    async fn read_models(&mut self, superuser: &mut PgConnection, place: usize, expected: &BTreeMap<u64, Expected>) {
        let id = self.world.shops[place].id.0;
        let ledger: Vec<(i64, Vec<i64>)> = sqlx::query_as(
            "SELECT order_id, ARRAY[sum(units), sum(gross_minor), sum(discount_minor), sum(net_minor), sum(tax_minor),
                                    sum(orders)]::bigint[]
             FROM sale_fact JOIN live_generations l USING (shop_id, generation)
             WHERE shop_id = $1 AND l.projection = 'sales' GROUP BY order_id",
        )
        .bind(id)
        .fetch_all(&mut *superuser)
        .await
        .expect("it answers");
        let ledger: BTreeMap<u64, Vec<i64>> = not_zero(ledger.into_iter().map(|(id, sums)| (id.cast_unsigned(), sums)));
        let wanted = not_zero(expected.iter().map(|(id, expected)| (*id, expected.sums.to_vec())));
        self.compare("I-3: the ledger", place, &wanted, &ledger);

        let listed: Vec<(i64, i64, i64)> = sqlx::query_as(
            "SELECT order_id, total_price_minor, net_sales_minor
             FROM order_list JOIN live_generations l USING (shop_id, generation)
             WHERE shop_id = $1 AND l.projection = 'orders'",
        )
        .bind(id)
        .fetch_all(&mut *superuser)
        .await
        .expect("it answers");
        let listed = listed.into_iter().map(|(id, total, net)| (id.cast_unsigned(), (total, net))).collect();
        let wanted = expected.iter().filter_map(|(id, expected)| Some((*id, expected.listed?))).collect();
        self.compare("I-3: the list of orders", place, &wanted, &listed);

        let (_, stats) = self.reader(place).get("/api/dashboard/stats?from=2026-01-01&to=2027-12-31").await;
        self.checked.demand(stats["lag"] == 0, || format!("I-8: shop {place} shows a lag of {}", stats["lag"]));
        let shown = Metrics(stats["metrics"].clone()).all(["orders", "gross_sales"]);
        let orders: i64 = expected.values().map(|expected| expected.sums[5]).sum();
        let gross: i64 = expected.values().map(|expected| expected.gross_sales).sum();
        self.checked.demand(shown == [orders, gross], || {
            let amount = (shown[1] - gross).abs();
            let named: Vec<_> = expected.keys().filter(|id| unique_cents(**id) == amount).collect();
            format!(
                "I-3: shop {place} shows {shown:?} instead of {:?}; orders of that amount: {named:?}",
                [orders, gross]
            )
        });
        self.checked.hold("I-3", "ledger, list and totals equal a replay of the bodies in memory, and a rebuild");
    }

    /// A shop as it is reached now: what served when it was registered may be gone.
    fn reader(&self, place: usize) -> crate::Shop {
        let url = self.world.fleet.addresses.read().unwrap()[place % 2].1.clone();
        self.world.shops[place].at(&url)
    }

    /// I-4: nothing of another shop's, in the log and in answers.
    async fn foreign(&mut self, superuser: &mut PgConnection, place: usize) {
        let own: HashSet<&str> = self
            .history
            .deliveries
            .values()
            .filter(|delivered| delivered.shop == place)
            .map(|delivered| delivered.webhook_id.as_str())
            .collect();
        let told: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT metadata ->> 'webhook_id' FROM events
             WHERE shop_id = $1 AND metadata ->> 'webhook_id' IS NOT NULL",
        )
        .bind(self.world.shops[place].id.0)
        .fetch_all(superuser)
        .await
        .expect("it answers");
        let foreign: BTreeSet<_> = told.iter().filter(|id| !own.contains(id.as_str())).collect();
        self.checked.demand(foreign.is_empty(), || format!("I-4: shop {place}'s log tells of {foreign:?}"));
        let other = &self.world.shops[(place + 1) % self.world.shops.len()].domain;
        let (status, answer) = self.reader(place).get(&format!("/api/shops/{other}")).await;
        self.checked.demand(status == 404, || format!("I-4: shop {place} sees {other}: {answer}"));
        self.told += told.len();
        let counted = format!("{} deliveries in the logs, each in that of the shop it was sent to", self.told);
        self.checked.hold("I-4", counted);
    }

    fn compare<V: PartialEq + std::fmt::Debug>(
        &mut self,
        what: &str,
        place: usize,
        wanted: &BTreeMap<u64, V>,
        found: &BTreeMap<u64, V>,
    ) {
        let ids: BTreeSet<_> = wanted.keys().chain(found.keys()).collect();
        let wrong: Vec<_> = ids.into_iter().filter(|id| wanted.get(id) != found.get(id)).collect();
        for id in wrong.iter().take(5) {
            let cents = unique_cents(**id);
            let text = format!("order {id} (line {} of {cents} cents)", unique_line(**id));
            let (wanted, found) = (wanted.get(id), found.get(id));
            self.checked.breach(match (wanted, found) {
                (Some(_), None) => format!("{what} of shop {place}: {text} is lost"),
                (None, Some(found)) => {
                    format!("{what} of shop {place}: {text} is there as {found:?} and was never sent")
                }
                _ => format!("{what} of shop {place}: {text} is {found:?} instead of {wanted:?}"),
            });
        }
        self.checked.demand(wrong.len() <= 5, || format!("{what} of shop {place}: {} orders are wrong", wrong.len()));
    }

    /// I-5 and I-6.
    async fn queue_and_checkpoints(&mut self, superuser: &mut PgConnection) {
        let left = number(superuser, "SELECT count(*) FROM work_queue").await;
        self.checked.demand(left == 0, || format!("I-5: {left} rows of work are left"));
        let dead = number(superuser, "SELECT count(*) FROM inbox WHERE status = 'dead'").await;
        self.checked.hold(
            "I-5",
            format!("nothing pending, no work left, {dead} dead letters, each poisonous and with a reason"),
        );
        const OFF: &str = "SELECT count(*) FROM checkpoints c JOIN heads h USING (shop_id)
            WHERE c.position > h.position
               OR (c.generation > 0 AND c.position <> h.position
                   AND EXISTS (SELECT FROM live_generations l
                               WHERE (l.shop_id, l.projection, l.generation) = (c.shop_id, c.projection, c.generation)))";
        let off = number(superuser, OFF).await;
        self.checked.demand(off == 0, || format!("I-6: {off} checkpoints are not where the log ends"));
        self.checked.hold("I-6", "looked at five times a second and at the end: no checkpoint ahead, all at the head");
    }

    /// I-8: time, connections, memory; and an orderly end.
    async fn resources(&mut self, superuser: &mut PgConnection, settled_in: Duration) {
        const OURS: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ecomdash'";
        const IDLE_INSIDE: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ecomdash'
            AND state LIKE 'idle in transaction%' AND state_change < clock_timestamp() - interval '5 seconds'";
        let connections = number(superuser, OURS).await;
        self.checked.demand(connections <= CONNECTIONS, || format!("I-8: {connections} connections"));
        let idle = number(superuser, IDLE_INSIDE).await;
        self.checked.demand(idle == 0, || format!("I-8: {idle} connections idle inside of a transaction"));
        let memory = self.world.fleet.memory();
        for (name, then, now) in &memory {
            let bound = (then + then / 10).max(MEMORY_FLOOR_KIB);
            self.checked.demand(*now <= bound, || format!("I-8: {name} grew from {then} to {now} KiB"));
        }
        let unwell = self.world.fleet.stop();
        self.checked.demand(unwell.is_empty(), || unwell.join(", "));
        let deadline = Instant::now() + Duration::from_secs(5);
        while number(superuser, OURS).await != 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let left = number(superuser, OURS).await;
        self.checked.demand(left == 0, || format!("I-8: {left} connections are left behind"));
        let most = memory.iter().map(|(_, _, now)| now / 1024).max().unwrap_or_default();
        self.checked.hold(
            "I-8",
            format!("settled in {} ms, {connections} connections, {most} MiB at most", settled_in.as_millis()),
        );
    }

    /// I-7: in no log of a process, and in no table as text or as bytes.
    /// What each API tells whoever collects metrics.
    async fn metrics_pages(&mut self) -> String {
        let mut pages = String::new();
        let addresses: Vec<String> = self.world.fleet.urls();
        for url in addresses {
            let request = crate::client().get(format!("{url}/metrics")).bearer_auth(METRICS_TOKEN);
            let answer = request.send().await.expect("it answers");
            self.checked.demand(answer.status() == 200, || format!("I-7: /metrics answered {}", answer.status()));
            pages.push_str(&answer.text().await.expect("a page"));
        }
        pages
    }

    async fn canaries(&mut self, superuser: &mut PgConnection, pages: &str) {
        let mut canaries: Vec<String> = CANARIES.iter().map(ToString::to_string).collect();
        canaries.push(self.world.database.encryption_keys.clone());
        canaries.extend(self.world.shops.iter().map(|shop| shop.token.clone()));
        canaries.push(METRICS_TOKEN.to_owned());
        let logs = self.world.fleet.logs();
        let tables: Vec<String> =
            sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
                .fetch_all(&mut *superuser)
                .await
                .expect("it answers");
        for (number, canary) in canaries.iter().enumerate() {
            self.checked.demand(!logs.contains(canary), || format!("I-7: canary {number} is in a log"));
            self.checked.demand(!pages.contains(canary), || format!("I-7: canary {number} is in the metrics"));
        }
        for table in &tables {
            let sql = format!(
                "SELECT count(*) FROM {table} t, UNNEST($1::text[]) AS c (text)
                 WHERE position(c.text IN t::text) > 0
                    OR position(encode(convert_to(c.text, 'UTF8'), 'hex') IN t::text) > 0"
            );
            let hits: i64 =
                sqlx::query_scalar(&sql).bind(&canaries).fetch_one(&mut *superuser).await.expect("it answers");
            self.checked.demand(hits == 0, || format!("I-7: {hits} canaries are in {table}"));
        }
        let counted = format!(
            "{} canaries in {} tables, {} KiB of logs and {} KiB of metrics",
            canaries.len(),
            tables.len(),
            logs.len() / 1024,
            pages.len() / 1024
        );
        self.checked.hold("I-7", counted);
    }
}

fn not_zero(sums: impl Iterator<Item = (u64, Vec<i64>)>) -> BTreeMap<u64, Vec<i64>> {
    sums.filter(|(_, sums)| sums.iter().any(|sum| *sum != 0)).collect()
}
