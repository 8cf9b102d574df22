//! One's own account at the desk: second factors, where one is signed in, programs.

use accounts::Factor;
use axum::response::Response;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Method, StatusCode};
use web::{Part, Routes};

use super::{
    Desk,
    answers::{Stop, see_other},
    layout::Sheet,
    parts::{self, Field, badge, button, form, hidden, link, when, when_ever},
    session::{Clerk, Filled},
    signing_in::{factors_of, recovery_page, told_or_stop},
};
use crate::{
    html::{Element, Node, element},
    texts::fill,
    words::WORDS,
};

const HERE: &str = "/console/account";

pub(super) fn routes() -> Routes<Desk> {
    Routes::new()
        .plain(Method::GET, HERE, show)
        .plain(
            Method::POST,
            "/console/account/remove-factor",
            remove_factor,
        )
        .plain(
            Method::POST,
            "/console/account/recovery-codes",
            recovery_codes,
        )
        .plain(Method::POST, "/console/account/end-session", end_session)
        .plain(Method::POST, "/console/account/programs", make_token)
        .plain(Method::POST, "/console/account/end-program", end_token)
}

/// `GET /console/account`
async fn show(Part(desk): Part<Desk>, clerk: Clerk) -> Result<Response, Stop> {
    page(&desk, &clerk, StatusCode::OK, None).await
}

async fn page(
    desk: &Desk,
    clerk: &Clerk,
    status: StatusCode,
    note: Option<Element>,
) -> Result<Response, Stop> {
    let words = &WORDS.own;
    let sheet = Sheet::new("account", words.title)
        .lead(fill(words.lead, &[("user", clerk.user_id())]))
        .status(status)
        .has_all(note)
        .has(factors_card(desk, clerk).await?)
        .has(recovery_card(desk, clerk).await?)
        .has(sessions_card(desk, clerk).await?)
        .has(programs_card(desk, clerk).await?);
    Ok(sheet.shown(desk, clerk))
}

/// A form that asks for the password anew.
fn with_password(clerk: &Clerk, action: &str, id: &str, text: &str) -> Element {
    form(clerk.form(), action)
        .has(parts::whose(clerk.user_id()))
        .has(
            Field::new("password", WORDS.set_up.password)
                .id(id)
                .password(),
        )
        .has(button(text))
}

async fn factors_card(desk: &Desk, clerk: &Clerk) -> Result<Element, Stop> {
    let words = &WORDS.own;
    let factors = factors_of(desk, clerk).await?;
    let remove = |id: String, factor: &str| -> Node {
        let form = with_password(clerk, "/console/account/remove-factor", &id, words.remove)
            .has(hidden("factor", factor));
        parts::act(words.remove, words.remove_how, form, true).into()
    };
    let mut rows = Vec::new();
    if let Some(since) = factors.codes_since {
        rows.push(vec![
            words.codes.into(),
            when(since).into(),
            "".into(),
            remove("remove-codes".to_owned(), "codes"),
        ]);
    }
    for (index, passkey) in factors.passkeys.iter().enumerate() {
        let id = URL_SAFE_NO_PAD.encode(&passkey.id);
        let name = fill(words.passkey, &[("name", &passkey.name)]);
        rows.push(vec![
            name.into(),
            when(passkey.created_at).into(),
            when_ever(passkey.used_at),
            remove(format!("remove-{index}"), &id),
        ]);
    }
    let heads = [words.factor, words.since, words.used, words.change];
    let add = link("/console/set-up", words.add).with("class", "button quiet");
    Ok(parts::card(words.factors)
        .has(parts::table(words.factors, &heads, rows))
        .has(element("p").has(add)))
}

async fn recovery_card(desk: &Desk, clerk: &Clerk) -> Result<Element, Stop> {
    let words = &WORDS.own;
    let left = factors_of(desk, clerk).await?.recovery_codes.to_string();
    let form = with_password(
        clerk,
        "/console/account/recovery-codes",
        "recovery-password",
        words.renew,
    );
    Ok(parts::card(words.recovery)
        .has(parts::hint(&fill(words.recovery_left, &[("left", &left)])))
        .has(parts::act(words.renew, words.renew_how, form, false)))
}

async fn sessions_card(desk: &Desk, clerk: &Clerk) -> Result<Element, Stop> {
    let words = &WORDS.own;
    let sessions = desk.accounts.console_sessions(&clerk.session).await?;
    let rows = sessions.into_iter().map(|one| {
        let end: Node = match one.is_this {
            true => badge("good", words.this).into(),
            false => form(clerk.form(), "/console/account/end-session")
                .has(hidden("session", &one.name))
                .has(button(words.end).with("class", "quiet"))
                .into(),
        };
        let record = one.record;
        vec![
            when(record.created_at).into(),
            when(record.used_at).into(),
            record.address.into(),
            record.user_agent.unwrap_or_default().into(),
            end,
        ]
    });
    let heads = [
        words.signed_in,
        words.used,
        words.address,
        words.browser,
        words.change,
    ];
    let table = parts::table(words.sessions, &heads, rows.collect());
    Ok(parts::card(words.sessions).has(table))
}

async fn programs_card(desk: &Desk, clerk: &Clerk) -> Result<Element, Stop> {
    let words = &WORDS.own;
    let user = clerk.session.session.user;
    let programs = desk.accounts.program_tokens(user).await?;
    let rows: Vec<Vec<Node>> = programs
        .into_iter()
        .map(|one| {
            let end = form(clerk.form(), "/console/account/end-program")
                .has(hidden("device", &one.record.device_id))
                .has(button(words.end).with("class", "quiet"));
            vec![
                one.record.name.into(),
                when(one.record.created_at).into(),
                when(one.record.expires_at).into(),
                end.into(),
            ]
        })
        .collect();
    let heads = [words.program, words.since, words.ends, words.change];
    let table = (!rows.is_empty()).then(|| parts::table(words.programs, &heads, rows));
    let days = Field::new("days", words.days).value("90").line(|input| {
        input
            .with("inputmode", "numeric")
            .with("maxlength", "3")
            .flag("required", true)
    });
    let form = form(clerk.form(), "/console/account/programs")
        .has(
            Field::new("name", words.program_name)
                .hint(words.program_hint)
                .required(),
        )
        .has(days)
        .has(button(words.make));
    Ok(parts::card(words.programs)
        .has(parts::hint(words.programs_how))
        .has_all(table)
        .has(parts::act(words.make, words.make_how, form, false)))
}

/// `POST /console/account/remove-factor`
async fn remove_factor(
    Part(desk): Part<Desk>,
    Filled(clerk, fields): Filled<Clerk>,
) -> Result<Response, Stop> {
    let factor = match fields.text("factor") {
        "codes" => Factor::Codes,
        id => Factor::Passkey(URL_SAFE_NO_PAD.decode(id).unwrap_or_default()),
    };
    let attempt = desk.limits.sign_in(clerk.origin.address, clerk.user_id())?;
    let password = fields.raw("password").to_owned();
    let removed = desk
        .accounts
        .remove_factor(&clerk.act(), &clerk.session, password, factor)
        .await;
    match removed {
        Ok(()) => {
            attempt.succeeded();
            Ok(see_other(HERE))
        }
        Err(error) => {
            let (status, text) = told_or_stop(error)?;
            page(&desk, &clerk, status, Some(parts::wrong(&text))).await
        }
    }
}

/// `POST /console/account/recovery-codes`
async fn recovery_codes(
    Part(desk): Part<Desk>,
    Filled(clerk, fields): Filled<Clerk>,
) -> Result<Response, Stop> {
    let attempt = desk.limits.sign_in(clerk.origin.address, clerk.user_id())?;
    let password = fields.raw("password").to_owned();
    let renewed = desk
        .accounts
        .renew_recovery_codes(&clerk.act(), &clerk.session, password)
        .await;
    match renewed {
        Ok(codes) => {
            attempt.succeeded();
            Ok(recovery_page(&desk, &codes))
        }
        Err(error) => {
            let (status, text) = told_or_stop(error)?;
            page(&desk, &clerk, status, Some(parts::wrong(&text))).await
        }
    }
}

/// `POST /console/account/end-session`
async fn end_session(
    Part(desk): Part<Desk>,
    Filled(clerk, fields): Filled<Clerk>,
) -> Result<Response, Stop> {
    let name = fields.text("session");
    desk.accounts
        .close_console(&clerk.act(), &clerk.session, Some(name))
        .await?;
    Ok(see_other(HERE))
}

/// `POST /console/account/programs`
async fn make_token(
    Part(desk): Part<Desk>,
    Filled(clerk, fields): Filled<Clerk>,
) -> Result<Response, Stop> {
    let words = &WORDS.own;
    let days = fields.text("days").parse().unwrap_or(0);
    if !(1..=366).contains(&days) {
        let note = parts::wrong(words.wrong_days);
        return page(&desk, &clerk, StatusCode::BAD_REQUEST, Some(note)).await;
    }
    let user = clerk.session.session.user;
    let made = desk
        .accounts
        .make_program_token(&clerk.act(), user, fields.text("name"), days)
        .await;
    match made {
        Ok(token) => {
            let note = element("div")
                .with("class", "note done")
                .with("role", "status")
                .has(element("p").has(words.made))
                .has(parts::secret("token", &token));
            page(&desk, &clerk, StatusCode::OK, Some(note)).await
        }
        Err(error) => {
            let (status, text) = told_or_stop(error)?;
            page(&desk, &clerk, status, Some(parts::wrong(&text))).await
        }
    }
}

/// `POST /console/account/end-program`
async fn end_token(
    Part(desk): Part<Desk>,
    Filled(clerk, fields): Filled<Clerk>,
) -> Result<Response, Stop> {
    let user = clerk.session.session.user;
    desk.accounts
        .end_program_token(&clerk.act(), user, fields.text("device"))
        .await?;
    Ok(see_other(HERE))
}
