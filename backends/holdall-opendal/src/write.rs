//! Writing and removing values.
//!
//! Every value is one request, so that it is seen whole or not at all. When an answer is lost, or
//! a condition does not hold, the head that is there tells whether this write did it: an operator
//! may have sent it twice.

use futures::channel::oneshot;
use holdall_core::{
    BackendExt, Bytes, Conditions, Error, ErrorKind, Expect, Key, Operation, Result, Revision,
};
use opendal::options::{DeleteOptions, WriteOptions};
use opendal::{Buffer, ErrorKind as Cause, Operator};

use crate::error::{is_absent, writing};
use crate::head::Head;
use crate::{Identity, OpenDal, names};

impl OpenDal {
    pub(crate) async fn write(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.check_limits(Operation::Put, key, value.len())?;
        self.check_expect(Operation::Put, &expect)?;
        let path = names::path(key.as_str());
        let mut options = WriteOptions::default();
        match expect {
            Expect::Any => {}
            Expect::Absent => options.if_not_exists = true,
            Expect::Revision(revision) => {
                let word = self.word(Operation::Put, &path, &revision).await?;
                self.guard(word, &mut options);
            }
        }
        let head = Head::new(value.len(), &self.env);
        let bytes = Buffer::from(vec![head.encode(), value]);
        match self.send(&path, bytes, options).await {
            Ok(()) => Ok(head.revision()),
            Err(error) => self.settle(&path, head, &error).await,
        }
    }

    pub(crate) async fn remove(&self, key: &Key, expect: Expect) -> Result<()> {
        self.check_expect(Operation::Delete, &expect)?;
        let path = names::path(key.as_str());
        let mut options = DeleteOptions::default();
        let guarded = matches!(expect, Expect::Revision(_));
        match expect {
            Expect::Any => {}
            // Nothing is to be done, so that looking is enough.
            Expect::Absent => {
                return match self.head(Operation::Delete, &path).await? {
                    None => Ok(()),
                    Some(_) => Err(conflict(Operation::Delete)),
                };
            }
            Expect::Revision(revision) => {
                let word = Some(self.word(Operation::Delete, &path, &revision).await?);
                match self.identity {
                    Identity::Version => options.if_version_match = word,
                    Identity::ETag | Identity::None => options.if_match = word,
                }
            }
        }
        match self.operator.delete_options(&path, options).await {
            Ok(()) => Ok(()),
            // Somebody else removed what was expected.
            Err(error) if guarded && is_absent(&error) => Err(conflict(Operation::Delete)),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) if error.kind() == Cause::ConditionNotMatch => {
                Err(conflict(Operation::Delete))
            }
            Err(error) => Err(writing(Operation::Delete, &error)),
        }
    }

    fn check_expect(&self, operation: Operation, expect: &Expect) -> Result<()> {
        let needed = match expect {
            Expect::Any => Conditions::None,
            Expect::Absent => Conditions::Absent,
            Expect::Revision(_) => Conditions::Revision,
        };
        if self.profile.conditions >= needed {
            return Ok(());
        }
        let message = "this service does not keep such a condition; write without one, or use \
                       another service";
        Err(Error::unsupported(operation, message))
    }

    /// The service's own word for the state that has this revision.
    async fn word(&self, operation: Operation, path: &str, revision: &Revision) -> Result<String> {
        match self.head(operation, path).await? {
            Some(seen) if seen.head.revision() == *revision => seen.identity.ok_or_else(|| {
                let message = "the service does not say the state of this value; try again";
                Error::unavailable(operation, message)
            }),
            _ => Err(conflict(operation)),
        }
    }

    /// Lets a write happen only where the service's word still holds.
    pub(crate) fn guard(&self, word: String, options: &mut WriteOptions) {
        match self.identity {
            Identity::Version => options.if_version_match = Some(word),
            Identity::ETag | Identity::None => options.if_match = Some(word),
        }
    }

    /// Writes in one request, which goes on if its future is dropped: services that write beside
    /// the value and rename would otherwise leave what they had written.
    pub(crate) async fn send(
        &self,
        path: &str,
        bytes: Buffer,
        options: WriteOptions,
    ) -> opendal::Result<()> {
        let (told, answer) = oneshot::channel();
        let (operator, path) = (self.operator.clone(), path.to_owned());
        self.env.spawn(async move {
            // Whoever has gone no longer wants the answer.
            let _ = told.send(write(&operator, &path, bytes, options).await);
        });
        let ended = || opendal::Error::new(Cause::Unexpected, "the program is ending");
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// What a write that failed has come to.
    async fn settle(&self, path: &str, head: Head, error: &opendal::Error) -> Result<Revision> {
        let open = writing(Operation::Put, error);
        let refused = error.kind() == Cause::ConditionNotMatch;
        if !refused && open.kind() != ErrorKind::Unknown {
            return Err(open);
        }
        match self.head(Operation::Put, path).await {
            Ok(Some(seen)) if seen.head == head => Ok(head.revision()),
            Ok(_) if refused => Err(conflict(Operation::Put)),
            Ok(_) => Err(open),
            Err(_) => Err(open.with_kind(ErrorKind::Unknown)),
        }
    }
}

fn conflict(operation: Operation) -> Error {
    let message = "what is under the key is not what was expected; read again and decide";
    Error::conflict(operation, message)
}

async fn write(
    operator: &Operator,
    path: &str,
    bytes: Buffer,
    options: WriteOptions,
) -> opendal::Result<()> {
    let mut writer = operator.writer_options(path, options).await?;
    let sent = async {
        writer.write(bytes).await?;
        writer.close().await.map(drop)
    };
    let sent = sent.await;
    if sent.is_err() {
        // Not all services can, and for those nothing is left to do.
        let _ = writer.abort().await;
    }
    sent
}
