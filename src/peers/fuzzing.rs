//! What the fuzz targets of `../../tests/fuzz` call: what is made of bytes from outside, and
//! what must hold of it. There in tests and in fuzzing only.

use graph::SigningKey;
use http::{HeaderMap, HeaderValue, header};
use ruma_common::ServerName;
use runtime::Timestamp;

use crate::{
    AuthorityKey, PeerList, discovery,
    json::{self, MAX_DEPTH},
    keys::Document,
    listed::PeerListError,
    signing::{XMatrix, signed_text},
    well_known,
};

/// The time here, in ms since the Unix epoch.
const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// The server in whose name things are said here.
const SERVER: &str = "a.example";

/// The header in which a server says who it is.
pub fn x_matrix(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let Some(claim) = XMatrix::parse(text) else {
        return;
    };
    let servers = (claim.origin.as_str(), SERVER);
    let signed = signed_text(("GET", text), servers, None);
    assert!(json::canonical(signed.as_bytes()).is_ok_and(|canonical| canonical == signed));
    // What can stand in our own headers is read as it was written.
    let texts = [
        Some(&claim.origin),
        claim.destination.as_ref(),
        Some(&claim.key),
        Some(&claim.sig),
    ];
    let is_plain = |text: Option<&String>| text.is_some_and(|text| !text.contains(['"', '\\']));
    let header = claim.header();
    if header.len() <= 4_096 && texts.into_iter().all(is_plain) {
        assert_eq!(XMatrix::parse(&header), Some(claim));
    }
}

/// The document in which a host names who speaks for it, after a line of `Cache-Control`; and
/// where that server would be looked for.
pub fn well_known(bytes: &[u8]) {
    let (line, document) = two_lines(bytes);
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(line) {
        headers.insert(header::CACHE_CONTROL, value);
    }
    let lifetime = well_known::lifetime(&headers).as_secs();
    assert!((300..=172_800).contains(&lifetime), "{lifetime}");
    let Ok(server) = well_known::delegate(document) else {
        return;
    };
    if let Some(place) = discovery::named_place(&server, Vec::new()) {
        assert!(place.host.eq_ignore_ascii_case(server.as_str()));
    }
}

/// The document in which a server names its keys.
pub fn key_document(bytes: &[u8]) {
    let (Ok(mut object), Ok(server), Some(key)) = (
        graph::canonical(bytes, MAX_DEPTH),
        ServerName::parse(SERVER),
        key(),
    ) else {
        return;
    };
    let unsigned = Document::check(&server, object.clone(), NOW);
    // Signed by a key that is in it or not.
    if key.sign_json(&server, &mut object).is_err() {
        return;
    }
    let Ok(document) = Document::check(&server, object, NOW) else {
        return;
    };
    assert!(document.keys.len() <= 100);
    let own = document.keys.get(key.key_id());
    // The last letter has bits that do not count.
    let public = key.public_base64();
    let is_signed = own.is_some_and(|record| record.key.get(..42) == public.get(..42));
    assert!(is_signed || unsigned.is_ok(), "nobody has signed this");
    let longest = NOW.0 + 7 * 24 * 60 * 60 * 1_000;
    assert!(!is_signed || own.is_none_or(|own| own.valid_until <= longest));
}

/// The list of a closed federation, signed whatever it says.
pub fn peer_list(bytes: &[u8]) {
    let (Ok(mut object), Ok(signer), Some(key)) = (
        graph::canonical(bytes, MAX_DEPTH),
        ServerName::parse("authority"),
        key(),
    ) else {
        return;
    };
    let authority = AuthorityKey::of(&key);
    assert!(matches!(
        PeerList::read(bytes, &authority),
        Err(PeerListError::Signature(_) | PeerListError::Unusable(_))
    ));
    if key.sign_json(&signer, &mut object).is_err() {
        return;
    }
    let Ok(text) = graph::canonical_text(&object) else {
        return;
    };
    let Ok(list) = PeerList::read(text.as_bytes(), &authority) else {
        return;
    };
    let again = list
        .sign(&key)
        .and_then(|text| PeerList::read(text.as_bytes(), &authority));
    assert_eq!(again.ok(), Some(list));
}

/// The content of a request as its signature is over it.
pub fn signed_content(bytes: &[u8]) {
    let Ok(text) = json::canonical(bytes) else {
        return;
    };
    assert!(json::is_shallow(bytes) && json::is_shallow(text.as_bytes()));
    let again = json::canonical(text.as_bytes());
    assert_eq!(again.as_deref(), Ok(text.as_str()));
    // It means the same to who reads it.
    let read = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok();
    assert_eq!(read(bytes), read(text.as_bytes()));
}

fn two_lines(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (&[], bytes),
    }
}

fn key() -> Option<SigningKey> {
    SigningKey::generate([7; 32], "fuzz".to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use crate::seeds::each;

    #[test]
    fn seeds() {
        each("x_matrix", super::x_matrix);
        each("well_known", super::well_known);
        each("key_document", super::key_document);
        each("peer_list", super::peer_list);
        each("signed_content", super::signed_content);
    }
}
