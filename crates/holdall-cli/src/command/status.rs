//! `holdall status`: how much a volume holds, and how safe it is.

use clap::Args;
use holdall::units::format_size;
use holdall::{Usage, Volume};
use serde_json::json;

use super::shape::{PolicyShape, bar};
use crate::app::App;
use crate::failure::{Done, Result};
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
    if app.output.is_json() {
        let mut object = serde_json::to_value(&usage).unwrap_or_default();
        object["volume"] = name.into();
        object["id"] = volume.id().to_string().into();
        object["created"] = times::exact(volume.created()).into();
        object["time"] = times::exact(usage.time).into();
        object["policy"] = json!(PolicyShape::from(&policy));
        object["catalog"] = settings.catalog.to_string().into();
        object["data"] = settings.data.to_string().into();
        return app.output.object(&object);
    }
    let shape = PolicyShape::from(&policy);
    let mut table = Table::default();
    let mut add = |name: &str, value: String| table.add([name.to_owned(), value]);
    add("volume", format!("{name} ({})", volume.id()));
    add("catalog", settings.catalog.to_string());
    add("data", settings.data.to_string());
    add("created", times::short(volume.created()));
    add("policy", format!("history {}, {}", shape.history, shape.compression));
    add("entries", format!("{} of {}", usage.entries, format_size(usage.bytes)));
    add("quota", quota(&usage));
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
