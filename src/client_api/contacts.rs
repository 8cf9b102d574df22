//! E-mail addresses and telephone numbers of accounts (client-server API, "Account
//! management": third-party identifiers). Addresses are confirmed where the server can send
//! e-mail, telephone numbers never; identity servers are not spoken to.

use accounts::{Accounts, NewConfirmation, canonical_email};
use actions::Contacts;
use http::{Method, StatusCode};
use js_int::UInt;
use model::EmailPurpose;
use ruma_client_api::account::{
    ThirdPartyIdRemovalStatus, add_3pid::v3 as add, bind_3pid::v3 as bind,
    delete_3pid::v3 as delete, get_3pids::v3 as contacts,
    request_3pid_management_token_via_email::v3 as token_to_add,
    request_3pid_management_token_via_msisdn::v3 as number_to_add,
    request_password_change_token_via_email::v3 as token_to_reset,
    request_password_change_token_via_msisdn::v3 as number_to_reset,
    request_registration_token_via_email::v3 as token_to_register,
    request_registration_token_via_msisdn::v3 as number_to_register, unbind_3pid::v3 as unbind,
};
use ruma_common::{OwnedClientSecret, OwnedSessionId, api::error::ErrorCode, thirdparty::Medium};
use serde::Deserialize;
use serde_json::{Value, json};
use store::Store;
use web::{
    Anonymous, Anyone, ApiError, Interactive, JsonBody, Limits, Origin, Part, RawJson, Reply,
    Routes, User,
};

use crate::{ClientParts, answers, prover::Prover};

/// How addresses were added before version r0.6 of the specification, and were listed.
const OLD: [&str; 2] = [
    "/_matrix/client/r0/account/3pid",
    "/_matrix/client/v3/account/3pid",
];

pub(crate) fn routes() -> Routes<ClientParts> {
    let [r0, v3] = OLD;
    Routes::new()
        .on(get_contacts)
        .on(request_token_to_add)
        .on(request_token_to_register)
        .on(request_token_to_reset)
        .on(request_number_to_add)
        .on(request_number_to_register)
        .on(request_number_to_reset)
        .on(add_contact)
        .on(bind_contact)
        .on(delete_contact)
        .on(unbind_contact)
        .plain(Method::POST, r0, add_bound_contact)
        .plain(Method::POST, v3, add_bound_contact)
}

/// `GET /_matrix/client/v3/account/3pid`
async fn get_contacts(
    Part(store): Part<Store>,
    caller: User,
    _: contacts::Request,
) -> Reply<RawJson> {
    let user = caller.user;
    let emails = store.read(move |view| accounts::emails(view, user));
    let emails: Vec<accounts::OwnEmail> = emails.await?;
    let shown: Vec<Value> = emails
        .iter()
        .map(|email| {
            json!({
                "medium": "email",
                "address": email.address,
                "validated_at": email.validated_at,
                "added_at": email.added_at,
            })
        })
        .collect();
    Ok(answers::json(&json!({ "threepids": shown })))
}

/// What the three endpoints for e-mail are asked.
struct Asked {
    purpose: EmailPurpose,
    email: String,
    client_secret: OwnedClientSecret,
    send_attempt: UInt,
    next_link: Option<String>,
}

/// Asks for a confirmation, within the limits on letters.
async fn confirm(
    contacts: &Contacts,
    limits: &Limits,
    origin: &Origin,
    caller: Option<&User>,
    asked: Asked,
) -> Result<OwnedSessionId, ApiError> {
    if contacts.are_on() {
        let recipient = canonical_email(&asked.email).unwrap_or_default();
        limits.mail(origin.address, &recipient)?;
    }
    let id = contacts
        .confirm(NewConfirmation {
            purpose: asked.purpose,
            email: asked.email,
            client_secret: asked.client_secret.to_string(),
            send_attempt: asked.send_attempt.into(),
            next_link: asked.next_link,
            user: caller.map(|caller| caller.user),
        })
        .await?;
    OwnedSessionId::try_from(id).map_err(ApiError::internal)
}

/// `POST /_matrix/client/v3/account/3pid/email/requestToken`
async fn request_token_to_add(
    Part(contacts): Part<Contacts>,
    Part(limits): Part<Limits>,
    origin: Origin,
    caller: Anyone,
    request: token_to_add::Request,
) -> Reply<token_to_add::Response> {
    let caller = match &caller {
        Anyone::User(user) => Some(user),
        Anyone::Nobody(_) => None,
    };
    let asked = Asked {
        purpose: EmailPurpose::Add,
        email: request.email,
        client_secret: request.client_secret,
        send_attempt: request.send_attempt,
        next_link: request.next_link,
    };
    let id = confirm(&contacts, &limits, &origin, caller, asked).await?;
    Ok(token_to_add::Response::new(id))
}

/// `POST /_matrix/client/v3/register/email/requestToken`
async fn request_token_to_register(
    Part(contacts): Part<Contacts>,
    Part(accounts): Part<Accounts>,
    Part(limits): Part<Limits>,
    origin: Origin,
    _: Anonymous,
    request: token_to_register::Request,
) -> Reply<token_to_register::Response> {
    if accounts.registration_flows().is_empty() {
        return Err(denied("Nobody can register here."));
    }
    let asked = Asked {
        purpose: EmailPurpose::Register,
        email: request.email,
        client_secret: request.client_secret,
        send_attempt: request.send_attempt,
        next_link: request.next_link,
    };
    let id = confirm(&contacts, &limits, &origin, None, asked).await?;
    Ok(token_to_register::Response::new(id))
}

/// `POST /_matrix/client/v3/account/password/email/requestToken`
async fn request_token_to_reset(
    Part(contacts): Part<Contacts>,
    Part(limits): Part<Limits>,
    origin: Origin,
    _: Anonymous,
    request: token_to_reset::Request,
) -> Reply<token_to_reset::Response> {
    let asked = Asked {
        purpose: EmailPurpose::ResetPassword,
        email: request.email,
        client_secret: request.client_secret,
        send_attempt: request.send_attempt,
        next_link: request.next_link,
    };
    let id = confirm(&contacts, &limits, &origin, None, asked).await?;
    Ok(token_to_reset::Response::new(id))
}

fn denied(text: &'static str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, ErrorCode::ThreepidDenied, text)
}

fn no_numbers() -> ApiError {
    denied("This server does not confirm telephone numbers.")
}

/// `POST /_matrix/client/v3/account/3pid/msisdn/requestToken`
async fn request_number_to_add(
    _: Anyone,
    _: number_to_add::Request,
) -> Reply<number_to_add::Response> {
    Err(no_numbers())
}

/// `POST /_matrix/client/v3/register/msisdn/requestToken`
async fn request_number_to_register(
    _: Anonymous,
    _: number_to_register::Request,
) -> Reply<number_to_register::Response> {
    Err(no_numbers())
}

/// `POST /_matrix/client/v3/account/password/msisdn/requestToken`
async fn request_number_to_reset(
    _: Anonymous,
    _: number_to_reset::Request,
) -> Reply<number_to_reset::Response> {
    Err(no_numbers())
}

/// `POST /_matrix/client/v3/account/3pid/add`
async fn add_contact(
    Part(accounts): Part<Accounts>,
    Part(contacts): Part<Contacts>,
    prover: Prover,
    caller: User,
    Interactive { request, operation }: Interactive<add::Request>,
) -> Reply<add::Response> {
    if !contacts.are_on() {
        return Err(ApiError::forbidden("Nobody can add an address here."));
    }
    prover
        .user(&caller, operation, request.auth.as_ref())
        .await?;
    let (id, secret) = (request.sid.as_str(), request.client_secret.as_str());
    let proof = accounts.prove_email(id, secret).await?;
    let proof = proof.ok_or(accounts::EmailError::NotConfirmed)?;
    accounts.add_email(&caller, proof).await?;
    Ok(add::Response::new())
}

fn no_identity_servers() -> ApiError {
    ApiError::forbidden("This server does not speak to identity servers.")
}

/// `POST /_matrix/client/v3/account/3pid/bind`
async fn bind_contact(_: User, _: bind::Request) -> Reply<bind::Response> {
    Err(no_identity_servers())
}

/// The body of the old way to add an address.
#[derive(Deserialize)]
struct Bound {
    #[serde(rename = "three_pid_creds")]
    _creds: Creds,
}

#[derive(Deserialize)]
struct Creds {
    #[serde(rename = "client_secret")]
    _client_secret: String,
    #[serde(rename = "id_server")]
    _id_server: String,
    #[serde(rename = "id_access_token")]
    _id_access_token: String,
    #[serde(rename = "sid")]
    _sid: String,
}

/// `POST /_matrix/client/v3/account/3pid`, deprecated: adds what an identity server has
/// confirmed.
async fn add_bound_contact(_: User, _: JsonBody<Bound>) -> Result<RawJson, ApiError> {
    Err(no_identity_servers())
}

/// `POST /_matrix/client/v3/account/3pid/delete`
async fn delete_contact(
    Part(accounts): Part<Accounts>,
    caller: User,
    request: delete::Request,
) -> Reply<delete::Response> {
    if request.medium == Medium::Email {
        accounts.delete_email(&caller, &request.address).await?;
    }
    // No identity server knows of it by us.
    Ok(delete::Response::new(ThirdPartyIdRemovalStatus::NoSupport))
}

/// `POST /_matrix/client/v3/account/3pid/unbind`
async fn unbind_contact(_: User, _: unbind::Request) -> Reply<unbind::Response> {
    Ok(unbind::Response::new(ThirdPartyIdRemovalStatus::NoSupport))
}
