//! Reading a packed initramfs: a zstd frame (RFC 8878) around a cpio archive in the `newc` form (kernel documentation,
//! buffer-format.rst), as a stream.
//!
//! Content that the caller does not request is skipped and never held in memory. Names, links, the number of files and
//! all that is unpacked have limits, which are compared before memory is taken. The archive is always read to its end:
//! damage after the requested file is an error, too.

use crate::limits::{self, Limit, OverLimit};
use crate::width::{to_u64, to_usize};
use handoff::hash::Sha256Digest;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};
use thiserror::Error;

/// The largest window that a decoder must have memory for (RFC 8878, section 3.1.1.1.2); the builder packs with it.
const WINDOW_LOG: u32 = 23;
/// The first bytes of an entry. Entries with checksums begin differently; no known program writes them.
const MAGIC: &[u8] = b"070701";
/// The bytes of an entry before its name: the magic number and 13 numbers of eight digits.
const HEADER: usize = 110;
/// The name of the last entry.
const TRAILER: &str = "TRAILER!!!";
/// The type bits of a mode, and the type of a link (inode(7)).
const TYPE: u32 = 0o170_000;
const LINK: u32 = 0o120_000;
/// How many bytes are read at once.
const PIECE: usize = 1 << 16;

/// Why an initramfs cannot be read.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The zstd frame is not valid: the error from the decoder.
    #[error("{0}")]
    Unpack(io::Error),
    /// The archive ends in the middle of an entry.
    #[error("it ends in the middle of a file")]
    Cut,
    /// An entry does not have the `newc` form.
    #[error("an entry is not in the newc format: its field {field} is {found:?}")]
    Field {
        /// The field's name in the kernel's documentation.
        field: &'static str,
        /// The bytes of that field, as text.
        found: String,
    },
    /// A name, a file or the archive is over a limit.
    #[error(transparent)]
    Limit(#[from] OverLimit),
}

/// What the caller requests of a file besides its name, mode, owner and size. Targets of links are always read.
#[derive(Debug, Clone, Copy)]
pub enum Wanted {
    /// Nothing more.
    Size,
    /// Also the SHA-256 of its content.
    Digest,
    /// Also its content, up to this limit.
    Content(&'static Limit),
}

/// A file, folder or link of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveFile {
    /// The path, without a slash at its beginning.
    pub path: String,
    /// The type and permissions, as in inode(7).
    pub mode: u32,
    /// The user id of its owner.
    pub uid: u32,
    /// The id of its group.
    pub gid: u32,
    /// The size of its content in bytes.
    pub size: u64,
    /// The content if it was requested; for a link, its target.
    pub content: Vec<u8>,
    /// The digest of the content, if it was requested.
    pub digest: Option<Sha256Digest>,
}

/// Reads all files of a packed initramfs; `wanted` tells by path what to read of each.
pub fn files(packed: &[u8], wanted: impl Fn(&str) -> Wanted) -> Result<Vec<ArchiveFile>, ArchiveError> {
    let mut files = Vec::new();
    each(packed, &mut |name, _| Some(wanted(name)), &mut |file| files.push(file))?;
    Ok(files)
}

/// The file with this path and its content, if there is one.
pub fn file(packed: &[u8], path: &str, limit: &'static Limit) -> Result<Option<ArchiveFile>, ArchiveError> {
    let mut found = None;
    each(packed, &mut |name, _| (name == path).then_some(Wanted::Content(limit)), &mut |file| {
        found.get_or_insert(file);
    })?;
    Ok(found)
}

fn each(
    packed: &[u8],
    wanted: &mut dyn FnMut(&str, u32) -> Option<Wanted>,
    take: &mut dyn FnMut(ArchiveFile),
) -> Result<(), ArchiveError> {
    // The size in the header of the frame can be compared at no cost.
    if let Ok(Some(size)) = zstd::zstd_safe::get_frame_content_size(packed) {
        limits::INITRAMFS.check(size)?;
    }
    let mut frame = zstd::Decoder::new(packed).map_err(ArchiveError::Unpack)?.single_frame();
    frame.window_log_max(WINDOW_LOG).map_err(ArchiveError::Unpack)?;
    let mut archive = Archive { frame, read: 0 };
    let (mut count, mut words) = (0, 0);
    while let Some(header) = archive.header()? {
        count += 1;
        limits::CPIO_FILES.check(count)?;
        let is_link = header.mode & TYPE == LINK;
        words += to_u64(header.name.len());
        words += if is_link { header.size.min(limits::CPIO_LINK.most) } else { 0 };
        limits::CPIO_NAMES.check(words)?;
        let wanted = wanted(&header.name, header.mode);
        // A listing shows the targets of links, so they are always read.
        let wanted =
            if is_link && wanted.is_some() { Some(Wanted::Content(&limits::CPIO_LINK)) } else { wanted };
        let (content, digest) = archive.body(header.size, wanted.unwrap_or(Wanted::Size))?;
        if wanted.is_some() {
            let Header { name: path, mode, uid, gid, size } = header;
            take(ArchiveFile { path, mode, uid, gid, size, content, digest });
        }
    }
    Ok(())
}

struct Header {
    name: String,
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
}

/// The unpacked bytes, and a count of those that were read.
struct Archive<R> {
    frame: R,
    read: u64,
}

impl<R: Read> Archive<R> {
    /// The next entry; `None` at the trailer.
    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut bytes = [0; HEADER];
        self.fill(&mut bytes)?;
        let (magic, numbers) = bytes.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(field("c_magic", magic));
        }
        let number = |index: usize, name| {
            let start = index * 8;
            let digits = numbers.get(start..start + 8).unwrap_or_default();
            // The parser of numbers would accept a sign.
            let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'));
            text.and_then(|text| u32::from_str_radix(text, 16).ok()).ok_or_else(|| field(name, digits))
        };
        let name_size = u64::from(number(11, "c_namesize")?);
        limits::CPIO_NAME.check(name_size)?;
        let header = Header {
            name: String::new(),
            mode: number(1, "c_mode")?,
            uid: number(2, "c_uid")?,
            gid: number(3, "c_gid")?,
            size: u64::from(number(6, "c_filesize")?),
        };
        let mut name = vec![0; to_usize(name_size)];
        self.fill(&mut name)?;
        self.align()?;
        let end = name.pop();
        if end != Some(0) {
            return Err(field("name", &name));
        }
        let name = String::from_utf8(name).map_err(|error| field("name", error.as_bytes()))?;
        Ok((name != TRAILER).then_some(Header { name, ..header }))
    }

    fn body(&mut self, size: u64, wanted: Wanted) -> Result<(Vec<u8>, Option<Sha256Digest>), ArchiveError> {
        let (mut content, mut hasher) = (Vec::new(), Sha256::new());
        if let Wanted::Content(limit) = wanted {
            limit.check(size)?;
        }
        let (mut piece, mut left) = (Vec::new(), size);
        while left > 0 {
            piece.resize(PIECE.min(to_usize(left)), 0);
            self.fill(&mut piece)?;
            match wanted {
                Wanted::Size => {}
                Wanted::Digest => hasher.update(&piece),
                Wanted::Content(_) => content.extend_from_slice(&piece),
            }
            left -= to_u64(piece.len());
        }
        self.align()?;
        let digest = matches!(wanted, Wanted::Digest);
        Ok((content, digest.then(|| Sha256Digest::from_bytes(hasher.finalize().into()))))
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<(), ArchiveError> {
        self.read += to_u64(into.len());
        limits::INITRAMFS.check(self.read)?;
        self.frame.read_exact(into).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ArchiveError::Cut,
            _ => ArchiveError::Unpack(error),
        })
    }

    /// Headers and contents begin at multiples of four bytes.
    fn align(&mut self) -> Result<(), ArchiveError> {
        while !self.read.is_multiple_of(4) {
            self.fill(&mut [0])?;
        }
        Ok(())
    }
}

fn field(field: &'static str, found: &[u8]) -> ArchiveError {
    ArchiveError::Field { field, found: String::from_utf8_lossy(found).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::initramfs::single_file;

    fn packed(archive: &[u8]) -> Vec<u8> {
        zstd::encode_all(archive, 1).unwrap()
    }

    fn error(archive: &[u8]) -> String {
        files(&packed(archive), |_| Wanted::Size).unwrap_err().to_string()
    }

    fn archive() -> Vec<u8> {
        single_file("/psyops/trust", 0o444, b"hello").unwrap()
    }

    #[test]
    fn only_the_requested_part_of_a_file_is_read() {
        let frame = packed(&archive());
        let all = files(&frame, |_| Wanted::Digest).unwrap();
        let paths: Vec<(&str, u64)> = all.iter().map(|file| (file.path.as_str(), file.size)).collect();
        assert_eq!(paths, [("psyops", 0), ("psyops/trust", 5)]);
        assert_eq!((&all[1].digest, all[1].content.len()), (&Some(Sha256Digest::of(b"hello")), 0));
        let file = file(&frame, "psyops/trust", &limits::TRUST).unwrap().unwrap();
        assert_eq!((file.content.as_slice(), file.digest), (b"hello".as_slice(), None));
        assert_eq!(super::file(&frame, "psyops/no", &limits::TRUST).unwrap(), None);
    }

    #[test]
    fn names_and_sizes_are_compared_with_limits_before_memory_is_taken() {
        // In the first entry: a name length of 4 GiB, and one that is not a number.
        let mut bytes = archive();
        bytes[94..102].copy_from_slice(b"ffffffff");
        assert_eq!(
            error(&bytes),
            "a name in the initramfs has 4294967295 bytes, more than the limit of 4096 bytes (PATH_MAX of the kernel)"
        );
        bytes[94..102].copy_from_slice(b"+000000f");
        assert_eq!(error(&bytes), "an entry is not in the newc format: its field c_namesize is \"+000000f\"");
        let mut bytes = archive();
        bytes[54..62].copy_from_slice(b"fffffff0");
        assert_eq!(error(&bytes), "it ends in the middle of a file");
        bytes[0] = b'1';
        assert_eq!(error(&bytes), "an entry is not in the newc format: its field c_magic is \"170701\"");
    }

    #[test]
    fn a_wanted_file_over_its_limit_is_not_read() {
        let frame = packed(&single_file("/psyops/trust", 0o444, &vec![0; 2 << 20]).unwrap());
        let error = file(&frame, "psyops/trust", &limits::TRUST).unwrap_err().to_string();
        assert_eq!(
            error,
            "the file of loader settings has 2097152 bytes, more than the limit of 1048576 bytes (it holds a few keys)"
        );
    }

    #[test]
    fn a_frame_that_hides_its_size_ends_at_the_limit() {
        use std::io::Write as _;
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        let mut header = archive()[..HEADER].to_vec();
        header[54..62].copy_from_slice(b"fffffff0");
        header[94..102].copy_from_slice(b"00000006");
        encoder.write_all(&header).unwrap();
        encoder.write_all(b"large\0").unwrap();
        let zeros = vec![0; 1 << 20];
        (0..520).for_each(|_| encoder.write_all(&zeros).unwrap());
        let error = files(&encoder.finish().unwrap(), |_| Wanted::Size).unwrap_err();
        assert!(matches!(error, ArchiveError::Limit(over) if over.limit == &limits::INITRAMFS), "{error}");
    }
}
