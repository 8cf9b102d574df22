//! Whom a user does not want to hear (client-server API, "Ignoring Users").

use std::collections::{BTreeMap, BTreeSet};

use model::UserSerial;
use serde::{Deserialize, de::IgnoredAny};
use store::{Position, Read, StoreError};

use crate::account_data;

/// The account data that says it.
const EVENT_TYPE: &str = "m.ignored_user_list";

#[derive(Deserialize)]
struct Content {
    ignored_users: BTreeMap<String, IgnoredAny>,
}

/// The ids of those whom a user ignores. Never the user's own: nobody can lose their own words by it. For that user alone.
///
/// # Errors
/// If the database fails.
pub fn ignored_users(view: &impl Read, user: UserSerial) -> Result<BTreeSet<String>, StoreError> {
    let Some(entry) = account_data(view, user, None, EVENT_TYPE)? else {
        return Ok(BTreeSet::new());
    };
    let mut ignored = parse(&entry.json);
    if let Some(own) = model::user_id(view, user)? {
        ignored.remove(&own);
    }
    Ok(ignored)
}

/// The commit that changed whom a user ignores last, if there was any.
///
/// # Errors
/// If the database fails.
pub fn ignored_users_position(view: &impl Read, user: UserSerial) -> Result<Position, StoreError> {
    let entry = account_data(view, user, None, EVENT_TYPE)?;
    Ok(entry.map_or(Position(0), |entry| entry.position))
}

/// A content of another form ignores nobody.
fn parse(json: &[u8]) -> BTreeSet<String> {
    serde_json::from_slice::<Content>(json)
        .map(|content| content.ignored_users.into_keys().collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_are_the_keys() {
        let ids = parse(br#"{"ignored_users":{"@b:a.test":{},"@c:a.test":{"x":1}}}"#);
        assert_eq!(
            ids.into_iter().collect::<Vec<_>>(),
            ["@b:a.test", "@c:a.test"]
        );
        for json in [
            "{}",
            r#"{"ignored_users":["@b:a.test"]}"#,
            r#"{"ignored_users":1}"#,
        ] {
            assert!(parse(json.as_bytes()).is_empty(), "{json}");
        }
    }
}
