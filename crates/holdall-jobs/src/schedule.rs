//! When a job runs: at an interval, or as a cron expression says in a time zone.
//!
//! A pure function from one moment to the next. Where a zone's clocks change, it is as cron users
//! expect: a job at a fixed hour runs once on that day, later where its hour is left out and at the
//! first of the two where it comes twice; a job at every hour runs by the time that passes.

use std::time::Duration;

use cronexpr::{Crontab, MakeTimestamp};
use holdall_core::{Error, Operation, Result, Timestamp, units};
use holdall_volume::format::policy::JobPolicy;
use jiff::tz::TimeZone;

/// How many of an expression's times may lie where clocks are put back before one that does not.
const REPEATED_MAX: usize = 200;

/// When a job runs.
#[derive(Clone, Debug)]
pub struct Schedule {
    rule: Rule,
    /// As it was written.
    text: String,
}

#[derive(Clone, Debug)]
enum Rule {
    Never,
    Every(Duration),
    /// By the clock on the wall of this zone.
    Wall(Box<Crontab>, TimeZone),
    /// By the time that passes, in the zone that the expression itself names.
    Passing(Box<Crontab>),
}

impl Schedule {
    /// What a volume's policy says of a job, or this interval if it says nothing.
    ///
    /// # Errors
    /// `Invalid` if the expression or its zone cannot be read.
    pub fn new(policy: &JobPolicy, default: Duration) -> Result<Self> {
        if policy.off {
            return Ok(Self { rule: Rule::Never, text: "off".to_owned() });
        }
        if let Some(expression) = &policy.schedule {
            return Self::cron(expression, policy.zone.as_deref().unwrap_or("UTC"));
        }
        let every = policy.every.unwrap_or(default);
        let text = format!("every {}", units::write_duration(every));
        Ok(Self { rule: Rule::Every(every), text })
    }

    /// A cron expression of five fields, in a time zone.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn cron(expression: &str, zone: &str) -> Result<Self> {
        let wrong = |what: &str| {
            let message = format!(
                "`{expression}` is no schedule: {what}; write five fields, minute, hour, day, \
                 month and day of the week, such as `0 3 * * *`"
            );
            Error::invalid(Operation::Configure, message)
        };
        let fields: Vec<&str> = expression.split_whitespace().collect();
        let [_, hours, _, _, _] = fields.as_slice() else {
            return Err(wrong(&format!("it has {} fields", fields.len())));
        };
        let plain = fields.join(" ");
        let parse = |zone: &str| {
            cronexpr::parse_crontab(&format!("{plain} {zone}")).map_err(|error| {
                let reason = error.to_string();
                wrong(reason.lines().last().unwrap_or_default().trim_start_matches(['^', ' ']))
            })
        };
        let by_the_wall = parse("UTC")?;
        let time_zone = TimeZone::get(zone).map_err(|source| {
            let message = format!("there is no time zone `{zone}`; write for example Europe/Paris");
            Error::invalid(Operation::Configure, message).with_source(source)
        })?;
        let rule = if hours.starts_with('*') {
            Rule::Passing(Box::new(parse(zone)?))
        } else {
            Rule::Wall(Box::new(by_the_wall), time_zone)
        };
        Ok(Self { rule, text: format!("{plain} {zone}") })
    }

    /// The first time behind this one; none if it never runs by itself.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Never => None,
            Rule::Every(every) => Some(after.plus(*every)),
            Rule::Passing(crontab) => {
                let next = crontab.find_next(MakeTimestamp(moment(after)?)).ok()?;
                timestamp(next.timestamp())
            }
            Rule::Wall(crontab, zone) => next_on_the_wall(crontab, zone, after),
        }
    }

    /// The schedule as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Looks at the clock on the wall as if it were one that never changes.
fn next_on_the_wall(crontab: &Crontab, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let after = moment(after)?;
    let mut wall = zone.to_datetime(after);
    for _ in 0..REPEATED_MAX {
        let as_if = TimeZone::UTC.to_timestamp(wall).ok()?;
        wall = crontab.find_next(MakeTimestamp(as_if)).ok()?.datetime();
        let found = zone.to_ambiguous_timestamp(wall).compatible().ok()?;
        if found > after {
            return timestamp(found);
        }
    }
    None
}

fn moment(time: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_microsecond(i64::try_from(time.as_micros()).ok()?).ok()
}

fn timestamp(time: jiff::Timestamp) -> Option<Timestamp> {
    u64::try_from(time.as_microsecond()).ok().map(Timestamp::from_micros)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn at(text: &str) -> Timestamp {
        timestamp(text.parse().unwrap()).unwrap()
    }

    fn times(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::cron(expression, zone).unwrap();
        let mut time = at(after);
        let next = |_| {
            time = schedule.next(time).unwrap();
            moment(time).unwrap().to_string()
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn an_expression_is_read_in_its_zone() {
        let found = times("0 3 * * *", "Europe/Zurich", "2026-01-10T00:00:00Z", 2);
        assert_eq!(found, ["2026-01-10T02:00:00Z", "2026-01-11T02:00:00Z"]);
        let found = times("30 9 * * MON", "America/New_York", "2026-07-01T00:00:00Z", 1);
        assert_eq!(found, ["2026-07-06T13:30:00Z"]);
        let found = times("0 0 1 1 *", "UTC", "2026-01-01T00:00:00Z", 1);
        assert_eq!(found, ["2027-01-01T00:00:00Z"]);
    }

    #[test]
    fn a_fixed_hour_that_is_left_out_runs_later_that_day() {
        // On 2026-03-29 Zurich goes from 02:00 to 03:00.
        let found = times("30 2 * * *", "Europe/Zurich", "2026-03-28T00:00:00Z", 3);
        assert_eq!(found, ["2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]);
    }

    #[test]
    fn a_fixed_hour_that_comes_twice_runs_once() {
        // On 2026-10-25 Zurich goes from 03:00 back to 02:00.
        let found = times("30 2 * * *", "Europe/Zurich", "2026-10-24T12:00:00Z", 2);
        assert_eq!(found, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        // Also when asked in the second of the two hours.
        let found = times("30 2 * * *", "Europe/Zurich", "2026-10-25T01:10:00Z", 1);
        assert_eq!(found, ["2026-10-26T01:30:00Z"]);
        let found = times("0,30 2 * * *", "Europe/Zurich", "2026-10-24T22:00:00Z", 3);
        assert_eq!(found, ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:00:00Z"]);
    }

    #[test]
    fn every_hour_goes_by_the_time_that_passes() {
        let found = times("15 * * * *", "Europe/Zurich", "2026-10-25T00:00:00Z", 3);
        assert_eq!(found, ["2026-10-25T00:15:00Z", "2026-10-25T01:15:00Z", "2026-10-25T02:15:00Z"]);
        let found = times("0 * * * *", "Europe/Zurich", "2026-03-29T00:30:00Z", 2);
        assert_eq!(found, ["2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"]);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (expression, zone) in [
            ("", "UTC"),
            ("0 3 * *", "UTC"),
            ("0 0 3 * * *", "UTC"),
            ("61 3 * * *", "UTC"),
            ("0 3 * * someday", "UTC"),
            ("0 3 * * *", "Europe/Zuerich"),
            ("0 3 * * *", ""),
        ] {
            assert!(Schedule::cron(expression, zone).is_err(), "{expression} {zone}");
        }
    }

    #[test]
    fn intervals_and_off_are_as_the_policy_says() {
        let hour = Duration::from_secs(3600);
        let time = Timestamp::from_micros(5);
        let of = |policy: JobPolicy| Schedule::new(&policy, hour).unwrap();
        assert_eq!(of(JobPolicy::default()).next(time), Some(time.plus(hour)));
        let off = JobPolicy { off: true, ..JobPolicy::default() };
        assert_eq!(of(off).next(time), None);
        let day = JobPolicy { every: Some(hour * 24), ..JobPolicy::default() };
        assert_eq!(of(day.clone()).next(time), Some(time.plus(hour * 24)));
        assert_eq!(of(day).as_str(), "every 1d");
    }
}
