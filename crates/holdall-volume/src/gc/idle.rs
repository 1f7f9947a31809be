//! Chunks that nothing has named for longer than the grace lose their rows. Their bytes stay where
//! they are until their segment goes.

use holdall_core::{Key, Result, Timestamp};

use super::pages::Pages;
use super::{GoOn, Pass, Steps, numbered};
use crate::commit::Maintain;
use crate::format::chunk::{ChunkId, ChunkRow, Node, decode_list};
use crate::format::row;

/// Drops idle chunks. A list that goes takes a reference from each chunk it lists; what gets idle
/// by that has a grace of its own.
pub(super) async fn drop_chunks(pass: &mut Pass<'_>) -> Result<GoOn> {
    let class = pass.context.keys.class('i');
    let mut pages = Pages::keys(class.clone());
    let mut steps = Steps::default();
    'pages: while let Some(rows) = pages.next(pass.catalog.as_ref()).await? {
        let mut due: Vec<(ChunkId, Timestamp)> = Vec::with_capacity(rows.len());
        let mut younger = false;
        for listed in &rows {
            let (since, _) = numbered(&listed.key, &class)?;
            let since = Timestamp::from_micros(since);
            if !pass.is_over(since) {
                younger = true;
                break;
            }
            due.extend(pass.context.keys.chunk_id(&listed.key).map(|id| (id, since)));
        }
        let keys: Vec<Key> = due.iter().map(|(id, _)| pass.context.keys.chunk(id)).collect();
        let chunks = pass.catalog.get_many(&keys).await?;
        for ((id, since), (key, object)) in due.into_iter().zip(keys.iter().zip(chunks)) {
            let chunk: Option<ChunkRow> =
                object.map(|object| row::decode(key, &object.value)).transpose()?;
            let Some(chunk) = chunk.filter(|chunk| chunk.idle_since == Some(since)) else {
                continue;
            };
            let children = children(pass, id, chunk.level).await?;
            pass.report.chunks_dropped += 1;
            let changed = 3 + 2 * children.len();
            steps.add(pass, Maintain::DropIdle { id, since, children }, changed).await?;
        }
        // What has got idle by this comes behind, and is old enough if there is no grace.
        steps.commit(pass).await?;
        if younger || !pass.go_on() {
            break 'pages;
        }
    }
    Ok(pass.go_on())
}

/// The chunks that a list names, each as often as it does; none for bytes of entries.
async fn children(pass: &Pass<'_>, id: ChunkId, level: u8) -> Result<Vec<ChunkId>> {
    if level == 0 {
        return Ok(Vec::new());
    }
    let node = Node { id, bytes: 0, level };
    let nodes = decode_list(&pass.reader.chunk(&node).await?)?;
    Ok(nodes.into_iter().map(|node| node.id).collect())
}
