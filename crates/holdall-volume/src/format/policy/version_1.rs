//! A volume's identity as version 1 of the format wrote it: postcard, field after field.

use std::collections::BTreeSet;
use std::time::Duration;

use holdall_core::Timestamp;
use serde::Deserialize;

use super::Compression;
use crate::format::chunk::ChunkSecret;

#[derive(Deserialize)]
pub(super) struct VolumeRow {
    name: String,
    created: Timestamp,
    secret: ChunkSecret,
    history_from: Timestamp,
    policy: Policy,
}

#[derive(Deserialize)]
struct Policy {
    quota_bytes: Option<u64>,
    history: Duration,
    compression: Compression,
    inline_bytes_max: u32,
    segment_bytes: u32,
    grace: Duration,
    lease: Duration,
    indexed: BTreeSet<String>,
}

impl From<VolumeRow> for super::VolumeRow {
    fn from(row: VolumeRow) -> Self {
        let VolumeRow { name, created, secret, history_from, policy } = row;
        let row = Self::new(&name, created, secret, policy.into());
        Self { history_from, ..row }
    }
}

impl From<Policy> for super::Policy {
    fn from(policy: Policy) -> Self {
        Self {
            quota_bytes: policy.quota_bytes,
            history: policy.history,
            compression: policy.compression,
            inline_bytes_max: policy.inline_bytes_max,
            segment_bytes: policy.segment_bytes,
            grace: policy.grace,
            lease: policy.lease,
            indexed: policy.indexed,
            ..Self::default()
        }
    }
}
