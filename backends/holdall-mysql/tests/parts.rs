//! Large values, which are in parts: their edges, ranges, and that no part outlives its row.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "writers are spawned and dropped on purpose")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, ErrorKind, Expect, Key, List, Object, Op,
    Revision,
};
use holdall_mysql::{Config, Mysql};
use holdall_services::{MARIADB, start};
use support::{Database, ask, key, server};

/// The size of a part.
const PART: usize = 256 << 10;

async fn open(config: Config) -> Mysql {
    Mysql::open(config, &holdall_runtime::env()).await.unwrap()
}

/// Bytes that are in no other place alike, with all that mean something in a text.
fn value(size: usize) -> Bytes {
    (0..size).map(|at| (at * 31 + at / 251 + at / 65_537) as u8).collect::<Vec<u8>>().into()
}

/// How many parts there are on the server, having seen that each is one of its row's, and that
/// rows have all of theirs.
fn parts(database: &Database) -> usize {
    let counted = "select (select count(*) from holdall_parts), \
         (select coalesce(sum(ceil(size / 262144)), 0) from holdall where parts is not null), \
         (select count(*) from holdall_parts p join holdall t on t.k = p.k \
          and t.parts = p.revision and t.revision = t.parts \
          and number < ceil(size / 262144) where v = '')";
    // One statement sees one moment.
    let counted = ask(database.port, &format!("use {}; {counted}", database.name));
    let numbers: Vec<usize> = counted.split('\t').map(|number| number.parse().unwrap()).collect();
    assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
    numbers[0]
}

async fn get(mysql: &Mysql, name: &Key, start: usize, end: usize) -> Object {
    mysql.get(name, ByteRange::new(start as u64, end as u64)).await.unwrap().unwrap()
}

/// Sees that the value is there by every way of reading.
async fn reads(mysql: &Mysql, name: &Key, expected: &Bytes, revision: &Revision) {
    let whole = mysql.get_all(name).await.unwrap().unwrap();
    assert!(whole.value == expected, "{} bytes", expected.len());
    assert_eq!((whole.size, &whole.revision), (expected.len() as u64, revision));
    let found = mysql.get_many(&[key("missing"), name.clone(), name.clone()]).await.unwrap();
    assert!(found == [None, Some(whole.clone()), Some(whole.clone())]);
    let page = mysql.list(&List::prefix(name.as_str()).with_values()).await.unwrap();
    // Others may begin as it does; it is the first of them.
    assert!(page.rows[0].key == *name && page.rows[0].object == Some(whole));
    let page = mysql.list(&List::prefix(name.as_str())).await.unwrap();
    assert_eq!((&page.rows[0].key, page.rows[0].size), (name, expected.len() as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn values_at_the_edges_of_parts_come_back() {
    let small = server(&["--max-allowed-packet=524288"]);
    let middle = server(&["--max-allowed-packet=2097152"]);
    for (database, most) in [
        (Database::on(small.port), PART + PART / 2),
        (Database::on(middle.port), 7 * PART + PART / 2),
        (Database::shared(), 18 * PART),
    ] {
        let mysql = open(database.config()).await;
        let sizes = [1, 2, 7, 8, 9, 16, 17].map(|count| count * PART);
        let sizes = sizes.into_iter().flat_map(|size| [size - 1, size, size + 1]);
        for size in sizes.filter(|size| *size <= most) {
            let count = if size > PART { size.div_ceil(PART) } else { 0 };
            let value = value(size);
            let revision = mysql.put(&key("put"), value.clone(), Expect::Any).await.unwrap();
            assert_eq!(parts(&database), count, "{size}");
            reads(&mysql, &key("put"), &value, &revision).await;
            let mut batch = Batch::new();
            batch.put(key("beside"), "x", Expect::Any);
            batch.put(key("batch"), value.clone(), Expect::Absent);
            batch.delete(key("put"), Expect::Revision(revision));
            let revision = mysql.apply(batch).await.unwrap();
            assert_eq!(parts(&database), count, "{size}");
            reads(&mysql, &key("batch"), &value, &revision).await;
            mysql.delete(&key("batch"), Expect::Revision(revision)).await.unwrap();
            assert_eq!(parts(&database), 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_begin_and_end_anywhere() {
    let database = Database::shared();
    let mysql = open(database.config()).await;
    let size = 3 * PART + 1000;
    let value = value(size);
    let name = key("a");
    mysql.put(&name, value.clone(), Expect::Any).await.unwrap();
    let places = [0, 1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART, size - 1, size, size + PART];
    for start in places {
        for end in places.into_iter().filter(|end| start <= *end) {
            let found = get(&mysql, &name, start, end).await;
            assert_eq!(found.size, size as u64);
            assert!(found.value == value[start.min(size)..end.min(size)], "{start}..{end}");
        }
        let found = mysql.get(&name, ByteRange::from(start as u64)).await.unwrap().unwrap();
        assert!(found.value == value[start.min(size)..], "{start}..");
    }
    let found = get(&mysql, &name, usize::MAX, usize::MAX).await;
    assert!(found.value.is_empty());
    assert!(mysql.get(&key("b"), ByteRange::new(1, 2)).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_reads_its_parts_alone_and_a_missing_part_is_damage() {
    let database = Database::shared();
    let mysql = open(database.config()).await;
    let (name, value) = (key("a"), value(3 * PART));
    mysql.put(&name, value.clone(), Expect::Any).await.unwrap();
    ask(database.port, &format!("delete from {}.holdall_parts where number = 1", database.name));
    for (start, end) in [(0, PART), (5, 10), (2 * PART, 3 * PART), (3 * PART - 1, 3 * PART)] {
        assert!(get(&mysql, &name, start, end).await.value == value[start..end], "{start}");
    }
    let range = ByteRange::new(PART as u64 - 1, PART as u64 + 1);
    for error in [
        mysql.get(&name, range).await.unwrap_err(),
        mysql.get_all(&name).await.unwrap_err(),
        mysql.get_many(std::slice::from_ref(&name)).await.unwrap_err(),
        mysql.list(&List::prefix("").with_values()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    }
    // Written again it is whole.
    let revision = mysql.put(&name, value.clone(), Expect::Any).await.unwrap();
    reads(&mysql, &name, &value, &revision).await;
    assert_eq!(parts(&database), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_replaces_a_value_removes_its_parts() {
    let database = Database::shared();
    let mysql = open(database.config()).await;
    let name = key("a");
    // Neither this nor its parts are ever touched.
    let beside = mysql.put(&key("a "), value(2 * PART), Expect::Absent).await.unwrap();
    let sizes = [10, 2 * PART, 3 * PART + 1];
    for before in sizes {
        for after in sizes {
            let (value, count) =
                (value(after), if after > PART { after.div_ceil(PART) } else { 0 });
            for (batched, conditional) in
                [(false, false), (false, true), (true, false), (true, true)]
            {
                let old = mysql.put(&name, self::value(before), Expect::Any).await.unwrap();
                let expect = if conditional { Expect::Revision(old.clone()) } else { Expect::Any };
                // What does not happen changes nothing.
                let stale = Expect::Revision(Revision::number(7));
                for expect in [stale, Expect::Absent] {
                    let op = Op::put(name.clone(), value.clone(), expect.clone());
                    let (applied, put) = tokio::join!(
                        mysql.apply(Batch { ops: vec![op] }),
                        mysql.put(&name, value.clone(), expect)
                    );
                    for error in [applied.unwrap_err(), put.unwrap_err()] {
                        assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
                        assert_eq!(error.key(), Some(&name));
                    }
                }
                reads(&mysql, &name, &self::value(before), &old).await;
                let op = Op::put(name.clone(), value.clone(), expect.clone());
                let revision = match batched {
                    true => mysql.apply(Batch { ops: vec![op] }).await.unwrap(),
                    false => mysql.put(&name, value.clone(), expect).await.unwrap(),
                };
                reads(&mysql, &name, &value, &revision).await;
                assert_eq!(parts(&database), 2 + count, "{before} {after}");
                // Checked only, it stays.
                let mut batch = Batch::new();
                batch.check(name.clone(), Expect::Revision(revision.clone()));
                batch.put(key("b"), "x", Expect::Any);
                mysql.apply(batch).await.unwrap();
                reads(&mysql, &name, &value, &revision).await;
                let expect = if conditional { Expect::Revision(revision) } else { Expect::Any };
                match batched {
                    true => {
                        let mut batch = Batch::new();
                        batch.delete(name.clone(), expect);
                        mysql.apply(batch).await.map(drop).unwrap();
                    }
                    false => mysql.delete(&name, expect).await.unwrap(),
                }
                assert!(mysql.get_all(&name).await.unwrap().is_none());
                assert_eq!(parts(&database), 2);
            }
        }
    }
    reads(&mysql, &key("a "), &value(2 * PART), &beside).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_parts_is_read_and_gets_them() {
    let database = Database::shared();
    let (port, name) = (database.port, &database.name);
    drop(open(database.config()).await);
    ask(
        port,
        &format!(
            "use {name}; drop table holdall_parts; alter table holdall drop parts; \
             insert into holdall (k, size, revision, v) values \
             ('a', 1000000, 7, concat(repeat('x', 999999), 'y')), ('b', 3, 8, 'one'), \
             ('c', 300000, 9, repeat('z', 300000))"
        ),
    );
    let opens = (0..8).map(|_| {
        let config = database.config();
        tokio::spawn(async move { open(config).await })
    });
    let mut opened = Vec::new();
    for opening in opens.collect::<Vec<_>>() {
        opened.push(opening.await.unwrap());
    }
    let mysql = &opened[3];
    let mut old = vec![b'x'; 1_000_000];
    old[999_999] = b'y';
    reads(mysql, &key("a"), &Bytes::from(old), &Revision::number(7)).await;
    assert_eq!(get(mysql, &key("a"), 999_998, 2_000_000).await.value, "xy");
    assert_eq!(parts(&database), 0);
    // Replaced they get parts, or need none, and ones that are left can be removed.
    let revision = mysql.put(&key("a"), value(2 * PART), Expect::Any).await.unwrap();
    reads(&opened[0], &key("a"), &value(2 * PART), &revision).await;
    let revision =
        mysql.put(&key("c"), value(9), Expect::Revision(Revision::number(9))).await.unwrap();
    reads(&opened[0], &key("c"), &value(9), &revision).await;
    mysql.delete(&key("b"), Expect::Revision(Revision::number(8))).await.unwrap();
    assert_eq!(parts(&database), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_parts_that_another_program_has_is_refused() {
    let database = Database::shared();
    ask(database.port, &format!("create table {}.holdall_parts (k int)", database.name));
    let error = Mysql::open(database.config(), &holdall_runtime::env()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.message().contains("holdall_parts"), "{error}");
}

/// A value that is the same byte again and again, of a size that goes with the byte.
fn uniform(byte: u8) -> Bytes {
    Bytes::from(vec![byte; PART * usize::from(byte % 5) + 1000])
}

fn is_uniform(object: &Object) -> bool {
    object.value.first().is_some_and(|byte| object.value == uniform(*byte))
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_among_writers_of_large_values_see_no_mix() {
    let database = Database::shared();
    let mysql = Arc::new(open(database.config()).await);
    let names = [key("a"), key("b")];
    let written = |byte: u8| {
        let put = |name: &Key| Op::put(name.clone(), uniform(byte), Expect::Any);
        Batch { ops: names.iter().map(put).collect() }
    };
    mysql.apply(written(0)).await.unwrap();
    let batches: Vec<Batch> = (1..40).map(written).collect();
    let writer = tokio::spawn({
        let mysql = Arc::clone(&mysql);
        async move {
            for batch in batches {
                mysql.apply(batch).await.unwrap();
            }
        }
    });
    while !writer.is_finished() {
        let whole = mysql.get_all(&names[0]).await.unwrap().unwrap();
        assert!(is_uniform(&whole));
        let part = get(&mysql, &names[0], PART - 10, PART + 10).await;
        let bytes = part.value.first().map_or(0, |byte| uniform(*byte).len());
        assert!(part.value.iter().all(|byte| *byte == part.value[0]));
        assert!(part.value.is_empty() == (part.size < PART as u64));
        assert!(part.value.is_empty() || part.size == bytes as u64);
        let found = mysql.get_many(&names).await.unwrap();
        let page = mysql.list_all("", true).await.unwrap();
        let listed = page.into_iter().map(|row| row.object).collect::<Vec<_>>();
        for objects in [found, listed] {
            let first = objects[0].clone().unwrap();
            assert!(is_uniform(&first) && objects[1].as_ref() == Some(&first));
        }
    }
    writer.await.unwrap();
    assert_eq!(parts(&database), 2 * uniform(39).len().div_ceil(PART));
}

/// Puts large and small values in turns, by puts and batches, until it is to stop or is dropped.
async fn overwrite(mysql: Arc<Mysql>, stop: Arc<AtomicBool>, mut byte: u8) {
    while !stop.load(Ordering::SeqCst) {
        let value = uniform(byte);
        let put = Op::put(key("a"), value.clone(), Expect::Any);
        let outcome = match byte % 3 {
            0 => mysql.apply(Batch { ops: vec![put] }).await,
            _ => mysql.put(&key("a"), value, Expect::Any).await,
        };
        if let Err(error) = outcome {
            let kind = error.kind();
            assert!(matches!(kind, ErrorKind::Unknown | ErrorKind::Unavailable), "{error:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        byte = byte.wrapping_add(1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_go_away_leave_no_parts_behind() {
    let database = Database::shared();
    let mysql = Arc::new(open(database.config()).await);
    mysql.put(&key("a"), uniform(4), Expect::Any).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    for round in 0..40_u8 {
        let writer = tokio::spawn(overwrite(Arc::clone(&mysql), Arc::clone(&stop), round));
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 2)).await;
        writer.abort();
        assert!(is_uniform(&mysql.get_all(&key("a")).await.unwrap().unwrap()));
        parts(&database);
    }
    // What was half-way is undone, and leaves the key free.
    mysql.put(&key("a"), uniform(3), Expect::Any).await.unwrap();
    assert_eq!(parts(&database), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_leaves_no_parts_behind() {
    let mut server = start(&MARIADB).unwrap();
    let database = Database::on(server.port);
    let mysql = Arc::new(open(database.config()).await);
    mysql.put(&key("a"), uniform(4), Expect::Any).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|round| tokio::spawn(overwrite(Arc::clone(&mysql), Arc::clone(&stop), round * 7)))
        .collect();
    for round in 0..6 {
        tokio::time::sleep(Duration::from_millis(60 + round * 17)).await;
        match round {
            2 | 5 => {
                server.kill().unwrap();
                server.restart().unwrap();
            }
            _ => drop(ask(server.port, "kill user holdall")),
        }
        parts(&database);
    }
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(is_uniform(&mysql.get_all(&key("a")).await.unwrap().unwrap()));
    mysql.delete(&key("a"), Expect::Any).await.unwrap();
    assert_eq!(parts(&database), 0);
}
