//! Every clause of the contract, each time under a prefix of its own: on anything that implements
//! `ObjectStore`, and on real servers.
//!
//! The probe is left out on the servers, whose answers to it `servers.rs` looks at: they are the
//! conditions that are said here.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use holdall_core::{Backend, Location, Result, async_trait};
use holdall_object_store::{Config, ObjectBackend, Options, RevisionBy};
use holdall_services::{AZURITE, GCS, MOTO, RCLONE, S3S_FS, Service, shared};
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

/// Servers that do not keep conditions, and keep objects as files. One writes them in place: others
/// see parts of a value that is being written over. The other cannot hold the longest names, as it
/// puts words of its own before them, and refuses a range that ends behind the value. That is the
/// servers' doing, and the only things in which they may fail.
mod s3_without_conditions {
    use holdall_testkit::conformance::{Outcome, run_fixture};

    use super::*;

    const OPTIONS: &str = "endpoint=http://127.0.0.1:PORT&access_key_id=holdallkey\
                           &secret_access_key=holdallsecret&names=flat&probe=off&conditional=none";

    #[tokio::test(flavor = "multi_thread")]
    async fn all_but_what_rclone_breaks_is_kept() {
        all_is_kept_but(&RCLONE, &["R4", "C1"]).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn all_but_what_s3s_fs_breaks_is_kept() {
        all_is_kept_but(&S3S_FS, &["K1", "K2", "B4", "G3"]).await;
    }

    async fn all_is_kept_but(service: &'static Service, broken: &[&str]) {
        let env = holdall_runtime::env();
        let prefix = || Prefix::new(service, "s3://holdall", OPTIONS);
        let report = run_fixture(prefix, &env).await.unwrap();
        let failed = report.findings.iter().filter(|finding| {
            let of_server = broken.contains(&finding.clause.id);
            !of_server && matches!(finding.outcome, Outcome::Failed(_))
        });
        let failed: Vec<String> = failed.map(ToString::to_string).collect();
        assert!(failed.is_empty(), "{failed:#?}");
        let refused = |id: &str| {
            let finding = report.findings.iter().find(|finding| finding.clause.id == id).unwrap();
            matches!(finding.outcome, Outcome::Refused(_))
        };
        assert!(["E1", "E4", "R1", "R3"].into_iter().all(refused));
    }
}

mod azure {
    use super::*;

    /// The key is published in the emulator's manual.
    const OPTIONS: &str = "account=devstoreaccount1&access_key=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzF\
                           T50uSRZ6IFsuFq2UVErCz4I6tq%2FK1SZFPTOtr%2FKBHBeksoGMGw%3D%3D\
                           &endpoint=http://127.0.0.1:PORT/devstoreaccount1&probe=off\
                           &conditional=revision";

    holdall_testkit::conformance!(Prefix::new(&AZURITE, "az://holdall", OPTIONS));
}

mod gcs {
    use super::*;

    const OPTIONS: &str =
        "endpoint=http://127.0.0.1:PORT&anonymous=true&probe=off&conditional=revision";

    holdall_testkit::conformance!(Prefix::new(&GCS, "gs://holdall", OPTIONS));
}
