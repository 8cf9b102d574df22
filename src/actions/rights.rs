//! Who may do what to the whole server: the one table of administrative verbs and roles.

use accounts::Session;
use audit::Act;
use model::{Role, Roles, UserSerial};

/// Declares the rights: `/// doc` `Name: "in words", [roles besides the administrator];`
macro_rules! rights {
    ($($(#[$doc:meta])* $name:ident: $words:literal, [$($role:ident),*];)+) => {
        /// What an administrator of some kind may do; there is one for each verb.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Right {
            $($(#[$doc])* $name,)+
        }

        impl Right {
            /// All of them.
            pub const ALL: &[Right] = &[$(Right::$name),+];

            /// What it allows, in words: "only … may" comes before it.
            pub const fn words(self) -> &'static str {
                match self {
                    $(Right::$name => $words,)+
                }
            }

            /// The roles that have it, besides that of an administrator.
            const fn others(self) -> &'static [Role] {
                match self {
                    $(Right::$name => &[$(Role::$role),*],)+
                }
            }
        }
    };
}

rights! {
    // People.

    /// Lists the accounts.
    ListPeople: "list people", [Moderator, Helpdesk, Auditor];
    /// Shows one account.
    ShowPerson: "look at an account", [Moderator, Helpdesk, Auditor];
    /// Shows from where somebody uses their devices.
    ShowDevices: "look at people's devices", [Helpdesk, Auditor];
    /// Signs devices out, and names them.
    ChangeDevices: "sign people's devices out", [Helpdesk];
    /// Shows account data, which may hold what people wrote.
    ReadAccountData: "read people's account data", [];
    /// Makes an account.
    CreatePerson: "make accounts", [Helpdesk];
    /// Sets another password.
    ResetPassword: "set passwords", [Helpdesk];
    /// Closes an account for ever.
    DeactivatePerson: "close accounts", [Helpdesk];
    /// Imports people from a table.
    ImportPeople: "import people", [Helpdesk];
    /// Sets when an account ends, and renews it.
    ChangeEnd: "say when accounts end", [Helpdesk];
    /// Makes somebody a partner or a member, and says for whom they work.
    ChangeKind: "make people partners", [Helpdesk];
    /// Gives people limits of their own.
    ChangeLimits: "give people limits of their own", [Helpdesk];
    /// Lists the departments, their people and rooms.
    ListDepartments: "look at departments", [Moderator, Helpdesk, Auditor];
    /// Makes departments and ends them, and says which rooms they have.
    ChangeDepartments: "make departments and give them rooms", [Moderator];
    /// Puts people into departments, and takes them out.
    PlacePeople: "put people into departments", [Moderator, Helpdesk];
    /// Sets the name and picture of somebody.
    ChangeProfile: "change people's profiles", [Moderator, Helpdesk];
    /// Sets the e-mail addresses of somebody.
    ChangeEmails: "change people's e-mail addresses", [Helpdesk];
    /// Locks or suspends an account, or ends that.
    RestrainPerson: "lock and suspend accounts", [Moderator, Helpdesk];
    /// Says whether an account is restrained.
    ShowRestraint: "see whether an account is locked or suspended", [Moderator, Helpdesk, Auditor];
    /// Removes the second factors of somebody who has lost them.
    ResetSecondFactor: "reset second factors", [];
    /// Makes tokens with which programs administer in somebody's name.
    MakeProgramTokens: "make tokens for programs of others", [];
    /// Gives and takes roles.
    ChangeRoles: "give and take roles", [];
    /// Makes invitations.
    CreateInvitations: "make invitations", [Helpdesk];
    /// Lists the invitations.
    ListInvitations: "list invitations", [Helpdesk, Auditor];
    /// Ends an invitation.
    RevokeInvitation: "end invitations", [Helpdesk];
    /// Lets the server write to somebody.
    SendNotice: "let the server write to people", [Moderator, Helpdesk];

    // Rooms.

    /// Lists rooms and who is in them.
    ListRooms: "look at rooms", [Moderator, Auditor];
    /// Reads what a room's state says.
    ReadState: "read what rooms say of themselves", [Moderator];
    /// Reads events of rooms, which may be what people wrote to each other.
    ReadEvents: "read events of rooms", [];
    /// Lets nobody come into a room.
    BlockRoom: "block rooms", [Moderator];
    /// Brings people into rooms, and takes them out.
    ChangeMembers: "bring people into rooms and take them out", [Moderator];
    /// Opens rooms to partners, and closes them.
    OpenRoom: "open rooms to partners", [Moderator];
    /// Gives somebody the power that this server has in a room.
    TakeOverRoom: "take rooms over", [Moderator];

    // Files and reports.

    /// Shows what is known of files.
    ListFiles: "look at people's files", [Moderator];
    /// Says how much people have uploaded.
    ShowUsage: "look at how much people have uploaded", [Moderator, Auditor];
    /// Deletes files.
    DeleteFiles: "delete files", [Moderator];
    /// Puts files into quarantine and takes them out, protects them from it.
    QuarantineFiles: "put files into quarantine", [Moderator];
    /// Lists what people have reported.
    ListReports: "read reports", [Moderator];

    /// Takes reports out of the list.
    CloseReports: "close reports", [Moderator];

    // Who was where, and who did what.

    /// Asks who was in a room, or in which rooms somebody was.
    ReadRegister: "read the register of groups", [Moderator, Auditor];
    /// Reads the audit trail, verifies it and copies it out.
    ReadAudit: "read the audit trail", [Auditor];

    // The server.

    /// Says what the database takes.
    ShowDatabase: "look at the database", [Auditor];
    /// Compacts the database.
    CompactDatabase: "compact the database", [];
    /// Copies the database.
    CopyDatabase: "copy the database", [];
    /// Says how this server stands with others.
    ShowFederation: "look at other servers", [Moderator, Auditor];
    /// Looks at everything that must be right for a conversation with a server.
    CheckFederation: "check other servers", [];
    /// Has a server tried again, or what waits for it forgotten.
    ChangeFederation: "retry and forget other servers", [];
    /// Puts a signed list of servers in force.
    ImportPeerList: "import lists of servers", [];
}

impl Right {
    /// Whether a role has it.
    pub fn is_of(self, role: Role) -> bool {
        role == Role::Administrator || self.others().contains(&role)
    }
}

/// That somebody's roles do not allow what they want (403 `M_FORBIDDEN`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// None of their roles has the right.
    #[error("your role on this server does not let you {}", .0.words())]
    Right(Right),
    /// Their session was not raised by a second factor.
    #[error(
        "your role needs a second factor: use a token that the console (/console/) or \
         `cairn user token` made for this program"
    )]
    SecondFactor,
    /// They mean somebody who has a role, and are no administrator.
    #[error("only administrators can do this to somebody who has a role on this server")]
    HasRole,
}

/// Who administers: somebody at the command line, who may do everything, or somebody with
/// roles; from where, and why.
#[derive(Clone, Debug)]
pub struct Administrator {
    act: Act,
    /// None for the operator.
    person: Option<(UserSerial, Roles)>,
    /// Whether the person's roles need a second factor that was not given.
    lacks_second_factor: bool,
}

impl Administrator {
    /// Somebody at the command line.
    pub fn operator() -> Self {
        Self {
            act: Act::operator(),
            person: None,
            lacks_second_factor: false,
        }
    }

    /// Somebody who is signed in, at that network address.
    pub fn session(session: &Session, from: Option<String>) -> Self {
        Self {
            act: Act::person(session.user_id.as_str(), from),
            person: Some((session.user, session.roles)),
            lacks_second_factor: session.lacks_second_factor,
        }
    }

    /// The same for a reason.
    #[must_use]
    pub fn because(mut self, reason: Option<String>) -> Self {
        self.act = self.act.because(reason);
        self
    }

    /// Who acts, as the audit trail is told.
    pub fn act(&self) -> &Act {
        &self.act
    }

    /// The person; none at the command line.
    pub fn user(&self) -> Option<UserSerial> {
        self.person.map(|(user, _)| user)
    }

    /// Who it is, for the log.
    pub(crate) fn name(&self) -> &str {
        match self.person {
            None => "the command line",
            Some(_) => self.act.by.name(),
        }
    }

    /// The user id; none at the command line.
    pub(crate) fn user_id(&self) -> Option<String> {
        self.person.map(|_| self.act.by.name().to_owned())
    }

    /// Whether they may do something.
    pub fn may(&self, right: Right) -> bool {
        match self.person {
            None => true,
            Some(_) if self.lacks_second_factor => false,
            Some((_, roles)) => roles.iter().any(|role| right.is_of(role)),
        }
    }

    /// Refuses what they may not do.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn must(&self, right: Right) -> Result<(), Denied> {
        let has_role = self.person.is_some_and(|(_, roles)| !roles.is_empty());
        match self.may(right) {
            true => Ok(()),
            false if self.lacks_second_factor && has_role => Err(Denied::SecondFactor),
            false => Err(Denied::Right(right)),
        }
    }

    /// Refuses those who are no administrators where somebody with these roles is meant: whoever
    /// could set their password would have their rights.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn must_reach(&self, target: Roles) -> Result<(), Denied> {
        match self.person {
            Some((_, own)) if !target.is_empty() && !own.has(Role::Administrator) => {
                Err(Denied::HasRole)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn administrators_have_every_right_and_auditors_none_that_changes() {
        const READS: [&str; 5] = ["look", "list", "read", "see", "check"];
        for right in Right::ALL {
            assert!(right.is_of(Role::Administrator), "{right:?}");
            let reads = READS.iter().any(|verb| right.words().starts_with(verb));
            assert!(reads || !right.is_of(Role::Auditor), "{right:?}");
            assert!(!right.words().is_empty());
        }
        // Of content an auditor sees nothing.
        for right in [Right::ListFiles, Right::ListReports] {
            assert!(!right.is_of(Role::Auditor), "{right:?}");
        }
    }

    #[test]
    fn rights_of_several_roles_add_up() {
        let with = |roles: Roles| Administrator {
            act: Act::person("@a:b", None),
            person: Some((UserSerial(1), roles)),
            lacks_second_factor: false,
        };
        let nobody = with(Roles::NONE);
        assert!(Right::ALL.iter().all(|right| !nobody.may(*right)));
        let both = with(Roles::NONE.with(Role::Moderator).with(Role::Helpdesk));
        assert!(both.may(Right::ListReports) && both.may(Right::ResetPassword));
        assert_eq!(
            both.must(Right::ReadAudit),
            Err(Denied::Right(Right::ReadAudit))
        );
        assert_eq!(both.must_reach(Roles::ADMINISTRATOR), Err(Denied::HasRole));
        assert_eq!(both.must_reach(Roles::NONE), Ok(()));
        assert!(
            Right::ALL
                .iter()
                .all(|right| Administrator::operator().may(*right))
        );
        let lowered = Administrator {
            lacks_second_factor: true,
            ..with(Roles::ADMINISTRATOR)
        };
        for right in Right::ALL {
            assert_eq!(lowered.must(*right), Err(Denied::SecondFactor));
        }
    }
}
