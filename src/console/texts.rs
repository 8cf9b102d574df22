//! Every word of the pages and of the printed sheet. A translation is another value
//! of [`Texts`]; what stands in braces is filled in.

use runtime::Timestamp;

/// The words of one language.
pub(crate) struct Texts {
    /// The language's code, for browsers and screen readers.
    pub(crate) language: &'static str,
    pub(crate) landing: LandingTexts,
    pub(crate) form: FormTexts,
    pub(crate) mistakes: MistakeTexts,
    pub(crate) joined: JoinedTexts,
    pub(crate) confirming: ConfirmingTexts,
    pub(crate) accepting: AcceptingTexts,
    pub(crate) renewing: RenewingTexts,
    pub(crate) refused: RefusedTexts,
    pub(crate) sheet: SheetTexts,
    /// Months, January first.
    pub(crate) months: [&'static str; 12],
    /// `{day}`, `{month}`, `{year}`, `{time}`: a moment.
    pub(crate) moment: &'static str,
}

/// The page of a server. `{server}` is its name.
pub(crate) struct LandingTexts {
    pub(crate) lead: &'static str,
    pub(crate) sign_in: &'static str,
    pub(crate) sign_in_how: &'static str,
    pub(crate) sign_in_more: &'static str,
    pub(crate) join: &'static str,
    pub(crate) join_how: &'static str,
    pub(crate) help: &'static str,
    pub(crate) help_how: &'static str,
    pub(crate) help_nobody: &'static str,
}

/// The page of an invitation to an account that was made for somebody. `{server}` is the
/// server's name.
pub(crate) struct AcceptingTexts {
    pub(crate) title: &'static str,
    /// `{name}`: the name that they go by.
    pub(crate) lead: &'static str,
    pub(crate) lead_nameless: &'static str,
    pub(crate) button: &'static str,
    pub(crate) footer: &'static str,
}

/// The page of a renewal. `{server}`, `{user}`; `{end}` and `{until}` are moments.
pub(crate) struct RenewingTexts {
    pub(crate) title: &'static str,
    pub(crate) lead: &'static str,
    pub(crate) until: &'static str,
    pub(crate) button: &'static str,
    pub(crate) not_you: &'static str,
    pub(crate) done: &'static str,
    /// `{moment}`: the new end.
    pub(crate) done_until: &'static str,
    pub(crate) gone: &'static str,
    pub(crate) gone_why: &'static str,
}

/// The form of an invitation. `{server}` is the server's name.
pub(crate) struct FormTexts {
    pub(crate) title: &'static str,
    /// Before the title when something has to be corrected.
    pub(crate) title_mistake: &'static str,
    pub(crate) lead: &'static str,
    pub(crate) name: &'static str,
    pub(crate) name_hint: &'static str,
    pub(crate) password: &'static str,
    /// `{minimum}`: the fewest characters.
    pub(crate) password_hint: &'static str,
    pub(crate) again: &'static str,
    pub(crate) button: &'static str,
    pub(crate) footer: &'static str,
}

/// What has to be corrected in the form.
pub(crate) struct MistakeTexts {
    pub(crate) summary: &'static str,
    pub(crate) name_missing: &'static str,
    pub(crate) name_invalid: &'static str,
    /// `{name}`: what was typed.
    pub(crate) name_taken: &'static str,
    pub(crate) password_missing: &'static str,
    /// `{minimum}`: the fewest characters.
    pub(crate) password_short: &'static str,
    pub(crate) password_long: &'static str,
    pub(crate) again_differs: &'static str,
    /// The passwords are not kept when the form is shown again.
    pub(crate) password_anew: &'static str,
    /// `{seconds}`: how long to wait.
    pub(crate) too_many: &'static str,
    pub(crate) busy: &'static str,
    pub(crate) failed: &'static str,
    pub(crate) form_broken: &'static str,
}

/// The page after joining. `{server}` is the server's name, `{name}` the person's.
pub(crate) struct JoinedTexts {
    pub(crate) title: &'static str,
    pub(crate) title_nameless: &'static str,
    pub(crate) lead: &'static str,
    pub(crate) lead_nameless: &'static str,
    pub(crate) install: &'static str,
    pub(crate) install_any: &'static str,
    pub(crate) install_these: &'static str,
    /// `{client}` and `{platform}`.
    pub(crate) client: &'static str,
    pub(crate) server: &'static str,
    pub(crate) server_how: &'static str,
    pub(crate) sign_in: &'static str,
    pub(crate) sign_in_how: &'static str,
    pub(crate) sign_in_how_nameless: &'static str,
    pub(crate) button: &'static str,
    /// The QR code, for another device.
    pub(crate) code: &'static str,
    pub(crate) code_page: &'static str,
    pub(crate) code_link: &'static str,
    /// What a screen reader says instead of the code.
    pub(crate) code_label: &'static str,
    pub(crate) recovery: &'static str,
    pub(crate) recovery_why: &'static str,
}

/// The pages of a confirmation by e-mail. `{server}` is the server's name, `{email}` the
/// address, `{user}` the account.
pub(crate) struct ConfirmingTexts {
    pub(crate) title: &'static str,
    pub(crate) add: &'static str,
    /// Where the account is not known.
    pub(crate) add_nameless: &'static str,
    pub(crate) register: &'static str,
    pub(crate) reset: &'static str,
    pub(crate) reset_warning: &'static str,
    pub(crate) not_you: &'static str,
    /// `{host}`: where the person is sent afterwards.
    pub(crate) next: &'static str,
    pub(crate) button: &'static str,
    pub(crate) button_reset: &'static str,
    pub(crate) done: &'static str,
    pub(crate) done_how: &'static str,
    pub(crate) gone: &'static str,
    pub(crate) gone_why: &'static str,
    pub(crate) gone_ask: &'static str,
}

/// The pages of who cannot join.
pub(crate) struct RefusedTexts {
    pub(crate) gone: &'static str,
    pub(crate) gone_why: &'static str,
    pub(crate) gone_ask: &'static str,
    pub(crate) gone_yours: &'static str,
    pub(crate) gone_yours_link: &'static str,
    pub(crate) closed: &'static str,
    pub(crate) closed_why: &'static str,
    pub(crate) elsewhere: &'static str,
    pub(crate) elsewhere_why: &'static str,
    pub(crate) failed: &'static str,
}

/// The printed sheet. `{server}` is the server's name.
pub(crate) struct SheetTexts {
    /// `{count}`: how many invitations.
    pub(crate) title: &'static str,
    pub(crate) heading: &'static str,
    pub(crate) lead: &'static str,
    pub(crate) steps: [&'static str; 3],
    pub(crate) address: &'static str,
    /// `{moment}`: when the invitation ends.
    pub(crate) valid_until: &'static str,
    pub(crate) valid_for_ever: &'static str,
    /// `{name}`: whose account it is.
    pub(crate) for_whom: &'static str,
    pub(crate) one_person: &'static str,
    /// `{uses}`: how many people.
    pub(crate) several_people: &'static str,
    pub(crate) secret: &'static str,
    /// What a screen reader says instead of the code.
    pub(crate) code_label: &'static str,
}

/// The words of every page today.
pub(crate) const TEXTS: &Texts = &ENGLISH;

const ENGLISH: Texts = Texts {
    language: "en",
    landing: LandingTexts {
        lead: "This is the Matrix server of {server}: a place to talk, in conversations that only those \
               who take part can read.",
        sign_in: "Sign in",
        sign_in_how: "You have an account? Tell your Matrix app this address of the server, or point \
                      your phone's camera at the code:",
        sign_in_more: "Step by step",
        join: "Join",
        join_how: "Who lives or works here gets an invitation, a link or a printed code. Open it, and \
                   choose a name and a password.",
        help: "Help",
        help_how: "These help you with this server:",
        help_nobody: "Ask whoever invited you.",
    },
    form: FormTexts {
        title: "Join {server}",
        title_mistake: "Look again: ",
        lead: "You are invited. Choose a user name and a password, and your account is ready.",
        name: "User name",
        name_hint: "For example anna.berg: small letters a to z, digits, and . _ - = / + only. Others \
                    find you by it, and it cannot be changed later.",
        password: "Password",
        password_hint: "At least {minimum} characters. Four or five words that only you would put \
                        together are easy to remember and hard to guess.",
        again: "Password again",
        button: "Create my account",
        footer: "Keep both in mind, or in a password manager: you need them to sign in. If you \
                 forget the password, an administrator of {server} can give you a new one.",
    },
    mistakes: MistakeTexts {
        summary: "Please look again",
        name_missing: "Choose a user name.",
        name_invalid: "A user name has only small letters a to z, digits, and . _ - = / +. It does \
                       not begin with _ and is not too long.",
        name_taken: "The name {name} is taken. Choose another one.",
        password_missing: "Choose a password.",
        password_short: "This password is too short: it needs at least {minimum} characters.",
        password_long: "This password is too long: it may have 1024 bytes.",
        again_differs: "The two passwords differ. Type the same one twice.",
        password_anew: "Type your password again, twice: this page does not keep it.",
        too_many: "Too many tries from here. Wait {seconds} seconds, then try again.",
        busy: "The server has a lot to do. Nothing was lost: try again in a moment.",
        failed: "The server could not do this. Try again later, or tell whoever invited you.",
        form_broken: "The form did not arrive whole. Please fill it in again.",
    },
    joined: JoinedTexts {
        title: "Welcome, {name}",
        title_nameless: "Sign in to {server}",
        lead: "Your account on {server} is ready. Three steps to your first message:",
        lead_nameless: "Three steps to your messages:",
        install: "Install an app",
        install_any: "Any Matrix app does, on a phone or a computer: Element X, for instance. Have \
                      one already? Go on.",
        install_these: "Choose one of these. Have one already? Go on.",
        client: "{client} for {platform}",
        server: "Tell it the server",
        server_how: "Choose to sign in, and change the server to this address:",
        sign_in: "Sign in",
        sign_in_how: "With the password that you just chose, and this user name:",
        sign_in_how_nameless: "With your password, and your user name, which looks like this:",
        button: "Sign in with the app on this device",
        code: "On another device",
        code_page: "To go on with your phone, point its camera here: it opens this page.",
        code_link: "To sign in with your phone, point its camera here.",
        code_label: "QR code with the address {link}",
        recovery: "Then keep your recovery key",
        recovery_why: "The app offers you one. Write it down and keep it in a safe place: with it \
                       you can read your messages on a new device, even if you lose this one.",
    },
    confirming: ConfirmingTexts {
        title: "Confirm your e-mail address",
        add: "Shall the address {email} belong to the account {user}?",
        add_nameless: "Shall the address {email} belong to an account on {server}?",
        register: "Is {email} the address with which you are creating an account on {server}?",
        reset: "Have you asked for a new password for the account {user}?",
        reset_warning: "Confirm only if you asked just now: whoever did can set your password then.",
        not_you: "If it was not you, close this page: nothing happens.",
        next: "After that you go on to {host}.",
        button: "Yes, confirm",
        button_reset: "Yes, I asked for it",
        done: "Confirmed",
        done_how: "Go back to where you came from, and go on there. This page can be closed.",
        gone: "This link cannot be used",
        gone_why: "It was used already, it is too old, a newer e-mail has another one, or it is \
                   not complete.",
        gone_ask: "Look whether you have the whole link of the newest e-mail, or ask for another \
                   one.",
    },
    accepting: AcceptingTexts {
        title: "Your account on {server}",
        lead: "Hello {name}, this account was made for you. Choose a password, which nobody else \
               knows then.",
        lead_nameless: "This account was made for you. Choose a password, which nobody else knows \
                        then.",
        button: "Set the password",
        footer: "With this account name and the password you sign in on each of your devices.",
    },
    renewing: RenewingTexts {
        title: "Renew your account",
        lead: "Your account {user} on {server} ends on {end}.",
        until: "You go on using it? Then it can be used until {until}.",
        button: "Yes, renew it",
        not_you: "If you do nothing, you cannot use it after that day. Nothing is deleted.",
        done: "Your account is renewed",
        done_until: "You can use it until {moment}. This page can be closed.",
        gone: "This link cannot be used",
        gone_why: "It was used already, or a newer e-mail has another one. An administrator can \
                   renew your account too.",
    },
    refused: RefusedTexts {
        gone: "This invitation cannot be used",
        gone_why: "It was used already, it has ended, or the link is not complete.",
        gone_ask: "Look whether you have the whole link, or ask whoever invited you for a new one.",
        gone_yours: "You have just created your account with it? Then all is well:",
        gone_yours_link: "how to sign in",
        closed: "Nobody can join at the moment",
        closed_why: "{server} takes no new members now. Ask whoever invited you.",
        elsewhere: "This form was sent from another site",
        elsewhere_why: "Nothing was done. Open your invitation's link again and fill in the form \
                        there.",
        failed: "That did not work",
    },
    sheet: SheetTexts {
        title: "{count} invitations to {server}",
        heading: "Join {server}",
        lead: "You are invited to {server}, where we talk.",
        steps: [
            "Point your phone's camera at the code, and open the link that it shows. Or type the \
             address below into a browser.",
            "Choose a user name and a password.",
            "Install the app that the page names, and sign in.",
        ],
        address: "The address in the code",
        valid_until: "Valid until {moment}.",
        valid_for_ever: "Valid until it is used.",
        for_whom: "For {name}",
        one_person: "For one person.",
        several_people: "For up to {uses} people.",
        secret: "Whoever has this sheet can join in your place: keep it to yourself.",
        code_label: "QR code with the address below",
    },
    months: [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    moment: "{day} {month} {year}, {time} UTC",
};

/// `text` with each `{name}` replaced by its value. What a value holds is never
/// replaced itself; braces around no known name stay as they are.
pub(crate) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        filled.push_str(before);
        let found = values.iter().find_map(|(name, value)| {
            let after = behind.strip_prefix(name)?.strip_prefix('}')?;
            Some((value, after))
        });
        match found {
            Some((value, after)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = behind;
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// A moment in words, `3 December 2026, 14:05 UTC`.
pub fn moment(at: Timestamp) -> String {
    let (year, month, day) = at.date();
    let minute = at.0 / 60_000 % (24 * 60);
    let month = usize::try_from(month)
        .ok()
        .and_then(|month| TEXTS.months.get(month.wrapping_sub(1)))
        .unwrap_or(&"");
    fill(
        TEXTS.moment,
        &[
            ("day", &day.to_string()),
            ("month", month),
            ("year", &year.to_string()),
            ("time", &format!("{:02}:{:02}", minute / 60, minute % 60)),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_filled_in_once() {
        for (text, expected) in [
            ("Join {server}", "Join {name}"),
            ("{name}: {name}", "anna: anna"),
            ("{nobody} {", "{nobody} {"),
            ("{{name}}", "{anna}"),
            ("", ""),
        ] {
            let filled = fill(text, &[("server", "{name}"), ("name", "anna")]);
            assert_eq!(filled, expected);
        }
    }

    #[test]
    fn a_moment_reads_as_people_write_it() {
        for (at, expected) in [
            (0, "1 January 1970, 00:00 UTC"),
            (1_796_306_759_999, "3 December 2026, 14:05 UTC"),
            (951_782_400_000, "29 February 2000, 00:00 UTC"),
        ] {
            assert_eq!(moment(Timestamp(at)), expected);
        }
    }
}
