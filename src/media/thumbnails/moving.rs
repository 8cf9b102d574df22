//! Animated thumbnails: every frame made smaller, written as a GIF, which all clients
//! show.

use std::io::{BufReader, Seek as _};

use model::ImageFormat;

use super::{
    Failure, Image, Original, most_bytes,
    probe::Probe,
    shrink::Shrinker,
    size::Plan,
    still::{draw_gif_row, gif_decoder, png_decoder, webp_decoder},
};

/// The longest animated thumbnail, in bytes; the picture stays still if it were longer.
const MOST_BYTES: usize = 8 << 20;
/// How fast colours are chosen: 1 is best, 30 fastest.
const SPEED: i32 = 10;

/// What is shown, and for how long.
struct Shown<'a> {
    /// The whole picture.
    pixels: &'a [u8],
    /// 2 grey and alpha, 3 RGB, 4 RGB and alpha.
    channels: usize,
    /// In hundredths of a second.
    delay: u16,
}

/// Makes an animated thumbnail.
pub(super) fn make(file: &Original, probe: &Probe, plan: Plan) -> Result<Image, Failure> {
    if file.length()? > most_bytes(probe.format) {
        return Err(Failure::TooLarge);
    }
    let mut reader = BufReader::new(file);
    reader.rewind()?;
    let mut writer = Writer::new(probe, plan)?;
    match probe.format {
        ImageFormat::Gif => gif_frames(reader, probe, &mut writer)?,
        ImageFormat::Png => png_frames(reader, probe, &mut writer)?,
        ImageFormat::Webp => webp_frames(reader, probe, &mut writer)?,
        ImageFormat::Jpeg => return Err(Failure::NoImage),
    }
    writer.finish()
}

/// Writes frames.
struct Writer {
    plan: Plan,
    source_width: usize,
    frames: u32,
    encoder: gif::Encoder<Vec<u8>>,
}

impl Writer {
    fn new(probe: &Probe, plan: Plan) -> Result<Self, Failure> {
        let (width, height) = sides(plan)?;
        let mut encoder =
            gif::Encoder::new(Vec::new(), width, height, &[]).map_err(|_| Failure::NoImage)?;
        encoder
            .set_repeat(gif::Repeat::Infinite)
            .map_err(|_| Failure::NoImage)?;
        Ok(Self {
            plan,
            source_width: probe.width as usize,
            frames: 0,
            encoder,
        })
    }

    fn write(&mut self, shown: &Shown<'_>) -> Result<(), Failure> {
        let mut shrinker = Shrinker::new(self.plan, shown.channels);
        for row in shown
            .pixels
            .chunks_exact(self.source_width * shown.channels)
        {
            shrinker.push(row);
        }
        let picture = shrinker.finish().ok_or(Failure::NoImage)?;
        let mut pixels = Vec::with_capacity(picture.pixels.len() / picture.channels * 4);
        let mut is_transparent = false;
        for pixel in picture.pixels.chunks_exact(picture.channels) {
            let mut pixel = match *pixel {
                [grey, alpha] => [grey, grey, grey, alpha],
                [red, green, blue] => [red, green, blue, 255],
                [red, green, blue, alpha] => [red, green, blue, alpha],
                _ => return Err(Failure::NoImage),
            };
            // A pixel of a GIF is there or not.
            pixel[3] = if pixel[3] < 128 { 0 } else { 255 };
            is_transparent |= pixel[3] == 0;
            pixels.extend(pixel);
        }
        let (width, height) = sides(self.plan)?;
        let mut frame = gif::Frame::from_rgba_speed(width, height, &mut pixels, SPEED);
        frame.delay = shown.delay;
        // Or what is transparent would show the frame before.
        frame.dispose = match is_transparent {
            true => gif::DisposalMethod::Background,
            false => gif::DisposalMethod::Keep,
        };
        self.encoder
            .write_frame(&frame)
            .map_err(|_| Failure::NoImage)?;
        self.frames += 1;
        if self.encoder.get_ref().len() > MOST_BYTES {
            return Err(Failure::TooLarge);
        }
        Ok(())
    }

    fn finish(self) -> Result<Image, Failure> {
        if self.frames == 0 {
            return Err(Failure::NoImage);
        }
        let bytes = self.encoder.into_inner().map_err(|_| Failure::NoImage)?;
        Ok(Image {
            format: ImageFormat::Gif,
            bytes,
        })
    }
}

/// A thumbnail's width and height, which always fit a GIF.
fn sides(plan: Plan) -> Result<(u16, u16), Failure> {
    let side = |length: u32| u16::try_from(length).map_err(|_| Failure::TooLarge);
    Ok((side(plan.width)?, side(plan.height)?))
}

/// A part of the canvas: left, top, width, height, all within it.
type Part = [usize; 4];

/// What frames are drawn on, RGBA.
struct Canvas {
    width: usize,
    pixels: Vec<u8>,
    /// What the last frame leaves behind.
    after: After,
}

/// What becomes of a frame before the next one is drawn.
enum After {
    Stays,
    IsCleared(Part),
    IsTakenBack(Vec<u8>),
}

impl Canvas {
    fn new(probe: &Probe) -> Self {
        let width = probe.width as usize;
        Self {
            width,
            pixels: vec![0; width * probe.height as usize * 4],
            after: After::Stays,
        }
    }

    fn end_frame(&mut self) {
        match std::mem::replace(&mut self.after, After::Stays) {
            After::Stays => {}
            After::IsCleared(part) => {
                for row in self.rows(part) {
                    row.fill(0);
                }
            }
            After::IsTakenBack(pixels) => self.pixels = pixels,
        }
    }

    /// The part of each row that belongs to `part`.
    fn rows(&mut self, [left, top, width, height]: Part) -> impl Iterator<Item = &mut [u8]> {
        let left = left.min(self.width);
        let (from, to) = (left * 4, (left + width).min(self.width) * 4);
        self.pixels
            .chunks_exact_mut((self.width * 4).max(1))
            .skip(top)
            .take(height)
            .map(move |row| &mut row[from..to])
    }
}

fn gif_frames(
    reader: BufReader<&Original>,
    probe: &Probe,
    writer: &mut Writer,
) -> Result<(), Failure> {
    let mut decoder = gif_decoder(reader, probe)?;
    let global = decoder.global_palette().map(<[u8]>::to_vec);
    let mut canvas = Canvas::new(probe);
    for _ in 0..probe.frames {
        // A file that is cut off has the frames before.
        let Ok(Some(frame)) = decoder.read_next_frame() else {
            break;
        };
        canvas.end_frame();
        let part = [frame.left, frame.top, frame.width, frame.height].map(usize::from);
        canvas.after = match frame.dispose {
            gif::DisposalMethod::Background => After::IsCleared(part),
            gif::DisposalMethod::Previous => After::IsTakenBack(canvas.pixels.clone()),
            gif::DisposalMethod::Any | gif::DisposalMethod::Keep => After::Stays,
        };
        let palette = frame.palette.as_ref().or(global.as_ref());
        let palette = palette.ok_or(Failure::NoImage)?;
        let all = [0, 0, probe.width as usize, probe.height as usize];
        for (row, y) in canvas.rows(all).zip(0..) {
            draw_gif_row(row, frame, palette, y);
        }
        let delay = frame.delay;
        writer.write(&Shown {
            pixels: &canvas.pixels,
            channels: 4,
            delay,
        })?;
    }
    Ok(())
}

fn png_frames(
    reader: BufReader<&Original>,
    probe: &Probe,
    writer: &mut Writer,
) -> Result<(), Failure> {
    let mut decoder = png_decoder(reader);
    decoder.set_transformations(
        png::Transformations::normalize_to_color8() | png::Transformations::ALPHA,
    );
    let mut reader = decoder.read_info().map_err(|_| Failure::NoImage)?;
    if reader.info().size() != (probe.width, probe.height) {
        return Err(Failure::NoImage);
    }
    let channels = reader.output_color_type().0.samples();
    let mut buffer = vec![0; probe.width as usize * probe.height as usize * channels];
    // The picture for those who show no animations need not be a part of it.
    if reader.info().frame_control.is_none() {
        reader
            .next_frame(&mut buffer)
            .map_err(|_| Failure::NoImage)?;
    }
    let mut canvas = Canvas::new(probe);
    for _ in 0..probe.frames {
        let Ok(output) = reader.next_frame(&mut buffer) else {
            break;
        };
        let Some(control) = reader.info().frame_control else {
            break;
        };
        canvas.end_frame();
        let part = [
            control.x_offset,
            control.y_offset,
            output.width,
            output.height,
        ];
        let part = part.map(|length| length as usize);
        canvas.after = match control.dispose_op {
            png::DisposeOp::None => After::Stays,
            png::DisposeOp::Background => After::IsCleared(part),
            png::DisposeOp::Previous => After::IsTakenBack(canvas.pixels.clone()),
        };
        let is_over = control.blend_op == png::BlendOp::Over;
        let rows = buffer.chunks_exact(output.line_size.max(1));
        for (row, source) in canvas.rows(part).zip(rows) {
            draw_png_row(row, source, channels, is_over);
        }
        writer.write(&Shown {
            pixels: &canvas.pixels,
            channels: 4,
            delay: hundredths(control.delay_num, control.delay_den),
        })?;
    }
    Ok(())
}

/// Draws a row over the canvas, or in place of what is there.
fn draw_png_row(row: &mut [u8], source: &[u8], channels: usize, is_over: bool) {
    for (pixel, source) in row
        .as_chunks_mut::<4>()
        .0
        .iter_mut()
        .zip(source.chunks_exact(channels))
    {
        let new = match *source {
            [grey, alpha] => [grey, grey, grey, alpha],
            [red, green, blue, alpha] => [red, green, blue, alpha],
            _ => continue,
        };
        *pixel = if is_over { over(*pixel, new) } else { new };
    }
}

/// `new` over `old`, both with alpha.
fn over(old: [u8; 4], new: [u8; 4]) -> [u8; 4] {
    match new[3] {
        0 => return old,
        255 => return new,
        _ if old[3] == 0 => return new,
        _ => {}
    }
    let (above, below) = (
        u32::from(new[3]),
        u32::from(old[3]) * (255 - u32::from(new[3])),
    );
    // In 255ths of an alpha.
    let alpha = above * 255 + below;
    let mut mixed = [0, 0, 0, (alpha / 255) as u8];
    for channel in 0..3 {
        let sum = u32::from(new[channel]) * above * 255 + u32::from(old[channel]) * below;
        mixed[channel] = (sum / alpha) as u8;
    }
    mixed
}

/// A fraction of a second; a denominator of 0 stands for 100.
fn hundredths(numerator: u16, denominator: u16) -> u16 {
    let denominator = match denominator {
        0 => 100,
        some => u32::from(some),
    };
    u16::try_from(u32::from(numerator) * 100 / denominator).unwrap_or(u16::MAX)
}

fn webp_frames(
    reader: BufReader<&Original>,
    probe: &Probe,
    writer: &mut Writer,
) -> Result<(), Failure> {
    let mut decoder = webp_decoder(reader, probe)?;
    if !decoder.is_animated() {
        return Err(Failure::NoImage);
    }
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut pixels = vec![0; probe.width as usize * probe.height as usize * channels];
    for _ in 0..probe.frames {
        let Ok(milliseconds) = decoder.read_frame(&mut pixels) else {
            break;
        };
        writer.write(&Shown {
            pixels: &pixels,
            channels,
            delay: u16::try_from(milliseconds / 10).unwrap_or(u16::MAX),
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_mixes_by_its_alpha() {
        let (red, blue) = ([255, 0, 0, 255], [0, 0, 255, 255]);
        assert_eq!(over(red, blue), blue);
        assert_eq!(over(red, [0, 0, 255, 0]), red);
        assert_eq!(over([9, 9, 9, 0], [0, 0, 255, 128]), [0, 0, 255, 128]);
        assert_eq!(over(red, [0, 0, 255, 51]), [204, 0, 51, 255]);
        let half = over([255, 0, 0, 128], [0, 0, 255, 128]);
        assert_eq!(half[3], 191);
        assert!(half[2] > half[0], "{half:?}");
    }

    #[test]
    fn delays_are_in_hundredths() {
        assert_eq!(hundredths(1, 10), 10);
        assert_eq!(hundredths(40, 1_000), 4);
        assert_eq!(hundredths(7, 0), 7);
        assert_eq!(hundredths(u16::MAX, 1), u16::MAX);
    }
}
