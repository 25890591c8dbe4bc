//! The spool: datagrams in a file that only root reads, in order, each with a mark whether it was replayed.
//!
//! A record is written with one call and the file is cut back if that failed, so that bytes of a sender are never taken
//! for a record. The space of replayed records is returned to the file system in pieces. If the medium is full, a
//! little is kept in memory; datagrams beyond that, or beyond their sender's share, are dropped and counted.

use super::datagram::Datagram;
use super::quota::{Drops, Quota};
use super::record::{
    self, BOOT_ID, FILE_HEADER, FileHeader, RECORD_HEADER, REPLAYED, RecordHeader, START_OFFSET,
};
use crate::file::{self, FileError, failing};
use rustix::fs::{FallocateFlags, Mode, OFlags};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// The most bytes of the spool if logs are in memory.
pub(super) const IN_MEMORY_TOTAL: u64 = 16 << 20;
/// The most bytes of the spool on the `data` partition.
pub(super) const ON_DATA_TOTAL: u64 = 64 << 20;
/// The most bytes kept in the process's memory if the medium is full.
const FALLBACK_TOTAL: u64 = 2 << 20;
/// The size of the pieces in which the space of replayed records is returned.
const PIECE: u64 = 1 << 20;

/// An open spool.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
    file: File,
    /// The offset at which the next record is written.
    end: u64,
    /// The offset of the first record that was not replayed.
    next: u64,
    /// Records before this offset were written in another boot: their process numbers have no meaning now.
    other_boot: u64,
    /// The offset up to which the file's space was returned.
    freed: u64,
    /// Datagrams that did not fit on the medium any more, in order, after all that are in the file.
    in_memory: VecDeque<Datagram>,
    quota: Quota,
    memory_quota: Quota,
    replayed: u64,
    drops: Drops,
    last: Option<Datagram>,
    /// Whether the file's header could not be written yet.
    without_header: bool,
}

impl Spool {
    /// Opens the spool at `path`, with the records that an earlier pause left in it. It may take `total` bytes.
    pub(super) fn open(path: &Path, total: u64) -> Result<Self, FileError> {
        let file = open_file(path)?;
        let mut spool = Self {
            path: path.to_owned(),
            file,
            end: FILE_HEADER,
            next: FILE_HEADER,
            other_boot: 0,
            freed: FILE_HEADER,
            in_memory: VecDeque::new(),
            quota: Quota::new(total),
            memory_quota: Quota::new(FALLBACK_TOTAL),
            replayed: 0,
            drops: Drops::default(),
            last: None,
            without_header: true,
        };
        failing("read the spool", path, spool.read())?;
        Ok(spool)
    }

    /// Adds a datagram, or drops and counts it if its sender's share is full.
    pub(super) fn append(&mut self, datagram: Datagram) {
        let (uid, size) = (datagram.sender.uid, record::size(datagram.text.len()));
        let length = size.saturating_sub(record::size(0));
        let in_file = self.in_memory.is_empty() && self.quota.take(uid, size);
        if in_file && self.write_record(&datagram).is_ok() {
            self.last = Some(datagram);
            return;
        }
        if in_file {
            self.quota.free(uid, size);
        }
        // If a share of the file is full, memory does not extend it.
        let medium_is_full = in_file || !self.in_memory.is_empty();
        if medium_is_full && self.memory_quota.take(uid, size) {
            self.in_memory.push_back(datagram);
        } else {
            self.drops.add(uid, length);
        }
    }

    /// Adds a message of the proxy itself, without a share.
    pub(super) fn append_own(&mut self, datagram: Datagram) {
        self.memory_quota.add_present(datagram.sender.uid, record::size(datagram.text.len()));
        self.in_memory.push_back(datagram);
    }

    /// The last datagram that was written: it may still be in the queue.
    pub(super) fn last(&self) -> Option<&Datagram> {
        self.last.as_ref()
    }

    /// Whether everything was replayed.
    pub(super) fn is_empty(&self) -> bool {
        self.next == self.end && self.in_memory.is_empty()
    }

    /// How many datagrams were replayed.
    pub(super) fn replayed(&self) -> u64 {
        self.replayed
    }

    /// The count of dropped datagrams.
    pub(super) fn drops(&self) -> &Drops {
        &self.drops
    }

    /// Continues with the counts of a proxy that died.
    pub(super) fn go_on_with(&mut self, drops: Drops) {
        self.drops = drops;
    }

    /// Passes the first datagram that was not replayed to `send`, and marks it if that returns `true`. `false` if there
    /// is none, or `send` returned `false`.
    pub(super) fn replay_one(&mut self, send: impl FnOnce(&Datagram) -> bool) -> io::Result<bool> {
        if self.next < self.end {
            let (header, datagram) = self.read_record(self.next)?;
            let size = record::size(datagram.text.len());
            if !header.replayed {
                if !send(&datagram) {
                    return Ok(false);
                }
                self.file.write_all_at(&[REPLAYED], self.next)?;
                self.replayed += 1;
                self.quota.free(datagram.sender.uid, size);
            }
            self.next += size;
            self.give_back()?;
        } else if let Some(datagram) = self.in_memory.front() {
            if !send(datagram) {
                return Ok(false);
            }
            self.memory_quota.free(datagram.sender.uid, record::size(datagram.text.len()));
            self.in_memory.pop_front();
            self.replayed += 1;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// At the end: removes the file if all is replayed; otherwise it stays for the next pause.
    pub(super) fn settle(&mut self) -> Result<(), FileError> {
        if self.is_empty() {
            return failing("remove the spool", &self.path, fs::remove_file(&self.path));
        }
        // The last chance for datagrams that did not fit before.
        for datagram in std::mem::take(&mut self.in_memory) {
            let written = self.write_record(&datagram);
            failing("write the spool", &self.path, written)?;
        }
        Ok(())
    }

    /// Returns the space of replayed records to the file system: all of it if none are left, otherwise whole pieces.
    fn give_back(&mut self) -> io::Result<()> {
        if self.next == self.end {
            // In this order a crash in between leaves records that are marked as replayed.
            self.write_start(FILE_HEADER)?;
            self.file.set_len(FILE_HEADER)?;
            (self.next, self.end, self.freed, self.other_boot) = (FILE_HEADER, FILE_HEADER, FILE_HEADER, 0);
        } else if self.next.saturating_sub(self.freed) >= PIECE {
            self.write_start(self.next)?;
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // A file system that cannot do that keeps the space until the end.
            let _ = rustix::fs::fallocate(&self.file, flags, self.freed, self.next - self.freed);
            self.freed = self.next;
        }
        Ok(())
    }

    fn write_start(&self, start: u64) -> io::Result<()> {
        self.file.write_all_at(&start.to_le_bytes(), START_OFFSET)
    }

    fn write_record(&mut self, datagram: &Datagram) -> io::Result<()> {
        if self.without_header {
            self.write_header()?;
        }
        let record = record::encode(datagram);
        if let Err(error) = self.file.write_all_at(&record, self.end) {
            // A part of the record may be there, and is the sender's text: no later record may end within it.
            self.file.set_len(self.end)?;
            return Err(error);
        }
        self.end += record::size(datagram.text.len());
        Ok(())
    }

    fn read_record(&self, at: u64) -> io::Result<(RecordHeader, Datagram)> {
        let mut header = [0; RECORD_HEADER];
        self.file.read_exact_at(&mut header, at)?;
        let mut header = RecordHeader::decode(&header).ok_or(ErrorKind::InvalidData)?;
        if at < self.other_boot {
            header.received_ms = 0;
        }
        let mut text = vec![0; header.length];
        self.file.read_exact_at(&mut text, at + record::size(0))?;
        Ok((header, header.with(text)))
    }

    /// Reads the file: where new records go, and which is the first to replay. A record that is not valid ends the
    /// spool.
    fn read(&mut self) -> io::Result<()> {
        let mut bytes = [0; 64];
        let header = match self.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => FileHeader::decode(&bytes),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(error),
        };
        if let Some(header) = header {
            self.end = header.start;
            self.find_end()?;
            if header.boot_id != boot_id() {
                self.other_boot = self.end;
            }
        }
        if self.next == self.end {
            (self.next, self.end, self.other_boot) = (FILE_HEADER, FILE_HEADER, 0);
            // An earlier file may be cut within its header.
            self.file.set_len(0)?;
        }
        self.file.set_len(self.end)?;
        self.freed = self.next;
        // On a full medium this is tried again before the first record.
        let _ = self.write_header();
        Ok(())
    }

    fn write_header(&mut self) -> io::Result<()> {
        let header = FileHeader { start: self.next, boot_id: boot_id() };
        self.file.write_all_at(&header.encode(), 0)?;
        self.without_header = false;
        Ok(())
    }

    fn find_end(&mut self) -> io::Result<()> {
        let mut first_new = None;
        loop {
            match self.read_record(self.end) {
                Ok((header, datagram)) => {
                    let size = record::size(datagram.text.len());
                    if !header.replayed {
                        first_new.get_or_insert(self.end);
                        self.quota.add_present(datagram.sender.uid, size);
                    }
                    self.end += size;
                    self.last = Some(datagram);
                }
                Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData) => {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.next = first_new.unwrap_or(self.end);
        Ok(())
    }
}

/// The id of this boot, as text.
fn boot_id() -> [u8; BOOT_ID] {
    let text = file::read(Path::new("/proc/sys/kernel/random/boot_id")).unwrap_or_default();
    text.get(..BOOT_ID).and_then(|id| id.try_into().ok()).unwrap_or([b'-'; BOOT_ID])
}

/// Opens the file for root only. A file that another user put in its place, or has opened, is replaced.
fn open_file(path: &Path) -> Result<File, FileError> {
    if let Some(folder) = path.parent() {
        file::create_folder(folder)?;
    }
    let mode = Mode::RUSR | Mode::WUSR;
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    if let Ok(opened) = rustix::fs::open(path, flags, Mode::empty()) {
        let file = File::from(opened);
        if is_private(&file) {
            return Ok(file);
        }
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => failing("replace the spool", path, Err(error))?,
        _ => {}
    }
    let opened = rustix::fs::open(path, flags | OFlags::CREATE | OFlags::EXCL, mode);
    Ok(failing("create the spool", path, opened)?.into())
}

fn is_private(file: &File) -> bool {
    file.metadata().is_ok_and(|facts| {
        facts.is_file()
            && facts.uid() == rustix::process::geteuid().as_raw()
            && facts.mode() & 0o7777 == 0o600
            && facts.nlink() == 1
    })
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
