//! Chapter K: keys come back exactly, stay apart, or are refused.

use holdall_core::{Batch, Bytes, ErrorKind, Expect, Key};

use super::harness::{Check, Failure, Harness, Verdict, ensure, must_fail};

/// Keys that tempt an engine to rewrite, fold or split them.
const TEMPTING: &[&str] = &[
    "../x",
    "..",
    ".",
    "./x",
    "x/..",
    "x/../y",
    "x/./y",
    "/",
    "//",
    "/x",
    "//x",
    "x/",
    "x//",
    "x//y",
    "x/y",
    "x",
    "X",
    "a",
    "A",
    "a/b",
    "a/B",
    "a.",
    "a..",
    "a ",
    " a",
    "a b",
    "a+b",
    "a%20b",
    "%2F",
    "%2f",
    "/%",
    "%",
    "%%",
    "%00",
    "a\\b",
    "\\",
    "a:b",
    "a|b",
    "a*",
    "a?",
    "*",
    "?",
    "[a]",
    "<a>",
    "\"a\"",
    "'a'",
    "a;b",
    "a,b",
    "a=b",
    "a&b",
    "a#b",
    "a~",
    "~",
    "-",
    "--a",
    "_",
    "con",
    "CON",
    "nul",
    "aux.txt",
    ".a",
    ".tmp",
    ".lock",
    "a.tmp",
    "lock",
    "data.mdb",
    "\u{0}",
    "a\u{0}",
    "a\u{0}b",
    "\u{1}",
    "a\nb",
    "a\r\nb",
    "a\tb",
    "\u{1b}[31m",
    "\u{7f}",
    // Composed and decomposed spelling of one letter, and letters whose case folds strangely.
    "\u{e9}",
    "e\u{301}",
    "\u{c5}",
    "\u{212b}",
    "A\u{30a}",
    "ß",
    "SS",
    "ss",
    "İ",
    "i\u{307}",
    "ı",
    "K",
    "\u{212a}",
    "k",
    "ﬁ",
    "fi",
    "😀",
    "👩\u{200d}👩\u{200d}👧",
    "\u{feff}a",
    "a\u{200b}",
    "a\u{a0}b",
    "\u{202e}abc",
    "\u{fffd}",
    "\u{ffff}",
    "\u{10000}",
    "\u{10ffff}",
];

/// The tempting keys under the harness's prefix, and long ones that differ only at their ends.
fn candidates(harness: &Harness) -> Check<Vec<Key>> {
    let mut keys = Vec::new();
    for name in TEMPTING {
        keys.push(harness.key(name)?);
    }
    let room = harness.profile().key_bytes_max.saturating_sub(harness.prefix().len());
    for len in [200, 254, 255, 256, 257, 400, 511, 512, room.max(2)] {
        if (2..=room).contains(&len) {
            let stem = "l".repeat(len - 1);
            keys.push(harness.key(format!("{stem}1"))?);
            keys.push(harness.key(format!("{stem}2"))?);
            keys.push(harness.key(format!("{}/2", &stem[1..]))?);
        }
    }
    keys.retain(|key| key.as_bytes().len() <= harness.profile().key_bytes_max);
    keys.sort();
    keys.dedup();
    Ok(keys)
}

/// Writes each key's own characters under it; returns those that were taken.
async fn write_each(harness: &Harness, keys: &[Key]) -> Check<Vec<Key>> {
    let mut taken = Vec::new();
    for key in keys {
        let value = Bytes::copy_from_slice(&key.as_bytes()[..harness.size(key.as_bytes().len())]);
        match harness.backend().put(key, value, Expect::Any).await {
            Ok(_) => taken.push(key.clone()),
            Err(error) if error.kind() == ErrorKind::Invalid => {}
            Err(error) => {
                return Err(Failure::new(format!(
                    "{key:?} may be taken or Invalid; was {error:?}"
                )));
            }
        }
    }
    Ok(taken)
}

/// Fails unless batches refuse the key, as a put did, and nothing is under it.
async fn must_be_refused(harness: &Harness, key: &Key) -> Check<()> {
    if harness.profile().atomic {
        let mut batch = Batch::new();
        batch.put(key.clone(), "batched", Expect::Any);
        let apply = harness.backend().apply(batch).await;
        must_fail(apply, ErrorKind::Invalid, &format!("a batch with the refused {key:?}"))?;
    }
    match harness.backend().get(key, holdall_core::ByteRange::ALL).await {
        Ok(None) => Ok(()),
        Err(error) if error.kind() == ErrorKind::Invalid => Ok(()),
        other => Err(Failure::new(format!("{key:?} was refused, yet reading it gives {other:?}"))),
    }
}

/// Removes the key: by batches where there are some, which must mean the same key by it.
async fn remove(harness: &Harness, key: &Key) -> Check<()> {
    if harness.profile().atomic {
        let (mut put, mut delete) = (Batch::new(), Batch::new());
        put.put(key.clone(), "batched", Expect::Any);
        harness.backend().apply(put).await?;
        harness.must_hold(key, "batched").await?;
        delete.delete(key.clone(), Expect::Any);
        harness.backend().apply(delete).await?;
    } else {
        harness.backend().delete(key, Expect::Any).await?;
    }
    harness.must_miss(key).await
}

/// K1: a key that is taken is listed and read back as the same bytes; a refused one holds nothing.
pub(super) async fn come_back_exactly(harness: &Harness) -> Check {
    for key in candidates(harness)? {
        let one = std::slice::from_ref(&key);
        if write_each(harness, one).await?.is_empty() {
            must_be_refused(harness, &key).await?;
            continue;
        }
        let value = &key.as_bytes()[..harness.size(key.as_bytes().len())];
        let found = harness.must_hold(&key, value).await?;
        let many = harness.backend().get_many(one).await?;
        ensure!(many == [Some(found)], "get_many of {key:?}, which is there, gives {many:?}");
        let names = harness.names("").await?;
        let name = &key.as_str()[harness.prefix().len()..];
        ensure!(names == [name], "{name:?} was written, but the listing has {names:?}");
        remove(harness, &key).await?;
    }
    Ok(Verdict::Kept)
}

/// K2: no two keys are one, whatever they look like.
pub(super) async fn stay_apart(harness: &Harness) -> Check {
    let taken = write_each(harness, &candidates(harness)?).await?;
    for key in &taken {
        harness.must_hold(key, &key.as_bytes()[..harness.size(key.as_bytes().len())]).await?;
    }
    let expected: Vec<&str> =
        taken.iter().map(|key| &key.as_str()[harness.prefix().len()..]).collect();
    let names = harness.names("").await?;
    for name in &expected {
        ensure!(names.iter().any(|listed| listed == name), "{name:?} is not listed");
    }
    for name in &names {
        ensure!(expected.contains(&name.as_str()), "{name:?} is listed, but was never written");
    }
    ensure!(names == expected, "the listing is not ascending by bytes, or repeats: {names:?}");
    // Removing every second key must leave exactly the others.
    for key in taken.iter().step_by(2) {
        harness.backend().delete(key, Expect::Any).await?;
    }
    for (at, key) in taken.iter().enumerate() {
        let left = harness.get(key).await?.is_some();
        ensure!(left == (at % 2 == 1), "{key:?} {} by removing its neighbours", gone_or_back(left));
    }
    Ok(Verdict::Kept)
}

fn gone_or_back(left: bool) -> &'static str {
    if left { "was not removed" } else { "was removed" }
}

/// K3: a key may continue another with or without a slash; each lives and dies alone.
pub(super) async fn one_may_continue_another(harness: &Harness) -> Check {
    let names = ["d", "d/e", "d/e/f", "d/e/f/g", "de"];
    let orders: [&[usize]; 2] = [&[0, 1, 2, 3, 4], &[4, 3, 2, 1, 0]];
    for order in orders {
        for &at in order {
            harness.put(&harness.key(names[at])?, names[at]).await?;
        }
        for name in names {
            harness.must_hold(&harness.key(name)?, name).await?;
        }
        for (step, &at) in order.iter().enumerate() {
            harness.backend().delete(&harness.key(names[at])?, Expect::Any).await?;
            harness.must_miss(&harness.key(names[at])?).await?;
            for &later in &order[step + 1..] {
                harness.must_hold(&harness.key(names[later])?, names[later]).await?;
            }
        }
    }
    Ok(Verdict::Kept)
}

/// K4: keys of letters, digits and `- _ . /` in ordinary places are always taken.
pub(super) async fn ordinary_keys_are_taken(harness: &Harness) -> Check {
    let names = ["a", "Z9", "a-b_c.d", "a/b", "a/b/c.txt", "2026/11/21/log-0001.bin", "v.0.x/y"];
    for name in names {
        let key = harness.key(name)?;
        if key.as_bytes().len() <= harness.profile().key_bytes_max {
            harness.put(&key, name).await?;
            harness.must_hold(&key, name).await?;
            remove(harness, &key).await?;
        }
    }
    Ok(Verdict::Kept)
}
