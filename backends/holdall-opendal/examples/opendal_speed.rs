//! Measures the adapter beside the operator alone, in files, in turns.
//!
//! `cargo run --release -p holdall-opendal --example opendal_speed [--json]`
#![allow(clippy::print_stdout, reason = "an example that prints")]

use std::ops::Range;
use std::sync::Arc;

use holdall_core::{Bytes, Conditions, async_trait};
use holdall_opendal::{OpenDal, Options};
use holdall_testkit::speed::{Contender, Outcome, compare};
use opendal::{Operator, services};

#[tokio::main]
async fn main() -> Outcome<()> {
    let json = std::env::args().any(|argument| argument == "--json");
    let env = holdall_runtime::env();
    let folder = tempfile::tempdir()?;
    let open = |name: &str| {
        let root = folder.path().join(name).to_string_lossy().into_owned();
        let aside = folder.path().join(format!("{name}-aside")).to_string_lossy().into_owned();
        Operator::new(services::Fs::default().root(&root).atomic_write_dir(&aside))
    };
    // The file service overwrites by itself; there is nothing to probe.
    let options =
        Options { probe: false, conditional: Some(Conditions::None), ..Options::default() };
    let ours = OpenDal::new(open("ours")?, options, &env).await?;
    let raw = Raw(open("raw")?);
    let others: [(&str, &dyn Contender); 1] = [("opendal", &raw)];
    print!("{}", compare(&env, Arc::new(ours), &others, json).await);
    Ok(())
}

/// The operator alone.
struct Raw(Operator);

#[async_trait]
impl Contender for Raw {
    async fn put(&self, key: &str, value: Bytes) -> Outcome<()> {
        self.0.write(key, value).await?;
        Ok(())
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Outcome<usize> {
        Ok(match range {
            None => self.0.read(key).await?.len(),
            Some(range) => self.0.read_with(key).range(range).await?.len(),
        })
    }
}
