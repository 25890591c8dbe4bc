//! How `psyops run` knows that a boot report is from the system that it started.
//!
//! A file name, a service or a user of the node can write the report's marker and any JSON behind it on a console. So
//! `psyops run` gives each machine a new key in its SMBIOS table (DSP0134, section 7.12, "OEM Strings"), which the
//! kernel shows to root only, and the system writes a digest of key and report behind the report. Where there is no
//! such key, as on real machines, nothing is written behind it. It does not protect from root on the node, who can read
//! the key.

use crate::hash::{Sha256Digest, from_hex};
use crate::shown::Shown;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// Where Linux shows the SMBIOS table.
pub const SMBIOS_TABLE: &str = "/sys/firmware/dmi/tables/DMI";
/// Before the key, in the OEM string.
const PREFIX: &str = "psyops.report-key=";
/// Before the proof, behind the report.
const PROOF: &str = " psyops-proof:";
/// The type of the structure with OEM strings.
const OEM_STRINGS: u8 = 11;
/// A structure's type, length and handle.
const STRUCTURE_HEADER: usize = 4;

/// The random key of one machine.
#[derive(Clone, PartialEq, Eq)]
pub struct ReportKey([u8; 32]);

impl fmt::Debug for ReportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReportKey(..)")
    }
}

impl ReportKey {
    /// A key out of random bytes.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// The OEM string with this key.
    #[must_use]
    pub fn oem_string(&self) -> String {
        format!("{PREFIX}{}", crate::hash::to_hex(&self.0))
    }

    /// The key in an SMBIOS table, if there is one.
    #[must_use]
    pub fn find(mut table: &[u8]) -> Option<Self> {
        loop {
            let (&kind, &length) = (table.first()?, table.get(1)?);
            let (_, rest) = table.split_at_checked(usize::from(length).max(STRUCTURE_HEADER))?;
            // Each string ends with a zero byte, and the list with another one.
            let end = rest.windows(2).position(|pair| pair == [0, 0])?;
            let (strings, _) = rest.split_at_checked(end)?;
            if kind == OEM_STRINGS {
                let mut keys = strings.split(|&byte| byte == 0).filter_map(Self::of_string);
                if let Some(key) = keys.next() {
                    return Some(key);
                }
            }
            table = rest.get(end.checked_add(2)?..)?;
        }
    }

    fn of_string(string: &[u8]) -> Option<Self> {
        let hex = core::str::from_utf8(string).ok()?.strip_prefix(PREFIX)?;
        from_hex(hex)?.try_into().ok().map(Self)
    }

    fn proof(&self, report: &str) -> Sha256Digest {
        // The digest of a digest: without the key, nothing can be appended to the report.
        Sha256Digest::of_parts(&[&self.0, Sha256Digest::of(report.as_bytes()).as_bytes()])
    }
}

/// The line of a report on a console, without its marker: the JSON text, and the proof if there is a key.
#[must_use]
pub fn line(report: &str, key: Option<&ReportKey>) -> String {
    let report = format!("{}", Shown(report));
    match key {
        Some(key) => format!("{report}{PROOF}{}", key.proof(&report)),
        None => report,
    }
}

/// The JSON text at the start of what follows a marker.
#[must_use]
pub fn text(line: &str) -> &str {
    line.split_once(PROOF).map_or(line, |(report, _)| report)
}

/// The JSON text, only if the proof behind it was made with `key`.
#[must_use]
pub fn proven_text<'l>(line: &'l str, key: &ReportKey) -> Option<&'l str> {
    let (report, proof) = line.split_once(PROOF)?;
    let proof = proof.get(..64)?.parse::<Sha256Digest>().ok()?;
    (proof == key.proof(report)).then_some(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn key(byte: u8) -> ReportKey {
        ReportKey::new([byte; 32])
    }

    fn structure(kind: u8, strings: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::from([kind, 5, 0, 1, u8::try_from(strings.len()).unwrap()]);
        for string in strings {
            bytes.extend_from_slice(string.as_bytes());
            bytes.push(0);
        }
        bytes.extend_from_slice(if strings.is_empty() { &[0, 0] } else { &[0] });
        bytes
    }

    #[test]
    fn the_key_is_found_among_other_structures_and_strings() {
        let own = key(7).oem_string();
        let mut table = structure(1, &["QEMU", &own]);
        assert_eq!(ReportKey::find(&table), None, "only an OEM string counts");
        table.extend(structure(32, &[]));
        table.extend(structure(OEM_STRINGS, &["something else"]));
        table.extend(structure(OEM_STRINGS, &["more", &own]));
        table.extend(structure(127, &[]));
        assert_eq!(ReportKey::find(&table), Some(key(7)));
    }

    #[test]
    fn a_damaged_table_has_no_key() {
        let mut table = structure(OEM_STRINGS, &[&key(7).oem_string()]);
        table[1] = 0;
        let _ = ReportKey::find(&table);
        for length in 0..table.len() {
            assert_eq!(ReportKey::find(&table[..length]), None, "{length}");
        }
        assert_eq!(ReportKey::find(&structure(OEM_STRINGS, &["psyops.report-key=00"])), None);
        assert_eq!(ReportKey::find(&[0; 100]), None);
    }

    #[test]
    fn a_report_is_proven_by_the_key_of_its_machine_alone() {
        let said = line("{\"outcome\":\"ok\"}", Some(&key(7)));
        assert_eq!(proven_text(&said, &key(7)), Some("{\"outcome\":\"ok\"}"));
        assert_eq!(proven_text(&said, &key(8)), None);
        assert_eq!(proven_text(&said.replace("ok", "no"), &key(7)), None);
        assert_eq!(proven_text("{\"outcome\":\"ok\"}", &key(7)), None);
        assert_eq!(proven_text(&said[..said.len() - 1], &key(7)), None);
        assert_eq!((text(&said), text("{}")), ("{\"outcome\":\"ok\"}", "{}"));
        assert_eq!(line("{}", None), "{}");
        // Other output may follow on the same line of a console.
        assert!(proven_text(&format!("{said}[   12.4] more"), &key(7)).is_some());
    }
}
