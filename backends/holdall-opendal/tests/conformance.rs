//! Every clause of the contract, each time on an operator of its own: on services that keep all
//! conditions, one, and none.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use common::{files, memory, prefix, s3, trusted};
use holdall_core::{Backend, Conditions, Durability, Result, async_trait};
use holdall_opendal::Options;
use holdall_services::{MOTO, shared};
use holdall_testkit::conformance::Fixture;
use opendal::Operator;
use tempfile::TempDir;

/// An operator by which the same place is opened again and again.
struct Place {
    operator: Operator,
    options: Options,
    /// Removed at the end.
    _folder: Option<TempDir>,
}

impl Place {
    fn new(operator: Operator, options: Options) -> Self {
        Self { operator, options, _folder: None }
    }
}

#[async_trait]
impl Fixture for Place {
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(common::open(&self.operator, self.options.clone()).await?))
    }
}

mod in_memory {
    use super::*;

    holdall_testkit::conformance!(Place::new(memory(), Options::default()));
}

mod in_files {
    use super::*;

    fn place() -> Place {
        let folder = tempfile::tempdir().unwrap();
        // Reopening is what the clauses about durability do; losing power they do not.
        let options = Options { durability: Some(Durability::Machine), ..Options::default() };
        Place { operator: files(&folder), options, _folder: Some(folder) }
    }

    holdall_testkit::conformance!(place());
}

mod on_s3 {
    use super::*;

    fn place() -> Place {
        let operator = s3(shared(&MOTO).unwrap().port, "holdall", &prefix());
        Place::new(operator, trusted(Conditions::Revision))
    }

    holdall_testkit::conformance!(place());
}
