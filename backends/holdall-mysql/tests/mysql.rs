//! What the MySQL backend promises beyond the contract: bytes in batches, packets, pages, opening.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "callers are spawned and dropped on purpose")]

mod support;

use std::ops::Bound;
use std::sync::Arc;

use holdall_core::{
    Backend, BackendExt, Batch, Bytes, Description, Durability, ErrorKind, Expect, Filter, Find,
    Key, List, Op, Revision, Timestamp,
};
use holdall_mysql::{Config, Mysql};
use support::{Database, ask, key, server};

async fn open(config: Config) -> Mysql {
    Mysql::open(config, &holdall_runtime::env()).await.unwrap()
}

/// Bytes that mean something in a text of statements.
const TRICKY: [&[u8]; 8] = [
    b"'",
    b"''';DROP TABLE holdall;--",
    b"\\",
    b"\\' OR 1=1",
    b"\0\x1a\n\r\t\"`",
    b"?,?:name@x/*c*/",
    b"\xff\xfe\xc3('",
    b"",
];

#[tokio::test(flavor = "multi_thread")]
async fn bytes_come_back_from_batches_as_they_were() {
    let database = Database::shared();
    let mysql = open(database.config()).await;
    let mut batch = Batch::new();
    for (number, value) in TRICKY.into_iter().enumerate() {
        batch.put(key(format!("plain/{number}")), value, Expect::Absent);
        if let Ok(text) = std::str::from_utf8(value) {
            batch.put(key(format!("key/{text}")), format!("of {number}"), Expect::Any);
        }
    }
    for _ in 0..2 {
        mysql.apply(batch.clone()).await.unwrap();
        let keys: Vec<Key> = batch.ops.iter().map(|op| op.key().clone()).collect();
        for (op, found) in batch.ops.iter().zip(mysql.get_many(&keys).await.unwrap()) {
            let Op::Put { value, .. } = op else { panic!("only puts") };
            assert_eq!(&found.unwrap().value, value, "{op:?}");
        }
        let listed = mysql.list_all("key/''';DROP", true).await.unwrap();
        assert_eq!(listed.len(), 1);
        // The second time as replacements.
        for op in &mut batch.ops {
            if let Op::Put { expect, .. } = op {
                *expect = Expect::Any;
            }
        }
    }
    let mut batch = Batch::new();
    keys_of(&mysql).await.into_iter().for_each(|key| {
        batch.delete(key, Expect::Any);
    });
    mysql.apply(batch).await.unwrap();
    assert!(keys_of(&mysql).await.is_empty());
}

async fn keys_of(mysql: &Mysql) -> Vec<Key> {
    mysql.list_all("", false).await.unwrap().into_iter().map(|row| row.key).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_leaves_no_places_behind() {
    let database = Database::shared();
    let mysql = open(database.config()).await;
    let there = mysql.put(&key("there"), Bytes::from("old"), Expect::Absent).await.unwrap();
    let mut batch = Batch::new();
    batch.check(key("check absent"), Expect::Absent);
    batch.check(key("check any"), Expect::Any);
    batch.check(key("there"), Expect::Revision(there.clone()));
    batch.delete(key("delete absent"), Expect::Absent);
    batch.delete(key("delete any"), Expect::Any);
    batch.put(key("put"), "new", Expect::Absent);
    mysql.apply(batch.clone()).await.unwrap();
    let rows = mysql.list_all("", true).await.unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
    assert_eq!(names, ["put", "there"]);
    assert_eq!(rows[1].object.as_ref().unwrap().revision, there);
    // The same batch now conflicts, and again leaves nothing.
    let error = mysql.apply(batch).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some(&key("put"))));
    // A row that is expected and missing is not made.
    for expect in [there.clone(), Revision::number(0), Revision::text("of another")] {
        let mut batch = Batch::new();
        batch.put(key("before"), "x", Expect::Any);
        batch.put(key("missing"), "x", Expect::Revision(expect));
        let error = mysql.apply(batch).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some(&key("missing"))));
    }
    assert_eq!(keys_of(&mysql).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_are_read_at_one_moment() {
    let database = Database::shared();
    let mysql = Arc::new(open(database.config()).await);
    let keys: Vec<Key> = (0..1500).map(|number| key(format!("{number:04}"))).collect();
    let fill = |value: &str| {
        let mut batch = Batch::new();
        for key in &keys {
            batch.put(key.clone(), value.to_owned(), Expect::Any);
        }
        batch
    };
    mysql.apply(fill("0")).await.unwrap();
    let batches: Vec<Batch> = (1..8).map(|round: u32| fill(&round.to_string())).collect();
    let writer = tokio::spawn({
        let mysql = Arc::clone(&mysql);
        async move {
            for batch in batches {
                mysql.apply(batch).await.unwrap();
            }
        }
    });
    while !writer.is_finished() {
        let found = mysql.get_many(&keys).await.unwrap();
        let first = found[0].clone().unwrap();
        let same = |object: &holdall_core::Object| {
            object.value == first.value && object.revision == first.revision
        };
        assert!(found.iter().all(|object| object.as_ref().is_some_and(same)));
    }
    writer.await.unwrap();
    assert_eq!(mysql.get_all(&keys[1499]).await.unwrap().unwrap().value, "7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_the_most_steps_is_one_commit() {
    let database = Database::shared();
    let mysql = open(database.config()).await;
    let most = mysql.profile().batch_ops_max;
    let mut batch = Batch::new();
    for number in 0..most as u32 {
        let scattered = number.wrapping_mul(2_654_435_761);
        batch.put(key(format!("rows/{scattered:08x}")), vec![number as u8; 100], Expect::Absent);
    }
    let revision = mysql.apply(batch.clone()).await.unwrap();
    let rows = mysql.list_all("rows/", true).await.unwrap();
    assert_eq!(rows.len(), most);
    assert!(rows.windows(2).all(|pair| pair[0].key < pair[1].key));
    assert!(rows.iter().all(|row| row.object.as_ref().unwrap().revision == revision));
    assert_eq!(mysql.apply(batch).await.unwrap_err().kind(), ErrorKind::Conflict);
    let mut batch = Batch::new();
    for row in rows {
        batch.delete(row.key, Expect::Revision(revision.clone()));
    }
    mysql.apply(batch).await.unwrap();
    assert!(keys_of(&mysql).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_may_begin_anywhere() {
    let database = Database::shared();
    let mysql = open(database.config()).await;
    let long = "b".repeat(1024);
    for name in ["a", long.as_str(), "c"] {
        mysql.put(&key(name), Bytes::new(), Expect::Any).await.unwrap();
    }
    for (list, expected) in [
        (List::prefix("").after(""), vec!["a", &long, "c"]),
        (List::prefix(format!("{long}b")), vec![]),
        (List::prefix("").at(format!("{long}b")), vec!["c"]),
        (List::prefix("").after(format!("{long}b")), vec!["c"]),
        (List::prefix("").at(long.clone()), vec![&long, "c"]),
        (List::prefix("").after(long.clone()), vec!["c"]),
        (List { start: Bound::Included("\u{10ffff}".repeat(9999)), ..List::prefix("") }, vec![]),
    ] {
        for list in [list.clone(), list.with_values()] {
            let page = mysql.list(&list).await.unwrap();
            let found: Vec<&str> = page.rows.iter().map(|row| row.key.as_str()).collect();
            assert_eq!(found, expected, "{list:?}");
            assert!(!page.more);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_with_large_values_end_early_and_go_on() {
    let database = Database::shared();
    let mysql = open(database.config()).await;
    let value = Bytes::from(vec![7; 7 << 20]);
    for name in ["a", "b", "c", "d"] {
        mysql.put(&key(name), value.clone(), Expect::Any).await.unwrap();
    }
    let page = mysql.list(&List::prefix("").with_values()).await.unwrap();
    assert_eq!((page.rows.len(), page.more), (2, true));
    let rows = mysql.list_all("", true).await.unwrap();
    assert_eq!(rows.len(), 4);
    assert!(rows.into_iter().all(|row| row.object.unwrap().value == value));
    let page = mysql.list(&List::prefix("").with_values().limit(1)).await.unwrap();
    assert_eq!((page.rows.len(), page.more), (1, true));
    // Without values the sizes alone are read, and all have room.
    let page = mysql.list(&List::prefix("")).await.unwrap();
    assert_eq!((page.rows.len(), page.more), (4, false));
    assert!(page.rows.iter().all(|row| row.size == 7 << 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_values_and_their_ranges_come_back() {
    let database = Database::shared();
    let mysql = open(database.config()).await;
    // Above 16 MiB the protocol cuts packets.
    for size in [(16 << 20) - 40, (16 << 20) + 1, 40 << 20] {
        let value: Vec<u8> = (0..size).map(|at: u32| (at * 31 + at / 251) as u8).collect();
        let value = Bytes::from(value);
        mysql.put(&key("large"), value.clone(), Expect::Any).await.unwrap();
        assert!(mysql.get_all(&key("large")).await.unwrap().unwrap().value == value);
        let mut batch = Batch::new();
        batch.put(key("batched"), value.clone(), Expect::Any);
        mysql.apply(batch).await.unwrap();
        let end = u64::from(size);
        for (start, stop) in
            [(0, 1), (end / 2, end / 2 + 65_536), (end - 1, end), (end - 1, u64::MAX)]
        {
            let range = holdall_core::ByteRange::new(start, stop);
            let part = mysql.get(&key("batched"), range).await.unwrap().unwrap();
            let expected = value.slice(start as usize..stop.min(end) as usize);
            assert!(part.value == expected && part.size == end, "{start}..{stop} of {end}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_open_at_once_make_one_table() {
    let database = Database::shared();
    let opens = (0..8).map(|_| {
        let config = Config { min_connections: 2, ..database.config() };
        tokio::spawn(async move { open(config).await })
    });
    let opened = futures_of(opens.collect()).await;
    opened[0].put(&key("a"), Bytes::from("x"), Expect::Absent).await.unwrap();
    for mysql in &opened {
        assert_eq!(mysql.get_all(&key("a")).await.unwrap().unwrap().value, "x");
    }
}

async fn futures_of<T>(tasks: Vec<tokio::task::JoinHandle<T>>) -> Vec<T> {
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.unwrap());
    }
    done
}

/// Something told of a row.
fn told(name: &str, size: u64) -> Description {
    Description {
        volume: "v".to_owned(),
        name: name.to_owned(),
        size,
        written: Timestamp::from_micros(1_700_000_000_000_007),
        expires: Some(Timestamp::from_micros(253_402_300_799_999_999)),
        content_type: Some("text/plain".to_owned()),
        attributes: [("owner".to_owned(), "ann".to_owned())].into(),
    }
}

async fn found(mysql: &Mysql, filter: Filter) -> Vec<String> {
    let page = mysql.find(&Find { list: List::prefix(""), filter }).await.unwrap();
    page.rows.into_iter().map(|row| row.key.as_str().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_descriptions_gets_room_for_them() {
    let database = Database::shared();
    let (port, name) = (database.port, &database.name);
    ask(
        port,
        &format!(
            "create table {name}.holdall (k varbinary(1024) not null primary key, size bigint \
             unsigned not null, revision bigint unsigned not null, expected bigint unsigned null, \
             v longblob not null) engine=innodb row_format=dynamic; \
             insert into {name}.holdall values ('a', 3, 7, null, 'one')"
        ),
    );
    let opens = (0..8).map(|_| {
        let config = database.config();
        tokio::spawn(async move { open(config).await })
    });
    let opened = futures_of(opens.collect()).await;
    let object = opened[3].get_all(&key("a")).await.unwrap().unwrap();
    assert_eq!((object.value, object.revision), (Bytes::from("one"), Revision::number(7)));
    assert!(found(&opened[0], Filter::default()).await.is_empty());
    let mut batch = Batch::new();
    batch.put_described(key("a"), "two", Expect::Any, told("it\'s \"a\"", 1 << 40));
    opened[0].apply(batch).await.unwrap();
    assert_eq!(found(&opened[5], Filter::default()).await, ["a"]);

    // A person sees the same.
    let entry = "select volume, name, size, written, expires, content_type, \
                 json_value(attributes, '$.owner') from holdall_entries where name like 'it%'";
    let entry = ask(port, &format!("use {name}; {entry}"));
    let expected = "v\tit\'s \"a\"\t1099511627776\t2023-11-14 22:13:20.000007\t\
                    9999-12-31 23:59:59.999999\ttext/plain\tann";
    assert_eq!(entry, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_a_row_ends_with_it_in_every_way_of_writing() {
    let server = server(&["--max-allowed-packet=131072"]);
    let database = Database::on(server.port);
    let mysql = open(database.config()).await;
    let most = mysql.profile().value_bytes_max as usize;
    let names = ["batch", "check", "expected", "put"];
    // Quotes have to be doubled in a text; a row that no longer fits has a statement of its own.
    for value in [Bytes::from("x"), Bytes::from(vec![b'\''; most - 100])] {
        for name in names {
            let mut batch = Batch::new();
            batch.put_described(key(name), value.clone(), Expect::Any, told(name, 5));
            mysql.apply(batch).await.unwrap();
        }
        let filter = Filter { size_min: Some(5), ..Filter::default() };
        assert_eq!(found(&mysql, filter.clone()).await, names);
        let mut batch = Batch::new();
        batch.put(key("batch"), value.clone().slice(..1), Expect::Any);
        batch.check(key("absent"), Expect::Absent);
        let there = mysql.get_all(&key("check")).await.unwrap().unwrap().revision;
        batch.check(key("check"), Expect::Revision(there.clone()));
        mysql.apply(batch).await.unwrap();
        assert_eq!(found(&mysql, filter.clone()).await, ["check", "expected", "put"]);
        let there = mysql.get_all(&key("expected")).await.unwrap().unwrap().revision;
        mysql.put(&key("expected"), value.clone(), Expect::Revision(there)).await.unwrap();
        mysql.put(&key("put"), value.clone(), Expect::Any).await.unwrap();
        assert_eq!(found(&mysql, filter.clone()).await, ["check"]);
        mysql.delete(&key("check"), Expect::Any).await.unwrap();
        mysql.put(&key("check"), value, Expect::Absent).await.unwrap();
        assert!(found(&mysql, Filter::default()).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_leads_to_the_few_rows_of_a_size() {
    let database = Database::shared();
    let mysql = open(database.config()).await;
    for hundred in 0..50 {
        let mut batch = Batch::new();
        for number in hundred * 100..hundred * 100 + 100 {
            let name = format!("{number:05}");
            batch.put_described(key(&name), "x", Expect::Any, told(&name, number));
        }
        mysql.apply(batch).await.unwrap();
    }
    ask(database.port, &format!("analyze table {}.holdall", database.name));
    let asked = |what: &str| ask(database.port, &format!("use {}; {what}", database.name));
    let filter = Filter { size_min: Some(4_990), ..Filter::default() };
    let names: Vec<String> = (4_990..5_000).map(|number| format!("{number:05}")).collect();
    assert_eq!(found(&mysql, filter).await, names);
    let plan = asked(
        "explain select k, size from holdall where k >= '' and name is not null \
         and bytes >= 4990 order by k limit 1001",
    );
    assert!(plan.contains("by_bytes"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_one_database_are_apart() {
    let database = Database::shared();
    let one = open(database.config()).await;
    let two = open(Config { table: "other".to_owned(), ..database.config() }).await;
    one.put(&key("a"), Bytes::from("one"), Expect::Absent).await.unwrap();
    two.put(&key("a"), Bytes::from("two"), Expect::Absent).await.unwrap();
    assert_eq!(one.get_all(&key("a")).await.unwrap().unwrap().value, "one");
    assert_eq!(two.get_all(&key("a")).await.unwrap().unwrap().value, "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_another_program_is_refused() {
    let database = Database::shared();
    let (port, name) = (database.port, &database.name);
    let env = holdall_runtime::env();
    ask(port, &format!("create table {name}.holdall (k varbinary(1024) primary key, v longblob)"));
    let error = Mysql::open(database.config(), &env).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.message().contains("another program"), "{error}");
    drop(open(Config { table: "ours".to_owned(), ..database.config() }).await);
    // MyISAM has no transactions.
    ask(port, &format!("set sql_mode=''; alter table {name}.ours engine=Aria"));
    let config = Config { table: "ours".to_owned(), ..database.config() };
    let error = Mysql::open(config, &env).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.message().contains("InnoDB"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_can_lose_writes_is_taken_only_if_that_is_allowed() {
    let server = server(&[]);
    let database = Database::on(server.port);
    let env = holdall_runtime::env();
    assert_eq!(open(database.config()).await.profile().durability, Durability::Store);
    ask(server.port, "set global innodb_flush_log_at_trx_commit = 2");
    let error = Mysql::open(database.config(), &env).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(error.message().contains("innodb_flush_log_at_trx_commit"), "{error}");
    let config = Config { allow_unsafe_server: true, ..database.config() };
    let mysql = open(config).await;
    assert_eq!(mysql.profile().durability, Durability::Process);
    let notes = mysql.health().await.unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("innodb_flush_log_at_trx_commit")), "{notes:?}");
}

/// As much as a volume tells of an entry, in the letters that take the most room.
fn all_told(name: &str) -> Description {
    let attribute = |number: usize| (format!("{number:02}"), "\u{1}".repeat(126));
    Description {
        volume: "v".repeat(36),
        name: name.repeat(900),
        content_type: Some("'".repeat(255)),
        attributes: (0..64).map(attribute).collect(),
        ..told("", u64::MAX)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptions_at_their_limits_fit_beside_values_at_theirs() {
    let server = server(&["--max-allowed-packet=262144"]);
    let database = Database::on(server.port);
    let mysql = open(Config { max_connections: 1, ..database.config() }).await;
    let longest = key("'".repeat(1024));
    let value = Bytes::from(vec![b'\''; mysql.profile().batch_bytes_max as usize - 1024]);
    let filter =
        Filter { attributes: [("63".to_owned(), "\u{1}".repeat(126))].into(), ..Filter::default() };
    for expect in [Expect::Absent, Expect::Any] {
        let mut batch = Batch::new();
        batch.put_described(longest.clone(), value.clone(), expect, all_told("'"));
        mysql.apply(batch).await.unwrap();
        assert!(mysql.get_all(&longest).await.unwrap().unwrap().value == value);
        assert_eq!(found(&mysql, filter.clone()).await, [longest.as_str()]);
    }
    // Many, of which a packet holds few.
    let mut batch = Batch::new();
    for number in 0..50 {
        let value = value.slice(..1000);
        batch.put_described(key(format!("{number:02}")), value, Expect::Absent, all_told("'"));
    }
    mysql.apply(batch).await.unwrap();
    assert_eq!(found(&mysql, filter.clone()).await.len(), 51);

    // More than any volume tells.
    let mut more = all_told("'");
    more.attributes.insert("more".to_owned(), "\u{1}".repeat(40_000));
    for value in [value, Bytes::from("small")] {
        let mut batch = Batch::new();
        batch.put(key("beside"), "x", Expect::Any);
        batch.put_described(longest.clone(), value, Expect::Any, more.clone());
        let error = mysql.apply(batch).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        assert!(mysql.get_all(&key("beside")).await.unwrap().is_none());
        assert_eq!(found(&mysql, filter.clone()).await.len(), 51);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_packets_are_respected_at_their_edge() {
    const PACKET: u64 = 256 << 10;
    let server = server(&["--max-allowed-packet=262144"]);
    let database = Database::on(server.port);
    let mysql = open(Config { max_connections: 1, ..database.config() }).await;
    let most = mysql.profile().value_bytes_max as usize;
    assert_eq!(most as u64, PACKET - (64 << 10));
    let longest = key("k".repeat(1024));
    // Quotes are what a text has to double, so these bytes are the worst.
    for byte in [b'x', b'\'', 0] {
        let value = Bytes::from(vec![byte; most]);
        for expect in [Expect::Absent, Expect::Any] {
            mysql.put(&longest, value.clone(), expect).await.unwrap();
            assert!(mysql.get_all(&longest).await.unwrap().unwrap().value == value);
        }
        mysql.delete(&longest, Expect::Any).await.unwrap();
        let mut batch = Batch::new();
        batch.put(key("large"), value.slice(..most - 100), Expect::Any);
        batch.put(key("small"), vec![byte; 50], Expect::Any);
        mysql.apply(batch).await.unwrap();
        assert!(mysql.get_all(&key("large")).await.unwrap().unwrap().value == value[..most - 100]);
        let mut batch = Batch::new();
        for number in 0..10 {
            batch.put(key(format!("part/{number}")), value.slice(..most / 11), Expect::Any);
        }
        mysql.apply(batch).await.unwrap();
        assert_eq!(mysql.list_all("part/", true).await.unwrap().len(), 10);
    }
    let value = Bytes::from(vec![0; most + 1]);
    let error = mysql.put(&longest, value, Expect::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    // More keys than one packet holds, in reads, batches and conflicts.
    let keys: Vec<Key> =
        (0..100).map(|number| key(format!("{number:02}{}", "'".repeat(1000)))).collect();
    let mut batch = Batch::new();
    keys.iter().for_each(|key| {
        batch.put(key.clone(), "x", Expect::Absent);
    });
    let revision = mysql.apply(batch.clone()).await.unwrap();
    assert!(mysql.get_many(&keys).await.unwrap().iter().all(Option::is_some));
    let error = mysql.apply(batch).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some(&keys[0])));
    let mut batch = Batch::new();
    for key in &keys {
        batch.delete(key.clone(), Expect::Revision(revision.clone()));
    }
    batch.delete(key("part/0"), Expect::Revision(revision));
    let error = mysql.apply(batch.clone()).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some(&key("part/0"))));
    assert!(mysql.get_many(&keys).await.unwrap().iter().all(Option::is_some));
    batch.ops.pop();
    mysql.apply(batch).await.unwrap();
    assert!(mysql.get_many(&keys).await.unwrap().iter().all(Option::is_none));

    // The server takes less from now on: new connections notice before they send.
    ask(server.port, "set global max_allowed_packet = 65536");
    ask(server.port, "kill user holdall");
    let put = mysql.put(&longest, Bytes::from(vec![0; most]), Expect::Any).await;
    let again = mysql.put(&longest, Bytes::from(vec![0; most]), Expect::Any).await;
    let error = put.and(again).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Unknown), "{error:?}");
    let error = mysql.put(&longest, Bytes::from(vec![0; most]), Expect::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.message().contains("max_allowed_packet"), "{error}");
    assert!(mysql.get_all(&longest).await.unwrap().is_none());
    mysql.put(&longest, Bytes::from("small"), Expect::Absent).await.unwrap();
}
