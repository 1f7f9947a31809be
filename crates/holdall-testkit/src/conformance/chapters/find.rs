//! Chapter N: rows found by what is told of them.

use std::collections::BTreeMap;

use holdall_core::{
    Batch, ContentType, Description, ErrorKind, Expect, Filter, Find, List, Timestamp,
};

use super::harness::{Check, Harness, Verdict, ensure, must_fail};

/// A description, to be changed where it matters.
fn plain(name: &str) -> Description {
    Description {
        volume: "suite".to_owned(),
        name: name.to_owned(),
        size: 0,
        written: Timestamp::from_micros(1_700_000_000_000_000),
        expires: None,
        content_type: None,
        attributes: BTreeMap::new(),
    }
}

fn one(name: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), value.to_owned())])
}

/// For a backend without metadata: descriptions are taken and let go, and not asked for.
async fn lacking(harness: &Harness) -> Check<Option<Verdict>> {
    if harness.profile().metadata {
        return Ok(None);
    }
    let find = Find { list: List::prefix(harness.prefix()), filter: Filter::default() };
    let result = harness.backend().find(&find).await;
    must_fail(result, ErrorKind::Unsupported, "find without metadata")?;
    let key = harness.key("described")?;
    let mut batch = Batch::new();
    batch.put_described(key.clone(), "value", Expect::Any, plain("described"));
    if harness.profile().atomic {
        harness.backend().apply(batch).await?;
        harness.must_hold(&key, "value").await?;
    } else {
        must_fail(harness.backend().apply(batch).await, ErrorKind::Unsupported, "a batch")?;
    }
    let reason = "the profile says no metadata; find was refused, and descriptions were let go";
    Ok(Some(Verdict::Refused(reason.to_owned())))
}

/// Puts rows with these descriptions, each with its name as key and value.
async fn put(harness: &Harness, descriptions: &[Description]) -> Check<()> {
    let mut batch = Batch::new();
    for description in descriptions {
        let (name, key) = (description.name.clone(), harness.key(&description.name)?);
        batch.put_described(key, name, Expect::Any, description.clone());
    }
    harness.backend().apply(batch).await?;
    Ok(())
}

/// The names of all rows that are found, page by page.
async fn found(harness: &Harness, list: List, filter: &Filter) -> Check<Vec<String>> {
    let mut find = Find { list, filter: filter.clone() };
    let mut names = Vec::new();
    loop {
        let page = harness.backend().find(&find).await?;
        let limit = find.list.limit;
        ensure!(page.rows.len() <= limit, "a page of {limit} has {} rows", page.rows.len());
        ensure!(!page.rows.is_empty() || !page.more, "an empty page says that there is more");
        for row in &page.rows {
            let name = row.key.as_str().strip_prefix(harness.prefix()).unwrap_or_default();
            let asked = row.object.is_some() == find.list.values;
            ensure!(asked, "{:?} came with or without its value, unlike asked", row.key);
            let value = row.object.as_ref().map_or(name.as_bytes(), |object| &object.value);
            ensure!(value == name.as_bytes(), "{:?} was found with another's value", row.key);
            ensure!(row.size == name.len() as u64, "{:?} says size {}", row.key, row.size);
            names.push(name.to_owned());
        }
        match page.rows.last() {
            Some(last) if page.more => find.list = find.list.after(last.key.as_str()),
            _ => return Ok(names),
        }
    }
}

/// Rows that differ in everything that can be asked for.
fn varied() -> Vec<Description> {
    let time = |second: u64| Timestamp::from_micros(1_700_000_000_000_000 + second);
    vec![
        Description { size: 10, written: time(1), ..plain("a") },
        Description { size: 20, content_type: Some("image/png".to_owned()), ..plain("b") },
        Description { size: 30, content_type: Some("image/jpeg".to_owned()), ..plain("c") },
        Description { size: 1 << 40, attributes: one("owner", "ann"), ..plain("d") },
        Description { written: time(2), attributes: one("owner", "bob"), ..plain("e") },
        Description { expires: Some(time(9)), attributes: one("hue", "ann"), ..plain("f") },
    ]
}

/// N1: exactly the rows whose descriptions fit are found, in order, with values where asked.
pub(super) async fn filter_selects(harness: &Harness) -> Check {
    if let Some(verdict) = lacking(harness).await? {
        return Ok(verdict);
    }
    put(harness, &varied()).await?;
    harness.put(&harness.key("bare")?, "bare").await?;
    let time = |second: u64| Some(Timestamp::from_micros(1_700_000_000_000_000 + second));
    let filter = Filter::default;
    for filter in [
        filter(),
        Filter { size_min: Some(20), ..filter() },
        Filter { size_max: Some(20), ..filter() },
        Filter { size_min: Some(11), size_max: Some(1 << 40), ..filter() },
        Filter { written_after: time(1), ..filter() },
        Filter { written_before: time(1), ..filter() },
        Filter { content_type: Some(ContentType::parse("image/png")), ..filter() },
        Filter { content_type: Some(ContentType::parse("image/*")), ..filter() },
        Filter { content_type: Some(ContentType::parse("text/plain")), ..filter() },
        Filter { attributes: one("owner", "ann"), ..filter() },
        Filter { attributes: one("owner", "eve"), ..filter() },
        Filter { attributes: one("owner", "bob"), written_after: time(2), ..filter() },
        Filter { attributes: one("owner", "bob"), written_after: time(3), ..filter() },
    ] {
        let fits = varied().into_iter().filter(|told| filter.fits_description(told));
        let expected: Vec<String> = fits.map(|told| told.name).collect();
        for list in [List::prefix(harness.prefix()), List::prefix(harness.prefix()).with_values()] {
            let names = found(harness, list, &filter).await?;
            ensure!(names == expected, "{filter:?} finds {names:?}, not {expected:?}");
        }
    }
    Ok(Verdict::Kept)
}

/// N2: a description is of its row as it is now.
pub(super) async fn descriptions_follow_their_rows(harness: &Harness) -> Check {
    if let Some(verdict) = lacking(harness).await? {
        return Ok(verdict);
    }
    put(harness, &["changed", "gone", "kept", "put", "rewritten"].map(plain)).await?;
    let large = |name| Description { size: 5, ..plain(name) };
    let mut batch = Batch::new();
    batch
        .put_described(harness.key("changed")?, "changed", Expect::Any, large("changed"))
        .put_described(harness.key("made")?, "made", Expect::Any, large("made"))
        .put(harness.key("rewritten")?, "rewritten", Expect::Any)
        .delete(harness.key("gone")?, Expect::Any);
    harness.backend().apply(batch).await?;
    harness.put(&harness.key("put")?, "put").await?;
    let mut batch = Batch::new();
    batch.put_described(harness.key("kept")?, "kept", Expect::Any, large("kept")).put_described(
        harness.key("changed")?,
        "changed",
        Expect::Absent,
        plain("changed"),
    );
    must_fail(harness.backend().apply(batch).await, ErrorKind::Conflict, "a batch")?;
    let all = List::prefix(harness.prefix());
    for (filter, expected) in [
        (Filter::default(), vec!["changed", "kept", "made"]),
        (Filter { size_min: Some(5), ..Filter::default() }, vec!["changed", "made"]),
        (Filter { size_max: Some(4), ..Filter::default() }, vec!["kept"]),
    ] {
        let names = found(harness, all.clone(), &filter).await?;
        ensure!(names == expected, "{filter:?} finds {names:?}, not {expected:?}");
    }
    Ok(Verdict::Kept)
}

/// N3: prefix, start and limit mean what they mean in `list`, and pages are complete.
pub(super) async fn pages_are_complete(harness: &Harness) -> Check {
    if let Some(verdict) = lacking(harness).await? {
        return Ok(verdict);
    }
    // Every third fits; `x_` must not find `xa`, nor `X`.
    let names = (0..16).map(|n| format!("x_{n:02}")).chain((0..4).map(|n| format!("xa{n}")));
    let names: Vec<String> = names.chain(["X_".to_owned(), "y".to_owned()]).collect();
    let sized = names.iter().enumerate();
    let rows: Vec<Description> =
        sized.map(|(at, name)| Description { size: at as u64 % 3, ..plain(name) }).collect();
    for rows in rows.chunks(16) {
        put(harness, rows).await?;
    }
    let filter = Filter { size_max: Some(0), ..Filter::default() };
    let prefix = |text: &str| format!("{}{text}", harness.prefix());
    for limit in [1, 2, 5, 100] {
        for list in [
            List::prefix(prefix("")),
            List::prefix(prefix("x_")),
            List::prefix(prefix("x")).after(prefix("x_03")),
            List::prefix(prefix("x")).at(prefix("x_03")),
            List::prefix(prefix("x_")).at(prefix("x_04")),
            List::prefix(prefix("z")),
        ] {
            let fits = rows
                .iter()
                .filter(|told| filter.fits_description(told) && list.contains(&prefix(&told.name)));
            let mut expected: Vec<String> = fits.map(|told| told.name.clone()).collect();
            expected.sort();
            let found = found(harness, list.clone().limit(limit), &filter).await?;
            ensure!(found == expected, "{list:?} by {limit} finds {found:?}, not {expected:?}");
        }
    }
    let find = Find { list: List::prefix(harness.prefix()).limit(0), filter };
    must_fail(harness.backend().find(&find).await, ErrorKind::Invalid, "a limit of 0")?;
    Ok(Verdict::Kept)
}

/// Text that means something to this engine or that.
const WORDS: [&str; 23] = [
    "",
    " ",
    "'",
    "\"",
    "\\",
    "%",
    "_",
    "a%",
    "A",
    "a",
    "é",
    "e\u{301}",
    "{\"a\":1}",
    "null",
    "1",
    "$1",
    "?",
    "line\nbreak",
    "\u{1}",
    "\u{10ffff}",
    "a.b",
    "$.a",
    "[0]",
];

/// Rows with each of the words as an attribute's value, as its name, and as a content type.
fn worded() -> Vec<Description> {
    let long = "ü".repeat(2000);
    let mut rows = Vec::new();
    for (at, text) in WORDS.into_iter().chain([long.as_str()]).enumerate() {
        let value = Description { attributes: one("k", text), ..plain(&format!("{at:02}v")) };
        rows.push(value);
        if !text.is_empty() {
            let key = Description { attributes: one(text, "v"), ..plain(&format!("{at:02}k")) };
            rows.push(key);
        }
        if text.len() < 200 && !text.contains(char::is_control) {
            let content_type = Some(format!("t/{text}"));
            rows.push(Description { content_type, ..plain(&format!("{at:02}t")) });
        }
    }
    rows
}

/// N4: text is taken to the letter, whatever characters it has.
pub(super) async fn text_is_literal(harness: &Harness) -> Check {
    if let Some(verdict) = lacking(harness).await? {
        return Ok(verdict);
    }
    let mut rows = worded();
    for rows in rows.chunks(16) {
        put(harness, rows).await?;
    }
    rows.sort_by(|left, right| left.name.cmp(&right.name));
    let mut filters = Vec::new();
    for row in &rows {
        filters.push(Filter { attributes: row.attributes.clone(), ..Filter::default() });
        if let Some(text) = &row.content_type {
            let content_type = Some(ContentType::Exactly(text.clone()));
            filters.push(Filter { content_type, ..Filter::default() });
            let content_type = Some(ContentType::Beginning(text.clone()));
            filters.push(Filter { content_type, ..Filter::default() });
        }
    }
    for filter in filters {
        let fits = rows.iter().filter(|told| filter.fits_description(told));
        let expected: Vec<&str> = fits.map(|told| told.name.as_str()).collect();
        let names = found(harness, List::prefix(harness.prefix()), &filter).await?;
        ensure!(names == expected, "{filter:?} finds {names:?}, not {expected:?}");
    }
    // Nothing is lost of what is told about one row.
    let many = (0..64).map(|at| (format!("name {at}"), "v".repeat(100))).collect();
    put(harness, &[Description { attributes: many, ..plain("many") }]).await?;
    let filter = Filter { attributes: one("name 63", &"v".repeat(100)), ..Filter::default() };
    let names = found(harness, List::prefix(harness.prefix()), &filter).await?;
    ensure!(names == ["many"], "of 64 attributes the last finds {names:?}");
    Ok(Verdict::Kept)
}
