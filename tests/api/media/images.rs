//! Images made by hand, as no test client has a library for them.

pub(super) use harness::pictures::{png, png_of, size};

/// A GIF of black and white frames in turn, each of which fills the picture.
pub(super) fn gif(width: u16, height: u16, frames: usize) -> Vec<u8> {
    let mut bytes = b"GIF89a".to_vec();
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes.extend([0x80, 0, 0, 0, 0, 0, 255, 255, 255]);
    for number in 0..frames {
        bytes.extend(b"!\xf9\x04\x04\x0a\0\0\0,\0\0\0\0");
        bytes.extend(width.to_le_bytes());
        bytes.extend(height.to_le_bytes());
        bytes.extend([0, 7]);
        // Codes of 8 bits: 128 clears the table before it needs longer ones.
        let (clear, end) = (128_u8, 129_u8);
        let mut codes = Vec::new();
        for at in 0..usize::from(width) * usize::from(height) {
            if at % 100 == 0 {
                codes.push(clear);
            }
            codes.push((number % 2) as u8);
        }
        codes.push(end);
        for block in codes.chunks(255) {
            bytes.push(block.len() as u8);
            bytes.extend(block);
        }
        bytes.push(0);
    }
    bytes.push(b';');
    bytes
}

/// A black WebP of any size in some thirty bytes: a lossless bitstream in which no
/// pixel takes a bit.
pub(super) fn webp(width: u32, height: u32) -> Vec<u8> {
    let mut bits: Vec<bool> = Vec::new();
    let mut push = |value: u64, count: u32| {
        bits.extend((0..count).map(|bit| value >> bit & 1 == 1));
    };
    push(0x2f, 8);
    push(u64::from(width - 1), 14);
    push(u64::from(height - 1), 14);
    push(0, 1 + 3);
    // No transform, no colour cache, one group of prefix codes.
    push(0, 3);
    for symbol in [0_u64, 0, 0, 255, 0] {
        // A simple code of one symbol, which has one bit or eight.
        let is_long = u64::from(symbol > 1);
        push(1, 1);
        push(0, 1);
        push(is_long, 1);
        push(symbol, if symbol > 1 { 8 } else { 1 });
    }
    bits.resize(bits.len().next_multiple_of(16), false);
    let stream: Vec<u8> = bits
        .chunks(8)
        .map(|byte| {
            byte.iter()
                .rev()
                .fold(0, |sum, bit| sum << 1 | u8::from(*bit))
        })
        .collect();
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((stream.len() as u32 + 12).to_le_bytes());
    bytes.extend(b"WEBPVP8L");
    bytes.extend((stream.len() as u32).to_le_bytes());
    bytes.extend(stream);
    bytes
}

/// The same JPEG with the EXIF orientation 6: it lies on its side.
pub(super) fn turned(jpeg: &[u8]) -> Vec<u8> {
    let mut bytes = jpeg[..2].to_vec();
    bytes.extend(
        b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0",
    );
    bytes.extend(&jpeg[2..]);
    bytes
}
