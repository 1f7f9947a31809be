//! A Parquet file in a volume: written as it comes, and read in ranges.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use common::store;
use futures::TryStreamExt;
use holdall_volume::format::policy::Policy;
use object_store::buffered::{BufReader, BufWriter};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::RowSelection;
use parquet::arrow::{AsyncArrowWriter, ParquetRecordBatchStreamBuilder};
use parquet::file::properties::WriterProperties;

const ROWS: usize = 2_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_table_comes_back_whole_and_in_part() {
    let store: Arc<dyn ObjectStore> = Arc::new(store(Policy::default()).await);
    let path = Path::from("table.parquet");
    let value = |row: usize| (row as i64).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64);
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values((0..ROWS).map(value)));
    let batch = RecordBatch::try_from_iter([("value", column)]).unwrap();
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(Some(200_000))
        .build();
    let writer = BufWriter::new(Arc::clone(&store), path.clone());
    let mut writer = AsyncArrowWriter::try_new(writer, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).await.unwrap();
    writer.close().await.unwrap();
    // More than one part of the upload.
    let meta = store.head(&path).await.unwrap();
    assert!(meta.size > 15_000_000);

    let reader = || BufReader::new(Arc::clone(&store), &meta);
    let builder = ParquetRecordBatchStreamBuilder::new(reader()).await.unwrap();
    let whole: Vec<RecordBatch> = builder.build().unwrap().try_collect().await.unwrap();
    let numbers = |batches: &[RecordBatch]| -> Vec<i64> {
        let columns = batches.iter().map(|batch| batch.column(0).as_primitive::<Int64Type>());
        columns.flat_map(|column| column.values().to_vec()).collect()
    };
    assert_eq!(numbers(&whole), (0..ROWS).map(value).collect::<Vec<_>>());

    let rows = RowSelection::from_consecutive_ranges(std::iter::once(1_234_567..1_234_667), ROWS);
    let builder = ParquetRecordBatchStreamBuilder::new(reader()).await.unwrap();
    let part = builder.with_row_selection(rows).build().unwrap();
    let part: Vec<RecordBatch> = part.try_collect().await.unwrap();
    assert_eq!(numbers(&part), (1_234_567..1_234_667).map(value).collect::<Vec<_>>());
}
