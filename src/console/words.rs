//! Every word of the console. A translation is another text behind each name; what stands in
//! braces is filled in.

use model::Role;

/// Declares the words of pages: `group: Type { name: "text", }`.
macro_rules! words {
    ($($(#[$about:meta])* $group:ident: $kind:ident { $($name:ident: $text:literal,)+ })+) => {
        $(
            $(#[$about])*
            pub(crate) struct $kind {
                $(pub(crate) $name: &'static str,)+
            }
        )+

        /// The words of all pages.
        pub(crate) struct Words {
            $(pub(crate) $group: $kind,)+
        }

        /// The words in English.
        pub(crate) const WORDS: Words = Words {
            $($group: $kind { $($name: $text,)+ },)+
        };
    };
}

impl RoleWords {
    /// What a role is called.
    pub(crate) fn of(&self, role: Role) -> &'static str {
        match role {
            Role::Administrator => self.administrator,
            Role::Moderator => self.moderator,
            Role::Helpdesk => self.helpdesk,
            Role::Auditor => self.auditor,
        }
    }
}

words! {
    /// What is around every page.
    frame: FrameWords {
        skip: "Skip to the content",
        menu: "Menu",
        navigation: "Console",
        brand: "Console",
        sign_out: "Sign out",
        search: "Search",
        next: "Next page",
        never: "never",
    }

    /// Forms that change something.
    acts: ActWords {
        reason: "Why?",
        reason_hint: "It stands in the audit trail for good.",
        type_name: "To make sure, type {name}",
        done: "Done. It stands in the audit trail.",
        not_done: "This was not done",
        no_reason: "Say why: it touches a person or a group of people, and the audit trail asks for it.",
        other_name: "The name that you typed is another one. Nothing was done.",
        once: "It is shown only now. Hand it over in person or by another way than this server.",
    }

    /// What is said where there is no page.
    failures: FailureWords {
        forbidden: "You cannot do this",
        not_found: "There is nothing here",
        too_many: "Too many tries",
        failed: "That did not work",
        back: "To the overview",
        plain: "The console needs an encrypted connection: open it at an address that begins with https://.",
        elsewhere: "This form was sent from another site. Nothing was done.",
        form: "This form is too old, or of another session. Open the page again and fill it in there.",
    }

    /// The roles.
    roles: RoleWords {
        administrator: "Administrator",
        moderator: "Moderator",
        helpdesk: "Helpdesk",
        auditor: "Auditor",
    }

    /// Signing in.
    sign_in: SignInWords {
        title: "Sign in to the console",
        lead: "For those who look after this server: administrators, moderators, helpdesk and auditors.",
        user: "User name",
        user_hint: "The part before the colon, or the whole id.",
        password: "Password",
        button: "Go on",
        wrong: "The user name or the password is wrong.",
        closed: "This account is locked or closed. Ask an administrator.",
        no_role: "This account has no role on this server. There is nothing for it to do here.",
        somebody_else: "Sign in as somebody else",
    }

    /// The question for the second factor.
    second_factor: SecondFactorWords {
        title: "Second factor",
        lead: "One more proof that it is you.",
        code: "Code",
        code_hint: "The six digits that your app shows now, or one of your recovery codes.",
        button: "Sign in",
        passkey_button: "Use a passkey",
        passkey_trouble: "The browser gave no passkey. Try again, or use a code.",
        wrong_password: "The password is wrong.",
        wrong_code: "This code is wrong, or it was used before. Wait for the next one.",
        too_many: "Too many codes were wrong. Wait {minutes} minutes, then try again.",
        too_late: "This took too long. Please do it again.",
        other_passkey: "This is not one of your second factors.",
        known_passkey: "This passkey was added before.",
        last_factor: "This is your only second factor. Add another one first.",
        too_many_factors: "There are too many of these. Remove one first.",
        name: "Choose a name of 1 to 60 characters.",
        sealed: "The secret of your codes cannot be opened with this server's key. Ask whoever runs the server to reset your second factor.",
        passkey_refused: "The passkey was not taken: {reason}.",
    }

    /// Setting up a second factor.
    set_up: SetUpWords {
        title: "Set up a second factor",
        lead: "You look after other people's accounts. A password alone is not enough for that: choose one of these, once.",
        lead_more: "Two are better than one: should you lose the first, the other still lets you in.",
        codes: "Codes from an app",
        codes_how: "Point an authenticator app at this picture. Any of them does, and it needs no network.",
        picture: "QR code for an authenticator app",
        secret: "No camera? Type this into the app:",
        first_code: "Code",
        first_code_hint: "The six digits that the app shows now.",
        password: "Your password",
        codes_button: "Use codes",
        passkey: "A passkey",
        passkey_how: "Your phone, this computer or a security key asks for your finger, your face or a PIN, and cannot be tricked by a false site.",
        passkey_script: "Passkeys need scripts, which are off in this browser. Codes do without.",
        passkey_name: "Its name",
        passkey_name_hint: "So that you know it again: key on my key ring, for instance.",
        passkey_button: "Make a passkey",
        back: "Back to your account",
    }

    /// Recovery codes.
    recovery: RecoveryWords {
        title: "Your recovery codes",
        lead: "Each of these lets you in once, should you lose your phone or key. They are shown only now.",
        keep: "Print them or write them down, and keep them where you keep other keys: not on the same phone.",
        go_on: "I have kept them: go on",
    }

    /// One's own account.
    own: OwnWords {
        title: "Your account",
        lead: "You are signed in as {user}.",
        factors: "Second factors",
        factor: "Factor",
        codes: "Codes from an app",
        passkey: "Passkey: {name}",
        since: "Since",
        used: "Last used",
        change: "Change",
        add: "Add a second factor",
        remove: "Remove",
        remove_how: "It opens nothing any more.",
        recovery: "Recovery codes",
        recovery_left: "{left} are left.",
        renew: "Make new ones",
        renew_how: "Those that you have now end.",
        sessions: "Where you are signed in to the console",
        signed_in: "Signed in",
        address: "From",
        browser: "Browser",
        this: "This one",
        end: "End",
        programs: "Programs",
        programs_how: "synadm, a script or another tool can administer in your name, with a token of its own that has an end.",
        program: "Program",
        ends: "Ends",
        make: "Make a token",
        make_how: "Whoever has the token can do all that your role allows. Give each program its own.",
        program_name: "What the program is called",
        program_hint: "synadm on my laptop, for instance.",
        days: "For how many days",
        made: "This is the program's token. It is shown only now.",
        wrong_days: "A token is for 1 to 366 days.",
    }

    /// The overview.
    overview: OverviewWords {
        title: "Overview",
        health: "Health",
        well: "All is well",
        look: "It works; somebody should look at this",
        unwell: "Something is wrong",
        numbers: "Numbers",
        people: "people",
        rooms: "rooms",
        reports: "open reports",
        silent: "servers do not answer",
        free: "free on the disk",
        chart: "What goes on",
        chart_how: "Changes each second, and how many devices wait for news.",
        chart_script: "The chart needs scripts, which are off in this browser. Everything else works without.",
        written: "changes each second",
        waiting: "waiting devices, rooms and people",
        today: "Today",
        nothing: "Nothing was done today.",
        all_entries: "The whole audit trail",
    }

    /// The list of people.
    people: PeopleWords {
        title: "People",
        search: "Name or id",
        which: "Who",
        everybody: "Everybody",
        open: "With an open account",
        with_role: "With a role",
        restrained: "Locked or suspended",
        closed: "Closed",
        id: "Id",
        name: "Name",
        state: "State",
        devices: "Devices",
        last_seen: "Last seen",
        is_closed: "Closed",
        is_locked: "Locked",
        is_suspended: "Suspended",
        is_guest: "Guest",
        none: "Nobody is like that.",
        create: "Make an account",
        create_how: "It gets a password that is shown once. To let people choose their own, invite them instead.",
        new_name: "User name",
        new_name_hint: "Small letters, digits and . _ - = / +. It cannot be changed later.",
        created: "The account {user} was made. Its password:",
    }

    /// One person.
    person: PersonWords {
        account: "Account",
        id: "Id",
        made: "Made",
        last_seen: "Last seen",
        state: "State",
        emails: "E-mail",
        uploads: "Uploads",
        files: "{count} in all",
        devices: "Devices",
        device: "Device",
        device_name: "Name",
        address: "From",
        no_devices: "No device is signed in.",
        change: "Change",
        sign_out: "Sign out",
        sign_out_how: "The device is signed out, and its keys are gone.",
        rooms: "Rooms",
        rooms_count: "Rooms now: {count}.",
        when_where: "In which rooms, and when",
        kind: "Kind",
        member: "Member",
        partner: "Partner: sees no directory, makes no rooms",
        organisation: "Organisation",
        ends: "Ends",
        departments: "Departments",
        limits: "Own limits",
        end: "Last day",
        end_hint: "2026-12-31. Empty: it has no end.",
        set_end: "Say when it ends",
        renewable: "Its person may renew it, by a letter that comes before",
        renew: "Renew",
        renew_how: "The account is good for as long as a new one is.",
        wrong_day: "Write the last day like this: 2026-12-31.",
        set_end_how: "Then the account is closed to its person until somebody renews it. Nothing is deleted.",
        set_kind: "Member or partner",
        set_kind_how: "Partners come only into rooms that were opened to them.",
        set_limits: "Limits",
        set_limits_how: "In place of what everybody may.",
        limits_hint: "Empty: as everybody.",
        limit_requests: "Requests each second",
        limit_burst: "Requests at once",
        limit_megabytes: "Megabytes of files",
        limit_devices: "Devices",
        wrong_number: "Write a number, or leave it empty.",
        acts: "What you can do",
        password: "Set a new password",
        password_how: "All devices are signed out. The new password is shown once.",
        new_password: "The new password of {user}:",
        lock: "Lock",
        lock_how: "Nobody can use the account until it is unlocked. Nothing is lost.",
        unlock: "Unlock",
        unlock_how: "The account works again, on the devices that it had.",
        suspend: "Suspend",
        suspend_how: "Its person reads, and says nothing, until the suspension ends.",
        unsuspend: "End the suspension",
        unsuspend_how: "Its person can speak again.",
        role: "Role",
        give_role: "Give: {role}",
        take_role: "Take away: {role}",
        change_role: "Change the roles",
        change_role_how: "Roles count at once, everywhere.",
        factor: "Reset the second factor",
        factor_how: "For somebody who has lost it. Make sure who asks. The console asks them for a new one.",
        close: "Close the account",
        close_how: "For ever: the name is never given out again, all devices are signed out, all rooms are left.",
        runs_alone: "Rooms that they alone run: {count}.",
        handover: "{room}: to {to}",
        nobody: "nobody",
        hand_over: "Hand these rooms over",
        heir: "All of them to",
        heir_hint: "A user name. Empty: to whom it says above.",
        erase: "Also hide what they wrote from everybody who joins later",
    }

    /// People from a table.
    import: ImportWords {
        title: "Import people from a table",
        lead: "From a file, or pasted from a spreadsheet. Look first what it would do. Who is new is invited then, and chooses a password.",
        file_title: "A file",
        file: "The file (CSV)",
        file_hint: "Up to 10,000 people and 16 MiB. Nothing is done yet: you are shown what would be.",
        no_file: "Choose a file first.",
        too_many: "A file has one to 10,000 people here. For more, an administrator of the machine has: cairn user import, with the file.",
        not_kept: "The file is not here any more. Upload it again: nothing is done twice.",
        broken_off: "{count} people were imported. Then something had changed since you looked. Upload the file again: nothing is done twice.",
        all_changed: "Changed",
        all_refused: "Refused",
        invited_at_once: "Up to {most} at once: come back to this page for the others.",
        all_invited: "All of them have a password or an invitation.",
        table: "A pasted table",
        columns: "Its first line names the columns: some of {columns}. The first of these is needed.",
        check: "Look what it would do",
        apply: "Import",
        longer: "Up to 100 people at once here. Upload a file of more.",
        bad: "Some lines cannot be read",
        line: "Line",
        why: "Why",
        person: "Person",
        outcome: "Outcome",
        report: "Line by line",
        would: "This is what would be done",
        was: "This was done",
        was_not: "Nothing was done, as some lines are refused",
        created: "New",
        changed: "Changed: {what}",
        unchanged: "As it is",
        refused: "Refused: {why}",
        uninvited: "{count} have no password yet. Their invitations are valid for 14 days.",
        print: "Print their invitations",
        mail: "Send them by e-mail, print the others",
        sent: "{count} invitations were sent by e-mail.",
    }

    /// Departments.
    departments: DepartmentWords {
        title: "Departments",
        lead: "Whoever belongs to a department is in its rooms: put in when they come, and out when they go.",
        none: "There are no departments.",
        nobody: "Nobody belongs to it.",
        no_rooms: "It has no rooms.",
        name: "Department",
        people: "People",
        rooms: "Rooms",
        create: "Make a department",
        create_how: "Then give it rooms and put people into it.",
        person: "Person",
        room: "Room",
        change: "Change",
        user: "User name",
        put_in: "Put somebody in",
        put_in_how: "They come into all rooms of the department.",
        take_out: "Take out",
        take_out_how: "They go out of the rooms that they are in for this department alone.",
        get_room: "Give it a room",
        get_room_how: "Everybody of the department comes into the room.",
        lose_room: "Take the room away",
        lose_room_how: "Who is in it for this department alone goes out.",
        waiting: "Still to be done",
        way: "Way",
        comes: "comes in",
        goes: "goes out",
        why: "Why not yet",
        delete: "End the department",
        delete_how: "Its people stay in the rooms that they are in.",
    }

    /// What is under way, and ban lists.
    moderation: ModerationWords {
        title: "Moderation",
        tasks: "Under way with rooms",
        no_tasks: "Nothing is under way.",
        tasks_how: "It goes on by itself, also after a restart. Open this page again to see how far it is.",
        delete: "Delete a room",
        empty: "Empty a room",
        shrink: "Remove what was said earlier",
        redaction: "Redact",
        operator: "the command line",
        by: "By",
        work: "What",
        about: "About",
        state: "State",
        progress: "How far",
        begun: "Begun",
        why: "Why",
        done: "Done",
        failed: "Failed",
        active: "Under way",
        waiting: "Waits",
        redact: "Redact what somebody has said",
        redact_how: "In the background, in all rooms or in one. It cannot be taken back.",
        user: "User",
        user_hint: "The user name, or the whole id of somebody of another server.",
        user_again: "To make sure, the user again",
        room: "Room",
        room_hint: "Its id or an alias. Empty: all rooms.",
        lists: "Ban lists",
        lists_how: "Rooms in which others keep lists of users, servers and rooms. Whom a list names does not come in here.",
        list: "List",
        list_hint: "The id or an alias of the room.",
        content: "What is in it",
        rules: "Rules: {count}",
        since: "Since",
        change: "Change",
        heed: "Heed a list",
        heed_how: "The server goes into the room and does what the list says from then on.",
        ignore: "Heed no more",
        ignore_how: "Whom it names can come in again. The server stays in the room.",
    }

    /// Invitations.
    invitations: InvitationWords {
        title: "Invitations",
        lead: "Whoever opens an invitation's link chooses a name and a password, and is a member.",
        make_title: "Invite people",
        count: "How many invitations",
        uses_each: "For how many people each",
        days: "For how many days",
        make: "Make links",
        print: "Make sheets to print",
        wrong: "Make 1 to 100 invitations, each for 1 to 10,000 people and 1 to 3,660 days.",
        ready: "An invitation. Whoever has it can join:",
        picture: "QR code of the invitation",
        name: "Invitation",
        state: "State",
        uses: "Used",
        made: "Made",
        ends: "Ends",
        change: "Change",
        valid: "Open",
        over: "Over",
        end: "End",
        none: "There are no invitations.",
    }

    /// The list of rooms.
    rooms: RoomsWords {
        title: "Rooms",
        search: "Name, alias or id",
        name: "Room",
        alias: "Alias",
        members: "Members",
        members_here: "Of this server",
        state: "State",
        blocked: "Blocked",
        encrypted: "Encrypted",
        published: "In the directory",
        nobody: "Nobody of this server",
        none: "There is no such room.",
        frozen: "Frozen",
        abandoned: "Rooms that nobody administers",
        abandoned_how: "Give each to somebody, or close it.",
    }

    /// One room.
    room: RoomWords {
        about: "The room",
        id: "Id",
        alias: "Alias",
        topic: "Topic",
        creator: "Creator",
        encryption: "Messages",
        encrypted: "Encrypted",
        plain: "Not encrypted",
        join_rule: "Who comes in",
        visibility: "Who reads earlier messages",
        federated: "Open to other servers",
        published: "In the directory",
        version: "Version",
        state: "State",
        replaced: "Replaced by",
        yes: "yes",
        no: "no",
        members: "Members",
        member: "Member",
        power: "Power",
        change: "Change",
        elsewhere: "of another server",
        then: "Who was in it at another moment",
        remove: "Remove",
        remove_how: "They leave the room. Where the room lets them, they can come back.",
        acts: "What you can do",
        person: "User name",
        person_hint: "Somebody of this server.",
        add: "Add a member",
        add_how: "They are in the room at once, invited by somebody who may.",
        take_over: "Take the room over",
        take_over_how: "For a room whose administrators are gone: somebody gets as much power in it as anybody of this server has.",
        block: "Block",
        block_how: "Nobody comes in any more. Who is in it stays.",
        unblock: "Let people in again",
        unblock_how: "The room's own rules hold again.",
        marking: "Marking",
        closed: "Closed",
        frozen: "Frozen: nobody administers it",
        is_open: "Open to partners",
        put_out: "Put those out whom it keeps out",
        lower: "It may be lower than the one that the room has",
        with_local: "Also what people of this server said",
        mark: "Mark",
        mark_how: "The marking is shown in the room, and may keep other servers and externals out.",
        open: "Open to partners",
        open_how: "Partners may be invited into it.",
        unopen: "Close to partners",
        unopen_how: "No other partner comes in any more. Those who are in it stay.",
        close: "Close the room",
        close_how: "Nobody says anything there any more. Everything can still be read.",
        reopen: "Open the room again",
        reopen_how: "People can speak there again.",
        before: "Before when",
        before_hint: "2026-03-03 or 2026-03-03T14:05 (UTC).",
        shrink: "Remove what was said earlier",
        shrink_how: "In the background, for ever, on this server.",
        with_files: "Its files too",
        delete: "Delete the room",
        delete_how: "Everybody of this server goes out, and everything of it is removed for ever, in the background. Nobody of this server comes in again.",
        no_room: "There is no such room on this server.",
    }

    /// The register of groups.
    register: RegisterWords {
        title: "Register",
        lead: "Who was in which group, when, with which power, invited by whom. Each question stands in the audit trail.",
        room_question: "Who could read this?",
        person_question: "Where was somebody?",
        room: "Room",
        room_hint: "Its id or an alias.",
        at: "When (UTC)",
        at_hint: "2026-03-03, or 2026-03-03T14:05. Empty: now.",
        person: "Person",
        person_hint: "The user name, or the whole id of somebody of another server.",
        ask_room: "Show the members",
        ask_person: "Show the rooms",
        no_time: "Write a time as 2026-03-03, 2026-03-03T14:05 or 2026-03-03T14:05:06 (UTC).",
        room_answer: "Who was in {room}",
        person_answer: "Where {person} was",
        moment: "At",
        id: "Id",
        join_rule: "Who came in",
        visibility: "Who read earlier messages",
        who: "Who",
        organisation: "Organisation",
        membership: "Membership",
        since: "Since",
        until: "Until",
        still: "still there",
        power: "Power",
        creator: "creator",
        invited_by: "Invited by",
        in_room: "Room",
        ended_by: "Ended by",
        ended_with: "Ended with",
        csv: "As a table (CSV)",
        json: "As JSON",
    }

    /// Reports.
    reports: ReportWords {
        title: "Reports",
        lead: "What people have told you of. A report is here until you close it.",
        none: "Nothing was reported.",
        number: "Report {number}",
        report: "Report",
        at: "When",
        reporter: "Who reports",
        about: "About",
        reason: "In their words",
        of_person: "{person}",
        of_event: "A message of {person} in {room}",
        of_room: "The room {room}",
        person: "About whom",
        room: "Room",
        event: "Message",
        said: "What was said",
        sealed: "The message is encrypted: the server cannot read it.",
        close: "Close the report",
        close_how: "It was dealt with. It leaves the list, and stays in the audit trail.",
    }

    /// Files.
    media: MediaWords {
        title: "Media",
        lead: "Files that people have uploaded. Those of encrypted rooms are encrypted, and nobody here sees what is in them.",
        of_person: "Of a person",
        of_room: "Of a room",
        user: "Uploaded by",
        user_hint: "The user name.",
        room: "Room",
        room_hint: "The room's id.",
        count: "{count} files.",
        file: "File",
        kind: "Type",
        size: "Size",
        uploaded: "When",
        state: "State",
        change: "Change",
        quarantined: "In quarantine",
        protected: "Protected",
        quarantine: "Quarantine",
        quarantine_how: "Nobody can fetch it, nor another file with the same bytes. Nothing is deleted.",
        release: "Release",
        release_how: "It can be fetched again.",
        delete: "Delete",
        delete_how: "For ever.",
        all: "All of them",
        quarantine_all: "Quarantine all",
        delete_all: "Delete all",
    }

    /// Other servers.
    federation: FederationWords {
        title: "Federation",
        here: "This server",
        state: "State",
        on: "Speaks with other servers",
        off: "Speaks with nobody",
        key: "Signing key",
        known: "Servers known",
        allowed: "Allowed",
        denied: "Denied",
        all: "all but the denied",
        none: "none",
        signed_list: "Signed list",
        no_list: "none in force",
        list: "{name}, valid until {until}",
        configured: "Who is allowed and denied stands in the configuration, in [federation].",
        troubled: "Servers that do not answer, or for which something waits",
        no_trouble: "All servers answer, and nothing waits.",
        server: "Server",
        silent: "Does not answer",
        waits: "Something waits",
        since: "Since",
        again_at: "Tried again",
        why: "Why",
        waiting: "Events waiting",
        change: "Change",
        retry: "Try now",
        forget: "Forget",
        forget_how: "What waits for this server is never sent. For a server that is gone for ever.",
        met: "Servers that people here are in rooms with",
        nobody_met: "There are none.",
        rooms: "Rooms together",
        check: "Check a server",
        check_how: "Its place, connection, certificate, clock and keys, step by step.",
        checked: "What was found of {server}",
        step: "Step",
        detail: "Found",
        good: "Good",
        bad: "Wrong",
    }

    /// The audit trail.
    audit: AuditWords {
        title: "Audit",
        lead: "Everything that was done, by whom, on whom and why. Nothing of it can be changed without being found.",
        filter: "Search the trail",
        by: "By whom",
        by_hint: "A user name, operator, server or nobody.",
        on: "On whom or what",
        room: "In which room",
        verb: "What",
        verb_hint: "person.lock, or person for all that is done to people.",
        since: "From",
        until: "Before",
        time_hint: "2026-03-03 or 2026-03-03T14:05 (UTC).",
        number: "No.",
        at: "When",
        what: "Before → after",
        long: "Show",
        why: "Why",
        none: "There is no such entry.",
        proof: "Proof",
        proof_how: "Each entry names the hash of the one before. The signed copy can be checked anywhere, with cairn audit verify.",
        verify: "Check the whole trail",
        export: "Signed copy",
        whole: "The trail is whole",
        verified: "{entries} entries, each chained to the one before. The hash of the last:",
        broken: "Entry {number} is not what was written: {reason}.",
    }

    /// The configuration.
    settings: SettingWords {
        title: "Settings",
        lead: "What the configuration says. It is changed in its file, not here; secrets are hidden.",
        general: "General",
        option: "Option",
        value: "Value",
        unset: "not set",
    }

    /// Backups.
    backups: BackupWords {
        title: "Backups",
        lead: "What is there to start again from.",
        here: "The newest backup",
        newest: "Made",
        age: "{hours} hours ago",
        no_backup: "There is none",
        folder: "Folder",
        count: "How many",
        kind: "Kind",
        sealed: "sealed: whoever has the secret key can look into them",
        open: "not sealed",
        none_seen: "No backup is seen here",
        unreadable: "The server cannot look into {folder}. If backups lie elsewhere, name the folder in the configuration, in [console].",
        how: "Backups are made by cairn backup create, which a timer can do. Whether one can be restored, cairn backup verify tells.",
        name: "Backup",
        made: "Made",
        files: "Files",
        size: "Size",
        not_told: "sealed, or damaged",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_has_a_name() {
        for role in Role::ALL {
            assert!(!WORDS.roles.of(role).is_empty());
        }
    }
}
