//! The pages of an invitation: the form, and how to sign in afterwards.

use std::net::IpAddr;

use accounts::{
    InvitedTo, NewAccount, PasswordError, RegisterError, RegistrationMode, UsernameError,
};
use axum::{extract::FromRequestParts, response::Response};
use http::{Method, request::Parts};
use ruma_common::OwnedUserId;
use serde::Deserialize;
use store::StoreError;
use web::{ApiError, FormBody, LimitExceeded, Origin, Part, PathOf, QueryOf, Routes};

use crate::{
    Console, accepting,
    page::{Page, see_other},
    pages::{self, in_query},
    same_origin::SameOrigin,
    texts::{TEXTS, fill},
};

pub(crate) fn routes() -> Routes<Console> {
    Routes::new()
        .plain(Method::GET, "/join/{token}", show)
        .plain(Method::POST, "/join/{token}", join)
        .plain(Method::GET, "/joined", joined)
}

/// The form's fields. What is missing is empty.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct JoinForm {
    pub(crate) name: String,
    password: String,
    again: String,
}

/// What has to be corrected, by field.
#[derive(Default)]
pub(crate) struct Mistakes {
    pub(crate) name: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) again: Option<String>,
    /// What is wrong with none of the fields.
    pub(crate) general: Option<String>,
}

impl JoinForm {
    pub(crate) fn password(&self) -> &str {
        &self.password
    }
}

impl Mistakes {
    /// The fields with a mistake, in their order.
    pub(crate) fn of_fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("name", &self.name),
            ("password", &self.password),
            ("again", &self.again),
        ]
        .into_iter()
        .filter_map(|(field, mistake)| Some((field, mistake.as_deref()?)))
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.general.is_none() && self.of_fields().next().is_none()
    }
}

/// Anybody. Counts the request for its address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visitor(());

impl FromRequestParts<Console> for Visitor {
    type Rejection = Page;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Page> {
        let origin = Origin::from_request_parts(parts, console).await;
        let counted = origin.and_then(|origin| Ok(console.limits.count_address(origin.address)?));
        counted.map(Self).map_err(pages::failed)
    }
}

/// The path's token; what is no text is no invitation's.
type Token = Result<PathOf<String>, ApiError>;

/// `GET /join/{token}`: the form. Changes nothing: programs that show previews of
/// links open it too.
async fn show(Part(console): Part<Console>, _: Visitor, token: Token) -> Result<Page, Page> {
    let token = token.map_err(|_| pages::gone())?.0;
    let invited = console.accounts.invited_to(&token).await;
    let is_closed = console.accounts.registration_mode() == RegistrationMode::Closed;
    let none = Mistakes::default();
    match invited.map_err(|error| pages::failed(error.into()))? {
        Some(InvitedTo::Account {
            user_id,
            display_name,
        }) => Ok(accepting::form(
            &console,
            &user_id,
            display_name.as_deref(),
            &none,
        )),
        _ if is_closed => Err(pages::closed(&console)),
        Some(InvitedTo::Register) => Ok(pages::join(&console, &JoinForm::default(), &none)),
        None => Err(pages::gone()),
    }
}

/// `POST /join/{token}`: makes the account, and leads on to how one signs in. No
/// session begins: the browser may be anybody's.
async fn join(
    Part(console): Part<Console>,
    origin: Origin,
    _: SameOrigin,
    token: Token,
    form: Result<FormBody<JoinForm>, ApiError>,
) -> Result<Response, Page> {
    let token = token.map_err(|_| pages::gone())?.0;
    let form = form.map_err(pages::failed)?.0;
    let invited = console.accounts.invited_to(&token).await;
    let invited = invited.map_err(|error| pages::failed(error.into()))?;
    let made = match &invited {
        Some(InvitedTo::Account { .. }) => {
            accepting::accept(&console, &token, &form, origin.address).await
        }
        _ => make_account(&console, &token, &form, origin.address).await,
    };
    let again = |mistakes: &Mistakes| match &invited {
        Some(InvitedTo::Account {
            user_id,
            display_name,
        }) => accepting::form(&console, user_id, display_name.as_deref(), mistakes),
        _ => pages::join(&console, &form, mistakes),
    };
    match made {
        // A page of its own: it can be opened again without sending the form again.
        Ok(user_id) => Ok(see_other(&format!(
            "../joined?name={}",
            in_query(user_id.localpart())
        ))),
        Err(Refusal::Gone) => Err(pages::gone()),
        Err(Refusal::Closed) => Err(pages::closed(&console)),
        Err(Refusal::Mistakes(mistakes)) => Err(again(&mistakes)),
        Err(Refusal::Failed(error)) => {
            let mistakes = Mistakes {
                general: Some(pages::failure(&error)),
                ..Mistakes::default()
            };
            Err(again(&mistakes).because(*error))
        }
    }
}

#[derive(Deserialize)]
struct JoinedQuery {
    #[serde(default)]
    name: String,
}

/// `GET /joined`: how one signs in. It says nothing that is not known, whoever's name
/// it is asked for, and so it can be kept, sent and opened anywhere.
async fn joined(
    Part(console): Part<Console>,
    _: Visitor,
    query: Result<QueryOf<JoinedQuery>, ApiError>,
) -> Page {
    let name = query.map_or_else(|_| String::new(), |query| query.0.name);
    let user_id = console.accounts.new_user_id(&name).ok();
    pages::joined(&console, user_id.as_deref())
}

/// Why nobody joined.
pub(crate) enum Refusal {
    /// The form has to be corrected.
    Mistakes(Box<Mistakes>),
    /// The invitation cannot be used.
    Gone,
    /// Nobody can join.
    Closed,
    /// Something else; later it may work.
    Failed(Box<ApiError>),
}

impl From<LimitExceeded> for Refusal {
    fn from(exceeded: LimitExceeded) -> Self {
        Self::Failed(Box::new(exceeded.into()))
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Failed(Box::new(error.into()))
    }
}

/// Makes the account that the form asks for. Tries are limited as they are in
/// clients' registration: for the address, and for wrong tokens much more.
async fn make_account(
    console: &Console,
    token: &str,
    form: &JoinForm,
    address: IpAddr,
) -> Result<OwnedUserId, Refusal> {
    let accounts = &console.accounts;
    if accounts.registration_mode() == RegistrationMode::Closed {
        return Err(Refusal::Closed);
    }
    console.limits.count_address(address)?;
    let attempt = console.limits.sign_in(address, &address.to_string())?;
    let proof = accounts.prove_invitation(token).await?;
    let proof = proof.ok_or(Refusal::Gone)?;
    attempt.succeeded();
    let username = username(console, &form.name);
    let mistakes = mistakes(console, form, &username).await?;
    if !mistakes.is_empty() {
        return Err(Refusal::Mistakes(Box::new(mistakes)));
    }
    let new = NewAccount {
        username: Some(username.clone()),
        password: Some(form.password.clone()),
        inhibit_login: true,
        from: Some(address.to_string()),
        ..NewAccount::default()
    };
    let made = accounts.register(new, Some(proof)).await;
    made.map(|made| made.user_id)
        .map_err(|error| refusal(error, &username))
}

/// The name that somebody means: phones like to begin with a capital letter, and
/// some people write their whole id.
fn username(console: &Console, typed: &str) -> String {
    let user_id = console.accounts.typed_user_id(typed);
    user_id.map_or_else(
        || typed.trim().to_owned(),
        |user_id| user_id.localpart().to_owned(),
    )
}

/// Everything that has to be corrected, at once.
async fn mistakes(console: &Console, form: &JoinForm, username: &str) -> Result<Mistakes, Refusal> {
    let texts = &TEXTS.mistakes;
    let name = if username.is_empty() {
        Some(texts.name_missing.to_owned())
    } else {
        match console.accounts.check_username(username).await {
            Ok(()) => None,
            Err(error) => Some(name_mistake(error, username)?),
        }
    };
    let mut mistakes = password_mistakes(console, form);
    if name.is_some() && mistakes.is_empty() {
        mistakes.password = Some(texts.password_anew.to_owned());
    }
    Ok(Mistakes { name, ..mistakes })
}

/// What has to be corrected of the password.
pub(crate) fn password_mistakes(console: &Console, form: &JoinForm) -> Mistakes {
    let texts = &TEXTS.mistakes;
    let password = if form.password.is_empty() {
        Some(texts.password_missing.to_owned())
    } else {
        let checked = console.accounts.check_new_password(&form.password);
        checked.err().map(password_mistake)
    };
    let differs = password.is_none() && form.password != form.again;
    Mistakes {
        again: differs.then(|| texts.again_differs.to_owned()),
        password,
        ..Mistakes::default()
    }
}

fn name_mistake(error: UsernameError, username: &str) -> Result<String, Refusal> {
    let texts = &TEXTS.mistakes;
    match error {
        UsernameError::Invalid => Ok(texts.name_invalid.to_owned()),
        UsernameError::Taken | UsernameError::Exclusive(_) => {
            Ok(fill(texts.name_taken, &[("name", username)]))
        }
        UsernameError::Store(error) => Err(error.into()),
    }
}

fn password_mistake(error: PasswordError) -> String {
    let texts = &TEXTS.mistakes;
    match error {
        PasswordError::TooShort { minimum } => {
            fill(texts.password_short, &[("minimum", &minimum.to_string())])
        }
        PasswordError::TooLong => texts.password_long.to_owned(),
    }
}

/// What was refused although it looked right a moment ago, and what failed.
fn refusal(error: RegisterError, username: &str) -> Refusal {
    let mut mistakes = Mistakes::default();
    match error {
        RegisterError::Username(error) => match name_mistake(error, username) {
            Ok(mistake) => mistakes.name = Some(mistake),
            Err(refusal) => return refusal,
        },
        RegisterError::Password(error) => mistakes.password = Some(password_mistake(error)),
        RegisterError::Invitation => return Refusal::Gone,
        RegisterError::Closed => return Refusal::Closed,
        error => return Refusal::Failed(Box::new(error.into())),
    }
    Refusal::Mistakes(Box::new(mistakes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_come_in_the_order_of_the_fields() {
        let mut mistakes = Mistakes::default();
        assert!(mistakes.is_empty());
        mistakes.again = Some("c".to_owned());
        mistakes.name = Some("a".to_owned());
        let listed: Vec<_> = mistakes.of_fields().collect();
        assert_eq!(listed, [("name", "a"), ("again", "c")]);
        assert!(!mistakes.is_empty());
        let general = Mistakes {
            general: Some("d".to_owned()),
            ..Mistakes::default()
        };
        assert!(!general.is_empty());
    }
}
