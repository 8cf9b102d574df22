//! `cairn version`

use serde_json::json;

use super::Answer;

/// The binary's version.
pub(super) fn run() -> Answer {
    let version = env!("CARGO_PKG_VERSION");
    Answer {
        text: format!("cairn {version}"),
        json: json!({ "version": version }),
    }
}
