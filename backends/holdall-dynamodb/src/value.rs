//! Large values: parts under a name of their own, written before the row that names them.
//!
//! A writer that ends in between leaves parts that no row names; they cost their room and nothing
//! else. Whoever replaces or removes a large value removes its parts; a reader that comes too late
//! for them finds another row.

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use holdall_core::Bytes;

use crate::call::{Store, together};
use crate::error::Failure;
use crate::names::{Nonce, part};
use crate::row::{Body, INLINE_BYTES_MAX, Item, PART_BYTES, State, binary, damaged};

/// How many requests for parts are under way at once.
const AT_ONCE: usize = 8;

impl Store {
    /// Puts a value where it belongs, before its row names it.
    pub(crate) async fn place(&self, value: &Bytes) -> Result<Body, Failure> {
        if value.len() <= INLINE_BYTES_MAX {
            return Ok(Body::Inline(value.clone()));
        }
        let name = self.nonce();
        let parts = value.chunks(PART_BYTES).enumerate();
        let puts = parts.map(|(number, bytes)| self.put_part(name, number as u64, bytes).boxed());
        let done = together(puts.collect(), AT_ONCE).await;
        if let Err(failure) = done {
            self.discard(&Body::Parts(name), value.len() as u64).await;
            return Err(failure);
        }
        Ok(Body::Parts(name))
    }

    /// Removes the parts of a value that no row names any more, as far as that works.
    pub(crate) async fn discard(&self, body: &Body, size: u64) {
        let Body::Parts(name) = body else { return };
        let keys = (0..size.div_ceil(PART_BYTES as u64)).map(|number| self.part_key(name, number));
        let deletes: Vec<BoxFuture<'_, _>> =
            keys.map(|key| self.delete_item(key).boxed()).collect();
        stream::iter(deletes).buffer_unordered(AT_ONCE).for_each(async |_| {}).await;
    }

    async fn put_part(&self, name: Nonce, number: u64, bytes: &[u8]) -> Result<(), Failure> {
        let mut item = self.part_key(&name, number);
        item.insert("v".to_owned(), binary(bytes));
        self.put_own(item).await
    }

    /// These bytes of a value; `None` if a part is gone.
    pub(crate) async fn bytes(
        &self,
        state: &State,
        range: std::ops::Range<u64>,
    ) -> Result<Option<Bytes>, Failure> {
        let (start, end) = (range.start, range.end);
        let name = match &state.body {
            Body::Inline(bytes) => return Ok(Some(bytes.slice(start as usize..end as usize))),
            Body::Unread => return Err(damaged()),
            Body::Parts(_) if start == end => return Ok(Some(Bytes::new())),
            Body::Parts(name) => *name,
        };
        let size = PART_BYTES as u64;
        let first = start / size;
        let gets = (first..end.div_ceil(size)).map(|number| self.part(name, number).boxed());
        let parts = together(gets.collect(), AT_ONCE).await?;
        let Some(parts) = parts.into_iter().collect::<Option<Vec<Bytes>>>() else {
            return Ok(None);
        };
        let whole = match <[Bytes; 1]>::try_from(parts) {
            Ok([part]) => part,
            Err(parts) => parts.concat().into(),
        };
        let (start, end) = (start - first * size, end - first * size);
        if end > whole.len() as u64 {
            return Err(damaged());
        }
        Ok(Some(whole.slice(start as usize..end as usize)))
    }

    async fn part(&self, name: Nonce, number: u64) -> Result<Option<Bytes>, Failure> {
        let item = self.item(&self.names.parts(&name), &part(number)).await?;
        let bytes = item.map(|mut item| match item.remove("v") {
            Some(aws_sdk_dynamodb::types::AttributeValue::B(bytes)) => {
                Ok(bytes.into_inner().into())
            }
            _ => Err(damaged()),
        });
        bytes.transpose()
    }

    fn part_key(&self, name: &Nonce, number: u64) -> Item {
        Self::key(self.names.parts(name), &part(number))
    }
}
