//! The form of the spool file: a header, then one record for each datagram. All numbers are little-endian.
//!
//! | header | bytes | | record | bytes |
//! | --- | --- | --- | --- | --- |
//! | magic `psyspool` | 8 | | mark: `N` new, `R` replayed | 1 |
//! | version, 1 | 4 | | zero | 3 |
//! | zero | 4 | | length of the datagram | 4 |
//! | where the first record is that may be new | 8 | | pid, uid, gid | 4 each |
//! | the boot's id | 36 | | zero | 4 |
//! | zero | 4 | | time (ns since 1970), received (ms since boot) | 8 each |
//! | | | | the datagram | |

use super::datagram::{Datagram, LONGEST, Sender};

/// The length of the file's header.
pub(super) const FILE_HEADER: u64 = 64;
/// The length of a record without its datagram.
pub(super) const RECORD_HEADER: usize = 40;
/// The offset in the header of the position of the first record that may be new.
pub(super) const START_OFFSET: u64 = 16;
/// The length of the kernel's boot id.
pub(super) const BOOT_ID: usize = 36;
/// A record that was not replayed.
pub(super) const NEW: u8 = b'N';
/// A record that was replayed.
pub(super) const REPLAYED: u8 = b'R';

const MAGIC: &[u8; 8] = b"psyspool";
const VERSION: u32 = 1;

/// The header of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileHeader {
    /// The position of the first record that may be new.
    pub(super) start: u64,
    /// The id of the boot in which the records were written.
    pub(super) boot_id: [u8; BOOT_ID],
}

impl FileHeader {
    /// The header's bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.start.to_le_bytes());
        bytes.extend_from_slice(&self.boot_id);
        bytes.extend_from_slice(&[0; 4]);
        bytes
    }

    /// Reads the header; `None` if the file is not a spool of this version.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?.strip_prefix(&VERSION.to_le_bytes())?;
        let start = u64::from_le_bytes(rest.get(4..12)?.try_into().ok()?);
        let boot_id = rest.get(12..12 + BOOT_ID)?.try_into().ok()?;
        (start >= FILE_HEADER).then_some(Self { start, boot_id })
    }
}

/// A record without its datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    /// Whether it was replayed.
    pub(super) replayed: bool,
    /// The length of the datagram in bytes.
    pub(super) length: usize,
    /// The sender's credentials.
    pub(super) sender: Sender,
    /// When it was sent, in nanoseconds since 1970.
    pub(super) time_ns: u64,
    /// When it was received, in milliseconds since the kernel started.
    pub(super) received_ms: u64,
}

impl RecordHeader {
    /// Reads the header of a record; `None` if it is not valid.
    pub(super) fn decode(bytes: &[u8; RECORD_HEADER]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let replayed = match bytes.first() {
            Some(&NEW) => false,
            Some(&REPLAYED) => true,
            _ => return None,
        };
        let length = usize::try_from(number(4)?).ok().filter(|length| *length <= LONGEST)?;
        let sender = Sender { pid: number(8)?.cast_signed(), uid: number(12)?, gid: number(16)? };
        Some(Self { replayed, length, sender, time_ns: long(24)?, received_ms: long(32)? })
    }

    /// Adds the datagram's text.
    pub(super) fn with(self, text: Vec<u8>) -> Datagram {
        let Self { sender, time_ns, received_ms, .. } = self;
        Datagram { text, sender, time_ns, received_ms }
    }
}

/// The bytes of a new record.
pub(super) fn encode(datagram: &Datagram) -> Vec<u8> {
    let text = datagram.text.get(..LONGEST).unwrap_or(&datagram.text);
    let mut bytes = vec![NEW, 0, 0, 0];
    bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(0).to_le_bytes());
    bytes.extend_from_slice(&datagram.sender.pid.to_le_bytes());
    bytes.extend_from_slice(&datagram.sender.uid.to_le_bytes());
    bytes.extend_from_slice(&datagram.sender.gid.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&datagram.time_ns.to_le_bytes());
    bytes.extend_from_slice(&datagram.received_ms.to_le_bytes());
    bytes.extend_from_slice(text);
    bytes
}

/// The size in the spool of a datagram of this length.
pub(super) fn size(length: usize) -> u64 {
    u64::try_from(RECORD_HEADER.saturating_add(length)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_and_header_come_back_as_they_were() {
        let sender = Sender { pid: 7, uid: 65_534, gid: 4_000_000_000 };
        let datagram = Datagram { text: b"a\0b\n".to_vec(), sender, time_ns: 1 << 60, received_ms: 12 };
        let bytes = encode(&datagram);
        let (header, text) = bytes.split_at(RECORD_HEADER);
        let decoded = RecordHeader::decode(header.try_into().unwrap()).unwrap();
        assert!(!decoded.replayed);
        assert_eq!(decoded.with(text.to_vec()), datagram);
        let header = FileHeader { start: 64, boot_id: [b'x'; BOOT_ID] };
        assert_eq!(u64::try_from(header.encode().len()).unwrap(), FILE_HEADER);
        assert_eq!(FileHeader::decode(&header.encode()), Some(header));
    }

    #[test]
    fn invalid_records_and_headers_are_refused() {
        let sender = Sender::UNKNOWN;
        let good = encode(&Datagram { text: Vec::new(), sender, time_ns: 0, received_ms: 0 });
        for (at, byte) in [(0, b'X'), (0, 0), (7, 1)] {
            let mut bytes: [u8; RECORD_HEADER] = good.as_slice().try_into().unwrap();
            bytes[at] = byte;
            assert_eq!(RecordHeader::decode(&bytes), None, "byte {at}");
        }
        let good = FileHeader { start: 64, boot_id: [b'x'; BOOT_ID] }.encode();
        for at in [0, 8, 16] {
            let mut bytes = good.clone();
            bytes[at] = 0;
            assert_eq!(FileHeader::decode(&bytes), None, "byte {at}");
        }
    }
}
