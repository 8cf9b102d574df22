//! What the fuzz targets of `../../tests/fuzz` call: what is made of bytes from outside, and
//! what must hold of it. There in tests and in fuzzing only.

use crate::token::{SlidingToken, StickyToken, SubscriptionsToken, SyncToken, ToDeviceToken};

/// A token that a client sends back.
pub fn sync_token(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    // What is read as a token is written as one that reads the same.
    if let Some(token) = SyncToken::parse(text) {
        assert_eq!(SyncToken::parse(&token.to_string()), Some(token));
    }
    if let Some(token) = SlidingToken::parse(text) {
        assert_eq!(SlidingToken::parse(&token.to_string()), Some(token));
    }
    if let Some(token) = ToDeviceToken::parse(text) {
        assert_eq!(ToDeviceToken::parse(&token.to_string()), Some(token));
    }
    if let Some(token) = StickyToken::parse(text) {
        assert_eq!(StickyToken::parse(&token.to_string()), Some(token));
    }
    if let Some(token) = SubscriptionsToken::parse(text) {
        assert_eq!(SubscriptionsToken::parse(&token.to_string()), Some(token));
    }
}

#[cfg(test)]
mod tests {
    use crate::seeds::each;

    #[test]
    fn seeds() {
        each("sync_token", super::sync_token);
    }
}
