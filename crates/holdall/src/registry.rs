//! The only list of backends: from the scheme of a location to an opened backend.

use std::sync::Arc;

use holdall_core::{Backend, Env, Error, Location, Memory, Operation, Result};
use holdall_file::File;
use holdall_layers::{Limits, Stack, Stacked};

use crate::secrets::look_up;
use crate::units::nearest;

/// The schemes that this build can open.
pub const SCHEMES: &[&str] = &[
    "memory",
    "file",
    #[cfg(feature = "lmdb")]
    "lmdb",
    #[cfg(feature = "lmdb")]
    "journal+lmdb",
];

/// Opens what a location names, with limits and counts round it.
///
/// # Errors
/// `Invalid` for an unknown scheme, naming the nearest, or a wrong option; otherwise what opening
/// the backend returns.
pub(crate) async fn open(
    location: &Location,
    holder: &str,
    limits: Limits,
    env: &Env,
) -> Result<Stacked> {
    let shown = location;
    let location = &look_up(location)?;
    let stack = match location.scheme() {
        "memory" => {
            location.allow_options(&[])?;
            Stack::new(Arc::new(Memory::new()))
        }
        "file" => {
            let config = holdall_file::Config::from_location(location)?;
            Stack::new(Arc::new(File::open(config, env).await?))
        }
        #[cfg(feature = "lmdb")]
        "lmdb" => {
            let config = holdall_lmdb::Config::from_location(location)?;
            refuse_journaled(&config.path, location)?;
            Stack::new(Arc::new(holdall_lmdb::Lmdb::open(config, env).await?))
        }
        #[cfg(feature = "lmdb")]
        "journal+lmdb" => journaled_lmdb(location, holder, env).await?,
        _ => return Err(unknown_scheme(location)),
    };
    let opened = stack.with_limits(limits).with_metrics().open(env).await;
    opened.map_err(|error| match error.location() {
        Some(_) => error,
        None => error.with_location(shown),
    })
}

/// Puts layers round a backend of the caller's own.
pub(crate) async fn wrap(backend: Arc<dyn Backend>, limits: Limits, env: &Env) -> Result<Stacked> {
    Stack::new(backend).with_limits(limits).with_metrics().open(env).await
}

/// The journal and the engine have a folder each, so that neither is opened without the other.
#[cfg(feature = "lmdb")]
async fn journaled_lmdb(location: &Location, holder: &str, env: &Env) -> Result<Stack> {
    let plain = location.clone().with_scheme("lmdb");
    let mut config = holdall_lmdb::Config::from_location(&plain)?;
    let journal = config.path.join("journal");
    config.path.push("engine");
    let engine = holdall_lmdb::Lmdb::open(config, env).await?;
    let settings =
        holdall_layers::JournalSettings { holder: holder.to_owned(), ..Default::default() };
    Ok(Stack::new(Arc::new(engine)).with_journal(&journal, settings))
}

/// A store that has a journal is half there without it, so it must not look empty.
#[cfg(feature = "lmdb")]
fn refuse_journaled(path: &std::path::Path, location: &Location) -> Result<()> {
    if path.join("journal").is_dir() && path.join("engine").is_dir() {
        let message = "this folder holds a store with a journal; write journal+lmdb:// instead";
        return Err(Error::invalid(Operation::Open, message).with_location(location));
    }
    Ok(())
}

fn unknown_scheme(location: &Location) -> Error {
    let scheme = location.scheme();
    let hint = nearest(scheme, SCHEMES.iter().copied()).map_or_else(
        || format!("this build knows {}", SCHEMES.join(", ")),
        |nearest| format!("did you mean `{nearest}`?"),
    );
    let message = format!("there is no backend `{scheme}`; {hint}");
    Error::invalid(Operation::Open, message).with_location(location)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use holdall_core::{BackendExt, Bytes, ErrorKind, Expect, Key};

    use super::*;
    use crate::settings::parse_location;

    async fn try_open(text: &str) -> Result<Stacked> {
        let location = parse_location(text).unwrap();
        open(&location, "test", Limits::default(), &holdall_runtime::env()).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_scheme_opens_and_keeps_a_value() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap();
        for scheme in SCHEMES {
            let location = Location::from_path(scheme, &format!("{root}/{scheme}")).expose();
            let store = try_open(&location).await.unwrap();
            let key = Key::parse("key").unwrap();
            store.backend.put(&key, Bytes::from("value"), Expect::Absent).await.unwrap();
            assert_eq!(store.backend.get_all(&key).await.unwrap().unwrap().value, "value");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn unknown_schemes_and_options_name_the_nearest() {
        for (text, hint) in [
            ("fiel:///srv", "did you mean `file`"),
            ("carrierpigeon:///srv", "this build knows memory"),
            ("memory://?size=1", "no option `size`"),
        ] {
            let error = try_open(text).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
            assert!(error.message().contains(hint), "{error}");
        }
    }

    #[cfg(feature = "lmdb")]
    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_with_a_journal_is_not_opened_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog");
        let path = path.to_str().unwrap();
        drop(try_open(&format!("journal+lmdb://{path}")).await.unwrap());
        let error = try_open(&format!("lmdb://{path}")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("journal+lmdb://"), "{error}");
    }
}
