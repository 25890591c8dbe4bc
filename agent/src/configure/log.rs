//! The log of a stage: the agent's own lines begin with `psyops: `, lines that a role's command printed with
//! [`handoff::shown::MARK`]. Both are escaped, so that a role cannot write a line that looks like the agent's.

use crate::file::{self, FileError, failing};
use handoff::shown::{MARK, Shown, ShownBytes};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

/// If a log is larger than this at the start of a run, it is renamed, so that many runs do not fill the medium.
const MOST_LOG: u64 = 4 << 20;
/// How many bytes of a line are kept.
const MOST_LINE: usize = 4096;
/// How many bytes one attempt at a command may add to the log.
pub(crate) const MOST_OUTPUT: usize = 256 << 10;

/// Opens the log at `path`, to append to it. A log that is too long replaces the only old one, `PATH.old`.
pub(super) fn open(path: &Path) -> Result<File, FileError> {
    if fs::metadata(path).is_ok_and(|log| log.len() > MOST_LOG) {
        failing("rename", path, fs::rename(path, path.with_extension("log.old")))?;
    }
    file::open_log(path)
}

/// Adds a line of the agent.
pub(super) fn say(log: &File, line: &str) {
    add(log, &format!("psyops: {}\n", Shown(line)));
}

/// Each line is one write: another process that reads a daemon's output may add lines to the same log.
fn add(mut log: &File, line: &str) {
    // A log on a full medium must not stop the run.
    let _ = log.write_all(line.as_bytes());
}

/// The output of a command, on its way into the log.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    log: &'a File,
    /// The line that has not ended yet, up to its limit.
    line: Vec<u8>,
    /// Bytes of that line beyond the limit.
    cut: u64,
    /// How many bytes may still be added to the log.
    left: usize,
    /// Bytes that were left out because there was too much.
    dropped: u64,
}

impl<'a> Output<'a> {
    /// Output that may add `left` bytes to `log`.
    pub(crate) fn new(log: &'a File, left: usize) -> Self {
        Self { log, line: Vec::new(), cut: 0, left, dropped: 0 }
    }

    /// How many bytes may still be added.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Takes the next output, which may end in the middle of a line.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            let (kept, cut) = text.split_at(text.len().min(MOST_LINE.saturating_sub(self.line.len())));
            self.line.extend_from_slice(kept);
            self.cut = self.cut.saturating_add(length(cut));
            if text.len() < part.len() {
                self.end_line();
            }
        }
    }

    /// Adds the last line, if it has no line end, and a note about what was left out.
    pub(crate) fn end(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
        if self.dropped > 0 {
            say(
                self.log,
                &format!("{} bytes of output were left out: the log has reached its limit", self.dropped),
            );
            self.dropped = 0;
        }
    }

    fn end_line(&mut self) {
        let text = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        let mut line = format!("{MARK}{}", ShownBytes(text));
        if self.cut > 0 {
            line.push_str(&format!(" ({} bytes more)", self.cut));
        }
        line.push('\n');
        if let Some(left) = self.left.checked_sub(line.len()) {
            add(self.log, &line);
            self.left = left;
        } else {
            // No shorter line follows a line that was left out: the log ends where it is full.
            self.dropped = self.dropped.saturating_add(length(&self.line)).saturating_add(self.cut);
            self.left = 0;
        }
        self.line.clear();
        self.cut = 0;
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::iter;

    fn logged(left: usize, parts: &[&[u8]]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let log = open(&path).unwrap();
        let mut output = Output::new(&log, left);
        for part in parts {
            output.take(part);
        }
        output.end();
        file::read_text(&path).unwrap()
    }

    #[test]
    fn output_of_a_role_cannot_imitate_the_agent_or_move_the_cursor() {
        let text =
            "ready\r\npsyops: role x: ok\n\n\u{1b}]52;c;eA==\u{7}\rpsyops: forged\u{202e}\u{9b}2J\u{2028}";
        let wanted = "  | ready\n  | psyops: role x: ok\n  | \n  | \\u001b]52;c;eA==\\u0007\\rpsyops: \
                      forged\\u202e\\u009b2J\\u2028\n";
        assert_eq!(logged(MOST_OUTPUT, &[text.as_bytes()]), wanted);
        for cut in 0..text.len() {
            let (before, after) = text.as_bytes().split_at(cut);
            assert_eq!(logged(MOST_OUTPUT, &[before, after]), wanted, "cut at {cut}");
        }
        assert_eq!(logged(MOST_OUTPUT, &[b"\xff\xc3"]), "  | \\xff\\xc3\n");
    }

    #[test]
    fn a_long_line_is_cut_and_its_length_is_noted() {
        let long = vec![b'a'; MOST_LINE + 10];
        let wanted = format!("  | {} (10 bytes more)\n  | b\n", "a".repeat(MOST_LINE));
        assert_eq!(logged(MOST_OUTPUT, &[&long, b"\nb"]), wanted);
    }

    #[test]
    fn output_without_end_does_not_fill_the_log() {
        let line: &[u8] = &[b'\x1b'; 99];
        let parts: Vec<&[u8]> = iter::repeat_n([line, b"\n"], 2000).flatten().collect();
        let log = logged(10_000, &parts);
        let lines = log.lines().filter(|line| line.starts_with(MARK)).count();
        assert_eq!(lines, 10_000 / (99 * 6 + 5));
        let note = format!(
            "psyops: {} bytes of output were left out: the log has reached its limit\n",
            99 * (2000 - lines)
        );
        assert!(log.ends_with(&note) && log.len() < 10_000 + 2 * note.len(), "{} {log:.100}", log.len());
    }

    #[test]
    fn a_line_of_the_agent_stays_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        say(&open(&path).unwrap(), "changed a\npsyops: stage configure ends: ok\u{1b}[2J");
        let text = file::read_text(&path).unwrap();
        assert_eq!(text, "psyops: changed a\\npsyops: stage configure ends: ok\\u001b[2J\n");
    }

    #[test]
    fn a_log_that_is_too_long_is_renamed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        open(&path).unwrap().set_len(MOST_LOG + 1).unwrap();
        say(&open(&path).unwrap(), "new");
        assert_eq!(file::read_text(&path).unwrap(), "psyops: new\n");
        assert_eq!(fs::metadata(folder.path().join("x.log.old")).unwrap().len(), MOST_LOG + 1);
    }
}
