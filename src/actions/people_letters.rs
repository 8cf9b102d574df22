//! What the server writes to people about their accounts: by e-mail, and in the room in which
//! it speaks to them. Every word of it stands here, for translation; what stands in braces is
//! filled in.

use mail::Letter;
use runtime::Timestamp;

/// An invitation to an account that is there already.
const INVITATION: (&str, &str) = (
    "Your account on {server}",
    "Hello,\n\
     \n\
     there is an account for you on {server}: {user}.\n\
     \n\
     Open this link and choose a password. Nobody else knows it, and the\n\
     link works once:\n\
     \n\
     {link}\n\
     \n\
     {until}\
     If you do not know what this is about, do nothing, and nobody uses the\n\
     account.\n",
);

/// An account ends soon, and its person can put that off.
const ENDS: (&str, &str) = (
    "Your account on {server} ends on {end}",
    "Hello,\n\
     \n\
     your account {user} on {server} ends on {end}.\n\
     \n\
     If you go on using it, open this link and confirm:\n\
     \n\
     {link}\n\
     \n\
     If you do nothing, you cannot use it after that day. Nothing is deleted,\n\
     and an administrator can renew it later.\n",
);

/// An account ends soon, and only an administrator can put that off.
const ENDS_FOR_GOOD: (&str, &str) = (
    "Your account on {server} ends on {end}",
    "Hello,\n\
     \n\
     your account {user} on {server} ends on {end}.\n\
     \n\
     If you need it for longer, ask an administrator of {server} in time.\n\
     Nothing is deleted, and it can be renewed later too.\n",
);

/// What is filled in.
pub(crate) struct Words<'a> {
    /// The server's name.
    pub(crate) server: &'a str,
    /// The user id.
    pub(crate) user: &'a str,
    /// The link, where there is one.
    pub(crate) link: &'a str,
    /// When something ends, in ms since the Unix epoch.
    pub(crate) end: Option<u64>,
}

impl Words<'_> {
    fn fill(&self, text: &str) -> String {
        let end = self.end.map(day).unwrap_or_default();
        let until = match self.end {
            Some(_) => format!("It works until {end}.\n\n"),
            None => String::new(),
        };
        // The link comes last: it holds no braces, and nothing in it is filled in.
        text.replace("{server}", self.server)
            .replace("{user}", self.user)
            .replace("{until}", &until)
            .replace("{end}", &end)
            .replace("{link}", self.link)
    }

    fn letter(&self, to: &str, (subject, text): (&str, &str)) -> Letter {
        Letter {
            to: to.to_owned(),
            subject: self.fill(subject),
            text: self.fill(text),
        }
    }

    /// The letter with an invitation.
    pub(crate) fn invitation(&self, to: &str) -> Letter {
        self.letter(to, INVITATION)
    }

    /// The letter that tells of an account's end.
    pub(crate) fn end(&self, to: &str) -> Letter {
        self.letter(to, self.texts_of_end())
    }

    /// The same for the room in which the server speaks to the person.
    pub(crate) fn end_as_notice(&self) -> String {
        self.fill(self.texts_of_end().1)
    }

    fn texts_of_end(&self) -> (&'static str, &'static str) {
        match self.link.is_empty() {
            true => ENDS_FOR_GOOD,
            false => ENDS,
        }
    }
}

/// What somebody is told whose account was locked or suspended, or is not any more.
pub(crate) fn restraint(is_lock: bool, is_restrained: bool, told: Option<&str>) -> String {
    let mut text = match (is_lock, is_restrained) {
        (true, true) => "Your account has been locked by an administrator of this server.",
        (true, false) => "Your account is not locked any more.",
        (false, true) => {
            "Your account has been suspended by an administrator of this server: you can read, \
             leave rooms and take back what you wrote, and say nothing until the suspension ends."
        }
        (false, false) => "Your account is not suspended any more.",
    }
    .to_owned();
    if let Some(told) = told {
        text += "\n\n";
        text += told;
    }
    text
}

/// The day of a moment, as people read it everywhere: 2027-03-31. Of the first moment of a day
/// the day before, for then it was the last day.
fn day(end: u64) -> String {
    let last = Timestamp(end.saturating_sub(1)).to_string();
    last.chars().take("2027-03-31".len()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_say_what_they_are_about_and_until_when() {
        let words = Words {
            server: "a.test",
            user: "@anna:a.test",
            link: "https://a.test/renew/x",
            // The first moment of 1 April 2027.
            end: Some(1_806_537_600_000),
        };
        for letter in [words.invitation("anna@b.test"), words.end("anna@b.test")] {
            let whole = letter.subject + &letter.text;
            for part in [
                "a.test",
                "@anna:a.test",
                "https://a.test/renew/x",
                "2027-03-31",
            ] {
                assert!(whole.contains(part), "{part}: {whole}");
            }
            assert!(!whole.contains('{'), "{whole}");
            assert_eq!(letter.to, "anna@b.test");
        }
        let alone = Words { link: "", ..words };
        assert!(alone.end_as_notice().contains("ask an administrator"));
    }

    #[test]
    fn restraints_are_told_with_what_an_administrator_adds() {
        assert!(restraint(false, true, Some("Call us.")).ends_with("\n\nCall us."));
        assert!(restraint(true, false, None).contains("not locked any more"));
    }
}
