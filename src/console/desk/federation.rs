//! Other servers: who does not answer, what waits, who is met.

use actions::{Administration, Right};
use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::Value;
use web::{Part, PathOf, Routes};

use super::{
    Desk,
    answers::{Stop, see_other},
    layout::Sheet,
    parts::{self, Field, ROWS, badge, button, code, form},
    people::refused,
    session::{Clerk, Fields, Filled},
};
use crate::{
    html::{Element, Node, element},
    pages::in_query,
    texts::fill,
    words::WORDS,
};

const HERE: &str = "/console/federation";

pub(super) fn routes() -> Routes<Desk> {
    Routes::new()
        .plain(Method::GET, HERE, show)
        .plain(Method::POST, "/console/federation/check", check)
        .plain(Method::POST, "/console/federation/block", block)
        .plain(Method::POST, "/console/federation/{server}/{verb}", act)
}

/// `GET /console/federation`
async fn show(Part(desk): Part<Desk>, clerk: Clerk, query: Fields) -> Result<Response, Stop> {
    let note = (query.text("done") == "1").then(|| parts::done(WORDS.acts.done));
    let note = note.map(|note| (StatusCode::OK, note));
    page(&desk, &clerk, &query, note).await
}

fn text(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

async fn page(
    desk: &Desk,
    clerk: &Clerk,
    query: &Fields,
    note: Option<(StatusCode, Element)>,
) -> Result<Response, Stop> {
    let words = &WORDS.federation;
    let wish = Administration::FederationStatus;
    let found = desk.actions.administer(&clerk.by(), wish).await?;
    let status = note.as_ref().map_or(StatusCode::OK, |(status, _)| *status);
    let sheet = Sheet::new("federation", words.title)
        .status(status)
        .has_all(note.map(|(_, note)| note))
        .has(facts(desk, &found))
        .has(troubled(clerk, &found))
        .has(blocked(clerk, &found))
        .has(met(desk, clerk, query).await?);
    let sheet = match clerk.may(Right::CheckFederation) {
        true => {
            let form = form(clerk.form(), "/console/federation/check")
                .has(Field::new("server", words.server).exact())
                .has(button(words.check));
            sheet.has(
                parts::card(words.check)
                    .has(parts::hint(words.check_how))
                    .has(form),
            )
        }
        false => sheet,
    };
    Ok(sheet.shown(desk, clerk))
}

/// Servers or patterns in the configuration, or that there are none.
fn names(list: &Value, none: &str) -> String {
    let names = list.as_array().into_iter().flatten();
    let names: Vec<&str> = names.filter_map(Value::as_str).collect();
    match names.is_empty() {
        true => none.to_owned(),
        false => names.join(", "),
    }
}

fn facts(desk: &Desk, found: &Value) -> Element {
    let words = &WORDS.federation;
    let settings = desk.oversight.settings();
    let options = &settings["federation"];
    let is_on = options["enabled"] == Value::Bool(true);
    let state = match is_on {
        true => badge("good", words.on),
        false => badge("warn", words.off),
    };
    let list = &found["list"];
    let list = match list.is_null() {
        true => words.no_list.to_owned(),
        false => fill(
            words.list,
            &[
                ("name", &text(list, "name")),
                ("until", &text(list, "valid_until")),
            ],
        ),
    };
    let rows: Vec<(&'static str, Node)> = vec![
        (words.state, state.into()),
        (words.key, code(&text(found, "key_id")).into()),
        (words.known, text(found, "known_servers").into()),
        (
            words.allowed,
            names(&options["allowed_servers"], words.all).into(),
        ),
        (
            words.denied,
            names(&options["denied_servers"], words.none).into(),
        ),
        (words.signed_list, list.into()),
    ];
    parts::card(words.here)
        .has(parts::facts(rows))
        .has(parts::hint(words.configured))
}

/// The servers that do not answer, or for which something waits.
fn troubled(clerk: &Clerk, found: &Value) -> Element {
    let words = &WORDS.federation;
    let mut servers: std::collections::BTreeMap<String, (Value, Value)> = Default::default();
    for one in found["failing"].as_array().into_iter().flatten() {
        servers.entry(text(one, "server")).or_default().0 = one.clone();
    }
    for one in found["waiting"].as_array().into_iter().flatten() {
        servers.entry(text(one, "server")).or_default().1 = one.clone();
    }
    let may = clerk.may(Right::ChangeFederation);
    let card = parts::card(words.troubled);
    if servers.is_empty() {
        return card.has(parts::hint(words.no_trouble));
    }
    let rows = servers
        .iter()
        .enumerate()
        .map(|(index, (server, (failing, waiting)))| {
            let state = match failing.is_null() {
                true => badge("plain", words.waits),
                false => badge("warn", words.silent),
            };
            let mut row: Vec<Node> = vec![
                server.as_str().into(),
                state.into(),
                text(failing, "since").into(),
                text(failing, "retry_at").into(),
                text(failing, "reason").into(),
                text(waiting, "events").into(),
            ];
            if may {
                row.push(acts(clerk, server, index).into());
            }
            row
        });
    let mut heads = vec![
        words.server,
        words.state,
        words.since,
        words.again_at,
        words.why,
        words.waiting,
    ];
    if may {
        heads.push(words.change);
    }
    card.has(parts::table(words.troubled, &heads, rows.collect()))
}

fn acts(clerk: &Clerk, server: &str, index: usize) -> Element {
    let words = &WORDS.federation;
    let to = |verb: &str| parts::path("federation", server, &format!("/{verb}"));
    let retry = form(clerk.form(), &to("retry")).has(button(words.retry).with("class", "quiet"));
    let forget = form(clerk.form(), &to("forget"))
        .has(parts::typed_name(&format!("forget-{index}"), server))
        .has(button(words.forget));
    element("div")
        .has(retry)
        .has(parts::act(words.forget, words.forget_how, forget, true))
}

/// The servers that an administrator has blocked, and the form that blocks one.
fn blocked(clerk: &Clerk, found: &Value) -> Element {
    let words = &WORDS.federation;
    let may = clerk.may(Right::ChangeFederation);
    let servers = found["blocked"].as_array().cloned().unwrap_or_default();
    let rows = servers.iter().enumerate().map(|(index, one)| {
        let server = text(one, "server");
        let mut row: Vec<Node> = vec![
            server.as_str().into(),
            text(one, "since").into(),
            text(one, "reason").into(),
        ];
        if may {
            let to = parts::path("federation", &server, "/unblock");
            let unblock = form(clerk.form(), &to)
                .has(parts::reason(&format!("unblock-{index}")))
                .has(button(words.unblock).with("class", "quiet"));
            row.push(parts::act(words.unblock, words.unblock_how, unblock, false).into());
        }
        row
    });
    let mut heads = vec![words.server, words.since, words.why];
    if may {
        heads.push(words.change);
    }
    let card = parts::card(words.blocked).with("id", "blocked");
    let card = match servers.is_empty() {
        true => card.has(parts::hint(words.nobody_blocked)),
        false => card.has(parts::table(words.blocked, &heads, rows.collect())),
    };
    if !may {
        return card;
    }
    let form = form(clerk.form(), "/console/federation/block")
        .has(
            Field::new("server", words.server)
                .id("block-server")
                .exact(),
        )
        .has(parts::reason("block-reason"))
        .has(button(words.block));
    card.has(parts::act(words.block, words.block_how, form, true))
}

/// The servers with which people here are in rooms.
async fn met(desk: &Desk, clerk: &Clerk, query: &Fields) -> Result<Element, Stop> {
    let words = &WORDS.federation;
    let servers = desk
        .actions
        .servers_after(&clerk.by(), query.filled("after"), ROWS)
        .await?;
    let card = parts::card(words.met).with("id", "met");
    if servers.is_empty() {
        return Ok(card.has(parts::hint(words.nobody_met)));
    }
    let next = servers
        .get(ROWS - 1)
        .map(|(last, _)| format!("{HERE}?after={}#met", in_query(last)));
    let rows = servers
        .iter()
        .map(|(server, rooms)| vec![server.as_str().into(), rooms.to_string().into()]);
    let heads = [words.server, words.rooms];
    Ok(card
        .has(parts::table(words.met, &heads, rows.collect()))
        .has_all(parts::next_page(next)))
}

/// `POST /console/federation/{server}/{verb}`
async fn act(
    Part(desk): Part<Desk>,
    PathOf((server, verb)): PathOf<(String, String)>,
    Filled(clerk, fields): Filled<Clerk>,
) -> Result<Response, Stop> {
    let wish = match verb.as_str() {
        "retry" => Administration::FederationRetry { server },
        "forget" if fields.text("typed") != server => {
            let note = (StatusCode::BAD_REQUEST, parts::wrong(WORDS.acts.other_name));
            return page(&desk, &clerk, &Fields::default(), Some(note)).await;
        }
        "forget" => Administration::FederationForget { server },
        "unblock" => {
            return change(
                &desk,
                &clerk,
                &fields,
                Administration::FederationUnblock { server },
            )
            .await;
        }
        _ => return Err(web::ApiError::not_found(WORDS.failures.not_found).into()),
    };
    match desk.actions.administer(&clerk.by(), wish).await {
        Ok(_) => Ok(see_other("/console/federation?done=1")),
        Err(error) => {
            let note = refused(error)?;
            page(&desk, &clerk, &Fields::default(), Some(note)).await
        }
    }
}

/// `POST /console/federation/block`
async fn block(
    Part(desk): Part<Desk>,
    Filled(clerk, fields): Filled<Clerk>,
) -> Result<Response, Stop> {
    let server = fields.text("server").to_owned();
    let wish = Administration::FederationBlock { server };
    change(&desk, &clerk, &fields, wish).await
}

/// Does what wants a reason.
async fn change(
    desk: &Desk,
    clerk: &Clerk,
    fields: &Fields,
    wish: Administration,
) -> Result<Response, Stop> {
    let reason = fields.text("reason");
    let failure = match reason.is_empty() {
        true => (StatusCode::BAD_REQUEST, parts::wrong(WORDS.acts.no_reason)),
        false => match desk.actions.administer(&clerk.because(reason), wish).await {
            Ok(_) => return Ok(see_other("/console/federation?done=1#blocked")),
            Err(error) => refused(error)?,
        },
    };
    page(desk, clerk, &Fields::default(), Some(failure)).await
}

/// `POST /console/federation/check`
async fn check(
    Part(desk): Part<Desk>,
    Filled(clerk, fields): Filled<Clerk>,
) -> Result<Response, Stop> {
    let wish = Administration::FederationCheck {
        server: fields.text("server").to_owned(),
    };
    let note = match desk.actions.administer(&clerk.by(), wish).await {
        Ok(answer) => (StatusCode::OK, steps(&answer)),
        Err(error) => refused(error)?,
    };
    page(&desk, &clerk, &Fields::default(), Some(note)).await
}

fn steps(answer: &Value) -> Element {
    let words = &WORDS.federation;
    let steps = answer["steps"].as_array().cloned().unwrap_or_default();
    let rows = steps.iter().map(|step| {
        let state = match step["ok"] == Value::Bool(true) {
            true => badge("good", words.good),
            false => badge("bad", words.bad),
        };
        vec![
            text(step, "step").into(),
            state.into(),
            text(step, "found").into(),
        ]
    });
    let heading = fill(words.checked, &[("server", &text(answer, "server"))]);
    let heads = [words.step, words.state, words.detail];
    parts::card(&heading)
        .with("role", "status")
        .has(parts::table(&heading, &heads, rows.collect()))
}
