//! `cairn user import`: a table of people becomes accounts, and those who have no password yet
//! get invitations. Whatever breaks off is begun anew: what was done is not done again.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use accounts::{ImportedRow, RowOutcome, RowReport};
use actions::{BadLine, IMPORTED_AT_ONCE, MAX_TABLE_BYTES, PeopleWish, people_table};
use console::SheetInvitation;
use runtime::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Failure, administer::asked_for, people::ask};
use crate::{
    command_line::{Common, UserImport},
    config::Config,
    progress::Teller,
};

/// How many people are invited at once.
const INVITED_AT_ONCE: usize = 50;
/// How many bytes the lines of one request have at most, about.
const MOST_BYTES: usize = 256 * 1_024;
/// How many lines are told one by one at most.
const MOST_TOLD: usize = 200;

/// What became of the lines.
#[derive(Default)]
struct Counts {
    created: usize,
    changed: usize,
    unchanged: usize,
}

/// An invitation as the server answers it.
#[derive(Deserialize)]
struct Given {
    user_id: String,
    display_name: Option<String>,
    sent_to: Option<String>,
    token: Option<String>,
    expires_at: Option<u64>,
    failure: Option<String>,
}

/// Does `cairn user import`.
pub(super) fn run(import: UserImport, common: &Common) -> Result<Answer, Failure> {
    let config = Config::load(&common.config)?;
    let bytes = read(&import.file)?;
    let table = people_table(&bytes).map_err(|error| Failure::Other(error.to_string()))?;
    let mut teller = Teller::counting(common.json, "people");
    let reports = check(&config, &table.rows, &mut teller)?;
    let refused = reports.iter().filter_map(|row| match &row.outcome {
        RowOutcome::Refused(why) => Some(BadLine {
            line: row.line,
            why: why.clone(),
        }),
        _ => None,
    });
    let mut bad: Vec<BadLine> = refused.chain(table.bad.iter().cloned()).collect();
    bad.sort_by_key(|bad| bad.line);
    if import.dry_run {
        return Ok(planned(&reports, &bad));
    }
    if !bad.is_empty() && !import.skip_bad {
        return Err(not_done(&bad));
    }
    if import.sheet.is_some() || import.links.is_some() {
        // Before anything is done: the invitations would be shown nowhere.
        config.public_address().ok_or_else(no_address)?;
        for path in [&import.sheet, &import.links].into_iter().flatten() {
            if path.exists() {
                return Err(Failure::Other(format!(
                    "{} is there already",
                    path.display()
                )));
            }
        }
    }
    let reason = asked_for(import.why)?;
    let good: Vec<ImportedRow> = table.rows;
    let done = apply(
        &config,
        good,
        import.skip_bad,
        reason.as_deref(),
        &mut teller,
    )?;
    let open: Vec<String> = done
        .iter()
        .filter(|row| row.needs_invitation)
        .map(|row| row.localpart.clone())
        .collect();
    let paths = (import.sheet.as_deref(), import.links.as_deref());
    let output = Output::open(paths, config.server_name.as_str(), open.len())?;
    let wanted = import.mail || output.is_some();
    let mut given = Vec::new();
    if wanted {
        let invite = Invite {
            config: &config,
            days: import.expires_after_days,
            by_mail: import.mail,
            keeps: output.is_some(),
            reason: reason.as_deref(),
        };
        given = invite.all(&open, output, &mut teller)?;
    }
    drop(teller);
    Ok(finished(&done, &bad, open.len(), &given))
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::Other(format!("{} cannot be read: {error}", file.display()));
    let mut bytes = Vec::new();
    // One more than is taken, so that a longer file is told from one that is just short enough.
    let most = u64::try_from(MAX_TABLE_BYTES).unwrap_or(u64::MAX) + 1;
    if file == Path::new("-") {
        let mut input = std::io::stdin().take(most);
        input.read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let mut input = File::open(file).map_err(failed)?.take(most);
        input.read_to_end(&mut bytes).map_err(failed)?;
    }
    Ok(bytes)
}

/// The lines in pieces that one request takes.
fn pieces(rows: &[ImportedRow]) -> Vec<&[ImportedRow]> {
    let mut pieces = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (place, row) in rows.iter().enumerate() {
        let length = serde_json::to_string(row).map_or(0, |text| text.len());
        if place > from && (place - from >= IMPORTED_AT_ONCE || bytes + length > MOST_BYTES) {
            pieces.push(&rows[from..place]);
            (from, bytes) = (place, 0);
        }
        bytes += length;
    }
    if from < rows.len() {
        pieces.push(&rows[from..]);
    }
    pieces
}

fn reports_of(answer: &mut Value) -> Result<Vec<RowReport>, Failure> {
    serde_json::from_value(answer["rows"].take())
        .map_err(|error| Failure::Other(format!("the answer cannot be read: {error}")))
}

fn check(
    config: &Config,
    rows: &[ImportedRow],
    teller: &mut Teller,
) -> Result<Vec<RowReport>, Failure> {
    teller.start("checking", rows.len());
    let mut reports = Vec::with_capacity(rows.len());
    for piece in pieces(rows) {
        let rows = piece.to_vec();
        let mut answer = ask(config, PeopleWish::CheckImport { rows }, None)?;
        reports.extend(reports_of(&mut answer)?);
        teller.advance(piece.len());
    }
    Ok(reports)
}

fn apply(
    config: &Config,
    rows: Vec<ImportedRow>,
    skips_bad: bool,
    reason: Option<&str>,
    teller: &mut Teller,
) -> Result<Vec<RowReport>, Failure> {
    teller.start("importing", rows.len());
    let mut reports = Vec::with_capacity(rows.len());
    for piece in pieces(&rows) {
        let wish = PeopleWish::Import {
            rows: piece.to_vec(),
            skips_bad,
        };
        let mut answer = ask(config, wish, reason.map(str::to_owned))?;
        let piece_reports = reports_of(&mut answer)?;
        if answer["applied"] != true {
            // Somebody else has changed something since the lines were checked.
            let bad: Vec<BadLine> = piece_reports.iter().filter_map(bad_line).collect();
            return Err(Failure::Other(format!(
                "{} lines before these were imported; then something had changed:\n{}",
                reports.len(),
                told_lines(&bad)
            )));
        }
        reports.extend(piece_reports);
        teller.advance(piece.len());
    }
    Ok(reports)
}

fn bad_line(row: &RowReport) -> Option<BadLine> {
    match &row.outcome {
        RowOutcome::Refused(why) => Some(BadLine {
            line: row.line,
            why: why.clone(),
        }),
        _ => None,
    }
}

/// Where invitations are written that are not sent.
enum Output {
    /// With what stands behind the sheets.
    Sheet(File, String),
    Links(File),
}

impl Output {
    /// Makes the file, which only this system user may read: whoever has it can join.
    fn open(
        (sheet, links): (Option<&Path>, Option<&Path>),
        server_name: &str,
        count: usize,
    ) -> Result<Option<Self>, Failure> {
        let make = |path: &Path| {
            let file = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path);
            file.map_err(|error| {
                Failure::Other(format!("{} cannot be written: {error}", path.display()))
            })
        };
        match (sheet, links) {
            (Some(path), _) => {
                let mut file = make(path)?;
                let (begin, end) = console::sheet_frame(server_name, count);
                let whole = begin + &end;
                file.write_all(whole.as_bytes()).map_err(unwritten)?;
                Ok(Some(Self::Sheet(file, end)))
            }
            (None, Some(path)) => {
                let mut file = make(path)?;
                file.write_all(b"user,name,link\r\n").map_err(unwritten)?;
                Ok(Some(Self::Links(file)))
            }
            (None, None) => Ok(None),
        }
    }

    /// Writes some invitations, durably.
    fn write(&mut self, config: &Config, given: &[Given]) -> Result<(), Failure> {
        let address = config.public_address().ok_or_else(no_address)?;
        let link = |token: &str| console::invitation_link(&address.url, token);
        match self {
            Self::Sheet(file, end) => {
                let sheets = given.iter().filter_map(|one| {
                    Some(SheetInvitation {
                        link: link(one.token.as_deref()?),
                        uses: 1,
                        expires_at: one.expires_at.map(Timestamp),
                        name: Some(match &one.display_name {
                            Some(name) => format!("{name} ({})", one.user_id),
                            None => one.user_id.clone(),
                        }),
                    })
                });
                let sheets: Vec<SheetInvitation> = sheets.collect();
                let text = console::sheets(config.server_name.as_str(), &sheets) + end;
                // In the place of the end, which comes again behind them.
                let back = i64::try_from(end.len()).unwrap_or(i64::MAX);
                file.seek(SeekFrom::End(-back)).map_err(unwritten)?;
                file.write_all(text.as_bytes()).map_err(unwritten)?;
                file.sync_all().map_err(unwritten)
            }
            Self::Links(file) => {
                for one in given {
                    if let Some(token) = &one.token {
                        let name = one.display_name.as_deref().unwrap_or_default();
                        let fields = [one.user_id.as_str(), name, &link(token)].map(field);
                        let line = format!("{}\r\n", fields.join(","));
                        file.write_all(line.as_bytes()).map_err(unwritten)?;
                    }
                }
                file.sync_all().map_err(unwritten)
            }
        }
    }
}

/// A field of a table for spreadsheets, in which nothing becomes a formula.
fn field(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '\t', '\r']);
    let text = match is_formula {
        true => format!("'{text}"),
        false => text.to_owned(),
    };
    format!("\"{}\"", text.replace('"', "\"\""))
}

fn unwritten(error: std::io::Error) -> Failure {
    Failure::Other(format!(
        "the invitations could not be written: {error}; import again into a new file"
    ))
}

fn no_address() -> Failure {
    Failure::Other(
        "no address of this server is configured ([well_known] client), so there are no links"
            .to_owned(),
    )
}

/// How people are invited.
struct Invite<'a> {
    config: &'a Config,
    days: u32,
    by_mail: bool,
    /// Whether what is not sent is written somewhere.
    keeps: bool,
    reason: Option<&'a str>,
}

impl Invite<'_> {
    fn all(
        &self,
        users: &[String],
        mut output: Option<Output>,
        teller: &mut Teller,
    ) -> Result<Vec<Given>, Failure> {
        teller.start("inviting", users.len());
        let mut all = Vec::with_capacity(users.len());
        for piece in users.chunks(INVITED_AT_ONCE) {
            let wish = PeopleWish::Invite {
                users: piece.to_vec(),
                expires_after_days: Some(self.days),
                by_mail: self.by_mail,
            };
            let mut answer = ask(self.config, wish, self.reason.map(str::to_owned))?;
            let given: Vec<Given> = serde_json::from_value(answer["invitations"].take())
                .map_err(|error| Failure::Other(format!("the answer cannot be read: {error}")))?;
            if let Some(output) = &mut output {
                output.write(self.config, &given)?;
                // Only now: what is lost before is made anew the next time.
                let users = given.iter().filter(|one| one.token.is_some());
                let users = users.map(|one| one.user_id.clone()).collect();
                ask(self.config, PeopleWish::InvitationsGiven { users }, None)?;
            }
            all.extend(given);
            teller.advance(piece.len());
        }
        if !self.keeps {
            all.retain(|one| one.sent_to.is_some() || one.failure.is_some());
        }
        Ok(all)
    }
}

fn counted(reports: &[RowReport]) -> Counts {
    let mut counts = Counts::default();
    for row in reports {
        match row.outcome {
            RowOutcome::Created => counts.created += 1,
            RowOutcome::Changed(_) => counts.changed += 1,
            RowOutcome::Unchanged => counts.unchanged += 1,
            RowOutcome::Refused(_) => {}
        }
    }
    counts
}

fn told_lines(bad: &[BadLine]) -> String {
    let told = bad.iter().take(MOST_TOLD);
    let mut lines: Vec<String> = told
        .map(|bad| format!("line {}: {}", bad.line, bad.why))
        .collect();
    if bad.len() > MOST_TOLD {
        lines.push(format!(
            "and {} more (all of them with --json)",
            bad.len() - MOST_TOLD
        ));
    }
    lines.join("\n")
}

fn bad_json(bad: &[BadLine]) -> Value {
    let lines = bad.iter();
    lines
        .map(|bad| json!({ "line": bad.line, "why": bad.why }))
        .collect()
}

fn not_done(bad: &[BadLine]) -> Failure {
    Failure::Found {
        text: format!(
            "{}\n{} lines are bad; nothing was imported (--skip-bad imports the others)",
            told_lines(bad),
            bad.len()
        ),
        json: json!({ "error": "some lines are bad; nothing was imported", "bad": bad_json(bad) }),
    }
}

/// What would be done, line by line.
fn planned(reports: &[RowReport], bad: &[BadLine]) -> Answer {
    let counts = counted(reports);
    let rows: Vec<Value> = reports
        .iter()
        .filter(|row| !row.is_refused())
        .map(|row| json!({ "line": row.line, "user": row.localpart, "outcome": row.outcome }))
        .collect();
    let told = reports.iter().filter_map(|row| match &row.outcome {
        RowOutcome::Created => Some(format!("line {}: {} is new", row.line, row.localpart)),
        RowOutcome::Changed(things) => {
            let things = things.join(", ").replace('_', " ");
            Some(format!("line {}: {}: {things}", row.line, row.localpart))
        }
        _ => None,
    });
    let mut lines: Vec<String> = told.take(MOST_TOLD).collect();
    if !bad.is_empty() {
        lines.push(told_lines(bad));
    }
    lines.push(format!(
        "{} would be new, {} changed, {} stay as they are; {} lines are bad. Nothing was done.",
        counts.created,
        counts.changed,
        counts.unchanged,
        bad.len()
    ));
    Answer {
        text: lines.join("\n"),
        json: json!({
            "dry_run": true, "new": counts.created, "changed": counts.changed,
            "unchanged": counts.unchanged, "rows": rows, "bad": bad_json(bad),
        }),
    }
}

/// What was done.
fn finished(done: &[RowReport], bad: &[BadLine], open: usize, given: &[Given]) -> Answer {
    let counts = counted(done);
    let sent = given.iter().filter(|one| one.sent_to.is_some()).count();
    let failed: Vec<&Given> = given.iter().filter(|one| one.failure.is_some()).collect();
    let kept = given.iter().filter(|one| one.token.is_some()).count();
    let mut text = match counts.created + counts.changed {
        0 => format!(
            "Nothing changed: all {} are as the table says.",
            counts.unchanged
        ),
        _ => format!(
            "{} are new, {} were changed, {} stay as they were.",
            counts.created, counts.changed, counts.unchanged
        ),
    };
    if !bad.is_empty() {
        text += &format!(
            "\n{}\n{} lines were passed over.",
            told_lines(bad),
            bad.len()
        );
    }
    for one in failed.iter().take(MOST_TOLD) {
        let why = one.failure.as_deref().unwrap_or_default();
        text += &format!("\n{} was not written to: {why}", one.user_id);
    }
    text += &match (open, sent, kept) {
        (0, ..) => String::new(),
        (_, 0, 0) => format!(
            "\n{open} have no password and no invitation yet: import again with --mail, --sheet \
             or --links."
        ),
        _ => format!("\nInvitations: {sent} sent by e-mail, {kept} to be given out."),
    };
    Answer {
        text,
        json: json!({
            "new": counts.created, "changed": counts.changed, "unchanged": counts.unchanged,
            "bad": bad_json(bad), "without_invitation": open - (sent + kept).min(open),
            "sent": sent, "to_be_given_out": kept,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_in_pieces_that_a_request_takes() {
        let row = |number: usize, name: String| ImportedRow {
            localpart: format!("user{number}"),
            display_name: accounts::Cell::Set(name),
            ..ImportedRow::default()
        };
        let short: Vec<ImportedRow> = (0..601).map(|at| row(at, "A".to_owned())).collect();
        let lengths: Vec<usize> = pieces(&short).iter().map(|piece| piece.len()).collect();
        assert_eq!(lengths, [250, 250, 101]);
        let long: Vec<ImportedRow> = (0..100).map(|at| row(at, "x".repeat(7_000))).collect();
        let found = pieces(&long);
        assert!(found.len() > 2 && found.iter().all(|piece| piece.len() < 40));
        assert_eq!(found.concat(), long);
        assert!(pieces(&[]).is_empty());
    }

    #[test]
    fn no_field_becomes_a_formula() {
        assert_eq!(field("=1+1"), "\"'=1+1\"");
        assert_eq!(field("a \"b\""), "\"a \"\"b\"\"\"");
    }
}
