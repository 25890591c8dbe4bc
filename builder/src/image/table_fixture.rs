//! Images with partition tables that the builder never writes, for tests: other entry sizes, entries that are not
//! valid.

use handoff::gpt::crc32;
use std::fs;
use std::path::Path;

const BLOCK: usize = 512;
const ENTRIES: usize = 128;

/// An image in memory whose tables can be changed and written back.
pub(crate) struct Tables {
    bytes: Vec<u8>,
    entry_size: usize,
}

impl Tables {
    pub(crate) fn of(image: &Path) -> Self {
        Self { bytes: fs::read(image).unwrap(), entry_size: 128 }
    }

    pub(crate) fn write(mut self, image: &Path) {
        for primary in [true, false] {
            let array = self.entry(primary, 1);
            let sum = crc32(&self.bytes[array..array + ENTRIES * self.entry_size]);
            let header = self.header(primary);
            self.put(header + 88, &sum.to_le_bytes());
            self.put(header + 16, &[0; 4]);
            let sum = crc32(&self.bytes[header..header + 92]);
            self.put(header + 16, &sum.to_le_bytes());
        }
        fs::write(image, self.bytes).unwrap();
    }

    /// Changes the entries of both copies to `size` bytes.
    pub(crate) fn with_entries_of(mut self, size: usize) -> Self {
        let old = self.entry(true, 1);
        let entries = self.bytes[old..old + ENTRIES * 128].to_vec();
        self.entry_size = size;
        let blocks = ENTRIES * size / BLOCK;
        let last = self.bytes.len() / BLOCK - 1;
        for (primary, array) in [(true, 2), (false, last - blocks)] {
            let header = self.header(primary);
            self.put(header + 40, &to_u64(2 + blocks).to_le_bytes());
            self.put(header + 48, &to_u64(last - blocks - 1).to_le_bytes());
            self.put(header + 72, &to_u64(array).to_le_bytes());
            self.put(header + 84, &u32::try_from(size).unwrap().to_le_bytes());
            self.bytes[array * BLOCK..(array + blocks) * BLOCK].fill(0);
            for (number, entry) in (1..).zip(entries.chunks(128)) {
                self.put(self.entry(primary, number), entry);
            }
        }
        self
    }

    /// Changes bytes of the entry with that number in both copies.
    pub(crate) fn with(mut self, number: usize, at: usize, bytes: &[u8]) -> Self {
        for primary in [true, false] {
            self.put(self.entry(primary, number) + at, bytes);
        }
        self
    }

    /// The bytes of the entry with that number.
    pub(crate) fn bytes_of(&self, number: usize) -> Vec<u8> {
        let entry = self.entry(true, number);
        self.bytes[entry..entry + 128].to_vec()
    }

    fn header(&self, primary: bool) -> usize {
        if primary { BLOCK } else { self.bytes.len() - BLOCK }
    }

    fn entry(&self, primary: bool, number: usize) -> usize {
        let header = self.header(primary);
        let array = u64::from_le_bytes(self.bytes[header + 72..header + 80].try_into().unwrap());
        usize::try_from(array).unwrap() * BLOCK + (number - 1) * self.entry_size
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

fn to_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap()
}
