//! `holdall status`: how much a volume holds, and how safe it is.

use clap::Args;
use holdall::units::format_size;
use holdall::{BackendHealth, Usage, Volume};
use serde_json::{Value, json};

use super::shape::{PolicyShape, bar};
use crate::app::App;
use crate::failure::{Done, Result, describe};
use crate::output::Table;
use crate::times;

/// Shows how much a volume holds, what of it is alive, and up to which commit it can be rebuilt.
#[derive(Args, Debug)]
pub(crate) struct Status {}

impl Status {
    pub(crate) async fn run(self, app: &App) -> Result {
        let volume = app.volume().await?;
        show(app, &volume).await?;
        Ok(Done::Whole)
    }
}

/// Shows a volume.
pub(super) async fn show(app: &App, volume: &Volume) -> Result<()> {
    let usage = volume.usage().await?;
    let (name, policy) = (volume.name(), volume.policy());
    let engine = app.engine().await?;
    let settings = engine.settings();
    let health = engine.health().await;
    if app.output.is_json() {
        let mut object = serde_json::to_value(&usage).unwrap_or_default();
        object["alert"] = usage.alert().into();
        object["volume"] = name.into();
        object["id"] = volume.id().to_string().into();
        object["created"] = times::exact(volume.created()).into();
        object["time"] = times::exact(usage.time).into();
        object["policy"] = json!(PolicyShape::from(&policy));
        object["catalog"] = settings.catalog.location.to_string().into();
        object["data"] = settings.data.location.to_string().into();
        object["health"] =
            json!({ "catalog": health_shape(&health.catalog), "data": health_shape(&health.data) });
        return app.output.object(&object);
    }
    let shape = PolicyShape::from(&policy);
    let mut table = Table::default();
    let mut add = |name: &str, value: String| table.add([name.to_owned(), value]);
    add("volume", format!("{name} ({})", volume.id()));
    add("catalog", format!("{}, {}", settings.catalog.location, state(&health.catalog)));
    add("data", format!("{}, {}", settings.data.location, state(&health.data)));
    add("created", times::short(volume.created()));
    add("policy", format!("history {}, {}", shape.history, shape.compression));
    add("entries", format!("{} of {}", usage.entries, format_size(usage.bytes)));
    add("quota", quota(&usage));
    if let Some(alert) = usage.alert() {
        add("alert", alert);
    }
    if usage.history_entries > 0 {
        let bytes = format_size(usage.history_bytes);
        add("history", format!("{} old versions of {bytes}", usage.history_entries));
    }
    if usage.upload_bytes > 0 {
        add("uploads", format_size(usage.upload_bytes));
    }
    let dead = usage.segment_bytes.saturating_sub(usage.live_bytes);
    add(
        "segments",
        format!(
            "{} of {}: {} alive, {} dead",
            usage.segments,
            format_size(usage.segment_bytes),
            format_size(usage.live_bytes),
            format_size(dead)
        ),
    );
    add("last commit", format!("{}, {}", usage.sequence, times::short(usage.time)));
    let behind = usage.sequence.saturating_sub(usage.recoverable_upto);
    let note = if behind == 0 { ", everything".to_owned() } else { format!(", {behind} behind") };
    add("recoverable", format!("up to commit {}{note}", usage.recoverable_upto));
    let checkpoint = match usage.checkpoint {
        0 => "none yet".to_owned(),
        commit => format!("of commit {commit}"),
    };
    add("checkpoint", checkpoint);
    if let Some(lost) = usage.lost {
        add("lost", lost.to_string());
    }
    table.lines().try_for_each(|line| app.output.line(&line))
}

fn quota(usage: &Usage) -> String {
    match usage.quota_bytes {
        None => "none".to_owned(),
        Some(quota) => {
            format!(
                "{} {} of {}",
                bar(usage.bytes, quota),
                format_size(usage.bytes),
                format_size(quota)
            )
        }
    }
}

/// What is thought of a backend, and why.
fn state(health: &BackendHealth) -> String {
    let problem = health.problem().map(|problem| format!(": {}", describe(problem)));
    format!("{}{}", health.state, problem.unwrap_or_default())
}

fn health_shape(health: &BackendHealth) -> Value {
    let answer = health.answer.as_ref().and_then(|answer| answer.as_ref().ok());
    json!({
        "state": health.state.as_str(),
        "failures": health.failures,
        "checked": health.checked.map(times::exact),
        "seconds": health.took.as_secs_f64(),
        "problem": health.problem().map(describe),
        "bytes_free": answer.and_then(|answer| answer.bytes_free),
        "bytes_used": answer.and_then(|answer| answer.bytes_used),
        "notes": answer.map(|answer| answer.notes.as_slice()),
    })
}
