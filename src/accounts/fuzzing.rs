//! What the fuzz targets of `../../tests/fuzz` call: what is made of bytes from outside, and
//! what must hold of it. There in tests and in fuzzing only.

use std::convert::Infallible;

use ruma_common::push::Ruleset;
use serde::Deserialize;
use serde_json::Value;

use crate::{PushContext, canonical_email, matching_rule};

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

#[cfg(test)]
mod tests {
    use crate::seeds::each;

    #[test]
    fn seeds() {
        each("email", super::email);
        each("push_rules", super::push_rules);
    }
}
