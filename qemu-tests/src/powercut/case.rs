//! The data of a scenario: the seal before, the seal after, the node's key, and which code writes. It is a folder, so
//! that it can be copied into the machine.

use super::wrong::Wrong;
use anyhow::{Context as _, Result};
use handoff::fault::Policy;
use handoff::manifest::{FileAttributes, FileKind, RelativePath, Required, Store};
use keys::identity::NodeIdentity;
use keys::issue::identity_file;
use keys::issue::seal_builder::SealBuilder;
use keys::issue::signing::SigningKey;
use keys::seal::header::{Generation, Header};
use keys::seal::{OpenedSeal, UnverifiedSeal, VerifiedSeal};
use keys::signature::PublicKey;
use keys::timestamp::Timestamp;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const AGE_KEY: &str = "age.key";
const SIGNER: &str = "signer.pub";
const OLD: &str = "old.seal";
const NEW: &str = "new.seal";
const WRITER: &str = "writer";

/// Files of a seal: path, mode, content.
pub type Files = BTreeMap<String, (u32, Vec<u8>)>;

/// The code that writes the differing files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The code of the loader and the agent.
    Reconcile,
    /// Code with a known error, to check that the error is noticed.
    Wrong(Wrong),
}

/// A case that was read from its folder.
#[derive(Debug)]
pub struct Case {
    /// The identity file, as it is in the store.
    pub age_key: Vec<u8>,
    /// The keys that may sign.
    pub trusted: Vec<PublicKey>,
    /// The seal that the store matches at the beginning, if there is one.
    pub old: Option<VerifiedSeal>,
    /// The seal that the store must match afterwards.
    pub new: VerifiedSeal,
    /// The code that writes.
    pub writer: Writer,
}

impl Case {
    /// Makes a case: keys, and a seal of generation 1 of `old` and one of generation 2 of `new`.
    pub fn make(folder: &Path, old: Option<&Files>, new: &Files, writer: Writer) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let (key, node) = (SigningKey::generate()?, identity_file::generate());
        let age_key = identity_file::text(&node, Timestamp::from_unix(0));
        fs::write(folder.join(AGE_KEY), age_key.as_bytes())?;
        fs::write(folder.join(SIGNER), key.public().as_str())?;
        if let Some(old) = old {
            fs::write(folder.join(OLD), seal(&key, &node, 1, old)?)?;
        }
        fs::write(folder.join(NEW), seal(&key, &node, 2, new)?)?;
        fs::write(folder.join(WRITER), writer.word())?;
        Self::load(folder)
    }

    /// Reads a case.
    pub fn load(folder: &Path) -> Result<Self> {
        let text = |name: &str| {
            fs::read_to_string(folder.join(name))
                .with_context(|| format!("reading {name} of {}", folder.display()))
        };
        let trusted: Vec<PublicKey> = vec![text(SIGNER)?.parse()?];
        let seal = |name: &str| -> Result<VerifiedSeal> {
            let seal = UnverifiedSeal::parse(&fs::read(folder.join(name))?)?;
            Ok(seal.verify(&trusted, &"powercut".parse()?)?)
        };
        let old = folder.join(OLD).exists().then(|| seal(OLD)).transpose()?;
        let new = seal(NEW)?;
        let writer = Writer::of_word(&text(WRITER)?).context("a writer that is not known")?;
        Ok(Self { age_key: text(AGE_KEY)?.into_bytes(), old, new, writer, trusted })
    }

    /// Opens a seal with the node's key.
    pub fn open(&self, seal: &VerifiedSeal) -> Result<OpenedSeal> {
        Ok(seal.clone().open(&NodeIdentity::parse(&self.age_key)?)?)
    }
}

impl Writer {
    fn word(self) -> &'static str {
        match self {
            Self::Reconcile => "reconcile",
            Self::Wrong(wrong) => wrong.word(),
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        let wrong = Wrong::ALL.into_iter().map(Self::Wrong);
        wrong.chain([Self::Reconcile]).find(|writer| writer.word() == word)
    }
}

/// The seal says that unknown files are removed, so that a removed file is a change like any other.
fn seal(key: &SigningKey, node: &NodeIdentity, generation: u64, files: &Files) -> Result<Vec<u8>> {
    let mut builder = SealBuilder::new(Policy::default(), true);
    for (path, (mode, content)) in files {
        let file = FileAttributes {
            mode: *mode,
            uid: 0,
            gid: 0,
            kind: FileKind::Opaque,
            store: Store::Disk,
            install: None,
            required: Required::Boot,
        };
        let path = RelativePath::new(path).with_context(|| format!("{path} is no path"))?;
        builder.add(path, file, content.clone().into())?;
    }
    let header = Header {
        site: "powercut".parse()?,
        node: "node".parse()?,
        recipient: node.recipient(),
        generation: Generation::new(generation).context("generation 0")?,
        created: Timestamp::from_unix(0),
        security_epoch: 0,
    };
    Ok(builder.build(&header, &[], key)?)
}
