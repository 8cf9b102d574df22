//! How keys become bytes: fixed-width big-endian numbers and length-prefixed
//! text, so that the order of the bytes is the order of the numbers and no key
//! is ever a prefix of a different one.

use crate::DecodeError;

/// A key of a table. The bytes of equal keys are equal; the bytes of fixed-width
/// parts sort as their values do; text sorts by length first.
pub trait Key: Sized {
    /// Appends the bytes of this key.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads one key off the front of `input`, leaving what follows.
    ///
    /// # Errors
    /// If the bytes end early or are not what [`Key::encode`] writes.
    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError>;
}

/// The leading parts of a key of type `K`: names all rows that begin with them.
/// `()` names the whole table.
pub trait Prefix<K> {
    /// Appends the bytes with which every key under this prefix begins.
    fn encode_prefix(&self, out: &mut Vec<u8>);
}

/// Takes `count` bytes off the front of `input`.
fn take<'a>(input: &mut &'a [u8], count: usize) -> Result<&'a [u8], DecodeError> {
    let (head, tail) = input
        .split_at_checked(count)
        .ok_or(DecodeError("a key ends early"))?;
    *input = tail;
    Ok(head)
}

macro_rules! fixed_width {
    ($($number:ty),*) => {$(
        impl Key for $number {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
            fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
                let bytes = take(input, size_of::<$number>())?;
                Ok(<$number>::from_be_bytes(
                    bytes.try_into().map_err(|_| DecodeError("a number's width"))?,
                ))
            }
        }
    )*};
}
fixed_width!(u8, u16, u32, u64);

impl<const N: usize> Key for [u8; N] {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        take(input, N)?
            .try_into()
            .map_err(|_| DecodeError("an array's width"))
    }
}

impl Key for String {
    fn encode(&self, out: &mut Vec<u8>) {
        // Longer text than 65,535 bytes is no key of ours: limits above refuse it.
        let length = u16::try_from(self.len()).unwrap_or(u16::MAX);
        length.encode(out);
        out.extend_from_slice(&self.as_bytes()[..usize::from(length)]);
    }
    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let length = u16::decode(input)?;
        let bytes = take(input, usize::from(length))?;
        String::from_utf8(bytes.to_vec()).map_err(|_| DecodeError("text in a key is not UTF-8"))
    }
}

impl Key for () {
    fn encode(&self, _: &mut Vec<u8>) {}
    fn decode(_: &mut &[u8]) -> Result<Self, DecodeError> {
        Ok(())
    }
}

impl<K> Prefix<K> for () {
    fn encode_prefix(&self, _: &mut Vec<u8>) {}
}

macro_rules! tuple_keys {
    ($($name:ident . $index:tt),+) => {
        impl<$($name: Key),+> Key for ($($name,)+) {
            fn encode(&self, out: &mut Vec<u8>) {
                $(self.$index.encode(out);)+
            }
            fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
                Ok(($($name::decode(input)?,)+))
            }
        }
    };
}
tuple_keys!(A.0);
tuple_keys!(A.0, B.1);
tuple_keys!(A.0, B.1, C.2);
tuple_keys!(A.0, B.1, C.2, D.3);

macro_rules! tuple_prefix {
    (($($part:ident . $index:tt),+) of ($($whole:ident),+)) => {
        impl<$($whole: Key),+> Prefix<($($whole,)+)> for ($($part,)+) {
            fn encode_prefix(&self, out: &mut Vec<u8>) {
                $(self.$index.encode(out);)+
            }
        }
    };
}
tuple_prefix!((A.0) of (A, B));
tuple_prefix!((A.0) of (A, B, C));
tuple_prefix!((A.0) of (A, B, C, D));
tuple_prefix!((A.0, B.1) of (A, B, C));
tuple_prefix!((A.0, B.1) of (A, B, C, D));
tuple_prefix!((A.0, B.1, C.2) of (A, B, C, D));

/// Declares a number with a meaning of its own that serves as a key and a value:
/// `key_newtype! { /// doc \n UserSerial }`.
#[macro_export]
macro_rules! key_newtype {
    ($($(#[$attribute:meta])* $name:ident)+) => {$(
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl $crate::Key for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                $crate::Key::encode(&self.0, out);
            }
            fn decode(input: &mut &[u8]) -> Result<Self, $crate::DecodeError> {
                <u64 as $crate::Key>::decode(input).map($name)
            }
        }

        impl $crate::Value for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                $crate::Key::encode(&self.0, out);
            }
            fn decode(bytes: &[u8]) -> Result<Self, $crate::DecodeError> {
                <u64 as $crate::Value>::decode(bytes).map($name)
            }
        }
    )+};
}

crate::key_newtype! {
    /// A place in the one total order of commits. The first commit has position 1.
    Position
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(key: &impl Key) -> Vec<u8> {
        let mut out = Vec::new();
        key.encode(&mut out);
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn keys_come_back(number: u64, text in ".{0,40}", small: u16) {
            let key = (number, text, small);
            let encoded = bytes(&key);
            let mut rest = encoded.as_slice();
            prop_assert_eq!(<(u64, String, u16)>::decode(&mut rest)?, key);
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn numbers_sort_as_they_do(a: (u64, u16), b: (u64, u16)) {
            prop_assert_eq!(a.cmp(&b), bytes(&a).cmp(&bytes(&b)));
        }
    }

    #[test]
    fn a_short_key_is_an_error() {
        assert!(u64::decode(&mut [0, 1, 2].as_slice()).is_err());
        assert!(String::decode(&mut [0, 9, b'a'].as_slice()).is_err());
    }
}
