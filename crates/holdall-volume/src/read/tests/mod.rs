//! Tests of reading, and what they share.
