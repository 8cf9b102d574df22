//! Sealing and opening again.

use std::io::{Read as _, Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use runtime::Random;

use super::*;

/// From age's own documentation (C2SP, age.md, "The X25519 recipient type").
const KNOWN_SECRET: &str =
    "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
const KNOWN_PUBLIC: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

fn identity() -> Identity {
    Identity::parse(&format!("# a comment\n\n{KNOWN_SECRET}\n")).unwrap()
}

fn sealed(bytes: &[u8]) -> Vec<u8> {
    let recipient = KNOWN_PUBLIC.parse().unwrap();
    let mut sealed = Sealed::new(Vec::new(), &recipient, &Random::seeded(1)).unwrap();
    for part in bytes.chunks(1_000) {
        sealed.write_all(part).unwrap();
    }
    sealed.finish().unwrap()
}

fn opened(sealed: &[u8], identity: &Identity) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    Opened::new(sealed, identity)?.read_to_end(&mut plain)?;
    Ok(plain)
}

fn some_bytes(length: usize) -> Vec<u8> {
    (0..length)
        .map(|place| (place * 7 + place / 251) as u8)
        .collect()
}

#[test]
fn keys_are_read_and_written_as_everybody_does() {
    let recipients = identity().recipients();
    assert_eq!(recipients[0].to_string(), KNOWN_PUBLIC);
    assert_eq!(KNOWN_PUBLIC.parse::<Recipient>().unwrap(), recipients[0]);
    for wrong in [
        "",
        "age1",
        "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwq",
        "Age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj",
        "bge1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj",
        KNOWN_SECRET,
    ] {
        assert!(wrong.parse::<Recipient>().is_err(), "{wrong}");
    }
    for wrong in ["", "# nothing", KNOWN_PUBLIC] {
        assert!(Identity::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_sealed_is_opened_whatever_its_length() {
    for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 5] {
        let bytes = some_bytes(length);
        let sealed = sealed(&bytes);
        assert!(length < 32 || !sealed.windows(32).any(|part| part == &bytes[..32]));
        assert!(opened(&sealed, &identity()).unwrap() == bytes, "{length}");
    }
}

#[test]
fn another_key_opens_nothing() {
    let other = bech32::encode("age-secret-key-", &[9; 32]).to_ascii_uppercase();
    let other = Identity::parse(&other).unwrap();
    let error = opened(&sealed(b"hush"), &other).unwrap_err();
    assert!(error.to_string().contains("another key"), "{error}");
}

#[test]
fn each_change_and_each_cut_is_found() {
    let bytes = some_bytes(PIECE + 100);
    let whole = sealed(&bytes);
    let places = (0..300).chain([whole.len() / 2, whole.len() - 20, whole.len() - 1]);
    for place in places {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        let found = opened(&changed, &identity());
        assert!(found.is_err(), "a changed byte at {place}");
    }
    for length in [
        0,
        10,
        100,
        184,
        200,
        PIECE,
        PIECE + 216,
        whole.len() - 101,
        whole.len() - 1,
    ] {
        let found = opened(&whole[..length], &identity());
        assert!(found.is_err(), "cut at {length}");
    }
    let mut longer = whole;
    longer.push(0);
    assert!(opened(&longer, &identity()).is_err(), "one byte more");
}

#[test]
fn what_is_not_sealed_is_refused() {
    for bytes in [&b"manifest"[..], b"age-encryption.org/v2\n", &[0xff; 200]] {
        assert!(opened(bytes, &identity()).is_err());
    }
}

/// A sealed file with the header's stanzas as they are given; `OURS` stands for the one that
/// opens it, and its body for `BODY`.
fn with_stanzas(stanzas: &str) -> Vec<u8> {
    let random = Random::seeded(2);
    let file_key: [u8; FILE_KEY] = random.bytes();
    let recipient: Recipient = KNOWN_PUBLIC.parse().unwrap();
    let ours = recipient.wrap(&file_key, &random).unwrap();
    let body = ours.lines().nth(1).unwrap();
    let stanzas = stanzas.replace("OURS\n", &ours).replace("BODY", body);
    let header = format!("{VERSION}\n{stanzas}---");
    let mac = hmac::sign(&header_key(&file_key).unwrap(), header.as_bytes());
    let mut file = format!("{header} {}\n", BASE64.encode(mac)).into_bytes();
    file.extend_from_slice(&[7; 16]);
    let mut piece = b"hush".to_vec();
    payload_key(&file_key, &[7; 16])
        .unwrap()
        .seal_in_place_append_tag(nonce(0, true), aead::Aad::empty(), &mut piece)
        .unwrap();
    file.extend_from_slice(&piece);
    file
}

#[test]
fn stanzas_for_others_are_passed_over() {
    let full = "A".repeat(64);
    for stanzas in [
        "OURS\n".to_owned(),
        "-> other\n\nOURS\n".to_owned(),
        format!("-> other some arguments !\n{full}\n{full}\nAAAA\nOURS\n-> last\n{full}\n\n"),
        "OURS\nOURS\n".to_owned(),
    ] {
        let found = opened(&with_stanzas(&stanzas), &identity());
        assert_eq!(found.unwrap(), b"hush", "{stanzas}");
    }
}

#[test]
fn headers_that_are_not_as_the_format_says_are_refused() {
    let share = BASE64.encode([9; 32]);
    let low_order = BASE64.encode([0; 32]);
    let long = "A".repeat(65);
    for stanzas in [
        // Nobody can open it.
        String::new(),
        // No arguments, an empty one, one with what is none, lines that say nothing.
        "-> \n\nOURS\n".to_owned(),
        "-> other  argument\n\nOURS\n".to_owned(),
        "-> other \targument\n\nOURS\n".to_owned(),
        "->other\n\nOURS\n".to_owned(),
        "other\nOURS\n".to_owned(),
        // Bodies: too long a line, no last line, another form of Base64.
        format!("-> other\n{long}\nOURS\n"),
        format!("-> other\n{}\nOURS\n", "A".repeat(64)),
        "-> other\nAA==\nOURS\n".to_owned(),
        "-> other\nAB\nOURS\n".to_owned(),
        "-> other\nAA\nAA\nOURS\n".to_owned(),
        // Of our kind: another argument, none, one that is too short, a body that is too long,
        // a point that makes a secret which everybody knows.
        format!("-> X25519 {share} more\nBODY\nOURS\n"),
        "-> X25519\nBODY\nOURS\n".to_owned(),
        format!("-> X25519 {}\nBODY\nOURS\n", BASE64.encode([9; 31])),
        format!("-> X25519 {share}\n{}\nOURS\n", BASE64.encode([1; 33])),
        format!("-> X25519 {low_order}\nBODY\nOURS\n"),
        // A passphrase beside a key.
        "-> scrypt AAAAAAAAAAAAAAAAAAAAAA 10\nBODY\nOURS\n".to_owned(),
    ] {
        let error = opened(&with_stanzas(&stanzas), &identity()).unwrap_err();
        let error = error.to_string();
        assert_eq!(error, SealError::Foreign.to_string(), "{stanzas}");
    }
    // A header that never ends.
    let mut endless = format!("{VERSION}\n").into_bytes();
    endless.extend(b"-> other\n\n".repeat(1 << 16));
    assert!(opened(&endless, &identity()).is_err());
}
