//! Volumes whose catalog is in a database: what their `find` finds, also after a rebuild, and the
//! answers of the queries in `docs/sql.md`, asked past the volume as a person would.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::Command;

use holdall::rebuild::RebuildOptions;
use holdall::{Engine, Query, Volume, WriteOptions};
use holdall_services::{MARIADB, POSTGRES, shared};

/// Name, size, content type and owner, in the order in which they are written.
const ENTRIES: [(&str, usize, Option<&str>, Option<&str>); 5] = [
    ("notes/b.txt", 2000, Some("text/plain"), Some("bob")),
    ("images/c.png", 300_000, Some("image/png"), Some("ann")),
    ("raw", 500, None, None),
    ("notes/a.txt", 10, Some("text/plain"), Some("ann")),
    ("images/d.png", 40, Some("image/png"), None),
];

/// A word that no other test uses.
fn word() -> String {
    format!("q{:016x}", u64::from_le_bytes(holdall::env().random()))
}

async fn open(catalog: &str, data: &str) -> Engine {
    Engine::builder().catalog(catalog).data(data).holder("query test").open().await.unwrap()
}

async fn fill(engine: &Engine) -> Volume {
    let volume = engine.create_volume("v").await.unwrap();
    for name in ["gone", "raw"] {
        let options = WriteOptions {
            content_type: Some("text/gone".to_owned()),
            attributes: [("owner".to_owned(), "ann".to_owned())].into(),
            ..WriteOptions::default()
        };
        engine.write("v", name, vec![1; 900_000], options).await.unwrap();
    }
    assert!(engine.delete("v", "gone").await.unwrap());
    for (name, size, content_type, owner) in ENTRIES {
        let options = WriteOptions {
            content_type: content_type.map(str::to_owned),
            attributes: owner
                .map(|owner| ("owner".to_owned(), owner.to_owned()))
                .into_iter()
                .collect(),
            ..WriteOptions::default()
        };
        engine.write("v", name, vec![size as u8; size], options).await.unwrap();
    }
    volume.seal().await.unwrap();
    volume
}

async fn found(volume: &Volume, query: Query) -> Vec<String> {
    let page = volume.find(query).await.unwrap();
    page.entries.into_iter().map(|(name, _)| name.into_string()).collect()
}

async fn finds(volume: &Volume) {
    let query = Query::default;
    let content_type = |text: &str| Query { content_type: Some(text.to_owned()), ..query() };
    let owner = |text: &str| Query {
        attributes: [("owner".to_owned(), text.to_owned())].into(),
        ..query()
    };
    for (query, names) in [
        (Query { size_min: Some(500), ..query() }, vec!["images/c.png", "notes/b.txt", "raw"]),
        (
            Query { size_min: Some(500), name: Some("*.png".to_owned()), ..query() },
            vec!["images/c.png"],
        ),
        (Query { size_max: Some(40), ..query() }, vec!["images/d.png", "notes/a.txt"]),
        (content_type("text/plain"), vec!["notes/a.txt", "notes/b.txt"]),
        (content_type("image/*"), vec!["images/c.png", "images/d.png"]),
        (content_type("text/gone"), vec![]),
        (owner("ann"), vec!["images/c.png", "notes/a.txt"]),
        (Query { prefix: "notes/".to_owned(), ..owner("ann") }, vec!["notes/a.txt"]),
        (owner("a"), vec![]),
    ] {
        assert_eq!(found(volume, query.clone()).await, names, "{query:?}");
    }
}

/// Fills a volume, finds in it, asks the document's queries of this part, loses the catalog, and
/// does the same with a rebuilt one in `second`.
async fn lives(catalogs: [&str; 2], part: &str, ask: impl Fn(usize, &str) -> String) {
    let folder = tempfile::tempdir().unwrap();
    let data = format!("file://{}", folder.path().join("data").display());
    let engine = open(catalogs[0], &data).await;
    assert!(engine.catalog().profile().metadata);
    let volume = fill(&engine).await;
    let id = volume.id().to_string();
    finds(&volume).await;
    answers(part, |query| ask(0, query));
    drop(volume);
    engine.close().await.unwrap();

    let engine = open(catalogs[1], &data).await;
    engine.rebuild(&id, RebuildOptions::default()).await.unwrap();
    let volume = engine.volume("v").await.unwrap();
    finds(&volume).await;
    answers(part, |query| ask(1, query));
    drop(volume);
    engine.close().await.unwrap();
}

/// The queries of the document below this heading.
fn queries(part: &str) -> Vec<&'static str> {
    let text = include_str!("../../../docs/sql.md");
    let (_, below) = text.split_once(&format!("\n## {part}\n")).unwrap();
    let below = below.split("\n## ").next().unwrap();
    let blocks = below.split("```sql\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

/// Asks the queries, and looks at the answers: lines of columns that `|` parts.
fn answers(part: &str, ask: impl Fn(&str) -> String) {
    let queries = queries(part);
    assert_eq!(queries.len(), 5, "{part}");
    let said: Vec<String> = queries.iter().map(|query| ask(query).trim().to_owned()).collect();
    let largest = "images/c.png|300000\nnotes/b.txt|2000\nraw|500\nimages/d.png|40\nnotes/a.txt|10";
    assert_eq!(said[0], largest, "{part}");
    let oldest: Vec<&str> = said[1].lines().map(|line| line.split('|').next().unwrap()).collect();
    assert_eq!(oldest, ENTRIES.map(|(name, ..)| name), "{part}: {}", said[1]);
    let kinds = "image/png|2|300040\ntext/plain|2|2010\n(none)|1|500";
    assert_eq!(said[2], kinds, "{part}");
    assert_eq!(said[3], "images/c.png|300000\nnotes/a.txt|10", "{part}");
    // One day, or two if a midnight was between.
    let (mut entries, mut bytes) = (0, 0);
    for line in said[4].lines() {
        let columns: Vec<&str> = line.split('|').collect();
        assert_eq!((columns[0].len(), columns.len()), (10, 3), "{part}: {line}");
        entries += columns[1].parse::<u64>().unwrap();
        bytes += columns[2].parse::<u64>().unwrap();
    }
    assert_eq!((entries, bytes), (5, 302_550), "{part}");
}

#[allow(clippy::disallowed_methods, reason = "tests run the servers' clients")]
fn client(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queries_for_sqlite_answer() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["one.db", "two.db"].map(|name| folder.path().join(name));
    let catalogs = [&paths[0], &paths[1]].map(|path| format!("sqlite://{}", path.display()));
    let ask = |which: usize, query: &str| {
        let database = rusqlite::Connection::open(&paths[which]).unwrap();
        let mut query = database.prepare(query).unwrap();
        let columns = query.column_count();
        let line = |row: &rusqlite::Row<'_>| {
            let text = |column| match row.get_unwrap::<_, rusqlite::types::Value>(column) {
                rusqlite::types::Value::Text(text) => text,
                rusqlite::types::Value::Integer(number) => number.to_string(),
                other => panic!("{other:?}"),
            };
            Ok((0..columns).map(text).collect::<Vec<_>>().join("|"))
        };
        let lines = query.query_map([], line).unwrap().map(Result::unwrap);
        lines.collect::<Vec<_>>().join("\n")
    };
    lives([&catalogs[0], &catalogs[1]], "SQLite", ask).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queries_for_postgres_answer() {
    let port = shared(&POSTGRES).unwrap().port.to_string();
    let schemas = [word(), word()];
    let catalogs = [&schemas[0], &schemas[1]]
        .map(|schema| format!("postgres://holdall@127.0.0.1:{port}/postgres?schema={schema}"));
    let ask = |which: usize, query: &str| {
        let path = format!("SET search_path TO {}", schemas[which]);
        let server = ["-h", "127.0.0.1", "-p", &port, "-U", "holdall", "-d", "postgres"];
        let query = ["-q", "-A", "-t", "-c", &path, "-c", query];
        client("psql", &[&server[..], &query].concat())
    };
    lives([&catalogs[0], &catalogs[1]], "PostgreSQL", ask).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queries_for_mysql_answer() {
    let port = shared(&MARIADB).unwrap().port.to_string();
    let tables = [word(), word()];
    let catalogs = [&tables[0], &tables[1]].map(|table| {
        format!("mysql://holdall@127.0.0.1:{port}/holdall?password=holdall&table={table}")
    });
    let ask = |which: usize, query: &str| {
        let query = query.replace("holdall_entries", &format!("{}_entries", tables[which]));
        let server = ["--no-defaults", "-h127.0.0.1", &format!("-P{port}"), "-uroot"];
        let query = ["-N", "-B", "-e", &query, "holdall"];
        client("mariadb", &[&server[..], &query].concat()).replace('\t', "|")
    };
    lives([&catalogs[0], &catalogs[1]], "MySQL and MariaDB", ask).await;
}
