//! One room: what it says of itself, who is in it, and what can be done.

use actions::{AdministrationError, Right};
use axum::response::Response;
use http::{Method, StatusCode};
use rooms::RoomOverview;
use ruma_common::{OwnedRoomId, OwnedUserId, RoomOrAliasId};
use web::{ApiError, Part, PathOf, Routes};

use super::{
    Desk,
    answers::{Stop, see_other},
    layout::Sheet,
    parts::{self, Field, ROWS, badge, button, code, form, hidden, link, path},
    people::refused,
    room_more,
    rooms::called,
    session::{Clerk, Fields, Filled},
};
use crate::{
    html::{Element, Node, element},
    pages::in_query,
    words::WORDS,
};

pub(super) fn routes() -> Routes<Desk> {
    Routes::new()
        .plain(Method::GET, "/console/rooms/{room}", show)
        .plain(Method::POST, "/console/rooms/{room}/{verb}", act)
}

/// `GET /console/rooms/{room}`
async fn show(
    Part(desk): Part<Desk>,
    clerk: Clerk,
    PathOf(room): PathOf<String>,
    query: Fields,
) -> Result<Response, Stop> {
    let note = (query.text("done") == "1").then(|| parts::done(WORDS.acts.done));
    let note = note.map(|note| (StatusCode::OK, note));
    page(&desk, &clerk, &room, query.filled("after"), note).await
}

async fn page(
    desk: &Desk,
    clerk: &Clerk,
    room: &str,
    after: Option<String>,
    note: Option<(StatusCode, Element)>,
) -> Result<Response, Stop> {
    let by = clerk.by();
    let overview = desk.actions.room_overview(&by, room).await?;
    let name = overview.name.as_deref();
    let title = called(name, overview.canonical_alias.as_deref(), &overview.room_id);
    let status = note.as_ref().map_or(StatusCode::OK, |(status, _)| *status);
    let mut sheet = Sheet::new("rooms", title)
        .status(status)
        .has_all(note.map(|(_, note)| note))
        .has(facts(&overview))
        .has(members_card(desk, clerk, &overview.room_id, after).await?);
    let mut acts = acts(clerk, &overview);
    acts.extend(room_more::acts(desk, clerk, &overview)?);
    if !acts.is_empty() {
        sheet = sheet.has(parts::card(WORDS.room.acts).has_all(acts));
    }
    Ok(sheet.shown(desk, clerk))
}

fn room_id(text: &str) -> Result<OwnedRoomId, Stop> {
    let parsed = OwnedRoomId::try_from(text);
    parsed.map_err(|_| ApiError::not_found(WORDS.room.no_room).into())
}

fn facts(overview: &RoomOverview) -> Element {
    let words = &WORDS.room;
    let text = |text: &Option<String>| Node::from(text.clone().unwrap_or_default());
    let yes = |is: bool| Node::from(if is { words.yes } else { words.no });
    let encryption: Node = match overview.encryption {
        Some(_) => badge("good", words.encrypted).into(),
        None => badge("warn", words.plain).into(),
    };
    let mut rows: Vec<(&'static str, Node)> = vec![
        (words.id, code(&overview.room_id).into()),
        (words.alias, text(&overview.canonical_alias)),
        (words.topic, text(&overview.topic)),
        (words.creator, text(&overview.creator)),
        (words.encryption, encryption),
        (words.join_rule, text(&overview.join_rule)),
        (words.visibility, text(&overview.history_visibility)),
        (words.federated, yes(overview.is_federated)),
        (words.published, yes(overview.is_published)),
        (words.version, overview.version.clone().into()),
    ];
    rows.extend(room_more::facts(overview));
    if let Some(room) = &overview.replaced_by {
        rows.push((words.replaced, code(room).into()));
    }
    parts::card(words.about).has(parts::facts(rows))
}

async fn members_card(
    desk: &Desk,
    clerk: &Clerk,
    room: &str,
    after: Option<String>,
) -> Result<Element, Stop> {
    let words = &WORDS.room;
    let found = desk
        .actions
        .members_after(&clerk.by(), room, after, ROWS)
        .await?;
    let next = found.next.map(|after| {
        let to = path("rooms", room, "");
        format!("{to}?after={}#members", in_query(&after))
    });
    let may_change = clerk.may(Right::ChangeMembers);
    let own = format!(":{}", desk.accounts.server_name());
    let rows = found.rows.iter().enumerate().map(|(index, member)| {
        let is_own = member.user_id.ends_with(&own);
        let shown: Node = match is_own && clerk.may(Right::ShowPerson) {
            true => link(&path("people", &member.user_id, ""), "")
                .has(parts::id(&member.user_id))
                .into(),
            false => parts::id(&member.user_id).into(),
        };
        let power = match member.power {
            Some(power) => power.to_string(),
            None => words.creator.to_owned(),
        };
        let mut row = vec![shown, power.into()];
        if may_change {
            row.push(match is_own {
                true => remove(clerk, room, &member.user_id, index).into(),
                false => words.elsewhere.into(),
            });
        }
        row
    });
    let mut heads = vec![words.member, words.power];
    if may_change {
        heads.push(words.change);
    }
    let to = format!("/console/register?room={}", in_query(room));
    let register = clerk
        .may(Right::ReadRegister)
        .then(|| element("p").has(link(&to, words.then)));
    Ok(parts::card(words.members)
        .with("id", "members")
        .has(parts::table(words.members, &heads, rows.collect()))
        .has_all(parts::next_page(next))
        .has_all(register))
}

fn remove(clerk: &Clerk, room: &str, user_id: &str, index: usize) -> Element {
    let words = &WORDS.room;
    let id = format!("remove-{index}");
    let form = form(clerk.form(), &path("rooms", room, "/remove"))
        .has(hidden("user", user_id))
        .has(parts::reason(&id))
        .has(button(words.remove));
    parts::act(words.remove, words.remove_how, form, true)
}

fn acts(clerk: &Clerk, overview: &RoomOverview) -> Vec<Element> {
    let words = &WORDS.room;
    let room = overview.room_id.as_str();
    let with_person = |verb: &str, text: &str| {
        let user_id = format!("{verb}-user");
        let reason_id = format!("{verb}-reason");
        form(clerk.form(), &path("rooms", room, &format!("/{verb}")))
            .has(
                Field::new("user", words.person)
                    .id(&user_id)
                    .hint(words.person_hint)
                    .exact(),
            )
            .has(parts::reason(&reason_id))
            .has(button(text))
    };
    let mut acts = Vec::new();
    if clerk.may(Right::ChangeMembers) {
        acts.push(parts::act(
            words.add,
            words.add_how,
            with_person("add", words.add),
            false,
        ));
    }
    if clerk.may(Right::TakeOverRoom) {
        let form = with_person("take-over", words.take_over);
        acts.push(parts::act(words.take_over, words.take_over_how, form, true));
    }
    if clerk.may(Right::BlockRoom) {
        let (verb, text, how) = match overview.is_blocked {
            false => ("block", words.block, words.block_how),
            true => ("unblock", words.unblock, words.unblock_how),
        };
        let form = form(clerk.form(), &path("rooms", room, &format!("/{verb}")))
            .has(parts::reason("block-reason"))
            .has(button(text));
        acts.push(parts::act(text, how, form, !overview.is_blocked));
    }
    acts
}

/// `POST /console/rooms/{room}/{verb}`
async fn act(
    Part(desk): Part<Desk>,
    PathOf((room, verb)): PathOf<(String, String)>,
    Filled(clerk, fields): Filled<Clerk>,
) -> Result<Response, Stop> {
    if fields.text("reason").is_empty() {
        let note = (StatusCode::BAD_REQUEST, parts::wrong(WORDS.acts.no_reason));
        return page(&desk, &clerk, &room, None, Some(note)).await;
    }
    if room_more::is_typed(&verb) && fields.text("typed") != room {
        let note = (StatusCode::BAD_REQUEST, parts::wrong(WORDS.acts.other_name));
        return page(&desk, &clerk, &room, None, Some(note)).await;
    }
    let by = clerk.because(fields.text("reason"));
    match room_more::wish(&verb, &room, &fields) {
        Ok(None) => {}
        Err(wrong) => {
            let note = (StatusCode::BAD_REQUEST, parts::wrong(wrong));
            return page(&desk, &clerk, &room, None, Some(note)).await;
        }
        Ok(Some(wish)) => {
            let done = desk.actions.administer(&by, wish).await.map(drop);
            return answer(&desk, &clerk, (&room, &verb), done).await;
        }
    }
    let typed = fields.text("user");
    let user: Option<OwnedUserId> = desk.accounts.typed_user_id(typed);
    let unknown = || AdministrationError::UnknownUser(typed.to_owned());
    let done = match (verb.as_str(), user) {
        ("block" | "unblock", _) => {
            let room_id = room_id(&room)?;
            desk.actions
                .block_room(&by, &room_id, verb == "block")
                .await
        }
        ("add" | "remove" | "take-over", None) => Err(unknown()),
        ("add", Some(user)) => {
            let parsed = <&RoomOrAliasId>::try_from(room.as_str());
            let target = parsed.map_err(|_| ApiError::not_found(WORDS.room.no_room))?;
            desk.actions.add_member(&by, target, &user).await.map(drop)
        }
        ("remove", Some(user)) => desk.actions.remove_member(&by, &room, &user).await,
        ("take-over", Some(user)) => desk
            .actions
            .take_over_room(&by, &room, &user)
            .await
            .map(drop),
        _ => return Err(ApiError::not_found(WORDS.failures.not_found).into()),
    };
    answer(&desk, &clerk, (&room, &verb), done).await
}

/// What is shown of something that was done, begun, or refused.
async fn answer(
    desk: &Desk,
    clerk: &Clerk,
    (room, verb): (&str, &str),
    done: Result<(), AdministrationError>,
) -> Result<Response, Stop> {
    match done {
        Ok(()) if room_more::is_long(verb) => Ok(see_other("/console/moderation?done=1")),
        Ok(()) => Ok(see_other(&path("rooms", room, "?done=1"))),
        Err(error) => {
            let note = refused(error)?;
            page(desk, clerk, room, None, Some(note)).await
        }
    }
}
