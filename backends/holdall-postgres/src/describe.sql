-- What layout 2 adds to layout 1: what is told of rows; SCHEMA stands for the schema's quoted name.
-- The whole text runs as one transaction, under a lock, so that openers do not race.

-- It stands in the row itself, so it ends with it. `attributes` is null where there are none.
ALTER TABLE SCHEMA.rows
    ADD COLUMN volume text COLLATE "C",
    ADD COLUMN name text COLLATE "C",
    ADD COLUMN bytes bigint,
    ADD COLUMN written timestamptz,
    ADD COLUMN expires timestamptz,
    ADD COLUMN content_type text COLLATE "C",
    ADD COLUMN attributes jsonb;

-- Rows of which nothing is told are in none of them.
CREATE INDEX rows_by_bytes ON SCHEMA.rows (bytes) WHERE name IS NOT NULL;
CREATE INDEX rows_by_written ON SCHEMA.rows (written) WHERE name IS NOT NULL;
CREATE INDEX rows_by_content_type ON SCHEMA.rows (content_type, key) WHERE name IS NOT NULL;
CREATE INDEX rows_by_attributes ON SCHEMA.rows USING gin (attributes jsonb_path_ops)
    WHERE attributes IS NOT NULL;

-- For people.
CREATE VIEW SCHEMA.holdall_entries AS
    SELECT volume, name, bytes AS size, written, expires, content_type, attributes
    FROM SCHEMA.rows WHERE name IS NOT NULL;

DROP FUNCTION IF EXISTS SCHEMA.write(bigint[], boolean[], bytea[], bigint[], bytea[], bytea[],
    bytea[], text, bigint);

-- A batch, all or nothing: locks, checks, writes. Returns which expectation does not hold, if one
-- does not, and then has written nothing; else the revision of the rows that it put. Each
-- statement sees what was committed before it began, so the checks see what the locks waited for.
CREATE FUNCTION SCHEMA.write(
    locks bigint[], shared boolean[],
    expect_keys bytea[], expect_revisions bigint[],
    put_keys bytea[], put_values bytea[], delete_keys bytea[],
    form text, large_above bigint,
    told_volumes text[], told_names text[], told_bytes bigint[],
    told_written timestamptz[], told_expires timestamptz[],
    told_types text[], told_attributes text[],
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
        -- Where nothing is told the arrays of that are empty, and their columns null.
        INSERT INTO SCHEMA.rows AS present (key, revision, size, value, large,
                volume, name, bytes, written, expires, content_type, attributes)
            SELECT k, given, octet_length(v),
                CASE WHEN form = 'bytea' OR octet_length(v) <= large_above THEN v END,
                CASE WHEN form = 'large_objects' AND octet_length(v) > large_above
                    THEN lo_from_bytea(0, v) END,
                t_volume, t_name, t_bytes, t_written, t_expires, t_type, t_attributes::jsonb
            FROM unnest(put_keys, put_values, told_volumes, told_names, told_bytes, told_written,
                    told_expires, told_types, told_attributes)
                AS put(k, v, t_volume, t_name, t_bytes, t_written, t_expires, t_type, t_attributes)
            ON CONFLICT (key) DO UPDATE SET revision = excluded.revision, size = excluded.size,
                value = excluded.value, large = excluded.large,
                volume = excluded.volume, name = excluded.name, bytes = excluded.bytes,
                written = excluded.written, expires = excluded.expires,
                content_type = excluded.content_type, attributes = excluded.attributes;
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

COMMENT ON TABLE SCHEMA.rows IS 'holdall 2';
