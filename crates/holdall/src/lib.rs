//! One storage engine that keeps any kind of data on any backend its user already has.
