//! The time of the build, as scripts write it down: a root that has the time at which it was made differs tomorrow.
//!
//! Scripts should see the site's build time. A time that they got from this machine's clock in another way is
//! recognized by its value: dates of the days on which the installation ran, and numbers of seconds in that span. The
//! build time itself does not count.

use crate::site::rfc3339;

const SECONDS_PER_DAY: u64 = 86_400;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// How many digits the seconds since 1970 have from 2001 to 2286; then with milli-, micro- and nanoseconds.
const EPOCHS: [(usize, u64); 4] = [(10, 1), (13, 1_000), (16, 1_000_000), (19, 1_000_000_000)];

/// The span of an installation, in seconds since 1970, and the build time that scripts may know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::base) struct Span {
    pub(in crate::base) from: u64,
    pub(in crate::base) to: u64,
    pub(in crate::base) build_time: u64,
}

impl Span {
    /// The first time in this span that the text has, as the text has it.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<String> {
        self.find_number(bytes).or_else(|| self.find_date(bytes))
    }

    fn find_number(&self, bytes: &[u8]) -> Option<String> {
        bytes.split(|byte| !byte.is_ascii_digit()).find_map(|digits| {
            let (_, unit) = EPOCHS.iter().find(|(length, _)| *length == digits.len())?;
            let text = std::str::from_utf8(digits).ok()?;
            let seconds = text.parse::<u64>().ok()? / unit;
            let is_it = (self.from..=self.to).contains(&seconds) && seconds != self.build_time;
            is_it.then(|| text.to_owned())
        })
    }

    fn find_date(&self, bytes: &[u8]) -> Option<String> {
        let days = self.from / SECONDS_PER_DAY..=self.to / SECONDS_PER_DAY;
        // A date on the day of the build time can be the build time.
        let mut days = days.filter(|day| *day != self.build_time / SECONDS_PER_DAY);
        days.find_map(|day| forms(day).into_iter().find(|form| has_word(bytes, form.as_bytes())))
    }
}

/// The forms of a date: ISO 8601, digits only, RFC 5322, date(1) and syslog, languages with the day first or last.
fn forms(day: u64) -> Vec<String> {
    let text = rfc3339(day * SECONDS_PER_DAY);
    let mut parts = text.split(['-', 'T']);
    let (Some(year), Some(month), Some(date)) = (parts.next(), parts.next(), parts.next()) else {
        return Vec::new();
    };
    let number = |text: &str| text.parse::<usize>().unwrap_or(1);
    let name = MONTHS.get(number(month) - 1).copied().unwrap_or_default();
    let (short, plain) = (&name[..3], number(date));
    vec![
        format!("{year}-{month}-{date}"),
        format!("{year}{month}{date}"),
        format!("{year}/{month}/{date}"),
        format!("{date}/{month}/{year}"),
        format!("{month}/{date}/{year}"),
        format!("{date}.{month}.{year}"),
        format!("{plain} {short} {year}"),
        format!("{date} {short} {year}"),
        format!("{plain} {name} {year}"),
        format!("{short} {plain}, {year}"),
        format!("{name} {plain}, {year}"),
        format!("{short} {plain} {year}"),
        // `Sun Nov 29 06:17:39 UTC 2026`, `Nov  1 06:17:39`: what follows is a time of the day.
        format!("{short} {plain:>2} ?"),
        format!("{short} {date} ?"),
    ]
}

/// Whether the text is there, without a digit or letter before it or a digit after it; a `?` at its end matches
/// `12:34`. A date of digits only may be followed by the four or six digits of a time.
fn has_word(bytes: &[u8], form: &[u8]) -> bool {
    let (text, with_time) = form.strip_suffix(b"?").map_or((form, false), |text| (text, true));
    let all_digits = text.iter().all(u8::is_ascii_digit);
    bytes.windows(text.len()).enumerate().any(|(at, window)| {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        let after = &bytes[at + text.len()..];
        let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let ends = if with_time {
            matches!(after, [b'0'..=b'2', b'0'..=b'9', b':', b'0'..=b'5', b'0'..=b'9', ..])
        } else {
            digits == 0 || (all_digits && matches!(digits, 4 | 6))
        };
        window == text && !before.is_some_and(u8::is_ascii_alphanumeric) && ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-29 06:17:39 to 06:20, of a site of 2026-11-01.
    const SPAN: Span = Span { from: 1_795_933_059, to: 1_795_933_200, build_time: 1_793_491_200 };

    #[test]
    fn the_time_of_the_build_is_found_in_each_form() {
        assert_eq!(rfc3339(SPAN.from), "2026-11-29T06:17:39Z");
        for text in [
            "2026-11-29",
            "2026-11-29T06:17:39Z",
            "20261129",
            "20261129061739",
            "2026112906",
            "202611290617",
            "29/11/2026",
            "11/29/2026",
            "29.11.2026",
            "29 Nov 2026",
            "Sun, 29 Nov 2026 06:17:39 +0000",
            "Nov 29, 2026",
            "November 29, 2026",
            "29 November 2026",
            "Sun Nov 29 06:17:39 UTC 2026",
            "Nov 29 06:17:39",
            "1795933059",
            "1795933100123",
            "1795933100123456",
            "1795933100123456789",
            "1795933059.5",
        ] {
            // Ten digits are seconds, or not a time at all.
            let expected = text != "2026112906";
            assert_eq!(SPAN.find(format!("made {text};\n").as_bytes()).is_some(), expected, "{text}");
        }
        let ninth = Span { from: 1_794_205_059, to: 1_794_205_059, ..SPAN };
        assert_eq!(rfc3339(ninth.from), "2026-11-09T06:17:39Z");
        for text in
            ["Mon Nov  9 06:17:39 2026", "9 Nov 2026", "09 Nov 2026", "Nov 9, 2026", "Nov 09 06:17:39"]
        {
            assert!(ninth.find(text.as_bytes()).is_some(), "{text}");
        }
        let over_midnight = Span { to: SPAN.from + SECONDS_PER_DAY, ..SPAN };
        assert_eq!(over_midnight.find(b"2026-11-30"), Some("2026-11-30".to_owned()));
    }

    #[test]
    fn other_times_and_the_build_time_are_not_reported() {
        for text in [
            "2026-11-28",
            "2026-11-01",
            "20261101",
            "1793491200",
            "Nov  1 00:00:00",
            "Nov 29",
            "Nov 29 is a day",
            "12026-11-29",
            "2026-11-290",
            "1795933058",
            "1795933201",
            "17959330590",
            "201120261129",
            "1.20.26",
        ] {
            assert_eq!(SPAN.find(text.as_bytes()), None, "{text}");
        }
        // Built on the day of the site's own time: only the seconds tell them apart.
        let same_day = Span { build_time: SPAN.from + 60, ..SPAN };
        assert_eq!(same_day.find(b"2026-11-29 1795933119"), None);
        assert_eq!(same_day.find(b"2026-11-29 1795933120"), Some("1795933120".to_owned()));
    }
}
