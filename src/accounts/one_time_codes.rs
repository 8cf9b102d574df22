//! One-time codes of six digits that an app makes of a secret and the time (RFC 6238).

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;

/// Bytes of a secret, as RFC 4226 wants them.
pub(crate) const SECRET_BYTES: usize = 20;
/// How long a code is shown, in ms.
const STEP: u64 = 30_000;
/// How many steps a person's clock may be off, in either direction.
const WINDOW: u64 = 1;
/// Codes below this have six digits.
const CODES: u32 = 1_000_000;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The code of one step.
fn code(secret: &[u8], step: u64) -> Option<String> {
    let mut hmac = Hmac::<Sha1>::new_from_slice(secret).ok()?;
    hmac.update(&step.to_be_bytes());
    let hash = hmac.finalize().into_bytes();
    let offset = usize::from(hash.last()? & 15);
    let four: [u8; 4] = hash.get(offset..offset + 4)?.try_into().ok()?;
    let number = (u32::from_be_bytes(four) & 0x7fff_ffff) % CODES;
    Some(format!("{number:06}"))
}

/// The step whose code was typed, if it is one of now and newer than `last_step`.
pub(crate) fn step_of(secret: &[u8], typed: &str, now: u64, last_step: u64) -> Option<u64> {
    let typed: String = typed.chars().filter(|one| !one.is_whitespace()).collect();
    let present = now / STEP;
    let steps = present.saturating_sub(WINDOW)..=present.saturating_add(WINDOW);
    let mut found = None;
    for step in steps {
        let right = code(secret, step)?;
        let is_right: bool = right.as_bytes().ct_eq(typed.as_bytes()).into();
        if is_right && step > last_step {
            found = Some(step);
        }
    }
    found
}

/// A secret as people type it into an app.
pub(crate) fn base32(secret: &[u8]) -> String {
    let mut text = String::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in secret {
        bits = (bits << 8) | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(char::from(BASE32[(bits >> count) as usize & 31]));
        }
    }
    if count > 0 {
        text.push(char::from(BASE32[(bits << (5 - count)) as usize & 31]));
    }
    text
}

/// The address that an app reads from a QR code.
pub(crate) fn address(issuer: &str, account: &str, secret: &[u8]) -> String {
    let escaped = |text: &str| {
        let letters = text.bytes().map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'@' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        });
        letters.collect::<String>()
    };
    let (issuer, account) = (escaped(issuer), escaped(account));
    let secret = base32(secret);
    format!("otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B, the last six digits; times in seconds.
        let secret = b"12345678901234567890";
        for (seconds, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000_u64, "353130"),
        ] {
            assert_eq!(code(secret, seconds / 30).unwrap(), expected);
            let step = step_of(secret, expected, seconds * 1_000, 0);
            assert_eq!(step, Some(seconds / 30));
        }
    }

    #[test]
    fn a_code_counts_once_and_for_one_step_more() {
        let secret = b"12345678901234567890";
        let at = 1_111_111_111_000;
        let step = at / STEP;
        let typed = code(secret, step).unwrap();
        assert_eq!(step_of(secret, &typed, at, step - 1), Some(step));
        assert_eq!(step_of(secret, " 050 471 ", at, 0), Some(step));
        assert_eq!(step_of(secret, &typed, at, step), None, "used");
        assert_eq!(step_of(secret, &typed, at, step + 1), None, "older");
        assert_eq!(step_of(secret, &typed, at + STEP, 0), Some(step));
        assert_eq!(step_of(secret, &typed, at - STEP, 0), Some(step));
        assert_eq!(step_of(secret, &typed, at + 2 * STEP, 0), None);
        assert_eq!(step_of(secret, &typed, at - 2 * STEP, 0), None);
        for wrong in ["", "05047", "0504711", "050472", "abcdef"] {
            assert_eq!(step_of(secret, wrong, at, 0), None, "{wrong}");
        }
    }

    #[test]
    fn secrets_are_written_for_people_and_apps() {
        for (bytes, expected) in [
            (&b""[..], ""),
            (b"f", "MY"),
            (b"foobar", "MZXW6YTBOI"),
            (b"12345678901234567890", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
        ] {
            assert_eq!(base32(bytes), expected);
        }
        assert_eq!(
            address("a.test", "@anna:a.test", b"foobar"),
            "otpauth://totp/a.test:@anna%3Aa.test?secret=MZXW6YTBOI&issuer=a.test"
        );
    }
}
