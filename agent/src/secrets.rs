//! The secret partition on the running system: compared with the seal, and repaired as the loader does it at boot.
//!
//! For a check, the manifest that the loader left is enough. A repair needs the contents: the seal is read from the
//! stick again, verified with the keys that the initramfs trusted, and opened with the node's key. The partition is
//! writable only while the repair writes.

use crate::file::{self, FileError, failing};
use crate::root::Root;
use crate::seal::{self, SealProblem};
use handoff::manifest::{BadManifest, Manifest};
use handoff::paths;
use keys::reconcile::{CompareError, Comparison, RepairError, Repaired, compare, repair};
use rustix::mount::{MountFlags, mount_remount};
use tracing::{debug, info_span};

/// The mount flags of the secret partition, the same as the loader's.
const DATA_ONLY: MountFlags =
    MountFlags::NODEV.union(MountFlags::NOSUID).union(MountFlags::NOEXEC).union(MountFlags::NOSYMFOLLOW);

/// Why the secret partition could not be compared or repaired.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// A file of this boot, or a device, cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The loader left a manifest that is not valid.
    #[error("{place}: {0}; reboot", place = paths::MANIFEST)]
    Manifest(#[from] BadManifest),
    /// The seal, which a repair needs, cannot be used.
    #[error(transparent)]
    Seal(#[from] SealProblem),
    /// The files on the partition cannot be read.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// Some files could not be repaired.
    #[error("{0}; if the medium is worn, make another stick")]
    Repair(#[from] RepairError),
}

/// Compares the secret partition with what the loader verified.
pub fn check(root: &Root) -> Result<Comparison, SecretsError> {
    let _span = info_span!("secrets check").entered();
    let manifest = Manifest::decode(&file::read_text(&root.at(paths::MANIFEST))?)?;
    Ok(compare(&root.at(paths::SECRET_PARTITION), &manifest)?)
}

/// Repairs what differs, passes a line for each repair to `tell`, and compares again.
pub fn fix(root: &Root, tell: &mut dyn FnMut(&str)) -> Result<Comparison, SecretsError> {
    let _span = info_span!("secrets fix").entered();
    let seal = seal::open_current(root)?;
    let store = root.at(paths::SECRET_PARTITION);
    let before = compare(&store, seal.manifest())?;
    if !before.needs_repair(seal.manifest()) {
        return Ok(before);
    }
    for difference in &before.differing {
        tell(&format!("differed: {difference}"));
    }
    let writable = Writable::begin(root)?;
    let repaired = repair(&store, &seal, &before);
    writable.end()?;
    for Repaired { path, .. } in repaired? {
        tell(&format!("repaired: {}", path.display()));
    }
    Ok(compare(&store, seal.manifest())?)
}

/// The secret partition while it is writable; it is read-only again when this is dropped.
struct Writable<'a> {
    root: &'a Root,
    ended: bool,
}

impl<'a> Writable<'a> {
    fn begin(root: &'a Root) -> Result<Self, FileError> {
        remount(root, DATA_ONLY, "make writable")?;
        Ok(Self { root, ended: false })
    }

    fn end(mut self) -> Result<(), FileError> {
        self.ended = true;
        remount(self.root, DATA_ONLY | MountFlags::RDONLY, "make read-only again")
    }
}

impl Drop for Writable<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let _ = remount(self.root, DATA_ONLY | MountFlags::RDONLY, "make read-only again");
        }
    }
}

/// Only the running system has a partition there; another folder is writable anyway.
fn remount(root: &Root, flags: MountFlags, action: &'static str) -> Result<(), FileError> {
    let store = root.at(paths::SECRET_PARTITION);
    debug!(action, store = %store.display(), "remounting");
    if root.is_running_system() { failing(action, &store, mount_remount(&store, flags, "")) } else { Ok(()) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::disk::tests::stick;
    use handoff::fault::Policy;
    use handoff::least_generation::LeastGeneration;
    use handoff::loader_config::LoaderConfig;
    use handoff::manifest::{FileAttributes, FileKind, RelativePath, Required, Store};
    use keys::identity::NodeIdentity;
    use keys::issue::identity_file;
    use keys::issue::seal_builder::SealBuilder;
    use keys::issue::signing::SigningKey;
    use keys::seal::SealError;
    use keys::seal::header::{Generation, Header};
    use keys::timestamp::Timestamp;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    const CONTENT: &[u8] = b"right\n";

    pub(crate) struct Site {
        _folder: tempfile::TempDir,
        pub(crate) root: Root,
        pub(crate) key: SigningKey,
        pub(crate) node: NodeIdentity,
    }

    impl Site {
        /// A node whose store matches the seal of generation 1.
        pub(crate) fn new() -> Self {
            let (folder, root) = stick(&[("sda9", "seal-a"), ("sda10", "seal-b"), ("sda11", "secret")]);
            let site = Self {
                _folder: folder,
                root,
                key: SigningKey::generate().unwrap(),
                node: identity_file::generate(),
            };
            let trust = LoaderConfig {
                site: "lab".parse().unwrap(),
                release: "1".parse().unwrap(),
                security_epoch: 0,
                least_generation: LeastGeneration::default(),
                build_time: 0,
                signing_keys: vec![site.key.public().as_str().to_owned()],
                overlay_size: "50%".into(),
                root_corruption: handoff::verity::OnCorruption::default(),
                identity_deadline: 30,
                policy: Policy::default(),
                rescue: handoff::rescue::RescuePolicy::default(),
            };
            site.write(paths::RUNNING_TRUST, trust.encode().as_bytes());
            let key = identity_file::text(&site.node, Timestamp::from_unix(0));
            site.write("/run/psyops/private/secret-partition/age.key", key.as_bytes());
            site.write("/run/psyops/private/secret-partition/etc/token", CONTENT);
            for folder in ["", "etc"] {
                let folder = site.root.at(paths::SECRET_PARTITION).join(folder);
                fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
            }
            site.seal("/dev/sda9", 1, &site.key);
            site.write("/dev/sda10", &vec![0; 64 * 1024]);
            site
        }

        pub(crate) fn write(&self, path: &str, content: &[u8]) {
            file::write(&self.root.at(path), content, 0o600).unwrap();
        }

        /// A seal of this site for `node`, and its manifest.
        pub(crate) fn seal_for(&self, node: &str, generation: u64, key: &SigningKey) -> (Vec<u8>, String) {
            let id = rustix::process::geteuid().as_raw();
            let gid = rustix::process::getegid().as_raw();
            let file = FileAttributes {
                mode: 0o600,
                uid: id,
                gid,
                kind: FileKind::Text,
                store: Store::Disk,
                install: None,
                required: Required::Boot,
            };
            let mut builder = SealBuilder::new(Policy::default(), false);
            builder.add(RelativePath::new("etc/token").unwrap(), file, CONTENT.to_vec().into()).unwrap();
            let header = Header {
                site: "lab".parse().unwrap(),
                node: node.parse().unwrap(),
                recipient: self.node.recipient(),
                generation: Generation::new(generation).unwrap(),
                created: Timestamp::from_unix(0),
                security_epoch: 0,
            };
            let manifest = builder.manifest().unwrap().encode();
            (builder.build(&header, &[], key).unwrap(), manifest)
        }

        fn seal(&self, device: &str, generation: u64, key: &SigningKey) {
            let (mut seal, manifest) = self.seal_for("node-1", generation, key);
            seal.resize(64 * 1024, 0);
            self.write(device, &seal);
            self.write(paths::MANIFEST, manifest.as_bytes());
        }

        fn fix(&self) -> (Result<Comparison, SecretsError>, Vec<String>) {
            let mut told = Vec::new();
            let result = fix(&self.root, &mut |line| told.push(line.to_owned()));
            (result, told)
        }
    }

    #[test]
    fn differences_are_listed_and_repaired() {
        let site = Site::new();
        assert!(check(&site.root).unwrap().differing.is_empty());
        site.write("/run/psyops/private/secret-partition/etc/token", b"wrong\n");
        let seen = check(&site.root).unwrap();
        assert_eq!(seen.differing[0].to_string(), "etc/token: content");
        let (after, told) = site.fix();
        assert!(after.unwrap().differing.is_empty());
        assert_eq!(told, ["differed: etc/token: content", "repaired: etc/token"]);
        let token = site.root.at("/run/psyops/private/secret-partition/etc/token");
        assert_eq!(fs::read(token).unwrap(), CONTENT);
        let key = site.root.at(paths::SECRET_PARTITION).join(paths::AGE_KEY);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(check(&site.root).unwrap().differing[0].to_string(), "age.key: mode 0644, should be 0600");
        let (after, told) = site.fix();
        assert!(after.unwrap().differing.is_empty());
        assert_eq!(told, ["differed: age.key: mode 0644, should be 0600", "repaired: age.key"]);
        assert_eq!(site.fix().1, Vec::<String>::new(), "a second time there is nothing to do");
    }

    #[test]
    fn an_invalid_seal_repairs_nothing() {
        let site = Site::new();
        site.seal("/dev/sda9", 2, &SigningKey::generate().unwrap());
        site.write("/run/psyops/private/secret-partition/etc/token", b"wrong\n");
        assert!(matches!(site.fix().0, Err(SecretsError::Seal(SealProblem::NoSeal(_)))));
        site.seal("/dev/sda10", 1, &site.key);
        assert!(site.fix().0.unwrap().differing.is_empty(), "the other one still holds");
    }

    #[test]
    fn the_key_of_another_node_is_reported() {
        let site = Site::new();
        let other = identity_file::text(&identity_file::generate(), Timestamp::from_unix(0));
        site.write("/run/psyops/private/secret-partition/age.key", other.as_bytes());
        assert!(matches!(
            site.fix().0,
            Err(SecretsError::Seal(SealProblem::Seal(SealError::OtherRecipient { .. })))
        ));
    }
}
