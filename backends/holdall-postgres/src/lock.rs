//! Which advisory locks a write takes, and in which order.
//!
//! Every program that writes to a schema must take the same locks for the same keys: the numbers
//! made here are a part of the format, as `schema.sql` is.

use std::collections::BTreeMap;

use holdall_core::{Expect, Op};

/// The numbers of the locks, in the order in which they are taken, and which of them are shared.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Locks {
    pub(crate) numbers: Vec<i64>,
    pub(crate) shared: Vec<bool>,
}

impl Locks {
    /// The locks of one write: first that of the whole schema, then those of its keys in
    /// ascending order. A write of more than `keys_max` keys takes the whole schema for itself
    /// instead: the server has room for so many locks of each connection.
    pub(crate) fn of(schema: &str, ops: &[Op], keys_max: usize) -> Self {
        let whole = number(schema, b"");
        let mut keys = BTreeMap::new();
        for op in ops {
            let reads = matches!(op, Op::Check { .. });
            if reads && *op.expect() == Expect::Any {
                continue;
            }
            // Two keys may have one number; whoever writes needs it alone.
            let shared = keys.entry(number(schema, op.key().as_bytes())).or_insert(true);
            *shared = *shared && reads;
        }
        // Met as a key's number, that of the schema is held already.
        keys.remove(&whole);
        if keys.len() > keys_max {
            return Self { numbers: vec![whole], shared: vec![false] };
        }
        let (mut numbers, mut shared) = (vec![whole], vec![true]);
        numbers.extend(keys.keys());
        shared.extend(keys.values());
        Self { numbers, shared }
    }
}

/// The locks of the whole schema and of one key in it.
pub(crate) fn of_key(schema: &str, key: &[u8]) -> (i64, i64) {
    (number(schema, b""), number(schema, key))
}

/// The lock that openers take while they make a schema.
pub(crate) fn setup(schema: &str) -> i64 {
    number(schema, b"\xfe")
}

/// FNV-1a over schema and key, with a byte between that neither can hold.
fn number(schema: &str, key: &[u8]) -> i64 {
    let bytes = schema.as_bytes().iter().chain(b"\xff").chain(key);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.cast_signed()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use holdall_core::{Batch, Bytes, Key};

    use super::*;

    fn key(text: &str) -> Key {
        Key::parse(text).unwrap()
    }

    #[test]
    fn numbers_are_a_part_of_the_format() {
        assert_eq!(number("holdall", b""), -2_611_957_188_250_416_596);
        assert_eq!(number("holdall", b"a"), 3_914_789_789_836_525_783);
        assert_ne!(number("a", b"b"), number("ab", b""));
        assert_ne!(setup("holdall"), number("holdall", b""));
    }

    #[test]
    fn keys_are_locked_in_one_order_and_checks_share() {
        let mut batch = Batch::new();
        batch.put(key("a"), Bytes::new(), Expect::Any);
        batch.check(key("b"), Expect::Absent).check(key("c"), Expect::Any);
        batch.delete(key("d"), Expect::Any);
        let locks = Locks::of("s", &batch.ops, 9);
        batch.ops.reverse();
        assert_eq!(locks, Locks::of("s", &batch.ops, 9));
        assert_eq!(locks.numbers.len(), 4);
        assert_eq!(locks.numbers[0], number("s", b""));
        assert!(locks.numbers[1..].is_sorted());
        let shared = |name: &str| {
            let at = locks.numbers.iter().position(|at| *at == number("s", name.as_bytes()));
            at.map(|at| locks.shared[at])
        };
        assert_eq!(
            ["", "a", "b", "c", "d"].map(shared),
            [Some(true), Some(false), Some(true), None, Some(false)]
        );
    }

    #[test]
    fn many_keys_take_the_whole_schema() {
        let mut batch = Batch::new();
        for name in ["a", "b", "c"] {
            batch.put(key(name), Bytes::new(), Expect::Any);
        }
        assert_eq!(Locks::of("s", &batch.ops, 3).numbers.len(), 4);
        let whole = Locks::of("s", &batch.ops, 2);
        assert_eq!((whole.numbers, whole.shared), (vec![number("s", b"")], vec![false]));
    }
}
