//! Sync tokens: where a client stands. Opaque and versioned.

use store::Position;

/// Everything a client has been told, in four numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncToken {
    /// Which life of the database; the token of another is worth nothing.
    pub epoch: u64,
    /// The commit up to which the client knows everything.
    pub position: Position,
    /// The commit up to which the device has its to-device messages.
    pub to_device: Position,
    /// The newest change of what is only in memory (typing).
    pub ephemeral: u64,
}

/// Where a client stands on one of its sliding-sync connections (`pos`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlidingToken {
    /// Which life of the database.
    pub(crate) epoch: u64,
    /// The number of the answer.
    pub(crate) answer: u64,
    /// The commit up to which the answer tells.
    pub(crate) position: Position,
}

/// Up to where a device has its to-device messages, where that has a token of its own
/// (MSC3885).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ToDeviceToken {
    /// Which life of the database.
    pub(crate) epoch: u64,
    /// The commit.
    pub(crate) position: Position,
}

/// Up to where a client of sliding syncs has its sticky events (MSC4354).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StickyToken {
    /// Which life of the database.
    pub(crate) epoch: u64,
    /// The commit.
    pub(crate) position: Position,
}

impl StickyToken {
    /// The token that a client sends; `None` for text that is no token of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let [epoch, position] = numbers(text, "k1")?;
        Some(Self {
            epoch,
            position: Position(position),
        })
    }
}

impl std::fmt::Display for StickyToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write(formatter, "k1", [self.epoch, self.position.0])
    }
}

/// From where on older changes of thread subscriptions are read (MSC4308).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionsToken {
    /// Which life of the database.
    pub(crate) epoch: u64,
    /// The commit.
    pub(crate) position: Position,
}

impl SubscriptionsToken {
    /// The token that a client sends; `None` for text that is no token of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let [epoch, position] = numbers(text, "t1")?;
        Some(Self {
            epoch,
            position: Position(position),
        })
    }
}

impl std::fmt::Display for SubscriptionsToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write(formatter, "t1", [self.epoch, self.position.0])
    }
}

impl SyncToken {
    /// The token that a client sends; `None` for text that is no token of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let [epoch, position, to_device, ephemeral] = numbers(text, "s1")?;
        Some(Self {
            epoch,
            position: Position(position),
            to_device: Position(to_device),
            ephemeral,
        })
    }
}

impl std::fmt::Display for SyncToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (position, to_device) = (self.position.0, self.to_device.0);
        write(
            formatter,
            "s1",
            [self.epoch, position, to_device, self.ephemeral],
        )
    }
}

impl SlidingToken {
    /// The token that a client sends; `None` for text that is no token of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let [epoch, answer, position] = numbers(text, "p1")?;
        Some(Self {
            epoch,
            answer,
            position: Position(position),
        })
    }
}

impl std::fmt::Display for SlidingToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write(formatter, "p1", [self.epoch, self.answer, self.position.0])
    }
}

impl ToDeviceToken {
    /// The token that a client sends; `None` for text that is no token of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let [epoch, position] = numbers(text, "d1")?;
        Some(Self {
            epoch,
            position: Position(position),
        })
    }
}

impl std::fmt::Display for ToDeviceToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write(formatter, "d1", [self.epoch, self.position.0])
    }
}

fn numbers<const N: usize>(text: &str, version: &str) -> Option<[u64; N]> {
    let mut parts = text.split('_');
    if parts.next()? != version {
        return None;
    }
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = u64::from_str_radix(parts.next()?, 36).ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

fn write<const N: usize>(
    formatter: &mut std::fmt::Formatter<'_>,
    version: &str,
    numbers: [u64; N],
) -> std::fmt::Result {
    formatter.write_str(version)?;
    for number in numbers {
        write!(formatter, "_{}", base36(number))?;
    }
    Ok(())
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        let digit = u32::try_from(number % 36).unwrap_or_default();
        digits.push(char::from_digit(digit, 36).unwrap_or('0'));
        number /= 36;
        if number == 0 {
            break;
        }
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back() {
        for number in [0, 35, 36, 123_456_789, u64::MAX] {
            let token = SyncToken {
                epoch: number,
                position: Position(1),
                to_device: Position(number),
                ephemeral: 7,
            };
            assert_eq!(SyncToken::parse(&token.to_string()), Some(token));
            let token = SlidingToken {
                epoch: 3,
                answer: number,
                position: Position(number),
            };
            assert_eq!(SlidingToken::parse(&token.to_string()), Some(token));
            let token = ToDeviceToken {
                epoch: number,
                position: Position(4),
            };
            assert_eq!(ToDeviceToken::parse(&token.to_string()), Some(token));
        }
    }

    #[test]
    fn other_text_is_no_token() {
        for text in [
            "",
            "s1",
            "s1_1_2_3",
            "s1_1_2_3_4_5",
            "s2_1_2_3_4",
            "s1_-_2_3_4",
        ] {
            assert_eq!(SyncToken::parse(text), None, "{text}");
            assert_eq!(SlidingToken::parse(text), None, "{text}");
            assert_eq!(ToDeviceToken::parse(text), None, "{text}");
        }
    }
}
