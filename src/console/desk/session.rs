//! Who is at the desk: the cookie, the session behind it, and the number that each form carries.
//!
//! Over TLS the cookie's name begins with `__Host-`: browsers send it to this host alone, and take
//! it from nobody else. Without TLS there are sessions for this machine alone, under another name:
//! whoever listens on a network must not get one.

use std::{collections::HashMap, net::IpAddr};

use ::audit::Act;
use accounts::ConsoleSession;
use actions::{Administrator, Right};
use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header, request::Parts};
use sha2::{Digest as _, Sha256};
use web::{ApiError, FormBody, Origin};

use super::{
    Desk,
    answers::{Stop, see_other},
};
use crate::{pages::in_query, same_origin, words::WORDS};

const SECURE_COOKIE: &str = "__Host-cairn-console";
const PLAIN_COOKIE: &str = "cairn-console";
/// The cookie of who has not signed in: ties the form to the browser that it was shown to.
const SECURE_FORM_COOKIE: &str = "__Host-cairn-form";
const PLAIN_FORM_COOKIE: &str = "cairn-form";

/// What the overview's chart looks at by itself: it keeps no session alive.
pub(super) const PULSE: &str = "/console/pulse";

/// The field of each form that holds what ties it to the session.
pub(super) const FORM_FIELD: &str = "form";

/// Fields of a form or of a query. What is missing is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(HashMap<String, String>);

impl Fields {
    /// A field, without white space at its ends.
    pub(super) fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// A field as it was typed: a password.
    pub(super) fn raw(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    /// The fields of a query.
    pub(super) fn of_query(query: &str) -> Self {
        let fields = url::form_urlencoded::parse(query.as_bytes());
        let owned = fields.map(|(name, value)| (name.into_owned(), value.into_owned()));
        Self(owned.collect())
    }

    /// A field that was filled in.
    pub(super) fn filled(&self, name: &str) -> Option<String> {
        let text = self.text(name);
        (!text.is_empty()).then(|| text.to_owned())
    }
}

impl FromRequestParts<Desk> for Fields {
    type Rejection = Stop;

    async fn from_request_parts(parts: &mut Parts, _: &Desk) -> Result<Self, Stop> {
        Ok(Self::of_query(parts.uri.query().unwrap_or_default()))
    }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter();
    let mut pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .find_map(|(found, value)| (found == name).then_some(value))
        .filter(|value| !value.is_empty() && value.len() <= 100)
}

fn name_of(desk: &Desk, secure: &'static str, plain: &'static str) -> &'static str {
    match desk.is_secure() {
        true => secure,
        false => plain,
    }
}

fn set(desk: &Desk, response: &mut Response, name: &str, value: &str, age: Option<u64>) {
    let secure = if desk.is_secure() { "; Secure" } else { "" };
    let age = age.map_or(String::new(), |age| format!("; Max-Age={age}"));
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{age}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// Has the browser keep a session's token, until it is closed.
pub(super) fn keep(desk: &Desk, mut response: Response, token: &str) -> Response {
    let name = name_of(desk, SECURE_COOKIE, PLAIN_COOKIE);
    set(desk, &mut response, name, token, None);
    response
}

/// Has the browser forget it.
pub(super) fn forget(desk: &Desk, mut response: Response) -> Response {
    let name = name_of(desk, SECURE_COOKIE, PLAIN_COOKIE);
    set(desk, &mut response, name, "", Some(0));
    response
}

/// What ties a form to whoever has this token.
fn form_number(token: &str) -> String {
    let hash = Sha256::new()
        .chain_update(b"form\0")
        .chain_update(token.as_bytes())
        .finalize();
    URL_SAFE_NO_PAD.encode(hash)
}

/// Refuses to speak of passwords and codes where others can listen.
fn must_be_private(desk: &Desk, address: IpAddr) -> Result<(), Stop> {
    match desk.is_secure() || address.to_canonical().is_loopback() {
        true => Ok(()),
        false => Err(ApiError::forbidden(WORDS.failures.plain).into()),
    }
}

pub(super) fn must_be_ours(desk: &Desk, parts: &Parts) -> Result<(), Stop> {
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    match same_origin::is_same(&parts.headers, authority, &desk.address) {
        true => Ok(()),
        false => Err(ApiError::forbidden(WORDS.failures.elsewhere).into()),
    }
}

/// Somebody who has not signed in, and what ties the form that they are shown to them.
pub(super) struct Stranger {
    pub(super) origin: Origin,
    token: String,
    is_new: bool,
}

impl Stranger {
    pub(super) fn form(&self) -> String {
        form_number(&self.token)
    }

    /// Has the browser keep what ties the form to it.
    pub(super) fn keep(&self, desk: &Desk, mut response: Response) -> Response {
        if self.is_new {
            let name = name_of(desk, SECURE_FORM_COOKIE, PLAIN_FORM_COOKIE);
            set(desk, &mut response, name, &self.token, None);
        }
        response
    }
}

impl FromRequestParts<Desk> for Stranger {
    type Rejection = Stop;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Stop> {
        let origin = Origin::from_request_parts(parts, desk).await?;
        desk.limits.count_address(origin.address)?;
        must_be_private(desk, origin.address)?;
        let name = name_of(desk, SECURE_FORM_COOKIE, PLAIN_FORM_COOKIE);
        let known = cookie(&parts.headers, name).map(str::to_owned);
        Ok(Self {
            origin,
            is_new: known.is_none(),
            token: known.unwrap_or_else(|| desk.random.token()),
        })
    }
}

/// Somebody who has given a password, and perhaps no second factor yet.
#[derive(Clone)]
pub(super) struct Arrived {
    pub(super) session: ConsoleSession,
    pub(super) origin: Origin,
    form: String,
}

impl Arrived {
    /// Who acts and from where, as the audit trail is told.
    pub(super) fn act(&self) -> Act {
        let user_id = self.session.session.user_id.as_str();
        Act::person(user_id, self.origin.place())
    }

    /// What ties forms to the session.
    pub(super) fn form(&self) -> &str {
        &self.form
    }

    pub(super) fn user_id(&self) -> &str {
        self.session.session.user_id.as_str()
    }
}

impl FromRequestParts<Desk> for Arrived {
    type Rejection = Stop;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Stop> {
        let origin = Origin::from_request_parts(parts, desk).await?;
        must_be_private(desk, origin.address)?;
        let name = name_of(desk, SECURE_COOKIE, PLAIN_COOKIE);
        let token = cookie(&parts.headers, name).map(str::to_owned);
        let is_used = parts.uri.path() != PULSE;
        let found = match &token {
            Some(token) => desk.accounts.console_session(token, is_used).await?,
            None => None,
        };
        let (Some(session), Some(token)) = (found, token) else {
            desk.limits.count_address(origin.address)?;
            return Err(Stop::instead(see_other(&sign_in_path(parts))));
        };
        desk.limits
            .count_account(session.session.user, session.session.own_rate)?;
        Ok(Self {
            session,
            origin,
            form: form_number(&token),
        })
    }
}

/// Where one signs in and comes back from.
fn sign_in_path(parts: &Parts) -> String {
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    match parts.method == http::Method::GET && path != "/console/" {
        true => format!("/console/sign-in?next={}", in_query(path)),
        false => "/console/sign-in".to_owned(),
    }
}

/// A path of the console where somebody wanted to go; the overview for everything else.
pub(super) fn next_path(wanted: &str) -> &str {
    let is_ours = wanted.starts_with("/console/")
        && !wanted.contains(['\\', '\r', '\n'])
        && !wanted.starts_with("/console/sign-");
    if is_ours { wanted } else { "/console/" }
}

/// Somebody with a role who has signed in with a second factor.
#[derive(Clone)]
pub(super) struct Clerk(Arrived);

impl Clerk {
    /// With all rights that their roles give them now.
    pub(super) fn by(&self) -> Administrator {
        Administrator::session(&self.0.session.session, self.0.origin.place())
    }

    /// The same for a reason.
    pub(super) fn because(&self, reason: &str) -> Administrator {
        self.by().because(Some(reason.to_owned()))
    }

    pub(super) fn may(&self, right: Right) -> bool {
        self.by().may(right)
    }

    /// Refuses what their roles do not allow.
    pub(super) fn must(&self, right: Right) -> Result<(), Stop> {
        let allowed = self.by().must(right);
        allowed.map_err(|denied| actions::AdministrationError::from(denied).into())
    }
}

impl std::ops::Deref for Clerk {
    type Target = Arrived;

    fn deref(&self) -> &Arrived {
        &self.0
    }
}

impl FromRequestParts<Desk> for Clerk {
    type Rejection = Stop;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Stop> {
        let arrived = Arrived::from_request_parts(parts, desk).await?;
        // Who has lost the second factor to an operator sets up another before anything else.
        if desk.accounts.must_enrol(&arrived.session).await? {
            return Err(Stop::instead(see_other("/console/set-up")));
        }
        match arrived.session.is_raised {
            true => Ok(Self(arrived)),
            false => Err(Stop::instead(see_other("/console/second-factor"))),
        }
    }
}

/// A form that was filled in on one of our own pages, by whom it was shown to.
pub(super) struct Filled<Who>(pub(super) Who, pub(super) Fields);

/// Somebody to whom forms are tied.
pub(super) trait Tied {
    /// What the form must carry.
    fn number(&self) -> String;
}

impl Tied for Stranger {
    fn number(&self) -> String {
        self.form()
    }
}

impl Tied for Arrived {
    fn number(&self) -> String {
        self.form.clone()
    }
}

impl Tied for Clerk {
    fn number(&self) -> String {
        self.0.form.clone()
    }
}

impl<Who> FromRequest<Desk> for Filled<Who>
where
    Who: FromRequestParts<Desk, Rejection = Stop> + Tied + Send,
{
    type Rejection = Stop;

    async fn from_request(request: Request, desk: &Desk) -> Result<Self, Stop> {
        let (mut parts, body) = request.into_parts();
        must_be_ours(desk, &parts)?;
        let who = Who::from_request_parts(&mut parts, desk).await?;
        let request = Request::from_parts(parts, body);
        let FormBody(fields) =
            FormBody::<HashMap<String, String>>::from_request(request, desk).await?;
        let fields = Fields(fields);
        match fields.raw(FORM_FIELD) == who.number() {
            true => Ok(Self(who, fields)),
            false => Err(ApiError::forbidden(WORDS.failures.form).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let mut headers = HeaderMap::new();
        let line = "x=1; cairn-console=abc; cairn-console2=d; e";
        headers.append(header::COOKIE, HeaderValue::from_static(line));
        headers.append(header::COOKIE, HeaderValue::from_static("f=g"));
        assert_eq!(cookie(&headers, "cairn-console"), Some("abc"));
        assert_eq!(cookie(&headers, "f"), Some("g"));
        assert_eq!(cookie(&headers, "console"), None);
        assert_eq!(cookie(&headers, "e"), None);
    }

    #[test]
    fn one_goes_on_within_the_console_alone() {
        for (wanted, expected) in [
            ("/console/people?q=a", "/console/people?q=a"),
            ("/console/", "/console/"),
            ("", "/console/"),
            ("https://evil.example/console/", "/console/"),
            ("//evil.example", "/console/"),
            ("/consoles", "/console/"),
            ("/console/\r\nSet-Cookie: a", "/console/"),
            ("/console/sign-out", "/console/"),
        ] {
            assert_eq!(next_path(wanted), expected, "{wanted}");
        }
    }

    #[test]
    fn forms_of_other_sessions_are_others() {
        assert_ne!(form_number("a"), form_number("b"));
        assert!(!form_number("secret").contains("secret"));
    }
}
