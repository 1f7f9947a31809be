//! Azure Blob Storage.

use std::fmt;
use std::sync::Arc;

use holdall_core::{Location, Result};
use object_store::ObjectStore;
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use super::text::{self, place, text, with_texts};
use super::{Client, Options, options};

/// How to reach a container on Azure.
#[derive(Clone, PartialEq, Eq)]
pub struct AzureConfig {
    /// The container. It must exist.
    pub container: String,
    /// What is the same on all stores.
    pub options: Options,
    /// The storage account.
    pub account: Option<String>,
    /// The account's key.
    pub access_key: Option<String>,
    /// A shared access signature that may read, write, delete and list.
    pub sas_token: Option<String>,
    /// The tenant of a service principal.
    pub tenant_id: Option<String>,
    /// The service principal, or alone: the managed identity that the machine has.
    ///
    /// Without any credentials the environment is asked, then the machine's managed identity.
    pub client_id: Option<String>,
    /// The service principal's secret.
    pub client_secret: Option<String>,
    /// The file with a workload identity's token.
    pub federated_token_file: Option<String>,
    /// The server, such as `http://127.0.0.1:10000/devstoreaccount1`; `None` is Azure's.
    pub endpoint: Option<String>,
    /// Whether requests are not signed, for public containers.
    pub anonymous: bool,
}

const OPTIONS: [&str; 9] = [
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

impl AzureConfig {
    /// The defaults, for this container.
    pub fn new(container: impl Into<String>) -> Self {
        Self {
            container: container.into(),
            options: Options::default(),
            account: None,
            access_key: None,
            sas_token: None,
            tenant_id: None,
            client_id: None,
            client_secret: None,
            federated_token_file: None,
            endpoint: None,
            anonymous: false,
        }
    }

    /// The names of all options of such a location.
    pub fn option_names() -> Vec<&'static str> {
        OPTIONS.into_iter().chain(options::NAMES).collect()
    }

    /// Reads `az://container/prefix?account=…&access_key=…`.
    ///
    /// # Errors
    /// `Invalid` for a missing container, an unknown option, or a value that is not what its
    /// option takes.
    pub fn from_location(location: &Location) -> Result<Self> {
        location.allow_options(&Self::option_names())?;
        let (container, prefix) = place(location)?;
        let config = Self {
            container,
            options: Options::read(location, prefix)?,
            account: text(location, "account"),
            access_key: text(location, "access_key"),
            sas_token: text(location, "sas_token"),
            tenant_id: text(location, "tenant_id"),
            client_id: text(location, "client_id"),
            client_secret: text(location, "client_secret"),
            federated_token_file: text(location, "federated_token_file"),
            endpoint: text(location, "endpoint"),
            anonymous: location.flag("anonymous")?.unwrap_or(false),
        };
        let ways = [
            config.access_key.is_some(),
            config.sas_token.is_some(),
            config.client_secret.is_some(),
            config.federated_token_file.is_some(),
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
        let mut location = text::location("az", &self.container, &self.options.prefix);
        if self.anonymous {
            location = location.with_option("anonymous", "true");
        }
        let texts = [
            ("account", &self.account),
            ("access_key", &self.access_key),
            ("sas_token", &self.sas_token),
            ("tenant_id", &self.tenant_id),
            ("client_id", &self.client_id),
            ("client_secret", &self.client_secret),
            ("federated_token_file", &self.federated_token_file),
            ("endpoint", &self.endpoint),
        ];
        self.options.write(with_texts(location, &texts))
    }

    fn has_credentials(&self) -> bool {
        let secrets =
            [&self.access_key, &self.sas_token, &self.client_secret, &self.federated_token_file];
        self.anonymous || secrets.into_iter().any(Option::is_some)
    }

    pub(super) fn client(&self, client: Client) -> object_store::Result<Arc<dyn ObjectStore>> {
        let mut builder = if self.has_credentials() {
            MicrosoftAzureBuilder::new()
        } else {
            MicrosoftAzureBuilder::from_env()
        };
        let texts = [
            (AzureConfigKey::AccountName, &self.account),
            (AzureConfigKey::AccessKey, &self.access_key),
            (AzureConfigKey::SasKey, &self.sas_token),
            (AzureConfigKey::AuthorityId, &self.tenant_id),
            (AzureConfigKey::ClientId, &self.client_id),
            (AzureConfigKey::ClientSecret, &self.client_secret),
            (AzureConfigKey::FederatedTokenFile, &self.federated_token_file),
            (AzureConfigKey::Endpoint, &self.endpoint),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                builder = builder.with_config(key, text);
            }
        }
        let builder = builder
            .with_client_options(client.http(&self.options, self.endpoint.as_deref()))
            .with_retry(client.retry(&self.options))
            .with_skip_signature(self.anonymous)
            .with_container_name(&self.container);
        Ok(Arc::new(builder.build()?))
    }
}

impl fmt::Debug for AzureConfig {
    /// Shows no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AzureConfig({})", self.location())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_config_survives_a_round_trip_and_shows_no_secret() {
        for text in [
            "az://c?account=a",
            "az://c/p?account=a&access_key=asecret&storage_class=Cool",
            "az://c/p?account=a&sas_token=sig%3Dasecret%26se%3D2030",
            "az://c?account=a&tenant_id=t&client_id=i&client_secret=asecret",
            "az://c?account=a&tenant_id=t&client_id=i&federated_token_file=/f",
            "az://c?anonymous=true&endpoint=http://h:1/a&probe=off&conditional=revision",
        ] {
            let config = AzureConfig::from_location(&Location::parse(text).unwrap()).unwrap();
            let again = Location::parse(&config.location().expose()).unwrap();
            assert_eq!(AzureConfig::from_location(&again).unwrap(), config);
            assert!(!format!("{config:?}").contains("asecret"));
        }
        let two = "az://c?access_key=k&sas_token=s";
        assert!(AzureConfig::from_location(&Location::parse(two).unwrap()).is_err());
    }
}
