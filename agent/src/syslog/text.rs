//! What is added to a replayed message that lacks it: a time, and the sender's process number.
//!
//! The local form of RFC 3164, as `syslog(3)` writes it: `<PRI>Mmm dd hh:mm:ss tag[pid]: text`. One datagram is one
//! message; nothing is removed or split here, and messages in RFC 5424's form are not changed.

use std::process::{Command, Stdio};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// The length of `Mmm dd hh:mm:ss `.
const TIME_LENGTH: usize = 16;
/// A longer word at the beginning does not count as a tag.
const LONGEST_TAG: usize = 64;

/// Seconds that the local time is ahead of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LocalOffset(i64);

impl LocalOffset {
    /// No offset.
    #[cfg(test)]
    pub(super) const UTC: Self = Self(0);

    /// Asks `date(1)`: the standard library knows no time zones. UTC if that fails.
    pub(super) fn find() -> Self {
        let output = Command::new("date").arg("+%z").stdin(Stdio::null()).stderr(Stdio::null()).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        Self(text.ok().and_then(|text| offset(text.trim())).unwrap_or(0))
    }
}

/// `+hhmm` in seconds.
fn offset(text: &str) -> Option<i64> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = digits.split_at_checked(2)?;
    let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
    Some(sign * (i64::from(hours) * 3600 + i64::from(minutes) * 60))
}

/// The message with its time, if the sender did not write one.
pub(super) fn with_time(text: &[u8], time_ns: u64, offset: LocalOffset) -> Option<Vec<u8>> {
    let (priority, rest) = split_priority(text);
    if has_time(rest) {
        return None;
    }
    Some([priority, rfc3164(time_ns, offset).as_bytes(), rest].concat())
}

/// The message with the number of the process that sent it, if it has none; `None` if it needs no change.
pub(super) fn with_pid(text: &[u8], pid: i32) -> Option<Vec<u8>> {
    let (priority, rest) = split_priority(text);
    if pid == 0 || is_rfc5424(rest) {
        return None;
    }
    let (time, rest) = if is_rfc3164_time(rest) { rest.split_at(TIME_LENGTH) } else { (&[][..], rest) };
    let end = rest
        .iter()
        .take(LONGEST_TAG)
        .position(|byte| matches!(byte, b':' | b'[') || !byte.is_ascii_graphic());
    let (tag, number, rest) = match end.and_then(|end| rest.split_at_checked(end)) {
        Some((tag, rest)) if !tag.is_empty() && rest.starts_with(b":") => (tag, format!("[{pid}]"), rest),
        Some((tag, rest)) if !tag.is_empty() && rest.starts_with(b"[") && has_number(rest) => return None,
        // `-` is syslog's word for an unknown tag.
        _ => (&b"-"[..], format!("[{pid}]: "), rest),
    };
    Some([priority, time, tag, number.as_bytes(), rest].concat())
}

/// Whether `[123]:` is at the beginning.
fn has_number(text: &[u8]) -> bool {
    let digits = text.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && text.get(digits + 1..).is_some_and(|rest| rest.starts_with(b"]:"))
}

/// `<PRI>` and what follows.
fn split_priority(text: &[u8]) -> (&[u8], &[u8]) {
    let digits = text.iter().skip(1).take(4).take_while(|byte| byte.is_ascii_digit()).count();
    let whole =
        text.first() == Some(&b'<') && (1..=3).contains(&digits) && text.get(digits + 1) == Some(&b'>');
    text.split_at(if whole { digits + 2 } else { 0 })
}

fn has_time(text: &[u8]) -> bool {
    is_rfc3164_time(text) || is_rfc3339_time(text) || is_rfc5424(text)
}

fn is_rfc3164_time(text: &[u8]) -> bool {
    let at = |index: usize, byte: u8| text.get(index) == Some(&byte);
    at(3, b' ') && at(6, b' ') && at(9, b':') && at(12, b':') && at(15, b' ')
}

fn is_rfc3339_time(text: &[u8]) -> bool {
    let at = |index: usize, byte: u8| text.get(index) == Some(&byte);
    at(4, b'-') && at(7, b'-') && (at(10, b'T') || at(10, b' ')) && at(13, b':') && at(16, b':')
}

/// Whether a message has the version `1` of RFC 5424 after the priority; time and PROCID follow.
fn is_rfc5424(text: &[u8]) -> bool {
    text.starts_with(b"1 ")
        && text.get(2..).is_some_and(|rest| rest.starts_with(b"- ") || is_rfc3339_time(rest))
}

/// The time in the form of RFC 3164 section 4.1.2, with a space after it.
fn rfc3164(time_ns: u64, offset: LocalOffset) -> String {
    let seconds = i64::try_from(time_ns / 1_000_000_000).unwrap_or(0).saturating_add(offset.0).max(0);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (month, day) = month_and_day(days);
    let name = usize::try_from(month).ok().and_then(|month| MONTHS.get(month)).copied().unwrap_or("Jan");
    format!("{name} {day:2} {:02}:{:02}:{:02} ", second / 3600, second / 60 % 60, second % 60)
}

/// Month (from 0) and day (from 1) of a day since 1970: the civil calendar counted from March of the year 0.
fn month_and_day(days: i64) -> (i64, i64) {
    let days = days + 719_468;
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    ((shifted + 2) % 12, of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UTC: LocalOffset = LocalOffset::UTC;

    fn time(text: &str) -> Option<String> {
        // 2026-11-29 00:50:59 UTC.
        let changed = with_time(text.as_bytes(), 1_795_913_459_000_000_000, UTC);
        changed.map(|text| String::from_utf8(text).unwrap())
    }

    fn pid(text: &str) -> Option<String> {
        with_pid(text.as_bytes(), 42).map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn a_time_is_added_only_where_there_is_none() {
        assert_eq!(time("<13>cron: x").unwrap(), "<13>Nov 29 00:50:59 cron: x");
        assert_eq!(time("x").unwrap(), "Nov 29 00:50:59 x");
        assert_eq!(time("").unwrap(), "Nov 29 00:50:59 ");
        for text in [
            "<13>Nov  2 05:00:00 cron: x",
            "Nov  2 05:00:00 cron: x",
            "<13>2026-11-29T00:50:59+01:00 host cron: x",
            "<13>1 2026-11-29T00:50:59Z host cron 7 - - x",
            "<13>1 - host cron 7 - - x",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
        assert_eq!(time("<1234>x").unwrap(), "Nov 29 00:50:59 <1234>x", "that is not a priority");
        assert_eq!(time("a\0b\nc").unwrap(), "Nov 29 00:50:59 a\0b\nc", "nothing is removed or split");
    }

    #[test]
    fn a_process_number_is_added_only_where_there_is_none() {
        assert_eq!(pid("<13>Nov  2 05:00:00 cron: x").unwrap(), "<13>Nov  2 05:00:00 cron[42]: x");
        assert_eq!(pid("<13>cron: x").unwrap(), "<13>cron[42]: x");
        assert_eq!(pid("<13>no tag here: x").unwrap(), "<13>-[42]: no tag here: x");
        assert_eq!(pid("").unwrap(), "-[42]: ");
        assert_eq!(pid("<13>cron[x]: y").unwrap(), "<13>-[42]: cron[x]: y");
        assert_eq!(pid("<13>Nov  2 05:00:00 cron[7]: x"), None);
        assert_eq!(pid("<13>1 2026-11-29T00:50:59Z host cron 7 - - x"), None);
        assert_eq!(with_pid(b"<13>cron: x", 0), None, "the process is not known");
    }

    #[test]
    fn days_and_offsets_are_right() {
        assert_eq!(rfc3164(0, UTC), "Jan  1 00:00:00 ");
        // 2024-02-29 23:59:59 UTC, two hours ahead.
        assert_eq!(rfc3164(1_709_251_199_000_000_000, LocalOffset(7200)), "Mar  1 01:59:59 ");
        assert_eq!(rfc3164(1_709_251_199_000_000_000, UTC), "Feb 29 23:59:59 ");
        assert_eq!(offset("+0130"), Some(5400));
        assert_eq!(offset("-1000"), Some(-36_000));
        assert_eq!(offset("UTC"), None);
        assert_eq!(offset(""), None);
    }
}
