//! Finding by what is known of entries.

use super::*;
use crate::{At, Query};

async fn find_all(bed: &Bed, query: &Query) -> Vec<String> {
    let mut query = query.clone();
    let mut names = Vec::new();
    loop {
        let page = bed.volume.find(query.clone()).await.unwrap();
        assert!(page.entries.len() <= query.limit);
        names.extend(page.entries.into_iter().map(|(name, _)| name.into_string()));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return names,
        }
    }
}

/// What kind of catalog there is.
#[derive(Clone, Copy, Debug)]
enum On {
    Memory,
    Strict,
    Metadata,
}

/// Files of some sizes, kinds and owners, one second apart.
async fn filled(indexed: bool, on: On) -> Bed {
    let indexed = indexed.then(|| "owner".to_owned()).into_iter().collect();
    let policy = Policy { indexed, ..history() };
    let bed = match on {
        On::Memory => Bed::new(policy).await,
        On::Strict => Bed::strict(policy).await,
        On::Metadata => Bed::on(Arc::new(Memory::new().with_metadata()), policy).await,
    };
    for number in 0_usize..60 {
        bed.pass(Duration::from_secs(1));
        let kind = ["image/png", "image/jpeg", "text/plain"][number % 3];
        let owner = ["ann", "bob"][number % 2];
        let attributes = [("owner", owner), ("even", if number % 4 == 0 { "4" } else { "" })];
        let options = PutOptions {
            content_type: (number % 5 != 0).then(|| kind.to_owned()),
            attributes: attributes.map(|(a, b)| (a.to_owned(), b.to_owned())).into(),
            ..PutOptions::default()
        };
        let at = name(&format!("{}/{number:02}", ["x", "y"][number / 30]));
        bed.volume.put(&at, vec![0; number], options).await.unwrap();
    }
    bed
}

fn wanted(test: impl Fn(usize) -> bool) -> Vec<String> {
    let numbers = (0_usize..60).filter(|number| test(*number));
    numbers.map(|number| format!("{}/{number:02}", ["x", "y"][number / 30])).collect()
}

fn owned_by(owner: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("owner".to_owned(), owner.to_owned())])
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_asked_for_must_hold() {
    for (indexed, on) in [
        (false, On::Memory),
        (true, On::Memory),
        (false, On::Strict),
        (true, On::Strict),
        (false, On::Metadata),
        (true, On::Metadata),
    ] {
        let bed = filled(indexed, on).await;
        let start = bed.now().minus(Duration::from_secs(60));
        let second = |number: u64| Some(start.plus(Duration::from_secs(number + 1)));
        for limit in [1, 3, 60] {
            let all = Query { limit, ..Query::default() };
            let check = async |query: Query, test: &dyn Fn(usize) -> bool| {
                assert_eq!(find_all(&bed, &query).await, wanted(test), "{query:?}");
            };
            check(all.clone(), &|_| true).await;
            let query = Query { size_min: Some(10), size_max: Some(20), ..all.clone() };
            check(query, &|n| (10..=20).contains(&n)).await;
            let query =
                Query { written_after: second(7), written_before: second(40), ..all.clone() };
            check(query, &|n| (7..40).contains(&n)).await;
            let query = Query { content_type: Some("image/*".to_owned()), ..all.clone() };
            check(query, &|n| n % 5 != 0 && n % 3 != 2).await;
            let query = Query { content_type: Some("image/png".to_owned()), ..all.clone() };
            check(query, &|n| n % 5 != 0 && n % 3 == 0).await;
            let query = Query { attributes: owned_by("ann"), ..all.clone() };
            check(query.clone(), &|n| n % 2 == 0).await;
            let query = Query { prefix: "y/".to_owned(), size_min: Some(50), ..query };
            check(query, &|n| n % 2 == 0 && n >= 50).await;
            let query = Query {
                attributes: [owned_by("bob"), [("even".into(), "4".into())].into()]
                    .into_iter()
                    .flatten()
                    .collect(),
                ..all.clone()
            };
            check(query, &|_| false).await;
            let query = Query { name: Some("?/*5".to_owned()), ..all.clone() };
            check(query, &|n| n % 10 == 5).await;
            let query = Query { name: Some("x/2*".into()), prefix: "x".into(), ..all.clone() };
            check(query, &|n| (20..30).contains(&n)).await;
            let query = Query { name: Some("x/*".into()), prefix: "y".into(), ..all };
            check(query, &|_| false).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_indexed_attribute_is_looked_up_and_not_searched_for() {
    let bed = filled(true, On::Memory).await;
    bed.fill((0..5000).map(|number| format!("x/a{number:05}")), None).await;
    bed.volume.delete(&name("x/04"), crate::Condition::Always).await.unwrap();
    bed.recording.take();
    let query = Query { attributes: owned_by("ann"), ..Query::default() };
    assert_eq!(find_all(&bed, &query).await, wanted(|n| n % 2 == 0 && n != 4));
    bed.recording.assert_calls(&[(Method::List, 1), (Method::GetMany, 1)]);
    let query = Query { after: Some("x/10".to_owned()), limit: 2, ..query };
    let page = bed.volume.find(query).await.unwrap();
    let names: Vec<&str> = page.entries.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x/12", "x/14"]);
    assert_eq!(page.next.as_deref(), Some("x/14"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_searched_as_it_was() {
    let bed = filled(true, On::Memory).await;
    let then = bed.volume.as_of(At::Commit(60)).await.unwrap();
    bed.volume.delete(&name("x/04"), crate::Condition::Always).await.unwrap();
    bed.put("x/06", "owned by nobody").await;
    let query = Query { attributes: owned_by("ann"), ..Query::default() };
    let found = then.find(query.clone()).await.unwrap().entries;
    let names: Vec<String> = found.into_iter().map(|(name, _)| name.into_string()).collect();
    assert_eq!(names, wanted(|n| n % 2 == 0));
    assert_eq!(find_all(&bed, &query).await, wanted(|n| n % 2 == 0 && n != 4 && n != 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_does_bounded_work() {
    let bed = Bed::new(Policy::default()).await;
    bed.fill((0..25_000).map(|number| format!("{number:08}")), None).await;
    let query = Query { name: Some("*24999".to_owned()), ..Query::default() };
    let first = bed.volume.find(query.clone()).await.unwrap();
    assert!(first.entries.is_empty());
    assert_eq!(first.next.as_deref(), Some("00009999"));
    assert_eq!(find_all(&bed, &query).await, ["00024999"]);
    assert_invalid(bed.volume.find(Query { limit: 0, ..query.clone() }).await, "limit");
    let lone = Query { name: Some("a\\".to_owned()), ..query };
    assert_invalid(bed.volume.find(lone).await, "backslash");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_engine_can_find_is_asked_of_it_alone() {
    let bed = filled(false, On::Metadata).await;
    let query =
        Query { size_min: Some(58), content_type: Some("image/*".into()), ..Query::default() };
    bed.recording.take();
    let (wanted, page) =
        (wanted(|number| number == 58), bed.volume.find(query.clone()).await.unwrap());
    assert_eq!(page.entries[0].0.as_str(), wanted[0]);
    assert_eq!((page.entries.len(), page.next), (1, None));
    bed.recording.assert_calls(&[(Method::Find, 1)]);
    // What was overwritten, or deleted, is no longer what it was.
    bed.volume.put(&name(&wanted[0]), "small", PutOptions::default()).await.unwrap();
    assert_eq!(find_all(&bed, &query).await, [""; 0]);
}
