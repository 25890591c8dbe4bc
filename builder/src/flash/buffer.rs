//! Memory for direct I/O, which must begin at a multiple of the medium's block size. Secrets pass through it: it is
//! overwritten when it is freed.

use std::ops::{Deref, DerefMut};
use zeroize::Zeroizing;

/// The largest block size of any medium, in bytes.
const ALIGNMENT: usize = 4096;

/// Bytes that begin at a multiple of [`ALIGNMENT`].
#[derive(Debug)]
pub struct Buffer {
    memory: Zeroizing<Vec<u8>>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// A buffer of this many zeros.
    #[must_use]
    pub fn zeros(length: usize) -> Self {
        let memory = Zeroizing::new(vec![0; length + ALIGNMENT]);
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { memory, start, length }
    }

    /// A copy of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut buffer = Self::zeros(bytes.len());
        buffer.copy_from_slice(bytes);
        buffer
    }

    /// Sets another length, at most that of the memory; the content stays.
    pub fn set_length(&mut self, length: usize) {
        self.length = length.min(self.memory.len().saturating_sub(ALIGNMENT));
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory.get(self.start..self.start + self.length).unwrap_or_default()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..self.start + self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_for_direct_io() {
        for length in [0, 1, 512, 4095, 1 << 20] {
            let mut buffer = Buffer::zeros(length);
            assert_eq!((buffer.len(), buffer.as_ptr().align_offset(ALIGNMENT)), (length, 0));
            buffer.fill(7);
            assert!(Buffer::of(&buffer).iter().all(|&byte| byte == 7));
            buffer.set_length(length / 2);
            assert_eq!(buffer.len(), length / 2);
            buffer.set_length(length + 1);
            assert_eq!(buffer.len(), length);
        }
    }
}
