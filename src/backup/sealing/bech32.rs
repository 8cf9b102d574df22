//! Keys as text: Bech32 (BIP 173), of any length.

const LETTERS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
/// Values of the sum at the end.
const SUM: usize = 6;

/// Writes bytes with the prefix `name`, in lower case.
pub(super) fn encode(name: &str, bytes: &[u8]) -> String {
    let mut values = regrouped(bytes, 8, 5, true).unwrap_or_default();
    let mut summed = prefix(name);
    summed.extend_from_slice(&values);
    summed.extend_from_slice(&[0; SUM]);
    let sum = polymod(&summed) ^ 1;
    values.extend((0..SUM).map(|place| ((sum >> (5 * (SUM - 1 - place))) & 31) as u8));
    let letter = |value: &u8| char::from(LETTERS[usize::from(*value & 31)]);
    format!("{name}1{}", values.iter().map(letter).collect::<String>())
}

/// Reads the bytes of a text with the prefix `name` (in lower case); none if it is not one.
pub(super) fn decode(name: &str, text: &str) -> Option<Vec<u8>> {
    // Either case, but not both.
    let lower = text.to_ascii_lowercase();
    if lower != text && text.to_ascii_uppercase() != text {
        return None;
    }
    let (found, data) = lower.rsplit_once('1')?;
    if found != name {
        return None;
    }
    let value = |letter: u8| LETTERS.iter().position(|known| *known == letter);
    let values = data
        .bytes()
        .map(|letter| value(letter).map(|value| value as u8));
    let values = values.collect::<Option<Vec<u8>>>()?;
    let mut summed = prefix(name);
    summed.extend_from_slice(&values);
    if polymod(&summed) != 1 {
        return None;
    }
    let length = values.len().checked_sub(SUM)?;
    regrouped(values.get(..length)?, 5, 8, false)
}

/// The prefix as values, for the sum.
fn prefix(name: &str) -> Vec<u8> {
    let high = name.bytes().map(|letter| letter >> 5);
    let low = name.bytes().map(|letter| letter & 31);
    high.chain([0]).chain(low).collect()
}

fn polymod(values: &[u8]) -> u32 {
    const GENERATOR: [u32; 5] = [
        0x3b6a_57b2,
        0x2650_8e6d,
        0x1ea1_19fa,
        0x3d42_33dd,
        0x2a14_62b3,
    ];
    values.iter().fold(1_u32, |sum, value| {
        let top = sum >> 25;
        let sum = ((sum & 0x01ff_ffff) << 5) ^ u32::from(*value);
        let bits = GENERATOR.iter().enumerate();
        let mixed = bits.filter(|(bit, _)| top >> bit & 1 == 1);
        mixed.fold(sum, |sum, (_, part)| sum ^ part)
    })
}

/// The same bits in groups of another size; what is left over is filled up with zeros, or
/// must be zeros.
fn regrouped(values: &[u8], from: u32, to: u32, fills: bool) -> Option<Vec<u8>> {
    let (mut held, mut bits) = (0_u32, 0);
    let mut groups = Vec::new();
    let mask = (1 << to) - 1;
    for value in values {
        held = held << from | u32::from(*value);
        bits += from;
        while bits >= to {
            bits -= to;
            groups.push((held >> bits & mask) as u8);
        }
        held &= (1 << bits) - 1;
    }
    if fills {
        if bits > 0 {
            groups.push((held << (to - bits) & mask) as u8);
        }
    } else if bits >= from || held != 0 {
        return None;
    }
    Some(groups)
}
