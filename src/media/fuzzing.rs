//! What the fuzz targets of `../../tests/fuzz` call: what is made of bytes from outside, and
//! what must hold of it. There in tests and in fuzzing only.

use crate::{ThumbnailMethod, ThumbnailRequest, image_size, original::Original, thumbnails};

/// The longest side that a thumbnail here may have, in pixels.
const LONGEST: u32 = 320;

/// An image of which thumbnails are made.
pub fn image(bytes: &[u8]) {
    let size = image_size(bytes);
    let methods = [ThumbnailMethod::Scale, ThumbnailMethod::Crop];
    for (method, is_animated) in methods.into_iter().zip([true, false]) {
        let request = ThumbnailRequest {
            width: 96,
            height: 60,
            method,
            is_animated,
        };
        let original = Original::of(bytes.to_vec());
        let Some(made) = thumbnails::made(&original, &request) else {
            continue;
        };
        assert!(size.is_some(), "what has no size has a thumbnail");
        // What was made is an image, and no larger than it may be.
        let Some(found) = image_size(&made) else {
            unreachable!("the thumbnail is no image");
        };
        assert!(
            found.width <= LONGEST && found.height <= LONGEST,
            "{found:?}"
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::seeds::each;

    #[test]
    fn seeds() {
        each("image", super::image);
    }
}
