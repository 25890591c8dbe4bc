//! Modes and owners that a git repository cannot keep: `.psyops-manifest`, in the words of mtree(5).
//!
//! A line a path: `etc/shadow mode=0640 gid=42`. `type=dir` and `type=link link=TARGET` make entries that no file is
//! needed for; `type=file` (or none) changes a file that is there.

use super::TreeError;
use std::collections::BTreeMap;
use std::path::Path;

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) make: Make,
    pub(super) mode: Option<u32>,
    pub(super) uid: u64,
    pub(super) gid: u64,
}

/// Whether a line makes an entry of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Make {
    #[default]
    Nothing,
    Directory,
    Link(String),
}

/// Reads a manifest; `file` is for messages.
pub(super) fn parse(file: &Path, text: &str) -> Result<BTreeMap<String, Line>, TreeError> {
    let mut lines = BTreeMap::new();
    for (content, number) in text.lines().zip(1..) {
        let bad = |problem: String| TreeError::BadManifest { path: file.to_owned(), line: number, problem };
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let (path, line) = parse_line(content, number).map_err(bad)?;
        if lines.insert(path.clone(), line).is_some() {
            return Err(bad(format!("{path} stands there twice")));
        }
    }
    Ok(lines)
}

fn parse_line(content: &str, number: usize) -> Result<(String, Line), String> {
    let mut words = content.split_ascii_whitespace();
    let path = unescape(words.next().ok_or("the line has no path")?)?;
    let path = path.trim_start_matches("./").trim_matches('/').to_owned();
    let mut line = Line { number, ..Line::default() };
    let (mut kind, mut target) = (None, None);
    for word in words {
        let (key, value) = word.split_once('=').ok_or_else(|| format!("{word:?} is not key=value"))?;
        let wrong = || format!("{key} cannot be {value:?}");
        match key {
            "type" => kind = Some(value),
            "link" => target = Some(unescape(value)?),
            "mode" => {
                let bits = u32::from_str_radix(value, 8).ok().filter(|bits| *bits <= 0o7777);
                line.mode = Some(bits.ok_or_else(wrong)?);
            }
            "uid" => line.uid = value.parse().map_err(|_| wrong())?,
            "gid" => line.gid = value.parse().map_err(|_| wrong())?,
            _ => return Err(format!("unknown key {key:?}; known: type, link, mode, uid, gid")),
        }
    }
    line.make = match (kind, target) {
        (None | Some("file"), None) => Make::Nothing,
        (Some("dir"), None) => Make::Directory,
        (Some("link"), Some(target)) => Make::Link(target),
        (Some("link"), None) => return Err("type=link needs link=TARGET".to_owned()),
        (Some("file" | "dir") | None, Some(_)) => return Err("link= goes with type=link".to_owned()),
        (Some(other), _) => return Err(format!("unknown type {other:?}; known: file, dir, link")),
    };
    Ok((path, line))
}

/// Undoes `\ooo`, by which mtree writes characters that would end a word.
fn unescape(text: &str) -> Result<String, String> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (digits, tail) =
            rest.split_at_checked(3).ok_or_else(|| format!("{text:?} ends in a backslash"))?;
        let code = std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 8).ok());
        out.push(code.ok_or_else(|| format!("{text:?}: three octal digits follow a backslash"))?);
        rest = tail;
    }
    String::from_utf8(out).map_err(|_| format!("{text:?} is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        match parse(Path::new("m"), text).unwrap_err() {
            TreeError::BadManifest { problem, .. } => problem,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn lines_are_read() {
        let lines =
            parse(Path::new("m"), "#mtree\n\n./etc/shadow mode=0640 gid=42\na\\040b type=link link=../x\n")
                .unwrap();
        assert_eq!(
            lines["etc/shadow"],
            Line { number: 3, make: Make::Nothing, mode: Some(0o640), uid: 0, gid: 42 }
        );
        assert_eq!(lines["a b"].make, Make::Link("../x".into()));
    }

    #[test]
    fn each_mistake_has_its_message() {
        assert_eq!(problem("a mode=999"), "mode cannot be \"999\"");
        assert_eq!(problem("a mode=17777"), "mode cannot be \"17777\"");
        assert_eq!(problem("a colour=red"), "unknown key \"colour\"; known: type, link, mode, uid, gid");
        assert_eq!(problem("a type=link"), "type=link needs link=TARGET");
        assert_eq!(problem("a link=b"), "link= goes with type=link");
        assert_eq!(problem("a type=pipe"), "unknown type \"pipe\"; known: file, dir, link");
        assert_eq!(problem("a\na"), "a stands there twice");
        assert_eq!(problem("a\\9"), "\"a\\\\9\" ends in a backslash");
        assert_eq!(problem("a b"), "\"b\" is not key=value");
    }
}
