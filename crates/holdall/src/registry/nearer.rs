//! What a configuration puts in front of a backend: copies that are nearer, and a front that takes
//! writes first.

use std::sync::Arc;

use holdall_core::{Env, Result};
use holdall_layers::{BehindSettings, CacheDisk, CacheSettings, Stack, Stacked, Writes};

use super::engine;
use crate::config::{BackendConfig, CacheConfig, FrontConfig, FrontPolicy};

/// Adds them to a stack. The front is handed back as well, for an orderly end.
pub(super) async fn add(
    stack: Stack,
    config: &BackendConfig,
    written_once: &[String],
    holder: &str,
    env: &Env,
) -> Result<(Stack, Option<Stacked>)> {
    let mut settings = config.cache.as_ref().map(|cache| cached(cache, config, written_once));
    let Some(FrontConfig { location, bytes, policy }) = &config.front else {
        return Ok((with_cache(stack, settings), None));
    };
    let front = engine(location, holder, env).await?.open(env).await?;
    let backend = Arc::clone(&front.backend);
    let writes = match policy {
        FrontPolicy::Behind => {
            let written_once = written_once.to_vec();
            let behind =
                BehindSettings { bytes_max: *bytes, written_once, ..BehindSettings::default() };
            let stack = stack.with_writes_behind(backend, behind);
            return Ok((with_cache(stack, settings), Some(front)));
        }
        FrontPolicy::Through => Writes::Through,
        FrontPolicy::Around => Writes::Around,
    };
    let settings = settings.get_or_insert_with(|| CacheSettings {
        memory_bytes: 0,
        written_once: written_once.to_vec(),
        ..CacheSettings::default()
    });
    let settings = CacheSettings { front_bytes: *bytes, writes, ..settings.clone() };
    Ok((stack.with_cache_in(backend, settings), Some(front)))
}

fn with_cache(stack: Stack, settings: Option<CacheSettings>) -> Stack {
    match settings {
        Some(settings) => stack.with_cache(settings),
        None => stack,
    }
}

fn cached(cache: &CacheConfig, config: &BackendConfig, written_once: &[String]) -> CacheSettings {
    let disk = cache.disk.as_ref().map(|(folder, bytes)| CacheDisk {
        folder: folder.clone(),
        bytes: *bytes,
        store: config.location.to_string(),
    });
    CacheSettings {
        memory_bytes: cache.memory_bytes,
        disk,
        writes: cache.writes,
        written_once: written_once.to_vec(),
        ..CacheSettings::default()
    }
}
