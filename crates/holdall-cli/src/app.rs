//! What commands work with: the opened engine, Ctrl-C, and how a command ends.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::{Either, select};
use holdall::{
    Config, Engine, Env, Error, Examined, Location, Operation, Policy, Settings, Timestamp, View,
    Volume, VolumeSpec,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::OnceCell;

use crate::cli::{Cli, Command, Global};
use crate::failure::{Done, Failure, Result};
use crate::output::{Output, complain};
use crate::progress::Progress;
use crate::times;

/// The configuration that is found without being named.
const CONFIG: &str = "holdall.yaml";

/// What commands work with.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) global: Global,
    pub(crate) output: Output,
    pub(crate) env: Env,
    holder: String,
    engine: OnceCell<Engine>,
    /// Whether Ctrl-C was pressed.
    pub(crate) interrupted: Arc<AtomicBool>,
    /// Whether the command looks at that itself, and ends in its own time.
    patient: AtomicBool,
}

/// Runs a command from beginning to end.
pub(crate) async fn run(mut cli: Cli) -> ExitCode {
    // A configuration may say of each volume where it is.
    if let Command::Volume(command) = &cli.command
        && let Some(name) = command.named()
    {
        name.clone_into(&mut cli.global.volume);
    }
    let app = App {
        output: Output::new(cli.global.json, cli.global.quiet),
        env: holdall::env(),
        holder: format!("holdall {}", cli.command.name()),
        engine: OnceCell::new(),
        interrupted: Arc::default(),
        patient: AtomicBool::new(false),
        global: cli.global,
    };
    let done = app.until_interrupted(cli.command).await;
    let flushed = app.output.flush();
    let hurry = matches!(done, Err(Failure::Interrupted)) && !app.patient.load(Ordering::Relaxed);
    let closed = match app.engine.get() {
        Some(engine) if !hurry => engine.close().await.map_err(Failure::from),
        _ => Ok(()),
    };
    let volume = app.engine.get().map(|_| app.global.volume.as_str());
    match done.and_then(|done| flushed.and(closed).map(|()| done)) {
        Ok(Done::Whole) => ExitCode::SUCCESS,
        Ok(Done::Part) => ExitCode::from(1),
        Err(failure) => failure.report(app.global.json, volume),
    }
}

impl App {
    /// Runs the command. At Ctrl-C a patient one is waited for, until it is pressed again; others
    /// are dropped where they are, which leaves nothing half done.
    async fn until_interrupted(&self, command: Command) -> Result {
        let failed = |error| Error::io(Operation::Configure, "cannot wait for Ctrl-C", error);
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut running = Box::pin(self.dispatch(command));
        loop {
            let pressed = Box::pin(select(Box::pin(interrupt.recv()), Box::pin(terminate.recv())));
            match select(running, pressed).await {
                Either::Left((Ok(_), _)) if self.is_interrupted() => {
                    return Err(Failure::Interrupted);
                }
                Either::Left((done, _)) => return done,
                Either::Right((_, command)) => {
                    let again = self.interrupted.swap(true, Ordering::Relaxed);
                    if again || !self.patient.load(Ordering::Relaxed) {
                        self.patient.store(false, Ordering::Relaxed);
                        return Err(Failure::Interrupted);
                    }
                    running = command;
                }
            }
        }
    }

    async fn dispatch(&self, command: Command) -> Result {
        match command {
            Command::Import(command) => command.run(self).await,
            Command::Export(command) => command.run(self).await,
            Command::Put(command) => command.run(self).await,
            Command::Get(command) => command.run(self).await,
            Command::Cat(command) => command.run(self).await,
            Command::Ls(command) => command.run(self).await,
            Command::Stat(command) => command.run(self).await,
            Command::Rm(command) => command.run(self).await,
            Command::Cp(command) => command.run(self).await,
            Command::Mv(command) => command.run(self).await,
            Command::Find(command) => command.run(self).await,
            Command::History(command) => command.run(self).await,
            Command::Snapshot(command) => command.run(self).await,
            Command::Diff(command) => command.run(self).await,
            Command::Verify(command) => command.run(self).await,
            Command::Gc(command) => command.run(self).await,
            Command::Repair(command) => command.run(self).await,
            Command::Scrub(command) => command.run(self).await,
            Command::Rebuild(command) => command.run(self).await,
            Command::Jobs(command) => command.run(self).await,
            Command::Run(command) => command.run(self).await,
            Command::Daemon(command) => command.run(self).await,
            Command::Status(command) => command.run(self).await,
            Command::Volume(command) => command.run(self).await,
            Command::Backend(command) => command.run(self).await,
            Command::Config(command) => command.run(self).await,
            Command::Bench(command) => command.run(self).await,
            Command::Completions(command) => command.run(self),
        }
    }

    /// Says that the command looks at Ctrl-C itself.
    pub(crate) fn be_patient(&self) {
        self.patient.store(true, Ordering::Relaxed);
    }

    /// Whether Ctrl-C was pressed.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Now.
    pub(crate) fn now(&self) -> Timestamp {
        self.env.now()
    }

    /// A progress line in bytes, if anybody wants one.
    pub(crate) fn progress(&self) -> Progress {
        Progress::bytes(!self.global.json && !self.global.quiet)
    }

    /// The configuration, if there is one.
    pub(crate) fn config(&self) -> Result<Option<Config>> {
        Ok(self.examined()?.map(Examined::whole).transpose()?)
    }

    /// The configuration with everything that is wrong with it, if there is one: a file, variables
    /// of the environment, or both.
    pub(crate) fn examined(&self) -> Result<Option<Examined>> {
        let variables = variables()?;
        let path = match &self.global.config {
            Some(path) => path.as_path(),
            None if Path::new(CONFIG).exists() => Path::new(CONFIG),
            None if variables.is_empty() => return Ok(None),
            None => return Ok(Some(Config::examine("", variables))),
        };
        Ok(Some(Config::examine_file(path, variables)?))
    }

    fn settings(&self) -> Result<Settings> {
        let mut settings = self.settings_of(&self.global.volume)?;
        settings.holder.clone_from(&self.holder);
        Ok(settings)
    }

    /// What the configuration tells a new volume of this name to do, if it knows one.
    pub(crate) fn configured_policy(&self, volume: &str) -> Result<Option<Policy>> {
        let config = self.config()?;
        let configured = config.as_ref().and_then(|config| config.volumes.get(volume));
        Ok(configured.map(|volume| volume.apply_to(Policy::default())).transpose()?)
    }

    /// What an engine with this volume is opened with.
    pub(crate) fn settings_of(&self, volume: &str) -> Result<Settings> {
        let mut settings = match self.config()? {
            Some(config) => config.settings(volume, &self.global.home)?,
            None => Settings::home(&self.global.home)?,
        };
        for (field, text) in [("catalog", &self.global.catalog), ("data", &self.global.data)] {
            if let Some(text) = text {
                settings.set(field, text)?;
            }
        }
        Ok(settings)
    }

    /// Local folders of the store, which are no part of any tree.
    pub(crate) fn store_directories(&self) -> Result<Vec<PathBuf>> {
        let settings = self.settings()?;
        let local = |location: &Location| {
            location.authority().is_empty().then(|| PathBuf::from(location.path()))
        };
        let mut folders = vec![self.global.home.clone()];
        let places = settings.places.iter().map(|(_, backend)| &backend.location);
        let places =
            [&settings.catalog.location, &settings.data.location].into_iter().chain(places);
        folders.extend(places.filter_map(local));
        Ok(folders)
    }

    /// The engine, made if it is missing.
    pub(crate) async fn engine(&self) -> Result<&Engine> {
        let open = async || Ok::<_, Failure>(Engine::open(self.settings()?).await?);
        self.engine.get_or_try_init(open).await
    }

    /// The engine, if there is one: looking at a store must not make one.
    pub(crate) async fn existing_engine(&self) -> Result<&Engine> {
        let settings = self.settings()?;
        let missing = |location: &Location| {
            let local = location.authority().is_empty() && location.path().starts_with('/');
            local && !Path::new(location.path()).exists()
        };
        if missing(&settings.catalog.location) && missing(&settings.data.location) {
            let message = format!(
                "there is no store at `{}`; `holdall import` and `holdall put` make one, --home \
                 and HOLDALL_HOME name another",
                self.global.home.display()
            );
            return Err(Failure::NotFound(message));
        }
        self.engine().await
    }

    /// The volume that was named, which must be there.
    pub(crate) async fn volume(&self) -> Result<Volume> {
        let engine = self.existing_engine().await?;
        self.named_volume(engine, &self.global.volume).await
    }

    /// A volume that must be there.
    pub(crate) async fn named_volume(&self, engine: &Engine, name: &str) -> Result<Volume> {
        if let Some(volume) = engine.get_volume(name).await? {
            if let Some(lost) = volume.lost() {
                complain(&format!("holdall: volume `{name}`: {lost}"));
            }
            return Ok(volume);
        }
        match engine.volume(name).await {
            Ok(volume) => Ok(volume),
            Err(error) => Err(Failure::NotFound(error.message().to_owned())),
        }
    }

    /// The volume that was named, for writing: the default one is made if it is missing, and so is
    /// one of the configuration.
    pub(crate) async fn volume_for_writing(&self) -> Result<Volume> {
        let engine = self.engine().await?;
        let name = self.global.volume.as_str();
        let configured = self.configured_policy(name)?;
        if let (Some(policy), None) = (configured, engine.get_volume(name).await?) {
            return Ok(engine
                .create_volume(VolumeSpec { policy, ..VolumeSpec::new(name) })
                .await?);
        }
        if name == "default" {
            return Ok(engine.get_or_create_volume(name).await?);
        }
        self.named_volume(engine, name).await
    }

    /// The volume now, or as it was then.
    pub(crate) async fn view(&self, volume: &Volume, at: Option<&str>) -> Result<View> {
        match at {
            None => Ok(volume.view()),
            Some(text) => Ok(volume.as_of(times::parse_at(text, self.now())?).await?),
        }
    }

    /// What to say where there is no entry.
    pub(crate) fn no_entry(&self, name: &str) -> Failure {
        let volume = &self.global.volume;
        Failure::NotFound(format!(
            "there is no entry `{name}` in volume `{volume}`; `holdall ls` shows what there is"
        ))
    }
}

/// The variables that are values of a configuration.
fn variables() -> Result<Vec<(String, String)>> {
    #[allow(clippy::disallowed_methods, reason = "the command looks at its surroundings")]
    let all = std::env::vars_os();
    let mut variables = Vec::new();
    for (name, value) in all {
        let Some(name) = name.to_str().filter(|name| name.starts_with(Config::VARIABLES)) else {
            continue;
        };
        let Some(value) = value.to_str() else {
            return Err(Failure::Usage(format!("the value of {name} is not UTF-8; write it so")));
        };
        variables.push((name.to_owned(), value.to_owned()));
    }
    Ok(variables)
}
