//! A range of a file as a stream, for readers of tables and file systems. Nothing is written.

use super::storage::Storage;
use crate::input::ReadAt;
use crate::width::{to_u64, to_usize};
use std::io::{self, Read, Seek, SeekFrom, Write};

/// A range, and the position in it of the next read.
#[derive(Debug)]
pub struct Window<'i> {
    storage: &'i Storage,
    offset: u64,
    size: u64,
    position: u64,
}

impl<'i> Window<'i> {
    /// The window of `size` bytes from `offset` on.
    pub(super) fn new(storage: &'i Storage, offset: u64, size: u64) -> Self {
        Self { storage, offset, size, position: 0 }
    }
}

impl Read for Window<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = to_usize(self.size.saturating_sub(self.position));
        let length = into.len().min(left);
        let into = into.get_mut(..length).ok_or(io::ErrorKind::InvalidInput)?;
        let length = self.storage.read_at(into, self.offset.saturating_add(self.position))?;
        self.position = self.position.saturating_add(to_u64(length));
        Ok(length)
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl Write for Window<'_> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ReadAt for Window<'_> {
    fn fill_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let end = u64::try_from(into.len()).ok().and_then(|length| offset.checked_add(length));
        if end.is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.storage.fill_at(into, self.offset.saturating_add(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_with_its_range() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before|0123456789|behind").unwrap();
        let storage = Storage::Whole(file.into());
        let mut window = Window::new(&storage, 7, 10);
        let mut bytes = [0; 8];
        assert_eq!((window.read(&mut bytes).unwrap(), &bytes), (8, b"01234567"));
        assert_eq!(window.seek(SeekFrom::End(-3)).unwrap(), 7);
        assert_eq!((window.read(&mut bytes).unwrap(), window.read(&mut bytes).unwrap()), (3, 0));
        let refused =
            [window.seek(SeekFrom::Current(i64::MIN)).unwrap_err(), window.write(b"x").unwrap_err()];
        let kinds = refused.map(|error| error.kind());
        assert_eq!(kinds, [io::ErrorKind::InvalidInput, io::ErrorKind::ReadOnlyFilesystem]);
    }
}
