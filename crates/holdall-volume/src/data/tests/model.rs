//! Random operations against plain bytes.

use std::sync::Arc;

use bytes::Bytes;
use holdall_testkit::{Chance, sim::simulate};

use super::super::Ingest;
use super::{Bed, KIB, MIB, ZSTD, in_pieces, noise, text};

fn value(chance: &mut Chance) -> Bytes {
    let seed = chance.below(6);
    let size = match chance.below(4) {
        0 => chance.below(2 * KIB as u64),
        1 => chance.below(300 * KIB as u64),
        2 => 256 * KIB as u64 + chance.below(3),
        _ => chance.below(3 * MIB as u64),
    };
    if chance.below(2) == 0 { noise(seed, size as usize) } else { text(seed, size as usize) }
}

#[test]
fn whatever_is_stored_in_whatever_way_comes_back() {
    for seed in 0..12 {
        simulate(seed, |env| async move {
            let mut chance = Chance::new(seed);
            let bed = Bed::new(env);
            let mut kept = Vec::new();
            for _ in 0..10 {
                let bytes = value(&mut chance);
                match chance.below(3) {
                    0 => kept.push((bed.store_committed(bytes.clone()).await, bytes)),
                    1 => {
                        let values: Vec<Bytes> =
                            (0..chance.below(9)).map(|_| value(&mut chance)).collect();
                        let wanted = values.iter().map(|value| (None, value.clone())).collect();
                        let stored = bed.packer.store_many(wanted, ZSTD).await.unwrap();
                        for one in &stored {
                            bed.commit(one).await;
                        }
                        kept.extend(stored.into_iter().zip(values));
                    }
                    _ => {
                        let packer = Arc::clone(&bed.packer);
                        let piece = 1 + chance.below(200_000) as usize;
                        let source = in_pieces(bytes.clone(), piece);
                        let mut ingest = Ingest::new(packer, source, ZSTD, None);
                        let mut nodes = Vec::new();
                        let part_bytes = 1 + chance.below(MIB as u64);
                        while let Some(part) = ingest.next_part(part_bytes).await.unwrap() {
                            bed.commit(&part).await;
                            nodes.extend(part.nodes);
                        }
                        let (_, digest) = ingest.finish();
                        let whole = bed.packer.join(nodes, digest, ZSTD, None).await.unwrap();
                        bed.commit(&whole).await;
                        kept.push((whole, bytes));
                    }
                }
            }
            for (stored, bytes) in kept {
                bed.check(&stored, &bytes).await;
            }
        });
    }
}
