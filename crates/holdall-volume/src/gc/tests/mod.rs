//! Tests of collecting garbage.
