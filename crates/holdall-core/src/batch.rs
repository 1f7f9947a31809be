//! Several writes that happen together or not at all.

use bytes::Bytes;

use crate::{Description, Expect, Key};

/// One step of a [`Batch`].
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Write this value, if the expectation holds.
    Put {
        /// The key to write.
        key: Key,
        /// Its new value.
        value: Bytes,
        /// What must be there before.
        expect: Expect,
        /// What a person may want to know of it. The row's earlier description ends with its
        /// earlier value. Engines without [`metadata`](crate::Profile::metadata) let it go.
        description: Option<Box<Description>>,
    },
    /// Remove this key, if the expectation holds.
    Delete {
        /// The key to remove.
        key: Key,
        /// What must be there before.
        expect: Expect,
    },
    /// Change nothing, but let the batch happen only if the expectation holds.
    Check {
        /// The key to look at.
        key: Key,
        /// What must be there.
        expect: Expect,
    },
}

impl Op {
    /// A write without a description.
    pub fn put(key: Key, value: Bytes, expect: Expect) -> Self {
        Self::Put { key, value, expect, description: None }
    }

    /// The key this step is about.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } | Self::Check { key, .. } => key,
        }
    }

    /// What this step expects to find.
    pub fn expect(&self) -> &Expect {
        match self {
            Self::Put { expect, .. } | Self::Delete { expect, .. } | Self::Check { expect, .. } => {
                expect
            }
        }
    }

    /// Key and value bytes, the measure of `batch_bytes_max`.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.as_str().len() + value.len(),
            Self::Delete { key, .. } | Self::Check { key, .. } => key.as_str().len(),
        }
    }
}

/// Several writes that happen together or not at all. A key may appear once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The steps. Their order has no meaning, because each key appears once.
    pub ops: Vec<Op>,
}

impl Batch {
    /// An empty batch. Applying it succeeds and changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a write.
    pub fn put(&mut self, key: Key, value: impl Into<Bytes>, expect: Expect) -> &mut Self {
        self.ops.push(Op::put(key, value.into(), expect));
        self
    }

    /// Adds a write whose row is described.
    pub fn put_described(
        &mut self,
        key: Key,
        value: impl Into<Bytes>,
        expect: Expect,
        description: Description,
    ) -> &mut Self {
        let description = Some(Box::new(description));
        self.ops.push(Op::Put { key, value: value.into(), expect, description });
        self
    }

    /// Adds a removal.
    pub fn delete(&mut self, key: Key, expect: Expect) -> &mut Self {
        self.ops.push(Op::Delete { key, expect });
        self
    }

    /// Adds a condition on a key that the batch does not change.
    pub fn check(&mut self, key: Key, expect: Expect) -> &mut Self {
        self.ops.push(Op::Check { key, expect });
        self
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether there is no step.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Key and value bytes of all steps.
    pub fn bytes(&self) -> usize {
        self.ops.iter().map(Op::bytes).sum()
    }
}
