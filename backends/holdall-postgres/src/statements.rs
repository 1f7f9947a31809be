//! The SQL of every request, for one schema. All of it is one statement a request.

/// How long a part of a large value is with `values=chunks`; `schema.sql` says the same number.
const CHUNK_BYTES: u32 = 256 << 10;

/// Takes the locks that `write` would take for one row. What follows finds the newest row also
/// where it had to wait for them: it is decided by the unique index or looked at again.
const LOCKED: &str = "WITH locked AS MATERIALIZED \
    (SELECT pg_advisory_xact_lock_shared($1::bigint), pg_advisory_xact_lock($2::bigint))";

/// Ends what was told of the row before.
const UNTOLD: &str = "volume = NULL, name = NULL, bytes = NULL, written = NULL, expires = NULL, \
    content_type = NULL, attributes = NULL";

/// The $3 bytes from $2 on of a value that is in its row.
const PART: &str = "substring(value FROM $2::bigint::integer + 1 FOR $3::bigint::integer)";

/// The statements for one schema.
pub(crate) struct Statements {
    /// $1 key. No value if it is large.
    pub(crate) get: String,
    /// $1 key, $2 where to begin, $3 how many bytes. No value if it is large.
    pub(crate) get_range: String,
    /// As `get`, wherever the value is.
    pub(crate) get_large: String,
    /// As `get_range`, wherever the value is.
    pub(crate) get_range_large: String,
    /// $1 keys.
    pub(crate) get_many: String,
    /// $1 the first key wanted, $2 the first no longer wanted, $3 how many.
    pub(crate) list: String,
    /// As `list`, and $4 how many bytes of values, if more than one row is wanted.
    pub(crate) list_values: String,
    /// One row: $1 the schema's lock, $2 the key's lock, $3 key, $4 value. No answer if what is
    /// expected is not so.
    pub(crate) put: String,
    /// As `put`, if nothing is there.
    pub(crate) put_absent: String,
    /// As `put`, if $5 is the revision that is there.
    pub(crate) put_revision: String,
    /// The arguments of the function `write` in `schema.sql`.
    pub(crate) write: String,
    /// What makes layout 1.
    pub(crate) schema: String,
    /// What makes layout 2 of it.
    pub(crate) describe: String,
    /// The schema's quoted name.
    name: String,
}

impl Statements {
    /// The statements for the schema of this quoted name.
    pub(crate) fn new(schema: &str) -> Self {
        let whole = whole(schema);
        let part = part(schema);
        let get = |value: &str| {
            format!("SELECT revision, size, {value} FROM {schema}.rows r WHERE key = $1")
        };
        let put = |row: &str| format!("{LOCKED} {row} RETURNING revision");
        let given = format!("nextval('{schema}.revisions')");
        let insert = format!(
            "INSERT INTO {schema}.rows (key, revision, size, value) \
            SELECT $3::bytea, {given}, octet_length($4::bytea), $4::bytea FROM locked \
            ON CONFLICT (key)"
        );
        Self {
            get: get("value"),
            get_range: get(PART),
            get_large: get(&whole),
            get_range_large: get(&part),
            get_many: format!(
                "SELECT revision, size, {whole}, asked.n \
                FROM unnest($1::bytea[]) WITH ORDINALITY AS asked(k, n) \
                JOIN {schema}.rows r ON r.key = asked.k"
            ),
            list: list(schema, ""),
            list_values: list_values(schema, ""),
            put: put(&format!(
                "{insert} DO UPDATE SET revision = excluded.revision, size = excluded.size, \
                value = excluded.value, large = NULL, {UNTOLD}"
            )),
            put_absent: put(&format!("{insert} DO NOTHING")),
            put_revision: put(&format!(
                "UPDATE {schema}.rows SET revision = {given}, size = octet_length($4::bytea), \
                value = $4::bytea, large = NULL, {UNTOLD} FROM locked \
                WHERE key = $3 AND revision = $5"
            )),
            write: format!(
                "SELECT failed, given FROM {schema}.write($1, $2, $3, $4, $5, $6, $7, $8, $9, \
                $10, $11, $12, $13, $14, $15, $16)"
            ),
            schema: include_str!("schema.sql").replace("SCHEMA.", &format!("{schema}.")),
            describe: include_str!("describe.sql").replace("SCHEMA.", &format!("{schema}.")),
            name: schema.to_owned(),
        }
    }

    /// As `list` or `list_values`, of the rows for which a condition holds. Its arguments come
    /// behind those of the listing.
    pub(crate) fn find(&self, values: bool, condition: &str) -> String {
        match values {
            true => list_values(&self.name, condition),
            false => list(&self.name, condition),
        }
    }
}

fn list(schema: &str, condition: &str) -> String {
    format!(
        "SELECT key, size FROM {schema}.rows WHERE key >= $1 AND key < $2 {condition} \
        ORDER BY key LIMIT $3"
    )
}

/// The sums run along the index and stop at the limit; values are fetched only for the rows that
/// are returned.
fn list_values(schema: &str, condition: &str) -> String {
    let whole = whole(schema);
    format!(
        "SELECT revision, size, {whole}, key, more FROM ( \
            SELECT revision, size, value, large, key, row_number() OVER along AS place, \
                sum(size) OVER along AS total, lead(true) OVER along AS more \
            FROM {schema}.rows WHERE key >= $1 AND key < $2 {condition} \
            WINDOW along AS (ORDER BY key ROWS UNBOUNDED PRECEDING) LIMIT $3 \
        ) r WHERE place = 1 OR total <= $4::bigint ORDER BY key"
    )
}

/// The value of row `r`, wherever it is.
fn whole(schema: &str) -> String {
    format!(
        "CASE WHEN r.value IS NOT NULL THEN r.value \
        WHEN r.large IS NOT NULL THEN lo_get(r.large) \
        ELSE (SELECT string_agg(part, ''::bytea ORDER BY number) FROM {schema}.chunks c \
            WHERE c.key = r.key AND c.revision = r.revision) END"
    )
}

/// The $3 bytes from $2 on of the value of row `r`, wherever it is.
fn part(schema: &str) -> String {
    let size = CHUNK_BYTES;
    let skipped = format!("greatest($2::bigint - number * {size}, 0)");
    format!(
        "CASE WHEN r.value IS NOT NULL \
            THEN {PART} \
        WHEN r.large IS NOT NULL THEN lo_get(r.large, $2::bigint, $3::bigint::integer) \
        ELSE (SELECT coalesce(string_agg(substring(part FROM {skipped}::integer + 1 \
                FOR (least($2::bigint + $3::bigint - number * {size}, {size}) \
                    - {skipped})::integer), ''::bytea ORDER BY number), ''::bytea) \
            FROM {schema}.chunks c WHERE c.key = r.key AND c.revision = r.revision \
            AND number >= $2::bigint / {size} \
            AND number * {size} < $2::bigint + $3::bigint) END"
    )
}
