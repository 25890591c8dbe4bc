//! Receipts: what was written to which stick, signed with the site's key and stored in the site.
//!
//! A receipt is JSON, with a minisign signature beside it, so that it can be read and verified without this program.
//! Each stick of a node has one; older ones are in the site's history. A receipt has no digest of a secret.

use crate::atomic::AtomicError;
use crate::error::{Class, Classified};
use crate::image::digests::{Digests, Part};
use crate::input::read_limited;
use crate::limits;
use crate::site::SiteFolder;
use handoff::hash::Sha256Digest;
use keys::issue::signing::{SigningFailed, SigningKey};
use keys::signature::{self, BadSignature, PublicKey};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The folder for receipts in a site.
pub const FOLDER: &str = "receipts";
/// The version of the format.
const VERSION: u32 = 2;

/// The facts about a stick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StickFacts {
    /// Vendor and model, if the stick has them.
    pub model: Option<String>,
    /// The serial number, if the stick has one.
    pub serial: Option<String>,
    /// The name of the file, if one was written instead of a stick.
    pub file: Option<String>,
    /// The size of the stick in bytes.
    pub capacity: u64,
}

impl StickFacts {
    /// The stick's part of the receipt's file name.
    fn name(&self) -> String {
        let name = match (&self.serial, &self.file) {
            (Some(serial), _) => serial.clone(),
            (None, Some(file)) => file.clone(),
            (None, None) => format!("{}-bytes", self.capacity),
        };
        let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || "-_.".contains(*letter);
        let plain: String = name.chars().map(|letter| if is_plain(&letter) { letter } else { '_' }).collect();
        // The name must not have a special meaning to the file system.
        let plain = plain.trim_start_matches('.');
        if plain.is_empty() { "stick".to_owned() } else { plain.to_owned() }
    }
}

/// The two digests of an image, as a build prints them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageDigests {
    /// The digest of all parts that anyone can build again.
    pub public: String,
    /// The digest of those and of the node's own parts, without the secret partition.
    pub node: String,
}

/// The content of a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Receipt {
    /// The version of the format.
    pub version: u32,
    /// The id of the site.
    pub site: String,
    /// The name of the node.
    pub node: String,
    /// The version of the program that wrote the stick.
    pub builder: String,
    /// The stick that was written.
    pub stick: StickFacts,
    /// When the writing began, in UTC (RFC 3339).
    pub began: String,
    /// When everything had been read back, in UTC (RFC 3339).
    pub ended: String,
    /// The bytes that were written; the rest was there already.
    pub written: u64,
    /// The digests of the image.
    pub image: ImageDigests,
    /// The digests of the stick's parts: those of the image, except for the partition table.
    pub parts: Digests,
}

/// Why a receipt could not be written, or is not valid.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum ReceiptError {
    /// The receipt could not be signed.
    #[error(transparent)]
    Signing(#[from] SigningFailed),
    /// The receipt could not be written.
    #[error(transparent)]
    Write(#[from] AtomicError),
    /// The receipt or its signature could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The path of the receipt, or of its signature.
        path: PathBuf,
        /// The error from reading it.
        r#source: io::Error,
    },
    /// The receipt has no valid signature by a key of the site.
    #[error("{path}: {source}")]
    Signature {
        /// The path of the receipt.
        path: PathBuf,
        /// Why the signature is not valid.
        r#source: BadSignature,
    },
    /// The file is not a receipt.
    #[error("{path} is not a receipt: {problem}")]
    Content {
        /// The path of the file.
        path: PathBuf,
        /// What is not valid in it.
        problem: String,
    },
}

impl Classified for ReceiptError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Signing(_) => Class::Failure,
            Self::Read { source, .. } => Class::of_reading(source),
            Self::Signature { .. } | Self::Content { .. } => Class::BadContent,
            Self::Write(_) => return None,
        })
    }
}

impl Receipt {
    /// The version of the format that this program writes.
    #[must_use]
    pub fn version() -> u32 {
        VERSION
    }

    /// Writes the receipt into the folder of a site, with its signature beside it.
    pub fn write(&self, site: &SiteFolder, key: &SigningKey) -> Result<PathBuf, ReceiptError> {
        let name = place(&self.node, &self.stick);
        let path = site.path_of(&name);
        let problem = |error: serde_json::Error| ReceiptError::Content {
            path: path.clone(),
            problem: error.to_string(),
        };
        let text = serde_json::to_string_pretty(self).map_err(problem)? + "\n";
        let signature = key.sign(text.as_bytes(), &self.comment())?;
        // If interrupted in between, an old receipt has a new signature, which is detected; the next run writes both.
        site.write(signature_of(&name), signature.as_bytes(), 0o644)?;
        site.write(&name, text.as_bytes(), 0o644)?;
        Ok(path)
    }

    fn comment(&self) -> String {
        format!("receipt of site {} node {} stick {}", self.site, self.node, self.stick.name())
    }

    /// The last receipt of a stick in the folder of a site, for whatever node; `None` if there is none.
    pub fn find(
        site: &SiteFolder,
        stick: &StickFacts,
        trusted: &[PublicKey],
    ) -> Result<Option<Self>, ReceiptError> {
        let folder = site.folder(FOLDER);
        let nodes = match folder.entries() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|source| ReceiptError::Read { path: folder.path(), source })?,
        };
        // If two ended within the same second, the one that was written later.
        let mut last: Option<(SystemTime, Self)> = None;
        for node in nodes.iter().filter_map(|node| node.name.to_str()) {
            let name = place(node, stick);
            let there = site.kind(&name);
            if there.map_err(|source| ReceiptError::Read { path: site.path_of(&name), source })?.is_none() {
                continue;
            }
            let receipt = Self::read(site, &name, trusted)?;
            let written = site.file(&name).and_then(|file| file.metadata()?.modified());
            let written =
                written.map_err(|source| ReceiptError::Read { path: site.path_of(&name), source })?;
            let is_later = |(at, last): &(SystemTime, Self)| (&last.ended, at) < (&receipt.ended, &written);
            if last.as_ref().is_none_or(is_later) {
                last = Some((written, receipt));
            }
        }
        Ok(last.map(|(_, receipt)| receipt))
    }

    fn read(site: &SiteFolder, name: &Path, trusted: &[PublicKey]) -> Result<Self, ReceiptError> {
        let read = |name: &Path| {
            let bytes = site.file(name).and_then(|file| read_limited(file, &limits::RECEIPT));
            bytes.map_err(|source| ReceiptError::Read { path: site.path_of(name), source })
        };
        let path = &*site.path_of(name);
        let text = read(name)?;
        let signature = String::from_utf8_lossy(&read(&signature_of(name))?).into_owned();
        signature::verify(&text, &signature, trusted)
            .map_err(|source| ReceiptError::Signature { path: path.to_owned(), source })?;
        let content = |problem: String| ReceiptError::Content { path: path.to_owned(), problem };
        let receipt: Self = serde_json::from_slice(&text).map_err(|error| content(error.to_string()))?;
        if receipt.version != VERSION {
            return Err(content(format!(
                "it has version {}, this program reads version {VERSION}",
                receipt.version
            )));
        }
        Ok(receipt)
    }

    /// The parts that differ between the receipt and the present content of a stick.
    #[must_use]
    pub fn changed(&self, now: &Digests) -> Vec<Part> {
        Part::ALL.into_iter().filter(|part| self.parts.get(*part) != now.get(*part)).collect()
    }

    /// Compares a stick with its receipt: only the parts that a running node writes may have changed.
    pub fn compare(&self, stick: &StickFacts, node: &str, now: &Digests) -> Result<String, String> {
        let flashed = format!("flashed for node {} at {}", self.node, self.ended);
        if self.stick.capacity != stick.capacity {
            let (then, now) = (self.stick.capacity, stick.capacity);
            return Err(format!("{flashed}, when it had {then} bytes; now it has {now}"));
        }
        if self.node != node {
            return Err(format!("{flashed}, and has the node {node} now"));
        }
        let changed = self.changed(now);
        let names = |parts: &[Part]| parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let fixed: Vec<Part> =
            changed.iter().copied().filter(|part| !Part::is_written_by_nodes(*part)).collect();
        if !fixed.is_empty() {
            return Err(format!(
                "{flashed}, and parts that no node writes have changed since: {}",
                names(&fixed)
            ));
        }
        Ok(match changed.as_slice() {
            [] => format!("{flashed}, and unchanged since"),
            parts => format!("{flashed}; its node has changed since: {}", names(parts)),
        })
    }
}

/// The digests of an image on a stick, which has its own partition table.
#[must_use]
pub fn on_stick(image: &Digests, tables: &[u8]) -> Digests {
    image.with(Part::Table, &Sha256Digest::of(tables).to_string())
}

fn place(node: &str, stick: &StickFacts) -> PathBuf {
    Path::new(FOLDER).join(node).join(format!("{}.json", stick.name()))
}

fn signature_of(path: &Path) -> PathBuf {
    path.with_extension("json.minisig")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture;
    use crate::image::reader::ImageReader;
    use std::fs;

    fn receipt(parts: Digests) -> Receipt {
        Receipt {
            version: VERSION,
            site: "fleet".into(),
            node: "pi1".into(),
            builder: "1".into(),
            stick: StickFacts {
                model: Some("Acme Stick".into()),
                serial: Some("../AA 01".into()),
                file: None,
                capacity: 1 << 30,
            },
            began: "2026-11-22T20:00:00Z".into(),
            ended: "2026-11-22T20:01:00Z".into(),
            written: 5,
            image: ImageDigests { public: parts.public().to_string(), node: parts.node().to_string() },
            parts,
        }
    }

    #[test]
    fn a_receipt_is_read_only_with_its_signature() {
        let fixture = fixture::image();
        let parts = Digests::of(&ImageReader::open(&fixture.image.path).unwrap()).unwrap();
        let receipt = receipt(on_stick(&parts, b"tables"));
        let (folder, key) = (tempfile::tempdir().unwrap(), SigningKey::generate().unwrap());
        let site = SiteFolder::open(folder.path()).unwrap();
        let path = receipt.write(&site, &key).unwrap();
        assert_eq!(path, folder.path().join("receipts/pi1/_AA_01.json"));
        let trusted = [key.public().clone()];
        let read = |stick: &StickFacts| Receipt::find(&site, stick, &trusted);
        assert_eq!(Receipt::find(&site.folder("nowhere"), &receipt.stick, &trusted).unwrap(), None);
        assert_eq!(read(&receipt.stick).unwrap(), Some(receipt.clone()));
        assert_eq!(read(&StickFacts { serial: Some("BB".into()), ..receipt.stick.clone() }).unwrap(), None);
        assert_eq!(receipt.changed(&parts), [Part::Table]);
        let other = [SigningKey::generate().unwrap().public().clone()];
        let error = Receipt::find(&site, &receipt.stick, &other).unwrap_err();
        assert!(matches!(error, ReceiptError::Signature { .. }), "{error}");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"written\": 5", "\"written\": 6")).unwrap();
        assert!(matches!(read(&receipt.stick), Err(ReceiptError::Signature { .. })));
    }

    #[test]
    fn the_last_receipt_of_a_stick_counts() {
        let (folder, key) = (tempfile::tempdir().unwrap(), SigningKey::generate().unwrap());
        let first = receipt(Digests::default());
        let second = Receipt { node: "pi2".into(), ended: "2026-11-23T00:00:00Z".into(), ..first.clone() };
        let site = SiteFolder::open(folder.path()).unwrap();
        second.write(&site, &key).unwrap();
        first.write(&site, &key).unwrap();
        let found = Receipt::find(&site, &first.stick, &[key.public().clone()]).unwrap();
        assert_eq!(found, Some(second));
    }

    #[test]
    fn parts_that_no_node_writes_must_be_unchanged() {
        let fixture = fixture::image();
        let parts = Digests::of(&ImageReader::open(&fixture.image.path).unwrap()).unwrap();
        let receipt = receipt(parts.clone());
        let compare = |node: &str, now: &Digests| receipt.compare(&receipt.stick, node, now);
        assert!(compare("pi1", &parts).unwrap().ends_with("and unchanged since"));
        let with = |part| parts.with(part, "0");
        assert!(
            compare("pi1", &with(Part::Control)).unwrap().ends_with("its node has changed since: control")
        );
        for part in [Part::Table, Part::Esp] {
            let error = compare("pi1", &with(part)).unwrap_err();
            assert!(
                error.ends_with(&format!("parts that no node writes have changed since: {part}")),
                "{error}"
            );
        }
        assert!(compare("pi2", &parts).unwrap_err().ends_with("has the node pi2 now"));
        let shrunk = StickFacts { capacity: 5, ..receipt.stick.clone() };
        assert!(receipt.compare(&shrunk, "pi1", &parts).unwrap_err().ends_with("now it has 5"));
    }

    #[test]
    fn a_stick_has_one_name() {
        let facts = |serial: Option<&str>, file: Option<&str>| StickFacts {
            model: None,
            serial: serial.map(Into::into),
            file: file.map(Into::into),
            capacity: 4096,
        };
        assert_eq!(facts(Some("A/b"), Some("x")).name(), "A_b");
        assert_eq!(facts(None, Some("..")).name(), "stick");
        assert_eq!(facts(None, None).name(), "4096-bytes");
    }
}
