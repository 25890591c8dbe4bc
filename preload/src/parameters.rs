//! The time and the seed, which the builder writes into the library file before it is used. Because they are in the
//! file, they also reach programs that are started with an empty environment.

use core::ptr;

/// The bytes before the parameters in the file; they occur once in it.
pub const MARK: [u8; 16] = *b"psyops-preload-1";
/// Bytes of mark, time and seed.
pub const SIZE: usize = 32;

/// The time at which every process starts, and the seed of its random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Seconds since 1970.
    pub time: u64,
    /// Not secret: derived from the packages in the lock file.
    pub seed: u64,
}

/// The parameters in the file; numbers are little-endian.
#[repr(C)]
struct ParameterPlace {
    mark: [u8; 16],
    time: [u8; 8],
    seed: [u8; 8],
}

static PLACE: ParameterPlace = ParameterPlace { mark: MARK, time: [0; 8], seed: [0; 8] };

impl Parameters {
    /// The bytes of the parameters in the file.
    #[must_use]
    pub fn to_bytes(self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let parts = MARK.into_iter().chain(self.time.to_le_bytes()).chain(self.seed.to_le_bytes());
        bytes.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
        bytes
    }

    /// The parameters of this copy of the library.
    #[expect(
        unsafe_code,
        reason = "the file was changed after it was compiled: the compiler must not use what it knows"
    )]
    pub(crate) fn own() -> Self {
        let place = &raw const PLACE;
        // SAFETY: PLACE is a static of that type, which any bytes are a value of.
        let ParameterPlace { time, seed, .. } = unsafe { ptr::read_volatile(place) };
        Self { time: u64::from_le_bytes(time), seed: u64::from_le_bytes(seed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_seed_follow_the_mark() {
        let bytes = Parameters { time: 0x0102, seed: u64::MAX - 1 }.to_bytes();
        assert_eq!(&bytes[..16], b"psyops-preload-1");
        assert_eq!(bytes[16..], [2, 1, 0, 0, 0, 0, 0, 0, 254, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(Parameters::own(), Parameters { time: 0, seed: 0 });
    }
}
