//! What looks after copies, and what is to be told of them.

mod check;
pub(crate) mod repair;
pub(crate) mod replicas;
pub(crate) mod scrub;

pub(crate) use check::check_segment;
