//! Google Cloud Storage.

use std::fmt;
use std::sync::Arc;

use holdall_core::{Location, Result};
use object_store::ObjectStore;
use object_store::gcp::GoogleCloudStorageBuilder;

use super::text::{self, place, text, with_texts};
use super::{Client, Options, options};

/// How to reach a bucket on Google Cloud Storage.
#[derive(Clone, PartialEq, Eq)]
pub struct GcsConfig {
    /// The bucket. It must exist.
    pub bucket: String,
    /// What is the same on all stores.
    pub options: Options,
    /// The file with a service account's key.
    pub service_account_path: Option<String>,
    /// That key itself, as JSON.
    pub service_account_key: Option<String>,
    /// The file with application credentials: a service account's, or a person's.
    ///
    /// Without any of these three the default chain is asked: environment, the well-known file,
    /// the metadata server of the machine or pod.
    pub application_credentials: Option<String>,
    /// The server, such as `http://127.0.0.1:4443`; `None` is Google's.
    pub endpoint: Option<String>,
    /// Whether requests are not signed, for public buckets and emulators.
    pub anonymous: bool,
}

const OPTIONS: [&str; 5] = [
    "service_account_path",
    "service_account_key",
    "application_credentials",
    "endpoint",
    "anonymous",
];

impl GcsConfig {
    /// The defaults, for this bucket.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            options: Options::default(),
            service_account_path: None,
            service_account_key: None,
            application_credentials: None,
            endpoint: None,
            anonymous: false,
        }
    }

    /// The names of all options of such a location.
    pub fn option_names() -> Vec<&'static str> {
        OPTIONS.into_iter().chain(options::NAMES).collect()
    }

    /// Reads `gs://bucket/prefix?service_account_path=/etc/key.json&…`.
    ///
    /// # Errors
    /// `Invalid` for a missing bucket, an unknown option, or a value that is not what its option
    /// takes.
    pub fn from_location(location: &Location) -> Result<Self> {
        location.allow_options(&Self::option_names())?;
        let (bucket, prefix) = place(location)?;
        let config = Self {
            bucket,
            options: Options::read(location, prefix)?,
            service_account_path: text(location, "service_account_path"),
            service_account_key: text(location, "service_account_key"),
            application_credentials: text(location, "application_credentials"),
            endpoint: text(location, "endpoint"),
            anonymous: location.flag("anonymous")?.unwrap_or(false),
        };
        let ways = [
            config.service_account_path.is_some(),
            config.service_account_key.is_some(),
            config.application_credentials.is_some(),
            config.anonymous,
        ];
        if ways.into_iter().filter(|way| *way).count() > 1 {
            let message = "the location has more than one kind of credentials; give one";
            return Err(location.refuse(message));
        }
        Ok(config)
    }

    /// The location that gives this configuration again.
    pub fn location(&self) -> Location {
        let mut location = text::location("gs", &self.bucket, &self.options.prefix);
        if self.anonymous {
            location = location.with_option("anonymous", "true");
        }
        let texts = [
            ("service_account_path", &self.service_account_path),
            ("service_account_key", &self.service_account_key),
            ("application_credentials", &self.application_credentials),
            ("endpoint", &self.endpoint),
        ];
        self.options.write(with_texts(location, &texts))
    }

    pub(super) fn client(&self, client: Client) -> object_store::Result<Arc<dyn ObjectStore>> {
        let new = GoogleCloudStorageBuilder::new;
        let mut builder = if let Some(path) = &self.service_account_path {
            new().with_service_account_path(path)
        } else if let Some(key) = &self.service_account_key {
            new().with_service_account_key(key)
        } else if let Some(path) = &self.application_credentials {
            new().with_application_credentials(path)
        } else if self.anonymous {
            // The client asks for a token even when it does not sign, unless its key says not to.
            let key =
                r#"{"private_key":"","private_key_id":"","client_email":"","disable_oauth":true}"#;
            new().with_service_account_key(key).with_skip_signature(true)
        } else {
            GoogleCloudStorageBuilder::from_env()
        };
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_base_url(endpoint);
        }
        let builder = builder
            .with_client_options(client.http(&self.options, self.endpoint.as_deref()))
            .with_retry(client.retry(&self.options))
            .with_bucket_name(&self.bucket);
        Ok(Arc::new(builder.build()?))
    }
}

impl fmt::Debug for GcsConfig {
    /// Shows no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GcsConfig({})", self.location())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_config_survives_a_round_trip_and_shows_no_secret() {
        for text in [
            "gs://b",
            "gs://b/p?service_account_path=/k.json&storage_class=NEARLINE",
            "gs://b/p?service_account_key={%22private_key%22:%22asecret%22}",
            "gs://b?application_credentials=/c.json",
            "gs://b?anonymous=true&endpoint=http://h:1&probe=off&conditional=revision",
        ] {
            let config = GcsConfig::from_location(&Location::parse(text).unwrap()).unwrap();
            let again = Location::parse(&config.location().expose()).unwrap();
            assert_eq!(GcsConfig::from_location(&again).unwrap(), config);
            assert!(!format!("{config:?}").contains("asecret"));
        }
        let two = "gs://b?anonymous=true&service_account_path=/k.json";
        assert!(GcsConfig::from_location(&Location::parse(two).unwrap()).is_err());
    }
}
