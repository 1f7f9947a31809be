-- What holdall keeps in a schema of its own; SCHEMA stands for its quoted name.
-- The whole text runs as one transaction, under a lock, so that openers do not race.

-- Each write takes the next number. What is given out once is never given again.
CREATE SEQUENCE SCHEMA.revisions;

-- One row a key. A large value may be elsewhere: then `value` is null.
CREATE TABLE SCHEMA.rows (
    key bytea PRIMARY KEY,
    revision bigint NOT NULL,
    size bigint NOT NULL,
    value bytea,
    large oid
);
-- Not compressed, so that a part of a value can be read alone.
ALTER TABLE SCHEMA.rows ALTER COLUMN value SET STORAGE EXTERNAL;

-- The parts of large values with `values=chunks`: 256 KiB each, the last one shorter.
CREATE TABLE SCHEMA.chunks (
    key bytea,
    revision bigint,
    number bigint,
    part bytea NOT NULL,
    PRIMARY KEY (key, revision, number)
);
ALTER TABLE SCHEMA.chunks ALTER COLUMN part SET STORAGE EXTERNAL;

-- Large values go with their row, whoever removes it.
CREATE FUNCTION SCHEMA.remove_large() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.large IS NULL THEN
        DELETE FROM SCHEMA.chunks WHERE key = OLD.key AND revision = OLD.revision;
    ELSE
        PERFORM lo_unlink(OLD.large);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER remove_large AFTER UPDATE OR DELETE ON SCHEMA.rows
    FOR EACH ROW WHEN (OLD.value IS NULL) EXECUTE FUNCTION SCHEMA.remove_large();

-- A batch, all or nothing: locks, checks, writes. Returns which expectation does not hold, if one
-- does not, and then has written nothing; else the revision of the rows that it put. Each
-- statement sees what was committed before it began, so the checks see what the locks waited for.
CREATE FUNCTION SCHEMA.write(
    locks bigint[], shared boolean[],
    expect_keys bytea[], expect_revisions bigint[],
    put_keys bytea[], put_values bytea[], delete_keys bytea[],
    form text, large_above bigint,
    OUT failed bigint, OUT given bigint
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM CASE WHEN s THEN pg_advisory_xact_lock_shared(l) ELSE pg_advisory_xact_lock(l) END
        FROM unnest(locks, shared) AS asked(l, s);
    IF cardinality(expect_keys) > 0 THEN
        SELECT min(n) INTO failed
            FROM unnest(expect_keys, expect_revisions) WITH ORDINALITY AS expected(k, r, n)
            LEFT JOIN SCHEMA.rows ON key = k
            WHERE revision IS DISTINCT FROM r;
        IF failed IS NOT NULL THEN
            RETURN;
        END IF;
    END IF;
    given := nextval('SCHEMA.revisions');
    IF cardinality(put_keys) > 0 THEN
        INSERT INTO SCHEMA.rows AS present (key, revision, size, value, large)
            SELECT k, given, octet_length(v),
                CASE WHEN form = 'bytea' OR octet_length(v) <= large_above THEN v END,
                CASE WHEN form = 'large_objects' AND octet_length(v) > large_above
                    THEN lo_from_bytea(0, v) END
            FROM unnest(put_keys, put_values) AS put(k, v)
            ON CONFLICT (key) DO UPDATE SET revision = excluded.revision, size = excluded.size,
                value = excluded.value, large = excluded.large;
        IF form = 'chunks' THEN
            INSERT INTO SCHEMA.chunks (key, revision, number, part)
                SELECT k, given, n, substring(v FROM (n * 262144 + 1)::integer FOR 262144)
                FROM unnest(put_keys, put_values) AS put(k, v),
                    generate_series(0, (octet_length(v) - 1) / 262144) AS n
                WHERE octet_length(v) > large_above;
        END IF;
    END IF;
    IF cardinality(delete_keys) > 0 THEN
        DELETE FROM SCHEMA.rows WHERE key = ANY (delete_keys);
    END IF;
END $$;

COMMENT ON TABLE SCHEMA.rows IS 'holdall 1';
