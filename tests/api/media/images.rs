//! Images made by hand, as no test client has a library for them.

/// An RGBA picture, its upper half red and its lower half blue, as a PNG whose data is
/// not compressed.
pub(super) fn png(width: u32, height: u32, alpha: u8) -> Vec<u8> {
    let mut raw = Vec::new();
    for y in 0..height {
        raw.push(0);
        for _ in 0..width {
            let colour = if y < height / 2 {
                [255, 0, 0]
            } else {
                [0, 0, 255]
            };
            raw.extend(colour);
            raw.push(alpha);
        }
    }
    png_of(width, height, 6, 0, &raw)
}

/// A PNG with these rows, each with its filter byte.
pub(super) fn png_of(width: u32, height: u32, colours: u8, interlace: u8, raw: &[u8]) -> Vec<u8> {
    let mut header = width.to_be_bytes().to_vec();
    header.extend(height.to_be_bytes());
    header.extend([8, colours, 0, 0, interlace]);
    let mut data = vec![0x78, 1];
    let mut blocks = raw.chunks(65_535).peekable();
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        data.push(u8::from(blocks.peek().is_none()));
        data.extend(length.to_le_bytes());
        data.extend((!length).to_le_bytes());
        data.extend(block);
    }
    data.extend(adler32(raw).to_be_bytes());
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, content) in [(b"IHDR", &header), (b"IDAT", &data), (b"IEND", &Vec::new())] {
        bytes.extend((content.len() as u32).to_be_bytes());
        let at = bytes.len();
        bytes.extend(kind);
        bytes.extend(content);
        bytes.extend(crc32(&bytes[at..]).to_be_bytes());
    }
    bytes
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    (b << 16) | a
}

fn crc32(bytes: &[u8]) -> u32 {
    let table: Vec<u32> = (0..256_u32)
        .map(|number| {
            (0..8).fold(number, |crc, _| {
                if crc & 1 == 1 {
                    0xedb8_8320 ^ (crc >> 1)
                } else {
                    crc >> 1
                }
            })
        })
        .collect();
    let step = |crc: u32, byte: &u8| table[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8);
    !bytes.iter().fold(u32::MAX, step)
}

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

/// The width and height of a JPEG, PNG or GIF.
pub(super) fn size(bytes: &[u8]) -> (u32, u32) {
    let number = |at: usize| u32::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    match bytes[0] {
        0x89 => (number(18), number(22)),
        b'G' => (
            u16::from_le_bytes([bytes[6], bytes[7]]).into(),
            u16::from_le_bytes([bytes[8], bytes[9]]).into(),
        ),
        _ => {
            let mut at = 2;
            while !matches!(bytes[at + 1], 0xc0..=0xc2) {
                at += 2 + number(at + 2) as usize;
            }
            (number(at + 7), number(at + 5))
        }
    }
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
