//! The directory or bucket that holds the store.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use holdall_core::{Location, Result};

/// Where the store lies.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// In a directory, created if it is missing. Absolute.
    Directory(PathBuf),
    /// In a bucket, which must exist.
    Bucket {
        /// Whose it is.
        cloud: Cloud,
        /// Its name; on Azure that of the container.
        bucket: String,
        /// What every object's name begins with, before a slash. Empty is the whole bucket.
        prefix: String,
        /// How it is reached, by the names that locations have for it.
        options: BTreeMap<&'static str, String>,
    },
}

/// Whose bucket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// Amazon S3 and everything that speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

const S3: &[&str] = &[
    "region",
    "endpoint",
    "path_style",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "anonymous",
];
const GCS: &[&str] = &[
    "service_account_path",
    "service_account_key",
    "application_credentials",
    "endpoint",
    "anonymous",
];
const AZURE: &[&str] = &[
    "account",
    "access_key",
    "sas_token",
    "tenant_id",
    "client_id",
    "client_secret",
    "federated_token_file",
    "endpoint",
    "anonymous",
];

impl Cloud {
    const ALL: [Self; 3] = [Self::S3, Self::Gcs, Self::Azure];

    fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "slatedb+s3",
            Self::Gcs => "slatedb+gs",
            Self::Azure => "slatedb+az",
        }
    }

    fn options(self) -> &'static [&'static str] {
        match self {
            Self::S3 => S3,
            Self::Gcs => GCS,
            Self::Azure => AZURE,
        }
    }

    /// Options of which a location has one at the most, as each is a way to log in.
    fn ways(self) -> &'static [&'static str] {
        match self {
            Self::S3 => &["access_key_id", "anonymous"],
            Self::Gcs => &[
                "service_account_path",
                "service_account_key",
                "application_credentials",
                "anonymous",
            ],
            Self::Azure => {
                &["access_key", "sas_token", "client_secret", "federated_token_file", "anonymous"]
            }
        }
    }

    /// The names of all options of all clouds.
    #[cfg(test)]
    pub(super) fn all_options() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().flat_map(|cloud| cloud.options().iter().copied())
    }
}

impl Place {
    pub(super) fn from_location(location: &Location, common: &[&str]) -> Result<Self> {
        if location.scheme() == "slatedb" {
            location.allow_options(common)?;
            return directory(location);
        }
        let cloud = Cloud::ALL.into_iter().find(|cloud| cloud.scheme() == location.scheme());
        let Some(cloud) = cloud else {
            let message = "this is no slatedb location; write slatedb:///path, \
                           slatedb+s3://bucket/prefix, slatedb+gs://bucket/prefix or \
                           slatedb+az://container/prefix";
            return Err(location.refuse(message));
        };
        let known: Vec<&str> = common.iter().chain(cloud.options()).copied().collect();
        location.allow_options(&known)?;
        let bucket = location.authority();
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._$".contains(c);
        if bucket.is_empty() || !bucket.chars().all(allowed) {
            return Err(location.refuse(format!(
                "the location names no bucket, or more than a bucket; write \
                 {}://bucket/prefix, with credentials as options",
                cloud.scheme()
            )));
        }
        let given = |name: &&'static str| location.option(name).map(|text| (*name, text.into()));
        let options: BTreeMap<&str, String> = cloud.options().iter().filter_map(given).collect();
        check(location, cloud, &options)?;
        let prefix = location.path().trim_matches('/').to_owned();
        Ok(Self::Bucket { cloud, bucket: bucket.to_owned(), prefix, options })
    }

    pub(super) fn location(&self) -> Location {
        match self {
            Self::Directory(path) => Location::from_path("slatedb", &path.to_string_lossy()),
            Self::Bucket { cloud, bucket, prefix, options } => {
                let path = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
                let without = Location::from_path(cloud.scheme(), &path);
                let text = without.expose().replacen("://", &format!("://{bucket}"), 1);
                // A bucket that is no part of a location is shown as a path.
                let location = Location::parse(&text).unwrap_or(without);
                options
                    .iter()
                    .fold(location, |location, (name, text)| location.with_option(name, text))
            }
        }
    }

    /// What to say to somebody whose bucket or directory is missing.
    pub(crate) fn missing(&self) -> String {
        match self {
            Self::Directory(path) => {
                format!("there is no directory `{}`; make it", path.display())
            }
            Self::Bucket { cloud, bucket, .. } => {
                let (what, how) = match cloud {
                    Cloud::S3 => ("bucket", format!("aws s3 mb s3://{bucket}")),
                    Cloud::Gcs => {
                        ("bucket", format!("gcloud storage buckets create gs://{bucket}"))
                    }
                    Cloud::Azure => {
                        ("container", format!("az storage container create --name {bucket}"))
                    }
                };
                format!("there is no {what} `{bucket}`; make it (`{how}`)")
            }
        }
    }
}

impl fmt::Debug for Place {
    /// Shows no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.location())
    }
}

fn directory(location: &Location) -> Result<Place> {
    if !location.authority().is_empty() {
        let message = "a slatedb location names no host; write three slashes: slatedb:///path, \
                       or slatedb+s3://bucket/prefix";
        return Err(location.refuse(message));
    }
    if !location.path().starts_with('/') || location.path().contains('\0') {
        return Err(location.refuse("slatedb needs an absolute path; write slatedb:///path"));
    }
    Ok(Place::Directory(location.path().into()))
}

/// Refuses options that do not fit together.
fn check(
    location: &Location,
    cloud: Cloud,
    options: &BTreeMap<&'static str, String>,
) -> Result<()> {
    let anonymous = location.flag("anonymous")?.unwrap_or(false);
    location.flag("path_style")?;
    let ways = cloud.ways().iter().filter(|way| match **way {
        "anonymous" => anonymous,
        way => options.contains_key(way),
    });
    if ways.count() > 1 {
        let message = "the location has more than one kind of credentials; give one";
        return Err(location.refuse(message));
    }
    if options.contains_key("access_key_id") != options.contains_key("secret_access_key") {
        let message = "access_key_id and secret_access_key belong together; give both, or \
                       neither to use the default credential chain";
        return Err(location.refuse(message));
    }
    if options.contains_key("session_token") && !options.contains_key("access_key_id") {
        let message = "session_token needs access_key_id and secret_access_key";
        return Err(location.refuse(message));
    }
    let web = |text: &String| text.starts_with("http://") || text.starts_with("https://");
    if options.get("endpoint").is_some_and(|endpoint| !web(endpoint)) {
        return Err(location.refuse("endpoint must begin with https:// or http://"));
    }
    Ok(())
}
