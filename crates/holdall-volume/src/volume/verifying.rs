//! Verifying a volume, whole or slice by slice.

use std::sync::Arc;

use holdall_core::{Backend, Result};

use super::{Shared, Volume, throttled};
use crate::format::keys::{CatalogKeys, DataKeys};
use crate::placement::Whole;
use crate::verify::rewrite::rewrite;
use crate::verify::{Report, VerifyContext, VerifyCursor, VerifyOptions, verify, verify_slice};

impl Volume {
    /// Reads every row and every stored byte and reports what is wrong, mending what can be
    /// mended if it is told to.
    ///
    /// # Errors
    /// As [`verify`]; what is wrong with the volume is in the report.
    pub async fn verify(&self, options: VerifyOptions) -> Result<Report> {
        let context = self.verify_context(&options);
        let repair = options.repair;
        let mut report = verify(&context, options).await?;
        if repair {
            rewrite(self, &context, &mut report).await?;
        }
        Ok(report)
    }

    /// Verifies one slice, and says where to go on: see [`verify_slice`].
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub async fn verify_slice(
        &self,
        cursor: Option<VerifyCursor>,
        options: VerifyOptions,
        bytes_max: u64,
    ) -> Result<(Report, Option<VerifyCursor>)> {
        verify_slice(&self.verify_context(&options), cursor, options, bytes_max).await
    }

    fn verify_context(&self, options: &VerifyOptions) -> VerifyContext {
        let resources = &self.shared.resources;
        VerifyContext {
            env: resources.env.clone(),
            catalog: Arc::clone(&resources.catalog),
            data: throttled(self.shared.data_to_verify(), options.throttle.as_ref()),
            catalog_keys: CatalogKeys::new(self.shared.id),
            data_keys: DataKeys::new(self.shared.id),
        }
    }
}

impl Shared {
    /// The data as whoever verifies it reads it.
    fn data_to_verify(&self) -> Arc<dyn Backend> {
        match self.spread.as_data() {
            (_, Some(spread)) => Arc::new(Whole::new(spread)),
            (data, None) => data,
        }
    }
}
