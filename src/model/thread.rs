//! Records of threads that people follow (MSC4306).

use serde::{Deserialize, Serialize};

use crate::record::stored;

/// A user's wish about a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadSubscriptionRecord {
    /// Whether the user is subscribed; if not, the user was once.
    pub subscribed: bool,
    /// Whether a client subscribed by itself.
    pub automatic: bool,
    /// The commit that changed it last.
    pub position: u64,
    /// The commit that ended the subscription last; 0 if none did.
    pub ended: u64,
}

stored! { ThreadSubscriptionRecord = 1 }
