//! The command reader: what a user gets if the site allows rescue's commands but no shell.
//!
//! It reads a line, compares it with a list, and runs that command in this program. No shell, pager or editor is
//! started, no word of a line is ever a path or an argument of a program, and nothing is read from the environment.

use super::commands::{self, Output};
use handoff::rescue::RESTRICTED_COMMANDS;
use nix::sys::signal::{SigSet, Signal};
use std::io::{Read, Write};
use std::process::ExitCode;

/// The longest line that can be a command; a longer one is read to its end and refused.
const LONGEST: usize = 64;
const PROMPT: &str = "psyops rescue> ";

/// The meaning of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Typed {
    /// An empty line.
    Empty,
    /// The words of one of [`RESTRICTED_COMMANDS`].
    Command(&'static str, Option<&'static str>),
    /// `exit`: end the session.
    Exit,
    /// Anything else.
    Unknown,
}

/// Runs as the program of a console's session, or as root's shell for the SSH server: with `-c LINE`, only that line.
pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    // The keys that end or stop a program would end the session.
    let mut keys = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP] {
        keys.add(signal);
    }
    let _ = keys.thread_block();
    match arguments {
        [] => converse(&mut std::io::stdin().lock(), &mut std::io::stdout(), &mut execute),
        ["-c", line] => match understand(line.as_bytes()) {
            Typed::Command(name, word) => execute(name, word),
            Typed::Empty | Typed::Exit => ExitCode::SUCCESS,
            Typed::Unknown => commands::usage(Output::Plain),
        },
        _ => commands::usage(Output::Plain),
    }
}

fn execute(name: &str, word: Option<&str>) -> ExitCode {
    let words: Vec<&str> = word.into_iter().collect();
    commands::execute(name, &words, Output::Plain)
}

/// Reads and runs lines until `exit` or the end of the input.
fn converse(
    input: &mut impl Read,
    output: &mut impl Write,
    execute: &mut dyn FnMut(&str, Option<&str>) -> ExitCode,
) -> ExitCode {
    loop {
        let _ = output.write_all(PROMPT.as_bytes()).and_then(|()| output.flush());
        let Some(line) = line(input) else { return ExitCode::SUCCESS };
        match understand(&line) {
            Typed::Empty => {}
            Typed::Exit => return ExitCode::SUCCESS,
            Typed::Command(name, word) => drop(execute(name, word)),
            Typed::Unknown => drop(writeln!(output, "{}", commands::restricted_commands())),
        }
    }
}

/// The next line, without its end; of one that is too long only the beginning, one byte longer than any command may be.
/// `None` at the end of the input.
fn line(input: &mut impl Read) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        match input.read(&mut byte) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return None,
        }
        let [byte] = byte;
        if byte == b'\n' {
            return Some(line);
        }
        if line.len() <= LONGEST {
            line.push(byte);
        }
    }
}

/// Compares the words of a line with the commands. Each is a word or two out of fixed lists.
fn understand(line: &[u8]) -> Typed {
    let text = match std::str::from_utf8(line) {
        Ok(text) if line.len() <= LONGEST => text.strip_suffix('\r').unwrap_or(text),
        _ => return Typed::Unknown,
    };
    if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Typed::Unknown;
    }
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let (name, argument) = match words.as_slice() {
        [] => return Typed::Empty,
        ["exit"] => return Typed::Exit,
        [name] => (*name, None),
        [name, argument] => (*name, Some(*argument)),
        _ => return Typed::Unknown,
    };
    for (command, usage) in RESTRICTED_COMMANDS {
        if command != name {
            continue;
        }
        // The usage is `name`, or `name one|other`.
        let choices = usage.split_once(' ').map(|(_, choices)| choices);
        match (choices, argument) {
            (None, None) => return Typed::Command(command, None),
            (Some(choices), Some(argument)) => {
                if let Some(choice) = choices.split('|').find(|choice| *choice == argument) {
                    return Typed::Command(command, Some(choice));
                }
            }
            _ => {}
        }
    }
    Typed::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_is_understood_and_nothing_else() {
        assert_eq!(understand(b"status"), Typed::Command("status", None));
        assert_eq!(understand(b"  secrets   fix \r"), Typed::Command("secrets", Some("fix")));
        assert_eq!((understand(b" "), understand(b"exit")), (Typed::Empty, Typed::Exit));
        for line in [
            "sh",
            "/bin/sh",
            "status /etc/shadow",
            "log > /dev/sda",
            "log;sh",
            "log | sh",
            "status&",
            "$(sh)",
            "`sh`",
            "secrets",
            "secrets check fix",
            "secrets /init",
            "secrets check|fix",
            "fsck /dev/sda1",
            "fsck -y",
            "!sh",
            "exit 0",
            "status\tx",
            "log\u{1b}[2J",
            "status\0",
            "status \u{a0}",
            "-c sh",
            "busybox",
            "init",
            "help help",
        ] {
            assert_eq!(understand(line.as_bytes()), Typed::Unknown, "{line:?}");
        }
        assert_eq!(understand(b"status\xff"), Typed::Unknown);
        assert_eq!(understand(&[b' '; LONGEST]), Typed::Empty);
        assert_eq!(understand(&[b' '; LONGEST + 1]), Typed::Unknown);
    }

    #[test]
    fn an_endless_line_takes_no_memory_and_the_next_line_is_separate() {
        let mut input =
            std::io::repeat(b'a').take(1 << 20).chain(&b"\nstatus\n\nsecrets check\nexit\nlog\n"[..]);
        let mut output = Vec::new();
        let mut run = Vec::new();
        converse(&mut input, &mut output, &mut |name, word| {
            run.push(format!("{name} {word:?}"));
            ExitCode::SUCCESS
        });
        assert_eq!(run, ["status None", "secrets Some(\"check\")"]);
        let expected = format!("{PROMPT}{}\n{}", commands::restricted_commands(), PROMPT.repeat(4));
        assert_eq!(String::from_utf8(output).unwrap(), expected);
        let mut endless = std::io::repeat(b'x').take(1 << 20);
        assert_eq!(line(&mut endless), None);
        let mut long = std::io::repeat(b'a').take(1 << 20).chain(&b"\n"[..]);
        assert_eq!(line(&mut long).map(|line| line.len()), Some(LONGEST + 1));
    }

    #[test]
    fn the_list_of_commands_is_what_the_reader_runs() {
        for (name, usage) in RESTRICTED_COMMANDS {
            let choices = usage.split_once(' ').map_or(vec![""], |(_, choices)| choices.split('|').collect());
            for choice in choices {
                let typed = understand(format!("{name} {choice}").as_bytes());
                assert!(
                    matches!(typed, Typed::Command(..)) || (name, typed) == ("exit", Typed::Exit),
                    "{name} {choice}"
                );
            }
        }
    }
}
