//! How new an answer must be: reads that may be older than the newest commit, and so need not ask
//! the catalog each time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use holdall_core::{Error, Operation, Result};

use super::Reading;
use crate::format::entry::Name;
use crate::volume::Volume;

/// How many answers are remembered: with inline bytes some 16 MiB.
const ANSWERS_MAX: usize = 1024;

/// How new an answer must be. Each answer is of one commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadLevel {
    /// It shows every commit that was acknowledged before it was asked for.
    #[default]
    Strong,
    /// It shows what held at some time not longer ago than this, which is at most the grace.
    BoundedStale(Duration),
    /// It shows what held at some time within the grace.
    Any,
}

/// Answers of this handle, and when they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    answers: HashMap<Name, (Option<Reading>, Duration)>,
    order: VecDeque<(Name, Duration)>,
}

impl Recent {
    fn get(&self, name: &Name, since: Duration) -> Option<Option<Reading>> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, asked) = state.answers.get(name)?;
        (*asked >= since).then(|| answer.clone())
    }

    fn insert(&self, name: Name, answer: Option<Reading>, asked: Duration) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.answers.insert(name.clone(), (answer, asked));
        state.order.push_back((name, asked));
        while state.order.len() > ANSWERS_MAX
            && let Some((oldest, asked)) = state.order.pop_front()
        {
            // A younger answer has a place of its own in the order.
            if state.answers.get(&oldest).is_some_and(|(_, newest)| *newest == asked) {
                state.answers.remove(&oldest);
            }
        }
    }
}

impl Volume {
    /// Looks up an entry as [`get`](Self::get) does, as new as it must be. Older answers come from
    /// what this handle has read, without a call of the catalog. They may be older than what it
    /// has written since.
    ///
    /// # Errors
    /// As [`get`](Self::get); `Invalid` for a time longer than the policy's grace, for which alone
    /// the bytes of what was overwritten are kept.
    pub async fn get_as(&self, name: &Name, level: ReadLevel) -> Result<Option<Reading>> {
        let grace = self.policy().grace;
        let age_max = match level {
            ReadLevel::Strong => None,
            ReadLevel::BoundedStale(age) if age > grace => {
                let message = format!(
                    "answers of {} s ago may no longer have their bytes; ask for at most the \
                     grace, {} s",
                    age.as_secs(),
                    grace.as_secs()
                );
                return Err(Error::invalid(Operation::Get, message));
            }
            ReadLevel::BoundedStale(age) => Some(age),
            ReadLevel::Any => Some(grace),
        };
        let env = &self.shared.resources.env;
        let asked = env.elapsed();
        if let Some(age_max) = age_max
            && let Some(answer) = self.shared.recent.get(name, asked.saturating_sub(age_max))
        {
            let ended = |reading: &Reading| reading.entry().is_expired(env.now());
            return Ok(answer.filter(|reading| !ended(reading)));
        }
        let answer = self.get(name).await?;
        if age_max.is_some() {
            self.shared.recent.insert(name.clone(), answer.clone(), asked);
        }
        Ok(answer)
    }
}
