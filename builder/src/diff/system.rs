//! The system in a slot, as facts from its UKI. Its root is read only if the root hashes differ.

use super::change::{Facts, Value};
use crate::boot::initramfs_reader::{self, ArchiveFile, Wanted};
use crate::boot::uki::{Section, Uki};
use crate::browse::EntryKind;
use crate::image::reader::ImageReader;
use crate::image::slot::{self, SlotError};
use crate::limits;
use handoff::boot_record::BadBootRecord;
use handoff::hash::Sha256Digest;
use handoff::loader_config::LoaderConfig;
use handoff::slot::Slot;
use handoff::verity::RootHash;
use keys::signature::{self, PublicKey};

/// `paths::TRUST` as it is written in the archive.
const TRUST: &str = "psyops/trust";

/// The system in a slot.
pub(super) struct System {
    pub(super) root: RootHash,
    pub(super) command_line: String,
    pub(super) kernel: Facts,
    pub(super) initramfs: Facts,
    /// Release, security epoch, and the digest of the UKI as a whole.
    pub(super) release: Facts,
    /// The key that signed it, and the keys that it trusts.
    pub(super) keys: Facts,
}

/// Reads the system of a slot: `None` if nothing was written there; the error says what is wrong with it.
pub(super) fn read(image: &ImageReader, slot: Slot) -> Result<Option<System>, String> {
    let checked = match slot::uki(image, slot) {
        Err(SlotError::Record(BadBootRecord::Empty)) => return Ok(None),
        other => other.map_err(|error| error.to_string())?,
    };
    let text = |error: &dyn std::error::Error| error.to_string();
    let root = checked.root_hash().map_err(|error| text(&error))?;
    slot::check_tree(image, slot, root).map_err(|error| text(&error))?;
    let uki = Uki::parse(&checked.bytes).map_err(|error| text(&error))?;
    let section = |section| uki.section(section).map_err(|error| text(&error));
    let wanted = |name: &str| if name == TRUST { Wanted::Content(&limits::TRUST) } else { Wanted::Digest };
    let files = initramfs_reader::files(section(Section::Initrd)?, wanted)
        .map_err(|error| format!("the initramfs in the UKI cannot be unpacked: {error}"))?;
    let digest = |bytes: &[u8]| Value::Digest(Sha256Digest::of(bytes));
    let kernel = vec![
        ("release", Value::Text(uki.text(Section::Uname).map_err(|error| text(&error))?)),
        ("content", digest(section(Section::Linux)?)),
    ];
    let record = &checked.record;
    let release = vec![
        ("name", Value::text(&record.release)),
        ("security epoch", Value::Number(record.security_epoch.into())),
        ("UKI size", Value::Number(record.length)),
        ("UKI", Value::Digest(record.digest)),
        ("os-release", digest(section(Section::OsRelease)?)),
    ];
    Ok(Some(System {
        root,
        command_line: checked.command_line().map_err(|error| text(&error))?,
        kernel: [("kernel".to_owned(), kernel)].into(),
        release: [("release".to_owned(), release)].into(),
        keys: keys(&record.signature, &files),
        initramfs: files.into_iter().map(|file| (file.path.clone(), facts(&file))).collect(),
    }))
}

/// Nothing is verified here: these are the keys named in the signature and in the trust file.
fn keys(text: &str, files: &[ArchiveFile]) -> Facts {
    let signer = signature::unproven_signer(text).map_or_else(|| "nobody".into(), |id| id.to_string());
    let mut keys = Facts::from([("UKI".to_owned(), vec![("signed by", Value::Text(signer))])]);
    let trust = files.iter().find(|file| file.path == TRUST);
    let trust = trust.and_then(|file| LoaderConfig::decode(std::str::from_utf8(&file.content).ok()?).ok());
    for key in trust.map(|trust| trust.signing_keys).unwrap_or_default() {
        let id = key.parse::<PublicKey>().map_or(key, |key| key.id().to_string());
        keys.insert(format!("trusted key {id}"), Vec::new());
    }
    keys
}

fn facts(file: &ArchiveFile) -> Vec<(&'static str, Value)> {
    let kind = EntryKind::of_mode(file.mode);
    let mut facts = vec![
        ("kind", Value::text(&kind.word())),
        ("mode", Value::Text(format!("{:04o}", file.mode & 0o7777))),
        ("owner", Value::Text(format!("{}:{}", file.uid, file.gid))),
    ];
    match kind {
        EntryKind::File => {
            facts.push(("size", Value::Number(file.size)));
            let digest = file.digest.unwrap_or_else(|| Sha256Digest::of(&file.content));
            facts.push(("content", Value::Digest(digest)));
        }
        EntryKind::Link => facts.push(("target", Value::text(&String::from_utf8_lossy(&file.content)))),
        EntryKind::Folder | EntryKind::Special => {}
    }
    facts
}
