//! Every way in which a backend is broken here, chapter by chapter of the contract.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::atomic::Ordering;

use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Conditions, Description, Error, ErrorKind,
    Expect, Filter, Find, Health, Key, List, Object, Op, Operation, Page, Revision, Row, Timestamp,
};
use holdall_testkit::suspend;

use super::store::{Answer, Breaker, Call, conflict, is_found_out, refusal};

/// Makes the table, and one test for each of its rows.
///
/// A row: its name; in how many more orders to try it, if that needs a race; the numbers of exactly
/// the clauses that it breaks; what is wrong with its profile; and the calls that are answered
/// otherwise than `honest` does, as the arms of a `match`.
macro_rules! broken {
    ($(
        $name:ident $(in $orders:literal more orders)? breaks [$($id:literal)*]
            $(with |$profile:ident| $change:block)? by |$store:ident| { $($arms:tt)* }
    )*) => {
        /// All of them.
        #[allow(unreachable_patterns, reason = "some rows answer every call otherwise")]
        pub(crate) static BREAKERS: &[Breaker] = &[$(
            Breaker {
                name: stringify!($name),
                breaks: &[$($id),*],
                orders: 1 $(+ $orders)?,
                profile: |_profile| { $(let $profile = _profile; $change)? },
                answer: |$store, call| Box::pin(async move {
                    match call { $($arms)* call => $store.honest(call).await }
                }),
            },
        )*];

        mod suite_finds {
            $(
                #[test]
                fn $name() {
                    let named = |breaker: &&super::Breaker| breaker.name == stringify!($name);
                    super::is_found_out(super::BREAKERS.iter().find(named).unwrap());
                }
            )*
        }
    };
}

broken! {
    // What all the others are wrapped round.
    nothing in 3 more orders breaks [] by |store| {}

    // Keys

    keys_take_a_capital_for_a_small_letter breaks ["K1" "K2"] by |store| {
        call => store.honest(call.with_keys(|key| key.replace('X', "x"))).await,
    }
    keys_are_trimmed breaks ["K1" "K2"] by |store| {
        call => store.honest(call.with_keys(|key| key.trim_end().into())).await,
    }
    batches_take_a_capital_for_a_small_letter breaks ["K1"] by |store| {
        Call::Apply(batch) => {
            let call = Call::Apply(batch).with_keys(|key| key.replace('X', "x"));
            store.honest(call).await
        }
    }
    many_take_a_capital_for_a_small_letter breaks ["K1"] by |store| {
        Call::GetMany(keys) => {
            let call = Call::GetMany(keys).with_keys(|key| key.replace('X', "x"));
            store.honest(call).await
        }
    }
    batches_take_what_puts_refuse breaks ["K1"] by |store| {
        Call::Put(key, ..) if key.as_str().contains('|') => Err(refusal(Operation::Put)),
    }
    deletes_take_what_is_below breaks ["K2" "K3" "D3"] by |store| {
        Call::Delete(key, expect) => {
            for row in store.memory.list_all(&format!("{key}/"), false).await? {
                store.memory.delete(&row.key, Expect::Any).await?;
            }
            store.honest(Call::Delete(key, expect)).await
        }
    }
    underscores_are_refused breaks ["K1" "K4"] by |store| {
        Call::Put(key, ..) if key.as_str().contains('_') => Err(refusal(Operation::Put)),
    }

    underscores_are_refused_in_batches breaks ["K1" "K4"] by |store| {
        Call::Apply(batch) if batch.ops.iter().any(|op| op.key().as_str().contains('_')) => {
            Err(refusal(Operation::Apply))
        }
    }

    // Get

    a_missing_key_finds_the_next_one breaks ["K2" "K3" "G1"] by |store| {
        Call::Get(key, range) => {
            let mut found = store.memory.get(&key, range).await?;
            if found.is_none() {
                let next = List::prefix(key.as_str()).limit(1).with_values();
                found = store.memory.list(&next).await?.rows.pop().and_then(|row| row.object);
            }
            Ok(Answer::Found(found))
        }
    }
    sizes_fit_one_byte breaks ["K1" "K2" "G2" "G3" "M4" "P2" "P4" "L11" "B2"] by |store| {
        Call::Get(key, range) => {
            let found = store.memory.get(&key, range).await?;
            Ok(Answer::Found(found.map(|found| Object { size: found.size % 256, ..found })))
        }
    }
    ranges_are_one_byte_longer breaks ["G3" "G5"] by |store| {
        Call::Get(key, mut range) => {
            range.end = range.end.map(|end| end.saturating_add(1));
            store.honest(Call::Get(key, range)).await
        }
    }
    ranges_past_the_end_are_refused breaks ["G4"] by |store| {
        Call::Get(key, range) if range.start > 0 => {
            let found = store.memory.get(&key, range).await?;
            match found {
                Some(found) if range.start >= found.size => Err(refusal(Operation::Get)),
                found => Ok(Answer::Found(found)),
            }
        }
    }
    ranges_backwards_are_turned breaks ["G5"] by |store| {
        Call::Get(key, ByteRange { start, end: Some(end) }) if end < start => {
            store.honest(Call::Get(key, ByteRange::new(end, start))).await
        }
    }
    ranges_of_missing_keys_are_empty breaks ["G6"] by |store| {
        Call::Get(key, range) if range != ByteRange::ALL => {
            let found = store.memory.get(&key, range).await?;
            let empty = Object { value: Bytes::new(), revision: Revision::number(0), size: 0 };
            Ok(Answer::Found(found.or(Some(empty))))
        }
    }
    listings_touch_their_rows breaks ["G7" "C4"] by |store| {
        Call::List(list) if !list.values => {
            let page = store.memory.list(&list).await?;
            for row in &page.rows {
                if let Some(found) = store.memory.get_all(&row.key).await? {
                    store.memory.put(&row.key, found.value, Expect::Any).await?;
                }
            }
            Ok(Answer::Listed(page))
        }
    }

    listings_of_values_touch_their_rows breaks ["G7" "L11" "C4"] by |store| {
        Call::List(list) if list.values => {
            let page = store.memory.list(&list).await?;
            for row in &page.rows {
                if let Some(found) = store.memory.get_all(&row.key).await? {
                    store.memory.put(&row.key, found.value, Expect::Any).await?;
                }
            }
            Ok(Answer::Listed(page))
        }
    }

    // Get many

    many_are_answered_in_key_order breaks ["M1" "M2" "A1"] by |store| {
        Call::GetMany(mut keys) => {
            keys.sort();
            store.honest(Call::GetMany(keys)).await
        }
    }
    many_leave_out_what_is_missing breaks ["M1" "M2" "M4" "D1" "A1" "C2"] by |store| {
        Call::GetMany(keys) => {
            let found = store.memory.get_many(&keys).await?;
            Ok(Answer::FoundMany(found.into_iter().flatten().map(Some).collect()))
        }
    }
    a_key_asked_twice_is_answered_once breaks ["M2"] by |store| {
        Call::GetMany(keys) => {
            let mut seen = HashSet::new();
            let mut found = store.memory.get_many(&keys).await?;
            for (key, place) in keys.iter().zip(&mut found) {
                place.take_if(|_| !seen.insert(key));
            }
            Ok(Answer::FoundMany(found))
        }
    }
    asking_for_nothing_panics breaks ["M3"] by |store| {
        Call::GetMany(keys) if keys.is_empty() => unreachable!("broken on purpose"),
    }
    asking_for_nothing_is_refused breaks ["M3"] by |store| {
        Call::GetMany(keys) if keys.is_empty() => Err(refusal(Operation::Get)),
    }

    // Put

    many_are_read_from_an_old_cache breaks ["P1" "A1" "R6"] by |store| {
        Call::GetMany(keys) => {
            let mut found = Vec::new();
            for key in keys {
                let now = store.memory.get_all(&key).await?;
                found.push(store.notes().entry(key).or_insert(now).clone());
            }
            Ok(Answer::FoundMany(found))
        }
    }
    overwritten_rows_are_listed_as_they_were breaks ["P1"] by |store| {
        Call::Put(key, value, expect) => {
            let old = store.memory.get_all(&key).await?;
            let written = store.honest(Call::Put(key.clone(), value, expect)).await?;
            store.notes().insert(key, old);
            Ok(written)
        }
        Call::List(list) => {
            let mut page = store.memory.list(&list).await?;
            for row in page.rows.iter_mut().filter(|row| row.object.is_some()) {
                let old = store.notes().get(&row.key).cloned().flatten();
                row.object = old.or(row.object.take());
            }
            Ok(Answer::Listed(page))
        }
    }
    values_are_written_over_longer_ones breaks ["P2" "E9" "R4"] by |store| {
        Call::Put(key, value, expect) => {
            let mut value = Vec::from(value);
            if let Some(old) = store.memory.get_all(&key).await? {
                value.extend_from_slice(old.value.get(value.len()..).unwrap_or_default());
            }
            store.honest(Call::Put(key, value.into(), expect)).await
        }
    }
    empty_values_are_missing breaks ["G4" "P2" "P3" "E1" "E9"] by |store| {
        Call::Put(key, value, expect) if value.is_empty() => {
            store.memory.delete(&key, expect).await?;
            Ok(Answer::Written(Revision::number(0)))
        }
    }
    long_values_are_cut breaks ["P2" "P4" "B2"] by |store| {
        Call::Put(key, mut value, expect) if value.len() <= 400_000 => {
            value.truncate(65_536);
            store.honest(Call::Put(key, value, expect)).await
        }
    }
    long_values_are_cut_in_batches breaks ["P4" "B2"] by |store| {
        Call::Apply(mut batch) => {
            store.check_batch(&batch)?;
            for op in &mut batch.ops {
                if let Op::Put { value, .. } = op {
                    value.truncate(65_536);
                }
            }
            store.honest(Call::Apply(batch)).await
        }
    }
    revisions_are_lengths breaks [
        "K1" "M4" "P1" "P5" "E3" "E7" "L11" "A1" "A5" "A8" "R2" "R3"
    ] by |store| {
        Call::Get(key, range) => {
            let found = store.memory.get(&key, range).await?;
            let short = |found: Object| Object { revision: Revision::number(found.size), ..found };
            Ok(Answer::Found(found.map(short)))
        }
        Call::Put(key, value, expect) => {
            let length = value.len() as u64;
            store.honest(Call::Put(key, value, expect)).await?;
            Ok(Answer::Written(Revision::number(length)))
        }
    }
    equal_bytes_are_not_written breaks ["P6"] by |store| {
        Call::Put(key, value, Expect::Any) => {
            match store.memory.get_all(&key).await? {
                Some(old) if old.value == value => Ok(Answer::Written(Revision::number(0))),
                _ => store.honest(Call::Put(key, value, Expect::Any)).await,
            }
        }
    }
    puts_touch_what_continues_their_key breaks ["P7"] by |store| {
        Call::Put(key, value, expect) => {
            let rows = store.memory.list_all(key.as_str(), true).await?;
            for row in rows.into_iter().filter(|row| row.key != key) {
                let old = row.object.map(|object| object.value).unwrap_or_default();
                store.memory.put(&row.key, old, Expect::Any).await?;
            }
            store.honest(Call::Put(key, value, expect)).await
        }
    }

    // Expect

    absent_is_ignored breaks ["P3" "E1" "E9" "F1" "R1"] by |store| {
        Call::Put(key, value, Expect::Absent) => {
            store.honest(Call::Put(key, value, Expect::Any)).await
        }
        Call::Delete(key, Expect::Absent) => store.honest(Call::Delete(key, Expect::Any)).await,
    }
    empty_values_count_as_absent breaks ["P3" "E1" "E9"] by |store| {
        Call::Put(key, value, Expect::Absent) => match store.memory.get_all(&key).await? {
            Some(old) if old.size == 0 => store.honest(Call::Put(key, value, Expect::Any)).await,
            _ => store.honest(Call::Put(key, value, Expect::Absent)).await,
        },
        Call::Delete(key, Expect::Absent) => match store.memory.get_all(&key).await? {
            Some(old) if old.size == 0 => store.honest(Call::Delete(key, Expect::Any)).await,
            _ => store.honest(Call::Delete(key, Expect::Absent)).await,
        },
    }
    deleted_keys_are_not_absent breaks ["E2"] by |store| {
        Call::Delete(key, expect) => {
            store.memory.delete(&key, expect).await?;
            store.notes().insert(key, None);
            Ok(Answer::Deleted)
        }
        Call::Put(key, _, Expect::Absent) if store.noted(&key) => {
            Err(conflict(Operation::Put, &key))
        }
    }
    no_revision_is_current breaks ["E3" "A8" "R2"] by |store| {
        Call::Put(key, _, Expect::Revision(_)) => Err(conflict(Operation::Put, &key)),
    }
    revisions_are_ignored breaks ["E4" "E5" "E6" "E8" "R2" "R3"] by |store| {
        Call::Put(key, value, Expect::Revision(_)) => {
            store.honest(Call::Put(key, value, Expect::Any)).await
        }
        Call::Delete(key, Expect::Revision(_)) => {
            store.honest(Call::Delete(key, Expect::Any)).await
        }
    }
    deletes_take_foreign_revisions breaks ["E6"] by |store| {
        Call::Delete(key, Expect::Revision(revision)) if revision.as_text().is_some() => {
            store.honest(Call::Delete(key, Expect::Any)).await
        }
    }
    batches_take_foreign_revisions breaks ["E6"] by |store| {
        Call::Apply(mut batch) => {
            for op in &mut batch.ops {
                if let Op::Put { expect: expect @ Expect::Revision(_), .. } = op {
                    let foreign = matches!(expect, Expect::Revision(it) if it.as_text().is_some());
                    *expect = if foreign { Expect::Any } else { expect.clone() };
                }
            }
            store.honest(Call::Apply(batch)).await
        }
    }
    what_cannot_be_checked_is_written breaks [
        "E1" "E2" "E3" "E4" "E5" "E6" "E7" "E8" "E9" "A2" "A3" "A5" "A8" "F1" "R1" "R2" "R3" "R6"
        "R7" "C3"
    ]
    with |profile| { profile.conditions = Conditions::None; } by |store| {
        Call::Put(key, value, _) => store.honest(Call::Put(key, value, Expect::Any)).await,
        Call::Delete(key, _) => store.honest(Call::Delete(key, Expect::Any)).await,
    }
    deletes_of_a_revision_only_check_it breaks ["E7" "R3"] by |store| {
        Call::Delete(key, Expect::Revision(revision)) => {
            store.check(Operation::Delete, &key, &Expect::Revision(revision)).await?;
            Ok(Answer::Deleted)
        }
    }

    // Delete

    many_still_read_what_was_deleted breaks ["D1"] by |store| {
        Call::Delete(key, expect) => {
            let old = store.memory.get_all(&key).await?;
            store.memory.delete(&key, expect).await?;
            store.notes().insert(key, old);
            Ok(Answer::Deleted)
        }
        Call::GetMany(keys) => {
            let found = store.memory.get_many(&keys).await?;
            let old = |key| store.notes().get(key).cloned().flatten();
            let found = keys.iter().zip(found).map(|(key, found)| found.or_else(|| old(key)));
            Ok(Answer::FoundMany(found.collect()))
        }
    }
    deleting_a_missing_key_fails breaks ["E6" "E8" "E9" "D2" "L12" "R3"] by |store| {
        Call::Delete(key, expect) => match store.memory.get_all(&key).await? {
            Some(_) => store.honest(Call::Delete(key, expect)).await,
            None => Err(refusal(Operation::Delete)),
        },
    }
    the_write_after_a_delete_is_lost breaks ["K3" "P5" "E2" "E4" "E9" "D4" "R3"] by |store| {
        Call::Delete(key, expect) => {
            store.memory.delete(&key, expect).await?;
            store.notes().insert(key, None);
            Ok(Answer::Deleted)
        }
        Call::Put(key, value, expect) => {
            let written = store.honest(Call::Put(key.clone(), value, expect)).await?;
            let lost = store.notes().remove(&key).is_some();
            if lost {
                store.memory.delete(&key, Expect::Any).await?;
            }
            Ok(written)
        }
    }

    // List

    listings_ignore_case breaks ["K2" "L1" "L4" "L5" "L6" "L7"] by |store| {
        Call::List(list) => {
            let mut page = store.memory.list(&list).await?;
            page.rows.sort_by_key(|row| row.key.as_str().to_lowercase());
            Ok(Answer::Listed(page))
        }
    }
    listings_are_in_the_order_of_utf_16 breaks ["K2" "L1" "L4" "L5" "L6" "L7"] by |store| {
        Call::List(list) => {
            let mut page = store.memory.list(&list).await?;
            page.rows.sort_by_key(|row| row.key.as_str().encode_utf16().collect::<Vec<_>>());
            Ok(Answer::Listed(page))
        }
    }
    prefixes_leave_out_their_equal breaks ["P1" "L2" "L3" "L6"] by |store| {
        Call::List(list) => {
            let mut page = store.memory.list(&list).await?;
            page.rows.retain(|row| row.key.as_str() != list.prefix);
            Ok(Answer::Listed(page))
        }
    }
    prefixes_are_patterns breaks ["L3"] by |store| {
        Call::List(mut list) => {
            list.prefix = list.prefix.replace(['%', '_', '*'], "");
            store.honest(Call::List(list)).await
        }
    }
    excluded_starts_are_included breaks ["L4" "L6" "L7" "L8" "L12"] by |store| {
        Call::List(List { start: Bound::Excluded(start), prefix, limit, values }) => {
            let start = Bound::Included(start);
            store.honest(Call::List(List { start, prefix, limit, values })).await
        }
    }
    starts_must_exist breaks ["L5" "L6" "L12"] by |store| {
        Call::List(list) => {
            if let Bound::Included(start) | Bound::Excluded(start) = &list.start {
                let found = store.memory.list(&List::prefix(start).limit(1)).await?;
                if found.rows.first().is_none_or(|row| row.key.as_str() != start) {
                    return Err(refusal(Operation::List));
                }
            }
            store.honest(Call::List(list)).await
        }
    }
    starts_before_the_prefix_list_nothing breaks ["L6"] by |store| {
        Call::List(list) => match &list.start {
            Bound::Included(start) | Bound::Excluded(start) if *start < list.prefix => {
                Ok(Answer::Listed(Page::default()))
            }
            _ => store.honest(Call::List(list)).await,
        },
    }
    limits_are_one_too_many breaks ["L7" "L8"] by |store| {
        Call::List(mut list) if list.limit > 0 => {
            list.limit = list.limit.saturating_add(1);
            store.honest(Call::List(list)).await
        }
    }
    large_limits_are_refused breaks ["L7"] by |store| {
        Call::List(list) if list.limit > 10_000 => Err(refusal(Operation::List)),
    }
    listings_forget_their_hundredth_row breaks ["K2" "L8"] by |store| {
        Call::List(list) => {
            let mut page = store.memory.list(&list).await?;
            page.rows.drain(page.rows.len().min(99)..page.rows.len().min(100));
            Ok(Answer::Listed(page))
        }
    }
    empty_pages_say_more breaks ["L2" "L4" "L5" "L6" "L9"] by |store| {
        Call::List(list) => {
            let mut page = store.memory.list(&list).await?;
            page.more |= page.rows.is_empty();
            Ok(Answer::Listed(page))
        }
    }
    listings_of_no_rows_are_empty breaks ["L10"] by |store| {
        Call::List(list) if list.limit == 0 => Ok(Answer::Listed(Page::default())),
    }
    values_are_always_listed breaks ["L11"] by |store| {
        Call::List(list) => store.honest(Call::List(list.with_values())).await,
    }
    long_values_are_cut_in_listings breaks ["L11"] by |store| {
        Call::List(list) => {
            let mut page = store.memory.list(&list).await?;
            for object in page.rows.iter_mut().filter_map(|row| row.object.as_mut()) {
                object.value.truncate(4096);
            }
            Ok(Answer::Listed(page))
        }
    }
    rows_without_values_have_no_size breaks ["L11"] by |store| {
        Call::List(list) if !list.values => {
            let mut page = store.memory.list(&list).await?;
            page.rows.iter_mut().for_each(|row| row.size = 0);
            Ok(Answer::Listed(page))
        }
    }
    pages_after_a_deleted_key_skip_a_row breaks ["L12"] by |store| {
        Call::Delete(key, expect) => {
            store.memory.delete(&key, expect).await?;
            store.notes().insert(key, None);
            Ok(Answer::Deleted)
        }
        Call::List(list) => {
            let mut page = store.memory.list(&list).await?;
            let gone = |start: &str| store.notes().keys().any(|key| key.as_str() == start);
            if matches!(&list.start, Bound::Excluded(start) if gone(start)) {
                page.rows.drain(..page.rows.len().min(1));
            }
            Ok(Answer::Listed(page))
        }
    }
    deletes_of_long_listings_lag breaks ["L12" "L13"] by |store| {
        Call::Delete(key, expect) => {
            let many = store.memory.list(&List::prefix("")).await?.rows.len() > 8;
            store.memory.delete(&key, expect).await?;
            if many {
                store.notes().insert(key, None);
            }
            Ok(Answer::Deleted)
        }
        Call::List(list) => {
            let mut page = store.memory.list(&list).await?;
            for key in store.notes().keys().filter(|key| list.contains(key.as_str())) {
                page.rows.push(Row { key: key.clone(), size: 0, object: None });
            }
            page.rows.sort_by(|one, other| one.key.cmp(&other.key));
            Ok(Answer::Listed(page))
        }
    }

    // Apply

    many_are_read_from_a_cache_that_batches_forget breaks ["A1" "R6"] by |store| {
        Call::Put(key, value, expect) => {
            store.notes().remove(&key);
            store.honest(Call::Put(key, value, expect)).await
        }
        Call::Delete(key, expect) => {
            store.notes().remove(&key);
            store.honest(Call::Delete(key, expect)).await
        }
        Call::GetMany(keys) => {
            let mut found = Vec::new();
            for key in keys {
                let now = store.memory.get_all(&key).await?;
                found.push(store.notes().entry(key).or_insert(now).clone());
            }
            Ok(Answer::FoundMany(found))
        }
    }
    batches_forget_their_deletes breaks ["K1" "K4" "A1" "A8"] by |store| {
        Call::Apply(mut batch) => {
            store.check_batch(&batch)?;
            for op in &mut batch.ops {
                if let Op::Delete { key, expect } = op {
                    *op = Op::Check { key: key.clone(), expect: expect.clone() };
                }
            }
            store.honest(Call::Apply(batch)).await
        }
    }
    batches_without_being_atomic breaks [
        "A1" "A2" "A3" "A4" "A5" "A6" "A7" "A8" "A9" "N1" "N2" "N3" "N4" "R5" "R6" "R7" "C2"
    ] with |profile| {
        profile.atomic = false;
        profile.batch_ops_max = 0;
        profile.batch_bytes_max = 0;
    } by |store| {
        Call::Apply(batch) => Ok(Answer::Written(store.memory.apply(batch).await?)),
    }
    batches_happen_step_by_step in 40 more orders breaks [
        "A2" "A3" "A5" "A7" "A8" "R5" "R6" "R7" "C2"
    ] by |store| {
        Call::Apply(batch) => {
            store.check_batch(&batch)?;
            let mut last = Revision::number(0);
            for op in batch.ops {
                suspend().await;
                last = store.memory.apply(Batch { ops: vec![op] }).await?;
            }
            Ok(Answer::Written(last))
        }
    }
    conflicts_name_the_last_key breaks ["A3"] by |store| {
        Call::Apply(mut batch) => {
            batch.ops.reverse();
            store.honest(Call::Apply(batch)).await
        }
    }
    puts_are_checked_before_the_other_steps breaks ["A3"] by |store| {
        Call::Apply(mut batch) => {
            batch.ops.sort_by_key(|op| !matches!(op, Op::Put { .. }));
            store.honest(Call::Apply(batch)).await
        }
    }
    a_key_is_named_again_only_if_beside_itself breaks ["A4"] by |store| {
        Call::Apply(mut batch) => {
            let beside = batch.ops.windows(2).any(|two| two[0].key() == two[1].key());
            let mut seen = HashSet::new();
            batch.ops.retain(|op| seen.insert(op.key().clone()) || beside);
            store.honest(Call::Apply(batch)).await
        }
    }
    batches_drop_a_key_named_again breaks ["A4"] by |store| {
        Call::Apply(mut batch) => {
            let mut seen = HashSet::new();
            batch.ops.retain(|op| seen.insert(op.key().clone()));
            store.honest(Call::Apply(batch)).await
        }
    }
    checks_are_ignored breaks ["A2" "A3" "A5" "R7"] by |store| {
        Call::Apply(mut batch) => {
            store.check_batch(&batch)?;
            batch.ops.retain(|op| !matches!(op, Op::Check { .. }));
            store.honest(Call::Apply(batch)).await
        }
    }
    checks_hold_for_what_is_missing breaks ["A5"] by |store| {
        Call::Apply(mut batch) => {
            for op in &mut batch.ops {
                let missing = store.memory.get_all(op.key()).await?.is_none();
                if let (true, Op::Check { expect, .. }) = (missing, op) {
                    *expect = Expect::Any;
                }
            }
            store.honest(Call::Apply(batch)).await
        }
    }
    checks_alone_always_hold breaks ["A5"] by |store| {
        Call::Apply(batch) if batch.ops.iter().all(|op| matches!(op, Op::Check { .. })) => {
            store.check_batch(&batch)?;
            Ok(Answer::Written(Revision::number(0)))
        }
    }
    checks_touch_their_key breaks ["A5" "A6"] by |store| {
        Call::Apply(batch) => {
            let ops = batch.ops.clone();
            let applied = store.honest(Call::Apply(batch)).await?;
            for op in ops.iter().filter(|op| matches!(op, Op::Check { .. })) {
                if let Some(old) = store.memory.get_all(op.key()).await? {
                    store.memory.put(op.key(), old.value, Expect::Any).await?;
                }
            }
            Ok(applied)
        }
    }
    empty_batches_are_refused breaks ["A6"] by |store| {
        Call::Apply(batch) if batch.is_empty() => Err(refusal(Operation::Apply)),
    }
    batches_return_another_revision breaks ["A7" "A8"] by |store| {
        Call::Apply(batch) => {
            store.honest(Call::Apply(batch)).await?;
            Ok(Answer::Written(Revision::number(store.count.fetch_add(1, Ordering::Relaxed))))
        }
    }
    puts_in_batches_check_no_revision breaks ["E6" "A8" "R6"] by |store| {
        Call::Apply(mut batch) => {
            for op in &mut batch.ops {
                if let Op::Put { expect: expect @ Expect::Revision(_), .. } = op {
                    *expect = Expect::Any;
                }
            }
            store.honest(Call::Apply(batch)).await
        }
    }
    deletes_in_batches_check_no_revision breaks ["A8"] by |store| {
        Call::Apply(mut batch) => {
            for op in &mut batch.ops {
                if let Op::Delete { expect: expect @ Expect::Revision(_), .. } = op {
                    *expect = Expect::Any;
                }
            }
            store.honest(Call::Apply(batch)).await
        }
    }
    deletes_in_batches_need_their_key breaks ["A4" "A9"] by |store| {
        Call::Apply(batch) => {
            for op in &batch.ops {
                let missing = store.memory.get_all(op.key()).await?.is_none();
                if missing && matches!(op, Op::Delete { .. }) {
                    return Err(conflict(Operation::Apply, op.key()));
                }
            }
            store.honest(Call::Apply(batch)).await
        }
    }

    // Find

    filters_are_ignored breaks ["N1" "N2" "N3" "N4"] with |profile| {
        profile.metadata = true;
    } by |store| {
        Call::Find(find) => {
            let find = Find { filter: Filter::default(), ..find };
            store.honest(Call::Find(find)).await
        }
    }
    rows_without_descriptions_are_found breaks ["N1" "N2"] with |profile| {
        profile.metadata = true;
    } by |store| {
        Call::Find(find) if find.filter == Filter::default() => {
            store.honest(Call::List(find.list)).await
        }
    }
    descriptions_outlive_their_rows breaks ["N2"] with |profile| {
        profile.metadata = true;
    } by |store| {
        Call::Put(key, value, expect) => {
            store.check_limits(Operation::Put, &key, value.len())?;
            let all = Find { list: List::prefix(key.as_str()), filter: Filter::default() };
            let told = store.memory.find(&all).await?.rows.iter().any(|row| row.key == key);
            if !told {
                return store.honest(Call::Put(key, value, expect)).await;
            }
            let description = Description {
                volume: String::new(),
                name: String::new(),
                size: 0,
                written: Timestamp::EPOCH,
                expires: None,
                content_type: None,
                attributes: Default::default(),
            };
            let mut batch = Batch::new();
            batch.put_described(key, value, expect, description);
            Ok(Answer::Written(store.memory.apply(batch).await?))
        }
    }
    found_pages_end_early breaks ["N3"] with |profile| {
        profile.metadata = true;
    } by |store| {
        Call::Find(find) => {
            let page = store.memory.find(&find).await?;
            Ok(Answer::Listed(Page { more: false, ..page }))
        }
    }
    found_text_knows_no_capitals breaks ["N4"] with |profile| {
        profile.metadata = true;
    } by |store| {
        Call::Find(find) if find.filter.attributes.values().any(|value| value == "A") => {
            let lower = find.filter.attributes.keys().map(|name| (name.clone(), "a".to_owned()));
            let attributes = lower.collect();
            let find = Find { filter: Filter { attributes, ..find.filter }, ..find };
            store.honest(Call::Find(find)).await
        }
    }
    find_is_empty_where_it_lacks breaks ["N1" "N2" "N3" "N4"] by |store| {
        Call::Find(_) => Ok(Answer::Listed(Page::default())),
    }
    // Limits

    batches_of_eight_steps breaks ["B1"] with |profile| { profile.batch_ops_max = 8; } by |store| {}
    values_at_the_limit_are_refused breaks ["B2"] by |store| {
        Call::Put(_, value, _) if value.len() as u64 == store.profile().value_bytes_max => {
            Err(refusal(Operation::Put))
        }
    }
    values_at_the_limit_are_refused_in_batches breaks ["B2"] by |store| {
        Call::Apply(batch) if batch.bytes() as u64 >= store.profile().value_bytes_max => {
            store.check_batch(&batch)?;
            Err(refusal(Operation::Apply))
        }
    }
    values_over_the_limit_are_taken breaks ["B3"] by |store| {
        Call::Put(key, value, expect) if value.len() as u64 > store.profile().value_bytes_max => {
            Ok(Answer::Written(store.memory.put(&key, value, expect).await?))
        }
    }
    values_over_the_limit_are_taken_in_batches breaks ["B3"] by |store| {
        Call::Apply(batch) if batch.len() == 2 && batch.bytes() > 400_000 => {
            Ok(Answer::Written(store.memory.apply(batch).await?))
        }
    }
    keys_at_the_limit_are_refused breaks ["K1" "B4"] by |store| {
        Call::Put(key, ..) if key.as_bytes().len() == store.profile().key_bytes_max => {
            Err(refusal(Operation::Put))
        }
    }
    keys_over_the_limit_are_taken breaks ["B5"] by |store| {
        Call::Put(key, value, expect) if key.as_bytes().len() > store.profile().key_bytes_max => {
            Ok(Answer::Written(store.memory.put(&key, value, expect).await?))
        }
    }
    full_batches_are_refused breaks ["B6"] by |store| {
        Call::Apply(batch) if batch.len() == store.profile().batch_ops_max => {
            Err(refusal(Operation::Apply))
        }
    }
    batches_of_too_many_steps_are_taken breaks ["B7"] by |store| {
        Call::Apply(batch) if batch.len() > store.profile().batch_ops_max => {
            Ok(Answer::Written(store.memory.apply(batch).await?))
        }
    }
    batches_of_too_many_bytes_are_taken breaks ["B8"] by |store| {
        Call::Apply(batch) if batch.bytes() as u64 > store.profile().batch_bytes_max => {
            Ok(Answer::Written(store.memory.apply(batch).await?))
        }
    }

    // Errors

    conflicts_name_no_key breaks ["A3" "F1"] by |store| {
        call => match store.honest(call).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                Err(Error::conflict(error.operation(), "some key is not as expected"))
            }
            answer => answer,
        },
    }
    conflicts_of_deletes_say_put breaks ["F1"] by |store| {
        Call::Delete(key, expect) => match store.memory.delete(&key, expect).await {
            Err(_) => Err(conflict(Operation::Put, &key)),
            Ok(()) => Ok(Answer::Deleted),
        },
    }
    conflicts_are_unknown breaks ["E1" "E4" "E5" "E6" "F1" "R1" "R2" "C3"] by |store| {
        Call::Put(key, value, expect) => match store.honest(Call::Put(key, value, expect)).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                Err(error.with_kind(ErrorKind::Unknown))
            }
            answer => answer,
        },
    }
    messages_are_two_lines breaks ["F2"] by |store| {
        Call::List(list) if list.limit == 0 => {
            Err(Error::invalid(Operation::List, "the limit is 0\nask for at least 1 row"))
        }
    }
    messages_repeat_their_source breaks ["F2"] by |store| {
        Call::List(list) if list.limit == 0 => {
            Err(Error::invalid(Operation::List, "refused: limit 0").with_source("limit 0"))
        }
    }
    messages_show_values breaks ["F3"] by |store| {
        Call::Put(key, value, expect) => {
            let shown = format!("could not write {}", String::from_utf8_lossy(&value));
            let answer = store.honest(Call::Put(key.clone(), value, expect)).await;
            answer.map_err(|error| Error::new(error.kind(), Operation::Put, shown).with_key(&key))
        }
    }

    // Races

    writes_check_then_act in 40 more orders breaks ["R1" "R2" "R3"] by |store| {
        Call::Put(key, value, expect) => {
            store.check(Operation::Put, &key, &expect).await?;
            suspend().await;
            suspend().await;
            store.honest(Call::Put(key, value, Expect::Any)).await
        }
        Call::Delete(key, expect) => {
            store.check(Operation::Delete, &key, &expect).await?;
            suspend().await;
            suspend().await;
            store.honest(Call::Delete(key, Expect::Any)).await
        }
    }
    values_are_written_in_two_steps in 40 more orders breaks ["R2" "R4" "C1" "C3"] by |store| {
        Call::Put(key, value, expect) => {
            store.check_limits(Operation::Put, &key, value.len())?;
            store.memory.put(&key, value.slice(..value.len() / 2), expect).await?;
            suspend().await;
            store.honest(Call::Put(key, value, Expect::Any)).await
        }
    }
    many_are_read_one_by_one in 40 more orders breaks ["R5"] by |store| {
        Call::GetMany(keys) => {
            let mut found = Vec::new();
            for key in keys {
                found.push(store.memory.get_all(&key).await?);
                suspend().await;
            }
            Ok(Answer::FoundMany(found))
        }
    }
    batches_check_then_act in 40 more orders breaks ["R6" "R7"] by |store| {
        Call::Apply(mut batch) => {
            store.check_batch(&batch)?;
            for op in &batch.ops {
                store.check(Operation::Apply, op.key(), op.expect()).await?;
            }
            for op in &mut batch.ops {
                match op {
                    Op::Put { expect, .. } | Op::Delete { expect, .. } => *expect = Expect::Any,
                    Op::Check { expect, .. } => *expect = Expect::Any,
                }
            }
            suspend().await;
            suspend().await;
            store.honest(Call::Apply(batch)).await
        }
    }

    // Cancellation

    dropped_creates_keep_their_claim breaks ["C3"] by |store| {
        Call::Put(key, value, Expect::Absent) => {
            if store.notes().insert(key.clone(), None).is_some() {
                return Err(conflict(Operation::Put, &key));
            }
            suspend().await;
            suspend().await;
            let answer = store.honest(Call::Put(key.clone(), value, Expect::Absent)).await;
            store.notes().remove(&key);
            answer
        }
    }
    dropped_reads_keep_their_lock breaks ["C4" "C5"] by |store| {
        Call::Get(key, range) => {
            if store.notes().insert(key.clone(), None).is_some() {
                return Err(Error::unavailable(Operation::Get, "another reads this key"));
            }
            suspend().await;
            suspend().await;
            store.notes().remove(&key);
            store.honest(Call::Get(key, range)).await
        }
    }
    dropped_listings_leave_a_row breaks ["C4"] by |store| {
        Call::List(list) => {
            let page = store.memory.list(&list).await?;
            let row = Key::parse(format!("{}reading", list.prefix))?;
            store.memory.put(&row, Bytes::new(), Expect::Any).await?;
            suspend().await;
            suspend().await;
            store.memory.delete(&row, Expect::Any).await?;
            Ok(Answer::Listed(page))
        }
    }
    dropped_writes_keep_their_slot breaks ["C5"] by |store| {
        Call::Put(key, value, expect) => {
            if store.count.fetch_add(1, Ordering::Relaxed) > 30 {
                return Err(Error::unavailable(Operation::Put, "all slots are taken"));
            }
            suspend().await;
            suspend().await;
            store.count.fetch_sub(1, Ordering::Relaxed);
            store.honest(Call::Put(key, value, expect)).await
        }
    }

    // Health

    health_fails breaks ["H1" "H2"] by |store| {
        Call::Health => Err(Error::unavailable(Operation::Health, "health is not known")),
    }
    health_has_notes_of_two_lines breaks ["H1"] by |store| {
        Call::Health => {
            Ok(Answer::Healthy(Health { notes: vec!["one\ntwo".into()], ..Health::default() }))
        }
    }
    deletes_change_the_profile breaks ["H2"] by |store| {
        Call::Delete(key, expect) => {
            store.change_profile();
            store.honest(Call::Delete(key, expect)).await
        }
    }
    listings_change_the_profile breaks ["H2"] by |store| {
        Call::List(list) => {
            store.change_profile();
            store.honest(Call::List(list)).await
        }
    }
}
