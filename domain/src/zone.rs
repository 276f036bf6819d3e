//! A shop's days: local dates in its IANA zone, 23- and 25-hour days included.

use std::str::FromStr;

use chrono::{DateTime, Days, Duration, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Timelike, Utc};
use serde::{Deserialize, Serialize};

/// An IANA zone, by name. Its data is frozen at the release of chrono-tz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Zone(chrono_tz::Tz);

/// Not a zone that this build knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an IANA time zone")]
pub struct UnknownZone(pub String);

impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(name: &str) -> Result<Self, UnknownZone> {
        name.parse().map(Self).map_err(|_| UnknownZone(name.chars().take(64).collect()))
    }
}

impl Zone {
    /// Greenwich, for shops that have not told theirs.
    pub const UTC: Self = Self(chrono_tz::UTC);

    /// The IANA name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// The local date of an instant.
    #[must_use]
    pub fn day_of(&self, instant: DateTime<Utc>) -> NaiveDate {
        instant.with_timezone(&self.0).date_naive()
    }

    /// The first instant whose local date is `day`. Midnight is not built from parts: in some zones it does not exist.
    #[must_use]
    pub fn start_of(&self, day: NaiveDate) -> DateTime<Utc> {
        self.reaches(day.and_time(NaiveTime::MIN))
    }

    /// The first instant that is not before a local time at which clocks only go forward: at a day's boundary, or in a gap.
    fn reaches(&self, local: NaiveDateTime) -> DateTime<Utc> {
        // No zone is further than 15 h from UTC, so it lies in this window; there local times grow with the instant, and
        // offsets move by whole seconds: a binary search over seconds finds it.
        let middle = local.and_utc().timestamp();
        let (mut before, mut after) = (middle - 30 * 3600, middle + 30 * 3600);
        let at = |seconds: i64| Utc.timestamp_opt(seconds, 0).single().unwrap_or(DateTime::<Utc>::MAX_UTC);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if at(middle).with_timezone(&self.0).naive_local() >= local {
                after = middle;
            } else {
                before = middle;
            }
        }
        at(after)
    }

    /// The local time of day of an instant.
    #[must_use]
    pub fn time_of(&self, instant: DateTime<Utc>) -> NaiveTime {
        instant.with_timezone(&self.0).time()
    }

    /// The first instant at which clocks show this time on that day; where they skip it, the instant after the skip.
    #[must_use]
    pub fn at(&self, day: NaiveDate, time: NaiveTime) -> DateTime<Utc> {
        match self.0.from_local_datetime(&day.and_time(time)).earliest() {
            Some(local) => local.with_timezone(&Utc),
            None => self.reaches(day.and_time(time)),
        }
    }

    /// The instants at which local hours begin within a day. A repeated hour is there twice; a day that a change of zone
    /// skipped has none.
    #[must_use]
    pub fn hours_of(&self, day: NaiveDate) -> Vec<DateTime<Utc>> {
        let (start, end) = (self.start_of(day), self.end_of(day));
        if start == end {
            return Vec::new();
        }
        let hour_of = |at: DateTime<Utc>| {
            let local = at.with_timezone(&self.0);
            (local.hour(), local.offset().fix().local_minus_utc())
        };
        // Hours begin at quarters of UTC hours wherever people live; an hour that a change of clocks cuts begins there.
        let mut hours = vec![start];
        let mut at = start + Duration::minutes(15) - Duration::seconds(start.timestamp().rem_euclid(900));
        while at < end {
            if hour_of(at) != hour_of(at - Duration::minutes(15)) {
                hours.push(at);
            }
            at += Duration::minutes(15);
        }
        hours
    }

    /// The first instant after `day`.
    #[must_use]
    pub fn end_of(&self, day: NaiveDate) -> DateTime<Utc> {
        self.start_of(day + Days::new(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_as_many_as_the_day_is_long() {
        for (zone, day, hours) in [
            ("America/New_York", "2026-03-08", 23),
            ("America/New_York", "2026-11-01", 25),
            ("Asia/Kathmandu", "2026-11-01", 24),
            ("Australia/Lord_Howe", "2026-10-04", 24), // 23.5 h: one of them is half an hour long
            ("America/Santiago", "2026-09-06", 23),
            ("Pacific/Apia", "2011-12-30", 0),
        ] {
            let zone: Zone = zone.parse().unwrap();
            assert_eq!(zone.hours_of(day.parse().unwrap()).len(), hours, "{zone:?} {day}");
        }
    }

    #[test]
    fn a_time_that_clocks_skip_is_when_they_have_skipped_it() {
        for (zone, local, instant) in [
            ("America/New_York", "2026-03-08T01:59:00", "2026-03-08T06:59:00Z"),
            ("America/New_York", "2026-03-08T02:00:00", "2026-03-08T07:00:00Z"),
            ("America/New_York", "2026-03-08T02:45:00", "2026-03-08T07:00:00Z"),
            ("America/New_York", "2026-03-08T03:00:00", "2026-03-08T07:00:00Z"),
            ("America/New_York", "2026-11-01T01:30:00", "2026-11-01T05:30:00Z"), // the first of two
            ("America/Santiago", "2026-09-06T00:30:00", "2026-09-06T04:00:00Z"),
            ("Australia/Lord_Howe", "2026-10-04T02:15:00", "2026-10-03T15:30:00Z"),
        ] {
            let (zone, local): (Zone, NaiveDateTime) = (zone.parse().unwrap(), local.parse().unwrap());
            assert_eq!(
                zone.at(local.date(), local.time()),
                instant.parse::<DateTime<Utc>>().unwrap(),
                "{zone:?} {local}"
            );
        }
    }

    /// The vectors `tz-1` to `tz-9`.
    #[test]
    fn days_begin_and_end_where_the_zone_says() {
        for (zone, day, start, end) in [
            ("America/New_York", "2026-03-08", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"),
            ("America/New_York", "2026-11-01", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"),
            ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            ("America/Santiago", "2026-09-06", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"),
            ("America/Santiago", "2026-04-04", "2026-04-04T03:00:00Z", "2026-04-05T04:00:00Z"),
            ("Africa/Cairo", "2026-04-24", "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"),
            ("Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30:00Z", "2026-10-04T13:00:00Z"),
            ("Asia/Kathmandu", "2026-11-01", "2026-10-31T18:15:00Z", "2026-11-01T18:15:00Z"),
            ("Pacific/Kiritimati", "2024-02-29", "2024-02-28T10:00:00Z", "2024-02-29T10:00:00Z"),
            ("Pacific/Pago_Pago", "2024-02-29", "2024-02-29T11:00:00Z", "2024-03-01T11:00:00Z"),
        ] {
            let (zone, day): (Zone, NaiveDate) = (zone.parse().unwrap(), day.parse().unwrap());
            assert_eq!(zone.start_of(day), start.parse::<DateTime<Utc>>().unwrap(), "{zone:?} {day}");
            assert_eq!(zone.end_of(day), end.parse::<DateTime<Utc>>().unwrap(), "{zone:?} {day}");
            assert_eq!(zone.day_of(zone.start_of(day)), day);
            assert_ne!(zone.day_of(zone.start_of(day) - chrono::Duration::microseconds(1)), day);
        }
    }
}
