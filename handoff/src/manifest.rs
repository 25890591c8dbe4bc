//! The manifest inside a seal: every file that the node must have.
//!
//! The syntax is that of mtree(5): a line a file, its path first (with `\ooo` for anything unusual), then `key=value`
//! words: `mode`, `uid`, `gid`, `size`, `sha256digest` as in mtree, and psyopsOS's own `kind`, `store`, `install`,
//! `required`. Lines with `#` are comments to mtree; `#psyops NAME VALUE` carries options, signed like all the rest.

use crate::fault::Policy;
use crate::hash::Sha256Digest;
use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The first line of a manifest: format and version.
pub const HEADER: &str = "#mtree psyops-manifest 1";
/// The most entries that a manifest may have.
pub const MOST_ENTRIES: usize = 100_000;

/// What kind of content a file has, which decides how it is checked when it is written and loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// An OpenSSH private host key.
    SshHostKey,
    /// A host name.
    Hostname,
    /// Text that ends with exactly one line end.
    Text,
    /// Any bytes.
    Opaque,
}

/// Where a file is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Store {
    /// On the secret partition.
    Disk,
    /// Only in memory.
    Memory,
}

/// How much a node needs a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Required {
    /// The node does not boot without it.
    Boot,
    /// The configuration run needs it.
    Run,
    /// The node works without it.
    Optional,
}

macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal),+ }) => {
        impl $type {
            /// The word for this value in the manifest.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The value with this word in the manifest.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
words!(FileKind { SshHostKey = "ssh-host-key", Hostname = "hostname", Text = "text", Opaque = "opaque" });
words!(Store { Disk = "disk", Memory = "memory" });
words!(Required { Boot = "boot", Run = "run", Optional = "optional" });

/// A file's path relative to its store: no `..`, no empty part, not absolute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelativePath(String);

impl RelativePath {
    /// Accepts `path` if it is relative and stays inside its store.
    #[must_use]
    pub fn new(path: &str) -> Option<Self> {
        let inside = path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        (inside && !path.contains('\0') && path.len() < 1024).then(|| Self(path.to_owned()))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The site's settings for a file of a node, except its path and content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileAttributes {
    /// Permission bits, at most `0o7777`.
    pub mode: u32,
    /// User id of the owner.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// The kind of content, and so how it is checked.
    pub kind: FileKind,
    /// Where the file is stored.
    pub store: Store,
    /// The absolute path in the root at which it is installed; `None`: it is not installed.
    pub install: Option<String>,
    /// How much the node needs it.
    pub required: Required,
}

/// One file that the node must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path in its store, and under `files/` in the seal.
    pub path: RelativePath,
    /// Mode, owner and use, from the site.
    pub attributes: FileAttributes,
    /// Bytes of its content.
    pub size: u64,
    /// SHA-256 of its content.
    pub digest: Sha256Digest,
}

/// Everything that a node must have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// The files, sorted by path.
    pub entries: Vec<Entry>,
    /// The site's actions for faults.
    pub policy: Policy,
    /// Remove files that are not in the seal (otherwise they are only reported).
    pub remove_unknown: bool,
}

/// Why a text is not a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadManifest {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong with the line.
    pub problem: String,
}

impl fmt::Display for BadManifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "manifest, line {}: {}", self.line, self.problem)
    }
}

impl core::error::Error for BadManifest {}

impl Manifest {
    /// The entries that are stored in `store`.
    pub fn stored_in(&self, store: Store) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.attributes.store == store)
    }

    /// The manifest's text; entries in the order of their paths.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("{HEADER}\n");
        for (fault, action) in self.policy.chosen() {
            text.push_str(&format!("#psyops policy {fault} {action}\n"));
        }
        if self.remove_unknown {
            text.push_str("#psyops remove-unknown yes\n");
        }
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        for entry in entries {
            text.push_str(&format!(
                "{} type=file mode={:04o} uid={} gid={} size={} sha256digest={} kind={} store={} required={}",
                escape(entry.path.as_str()),
                entry.attributes.mode,
                entry.attributes.uid,
                entry.attributes.gid,
                entry.size,
                entry.digest,
                entry.attributes.kind.word(),
                entry.attributes.store.word(),
                entry.attributes.required.word(),
            ));
            if let Some(install) = &entry.attributes.install {
                text.push_str(&format!(" install={}", escape(install)));
            }
            text.push('\n');
        }
        text
    }

    /// Reads a manifest: every line must be valid, and no path may occur twice.
    pub fn decode(text: &str) -> Result<Self, BadManifest> {
        let mut manifest = Self::default();
        let mut lines = text.split_terminator('\n').zip(1_usize..);
        if lines.next().map(|(line, _)| line) != Some(HEADER) {
            return Err(BadManifest { line: 1, problem: format!("expected {HEADER:?}") });
        }
        for (content, line) in lines {
            let bad = |problem: String| BadManifest { line, problem };
            if let Some(option) = content.strip_prefix("#psyops ") {
                manifest.option(option).ok_or_else(|| bad(format!("unknown option {option:?}")))?;
            } else if !content.starts_with('#') {
                if manifest.entries.len() >= MOST_ENTRIES {
                    return Err(bad(format!("more than {MOST_ENTRIES} entries")));
                }
                let entry = Entry::decode(content).map_err(bad)?;
                if manifest.entries.last().is_some_and(|last| last.path >= entry.path) {
                    return Err(bad(format!("{} is out of order or listed twice", entry.path)));
                }
                manifest.entries.push(entry);
            }
        }
        Ok(manifest)
    }

    fn option(&mut self, option: &str) -> Option<()> {
        match option.split(' ').collect::<Vec<_>>().as_slice() {
            ["policy", fault, action] => self.policy.set(fault.parse().ok()?, action.parse().ok()?),
            ["remove-unknown", "yes"] => self.remove_unknown = true,
            _ => return None,
        }
        Some(())
    }
}

impl Entry {
    fn decode(line: &str) -> Result<Self, String> {
        let mut words = line.split(' ');
        let path = words.next().and_then(unescape).and_then(|path| RelativePath::new(&path));
        let path = path.ok_or("the path is empty, absolute or leads out of its folder")?;
        let mut fields = BTreeMap::new();
        for word in words {
            let (key, value) = word.split_once('=').ok_or_else(|| format!("{word:?} is not key=value"))?;
            if fields.insert(key, value).is_some() {
                return Err(format!("{key} is given twice"));
            }
        }
        let mut field = |key: &str| fields.remove(key).ok_or_else(|| format!("{key} is missing"));
        let number = |key: &str, text: &str| format!("{key}={text} is not a number in its range");
        if field("type")? != "file" {
            return Err("only type=file is known".into());
        }
        let mode_text = field("mode")?;
        let mode = u32::from_str_radix(mode_text, 8).ok().filter(|mode| *mode <= 0o7777);
        let uid = field("uid")?;
        let gid = field("gid")?;
        let size = field("size")?;
        let digest = field("sha256digest")?;
        let kind = field("kind")?;
        let store = field("store")?;
        let required = field("required")?;
        let entry = Self {
            path,
            attributes: FileAttributes {
                mode: mode.ok_or_else(|| number("mode", mode_text))?,
                uid: uid.parse().map_err(|_| number("uid", uid))?,
                gid: gid.parse().map_err(|_| number("gid", gid))?,
                kind: FileKind::from_word(kind).ok_or_else(|| format!("unknown kind {kind:?}"))?,
                store: Store::from_word(store).ok_or_else(|| format!("unknown store {store:?}"))?,
                required: Required::from_word(required)
                    .ok_or_else(|| format!("unknown level {required:?}"))?,
                install: fields.remove("install").map(install_path).transpose()?,
            },
            size: size.parse().map_err(|_| number("size", size))?,
            digest: digest.parse().map_err(|error| format!("sha256digest: {error}"))?,
        };
        match fields.keys().next() {
            Some(key) => Err(format!("unknown key {key:?}")),
            None => Ok(entry),
        }
    }
}

fn install_path(text: &str) -> Result<String, String> {
    let path = unescape(text).unwrap_or_default();
    match path.strip_prefix('/').and_then(RelativePath::new) {
        Some(_) => Ok(path),
        None => Err(format!("install={text} is not an absolute path that stays inside the root")),
    }
}

fn escape(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'!'..=b'~' if !matches!(byte, b'\\' | b'#' | b'=') => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\{byte:03o}")),
        }
    }
    out
}

fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'\\' {
            let (digits, after) = tail.split_at_checked(3)?;
            out.push(u8::from_str_radix(core::str::from_utf8(digits).ok()?, 8).ok()?);
            rest = after;
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, FaultAction};

    fn manifest() -> Manifest {
        let entry = |path: &str, install: Option<&str>| Entry {
            path: RelativePath::new(path).unwrap(),
            attributes: FileAttributes {
                mode: 0o600,
                uid: 0,
                gid: 42,
                kind: FileKind::Text,
                store: Store::Disk,
                install: install.map(Into::into),
                required: Required::Boot,
            },
            size: 3,
            digest: Sha256Digest::of(b"abc"),
        };
        let mut policy = Policy::default();
        policy.set(Fault::Repair, FaultAction::Rescue);
        let entries = alloc::vec![entry("etc/a b", Some("/etc/ü=#x")), entry("etc/hostname", None)];
        Manifest { entries, policy, remove_unknown: true }
    }

    #[test]
    fn a_written_value_is_read_back() {
        let text = manifest().encode();
        assert_eq!(Manifest::decode(&text), Ok(manifest()), "{text}");
    }

    #[test]
    fn each_wrong_field_has_its_message() {
        let text = manifest().encode();
        for (from, to, problem) in [
            ("mode=0600", "mode=9600", "mode=9600 is not a number in its range"),
            ("mode=0600", "mode=17777", "mode=17777 is not a number in its range"),
            (" uid=0", "", "uid is missing"),
            ("kind=text", "kind=poem", "unknown kind \"poem\""),
            ("store=disk", "store=tape", "unknown store \"tape\""),
            ("etc/hostname", "../hostname", "the path is empty, absolute or leads out of its folder"),
            ("etc/hostname", "/hostname", "the path is empty, absolute or leads out of its folder"),
            ("etc/hostname", "etc/a\\040b", "etc/a b is out of order or listed twice"),
            (
                "install=/etc",
                "install=/etc/..",
                "install=/etc/../\\303\\274\\075\\043x is not an absolute path that stays inside the root",
            ),
            ("required=boot", "required=boot colour=red", "unknown key \"colour\""),
            ("uid=0", "uid=0 uid=0", "uid is given twice"),
        ] {
            let bad = text.replace(from, to);
            assert_eq!(Manifest::decode(&bad).unwrap_err().problem, problem);
        }
    }

    #[test]
    fn another_version_is_refused() {
        let bad = manifest().encode().replace("manifest 1", "manifest 2");
        assert_eq!(Manifest::decode(&bad).unwrap_err().line, 1);
    }
}
