//! The time of day, as a parameter.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

/// A moment: milliseconds since 1970-01-01T00:00:00Z, the unit of every time in
/// the Matrix specification.
///
/// Displays as `2026-11-23T12:00:00.123Z`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The moment `wait` after this one; the last representable one on overflow.
    pub fn plus(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(milliseconds(wait)))
    }

    /// The moment `wait` before this one; the epoch if there is none.
    pub fn minus(self, wait: Duration) -> Self {
        Self(self.0.saturating_sub(milliseconds(wait)))
    }

    /// Year, month (1 to 12) and day (1 to 31) in UTC.
    pub fn date(self) -> (u64, u64, u64) {
        civil_date(self.0 / 86_400_000)
    }

    /// The moment as HTTP writes it (RFC 9110): `Mon, 23 Nov 2026 12:00:00 GMT`.
    pub fn http_date(self) -> String {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let seconds = self.0 / 1_000;
        // The epoch was a Thursday.
        let weekday = (seconds / 86_400 % 7) as usize;
        let (year, month, day) = self.date();
        let month = MONTHS[(month.clamp(1, 12) - 1) as usize];
        let second = seconds % 86_400;
        let (hours, minutes, seconds) = (second / 3_600, second / 60 % 60, second % 60);
        let weekday = DAYS[weekday];
        format!("{weekday}, {day:02} {month} {year:04} {hours:02}:{minutes:02}:{seconds:02} GMT")
    }

    /// How long after `earlier` this moment is; zero if it is not after it, which
    /// happens whenever somebody sets the machine's clock back.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millisecond) = (self.0 / 1_000, self.0 % 1_000);
        let (year, month, day) = self.date();
        let second_of_day = seconds % 86_400;
        write!(
            formatter,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millisecond:03}Z",
            second_of_day / 3_600,
            second_of_day / 60 % 60,
            second_of_day % 60,
        )
    }
}

/// Year, month (1 to 12) and day (1 to 31) of the Gregorian calendar, `days`
/// days after 1970-01-01.
fn civil_date(days: u64) -> (u64, u64, u64) {
    // Counting years from March makes the leap day the last of its year, and eras
    // of 400 years have equal lengths. 719,468 days lie between 0000-03-01 and
    // the epoch.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// What time it is. Clones share one clock.
///
/// The system's clock may jump back; whoever needs an order uses a position of
/// the store, never a time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The operating system's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until somebody advances it: for tests.
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(start.0))))
    }

    /// The time of day. A system clock before 1970 counts as 1970.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the system"
    )]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp(milliseconds(
                SystemTime::now()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap_or_default(),
            )),
            Source::Manual(time) => Timestamp(time.load(Ordering::SeqCst)),
        }
    }

    /// Sets a manual clock, also back. The system's clock goes its own way: nothing
    /// happens.
    pub fn set(&self, to: Timestamp) {
        if let Source::Manual(time) = &self.0 {
            time.store(to.0, Ordering::SeqCst);
        }
    }

    /// Moves a manual clock on by `milliseconds`. The system's clock goes its own
    /// way: nothing happens.
    pub fn advance(&self, milliseconds: u64) {
        if let Source::Manual(time) = &self.0 {
            time.fetch_add(milliseconds, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_displays_as_a_date() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (1_709_251_199_001, "2024-02-29T23:59:59.001Z"),
            (1_735_689_600_000, "2025-01-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(Timestamp(milliseconds).to_string(), text);
        }
    }

    #[test]
    fn a_timestamp_is_a_date_of_http() {
        for (milliseconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777_000, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_868_799_999, "Tue, 29 Feb 2000 23:59:59 GMT"),
        ] {
            assert_eq!(Timestamp(milliseconds).http_date(), text);
        }
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual(Timestamp(1_000));
        let same = clock.clone();
        clock.advance(500);
        assert_eq!(same.now(), Timestamp(1_500));
        assert_eq!(
            same.now().since(Timestamp(1_000)),
            Duration::from_millis(500)
        );
        assert_eq!(Timestamp(1_000).since(same.now()), Duration::ZERO);
    }
}
