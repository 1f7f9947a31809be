//! Amazon S3 and everything that speaks its protocol.

use std::fmt;
use std::sync::Arc;

use holdall_core::{Location, Result};
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;

use super::text::{self, place, text, with_texts};
use super::{Client, Options, options};
use crate::names::NAME_BYTES_MAX;

/// How to reach a bucket on S3.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Config {
    /// The bucket. It must exist.
    pub bucket: String,
    /// What is the same on all stores.
    pub options: Options,
    /// Whose server it is: this chooses what is not said.
    pub preset: Option<Preset>,
    /// The region; `us-east-1` if neither this nor the preset nor the credential chain says one.
    pub region: Option<String>,
    /// The server, such as `http://127.0.0.1:9000`; `None` is Amazon's.
    pub endpoint: Option<String>,
    /// Whether the bucket is in the path and not in the host's name. By default where there is an
    /// endpoint.
    pub path_style: Option<bool>,
    /// The access key's name. Without it the default credential chain is asked: environment, web
    /// identity, container, instance.
    pub access_key_id: Option<String>,
    /// The access key's secret.
    pub secret_access_key: Option<String>,
    /// The token of temporary credentials.
    pub session_token: Option<String>,
    /// Whether requests are not signed, for public buckets.
    pub anonymous: bool,
}

/// Servers whose settings are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Amazon S3.
    Aws,
    /// MinIO: the bucket in the path, flat names.
    Minio,
    /// Garage: the bucket in the path, region `garage`, names of at most 471 bytes.
    Garage,
    /// Ceph's gateway: the bucket in the path, region `default`.
    Ceph,
    /// DigitalOcean Spaces: the endpoint by the region, the bucket in the host's name.
    Spaces,
    /// Cloudflare R2: region `auto`, the bucket in the path.
    R2,
    /// Google Cloud Storage by HMAC keys: its endpoint, region `auto`.
    GcsHmac,
}

/// A node of Garage that keeps its tables in LMDB, as it does by default, can hold no name that
/// makes a key of more than 511 bytes; the longest has a hash of 32 bytes and a time of 8 with it.
/// It answers 503 to longer ones, and 500 to listings that begin there.
const GARAGE_NAME_BYTES_MAX: usize = 471;

const PRESETS: [(&str, Preset); 7] = [
    ("aws", Preset::Aws),
    ("minio", Preset::Minio),
    ("garage", Preset::Garage),
    ("ceph", Preset::Ceph),
    ("spaces", Preset::Spaces),
    ("r2", Preset::R2),
    ("gcs-hmac", Preset::GcsHmac),
];

const OPTIONS: [&str; 8] = [
    "preset",
    "region",
    "endpoint",
    "path_style",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "anonymous",
];

impl S3Config {
    /// The defaults, for this bucket.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            options: Options::default(),
            preset: None,
            region: None,
            endpoint: None,
            path_style: None,
            access_key_id: None,
            secret_access_key: None,
            session_token: None,
            anonymous: false,
        }
    }

    /// The names of all options of such a location.
    pub fn option_names() -> Vec<&'static str> {
        OPTIONS.into_iter().chain(options::NAMES).collect()
    }

    /// Reads `s3://bucket/prefix?region=eu-west-1&…`.
    ///
    /// # Errors
    /// `Invalid` for a missing bucket, an unknown option, or a value that is not what its option
    /// takes, or that does not fit with others.
    pub fn from_location(location: &Location) -> Result<Self> {
        location.allow_options(&Self::option_names())?;
        let (bucket, prefix) = place(location)?;
        let preset = location.choice("preset", &PRESETS)?;
        let mut options = Options::read(location, prefix)?;
        if preset == Some(Preset::Minio) && location.option("names").is_none() {
            options.flat = true;
        }
        if preset == Some(Preset::Garage) && location.option("name_bytes_max").is_none() {
            options.name_bytes_max = GARAGE_NAME_BYTES_MAX;
        }
        let config = Self {
            bucket,
            options,
            preset,
            region: text(location, "region"),
            endpoint: text(location, "endpoint"),
            path_style: location.flag("path_style")?,
            access_key_id: text(location, "access_key_id"),
            secret_access_key: text(location, "secret_access_key"),
            session_token: text(location, "session_token"),
            anonymous: location.flag("anonymous")?.unwrap_or(false),
        };
        if config.access_key_id.is_some() != config.secret_access_key.is_some() {
            let message = "access_key_id and secret_access_key belong together; give both, or \
                           neither to use the default credential chain";
            return Err(location.refuse(message));
        }
        if config.session_token.is_some() && config.access_key_id.is_none() {
            return Err(location.refuse("session_token needs access_key_id and secret_access_key"));
        }
        config.check_endpoint(location)?;
        Ok(config)
    }

    fn check_endpoint(&self, location: &Location) -> Result<()> {
        if let Some(endpoint) = &self.endpoint
            && !(endpoint.starts_with("http://") || endpoint.starts_with("https://"))
        {
            let message = "endpoint must begin with https:// or http://";
            return Err(location.refuse(message));
        }
        let needs = [Preset::Minio, Preset::Garage, Preset::Ceph, Preset::R2];
        if let Some(preset) = self.preset.filter(|preset| needs.contains(preset))
            && self.endpoint.is_none()
        {
            let name = preset.as_str();
            return Err(location.refuse(format!("preset={name} needs the server's endpoint")));
        }
        if self.preset == Some(Preset::Spaces) && self.region.is_none() && self.endpoint.is_none() {
            return Err(location.refuse("preset=spaces needs a region, such as nyc3"));
        }
        Ok(())
    }

    /// The location that gives this configuration again.
    pub fn location(&self) -> Location {
        let mut location = text::location("s3", &self.bucket, &self.options.prefix);
        if let Some(preset) = self.preset {
            location = location.with_option("preset", preset.as_str());
        }
        if let Some(path_style) = self.path_style {
            location = location.with_option("path_style", &path_style.to_string());
        }
        if self.anonymous {
            location = location.with_option("anonymous", "true");
        }
        let texts = [
            ("region", &self.region),
            ("endpoint", &self.endpoint),
            ("access_key_id", &self.access_key_id),
            ("secret_access_key", &self.secret_access_key),
            ("session_token", &self.session_token),
        ];
        let location = self.options.write(with_texts(location, &texts));
        if self.preset == Some(Preset::Minio) && !self.options.flat {
            return location.with_option("names", "plain");
        }
        if self.preset == Some(Preset::Garage) && self.options.name_bytes_max == NAME_BYTES_MAX {
            return location.with_option("name_bytes_max", &NAME_BYTES_MAX.to_string());
        }
        location
    }

    /// The region, if this or the preset says one.
    fn region_or_preset(&self) -> Option<&str> {
        self.region.as_deref().or(match self.preset? {
            Preset::Garage => Some("garage"),
            Preset::Ceph => Some("default"),
            Preset::R2 | Preset::GcsHmac => Some("auto"),
            Preset::Minio => Some("us-east-1"),
            Preset::Aws | Preset::Spaces => None,
        })
    }

    /// The server, if this or the preset says one, and whether the bucket is in the path.
    fn server(&self) -> (Option<String>, bool) {
        let endpoint = self.endpoint.clone().or_else(|| match (self.preset, &self.region) {
            (Some(Preset::Spaces), Some(region)) => {
                Some(format!("https://{region}.digitaloceanspaces.com"))
            }
            (Some(Preset::GcsHmac), _) => Some("https://storage.googleapis.com".to_owned()),
            _ => None,
        });
        let default = endpoint.is_some() && self.preset != Some(Preset::Spaces);
        let path_style = self.path_style.unwrap_or(default);
        let Some(endpoint) = endpoint else { return (None, path_style) };
        if path_style {
            return (Some(endpoint), true);
        }
        // The client takes an endpoint as it is: the bucket must be in its name already.
        let bucket = format!("{}.", self.bucket);
        let with_bucket = match endpoint.split_once("://") {
            Some((scheme, host)) if !host.starts_with(&bucket) => {
                format!("{scheme}://{bucket}{host}")
            }
            _ => endpoint,
        };
        (Some(with_bucket), false)
    }

    pub(super) fn client(&self, client: Client) -> object_store::Result<Arc<dyn ObjectStore>> {
        let (endpoint, path_style) = self.server();
        let mut builder = match (&self.access_key_id, &self.secret_access_key) {
            (Some(id), Some(secret)) => {
                AmazonS3Builder::new().with_access_key_id(id).with_secret_access_key(secret)
            }
            _ if self.anonymous => AmazonS3Builder::new().with_skip_signature(true),
            _ => AmazonS3Builder::from_env(),
        };
        if let Some(token) = &self.session_token {
            builder = builder.with_token(token);
        }
        if let Some(region) = self.region_or_preset() {
            builder = builder.with_region(region);
        }
        builder = builder
            .with_client_options(client.http(&self.options, endpoint.as_deref()))
            .with_retry(client.retry(&self.options))
            .with_bucket_name(&self.bucket)
            .with_virtual_hosted_style_request(!path_style)
            // Not every server has the request that deletes many; ours delete one at a time.
            .with_disable_bulk_delete(true);
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        Ok(Arc::new(builder.build()?))
    }
}

impl Preset {
    fn as_str(self) -> &'static str {
        PRESETS.iter().find(|(_, preset)| *preset == self).map_or("aws", |(name, _)| name)
    }
}

impl fmt::Debug for S3Config {
    /// Shows no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Config({})", self.location())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use holdall_core::{Conditions, ErrorKind};

    use super::*;

    fn parse(text: &str) -> Result<S3Config> {
        S3Config::from_location(&Location::parse(text).unwrap())
    }

    #[test]
    fn a_config_survives_a_round_trip_and_shows_no_secret() {
        let full = "s3://b/p/q?preset=minio&region=r&endpoint=http://h:1&path_style=true\
                    &access_key_id=anid&secret_access_key=asecret&session_token=atoken\
                    &part_size=16MiB&concurrency=7&max_parts=9&upload_timeout=2h&timeout=1s\
                    &connect_timeout=2s&retries=0&storage_class=STANDARD_IA&names=plain\
                    &probe=off&conditional=absent";
        let config = parse(full).unwrap();
        assert_eq!(config.options.conditional, Some(Conditions::Absent));
        assert_eq!(config.options.part_size, 16 << 20);
        assert!(!config.options.flat);
        for config in [config, S3Config::new("b"), parse("s3://b?anonymous=true").unwrap()] {
            assert_eq!(parse(&config.location().expose()).unwrap(), config);
            let shown = format!("{config:?} {}", config.location());
            for secret in ["anid", "asecret", "atoken"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
    }

    #[test]
    fn presets_choose_what_is_not_said() {
        let server = |text: &str| {
            let config = parse(text).unwrap();
            let region = config.region_or_preset().map(str::to_owned);
            let (endpoint, path_style) = config.server();
            (endpoint.unwrap_or_default(), path_style, region.unwrap_or_default())
        };
        let wanted = |endpoint: &str, path_style, region: &str| {
            (endpoint.to_owned(), path_style, region.to_owned())
        };
        for (text, expected) in [
            ("s3://b", wanted("", false, "")),
            ("s3://b?preset=aws&region=eu-west-1", wanted("", false, "eu-west-1")),
            ("s3://b?endpoint=http://h:9", wanted("http://h:9", true, "")),
            ("s3://b?endpoint=http://h:9&path_style=false", wanted("http://b.h:9", false, "")),
            ("s3://b?endpoint=https://b.h&path_style=false", wanted("https://b.h", false, "")),
            (
                "s3://b?preset=minio&endpoint=http://m:9000",
                wanted("http://m:9000", true, "us-east-1"),
            ),
            ("s3://b?preset=garage&endpoint=http://g", wanted("http://g", true, "garage")),
            ("s3://b?preset=ceph&endpoint=http://c", wanted("http://c", true, "default")),
            (
                "s3://b?preset=spaces&region=nyc3",
                wanted("https://b.nyc3.digitaloceanspaces.com", false, "nyc3"),
            ),
            (
                "s3://b?preset=r2&endpoint=https://a.r2.cloudflarestorage.com",
                wanted("https://a.r2.cloudflarestorage.com", true, "auto"),
            ),
            ("s3://b?preset=gcs-hmac", wanted("https://storage.googleapis.com", true, "auto")),
        ] {
            assert_eq!(server(text), expected, "{text}");
        }
        assert!(parse("s3://b?preset=minio&endpoint=http://m").unwrap().options.flat);
        let garage = "s3://b?preset=garage&endpoint=http://g";
        for (text, longest) in [
            ("s3://b".to_owned(), 1024),
            (garage.to_owned(), 471),
            (format!("{garage}&name_bytes_max=1024"), 1024),
        ] {
            let config = parse(&text).unwrap();
            assert_eq!(config.options.name_bytes_max, longest, "{text}");
            assert_eq!(S3Config::from_location(&config.location()).unwrap(), config, "{text}");
        }
    }

    #[test]
    fn wrong_locations_are_refused_with_a_hint() {
        for (text, hint) in [
            ("s3://", "s3://bucket/prefix"),
            ("s3://u:secretpw@b/x", "as options"),
            ("s3://b?regoin=x", "did you mean `region`"),
            ("s3://b?access_key_id=x", "belong together"),
            ("s3://b?secret_access_key=secretpw", "belong together"),
            ("s3://b?session_token=secretpw", "needs access_key_id"),
            ("s3://b?endpoint=h:9000", "https://"),
            ("s3://b?preset=minio", "endpoint"),
            ("s3://b?preset=spaces", "region"),
            ("s3://b?preset=wasabi", "minio"),
            ("s3://b?part_size=1MiB", "part_size must be a size from 5MiB to 5GiB"),
            ("s3://b?concurrency=0", "from 1"),
            ("s3://b?max_parts=10001", "to 10000"),
            ("s3://b?timeout=soon", "timeout must be a time from 1ms to 7d"),
            ("s3://b?retries=many", "retries must be a whole number from 0 to 100"),
            ("s3://b?probe=maybe", "on or off"),
            ("s3://b?probe=off", "conditional=none"),
            ("s3://b?conditional=all", "revision"),
            ("s3://b?names=round", "plain or flat"),
            ("s3://b?path_style=x", "true or false"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
            assert!(error.message().contains(hint), "{text}: {error}");
            assert!(!format!("{error:?}").contains("secretpw"), "{error:?}");
        }
    }
}
