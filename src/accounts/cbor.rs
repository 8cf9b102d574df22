//! Reading CBOR (RFC 8949) as authenticators write it: whole items of known lengths, within
//! bounds.

/// How deep arrays and maps may be nested.
const MAX_DEPTH: usize = 8;
/// How many items there may be in all.
const MAX_ITEMS: usize = 1_024;

/// One item. Texts and bytes are those of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// A whole number.
    Number(i128),
    Bytes(&'a [u8]),
    Text(&'a str),
    Array(Vec<Item<'a>>),
    /// Pairs, in the order in which they stand there.
    Map(Vec<(Item<'a>, Item<'a>)>),
    /// What nobody here asks for: true, false, null, a float.
    Other,
}

impl<'a> Item<'a> {
    /// What a map has under a number.
    pub(crate) fn at(&self, key: i128) -> Option<&Item<'a>> {
        self.find(|found| *found == Item::Number(key))
    }

    /// What a map has under a text.
    pub(crate) fn named(&self, key: &str) -> Option<&Item<'a>> {
        self.find(|found| *found == Item::Text(key))
    }

    /// One that stands there twice is not there: nobody knows which is meant.
    fn find(&self, is: impl Fn(&Item<'a>) -> bool) -> Option<&Item<'a>> {
        let Self::Map(pairs) = self else { return None };
        let mut found = pairs.iter().filter(|(key, _)| is(key));
        let (_, item) = found.next()?;
        found.next().is_none().then_some(item)
    }

    pub(crate) fn number(&self) -> Option<i128> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// The first item, and what stands behind it.
pub(crate) fn first(bytes: &[u8]) -> Option<(Item<'_>, &[u8])> {
    let mut reader = Reader {
        rest: bytes,
        items: 0,
    };
    let item = reader.item(0)?;
    Some((item, reader.rest))
}

/// The one item that the bytes are.
pub(crate) fn whole(bytes: &[u8]) -> Option<Item<'_>> {
    let (item, rest) = first(bytes)?;
    rest.is_empty().then_some(item)
}

struct Reader<'a> {
    rest: &'a [u8],
    items: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// The number behind the first byte of an item. Lengths without an end are not read.
    fn argument(&mut self, short: u8) -> Option<u64> {
        let length = match short {
            0..=23 => return Some(u64::from(short)),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return None,
        };
        let bytes = self.take(length)?.iter();
        Some(bytes.fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    fn item(&mut self, depth: usize) -> Option<Item<'a>> {
        self.items += 1;
        if depth > MAX_DEPTH || self.items > MAX_ITEMS {
            return None;
        }
        let [first] = *self.take(1)?.first_chunk()?;
        let argument = self.argument(first & 31)?;
        let count = usize::try_from(argument).ok()?;
        match first >> 5 {
            0 => Some(Item::Number(i128::from(argument))),
            1 => Some(Item::Number(-1 - i128::from(argument))),
            2 => self.take(count).map(Item::Bytes),
            3 => str::from_utf8(self.take(count)?).ok().map(Item::Text),
            4 => {
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(self.item(depth + 1)?);
                }
                Some(Item::Array(items))
            }
            5 => {
                let mut pairs = Vec::new();
                for _ in 0..count {
                    pairs.push((self.item(depth + 1)?, self.item(depth + 1)?));
                }
                Some(Item::Map(pairs))
            }
            7 => Some(Item::Other),
            // Tags: no authenticator needs them.
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read_as_the_standard_writes_them() {
        for (bytes, expected) in [
            (&[0x00][..], Item::Number(0)),
            (&[0x18, 0x64], Item::Number(100)),
            (&[0x19, 0x03, 0xe8], Item::Number(1_000)),
            (&[0x26], Item::Number(-7)),
            (&[0x39, 0x01, 0x00], Item::Number(-257)),
            (
                &[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                Item::Number(18_446_744_073_709_551_615),
            ),
            (&[0x43, 1, 2, 3], Item::Bytes(&[1, 2, 3])),
            (&[0x62, 0xc3, 0xbc], Item::Text("ü")),
            (&[0xf5], Item::Other),
            (&[0xfa, 0, 0, 0, 0], Item::Other),
            (
                &[0x82, 0x01, 0x80],
                Item::Array(vec![Item::Number(1), Item::Array(vec![])]),
            ),
            (
                &[0xa1, 0x61, 0x61, 0x01],
                Item::Map(vec![(Item::Text("a"), Item::Number(1))]),
            ),
        ] {
            assert_eq!(whole(bytes), Some(expected), "{bytes:02x?}");
        }
    }

    #[test]
    fn what_is_cut_off_endless_or_too_much_is_nothing() {
        for bytes in [
            &[][..],
            &[0x18],
            &[0x43, 1, 2],
            &[0x5f, 0x41, 1, 0xff],
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x82, 0x01],
            &[0xa1, 0x01],
            &[0x61, 0xff],
            &[0xc0, 0x00],
            &[0x00, 0x00],
            &[0x81; 20],
        ] {
            assert_eq!(whole(bytes), None, "{bytes:02x?}");
        }
        let many = [&[0x99, 0x10, 0x00][..], &[0; 0x1000]].concat();
        assert_eq!(whole(&many), None);
    }

    #[test]
    fn a_key_that_stands_there_twice_names_nothing() {
        let map = whole(&[0xa3, 0x01, 0x02, 0x03, 0x04, 0x03, 0x05]).unwrap();
        assert_eq!(map.at(1).and_then(Item::number), Some(2));
        assert_eq!(map.at(3), None);
        assert_eq!(map.named("a"), None);
    }
}
