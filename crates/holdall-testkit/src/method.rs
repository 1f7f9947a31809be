//! Which method of a backend was called, and a pause in which other tasks run.

use std::fmt;
use std::future::poll_fn;
use std::task::Poll;

use holdall_core::Operation;

/// One of the methods of [`Backend`](holdall_core::Backend) that do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// `get`
    Get,
    /// `get_many`
    GetMany,
    /// `put`
    Put,
    /// `delete`
    Delete,
    /// `list`
    List,
    /// `find`
    Find,
    /// `apply`
    Apply,
    /// `health`
    Health,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Get,
        Self::GetMany,
        Self::Put,
        Self::Delete,
        Self::List,
        Self::Find,
        Self::Apply,
        Self::Health,
    ];

    /// Those that change something.
    pub const WRITES: [Self; 3] = [Self::Put, Self::Delete, Self::Apply];

    /// The method's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::GetMany => "get_many",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Find => "find",
            Self::Apply => "apply",
            Self::Health => "health",
        }
    }

    /// Whether it changes something.
    pub fn writes(self) -> bool {
        Self::WRITES.contains(&self)
    }

    /// What errors of this method say was being done.
    pub const fn operation(self) -> Operation {
        match self {
            Self::Get | Self::GetMany => Operation::Get,
            Self::Put => Operation::Put,
            Self::Delete => Operation::Delete,
            Self::List => Operation::List,
            Self::Find => Operation::Find,
            Self::Apply => Operation::Apply,
            Self::Health => Operation::Health,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Suspends the task once, so that others run and so that a future can be dropped here.
pub async fn suspend() {
    let mut suspended = false;
    poll_fn(|context| {
        if suspended {
            return Poll::Ready(());
        }
        suspended = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
