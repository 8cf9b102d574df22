//! What the e-mail says that this server sends. Every word of it stands here, for
//! translation; what stands in braces is filled in.

use accounts::NewLetter;
use mail::Letter;
use model::EmailPurpose;
use ruma_common::ServerName;

/// The words of one kind of letter: `{server}`, `{user}`, `{link}`, `{minutes}`.
struct LetterTexts {
    subject: &'static str,
    text: &'static str,
}

const ADD: LetterTexts = LetterTexts {
    subject: "Confirm your e-mail address for {server}",
    text: "Hello,\n\
           \n\
           somebody wants to add this e-mail address to an account on\n\
           {server}: {user}.\n\
           \n\
           If it was you, open this link and confirm:\n\
           \n\
           {link}\n\
           \n\
           Then go back to your app, which was waiting for it. The link works\n\
           for {minutes} minutes.\n\
           \n\
           If it was not you, do nothing: the address is not added.\n",
};

const REGISTER: LetterTexts = LetterTexts {
    subject: "Confirm your e-mail address for {server}",
    text: "Hello,\n\
           \n\
           somebody wants to create an account on {server} with this e-mail\n\
           address. If it was you, open this link and confirm:\n\
           \n\
           {link}\n\
           \n\
           Then go back to your app, which was waiting for it. The link works\n\
           for {minutes} minutes.\n\
           \n\
           If it was not you, do nothing.\n",
};

const RESET: LetterTexts = LetterTexts {
    subject: "A new password for {user}",
    text: "Hello,\n\
           \n\
           somebody has asked for a new password for the account {user}\n\
           on {server}. If it was you, just now, open this link and confirm:\n\
           \n\
           {link}\n\
           \n\
           Then go back to where you asked, and choose the new password. The\n\
           link works for {minutes} minutes.\n\
           \n\
           If it was not you, do not open the link, and nothing changes: whoever\n\
           asked could set your password if you confirmed.\n",
};

/// The account that a letter is about, where it is not known.
const NOBODY: &str = "whose, the server was not told";

/// The letter with a confirmation's link.
pub(crate) fn letter(new: &NewLetter, server: &ServerName, link: &str) -> Letter {
    let texts = match new.purpose {
        EmailPurpose::Add => &ADD,
        EmailPurpose::Register => &REGISTER,
        EmailPurpose::ResetPassword => &RESET,
    };
    let minutes = (new.lifetime.as_secs() / 60).to_string();
    let user = new
        .user_id
        .as_ref()
        .map_or(NOBODY, |user_id| user_id.as_str());
    // The link comes last: it holds no braces, and nothing in it is filled in.
    let fill = |text: &str| {
        text.replace("{server}", server.as_str())
            .replace("{user}", user)
            .replace("{minutes}", &minutes)
            .replace("{link}", link)
    };
    Letter {
        to: new.email.clone(),
        subject: fill(texts.subject),
        text: fill(texts.text),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_letter_says_what_it_is_for() {
        for (purpose, user) in [
            (EmailPurpose::Add, Some("@anna:a.test")),
            (EmailPurpose::Add, None),
            (EmailPurpose::Register, None),
            (EmailPurpose::ResetPassword, Some("@anna:a.test")),
        ] {
            let new = NewLetter {
                email: "anna@example.org".to_owned(),
                token: "secret".to_owned(),
                purpose,
                user_id: user.map(|user| user.try_into().unwrap()),
                lifetime: Duration::from_secs(3_600),
            };
            let server = ServerName::parse("a.test").unwrap();
            let letter = letter(&new, &server, "https://a.test/confirm/1/2");
            assert_eq!(letter.to, "anna@example.org");
            for part in ["https://a.test/confirm/1/2", "a.test", "60 minutes"] {
                assert!(letter.text.contains(part), "{part}: {}", letter.text);
            }
            assert!(user.is_none_or(|user| letter.text.contains(user)));
            let whole = letter.subject + &letter.text;
            assert!(!whole.contains(['{', '}']), "{whole}");
            assert!(whole.lines().all(|line| line.len() <= 78), "{whole}");
        }
    }
}
