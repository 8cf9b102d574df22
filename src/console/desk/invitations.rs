//! Invitations: which there are, and new ones as links, pictures and printed sheets.

use actions::{Administration, Right};
use axum::response::Response;
use http::{Method, StatusCode};
use runtime::Timestamp;
use serde_json::Value;
use web::{Part, Routes};

use super::{
    Desk,
    answers::{Stop, printed, see_other},
    layout::Sheet,
    parts::{self, Field, ROWS, badge, button, code, form, hidden, when, when_ever},
    people::refused,
    session::{Clerk, Fields, Filled},
};
use crate::{
    QrCode, SheetInvitation,
    html::{Element, Node, element},
    invitation_link,
    pages::in_query,
    sheet,
    words::WORDS,
};

const HERE: &str = "/console/invitations";
/// How many are made at once here.
const MOST: u32 = 100;

pub(super) fn routes() -> Routes<Desk> {
    Routes::new()
        .plain(Method::GET, HERE, list)
        .plain(Method::POST, HERE, make)
        .plain(Method::POST, "/console/invitations/end", end)
}

/// `GET /console/invitations`
async fn list(Part(desk): Part<Desk>, clerk: Clerk, query: Fields) -> Result<Response, Stop> {
    page(&desk, &clerk, &query, StatusCode::OK, Vec::new()).await
}

async fn page(
    desk: &Desk,
    clerk: &Clerk,
    query: &Fields,
    status: StatusCode,
    notes: Vec<Element>,
) -> Result<Response, Stop> {
    let words = &WORDS.invitations;
    let found = desk
        .actions
        .invitations_after(&clerk.by(), query.filled("after"), ROWS)
        .await?;
    let next = found.next;
    let next = next.map(|after| format!("{HERE}?after={}", in_query(&after)));
    let may_end = clerk.may(Right::RevokeInvitation);
    let rows: Vec<Vec<Node>> = found
        .rows
        .iter()
        .map(|one| {
            let uses = match one.uses_allowed {
                Some(allowed) => format!("{} / {allowed}", one.uses),
                None => one.uses.to_string(),
            };
            let state = match one.is_valid {
                true => badge("good", words.valid),
                false => badge("plain", words.over),
            };
            let mut row: Vec<Node> = vec![
                code(&format!("{}…", one.name)).into(),
                state.into(),
                uses.into(),
                when(one.created_at).into(),
                when_ever(one.expires_at),
            ];
            if may_end {
                let form = form(clerk.form(), "/console/invitations/end")
                    .has(hidden("invitation", &one.name))
                    .has(button(words.end).with("class", "quiet"));
                row.push(form.into());
            }
            row
        })
        .collect();
    let mut heads = vec![words.name, words.state, words.uses, words.made, words.ends];
    if may_end {
        heads.push(words.change);
    }
    let mut sheet = Sheet::new("invitations", words.title)
        .lead(words.lead)
        .status(status)
        .has_all(notes);
    if clerk.may(Right::CreateInvitations) {
        sheet = sheet.has(make_card(clerk));
    }
    let sheet = match rows.is_empty() {
        true => sheet.has(parts::hint(words.none)),
        false => sheet.has(parts::table(words.title, &heads, rows)),
    };
    Ok(sheet.has_all(parts::next_page(next)).shown(desk, clerk))
}

fn make_card(clerk: &Clerk) -> Element {
    let words = &WORDS.invitations;
    let number = |name, label, value| {
        Field::new(name, label).value(value).line(|input| {
            input
                .with("inputmode", "numeric")
                .with("maxlength", "5")
                .flag("required", true)
        })
    };
    let form = form(clerk.form(), HERE)
        .with("class", "row")
        .has(number("count", words.count, "1"))
        .has(number("uses", words.uses_each, "1"))
        .has(number("days", words.days, "14"))
        .has(button(words.make).with("name", "as").with("value", "links"))
        .has(
            button(words.print)
                .with("name", "as")
                .with("value", "sheet")
                .with("class", "quiet"),
        );
    parts::card(words.make_title).has(form)
}

/// `POST /console/invitations`: new invitations, shown once.
async fn make(
    Part(desk): Part<Desk>,
    Filled(clerk, fields): Filled<Clerk>,
) -> Result<Response, Stop> {
    let words = &WORDS.invitations;
    let number = |name: &str| fields.text(name).parse::<u32>().unwrap_or(0);
    let (count, uses, days) = (number("count"), number("uses"), number("days"));
    if !(1..=MOST).contains(&count) || !(1..=10_000).contains(&uses) || !(1..=3_660).contains(&days)
    {
        let note = vec![parts::wrong(words.wrong)];
        let status = StatusCode::BAD_REQUEST;
        return page(&desk, &clerk, &Fields::default(), status, note).await;
    }
    let wish = Administration::CreateInvitations {
        uses,
        expires_after_days: Some(days),
        count,
    };
    let made = match desk.actions.administer(&clerk.by(), wish).await {
        Ok(made) => made,
        Err(error) => {
            let (status, note) = refused(error)?;
            return page(&desk, &clerk, &Fields::default(), status, vec![note]).await;
        }
    };
    let made = made["invitations"].as_array().cloned().unwrap_or_default();
    let invitations: Vec<SheetInvitation> = made
        .iter()
        .map(|one| SheetInvitation {
            link: invitation_link(&desk.address, one["token"].as_str().unwrap_or_default()),
            uses: u64::from(uses),
            expires_at: one["expires_at"].as_u64().map(Timestamp),
            name: None,
        })
        .collect();
    if fields.text("as") == "sheet" {
        let server = desk.accounts.server_name().as_str();
        return Ok(printed(sheet(server, &invitations), sheet::STYLE));
    }
    let notes = invitations.iter().map(link_card).collect();
    page(&desk, &clerk, &Fields::default(), StatusCode::OK, notes).await
}

fn link_card(invitation: &SheetInvitation) -> Element {
    let words = &WORDS.invitations;
    let picture = QrCode::of(&invitation.link);
    let picture = picture.map(|picture| picture.svg(words.picture));
    element("div")
        .with("class", "note done link")
        .with("role", "status")
        .has_all(picture)
        .has(
            element("div")
                .has(element("p").has(words.ready))
                .has(
                    element("p")
                        .with("class", "value")
                        .has(element("code").has(invitation.link.as_str())),
                )
                .has(parts::hint(WORDS.acts.once)),
        )
}

/// `POST /console/invitations/end`
async fn end(
    Part(desk): Part<Desk>,
    Filled(clerk, fields): Filled<Clerk>,
) -> Result<Response, Stop> {
    let wish = Administration::RevokeInvitation {
        token: fields.text("invitation").to_owned(),
    };
    let ended: Result<Value, _> = desk.actions.administer(&clerk.by(), wish).await;
    match ended {
        Ok(_) => Ok(see_other(HERE)),
        Err(error) => {
            let (status, note) = refused(error)?;
            page(&desk, &clerk, &Fields::default(), status, vec![note]).await
        }
    }
}
