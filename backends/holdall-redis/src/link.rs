//! A connection that is made anew when it has ended, and never asks the same twice unless it is
//! certain that nothing was done.

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use holdall_core::ErrorKind;
use redis::Value;

use crate::dial::Dial;
use crate::error::{Effect, Failure, answered, code, unanswered};
use crate::live::{Call, Live, Said, Wait, survey};
use crate::script::By;
use crate::server::Survey;

/// How often one call is sent: to another node of a cluster, or with a script's text.
const SENDS_MAX: usize = 5;

/// A connection to the server, made when it is first needed.
#[derive(Debug)]
pub(crate) struct Link {
    dial: Arc<Dial>,
    current: Mutex<Option<Connecting>>,
    wait: Option<Wait>,
}

type Connecting = Shared<BoxFuture<'static, Result<Live, Failure>>>;

impl Link {
    /// For calls that wait for replicas where `wait` says so.
    pub(crate) fn new(dial: Arc<Dial>, wait: Option<Wait>) -> Self {
        Self { dial, current: Mutex::new(None), wait }
    }

    /// The connection there is, or a new one. All who wait for one share it, or its failure.
    pub(crate) async fn live(&self) -> Result<Live, Failure> {
        self.dial.check_usable()?;
        let connecting = {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            let useless = current.take_if(|connecting| match connecting.peek() {
                Some(Ok(live)) => live.has_ended(),
                Some(Err(_)) => true,
                None => false,
            });
            drop(useless);
            if let Some(Ok(live)) = current.as_ref().and_then(Shared::peek) {
                return Ok(live.clone());
            }
            let connect = || Arc::clone(&self.dial).connect().boxed().shared();
            current.get_or_insert_with(connect).clone()
        };
        connecting.await
    }

    /// Asks, and asks again only where the server said that it has done nothing: it did not know
    /// the script, or the location is on another node of the cluster.
    pub(crate) async fn ask<C: Into<Call>>(
        &self,
        effect: Effect,
        call: impl Fn(By) -> C,
    ) -> Result<Value, Failure> {
        let mut by = By::Digest;
        for _ in 0..SENDS_MAX {
            let mut live = self.live().await?;
            let error = match live.send(call(by).into(), self.wait).await {
                Ok(Said::Value(value)) => return Ok(value),
                Ok(Said::TooFew(reached)) => return Err(self.too_few(reached)),
                Ok(Said::Error(error)) => error,
                Err(error) => {
                    live.end();
                    return Err(unanswered(effect, error));
                }
            };
            match code(&error).as_str() {
                "NOSCRIPT" => by = By::Text,
                "MOVED" if self.dial.is_cluster() => {
                    self.dial.moved(&error);
                    live.end();
                }
                // It is no longer what it was when the connection was made: look again.
                "READONLY" | "LOADING" | "MASTERDOWN" => {
                    live.end();
                    return Err(answered(error));
                }
                _ => return Err(answered(error)),
            }
        }
        Err(Failure::new(
            ErrorKind::Unavailable,
            "the nodes of the cluster send this location to each other; try again",
        ))
    }

    /// Asks the server once more what it is.
    pub(crate) async fn survey(&self) -> Result<Survey, Failure> {
        let live = self.live().await?;
        match survey(&mut live.connection.clone(), self.dial.opened()).await {
            Ok(Ok(survey)) => Ok(survey),
            Ok(Err(error)) if self.dial.is_cluster() && code(&error) == "MOVED" => {
                self.dial.moved(&error);
                live.end();
                let message = "the location was just moved to another node; try again";
                Err(Failure::new(ErrorKind::Unavailable, message))
            }
            Ok(Err(error)) => Err(answered(error)),
            Err(error) => {
                live.end();
                Err(unanswered(Effect::Reads, error))
            }
        }
    }

    fn too_few(&self, reached: i64) -> Failure {
        let wanted = self.wait.map_or(0, |wait| wait.replicas);
        let message = format!(
            "the write is on the primary, but only {reached} of {wanted} replicas said so in \
             time; look before writing again"
        );
        Failure::new(ErrorKind::Unknown, message)
    }
}
