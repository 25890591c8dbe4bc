//! Reading and writing a stick: past the page cache, with a few attempts, and with the offset of a failure.

use super::buffer::Buffer;
use super::layout::PIECE;
use crate::disks::presence::Presence;
use crate::width::{to_u64, to_usize};
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How often a failing request is made in all.
const TRIES: u32 = 3;
/// The pause between two attempts: by then a stick that resets is back, and one that was pulled out is known to be
/// gone.
const PAUSE: Duration = Duration::from_millis(400);
/// The stop flag for work that must be finished once it has begun; it is never set.
static NEVER: AtomicBool = AtomicBool::new(false);
/// The size of the block to which the place of a failure is narrowed down.
const BLOCK: u64 = 4096;

/// Why a request to a stick failed.
#[derive(Debug, thiserror::Error)]
pub enum MediumError {
    /// The stick is not there any more.
    #[error("it is gone: it was unplugged, or it or its port failed")]
    Gone,
    /// The stick fails at a certain place.
    #[error("it fails at byte {offset} when it is {verb}: {source}")]
    Fails {
        /// The offset of the failing block, in bytes.
        offset: u64,
        /// The failing operation, as a participle for the message.
        verb: &'static str,
        /// The error from the kernel.
        r#source: io::Error,
    },
    /// The user stopped the work.
    #[error("the work was interrupted")]
    BrokenOff,
}

/// A stick, or a file in its place, open for reading and writing.
#[derive(Debug)]
pub struct Medium<'m> {
    file: &'m File,
    presence: Presence,
    stop: &'m AtomicBool,
}

impl<'m> Medium<'m> {
    /// The medium in `file`; once `stop` is set, no new request is begun.
    pub fn new(file: &'m File, stop: &'m AtomicBool) -> io::Result<Self> {
        Ok(Self { file, presence: Presence::of(file)?, stop })
    }

    /// The same medium for work that must be finished once it has begun: it ignores `stop`.
    #[must_use]
    pub fn to_the_end(&self) -> Medium<'_> {
        Medium { file: self.file, presence: self.presence.clone(), stop: &NEVER }
    }

    /// Fills `into` with the bytes from `offset` on.
    pub fn read(&self, into: &mut Buffer, offset: u64) -> Result<(), MediumError> {
        self.request("read", offset, into.len(), |medium, range| {
            let part = into.get_mut(within(&range, offset)?).ok_or_else(beyond)?;
            medium.file.read_exact_at(part, range.start)
        })
    }

    /// Writes `bytes` at `offset`.
    pub fn write(&self, bytes: &Buffer, offset: u64) -> Result<(), MediumError> {
        self.request("written", offset, bytes.len(), |medium, range| {
            let part = bytes.get(within(&range, offset)?).ok_or_else(beyond)?;
            medium.file.write_all_at(part, range.start)
        })
    }

    /// Makes a range zero: by a request to the medium if it supports that, or else by writing zeros.
    pub fn zero(&self, range: &Range<u64>) -> Result<(), MediumError> {
        let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min(start + PIECE);
            self.go_on()?;
            let is_punched = match (i64::try_from(start), i64::try_from(end - start)) {
                (Ok(from), Ok(length)) => fallocate(self.file, mode, from, length).is_ok(),
                // Files are never that long: writing there fails with the kernel's own error.
                _ => false,
            };
            if !is_punched {
                self.write(&Buffer::zeros(to_usize(end - start)), start)?;
            }
            start = end;
        }
        Ok(())
    }

    /// Waits until all written bytes are on the medium and not in its cache.
    pub fn flush(&self) -> Result<(), MediumError> {
        self.request("flushed", 0, 0, |medium, _| medium.file.sync_data())
    }

    /// Whether the range holds `bytes`; `found` then has its content.
    pub fn holds(&self, bytes: &[u8], offset: u64, found: &mut Buffer) -> Result<bool, MediumError> {
        found.set_length(bytes.len());
        self.read(found, offset)?;
        Ok(**found == *bytes)
    }

    fn go_on(&self) -> Result<(), MediumError> {
        if self.stop.load(Ordering::Relaxed) { Err(MediumError::BrokenOff) } else { Ok(()) }
    }

    /// Makes a request, several times if it fails, and then looks for the failing block.
    fn request(
        &self,
        verb: &'static str,
        offset: u64,
        length: usize,
        mut ask: impl FnMut(&Self, Range<u64>) -> io::Result<()>,
    ) -> Result<(), MediumError> {
        let whole = offset..offset + to_u64(length);
        let mut left = TRIES;
        let source = loop {
            self.go_on()?;
            left -= 1;
            match ask(self, whole.clone()) {
                Ok(()) => return Ok(()),
                Err(error) if left == 0 || !is_of_the_medium(&error) => break error,
                Err(_) => thread::sleep(PAUSE),
            }
            if self.presence.is_gone() {
                return Err(MediumError::Gone);
            }
        };
        if self.presence.is_gone_by(&source) {
            return Err(MediumError::Gone);
        }
        let mut start = whole.start;
        while is_of_the_medium(&source) && start < whole.end {
            let end = (start / BLOCK * BLOCK + BLOCK).min(whole.end);
            match ask(self, start..end) {
                Ok(()) => {}
                Err(source) if self.presence.is_gone_by(&source) => return Err(MediumError::Gone),
                Err(source) => return Err(MediumError::Fails { offset: start, verb, source }),
            }
            start = end;
        }
        // Each block by itself succeeded, so the error was transient.
        if length > 0 && start == whole.end {
            return Ok(());
        }
        Err(MediumError::Fails { offset, verb, source })
    }
}

/// Whether another attempt may help: not if the request itself is wrong, or the disk under a file is full.
fn is_of_the_medium(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::StorageFull)
}

/// The position of a range of the medium within a buffer that begins at `offset`.
fn within(range: &Range<u64>, offset: u64) -> io::Result<Range<usize>> {
    let place = |at: u64| at.checked_sub(offset).map(to_usize).ok_or_else(beyond);
    Ok(place(range.start)?..place(range.end)?)
}

/// The error for bytes that no buffer can hold: nothing else is read or written instead.
fn beyond() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the request is larger than its memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn written_data_is_read_back_and_zeroed_data_is_zero() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4 << 20).unwrap();
        let stop = AtomicBool::new(false);
        let medium = Medium::new(&file, &stop).unwrap();
        let mut bytes = Buffer::zeros(3 << 20);
        bytes.fill(9);
        medium.write(&bytes, 1 << 20).unwrap();
        medium.flush().unwrap();
        let mut found = Buffer::zeros(3 << 20);
        let mut holds = |bytes: &[u8], offset| medium.holds(bytes, offset, &mut found).unwrap();
        assert!(holds(&bytes, 1 << 20) && !holds(&bytes, 512));
        medium.zero(&(2 << 20..4 << 20)).unwrap();
        assert!(holds(&vec![0; 2 << 20], 2 << 20) && !holds(&[0; 512], (2 << 20) - 512));
        assert_eq!(file.metadata().unwrap().len(), 4 << 20);
    }

    #[test]
    fn a_range_that_cannot_be_zeroed_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        let stop = AtomicBool::new(false);
        let medium = Medium::new(&file, &stop).unwrap();
        let start = 1 << 63;
        let error = medium.zero(&(start..start + 4096)).unwrap_err();
        assert!(
            matches!(error, MediumError::Fails { offset, verb: "written", .. } if offset == start),
            "{error}"
        );
    }

    #[test]
    fn a_range_without_memory_is_an_error_and_not_empty() {
        assert_eq!(within(&(8192..8200), 4096).unwrap(), 4096..4104);
        let error = within(&(0..512), 4096).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(!is_of_the_medium(&beyond()), "asking again does not help");
    }

    #[test]
    fn a_failure_names_its_block() {
        let file = tempfile::tempfile().unwrap();
        file.set_len((1 << 20) + BLOCK * 3).unwrap();
        let stop = AtomicBool::new(false);
        let medium = Medium::new(&file, &stop).unwrap();
        // The file ends in the middle of the range that is read.
        let error = medium.read(&mut Buffer::zeros(1 << 20), 1 << 20).unwrap_err();
        assert!(
            matches!(error, MediumError::Fails { offset, verb: "read", .. } if offset == (1 << 20) + BLOCK * 3)
        );
        stop.store(true, Ordering::Relaxed);
        assert!(matches!(medium.flush(), Err(MediumError::BrokenOff)));
    }

    #[test]
    fn a_request_that_fails_once_is_repeated() {
        let file = tempfile::tempfile().unwrap();
        let stop = AtomicBool::new(false);
        let medium = Medium::new(&file, &stop).unwrap();
        let mut asked = 0;
        let mut moody = |_: &Medium<'_>, _: Range<u64>| {
            asked += 1;
            if asked < 3 { Err(Errno::EIO.into()) } else { Ok(()) }
        };
        medium.request("read", 0, 8192, &mut moody).unwrap();
        assert_eq!(asked, 3);
        let full = |_: &Medium<'_>, _: Range<u64>| Err(io::ErrorKind::StorageFull.into());
        assert!(matches!(
            medium.request("written", 512, 8192, full),
            Err(MediumError::Fails { offset: 512, .. })
        ));
    }
}
