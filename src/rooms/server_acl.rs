//! Which servers a room takes part with (client-server API, "Server Access Control Lists
//! (ACLs) for rooms").

use std::net::Ipv4Addr;

use accounts::matches_pattern;
use model::RoomSerial;
use ruma_common::ServerName;
use serde_json::{Map, Value};
use store::Read;

use crate::{ReadError, rules::keeps_others_out, summary::current_content};

/// The content of `m.room.server_acl`. What has a wrong form counts as if it were not
/// there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAcl {
    allow_ip_literals: bool,
    allow: Vec<String>,
    deny: Vec<String>,
}

impl ServerAcl {
    /// Reads the content of the event.
    pub fn new(content: &Map<String, Value>) -> Self {
        let patterns = |name: &str| {
            let patterns = content.get(name).and_then(Value::as_array);
            let patterns = patterns.into_iter().flatten().filter_map(Value::as_str);
            patterns.map(str::to_lowercase).collect()
        };
        let literals = content.get("allow_ip_literals").and_then(Value::as_bool);
        Self {
            allow_ip_literals: literals.unwrap_or(true),
            allow: patterns("allow"),
            deny: patterns("deny"),
        }
    }

    /// Whether a server may take part. Its port does not count.
    pub fn allows(&self, server: &ServerName) -> bool {
        let host = server.host().to_lowercase();
        if !self.allow_ip_literals && (host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok()) {
            return false;
        }
        let any = |patterns: &[String]| {
            let mut patterns = patterns.iter();
            patterns.any(|pattern| matches_pattern(pattern.as_bytes(), host.as_bytes()))
        };
        !any(&self.deny) && any(&self.allow)
    }
}

/// Whether the room's ACL and its marking, as they are now, let another server take part. A room
/// with neither lets everybody.
///
/// # Errors
/// If the database fails.
pub fn acl_allows(
    view: &impl Read,
    room: RoomSerial,
    server: &ServerName,
) -> Result<bool, ReadError> {
    // A marking can keep all other servers out.
    if keeps_others_out(view, room)? {
        return Ok(false);
    }
    let content: Option<Map<String, Value>> = current_content(view, room, "m.room.server_acl")?;
    Ok(content.is_none_or(|content| ServerAcl::new(&content).allows(server)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn allows(content: Value, server: &str) -> bool {
        let server = ServerName::parse(server).unwrap();
        ServerAcl::new(content.as_object().unwrap()).allows(&server)
    }

    #[test]
    fn lists_decide() {
        let acl = json!({
            "allow": ["*"],
            "deny": ["*.evil.com", "evil.com", "b?d.org", 7],
            "allow_ip_literals": false,
        });
        for (server, expected) in [
            ("good.org", true),
            ("evil.com", false),
            ("EVIL.com", false),
            ("evil.com:8448", false),
            ("a.b.evil.com", false),
            ("notevil.com", true),
            ("bad.org", false),
            ("bd.org", true),
            ("1.2.3.4", false),
            ("1.2.3.4:80", false),
            ("[::1]", false),
            ("[::1]:99", false),
        ] {
            assert_eq!(allows(acl.clone(), server), expected, "{server}");
        }
    }

    #[test]
    fn what_is_missing_has_the_defaults_of_the_specification() {
        assert!(!allows(json!({}), "good.org"));
        assert!(!allows(json!({ "allow": "*" }), "good.org"));
        assert!(allows(json!({ "allow": ["*"] }), "1.2.3.4"));
        let literals = json!({ "allow": ["*"], "allow_ip_literals": "no" });
        assert!(allows(literals, "[::1]"));
        assert!(allows(json!({ "allow": ["good.*"] }), "good.org"));
        assert!(!allows(json!({ "allow": ["good.*"] }), "very.good.org"));
    }
}
