//! `holdall volume`: makes, lists, shows, changes and deletes volumes.

use clap::{Args, Subcommand};
use holdall::units::{format_size, parse_size};
use holdall::{Policy, VolumeSpec, set_policy_field};
use serde_json::json;

use super::replicas;
use super::shape::PolicyShape;
use crate::app::App;
use crate::failure::{Done, Failure, Result};
use crate::output::{Table, counted, shown};
use crate::times;

/// Makes, lists, shows, changes and deletes volumes.
#[derive(Args, Debug)]
pub(crate) struct Volume {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Makes a volume.
    Create {
        /// Its name: 1 to 64 of a-z, 0-9, - _ and .
        name: String,
        /// The most bytes of all entries, such as 10GiB; none is no limit.
        #[arg(long, value_name = "SIZE")]
        quota: Option<String>,
        /// How long old versions are kept, such as 7d.
        #[arg(long, value_name = "DURATION")]
        history: Option<String>,
        /// none, lz4, zstd, or zstd:1 to zstd:19.
        #[arg(long, value_name = "METHOD")]
        compression: Option<String>,
        /// Any field of the policy: quota, history, compression, inline, segment, grace, lease,
        /// indexed, jobs, lifecycle, alert; may be given several times.
        #[arg(long = "set", value_name = "FIELD=VALUE")]
        fields: Vec<String>,
    },
    /// Lists all volumes.
    List,
    /// Shows one volume.
    Show {
        /// Its name.
        #[arg(default_value = "default")]
        name: String,
    },
    /// Changes how much a volume may hold.
    Resize {
        /// Its name.
        name: String,
        /// The most bytes of all entries, such as 200GiB; none is no limit.
        quota: String,
    },
    /// Changes what a volume is told to do.
    Set {
        /// Its name.
        name: String,
        /// Fields of the policy, such as history=7d or 'jobs={ gc: { every: 2h } }'.
        #[arg(required = true, value_name = "FIELD=VALUE")]
        fields: Vec<String>,
    },
    /// Shows how the copies stand: what lags or is missing, and what the loss of a zone would cost.
    Replicas {
        /// Its name.
        #[arg(default_value = "default")]
        name: String,
    },
    /// Says what becomes of a place of the data.
    Place {
        /// The volume's name.
        name: String,
        /// The name of the place.
        place: String,
        /// active; drain, so that a repair brings its copies elsewhere; or lost, for good.
        state: String,
    },
    /// Deletes a volume with everything in it, for good.
    Delete {
        /// Its name.
        name: String,
        /// Yes, really: a volume that holds entries is not deleted without this.
        #[arg(long)]
        yes: bool,
    },
}

impl Volume {
    /// The volume that it is about, if it is about one.
    pub(crate) fn named(&self) -> Option<&str> {
        match &self.action {
            Action::List => None,
            Action::Create { name, .. }
            | Action::Show { name }
            | Action::Resize { name, .. }
            | Action::Set { name, .. }
            | Action::Replicas { name }
            | Action::Place { name, .. }
            | Action::Delete { name, .. } => Some(name),
        }
    }

    pub(crate) async fn run(self, app: &App) -> Result {
        match self.action {
            Action::Create { name, quota, history, compression, fields } => {
                let mut policy = app.configured_policy(&name)?.unwrap_or_default();
                let named = [("quota", quota), ("history", history), ("compression", compression)];
                for (field, text) in named {
                    if let Some(text) = text {
                        set_policy_field(&mut policy, field, &text)?;
                    }
                }
                set_fields(&mut policy, &fields)?;
                create(app, VolumeSpec { name, policy }).await?;
            }
            Action::List => list(app).await?,
            Action::Show { name } => {
                let volume = app.named_volume(app.existing_engine().await?, &name).await?;
                super::status::show(app, &volume).await?;
            }
            Action::Resize { name, quota } => resize(app, &name, &quota).await?,
            Action::Set { name, fields } => set(app, &name, &fields).await?,
            Action::Replicas { name } => replicas::show(app, &name).await?,
            Action::Place { name, place, state } => {
                replicas::place(app, &name, &place, &state).await?;
            }
            Action::Delete { name, yes } => delete(app, &name, yes).await?,
        }
        Ok(Done::Whole)
    }
}

async fn create(app: &App, spec: VolumeSpec) -> Result<()> {
    let volume = app.engine().await?.create_volume(spec).await?;
    let object = json!({ "name": volume.name(), "id": volume.id().to_string(),
        "policy": PolicyShape::from(&volume.policy()) });
    app.output.summary(&object, || format!("volume `{}` ({}) made", volume.name(), volume.id()))
}

async fn list(app: &App) -> Result<()> {
    let engine = app.existing_engine().await?;
    let mut table = Table::new(&["NAME", "ENTRIES", "SIZE", "QUOTA", "HISTORY", "CREATED"]);
    for info in engine.list_volumes().await? {
        let volume = app.named_volume(engine, &info.name).await?;
        let usage = volume.usage().await?;
        let shape = PolicyShape::from(&info.policy);
        if app.output.is_json() {
            app.output
                .object(&json!({ "name": info.name, "id": info.id, "entries": usage.entries,
                "bytes": usage.bytes, "created": times::exact(info.created), "policy": shape }))?;
            continue;
        }
        let quota = info.policy.quota_bytes.map_or_else(|| "none".to_owned(), format_size);
        let history = holdall::units::format_duration(info.policy.history);
        let created = times::short(info.created);
        let (entries, size) = (usage.entries.to_string(), format_size(usage.bytes));
        table.add([info.name, entries, size, quota, history, created]);
    }
    if app.output.is_json() {
        return Ok(());
    }
    table.lines().try_for_each(|line| app.output.line(&line))
}

async fn resize(app: &App, name: &str, quota: &str) -> Result<()> {
    let quota = if quota == "none" { None } else { Some(parse_size(quota)?) };
    let engine = app.existing_engine().await?;
    app.named_volume(engine, name).await?;
    let volume = engine.resize_volume(name, quota).await?;
    let used = volume.usage().await?.bytes;
    let over = quota.is_some_and(|quota| used > quota);
    app.output.summary(&json!({ "name": name, "quota_bytes": quota, "bytes": used }), || {
        let quota = quota.map_or_else(|| "no limit".to_owned(), format_size);
        let note = if over { "; nothing more can be written until some is deleted" } else { "" };
        format!("volume `{}`: {quota}, {} in use{note}", shown(name), format_size(used))
    })
}

fn set_fields(policy: &mut Policy, fields: &[String]) -> Result<()> {
    for word in fields {
        let (field, text) = word
            .split_once('=')
            .ok_or_else(|| Failure::Usage(format!("`{word}` has no value; write field=value")))?;
        set_policy_field(policy, field, text)?;
    }
    Ok(())
}

async fn set(app: &App, name: &str, fields: &[String]) -> Result<()> {
    let engine = app.existing_engine().await?;
    let volume = app.named_volume(engine, name).await?;
    let mut policy = volume.read_policy().await?;
    set_fields(&mut policy, fields)?;
    volume.set_policy(policy.clone()).await?;
    let object = json!({ "name": name, "policy": PolicyShape::from(&policy) });
    app.output.summary(&object, || format!("volume `{name}` changed"))
}

async fn delete(app: &App, name: &str, yes: bool) -> Result<()> {
    let engine = app.existing_engine().await?;
    let usage = app.named_volume(engine, name).await?.usage().await?;
    if usage.entries > 0 && !yes {
        let message = format!(
            "volume `{name}` holds {} of {}; add --yes to delete it for good",
            counted(usage.entries, "entry"),
            format_size(usage.bytes)
        );
        return Err(Failure::Usage(message));
    }
    engine.delete_volume(name).await?;
    app.output.summary(&json!({ "deleted": name }), || format!("volume `{name}` deleted"))
}
