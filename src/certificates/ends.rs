//! When a certificate ends: the one thing in it that an operator must know in time.

use runtime::Timestamp;

/// Tags of X.690 that lead to the validity.
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// When the certificate with these bytes (X.509 in DER) ends; none if it cannot be read.
pub fn ends_at(certificate: &[u8]) -> Option<Timestamp> {
    let (signed, _) = value(certificate, SEQUENCE)?;
    let (mut rest, _) = value(signed, SEQUENCE)?;
    if let Some((_, after)) = value(rest, VERSION) {
        rest = after;
    }
    // Serial number, signature algorithm, issuer.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        rest = value(rest, tag)?.1;
    }
    let (validity, _) = value(rest, SEQUENCE)?;
    let (_, rest) = time(validity)?;
    Some(time(rest)?.0)
}

/// The content of the value with this tag at the front of `bytes`, and what follows it.
fn value(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(2)?;
    let [found, length] = *head else { return None };
    if found != tag {
        return None;
    }
    if length < 0x80 {
        return rest.split_at_checked(usize::from(length));
    }
    let digits = usize::from(length & 0x7f);
    if digits > 4 {
        return None;
    }
    let (digits, rest) = rest.split_at_checked(digits)?;
    let length = digits
        .iter()
        .fold(0, |length, digit| length << 8 | usize::from(*digit));
    rest.split_at_checked(length)
}

/// The time at the front of `bytes`, and what follows it.
fn time(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (text, rest, is_short) = match value(bytes, UTC_TIME) {
        Some((text, rest)) => (text, rest, true),
        None => {
            let (text, rest) = value(bytes, GENERALIZED_TIME)?;
            (text, rest, false)
        }
    };
    let text = str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, text) = match is_short {
        // Two digits: 50 to 99 are in the last century (RFC 5280, 4.1.2.5.1).
        true => (number(0, 2)?, text.get(2..)?),
        false => (number(0, 4)?, text.get(4..)?),
    };
    let year = match (is_short, year) {
        (true, ..50) => 2_000 + year,
        (true, _) => 1_900 + year,
        (false, _) => year,
    };
    let number = |from: usize| text.get(from..from + 2)?.parse::<u64>().ok();
    let days = days_before(year, number(0)?, number(2)?)?;
    let seconds = number(4)? * 3_600 + number(6)? * 60 + number(8)?;
    Some((Timestamp((days * 86_400 + seconds) * 1_000), rest))
}

/// The days from 1970-01-01 to a day of the Gregorian calendar; none for days before.
fn days_before(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March, so that the leap day is the last.
    let (year, month) = match month {
        1 | 2 => (year.checked_sub(1)?, month + 9),
        _ => (year, month - 3),
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400;
    (days + (153 * month + 2) / 5 + day - 1).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(tag: u8, text: &str) -> Vec<u8> {
        let mut bytes = vec![tag, u8::try_from(text.len()).unwrap()];
        bytes.extend(text.bytes());
        bytes
    }

    #[test]
    fn both_forms_of_time_are_read() {
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", "1970-01-01T00:00:00.000Z"),
            (UTC_TIME, "491231235959Z", "2049-12-31T23:59:59.000Z"),
            (UTC_TIME, "240229120000Z", "2024-02-29T12:00:00.000Z"),
            (
                GENERALIZED_TIME,
                "20500101000000Z",
                "2050-01-01T00:00:00.000Z",
            ),
            (
                GENERALIZED_TIME,
                "21000301000000Z",
                "2100-03-01T00:00:00.000Z",
            ),
        ] {
            let bytes = text_of(tag, text);
            let (found, rest) = time(&bytes).unwrap();
            assert_eq!(found.to_string(), expected);
            assert!(rest.is_empty());
        }
        for text in [
            "",
            "Z",
            "7001010000Z",
            "701301000000Z",
            "x00101000000Z",
            "500101000000Z",
        ] {
            assert_eq!(time(&text_of(UTC_TIME, text)), None, "{text}");
        }
    }

    #[test]
    fn a_certificate_says_when_it_ends() {
        let key = rcgen::KeyPair::generate().unwrap();
        for (year, expected) in [
            (2_031, "2031-07-09T00:00:00.000Z"),
            (2_061, "2061-07-09T00:00:00.000Z"),
        ] {
            let mut wanted = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
            wanted.not_after = rcgen::date_time_ymd(year, 7, 9);
            let made = wanted.self_signed(&key).unwrap();
            assert_eq!(ends_at(made.der()).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        for bytes in [
            &[][..],
            &[0x30],
            &[0x30, 0x80],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 0x02, 0x30, 0x00],
            &[0x30, 0x85, 1, 1, 1, 1, 1],
        ] {
            assert_eq!(ends_at(bytes), None);
        }
    }
}
