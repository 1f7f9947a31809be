//! The SQL of every request, for one schema. All of it is one statement a request.

/// How long a part of a large value is with `values=chunks`; `schema.sql` says the same number.
const CHUNK_BYTES: u32 = 256 << 10;

/// The statements for one schema.
pub(crate) struct Statements {
    /// $1 key.
    pub(crate) get: String,
    /// $1 key, $2 where to begin, $3 how many bytes.
    pub(crate) get_range: String,
    /// $1 keys.
    pub(crate) get_many: String,
    /// $1 the first key wanted, $2 the first no longer wanted, $3 how many.
    pub(crate) list: String,
    /// As `list`, and $4 how many bytes of values, if more than one row is wanted.
    pub(crate) list_values: String,
    /// The arguments of the function `write` in `schema.sql`.
    pub(crate) write: String,
    /// What makes all of it.
    pub(crate) schema: String,
}

impl Statements {
    /// The statements for the schema of this quoted name.
    pub(crate) fn new(schema: &str) -> Self {
        let whole = whole(schema);
        let part = part(schema);
        Self {
            get: format!("SELECT revision, size, {whole} FROM {schema}.rows r WHERE key = $1"),
            get_range: format!("SELECT revision, size, {part} FROM {schema}.rows r WHERE key = $1"),
            get_many: format!(
                "SELECT revision, size, {whole}, asked.n \
                FROM unnest($1::bytea[]) WITH ORDINALITY AS asked(k, n) \
                JOIN {schema}.rows r ON r.key = asked.k"
            ),
            list: format!(
                "SELECT key, size FROM {schema}.rows WHERE key >= $1 AND key < $2 \
                ORDER BY key LIMIT $3"
            ),
            // The sums run along the index and stop at the limit; values are fetched only for the
            // rows that are returned.
            list_values: format!(
                "SELECT revision, size, {whole}, key, more FROM ( \
                    SELECT revision, size, value, large, key, row_number() OVER along AS place, \
                        sum(size) OVER along AS total, lead(true) OVER along AS more \
                    FROM {schema}.rows WHERE key >= $1 AND key < $2 \
                    WINDOW along AS (ORDER BY key ROWS UNBOUNDED PRECEDING) LIMIT $3 \
                ) r WHERE place = 1 OR total <= $4::bigint ORDER BY key"
            ),
            write: format!(
                "SELECT failed, given FROM {schema}.write($1, $2, $3, $4, $5, $6, $7, $8, $9)"
            ),
            schema: include_str!("schema.sql").replace("SCHEMA.", &format!("{schema}.")),
        }
    }
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
            THEN substring(r.value FROM $2::bigint::integer + 1 FOR $3::bigint::integer) \
        WHEN r.large IS NOT NULL THEN lo_get(r.large, $2::bigint, $3::bigint::integer) \
        ELSE (SELECT coalesce(string_agg(substring(part FROM {skipped}::integer + 1 \
                FOR (least($2::bigint + $3::bigint - number * {size}, {size}) \
                    - {skipped})::integer), ''::bytea ORDER BY number), ''::bytea) \
            FROM {schema}.chunks c WHERE c.key = r.key AND c.revision = r.revision \
            AND number >= $2::bigint / {size} \
            AND number * {size} < $2::bigint + $3::bigint) END"
    )
}
