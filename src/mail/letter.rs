//! A letter, and its form on the wire.

use std::time::{Duration, SystemTime};

use lettre::{
    Address, Message,
    message::{
        Mailbox,
        header::{ContentType, HeaderName, HeaderValue},
    },
};
use runtime::Timestamp;

use crate::MailError;

/// A text for one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The person's address.
    pub to: String,
    /// What it is about: one line.
    pub subject: String,
    /// What it says: plain text, with `\n` at the end of each line.
    pub text: String,
}

impl Letter {
    /// The letter with its headers. `id` is what tells it from others.
    pub(crate) fn message(
        self,
        sender: &Mailbox,
        at: Timestamp,
        id: &str,
    ) -> Result<Message, MailError> {
        let to: Address = self.to.parse().map_err(|_| MailError::Address)?;
        let id = format!("<{id}@{}>", sender.email.domain());
        // Programs that answer by themselves do not answer this (RFC 3834).
        let automatic = HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        );
        Message::builder()
            .from(sender.clone())
            .to(Mailbox::new(None, to))
            .subject(one_line(&self.subject))
            .date(SystemTime::UNIX_EPOCH + Duration::from_millis(at.0))
            .message_id(Some(id))
            .raw_header(automatic)
            .header(ContentType::TEXT_PLAIN)
            .body(self.text.replace('\n', "\r\n"))
            .map_err(|error| MailError::Refused(error.to_string()))
    }
}

/// A text that cannot end a header.
fn one_line(text: &str) -> String {
    text.replace(|letter: char| letter.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(letter: Letter) -> Result<String, MailError> {
        let sender = "Chat <chat@council.example>".parse().unwrap();
        let message = letter.message(&sender, Timestamp(1_796_306_759_999), "abc")?;
        Ok(String::from_utf8(message.formatted()).unwrap())
    }

    #[test]
    fn a_letter_has_its_headers() {
        let letter = Letter {
            to: "anna@example.org".to_owned(),
            subject: "Bestätigung\r\nBcc: eve@example.org".to_owned(),
            text: "Grüße\nAnna\n".to_owned(),
        };
        let written = written(letter).unwrap();
        let (headers, body) = written.split_once("\r\n\r\n").unwrap();
        for line in [
            "To: anna@example.org",
            "Date: Thu, 03 Dec 2026 14:05:59 +0000",
            "Message-ID: <abc@council.example>",
            "Auto-Submitted: auto-generated",
            "Content-Type: text/plain; charset=utf-8",
        ] {
            assert!(headers.lines().any(|one| one == line), "{line}: {headers}");
        }
        assert!(headers.contains("<chat@council.example>"));
        // Nothing from outside becomes a header of its own.
        assert!(!headers.lines().any(|line| line.starts_with("Bcc")));
        // "Grüße\r\nAnna\r\n", whose letters are not all of ASCII.
        assert_eq!(body.trim_end(), "R3LDvMOfZQ0KQW5uYQ0K");
    }

    #[test]
    fn what_is_no_address_gets_no_letter() {
        for to in [
            "",
            "anna",
            "anna@",
            "a b@example.org",
            "a@b.example\r\nRCPT TO:<c@d.example>",
        ] {
            let letter = Letter {
                to: to.to_owned(),
                subject: "a".to_owned(),
                text: "b".to_owned(),
            };
            assert!(matches!(written(letter), Err(MailError::Address)), "{to}");
        }
    }
}
