//! Tests of rebuilding.
