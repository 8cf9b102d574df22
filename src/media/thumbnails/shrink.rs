//! Making a picture smaller, row by row: each pixel of the result is the mean of the
//! area that it covers. Holds the result and one row, never the picture.

use super::size::Plan;

/// A picture of 8 bits a channel: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) channels: usize,
    pub(crate) pixels: Vec<u8>,
}

/// A picture that is being made smaller.
pub(crate) struct Shrinker {
    plan: Plan,
    channels: usize,
    /// Which rows of the source were given.
    row: u32,
    /// Sums of the row of the result that is being filled.
    sums: Vec<f32>,
    /// The row just given, made narrower.
    narrow: Vec<f32>,
    /// How much of the result's row is filled: a row of the source counts as many as
    /// the result has rows, so that all fractions are whole numbers.
    filled: u32,
    result: Vec<u8>,
}

impl Shrinker {
    /// Makes pictures of that many channels smaller as `plan` says.
    pub(crate) fn new(plan: Plan, channels: usize) -> Self {
        let row = plan.width as usize * channels;
        Self {
            plan,
            channels,
            row: 0,
            sums: vec![0.0; row],
            narrow: vec![0.0; row],
            filled: 0,
            result: Vec::with_capacity(row * plan.height as usize),
        }
    }

    /// Whether the rows that are still to come are not shown.
    pub(crate) fn is_done(&self) -> bool {
        let [_, top, _, height] = self.plan.part;
        self.row >= top + height
    }

    /// Takes the next row of the source, all of it.
    pub(crate) fn push(&mut self, row: &[u8]) {
        let [left, top, width, height] = self.plan.part;
        let number = self.row;
        self.row += 1;
        if number < top || number >= top + height {
            return;
        }
        let from = left as usize * self.channels;
        let to = from + width as usize * self.channels;
        if let Some(part) = row.get(from..to) {
            match self.channels {
                1 => self.make_narrow::<1>(part),
                2 => self.make_narrow::<2>(part),
                3 => self.make_narrow::<3>(part),
                _ => self.make_narrow::<4>(part),
            }
        }
        self.add_row();
    }

    /// Fills `narrow` with the sums of a row's pixels. Colours count as much as they
    /// are opaque.
    fn make_narrow<const N: usize>(&mut self, row: &[u8]) {
        let (source, result) = (self.plan.part[2], self.plan.width);
        let mut pixels = row.as_chunks::<N>().0.iter();
        // What is left of the pixel that a border goes through. A pixel of the source
        // is `result` wide, one of the result `source`.
        let (mut pixel, mut rest) = ([0.0; N], 0);
        for sums in self.narrow.as_chunks_mut::<N>().0 {
            *sums = [0.0; N];
            let mut missing = source;
            while missing > 0 {
                if rest == 0 {
                    let Some(next) = pixels.next() else {
                        break;
                    };
                    (pixel, rest) = (weighted(next), result);
                }
                let share = rest.min(missing);
                for (sum, channel) in sums.iter_mut().zip(pixel) {
                    *sum += channel * share as f32;
                }
                rest -= share;
                missing -= share;
            }
        }
    }

    /// Adds `narrow` to the result.
    fn add_row(&mut self) {
        let (source, mut rest) = (self.plan.part[3], self.plan.height);
        while rest > 0 {
            let share = rest.min(source - self.filled);
            for (sum, value) in self.sums.iter_mut().zip(&self.narrow) {
                *sum += value * share as f32;
            }
            rest -= share;
            self.filled += share;
            if self.filled == source {
                self.end_row();
            }
        }
    }

    fn end_row(&mut self) {
        let area = self.plan.part[2] as f32 * self.plan.part[3] as f32;
        for sums in self.sums.chunks_exact(self.channels) {
            let (colours, alpha) = match sums.split_last() {
                Some((alpha, colours)) if self.channels.is_multiple_of(2) => {
                    (colours, Some(*alpha))
                }
                _ => (sums, None),
            };
            let byte = |sum: f32, area: f32| (sum / area).round().clamp(0.0, 255.0) as u8;
            // What is fully transparent has no colour.
            let weight = alpha.map_or(area, |alpha| alpha.max(1.0) / 255.0);
            self.result
                .extend(colours.iter().map(|sum| byte(*sum, weight)));
            self.result.extend(alpha.map(|sum| byte(sum, area)));
        }
        self.sums.fill(0.0);
        self.filled = 0;
    }

    /// The result. None if rows are missing.
    pub(crate) fn finish(self) -> Option<Picture> {
        let whole = self.plan.width as usize * self.plan.height as usize * self.channels;
        (self.result.len() == whole).then_some(Picture {
            width: self.plan.width,
            height: self.plan.height,
            channels: self.channels,
            pixels: self.result,
        })
    }
}

/// A pixel's channels, its colours multiplied by its alpha.
fn weighted<const N: usize>(pixel: &[u8; N]) -> [f32; N] {
    let mut channels = pixel.map(f32::from);
    if N.is_multiple_of(2) {
        let opacity = channels[N - 1] / 255.0;
        for channel in &mut channels[..N - 1] {
            *channel *= opacity;
        }
    }
    channels
}

impl Picture {
    /// Turned and mirrored as EXIF's orientation (1 to 8) says.
    pub(crate) fn oriented(self, orientation: u8) -> Self {
        if !(2..=8).contains(&orientation) {
            return self;
        }
        let (w, h) = (self.width as usize, self.height as usize);
        let is_turned = orientation >= 5;
        let (width, height) = if is_turned { (h, w) } else { (w, h) };
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for y in 0..height {
            for x in 0..width {
                let (from_x, from_y) = match orientation {
                    2 => (w - 1 - x, y),
                    3 => (w - 1 - x, h - 1 - y),
                    4 => (x, h - 1 - y),
                    5 => (y, x),
                    6 => (y, h - 1 - x),
                    7 => (w - 1 - y, h - 1 - x),
                    _ => (w - 1 - y, x),
                };
                let at = (from_y * w + from_x) * self.channels;
                pixels.extend_from_slice(&self.pixels[at..at + self.channels]);
            }
        }
        Self {
            width: width as u32,
            height: height as u32,
            channels: self.channels,
            pixels,
        }
    }

    /// Whether any pixel lets something through.
    pub(crate) fn is_transparent(&self) -> bool {
        self.channels.is_multiple_of(2)
            && self
                .pixels
                .chunks_exact(self.channels)
                .any(|pixel| pixel.last() != Some(&255))
    }

    /// The same without its alpha channel, if it has one.
    pub(crate) fn opaque(self) -> Self {
        if !self.channels.is_multiple_of(2) {
            return self;
        }
        let colours = self.channels - 1;
        let pixels = self
            .pixels
            .chunks_exact(self.channels)
            .flat_map(|pixel| &pixel[..colours])
            .copied()
            .collect();
        Self {
            channels: colours,
            pixels,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shrink(plan: Plan, channels: usize, width: usize, pixels: &[u8]) -> Picture {
        let mut shrinker = Shrinker::new(plan, channels);
        for row in pixels.chunks_exact(width * channels) {
            shrinker.push(row);
        }
        shrinker.finish().unwrap()
    }

    fn plan(part: [u32; 4], width: u32, height: u32) -> Plan {
        Plan {
            part,
            width,
            height,
        }
    }

    #[test]
    fn a_pixel_is_the_mean_of_its_area() {
        let source = [0, 100, 10, 20, 50, 250, 30, 40];
        let half = shrink(plan([0, 0, 4, 2], 2, 1), 1, 4, &source);
        assert_eq!(half.pixels, [100, 25]);
        let same = shrink(plan([0, 0, 4, 2], 4, 2), 1, 4, &source);
        assert_eq!(same.pixels, source);
        let part = shrink(plan([1, 1, 2, 1], 2, 1), 1, 4, &source);
        assert_eq!(part.pixels, [250, 30]);
        // A third of the middle pixel belongs to each side.
        let uneven = shrink(plan([0, 0, 3, 1], 2, 1), 1, 3, &[30, 60, 90]);
        assert_eq!(uneven.pixels, [40, 80]);
    }

    #[test]
    fn what_is_transparent_has_no_colour() {
        let source = [255, 0, 0, 255, 0, 0, 255, 0];
        let one = shrink(plan([0, 0, 2, 1], 1, 1), 4, 2, &source);
        assert_eq!(one.pixels, [255, 0, 0, 128]);
        assert!(one.is_transparent());
        let opaque = one.opaque();
        assert_eq!((opaque.channels, opaque.pixels), (3, vec![255, 0, 0]));
    }

    #[test]
    fn every_size_comes_out_whole() {
        for (w, h, width, height) in [
            (1_000, 3, 7, 1),
            (999, 501, 320, 161),
            (1_601, 1_201, 1_600, 1_200),
            (97, 5_000, 96, 96),
            (30_000, 2, 1_600, 1),
        ] {
            let mut shrinker = Shrinker::new(plan([0, 0, w, h], width, height), 3);
            let row = vec![200; w as usize * 3];
            for _ in 0..h {
                assert!(!shrinker.is_done());
                shrinker.push(&row);
            }
            let picture = shrinker.finish().unwrap();
            assert!(picture.pixels.iter().all(|byte| *byte == 200), "{w}x{h}");
        }
        let mut short = Shrinker::new(plan([0, 0, 4, 4], 2, 2), 1);
        short.push(&[1; 4]);
        assert_eq!(short.finish(), None);
    }

    #[test]
    fn pictures_are_turned_as_their_orientation_says() {
        let picture = Picture {
            width: 3,
            height: 2,
            channels: 1,
            pixels: vec![1, 2, 3, 4, 5, 6],
        };
        for (orientation, width, pixels) in [
            (0, 3, [1, 2, 3, 4, 5, 6]),
            (1, 3, [1, 2, 3, 4, 5, 6]),
            (2, 3, [3, 2, 1, 6, 5, 4]),
            (3, 3, [6, 5, 4, 3, 2, 1]),
            (4, 3, [4, 5, 6, 1, 2, 3]),
            (5, 2, [1, 4, 2, 5, 3, 6]),
            (6, 2, [4, 1, 5, 2, 6, 3]),
            (7, 2, [6, 3, 5, 2, 4, 1]),
            (8, 2, [3, 6, 2, 5, 1, 4]),
            (9, 3, [1, 2, 3, 4, 5, 6]),
        ] {
            let turned = picture.clone().oriented(orientation);
            assert_eq!(
                (turned.width, &turned.pixels[..]),
                (width, &pixels[..]),
                "{orientation}"
            );
        }
    }
}
