//! Records of people beyond what an account needs: their kind, their end, their limits, the
//! departments that they belong to, and what is still to be done about them.

use serde::{Deserialize, Serialize};

use crate::{RoomSerial, TokenHash, UserSerial, record::stored};

/// What somebody is to this server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PersonKind {
    /// One of those whom the server is for.
    #[default]
    Member,
    /// Somebody from outside, who sees no directory, makes no rooms, and comes only into rooms
    /// that were opened to partners.
    Partner,
}

impl PersonKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Member, Self::Partner];

    /// How people and programs write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Partner => "partner",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What one person may use, where that is not what everybody may. `None`: as everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonLimits {
    /// Requests in each second; no limit at all if 0.
    pub requests_per_second: Option<u64>,
    /// Requests at once.
    pub burst: Option<u64>,
    /// Bytes of files.
    pub media_bytes: Option<u64>,
    /// Devices that are signed in.
    pub devices: Option<u32>,
}

/// What is known of a person beside the account. No row: nothing of all this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonRecord {
    /// What they are to this server.
    pub kind: PersonKind,
    /// For whom they work, if not for those whose server this is.
    pub organisation: Option<String>,
    /// In which language they want to be written to (BCP 47).
    pub language: Option<String>,
    /// When the account cannot be used any more, in ms since the Unix epoch.
    pub expires_at: Option<u64>,
    /// Whether they may put that off themselves.
    pub is_renewable: bool,
    /// The end of which they have been told.
    pub told_of: Option<u64>,
    /// What they may use.
    pub limits: PersonLimits,
    /// What they are told while the account is locked or suspended.
    pub restraint: Option<String>,
    /// The invitation by which they choose their first password, while nobody has used it.
    pub invitation: Option<TokenHash>,
    /// Whether that invitation is on its way to them.
    pub is_invited: bool,
}

/// A link by which somebody puts the end of their account off, known by its hash alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewalRecord {
    /// Whose account.
    pub user: UserSerial,
    /// The end that it puts off: with another one the link is of no use.
    pub expires_at: u64,
}

/// A room that was opened to partners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedRoomRecord {
    /// When, in ms since the Unix epoch.
    pub at: u64,
    /// By which user; the command line or the server if `None`.
    pub by: Option<String>,
}

/// A department: a name under which people are put into rooms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepartmentRecord {
    /// The name as it was typed. The key has it in lower case.
    pub name: String,
    /// When it was made, in ms since the Unix epoch.
    pub created_at: u64,
}

/// A room of a department.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepartmentRoomRecord {
    /// Since when, in ms since the Unix epoch.
    pub since: u64,
    /// The last of the department's people who was looked at since then, while there may be
    /// more of them.
    pub looked_at: Option<UserSerial>,
    /// The room in whose place it came, while there may be more of them: only those are looked at
    /// who were in that one, or were to come into it.
    pub instead_of: Option<RoomSerial>,
}

/// [`DepartmentRoomRecord`] from before rooms could come in the place of others.
#[derive(Deserialize)]
struct DepartmentRoomRecord1 {
    since: u64,
    looked_at: Option<UserSerial>,
}

impl From<DepartmentRoomRecord1> for DepartmentRoomRecord {
    fn from(before: DepartmentRoomRecord1) -> Self {
        Self {
            since: before.since,
            looked_at: before.looked_at,
            instead_of: None,
        }
    }
}

/// That somebody is to come into a room, or to go out of it, for the sake of a department.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementRecord {
    /// Whether they come.
    pub comes: bool,
    /// How often it was tried.
    pub tries: u32,
    /// When it is tried next, in ms since the Unix epoch.
    pub due_at: u64,
    /// What was in the way the last time.
    pub failure: Option<String>,
}

/// That an account is being closed, and what becomes of the rooms that its user ran alone. It
/// stands from the first step to the last, so that what broke off goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosingRecord {
    /// When it began, in ms since the Unix epoch.
    pub at: u64,
    /// Who wants it, as the audit trail writes it.
    pub by: String,
    /// From where.
    pub from: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Whether what the user wrote is hidden from those who join later.
    pub erase: bool,
    /// Whether rooms are handed over.
    pub hands_over: bool,
    /// To whom; to the most senior member of each if `None`.
    pub to: Option<String>,
}

stored! {
    PersonRecord = 1,
    RenewalRecord = 1,
    OpenedRoomRecord = 1,
    DepartmentRecord = 1,
    DepartmentRoomRecord = 2 or DepartmentRoomRecord1 = 1,
    PlacementRecord = 1,
    ClosingRecord = 1,
}

#[cfg(test)]
mod tests {
    use store::Value;

    use super::*;

    #[test]
    fn rooms_of_departments_of_before_are_read() {
        // Since 5, and everybody was looked at.
        let before = DepartmentRoomRecord::decode(&[1, 5, 0]);
        let expected = DepartmentRoomRecord {
            since: 5,
            ..DepartmentRoomRecord::default()
        };
        assert_eq!(before, Ok(expected));
    }

    #[test]
    fn kinds_have_names() {
        for kind in PersonKind::ALL {
            assert_eq!(PersonKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(PersonKind::from_name("bot"), None);
    }
}
