//! `holdall volume replicas` and `holdall volume place`: how copies stand, and what becomes of
//! places.

use holdall::units::format_size;
use holdall::{PlaceState, ReplicasReport};
use serde_json::json;

use crate::app::App;
use crate::failure::{Failure, Result};
use crate::output::{Table, counted, shown};
use crate::times;

/// Shows how the copies of a volume stand.
pub(super) async fn show(app: &App, name: &str) -> Result<()> {
    let volume = app.named_volume(app.existing_engine().await?, name).await?;
    let report = volume.replicas().await?;
    if app.output.is_json() {
        return app.output.object(&report);
    }
    let heads = ["PLACE", "ZONE", "STATE", "COPIES", "SIZE", "LAGGING", "CHECKED"];
    let mut table = Table::new(&heads);
    for place in &report.places {
        let checked = place.verified.map_or_else(|| "never".to_owned(), times::short);
        let silent = if place.answers { "" } else { ", silent" };
        table.add([
            if place.name.is_empty() { "(only)".to_owned() } else { place.name.clone() },
            place.zone.clone(),
            format!("{}{silent}", word(place.state)),
            place.copies.to_string(),
            format_size(place.bytes),
            place.copies_lagging.to_string(),
            checked,
        ]);
    }
    table.lines().try_for_each(|line| app.output.line(&line))?;
    lines(&report).iter().try_for_each(|line| app.output.line(line))
}

fn lines(report: &ReplicasReport) -> Vec<String> {
    let mut lines = vec![format!(
        "{}, {} missing ({})",
        counted(report.segments, "segment"),
        counted(report.copies_missing, "copy"),
        format_size(report.bytes_missing)
    )];
    for loss in &report.if_lost {
        let zone = if loss.zone.is_empty() { "(none named)" } else { &loss.zone };
        lines.push(match loss.segments {
            0 => format!("if zone {} were lost now, nothing would be", shown(zone)),
            segments => format!(
                "if zone {} were lost now, {} ({}) would be",
                shown(zone),
                counted(segments, "segment"),
                format_size(loss.bytes)
            ),
        });
    }
    if report.segments_lost > 0 {
        lines.push(format!("{} have no whole copy", counted(report.segments_lost, "segment")));
    }
    lines
}

fn word(state: PlaceState) -> &'static str {
    match state {
        PlaceState::Active => "active",
        PlaceState::Draining => "draining",
        PlaceState::Lost => "lost",
    }
}

/// Says what becomes of a place.
pub(super) async fn place(app: &App, name: &str, place: &str, state: &str) -> Result<()> {
    let state = match state {
        "active" => PlaceState::Active,
        "drain" => PlaceState::Draining,
        "lost" => PlaceState::Lost,
        other => {
            let message = format!("`{other}` is no state of a place; say active, drain or lost");
            return Err(Failure::Usage(message));
        }
    };
    let volume = app.named_volume(app.existing_engine().await?, name).await?;
    let mut places = volume.places();
    let names: Vec<String> = places.iter().map(|row| row.name.clone()).collect();
    let Some(row) = places.iter_mut().find(|row| row.name == place) else {
        let message = format!(
            "volume `{name}` has no place `{place}`; there are {}, and `holdall config apply` adds \
             those of the configuration",
            names.join(", ")
        );
        return Err(Failure::Usage(message));
    };
    row.state = state;
    volume.set_places(places, volume.policy().tiers).await?;
    let object = json!({ "volume": name, "place": place, "state": state });
    app.output.summary(&object, || {
        format!("place `{}` is {}; now run `holdall repair`", shown(place), word(state))
    })
}
