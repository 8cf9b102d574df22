//! The page of an invitation to an account that was made for somebody: they choose its first
//! password.

use std::net::IpAddr;

use accounts::AcceptError;
use http::StatusCode;
use ruma_common::{OwnedUserId, UserId};

use crate::{
    Console,
    html::element,
    joining::{JoinForm, Mistakes, Refusal, password_mistakes},
    page::Page,
    pages::{Field, paragraph, secret_input, summary, value},
    texts::{TEXTS, fill},
};

/// The form: whose account it is, and the password twice.
pub(crate) fn form(
    console: &Console,
    user_id: &UserId,
    display_name: Option<&str>,
    mistakes: &Mistakes,
) -> Page {
    let (texts, fields) = (&TEXTS.accepting, &TEXTS.form);
    let server = console.accounts.server_name().as_str();
    let mut title = fill(texts.title, &[("server", server)]);
    let heading = element("h1").has(title.as_str());
    let status = match mistakes.is_empty() {
        true => StatusCode::OK,
        false => {
            title.insert_str(0, fields.title_mistake);
            StatusCode::BAD_REQUEST
        }
    };
    let minimum = console.accounts.password_min_length().to_string();
    let hint = fill(fields.password_hint, &[("minimum", &minimum)]);
    // For programs that keep passwords: whose it is.
    let whose = element("input")
        .with("type", "hidden")
        .with("name", "name")
        .with("autocomplete", "username")
        .with("value", user_id.as_str());
    let password = Field::new("password", fields.password, &hint, mistakes);
    let again = Field::new("again", fields.again, "", mistakes);
    let form = element("form")
        .with("method", "post")
        .flag("novalidate", true)
        .has(whose)
        .has(password.with_input(secret_input))
        .has(again.with_input(secret_input))
        .has(element("button").with("type", "submit").has(texts.button));
    let lead = match display_name {
        Some(name) => fill(texts.lead, &[("name", name)]),
        None => texts.lead_nameless.to_owned(),
    };
    let content = element("main")
        .has(heading)
        .has(paragraph("lead", lead))
        .has(value("user-id", user_id.as_str()))
        .has_all(summary(mistakes))
        .has(form)
        .has(paragraph("small", texts.footer));
    Page::new(status, title, content)
}

/// Gives the account the password that the form has.
pub(crate) async fn accept(
    console: &Console,
    token: &str,
    form: &JoinForm,
    address: IpAddr,
) -> Result<OwnedUserId, Refusal> {
    console.limits.count_address(address)?;
    let attempt = console.limits.sign_in(address, &address.to_string())?;
    let mistakes = password_mistakes(console, form);
    if !mistakes.is_empty() {
        attempt.succeeded();
        return Err(Refusal::Mistakes(Box::new(mistakes)));
    }
    let from = Some(address.to_string());
    let accepted = console
        .accounts
        .accept_invitation(token, form.password().to_owned(), from);
    match accepted.await {
        Ok(user_id) => {
            attempt.succeeded();
            Ok(user_id)
        }
        Err(AcceptError::Invitation) => Err(Refusal::Gone),
        Err(error) => Err(Refusal::Failed(Box::new(error.into()))),
    }
}
