//! Measures the backend beside the client library alone, on the same server, in turns.
//!
//! `cargo run --release -p holdall-object-store --example object_store_speed s3 [--json]`, or `gcs`
//! or `azure`; the servers are those that the tests share: for S3 rclone's, the quickest at hand.
//! All put large values in one request, as the others do: several connections gain nothing here.
#![allow(clippy::print_stdout, reason = "an example that prints")]

use std::ops::Range;
use std::sync::Arc;

use holdall_core::{Bytes, Location, async_trait};
use holdall_object_store::{Config, ObjectBackend};
use holdall_services::{AZURITE, GCS, RCLONE, shared};
use holdall_testkit::speed::{Contender, Outcome, compare};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, PutPayload};

/// The key of the account that Azurite always has, as its documentation gives it.
const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

#[tokio::main]
async fn main() -> Outcome<()> {
    let env = holdall_runtime::env();
    let (flags, stores): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument == "--json");
    let run = u32::from_le_bytes(env.random());
    let (location, raw): (String, Arc<dyn ObjectStore>) =
        match stores.first().map_or("s3", String::as_str) {
            "s3" => s3(run)?,
            "gcs" => gcs(run)?,
            "azure" => azure(run)?,
            other => return Err(format!("there is no `{other}`; name s3, gcs or azure").into()),
        };
    let config = Config::from_location(&Location::parse(&location)?)?;
    let ours = ObjectBackend::open(config, &env).await?;
    let raw = Raw { store: raw, run };
    let others: [(&str, &dyn Contender); 1] = [("object_store", &raw)];
    print!("{}", compare(&env, Arc::new(ours), &others, !flags.is_empty()).await);
    Ok(())
}

type Both = (String, Arc<dyn ObjectStore>);

fn s3(run: u32) -> Outcome<Both> {
    let endpoint = format!("http://127.0.0.1:{}", shared(&RCLONE)?.port);
    let location = format!(
        "s3://holdall/speed-{run}?endpoint={endpoint}&access_key_id=holdallkey\
         &secret_access_key=holdallsecret&part_size=64MiB&probe=off&conditional=none"
    );
    let raw = AmazonS3Builder::new()
        .with_bucket_name("holdall")
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_access_key_id("holdallkey")
        .with_secret_access_key("holdallsecret")
        .with_region("us-east-1")
        .build()?;
    Ok((location, Arc::new(raw)))
}

fn gcs(run: u32) -> Outcome<Both> {
    let endpoint = format!("http://127.0.0.1:{}", shared(&GCS)?.port);
    let location =
        format!("gs://holdall/speed-{run}?endpoint={endpoint}&anonymous=true&part_size=64MiB");
    // The client asks for a token even when it does not sign, unless its key says not to.
    let key = r#"{"private_key":"","private_key_id":"","client_email":"","disable_oauth":true}"#;
    let raw = GoogleCloudStorageBuilder::new()
        .with_service_account_key(key)
        .with_bucket_name("holdall")
        .with_base_url(&endpoint)
        .with_skip_signature(true)
        .with_client_options(ClientOptions::new().with_allow_http(true))
        .build()?;
    Ok((location, Arc::new(raw)))
}

fn azure(run: u32) -> Outcome<Both> {
    let endpoint = format!("http://127.0.0.1:{}/devstoreaccount1", shared(&AZURITE)?.port);
    let key: String = AZURITE_KEY.chars().map(percent).collect();
    let location = format!(
        "az://holdall/speed-{run}?endpoint={endpoint}&account=devstoreaccount1&access_key={key}\
         &part_size=64MiB"
    );
    let raw = MicrosoftAzureBuilder::new()
        .with_account("devstoreaccount1")
        .with_access_key(AZURITE_KEY)
        .with_container_name("holdall")
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .build()?;
    Ok((location, Arc::new(raw)))
}

fn percent(c: char) -> String {
    if c.is_ascii_alphanumeric() { c.to_string() } else { format!("%{:02X}", c as u32) }
}

/// The client library alone.
struct Raw {
    store: Arc<dyn ObjectStore>,
    run: u32,
}

impl Raw {
    fn path(&self, key: &str) -> Path {
        Path::from(format!("raw-{}/{key}", self.run))
    }
}

#[async_trait]
impl Contender for Raw {
    async fn put(&self, key: &str, value: Bytes) -> Outcome<()> {
        self.store.put(&self.path(key), PutPayload::from(value)).await?;
        Ok(())
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Outcome<usize> {
        Ok(match range {
            None => self.store.get(&self.path(key)).await?.bytes().await?.len(),
            Some(range) => self.store.get_range(&self.path(key), range).await?.len(),
        })
    }
}
