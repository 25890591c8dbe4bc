//! What a file that is not from a package is searched for.

use super::ids;
use std::fmt;
use std::path::Path;

/// Texts at the start of a private key, or in the format of its file.
const KEYS: [(&str, &str); 9] = [
    ("PRIVATE KEY-----", "a private key (PEM, OpenSSH)"),
    ("PGP PRIVATE KEY BLOCK", "a private key (OpenPGP)"),
    ("private-key(", "a private key (GnuPG)"),
    ("AGE-SECRET-KEY-1", "a private key (age)"),
    ("AGE-PLUGIN-", "a private key (age)"),
    ("minisign encrypted secret key", "a private key (minisign)"),
    ("PuTTY-User-Key-File-", "a private key (PuTTY)"),
    ("Private-key-format:", "a private key (DNSSEC)"),
    ("\tsecret \"", "a shared secret (TSIG)"),
];
/// The algorithm of a PKCS#8 key in DER (rsaEncryption, id-ecPublicKey, Ed25519): SEQUENCE, version 0, SEQUENCE, OID.
const DER_KEYS: [&[u8]; 3] = [
    b"\x02\x01\x00\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01",
    b"\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01",
    b"\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70",
];
/// The first bytes of files that look random and are not: gzip, xz, zstd, PNG, ELF.
const NOT_RANDOM: [&[u8]; 5] = [b"\x1f\x8b", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x89PNG", b"\x7fELF"];
/// Sizes of random seeds in bytes.
const SEED: std::ops::RangeInclusive<usize> = 16..=8192;
/// Shorter machine names occur by accident.
const SHORTEST_NAME: usize = 6;

/// What was found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Find {
    /// A private key or secret of the kind named.
    Key(&'static str),
    /// The id of a machine, 32 hexadecimal digits or a UUID: the only content of a file, or under a name that ends in
    /// ID.
    Id,
    /// Bytes that look random.
    Random,
    /// The host name of this machine.
    Name(String),
    /// The machine id of this machine.
    ThisMachineId,
    /// The name under which this machine sends mail.
    MailName(String),
    /// A password, or its hash, of the kind named.
    Password(&'static str),
    /// The time at which the base was made, as the file has it.
    Time(String),
}

impl fmt::Display for Find {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(kind) | Self::Password(kind) => f.write_str(kind),
            Self::Id => f.write_str("an id that was made for one machine"),
            Self::Random => f.write_str("bytes that look random"),
            Self::Name(name) => write!(f, "the host name of this machine, {name}"),
            Self::ThisMachineId => f.write_str("the machine id of this machine"),
            Self::MailName(name) => write!(f, "the mail name of this machine, {name}"),
            Self::Time(text) => write!(f, "the time of this build, {text}"),
        }
    }
}

/// The facts about the building machine that must not be in a root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::base) struct Machine {
    name: Option<String>,
    id: Option<String>,
    mail_name: Option<String>,
}

impl Machine {
    /// The facts of this machine. `common` are words that are not evidence, such as the names of packages.
    pub(in crate::base) fn this<'a>(common: impl Iterator<Item = &'a str>) -> Self {
        let read = |path: &str| std::fs::read_to_string(Path::new(path)).ok();
        let name = read("/proc/sys/kernel/hostname").map(|name| name.trim().to_ascii_lowercase());
        let id = read("/etc/machine-id").map(|id| id.trim().to_owned()).filter(|id| id.len() == 32);
        let mail_name = read("/etc/mailname").map(|name| name.trim().to_ascii_lowercase());
        Self::new(name, id, mail_name, common)
    }

    fn new<'a>(
        name: Option<String>,
        id: Option<String>,
        mail_name: Option<String>,
        common: impl Iterator<Item = &'a str>,
    ) -> Self {
        let common: Vec<&str> = common.collect();
        let telling = |name: &String| {
            name.len() >= SHORTEST_NAME
                && !name.starts_with("localhost")
                && !common.iter().any(|word| word.contains(name.as_str()))
        };
        Self { name: name.filter(telling), id, mail_name: mail_name.filter(telling) }
    }

    #[cfg(test)]
    pub(in crate::base) fn for_tests(name: &str, id: &str, mail_name: &str) -> Self {
        let [name, id, mail_name] = [name, id, mail_name].map(|text| Some(text.to_owned()));
        Self::new(name, id, mail_name, std::iter::empty())
    }

    /// The first thing found in a file with this content.
    pub(super) fn search(&self, bytes: &[u8]) -> Option<Find> {
        let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        if let Some((_, kind)) = KEYS.iter().find(|(text, _)| has(text.as_bytes())) {
            return Some(Find::Key(kind));
        }
        if DER_KEYS.iter().any(|start| {
            bytes
                .get(..64.min(bytes.len()))
                .is_some_and(|head| head.windows(start.len()).any(|window| window == *start))
        }) {
            return Some(Find::Key("a private key (DER)"));
        }
        if self.id.as_ref().is_some_and(|id| has(id.as_bytes())) {
            return Some(Find::ThisMachineId);
        }
        if ids::is_id(bytes) || ids::have_id(bytes) {
            return Some(Find::Id);
        }
        if looks_random(bytes) {
            return Some(Find::Random);
        }
        self.search_name(&String::from_utf8_lossy(bytes))
    }

    /// Whether a text has the name of this machine, or its mail name, as a word.
    pub(super) fn search_name(&self, text: &str) -> Option<Find> {
        let text = text.to_ascii_lowercase();
        let found = |name: &&String| has_word(&text, name);
        let mail_name = self.mail_name.as_ref().filter(found).cloned().map(Find::MailName);
        mail_name.or_else(|| self.name.as_ref().filter(found).cloned().map(Find::Name))
    }
}

fn has_word(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_word = |at: usize| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at + name.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(part) && !after.is_some_and(part)
    };
    text.match_indices(name).any(|(at, _)| is_word(at))
}

/// Whether nearly all bytes are as different as random ones would be, and are not text.
fn looks_random(bytes: &[u8]) -> bool {
    if !SEED.contains(&bytes.len())
        || NOT_RANDOM.iter().any(|start| bytes.starts_with(start))
        || std::str::from_utf8(bytes).is_ok()
    {
        return false;
    }
    let mut counts = [0_u32; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    let length = f64::from(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    let entropy: f64 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / length)
        .map(|share| -share * share.log2())
        .sum();
    entropy > 0.9 * length.min(256.0).log2()
}
