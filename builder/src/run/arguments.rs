//! QEMU's arguments: options of one word and of two, paths in them, and all of them as a shell command for people.

use std::ffi::OsString;
use std::path::Path;

/// An option that contains a path, in which QEMU requires each comma twice.
pub(super) fn with_path(before: &str, path: &Path, after: &str) -> OsString {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    let mut option = before.as_bytes().to_vec();
    for &byte in path.as_os_str().as_bytes() {
        option.push(byte);
        if byte == b',' {
            option.push(byte);
        }
    }
    option.extend_from_slice(after.as_bytes());
    OsString::from_vec(option)
}

/// The arguments of QEMU, in order.
#[derive(Default)]
pub(super) struct Arguments {
    pub(super) list: Vec<OsString>,
}

impl Arguments {
    pub(super) fn words(&mut self, words: &str) {
        self.list.extend(words.split(' ').map(OsString::from));
    }

    pub(super) fn pair(&mut self, key: &str, value: impl Into<OsString>) {
        self.list.push(key.into());
        self.list.push(value.into());
    }
}

/// A command with its words quoted for a shell.
#[must_use]
pub fn shell_line(program: &str, arguments: &[OsString]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+%@".contains(c);
    let mut line = program.to_owned();
    for argument in arguments {
        let text = argument.to_string_lossy();
        line.push(' ');
        if !text.is_empty() && text.chars().all(plain) {
            line.push_str(&text);
        } else {
            line.push_str(&format!("'{}'", text.replace('\'', r"'\''")));
        }
    }
    line
}
