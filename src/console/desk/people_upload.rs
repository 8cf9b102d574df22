//! People from a file: uploaded and looked at, then imported, then invited. The file is kept for
//! the session in between, so that what was looked at is what is imported.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use accounts::{ImportedRow, RowOutcome, RowReport};
use actions::{IMPORTED_AT_ONCE, MAX_TABLE_BYTES, PeopleTable, Right, TableError, people_table};
use axum::{
    extract::{FromRequest, FromRequestParts as _, Request},
    response::Response,
};
use bytes::Bytes;
use http::{Method, StatusCode};
use sha2::{Digest as _, Sha256};
use web::{ApiError, FileForm, Part, Routes};

use super::{
    Desk,
    answers::Stop,
    parts::{self, badge, button, form, hidden},
    people::refused,
    people_import::{MOST, hand_out, page, report, side_by_side, unreadable},
    session::{Clerk, FORM_FIELD, Filled, Tied as _, must_be_ours},
};
use crate::{
    html::{Element, Node, element},
    texts::fill,
    words::WORDS,
};

const HERE: &str = "/console/import/file";
const KEPT: &str = "/console/import/kept";
/// How many people a file has at most. Longer ones are for the command line.
const MOST_OF_FILE: usize = 10_000;
/// How many bytes all kept files have together at most; a new one takes the place of the oldest.
const MAX_KEPT_BYTES: usize = 2 * MAX_TABLE_BYTES;
/// How long a file is kept, in ms.
const KEPT_FOR: u64 = 30 * 60 * 1_000;

pub(super) fn routes() -> Routes<Desk> {
    Routes::new()
        .plain(Method::POST, HERE, upload)
        .plain(Method::POST, KEPT, go_on)
}

/// A file that somebody has uploaded.
#[derive(Clone)]
struct Kept {
    bytes: Bytes,
    /// What the form that goes on with it names it by.
    name: String,
    at: u64,
}

/// The tables of people that were uploaded and may be imported: one of each session, in memory,
/// for a while.
#[derive(Clone, Default)]
pub struct KeptTables(Arc<Mutex<HashMap<String, Kept>>>);

impl KeptTables {
    /// Keeps a table for a session, in place of the one before. Returns its name.
    fn keep(&self, session: &str, bytes: Bytes, now: u64) -> String {
        let name: String = Sha256::digest(&bytes)[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let kept = Kept {
            bytes,
            name: name.clone(),
            at: now,
        };
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tables.retain(|_, kept| now.saturating_sub(kept.at) < KEPT_FOR);
        tables.insert(session.to_owned(), kept);
        let bytes = |tables: &HashMap<String, Kept>| {
            tables.values().map(|kept| kept.bytes.len()).sum::<usize>()
        };
        while bytes(&tables) > MAX_KEPT_BYTES {
            let others = tables.iter().filter(|(of, _)| *of != session);
            let oldest = others.min_by_key(|(_, kept)| kept.at);
            let Some(oldest) = oldest.map(|(of, _)| of.clone()) else {
                break;
            };
            tables.remove(&oldest);
        }
        name
    }

    /// The table of a session, if it is the one of that name.
    fn of(&self, session: &str, name: &str, now: u64) -> Option<Bytes> {
        let tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = tables.get(session)?;
        let is_it = kept.name == name && now.saturating_sub(kept.at) < KEPT_FOR;
        is_it.then(|| kept.bytes.clone())
    }
}

/// The form with the file, of somebody who may import people.
struct Uploaded(Clerk, Bytes);

impl FromRequest<Desk> for Uploaded {
    type Rejection = Stop;

    async fn from_request(request: Request, desk: &Desk) -> Result<Self, Stop> {
        let (mut parts, body) = request.into_parts();
        must_be_ours(desk, &parts)?;
        let clerk = Clerk::from_request_parts(&mut parts, desk).await?;
        // Nobody else's megabytes are read.
        clerk.must(Right::ImportPeople)?;
        let request = Request::from_parts(parts, body);
        let form = FileForm::read(request, MAX_TABLE_BYTES).await?;
        match form.fields.get(FORM_FIELD) == Some(&clerk.number()) {
            true => Ok(Self(clerk, form.file.unwrap_or_default())),
            false => Err(ApiError::forbidden(WORDS.failures.form).into()),
        }
    }
}

/// The part of the page that takes a file.
pub(super) fn card(clerk: &Clerk) -> Element {
    let words = &WORDS.import;
    let file = element("div")
        .with("class", "field")
        .has(element("label").with("for", "file").has(words.file))
        .has(parts::hint(words.file_hint).with("id", "file-hint"))
        .has(
            element("input")
                .with("type", "file")
                .with("id", "file")
                .with("name", "file")
                .with("accept", ".csv,.tsv,.txt,text/csv")
                .with("aria-describedby", "file-hint")
                .flag("required", true),
        );
    let form = form(clerk.form(), HERE)
        .with("enctype", "multipart/form-data")
        .has(file)
        .has(button(words.check));
    parts::card(words.file_title).has(form)
}

/// Reads a table where it holds up nobody.
async fn read(desk: &Desk, bytes: Bytes) -> Result<Result<PeopleTable, TableError>, Stop> {
    let read = desk.lane.run(move || people_table(&bytes)).await;
    read.map_err(|error| ApiError::internal(error).into())
}

/// `POST /console/import/file`: what a file would do.
async fn upload(
    Part(desk): Part<Desk>,
    Uploaded(clerk, bytes): Uploaded,
) -> Result<Response, Stop> {
    let words = &WORDS.import;
    let bad = |note| page(&desk, &clerk, "", StatusCode::BAD_REQUEST, Some(note));
    if bytes.is_empty() {
        return bad(parts::wrong(words.no_file));
    }
    let table = match read(&desk, bytes.clone()).await? {
        Ok(table) => table,
        Err(error) => return bad(parts::wrong(&error.to_string())),
    };
    if !table.bad.is_empty() {
        return bad(unreadable(&table.bad));
    }
    if table.rows.is_empty() || table.rows.len() > MOST_OF_FILE {
        return bad(parts::wrong(words.too_many));
    }
    let mut rows = Vec::with_capacity(table.rows.len());
    for piece in pieces(table.rows) {
        match desk.actions.check_import(&clerk.by(), piece).await {
            Ok(found) => rows.extend(found),
            Err(error) => {
                let (status, note) = refused(error)?;
                return page(&desk, &clerk, "", status, Some(note));
            }
        }
    }
    let mut result = counted(&rows, "plain", words.would);
    let (status, form) = match rows.iter().any(is_refused) {
        true => (StatusCode::BAD_REQUEST, None),
        false => {
            let name = desk.tables.keep(clerk.form(), bytes, desk.now().0);
            (StatusCode::OK, Some(apply_form(&clerk, &name)))
        }
    };
    result = result.has_all(form);
    page(&desk, &clerk, "", status, Some(result))
}

/// The lines in pieces of one commit each.
fn pieces(rows: Vec<ImportedRow>) -> impl Iterator<Item = Vec<ImportedRow>> {
    let mut rows = rows.into_iter();
    std::iter::from_fn(move || {
        let piece: Vec<ImportedRow> = rows.by_ref().take(IMPORTED_AT_ONCE).collect();
        (!piece.is_empty()).then_some(piece)
    })
}

fn is_refused(row: &RowReport) -> bool {
    matches!(row.outcome, RowOutcome::Refused(_))
}

/// What becomes of the lines, in numbers, and which are refused.
fn counted(rows: &[RowReport], kind: &str, text: &str) -> Element {
    let words = &WORDS.import;
    let count = |is: fn(&RowOutcome) -> bool| {
        let counted = rows.iter().filter(|row| is(&row.outcome));
        Node::from(counted.count().to_string())
    };
    let numbers = parts::facts([
        (words.created, count(|one| *one == RowOutcome::Created)),
        (
            words.all_changed,
            count(|one| matches!(one, RowOutcome::Changed(_))),
        ),
        (words.unchanged, count(|one| *one == RowOutcome::Unchanged)),
        (
            words.all_refused,
            count(|one| matches!(one, RowOutcome::Refused(_))),
        ),
    ]);
    let refused: Vec<RowReport> = rows
        .iter()
        .filter(|row| is_refused(row))
        .take(MOST)
        .cloned()
        .collect();
    match refused.is_empty() {
        true => parts::card(words.report)
            .with("role", "status")
            .has(element("p").has(parts::badges([badge(kind, text)])))
            .has(numbers),
        false => report(&refused, "bad", words.was_not).has(numbers),
    }
}

/// The form that goes on with a table that was looked at.
fn apply_form(clerk: &Clerk, name: &str) -> Element {
    form(clerk.form(), KEPT)
        .has(hidden("kept", name))
        .has(parts::reason("file-reason"))
        .has(
            button(WORDS.import.apply)
                .with("name", "as")
                .with("value", "apply"),
        )
}

/// The form that invites some of those who have no password yet.
fn invite_form(clerk: &Clerk, rows: &[RowReport], name: &str, reason: &str) -> Option<Element> {
    let words = &WORDS.import;
    let count = rows.iter().filter(|row| row.needs_invitation).count();
    if count == 0 || !clerk.may(Right::CreateInvitations) {
        return None;
    }
    let way = |text, value| button(text).with("name", "as").with("value", value);
    let count = count.to_string();
    let most = MOST.to_string();
    let told = fill(words.uninvited, &[("count", &count)]);
    let at_once = fill(words.invited_at_once, &[("most", &most)]);
    let form = form(clerk.form(), KEPT)
        .has(parts::hint(&told))
        .has(parts::hint(&at_once))
        .has(hidden("kept", name))
        .has(hidden("reason", reason))
        .has(side_by_side([
            way(words.print, "paper"),
            way(words.mail, "mail").with("class", "quiet"),
        ]));
    Some(form)
}

/// `POST /console/import/kept`: imports the table that was looked at, or invites its people.
async fn go_on(
    Part(desk): Part<Desk>,
    Filled(clerk, fields): Filled<Clerk>,
) -> Result<Response, Stop> {
    clerk.must(Right::ImportPeople)?;
    let words = &WORDS.import;
    let bad = |note| page(&desk, &clerk, "", StatusCode::BAD_REQUEST, Some(note));
    let (name, reason) = (fields.text("kept"), fields.text("reason"));
    let Some(bytes) = desk.tables.of(clerk.form(), name, desk.now().0) else {
        return bad(parts::wrong(words.not_kept));
    };
    if reason.is_empty() {
        return bad(parts::wrong(WORDS.acts.no_reason));
    }
    // It was read before; the same bytes are the same table.
    let rows = match read(&desk, bytes).await? {
        Ok(table) => table.rows,
        Err(error) => return bad(parts::wrong(&error.to_string())),
    };
    match fields.text("as") {
        "apply" => apply(&desk, &clerk, rows, name, reason).await,
        way => invite(&desk, &clerk, rows, reason, way == "mail").await,
    }
}

async fn apply(
    desk: &Desk,
    clerk: &Clerk,
    rows: Vec<ImportedRow>,
    name: &str,
    reason: &str,
) -> Result<Response, Stop> {
    let words = &WORDS.import;
    let by = clerk.because(reason);
    let mut done: Vec<RowReport> = Vec::with_capacity(rows.len());
    for piece in pieces(rows) {
        match desk.actions.import_people(&by, piece, false).await {
            Ok(piece) if piece.is_applied => done.extend(piece.rows),
            // Somebody else has changed something since the table was looked at.
            Ok(piece) => {
                let count = done.len().to_string();
                let note = parts::wrong(&fill(words.broken_off, &[("count", &count)]));
                let note = note.has(report(&piece.rows, "bad", words.was_not));
                return page(desk, clerk, "", StatusCode::CONFLICT, Some(note));
            }
            Err(error) => {
                let (status, note) = refused(error)?;
                return page(desk, clerk, "", status, Some(note));
            }
        }
    }
    let result = counted(&done, "good", words.was);
    let result = result.has_all(invite_form(clerk, &done, name, reason));
    page(desk, clerk, "", StatusCode::OK, Some(result))
}

/// Invites the next of those who have neither a password nor an invitation.
async fn invite(
    desk: &Desk,
    clerk: &Clerk,
    rows: Vec<ImportedRow>,
    reason: &str,
    by_mail: bool,
) -> Result<Response, Stop> {
    let by = clerk.because(reason);
    let mut users = Vec::new();
    for piece in pieces(rows) {
        let found = desk.actions.check_import(&by, piece).await?;
        let open = found.into_iter().filter(|row| row.needs_invitation);
        users.extend(open.map(|row| row.localpart));
        if users.len() >= MOST {
            users.truncate(MOST);
            break;
        }
    }
    if users.is_empty() {
        let note = parts::done(WORDS.import.all_invited);
        return page(desk, clerk, "", StatusCode::OK, Some(note));
    }
    hand_out(desk, clerk, &by, &users, by_mail).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_kept_for_its_session_for_a_while_and_not_without_bounds() {
        let tables = KeptTables::default();
        let small = Bytes::from_static(b"localpart\nanna\n");
        let name = tables.keep("a", small.clone(), 0);
        assert_eq!(tables.of("a", &name, 1), Some(small.clone()));
        assert_eq!(tables.of("b", &name, 1), None);
        assert_eq!(tables.of("a", "another", 1), None);
        assert_eq!(tables.of("a", &name, KEPT_FOR), None);
        let large = Bytes::from(vec![b'x'; MAX_TABLE_BYTES]);
        let of_b = tables.keep("b", large.clone(), 2);
        let of_c = tables.keep("c", large, 3);
        // With the third there would be more than is kept.
        assert_eq!(tables.of("a", &name, 4), None);
        assert!(tables.of("b", &of_b, 4).is_some());
        assert!(tables.of("c", &of_c, 4).is_some());
        let again = tables.keep("c", small, 5);
        assert_ne!(again, of_c);
        assert_eq!(tables.of("c", &of_c, 6), None);
    }

    #[test]
    fn lines_come_in_pieces_of_a_commit() {
        let rows = vec![ImportedRow::default(); 2 * IMPORTED_AT_ONCE + 1];
        let lengths: Vec<usize> = pieces(rows).map(|piece| piece.len()).collect();
        assert_eq!(lengths, [IMPORTED_AT_ONCE, IMPORTED_AT_ONCE, 1]);
    }
}
