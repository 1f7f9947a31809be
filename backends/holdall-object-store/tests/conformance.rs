//! Every clause of the contract, each time under a prefix of its own: on anything that implements
//! `ObjectStore`, and on real servers.
//!
//! The probe is left out on the servers, whose answers to it `servers.rs` looks at: they are the
//! conditions that are said here.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use holdall_core::{Backend, Location, Result, async_trait};
use holdall_object_store::{Config, ObjectBackend, Options, RevisionBy};
use holdall_services::{MOTO, Service, shared};
use holdall_testkit::conformance::{Fixture, random_prefix};
use object_store::memory::InMemory;

/// A prefix of its own on the shared server of a kind.
struct Prefix(Location);

impl Prefix {
    fn new(service: &'static Service, bucket: &str, options: &str) -> Self {
        let port = shared(service).unwrap().port;
        let prefix = random_prefix(&holdall_runtime::env());
        let options = options.replace("PORT", &port.to_string());
        Self(Location::parse(&format!("{bucket}/{prefix}?{options}")).unwrap())
    }
}

#[async_trait]
impl Fixture for Prefix {
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        let config = Config::from_location(&self.0)?;
        Ok(Arc::new(ObjectBackend::open(config, &holdall_runtime::env()).await?))
    }
}

mod adapter {
    use super::*;

    struct Memory(Arc<InMemory>);

    #[async_trait]
    impl Fixture for Memory {
        async fn open(&self) -> Result<Arc<dyn Backend>> {
            let store = Arc::clone(&self.0) as Arc<dyn object_store::ObjectStore>;
            let env = holdall_runtime::env();
            let by = RevisionBy::ETag;
            Ok(Arc::new(ObjectBackend::new(store, Options::default(), by, &env).await?))
        }
    }

    holdall_testkit::conformance!(Memory(Arc::new(InMemory::new())));
}

mod s3 {
    use super::*;

    const OPTIONS: &str = "endpoint=http://127.0.0.1:PORT&access_key_id=any\
                           &secret_access_key=any&probe=off&conditional=revision";

    holdall_testkit::conformance!(Prefix::new(&MOTO, "s3://holdall", OPTIONS));
}
