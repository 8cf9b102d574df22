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

const VERSION: &str = "s1";

impl SyncToken {
    /// The token that a client sends; `None` for text that is no token of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('_');
        if parts.next()? != VERSION {
            return None;
        }
        let mut number = || u64::from_str_radix(parts.next()?, 36).ok();
        let token = Self {
            epoch: number()?,
            position: Position(number()?),
            to_device: Position(number()?),
            ephemeral: number()?,
        };
        parts.next().is_none().then_some(token)
    }
}

impl std::fmt::Display for SyncToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(VERSION)?;
        for number in [
            self.epoch,
            self.position.0,
            self.to_device.0,
            self.ephemeral,
        ] {
            write!(formatter, "_{}", base36(number))?;
        }
        Ok(())
    }
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
        }
    }
}
