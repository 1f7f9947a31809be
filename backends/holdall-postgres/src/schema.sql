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

COMMENT ON TABLE SCHEMA.rows IS 'holdall 1';
