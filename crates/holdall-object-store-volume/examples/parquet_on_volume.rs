//! Writes a table as a Parquet file into a volume, and reads some rows and one column of it.
//!
//! DataFusion, Delta and Lance take the same `Arc<dyn ObjectStore>`; with DataFusion it is
//! `context.register_object_store(&url, store)`.
#![allow(clippy::print_stdout, reason = "an example for the terminal")]

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use futures::TryStreamExt;
use holdall_core::{Backend, Memory};
use holdall_object_store_volume::VolumeStore;
use holdall_volume::format::policy::Policy;
use holdall_volume::{Resources, Volume};
use object_store::buffered::{BufReader, BufWriter};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::RowSelection;
use parquet::arrow::{AsyncArrowWriter, ParquetRecordBatchStreamBuilder, ProjectionMask};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Any two backends do; a program with the facade takes `engine.volume("tables")`.
    let backend: Arc<dyn Backend> = Arc::new(Memory::new());
    let resources = Resources {
        env: holdall_runtime::env(),
        catalog: Arc::clone(&backend),
        data: backend.into(),
        holder: "an example".to_owned(),
    };
    let volume = Volume::create(resources, "tables", Policy::default()).await?;
    let store: Arc<dyn ObjectStore> = Arc::new(VolumeStore::new(volume));
    let path = Path::from("sales/2026.parquet");

    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100_000));
    let names = (0..100_000).map(|number| format!("row {number}"));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(names));
    let batch = RecordBatch::try_from_iter([("number", numbers), ("name", names)])?;
    let writer = BufWriter::new(Arc::clone(&store), path.clone());
    let mut writer = AsyncArrowWriter::try_new(writer, batch.schema(), None)?;
    writer.write(&batch).await?;
    writer.close().await?;

    let meta = store.head(&path).await?;
    let reader = BufReader::new(store, &meta);
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await?;
    let columns = ProjectionMask::leaves(builder.parquet_schema(), [0]);
    let rows = RowSelection::from_consecutive_ranges(std::iter::once(500..510), 100_000);
    let builder = builder.with_projection(columns).with_row_selection(rows);
    let batches: Vec<RecordBatch> = builder.build()?.try_collect().await?;
    for batch in &batches {
        let numbers = batch.column(0).as_primitive::<Int64Type>();
        println!("{:?}", numbers.values());
    }
    Ok(())
}
