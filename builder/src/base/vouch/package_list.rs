//! An archive's list of packages (`Packages`), read a line at a time: deb822(5) paragraphs with the fields of
//! `apt-ftparchive`.
//!
//! The list has tens of megabytes, and it is parsed before its digest is known. So only the beginning of each line is
//! kept, and the result counts only when all of the list was read and its digest is right.

use crate::input::filled;
use crate::width::to_u64;
use handoff::hash::Sha256Digest;
use sha2::{Digest as _, Sha256};
use std::io::{self, BufRead, BufReader, Read};

/// How many bytes of a line are kept. The fields that are read are shorter.
const MOST_OF_LINE: usize = 512;

/// A package of the list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) architecture: String,
    pub(super) size: Option<u64>,
    pub(super) sha256: Option<Sha256Digest>,
}

/// Passes each package of a list to `each`, and returns the length and digest of all that was read, at most `most`
/// bytes.
pub(super) fn read(
    list: impl Read,
    most: u64,
    mut each: impl FnMut(Listed),
) -> io::Result<(u64, Sha256Digest)> {
    let mut list =
        BufReader::with_capacity(1 << 18, Counted { inner: list.take(most), hasher: Sha256::new(), read: 0 });
    let (mut line, mut package) = (Vec::new(), Listed::default());
    while read_line(&mut list, &mut line)? {
        if line.is_empty() {
            each(std::mem::take(&mut package));
        } else {
            take_field(&line, &mut package);
        }
    }
    each(package);
    let Counted { hasher, read, .. } = list.into_inner();
    Ok((read, Sha256Digest::from_bytes(hasher.finalize().into())))
}

fn take_field(line: &[u8], package: &mut Listed) {
    // Lines that continue the previous field begin with a blank, and names of fields do not.
    let Some((name, value)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(": ")) else {
        return;
    };
    match name {
        "Package" => value.clone_into(&mut package.name),
        "Version" => value.clone_into(&mut package.version),
        "Architecture" => value.clone_into(&mut package.architecture),
        "Size" => package.size = value.parse().ok(),
        "SHA256" => package.sha256 = value.parse().ok(),
        _ => {}
    }
}

/// Reads the beginning of the next line, without its end; `false` at the end of the list.
fn read_line(list: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let buffer = list.fill_buf()?;
        if buffer.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        let room = MOST_OF_LINE.saturating_sub(line.len());
        line.extend_from_slice(part.get(..room).unwrap_or(part));
        let used = end.map_or(buffer.len(), |end| end.saturating_add(1));
        list.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// Counts and hashes the bytes that are read through it.
struct Counted<R> {
    inner: R,
    hasher: Sha256,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(filled(buffer, count)?);
        self.read = self.read.saturating_add(to_u64(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Vec<Listed> {
        let mut all = Vec::new();
        let most = u64::try_from(text.len()).unwrap();
        let facts = read(text.as_bytes(), most, |package| all.push(package)).unwrap();
        assert_eq!(facts, (most, Sha256Digest::of(text.as_bytes())));
        all.retain(|package| !package.name.is_empty());
        all
    }

    #[test]
    fn fields_are_read_and_their_continuations_are_not() {
        let digest = Sha256Digest::of(b"x");
        let long = "x".repeat(MOST_OF_LINE * 3);
        let text = format!(
            "Package: jq\nVersion: 1:2-3\nDescription: {long}\n Version: 9\nArchitecture: amd64\nSize: 17\nSHA256: {digest}\n\n\
             Package: tree\nVersion: 4"
        );
        let all = listed(&text);
        let jq = Listed {
            name: "jq".into(),
            version: "1:2-3".into(),
            architecture: "amd64".into(),
            size: Some(17),
            sha256: Some(digest),
        };
        assert_eq!(all[0], jq);
        assert_eq!((&*all[1].name, &*all[1].version, all[1].sha256), ("tree", "4", None));
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn no_more_is_read_than_the_release_says() {
        let mut all = Vec::new();
        let endless = io::repeat(b'x');
        let (read, _) = read(endless, 1 << 20, |package| all.push(package)).unwrap();
        assert_eq!((read, all), (1 << 20, vec![Listed::default()]));
    }
}
