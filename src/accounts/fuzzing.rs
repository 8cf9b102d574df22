//! What the fuzz targets of `../../tests/fuzz` call: what is made of bytes from outside, and
//! what must hold of it. There in tests and in fuzzing only.

use std::convert::Infallible;

use ruma_common::push::Ruleset;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    MadePasskey, PushContext, SignedByPasskey, Site, canonical_email, cbor, matching_rule, webauthn,
};

/// An e-mail address as somebody has typed it.
pub fn email(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    if let Some(email) = canonical_email(text) {
        assert_eq!(canonical_email(&email).as_ref(), Some(&email));
        assert!(
            !email
                .chars()
                .any(|letter| letter.is_control() || letter.is_whitespace())
        );
    }
}

/// Push rules, and an event that they are asked about.
#[derive(Deserialize)]
struct Asked {
    rules: Ruleset,
    event: Value,
    name: Option<String>,
}

impl PushContext for Asked {
    type Error = Infallible;

    fn event(&self) -> &Value {
        &self.event
    }

    fn members(&self) -> Result<u64, Infallible> {
        Ok(2)
    }

    fn display_name(&self) -> Result<Option<String>, Infallible> {
        Ok(self.name.clone())
    }

    fn sender_may_notify(&self, kind: &str) -> Result<bool, Infallible> {
        Ok(kind == "room")
    }

    fn follows_thread(&self) -> Result<Option<bool>, Infallible> {
        Ok(None)
    }
}

/// Push rules as their user has written them.
pub fn push_rules(bytes: &[u8]) {
    if let Ok(asked) = serde_json::from_slice::<Asked>(bytes) {
        let matching = matching_rule(&asked.rules, &asked);
        assert!(matching.is_ok_and(|rule| rule.is_none_or(|rule| rule.enabled())));
    }
}

/// What a browser and an authenticator say of a new passkey: what the browser says up to the
/// first zero byte, what the authenticator says behind it. Made for `a.test`, asked with no bytes.
pub fn passkey(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let client_data = parts.next().unwrap_or_default().to_vec();
    let attestation = parts.next().unwrap_or_default().to_vec();
    // No item is longer than what it was read from.
    if let Some((_, rest)) = cbor::first(&attestation) {
        assert!(rest.len() < attestation.len());
    }
    let site = Site {
        host: "a.test".to_owned(),
    };
    let answer = MadePasskey {
        client_data,
        attestation,
    };
    let Ok(made) = webauthn::made(&answer, &site, &[]) else {
        return;
    };
    assert!(!made.id.is_empty() && made.id.len() <= 1_023);
    assert!([-7, -8, -257].contains(&made.algorithm));
    // Nothing was signed.
    let signed = SignedByPasskey {
        id: made.id.clone(),
        client_data: answer.client_data,
        authenticator_data: answer.attestation,
        signature: vec![0; 64],
    };
    assert!(webauthn::signed(&signed, &made, &site, &[]).is_err());
}

#[cfg(test)]
mod tests {
    use crate::seeds::each;

    #[test]
    fn seeds() {
        each("email", super::email);
        each("passkey", super::passkey);
        each("push_rules", super::push_rules);
    }
}
