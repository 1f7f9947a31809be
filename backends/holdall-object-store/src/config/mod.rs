//! Which store, which bucket, and how it is used: plain data, read from locations.

mod azure;
mod gcs;
mod options;
mod s3;
mod text;

pub use azure::AzureConfig;
pub use gcs::GcsConfig;
pub use options::Options;
pub(crate) use options::show_conditions;
pub use s3::{Preset, S3Config};

use std::sync::Arc;

use holdall_core::{Error, Location, Operation, Result};
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use crate::RevisionBy;

/// What an [`ObjectBackend`](crate::ObjectBackend) is opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// Amazon S3 and everything that speaks its protocol.
    S3(S3Config),
    /// Google Cloud Storage.
    Gcs(GcsConfig),
    /// Azure Blob Storage.
    Azure(AzureConfig),
}

impl Config {
    /// Reads `s3://bucket/prefix?…`, `gs://bucket/prefix?…` or `az://container/prefix?…`.
    ///
    /// # Errors
    /// `Invalid` for another scheme, a missing bucket, an unknown option, or a value that is not
    /// what its option takes.
    pub fn from_location(location: &Location) -> Result<Self> {
        match location.scheme() {
            "s3" => S3Config::from_location(location).map(Self::S3),
            "gs" => GcsConfig::from_location(location).map(Self::Gcs),
            "az" => AzureConfig::from_location(location).map(Self::Azure),
            _ => {
                let message = "this is no object store's location; write s3://bucket/prefix, \
                               gs://bucket/prefix or az://container/prefix";
                Err(Error::invalid(Operation::Open, message).with_location(location))
            }
        }
    }

    /// The location that gives this configuration again.
    pub fn location(&self) -> Location {
        match self {
            Self::S3(config) => config.location(),
            Self::Gcs(config) => config.location(),
            Self::Azure(config) => config.location(),
        }
    }

    pub(crate) fn options(&self) -> &Options {
        match self {
            Self::S3(config) => &config.options,
            Self::Gcs(config) => &config.options,
            Self::Azure(config) => &config.options,
        }
    }

    pub(crate) fn engine(&self) -> &'static str {
        match self {
            Self::S3(_) => "s3",
            Self::Gcs(_) => "gs",
            Self::Azure(_) => "az",
        }
    }

    pub(crate) fn revision_by(&self) -> RevisionBy {
        if matches!(self, Self::Gcs(_)) { RevisionBy::Version } else { RevisionBy::ETag }
    }

    /// What to say to somebody whose bucket is missing.
    pub(crate) fn missing(&self) -> String {
        match self {
            Self::S3(config) => {
                let bucket = &config.bucket;
                format!("there is no bucket `{bucket}`; make it (`aws s3 mb s3://{bucket}`)")
            }
            Self::Gcs(config) => {
                let bucket = &config.bucket;
                let make = format!("gcloud storage buckets create gs://{bucket}");
                format!("there is no bucket `{bucket}`; make it (`{make}`)")
            }
            Self::Azure(config) => {
                let container = &config.container;
                let make = format!("az storage container create --name {container}");
                format!("there is no container `{container}`; make it (`{make}`)")
            }
        }
    }

    /// The store's client.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub(crate) fn client(&self, client: Client) -> object_store::Result<Arc<dyn ObjectStore>> {
        match self {
            Self::S3(config) => config.client(client),
            Self::Gcs(config) => config.client(client),
            Self::Azure(config) => config.client(client),
        }
    }
}

/// What a client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// Reading and listing: what fails is asked again, and silence ends by itself.
    Reads,
    /// Writing: everything is sent once, because an answer that was lost may have been a success.
    /// The backend itself ends what takes too long.
    Writes,
}

impl Client {
    fn retry(self, options: &Options) -> RetryConfig {
        let (max_retries, retry_timeout) = match self {
            Self::Reads => (options.retries, options.timeout),
            Self::Writes => (0, std::time::Duration::ZERO),
        };
        RetryConfig { backoff: BackoffConfig::default(), max_retries, retry_timeout }
    }

    fn http(self, options: &Options, endpoint: Option<&str>) -> ClientOptions {
        let plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
        let client = ClientOptions::new()
            .with_allow_http(plain)
            .with_connect_timeout(options.connect_timeout)
            .with_timeout_disabled();
        match self {
            Self::Reads => client.with_read_timeout(options.timeout),
            Self::Writes => client,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_option_is_in_its_page_and_no_other() {
        for (page, mut options) in [
            (include_str!("../../../../docs/backends/s3.md"), S3Config::option_names()),
            (include_str!("../../../../docs/backends/gcs.md"), GcsConfig::option_names()),
            (include_str!("../../../../docs/backends/azure.md"), AzureConfig::option_names()),
        ] {
            let rows = page.lines().skip_while(|line| !line.starts_with("| option |")).skip(2);
            let mut named: Vec<&str> = rows
                .take_while(|line| line.starts_with("| `"))
                .filter_map(|line| line.split('`').nth(1))
                .collect();
            named.sort_unstable();
            options.sort_unstable();
            assert_eq!(named, options);
        }
    }

    /// Every default that the pages name, written out, changes nothing.
    #[test]
    fn the_pages_say_the_defaults() {
        for (page, place) in [
            (include_str!("../../../../docs/backends/s3.md"), "s3://bucket"),
            (include_str!("../../../../docs/backends/gcs.md"), "gs://bucket"),
            (include_str!("../../../../docs/backends/azure.md"), "az://container"),
        ] {
            let place = Location::parse(place).unwrap();
            let rows = page.lines().skip_while(|line| !line.starts_with("| option |")).skip(2);
            let mut same = 0;
            for row in rows.take_while(|line| line.starts_with("| `")) {
                let name = row.split('`').nth(1).unwrap();
                let default = row.trim_end_matches(" |").rsplit("| ").next().unwrap();
                let default = default.replace('`', "");
                // The others are found in the surroundings, or with the first preset.
                if options::NAMES.contains(&name) && !default.contains(' ') || name == "anonymous" {
                    let with = place.clone().with_option(name, &default);
                    let without = Config::from_location(&place).unwrap();
                    let with = Config::from_location(&with).unwrap();
                    assert_eq!(with, without, "{name}={default}");
                    same += 1;
                }
            }
            assert!(same >= 11, "{same}");
        }
    }
}
