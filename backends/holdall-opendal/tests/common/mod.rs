//! What the tests share: operators on the shared servers.
#![allow(clippy::unwrap_used, dead_code, reason = "tests, of which each uses a part")]

pub(crate) mod wrong;

use holdall_core::{Conditions, Key, Result};
use holdall_opendal::{OpenDal, Options};
use holdall_testkit::conformance::random_prefix;
use opendal::{Builder, HttpTransporter, OperationContext, Operator, services};
use opendal_http_transport_reqwest::ReqwestTransport;
use tempfile::TempDir;

pub(crate) fn key(name: &str) -> Key {
    Key::parse(name).unwrap()
}

/// What `opening.rs` finds out, so that not every test tries it out again.
pub(crate) fn trusted(conditions: Conditions) -> Options {
    Options { probe: false, conditional: Some(conditions), ..Options::default() }
}

pub(crate) async fn open(operator: &Operator, options: Options) -> Result<OpenDal> {
    OpenDal::new(operator.clone(), options, &holdall_runtime::env()).await
}

/// A prefix that no other test uses.
pub(crate) fn prefix() -> String {
    random_prefix(&holdall_runtime::env())
}

pub(crate) fn memory() -> Operator {
    Operator::new(services::Memory::default()).unwrap()
}

/// Files that are written aside first.
pub(crate) fn files(folder: &TempDir) -> Operator {
    let path = folder.path().to_str().unwrap();
    let (root, aside) = (format!("{path}/values"), format!("{path}/aside"));
    Operator::new(services::Fs::default().root(&root).atomic_write_dir(&aside)).unwrap()
}

/// An operator with a client of its own.
pub(crate) fn connected(service: impl Builder) -> Operator {
    let client = HttpTransporter::new(ReqwestTransport::new(reqwest::Client::new()));
    let context = OperationContext::default().with_http_transport(client);
    Operator::new(service).unwrap().with_context(context)
}

pub(crate) fn s3(port: u16, bucket: &str, prefix: &str) -> Operator {
    let service = services::S3::default()
        .endpoint(&format!("http://127.0.0.1:{port}"))
        .bucket(bucket)
        .root(prefix)
        .region("us-east-1")
        .access_key_id("holdallkey")
        .secret_access_key("holdallsecret")
        .disable_config_load();
    connected(service)
}
