//! Listing the present.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_page_takes_one_listing() {
    let bed = Bed::new(Policy::default()).await;
    bed.fill((0..2500).map(|number| format!("{number:08}")), None).await;
    bed.recording.take();
    let page = bed.volume.list(ListOptions::default()).await.unwrap();
    assert_eq!((page.entries.len(), page.next.as_deref()), (1000, Some("00000999")));
    bed.recording.assert_calls(&[(Method::List, 1)]);
    assert_eq!(page.entries[7].1.inline, "00000007");
    for limit in [1, 7, 1000, 2499, 2500, 2501] {
        let all = bed.list_all(ListOptions::default().limit(limit)).await;
        assert!(
            all.iter().map(String::as_str).eq((0..2500)
                .map(|number| format!("{number:08}"))
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_resume_behind_names_that_do_not_exist() {
    let bed = Bed::new(Policy::default()).await;
    bed.fill(["a", "b", "b/x", "c"].map(str::to_owned).into_iter(), None).await;
    for (after, wanted) in [
        ("", vec!["a", "b", "b/x", "c"]),
        ("aa", vec!["b", "b/x", "c"]),
        ("b", vec!["b/x", "c"]),
        ("b/", vec!["b/x", "c"]),
        ("c", vec![]),
        ("zz", vec![]),
    ] {
        assert_eq!(bed.list_all(ListOptions::default().after(after)).await, wanted, "{after}");
    }
    assert_eq!(bed.list_all(ListOptions::prefix("b")).await, ["b", "b/x"]);
    assert_eq!(bed.list_all(ListOptions::prefix("b").after("a")).await, ["b", "b/x"]);
    assert!(bed.list_all(ListOptions::prefix("b").after("c")).await.is_empty());
    assert!(bed.list_all(ListOptions::prefix("b\0")).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_cannot_work_are_refused() {
    let bed = Bed::new(Policy::default()).await;
    let list = |options: ListOptions| bed.volume.list(options);
    let all = ListOptions::default;
    assert_invalid(list(all().limit(0)).await, "limit");
    assert_invalid(list(all().delimiter("")).await, "delimiter");
    assert_invalid(list(all().after("a\0")).await, "NUL");
    assert_invalid(list(all().after("a".repeat(901))).await, "900");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delimiter_gives_each_common_prefix_once() {
    let bed = Bed::new(Policy::default()).await;
    let names = ["a", "a/", "a/1", "a/b/2", "a0", "b/1", "b/2", "c", "x/y/z"];
    bed.fill(names.map(str::to_owned).into_iter(), None).await;
    for limit in 1..8 {
        let list = |prefix: &str| ListOptions::prefix(prefix).delimiter("/").limit(limit);
        assert_eq!(bed.list_all(list("")).await, ["a", "a/", "a0", "b/", "c", "x/"]);
        assert_eq!(bed.list_all(list("a/")).await, ["a/", "a/1", "a/b/"]);
        assert_eq!(bed.list_all(list("x")).await, ["x/"]);
        assert_eq!(bed.list_all(list("x/y/z")).await, ["x/y/z"]);
        // Behind a name under a common prefix there is still something under it.
        assert_eq!(bed.list_all(list("").after("b/1")).await, ["b/", "c", "x/"]);
        assert_eq!(bed.list_all(list("").after("b/")).await, ["c", "x/"]);
        let long = ListOptions::default().delimiter("/y/").limit(limit);
        assert_eq!(bed.list_all(long).await.last().unwrap(), "x/y/");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_delimiter_hides_is_not_read() {
    let bed = Bed::new(Policy::default()).await;
    let groups = ["big", "bigger", "last"];
    let names = groups
        .iter()
        .flat_map(|group| (0..20_000).map(move |number| format!("{group}/{number:08}")));
    bed.fill(names, None).await;
    bed.recording.take();
    let page = bed.volume.list(ListOptions::default().delimiter("/")).await.unwrap();
    assert_eq!(page.prefixes, ["big/", "bigger/", "last/"]);
    let listings = bed.listings();
    assert_eq!(listings.len(), 4, "{listings:?}");
    let key = bed.keys.entry(&name("big/00000000"));
    let row = bed.catalog.get(&key, holdall_core::ByteRange::ALL).await.unwrap().unwrap();
    let rows = listings.iter().map(|call| call.bytes_out).sum::<u64>() / row.size;
    assert!(rows <= 64, "{rows} rows were read to list three common prefixes");
    // Beginning behind a common prefix reads nothing of it.
    let after = ListOptions::default().delimiter("/").after("big/").limit(1);
    assert_eq!(bed.volume.list(after).await.unwrap().prefixes, ["bigger/"]);
    assert_eq!(bed.listings().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_groups_are_read_in_large_pages() {
    let bed = Bed::new(Policy::default()).await;
    let names =
        (0..5000).flat_map(|group| (0..3).map(move |number| format!("{group:06}/{number}")));
    bed.fill(names, None).await;
    bed.recording.take();
    let options = ListOptions::default().delimiter("/").limit(5000);
    assert_eq!(bed.volume.list(options).await.unwrap().prefixes.len(), 5000);
    let listings = bed.listings().len();
    assert!(listings < 120, "{listings} listings for 15,000 rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_leaves_no_empty_pages() {
    let bed = Bed::new(Policy::default()).await;
    bed.fill((0..3000).map(|number| format!("a/{number:08}")), Some(bed.now())).await;
    bed.fill(["a/alive", "b/alive", "c"].map(str::to_owned).into_iter(), None).await;
    bed.fill(["d/ended"].map(str::to_owned).into_iter(), Some(bed.now())).await;
    assert_eq!(bed.list_all(ListOptions::default().limit(1)).await, ["a/alive", "b/alive", "c"]);
    let delimited = ListOptions::default().delimiter("/").limit(1);
    assert_eq!(bed.list_all(delimited).await, ["a/", "b/", "c"]);
}
