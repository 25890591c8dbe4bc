//! What a machine's serial console may do to the user's terminal.
//!
//! A terminal obeys control sequences: they change its title, write to the clipboard (OSC 52), or make it type an
//! answer into the program that reads its input next. So only what displays text is passed: plain text, line ends,
//! backspace, tabs, and of the control sequences (CSI; ECMA-48, section 5.4) those of [`FINAL_BYTES`]. Those of
//! [`DROPPED`], which firmware and every shell print, are left out. Everything else is shown as the escapes of
//! [`handoff::shown`].

use handoff::shown::{ShownBytes, must_be_escaped};

/// The last bytes of the sequences that are passed: moving the cursor, erasing, inserting and deleting within the
/// screen, and colours. None of them makes a terminal answer.
const FINAL_BYTES: &[u8] = b"@ABCDEFGHJKLMPXdfm";
/// The last bytes of sequences that are left out: queries to the terminal (`n`, `c`), modes (`h`, `l`) and its reset
/// (`p`).
const DROPPED: &[u8] = b"chlnp";
/// The longest sequence in bytes: programs need no longer ones, and it limits what is held back.
const MOST_SEQUENCE: usize = 32;
/// The most digits of a number in a sequence: terminals have fewer than 10,000 lines and columns, and some commands
/// repeat.
const MOST_DIGITS: usize = 4;

const ESCAPE: u8 = 0x1b;

/// A filter for one stream. Its bytes may come in pieces of any size.
#[derive(Debug, Default)]
pub struct Filter {
    /// The beginning of a sequence or of a character, held until the rest arrives.
    held: Vec<u8>,
    /// Whether the cursor was moved, and may be above what was displayed.
    has_moved: bool,
}

impl Filter {
    /// The bytes for the terminal after these bytes of the machine.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            self.take(byte, &mut shown);
        }
        shown
    }

    /// The bytes that are still held at the end of the stream, and a reset of the colours. If the machine moved the
    /// cursor, it is moved to the last line: what follows, such as the user's prompt, must not appear within the
    /// machine's output.
    pub fn end(&mut self) -> Vec<u8> {
        let mut shown = Vec::new();
        self.give_up(&mut shown);
        shown.extend_from_slice(b"\x1b[m");
        if self.has_moved {
            shown.extend_from_slice(b"\x1b[9999;1H\r\n");
        }
        shown
    }

    fn take(&mut self, byte: u8, shown: &mut Vec<u8>) {
        self.held.push(byte);
        match verdict(&self.held) {
            Verdict::Incomplete => {}
            Verdict::Pass => {
                self.has_moved |= self.held.starts_with(b"\x1b[") && !self.held.ends_with(b"m");
                shown.append(&mut self.held);
            }
            Verdict::Drop => self.held.clear(),
            Verdict::Escape => self.give_up(shown),
            Verdict::EscapeBefore => {
                // The last byte is not part of what was begun: it may begin something else.
                self.held.pop();
                self.give_up(shown);
                self.take(byte, shown);
            }
        }
    }

    fn give_up(&mut self, shown: &mut Vec<u8>) {
        shown.extend_from_slice(ShownBytes(&self.held).to_string().as_bytes());
        self.held.clear();
    }
}

/// What to do with the held bytes.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// More bytes are needed to decide.
    Incomplete,
    /// They are passed to the terminal unchanged.
    Pass,
    /// They are left out.
    Drop,
    /// They are shown escaped.
    Escape,
    /// All but the last one are shown escaped, and the last one is processed again.
    EscapeBefore,
}

fn verdict(held: &[u8]) -> Verdict {
    match held {
        [ESCAPE] | [ESCAPE, b'['] => Verdict::Incomplete,
        [ESCAPE, b'[', parameters @ .., last] => verdict_on_sequence(parameters, *last),
        [ESCAPE, ..] => Verdict::EscapeBefore,
        _ => verdict_on_text(held),
    }
}

fn verdict_on_sequence(parameters: &[u8], last: u8) -> Verdict {
    match last {
        b'0'..=b'9' | b';' | b'?' | b'=' | b'>' | b'!' if parameters.len() < MOST_SEQUENCE => {
            Verdict::Incomplete
        }
        last if FINAL_BYTES.contains(&last) && are_plain(parameters, last) => Verdict::Pass,
        last if DROPPED.contains(&last) => Verdict::Drop,
        b' '..=b'~' => Verdict::Escape,
        _ => Verdict::EscapeBefore,
    }
}

/// Whether the numbers of a sequence are of the kind that programs use to display text.
fn are_plain(parameters: &[u8], last: u8) -> bool {
    let mut numbers = parameters.split(|byte| *byte == b';');
    // ED 3 erases the lines that have scrolled off the screen, which are the user's.
    let erases_the_past = |number: &[u8]| last == b'J' && !matches!(number, b"" | b"0" | b"1" | b"2");
    let is_number = |number: &[u8]| number.len() <= MOST_DIGITS && number.iter().all(u8::is_ascii_digit);
    numbers.all(|number| is_number(number) && !erases_the_past(number))
}

fn verdict_on_text(held: &[u8]) -> Verdict {
    let plain = |c: char| matches!(c, '\n' | '\r' | '\t' | '\u{8}') || !must_be_escaped(c);
    match std::str::from_utf8(held) {
        Ok(text) if text.chars().all(plain) => Verdict::Pass,
        Err(error) if error.error_len().is_none() => Verdict::Incomplete,
        // The first byte of a character is followed by a byte that is not part of it.
        Err(_) if held.len() > 1 => Verdict::EscapeBefore,
        _ => Verdict::Escape,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(pieces: &[&[u8]]) -> String {
        let mut filter = Filter::default();
        let mut shown: Vec<u8> = pieces.iter().flat_map(|piece| filter.pass(piece)).collect();
        assert!(filter.held.len() <= MOST_SEQUENCE + 3);
        shown.extend(filter.end());
        let shown = String::from_utf8(shown).unwrap();
        let shown = shown.strip_suffix("\u{1b}[9999;1H\r\n").unwrap_or(&shown);
        shown.strip_suffix("\u{1b}[m").unwrap().to_owned()
    }

    /// The same for each way to cut the bytes into two pieces, and for single bytes.
    fn assert_shown(bytes: &[u8], wanted: &str) {
        for cut in 0..=bytes.len() {
            let (before, after) = bytes.split_at(cut);
            assert_eq!(filtered(&[before, after]), wanted, "{bytes:?} cut at {cut}");
        }
        assert_eq!(filtered(&bytes.chunks(1).collect::<Vec<_>>()), wanted);
    }

    fn assert_passes(text: &str) {
        assert_shown(text.as_bytes(), text);
    }

    #[test]
    fn text_colours_and_painting_pass() {
        assert_passes("node login: ü 漢 \u{1f600}\r\n\tx\u{8} \u{8}");
        assert_passes("[\u{1b}[0;32m  OK  \u{1b}[0m] \u{1b}[38;5;185mx\u{1b}[m");
        assert_passes(
            "\u{1b}[2J\u{1b}[01;01H\u{1b}[K\u{1b}[12A\u{1b}[1B\u{1b}[C\u{1b}[3D\u{1b}[J\u{1b}[4d\u{1b}[2P",
        );
        assert_passes("a prompt without end $ ");
    }

    #[test]
    fn a_prompt_does_not_follow_where_the_machine_put_the_cursor() {
        let end = |said: &[u8]| {
            let mut filter = Filter::default();
            filter.pass(said);
            String::from_utf8(filter.end()).unwrap()
        };
        assert_eq!(end(b"\x1b[31mred\x1b[m\n"), "\u{1b}[m");
        assert_eq!(end(b"\x1b[10;1Hroot@ws:~# \x1b[1;1H"), "\u{1b}[m\u{1b}[9999;1H\r\n");
    }

    #[test]
    fn queries_that_a_terminal_answers_are_escaped() {
        assert_shown(b"~ # \x1b[6n\x1b[5n", "~ # ");
        assert_shown(b"\x1b[c\x1b[>c\x1b[=0cx\x1b[0q", "x\\u001b[0q");
        assert_shown(b"\x1b[21t\x1b[18t\x1b[x", "\\u001b[21t\\u001b[18t\\u001b[x");
        assert_shown(b"\x1b[?1$p\x1bZ\x05", "\\u001b[?1$p\\u001bZ\\u0005");
    }

    #[test]
    fn titles_clipboard_and_other_strings_are_shown() {
        assert_shown(b"\x1b]52;c;cm0gLXJm\x07", "\\u001b]52;c;cm0gLXJm\\u0007");
        assert_shown(b"\x1b]0;title\x1b\\x", "\\u001b]0;title\\u001b\\x");
        assert_shown(b"\x1bP$qm\x1b\\", "\\u001bP$qm\\u001b\\");
        assert_shown(b"\x1b_apc\x1b^pm\x1bXsos", "\\u001b_apc\\u001b^pm\\u001bXsos");
    }

    #[test]
    fn modes_and_resets_are_escaped() {
        assert_shown(b"\x1b[?1049h\x1b[=3hx\x1b[?25l\x1b[4h\x1b[!p", "x");
        assert_shown(b"\x1bc\x1b(0\x0e", "\\u001bc\\u001b(0\\u000e");
        assert_shown(b"\x1b7\x1b8\x1b[r\x1b[s", "\\u001b7\\u001b8\\u001b[r\\u001b[s");
        assert_shown(b"\x1b[>4;1m\x1b[3J\x1b[0;3J\x1b[03J", "\\u001b[>4;1m\\u001b[3J\\u001b[0;3J\\u001b[03J");
    }

    #[test]
    fn eight_bit_controls_and_marks_are_shown() {
        assert_shown(b"\x9b6n\x90\x9d0;x\x9c", "\\x9b6n\\x90\\x9d0;x\\x9c");
        assert_shown("\u{9b}6n\u{9d}0;x\u{85}".as_bytes(), "\\u009b6n\\u009d0;x\\u0085");
        assert_shown("a\u{202e}b\u{2066}\u{200b}\u{2028}".as_bytes(), "a\\u202eb\\u2066\\u200b\\u2028");
        assert_shown(b"\0\x07\x0b\x0c\x7f", "\\u0000\\u0007\\u000b\\u000c\\u007f");
    }

    #[test]
    fn an_unfinished_sequence_is_escaped_and_the_next_one_is_parsed() {
        assert_shown(b"\x1b[1\x1b[2J\x1b[3", "\\u001b[1\u{1b}[2J\\u001b[3");
        assert_shown(b"\x1b\x1b[m\x1b", "\\u001b\u{1b}[m\\u001b");
        assert_shown(b"\x1b[1\nx\x1b[\x08", "\\u001b[1\nx\\u001b[\u{8}");
        assert_shown(b"\xc3\x1b[6t\xe6\xbc\xe6\xbc\xa2\xc3", "\\xc3\\u001b[6t\\xe6\\xbc漢\\xc3");
        assert_shown("\u{1b}[1ü".as_bytes(), "\\u001b[1ü");
        assert_shown(b"\xf5\xed\xa0\x80\xc0\xaf", "\\xf5\\xed\\xa0\\x80\\xc0\\xaf");
    }

    #[test]
    fn long_sequences_and_numbers_are_shown() {
        assert_passes("\u{1b}[9999;9999H");
        assert_shown(b"\x1b[10000C", "\\u001b[10000C");
        let long = format!("\u{1b}[{}m", "1".repeat(100_000));
        assert!(filtered(&[long.as_bytes()]).starts_with("\\u001b[111"));
        let many = format!("\u{1b}[{}m", "1;".repeat(40));
        assert_eq!(filtered(&[many.as_bytes()]), many.replace('\u{1b}', "\\u001b"));
    }

    /// Checks the passed text with rules that are written independently of the filter's.
    fn is_harmless(text: &str) -> bool {
        let mut parts = text.split('\u{1b}');
        let plain = |c: char| "\n\r\t\u{8}".contains(c) || !must_be_escaped(c);
        parts.next().is_some_and(|first| first.chars().all(plain))
            && parts.all(|part| {
                let Some(rest) = part.strip_prefix('[') else { return false };
                let end = rest.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(rest.len());
                let (numbers, rest) = rest.split_at(end);
                let Some(last) = rest.chars().next() else { return false };
                numbers.len() <= 40
                    && "@ABCDEFGHJKLMPXdfm".contains(last)
                    && !(last == 'J' && numbers.contains('3'))
                    && rest.chars().skip(1).all(plain)
            })
    }

    #[test]
    fn random_bytes_never_become_a_sequence_that_is_not_allowed() {
        const PIECES: [&[u8]; 28] = [
            b"\x1b[",
            b"\x1b[",
            b"\x1b[3",
            b"\x1b[;",
            b"\x1b",
            b"[",
            b"]",
            b"?",
            b">",
            b"6n",
            b"c",
            b"3J",
            b"2J",
            b"m",
            b";",
            b"38",
            b"\x9b",
            b"\xc2",
            b"\x9d",
            b"P",
            b"\\",
            b"\x07",
            b"\n",
            b"\x18",
            b"\xe2\x80",
            b"\xae",
            b" ",
            b"H",
        ];
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: usize| {
            // Xorshift: the same numbers in each run, so that a failure can be reproduced.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).unwrap() % below
        };
        let mut passed = 0;
        for _ in 0..4000 {
            let mut bytes = Vec::new();
            for _ in 0..random(60) {
                match random(4) {
                    0 => bytes.push(u8::try_from(random(256)).unwrap()),
                    _ => bytes.extend_from_slice(PIECES[random(PIECES.len())]),
                }
            }
            let cut = random(bytes.len() + 1);
            let shown = filtered(&[&bytes[..cut], &bytes[cut..]]);
            assert!(is_harmless(&shown), "{bytes:?} became {shown:?}");
            passed += shown.matches('\u{1b}').count();
        }
        assert!(passed > 1000, "nearly nothing got through: {passed}");
    }
}
