//! Chapter L: listing keys in pages.

use std::ops::Bound;

use holdall_core::{ErrorKind, Expect, List, Page};

use super::harness::{Check, Failure, Harness, Verdict, ensure, must_fail, pattern};

/// Names whose order by bytes differs from that by letters, paths, numbers or UTF-16.
const NAMES: [&str; 18] = [
    "B", "a", "a-", "a-b", "a/", "a/b", "a/b/c", "a0", "aB", "ab", "b", "b10", "b9", "z", "é", "ü",
    "\u{ff5e}", "😀",
];

/// Writes the names, in another order than they are to be listed in. Returns those that were taken:
/// a backend may refuse what chapter K does not oblige it to take.
async fn write_names(harness: &Harness) -> Check<Vec<&'static str>> {
    let mut taken = Vec::new();
    for step in 0..NAMES.len() {
        let name = NAMES[step * 7 % NAMES.len()];
        match harness.backend().put(&harness.key(name)?, name.into(), Expect::Any).await {
            Ok(_) => taken.push(name),
            Err(error) if error.kind() == ErrorKind::Invalid && !name.is_ascii() => {}
            Err(error) => return Err(error.into()),
        }
    }
    taken.sort_unstable();
    Ok(taken)
}

/// The question for names under the harness's prefix.
fn ask(harness: &Harness, prefix: &str) -> List {
    List::prefix(format!("{}{prefix}", harness.prefix()))
}

fn names_of(harness: &Harness, page: &Page) -> Check<Vec<String>> {
    let strip = |name: &str| name.strip_prefix(harness.prefix()).map(str::to_owned);
    let names = page.rows.iter().map(|row| strip(row.key.as_str()));
    let names: Option<Vec<_>> = names.collect();
    names.ok_or_else(|| Failure::new(format!("{page:?} has a key outside the asked prefix")))
}

/// Follows the pages of one question to the end.
async fn follow(harness: &Harness, mut list: List) -> Check<Vec<String>> {
    let mut names = Vec::new();
    for _ in 0..10_000 {
        let page = harness.backend().list(&list).await?;
        ensure!(
            page.rows.len() <= list.limit,
            "a limit of {} gave {} rows",
            list.limit,
            page.rows.len()
        );
        ensure!(!page.more || !page.rows.is_empty(), "{list:?} gave an empty page with more");
        names.extend(names_of(harness, &page)?);
        match page.rows.last() {
            Some(last) if page.more => list = list.after(last.key.as_str()),
            _ => return Ok(names),
        }
    }
    Err(Failure::new(format!("{list:?} never comes to an end")))
}

async fn must_list(harness: &Harness, list: List, wanted: &[&str]) -> Check<()> {
    let found = follow(harness, list.clone()).await?;
    ensure!(found == wanted, "{list:?} gave {found:?}, not {wanted:?}");
    Ok(())
}

/// L1: rows come in ascending order of their keys' bytes.
pub(super) async fn ascending_by_bytes(harness: &Harness) -> Check {
    let names = write_names(harness).await?;
    must_list(harness, ask(harness, ""), &names).await?;
    Ok(Verdict::Kept)
}

/// L2: only keys that begin with the prefix, the key that equals it included; it may end anywhere.
pub(super) async fn prefix_selects(harness: &Harness) -> Check {
    let names = write_names(harness).await?;
    for prefix in ["a", "a/", "a/b", "a-", "b", "B", "b1", "é", "😀", "zz", "a/b/c/d", "A"] {
        let wanted: Vec<&str> =
            names.iter().copied().filter(|name| name.starts_with(prefix)).collect();
        must_list(harness, ask(harness, prefix), &wanted).await?;
    }
    Ok(Verdict::Kept)
}

/// L3: no character of a prefix is a pattern, and none confuses where the prefix ends.
pub(super) async fn prefix_is_literal(harness: &Harness) -> Check {
    let prefixes =
        ["p%", "p_", "p*", "p?", "p[", "p\\", "p'", "p.", "p~", "p\u{7f}", "p\u{10ffff}"];
    let mut taken = Vec::new();
    harness.put(&harness.key("pxx")?, "x").await?;
    harness.put(&harness.key("q")?, "x").await?;
    for prefix in prefixes {
        for name in [prefix.to_owned(), format!("{prefix}x")] {
            match harness.backend().put(&harness.key(&name)?, "x".into(), Expect::Any).await {
                Ok(_) => taken.push(name),
                // Chapter K: a backend may refuse a key that it cannot hold.
                Err(error) if error.kind() == ErrorKind::Invalid => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    for prefix in prefixes {
        let wanted: Vec<&str> =
            taken.iter().map(String::as_str).filter(|name| name.starts_with(prefix)).collect();
        must_list(harness, ask(harness, prefix), &wanted).await?;
    }
    Ok(Verdict::Kept)
}

/// L4: an included start is part of the answer, an excluded one is not.
pub(super) async fn start_is_inclusive_or_exclusive(harness: &Harness) -> Check {
    let names = write_names(harness).await?;
    for (at, name) in names.iter().enumerate() {
        let start = format!("{}{name}", harness.prefix());
        must_list(harness, ask(harness, "").at(&start), &names[at..]).await?;
        must_list(harness, ask(harness, "").after(&start), &names[at + 1..]).await?;
    }
    Ok(Verdict::Kept)
}

/// L5: the start need not be a key that exists.
pub(super) async fn start_need_not_exist(harness: &Harness) -> Check {
    let names = write_names(harness).await?;
    for start in ["A", "C", "a.", "a/a", "a/b/", "aa", "c", "zz", "ê", "😁", "\u{0}"] {
        let wanted: Vec<&str> = names.iter().copied().filter(|name| *name > start).collect();
        let bound = format!("{}{start}", harness.prefix());
        must_list(harness, ask(harness, "").at(&bound), &wanted).await?;
        must_list(harness, ask(harness, "").after(&bound), &wanted).await?;
    }
    Ok(Verdict::Kept)
}

/// L6: with a prefix and a start, rows must satisfy both, wherever the start lies.
pub(super) async fn start_and_prefix_meet(harness: &Harness) -> Check {
    let names = write_names(harness).await?;
    for prefix in ["a", "a/", "b", ""] {
        for start in ["B", "a", "a/", "a/b", "a/z", "ab", "b1", "z"] {
            let bound = format!("{}{start}", harness.prefix());
            for included in [true, false] {
                let list = match included {
                    true => ask(harness, prefix).at(&bound),
                    false => ask(harness, prefix).after(&bound),
                };
                let fits = |name: &&str| {
                    name.starts_with(prefix) && (*name > start || (included && *name == start))
                };
                let wanted: Vec<&str> = names.iter().copied().filter(fits).collect();
                must_list(harness, list, &wanted).await?;
            }
        }
    }
    // An empty start, and one before the whole prefix, begin at the first key.
    let list = List { start: Bound::Included(harness.prefix().to_owned()), ..ask(harness, "") };
    must_list(harness, list, &names).await?;
    let list = List { start: Bound::Excluded(harness.prefix().to_owned()), ..ask(harness, "") };
    must_list(harness, list, &names).await?;
    Ok(Verdict::Kept)
}

/// L7: a page never has more rows than asked, and any limit from one up is taken.
pub(super) async fn limit_is_kept(harness: &Harness) -> Check {
    let names = write_names(harness).await?;
    for limit in [1, 2, 3, 7, 17, 18, 19, 100_000, usize::MAX] {
        must_list(harness, ask(harness, "").limit(limit), &names).await?;
    }
    Ok(Verdict::Kept)
}

/// L8: following the pages gives every key once; a page may be short, but is never empty while
/// there is more.
pub(super) async fn pages_are_complete(harness: &Harness) -> Check {
    let mut wanted = Vec::new();
    for at in 0..157 {
        let name = format!("{:02}/{at:03}", at / 20);
        harness.put(&harness.key(&name)?, "x").await?;
        wanted.push(name);
    }
    for limit in [1, 10, 50, 156, 157, 158, 1000] {
        let found = follow(harness, ask(harness, "").limit(limit)).await?;
        ensure!(found == wanted, "pages of {limit} gave {} rows: {found:?}", found.len());
    }
    Ok(Verdict::Kept)
}

/// L9: a listing of nothing is an empty page without more.
pub(super) async fn nothing_is_an_empty_page(harness: &Harness) -> Check {
    for list in [ask(harness, "nothing"), ask(harness, "nothing/").with_values()] {
        let page = harness.backend().list(&list).await?;
        ensure!(page == Page::default(), "{list:?} of nothing gave {page:?}");
    }
    Ok(Verdict::Kept)
}

/// L10: a limit of 0 is `Invalid`.
pub(super) async fn limit_zero_is_invalid(harness: &Harness) -> Check {
    let result = harness.backend().list(&ask(harness, "").limit(0)).await;
    must_fail(result, ErrorKind::Invalid, "a listing of no rows")?;
    Ok(Verdict::Kept)
}

/// L11: rows have the value's size, and its bytes and revision exactly when asked for.
pub(super) async fn values_only_when_asked(harness: &Harness) -> Check {
    write_names(harness).await?;
    harness.put(&harness.key("0-empty")?, "").await?;
    harness.put(&harness.key("1-long")?, pattern(harness.size(70_000), 1)).await?;
    for values in [true, false] {
        let mut list = List { values, ..ask(harness, "") };
        loop {
            let page = harness.backend().list(&list).await?;
            for row in &page.rows {
                let object = harness.must_get(&row.key).await?;
                ensure!(row.size == object.size, "{row:?} is of a value of {} bytes", object.size);
                let wanted = values.then_some(object);
                ensure!(row.object == wanted, "with values {values}, {row:?} is not {wanted:?}");
            }
            match page.rows.last() {
                Some(last) if page.more => list = list.after(last.key.as_str()),
                _ => break,
            }
        }
    }
    Ok(Verdict::Kept)
}

/// L12: keys that stay are seen exactly once, whatever is written or removed between two pages,
/// the cursor's own key included.
pub(super) async fn pages_are_stable(harness: &Harness) -> Check {
    let mut stay = Vec::new();
    for at in 0..30 {
        let name = format!("k{at:02}-stays");
        harness.put(&harness.key(&name)?, "x").await?;
        harness.put(&harness.key(format!("k{at:02}-goes"))?, "x").await?;
        stay.push(name);
    }
    let (mut list, mut seen) = (ask(harness, "").limit(7), Vec::new());
    for round in 0..1000 {
        let page = harness.backend().list(&list).await?;
        seen.extend(names_of(harness, &page)?);
        let Some(last) = page.rows.last().filter(|_| page.more) else {
            break;
        };
        list = list.after(last.key.as_str());
        // Before, at and behind the cursor: things come and go.
        harness.put(&harness.key(format!("a{round}"))?, "x").await?;
        if last.key.as_str().ends_with("goes") {
            harness.backend().delete(&last.key, Expect::Any).await?;
        }
        let behind = harness.key(format!("k{:02}-goes", (round * 5 + 3) % 30))?;
        harness.backend().delete(&behind, Expect::Any).await?;
        harness.put(&harness.key(format!("k{:02}-new", round * 3 % 30))?, "x").await?;
        let stays = harness.key(format!("k{:02}-stays", round * 11 % 30))?;
        harness.put(&stays, format!("overwritten {round}")).await?;
    }
    seen.retain(|name| name.ends_with("stays"));
    ensure!(seen == stay, "of the keys that stayed, {seen:?} were seen, in this order");
    Ok(Verdict::Kept)
}

/// L13: a listing sees every write that has returned, and no removed key.
pub(super) async fn follows_writes(harness: &Harness) -> Check {
    let mut wanted: Vec<String> = Vec::new();
    for round in 0..20 {
        let name = format!("{:02}", round * 7 % 20);
        harness.put(&harness.key(&name)?, "x").await?;
        wanted.push(name);
        if round % 4 == 3 {
            let gone = wanted.remove(round / 4);
            harness.backend().delete(&harness.key(gone)?, Expect::Any).await?;
        }
        wanted.sort();
        let names = harness.names("").await?;
        ensure!(names == wanted, "after write {round} the listing has {names:?}, not {wanted:?}");
    }
    Ok(Verdict::Kept)
}
