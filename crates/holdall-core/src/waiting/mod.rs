//! Waiting in order, for whoever has to make callers wait: a [`Turnstile`] lets some of them in at
//! once, and [`submit`] lets all who wait at the same time share one write.
//!
//! In both a caller that goes away holds nobody up.

mod group;
mod turnstile;

pub use group::{Group, Queue, Set, pause, submit};
pub use turnstile::{Permit, Turnstile};
