//! What somebody may do to the whole server.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an administrator of some kind may do; which verbs each has stands in `actions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Administrator,
    /// Rooms, reports and media.
    Moderator,
    /// People and their devices.
    Helpdesk,
    /// Reads who and when, and nothing of content; changes nothing.
    Auditor,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 4] = [
        Role::Administrator,
        Role::Moderator,
        Role::Helpdesk,
        Role::Auditor,
    ];

    /// The role's name.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Administrator => "administrator",
            Role::Moderator => "moderator",
            Role::Helpdesk => "helpdesk",
            Role::Auditor => "auditor",
        }
    }

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    const fn bit(self) -> u8 {
        match self {
            Role::Administrator => 1,
            Role::Moderator => 2,
            Role::Helpdesk => 4,
            Role::Auditor => 8,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The roles of one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Roles(u8);

impl Roles {
    /// No role: a person like any other.
    pub const NONE: Roles = Roles(0);
    /// An administrator's.
    pub const ADMINISTRATOR: Roles = Roles(Role::Administrator.bit());

    /// Whether `role` is one of them.
    pub const fn has(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// These and `role`.
    #[must_use]
    pub const fn with(self, role: Role) -> Self {
        Self(self.0 | role.bit())
    }

    /// These without `role`.
    #[must_use]
    pub const fn without(self, role: Role) -> Self {
        Self(self.0 & !role.bit())
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }

    /// Their names.
    pub fn names(self) -> Vec<&'static str> {
        self.iter().map(Role::name).collect()
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        roles.into_iter().fold(Self::NONE, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_given_and_taken_one_by_one() {
        let roles: Roles = [Role::Moderator, Role::Helpdesk].into_iter().collect();
        assert_eq!(roles.names(), ["moderator", "helpdesk"]);
        assert_eq!(roles.without(Role::Moderator).names(), ["helpdesk"]);
        assert!(!roles.has(Role::Administrator) && Roles::ADMINISTRATOR.has(Role::Administrator));
        assert!(
            roles
                .without(Role::Moderator)
                .without(Role::Helpdesk)
                .is_empty()
        );
        for role in Role::ALL {
            assert_eq!(Role::from_name(role.name()), Some(role));
        }
        assert_eq!(Role::from_name("king"), None);
    }
}
