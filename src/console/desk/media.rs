//! Files: those of a person or of a room, and what can be done with them.

use ::media::{FileFacts, FileName, Order};
use actions::{Administration, FileSelection, FileWish, Right};
use axum::response::Response;
use http::{Method, StatusCode};
use web::{Part, Routes};

use super::{
    Desk,
    answers::{Stop, see_other},
    layout::Sheet,
    parts::{self, Field, ROWS, button, code, form, hidden, size, when},
    people::refused,
    session::{Clerk, Fields, Filled},
};
use crate::{
    html::{Element, Node, element},
    pages::in_query,
    texts::fill,
    words::WORDS,
};

const HERE: &str = "/console/media";

pub(super) fn routes() -> Routes<Desk> {
    Routes::new()
        .plain(Method::GET, HERE, show)
        .plain(Method::POST, "/console/media/act", act)
}

/// `GET /console/media`
async fn show(Part(desk): Part<Desk>, clerk: Clerk, query: Fields) -> Result<Response, Stop> {
    clerk.must(Right::ListFiles)?;
    let note = (query.text("done") == "1").then(|| parts::done(WORDS.acts.done));
    let note = note.map(|note| (StatusCode::OK, note));
    page(&desk, &clerk, &query, note).await
}

/// The files that are asked for, which are behind these, and how many there are.
async fn found(
    desk: &Desk,
    clerk: &Clerk,
    query: &Fields,
) -> Result<Option<(Vec<FileFacts>, u64)>, Stop> {
    let (by, from) = (clerk.by(), from(query));
    if let Some(user) = query.filled("user") {
        let user = desk.actions.uploader(&user).await?;
        let found = desk
            .actions
            .files_of_user(&by, user, Order::NewestFirst, from, ROWS)
            .await?;
        return Ok(Some((found.files, found.total)));
    }
    let selection = match (query.filled("room"), query.filled("file")) {
        (Some(room), _) => FileSelection::Room(room),
        (None, Some(file)) => FileSelection::File(file),
        (None, None) => return Ok(None),
    };
    let names = desk.actions.select_files(&by, &selection).await?;
    let total = u64::try_from(names.len()).unwrap_or(u64::MAX);
    let wanted: Vec<FileName> = names.into_iter().skip(from).take(ROWS).collect();
    let mut files = Vec::new();
    for name in wanted {
        // Some that are named were never here.
        if let Ok(facts) = desk.actions.file_facts(&by, name).await {
            files.push(facts);
        }
    }
    Ok(Some((files, total)))
}

fn from(query: &Fields) -> usize {
    query.text("from").parse().unwrap_or(0)
}

/// The question of a page, as its address has it.
fn question(query: &Fields) -> String {
    let names = ["user", "room", "file"].iter();
    let pairs = names.filter_map(|name| {
        let value = query.filled(name)?;
        Some(format!("{name}={}", in_query(&value)))
    });
    pairs.collect::<Vec<_>>().join("&")
}

async fn page(
    desk: &Desk,
    clerk: &Clerk,
    query: &Fields,
    note: Option<(StatusCode, Element)>,
) -> Result<Response, Stop> {
    let words = &WORDS.media;
    let mut note = note;
    let found = match found(desk, clerk, query).await {
        Ok(found) => found,
        Err(Stop::Failed(error))
            if error.status().is_client_error() && error.status() != StatusCode::FORBIDDEN =>
        {
            note = Some((error.status(), parts::wrong(error.message())));
            None
        }
        Err(stop) => return Err(stop),
    };
    let status = note.as_ref().map_or(StatusCode::OK, |(status, _)| *status);
    let mut sheet = Sheet::new("media", words.title)
        .lead(words.lead)
        .status(status)
        .has_all(note.map(|(_, note)| note))
        .has(questions(query));
    if let Some((files, total)) = found {
        let next = from(query).saturating_add(ROWS);
        let is_more = total > next as u64;
        let next = is_more.then(|| format!("{HERE}?{}&from={next}", question(query)));
        let count = fill(words.count, &[("count", &total.to_string())]);
        sheet = sheet.has(parts::hint(&count));
        if !files.is_empty() {
            sheet = sheet.has(table(clerk, query, &files));
        }
        sheet = sheet
            .has_all(parts::next_page(next))
            .has_all(all(clerk, query));
    }
    Ok(sheet.shown(desk, clerk))
}

fn questions(query: &Fields) -> Element {
    let words = &WORDS.media;
    let one = |name, label, hint| {
        parts::query_form(HERE)
            .has(
                Field::new(name, label)
                    .hint(hint)
                    .value(query.text(name))
                    .exact(),
            )
            .has(button(WORDS.frame.search))
    };
    element("div")
        .with("class", "two")
        .has(parts::card(words.of_person).has(one("user", words.user, words.user_hint)))
        .has(parts::card(words.of_room).has(one("room", words.room, words.room_hint)))
}

fn table(clerk: &Clerk, query: &Fields, files: &[FileFacts]) -> Element {
    let words = &WORDS.media;
    let may = clerk.may(Right::QuarantineFiles) || clerk.may(Right::DeleteFiles);
    let rows = files.iter().enumerate().map(|(index, file)| {
        let name = file.name.to_string();
        let content = file.content.as_ref();
        let kind = content.map(|content| content.content_type.clone());
        let length = content.map(|content| size(content.length));
        let marks = [
            (file.quarantine.is_some(), "bad", words.quarantined),
            (file.is_protected, "good", words.protected),
        ];
        let mut row: Vec<Node> = vec![
            code(&name).into(),
            kind.unwrap_or_default().into(),
            length.unwrap_or_default().into(),
            file.uploader.clone().unwrap_or_default().into(),
            when(file.created_at).into(),
            parts::badges(parts::marks(marks)),
        ];
        if may {
            row.push(
                acts(
                    clerk,
                    query,
                    &name,
                    file.quarantine.is_some(),
                    &index.to_string(),
                )
                .into(),
            );
        }
        row
    });
    let mut heads = vec![
        words.file,
        words.kind,
        words.size,
        words.user,
        words.uploaded,
        words.state,
    ];
    if may {
        heads.push(words.change);
    }
    parts::table(words.title, &heads, rows.collect())
}

/// A form that does something with files, named by `what`, and comes back to this question.
fn act_form(clerk: &Clerk, query: &Fields, what: (&str, &str), verb: &str, id: &str) -> Element {
    let (kind, name) = what;
    form(clerk.form(), "/console/media/act")
        .has(hidden("back", &question(query)))
        .has(hidden("kind", kind))
        .has(hidden("name", name))
        .has(hidden("verb", verb))
        .has(parts::reason(&format!("{verb}-{id}")))
}

fn acts(clerk: &Clerk, query: &Fields, name: &str, is_quarantined: bool, id: &str) -> Element {
    let words = &WORDS.media;
    let mut acts = element("div");
    if clerk.may(Right::QuarantineFiles) {
        let (verb, text, how) = match is_quarantined {
            false => ("quarantine", words.quarantine, words.quarantine_how),
            true => ("release", words.release, words.release_how),
        };
        let form = act_form(clerk, query, ("file", name), verb, id).has(button(text));
        acts = acts.has(parts::act(text, how, form, !is_quarantined));
    }
    if clerk.may(Right::DeleteFiles) {
        let form = act_form(clerk, query, ("file", name), "delete", id).has(button(words.delete));
        acts = acts.has(parts::act(words.delete, words.delete_how, form, true));
    }
    acts
}

/// What can be done with all files of a person or a room.
fn all(clerk: &Clerk, query: &Fields) -> Option<Element> {
    let words = &WORDS.media;
    let (kind, name) = match (query.filled("user"), query.filled("room")) {
        (Some(user), _) => ("user", user),
        (None, Some(room)) => ("room", room),
        (None, None) => return None,
    };
    let one = |verb: &str, text: &str, how: &str| {
        let id = format!("{verb}-all-typed");
        let form = act_form(clerk, query, (kind, &name), verb, "all")
            .has(parts::typed_name(&id, &name))
            .has(button(text));
        parts::act(text, how, form, true)
    };
    let mut card = parts::card(words.all);
    if clerk.may(Right::QuarantineFiles) {
        card = card.has(one(
            "quarantine",
            words.quarantine_all,
            words.quarantine_how,
        ));
    }
    if clerk.may(Right::DeleteFiles) {
        card = card.has(one("delete", words.delete_all, words.delete_how));
    }
    Some(card)
}

/// `POST /console/media/act`
async fn act(
    Part(desk): Part<Desk>,
    Filled(clerk, fields): Filled<Clerk>,
) -> Result<Response, Stop> {
    let wrong = |text: &str| (StatusCode::BAD_REQUEST, parts::wrong(text));
    let query = Fields::of_query(fields.text("back"));
    if fields.text("reason").is_empty() {
        return page(&desk, &clerk, &query, Some(wrong(WORDS.acts.no_reason))).await;
    }
    let name = fields.text("name").to_owned();
    let selection = match fields.text("kind") {
        "user" => FileSelection::User(name.clone()),
        "room" => FileSelection::Room(name.clone()),
        _ => FileSelection::File(name.clone()),
    };
    let is_one = matches!(selection, FileSelection::File(_));
    if !is_one && fields.text("typed") != name {
        return page(&desk, &clerk, &query, Some(wrong(WORDS.acts.other_name))).await;
    }
    let wish = match fields.text("verb") {
        "quarantine" => FileWish::Quarantine,
        "release" => FileWish::Unquarantine,
        "delete" => FileWish::Delete,
        _ => return Err(web::ApiError::not_found(WORDS.failures.not_found).into()),
    };
    let by = clerk.because(fields.text("reason"));
    let wish = Administration::Files { wish, selection };
    match desk.actions.administer(&by, wish).await {
        Ok(_) => Ok(see_other(&format!("{HERE}?{}&done=1", question(&query)))),
        Err(error) => {
            let note = refused(error)?;
            page(&desk, &clerk, &query, Some(note)).await
        }
    }
}
