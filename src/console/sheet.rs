//! Invitations on paper: a document of one sheet (A4) for each, to be printed.

use runtime::Timestamp;

use crate::{
    QrCode,
    html::{Element, element},
    page::document,
    texts::{TEXTS, fill, moment},
};

/// How sheets look, on paper and on the screen before.
pub(crate) const STYLE: &str = include_str!("sheet.css");

/// An invitation to be printed.
#[derive(Clone, Debug)]
pub struct SheetInvitation {
    /// The link that the invited person opens.
    pub link: String,
    /// How many people may join with it.
    pub uses: u64,
    /// When it ends; never if `None`.
    pub expires_at: Option<Timestamp>,
    /// For whom it is, if it is for somebody's account that is there already.
    pub name: Option<String>,
}

/// The document with a sheet for each invitation. It holds their tokens: whoever
/// reads it can join.
pub fn sheet(server_name: &str, invitations: &[SheetInvitation]) -> String {
    let (begin, end) = sheet_frame(server_name, invitations.len());
    begin + &sheets(server_name, invitations) + &end
}

/// What stands before and behind the sheets of a document with so many, for whoever writes them
/// one after the other.
pub fn sheet_frame(server_name: &str, count: usize) -> (String, String) {
    let values = [
        ("count", count.to_string()),
        ("server", server_name.to_owned()),
    ];
    let values = values
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let title = fill(TEXTS.sheet.title, &values);
    let whole = document(&title, STYLE, element("main"));
    let place = whole.rfind("</main>").unwrap_or(whole.len());
    let (begin, end) = whole.split_at(place);
    (begin.to_owned(), end.to_owned())
}

/// The sheets of some invitations.
pub fn sheets(server_name: &str, invitations: &[SheetInvitation]) -> String {
    let sheets = invitations.iter();
    let sheets = sheets.map(|invitation| one(server_name, invitation).render());
    sheets.collect()
}

fn one(server_name: &str, invitation: &SheetInvitation) -> Element {
    let texts = &TEXTS.sheet;
    let words = |text: &str| fill(text, &[("server", server_name)]);
    let paragraph = |text: String| element("p").has(text);
    let code = QrCode::of(&invitation.link).map(|code| code.svg(texts.code_label));
    let steps = texts.steps.map(|step| element("li").has(words(step)));
    let until = match invitation.expires_at {
        Some(end) => fill(texts.valid_until, &[("moment", &moment(end))]),
        None => texts.valid_for_ever.to_owned(),
    };
    let people = match invitation.uses {
        1 => texts.one_person.to_owned(),
        uses => fill(texts.several_people, &[("uses", &uses.to_string())]),
    };
    let for_whom = invitation.name.as_deref();
    let for_whom = for_whom.map(|name| paragraph(fill(texts.for_whom, &[("name", name)])));
    element("section")
        .has(element("h1").has(words(texts.heading)))
        .has_all(for_whom)
        .has(paragraph(words(texts.lead)).with("class", "lead"))
        .has_all(code)
        .has(element("ol").has_all(steps))
        .has(element("h2").has(texts.address))
        .has(element("p").has(element("code").has(invitation.link.as_str())))
        .has(paragraph(format!("{until} {people}")).with("class", "valid"))
        .has(paragraph(texts.secret.to_owned()).with("class", "small"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation(link: &str, uses: u64, expires_at: Option<u64>) -> SheetInvitation {
        SheetInvitation {
            link: link.to_owned(),
            uses,
            expires_at: expires_at.map(Timestamp),
            name: None,
        }
    }

    #[test]
    fn each_invitation_has_a_sheet_of_its_own() {
        let printed = sheet(
            "council.example",
            &[
                invitation("https://chat.example/join/one", 1, Some(1_796_306_700_000)),
                invitation("https://chat.example/join/two", 5, None),
            ],
        );
        assert_eq!(printed.matches("<section>").count(), 2);
        assert_eq!(printed.matches("<svg").count(), 2);
        for part in [
            "<title>2 invitations to council.example</title>",
            "Join council.example",
            "https://chat.example/join/one",
            "https://chat.example/join/two",
            "Valid until 3 December 2026, 14:05 UTC. For one person.",
            "Valid until it is used. For up to 5 people.",
        ] {
            assert!(printed.contains(part), "{part}");
        }
    }

    #[test]
    fn a_link_cannot_write_html() {
        let printed = sheet("a.example", &[invitation("https://a/<b>\"&", 1, None)]);
        assert!(printed.contains("https://a/&lt;b&gt;&quot;&amp;"));
        assert!(!printed.contains("<b>"));
    }
}
