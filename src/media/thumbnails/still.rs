//! Still thumbnails: the picture, or the first one of an animation.

use std::{
    io::{BufReader, Seek as _},
    num::NonZeroU64,
};

use image::{
    ExtendedColorType, ImageDecoder as _, ImageEncoder as _, codecs::jpeg, metadata::Orientation,
};
use model::ImageFormat;

use super::{
    Failure, Image, Original, most_bytes,
    probe::Probe,
    shrink::{Picture, Shrinker},
    size::{Kind, Plan},
};

/// How good JPEG thumbnails are, of 100.
const QUALITY: u8 = 82;
/// The longest side of a thumbnail of a PNG that stays one, in pixels: of drawings and letters
/// this small a JPEG leaves little, and saves little.
const SMALL_SIDE: u32 = 96;
/// The longest colour profile that a thumbnail keeps, in bytes.
const MOST_PROFILE_BYTES: usize = 16 * 1_024;
/// The longest EXIF block that is looked into, in bytes.
const MOST_EXIF_BYTES: usize = 256 * 1_024;

/// How a decoder's rows become a thumbnail.
struct Making {
    /// EXIF's orientation, 1 to 8.
    orientation: u8,
    shrinker: Shrinker,
}

impl Making {
    fn new(probe: &Probe, kind: Kind, orientation: u8, channels: usize) -> Self {
        let plan = plan(probe, kind, orientation);
        Self {
            orientation,
            shrinker: Shrinker::new(plan, channels),
        }
    }

    /// Takes all rows at once.
    fn push_all(&mut self, pixels: &[u8], row_bytes: usize) {
        for row in pixels.chunks_exact(row_bytes.max(1)) {
            self.shrinker.push(row);
        }
    }

    fn finish(self) -> Result<Picture, Failure> {
        let picture = self.shrinker.finish().ok_or(Failure::NoImage)?;
        Ok(picture.oriented(self.orientation))
    }
}

/// What is shown of a picture as it lies in its file, which may be turned. All of it if
/// it need not be made smaller.
fn plan(probe: &Probe, kind: Kind, orientation: u8) -> Plan {
    let kind = if orientation >= 5 {
        kind.turned()
    } else {
        kind
    };
    let whole = Plan {
        part: [0, 0, probe.width, probe.height],
        width: probe.width,
        height: probe.height,
    };
    kind.plan(probe.width, probe.height).unwrap_or(whole)
}

/// Makes a still thumbnail, a PNG if it is transparent anywhere or a small one of a PNG, and a
/// JPEG if not.
pub(super) fn make(file: &Original, probe: &Probe, kind: Kind) -> Result<Image, Failure> {
    let length = file.length()?;
    if length > most_bytes(probe.format) {
        return Err(Failure::TooLarge);
    }
    let mut reader = BufReader::new(file);
    reader.rewind()?;
    let (picture, profile) = match probe.format {
        ImageFormat::Jpeg => from_jpeg(reader, probe, kind)?,
        ImageFormat::Png => (from_png(reader, probe, kind)?, None),
        ImageFormat::Gif => (from_gif(reader, probe, kind)?, None),
        ImageFormat::Webp => (from_webp(reader, probe, kind)?, None),
    };
    let is_small = picture.width.max(picture.height) <= SMALL_SIDE;
    let is_transparent = picture.is_transparent();
    if is_transparent || (is_small && probe.format == ImageFormat::Png) {
        let picture = if is_transparent {
            picture
        } else {
            picture.opaque()
        };
        Ok(Image {
            format: ImageFormat::Png,
            bytes: to_png(&picture)?,
        })
    } else {
        Ok(Image {
            format: ImageFormat::Jpeg,
            bytes: to_jpeg(&picture.opaque(), profile)?,
        })
    }
}

fn orientation(exif: Option<&[u8]>) -> u8 {
    exif.filter(|exif| exif.len() <= MOST_EXIF_BYTES)
        .and_then(Orientation::from_exif_chunk)
        .map_or(1, Orientation::to_exif)
}

/// The picture, and its colour profile if that fits a thumbnail.
fn from_jpeg(
    reader: BufReader<&Original>,
    probe: &Probe,
    kind: Kind,
) -> Result<(Picture, Option<Vec<u8>>), Failure> {
    let mut decoder = jpeg::JpegDecoder::new(reader).map_err(|_| Failure::NoImage)?;
    if decoder.dimensions() != (probe.width, probe.height) {
        return Err(Failure::NoImage);
    }
    let exif = decoder.exif_metadata().ok().flatten();
    // The profile of a picture in other colours than RGB does not fit what becomes of it.
    let fits = |profile: &Vec<u8>| {
        profile.len() <= MOST_PROFILE_BYTES && profile.get(16..20) == Some(b"RGB ")
    };
    let profile = decoder.icc_profile().ok().flatten().filter(fits);
    let channels = usize::from(decoder.color_type().channel_count());
    let mut making = Making::new(probe, kind, orientation(exif.as_deref()), channels);
    let row_bytes = probe.width as usize * channels;
    let mut pixels = vec![0; row_bytes * probe.height as usize];
    decoder
        .read_image(&mut pixels)
        .map_err(|_| Failure::NoImage)?;
    making.push_all(&pixels, row_bytes);
    let profile = profile.filter(|_| channels == 3);
    Ok((making.finish()?, profile))
}

fn from_png(reader: BufReader<&Original>, probe: &Probe, kind: Kind) -> Result<Picture, Failure> {
    let mut decoder = png_decoder(reader);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|_| Failure::NoImage)?;
    if reader.info().size() != (probe.width, probe.height) {
        return Err(Failure::NoImage);
    }
    let channels = reader.output_color_type().0.samples();
    let orientation = orientation(reader.info().exif_metadata.as_deref());
    let mut making = Making::new(probe, kind, orientation, channels);
    if reader.info().interlaced {
        let row_bytes = probe.width as usize * channels;
        let mut pixels = vec![0; row_bytes * probe.height as usize];
        reader
            .next_frame(&mut pixels)
            .map_err(|_| Failure::NoImage)?;
        making.push_all(&pixels, row_bytes);
    } else {
        while !making.shrinker.is_done() {
            match reader.next_row().map_err(|_| Failure::NoImage)? {
                Some(row) => making.shrinker.push(row.data()),
                None => return Err(Failure::NoImage),
            }
        }
    }
    making.finish()
}

/// A PNG decoder that takes little memory and looks at nothing but the picture.
pub(super) fn png_decoder(reader: BufReader<&Original>) -> png::Decoder<BufReader<&Original>> {
    let limits = png::Limits { bytes: 32 << 20 };
    let mut decoder = png::Decoder::new_with_limits(reader, limits);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder
}

/// The first frame of a GIF on a transparent ground.
fn from_gif(reader: BufReader<&Original>, probe: &Probe, kind: Kind) -> Result<Picture, Failure> {
    let mut decoder = gif_decoder(reader, probe)?;
    let global = decoder.global_palette().map(<[u8]>::to_vec);
    let frame = decoder.read_next_frame().map_err(|_| Failure::NoImage)?;
    let frame = frame.ok_or(Failure::NoImage)?;
    let palette = frame.palette.as_ref().or(global.as_ref());
    let palette = palette.ok_or(Failure::NoImage)?;
    let mut making = Making::new(probe, kind, 1, 4);
    let mut canvas = vec![0; probe.width as usize * 4];
    for y in 0..probe.height {
        canvas.fill(0);
        draw_gif_row(&mut canvas, frame, palette, y);
        making.shrinker.push(&canvas);
    }
    making.finish()
}

/// A GIF decoder that takes no more memory than the probe has counted.
pub(super) fn gif_decoder<'a>(
    reader: BufReader<&'a Original>,
    probe: &Probe,
) -> Result<gif::Decoder<BufReader<&'a Original>>, Failure> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::Indexed);
    let limit = NonZeroU64::MIN.saturating_add(probe.pixels().max(64 * 1_024));
    options.set_memory_limit(gif::MemoryLimit::Bytes(limit));
    options.allow_unknown_blocks(true);
    options.read_info(reader).map_err(|_| Failure::NoImage)
}

/// Draws what a frame has at height `y` over a row of the canvas, RGBA.
pub(super) fn draw_gif_row(row: &mut [u8], frame: &gif::Frame<'_>, palette: &[u8], y: u32) {
    let width = usize::from(frame.width);
    let Some(y) = y.checked_sub(frame.top.into()) else {
        return;
    };
    let from = y as usize * width;
    let Some(indexes) = frame.buffer.get(from..from + width) else {
        return;
    };
    let pixels = row.as_chunks_mut::<4>().0;
    let pixels = pixels
        .get_mut(usize::from(frame.left)..)
        .unwrap_or_default();
    for (pixel, index) in pixels.iter_mut().zip(indexes) {
        if frame.transparent == Some(*index) {
            continue;
        }
        let at = usize::from(*index) * 3;
        if let Some([red, green, blue]) = palette.get(at..at + 3) {
            *pixel = [*red, *green, *blue, 255];
        }
    }
}

fn from_webp(reader: BufReader<&Original>, probe: &Probe, kind: Kind) -> Result<Picture, Failure> {
    let mut decoder = webp_decoder(reader, probe)?;
    let exif = decoder.exif_metadata().ok().flatten();
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut making = Making::new(probe, kind, orientation(exif.as_deref()), channels);
    let row_bytes = probe.width as usize * channels;
    let mut pixels = vec![0; row_bytes * probe.height as usize];
    decoder
        .read_image(&mut pixels)
        .map_err(|_| Failure::NoImage)?;
    making.push_all(&pixels, row_bytes);
    making.finish()
}

/// A WebP decoder for exactly what the probe has seen.
pub(super) fn webp_decoder<'a>(
    reader: BufReader<&'a Original>,
    probe: &Probe,
) -> Result<image_webp::WebPDecoder<BufReader<&'a Original>>, Failure> {
    let mut decoder = image_webp::WebPDecoder::new(reader).map_err(|_| Failure::NoImage)?;
    decoder.set_memory_limit(MOST_EXIF_BYTES);
    if decoder.dimensions() != (probe.width, probe.height) {
        return Err(Failure::NoImage);
    }
    Ok(decoder)
}

fn to_jpeg(picture: &Picture, profile: Option<Vec<u8>>) -> Result<Vec<u8>, Failure> {
    let colours = match picture.channels {
        1 => ExtendedColorType::L8,
        _ => ExtendedColorType::Rgb8,
    };
    let mut bytes = Vec::new();
    let mut encoder = jpeg::JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    if let Some(profile) = profile {
        // A thumbnail without its profile is better than none.
        let _ = encoder.set_icc_profile(profile);
    }
    encoder
        .write_image(&picture.pixels, picture.width, picture.height, colours)
        .map_err(|_| Failure::NoImage)?;
    Ok(bytes)
}

fn to_png(picture: &Picture) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, picture.width, picture.height);
    encoder.set_color(match picture.channels {
        1 => png::ColorType::Grayscale,
        2 => png::ColorType::GrayscaleAlpha,
        3 => png::ColorType::Rgb,
        _ => png::ColorType::Rgba,
    });
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(|_| Failure::NoImage)?;
    writer
        .write_image_data(&picture.pixels)
        .and_then(|()| writer.finish())
        .map_err(|_| Failure::NoImage)?;
    Ok(bytes)
}
