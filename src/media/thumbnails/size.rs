//! Which thumbnails there are, and how large each is.
//!
//! A request is answered with the next larger of a few sizes, so that a picture has a
//! few thumbnails and not one for each screen (client-server API, "Thumbnails"): never
//! smaller than asked, except where the picture itself is or where more was asked than
//! the largest of them.

use crate::{DownloadError, ThumbnailMethod, ThumbnailRequest};

/// The boxes into which pictures are scaled.
const BOXES: [(u32, u32); 5] = [(96, 96), (320, 240), (640, 480), (800, 600), (1_600, 1_200)];
/// The longer sides of what is cut out of pictures.
const LONG_SIDES: [u32; 6] = [32, 96, 320, 640, 800, 1_600];

/// One kind of thumbnail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    width: u32,
    height: u32,
    is_crop: bool,
    /// Whether an animation is wanted, if the content is one.
    pub(crate) is_animated: bool,
}

/// What becomes of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The part of the picture that is shown: left, top, width, height.
    pub(crate) part: [u32; 4],
    /// The thumbnail's width.
    pub(crate) width: u32,
    /// The thumbnail's height.
    pub(crate) height: u32,
}

impl Kind {
    /// The kind that answers a request.
    pub(crate) fn of(request: &ThumbnailRequest) -> Result<Self, DownloadError> {
        let (width, height) = (request.width, request.height);
        if width == 0 || height == 0 {
            return Err(DownloadError::Invalid(
                "a thumbnail is at least one pixel wide and high",
            ));
        }
        let is_animated = request.is_animated;
        Ok(match request.method {
            ThumbnailMethod::Scale => {
                let fits = |(w, h): &&(u32, u32)| width <= *w && height <= *h;
                let [.., largest] = BOXES;
                let (width, height) = *BOXES.iter().find(fits).unwrap_or(&largest);
                Self {
                    width,
                    height,
                    is_crop: false,
                    is_animated,
                }
            }
            ThumbnailMethod::Crop => {
                let long = width.max(height);
                let [.., largest] = LONG_SIDES;
                let side = *LONG_SIDES
                    .iter()
                    .find(|side| long <= **side)
                    .unwrap_or(&largest);
                // The aspect is the request's, the longer side one of ours.
                let other = |short: u32| {
                    let exact = u64::from(short) * u64::from(side);
                    u32::try_from(exact.div_ceil(u64::from(long))).unwrap_or(side)
                };
                Self {
                    width: other(width),
                    height: other(height),
                    is_crop: true,
                    is_animated,
                }
            }
        })
    }

    /// The same without animation.
    pub(crate) fn still(self) -> Self {
        Self {
            is_animated: false,
            ..self
        }
    }

    /// The same for pictures that lie on their side.
    pub(crate) fn turned(self) -> Self {
        Self {
            width: self.height,
            height: self.width,
            ..self
        }
    }

    /// Names the kind, in the database and in a file's name: `crop-96x96`.
    pub(crate) fn key(self) -> String {
        let method = if self.is_crop { "crop" } else { "scale" };
        let moving = if self.is_animated { "-animated" } else { "" };
        format!("{method}-{}x{}{moving}", self.width, self.height)
    }

    /// How a picture of that size becomes this kind of thumbnail. None if the picture
    /// is no larger.
    pub(crate) fn plan(self, width: u32, height: u32) -> Option<Plan> {
        if width <= self.width && height <= self.height {
            return None;
        }
        let (w, h) = (f64::from(width), f64::from(height));
        let (by_width, by_height) = (f64::from(self.width) / w, f64::from(self.height) / h);
        // At least one pixel, and never more than there are.
        let scaled = |length: f64, most: u32| (length.round() as u32).clamp(1, most);
        if !self.is_crop {
            let ratio = by_width.min(by_height);
            return Some(Plan {
                part: [0, 0, width, height],
                width: scaled(w * ratio, width),
                height: scaled(h * ratio, height),
            });
        }
        let ratio = by_width.max(by_height).min(1.0);
        let part_width = scaled(f64::from(self.width) / ratio, width);
        let part_height = scaled(f64::from(self.height) / ratio, height);
        let (left, top) = ((width - part_width) / 2, (height - part_height) / 2);
        Some(Plan {
            part: [left, top, part_width, part_height],
            width: self.width.min(part_width),
            height: self.height.min(part_height),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(width: u32, height: u32, method: ThumbnailMethod) -> Kind {
        Kind::of(&ThumbnailRequest {
            width,
            height,
            method,
            is_animated: false,
        })
        .unwrap()
    }

    #[test]
    fn requests_get_the_next_larger_kind() {
        use ThumbnailMethod::{Crop, Scale};
        for (width, height, method, key) in [
            (1, 1, Scale, "scale-96x96"),
            (320, 240, Scale, "scale-320x240"),
            (240, 320, Scale, "scale-640x480"),
            (321, 1, Scale, "scale-640x480"),
            (800, 600, Scale, "scale-800x600"),
            (801, 1, Scale, "scale-1600x1200"),
            (u32::MAX, u32::MAX, Scale, "scale-1600x1200"),
            (1, 1, Crop, "crop-32x32"),
            (32, 32, Crop, "crop-32x32"),
            (33, 33, Crop, "crop-96x96"),
            (64, 48, Crop, "crop-96x72"),
            (48, 64, Crop, "crop-72x96"),
            (1, 5_000, Crop, "crop-1x1600"),
            (u32::MAX, u32::MAX, Crop, "crop-1600x1600"),
        ] {
            assert_eq!(kind(width, height, method).key(), key, "{width}x{height}");
        }
        let zero = ThumbnailRequest {
            width: 0,
            height: 10,
            method: Scale,
            is_animated: false,
        };
        assert!(matches!(Kind::of(&zero), Err(DownloadError::Invalid(_))));
    }

    #[test]
    fn pictures_are_scaled_or_cut_and_never_made_larger() {
        use ThumbnailMethod::{Crop, Scale};
        let scale = kind(320, 240, Scale);
        let crop = kind(96, 96, Crop);
        for (kind, width, height, expected) in [
            (scale, 320, 240, None),
            (scale, 10, 10, None),
            (scale, 640, 480, Some(([0, 0, 640, 480], 320, 240))),
            (scale, 1_000, 500, Some(([0, 0, 1_000, 500], 320, 160))),
            (scale, 500, 1_000, Some(([0, 0, 500, 1_000], 120, 240))),
            (scale, 321, 10, Some(([0, 0, 321, 10], 320, 10))),
            (scale, 30_000, 1, Some(([0, 0, 30_000, 1], 320, 1))),
            (crop, 96, 96, None),
            (crop, 96, 20, None),
            (crop, 192, 192, Some(([0, 0, 192, 192], 96, 96))),
            (crop, 400, 200, Some(([100, 0, 200, 200], 96, 96))),
            (crop, 200, 400, Some(([0, 100, 200, 200], 96, 96))),
            (crop, 500, 50, Some(([202, 0, 96, 50], 96, 50))),
        ] {
            let expected = expected.map(|(part, width, height)| Plan {
                part,
                width,
                height,
            });
            assert_eq!(kind.plan(width, height), expected, "{width}x{height}");
        }
    }

    #[test]
    fn every_part_lies_in_its_picture() {
        for width in [1, 2, 3, 95, 97, 640, 1_601, 65_535] {
            for height in [1, 2, 31, 33, 241, 5_000, 32_000] {
                for method in [ThumbnailMethod::Crop, ThumbnailMethod::Scale] {
                    for side in [1, 32, 33, 100, 700, 1_600] {
                        for kind in [kind(side, side, method), kind(side, 7, method)] {
                            let Some(plan) = kind.plan(width, height) else {
                                continue;
                            };
                            let [left, top, w, h] = plan.part;
                            assert!(left + w <= width && top + h <= height, "{plan:?}");
                            assert!(plan.width >= 1 && plan.width <= w, "{plan:?}");
                            assert!(plan.height >= 1 && plan.height <= h, "{plan:?}");
                        }
                    }
                }
            }
        }
    }
}
