//! Listing what the places have, joined: what one has or all have is there once.

use std::collections::BTreeMap;

use futures::future::join_all;
use holdall_core::{List, Page, Result, Row};

use crate::placement::spread::{Failed, Spread};
use crate::placement::table::Seat;

impl Spread {
    pub(super) async fn list_all_places(&self, list: &List) -> Result<Page> {
        let table = self.table();
        let seats = table.readable();
        let pages = seats.iter().map(|seat| page(seat, list));
        let mut failed = Failed::default();
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        // Behind the end of a page that goes on, that place may have more than is known.
        let mut end: Option<String> = None;
        for page in join_all(pages).await {
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    failed.note(error);
                    continue;
                }
            };
            if let Some(last) = page.rows.last().filter(|_| page.more) {
                let last = last.key.as_str();
                if end.as_deref().is_none_or(|end| last < end) {
                    end = Some(last.to_owned());
                }
            }
            for row in page.rows {
                // A copy that is cut short must not hide a whole one.
                let known = rows.get(row.key.as_str());
                if known.is_none_or(|known| known.size < row.size) {
                    rows.insert(row.key.as_str().to_owned(), row);
                }
            }
        }
        failed.judge(&table)?;
        let mut more = end.is_some();
        if let Some(end) = end {
            rows.retain(|key, _| *key <= end);
        }
        let mut rows: Vec<Row> = rows.into_values().collect();
        if rows.len() > list.limit {
            rows.truncate(list.limit);
            more = true;
        }
        Ok(Page { rows, more })
    }
}

async fn page(seat: &Seat, list: &List) -> Result<Page> {
    seat.reachable()?.list(list).await
}
