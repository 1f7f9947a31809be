//! What is told of rows, beyond the contract: earlier layouts, large values, plans, encodings.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{ask, bytes, config, execute, key, open, raw, shared_config};
use futures::future::join_all;
use holdall_core::{
    Backend, BackendExt, Batch, Bytes, Description, ErrorKind, Expect, Filter, Find, List,
    Revision, Timestamp,
};
use holdall_postgres::{Config, Postgres, Values};

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

async fn found(backend: &Postgres, filter: Filter) -> Vec<String> {
    let page = backend.find(&Find { list: List::prefix(""), filter }).await.unwrap();
    page.rows.into_iter().map(|row| row.key.as_str().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_without_descriptions_gets_room_for_them() {
    let config = shared_config();
    execute(
        &config,
        "create schema SCHEMA;
        CREATE SEQUENCE SCHEMA.revisions START 8;
        CREATE TABLE SCHEMA.rows (key bytea PRIMARY KEY, revision bigint NOT NULL,
            size bigint NOT NULL, value bytea, large oid);
        CREATE TABLE SCHEMA.chunks (key bytea, revision bigint, number bigint,
            part bytea NOT NULL, PRIMARY KEY (key, revision, number));
        CREATE FUNCTION SCHEMA.write(locks bigint[], shared boolean[], expect_keys bytea[],
            expect_revisions bigint[], put_keys bytea[], put_values bytea[], delete_keys bytea[],
            form text, large_above bigint, OUT failed bigint, OUT given bigint)
            LANGUAGE plpgsql AS $$ BEGIN END $$;
        INSERT INTO SCHEMA.rows VALUES ('a', 7, 3, 'one');
        COMMENT ON TABLE SCHEMA.rows IS 'holdall 1';",
    )
    .await;
    let opened = join_all((0..8).map(|_| open(&config))).await;
    let object = opened[3].get_all(&key("a")).await.unwrap().unwrap();
    assert_eq!((object.value, object.revision), (Bytes::from("one"), Revision::number(7)));
    assert!(found(&opened[0], Filter::default()).await.is_empty());
    let mut batch = Batch::new();
    batch.put_described(key("a"), "two", Expect::Any, told("it's \"a\"", 1 << 40));
    opened[0].apply(batch).await.unwrap();
    assert_eq!(found(&opened[5], Filter::default()).await, ["a"]);
    let functions = "SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE p.proname = 'write' AND quote_ident(n.nspname) = 'SCHEMA'";
    assert_eq!(ask(&config, functions).await, 1, "the earlier function is gone");

    // A person sees the same.
    let entry = "SELECT concat_ws('|', volume, name, size, written AT TIME ZONE 'UTC',
        expires AT TIME ZONE 'UTC', content_type, attributes ->> 'owner')
        FROM SCHEMA.holdall_entries";
    let entry = entry.replace("SCHEMA", &format!("\"{}\"", config.schema));
    let entry: String = raw(&config).await.query_one(&entry, &[]).await.unwrap().get(0);
    let expected = "v|it's \"a\"|1099511627776|2023-11-14 22:13:20.000007\
        |9999-12-31 23:59:59.999999|text/plain|ann";
    assert_eq!(entry, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_values_of_every_form_carry_what_is_told_of_them() {
    let config = shared_config();
    for values in [Values::Bytea, Values::Chunks, Values::LargeObjects] {
        let backend = open(&Config { values, large_above: 999, ..config.clone() }).await;
        let (name, value) = (format!("{values:?}"), bytes(700_001, 1));
        let mut batch = Batch::new();
        batch.put_described(key(&name), value.clone(), Expect::Any, told(&name, 9));
        batch.put(key(format!("{name} beside")), value.clone(), Expect::Any);
        backend.apply(batch).await.unwrap();
        let filter = Filter { size_min: Some(9), ..Filter::default() };
        let find = Find { list: List::prefix(&name).with_values(), filter };
        let rows = backend.find(&find).await.unwrap().rows;
        assert_eq!(rows.len(), 1);
        assert!(rows[0].object.as_ref().unwrap().value == value);
        // Each way to write one row ends what was told of it.
        let revision = rows[0].object.as_ref().unwrap().revision.clone();
        for (value, expect) in [("small".into(), Expect::Revision(revision)), (value, Expect::Any)]
        {
            let mut batch = Batch::new();
            backend.put(&key(&name), value, expect).await.unwrap();
            assert!(backend.find(&find).await.unwrap().rows.is_empty());
            batch.put_described(key(&name), "again", Expect::Any, told(&name, 9));
            backend.apply(batch).await.unwrap();
            assert_eq!(backend.find(&find).await.unwrap().rows.len(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_leads_to_the_few_rows_of_a_filter() {
    let config = shared_config();
    let backend = open(&config).await;
    execute(
        &config,
        "INSERT INTO SCHEMA.rows (key, revision, size, value, volume, name, bytes, written,
                content_type, attributes)
            SELECT convert_to(format('%s', n), 'UTF8'), n, 0, '', 'v', n::text, n,
                to_timestamp(n), 't/' || n, jsonb_build_object('n', n::text)
            FROM generate_series(100000, 120000) AS n;
        ANALYZE SCHEMA.rows;",
    )
    .await;
    let seconds = |seconds: u64| Some(Timestamp::from_micros(seconds * 1_000_000));
    let filter = Filter::default;
    for (filter, condition, index) in [
        (Filter { size_min: Some(119_991), ..filter() }, "bytes >= 119991", "rows_by_bytes"),
        (
            Filter { written_after: seconds(119_991), ..filter() },
            "written >= to_timestamp(119991)",
            "rows_by_written",
        ),
    ] {
        let names: Vec<String> = (119_991..=120_000).map(|number| number.to_string()).collect();
        assert_eq!(found(&backend, filter).await, names);
        let plan = plan(&config, condition).await;
        assert!(plan.contains(index), "{plan}");
    }
    let attributes = [("n".to_owned(), "110000".to_owned())].into();
    assert_eq!(found(&backend, Filter { attributes, ..filter() }).await, ["110000"]);
    for (condition, index) in [
        ("attributes @> '{\"n\":\"110000\"}'", "rows_by_attributes"),
        ("content_type = 't/110000'", "rows_by_content_type"),
    ] {
        let plan = plan(&config, condition).await;
        assert!(plan.contains(index), "{plan}");
    }
}

/// How the server would find rows for this condition.
async fn plan(config: &Config, condition: &str) -> String {
    let text = format!(
        "EXPLAIN SELECT key, size FROM \"{}\".rows WHERE key >= '1' AND key < '2' \
        AND name IS NOT NULL AND {condition} ORDER BY key LIMIT 1001",
        config.schema
    );
    let rows = raw(config).await.query(&text, &[]).await.unwrap();
    rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_not_all_text_keeps_values_alone() {
    let shared = shared_config();
    let database = shared.schema.replace('-', "_");
    let create = "CREATE DATABASE {} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' \
        TEMPLATE template0";
    execute(&shared, &create.replace("{}", &database)).await;
    let config = Config { database: database.clone(), ..config(shared.port) };
    let backend = open(&config).await;
    assert!(!backend.profile().metadata);
    let notes = backend.health().await.unwrap().notes.join("; ");
    assert!(notes.contains("keeps no metadata"), "{notes}");
    let mut batch = Batch::new();
    batch.put_described(key("a"), "value", Expect::Any, told("\u{10ffff}", 1));
    backend.apply(batch).await.unwrap();
    assert_eq!(backend.get_all(&key("a")).await.unwrap().unwrap().value, "value");
    let find = Find { list: List::prefix(""), filter: Filter::default() };
    assert_eq!(backend.find(&find).await.unwrap_err().kind(), ErrorKind::Unsupported);
    drop(backend);
    execute(&shared, &format!("DROP DATABASE {database} WITH (FORCE)")).await;
}
