//! Which copies may be taken for current: what a read may keep that a write has overtaken.
//!
//! Keys share stripes by their hash. A write moves the version of its key's stripe when it begins
//! and when it ends; a read notes the version before it asks the back, and keeps the answer only if
//! the version is still the same and no write is under way. So an answer that raced with a write
//! is given to its caller, who raced too, and kept for nobody.
//!
//! A write whose outcome is not known may still land at any time later. Its stripe is in doubt from
//! then on: copies of its keys are compared with the back at each use.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use holdall_core::Key;

const STRIPES: usize = 1024;

#[derive(Debug, Default)]
struct Stripe {
    version: u64,
    writing: u32,
    doubt: bool,
}

/// The stripes of all keys.
#[derive(Debug)]
pub(super) struct Guard {
    stripes: Box<[Mutex<Stripe>]>,
    /// How many stripes are in doubt: in nearly all processes none, which a reader sees at once.
    doubts: AtomicUsize,
}

/// What a read noted before it asked the back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    stripe: usize,
    pub(super) version: u64,
}

/// A write under way. Dropping it leaves its keys in doubt.
#[derive(Debug)]
pub(super) struct Write<'a> {
    guard: &'a Guard,
    /// Stripes without repetition, with the version that this write gave them.
    begun: Vec<Ticket>,
}

impl Default for Guard {
    fn default() -> Self {
        let stripes = (0..STRIPES).map(|_| Mutex::default()).collect();
        Self { stripes, doubts: AtomicUsize::new(0) }
    }
}

fn stripe_of(key: &Key) -> usize {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(key) as usize % STRIPES
}

impl Guard {
    fn stripe(&self, number: usize) -> MutexGuard<'_, Stripe> {
        // Nothing panics while it holds the lock.
        self.stripes[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the state of the key's stripe.
    pub(super) fn ticket(&self, key: &Key) -> Ticket {
        let stripe = stripe_of(key);
        Ticket { stripe, version: self.stripe(stripe).version }
    }

    /// Runs `keep` if no write has touched the stripe since the ticket was taken.
    pub(super) fn if_current(&self, ticket: Ticket, keep: impl FnOnce()) -> bool {
        let stripe = self.stripe(ticket.stripe);
        let current = stripe.version == ticket.version && stripe.writing == 0;
        if current {
            keep();
        }
        current
    }

    /// Whether no write has touched the stripe since, nor does now.
    pub(super) fn is_current(&self, ticket: Ticket) -> bool {
        self.if_current(ticket, || {})
    }

    /// Whether a write of this key, or of one that shares its stripe, may still land.
    pub(super) fn doubts(&self, key: &Key) -> bool {
        self.doubts.load(Ordering::Acquire) > 0 && self.stripe(stripe_of(key)).doubt
    }

    /// How many stripes are in doubt.
    pub(super) fn doubted(&self) -> usize {
        self.doubts.load(Ordering::Acquire)
    }

    /// A write of these keys begins.
    pub(super) fn begin<'a>(&'a self, keys: impl Iterator<Item = &'a Key>) -> Write<'a> {
        let mut numbers: Vec<usize> = keys.map(stripe_of).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let begin = |number: usize| {
            let mut stripe = self.stripe(number);
            stripe.version += 1;
            stripe.writing += 1;
            Ticket { stripe: number, version: stripe.version }
        };
        Write { guard: self, begun: numbers.into_iter().map(begin).collect() }
    }
}

impl Write<'_> {
    fn close(&mut self, doubt: bool) -> Vec<Ticket> {
        let mut alone = Vec::new();
        for begun in self.begun.drain(..) {
            let mut stripe = self.guard.stripe(begun.stripe);
            let was_alone = stripe.writing == 1 && stripe.version == begun.version;
            stripe.writing -= 1;
            stripe.version += 1;
            if doubt && !stripe.doubt {
                stripe.doubt = true;
                self.guard.doubts.fetch_add(1, Ordering::AcqRel);
            }
            if was_alone {
                alone.push(Ticket { version: stripe.version, ..begun });
            }
        }
        alone
    }

    /// The write has ended and its outcome is known. What it wrote may be kept on these tickets:
    /// those of stripes in which no other write was under way meanwhile.
    pub(super) fn ended(mut self) -> Kept {
        Kept(self.close(false))
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        drop(self.close(true));
    }
}

/// Tickets of a write that has ended.
#[derive(Debug)]
pub(super) struct Kept(Vec<Ticket>);

impl Kept {
    /// The ticket for this key, if what was written may be kept.
    pub(super) fn ticket(&self, key: &Key) -> Option<Ticket> {
        let stripe = stripe_of(key);
        self.0.iter().find(|ticket| ticket.stripe == stripe).copied()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn key() -> Key {
        Key::parse("a").unwrap()
    }

    #[test]
    fn a_read_that_raced_with_a_write_keeps_nothing() {
        let (guard, key) = (Guard::default(), key());
        let before = guard.ticket(&key);
        assert!(guard.is_current(before));
        let write = guard.begin(std::iter::once(&key));
        let during = guard.ticket(&key);
        assert!(!guard.is_current(before) && !guard.is_current(during));
        let kept = write.ended();
        assert!(!guard.is_current(before) && !guard.is_current(during));
        assert!(guard.is_current(kept.ticket(&key).unwrap()));
        assert!(!guard.doubts(&key));
    }

    #[test]
    fn of_two_writes_at_once_neither_keeps_what_it_wrote() {
        let (guard, key) = (Guard::default(), key());
        let first = guard.begin(std::iter::once(&key));
        let second = guard.begin([&key, &key].into_iter());
        assert!(first.ended().ticket(&key).is_none());
        assert!(second.ended().ticket(&key).is_none());
        assert!(guard.is_current(guard.ticket(&key)));
    }

    #[test]
    fn a_write_that_was_given_up_leaves_doubt() {
        let (guard, key) = (Guard::default(), key());
        drop(guard.begin(std::iter::once(&key)));
        assert!(guard.doubts(&key));
        assert_eq!(guard.doubted(), 1);
    }
}
