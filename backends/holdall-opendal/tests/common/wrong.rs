//! A layer of OpenDAL's by which a service does what is wrong with it.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use opendal::raw::{
    Layer, OpCompose, OpCopy, OpCreateDir, OpDelete, OpList, OpPresign, OpRead, OpRename,
    OpRestore, OpStat, OpWrite, RpCreateDir, RpPresign, RpRename, RpRestore, RpStat, Service,
    ServiceInfo, Servicer, oio,
};
use opendal::{Capability, Error, ErrorKind, MetadataBuilder, OperationContext, Result};

/// What is wrong with a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Lists every second name first, then the others.
    ListsMixed,
    /// Lists nothing.
    ListsNothing,
    /// Goes on showing the first value of a path whatever is written there.
    ReadsStale,
    /// Lists names alone.
    ListsNoSizes,
    /// Finds nothing where it is to remove.
    MissesWhatItRemoves,
}

impl Layer for Wrong {
    fn apply_service(&self, inner: Servicer) -> Servicer {
        Arc::new(Strange { inner, wrong: *self, written: Mutex::default() })
    }
}

#[derive(Debug)]
struct Strange {
    inner: Servicer,
    wrong: Wrong,
    /// Paths that were written to.
    written: Mutex<HashSet<String>>,
}

impl Service for Strange {
    type Reader = oio::Reader;
    type Writer = oio::Writer;
    type Lister = Names;
    type Deleter = Remover;
    type Copier = oio::Copier;
    type Composer = oio::Composer;

    fn info(&self) -> ServiceInfo {
        self.inner.info()
    }

    fn capability(&self) -> Capability {
        self.inner.capability()
    }

    async fn create_dir(
        &self,
        ctx: &OperationContext,
        path: &str,
        args: OpCreateDir,
    ) -> Result<RpCreateDir> {
        self.inner.create_dir(ctx, path, args).await
    }

    async fn stat(&self, ctx: &OperationContext, path: &str, args: OpStat) -> Result<RpStat> {
        self.inner.stat(ctx, path, args).await
    }

    fn read(&self, ctx: &OperationContext, path: &str, args: OpRead) -> Result<oio::Reader> {
        self.inner.read(ctx, path, args)
    }

    fn write(&self, ctx: &OperationContext, path: &str, args: OpWrite) -> Result<oio::Writer> {
        if self.wrong == Wrong::ReadsStale && !self.written.lock().unwrap().insert(path.to_owned())
        {
            return self.inner.write(ctx, &format!("unseen/{path}"), args);
        }
        self.inner.write(ctx, path, args)
    }

    fn delete(&self, ctx: &OperationContext) -> Result<Remover> {
        Ok(Remover { inner: self.inner.delete(ctx)?, wrong: self.wrong })
    }

    fn list(&self, ctx: &OperationContext, path: &str, args: OpList) -> Result<Names> {
        let inner = self.inner.list(ctx, path, args)?;
        Ok(Names { inner, wrong: self.wrong, mixed: None })
    }

    fn copy(
        &self,
        ctx: &OperationContext,
        from: &str,
        to: &str,
        args: OpCopy,
    ) -> Result<oio::Copier> {
        self.inner.copy(ctx, from, to, args)
    }

    fn compose(&self, ctx: &OperationContext, to: &str, args: OpCompose) -> Result<oio::Composer> {
        self.inner.compose(ctx, to, args)
    }

    async fn rename(
        &self,
        ctx: &OperationContext,
        from: &str,
        to: &str,
        args: OpRename,
    ) -> Result<RpRename> {
        self.inner.rename(ctx, from, to, args).await
    }

    async fn restore(
        &self,
        ctx: &OperationContext,
        path: &str,
        args: OpRestore,
    ) -> Result<RpRestore> {
        self.inner.restore(ctx, path, args).await
    }

    async fn presign(
        &self,
        ctx: &OperationContext,
        path: &str,
        args: OpPresign,
    ) -> Result<RpPresign> {
        self.inner.presign(ctx, path, args).await
    }
}

pub(crate) struct Names {
    inner: oio::Lister,
    wrong: Wrong,
    /// All names in the order in which they are told, once they were asked for.
    mixed: Option<VecDeque<oio::Entry>>,
}

impl Names {
    /// Every second name first, but for the few that the probe looks at.
    async fn mix(&mut self) -> Result<VecDeque<oio::Entry>> {
        let (mut first, mut second) = (VecDeque::new(), VecDeque::new());
        while let Some(entry) = oio::List::next(&mut self.inner).await? {
            let to_first =
                entry.path().starts_with(".holdall-probe/") || first.len() <= second.len();
            if to_first { first.push_back(entry) } else { second.push_back(entry) }
        }
        first.append(&mut second);
        Ok(first)
    }
}

impl oio::List for Names {
    async fn next(&mut self) -> Result<Option<oio::Entry>> {
        if self.wrong == Wrong::ListsMixed {
            if self.mixed.is_none() {
                self.mixed = Some(self.mix().await?);
            }
            return Ok(self.mixed.as_mut().and_then(VecDeque::pop_front));
        }
        let entry = oio::List::next(&mut self.inner).await?;
        let entry = entry.filter(|_| self.wrong != Wrong::ListsNothing);
        Ok(entry.map(|entry| match self.wrong {
            Wrong::ListsNoSizes if !entry.mode().is_dir() => {
                oio::Entry::new(entry.path(), MetadataBuilder::unknown().build())
            }
            _ => entry,
        }))
    }
}

pub(crate) struct Remover {
    inner: oio::Deleter,
    wrong: Wrong,
}

impl oio::Delete for Remover {
    async fn delete(&mut self, path: &str, args: OpDelete) -> Result<()> {
        if self.wrong == Wrong::MissesWhatItRemoves {
            return Err(Error::new(ErrorKind::NotFound, "there is no such thing"));
        }
        oio::Delete::delete(&mut self.inner, path, args).await
    }

    async fn close(&mut self) -> Result<()> {
        oio::Delete::close(&mut self.inner).await
    }
}
