//! What an image says of itself, read before anything is decoded.
//!
//! Only the bytes decide what kind of file it is: neither its name nor the content
//! type that came with it. Nothing here reads more than headers and the lengths of
//! blocks, and every walk ends after a bounded number of them.

use std::io::{self, Read, Seek, SeekFrom};

use model::ImageFormat;

/// The most frames of an animation. What has more is treated as a still picture.
pub(crate) const MOST_FRAMES: u32 = 500;
/// The most blocks before the one that says how large an image is.
const MOST_BLOCKS: usize = 1_000;

/// An image as its headers describe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) format: ImageFormat,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// How many frames its animation has; counted up to one more than [`MOST_FRAMES`].
    /// 1 for still pictures.
    pub(crate) frames: u32,
    /// How many bytes a decoder needs for each pixel, at most.
    pub(crate) bytes_per_pixel: u64,
}

impl Probe {
    /// The pixels of one frame.
    pub(crate) fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Makes it at least this large.
    fn grow(&mut self, width: u32, height: u32) {
        self.width = self.width.max(width);
        self.height = self.height.max(height);
    }
}

/// Reads the headers of an image. None if it is none of the four kinds, or its headers
/// are damaged.
pub(crate) fn probe<R: Read + Seek>(file: &mut R) -> io::Result<Option<Probe>> {
    let found = match read::<12, _>(file) {
        Ok([0xff, 0xd8, 0xff, ..]) => jpeg(file),
        Ok([0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..]) => png(file),
        Ok([b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..]) => gif(file),
        Ok([b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P']) => webp(file),
        Ok(_) => Ok(None),
        Err(error) => Err(error),
    };
    match found {
        // It ends in the middle of its headers.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Ok(Some(probe)) if probe.width == 0 || probe.height == 0 => Ok(None),
        found => found,
    }
}

fn read<const N: usize, R: Read>(file: &mut R) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn skip<R: Seek>(file: &mut R, bytes: u64) -> io::Result<()> {
    file.seek_relative(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// Walks over the segments to the frame header (ITU T.81, B.2.2).
fn jpeg<R: Read + Seek>(file: &mut R) -> io::Result<Option<Probe>> {
    file.seek(SeekFrom::Start(2))?;
    for _ in 0..MOST_BLOCKS {
        let [0xff, mut marker] = read(file)? else {
            return Ok(None);
        };
        // A marker may be preceded by any number of fill bytes; few are.
        for _ in 0..MOST_BLOCKS {
            if marker != 0xff {
                break;
            }
            [marker] = read(file)?;
        }
        match marker {
            // Markers without a segment.
            0x01 | 0xd0..=0xd7 => continue,
            // The image data or its end before a frame header.
            0xd8..=0xda => return Ok(None),
            _ => {}
        }
        let length = u16::from_be_bytes(read(file)?);
        // DHT, JPG and DAC lie in the same range as the frame headers.
        if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
            let [_, a, b, c, d, components] = read(file)?;
            let components = u64::from(components.clamp(1, 4));
            let is_progressive = !matches!(marker, 0xc0 | 0xc1);
            return Ok(Some(Probe {
                format: ImageFormat::Jpeg,
                width: u16::from_be_bytes([c, d]).into(),
                height: u16::from_be_bytes([a, b]).into(),
                frames: 1,
                // A progressive image is held as coefficients of two bytes each.
                bytes_per_pixel: 3 + if is_progressive { 2 * components } else { 0 },
            }));
        }
        skip(file, u64::from(length).saturating_sub(2))?;
    }
    Ok(None)
}

/// Reads IHDR, and acTL if it comes before the image data (PNG, third edition).
fn png<R: Read + Seek>(file: &mut R) -> io::Result<Option<Probe>> {
    file.seek(SeekFrom::Start(8))?;
    let mut probe: Option<Probe> = None;
    for _ in 0..MOST_BLOCKS {
        let [a, b, c, d, kind @ ..]: [u8; 8] = read(file)?;
        let mut length = u64::from(u32::from_be_bytes([a, b, c, d]));
        match (&kind, &mut probe) {
            (b"IHDR", None) if length == 13 => {
                let [a, b, c, d, e, f, g, h, _, _, _, _, interlace] = read(file)?;
                length = 0;
                probe = Some(Probe {
                    format: ImageFormat::Png,
                    width: u32::from_be_bytes([a, b, c, d]),
                    height: u32::from_be_bytes([e, f, g, h]),
                    frames: 1,
                    // It goes through row by row, unless its rows come interlaced.
                    bytes_per_pixel: if interlace == 0 { 0 } else { 4 },
                });
            }
            (_, None) => return Ok(None),
            (b"acTL", Some(probe)) if length == 8 => {
                let [a, b, c, d, _, _, _, _] = read(file)?;
                length = 0;
                probe.frames = u32::from_be_bytes([a, b, c, d]).clamp(1, MOST_FRAMES + 1);
            }
            (b"IDAT" | b"IEND", Some(_)) => break,
            (_, Some(_)) => {}
        }
        // The checksum is four bytes long.
        skip(file, length + 4)?;
    }
    Ok(probe)
}

/// Counts the frames, without decoding any (GIF89a).
fn gif<R: Read + Seek>(file: &mut R) -> io::Result<Option<Probe>> {
    file.seek(SeekFrom::Start(6))?;
    let [a, b, c, d, flags, _, _] = read(file)?;
    skip_palette(file, flags)?;
    let mut probe = Probe {
        format: ImageFormat::Gif,
        width: u16::from_le_bytes([a, b]).into(),
        height: u16::from_le_bytes([c, d]).into(),
        frames: 0,
        // The picture, and a frame as indexes.
        bytes_per_pixel: 5,
    };
    // A file that ends early has the frames that it has.
    match gif_frames(file, &mut probe) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ if probe.frames == 0 => Ok(None),
        _ => Ok(Some(probe)),
    }
}

fn gif_frames<R: Read + Seek>(file: &mut R, probe: &mut Probe) -> io::Result<()> {
    while probe.frames <= MOST_FRAMES {
        match read(file)? {
            // An extension: its label, then sub-blocks.
            [b'!'] => skip(file, 1)?,
            [b','] => {
                let [_, _, _, _, a, b, c, d, flags] = read(file)?;
                // A frame may be larger than the picture that it is a part of.
                probe.width = probe.width.max(u16::from_le_bytes([a, b]).into());
                probe.height = probe.height.max(u16::from_le_bytes([c, d]).into());
                skip_palette(file, flags)?;
                skip(file, 1)?;
                probe.frames += 1;
            }
            [_] => return Ok(()),
        }
        loop {
            match read(file)? {
                [0] => break,
                [length] => skip(file, length.into())?,
            }
        }
    }
    Ok(())
}

fn skip_palette<R: Seek>(file: &mut R, flags: u8) -> io::Result<()> {
    match flags & 0x80 {
        0 => Ok(()),
        _ => skip(file, 3 << ((flags & 7) + 1)),
    }
}

/// Looks at the chunks of a WebP file: the canvas, and every bitstream in it.
fn webp<R: Read + Seek>(file: &mut R) -> io::Result<Option<Probe>> {
    file.seek(SeekFrom::Start(12))?;
    let mut probe = Probe {
        format: ImageFormat::Webp,
        width: 0,
        height: 0,
        frames: 0,
        // A bitstream as the format has it, and the picture.
        bytes_per_pixel: 7,
    };
    match webp_chunks(file, &mut probe) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
        _ => {}
    }
    probe.frames = probe.frames.max(1);
    Ok(Some(probe))
}

fn webp_chunks<R: Read + Seek>(file: &mut R, probe: &mut Probe) -> io::Result<()> {
    for _ in 0..MOST_BLOCKS {
        let chunk = Chunk::begin(file)?;
        match &chunk.kind {
            b"VP8X" if chunk.length >= 10 => {
                let [_, _, _, _, a, b, c, d, e, f] = read(file)?;
                probe.grow(three(a, b, c) + 1, three(d, e, f) + 1);
            }
            // Frames hold whole chunks, which have even lengths with their padding:
            // decoders would not agree where the next one begins.
            b"ANMF" if chunk.length < 16 || chunk.length % 2 == 1 => break,
            b"ANMF" => {
                let [_, _, _, _, _, _, a, b, c, d, e, f, _, _, _, _] = read(file)?;
                probe.grow(three(a, b, c) + 1, three(d, e, f) + 1);
                probe.frames += 1;
                // A frame, the picture so far and what is shown of it.
                probe.bytes_per_pixel = 12;
                if webp_bitstream(file, probe)? {
                    // It was the alpha channel, which goes before the picture.
                    webp_bitstream(file, probe)?;
                }
                if probe.frames > MOST_FRAMES {
                    return Ok(());
                }
            }
            _ => {
                file.seek(SeekFrom::Start(chunk.start))?;
                webp_bitstream(file, probe)?;
            }
        }
        chunk.end(file)?;
    }
    // This is no picture: nothing is decoded that was not looked at.
    probe.frames = 1;
    probe.width = 0;
    Ok(())
}

/// Reads a chunk that may be a bitstream, and goes behind it. Returns whether it is an
/// alpha channel.
fn webp_bitstream<R: Read + Seek>(file: &mut R, probe: &mut Probe) -> io::Result<bool> {
    let chunk = Chunk::begin(file)?;
    match &chunk.kind {
        b"VP8 " if chunk.length >= 10 => {
            let [_, _, _, _, _, _, a, b, c, d] = read(file)?;
            let size = |a, b| u32::from(u16::from_le_bytes([a, b]) & 0x3fff);
            probe.grow(size(a, b), size(c, d));
        }
        b"VP8L" if chunk.length >= 5 => {
            let [_, a, b, c, d] = read(file)?;
            let size = u32::from_le_bytes([a, b, c, d]);
            probe.grow((size & 0x3fff) + 1, ((size >> 14) & 0x3fff) + 1);
        }
        _ => {}
    }
    chunk.end(file)?;
    Ok(&chunk.kind == b"ALPH")
}

/// A chunk of a WebP file.
struct Chunk {
    kind: [u8; 4],
    length: u64,
    /// Where its header begins.
    start: u64,
}

impl Chunk {
    /// Reads the header of the chunk at this place.
    fn begin<R: Read + Seek>(file: &mut R) -> io::Result<Self> {
        let start = file.stream_position()?;
        let [kind @ .., a, b, c, d]: [u8; 8] = read(file)?;
        let length = u64::from(u32::from_le_bytes([a, b, c, d]));
        Ok(Self {
            kind,
            length,
            start,
        })
    }

    /// Goes behind the chunk and its padding.
    fn end<R: Seek>(&self, file: &mut R) -> io::Result<()> {
        let end = self.start + 8 + self.length + self.length % 2;
        file.seek(SeekFrom::Start(end)).map(drop)
    }
}

fn three(a: u8, b: u8, c: u8) -> u32 {
    u32::from_le_bytes([a, b, c, 0])
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn probed(bytes: &[u8]) -> Option<(ImageFormat, u32, u32, u32, u64)> {
        let probe = probe(&mut Cursor::new(bytes)).unwrap()?;
        Some((
            probe.format,
            probe.width,
            probe.height,
            probe.frames,
            probe.bytes_per_pixel,
        ))
    }

    fn png(width: u32, height: u32, interlace: u8, frames: Option<u32>) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        bytes.extend(width.to_be_bytes());
        bytes.extend(height.to_be_bytes());
        bytes.extend([8, 6, 0, 0, interlace, 0, 0, 0, 0]);
        if let Some(frames) = frames {
            bytes.extend(b"\0\0\0\x08acTL");
            bytes.extend(frames.to_be_bytes());
            bytes.extend([0; 8]);
        }
        bytes.extend(b"\0\0\0\0IDAT\0\0\0\0");
        bytes
    }

    fn gif(width: u16, height: u16, frames: usize) -> Vec<u8> {
        let mut bytes = b"GIF89a".to_vec();
        bytes.extend(width.to_le_bytes());
        bytes.extend(height.to_le_bytes());
        bytes.extend([0x80, 0, 0, 0, 0, 0, 255, 255, 255]);
        for _ in 0..frames {
            bytes.extend(b"!\xf9\x04\0\x05\0\0\0");
            bytes.extend(b",\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0");
        }
        bytes.push(b';');
        bytes
    }

    fn webp(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut bytes = b"RIFF\0\0\0\0WEBP".to_vec();
        for (kind, content) in chunks {
            bytes.extend(*kind);
            bytes.extend((content.len() as u32).to_le_bytes());
            bytes.extend(*content);
            bytes.resize(bytes.len() + content.len() % 2, 0);
        }
        bytes
    }

    const CANVAS: &[u8] = &[2, 0, 0, 0, 0xff, 0x03, 0, 0xff, 0x01, 0];

    #[test]
    fn headers_are_read() {
        let jpeg = |marker: u8| {
            let mut bytes = vec![0xff, 0xd8, 0xff, 0xe1, 0, 6, 1, 2, 3, 4, 0xff, 0xff];
            bytes.extend([marker, 0, 17, 8, 0x02, 0x00, 0x03, 0x00, 3, 1, 0x22, 0]);
            bytes
        };
        let lossless = [0x2f, 0x3f, 0xc0, 0x0f, 0];
        let lossy = [0, 0, 0, 0x9d, 1, 0x2a, 0x40, 0x01, 0xf0, 0x40];
        let mut frame = vec![0; 6];
        frame.extend([0xff, 0, 0, 0xff, 0, 0, 0, 0, 0, 0]);
        let frames: Vec<(&[u8; 4], &[u8])> =
            vec![(b"VP8X", CANVAS), (b"ANMF", &frame), (b"ANMF", &frame)];
        use ImageFormat::{Gif, Jpeg, Png, Webp};
        for (bytes, expected) in [
            (jpeg(0xc0), Some((Jpeg, 768, 512, 1, 3))),
            (jpeg(0xc2), Some((Jpeg, 768, 512, 1, 9))),
            (jpeg(0xda), None),
            (png(640, 480, 0, None), Some((Png, 640, 480, 1, 0))),
            (
                png(30_000, 30_000, 1, None),
                Some((Png, 30_000, 30_000, 1, 4)),
            ),
            (png(64, 48, 0, Some(7)), Some((Png, 64, 48, 7, 0))),
            (png(64, 48, 0, Some(u32::MAX)), Some((Png, 64, 48, 501, 0))),
            (png(0, 48, 0, None), None),
            (gif(320, 200, 1), Some((Gif, 320, 200, 1, 5))),
            (gif(320, 200, 40), Some((Gif, 320, 200, 40, 5))),
            (gif(320, 200, 100_000), Some((Gif, 320, 200, 501, 5))),
            (gif(320, 200, 0), None),
            (webp(&[(b"VP8L", &lossless)]), Some((Webp, 64, 64, 1, 7))),
            (webp(&[(b"VP8 ", &lossy)]), Some((Webp, 320, 240, 1, 7))),
            (
                webp(&[(b"VP8X", CANVAS), (b"EXIF", b"odd"), (b"VP8L", &lossless)]),
                Some((Webp, 1_024, 512, 1, 7)),
            ),
            (webp(&frames), Some((Webp, 1_024, 512, 2, 12))),
        ] {
            assert_eq!(probed(&bytes), expected, "{:?}", bytes.get(..24));
        }
    }

    #[test]
    fn a_bitstream_larger_than_its_canvas_counts() {
        let canvas = [0, 0, 0, 0, 9, 0, 0, 9, 0, 0];
        let huge = [0, 0, 0, 0x9d, 1, 0x2a, 0xff, 0x3f, 0xff, 0x3f];
        let bytes = webp(&[(b"VP8X", &canvas), (b"VP8 ", &huge)]);
        assert_eq!(
            probed(&bytes),
            Some((ImageFormat::Webp, 16_383, 16_383, 1, 7))
        );
    }

    #[test]
    fn what_is_no_image_is_none() {
        let mut polyglot = b"GIF89a".to_vec();
        polyglot.extend(b"=1;/*<html><script>alert(1)</script>*/");
        for bytes in [
            b"".as_slice(),
            b"<html>",
            b"%PDF-1.7 long enough",
            b"\xff\xd8\xff",
            b"\xff\xd8\xff\xe0\0\x10JFIF\0 and then the end",
            b"RIFF\0\0\0\0WAVEfmt and so on",
            b"\x89PNG\r\n\x1a\n\0\0\0\x04sBIT\0\0\0\0",
            &polyglot,
        ] {
            assert_eq!(probed(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn cut_off_headers_never_fail() {
        let whole = [
            png(64, 48, 0, Some(3)),
            gif(320, 200, 3),
            webp(&[(b"VP8X", CANVAS), (b"VP8L", &[0x2f, 1, 2, 3, 4])]),
        ];
        for bytes in whole {
            for end in 0..bytes.len() {
                probe(&mut Cursor::new(&bytes[..end])).unwrap();
            }
        }
    }
}
