//! GUIDs as disks and firmware have them (UEFI 2.10, appendix A): the first three groups are little-endian.

use core::fmt;
use core::str::FromStr;

/// The position on the disk of each byte of the text.
const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

/// A GUID, in the byte order of disks and firmware.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Guid([u8; 16]);

impl Guid {
    /// The type of a partition entry that is not used.
    pub const ZERO: Self = Self([0; 16]);

    /// A GUID from its 16 bytes on the disk.
    #[must_use]
    pub fn from_disk(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The GUID's 16 bytes on the disk.
    #[must_use]
    pub fn to_disk(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, place) in ORDER.into_iter().enumerate() {
            if matches!(position, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{:02x}", self.0.get(place).copied().unwrap_or_default())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guid({self})")
    }
}

/// A text that is not a GUID in the form `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAGuid;

impl fmt::Display for NotAGuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a GUID: 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12 are expected")
    }
}

impl core::error::Error for NotAGuid {}

impl FromStr for Guid {
    type Err = NotAGuid;

    /// Reads upper and lower case, as tools and firmware differ there.
    fn from_str(text: &str) -> Result<Self, NotAGuid> {
        let mut bytes = [0; 16];
        let mut places = ORDER.into_iter();
        let mut groups = text.trim().split('-');
        for length in [8, 4, 4, 4, 12] {
            let group = groups.next().filter(|group| group.len() == length).ok_or(NotAGuid)?;
            for byte in crate::hash::from_hex(group).ok_or(NotAGuid)? {
                let place = places.next().and_then(|place| bytes.get_mut(place)).ok_or(NotAGuid)?;
                *place = byte;
            }
        }
        if groups.next().is_some() { Err(NotAGuid) } else { Ok(Self(bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    #[test]
    fn the_esp_type_has_the_bytes_of_the_specification() {
        let guid: Guid = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B".parse().unwrap();
        let bytes =
            [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
        assert_eq!(guid.to_disk(), bytes);
        assert_eq!(Guid::from_disk(bytes).to_string(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
    }

    #[test]
    fn what_is_not_a_guid_is_refused() {
        for text in
            ["", "c12a7328", "c12a7328-f81f-11d2-ba4b-00a0c93ec93", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b-0"]
        {
            assert_eq!(text.parse::<Guid>(), Err(NotAGuid), "{text}");
        }
        assert_eq!("c12a7328-f81f-11d2-ba4b-00a0c93ec9zz".parse::<Guid>(), Err(NotAGuid));
    }
}
