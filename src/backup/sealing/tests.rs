//! Sealing and opening again.

use std::io::{Read as _, Write as _};

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
