//! Writing the finished tree as one tar: sorted, times clamped, hard links kept, extended attributes as pax records.
//!
//! GNU headers with long-name entries, which tar, tar2sqfs and mmdebstrap all read.

use super::{Content, Inode, LayeredTree, Metadata, TreeError, What};
use crate::width::{to_u64, to_usize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use tar::{Builder, EntryType, Header};

/// A part of a file in a tar, read without moving the position of the file, which is shared.
struct Part<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = to_usize(self.left).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.offset)?;
        if count == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let advance = to_u64(count);
        self.offset += advance;
        self.left -= advance;
        Ok(count)
    }
}

impl Content {
    fn open(&self) -> Result<Box<dyn Read + '_>, TreeError> {
        Ok(match self {
            Self::Bytes(bytes) => Box::new(bytes.as_ref()),
            Self::InTar { tar, offset, length } => {
                Box::new(Part { file: tar, offset: *offset, left: *length })
            }
            Self::OnDisk { path, length } => {
                let file =
                    File::open(path).map_err(|source| TreeError::Read { path: path.clone(), source })?;
                unchanged(file, path, *length)?
            }
            Self::InFolder { folder, path, length } => {
                let at = folder.path_of(path);
                let file =
                    folder.data_file(path).map_err(|source| TreeError::Read { path: at.clone(), source })?;
                unchanged(file, &at, *length)?
            }
        })
    }
}

/// A file that shrank meanwhile is a separate error, instead of a truncated tar.
fn unchanged(file: File, path: &Path, length: u64) -> Result<Box<dyn Read>, TreeError> {
    let facts = file.metadata().map_err(|source| TreeError::Read { path: path.to_owned(), source })?;
    if facts.len() != length {
        let problem = "the file changed while the tree was made";
        return Err(TreeError::NotLayable { path: path.to_owned(), problem });
    }
    Ok(Box::new(file.take(length)))
}

impl LayeredTree {
    /// The content of the file at `path`, following links; `None` if there is no file.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, TreeError> {
        let place = self.follow(path)?;
        let Some(What::File(content)) = self.inode(&place).map(|inode| &inode.what) else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = |source| TreeError::Read { path: place.clone().into(), source };
        content.open()?.read_to_end(&mut bytes).map_err(read)?;
        Ok(Some(bytes))
    }

    /// Writes the tree as a tar. No time in it is later than `newest`; entries without a time get `newest`.
    pub fn write_tar(&self, out: impl Write, newest: u64) -> Result<(), TreeError> {
        let mut tar = Builder::new(out);
        let mut written: BTreeMap<usize, &str> = BTreeMap::new();
        for (path, &number) in &self.paths {
            let inode = &self.inodes[number];
            match written.get(&number) {
                Some(first) => {
                    let mut header = header_of(inode, newest);
                    header.set_entry_type(EntryType::Link);
                    header.set_size(0);
                    tar.append_link(&mut header, path, first).map_err(TreeError::Write)?;
                }
                None => write_inode(&mut tar, path, inode, newest)?,
            }
            written.insert(number, path);
        }
        tar.finish().map_err(TreeError::Write)
    }
}

fn write_inode<W: Write>(
    tar: &mut Builder<W>,
    path: &str,
    inode: &Inode,
    newest: u64,
) -> Result<(), TreeError> {
    write_xattrs(tar, &inode.metadata)?;
    let mut header = header_of(inode, newest);
    match &inode.what {
        What::Symlink(target) => append_symlink(tar, &mut header, path, target).map_err(TreeError::Write),
        What::File(content) => {
            header.set_size(content.length());
            tar.append_data(&mut header, path, content.open()?).map_err(TreeError::Write)
        }
        What::Device { major, minor, .. } => {
            header
                .set_device_major(*major)
                .and_then(|()| header.set_device_minor(*minor))
                .map_err(TreeError::Write)?;
            tar.append_data(&mut header, path, io::empty()).map_err(TreeError::Write)
        }
        What::Directory => {
            tar.append_data(&mut header, format!("{path}/"), io::empty()).map_err(TreeError::Write)
        }
        What::Fifo => tar.append_data(&mut header, path, io::empty()).map_err(TreeError::Write),
    }
}

/// The tar crate normalizes a link's target as if it were a path (`a//b`, `./a`); here targets stay unchanged.
fn append_symlink<W: Write>(
    tar: &mut Builder<W>,
    header: &mut Header,
    path: &str,
    target: &str,
) -> io::Result<()> {
    if header.set_link_name_literal(target).is_err() {
        return tar.append_link(header, path, Path::new(target));
    }
    tar.append_data(header, path, io::empty())
}

fn header_of(inode: &Inode, newest: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(match &inode.what {
        What::Directory => EntryType::Directory,
        What::File(_) => EntryType::Regular,
        What::Symlink(_) => EntryType::Symlink,
        What::Device { character: true, .. } => EntryType::Char,
        What::Device { character: false, .. } => EntryType::Block,
        What::Fifo => EntryType::Fifo,
    });
    let Metadata { mode, uid, gid, mtime, .. } = inode.metadata;
    header.set_mode(mode);
    header.set_uid(uid);
    header.set_gid(gid);
    header.set_mtime(mtime.map_or(newest, |mtime| mtime.min(newest)));
    header.set_size(0);
    header
}

/// Extended attributes are written as a pax entry before the entry that has them.
fn write_xattrs<W: Write>(tar: &mut Builder<W>, metadata: &Metadata) -> Result<(), TreeError> {
    if metadata.xattrs.is_empty() {
        return Ok(());
    }
    let mut records = Vec::new();
    for (name, value) in &metadata.xattrs {
        let rest = [b" SCHILY.xattr.", name.as_bytes(), b"=", value, b"\n"].concat();
        // The length counts its own digits.
        let mut length = rest.len() + 1;
        while length != rest.len() + length.to_string().len() {
            length = rest.len() + length.to_string().len();
        }
        records.extend_from_slice(length.to_string().as_bytes());
        records.extend_from_slice(&rest);
    }
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_size(to_u64(records.len()));
    tar.append_data(&mut header, "pax", records.as_slice()).map_err(TreeError::Write)
}
