//! Signing in to the console: the password, then the second factor, or setting one up.

use accounts::{ConsoleError, ConsoleLogin, Enrolled, LoginError, NewCodes, Proof};
use axum::response::Response;
use http::{Method, StatusCode};
use web::{Part, Routes};

use super::{
    Desk,
    answers::{Stop, see_other},
    layout::alone,
    parts::{self, Field, button, form, hidden, link},
    passkeys,
    session::{Arrived, Fields, Filled, Stranger, forget, keep, next_path},
};
use crate::{
    QrCode,
    html::{Element, element},
    pages::{in_query, paragraph},
    texts::fill,
    words::WORDS,
};

pub(super) fn routes() -> Routes<Desk> {
    Routes::new()
        .plain(Method::GET, "/console", to_overview)
        .plain(Method::GET, "/console/sign-in", show)
        .plain(Method::POST, "/console/sign-in", sign_in)
        .plain(Method::GET, "/console/second-factor", ask)
        .plain(Method::POST, "/console/second-factor", answer)
        .plain(Method::GET, "/console/set-up", set_up)
        .plain(Method::POST, "/console/set-up/codes", add_codes)
        .plain(Method::POST, "/console/sign-out", sign_out)
}

/// `GET /console`
async fn to_overview() -> Response {
    see_other("/console/")
}

/// `GET /console/sign-in`
async fn show(Part(desk): Part<Desk>, stranger: Stranger, query: Fields) -> Response {
    sign_in_page(&desk, &stranger, &query, None)
}

fn sign_in_page(
    desk: &Desk,
    stranger: &Stranger,
    typed: &Fields,
    mistake: Option<(StatusCode, &str)>,
) -> Response {
    let words = &WORDS.sign_in;
    let name = Field::new("user", words.user)
        .hint(words.user_hint)
        .value(typed.text("user"))
        .line(|input| {
            input
                .with("autocomplete", "username")
                .with("autocapitalize", "none")
                .with("spellcheck", "false")
                .with("maxlength", "255")
                .flag("required", true)
                .flag("autofocus", true)
        });
    let form = form(&stranger.form(), "/console/sign-in")
        .has(hidden("next", next_path(typed.text("next"))))
        .has(name)
        .has(Field::new("password", words.password).password())
        .has(button(words.button));
    let status = mistake.map_or(StatusCode::OK, |(status, _)| status);
    let content = [parts::lead(words.lead)]
        .into_iter()
        .chain(mistake.map(|(_, text)| parts::wrong(text)))
        .chain([form]);
    stranger.keep(desk, alone(desk, status, words.title, content))
}

/// `POST /console/sign-in`: the password. What is kept from then on opens nothing but the
/// question for the second factor.
async fn sign_in(
    Part(desk): Part<Desk>,
    Filled(stranger, typed): Filled<Stranger>,
) -> Result<Response, Stop> {
    let user = typed.text("user").to_owned();
    let known = desk.accounts.typed_user_id(&user);
    let counted = known.as_ref().map_or(user.as_str(), |known| known.as_str());
    let attempt = desk.limits.sign_in(stranger.origin.address, counted)?;
    let login = ConsoleLogin {
        user,
        password: typed.raw("password").to_owned(),
        from: stranger.origin.place(),
        user_agent: stranger.origin.user_agent.clone(),
    };
    match desk.accounts.open_console(login).await {
        Ok(token) => {
            attempt.succeeded();
            let next = in_query(next_path(typed.text("next")));
            let path = format!("/console/second-factor?next={next}");
            Ok(keep(&desk, see_other(&path), &token))
        }
        Err(error) => {
            let words = &WORDS.sign_in;
            let (status, text) = match error {
                ConsoleError::Login(LoginError::Forbidden) => (StatusCode::FORBIDDEN, words.wrong),
                ConsoleError::Login(LoginError::Barred(_) | LoginError::Deactivated) => {
                    (StatusCode::FORBIDDEN, words.closed)
                }
                ConsoleError::NoRole => (StatusCode::FORBIDDEN, words.no_role),
                other => return Err(other.into()),
            };
            Ok(sign_in_page(&desk, &stranger, &typed, Some((status, text))))
        }
    }
}

/// `GET /console/second-factor`
async fn ask(Part(desk): Part<Desk>, arrived: Arrived, query: Fields) -> Result<Response, Stop> {
    if arrived.session.is_raised {
        return Ok(see_other(next_path(query.text("next"))));
    }
    ask_page(&desk, &arrived, query.text("next"), None).await
}

/// The question for the second factor.
pub(super) async fn ask_page(
    desk: &Desk,
    arrived: &Arrived,
    next: &str,
    mistake: Option<(StatusCode, &str)>,
) -> Result<Response, Stop> {
    let words = &WORDS.second_factor;
    let factors = factors_of(desk, arrived).await?;
    if factors.codes_since.is_none() && factors.passkeys.is_empty() {
        return Ok(see_other("/console/set-up"));
    }
    let next = next_path(next);
    let code = Field::new("code", words.code)
        .hint(words.code_hint)
        .line(|input| {
            input
                .with("autocomplete", "one-time-code")
                .with("autocapitalize", "none")
                .with("spellcheck", "false")
                .with("maxlength", "30")
                .flag("required", true)
                .flag("autofocus", true)
        });
    let by_code = form(arrived.form(), "/console/second-factor")
        .has(hidden("next", next))
        .has(code)
        .has(button(words.button));
    let has_passkey = !factors.passkeys.is_empty() && desk.takes_passkeys();
    let by_passkey = has_passkey.then(|| passkeys::asking_form(arrived, next));
    let status = mistake.map_or(StatusCode::OK, |(status, _)| status);
    let content = [parts::lead(words.lead)]
        .into_iter()
        .chain(mistake.map(|(_, text)| parts::wrong(text)))
        .chain(by_passkey)
        .chain([by_code, out_form(arrived)]);
    Ok(alone(desk, status, words.title, content))
}

fn out_form(arrived: &Arrived) -> Element {
    form(arrived.form(), "/console/sign-out")
        .with("class", "other")
        .has(button(WORDS.sign_in.somebody_else).with("class", "quiet"))
}

pub(super) async fn factors_of(
    desk: &Desk,
    arrived: &Arrived,
) -> Result<accounts::SecondFactors, Stop> {
    Ok(desk.accounts.own_factors(&arrived.session).await?)
}

/// `POST /console/second-factor`: a one-time code or a recovery code.
async fn answer(
    Part(desk): Part<Desk>,
    Filled(arrived, typed): Filled<Arrived>,
) -> Result<Response, Stop> {
    let proof = Proof::Code(typed.text("code").to_owned());
    raised(&desk, &arrived, typed.text("next"), proof).await
}

/// Goes on with a session that was raised, or says why it was not.
pub(super) async fn raised(
    desk: &Desk,
    arrived: &Arrived,
    next: &str,
    proof: Proof,
) -> Result<Response, Stop> {
    if arrived.session.is_raised {
        return Ok(see_other(next_path(next)));
    }
    let user = arrived.user_id();
    let attempt = desk.limits.sign_in(arrived.origin.address, user)?;
    let raised = desk
        .accounts
        .raise_console(&arrived.act(), &arrived.session, proof)
        .await;
    let error = match raised {
        Ok(token) => {
            attempt.succeeded();
            return Ok(keep(desk, see_other(next_path(next)), &token));
        }
        Err(error) => error,
    };
    let (status, text) = match told(&error) {
        Some(told) => told,
        None => return Err(error.into()),
    };
    ask_page(desk, arrived, next, Some((status, &text))).await
}

/// What somebody is told who can do better.
fn told(error: &ConsoleError) -> Option<(StatusCode, String)> {
    let words = &WORDS.second_factor;
    let text = match error {
        ConsoleError::Login(LoginError::Forbidden) => words.wrong_password.to_owned(),
        ConsoleError::Code => words.wrong_code.to_owned(),
        ConsoleError::TooManyTries { wait } => {
            let minutes = wait.div_ceil(60_000).max(1).to_string();
            let text = fill(words.too_many, &[("minutes", &minutes)]);
            return Some((StatusCode::TOO_MANY_REQUESTS, text));
        }
        ConsoleError::TooLate => words.too_late.to_owned(),
        ConsoleError::NotFound => words.other_passkey.to_owned(),
        ConsoleError::Known => words.known_passkey.to_owned(),
        ConsoleError::LastFactor => words.last_factor.to_owned(),
        ConsoleError::TooMany => words.too_many_factors.to_owned(),
        ConsoleError::Name => words.name.to_owned(),
        ConsoleError::Sealed => words.sealed.to_owned(),
        ConsoleError::Passkey(error) => {
            fill(words.passkey_refused, &[("reason", &error.to_string())])
        }
        _ => return None,
    };
    Some((StatusCode::BAD_REQUEST, text))
}

/// What somebody is told who can do better, or the answer in its place.
pub(super) fn told_or_stop(error: ConsoleError) -> Result<(StatusCode, String), Stop> {
    told(&error).ok_or_else(|| error.into())
}

/// `GET /console/set-up`: a first second factor, or one more.
async fn set_up(Part(desk): Part<Desk>, arrived: Arrived) -> Result<Response, Stop> {
    may_set_up(&desk, &arrived).await?;
    Ok(set_up_page(&desk, &arrived, None))
}

/// Whoever has a second factor adds another one only after having given it.
pub(super) async fn may_set_up(desk: &Desk, arrived: &Arrived) -> Result<(), Stop> {
    match arrived.session.is_raised || desk.accounts.must_enrol(&arrived.session).await? {
        true => Ok(()),
        false => Err(Stop::instead(see_other("/console/second-factor"))),
    }
}

pub(super) fn set_up_page(
    desk: &Desk,
    arrived: &Arrived,
    mistake: Option<(StatusCode, &str)>,
) -> Response {
    let words = &WORDS.set_up;
    let new = desk.accounts.new_codes(&arrived.session);
    let status = mistake.map_or(StatusCode::OK, |(status, _)| status);
    let lead = match arrived.session.is_raised {
        true => words.lead_more,
        false => words.lead,
    };
    let passkey = desk
        .takes_passkeys()
        .then(|| passkeys::making_card(arrived));
    let back = arrived
        .session
        .is_raised
        .then(|| paragraph("", "").has(link("/console/account", words.back)));
    let content = [parts::lead(lead)]
        .into_iter()
        .chain(mistake.map(|(_, text)| parts::wrong(text)))
        .chain([codes_card(arrived, &new)])
        .chain(passkey)
        .chain(back)
        .chain((!arrived.session.is_raised).then(|| out_form(arrived)));
    alone(desk, status, words.title, content)
}

fn codes_card(arrived: &Arrived, new: &NewCodes) -> Element {
    let words = &WORDS.set_up;
    let picture = QrCode::of(&new.address).map(|code| code.svg(words.picture));
    let code = Field::new("code", words.first_code)
        .hint(words.first_code_hint)
        .line(|input| {
            input
                .with("inputmode", "numeric")
                .with("autocomplete", "one-time-code")
                .with("maxlength", "12")
                .flag("required", true)
        });
    let form = form(arrived.form(), "/console/set-up/codes")
        .has(parts::whose(arrived.user_id()))
        .has(code)
        .has(Field::new("password", words.password).password())
        .has(button(words.codes_button));
    parts::card(words.codes)
        .has(parts::hint(words.codes_how))
        .has_all(picture)
        .has(parts::hint(words.secret))
        .has(parts::secret("secret", &new.secret))
        .has(form)
}

/// `POST /console/set-up/codes`
async fn add_codes(
    Part(desk): Part<Desk>,
    Filled(arrived, typed): Filled<Arrived>,
) -> Result<Response, Stop> {
    may_set_up(&desk, &arrived).await?;
    let user = arrived.user_id();
    let attempt = desk.limits.sign_in(arrived.origin.address, user)?;
    let password = typed.raw("password").to_owned();
    let added = desk
        .accounts
        .add_codes(
            &arrived.act(),
            &arrived.session,
            password,
            typed.text("code"),
        )
        .await;
    match added {
        Ok(enrolled) => {
            attempt.succeeded();
            Ok(enrolled_page(&desk, &enrolled))
        }
        Err(error) => {
            let (status, text) = told_or_stop(error)?;
            Ok(set_up_page(&desk, &arrived, Some((status, &text))))
        }
    }
}

/// What follows on a new second factor: recovery codes, shown once, or one's own page.
pub(super) fn enrolled_page(desk: &Desk, enrolled: &Enrolled) -> Response {
    let response = match enrolled.recovery_codes.is_empty() {
        true => see_other("/console/account"),
        false => recovery_page(desk, &enrolled.recovery_codes),
    };
    keep(desk, response, &enrolled.token)
}

/// New recovery codes, shown once.
pub(super) fn recovery_page(desk: &Desk, codes: &[String]) -> Response {
    let words = &WORDS.recovery;
    let items = codes
        .iter()
        .map(|code| element("li").has(parts::code(code)));
    let content = [
        parts::lead(words.lead),
        element("ul").with("class", "codes").has_all(items),
        parts::hint(words.keep),
        link("/console/", words.go_on).with("class", "button"),
    ];
    alone(desk, StatusCode::OK, words.title, content)
}

/// `POST /console/sign-out`
async fn sign_out(
    Part(desk): Part<Desk>,
    Filled(arrived, _): Filled<Arrived>,
) -> Result<Response, Stop> {
    desk.accounts
        .close_console(&arrived.act(), &arrived.session, None)
        .await?;
    Ok(forget(&desk, see_other("/console/sign-in")))
}
