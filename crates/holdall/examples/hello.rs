//! The shortest program: keeps a greeting in a folder, and reads it back with its past.
//!
//! `cargo run --example hello -- /some/folder`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use holdall::{Engine, Name, PutOptions, VolumeSpec};

#[tokio::main]
async fn main() -> holdall::Result<()> {
    let home = std::env::args().nth(1).unwrap_or_else(|| "hello-store".to_owned());
    let engine = Engine::builder().home(&home).holder("hello example").open().await?;
    let volume = match engine.get_volume("greetings").await? {
        Some(volume) => volume,
        None => {
            let kept = Duration::from_secs(30 * 86_400);
            engine.create_volume(VolumeSpec::new("greetings").history(kept)).await?
        }
    };

    let name = Name::parse("hello")?;
    let hello = format!("hello, at {}", holdall::env().now());
    volume.put(&name, hello, PutOptions::default()).await?;

    // The newest ten; `next` of a page says where the older ones begin.
    for version in volume.versions(&name, None, 10).await?.versions {
        let number = version.entry.version;
        if let Some(reading) = volume.get_version(&name, number).await? {
            println!("commit {number}: {}", String::from_utf8_lossy(&reading.bytes().await?));
        }
    }
    engine.close().await
}
