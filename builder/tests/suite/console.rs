//! `psyops run` on a terminal: the output of the machine is filtered, and the terminal is restored afterwards.
//!
//! A program replaces QEMU: it prints what a hostile image could print, and uses the terminal as QEMU does.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A title, the clipboard, a query that the terminal answers by typing, coloured text, and right-to-left text.
const SAID: &str = r"\033]0;title\007\033]52;c;cm0=\007\033[6n\033[31mred\033[0m \342\200\256turned\n";
const SHOWN: &str = "\\u001b]0;title\\u0007\\u001b]52;c;cm0=\\u0007\u{1b}[31mred\u{1b}[0m \\u202eturned";

/// What is compared: the terminal's settings, and whether reading from it blocks.
const SETTINGS: &str = "(stty -g; grep ^flags /proc/self/fdinfo/0)";
/// QEMU makes its input nonblocking.
const NO_WAIT: &str = "perl -MFcntl -e 'fcntl(STDIN, F_SETFL, O_RDWR | O_NONBLOCK) or die'";

struct Fixture {
    folder: TempDir,
}

impl Fixture {
    /// A fixture in which the machine runs `script` after its output.
    fn new(script: &str) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        let qemu = place.at("programs/qemu-system-x86_64");
        fs::create_dir(place.at("programs")).unwrap();
        fs::write(&qemu, format!("#!/bin/sh\nstty raw -echo\nprintf '{SAID}'\n{script}\n")).unwrap();
        fs::set_permissions(qemu, fs::Permissions::from_mode(0o755)).unwrap();
        fs::File::create(place.at("x.img")).unwrap().set_len(8 << 20).unwrap();
        let sfdisk = format!("echo size=1MiB | sfdisk --quiet --label gpt {}", place.at("x.img").display());
        assert!(Command::new("sh").args(["-c", &sfdisk]).status().unwrap().success());
        place
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// The output on a terminal on which a shell runs `line`, where `psyops` is the program.
    fn on_a_terminal(&self, line: &str) -> String {
        let path = std::env::var("PATH").unwrap();
        let psyops = format!("'{}'", env!("CARGO_BIN_EXE_psyops"));
        let mut script = Command::new("script");
        script.args(["-qec", &line.replace("psyops", &psyops), "/dev/null"]).current_dir(self.folder.path());
        script.env("PATH", format!("{}:{path}", self.at("programs").display()));
        script.env("XDG_DATA_HOME", self.at("data")).env("XDG_CACHE_HOME", self.at("cache"));
        // The end of the input would be typed as Ctrl-D.
        let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let keyboard = child.stdin.take();
        let output = child.wait_with_output().unwrap();
        drop(keyboard);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The terminal's settings before and after `line`.
    fn settings_around(&self, line: &str) -> (String, String) {
        let text = self.on_a_terminal(&format!("{SETTINGS} > before; {line}; {SETTINGS} > after"));
        let read = |name| fs::read_to_string(self.at(name)).unwrap_or_else(|_| panic!("{text}"));
        (read("before"), read("after"))
    }
}

#[test]
fn a_machine_cannot_send_sequences_to_the_terminal() {
    let place = Fixture::new("exit 0");
    let shown = place.on_a_terminal("psyops run x.img");
    assert!(shown.contains(SHOWN), "{shown:?}");
    assert!(!shown.contains("\u{1b}]") && !shown.contains("\u{1b}[6n"), "{shown:?}");
}

#[test]
fn raw_console_passes_everything_unchanged() {
    let place = Fixture::new("exit 0");
    let shown = place.on_a_terminal("psyops run x.img --raw-console");
    assert!(shown.contains("\u{1b}]52;c;cm0=\u{7}\u{1b}[6n"), "{shown:?}");
}

#[test]
fn the_terminal_is_as_before_after_every_end() {
    for option in ["", "--raw-console"] {
        let waits = Fixture::new(&format!("{NO_WAIT}\nexec sleep 600"));
        for line in ["psyops run x.img --timeout 1", "timeout --foreground -s TERM 1 psyops run x.img"] {
            let (before, after) = waits.settings_around(&format!("{line} {option}"));
            assert_eq!(before, after, "{line} {option}");
        }
        let ends = Fixture::new(&format!("{NO_WAIT}\nexit 3"));
        let (before, after) = ends.settings_around(&format!("psyops run x.img {option}"));
        assert_eq!(before, after, "{option}");
    }
}

#[test]
fn keys_reach_the_machine() {
    // The third byte is that of Ctrl-C, which the terminal must not handle itself.
    let place = Fixture::new("head -c 3 | od -An -tx1 > keys");
    let line = "(sleep 2; printf 'a\\003\\001') | script -qec \"psyops run x.img\" /dev/null";
    place.on_a_terminal(line);
    assert_eq!(fs::read_to_string(place.at("keys")).unwrap().trim(), "61 03 01");
}

#[test]
fn endless_console_output_is_not_kept_in_memory() {
    let place = Fixture::new("exec yes 'psyops-report: {}'");
    // Its memory is limited, so holding all output would end it in another way.
    let line =
        "prlimit --as=1500000000 psyops run x.img --headless --timeout 120 > said 2>&1; echo $? > code";
    place.on_a_terminal(line);
    let said = fs::read_to_string(place.at("said")).unwrap();
    assert_eq!(fs::read_to_string(place.at("code")).unwrap().trim(), "1", "{said}");
    assert!(said.contains("the console printed more than 16 MiB before"), "{said}");
}
