//! What the fuzz targets of `../../tests/fuzz` call: what is made of bytes from outside, and
//! what must hold of it. There in tests and in fuzzing only.

use runtime::Timestamp;

use crate::Letter;

/// A letter: a line with the address, one with what it is about, and what it says.
pub fn letter(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.splitn(3, '\n');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let letter = Letter {
        to: part(),
        subject: part(),
        text: part(),
    };
    let Ok(sender) = "Cairn <server@a.example>".parse() else {
        return;
    };
    let Ok(message) = letter.message(&sender, Timestamp(1_700_000_000_000), "1") else {
        return;
    };
    let written = String::from_utf8_lossy(&message.formatted()).into_owned();
    let head = written.split("\r\n\r\n").next().unwrap_or_default();
    // Each line is one of our headers, or goes on with the one before.
    for line in head.split("\r\n") {
        let name = line.split_once(':').map_or("", |(name, _)| name);
        let is_ours = [
            "From",
            "To",
            "Subject",
            "Date",
            "Message-ID",
            "Auto-Submitted",
            "MIME-Version",
            "Content-Type",
            "Content-Transfer-Encoding",
        ]
        .contains(&name);
        assert!(is_ours || line.starts_with([' ', '\t']), "{line:?}");
        assert!(!line.contains(['\r', '\n']), "{line:?}");
    }
    assert_eq!(message.envelope().to().len(), 1);
}

#[cfg(test)]
mod tests {
    use crate::seeds::each;

    #[test]
    fn seeds() {
        each("letter", super::letter);
    }
}
