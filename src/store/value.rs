//! How values become bytes.

use crate::{DecodeError, Key};

/// A value of a table. A value of more than a number carries a format version in
/// its first byte, and reads every version that was ever written.
pub trait Value: Sized {
    /// Appends the bytes of this value.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads a value from all of `bytes`.
    ///
    /// # Errors
    /// If the bytes are of an unknown version or damaged.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError>;
}

macro_rules! number_values {
    ($($number:ty),*) => {$(
        impl Value for $number {
            fn encode(&self, out: &mut Vec<u8>) {
                Key::encode(self, out);
            }
            fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
                let mut rest = bytes;
                let number = <$number as Key>::decode(&mut rest)?;
                if rest.is_empty() { Ok(number) } else { Err(DecodeError("a number is too wide")) }
            }
        }
    )*};
}
number_values!(u8, u16, u32, u64);

impl Value for () {
    fn encode(&self, _: &mut Vec<u8>) {}
    fn decode(_: &[u8]) -> Result<Self, DecodeError> {
        Ok(())
    }
}

impl Value for String {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        String::from_utf8(bytes.to_vec()).map_err(|_| DecodeError("text is not UTF-8"))
    }
}

impl Value for Vec<u8> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(bytes.to_vec())
    }
}

impl<const N: usize> Value for [u8; N] {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        bytes
            .try_into()
            .map_err(|_| DecodeError("an array's width"))
    }
}
