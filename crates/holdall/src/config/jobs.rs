//! What a configuration says of a volume's jobs.

use std::collections::BTreeMap;

use holdall_core::{Error, Result};
use holdall_jobs::Schedule;
use holdall_volume::format::policy::JobPolicy;

use super::tree::{Fields, Node};
use super::wrong;
use crate::units::{nearest, parse_duration, parse_size};

const JOB_FIELDS: [&str; 4] = ["schedule", "zone", "every", "rate"];

/// Reads jobs by name from YAML, such as `{ gc: { every: 2h, rate: 50MiB }, verify: off }`.
///
/// # Errors
/// `Invalid` with the first thing that is wrong, and where.
pub(crate) fn parse_jobs(text: &str) -> Result<BTreeMap<String, JobPolicy>> {
    let mut problems = Vec::new();
    let parts = match Node::parse(text)? {
        Node::Map(parts) => parts,
        Node::Text(text) if text == "none" => BTreeMap::new(),
        _ => return Err(wrong("", "there must be names of jobs with their settings here")),
    };
    let mut jobs = BTreeMap::new();
    for (name, node) in parts {
        known(&name)?;
        let job = job(node, &name, &mut problems)?;
        if let Some(problem) = problems.into_iter().next() {
            return Err(problem);
        }
        problems = Vec::new();
        Schedule::new(&job, std::time::Duration::from_secs(1))
            .map_err(|error| wrong(&name, error.message()))?;
        jobs.insert(name, job);
    }
    Ok(jobs)
}

fn known(name: &str) -> Result<()> {
    let all = holdall_jobs::all();
    let names: Vec<&str> = all.iter().map(|job| job.name()).collect();
    if names.contains(&name) {
        return Ok(());
    }
    let hint = match nearest(name, names.iter().copied()) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("there are {}", names.join(", ")),
    };
    Err(wrong("", &format!("there is no job `{name}`; {hint}")))
}

fn job(node: Node, at: &str, problems: &mut Vec<Error>) -> Result<JobPolicy> {
    // YAML takes some words for truth values.
    if matches!(&node, Node::Text(text) if text == "off" || text == "false") {
        return Ok(JobPolicy { off: true, ..JobPolicy::default() });
    }
    let mut fields = node.map(at, &JOB_FIELDS, problems);
    let mut text = |fields: &mut Fields<'_>, name| fields.take_text(name, problems);
    let (schedule, zone) = (text(&mut fields, "schedule"), text(&mut fields, "zone"));
    let (every, rate) = (text(&mut fields, "every"), text(&mut fields, "rate"));
    let place = |error: Error| wrong(at, error.message());
    let rate = rate.as_deref().filter(|rate| *rate != "none");
    Ok(JobPolicy {
        schedule,
        zone,
        every: every.as_deref().map(parse_duration).transpose().map_err(place)?,
        rate_bytes: rate.map(parse_size).transpose().map_err(place)?,
        off: false,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::time::Duration;

    use super::*;

    #[test]
    fn jobs_are_read_as_people_write_them() {
        let text = "{ gc: { schedule: '0 3 * * *', zone: Europe/Zurich, rate: 50MiB }, \
                    seal: { every: 1h }, verify: off }";
        let jobs = parse_jobs(text).unwrap();
        assert_eq!(jobs["gc"].schedule.as_deref(), Some("0 3 * * *"));
        assert_eq!(jobs["gc"].rate_bytes, Some(50 << 20));
        assert_eq!(jobs["seal"].every, Some(Duration::from_secs(3600)));
        assert!(jobs["verify"].off);
        assert!(parse_jobs("").unwrap().is_empty() && parse_jobs("none").unwrap().is_empty());
    }

    #[test]
    fn what_is_not_known_or_does_not_fit_is_refused() {
        for (text, word) in [
            ("{ gcc: { every: 1h } }", "did you mean `gc`"),
            ("{ gc: { evry: 1h } }", "did you mean `every`"),
            ("{ gc: { every: soon } }", "soon"),
            ("{ gc: { schedule: '0 3 * *' } }", "five fields"),
            ("{ gc: { schedule: '0 3 * * *', zone: Mars } }", "Mars"),
            ("{ gc: { rate: fast } }", "fast"),
            ("no such", "names of jobs"),
        ] {
            let error = parse_jobs(text).unwrap_err();
            assert!(error.message().contains(word), "{text}: {error}");
        }
    }
}
