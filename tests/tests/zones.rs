//! Days and hours of shops around the world, against tables and folds that know nothing of our code.

use chrono::{DateTime, Days, Duration, NaiveDate, Utc};
use domain::Zone;
use ecomdash_tests::{
    Ecomdash, Shop, TestDatabase,
    bodies::{line, order},
    random::{rng, seed},
};
use rand::RngExt;
use serde_json::Value;
use sqlx::Row;

/// A name, a zone, a local day, when it begins, when it is over, and how many hours it shows.
type Vector = (&'static str, &'static str, &'static str, &'static str, &'static str, usize);

/// `tz-1` to `tz-9` of the definitions, and the ends of the world.
const VECTORS: [Vector; 17] = [
    ("tz-1", "America/New_York", "2026-03-08", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z", 23),
    ("tz-2", "America/New_York", "2026-11-01", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z", 25),
    ("tz-3", "Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", 23),
    ("tz-4", "Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", 25),
    ("tz-5", "America/Santiago", "2026-09-06", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z", 23),
    ("tz-6", "America/Santiago", "2026-04-04", "2026-04-04T03:00:00Z", "2026-04-05T04:00:00Z", 25),
    ("tz-7", "Africa/Cairo", "2026-04-24", "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z", 23),
    // One of its hours is half as long.
    ("tz-8", "Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30:00Z", "2026-10-04T13:00:00Z", 24),
    ("tz-9", "Asia/Kathmandu", "2026-11-01", "2026-10-31T18:15:00Z", "2026-11-01T18:15:00Z", 24),
    ("leap day, UTC", "UTC", "2024-02-29", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z", 24),
    ("leap day, UTC+14", "Pacific/Kiritimati", "2024-02-29", "2024-02-28T10:00:00Z", "2024-02-29T10:00:00Z", 24),
    ("leap day, UTC-11", "Pacific/Pago_Pago", "2024-02-29", "2024-02-29T11:00:00Z", "2024-03-01T11:00:00Z", 24),
    ("half an hour", "Asia/Kolkata", "2026-11-01", "2026-10-31T18:30:00Z", "2026-11-01T18:30:00Z", 24),
    ("half an hour, west", "America/St_Johns", "2026-03-08", "2026-03-08T03:30:00Z", "2026-03-09T02:30:00Z", 23),
    // The clocks go back at a quarter to four: that hour ends early, and the last quarter of the one before comes again.
    ("three quarters", "Pacific/Chatham", "2026-04-05", "2026-04-04T10:15:00Z", "2026-04-05T11:15:00Z", 26),
    // The year's last day and its first, where the day is not UTC's.
    ("new year", "Pacific/Auckland", "2026-01-01", "2025-12-31T11:00:00Z", "2026-01-01T11:00:00Z", 24),
    // The whole day was skipped: from UTC-11 to UTC+13.
    ("no day at all", "Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", 0),
];

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

#[test]
fn r_41_days_and_hours_are_as_the_table_says() {
    for (name, zone, local, start, end, hours) in VECTORS {
        let (zone, local, start, end): (Zone, _, _, _) =
            (zone.parse().unwrap(), day(local), instant(start), instant(end));
        assert_eq!((zone.start_of(local), zone.end_of(local)), (start, end), "{name}");
        let begins = zone.hours_of(local);
        assert_eq!(begins.len(), hours, "{name}: {begins:?}");
        assert!(begins.first().is_none_or(|first| *first == start), "{name}");
        let mut bounds = begins.clone();
        bounds.push(end);
        for pair in bounds.windows(2) {
            let length = pair[1] - pair[0];
            assert!(length > Duration::zero() && length <= Duration::hours(1), "{name}: {pair:?}");
        }
        // Minute by minute, a day before to a day after: the table's day, or one beside it.
        let mut at = start - Duration::days(1);
        while at < end + Duration::days(1) {
            let expected = if at < start { zone.day_of(at) < local } else { zone.day_of(at) > local };
            let is_within = at >= start && at < end;
            assert!(if is_within { zone.day_of(at) == local } else { expected }, "{name}: {at}");
            at += Duration::minutes(1);
        }
    }
}

/// Half-hours of two years, as the database's own zones see them.
#[tokio::test]
async fn r_41_days_are_those_of_the_database_s_own_zones() {
    let database = TestDatabase::empty(ecomdash_tests::Login::Ordinary).await;
    let mut login = database.login().await;
    let mut zones: Vec<&str> = VECTORS.iter().map(|vector| vector.1).collect();
    zones.extend(["Africa/Casablanca", "America/Caracas", "Asia/Tehran", "Antarctica/Troll", "Asia/Pyongyang"]);
    zones.sort_unstable();
    zones.dedup();
    for name in zones {
        let zone: Zone = name.parse().unwrap();
        let rows = sqlx::query(
            "SELECT at, (at AT TIME ZONE $1)::date
             FROM generate_series('2023-06-01Z'::timestamptz, '2025-06-01Z', '30 minutes') at",
        )
        .bind(name)
        .fetch_all(&mut login)
        .await
        .unwrap();
        assert!(rows.len() > 35_000);
        for row in rows {
            let (at, expected): (DateTime<Utc>, NaiveDate) = (row.get(0), row.get(1));
            assert_eq!(zone.day_of(at), expected, "{name} {at}");
        }
    }
}

struct Point {
    start: String,
    end: String,
    cents: i64,
}

async fn series(shop: &Shop, granularity: &str, from: NaiveDate, to: NaiveDate) -> Vec<Point> {
    let path = format!("/api/dashboard/series?metric=total_sales&granularity={granularity}&from={from}&to={to}");
    let (status, answer) = shop.get(&path).await;
    assert_eq!(status, 200, "{answer}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let points = answer["points"].as_array().unwrap().iter();
    points
        .map(|point| Point {
            start: text(&point["start"]),
            end: text(&point["end"]),
            cents: text(&point["value"]["amount"]).replace('.', "").parse().unwrap(),
        })
        .collect()
}

/// Orders around the edges of the day and at random: every point of every granularity holds exactly those that are
/// between its bounds, as the table has them. The reference adds up instants; it has no zone.
#[tokio::test]
async fn r_41_points_of_a_series_hold_what_happened_between_their_bounds() {
    let seed = seed();
    let mut rng = rng(seed);
    let database = TestDatabase::new().await;
    let server = Ecomdash::up(&database);
    for (name, zone, local, start, end, hours) in VECTORS {
        let shop = Shop::register(&database.open(), &server.url, zone, "USD").await;
        let (local, start, end) = (day(local), instant(start), instant(end));
        let mut orders: Vec<(DateTime<Utc>, i64)> = Vec::new();
        let second = Duration::seconds(1);
        let edges =
            [start - second, start, end - second, end, start + Duration::minutes(90), end - Duration::minutes(90)];
        let drawn = (0..12).map(|_| start + second * rng.random_range(-80_000..170_000));
        for (number, at) in edges.into_iter().chain(drawn).enumerate() {
            // Each amount is a sum that no others make: whatever is missing or doubled shows.
            let cents = 1_i64 << number;
            let price = format!("{}.{:02}", cents / 100, cents % 100);
            let body = order(number as u64 + 1, &at.to_rfc3339(), vec![line(number as u64 + 1, &price, 1)]);
            assert_eq!(shop.deliver("orders/create", &body.0).await, 200);
            orders.push((at, cents));
        }
        let between = |from: DateTime<Utc>, to: DateTime<Utc>| -> i64 {
            orders.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, cents)| cents).sum()
        };
        let everything: i64 = orders.iter().map(|(_, cents)| cents).sum();
        shop.stats(&local.to_string(), &local.to_string()).await;

        let (from, to) = (local - Days::new(4), local + Days::new(4));
        let days = series(&shop, "day", from, to).await;
        let dates: Vec<String> = from.iter_days().take(9).map(|day| day.to_string()).collect();
        assert_eq!(days.iter().map(|point| point.start.clone()).collect::<Vec<_>>(), dates, "{name} SEED={seed}");
        assert!(days.iter().all(|point| point.start == point.end), "{name}");
        assert_eq!(days[4].cents, between(start, end), "{name} SEED={seed}");
        let before: i64 = days[..4].iter().map(|point| point.cents).sum();
        let after: i64 = days[5..].iter().map(|point| point.cents).sum();
        assert_eq!(before, between(DateTime::<Utc>::MIN_UTC, start), "{name} SEED={seed}");
        assert_eq!(after, between(end, DateTime::<Utc>::MAX_UTC), "{name} SEED={seed}");

        let shown = series(&shop, "hour", from, to).await;
        for pair in shown.windows(2) {
            assert_eq!(pair[0].end, pair[1].start, "{name}: no gap, no overlap");
        }
        for point in &shown {
            let (from, to) = (instant(&point.start), instant(&point.end));
            assert!(from < to && to - from <= Duration::hours(1), "{name}: {from} to {to}");
            assert_eq!(point.cents, between(from, to), "{name} {from} SEED={seed}");
        }
        let begins = shown.iter().map(|point| instant(&point.start));
        assert_eq!(begins.filter(|at| (start..end).contains(at)).count(), hours, "{name}");

        for granularity in ["week", "month"] {
            let points = series(&shop, granularity, from, to).await;
            let mut next = from;
            for point in &points {
                let (first, last) = (day(&point.start), day(&point.end));
                assert_eq!(first, next, "{name}: {granularity}s follow each other");
                let sum: i64 = days
                    .iter()
                    .filter(|day| (first..=last).contains(&self::day(&day.start)))
                    .map(|day| day.cents)
                    .sum();
                assert_eq!(point.cents, sum, "{name} {granularity} {first} SEED={seed}");
                next = last + Days::new(1);
            }
            assert_eq!(next, to + Days::new(1), "{name}");
            assert_eq!(points.iter().map(|point| point.cents).sum::<i64>(), everything, "{name} SEED={seed}");
        }
        let total = shop.metrics(&from.to_string(), &to.to_string()).await.get("total_sales");
        assert_eq!(total, Some(everything), "{name} SEED={seed}");
    }
}
