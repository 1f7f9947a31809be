//! What happens when puts fail, their outcome is unknown, stores are dropped or bytes damaged.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use holdall_core::{BackendExt, ErrorKind, Expect, Memory};
use holdall_testkit::sim::simulate;
use holdall_testkit::{Fault, Faulty, Method, Plan, Strict};

use super::{Bed, KIB, MIB, ZSTD, kind, noise, settings};
use crate::format::frame::HEADER_BYTES;
use crate::format::policy::Compression;

fn faulty(bed_env: holdall_core::Env, plan: Plan) -> (Bed, Faulty) {
    let data = Faulty::new(Arc::new(Memory::new()), bed_env.clone(), plan);
    (Bed::on(bed_env, Arc::new(data.clone()), settings()), data)
}

#[test]
fn a_failed_put_fails_all_who_share_it_and_nobody_else() {
    simulate(1, |env| async move {
        // The first store's flush is put alone, the second put carries the others.
        let plan = Plan::new(1)
            .chance(Method::Put, Fault::Slow(Duration::from_millis(9)), 1000)
            .at(Method::Put, 2, Fault::NoSpace);
        let (bed, _) = faulty(env, plan);
        let results = join_all((0..20).map(|n| bed.store(noise(n, 20 * KIB)))).await;
        let failed = results.iter().filter(|r| r.is_err()).count();
        assert!((1..20).contains(&failed), "{failed}");
        for (n, result) in results.into_iter().enumerate() {
            let bytes = noise(n as u64, 20 * KIB);
            let stored = match result {
                Ok(stored) => stored,
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::Full);
                    // The failed segment's chunks are forgotten: they are stored anew.
                    bed.store(bytes.clone()).await.unwrap()
                }
            };
            bed.commit(&stored).await;
            bed.check(&stored, &bytes).await;
        }
    });
}

#[test]
fn an_unknown_put_that_happened_is_a_success() {
    simulate(2, |env| async move {
        let (bed, data) = faulty(env, Plan::new(1).at(Method::Put, 1, Fault::FailAfter));
        let bytes = noise(1, 30 * KIB);
        let stored = bed.store_committed(bytes.clone()).await;
        assert_eq!(data.injected().len(), 1);
        bed.check(&stored, &bytes).await;
    });
}

#[test]
fn an_unknown_put_that_did_not_happen_fails_and_its_name_is_not_used_again() {
    for fault in [Fault::RequestLost, Fault::LandsLate(2), Fault::TornWrite] {
        simulate(3, |env| async move {
            let (bed, _) = faulty(env, Plan::new(1).at(Method::Put, 1, fault));
            let bytes = noise(1, 30 * KIB);
            let error = bed.store(bytes.clone()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{fault:?}");
            let stored = bed.store_committed(bytes.clone()).await;
            assert_eq!(stored.segments[0].id.counter, 2);
            bed.check(&stored, &bytes).await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_closes_the_writer_and_harms_nothing() {
    let bed = Bed::new(holdall_runtime::env());
    let id = crate::format::segment::SegmentId { epoch: 5, counter: 1 };
    let key = bed.context.data_keys.segment(id);
    bed.context.data.put(&key, "another's".into(), Expect::Absent).await.unwrap();
    assert_eq!(kind(bed.store(noise(1, KIB)).await), Some(ErrorKind::Closed));
    assert_eq!(bed.context.data.get_all(&key).await.unwrap().unwrap().value, "another's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_without_conditions_takes_segments() {
    let data =
        Strict::new().with_conditions(holdall_core::Conditions::None).with_value_bytes_max(6 << 20);
    let bed = Bed::on(holdall_runtime::env(), Arc::new(data), settings());
    let bytes = noise(1, 3 * MIB);
    let stored = bed.store_committed(bytes.clone()).await;
    bed.check(&stored, &bytes).await;
}

#[test]
fn dropped_stores_hold_up_nobody() {
    for seed in 0..12 {
        simulate(seed, |env| async move {
            let plan =
                Plan::new(seed).chance(Method::Put, Fault::Slow(Duration::from_millis(20)), 500);
            let (bed, _) = faulty(env.clone(), plan);
            for round in 0..12 {
                let long = bed.store(noise(seed * 100 + round, 9 * MIB));
                let small = bed.store(noise(seed * 100 + round + 50, 20 * KIB));
                let moment = env.sleep(Duration::from_micros(env.random_below(30_000)));
                let both = futures::future::join(long, small);
                futures::select! { _ = moment.fuse() => {}, _ = both.fuse() => {} }
            }
            let bytes = noise(seed + 7_000, 9 * MIB);
            let stored = bed.store_committed(bytes.clone()).await;
            bed.check(&stored, &bytes).await;
            // What the dropped ones held was given back.
            while bed.packer.blocks.try_acquire(10).is_none() {
                env.sleep(Duration::from_millis(50)).await;
            }
            assert!(bed.packer.small.try_acquire(16 * MIB).is_some());
        });
    }
}

#[test]
fn storms_lose_nothing_that_was_stored() {
    for seed in 0..10 {
        simulate(seed, |env| async move {
            let (bed, data) = faulty(env, Plan::stormy(seed));
            let mut kept = Vec::new();
            for round in 0..4 {
                let values: Vec<_> =
                    (0..6).map(|n| noise(seed + round * 10 + n, 700 * KIB)).collect();
                let results = join_all(values.iter().map(|value| bed.store(value.clone()))).await;
                for (value, result) in values.into_iter().zip(results) {
                    match result {
                        Ok(stored) => kept.push((value, stored)),
                        Err(e) => assert!(
                            matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Full),
                            "{e:?}"
                        ),
                    }
                }
            }
            data.pause();
            for (value, stored) in kept {
                bed.commit(&stored).await;
                bed.check(&stored, &value).await;
            }
        });
    }
}

/// Every kind of damage to any frame is noticed and named, unless the bytes are right all the same.
#[tokio::test(flavor = "multi_thread")]
async fn damage_to_any_frame_is_noticed() {
    let bed = Bed::new(holdall_runtime::env());
    let mut stored = Vec::new();
    for (n, compression) in [Compression::None, Compression::Lz4, ZSTD].into_iter().enumerate() {
        let text = super::text(n as u64, 2 * MIB);
        let source = super::in_pieces(text.clone(), 50_000);
        let one = bed.packer.store(source, compression, None).await.unwrap();
        bed.commit(&one).await;
        stored.push((one, text));
    }
    for (one, text) in &stored {
        for chunk in &one.chunks {
            let place = chunk.place.unwrap();
            let key = bed.context.data_keys.segment(place.segment);
            let whole = bed.context.data.get_all(&key).await.unwrap().unwrap().value;
            let end = place.frame_at + place.frame_bytes;
            let header_end = place.frame_at + HEADER_BYTES as u32;
            for at in [place.frame_at, header_end - 1, header_end + 10, end - 1] {
                let mut damaged = whole.to_vec();
                damaged[at as usize] ^= 16;
                bed.context.data.put(&key, damaged.into(), Expect::Any).await.unwrap();
                if at == header_end - 1 {
                    // The frame's own checksum is for whoever reads frames without their chunks.
                    assert!(bed.read(one).await.unwrap() == text);
                    continue;
                }
                let error = bed.read(one).await.map(|_| "bytes").unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt);
                for part in [place.segment.to_string(), chunk.id.to_string(), "verify".to_owned()] {
                    assert!(error.message().contains(&part), "{error} lacks {part}");
                }
            }
            bed.context.data.put(&key, whole.slice(..100), Expect::Any).await.unwrap();
            assert_eq!(kind(bed.read(one).await), Some(ErrorKind::Corrupt));
            bed.context.data.delete(&key, Expect::Any).await.unwrap();
            let error = bed.read(one).await.unwrap_err();
            assert!(error.message().contains("missing"), "{error}");
            bed.context.data.put(&key, whole, Expect::Any).await.unwrap();
        }
        bed.read(one).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_without_a_row_is_named() {
    let bed = Bed::new(holdall_runtime::env());
    let stored = bed.store(noise(1, KIB)).await.unwrap();
    let error = bed.read(&stored).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains(&stored.chunks[0].id.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_points_to_other_bytes_is_noticed() {
    let bed = Bed::new(holdall_runtime::env());
    let first = bed.store_committed(noise(1, KIB)).await;
    let second = bed.store_committed(noise(2, KIB)).await;
    let place = second.chunks[0].place.unwrap();
    let row = crate::format::chunk::ChunkRow { place, level: 0, references: 1, idle_since: None };
    bed.put_row(&first.chunks[0].id, &row).await;
    assert_eq!(kind(bed.read(&first).await), Some(ErrorKind::Corrupt));
    let mut pieces = bed.reader.stream(first.nodes, 0..10).boxed();
    assert!(pieces.next().await.unwrap().is_err());
}
