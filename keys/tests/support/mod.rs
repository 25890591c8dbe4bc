//! A site with one node, created again for each test.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    missing_docs,
    reason = "each test program uses a part of this module of its own"
)]

use handoff::fault::Policy;
use handoff::manifest::{FileAttributes, FileKind, RelativePath, Required, Store};
use handoff::name::Name;
use keys::identity::NodeIdentity;
use keys::issue::identity_file;
use keys::issue::seal_builder::SealBuilder;
use keys::issue::signing::SigningKey;
use keys::seal::header::{Generation, Header};
use keys::seal::{OpenedSeal, UnverifiedSeal};
use keys::signature::PublicKey;
use keys::timestamp::Timestamp;
use nix::unistd::{getegid, geteuid};

pub struct Fixture {
    pub site: Name,
    pub key: SigningKey,
    pub admin: NodeIdentity,
    pub node: NodeIdentity,
}

pub fn path(text: &str) -> RelativePath {
    RelativePath::new(text).unwrap()
}

/// A file that belongs to the user who runs the tests, so that they need not run as root.
pub fn file(mode: u32) -> FileAttributes {
    FileAttributes {
        mode,
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
        kind: FileKind::Opaque,
        store: Store::Disk,
        install: None,
        required: Required::Boot,
    }
}

impl Fixture {
    pub fn new() -> Self {
        Self {
            site: "home".parse().unwrap(),
            key: SigningKey::generate().unwrap(),
            admin: identity_file::generate(),
            node: identity_file::generate(),
        }
    }

    pub fn trusted(&self) -> Vec<PublicKey> {
        vec![self.key.public().clone()]
    }

    pub fn header(&self, generation: u64) -> Header {
        Header {
            site: self.site.clone(),
            node: "demo".parse().unwrap(),
            recipient: self.node.recipient(),
            generation: Generation::new(generation).unwrap(),
            created: Timestamp::from_unix(1_700_000_000),
            security_epoch: 0,
        }
    }

    pub fn seal(&self, builder: &SealBuilder, generation: u64) -> Vec<u8> {
        builder.build(&self.header(generation), &[self.admin.recipient()], &self.key).unwrap()
    }

    pub fn open(&self, seal: &[u8]) -> OpenedSeal {
        let seal = UnverifiedSeal::parse(seal).unwrap();
        seal.verify(&self.trusted(), &self.site).unwrap().open(&self.node).unwrap()
    }
}

/// A builder with these files on the disk, all of mode 0600.
pub fn builder(files: &[(&str, &[u8])]) -> SealBuilder {
    let mut builder = SealBuilder::new(Policy::default(), false);
    for (name, content) in files {
        builder.add(path(name), file(0o600), content.to_vec().into()).unwrap();
    }
    builder
}
