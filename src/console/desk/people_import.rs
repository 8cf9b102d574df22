//! People from a table, pasted: looked at first, then made, then invited. `people_upload.rs` takes a
//! file of them.

use accounts::{RowOutcome, RowReport};
use actions::{Administrator, BadLine, Right, people_table, table_columns};
use axum::response::Response;
use http::{Method, StatusCode};
use runtime::Timestamp;
use web::{Part, Routes};

use super::{
    Desk,
    answers::{Stop, printed},
    layout::Sheet,
    parts::{self, badge, button, form, hidden},
    people::refused,
    people_upload,
    session::{Clerk, Filled},
};
use crate::{
    SheetInvitation,
    html::{Element, Node, element},
    invitation_link, sheet,
    texts::fill,
    words::WORDS,
};

const HERE: &str = "/console/import";
/// How many lines a pasted table has at most, and how many people are invited at once.
pub(super) const MOST: usize = 100;
/// How long the invitations of those who were imported are valid.
const DAYS: u32 = 14;

pub(super) fn routes() -> Routes<Desk> {
    Routes::new()
        .plain(Method::GET, HERE, show)
        .plain(Method::POST, HERE, import)
        .plain(Method::POST, "/console/import/invite", invite)
}

/// `GET /console/import`
async fn show(Part(desk): Part<Desk>, clerk: Clerk) -> Result<Response, Stop> {
    page(&desk, &clerk, "", StatusCode::OK, None)
}

pub(super) fn page(
    desk: &Desk,
    clerk: &Clerk,
    typed: &str,
    status: StatusCode,
    result: Option<Element>,
) -> Result<Response, Stop> {
    clerk.must(Right::ImportPeople)?;
    let words = &WORDS.import;
    let columns = table_columns().join(", ");
    let columns = fill(words.columns, &[("columns", &columns)]);
    let table = element("div")
        .with("class", "field")
        .has(element("label").with("for", "table").has(words.table))
        .has(parts::hint(&columns).with("id", "table-hint"))
        .has(
            element("textarea")
                .with("id", "table")
                .with("name", "table")
                .with("rows", "10")
                .with("spellcheck", "false")
                .with("aria-describedby", "table-hint")
                .flag("required", true)
                .has(typed),
        );
    let check = button(words.check)
        .with("name", "as")
        .with("value", "check")
        // Nothing happens, so nobody is asked why.
        .flag("formnovalidate", true);
    let apply = button(words.apply)
        .with("name", "as")
        .with("value", "apply")
        .with("class", "quiet");
    let form = form(clerk.form(), HERE)
        .has(table)
        .has(parts::reason("reason"))
        .has(side_by_side([check, apply]));
    let sheet = Sheet::new("people", words.title)
        .lead(words.lead)
        .status(status)
        .has_all(result)
        .has(people_upload::card(clerk))
        .has(parts::card(words.table).has(form));
    Ok(sheet.shown(desk, clerk))
}

pub(super) fn side_by_side(buttons: [Element; 2]) -> Element {
    element("div").with("class", "files").has_all(buttons)
}

/// `POST /console/import`
async fn import(
    Part(desk): Part<Desk>,
    Filled(clerk, fields): Filled<Clerk>,
) -> Result<Response, Stop> {
    let words = &WORDS.import;
    let typed = fields.raw("table");
    let bad = |note| page(&desk, &clerk, typed, StatusCode::BAD_REQUEST, Some(note));
    let table = match people_table(typed.as_bytes()) {
        Ok(table) => table,
        Err(error) => return bad(parts::wrong(&error.to_string())),
    };
    if !table.bad.is_empty() {
        return bad(unreadable(&table.bad));
    }
    if table.rows.len() > MOST {
        return bad(parts::wrong(words.longer));
    }
    let is_applied = fields.text("as") == "apply";
    if is_applied && fields.text("reason").is_empty() {
        return bad(parts::wrong(WORDS.acts.no_reason));
    }
    let by = clerk.because(fields.text("reason"));
    let (found, kind, text) = match is_applied {
        false => {
            let found = desk.actions.check_import(&by, table.rows).await;
            (found, "plain", words.would)
        }
        true => match desk.actions.import_people(&by, table.rows, false).await {
            Ok(done) if done.is_applied => (Ok(done.rows), "good", words.was),
            Ok(done) => (Ok(done.rows), "bad", words.was_not),
            Err(error) => (Err(error), "bad", words.was_not),
        },
    };
    let rows = match found {
        Ok(rows) => rows,
        Err(error) => {
            let (status, note) = refused(error)?;
            return page(&desk, &clerk, typed, status, Some(note));
        }
    };
    let mut result = report(&rows, kind, text);
    let is_refused = rows
        .iter()
        .any(|row| matches!(row.outcome, RowOutcome::Refused(_)));
    if is_applied && !is_refused {
        result = result.has_all(invite_form(&clerk, &rows, fields.text("reason")));
    }
    let status = match is_refused {
        true => StatusCode::BAD_REQUEST,
        false => StatusCode::OK,
    };
    page(&desk, &clerk, typed, status, Some(result))
}

pub(super) fn unreadable(bad: &[BadLine]) -> Element {
    let words = &WORDS.import;
    let rows = bad.iter().take(MOST);
    let rows = rows.map(|line| vec![Node::from(line.line.to_string()), line.why.clone().into()]);
    let heads = [words.line, words.why];
    parts::wrong(words.bad).has(parts::table(words.bad, &heads, rows.collect()))
}

/// What was done, or would be, line by line.
pub(super) fn report(rows: &[RowReport], kind: &str, text: &str) -> Element {
    let words = &WORDS.import;
    let rows = rows.iter().map(|row| {
        let outcome: Node = match &row.outcome {
            RowOutcome::Created => badge("good", words.created).into(),
            RowOutcome::Changed(things) => {
                fill(words.changed, &[("what", &things.join(", "))]).into()
            }
            RowOutcome::Unchanged => words.unchanged.into(),
            RowOutcome::Refused(why) => fill(words.refused, &[("why", why)]).into(),
        };
        let line = Node::from(row.line.to_string());
        vec![line, row.localpart.clone().into(), outcome]
    });
    let heads = [words.line, words.person, words.outcome];
    parts::card(words.report)
        .with("role", "status")
        .has(element("p").has(parts::badges([badge(kind, text)])))
        .has(parts::table(words.report, &heads, rows.collect()))
}

/// The form that invites those who have no password yet.
fn invite_form(clerk: &Clerk, rows: &[RowReport], reason: &str) -> Option<Element> {
    let words = &WORDS.import;
    let users = rows.iter().filter(|row| row.needs_invitation);
    let users: Vec<&str> = users.map(|row| row.localpart.as_str()).collect();
    if users.is_empty() || !clerk.may(Right::CreateInvitations) {
        return None;
    }
    let way = |text, value| button(text).with("name", "by").with("value", value);
    let count = users.len().to_string();
    let form = form(clerk.form(), "/console/import/invite")
        .has(parts::hint(&fill(words.uninvited, &[("count", &count)])))
        .has(hidden("users", &users.join(",")))
        .has(hidden("reason", reason))
        .has(side_by_side([
            way(words.print, "paper"),
            way(words.mail, "mail").with("class", "quiet"),
        ]));
    Some(form)
}

/// `POST /console/import/invite`: by e-mail, and on paper for everybody who has no address.
async fn invite(
    Part(desk): Part<Desk>,
    Filled(clerk, fields): Filled<Clerk>,
) -> Result<Response, Stop> {
    let words = &WORDS.import;
    let users = fields.text("users").split(',');
    let users: Vec<String> = users
        .filter(|user| !user.is_empty())
        .map(str::to_owned)
        .collect();
    if users.is_empty() || users.len() > MOST {
        let note = parts::wrong(words.longer);
        return page(&desk, &clerk, "", StatusCode::BAD_REQUEST, Some(note));
    }
    let by = clerk.because(fields.text("reason"));
    hand_out(&desk, &clerk, &by, &users, fields.text("by") == "mail").await
}

/// Invites people: the answer is the sheet for those who get theirs on paper, if there are any.
pub(super) async fn hand_out(
    desk: &Desk,
    clerk: &Clerk,
    by: &Administrator,
    users: &[String],
    by_mail: bool,
) -> Result<Response, Stop> {
    let words = &WORDS.import;
    let given = desk.actions.invite_people(by, users, Some(DAYS), by_mail);
    let given = match given.await {
        Ok(given) => given,
        Err(error) => {
            let (status, note) = refused(error)?;
            return page(desk, clerk, "", status, Some(note));
        }
    };
    let mut on_paper = Vec::new();
    let mut sheets = Vec::new();
    for one in &given {
        let Some(token) = &one.token else { continue };
        on_paper.push(one.user_id.to_string());
        sheets.push(SheetInvitation {
            link: invitation_link(&desk.address, token),
            uses: 1,
            expires_at: one.expires_at.map(Timestamp),
            name: Some(match &one.display_name {
                Some(name) => format!("{name} ({})", one.user_id),
                None => one.user_id.to_string(),
            }),
        });
    }
    if sheets.is_empty() {
        let count = given.len().to_string();
        let note = parts::done(&fill(words.sent, &[("count", &count)]));
        return page(desk, clerk, "", StatusCode::OK, Some(note));
    }
    desk.actions.invitations_given(by, &on_paper).await?;
    let server = desk.accounts.server_name().as_str();
    Ok(printed(sheet(server, &sheets), sheet::STYLE))
}

/// The way here from the list of people.
pub(super) fn way(clerk: &Clerk) -> Option<Element> {
    let to = parts::link(HERE, WORDS.import.title).with("class", "button quiet");
    let may = clerk.may(Right::ImportPeople);
    may.then(|| element("p").has(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_says_what_becomes_of_it() {
        let row = |line, outcome| RowReport {
            line,
            localpart: "anna".to_owned(),
            outcome,
            needs_invitation: false,
        };
        let rows = [
            row(2, RowOutcome::Created),
            row(3, RowOutcome::Changed(vec!["email".to_owned()])),
            row(4, RowOutcome::Unchanged),
            row(5, RowOutcome::Refused("a <b>".to_owned())),
        ];
        let shown = report(&rows, "plain", WORDS.import.would).render();
        let words = &WORDS.import;
        for part in [words.created, words.unchanged, "email", "a &lt;b&gt;"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }
}
