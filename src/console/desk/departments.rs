//! Departments: their people and the rooms that they are put into.

use actions::{Administration, PeopleWish, Right, ShownDepartment};
use axum::response::Response;
use http::{Method, StatusCode};
use model::UserSerial;
use web::{Part, PathOf, Routes};

use super::{
    Desk,
    answers::{Stop, see_other},
    layout::Sheet,
    parts::{self, Field, ROWS, button, code, form, hidden, link, path},
    people::refused,
    session::{Clerk, Fields, Filled},
};
use crate::{
    html::{Element, Node},
    pages::in_query,
    words::WORDS,
};

const HERE: &str = "/console/departments";

pub(super) fn routes() -> Routes<Desk> {
    Routes::new()
        .plain(Method::GET, HERE, list)
        .plain(Method::POST, HERE, create)
        .plain(Method::GET, "/console/departments/{name}", show)
        .plain(Method::POST, "/console/departments/{name}/{verb}", act)
}

/// `GET /console/departments`
async fn list(Part(desk): Part<Desk>, clerk: Clerk, query: Fields) -> Result<Response, Stop> {
    list_page(&desk, &clerk, &query, None).await
}

async fn list_page(
    desk: &Desk,
    clerk: &Clerk,
    query: &Fields,
    note: Option<(StatusCode, Element)>,
) -> Result<Response, Stop> {
    let words = &WORDS.departments;
    let found = desk
        .actions
        .departments(&clerk.by(), query.filled("after"), ROWS)
        .await?;
    let next = found.last().filter(|_| found.len() == ROWS);
    let next = next.map(|last| format!("{HERE}?after={}", in_query(&last.name)));
    let rows = found.iter().map(|one| {
        vec![
            link(&path("departments", &one.name, ""), &one.name).into(),
            Node::from(one.people.to_string()),
            one.rooms.len().to_string().into(),
        ]
    });
    let heads = [words.name, words.people, words.rooms];
    let status = note.as_ref().map_or(StatusCode::OK, |(status, _)| *status);
    let sheet = Sheet::new("departments", words.title)
        .lead(words.lead)
        .status(status)
        .has_all(note.map(|(_, note)| note));
    let sheet = match found.is_empty() {
        true => sheet.has(parts::hint(words.none)),
        false => sheet.has(parts::table(words.title, &heads, rows.collect())),
    };
    let mut sheet = sheet.has_all(parts::next_page(next));
    if clerk.may(Right::ChangeDepartments) {
        let form = form(clerk.form(), HERE)
            .has(Field::new("name", words.name).required())
            .has(button(words.create));
        sheet = sheet.has(parts::act(words.create, words.create_how, form, false));
    }
    Ok(sheet.shown(desk, clerk))
}

/// `POST /console/departments`
async fn create(
    Part(desk): Part<Desk>,
    Filled(clerk, fields): Filled<Clerk>,
) -> Result<Response, Stop> {
    let name = fields.text("name");
    match desk.actions.create_department(&clerk.by(), name).await {
        Ok(()) => Ok(see_other(&path("departments", name, ""))),
        Err(error) => {
            let note = refused(error)?;
            list_page(&desk, &clerk, &Fields::default(), Some(note)).await
        }
    }
}

/// `GET /console/departments/{name}`
async fn show(
    Part(desk): Part<Desk>,
    clerk: Clerk,
    PathOf(name): PathOf<String>,
    query: Fields,
) -> Result<Response, Stop> {
    let note = (query.text("done") == "1").then(|| parts::done(WORDS.acts.done));
    let note = note.map(|note| (StatusCode::OK, note));
    page(&desk, &clerk, &name, &query, note).await
}

async fn page(
    desk: &Desk,
    clerk: &Clerk,
    name: &str,
    query: &Fields,
    note: Option<(StatusCode, Element)>,
) -> Result<Response, Stop> {
    let words = &WORDS.departments;
    let after = query.text("after").parse().ok().map(UserSerial);
    let found = desk
        .actions
        .department(&clerk.by(), name, after, ROWS)
        .await?;
    let name = found.department.name.as_str();
    let status = note.as_ref().map_or(StatusCode::OK, |(status, _)| *status);
    let mut sheet = Sheet::new("departments", name)
        .status(status)
        .has_all(note.map(|(_, note)| note))
        .has(people_card(clerk, &found))
        .has(rooms_card(clerk, &found))
        .has_all(waiting_card(&found));
    if clerk.may(Right::ChangeDepartments) {
        let form = form(clerk.form(), &path("departments", name, "/delete"))
            .has(parts::typed_name("delete-typed", name))
            .has(parts::reason("delete-reason"))
            .has(button(words.delete));
        sheet = sheet.has(parts::act(words.delete, words.delete_how, form, true));
    }
    Ok(sheet.shown(desk, clerk))
}

fn people_card(clerk: &Clerk, found: &ShownDepartment) -> Element {
    let words = &WORDS.departments;
    let name = found.department.name.as_str();
    let may = clerk.may(Right::PlacePeople);
    let rows = found.people.iter().enumerate().map(|(index, user_id)| {
        let user_id = user_id.as_str();
        let shown = link(&path("people", user_id, ""), "").has(parts::id(user_id));
        let mut row = vec![Node::from(shown)];
        if may {
            let form = form(clerk.form(), &path("departments", name, "/take-out"))
                .has(hidden("user", user_id))
                .has(parts::reason(&format!("out-{index}")))
                .has(button(words.take_out));
            row.push(parts::act(words.take_out, words.take_out_how, form, true).into());
        }
        row
    });
    let mut heads = vec![words.person];
    if may {
        heads.push(words.change);
    }
    let next = found.next.map(|after| {
        let here = path("departments", name, "");
        format!("{here}?after={}", after.0)
    });
    let card = parts::card(words.people);
    let card = match found.people.is_empty() {
        true => card.has(parts::hint(words.nobody)),
        false => card.has(parts::table(words.people, &heads, rows.collect())),
    };
    let card = card.has_all(parts::next_page(next));
    if !may {
        return card;
    }
    let form = form(clerk.form(), &path("departments", name, "/put-in"))
        .has(Field::new("user", words.user).exact())
        .has(parts::reason("in-reason"))
        .has(button(words.put_in));
    card.has(parts::act(words.put_in, words.put_in_how, form, false))
}

fn rooms_card(clerk: &Clerk, found: &ShownDepartment) -> Element {
    let words = &WORDS.departments;
    let name = found.department.name.as_str();
    let may = clerk.may(Right::ChangeDepartments);
    let rows = found.rooms.iter().enumerate().map(|(index, room)| {
        let mut row = vec![Node::from(match clerk.may(Right::ListRooms) {
            true => link(&path("rooms", room, ""), room),
            false => code(room),
        })];
        if may {
            let form = form(clerk.form(), &path("departments", name, "/lose-room"))
                .has(hidden("room", room))
                .has(parts::reason(&format!("lose-{index}")))
                .has(button(words.lose_room));
            row.push(parts::act(words.lose_room, words.lose_room_how, form, true).into());
        }
        row
    });
    let mut heads = vec![words.room];
    if may {
        heads.push(words.change);
    }
    let card = parts::card(words.rooms);
    let card = match found.rooms.is_empty() {
        true => card.has(parts::hint(words.no_rooms)),
        false => card.has(parts::table(words.rooms, &heads, rows.collect())),
    };
    if !may {
        return card;
    }
    let room = Field::new("room", WORDS.register.room).hint(WORDS.register.room_hint);
    let form = form(clerk.form(), &path("departments", name, "/get-room"))
        .has(room.exact())
        .has(parts::reason("room-reason"))
        .has(button(words.get_room));
    card.has(parts::act(words.get_room, words.get_room_how, form, false))
}

/// Who is still to be brought into rooms, or out of them.
fn waiting_card(found: &ShownDepartment) -> Option<Element> {
    let words = &WORDS.departments;
    let rows = found.waiting.iter().map(|one| {
        let way = if one.comes { words.comes } else { words.goes };
        vec![
            Node::from(parts::id(&one.user_id)),
            code(&one.room_id).into(),
            way.into(),
            one.failure.clone().unwrap_or_default().into(),
        ]
    });
    let heads = [words.person, words.room, words.way, words.why];
    let table = parts::table(words.waiting, &heads, rows.collect());
    (!found.waiting.is_empty()).then(|| parts::card(words.waiting).has(table))
}

/// `POST /console/departments/{name}/{verb}`
async fn act(
    Part(desk): Part<Desk>,
    PathOf((name, verb)): PathOf<(String, String)>,
    Filled(clerk, fields): Filled<Clerk>,
) -> Result<Response, Stop> {
    let wrong = |text: &str| Some((StatusCode::BAD_REQUEST, parts::wrong(text)));
    let none = Fields::default();
    if fields.text("reason").is_empty() {
        return page(&desk, &clerk, &name, &none, wrong(WORDS.acts.no_reason)).await;
    }
    if verb == "delete" && fields.text("typed") != name {
        return page(&desk, &clerk, &name, &none, wrong(WORDS.acts.other_name)).await;
    }
    let member = |belongs| PeopleWish::DepartmentMember {
        name: name.clone(),
        user: fields.text("user").to_owned(),
        belongs,
    };
    let room = |belongs| PeopleWish::DepartmentRoom {
        name: name.clone(),
        room: fields.text("room").to_owned(),
        belongs,
    };
    let about = match verb.as_str() {
        "put-in" => member(true),
        "take-out" => member(false),
        "get-room" => room(true),
        "lose-room" => room(false),
        "delete" => PeopleWish::DeleteDepartment { name: name.clone() },
        _ => return Err(web::ApiError::not_found(WORDS.failures.not_found).into()),
    };
    let by = clerk.because(fields.text("reason"));
    let wish = Administration::People { about };
    match desk.actions.administer(&by, wish).await {
        Ok(_) if verb == "delete" => Ok(see_other(HERE)),
        Ok(_) => Ok(see_other(&path("departments", &name, "?done=1"))),
        Err(error) => {
            let note = refused(error)?;
            page(&desk, &clerk, &name, &none, Some(note)).await
        }
    }
}
