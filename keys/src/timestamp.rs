//! A moment in UTC, as seconds since 1970 and as RFC 3339 text in its one form `YYYY-MM-DDThh:mm:ssZ`.
//!
//! No code here reads a clock. Other offsets and fractions of a second are refused, so that one moment has one text.

use std::fmt;
use std::str::FromStr;

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(u64);

/// The last second of the year 9999, beyond which RFC 3339 has no text.
const LAST: u64 = 253_402_300_799;

/// A text that is not a moment in this form; holds the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time; expected UTC as in 2026-01-31T12:00:00Z")]
pub struct BadTimestamp(pub String);

impl Timestamp {
    /// The moment `seconds` after the beginning of 1970, at most the last of the year 9999.
    #[must_use]
    pub fn from_unix(seconds: u64) -> Self {
        Self(seconds.min(LAST))
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn unix(self) -> u64 {
        self.0
    }
}

/// Days from 1970-01-01 to the first of March of a year that begins in March, and back, as in the proleptic Gregorian
/// calendar: with the leap day last, months have lengths of a fixed pattern.
const DAYS_TO_1970_FROM_MARCH_0: u64 = 719_468;

#[expect(
    clippy::arithmetic_side_effects,
    reason = "years end at 9999, so all sums stay far below the limits"
)]
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + day_of_year - DAYS_TO_1970_FROM_MARCH_0
}

#[expect(clippy::arithmetic_side_effects, reason = "a Timestamp ends with the year 9999")]
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_TO_1970_FROM_MARCH_0;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0 / 86_400);
        let second = self.0 % 86_400;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl FromStr for Timestamp {
    type Err = BadTimestamp;

    #[expect(clippy::arithmetic_side_effects, reason = "every field is below 10000")]
    fn from_str(text: &str) -> Result<Self, BadTimestamp> {
        let bad = || BadTimestamp(text.to_owned());
        let number = |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<u64>().ok());
        let fields = (|| {
            Some((
                number(0, 4)?,
                number(5, 7)?,
                number(8, 10)?,
                number(11, 13)?,
                number(14, 16)?,
                number(17, 19)?,
            ))
        })();
        let (year, month, day, hour, minute, second) = fields.ok_or_else(bad)?;
        let in_range = (1970..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        if !in_range {
            return Err(bad());
        }
        let moment = Self(days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second);
        // Days that a month does not have, signs and other separators show when the moment is written again.
        if moment.to_string() == text { Ok(moment) } else { Err(bad()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
            (LAST, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Timestamp::from_unix(seconds).to_string(), text);
            assert_eq!(text.parse(), Ok(Timestamp::from_unix(seconds)));
        }
    }

    #[test]
    fn one_moment_has_one_text() {
        for text in [
            "",
            "2023-02-29T00:00:00Z",
            "2023-11-14T22:13:20+00:00",
            "2023-11-14 22:13:20Z",
            "2023-11-14T22:13:20.0Z",
            "2023-11-14T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "+023-11-14T22:13:20Z",
            "2023-13-01T00:00:00Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(BadTimestamp(text.to_owned())), "{text}");
        }
    }
}
