//! Ed25519 signatures, and which of them mean nothing.
//!
//! A few points of the curve are of so small an order that with them as the key, or within the
//! signature, one signature holds for many texts: about every fourth for some. RFC 8032 lets them
//! pass, and so does the library below; libsodium, with which Synapse verifies, does not. Servers
//! must agree on who has signed an event, and nobody has anything to gain from such a key but who
//! wants them to differ.

use ruma_common::SigningKeyAlgorithm;

use crate::Reason;

/// The y of all points of small order, least byte first, without the sign of x.
const SMALL: [[u8; 32]; 5] = [
    [0; 32],
    [
        1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0x7f,
    ],
];

/// Verifies a signature over a text. All signatures of servers are verified here.
///
/// # Errors
/// [`Reason::BadKey`] if it is not valid, the key is none, or either means nothing.
pub fn verify_bytes(
    algorithm: &SigningKeyAlgorithm,
    public_key: &[u8],
    signature: &[u8],
    text: &[u8],
) -> Result<(), Reason> {
    if !is_telling(public_key) || !is_telling(signature) {
        return Err(Reason::BadKey(
            "such a key or signature would fit many texts".to_owned(),
        ));
    }
    ruma_signatures::verify_canonical_json_bytes(algorithm, public_key, signature, text)
        .map_err(|error| Reason::BadKey(error.to_string()))
}

/// Whether the point that stands first is written as it should be, and of the large order.
fn is_telling(bytes: &[u8]) -> bool {
    let Some(mut y) = bytes.first_chunk::<32>().copied() else {
        return false;
    };
    y[31] &= 0x7f;
    // At least 2^255 - 19: there is a shorter way to write it.
    let is_long = y[0] >= 0xed && y[1..31].iter().all(|byte| *byte == 0xff) && y[31] == 0x7f;
    !is_long && !SMALL.contains(&y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;
    use ruma_signatures::KeyPair as _;

    fn verify(key: &[u8], signature: &[u8], text: &str) -> bool {
        let algorithm = SigningKeyAlgorithm::Ed25519;
        verify_bytes(&algorithm, key, signature, text.as_bytes()).is_ok()
    }

    #[test]
    fn a_key_that_fits_every_text_fits_none() {
        let texts: Vec<String> = (0..32).map(|number| format!("text {number}")).collect();
        // As the library has it, one of them does fit.
        let algorithm = SigningKeyAlgorithm::Ed25519;
        let fits = |text: &&String| {
            let text = text.as_bytes();
            ruma_signatures::verify_canonical_json_bytes(&algorithm, &[0; 32], &[0; 64], text)
                .is_ok()
        };
        assert!(texts.iter().filter(fits).count() > 1);
        for y in SMALL {
            for sign in [0, 0x80] {
                let mut point = y;
                point[31] |= sign;
                let mut signature = [0; 64];
                for r in SMALL {
                    signature[..32].copy_from_slice(&r);
                    assert!(!texts.iter().any(|text| verify(&point, &signature, text)));
                }
            }
        }
    }

    #[test]
    fn what_was_signed_is_verified() {
        let key = SigningKey::generate([7; 32], "test".to_owned()).unwrap();
        for number in 0..64 {
            let text = format!("text {number}");
            let signature = key.pair().sign(text.as_bytes());
            let public = key.pair().public_key();
            assert!(verify(&public, signature.as_bytes(), &text));
            assert!(!verify(&public, signature.as_bytes(), "another"));
            assert!(!verify(&public[..31], signature.as_bytes(), &text));
        }
    }
}
