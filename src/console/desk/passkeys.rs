//! Passkeys: what our script asks for and sends back. Without scripts browsers make none; a
//! one-time code does instead.

use accounts::{MadePasskey, Proof, SignedByPasskey};
use axum::response::Response;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Method;
use serde_json::{Value, json};
use web::{Part, Routes};

use super::{
    Desk,
    answers::{Stop, json as json_answer},
    parts::{self, Field, button, form, hidden},
    session::{Arrived, Fields, Filled},
    signing_in::{enrolled_page, may_set_up, raised, set_up_page, told_or_stop},
};
use crate::{
    html::{Element, element},
    words::WORDS,
};

/// How long a browser waits for its person, in ms.
const PATIENCE: u64 = 5 * 60 * 1_000;

pub(super) fn routes() -> Routes<Desk> {
    Routes::new()
        .plain(Method::POST, "/console/passkey-question", question)
        .plain(Method::POST, "/console/second-factor/passkey", answer)
        .plain(Method::POST, "/console/set-up/passkey", add)
}

fn bytes(fields: &Fields, name: &str) -> Vec<u8> {
    let text = fields.text(name).trim_end_matches('=');
    URL_SAFE_NO_PAD.decode(text).unwrap_or_default()
}

fn text(bytes: &[u8]) -> Value {
    URL_SAFE_NO_PAD.encode(bytes).into()
}

/// `POST /console/passkey-question`: what the browser is to ask an authenticator.
async fn question(
    Part(desk): Part<Desk>,
    Filled(arrived, wanted): Filled<Arrived>,
) -> Result<Response, Stop> {
    let is_new = wanted.text("kind") == "new";
    if is_new {
        may_set_up(&desk, &arrived).await?;
    }
    let asked = desk.accounts.ask_passkey(&arrived.session, is_new).await?;
    let known: Vec<Value> = asked
        .known
        .iter()
        .map(|id| json!({ "type": "public-key", "id": text(id) }))
        .collect();
    let site = desk.site();
    let shown = match is_new {
        true => json!({
            "challenge": text(&asked.challenge),
            "rp": { "id": site.host, "name": desk.accounts.server_name() },
            "user": {
                "id": text(&asked.user),
                "name": arrived.user_id(),
                "displayName": arrived.user_id(),
            },
            "pubKeyCredParams": [
                { "type": "public-key", "alg": -8 },
                { "type": "public-key", "alg": -7 },
                { "type": "public-key", "alg": -257 },
            ],
            "excludeCredentials": known,
            "authenticatorSelection": {
                "residentKey": "discouraged",
                "userVerification": "required",
            },
            "attestation": "none",
            "timeout": PATIENCE,
        }),
        false => json!({
            "challenge": text(&asked.challenge),
            "rpId": site.host,
            "allowCredentials": known,
            "userVerification": "required",
            "timeout": PATIENCE,
        }),
    };
    Ok(json_answer(&shown))
}

/// What our script fills in.
fn filled_by_script(names: &[&'static str]) -> Vec<Element> {
    names.iter().map(|name| hidden(name, "")).collect()
}

/// The button that asks for a passkey. It is there with scripts alone.
pub(super) fn asking_form(arrived: &Arrived, next: &str) -> Element {
    let words = &WORDS.second_factor;
    form(arrived.form(), "/console/second-factor/passkey")
        .with("data-passkey", "known")
        .flag("hidden", true)
        .has(hidden("next", next))
        .has_all(filled_by_script(&[
            "id",
            "client",
            "authenticator",
            "signature",
        ]))
        .has(button(words.passkey_button))
        .has(trouble())
}

/// Where our script says what the browser did not do.
fn trouble() -> Element {
    element("p")
        .with("class", "hint")
        .with("role", "status")
        .with("data-trouble", WORDS.second_factor.passkey_trouble)
}

/// The form for a new passkey.
pub(super) fn making_card(arrived: &Arrived) -> Element {
    let words = &WORDS.set_up;
    let name = Field::new("name", words.passkey_name)
        .hint(words.passkey_name_hint)
        .line(|input| {
            input
                .with("maxlength", "60")
                .with("autocomplete", "off")
                .flag("required", true)
        });
    let form = form(arrived.form(), "/console/set-up/passkey")
        .with("data-passkey", "new")
        .flag("hidden", true)
        .has_all(filled_by_script(&["client", "attestation"]))
        .has(parts::whose(arrived.user_id()))
        .has(name)
        .has(
            Field::new("password", words.password)
                .id("passkey-password")
                .password(),
        )
        .has(button(words.passkey_button))
        .has(trouble());
    parts::card(words.passkey)
        .has(parts::hint(words.passkey_how))
        .has(element("noscript").has(parts::hint(words.passkey_script)))
        .has(form)
}

/// `POST /console/second-factor/passkey`
async fn answer(
    Part(desk): Part<Desk>,
    Filled(arrived, fields): Filled<Arrived>,
) -> Result<Response, Stop> {
    let signed = SignedByPasskey {
        id: bytes(&fields, "id"),
        client_data: bytes(&fields, "client"),
        authenticator_data: bytes(&fields, "authenticator"),
        signature: bytes(&fields, "signature"),
    };
    let proof = Proof::Passkey(Box::new(signed), desk.site());
    raised(&desk, &arrived, fields.text("next"), proof).await
}

/// `POST /console/set-up/passkey`
async fn add(
    Part(desk): Part<Desk>,
    Filled(arrived, fields): Filled<Arrived>,
) -> Result<Response, Stop> {
    may_set_up(&desk, &arrived).await?;
    let user = arrived.user_id();
    let attempt = desk.limits.sign_in(arrived.origin.address, user)?;
    let made = MadePasskey {
        client_data: bytes(&fields, "client"),
        attestation: bytes(&fields, "attestation"),
    };
    let (password, name) = (fields.raw("password").to_owned(), fields.text("name"));
    let added = desk
        .accounts
        .add_passkey(
            &arrived.act(),
            &arrived.session,
            password,
            name,
            (made, desk.site()),
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
