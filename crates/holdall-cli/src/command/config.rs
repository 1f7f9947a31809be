//! `holdall config check`: whether a configuration can be used, all of it.

use clap::{Args, Subcommand};
use holdall::units::format_duration;
use holdall::{
    BackendConfig, Config as File, Engine, HealthPolicy, Location, Operation, Policy, ask_health,
    open_backend,
};
use serde_json::{Value, json};

use super::backend::facts;
use super::shape::PolicyShape;
use crate::app::App;
use crate::failure::{Done, Failure, Result, describe};
use crate::output::counted;

/// Looks at the configuration.
#[derive(Args, Debug)]
pub(crate) struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Opens every backend and volume of the configuration, and reports each.
    ///
    /// Makes no volume. Exit code 1 if something is not understood or cannot be opened, or a
    /// volume's policy is not what the configuration says.
    Check,
    /// Makes the volumes that are missing, and gives each the policy of the configuration.
    Apply,
}

const EMPTY: &str = "the configuration says nothing";

/// What was found of one backend or volume, or what was not understood.
struct Finding {
    what: &'static str,
    name: Option<String>,
    location: Option<Location>,
    result: std::result::Result<String, String>,
}

impl Config {
    pub(crate) async fn run(self, app: &App) -> Result {
        let Some(examined) = app.examined()? else {
            let message = "there is no configuration; --config and HOLDALL_CONFIG name one, \
                           ./holdall.yaml is found by itself, and variables that begin with \
                           HOLDALL__ are one, too";
            return Err(Failure::NotFound(message.to_owned()));
        };
        let apply = matches!(self.action, Action::Apply);
        // What is not understood could mean anything, so nothing is changed.
        let file = if apply { examined.clone().whole()? } else { examined.config };
        let mut findings = Vec::new();
        for problem in &examined.problems {
            let result = Err(describe(problem));
            findings.push(Finding { what: "setting", name: None, location: None, result });
        }
        for (name, backend) in &file.backends {
            let result = look_at(app, backend).await;
            let location = Some(backend.location.clone());
            let name = Some(name.clone());
            findings.push(Finding { what: "backend", name: name.clone(), location, result });
            if let Some(front) = &backend.front {
                let result = look_at(app, &BackendConfig::new(front.location.clone())).await;
                let location = Some(front.location.clone());
                findings.push(Finding { what: "front of", name, location, result });
            }
        }
        for name in file.volumes.keys() {
            let result = volume(app, &file, name, apply).await;
            let result = result.map_err(|error| describe(&error));
            let name = Some(name.clone());
            findings.push(Finding { what: "volume", name, location: None, result });
        }
        let failed = findings.iter().any(|finding| finding.result.is_err());
        for finding in &findings {
            app.output.row(&finding.shape(), || finding.line())?;
        }
        if findings.is_empty() {
            let nothing = json!({ "kind": "setting", "ok": true, "message": EMPTY });
            app.output.row(&nothing, || EMPTY.to_owned())?;
        }
        Ok(Done::unless(failed))
    }
}

impl Finding {
    fn line(&self) -> String {
        let location = self.location.as_ref().map(|at| format!(" {at}")).unwrap_or_default();
        let (verdict, text) = match &self.result {
            Ok(text) => ("ok", text),
            Err(text) => ("FAILED", text),
        };
        let name = self.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        format!("{verdict:7} {}{name}{location}: {text}", self.what)
    }

    fn shape(&self) -> Value {
        json!({
            "kind": self.what,
            "name": self.name,
            "location": self.location.as_ref().map(Location::to_string),
            "ok": self.result.is_ok(),
            "message": match &self.result { Ok(text) | Err(text) => text },
        })
    }
}

/// Opens a backend and asks it how it is.
async fn look_at(app: &App, config: &BackendConfig) -> std::result::Result<String, String> {
    let HealthPolicy { interval, timeout, failures } = config.health;
    let look = async {
        let stacked = open_backend(&config.location, "holdall config check", &app.env).await?;
        let health = ask_health(stacked.backend.as_ref(), timeout, &app.env).await;
        let text = format!(
            "{}; asked every {}, for {} at most, down after {}",
            facts(stacked.backend.profile()),
            format_duration(interval),
            format_duration(timeout),
            counted(u64::from(failures), "failure")
        );
        if let Some(journal) = stacked.journal {
            journal.close().await?;
        }
        health.map(|_| text)
    };
    look.await.map_err(|error: holdall::Error| describe(&error))
}

/// Opens a volume and compares its policy; makes and changes it only if that is wanted.
async fn volume(
    app: &App,
    file: &File,
    name: &str,
    apply: bool,
) -> std::result::Result<String, holdall::Error> {
    let mut settings = file.settings(name, &app.global.home)?;
    settings.holder = "holdall config".to_owned();
    if !apply {
        // A cache's folder and a queue of late writes are for one process, and that may be at work.
        let places = settings.places.iter_mut().map(|(_, backend)| backend);
        for backend in [&mut settings.catalog, &mut settings.data].into_iter().chain(places) {
            (backend.cache, backend.front) = (None, None);
        }
    }
    let engine = Engine::open(settings).await?;
    let looked = compare(&engine, file, name, apply).await;
    let closed = engine.close().await;
    looked.and_then(|text| closed.map(|()| text))
}

async fn compare(
    engine: &Engine,
    file: &File,
    name: &str,
    apply: bool,
) -> std::result::Result<String, holdall::Error> {
    let volume = match engine.get_volume(name).await? {
        Some(volume) => volume,
        None if apply => engine.create_volume(name).await?,
        None => return Ok("not there yet; the first write or `config apply` makes it".to_owned()),
    };
    let present = volume.policy();
    let wanted = match file.volumes.get(name) {
        Some(config) => config.apply_to(present.clone())?,
        None => present.clone(),
    };
    let places = engine.configured_places(&volume);
    if let Some((places, tiers)) = places.clone().filter(|_| apply) {
        volume.set_places(places, tiers).await?;
    }
    if wanted == present {
        return match places {
            None => Ok("as configured".to_owned()),
            Some(_) if apply => Ok("its places were changed to what is configured".to_owned()),
            Some(_) => {
                let message = "its places differ; `holdall config apply` changes them, and \
                               `holdall repair` brings copies there";
                Err(holdall::Error::invalid(Operation::Configure, message))
            }
        };
    }
    if apply {
        let tiers = volume.policy().tiers;
        volume.set_policy(Policy { tiers, ..wanted }).await?;
        return Ok("its policy was changed to what is configured".to_owned());
    }
    let differ =
        differences(&json!(PolicyShape::from(&present)), &json!(PolicyShape::from(&wanted)));
    let message = format!("its policy differs: {differ}; `holdall config apply` changes it");
    Err(holdall::Error::invalid(Operation::Configure, message))
}

/// The fields in which two policies differ.
fn differences(present: &Value, wanted: &Value) -> String {
    let (Value::Object(present), Value::Object(wanted)) = (present, wanted) else {
        return String::new();
    };
    let differ = wanted.iter().filter(|(field, value)| present.get(*field) != Some(value));
    let text = differ.map(|(field, value)| {
        let was = present.get(field).unwrap_or(&Value::Null);
        format!("{field} is {was} and not {value}")
    });
    text.collect::<Vec<_>>().join(", ")
}
