//! The section `[media]` of the configuration.

runtime::options! {
    /// Files that people upload: pictures, videos, documents, avatars. `limits.max_upload_bytes`
    /// says how long one may be.
    pub struct MediaOptions in "media" {
        /// How many bytes of files a person may have on this server. 0: as many as fit.
        pub max_bytes_per_user: u64 = 10_737_418_240,
        /// How many files a person may have on this server. 0: as many as fit.
        pub max_files_per_user: u64 = 100_000,
        /// How many uploads a person may have announced (POST /_matrix/media/v1/create) that
        /// have not come yet.
        pub max_pending_per_user: u64 = 32,
        /// How long an announced upload may take to come, in seconds.
        pub pending_lifetime: u64 = 86_400,
        /// Uploads are refused when fewer bytes than this are free on the disk of the data
        /// folder, so that files never keep the database from writing.
        pub reserved_disk_bytes: u64 = 536_870_912,
        /// How many bytes of thumbnails are kept; the oldest are made again when asked for.
        pub thumbnail_cache_bytes: u64 = 1_073_741_824,
        /// The longest file of another server that is fetched, in bytes.
        pub max_remote_bytes: u64 = 104_857_600,
        /// How many bytes of other servers' files are kept; the oldest are fetched again when
        /// asked for.
        pub remote_cache_bytes: u64 = 10_737_418_240,
        /// Whether files can be fetched without an access token at the old paths under
        /// /_matrix/media/v3: "" for none, "always" for all, those of other servers too, or a
        /// day such as "2026-12-31" for those uploaded here before it (a freeze). Where not,
        /// those paths answer 404.
        pub unauthenticated_until: String = String::new(),
    }
}

/// An `unauthenticated_until` that is none of the three.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`unauthenticated_until` is \"{0}\": write \"\", \"always\" or a day such as \"2026-12-31\""
)]
pub struct OptionsError(String);

impl MediaOptions {
    /// Files that were uploaded before this, in ms since the Unix epoch, can be
    /// fetched by anybody.
    ///
    /// # Errors
    /// If `unauthenticated_until` cannot be read.
    pub fn open_before(&self) -> Result<u64, OptionsError> {
        match self.unauthenticated_until.as_str() {
            "" => Ok(0),
            "always" => Ok(u64::MAX),
            day => start_of(day).ok_or_else(|| OptionsError(day.to_owned())),
        }
    }
}

/// When a day such as `2026-12-31` begins, in ms since the Unix epoch (UTC). None for
/// days before 1970 and for what is no day.
fn start_of(day: &str) -> Option<u64> {
    let mut parts = day.splitn(3, '-');
    let mut part = |digits: usize| -> Option<u64> {
        let text = parts.next()?;
        let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| is_number)
    };
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    if year < 1970 || !(1..=12).contains(&month) || day < 1 || day > days_of(year, month) {
        return None;
    }
    let years = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 });
    let months = (1..month).map(|month| days_of(year, month));
    let days = years.sum::<u64>() + months.sum::<u64>() + day - 1;
    Some(days * 86_400_000)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use runtime::Timestamp;

    use super::*;

    #[test]
    fn a_freeze_is_never_always_or_a_day() {
        let open_before = |text: &str| {
            let options = MediaOptions {
                unauthenticated_until: text.to_owned(),
                ..MediaOptions::default()
            };
            options.open_before().ok()
        };
        assert_eq!(open_before(""), Some(0));
        assert_eq!(open_before("always"), Some(u64::MAX));
        assert_eq!(open_before("1970-01-01"), Some(0));
        for day in ["2000-02-29", "2026-12-31", "2100-03-01"] {
            let moment = Timestamp(open_before(day).unwrap());
            assert_eq!(moment.to_string(), format!("{day}T00:00:00.000Z"));
        }
        for wrong in [
            "never",
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-1-1",
            "+026-01-01",
            "1969-12-31",
            "2026-12-31T00:00",
            "2026",
        ] {
            assert_eq!(open_before(wrong), None, "{wrong}");
        }
    }
}
