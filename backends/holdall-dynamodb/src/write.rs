//! Writing: one item, one transaction of the store, or a batch that marks carry.
//!
//! Every condition asks that no mark and no large value be there, as there almost never is. Where
//! one is, the store says so, and the write is sent again, asking for what was found: so a large
//! value's parts are never forgotten, and nobody reads before writing.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem, Update,
};
use futures::channel::oneshot;
use holdall_core::{ErrorKind, Expect, Key, Op};

use crate::call::{Condition, Store, unmade};
use crate::error::{Failure, Fault};
use crate::names::{Nonce, SHARES, deletes, share};
use crate::read::ITEMS_MAX;
use crate::row::{Body, INLINE_BYTES_MAX, Item, Row, State, binary, count, expected, is_expected};

/// The most bytes in one transaction; the store takes 4 MB, with all it adds.
pub(crate) const TRANSACTION_BYTES_MAX: usize = 3 << 20;
/// What an item has besides key and value, at the most.
const ITEM_BYTES: usize = 1024;
/// How often a write is sent that meets what it did not expect.
pub(crate) const ROUNDS_MAX: usize = 50;

/// What is done to a row.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    Put { size: u64, body: Body },
    Delete,
    Keep,
}

/// One step of a batch that asks for something.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) key: Key,
    pub(crate) expect: Expect,
    pub(crate) wish: Wish,
}

impl Step {
    /// What it adds to a transaction.
    pub(crate) fn bytes(&self) -> usize {
        let inline = match &self.wish {
            Wish::Put { body: Body::Inline(bytes), .. } => bytes.len(),
            _ => 0,
        };
        self.key.as_bytes().len() + inline + ITEM_BYTES
    }
}

impl Store {
    /// Lets the steps happen, all or nothing. Each key is named once.
    pub(crate) async fn write(&self, ops: &[Op]) -> Result<Nonce, Failure> {
        let bytes: usize = ops.iter().map(|op| op.bytes() + ITEM_BYTES).sum();
        let few = ops.len() <= self.transaction_steps.min(ITEMS_MAX - usize::from(SHARES));
        let large = ops.iter().any(|op| op.bytes() > INLINE_BYTES_MAX);
        if few && !large && bytes <= TRANSACTION_BYTES_MAX {
            return self.place_and_write(ops).await;
        }
        // What takes several requests goes on when its caller does not: it leaves nothing behind.
        let (sender, receiver) = oneshot::channel();
        let (store, ops) = (self.clone(), ops.to_vec());
        self.env.spawn(async move {
            // A caller that has gone no longer wants the answer.
            let _ = sender.send(store.place_and_write(&ops).await);
        });
        receiver.await.unwrap_or_else(|_| {
            let message = "the program ends, and the write may have happened; look before writing \
                           again";
            Err(Failure::new(ErrorKind::Unknown, message))
        })
    }

    async fn place_and_write(&self, ops: &[Op]) -> Result<Nonce, Failure> {
        let mut steps = Vec::with_capacity(ops.len());
        let mut placed = Ok(());
        for op in ops {
            let (key, expect) = (op.key().clone(), op.expect().clone());
            let wish = match op {
                Op::Check { expect: Expect::Any, .. } => continue,
                Op::Put { value, .. } => match self.place(value).await {
                    Ok(body) => Wish::Put { size: value.len() as u64, body },
                    Err(failure) => {
                        placed = Err(failure);
                        break;
                    }
                },
                // What may only be missing is not removed.
                Op::Check { .. } | Op::Delete { expect: Expect::Absent, .. } => Wish::Keep,
                Op::Delete { .. } => Wish::Delete,
            };
            steps.push(Step { key, expect, wish });
        }
        let written = match placed {
            Ok(()) => self.write_steps(&steps, ops.len()).await,
            Err(failure) => Err(failure),
        };
        if written.as_ref().is_err_and(|failure| failure.kind != ErrorKind::Unknown) {
            for step in &steps {
                if let Wish::Put { size, body } = &step.wish {
                    self.discard(body, *size).await;
                }
            }
        }
        written
    }

    async fn write_steps(&self, steps: &[Step], count: usize) -> Result<Nonce, Failure> {
        if steps.is_empty() {
            return Ok(self.nonce());
        }
        let items = steps.len() + shares(steps).len();
        let bytes: usize = steps.iter().map(Step::bytes).sum();
        let fits = items <= ITEMS_MAX && bytes <= TRANSACTION_BYTES_MAX;
        if fits && count <= self.transaction_steps {
            match self.write_at_once(steps).await {
                Err(Fault::TooLarge(_)) if steps.len() > 1 => {}
                written => return written.map_err(Fault::of_write),
            }
        }
        self.carry(steps).await
    }

    /// One transaction, or one item.
    async fn write_at_once(&self, steps: &[Step]) -> Result<Nonce, Fault> {
        let nonce = self.nonce();
        let mut old: Vec<Option<State>> = vec![None; steps.len()];
        for _ in 0..ROUNDS_MAX {
            match self.send(steps, &nonce, &old).await {
                Ok(()) => {
                    for state in old.iter().flatten() {
                        self.discard(&state.body, state.size).await;
                    }
                    return Ok(nonce);
                }
                Err(Fault::Conditions(failed)) => {
                    let rows = rows(failed).map_err(Fault::Refused)?;
                    self.meet(steps, rows, &mut old, None).await.map_err(Fault::Refused)?;
                }
                Err(fault) => return Err(fault),
            }
        }
        Err(Fault::Conditions(Vec::new()))
    }

    async fn send(
        &self,
        steps: &[Step],
        nonce: &Nonce,
        old: &[Option<State>],
    ) -> Result<(), Fault> {
        let conditions: Vec<Condition> = steps
            .iter()
            .zip(old)
            .map(|(step, old)| match step.wish {
                Wish::Keep => condition(&step.expect),
                _ => replacing(condition(&step.expect), old.as_ref()),
            })
            .collect();
        if let ([step], [condition]) = (steps, &conditions[..])
            && let Wish::Put { size, body } = &step.wish
        {
            return self.put_item(self.row(&step.key, nonce, *size, body), condition).await;
        }
        let mut writes = Vec::with_capacity(steps.len());
        for (step, condition) in steps.iter().zip(conditions) {
            writes.push(match &step.wish {
                Wish::Put { size, body } => {
                    let item = self.row(&step.key, nonce, *size, body);
                    let put = Put::builder().table_name(&self.table).set_item(Some(item));
                    let put = put
                        .condition_expression(condition.text)
                        .set_expression_attribute_values(some(condition.values))
                        .return_values_on_condition_check_failure(ALL_OLD);
                    TransactWriteItem::builder().put(put.build().map_err(|_| unmade())?).build()
                }
                Wish::Delete => self.delete_step(self.place_of(&step.key), condition)?,
                Wish::Keep => self.check_step(self.place_of(&step.key), condition)?,
            });
        }
        writes.extend(self.counts(steps)?);
        self.transact(writes).await
    }

    /// Looks at the rows for whose sake a write did not happen, and makes way or gives up. `false`
    /// if another batch has cancelled the one that holds marks.
    pub(crate) async fn meet(
        &self,
        steps: &[Step],
        rows: Vec<(usize, Row)>,
        old: &mut [Option<State>],
        holder: Option<&Nonce>,
    ) -> Result<bool, Failure> {
        let mut marked = false;
        for (place, row) in &rows {
            let (Some(step), Some(mark)) = (steps.get(*place), &row.mark) else { continue };
            if Some(&mark.batch) != holder {
                marked = true;
                if !self.clear(&step.key, &mark.batch, holder).await? {
                    return Ok(false);
                }
            }
        }
        if marked {
            return Ok(true);
        }
        for (place, row) in rows {
            let (Some(step), Some(old)) = (steps.get(place), old.get_mut(place)) else { continue };
            if row.mark.is_none() && !is_expected(&step.expect, row.state.as_ref()) {
                return Err(Failure::conflict(&step.key));
            }
            *old = row.state.filter(|state| state.parts().is_some());
        }
        Ok(true)
    }

    /// The counters of the deletes among these steps, each to be raised.
    pub(crate) fn counts(&self, steps: &[Step]) -> Result<Vec<TransactWriteItem>, Fault> {
        let raise = |share| {
            let key = Self::key(self.names.meta(), &deletes(share));
            let values = HashMap::from([(":one".to_owned(), count(1))]);
            let condition = Condition { text: String::new(), values };
            self.update_step(key, "ADD n :one", condition)
        };
        shares(steps).into_iter().map(raise).collect()
    }

    fn row(&self, key: &Key, nonce: &Nonce, size: u64, body: &Body) -> Item {
        let mut item = self.place_of(key);
        item.insert("r".to_owned(), binary(*nonce));
        item.insert("n".to_owned(), count(size));
        match body {
            Body::Inline(bytes) => drop(item.insert("v".to_owned(), binary(&bytes[..]))),
            Body::Parts(name) => drop(item.insert("w".to_owned(), binary(*name))),
            Body::Unread => {}
        }
        item
    }

    pub(crate) fn place_of(&self, key: &Key) -> Item {
        Self::key(self.names.row(key), key.as_bytes())
    }

    pub(crate) fn update_step(
        &self,
        key: Item,
        expression: &str,
        condition: Condition,
    ) -> Result<TransactWriteItem, Fault> {
        let update = Update::builder().table_name(&self.table).set_key(Some(key));
        let text = Some(condition.text).filter(|text| !text.is_empty());
        let update = update
            .update_expression(expression)
            .set_condition_expression(text)
            .set_expression_attribute_values(some(condition.values))
            .return_values_on_condition_check_failure(ALL_OLD);
        let update = update.build().map_err(|_| unmade())?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    pub(crate) fn delete_step(
        &self,
        key: Item,
        condition: Condition,
    ) -> Result<TransactWriteItem, Fault> {
        let delete = Delete::builder().table_name(&self.table).set_key(Some(key));
        let delete = delete
            .condition_expression(condition.text)
            .set_expression_attribute_values(some(condition.values))
            .return_values_on_condition_check_failure(ALL_OLD);
        let delete = delete.build().map_err(|_| unmade())?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    fn check_step(&self, key: Item, condition: Condition) -> Result<TransactWriteItem, Fault> {
        let check = ConditionCheck::builder().table_name(&self.table).set_key(Some(key));
        let check = check
            .condition_expression(condition.text)
            .set_expression_attribute_values(some(condition.values))
            .return_values_on_condition_check_failure(ALL_OLD);
        let check = check.build().map_err(|_| unmade())?;
        Ok(TransactWriteItem::builder().condition_check(check).build())
    }
}

const ALL_OLD: ReturnValuesOnConditionCheckFailure = ReturnValuesOnConditionCheckFailure::AllOld;

/// The rows that the store found in a condition's way.
pub(crate) fn rows(failed: Vec<(usize, Option<Item>)>) -> Result<Vec<(usize, Row)>, Failure> {
    let read = |(place, item): (usize, Option<Item>)| {
        Ok((place, item.map_or_else(|| Ok(Row::default()), Row::read)?))
    };
    failed.into_iter().map(read).collect()
}

fn shares(steps: &[Step]) -> BTreeSet<u8> {
    let deletes = steps.iter().filter(|step| matches!(step.wish, Wish::Delete));
    deletes.map(|step| share(&step.key)).collect()
}

/// That what is there is as expected, and no batch has marked it.
pub(crate) fn condition(expect: &Expect) -> Condition {
    let mut condition = Condition::default();
    match expect {
        Expect::Any => condition.text.push_str("attribute_not_exists(t)"),
        // A mark alone makes an item as well.
        Expect::Absent => condition.text.push_str("attribute_not_exists(p)"),
        Expect::Revision(revision) => {
            condition.text.push_str("r = :r AND attribute_not_exists(t)");
            condition.values.insert(":r".to_owned(), binary(expected(revision)));
        }
    }
    condition
}

/// The same, where the value that is replaced is small, or this large one.
fn replacing(mut condition: Condition, old: Option<&State>) -> Condition {
    match old.and_then(State::parts) {
        Some(parts) => {
            condition.text.push_str(" AND w = :w");
            condition.values.insert(":w".to_owned(), binary(parts));
        }
        None => condition.text.push_str(" AND attribute_not_exists(w)"),
    }
    condition
}

fn some(values: HashMap<String, AttributeValue>) -> Option<HashMap<String, AttributeValue>> {
    Some(values).filter(|values| !values.is_empty())
}
