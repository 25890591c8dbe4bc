//! The spool: datagrams one after the other in a file that only root reads, each with a mark whether it was replayed.
//!
//! A record is a mark (`N` new, `R` replayed), the length (u32, little-endian) and the datagram. Records are written
//! with one call each, so a crash leaves at most one short record at the end, which was acknowledged to nobody.

use crate::file::{FileError, failing};
use rustix::fs::Mode;
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const HEADER: usize = 5;
const NEW: u8 = b'N';
const REPLAYED: u8 = b'R';
/// No datagram is longer: the kernel's default for a socket's send buffer is a few hundred KiB.
const LONGEST: u32 = 16 * 1024 * 1024;

/// An open spool.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
    file: File,
    /// Where the next record is written.
    end: u64,
    /// Where the first record stands that was not replayed.
    next: u64,
    /// What did not fit on the medium any more, in order, after all that is in the file.
    in_memory: VecDeque<Vec<u8>>,
    replayed: u64,
}

impl Spool {
    /// Opens the spool at `path`, with what an earlier pause may have left in it.
    pub(super) fn open(path: &Path) -> Result<Self, FileError> {
        if let Some(folder) = path.parent() {
            crate::file::create_folder(folder)?;
        }
        let mode = Mode::RUSR | Mode::WUSR;
        let options =
            OpenOptions::new().create(true).read(true).write(true).truncate(false).mode(mode.bits()).clone();
        let file = failing("open the spool", path, options.open(path))?;
        let mut spool =
            Self { path: path.to_owned(), file, end: 0, next: 0, in_memory: VecDeque::new(), replayed: 0 };
        failing("read the spool", path, spool.find_ends())?;
        Ok(spool)
    }

    /// Adds a datagram. It cannot fail: what the medium does not take stays in memory.
    pub(super) fn append(&mut self, datagram: &[u8]) {
        if !self.in_memory.is_empty() || self.write_record(datagram).is_err() {
            self.in_memory.push_back(datagram.to_owned());
        }
    }

    /// Whether everything was replayed.
    pub(super) fn is_empty(&self) -> bool {
        self.next == self.end && self.in_memory.is_empty()
    }

    /// How many datagrams were replayed.
    pub(super) fn replayed(&self) -> u64 {
        self.replayed
    }

    /// Hands the first datagram that was not replayed to `send`, and marks it when that worked. `false` where there is
    /// none.
    pub(super) fn replay_one(&mut self, send: impl FnOnce(&[u8]) -> io::Result<()>) -> io::Result<bool> {
        if self.next < self.end {
            let (_, datagram) = self.read_record(self.next)?;
            send(&datagram)?;
            self.file.write_all_at(&[REPLAYED], self.next)?;
            self.next += record_length(datagram.len());
        } else if let Some(datagram) = self.in_memory.front() {
            send(datagram)?;
            self.in_memory.pop_front();
        } else {
            return Ok(false);
        }
        self.replayed += 1;
        Ok(true)
    }

    /// At the end: removes the file if all is replayed; otherwise it stays for the next pause.
    pub(super) fn settle(&mut self) -> Result<(), FileError> {
        if self.is_empty() {
            return failing("remove the spool", &self.path, fs::remove_file(&self.path));
        }
        // The last chance of what did not fit before.
        for datagram in std::mem::take(&mut self.in_memory) {
            let written = self.write_record(&datagram);
            failing("write the spool", &self.path, written)?;
        }
        Ok(())
    }

    fn write_record(&mut self, datagram: &[u8]) -> io::Result<()> {
        let length = u32::try_from(datagram.len()).map_err(|_| ErrorKind::FileTooLarge)?;
        let mut record = Vec::with_capacity(HEADER + datagram.len());
        record.push(NEW);
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(datagram);
        self.file.write_all_at(&record, self.end)?;
        self.end += record_length(datagram.len());
        Ok(())
    }

    fn read_record(&self, at: u64) -> io::Result<(u8, Vec<u8>)> {
        let mut header = [0; HEADER];
        self.file.read_exact_at(&mut header, at)?;
        let [mark, length @ ..] = header;
        let length = u32::from_le_bytes(length);
        if length > LONGEST || !matches!(mark, NEW | REPLAYED) {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut datagram = vec![0; usize::try_from(length).map_err(|_| ErrorKind::InvalidData)?];
        self.file.read_exact_at(&mut datagram, at + record_length(0))?;
        Ok((mark, datagram))
    }

    /// Finds where new records go and which is the first to replay. What cannot be read ends the spool.
    fn find_ends(&mut self) -> io::Result<()> {
        let mut first_new = None;
        loop {
            match self.read_record(self.end) {
                Ok((mark, datagram)) => {
                    if mark == NEW && first_new.is_none() {
                        first_new = Some(self.end);
                    }
                    self.end += record_length(datagram.len());
                }
                Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData) => {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.next = first_new.unwrap_or(self.end);
        self.file.set_len(self.end)
    }
}

fn record_length(datagram: usize) -> u64 {
    u64::try_from(HEADER + datagram).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay_all(spool: &mut Spool) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        while spool
            .replay_one(|datagram| {
                out.push(datagram.to_owned());
                Ok(())
            })
            .unwrap()
        {}
        out
    }

    #[test]
    fn what_was_not_replayed_outlives_a_crash_and_what_was_is_not_doubled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mut spool = Spool::open(&path).unwrap();
        for text in ["one", "", "three", "four"] {
            spool.append(text.as_bytes());
        }
        assert!(spool.replay_one(|_| Ok(())).unwrap());
        assert!(spool.replay_one(|_| Ok(())).unwrap());
        assert!(spool.replay_one(|_| Err(ErrorKind::WouldBlock.into())).is_err());
        drop(spool);

        let mut spool = Spool::open(&path).unwrap();
        spool.append(b"five");
        let wanted = ["three", "four", "five"].map(|text| text.as_bytes().to_vec());
        assert_eq!(replay_all(&mut spool), wanted);
        assert!(spool.is_empty());
        spool.settle().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_record_cut_at_any_byte_is_left_out_and_the_next_one_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mut spool = Spool::open(&path).unwrap();
        spool.append(b"whole");
        let whole = spool.end;
        spool.append(b"cut");
        let cut = spool.end;
        drop(spool);
        let bytes = fs::read(&path).unwrap();
        for length in whole..cut {
            fs::write(&path, &bytes[..usize::try_from(length).unwrap()]).unwrap();
            let mut spool = Spool::open(&path).unwrap();
            spool.append(b"next");
            assert_eq!(replay_all(&mut spool), [b"whole".to_vec(), b"next".to_vec()], "cut at {length}");
        }
    }

    #[test]
    fn a_full_medium_keeps_the_rest_in_memory_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mut spool = Spool::open(&path).unwrap();
        spool.append(b"a");
        // A handle that refuses writes stands for the medium; later it would take some again.
        spool.file = File::open(&path).unwrap();
        spool.append(b"b");
        spool.file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        spool.append(b"c");
        assert_eq!(replay_all(&mut spool), [b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]);
    }
}
