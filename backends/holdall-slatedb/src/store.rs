//! The directory or bucket underneath: its client, and what it is asked directly.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use holdall_core::{Env, Error, Operation, Result};
use slatedb::object_store::aws::AmazonS3Builder;
use slatedb::object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use slatedb::object_store::gcp::GoogleCloudStorageBuilder;
use slatedb::object_store::local::LocalFileSystem;
use slatedb::object_store::path::Path;
use slatedb::object_store::{self, BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use crate::config::{Cloud, Config, Place};
use crate::error;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What the store lies on.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    /// For the library, which asks again by itself until it is answered.
    pub(crate) client: Arc<dyn ObjectStore>,
    /// For questions of our own: each is sent once, and failing is an answer.
    pub(crate) asking: Arc<dyn ObjectStore>,
    /// Where in it the store is.
    pub(crate) root: Path,
    /// What to say where the bucket or directory is missing.
    pub(crate) missing: String,
}

impl Store {
    /// The clients. A writer's directory is made if it is missing.
    ///
    /// # Errors
    /// `Invalid` if the configuration is wrong, `Denied` if the directory may not be made.
    pub(crate) async fn open(config: &Config, env: &Env) -> Result<Self> {
        let missing = config.place.missing();
        let (client, asking, root) = match &config.place {
            Place::Directory(path) => {
                let (path, writes) = (path.clone(), !config.read_only);
                let open = move || {
                    if writes {
                        std::fs::create_dir_all(&path).map_err(error::directory)?;
                    }
                    let found = std::fs::metadata(&path).map_err(error::directory)?;
                    if !found.is_dir() {
                        return Err(error::directory(ErrorKind::NotADirectory.into()));
                    }
                    let store = LocalFileSystem::new_with_prefix(&path);
                    let failed = |error| error::store(Operation::Open, &error, &missing);
                    Ok::<_, Error>((store.map_err(failed)?.with_fsync(true), missing))
                };
                let (store, missing) = env.blocking(open).await.flatten()?;
                let store: Arc<dyn ObjectStore> = Arc::new(store);
                let client = Arc::clone(&store);
                return Ok(Self { client, asking: store, root: Path::default(), missing });
            }
            Place::Bucket { cloud, bucket, prefix, options } => {
                let root = Path::parse(prefix).map_err(|source| {
                    let message = "the prefix has a part that no store can hold; choose another";
                    Error::invalid(Operation::Open, message).with_source(source)
                })?;
                let client = |retries| bucket_client(*cloud, bucket, options, config, retries);
                let failed = |error| error::store(Operation::Open, &error, &missing);
                (client(2).map_err(failed)?, client(0).map_err(failed)?, root)
            }
        };
        Ok(Self { client, asking, root, missing })
    }

    /// The first name under the root: the cheapest question that needs the bucket.
    pub(crate) async fn ask(&self, operation: Operation) -> Result<()> {
        match self.asking.list(Some(&self.root)).next().await {
            Some(Err(error)) => Err(error::store(operation, &error, &self.missing)),
            _ => Ok(()),
        }
    }

    /// Whether there is a store.
    pub(crate) async fn is_there(&self) -> Result<bool> {
        let manifests = self.root.clone().join("manifest");
        let found = self.asking.list(Some(&manifests)).try_next().await;
        let found = found.map_err(|e| error::store(Operation::Open, &e, &self.missing))?;
        Ok(found.is_some())
    }
}

/// A client of a bucket, which asks again so often.
fn bucket_client(
    cloud: Cloud,
    bucket: &str,
    options: &BTreeMap<&'static str, String>,
    config: &Config,
    retries: usize,
) -> object_store::Result<Arc<dyn ObjectStore>> {
    let endpoint = options.get("endpoint");
    let plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    let http = ClientOptions::new()
        .with_allow_http(plain)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout_disabled()
        .with_read_timeout(config.timeout);
    let retry = RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: retries,
        retry_timeout: config.timeout,
    };
    match cloud {
        Cloud::S3 => {
            let builder = s3(bucket, options).with_client_options(http).with_retry(retry);
            Ok(Arc::new(builder.build()?))
        }
        Cloud::Gcs => {
            let builder = gcs(bucket, options).with_client_options(http).with_retry(retry);
            Ok(Arc::new(builder.build()?))
        }
        Cloud::Azure => {
            let builder = azure(bucket, options).with_client_options(http).with_retry(retry);
            Ok(Arc::new(builder.build()?))
        }
    }
}

fn is_on(options: &BTreeMap<&'static str, String>, name: &str) -> Option<bool> {
    options.get(name).map(|text| text.eq_ignore_ascii_case("true"))
}

fn s3(bucket: &str, options: &BTreeMap<&'static str, String>) -> AmazonS3Builder {
    let anonymous = is_on(options, "anonymous").unwrap_or(false);
    let mut builder = match (options.get("access_key_id"), options.get("secret_access_key")) {
        (Some(id), Some(secret)) => {
            AmazonS3Builder::new().with_access_key_id(id).with_secret_access_key(secret)
        }
        _ if anonymous => AmazonS3Builder::new().with_skip_signature(true),
        _ => AmazonS3Builder::from_env(),
    };
    if let Some(token) = options.get("session_token") {
        builder = builder.with_token(token);
    }
    if let Some(region) = options.get("region") {
        builder = builder.with_region(region);
    }
    let endpoint = options.get("endpoint");
    let path_style = is_on(options, "path_style").unwrap_or(endpoint.is_some());
    if let Some(endpoint) = endpoint {
        // The client takes an endpoint as it is: without path style the bucket must be in it.
        let host = endpoint.split_once("://").map_or("", |(_, host)| host);
        let named = host.starts_with(&format!("{bucket}."));
        let endpoint = if path_style || named {
            endpoint.clone()
        } else {
            endpoint.replacen("://", &format!("://{bucket}."), 1)
        };
        builder = builder.with_endpoint(endpoint);
    }
    // Not every server has the request that deletes many.
    builder
        .with_bucket_name(bucket)
        .with_virtual_hosted_style_request(!path_style)
        .with_disable_bulk_delete(true)
}

fn gcs(bucket: &str, options: &BTreeMap<&'static str, String>) -> GoogleCloudStorageBuilder {
    let new = GoogleCloudStorageBuilder::new;
    let mut builder = if let Some(path) = options.get("service_account_path") {
        new().with_service_account_path(path)
    } else if let Some(key) = options.get("service_account_key") {
        new().with_service_account_key(key)
    } else if let Some(path) = options.get("application_credentials") {
        new().with_application_credentials(path)
    } else if is_on(options, "anonymous").unwrap_or(false) {
        // The client asks for a token even when it does not sign, unless its key says not to.
        let key =
            r#"{"private_key":"","private_key_id":"","client_email":"","disable_oauth":true}"#;
        new().with_service_account_key(key).with_skip_signature(true)
    } else {
        GoogleCloudStorageBuilder::from_env()
    };
    if let Some(endpoint) = options.get("endpoint") {
        builder = builder.with_base_url(endpoint);
    }
    builder.with_bucket_name(bucket)
}

fn azure(bucket: &str, options: &BTreeMap<&'static str, String>) -> MicrosoftAzureBuilder {
    let keys = [
        ("account", AzureConfigKey::AccountName),
        ("access_key", AzureConfigKey::AccessKey),
        ("sas_token", AzureConfigKey::SasKey),
        ("tenant_id", AzureConfigKey::AuthorityId),
        ("client_id", AzureConfigKey::ClientId),
        ("client_secret", AzureConfigKey::ClientSecret),
        ("federated_token_file", AzureConfigKey::FederatedTokenFile),
        ("endpoint", AzureConfigKey::Endpoint),
    ];
    let anonymous = is_on(options, "anonymous").unwrap_or(false);
    let secrets = ["access_key", "sas_token", "client_secret", "federated_token_file"];
    let mut builder = if anonymous || secrets.iter().any(|name| options.contains_key(name)) {
        MicrosoftAzureBuilder::new()
    } else {
        MicrosoftAzureBuilder::from_env()
    };
    for (name, key) in keys {
        if let Some(text) = options.get(name) {
            builder = builder.with_config(key, text);
        }
    }
    builder.with_skip_signature(anonymous).with_container_name(bucket)
}
