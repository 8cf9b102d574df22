//! What is done to a person: each a form of their page, with a reason.

use actions::{Administration, Restraint};
use axum::response::Response;
use http::{Method, StatusCode};
use model::Role;
use ruma_common::OwnedDeviceId;
use web::{Part, PathOf, Routes};

use super::{
    Desk,
    answers::{Stop, see_other},
    parts::{self, path},
    people::{refused, shown_once},
    person::page,
    person_more,
    session::{Clerk, Fields, Filled},
};
use crate::{html::Element, texts::fill, words::WORDS};

pub(super) fn routes() -> Routes<Desk> {
    Routes::new().plain(Method::POST, "/console/people/{user}/{verb}", act)
}

/// `POST /console/people/{user}/{verb}`
async fn act(
    Part(desk): Part<Desk>,
    PathOf((user, verb)): PathOf<(String, String)>,
    Filled(clerk, fields): Filled<Clerk>,
) -> Result<Response, Stop> {
    if let Some(note) = unmeant(&desk, &user, &verb, &fields) {
        return page(&desk, &clerk, &user, Some((StatusCode::BAD_REQUEST, note))).await;
    }
    let by = clerk.because(fields.text("reason"));
    let done = match verb.as_str() {
        "sign-out" => {
            let device: OwnedDeviceId = fields.text("device").into();
            let done = desk.actions.remove_devices_of(&by, &user, vec![device]);
            done.await.map(|()| serde_json::Value::Null)
        }
        verb => {
            let about = match person_more::wish(verb, &user, &fields) {
                Ok(about) => about,
                Err(wrong) => {
                    let note = (StatusCode::BAD_REQUEST, parts::wrong(wrong));
                    return page(&desk, &clerk, &user, Some(note)).await;
                }
            };
            let wish = match about {
                Some(about) => Administration::People { about },
                None => wish(verb, &user, &fields)?,
            };
            desk.actions.administer(&by, wish).await
        }
    };
    match done {
        Err(error) => {
            let note = refused(error)?;
            page(&desk, &clerk, &user, Some(note)).await
        }
        Ok(answer) => match answer["password"].as_str() {
            // Not to be opened again by going back.
            Some(password) => {
                let text = fill(WORDS.person.new_password, &[("user", &user)]);
                let note = (StatusCode::OK, shown_once(&text, password));
                page(&desk, &clerk, &user, Some(note)).await
            }
            None => Ok(see_other(&path("people", &user, "?done=1"))),
        },
    }
}

/// What is missing for something to be meant: a reason, and the name where it is dangerous.
fn unmeant(desk: &Desk, user: &str, verb: &str, fields: &Fields) -> Option<Element> {
    if fields.text("reason").is_empty() {
        return Some(parts::wrong(WORDS.acts.no_reason));
    }
    let is_typed = ["password", "role", "second-factor", "close"].contains(&verb);
    let known = desk.accounts.typed_user_id(user);
    let name = known.as_ref().map_or(user, |known| known.localpart());
    let typed = fields.text("typed").trim_start_matches('@');
    let typed = typed.split(':').next().unwrap_or_default();
    (is_typed && typed != name).then(|| parts::wrong(WORDS.acts.other_name))
}

fn wish(verb: &str, user: &str, fields: &Fields) -> Result<Administration, Stop> {
    let user = user.to_owned();
    let restrain = |restraint, restrained| Administration::RestrainUser {
        user: user.clone(),
        restraint,
        restrained,
        told: None,
    };
    Ok(match verb {
        "password" => Administration::ResetPassword {
            user,
            password: None,
        },
        "lock" => restrain(Restraint::Lock, true),
        "unlock" => restrain(Restraint::Lock, false),
        "suspend" => restrain(Restraint::Suspension, true),
        "unsuspend" => restrain(Restraint::Suspension, false),
        "second-factor" => Administration::ResetSecondFactor { user },
        "role" => {
            let (has, role) = match fields.text("role").split_once(' ') {
                Some(("give", role)) => (true, role),
                Some(("take", role)) => (false, role),
                _ => (false, ""),
            };
            let unknown = || web::ApiError::invalid_param(WORDS.acts.not_done);
            Administration::ChangeRole {
                user,
                role: Some(Role::from_name(role).ok_or_else(unknown)?),
                has,
            }
        }
        _ => return Err(web::ApiError::not_found(WORDS.failures.not_found).into()),
    })
}
