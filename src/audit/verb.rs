//! What the trail tells of.

/// Declares the verbs: `/// doc` `Name = "name.in.the.trail"`.
macro_rules! verbs {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)+) => {
        /// What was done, or happened. The list is closed: a door that does anything else
        /// does not compile.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Verb {
            $($(#[$doc])* $name,)+
        }

        impl Verb {
            /// All of them.
            pub const ALL: &[Verb] = &[$(Verb::$name),+];

            /// How the trail writes it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Verb::$name => $text,)+
                }
            }
        }
    };
}

verbs! {
    // Sessions and devices.

    /// Somebody signed in.
    SessionOpened = "session.opened";
    /// Somebody tried to sign in and was refused.
    SessionRefused = "session.refused";
    /// Devices were removed, and with them their sessions and keys.
    DevicesRemoved = "device.removed";
    /// A device got another name.
    DeviceRenamed = "device.renamed";

    /// Somebody signed in to the console, with a second factor.
    ConsoleOpened = "console.opened";
    /// A session in the console was ended.
    ConsoleClosed = "console.closed";
    /// A token for a program was made.
    ProgramTokenMade = "session.program";

    // People.

    /// An account was made.
    PersonCreated = "person.created";
    /// An account was closed for ever.
    PersonDeactivated = "person.deactivated";
    /// An account got other e-mail addresses.
    EmailsChanged = "person.emails";
    /// A profile was changed by somebody else than its person.
    ProfileChanged = "person.profile";
    /// An account got another password.
    PasswordChanged = "person.password";
    /// Somebody got a second factor.
    SecondFactorAdded = "person.factor_added";
    /// Somebody's second factor was removed.
    SecondFactorRemoved = "person.factor_removed";
    /// Somebody got new recovery codes.
    RecoveryCodesMade = "person.recovery_codes";
    /// Somebody got other roles.
    RolesChanged = "person.roles";
    /// An account was locked, or unlocked.
    LockChanged = "person.lock";
    /// An account was suspended, or not any more.
    SuspensionChanged = "person.suspension";
    /// Somebody became a partner, or a member, or works for another organisation.
    KindChanged = "person.kind";
    /// Somebody's account has another end.
    EndChanged = "person.end";
    /// Somebody got limits of their own, or lost them.
    LimitsChanged = "person.limits";
    /// Somebody belongs to other departments.
    DepartmentsChanged = "person.departments";
    /// People were imported, all that is told of them at once.
    PersonImported = "person.imported";
    /// An account is about to be closed, and the rooms that its person ran alone handed over.
    ClosingBegun = "person.closing";
    /// A department was made.
    DepartmentCreated = "department.created";
    /// A department was ended.
    DepartmentDeleted = "department.deleted";
    /// People of a department come into a room from now on.
    DepartmentRoomAdded = "department.room_added";
    /// People of a department do not belong into a room any more.
    DepartmentRoomRemoved = "department.room_removed";
    /// Invitations were made.
    InvitationsCreated = "invitation.created";
    /// Somebody has chosen the first password of an account that was made for them.
    InvitationAccepted = "invitation.accepted";
    /// An invitation was ended.
    InvitationRevoked = "invitation.revoked";
    /// The server has written to somebody.
    NoticeSent = "notice.sent";

    // Rooms.

    /// A room was made.
    RoomCreated = "room.created";
    /// Somebody's membership of a room changed.
    MembershipChanged = "room.membership";
    /// The power levels of a room changed.
    PowerChanged = "room.power";

    /// A room was blocked, or not any more.
    RoomBlocked = "room.blocked";
    /// Somebody was brought into a room.
    MemberAdded = "room.member_added";
    /// Somebody was taken out of a room.
    MemberRemoved = "room.member_removed";
    /// Somebody was given as much power in a room as this server has there.
    RoomTakenOver = "room.taken_over";
    /// A room was handed over by somebody who leaves.
    RoomHandedOver = "room.handed_over";
    /// A room was opened to partners, or closed to them.
    RoomOpened = "room.opened";
    /// A room was closed, or opened again.
    RoomClosed = "room.closed";
    /// An administrator began to remove a room.
    RoomRemoved = "room.removed";
    /// Everything of a room that nobody of this server was in any more was removed.
    RoomPurged = "room.purged";
    /// An administrator began to remove what was said in a room long ago.
    HistoryShrunk = "room.shrunk";
    /// An administrator began to redact what somebody has said.
    EventsRedacted = "room.redacted";
    /// A room got a protective marking, or another one.
    RoomMarked = "room.marked";
    /// Somebody read what people say in a room that they need not be in.
    RoomRead = "room.read";
    /// A room's ban list is heeded, or not any more.
    BanListChanged = "room.ban_list";
    /// Somebody read an event of a room that they need not be in.
    EventRead = "room.event_read";
    /// A report was taken out of the list.
    ReportClosed = "report.closed";

    // Files.

    /// Files were put into quarantine.
    FilesQuarantined = "media.quarantined";
    /// Files were taken out of quarantine.
    FilesReleased = "media.released";
    /// A file was deleted.
    FileDeleted = "media.deleted";
    /// A file was protected from quarantine, or not any more.
    FileProtected = "media.protected";
    /// Copies of other servers' files were removed.
    RemoteFilesPurged = "media.purged";

    // The server.

    /// A server that does not answer was tried again.
    PeerRetried = "federation.retried";
    /// A server was blocked.
    PeerBlocked = "federation.blocked";
    /// A server was blocked no more.
    PeerUnblocked = "federation.unblocked";
    /// What waited for a server was forgotten.
    PeerForgotten = "federation.forgotten";
    /// A signed list of servers was put in force.
    PeerListImported = "federation.list";
    /// The database was copied, for a backup.
    DatabaseCopied = "database.copied";
    /// The database was compacted.
    DatabaseCompacted = "database.compacted";

    // Who looked.

    /// Somebody asked the register who was in a room, or in which rooms somebody was.
    RegisterRead = "register.read";
    /// The trail was copied out.
    AuditExported = "audit.exported";
    /// The follower of memberships lost its place: changes may be missing before this entry.
    AuditInterrupted = "audit.interrupted";
}
