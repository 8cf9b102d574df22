//! Tokens of `/messages`: a place between two events of a room's timeline.

/// A gap in a room's timeline: just below the event at (`depth`, `tie_break`), if
/// there is one there. Opaque to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlaceToken {
    /// The depth of the event above the gap.
    pub depth: u64,
    /// That event's tie-break.
    pub tie_break: u64,
}

impl PlaceToken {
    /// The gap before everything.
    pub const START: Self = Self {
        depth: 0,
        tie_break: 0,
    };
    /// The gap after everything.
    pub const END: Self = Self {
        depth: u64::MAX,
        tie_break: u64::MAX,
    };

    /// The gap that a token names; `None` for text that is no token of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let (depth, tie_break) = text.strip_prefix('t')?.split_once('_')?;
        Some(Self {
            depth: depth.parse().ok()?,
            tie_break: tie_break.parse().ok()?,
        })
    }

    /// The gap just above the event at this one.
    pub fn above(self) -> Self {
        match self.tie_break.checked_add(1) {
            Some(tie_break) => Self { tie_break, ..self },
            None => Self {
                depth: self.depth.saturating_add(1),
                tie_break: 0,
            },
        }
    }
}

impl std::fmt::Display for PlaceToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "t{}_{}", self.depth, self.tie_break)
    }
}
