//! One line of a listing.

use handoff::shown::Shown;
use serde_json::{Value, json};
use std::fmt;

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, pipe or socket.
    Special,
}

impl EntryKind {
    /// The kind from the type bits of a mode (inode(7)).
    #[must_use]
    pub fn of_mode(mode: u32) -> Self {
        match mode & 0o170_000 {
            0o100_000 => Self::File,
            0o040_000 => Self::Folder,
            0o120_000 => Self::Link,
            _ => Self::Special,
        }
    }

    /// The word for the kind in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Folder => "folder",
            Self::Link => "link",
            Self::Special => "special",
        }
    }

    fn letter(self) -> char {
        match self {
            Self::File => '-',
            Self::Folder => 'd',
            Self::Link => 'l',
            Self::Special => 's',
        }
    }
}

/// A file in a listing. A FAT file system knows neither modes nor owners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name in its folder.
    pub name: String,
    /// The kind of the file.
    pub kind: EntryKind,
    /// The twelve permission bits of the mode; none on the ESP.
    pub mode: Option<u32>,
    /// The ids of owner and group; none on the ESP.
    pub owner: Option<(u32, u32)>,
    /// The size of its content in bytes.
    pub size: u64,
    /// The target of a link.
    pub target: Option<String>,
}

impl Entry {
    /// A folder of which only the name is known.
    pub(super) fn folder(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: EntryKind::Folder,
            mode: None,
            owner: None,
            size: 0,
            target: None,
        }
    }

    /// The entry as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "kind": self.kind.word(),
            "mode": self.mode.map(|mode| format!("{mode:04o}")),
            "uid": self.owner.map(|(uid, _)| uid),
            "gid": self.owner.map(|(_, gid)| gid),
            "size": self.size,
            "target": self.target,
        })
    }
}

/// A line like one of ls(1): a single one, whatever characters the name has.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = self.mode.map_or_else(|| "   -".to_owned(), |mode| format!("{mode:04o}"));
        let owner = self.owner.map_or_else(|| "-".to_owned(), |(uid, gid)| format!("{uid}:{gid}"));
        write!(f, "{} {mode} {owner:>9} {:>10}  {}", self.kind.letter(), self.size, Shown(&self.name))?;
        match &self.target {
            Some(target) => write!(f, " -> {}", Shown(target)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_whatever_is_in_it() {
        let name = "a\npsyops-report: {}\u{1b}[2J\u{202e}".to_owned();
        let entry = Entry { name, target: Some("b\r".to_owned()), ..Entry::folder("") };
        assert_eq!(
            entry.to_string(),
            "d    -         -          0  a\\npsyops-report: {}\\u001b[2J\\u202e -> b\\r"
        );
    }
}
