//! Opening: the client, the table with its keys, and the form of the location.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    Builder, Credentials as Keys, Region, StalledStreamProtectionConfig,
};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ProvisionedThroughput,
    ScalarAttributeType, TableDescription, TableStatus,
};
use holdall_core::{ErrorKind, Health};

use crate::call::{Condition, Store, strange};
use crate::config::{Billing, Config, Credentials};
use crate::error::{Failure, Fault, fault};
use crate::names::FORM;
use crate::row::{count, number};

/// What a region is called where there is only an endpoint.
const REGION_DEFAULT: &str = "us-east-1";
const FORM_NUMBER: u64 = 1;
/// How long a table may take to come to be, or to go.
const TABLE_WAIT: Duration = Duration::from_secs(120);
const TABLE_PAUSE: Duration = Duration::from_millis(200);

/// A client for this configuration. It tries nothing again by itself.
pub(crate) async fn client(config: &Config) -> Result<Client, Failure> {
    let by_endpoint = config.endpoint.as_ref().map(|_| REGION_DEFAULT.to_owned());
    let region = config.region.clone().or(by_endpoint).map(Region::new);
    let keys = match &config.credentials {
        Credentials::Surroundings => None,
        Credentials::Keys { access_key_id, secret_access_key, session_token } => {
            let (id, secret) = (access_key_id.clone(), secret_access_key.clone());
            Some(Keys::new(id, secret, session_token.clone(), None, "location"))
        }
    };
    let mut builder = match (keys, region) {
        // The surroundings have no say in this.
        (Some(keys), Some(region)) => Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(keys)
            .region(region),
        (keys, region) => {
            let mut loader = aws_config::defaults(BehaviorVersion::latest());
            if let Some(region) = region {
                loader = loader.region(region);
            }
            if let Some(keys) = keys {
                loader = loader.credentials_provider(keys);
            }
            let shared = loader.load().await;
            if shared.region().is_none() {
                let message = "the surroundings name no region; add region=eu-west-1, or another";
                return Err(Failure::new(ErrorKind::Invalid, message));
            }
            Builder::from(&shared)
        }
    };
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(config.connect_timeout)
        .operation_attempt_timeout(config.timeout)
        .build();
    builder.set_endpoint_url(config.endpoint.clone());
    let builder = builder
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    Ok(Client::from_conf(builder.build()))
}

impl Store {
    /// Waits for the table, or makes it.
    pub(crate) async fn open_table(&self, config: &Config) -> Result<(), Failure> {
        let watch = self.env.stopwatch();
        loop {
            let Some(table) = self.describe().await? else {
                if !config.create_table {
                    let message = "there is no such table; create it, or leave out \
                                   create_table=false";
                    return Err(Failure::new(ErrorKind::Invalid, message));
                }
                self.create(config.billing).await?;
                continue;
            };
            match table.table_status() {
                Some(TableStatus::Active | TableStatus::Updating) => return check_keys(&table),
                Some(TableStatus::Creating | TableStatus::Deleting)
                    if watch.elapsed() < TABLE_WAIT =>
                {
                    self.env.sleep(TABLE_PAUSE).await;
                }
                status => return Err(not_ready(status)),
            }
        }
    }

    /// What the store says of the table, if there is one.
    async fn describe(&self) -> Result<Option<TableDescription>, Failure> {
        self.read(|| async move {
            let said = self.client.describe_table().table_name(&self.table).send().await;
            match said {
                Ok(said) => Ok(Some(said.table.ok_or_else(|| Fault::Refused(strange()))?)),
                Err(error) => match error.as_service_error() {
                    Some(said) if said.is_resource_not_found_exception() => Ok(None),
                    _ => Err(fault(&error)),
                },
            }
        })
        .await
    }

    /// Makes the table, unless somebody else is faster.
    async fn create(&self, billing: Billing) -> Result<(), Failure> {
        let keys = [
            ("p", ScalarAttributeType::S, KeyType::Hash),
            ("k", ScalarAttributeType::B, KeyType::Range),
        ];
        let (mut attributes, mut schema) = (Vec::new(), Vec::new());
        for (name, attribute, key) in keys {
            let attribute =
                AttributeDefinition::builder().attribute_name(name).attribute_type(attribute);
            attributes.push(attribute.build().map_err(|_| strange())?);
            let element = KeySchemaElement::builder().attribute_name(name).key_type(key);
            schema.push(element.build().map_err(|_| strange())?);
        }
        let (mode, units) = match billing {
            Billing::OnDemand => (BillingMode::PayPerRequest, None),
            Billing::Provisioned { read_units, write_units } => {
                let units = ProvisionedThroughput::builder()
                    .read_capacity_units(read_units)
                    .write_capacity_units(write_units);
                (BillingMode::Provisioned, Some(units.build().map_err(|_| strange())?))
            }
        };
        let (mode, units, attributes, schema) = (&mode, &units, &attributes, &schema);
        self.read(|| async move {
            let create = self.client.create_table().table_name(&self.table);
            let create = create.billing_mode(mode.clone());
            let create = create.set_provisioned_throughput(units.clone());
            let create = create.set_attribute_definitions(Some(attributes.clone()));
            match create.set_key_schema(Some(schema.clone())).send().await {
                Ok(_) => Ok(()),
                Err(error) => match error.as_service_error() {
                    Some(said) if said.is_resource_in_use_exception() => Ok(()),
                    _ => Err(fault(&error)),
                },
            }
        })
        .await
    }

    /// Writes the form of the location, or reads it and refuses what does not fit.
    pub(crate) async fn open_form(&self, spread: u32) -> Result<(), Failure> {
        let meta = self.names.meta();
        let item = match self.item(&meta, FORM).await? {
            Some(item) => item,
            None => {
                let mut item = Self::key(meta.clone(), FORM);
                item.insert("f".to_owned(), count(FORM_NUMBER));
                item.insert("s".to_owned(), count(u64::from(spread)));
                let text = "attribute_not_exists(p)".to_owned();
                let absent = Condition { text, ..Condition::default() };
                match self.put_item(item.clone(), &absent).await {
                    Ok(()) => item,
                    // Somebody else was faster, or this was done and nobody said so.
                    Err(Fault::Conditions(_) | Fault::Lost(_)) => {
                        self.item(&meta, FORM).await?.ok_or_else(strange)?
                    }
                    Err(fault) => return Err(fault.failure()),
                }
            }
        };
        let form = number(&item, "f")?;
        if form != Some(FORM_NUMBER) {
            let message = "another version of this program made this location; use that one";
            return Err(Failure::new(ErrorKind::Unsupported, message));
        }
        let made = number(&item, "s")?.unwrap_or_default();
        if made != u64::from(spread) {
            let message = format!(
                "this location was made with spread={made}, not {spread}, and keeps it; say so"
            );
            return Err(Failure::new(ErrorKind::Invalid, message));
        }
        Ok(())
    }

    pub(crate) async fn health(&self) -> Result<Health, Failure> {
        let Some(table) = self.describe().await? else {
            let message = "the table is gone; open the backend again";
            return Err(Failure::new(ErrorKind::Closed, message));
        };
        match table.table_status() {
            Some(TableStatus::Active | TableStatus::Updating) => {}
            status => return Err(not_ready(status)),
        }
        check_keys(&table)?;
        let mut notes = vec![format!("table {}", self.table)];
        notes.push(billing(&table));
        if let (Some(items), Some(bytes)) = (table.item_count(), table.table_size_bytes()) {
            notes.push(format!("{items} items with {bytes} bytes in all, some hours ago"));
        }
        if !table.replicas().is_empty() {
            let message = "the table has replicas: what is promised holds in one region at a time";
            notes.push(message.to_owned());
        }
        Ok(Health { bytes_free: None, bytes_used: None, notes })
    }
}

fn billing(table: &TableDescription) -> String {
    let mode = table.billing_mode_summary().and_then(|summary| summary.billing_mode());
    if mode == Some(&BillingMode::PayPerRequest) {
        return "paid on demand".to_owned();
    }
    let units = table.provisioned_throughput();
    let read = units.and_then(|units| units.read_capacity_units()).unwrap_or_default();
    let write = units.and_then(|units| units.write_capacity_units()).unwrap_or_default();
    format!("paid for {read} read and {write} write units a second")
}

fn not_ready(status: Option<&TableStatus>) -> Failure {
    let status = status.map_or("unknown", TableStatus::as_str);
    let message = format!("the table cannot be used now: its status is {status}; try again later");
    Failure::new(ErrorKind::Unavailable, message)
}

/// Refuses a table that was made for something else.
fn check_keys(table: &TableDescription) -> Result<(), Failure> {
    let is = |name: &str, key: KeyType, attribute: ScalarAttributeType| {
        let keys = table.key_schema();
        let attributes = table.attribute_definitions();
        keys.iter().any(|found| found.attribute_name == name && found.key_type == key)
            && attributes
                .iter()
                .any(|found| found.attribute_name == name && found.attribute_type == attribute)
    };
    if is("p", KeyType::Hash, ScalarAttributeType::S)
        && is("k", KeyType::Range, ScalarAttributeType::B)
    {
        return Ok(());
    }
    let message = "the table is for something else: its partition key must be p, a string, and its \
                   sort key k, binary; name another table";
    Err(Failure::new(ErrorKind::Invalid, message))
}
