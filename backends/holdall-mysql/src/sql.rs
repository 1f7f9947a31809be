//! The statements, as text: pure functions.
//!
//! ```text
//!   k          VARBINARY(1024)   the key: compared byte by byte, the order of the contract
//!   size       BIGINT UNSIGNED   of the value, so that listing need not read it
//!   revision   BIGINT UNSIGNED   a random number above 0, new with each write: it does not repeat
//!                                for a key, also when the key was deleted in between
//!   expected   BIGINT UNSIGNED   what a batch expects, while it is being checked; see below
//!   v          LONGBLOB          the value; empty where it is in parts
//!   volume …   see `describe.rs`  what is told of the row; all null where nothing is
//!   parts      see `parts.rs`     where the parts of a large value are; null where there are none
//! ```
//!
//! A batch is one text of several statements, so that it takes one round trip and the server
//! itself decides:
//!
//! ```text
//!   START TRANSACTION
//!   INSERT all keys in order, with what is expected of each
//!          … ON DUPLICATE KEY UPDATE      fails where the row there is not the one expected
//!   SELECT ~0 + COUNT(*) …                fails if a row that should be there had to be inserted
//!   DELETE what is deleted or was inserted only to hold its place, with its parts
//!   DELETE the parts of what is replaced, and INSERT those of what is large; see below
//!   COMMIT
//! ```
//!
//! The INSERT locks every key of the batch, also those that are missing, one after the other in
//! the order of the keys: batches wait for each other and do not deadlock. A statement that fails
//! does so by adding to the largest number (error 1690), the one way that both servers share, and
//! the rest of the text is not run.
//!
//! Small values are written as if nothing large were under their keys, and looking for parts to
//! remove costs them nothing: where a row has parts, writing over it fails in the same way, and is
//! done once more by a text that removes them. Large values are written by that one at once. Their
//! parts are sent by prepared statements of the same transaction, because the server would take
//! each byte of a text in its hands; the commit is then a text of its own.

use holdall_core::{Expect, KEY_BYTES_MAX, Op};

use crate::describe::{self, COLUMNS, UNTOLD};
use crate::parts;

/// The revision of rows that only hold a place until the batch ends. No write gets it.
pub(crate) const PLACE: u64 = 0;
/// Keys in one `IN (…)`: with more the optimizers of some servers read the whole table instead.
const KEYS_EACH: usize = 500;
/// What else is in a packet besides a row: the statement before and behind it.
pub(crate) const FRAME_BYTES: usize = 1024;
/// What a statement with one value may have besides the value: its key, numbers, headers, and what
/// is told of the row. A volume tells at most 8 KiB of attributes, which are six times as long as
/// JSON if they are all control characters, and some 2 KiB more.
pub(crate) const ROW_BYTES: u64 = 64 << 10;

/// The statements for one table, made once.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) create: String,
    /// Adds what is told of rows to a table without it.
    pub(crate) describe: String,
    /// Lets rows of a table have parts.
    pub(crate) part: String,
    /// Makes the table of parts.
    pub(crate) create_parts: String,
    /// The rows of which something is told, for people.
    pub(crate) view: String,
    /// A value, unless it is in parts, and whether it is.
    pub(crate) get: String,
    /// A range of a value, wherever it is.
    pub(crate) get_range: String,
    pub(crate) exists: String,
    pub(crate) upsert: String,
    pub(crate) insert: String,
    pub(crate) update: String,
    pub(crate) delete: String,
    pub(crate) delete_revision: String,
    /// One row of a batch, where it is too large for a text.
    pub(crate) row: String,
    /// The same, also over a row with parts.
    pub(crate) row_over_parts: String,
    /// One part of a value.
    pub(crate) insert_part: String,
    /// As many parts as are written together.
    pub(crate) insert_parts: String,
    /// Looks into the table, and asks how large it is and whether the server is read-only.
    pub(crate) health: String,
    table: String,
}

/// The column that says where the parts of a value are.
const PARTS: &str = "parts BIGINT UNSIGNED NULL";
const ROW_HEAD: &str = "(k, size, revision, expected, v, volume, name, bytes, written, expires, \
     content_type, attributes, parts) VALUES ";
/// What is told of rows that only hold a place is null: where it is, the row's own stays.
const ROW_TAIL: &str = " ON DUPLICATE KEY UPDATE \
     volume = IF(VALUES(revision) = 0, volume, VALUES(volume)), \
     name = IF(VALUES(revision) = 0, name, VALUES(name)), \
     bytes = IF(VALUES(revision) = 0, bytes, VALUES(bytes)), \
     written = IF(VALUES(revision) = 0, written, VALUES(written)), \
     expires = IF(VALUES(revision) = 0, expires, VALUES(expires)), \
     content_type = IF(VALUES(revision) = 0, content_type, VALUES(content_type)), \
     attributes = IF(VALUES(revision) = 0, attributes, VALUES(attributes)), \
     size = IF(VALUES(revision) = 0, size, VALUES(size)), \
     v = IF(VALUES(revision) = 0, v, VALUES(v)), ";
/// Fails where the row is not the one that is expected, and where a value would hide parts.
const TAIL_OF_SMALL: &str = "revision = IF((VALUES(expected) IS NULL OR \
     VALUES(expected) = revision) AND (VALUES(revision) = 0 OR parts IS NULL), \
     IF(VALUES(revision) = 0, revision, VALUES(revision)), ~0 + revision)";
/// Fails where the row is not the one that is expected.
const TAIL_OVER_PARTS: &str = "parts = IF(VALUES(revision) = 0, parts, VALUES(parts)), \
     revision = IF(VALUES(expected) IS NULL OR VALUES(expected) = revision, \
     IF(VALUES(revision) = 0, revision, VALUES(revision)), ~0 + revision)";

impl Statements {
    /// The table's name is of letters, digits and `_`.
    pub(crate) fn new(table: &str) -> Self {
        let insert = format!("INSERT INTO `{table}` (k, size, revision, v) VALUES (?, ?, ?, ?)");
        // A row with parts is not for a statement that leaves them; see above.
        let unless_parts =
            |revision: &str| format!("revision = IF(parts IS NULL, {revision}, ~0 + revision)");
        let delete = format!("{} t.k = ?", delete(table));
        let row = |tail: &str| {
            let places = describe::PLACES;
            format!("INSERT INTO `{table}` {ROW_HEAD}(?, ?, ?, ?, ?, {places}, ?){ROW_TAIL}{tail}")
        };
        let (columns, add) = (COLUMNS.join(", "), COLUMNS.map(describe::added).join(", "));
        Self {
            create: format!(
                "CREATE TABLE IF NOT EXISTS `{table}` (\
                 k VARBINARY({KEY_BYTES_MAX}) NOT NULL PRIMARY KEY, \
                 size BIGINT UNSIGNED NOT NULL, revision BIGINT UNSIGNED NOT NULL, \
                 expected BIGINT UNSIGNED NULL, v LONGBLOB NOT NULL, {columns}, \
                 {PARTS}) \
                 ENGINE=InnoDB ROW_FORMAT=DYNAMIC"
            ),
            describe: format!("ALTER TABLE `{table}` {add}"),
            part: format!("ALTER TABLE `{table}` ADD {PARTS}"),
            create_parts: parts::create(table),
            view: describe::view(table),
            get: format!("SELECT revision, size, v, parts FROM `{table}` WHERE k = ?"),
            get_range: parts::range(table),
            exists: format!("SELECT revision FROM `{table}` WHERE k = ?"),
            upsert: format!(
                "{insert} ON DUPLICATE KEY UPDATE size = VALUES(size), v = VALUES(v), {UNTOLD}, {}",
                unless_parts("VALUES(revision)")
            ),
            insert,
            update: format!(
                "UPDATE `{table}` SET size = ?, v = ?, {UNTOLD}, {} WHERE k = ? AND revision = ?",
                unless_parts("?")
            ),
            delete_revision: format!("{delete} AND t.revision = ?"),
            delete,
            row: row(TAIL_OF_SMALL),
            row_over_parts: row(TAIL_OVER_PARTS),
            insert_part: parts::insert(table, 1),
            insert_parts: parts::insert(table, parts::GROUP),
            health: format!(
                "SELECT (SELECT CAST(SUM(data_length + index_length) AS UNSIGNED) \
                 FROM information_schema.tables WHERE table_schema = DATABASE() \
                 AND table_name IN ('{table}', '{}')), \
                 @@global.read_only FROM (SELECT COUNT(*) FROM \
                 (SELECT k FROM `{table}` LIMIT 1) a) b",
                parts::name(table)
            ),
            table: table.to_owned(),
        }
    }

    /// Reads these keys, all of one moment: one statement, or a transaction on one snapshot.
    pub(crate) fn get_many(&self, keys: &[&[u8]], packet_bytes: usize) -> Vec<Vec<u8>> {
        let head = format!(
            "SELECT t.k, t.size, t.revision, t.v, p.number, p.data, 1 FROM `{}` t \
             FORCE INDEX (PRIMARY) {} WHERE t.k IN ",
            self.table,
            parts::join(&self.table)
        );
        let selects: Vec<Vec<u8>> =
            lists(keys, packet_bytes).into_iter().map(|list| join(&head, &list)).collect();
        let mut script = Script::new(packet_bytes);
        if selects.len() == 1 {
            selects.into_iter().for_each(|select| script.push(select));
            return script.packets();
        }
        script.push(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ".to_vec());
        script.push(b"START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY".to_vec());
        selects.into_iter().for_each(|select| script.push(select));
        script.push(b"COMMIT".to_vec());
        script.packets()
    }

    /// Reads the revisions of these keys.
    pub(crate) fn revisions(&self, keys: &[&[u8]], packet_bytes: usize) -> Vec<Vec<u8>> {
        let head =
            format!("SELECT k, revision FROM `{}` FORCE INDEX (PRIMARY) WHERE k IN ", self.table);
        let mut script = Script::new(packet_bytes);
        lists(keys, packet_bytes).iter().for_each(|list| script.push(join(&head, list)));
        script.packets()
    }

    /// The steps of a batch whose operations are in the order of their keys. Its last step
    /// commits, and no other does. Every expected revision is a number. Unless it is `over_parts`
    /// no value is large, and a row with parts that would be replaced makes it fail.
    pub(crate) fn batch(
        &self,
        ops: &[&Op],
        revision: u64,
        packet_bytes: usize,
        over_parts: bool,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut script = Script::new(packet_bytes);
        script.push(b"START TRANSACTION".to_vec());
        let head = format!("INSERT INTO `{}` {ROW_HEAD}", self.table).into_bytes();
        let tail = if over_parts { TAIL_OVER_PARTS } else { TAIL_OF_SMALL };
        let insert = |rows: &[u8]| [&head[..], rows, ROW_TAIL.as_bytes(), tail.as_bytes()].concat();
        let mut rows = Vec::new();
        for (index, op) in ops.iter().enumerate() {
            let row = row(op, revision);
            let fits = |rows: &[u8]| rows.len() + row.len() + FRAME_BYTES <= packet_bytes;
            if !rows.is_empty() && !fits(&rows) {
                script.push(insert(&std::mem::take(&mut rows)));
            }
            if fits(&[]) {
                rows.extend_from_slice(if rows.is_empty() { b"" } else { b"," });
                rows.extend_from_slice(&row);
                continue;
            }
            steps.extend(std::mem::replace(&mut script, Script::new(packet_bytes)).steps());
            steps.push(Step::Row(index));
        }
        if !rows.is_empty() {
            script.push(insert(&rows));
        }
        self.finish(ops, over_parts, &mut script);
        let groups = ops.iter().enumerate().flat_map(|(index, op)| {
            let groups = parts::groups(op, packet_bytes).into_iter();
            groups.map(move |group| Step::Parts(index, group))
        });
        let groups: Vec<Step> = groups.collect();
        if !groups.is_empty() {
            steps.extend(std::mem::replace(&mut script, Script::new(packet_bytes)).steps());
            steps.extend(groups);
        }
        script.push(b"COMMIT".to_vec());
        steps.extend(script.steps());
        steps
    }

    /// What follows the rows of a batch: looks for those that had to be there, and removes.
    fn finish(&self, ops: &[&Op], over_parts: bool, script: &mut Script) {
        let guard = format!(
            "SELECT ~0 + COUNT(*) FROM `{}` FORCE INDEX (PRIMARY) WHERE expected > 0 AND k IN ",
            self.table
        );
        let remove = format!("{} t.k IN ", delete(&self.table));
        let mut each = |head: &str, wanted: fn(&Op) -> bool| {
            let keys: Vec<&[u8]> = ops.iter().filter(|op| wanted(op)).map(key).collect();
            for list in lists(&keys, script.packet_bytes) {
                script.push(join(head, &list));
            }
        };
        each(&guard, expects_row);
        each(&remove, leaves_nothing);
        if over_parts {
            each(&parts::clear(&self.table), |op| matches!(op, Op::Put { .. }));
        }
    }

    /// One page. Each row also says how many rows it was chosen from, of which one more than
    /// `rows` was asked for: by that the caller knows whether the page ended early.
    pub(crate) fn list(&self, page: &PageOf<'_>) -> Vec<u8> {
        let mut condition = join("k >= ", &literal(page.start));
        if !page.inclusive {
            condition = join("k > ", &literal(page.start));
        }
        if let Some(end) = &page.end {
            condition.extend_from_slice(b" AND k < ");
            condition.extend_from_slice(&literal(end));
        }
        let (table, rows) = (&self.table, page.rows);
        // Which index leads to fewer rows of a filter is for the server to say.
        let index = if page.filter.is_empty() { "FORCE INDEX (PRIMARY)" } else { "" };
        condition.extend_from_slice(&page.filter);
        let inner = |columns: &str| {
            let head = format!("SELECT {columns} FROM `{table}` {index} WHERE ");
            let tail = format!(" ORDER BY k LIMIT {}", rows + 1);
            [head.into_bytes(), condition.clone(), tail.into_bytes()].concat()
        };
        let Some(bytes) = page.value_bytes else { return inner("k, size") };
        // The sizes decide how many of the rows have room, before any value is read. The rows come
        // in any order: to sort them the server would write their values to a table of its own.
        let head = "SELECT t.k, t.size, t.revision, t.v, p.number, p.data, c.found FROM \
                    (SELECT k, size, \
                    SUM(size) OVER (ORDER BY k ROWS UNBOUNDED PRECEDING) AS upto, \
                    ROW_NUMBER() OVER (ORDER BY k) AS place, COUNT(*) OVER () AS found FROM (";
        let tail = format!(
            ") a) c STRAIGHT_JOIN `{table}` t FORCE INDEX (PRIMARY) ON t.k = c.k {} \
             WHERE c.place <= {rows} AND (c.place = 1 OR c.upto <= {bytes})",
            parts::join(table)
        );
        [head.as_bytes(), &inner("k, size"), tail.as_bytes()].concat()
    }
}

/// What is asked of a page.
#[derive(Debug)]
pub(crate) struct PageOf<'a> {
    /// Where it begins.
    pub(crate) start: &'a [u8],
    /// Whether a row at `start` is part of it.
    pub(crate) inclusive: bool,
    /// The first key behind it, where there is one.
    pub(crate) end: Option<Vec<u8>>,
    /// How many rows it has at the most.
    pub(crate) rows: usize,
    /// What else must hold of its rows, beginning with ` AND `.
    pub(crate) filter: Vec<u8>,
    /// Whether values are wanted, and how many bytes of them at the most; one is always taken.
    pub(crate) value_bytes: Option<usize>,
}

/// One exchange with the server.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// These statements.
    Text(Vec<u8>),
    /// The statement [`Statements::row`] for the operation at this place.
    Row(usize),
    /// Some parts of the value of the operation at this place: the first, and how many.
    Parts(usize, (usize, usize)),
}

/// Statements in as few packets as they fit in.
struct Script {
    packet_bytes: usize,
    packets: Vec<Vec<u8>>,
}

impl Script {
    fn new(packet_bytes: usize) -> Self {
        Self { packet_bytes, packets: Vec::new() }
    }

    fn push(&mut self, statement: Vec<u8>) {
        // The command's own byte and the semicolon.
        let room = self.packet_bytes.saturating_sub(statement.len() + 2);
        match self.packets.last_mut() {
            Some(packet) if packet.len() <= room => {
                packet.push(b';');
                packet.extend_from_slice(&statement);
            }
            _ => self.packets.push(statement),
        }
    }

    fn packets(self) -> Vec<Vec<u8>> {
        self.packets
    }

    fn steps(self) -> impl Iterator<Item = Step> {
        self.packets.into_iter().map(Step::Text)
    }
}

fn key<'a>(op: &&'a Op) -> &'a [u8] {
    op.key().as_bytes()
}

/// Whether the operation needs a row to be there.
fn expects_row(op: &Op) -> bool {
    matches!(op.expect(), Expect::Revision(_))
}

/// Whether there is no row for the operation's key once the batch has happened.
fn leaves_nothing(op: &Op) -> bool {
    match op {
        Op::Put { .. } => false,
        Op::Delete { .. } => true,
        Op::Check { expect, .. } => *expect == Expect::Absent,
    }
}

/// What the column `expected` gets: nothing for anything, 0 for absent (no revision is 0).
fn expected(expect: &Expect) -> Option<u64> {
    match expect {
        Expect::Any => None,
        Expect::Absent => Some(0),
        Expect::Revision(revision) => revision.as_number(),
    }
}

/// The numbers of an operation's row, and the value that stands in it.
pub(crate) struct Columns<'a> {
    pub(crate) size: u64,
    pub(crate) revision: u64,
    pub(crate) expected: Option<u64>,
    pub(crate) value: &'a [u8],
    /// Where its parts are.
    pub(crate) parts: Option<u64>,
}

pub(crate) fn columns(op: &Op, revision: u64) -> Columns<'_> {
    let expected = expected(op.expect());
    let Op::Put { value, .. } = op else {
        return Columns { size: 0, revision: PLACE, expected, value: b"", parts: None };
    };
    let size = value.len() as u64;
    match parts::is_large(op) {
        true => Columns { size, revision, expected, value: b"", parts: Some(revision) },
        false => Columns { size, revision, expected, value, parts: None },
    }
}

/// A row of a batch: key, size, revision, expected, value, what is told of it, and its parts.
fn row(op: &Op, revision: u64) -> Vec<u8> {
    let Columns { size, revision, expected, value, parts } = columns(op, revision);
    let number = |number: Option<u64>| number.map_or_else(|| "NULL".to_owned(), |n| n.to_string());
    let numbers = format!(",{size},{revision},{},", number(expected));
    let mut row = Vec::with_capacity(value.len() + op.key().as_bytes().len() + 64);
    row.push(b'(');
    quote(op.key().as_bytes(), &mut row);
    row.extend_from_slice(numbers.as_bytes());
    quote(value, &mut row);
    describe::write(op, &mut row);
    row.extend_from_slice(format!(",{})", number(parts)).as_bytes());
    row
}

/// Removes rows `t` and their parts, up to the condition.
fn delete(table: &str) -> String {
    format!("DELETE t, p FROM `{table}` t FORCE INDEX (PRIMARY) {} WHERE", parts::join(table))
}

fn join(head: &str, tail: &[u8]) -> Vec<u8> {
    [head.as_bytes(), tail].concat()
}

/// Lists in brackets, of so many keys as one statement should have.
fn lists(keys: &[&[u8]], packet_bytes: usize) -> Vec<Vec<u8>> {
    let mut lists: Vec<Vec<u8>> = Vec::new();
    let mut count = 0;
    for key in keys {
        let literal = literal(key);
        match lists.last_mut() {
            Some(list)
                if count < KEYS_EACH
                    && list.len() + literal.len() + FRAME_BYTES <= packet_bytes =>
            {
                list.push(b',');
                list.extend_from_slice(&literal);
                count += 1;
            }
            _ => {
                lists.push([b"(", &literal[..]].concat());
                count = 1;
            }
        }
    }
    lists.iter_mut().for_each(|list| list.push(b')'));
    lists
}

pub(crate) fn literal(bytes: &[u8]) -> Vec<u8> {
    let mut literal = Vec::with_capacity(bytes.len() + 2);
    quote(bytes, &mut literal);
    literal
}

/// Bytes in quotes. Sessions have `NO_BACKSLASH_ESCAPES` and the character set `binary`, so that
/// the quote is the only byte that means something.
pub(crate) fn quote(bytes: &[u8], text: &mut Vec<u8>) {
    text.push(b'\'');
    for part in bytes.split_inclusive(|byte| *byte == b'\'') {
        text.extend_from_slice(part);
        if part.ends_with(b"'") {
            text.push(b'\'');
        }
    }
    text.push(b'\'');
}
