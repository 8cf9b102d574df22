//! Pictures made by hand, as no test client has a library for them.

/// An RGBA picture, its upper half red and its lower half blue, as a PNG whose data is
/// not compressed.
pub fn png(width: u32, height: u32, alpha: u8) -> Vec<u8> {
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
pub fn png_of(width: u32, height: u32, colours: u8, interlace: u8, raw: &[u8]) -> Vec<u8> {
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

/// The width and height of a JPEG, PNG or GIF.
pub fn size(bytes: &[u8]) -> (u32, u32) {
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
