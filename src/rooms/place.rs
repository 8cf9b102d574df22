//! Tokens of `/messages`: a place between two events of a room's timeline.

/// A gap in a room's timeline: just below the event at (`depth`, `tie_break`), if
/// there is one there. Opaque to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlaceToken {
    /// The depth of the event above the gap.
    pub depth: u64,
    /// That event's tie-break.
    pub tie_break: u64,
    /// Only what had come by this commit counts. Where forks of the graph meet, events
    /// stand below others that a client was told before them.
    pub until: u64,
}

impl PlaceToken {
    /// The gap before everything.
    pub const START: Self = Self::at(0, 0);
    /// The gap after everything.
    pub const END: Self = Self::at(u64::MAX, u64::MAX);

    /// The gap just below a depth and tie-break.
    pub const fn at(depth: u64, tie_break: u64) -> Self {
        Self {
            depth,
            tie_break,
            until: u64::MAX,
        }
    }

    /// The gap that a token names; `None` for text that is no token of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix('t')?.split('_');
        let mut part = || parts.next().map(|part| part.parse().ok());
        let place = Self {
            depth: part()??,
            tie_break: part()??,
            until: part().unwrap_or(Some(u64::MAX))?,
        };
        parts.next().is_none().then_some(place)
    }

    /// The gap just above the event at this one.
    pub fn above(self) -> Self {
        match self.tie_break.checked_add(1) {
            Some(tie_break) => Self { tie_break, ..self },
            None => Self {
                depth: self.depth.saturating_add(1),
                tie_break: 0,
                ..self
            },
        }
    }
}

impl std::fmt::Display for PlaceToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "t{}_{}", self.depth, self.tie_break)?;
        match self.until {
            u64::MAX => Ok(()),
            until => write!(formatter, "_{until}"),
        }
    }
}
