//! `holdall backend stats`: what went through backends over their whole life.

use std::time::Duration;

use holdall::units::{format_size, nearest};
use holdall::{
    BackendStats, CallStats, Config, Location, ProcessStats, parse_location, read_stats,
};
use serde_json::{Value, json};

use crate::app::App;
use crate::failure::{Done, Failure, Result, describe};
use crate::output::{Table, complain};
use crate::times;

/// How long ago a process may have written its figures and still counts as running.
const SILENT_MAX: Duration = Duration::from_secs(15);

/// Shows the figures of every backend, or of those that a word names.
pub(super) fn show(app: &App, which: Option<&str>) -> Result {
    let folder = app.settings_of(&app.global.volume)?.stats.unwrap_or_default();
    let wanted = which.map(|which| locations(app, which)).transpose()?;
    let mut kept = read_stats(&folder)?;
    if let Some(wanted) = &wanted {
        kept.backends.retain(|stats| wanted.contains(&stats.location));
    }
    if kept.backends.is_empty() && kept.problems.is_empty() {
        return Err(nothing(&folder, which));
    }
    for (at, stats) in kept.backends.iter().enumerate() {
        if app.output.is_json() {
            app.output.object(&shape(stats))?;
            continue;
        }
        if at > 0 {
            app.output.line("")?;
        }
        lines(app, stats).iter().try_for_each(|line| app.output.line(line))?;
    }
    app.output.flush()?;
    for problem in &kept.problems {
        complain(&format!("holdall: {}", describe(problem)));
    }
    Ok(Done::unless(!kept.problems.is_empty()))
}

/// The backends that a word names: a location, a backend of the configuration, or a volume.
fn locations(app: &App, word: &str) -> Result<Vec<String>> {
    if word.contains(':') {
        let location = parse_location(word)?;
        holdall::refuse_literal(&location)?;
        return Ok(vec![location.to_string()]);
    }
    let config = app.config()?.unwrap_or_default();
    if let Some(backend) = config.backends.get(word) {
        return Ok(vec![backend.location.to_string()]);
    }
    if config.volumes.contains_key(word) || word == app.global.volume || word == "default" {
        let settings = app.settings_of(word)?;
        let shown = |location: &Location| location.to_string();
        return Ok([settings.catalog.location, settings.data.location].iter().map(shown).collect());
    }
    Err(unknown(&config, word))
}

fn unknown(config: &Config, word: &str) -> Failure {
    let names = config.backends.keys().chain(config.volumes.keys());
    let hint = match nearest(word, names.map(String::as_str)) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => "leave it out to see all backends, or write a location".to_owned(),
    };
    let message = format!("the configuration has no backend or volume `{word}`; {hint}");
    Failure::NotFound(message)
}

fn nothing(folder: &std::path::Path, which: Option<&str>) -> Failure {
    let folder = folder.display();
    let of = which.map(|which| format!(" of `{which}`")).unwrap_or_default();
    Failure::NotFound(format!(
        "there are no figures{of} in `{folder}` yet; commands write them there when they end, if \
         the home folder is there"
    ))
}

fn lines(app: &App, stats: &BackendStats) -> Vec<String> {
    let mut lines = vec![format!(
        "{}  since {}, last used {}",
        stats.location,
        times::short(stats.since),
        times::short(stats.updated)
    )];
    if stats.lost {
        lines.push("  figures from before were lost: their file was damaged".to_owned());
    }
    lines.extend(table(&stats.calls, &stats.total()));
    for process in stats.processes.iter().filter(|process| !process.ended) {
        let ago = app.now().since(process.updated);
        let state = if ago <= SILENT_MAX { "running" } else { "idle, or gone without an end" };
        lines.push(format!(
            "  {} ({}), begun {}, last heard of {}: {state}",
            process.holder,
            process.role,
            times::short(process.started),
            times::short(process.updated)
        ));
        lines.extend(table(&process.calls, &process.total()));
    }
    lines
}

fn table(calls: &[CallStats], total: &CallStats) -> Vec<String> {
    let heads = ["  call", "requests", "errors", "read", "written", "mean", "p50", "p99", "max"];
    let mut table = Table::new(&heads);
    for call in calls.iter().chain([total]) {
        let latency = call.latency();
        table.add([
            format!("  {}", call.call),
            call.requests.to_string(),
            errors(call),
            format_size(call.bytes_read),
            format_size(call.bytes_written),
            time(latency.mean),
            time(latency.p50),
            time(latency.p99),
            time(latency.max),
        ]);
    }
    table.lines().collect()
}

/// How many errors, and of which kinds: `3 (2 conflict, 1 full)`.
fn errors(call: &CallStats) -> String {
    let kinds = call.errors.iter().map(|(kind, count)| format!("{count} {kind}"));
    let kinds = kinds.collect::<Vec<_>>().join(", ");
    if kinds.is_empty() { "0".to_owned() } else { format!("{} ({kinds})", call.errors()) }
}

/// A time in three digits: `940 ns`, `1.25 ms`, `12.0 s`.
fn time(duration: Duration) -> String {
    let nanos = duration.as_nanos() as f64;
    let units = [("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1.0)];
    let found = units.into_iter().find(|(_, factor)| nanos >= *factor).unwrap_or(("ns", 1.0));
    let value = nanos / found.1;
    let digits = if found.1 == 1.0 || value >= 100.0 { 0 } else { 1 + usize::from(value < 10.0) };
    format!("{value:.digits$} {}", found.0)
}

fn shape(stats: &BackendStats) -> Value {
    json!({
        "location": stats.location,
        "since": times::exact(stats.since),
        "updated": times::exact(stats.updated),
        "lost": stats.lost,
        "calls": stats.calls.iter().map(call).collect::<Vec<_>>(),
        "total": call(&stats.total()),
        "processes": stats.processes.iter().map(process).collect::<Vec<_>>(),
    })
}

fn process(process: &ProcessStats) -> Value {
    json!({
        "holder": process.holder,
        "role": process.role,
        "started": times::exact(process.started),
        "updated": times::exact(process.updated),
        "ended": process.ended,
        "calls": process.calls.iter().map(call).collect::<Vec<_>>(),
    })
}

fn call(call: &CallStats) -> Value {
    let latency = call.latency();
    json!({
        "call": call.call,
        "requests": call.requests,
        "errors": call.errors(),
        "errors_by_kind": call.errors,
        "dropped": call.dropped,
        "bytes_read": call.bytes_read,
        "bytes_written": call.bytes_written,
        "mean_seconds": latency.mean.as_secs_f64(),
        "p50_seconds": latency.p50.as_secs_f64(),
        "p99_seconds": latency.p99.as_secs_f64(),
        "max_seconds": latency.max.as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_three_digits() {
        for (nanos, shown) in [
            (0, "0 ns"),
            (940, "940 ns"),
            (1_250, "1.25 µs"),
            (99_900, "99.9 µs"),
            (123_456_789, "123 ms"),
            (12_000_000_000, "12.0 s"),
        ] {
            assert_eq!(time(Duration::from_nanos(nanos)), shown);
        }
    }
}
