//! Records of e-mail addresses and of their confirmation.

use serde::{Deserialize, Serialize};

use crate::{TokenHash, UserSerial, record::stored};

/// An e-mail address of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmailRecord {
    /// When it was confirmed, in ms since the Unix epoch.
    pub validated_at: u64,
    /// When it became the user's, in ms since the Unix epoch.
    pub added_at: u64,
}

/// What an address is confirmed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EmailPurpose {
    /// To be added to an account.
    Add,
    /// To register with it.
    Register,
    /// To set the password of the account that has it.
    ResetPassword,
}

/// The confirmation of an address. Neither the client's secret nor the token in the mail
/// is stored, only their hashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmationRecord {
    /// What for.
    pub purpose: EmailPurpose,
    /// The address, in lower case.
    pub email: String,
    /// The hash of the client's secret.
    pub secret: TokenHash,
    /// Who asked, or has the address; nobody who is known if `None`.
    pub user: Option<UserSerial>,
    /// The client's count of the mails that it wanted; a mail was sent for each.
    pub send_attempt: u64,
    /// The hash of the token in the newest mail.
    pub token: TokenHash,
    /// Where the person goes on afterwards, if the client said so.
    pub next_link: Option<String>,
    /// When all this ends, in ms since the Unix epoch.
    pub expires_at: u64,
    /// When the person confirmed, in ms since the Unix epoch.
    pub confirmed_at: Option<u64>,
}

stored! {
    EmailRecord = 1,
    ConfirmationRecord = 1,
}
