//! Reads rows of the catalog or keys of the data backend page by page.

use holdall_core::{Backend, List, Result, Row};

/// How many rows with their values are read at once: with rows of at most some 80 KiB this bounds
/// memory.
const PAGE_ROWS: usize = if cfg!(test) { 3 } else { 128 };

/// A listing under way.
#[derive(Debug)]
pub(crate) struct Pages {
    list: Option<List>,
}

impl Pages {
    /// All rows under a prefix, with their values.
    pub(crate) fn rows(prefix: impl Into<String>) -> Self {
        Self { list: Some(List::prefix(prefix).with_values().limit(PAGE_ROWS)) }
    }

    /// All keys under a prefix, without values.
    pub(crate) fn keys(prefix: impl Into<String>) -> Self {
        Self { list: Some(List::prefix(prefix)) }
    }

    /// The next page, in order; nothing behind the last.
    ///
    /// # Errors
    /// Those of the backend. Nothing may then be taken for having been listed to its end.
    pub(crate) async fn next(&mut self, backend: &dyn Backend) -> Result<Option<Vec<Row>>> {
        let Some(list) = self.list.take() else { return Ok(None) };
        let page = backend.list(&list).await?;
        if let Some(last) = page.rows.last().filter(|_| page.more) {
            self.list = Some(list.after(last.key.as_str()));
        }
        Ok(Some(page.rows))
    }
}
