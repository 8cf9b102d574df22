//! People in a table: a CSV file, as spreadsheets and personnel systems write them, and what
//! each of its lines says. Nothing of the server is looked at here.

use std::collections::{HashMap, HashSet};

use accounts::{Cell, ImportedRow};
use csv::{ByteRecord, ReaderBuilder, Trim};
use model::PersonKind;
use runtime::Timestamp;

/// The longest file, in bytes.
pub const MAX_TABLE_BYTES: usize = 16 * 1_024 * 1_024;
/// The most lines with people.
const MAX_ROWS: usize = 100_000;
/// The longest line, in bytes.
const MAX_ROW_BYTES: usize = 8 * 1_024;
/// The most columns.
const MAX_COLUMNS: usize = 64;
/// Milliseconds of a day.
const DAY: u64 = 24 * 60 * 60 * 1_000;
/// What takes something away; an empty cell leaves it as it is.
const NOTHING: &str = "-";
/// What stands between the departments of one person.
const BETWEEN: char = '|';

/// What a column may say, by its name in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Column {
    Localpart,
    DisplayName,
    Email,
    Departments,
    Kind,
    Organisation,
    Expires,
    Language,
}

/// The names of the columns; the first of each is the one that is documented.
const COLUMNS: [(Column, &[&str]); 8] = [
    (Column::Localpart, &["localpart", "user", "username"]),
    (
        Column::DisplayName,
        &["display_name", "displayname", "name"],
    ),
    (Column::Email, &["email", "e-mail", "mail"]),
    (Column::Departments, &["departments", "department"]),
    (Column::Kind, &["kind"]),
    (Column::Organisation, &["organisation", "organization"]),
    (Column::Expires, &["expires", "expiry"]),
    (Column::Language, &["language", "lang"]),
];

impl Column {
    fn of(name: &str) -> Option<Self> {
        let name = name.trim().to_lowercase().replace(' ', "_");
        let found = COLUMNS
            .iter()
            .find(|(_, names)| names.contains(&name.as_str()));
        found.map(|(column, _)| *column)
    }

    fn name(self) -> &'static str {
        let found = COLUMNS.iter().find(|(column, _)| *column == self);
        found.map_or("", |(_, names)| names[0])
    }
}

/// The names of the columns that a table may have.
pub fn table_columns() -> Vec<&'static str> {
    COLUMNS.iter().map(|(column, _)| column.name()).collect()
}

/// A line that says nothing usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number in the file, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: String,
}

/// A table that was read: its good lines and its bad ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeopleTable {
    /// The people.
    pub rows: Vec<ImportedRow>,
    /// What cannot be read.
    pub bad: Vec<BadLine>,
}

/// Why a whole table cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// The file is too long.
    #[error("the file is longer than 16 MiB")]
    TooLarge,
    /// There are too many people in it.
    #[error("the file has more than {} people", MAX_ROWS)]
    TooManyRows,
    /// There is no header.
    #[error("the file is empty: its first line names the columns")]
    NoHeader,
    /// The header is no text.
    #[error("the first line, which names the columns, is not UTF-8")]
    NotUtf8,
    /// The header names a column twice, under whichever names.
    #[error("the column {0:?} is there twice")]
    Twice(&'static str),
    /// The header names what there is not.
    #[error("there is no column {0:?}: there are {list}", list = table_columns().join(", "))]
    UnknownColumn(String),
    /// The column without which nobody is known is missing.
    #[error("the column \"localpart\" is missing")]
    NoLocalpart,
    /// What no table can be made of.
    #[error("the file cannot be read: {0}")]
    Unreadable(String),
}

/// Reads a table of people: UTF-8 with or without a mark at its beginning; comma, semicolon or
/// tabulator between the columns, whichever the header has most of; quotes around what needs
/// them; the names of the columns first.
///
/// # Errors
/// [`TableError`], if not even the header can be used. What is wrong with single lines stands
/// in the table.
pub fn people_table(bytes: &[u8]) -> Result<PeopleTable, TableError> {
    if bytes.len() > MAX_TABLE_BYTES {
        return Err(TableError::TooLarge);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter_of(bytes))
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .from_reader(bytes);
    let mut record = ByteRecord::new();
    let unreadable = |error: csv::Error| TableError::Unreadable(error.to_string());
    if !reader.read_byte_record(&mut record).map_err(unreadable)? {
        return Err(TableError::NoHeader);
    }
    let columns = columns_of(&record)?;
    let (mut table, mut seen) = (PeopleTable::default(), Seen::default());
    let mut lines = Lines::new(bytes);
    while reader.read_byte_record(&mut record).map_err(unreadable)? {
        let begin = record.position().map_or(0, csv::Position::byte);
        let line = lines.of(usize::try_from(begin).unwrap_or(usize::MAX));
        // Spreadsheets leave lines of nothing behind.
        if record.iter().all(<[u8]>::is_empty) {
            continue;
        }
        if table.rows.len() + table.bad.len() >= MAX_ROWS {
            return Err(TableError::TooManyRows);
        }
        let read = row_of(&columns, &record, line).and_then(|row| {
            seen.check(&row)?;
            Ok(row)
        });
        match read {
            Ok(row) => table.rows.push(row),
            Err(why) => table.bad.push(BadLine { line, why }),
        }
    }
    Ok(table)
}

/// The numbers of lines, however they end: the reader of tables counts some kinds only, and
/// takes lines of nothing for the beginning of what comes behind them.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u64,
}

impl<'a> Lines<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            line: 1,
        }
    }

    /// The line of what begins at this byte, or behind the lines of nothing there. Asked in
    /// the order of the bytes.
    fn of(&mut self, begin: usize) -> u64 {
        while let Some(&byte) = self.bytes.get(self.at) {
            let is_end = matches!(byte, b'\r' | b'\n');
            if self.at >= begin && !is_end {
                break;
            }
            let ends =
                byte == b'\n' || (byte == b'\r' && self.bytes.get(self.at + 1) != Some(&b'\n'));
            self.line += u64::from(ends);
            self.at += 1;
        }
        self.line
    }
}

/// What most stands between the columns of the first line, outside of quotes.
fn delimiter_of(bytes: &[u8]) -> u8 {
    let mut counts = [(b',', 0_u32), (b';', 0), (b'\t', 0)];
    let mut is_quoted = false;
    for &byte in bytes {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\n' | b'\r' if !is_quoted => break,
            _ if is_quoted => {}
            _ => {
                for (delimiter, count) in &mut counts {
                    *count += u32::from(*delimiter == byte);
                }
            }
        }
    }
    // Of those that are as many the first.
    let best = counts.iter().rev().max_by_key(|(_, count)| *count);
    best.map_or(b',', |(delimiter, _)| *delimiter)
}

fn columns_of(record: &ByteRecord) -> Result<Vec<Column>, TableError> {
    let mut columns = Vec::new();
    for name in record.iter().take(MAX_COLUMNS) {
        let name = std::str::from_utf8(name).map_err(|_| TableError::NotUtf8)?;
        let column = Column::of(name)
            .ok_or_else(|| TableError::UnknownColumn(name.chars().take(40).collect()))?;
        if columns.contains(&column) {
            return Err(TableError::Twice(column.name()));
        }
        columns.push(column);
    }
    match columns.contains(&Column::Localpart) {
        true => Ok(columns),
        false => Err(TableError::NoLocalpart),
    }
}

/// Who stands in the table already, and in which line.
#[derive(Default)]
struct Seen {
    names: HashMap<String, u64>,
    emails: HashMap<String, u64>,
}

impl Seen {
    fn check(&mut self, row: &ImportedRow) -> Result<(), String> {
        if let Some(earlier) = self.names.insert(row.localpart.to_lowercase(), row.line) {
            return Err(format!("{} stands in line {earlier} too", row.localpart));
        }
        if let Cell::Set(email) = &row.email
            && let Some(earlier) = self.emails.insert(email.clone(), row.line)
        {
            return Err(format!(
                "the e-mail address {email} stands in line {earlier} too"
            ));
        }
        Ok(())
    }
}

fn row_of(columns: &[Column], record: &ByteRecord, line: u64) -> Result<ImportedRow, String> {
    if record.as_slice().len() > MAX_ROW_BYTES {
        return Err("it is longer than 8 KiB: is a quote not closed?".to_owned());
    }
    if record.len() != columns.len() {
        return Err(format!(
            "it has {} columns, and the header has {}",
            record.len(),
            columns.len()
        ));
    }
    let mut row = ImportedRow {
        line,
        ..ImportedRow::default()
    };
    for (column, value) in columns.iter().zip(record) {
        let value = std::str::from_utf8(value)
            .map_err(|_| format!("its {} is not UTF-8", column.name()))?;
        if value.chars().any(char::is_control) {
            return Err(format!("its {} has what is not seen", column.name()));
        }
        take(&mut row, *column, value)?;
    }
    match row.localpart.is_empty() {
        true => Err("it has no localpart".to_owned()),
        false => Ok(row),
    }
}

fn take(row: &mut ImportedRow, column: Column, value: &str) -> Result<(), String> {
    match column {
        Column::Localpart => row.localpart = value.to_owned(),
        Column::DisplayName => row.display_name = text(value),
        Column::Organisation => row.organisation = text(value),
        Column::Language => row.language = text(value),
        Column::Email => {
            row.email = match text(value) {
                Cell::Set(typed) => Cell::Set(
                    accounts::canonical_email(&typed)
                        .ok_or_else(|| format!("{typed:?} is no e-mail address"))?,
                ),
                other => other,
            }
        }
        Column::Departments => row.departments = departments(value)?,
        Column::Kind if value.is_empty() => {}
        Column::Kind => {
            let kind = PersonKind::from_name(&value.to_lowercase());
            let kind = kind.ok_or_else(|| format!("{value:?} is neither member nor partner"))?;
            row.kind = Some(kind);
        }
        Column::Expires => {
            row.expires_at = match text(value) {
                Cell::Set(typed) => Cell::Set(last_day(&typed).ok_or_else(|| {
                    format!("{typed:?} is no day: write 2027-03-31, the last day of the account")
                })?),
                Cell::Clear => Cell::Clear,
                Cell::Keep => Cell::Keep,
            }
        }
    }
    Ok(())
}

fn text(value: &str) -> Cell<String> {
    match value {
        "" => Cell::Keep,
        NOTHING => Cell::Clear,
        value => Cell::Set(value.to_owned()),
    }
}

fn departments(value: &str) -> Result<Cell<Vec<String>>, String> {
    let names = match text(value) {
        Cell::Keep => return Ok(Cell::Keep),
        Cell::Clear => return Ok(Cell::Clear),
        Cell::Set(names) => names,
    };
    let (mut listed, mut keys) = (Vec::new(), HashSet::new());
    for name in names
        .split(BETWEEN)
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        let key = accounts::department_key(name)
            .ok_or_else(|| format!("{name:?} is no department's name"))?;
        if keys.insert(key) {
            listed.push(name.to_owned());
        }
    }
    Ok(Cell::Set(listed))
}

/// The end of an account: of a day its end, of a moment that moment, in ms since the Unix epoch.
pub fn last_day(typed: &str) -> Option<u64> {
    let moment = Timestamp::parse(typed)?.0;
    match typed.contains(':') {
        true => Some(moment),
        false => moment.checked_add(DAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<ImportedRow> {
        let table = people_table(text.as_bytes()).unwrap();
        assert_eq!(table.bad, [], "{text}");
        table.rows
    }

    fn bad(text: &str) -> Vec<(u64, String)> {
        let table = people_table(text.as_bytes()).unwrap();
        let bad = table.bad.into_iter();
        bad.map(|line| (line.line, line.why)).collect()
    }

    #[test]
    fn the_same_people_come_with_every_delimiter_and_mark() {
        let plain = "localpart,display_name,email\nanna,\"Berg, Anna\",Anna@A.example\n";
        let expected = rows(plain);
        assert_eq!(expected[0].display_name, Cell::Set("Berg, Anna".to_owned()));
        assert_eq!(expected[0].email, Cell::Set("anna@a.example".to_owned()));
        for text in [
            "\u{feff}localpart;Display name;e-mail\r\nanna;Berg, Anna;anna@a.example\r\n",
            "Localpart\tname\tmail\nanna\t\"Berg, Anna\"\tanna@a.example",
            "\"localpart\" ,\"name\" , email\n anna ,\"Berg, Anna\" , anna@a.example \n\n,,\n",
        ] {
            assert_eq!(rows(text), expected, "{text}");
        }
    }

    #[test]
    fn a_cell_sets_clears_or_says_nothing() {
        let found = rows(
            "localpart,departments,kind,organisation,expires,language\n\
             a,Works|Parks | works,Partner,Bridge Ltd,2027-03-31,de\n\
             b,-,member,-,-,-\n\
             c,,,,,\n\
             d,,,,2027-03-31T12:00,\n",
        );
        let expected = vec!["Works".to_owned(), "Parks".to_owned()];
        assert_eq!(found[0].departments, Cell::Set(expected));
        assert_eq!(found[0].kind, Some(PersonKind::Partner));
        // The whole last day.
        assert_eq!(found[0].expires_at, Cell::Set(1_806_537_600_000));
        assert_eq!(found[1].departments, Cell::Clear);
        assert_eq!(
            (&found[1].organisation, &found[1].expires_at),
            (&Cell::Clear, &Cell::Clear)
        );
        let empty = ImportedRow {
            line: 4,
            localpart: "c".to_owned(),
            ..ImportedRow::default()
        };
        assert_eq!(found[2], empty);
        assert_eq!(found[3].expires_at, Cell::Set(1_806_494_400_000));
    }

    #[test]
    fn bad_lines_are_named_and_the_others_read() {
        let text = "localpart,email,kind,expires\n\
                    a,nobody,,\n\
                    b,,,soon\n\
                    c,,friend,\n\
                    d,x@y.example,,,,\n\
                    ,x@y.example,,\n\
                    e,x@y.example,,\n\
                    f,X@Y.example,,\n\
                    E,,,\n\
                    g,,,\n";
        let found = bad(text);
        let lines: Vec<u64> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 8, 9]);
        assert!(found[5].1.contains("line 7"), "{found:?}");
        let good = people_table(text.as_bytes()).unwrap().rows;
        let names: Vec<&str> = good.iter().map(|row| row.localpart.as_str()).collect();
        assert_eq!(names, ["e", "g"]);
        let latin = people_table(b"localpart,name\nanna,\xe4\nb,c\n").unwrap();
        assert_eq!((latin.bad[0].line, latin.rows.len()), (2, 1));
        assert_eq!(
            bad("localpart\rx,y\r\r\rz,y\r\n\n\r\na,b"),
            [2, 5, 8].map(|line| (line, "it has 2 columns, and the header has 1".to_owned()))
        );
        let unclosed = format!("localpart\nanna\n\"{}", "b\n".repeat(9_000));
        assert_eq!(bad(&unclosed)[0].0, 3);
    }

    #[test]
    fn a_header_must_be_one() {
        for (text, expected) in [
            ("", TableError::NoHeader),
            ("anna,berta\n", TableError::UnknownColumn("anna".to_owned())),
            ("name\nAnna\n", TableError::NoLocalpart),
            ("user,localpart\n", TableError::Twice("localpart")),
        ] {
            assert_eq!(people_table(text.as_bytes()), Err(expected), "{text}");
        }
        assert_eq!(people_table(b"\xff\n"), Err(TableError::NotUtf8));
        let long = vec![b'a'; MAX_TABLE_BYTES + 1];
        assert_eq!(people_table(&long), Err(TableError::TooLarge));
    }
}
