//! Requests to the table, each tried again as long as the store says that nothing happened.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::transact_get_items::TransactGetItemsError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, Get, ReturnValuesOnConditionCheckFailure, TransactGetItem, TransactWriteItem,
};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use holdall_core::{Env, ErrorKind, Stopwatch};

use crate::error::{Failure, Fault, cancelled, fault};
use crate::names::{Names, Nonce, hex};
use crate::row::{Item, binary};

/// How often a read is sent whose answer was lost.
const LOST_READS_MAX: u32 = 3;
const PAUSE_MIN: u64 = 10;
const PAUSE_MAX: u64 = 1000;

/// What every request needs.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) client: Client,
    pub(crate) table: String,
    pub(crate) names: Names,
    pub(crate) env: Env,
    pub(crate) timeout: Duration,
    pub(crate) lock_wait: Duration,
    pub(crate) transaction_steps: usize,
}

/// What is asked of a range of sort keys in one partition.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    pub(crate) from: Vec<u8>,
    pub(crate) to: Vec<u8>,
    pub(crate) limit: usize,
    /// The attributes wanted; all of them if this is `None`.
    pub(crate) attributes: Option<&'static str>,
}

/// The condition of a write, and the values that it names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Condition {
    pub(crate) text: String,
    pub(crate) values: HashMap<String, AttributeValue>,
}

/// When to try again, and when no more.
#[derive(Debug)]
pub(crate) struct Pace {
    watch: Stopwatch,
    env: Env,
    limit: Duration,
    tries: u32,
}

impl Pace {
    /// Waits a little, longer each time. `false` if the time is up.
    pub(crate) async fn again(&mut self) -> bool {
        if self.watch.elapsed() >= self.limit {
            return false;
        }
        let most = PAUSE_MAX.min(PAUSE_MIN << self.tries.min(10));
        self.tries += 1;
        let pause = 1 + self.env.random_below(most);
        self.env.sleep(Duration::from_millis(pause)).await;
        true
    }
}

impl Store {
    pub(crate) fn pace(&self) -> Pace {
        let (watch, env) = (self.env.stopwatch(), self.env.clone());
        Pace { watch, env, limit: self.timeout, tries: 0 }
    }

    /// Asks until there is an answer that asking again does not change.
    pub(crate) async fn read<T, F>(&self, ask: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let (mut pace, mut lost) = (self.pace(), 0);
        loop {
            let fault = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            lost += u32::from(matches!(fault, Fault::Lost(_)));
            let may = matches!(fault, Fault::Later(_) | Fault::Lost(_)) && lost < LOST_READS_MAX;
            if !may || !pace.again().await {
                return Err(fault.failure());
            }
        }
    }

    pub(crate) async fn item(&self, partition: &str, key: &[u8]) -> Result<Option<Item>, Failure> {
        let ask = || async move {
            let get = self.client.get_item().table_name(&self.table).consistent_read(true);
            let get = get.key("p", AttributeValue::S(partition.to_owned())).key("k", binary(key));
            get.send().await.map(|said| said.item).map_err(|error| fault(&error))
        };
        self.read(ask).await
    }

    /// Items of one moment, each named once: all of their attributes, or these.
    pub(crate) async fn items(
        &self,
        keys: &[Item],
        attributes: Option<&str>,
    ) -> Result<Vec<Option<Item>>, Fault> {
        let mut pace = self.pace();
        loop {
            let get = |key: &Item| {
                let get = Get::builder().table_name(&self.table).set_key(Some(key.clone()));
                let get = get.set_projection_expression(attributes.map(str::to_owned)).build();
                get.map(|get| TransactGetItem::builder().get(get).build()).map_err(|_| unmade())
            };
            let gets = keys.iter().map(get).collect::<Result<Vec<_>, _>>()?;
            let said = self.client.transact_get_items().set_transact_items(Some(gets));
            let fault = match said.send().await {
                Ok(said) => {
                    let found = said.responses.unwrap_or_default();
                    let mut found: Vec<_> = found.into_iter().map(|one| one.item).collect();
                    // Nothing is sometimes said by an item without attributes.
                    found.iter_mut().for_each(|item| {
                        item.take_if(|item| item.is_empty());
                    });
                    return match found.len() == keys.len() {
                        true => Ok(found),
                        false => Err(Fault::Refused(strange())),
                    };
                }
                Err(error) => match error.as_service_error() {
                    Some(TransactGetItemsError::TransactionCanceledException(said)) => {
                        cancelled(said.cancellation_reasons())
                    }
                    _ => fault(&error),
                },
            };
            if !matches!(fault, Fault::Later(_)) || !pace.again().await {
                return Err(fault);
            }
        }
    }

    pub(crate) async fn query(
        &self,
        partition: &str,
        range: &Range,
    ) -> Result<QueryOutput, Failure> {
        let ask = || async move {
            let limit = i32::try_from(range.limit).unwrap_or(i32::MAX);
            let query = self.client.query().table_name(&self.table).consistent_read(true);
            let query = query.key_condition_expression("p = :p AND k BETWEEN :a AND :b");
            let query =
                query.expression_attribute_values(":p", AttributeValue::S(partition.to_owned()));
            let query = query.expression_attribute_values(":a", binary(range.from.clone()));
            let query = query.expression_attribute_values(":b", binary(range.to.clone()));
            let attributes = range.attributes.map(str::to_owned);
            let query = query.set_projection_expression(attributes).limit(limit);
            query.send().await.map_err(|error| fault(&error))
        };
        self.read(ask).await
    }

    /// Writes one item. What may have happened is not asked for again.
    pub(crate) async fn put_item(&self, item: Item, condition: &Condition) -> Result<(), Fault> {
        let mut pace = self.pace();
        loop {
            let put = self.client.put_item().table_name(&self.table).set_item(Some(item.clone()));
            let text = Some(&condition.text).filter(|text| !text.is_empty()).cloned();
            let put = put.set_condition_expression(text).return_values_on_condition_check_failure(
                ReturnValuesOnConditionCheckFailure::AllOld,
            );
            let values = Some(&condition.values).filter(|values| !values.is_empty()).cloned();
            let fault = match put.set_expression_attribute_values(values).send().await {
                Ok(_) => return Ok(()),
                Err(error) => match error.as_service_error() {
                    Some(PutItemError::ConditionalCheckFailedException(said)) => {
                        let item = said.item().filter(|item| !item.is_empty()).cloned();
                        Fault::Conditions(vec![(0, item)])
                    }
                    _ => fault(&error),
                },
            };
            if !matches!(fault, Fault::Later(_)) || !pace.again().await {
                return Err(fault);
            }
        }
    }

    /// Writes an item that nobody else ever writes with other content, so doing it twice is as
    /// doing it once.
    pub(crate) async fn put_own(&self, item: Item) -> Result<(), Failure> {
        let item = &item;
        self.read(|| async move { self.put_item(item.clone(), &Condition::default()).await }).await
    }

    /// Removes an item that nobody writes any more.
    pub(crate) async fn delete_item(&self, key: Item) -> Result<(), Failure> {
        let key = &key;
        let ask = || async move {
            let delete = self.client.delete_item().table_name(&self.table);
            let said = delete.set_key(Some(key.clone())).send().await;
            said.map(drop).map_err(|error| fault(&error))
        };
        self.read(ask).await
    }

    /// Writes several items or none. A transaction whose answer was lost is sent again: the store
    /// knows it by its token and does not do it twice.
    pub(crate) async fn transact(&self, steps: Vec<TransactWriteItem>) -> Result<(), Fault> {
        let token = hex(&self.env.random::<16>());
        let (mut pace, mut lost) = (self.pace(), None);
        loop {
            let write = self.client.transact_write_items().client_request_token(&token);
            let mut fault = match write.set_transact_items(Some(steps.clone())).send().await {
                Ok(_) => return Ok(()),
                Err(error) => match error.as_service_error() {
                    Some(TransactWriteItemsError::TransactionCanceledException(said)) => {
                        cancelled(said.cancellation_reasons())
                    }
                    _ => fault(&error),
                },
            };
            let again = matches!(fault, Fault::Lost(_) | Fault::Later(_));
            if matches!(fault, Fault::Lost(_)) {
                lost = Some(fault);
                fault = Fault::Later(strange());
            }
            if !again || !pace.again().await {
                // The one that was lost may still be on its way, whatever was said since.
                return Err(lost.unwrap_or(fault));
            }
        }
    }

    /// A new name.
    pub(crate) fn nonce(&self) -> Nonce {
        self.env.random()
    }

    /// The key of an item.
    pub(crate) fn key(partition: String, sort: &[u8]) -> Item {
        HashMap::from([
            ("p".to_owned(), AttributeValue::S(partition)),
            ("k".to_owned(), binary(sort)),
        ])
    }
}

/// Makes calls, so many at once, up to the first that fails. Their answers are in their order.
pub(crate) async fn together<T>(
    calls: Vec<BoxFuture<'_, Result<T, Failure>>>,
    at_once: usize,
) -> Result<Vec<T>, Failure> {
    stream::iter(calls).buffered(at_once).try_collect().await
}

pub(crate) fn strange() -> Failure {
    let message = "the store's answer makes no sense; is something else at this endpoint?";
    Failure::new(ErrorKind::Unavailable, message)
}

/// A request that lacks a part: none of ours does.
pub(crate) fn unmade() -> Fault {
    Fault::Refused(Failure::new(ErrorKind::Invalid, "the request lacks a part; report this"))
}
