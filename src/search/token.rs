//! Where the next page of a search begins. Opaque to clients.

use model::EventSerial;

use crate::{GroupKey, Order, hits::At};

/// The place behind the last event that was shown, or looked at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    /// The order for which it is good, with the score where that is by rank.
    pub(crate) score: Option<f64>,
    /// The event's place in the index.
    pub(crate) at: At,
    /// How many results the first page counted: the pages behind it see fewer.
    pub(crate) count: usize,
    /// The group that goes on, where one does.
    pub(crate) group: Option<(GroupKey, String)>,
}

impl Token {
    /// The order for which it is good.
    pub(crate) fn order(&self) -> Order {
        match self.score {
            Some(_) => Order::Rank,
            None => Order::Recent,
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(6, '.');
        let score = match parts.next()? {
            "f" => None,
            score => Some(f64::from_bits(score.strip_prefix('k')?.parse().ok()?)),
        };
        let at = parts.next()?.parse().ok()?;
        let event = EventSerial(parts.next()?.parse().ok()?);
        let count = parts.next()?.parse().ok()?;
        let group = match (parts.next(), parts.next()) {
            (None, None) => None,
            (Some("r"), Some(room)) => Some((GroupKey::Room, room.to_owned())),
            (Some("s"), Some(sender)) => Some((GroupKey::Sender, sender.to_owned())),
            _ => return None,
        };
        let is_number = score.is_none_or(f64::is_finite);
        is_number.then_some(Self {
            score,
            at: (at, event),
            count,
            group,
        })
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.score {
            None => formatter.write_str("f")?,
            Some(score) => write!(formatter, "k{}", score.to_bits())?,
        }
        write!(formatter, ".{}.{}.{}", self.at.0, self.at.1.0, self.count)?;
        match &self.group {
            None => Ok(()),
            Some((GroupKey::Room, room)) => write!(formatter, ".r.{room}"),
            Some((GroupKey::Sender, sender)) => write!(formatter, ".s.{sender}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back() {
        for score in [None, Some(1.25)] {
            for group in [
                None,
                Some((GroupKey::Room, "!a.b:c.d".to_owned())),
                Some((GroupKey::Sender, "@a.b:c.d".to_owned())),
            ] {
                let token = Token {
                    score,
                    at: (12, EventSerial(34)),
                    count: 56,
                    group,
                };
                assert_eq!(Token::parse(&token.to_string()), Some(token));
            }
        }
        let nan = format!("k{}.1.2.3", f64::NAN.to_bits());
        for text in [
            "",
            "f",
            "f.1",
            "f.1.x.3",
            "f.1.2",
            "f.1.2.3.r",
            "f.1.2.3.x.y",
            "k.1.2.3",
            &nan,
            "g.1.2.3",
        ] {
            assert_eq!(Token::parse(text), None, "{text}");
        }
    }
}
