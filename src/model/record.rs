//! How records become values: a version byte, then postcard.

/// Gives record types their bytes: `stored! { Account = 1, Invitation = 1 }`. The
/// number is the version that is written; an older one that is still to be read
/// gets its own type and a conversion: `RoomHead = 2 or RoomHeadBefore = 1`. There may be
/// several of these.
macro_rules! stored {
    ($($record:ty = $version:literal $(or $before:ty = $old:literal)*),+ $(,)?) => {$(
        impl store::Value for $record {
            fn encode(&self, out: &mut Vec<u8>) {
                out.push($version);
                // Writing into memory: fails only for types that postcard cannot
                // hold, of which we store none.
                if let Ok(bytes) = postcard::to_allocvec(self) {
                    out.extend_from_slice(&bytes);
                }
            }
            fn decode(bytes: &[u8]) -> Result<Self, store::DecodeError> {
                match bytes.split_first() {
                    Some((&$version, rest)) => postcard::from_bytes(rest)
                        .map_err(|_| store::DecodeError(concat!("a damaged ", stringify!($record)))),
                    $(Some((&$old, rest)) => postcard::from_bytes::<$before>(rest)
                        .map(Self::from)
                        .map_err(|_| store::DecodeError(concat!("a damaged ", stringify!($before)))),)*
                    _ => Err(store::DecodeError(concat!(
                        "an unknown version of ",
                        stringify!($record)
                    ))),
                }
            }
        }
    )+};
}
pub(crate) use stored;
