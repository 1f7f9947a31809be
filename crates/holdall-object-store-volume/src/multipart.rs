//! Uploads in parts, as uploads of the volume: in any order, several at once, across restarts.

use async_trait::async_trait;
use futures::FutureExt;
use holdall_core::{Bytes, ErrorKind};
use holdall_volume::{Condition, PutOptions, Upload, Volume};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    MultipartId, MultipartUpload, PutMultipartOptions, PutPayload, PutResult, Result, UploadPart,
};

use crate::error::{Context, generic, no_upload};
use crate::{VolumeStore, attributes, name, put_result};

/// Begins an upload.
pub(crate) async fn begin(
    volume: &Volume,
    location: &Path,
    options: PutOptions,
) -> Result<Box<dyn MultipartUpload>> {
    let context = Context::read(location);
    let upload = volume.begin_upload(&name(location)?, options).await;
    let upload = upload.map_err(|error| context.turn(error))?;
    Ok(Box::new(Parts { upload, begun: 0, context }))
}

/// An upload whose parts are numbered in the order in which they are begun. Dropped without an
/// end it is aborted when its lease has run out.
#[derive(Debug)]
struct Parts {
    upload: Upload,
    begun: u32,
    context: Context,
}

#[async_trait]
impl MultipartUpload for Parts {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.begun += 1;
        let (upload, number, context) = (self.upload.clone(), self.begun, self.context.clone());
        async move {
            let put = upload.put_part(number, Bytes::from(data)).await;
            put.map(drop).map_err(|error| context.turn(error))
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let written = self.upload.parts().await.map_err(|error| self.context.turn(error))?;
        if written.len() != self.begun as usize {
            let message = format!("{} of {} parts were written", written.len(), self.begun);
            return Err(generic(message.into()));
        }
        let completed = self.upload.complete(None, Condition::Always).await;
        let completed = completed.map_err(|error| self.context.turn(error))?;
        Ok(put_result(&completed))
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await.map_err(|error| self.context.turn(error))
    }
}

impl VolumeStore {
    /// The upload of this object that has this id.
    async fn upload(&self, path: &Path, id: &MultipartId) -> Result<Upload> {
        match self.volume().resume_upload(id).await {
            Ok(upload) if upload.name().as_str() == path.as_ref() => Ok(upload),
            Ok(_) => Err(no_upload(path, "the upload is of another object".into())),
            Err(error) if error.kind() == ErrorKind::Invalid => {
                Err(no_upload(path, Box::new(error)))
            }
            Err(error) => Err(Context::read(path).turn(error)),
        }
    }
}

#[async_trait]
impl MultipartStore for VolumeStore {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.create_multipart_opts(path, PutMultipartOptions::default()).await
    }

    async fn create_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<MultipartId> {
        let options = attributes::store(&options.attributes, &options.tags)?;
        let upload = self.volume().begin_upload(&name(path)?, options).await;
        let upload = upload.map_err(|error| Context::read(path).turn(error))?;
        Ok(upload.id().to_owned())
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        // A number too large for it is refused by the volume like any other.
        let number = u32::try_from(part_idx + 1).unwrap_or(u32::MAX);
        let upload = self.upload(path, id).await?;
        let put = upload.put_part(number, Bytes::from(data)).await;
        let part = put.map_err(|error| Context::read(path).turn(error))?;
        Ok(PartId { content_id: part.digest.to_string() })
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        let upload = self.upload(path, id).await?;
        let complete = async {
            let written = upload.parts().await?;
            let named = parts.iter().zip(1..).map(|(part, number)| {
                let found = written.iter().find(|written| written.number == number);
                let found = found.filter(|found| found.digest.to_string() == part.content_id);
                found.map(|found| (found.number, found.digest))
            });
            let Some(chosen) = named.collect::<Option<Vec<_>>>() else {
                let message = "a part is missing or not the one that was written; write it again";
                return Err(holdall_core::Error::invalid(holdall_core::Operation::Put, message));
            };
            upload.complete(Some(&chosen), Condition::Always).await
        };
        let completed = complete.await.map_err(|error| Context::read(path).turn(error))?;
        Ok(put_result(&completed))
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        let aborted = self.upload(path, id).await?.abort().await;
        aborted.map_err(|error| Context::read(path).turn(error))
    }
}
