//! Records of previews of web pages.

use serde::{Deserialize, Serialize};

use crate::record::stored;

/// What came of fetching a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewRecord {
    /// When that was, in ms since the Unix epoch.
    pub fetched_at: u64,
    /// Until when it is good, in ms since the Unix epoch.
    pub expires_at: u64,
    /// What the page says of itself, as JSON; nothing if it was not there.
    pub answer: Option<Vec<u8>>,
}

stored! {
    PreviewRecord = 1,
}
