//! Waiting in order, for whoever has to make callers wait: a [`Turnstile`] lets some of them in at
//! once, [`submit`] lets all who wait at the same time share one write of a store on this machine,
//! and [`gather`] one of a server.
//!
//! In all of them a caller that goes away holds nobody up.

#[cfg(test)]
mod by_hand;
mod gather;
mod group;
mod turnstile;

pub use gather::{GATHERED_BYTES_MAX, Gather, Gathering, gather};
pub use group::{Group, Queue, Set, pause, submit};
pub use turnstile::{Permit, Turnstile};
