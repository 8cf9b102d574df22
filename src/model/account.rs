//! Records of accounts, their devices and their keys.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use store::Position;

use crate::{DeviceSerial, Role, Roles, UserSerial, record::stored};

/// The SHA-256 of a token. Tokens themselves are never stored.
pub type TokenHash = [u8; 32];

/// A local user. The row stays for ever, so that no name is given out twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRecord {
    /// When the account was made, in ms since the Unix epoch.
    pub created_at: u64,
    /// What the user may do to the whole server.
    pub roles: Roles,
    /// Whether an administrator has locked the account.
    pub is_locked: bool,
    /// When the account was closed for ever, in ms since the Unix epoch.
    pub deactivated_at: Option<u64>,
    /// Whether what the user wrote is to be hidden from those who join later.
    pub is_erased: bool,
}

impl AccountRecord {
    /// Whether the user administers the server.
    pub fn is_admin(&self) -> bool {
        self.roles.has(Role::Administrator)
    }
}

/// An account as it was stored when there was one role alone.
#[derive(Deserialize)]
struct AccountRecord1 {
    created_at: u64,
    is_admin: bool,
    is_locked: bool,
    deactivated_at: Option<u64>,
    is_erased: bool,
}

impl From<AccountRecord1> for AccountRecord {
    fn from(before: AccountRecord1) -> Self {
        Self {
            created_at: before.created_at,
            roles: match before.is_admin {
                true => Roles::ADMINISTRATOR,
                false => Roles::NONE,
            },
            is_locked: before.is_locked,
            deactivated_at: before.deactivated_at,
            is_erased: before.is_erased,
        }
    }
}

/// An invitation to register. Its token is known by its hash alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitationRecord {
    /// The first characters of the token: tells invitations apart, opens nothing.
    pub name: String,
    /// How many accounts may be made with it; no limit if `None`.
    pub uses_allowed: Option<u32>,
    /// How many were made.
    pub uses: u32,
    /// When it was made, in ms since the Unix epoch.
    pub created_at: u64,
    /// When it ends, in ms since the Unix epoch.
    pub expires_at: Option<u64>,
    /// The administrator who made it; the command line if `None`.
    pub created_by: Option<UserSerial>,
    /// The account that is there already, whose person chooses the first password with it; a
    /// new one if `None`.
    pub user: Option<UserSerial>,
}

/// An invitation as it was stored when each was for a new account.
#[derive(Deserialize)]
struct InvitationRecord1 {
    name: String,
    uses_allowed: Option<u32>,
    uses: u32,
    created_at: u64,
    expires_at: Option<u64>,
    created_by: Option<UserSerial>,
}

impl From<InvitationRecord1> for InvitationRecord {
    fn from(before: InvitationRecord1) -> Self {
        Self {
            name: before.name,
            uses_allowed: before.uses_allowed,
            uses: before.uses,
            created_at: before.created_at,
            expires_at: before.expires_at,
            created_by: before.created_by,
            user: None,
        }
    }
}

/// A device of a local user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// The device's serial: another one if the same id is used again after deletion.
    pub serial: DeviceSerial,
    /// The name that its user gave it.
    pub display_name: Option<String>,
    /// When it signed in first, in ms since the Unix epoch.
    pub created_at: u64,
}

/// When and from where a device was used last; some minutes may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSeenRecord {
    /// In ms since the Unix epoch.
    pub at: u64,
    /// The network address.
    pub address: String,
    /// What the client calls itself.
    pub user_agent: Option<String>,
}

/// What an access token stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenRecord {
    /// The user.
    pub user: UserSerial,
    /// The device.
    pub device: DeviceSerial,
    /// The device's id.
    pub device_id: String,
    /// When it stops working, in ms since the Unix epoch. Only tokens that came with
    /// a refresh token have an end.
    pub expires_at: Option<u64>,
    /// The refresh token that made it, which ends with this token's first use.
    pub ends: Option<TokenHash>,
}

/// What a refresh token stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshTokenRecord {
    /// The user.
    pub user: UserSerial,
    /// The device.
    pub device: DeviceSerial,
    /// The device's id.
    pub device_id: String,
    /// The access token that was given out with it.
    pub access: TokenHash,
    /// The refresh token that made it, which ends with this token's first use.
    pub ends: Option<TokenHash>,
    /// The access and refresh token that it made and that nobody has used yet.
    pub made: Option<(TokenHash, TokenHash)>,
}

/// Where the newest change of a user's devices or keys stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceListRecord {
    /// The commit.
    pub position: u64,
    /// The number of the user's own change row within that commit.
    pub number: u32,
}

/// A device's identity keys (client-server API, `DeviceKeys`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceKeysRecord {
    /// Canonical JSON as uploaded, without `unsigned`.
    pub json: Vec<u8>,
    /// SHA-256 of what the signatures cover: the same keys have the same one.
    pub content: [u8; 32],
}

/// A fallback key for when a device's one-time keys are used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FallbackKeyRecord {
    /// The part of its id behind the algorithm.
    pub key_id: String,
    /// JSON as uploaded.
    pub json: Vec<u8>,
    /// Whether it was given to anybody.
    pub is_used: bool,
}

/// How far the accounts of before the user directory have been put into it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryProgressRecord {
    /// The serial of the last account that was looked at.
    pub last: u64,
    /// Whether there are no more.
    pub is_complete: bool,
}

/// How many keys of a device can still be claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCountsRecord {
    /// One-time keys, by algorithm. An algorithm without keys has no entry.
    pub one_time: BTreeMap<String, u32>,
    /// The algorithms for which there is a fallback key that nobody has got yet.
    pub unused_fallback: Vec<String>,
    /// The commit that changed them last.
    pub position: u64,
    /// The place of the one-time key that was given out last, by algorithm: all that are
    /// still there come after it.
    pub given: BTreeMap<String, (u64, String)>,
}

/// [`KeyCountsRecord`] from before it knew where the next key stands.
#[derive(Deserialize)]
struct KeyCountsRecord1 {
    one_time: BTreeMap<String, u32>,
    unused_fallback: Vec<String>,
    position: u64,
}

impl From<KeyCountsRecord1> for KeyCountsRecord {
    fn from(before: KeyCountsRecord1) -> Self {
        Self {
            one_time: before.one_time,
            unused_fallback: before.unused_fallback,
            position: before.position,
            given: BTreeMap::new(),
        }
    }
}

/// One of a user's cross-signing keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrossSigningKeyRecord {
    /// The public key in base64, which is also its id behind `ed25519:`.
    pub public_key: String,
    /// Canonical JSON as uploaded; of its signatures those that were verified.
    pub json: Vec<u8>,
    /// SHA-256 of what the signatures cover.
    pub content: [u8; 32],
}

/// A verified signature on a key of another device or user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureRecord {
    /// The signature in base64.
    pub signature: String,
    /// The commit that brought it.
    pub position: u64,
}

/// What waits in a device's to-device queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToDeviceQueueRecord {
    /// Messages.
    pub messages: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// A transaction id that a device has used to send to devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToDeviceTransactionRecord {
    /// The hash of the event type and the transaction id.
    pub transaction: [u8; 32],
    /// When, in ms since the Unix epoch.
    pub at: u64,
}

/// A piece of account data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountDataRecord {
    /// The content, JSON as the client sent it.
    pub json: Vec<u8>,
    /// The commit that brought it, and…
    pub position: u64,
    /// …the number of its change row within it.
    pub number: u32,
}

/// How much account data a user has stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountDataUsageRecord {
    /// Entries.
    pub entries: u64,
    /// Bytes of their types and contents.
    pub bytes: u64,
}

/// One version of a user's key backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyBackupRecord {
    /// How its keys are encrypted.
    pub algorithm: String,
    /// The algorithm's own data, JSON as the client sent it.
    pub auth_data: Vec<u8>,
    /// How often its keys have changed.
    pub changes: u64,
    /// How many keys it holds.
    pub keys: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// All key backups of a user together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyBackupsRecord {
    /// The version that was given out last, be it deleted since or not; 0 if none was.
    pub newest: u64,
    /// Keys in all of them.
    pub keys: u64,
    /// Bytes of these keys.
    pub bytes: u64,
}

/// A key in a backup: of one session of one room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUpKeyRecord {
    /// The index of the first message that it opens.
    pub first_message_index: u64,
    /// How often it was forwarded.
    pub forwarded_count: u64,
    /// Whether the device that it came from was verified.
    pub is_verified: bool,
    /// The encrypted key, JSON as the client sent it.
    pub session_data: Vec<u8>,
}

/// A user's dehydrated device (MSC3814).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DehydratedDeviceRecord {
    /// The device's id.
    pub device_id: String,
    /// The device's serial.
    pub device: DeviceSerial,
    /// The encrypted device, JSON as the client sent it.
    pub json: Vec<u8>,
}

impl DeviceListRecord {
    /// The commit of the change.
    pub fn position(&self) -> Position {
        Position(self.position)
    }
}

stored! {
    AccountRecord = 2 or AccountRecord1 = 1,
    InvitationRecord = 2 or InvitationRecord1 = 1,
    DeviceRecord = 1,
    LastSeenRecord = 1,
    DirectoryProgressRecord = 1,
    AccessTokenRecord = 1,
    RefreshTokenRecord = 1,
    DeviceListRecord = 1,
    DeviceKeysRecord = 1,
    FallbackKeyRecord = 1,
    KeyCountsRecord = 2 or KeyCountsRecord1 = 1,
    CrossSigningKeyRecord = 1,
    SignatureRecord = 1,
    ToDeviceQueueRecord = 1,
    ToDeviceTransactionRecord = 1,
    AccountDataRecord = 1,
    AccountDataUsageRecord = 1,
    KeyBackupRecord = 1,
    KeyBackupsRecord = 1,
    BackedUpKeyRecord = 1,
    DehydratedDeviceRecord = 1,
}

#[cfg(test)]
mod tests {
    use store::Value;

    use super::*;

    #[test]
    fn accounts_of_one_role_are_read() {
        // Made at 5, administers, not locked, never closed, not erased.
        let before = [1, 5, 1, 0, 0, 0];
        let account = AccountRecord::decode(&before).unwrap();
        assert_eq!(
            (account.created_at, account.roles),
            (5, Roles::ADMINISTRATOR)
        );
        assert!(
            !AccountRecord::decode(&[1, 5, 0, 0, 0, 0])
                .unwrap()
                .is_admin()
        );
        let mut bytes = Vec::new();
        let with_two = AccountRecord {
            roles: account.roles.with(Role::Auditor),
            ..account
        };
        with_two.encode(&mut bytes);
        assert_eq!(bytes[0], 2);
        assert_eq!(AccountRecord::decode(&bytes), Ok(with_two));
    }

    #[test]
    fn invitations_of_before_are_for_new_accounts() {
        // Named "a", for one account, never used, made at 5, without an end or a maker.
        let before = [1, 1, b'a', 1, 1, 0, 5, 0, 0];
        let invitation = InvitationRecord::decode(&before).unwrap();
        assert_eq!(
            (
                invitation.name.as_str(),
                invitation.uses_allowed,
                invitation.user
            ),
            ("a", Some(1), None)
        );
    }
}
