//! The rows of the target table, one file each.

pub mod catalogs;
pub mod import;
pub mod large_objects;
pub mod listing;
pub mod memory;
pub mod object_stores;
pub mod open;
pub mod replicas;
pub mod small_gets;
pub mod small_puts;

use crate::Result;
use crate::others::Ticks;
use crate::report::Measured;
use crate::setting::Setting;

/// The names of the rows, in the order in which they run.
pub const NAMES: [&str; 10] = [
    small_puts::NAME,
    small_gets::NAME,
    listing::NAME,
    large_objects::NAME,
    object_stores::NAME,
    replicas::NAME,
    import::NAME,
    memory::NAME,
    open::NAME,
    catalogs::NAME,
];

/// Measures one row.
///
/// # Errors
/// If the name is unknown, something that is needed is not there, or a contender fails.
pub async fn run(name: &str, setting: &Setting) -> Result<Vec<Measured>> {
    let before = Ticks::now()?;
    let mut measured = run_alone(name, setting).await?;
    let others = Ticks::now()?.others_since(before);
    for measured in &mut measured {
        measured.others = others;
    }
    Ok(measured)
}

async fn run_alone(name: &str, setting: &Setting) -> Result<Vec<Measured>> {
    match name {
        small_puts::NAME => small_puts::run(setting).await,
        small_gets::NAME => small_gets::run(setting).await,
        listing::NAME => listing::run(setting).await,
        large_objects::NAME => large_objects::run(setting).await,
        object_stores::NAME => object_stores::run(setting).await,
        replicas::NAME => replicas::run(setting).await,
        import::NAME => import::run(setting).await,
        memory::NAME => memory::run(setting).await,
        open::NAME => open::run(setting).await,
        catalogs::NAME => catalogs::run(setting).await,
        unknown => {
            Err(format!("there is no row `{unknown}`; the rows are {}", NAMES.join(", ")).into())
        }
    }
}
