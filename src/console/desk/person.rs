//! One person: the account, the devices, the rooms, and what can be done.

use accounts::Device;
use actions::{Person, Restraint, Right};
use axum::response::Response;
use http::{Method, StatusCode};
use model::Role;
use web::{Part, PathOf, Routes};

use super::{
    Desk,
    answers::Stop,
    layout::Sheet,
    parts::{self, button, code, form, hidden, link, path, when_ever},
    people::{made_at, marks},
    person_more::{self, Known},
    rooms::called,
    session::{Clerk, Fields},
};
use crate::{
    html::{Element, Node, element},
    texts::fill,
    words::WORDS,
};

/// How many rooms of a person are shown here; the register has them all.
const ROOMS: usize = 50;

pub(super) fn routes() -> Routes<Desk> {
    Routes::new().plain(Method::GET, "/console/people/{user}", show)
}

/// `GET /console/people/{user}`
async fn show(
    Part(desk): Part<Desk>,
    clerk: Clerk,
    PathOf(user): PathOf<String>,
    query: Fields,
) -> Result<Response, Stop> {
    let note = (query.text("done") == "1").then(|| parts::done(WORDS.acts.done));
    page(
        &desk,
        &clerk,
        &user,
        note.map(|note| (StatusCode::OK, note)),
    )
    .await
}

/// The page of a person, with what came of something that was done.
pub(super) async fn page(
    desk: &Desk,
    clerk: &Clerk,
    user: &str,
    note: Option<(StatusCode, Element)>,
) -> Result<Response, Stop> {
    let person = desk.actions.person(&clerk.by(), user).await?;
    let user_id = person.summary.user_id.to_string();
    let title = person.summary.display_name.clone();
    let known = Known::of(desk, clerk, &user_id).await?;
    let status = note.as_ref().map_or(StatusCode::OK, |(status, _)| *status);
    let mut sheet = Sheet::new("people", title.unwrap_or_else(|| user_id.clone()))
        .status(status)
        .has_all(note.map(|(_, note)| note))
        .has(facts(desk, clerk, &person, &known).await?);
    if clerk.may(Right::ShowDevices) {
        sheet = sheet.has(devices_card(desk, clerk, &person).await?);
    }
    if clerk.may(Right::ReadRegister) {
        sheet = sheet.has(rooms_card(desk, clerk, &person).await?);
    }
    let acts = acts(desk, clerk, &person, &known).await?;
    if !acts.is_empty() {
        let card = parts::card(WORDS.person.acts).has_all(acts);
        sheet = sheet.has(card);
    }
    Ok(sheet.shown(desk, clerk))
}

async fn facts(
    desk: &Desk,
    clerk: &Clerk,
    person: &Person,
    known: &Known,
) -> Result<Element, Stop> {
    let words = &WORDS.person;
    let summary = &person.summary;
    let mut rows: Vec<(&'static str, Node)> = vec![
        (words.id, code(summary.user_id.as_str()).into()),
        (words.made, made_at(person).into()),
        (words.last_seen, when_ever(summary.last_seen_at)),
    ];
    let marks = marks(person);
    if !marks.is_empty() {
        rows.push((words.state, parts::badges(marks)));
    }
    let emails = desk.actions.emails_of(&clerk.by(), summary.user).await?;
    if !emails.is_empty() {
        let emails: Vec<String> = emails.into_iter().map(|email| email.address).collect();
        rows.push((words.emails, emails.join(", ").into()));
    }
    rows.extend(person_more::facts(clerk, known));
    if clerk.may(Right::ListFiles) {
        let order = media::Order::NewestFirst;
        let by = clerk.by();
        let files = desk
            .actions
            .files_of_user(&by, summary.user, order, 0, 1)
            .await?;
        let to = format!(
            "/console/media?user={}",
            crate::pages::in_query(summary.user_id.as_str())
        );
        let text = fill(words.files, &[("count", &files.total.to_string())]);
        rows.push((words.uploads, link(&to, &text).into()));
    }
    let card = element("section")
        .with("class", "card")
        .has(element("h2").has(words.account))
        .has(parts::facts(rows));
    Ok(card)
}

async fn devices_card(desk: &Desk, clerk: &Clerk, person: &Person) -> Result<Element, Stop> {
    let words = &WORDS.person;
    let user_id = person.summary.user_id.as_str();
    let (_, devices) = desk.actions.devices_of(&clerk.by(), user_id).await?;
    let card = parts::card(words.devices);
    if devices.is_empty() {
        return Ok(card.has(parts::hint(words.no_devices)));
    }
    let may_end = clerk.may(Right::ChangeDevices);
    let rows = devices.iter().enumerate().map(|(index, device)| {
        let mut row = device_row(device);
        if may_end {
            let id = format!("device-{index}");
            let form = form(clerk.form(), &path("people", user_id, "/sign-out"))
                .has(hidden("device", device.device_id.as_str()))
                .has(parts::reason(&id))
                .has(button(words.sign_out));
            row.push(parts::act(words.sign_out, words.sign_out_how, form, true).into());
        }
        row
    });
    let mut heads = vec![
        words.device,
        words.device_name,
        words.last_seen,
        words.address,
    ];
    if may_end {
        heads.push(words.change);
    }
    Ok(card.has(parts::table(words.devices, &heads, rows.collect())))
}

fn device_row(device: &Device) -> Vec<Node> {
    let seen = device.last_seen.as_ref();
    vec![
        device.device_id.as_str().into(),
        device.display_name.clone().unwrap_or_default().into(),
        when_ever(seen.map(|seen| seen.at)),
        seen.map(|seen| seen.address.clone())
            .unwrap_or_default()
            .into(),
    ]
}

async fn rooms_card(desk: &Desk, clerk: &Clerk, person: &Person) -> Result<Element, Stop> {
    let words = &WORDS.person;
    let user_id = &person.summary.user_id;
    let user = person.summary.user;
    let found = desk
        .actions
        .rooms_of_person(&clerk.by(), user, ROOMS)
        .await?;
    let may_look = clerk.may(Right::ListRooms);
    let rows = found.rooms.iter().map(|room| {
        let name = called(room.name.as_deref(), room.alias.as_deref(), &room.room_id);
        let shown = match may_look {
            true => link(&path("rooms", &room.room_id, ""), name),
            false => element("span").has(name),
        };
        element("li").has(shown)
    });
    let count = found.total.to_string();
    let to = format!(
        "/console/register?person={}",
        crate::pages::in_query(user_id.as_str())
    );
    Ok(parts::card(words.rooms)
        .has(parts::hint(&fill(words.rooms_count, &[("count", &count)])))
        .has(element("ul").with("class", "plain").has_all(rows))
        .has(element("p").has(link(&to, words.when_where))))
}

/// A form that does something to a person, with why.
fn act_form(clerk: &Clerk, user_id: &str, verb: &str, fields: Vec<Element>, text: &str) -> Element {
    let reason_id = format!("{verb}-reason");
    form(clerk.form(), &path("people", user_id, &format!("/{verb}")))
        .has_all(fields)
        .has(parts::reason(&reason_id))
        .has(button(text))
}

async fn acts(
    desk: &Desk,
    clerk: &Clerk,
    person: &Person,
    known: &Known,
) -> Result<Vec<Element>, Stop> {
    let summary = &person.summary;
    let user_id = summary.user_id.as_str();
    let is_closed = summary.account.deactivated_at.is_some();
    if is_closed || clerk.by().must_reach(summary.account.roles).is_err() {
        return Ok(Vec::new());
    }
    let words = &WORDS.person;
    let name = summary.user_id.localpart();
    let mut acts = Vec::new();
    if clerk.may(Right::ResetPassword) {
        let fields = vec![parts::typed_name("password-typed", name)];
        let form = act_form(clerk, user_id, "password", fields, words.password);
        acts.push(parts::act(words.password, words.password_how, form, true));
    }
    if clerk.may(Right::RestrainPerson) {
        acts.push(restraint(
            clerk,
            user_id,
            Restraint::Lock,
            summary.account.is_locked,
        ));
        acts.push(restraint(
            clerk,
            user_id,
            Restraint::Suspension,
            person.is_suspended,
        ));
    }
    if clerk.may(Right::ChangeRoles) {
        acts.push(roles_act(clerk, person));
    }
    acts.extend(person_more::acts(clerk, user_id, known));
    if clerk.may(Right::ResetSecondFactor)
        && desk
            .actions
            .has_second_factor(&clerk.by(), summary.user)
            .await?
    {
        let fields = vec![parts::typed_name("factor-typed", name)];
        let form = act_form(clerk, user_id, "second-factor", fields, words.factor);
        acts.push(parts::act(words.factor, words.factor_how, form, true));
    }
    if clerk.may(Right::DeactivatePerson) {
        let mut fields = vec![parts::typed_name("close-typed", name)];
        fields.extend(person_more::closing_fields(desk, clerk, user_id).await?);
        let form = act_form(clerk, user_id, "close", fields, words.close);
        acts.push(parts::act(words.close, words.close_how, form, true));
    }
    Ok(acts)
}

fn restraint(clerk: &Clerk, user_id: &str, restraint: Restraint, is_on: bool) -> Element {
    let words = &WORDS.person;
    let (verb, text, how) = match (restraint, is_on) {
        (Restraint::Lock, false) => ("lock", words.lock, words.lock_how),
        (Restraint::Lock, true) => ("unlock", words.unlock, words.unlock_how),
        (Restraint::Suspension, false) => ("suspend", words.suspend, words.suspend_how),
        (Restraint::Suspension, true) => ("unsuspend", words.unsuspend, words.unsuspend_how),
    };
    let form = act_form(clerk, user_id, verb, Vec::new(), text);
    parts::act(text, how, form, !is_on)
}

fn roles_act(clerk: &Clerk, person: &Person) -> Element {
    let words = &WORDS.person;
    let options = Role::ALL.iter().map(|role| {
        let (verb, text) = match person.summary.account.roles.has(*role) {
            true => ("take", words.take_role),
            false => ("give", words.give_role),
        };
        element("option")
            .with("value", format!("{verb} {}", role.name()))
            .has(fill(text, &[("role", WORDS.roles.of(*role))]))
    });
    let select = element("div")
        .with("class", "field")
        .has(element("label").with("for", "role").has(words.role))
        .has(
            element("select")
                .with("id", "role")
                .with("name", "role")
                .has_all(options),
        );
    let user_id = person.summary.user_id.as_str();
    let name = person.summary.user_id.localpart();
    let fields = vec![select, parts::typed_name("role-typed", name)];
    let form = act_form(clerk, user_id, "role", fields, words.change_role);
    parts::act(words.change_role, words.change_role_how, form, true)
}
