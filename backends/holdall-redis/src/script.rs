//! What is asked of the server: single commands where one does, scripts where several must
//! happen at one moment.

use std::sync::LazyLock;

use holdall_core::{ByteRange, Key, List, Op};
use redis::{Cmd, Script, cmd};

use crate::row::{Names, Nonce, REVISION_BYTES, expected};

/// The most rows of one page, so that a listing holds up the server for milliseconds at the most.
pub(crate) const PAGE_ROWS_MAX: usize = 4096;

/// The most value bytes of one page, unless its first value alone is larger.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// How a script is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// By its digest; the server may not know it.
    Digest,
    /// By its text, which the server then knows.
    Text,
}

/// Checks every expectation, then takes every step. Returns 0, or the place of the first key whose
/// expectation does not hold.
///
/// ARGV: the bytes before the key in KEYS; then for each key what is expected (`*` is anything)
/// and what is to be done: `d`elete, `c`heck, or a stored value, which is never that short.
///
/// Nothing fails between two steps: the server refuses for want of memory, disk, replicas or
/// permission at the first write, which is one to the index, and that users may do all of these is
/// tried at opening.
static WRITE: LazyLock<Text> = LazyLock::new(|| {
    Text::new(
        "local index, before = KEYS[1], tonumber(ARGV[1])
for i = 2, #KEYS do
  local expected = ARGV[2 * i - 2]
  if expected ~= '*' and redis.call('GETRANGE', KEYS[i], 0, 15) ~= expected then
    return i - 1
  end
end
for i = 2, #KEYS do
  local step, name = ARGV[2 * i - 1], string.sub(KEYS[i], before + 1)
  if step == 'd' then
    redis.call('ZREM', index, name)
    redis.call('DEL', KEYS[i])
  elseif step ~= 'c' then
    redis.call('ZADD', index, 0, name)
    redis.call('SET', KEYS[i], step)
  end
end
return 0",
    )
});

/// One page: whether there is more, then each name with its stored size or its stored value.
static LIST: LazyLock<Text> = LazyLock::new(|| {
    Text::new(
        "local limit, bytes_max = tonumber(ARGV[3]), tonumber(ARGV[4])
local names = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[1], ARGV[2], 'LIMIT', 0, limit + 1)
local page, bytes = {0}, 0
for i, name in ipairs(names) do
  local key = ARGV[5] .. name
  bytes = bytes + redis.call('STRLEN', key)
  if i > limit or (i > 1 and bytes > bytes_max) then
    page[1] = 1
    break
  end
  page[2 * i] = name
  page[2 * i + 1] = bytes_max < 0 and redis.call('STRLEN', key) or redis.call('GET', key)
end
return page",
    )
});

/// Tries every command on a key that is not there, so that nothing changes: a user who lacks a
/// permission is noticed before anything is written in part. Then notes the server's run.
static OPEN: LazyLock<Text> = LazyLock::new(|| {
    Text::new(
        "redis.call('GETRANGE', KEYS[2], 0, 15)
redis.call('STRLEN', KEYS[2])
redis.call('GET', KEYS[2])
redis.call('MGET', KEYS[2])
redis.call('ZRANGEBYLEX', KEYS[1], '-', '+', 'LIMIT', 0, 1)
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
redis.call('ZADD', KEYS[1], 'XX', 0, ARGV[1])
redis.call('SET', KEYS[2], ARGV[1], 'XX')
redis.call('SET', KEYS[3], ARGV[2])
return 0",
    )
});

/// A script's text and its digest.
struct Text {
    text: &'static str,
    digest: String,
}

impl Text {
    fn new(text: &'static str) -> Self {
        Self { text, digest: Script::new(text).get_hash().to_owned() }
    }
}

fn call(script: &Text, by: By, keys: usize) -> Cmd {
    match by {
        By::Digest => {
            let mut call = cmd("EVALSHA");
            call.arg(&script.digest).arg(keys);
            call
        }
        By::Text => {
            let mut call = cmd("EVAL");
            call.arg(script.text).arg(keys);
            call
        }
    }
}

/// One value, whole.
pub(crate) fn get(names: &Names, key: &Key) -> Cmd {
    let mut call = cmd("GET");
    call.arg(names.value(key));
    call
}

/// Many values of one moment, whole.
pub(crate) fn get_many(names: &Names, keys: &[Key]) -> Cmd {
    let mut call = cmd("MGET");
    for key in keys {
        call.arg(names.value(key));
    }
    call
}

/// Revision, stored size, part, and revision again of one value. The range does not end before it
/// starts. What stands between two equal revisions is of that revision: none is given twice. No
/// script, which would copy the part twice more; and no transaction, of which a server without
/// room refuses even the reads.
pub(crate) fn get_range(names: &Names, key: &Key, range: ByteRange) -> Vec<Cmd> {
    // Redis counts in signed numbers; no value is near their end.
    let place = |at: u64| i64::try_from(at).unwrap_or(i64::MAX - 64) + REVISION_BYTES as i64;
    let end = range.end.map_or(-1, |end| place(end.min(1 << 40)) - 1);
    let name = names.value(key);
    let part = |from: i64, to: i64| {
        let mut call = cmd("GETRANGE");
        call.arg(&name).arg(from).arg(to);
        call
    };
    let mut size = cmd("STRLEN");
    size.arg(&name);
    let revision = || part(0, REVISION_BYTES as i64 - 1);
    vec![revision(), size, part(place(range.start.min(1 << 40)), end), revision()]
}

/// One page.
pub(crate) fn list(names: &Names, list: &List, by: By) -> Cmd {
    use std::ops::Bound;
    let lower = match list.lower_bound() {
        Bound::Included("") | Bound::Unbounded => b"-".to_vec(),
        Bound::Included(start) => [b"[", start.as_bytes()].concat(),
        Bound::Excluded(start) => [b"(", start.as_bytes()].concat(),
    };
    let bytes_max = if list.values { PAGE_BYTES_MAX as i64 } else { -1 };
    let mut call = call(&LIST, by, 1);
    call.arg(&names.index).arg(lower).arg(upper(&list.prefix));
    call.arg(list.limit.min(PAGE_ROWS_MAX)).arg(bytes_max).arg(&names.value);
    call
}

/// The end of all names that begin with `prefix`. No byte of UTF-8 is 255, so the last one can
/// always be one more.
fn upper(prefix: &str) -> Vec<u8> {
    let mut end = [b"(", prefix.as_bytes()].concat();
    match end.last_mut() {
        Some(last) if !prefix.is_empty() => {
            *last += 1;
            end
        }
        _ => b"+".to_vec(),
    }
}

/// One atomic batch. All its rows get this revision.
pub(crate) fn write(names: &Names, nonce: &Nonce, ops: &[Op], by: By) -> Cmd {
    use std::io::Write as _;
    let mut call = call(&WRITE, by, ops.len() + 1);
    call.arg(&names.index);
    for op in ops {
        call.arg(names.value(op.key()));
    }
    call.arg(names.value.len());
    for op in ops {
        call.arg(expected(op.expect()));
        match op {
            Op::Put { value, .. } => {
                use redis::RedisWrite as _;
                let mut stored = call.writer_for_next_arg();
                // Writing to memory does not fail.
                let _ = stored.write_all(nonce).and_then(|()| stored.write_all(value));
            }
            Op::Delete { .. } => drop(call.arg("d")),
            Op::Check { .. } => drop(call.arg("c")),
        }
    }
    call
}

/// Tries the user's permissions, and notes the server's run.
pub(crate) fn open(names: &Names, nonce: &Nonce, marker: &str, by: By) -> Cmd {
    // Not UTF-8, so it is nobody's key.
    let trial = [b"\xff".as_slice(), nonce].concat();
    let mut call = call(&OPEN, by, 3);
    call.arg(&names.index).arg([names.value.as_bytes(), &trial].concat()).arg(&names.opened);
    call.arg(trial).arg(marker);
    call
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use holdall_core::{Batch, Bytes, Expect};

    use super::*;

    fn words(call: &Cmd) -> Vec<Vec<u8>> {
        let simple = |arg: redis::Arg<&[u8]>| match arg {
            redis::Arg::Simple(bytes) => bytes.to_vec(),
            _ => panic!("there are no cursors here"),
        };
        call.args_iter().map(simple).collect()
    }

    #[test]
    fn a_write_says_keys_then_expectations_and_steps() {
        let names = Names::new("p");
        let key = |name: &str| Key::parse(name).unwrap();
        let mut batch = Batch::new();
        batch.put(key("a"), Bytes::from("value"), Expect::Absent);
        batch.delete(key("b"), Expect::Any).check(key("c"), Expect::Absent);
        let said = words(&write(&names, &[7; 16], &batch.ops, By::Digest));
        let stored = [&[7; 16][..], b"value"].concat();
        let tail: Vec<&[u8]> = vec![
            b"4",
            b"{p}:index",
            b"{p}:v:a",
            b"{p}:v:b",
            b"{p}:v:c",
            b"6",
            b"",
            &stored,
            b"*",
            b"d",
            b"",
            b"c",
        ];
        assert_eq!(said[0], b"EVALSHA");
        assert_eq!(said[2..], tail);
        assert_eq!(words(&write(&names, &[7; 16], &batch.ops, By::Text))[0], b"EVAL");
    }

    #[test]
    fn a_prefix_ends_behind_all_that_begins_with_it() {
        assert_eq!(upper(""), b"+");
        assert_eq!(upper("a/"), b"(a0");
        assert_eq!(upper("\u{10ffff}"), b"(\xf4\x8f\xbf\xc0");
    }

    #[test]
    fn ranges_count_behind_the_revision() {
        let (names, key) = (Names::new("p"), Key::parse("k").unwrap());
        for (range, start, end) in [
            (ByteRange::new(0, 0), "16", "15"),
            (ByteRange::new(2, 5), "18", "20"),
            (ByteRange::from(3), "19", "-1"),
            (ByteRange::new(u64::MAX, u64::MAX), "1099511627792", "1099511627791"),
        ] {
            let calls = get_range(&names, &key, range);
            assert_eq!(words(&calls[2])[2..], [start.as_bytes(), end.as_bytes()], "{range:?}");
        }
    }
}
