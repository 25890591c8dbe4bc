//! Bases from tars and layout folders, from the lock to the tree.

use super::*;
use crate::site::{GeneratedKeys, InitOptions, init_site};
use crate::store::Inputs;
use handoff::hash::Sha256Digest;
use serde_json::json;
use std::process::Command;
use tempfile::TempDir;

/// A site with a base, and a store.
pub(super) struct Fixture {
    pub(super) folder: TempDir,
    pub(super) site: Site,
    pub(super) store: Store,
}

/// The first bytes of a program for x86-64.
fn program() -> Vec<u8> {
    let mut bytes = b"\x7fELF".to_vec();
    bytes.resize(64, 0);
    bytes[18] = 62;
    bytes
}

/// The smallest tree with an init.
pub(super) fn system() -> LayeredTree {
    let mut tree = LayeredTree::new();
    tree.insert_file("bin/busybox", 0o755, program()).unwrap();
    tree.insert_symlink("bin/sh", "busybox").unwrap();
    tree.insert_symlink("sbin/init", "../bin/busybox").unwrap();
    tree.insert_file("etc/machine-id", 0o444, *b"0123456789abcdef\n").unwrap();
    tree.insert_file("etc/ssh/ssh_host_ed25519_key", 0o600, *b"everybody's").unwrap();
    tree.insert_file("etc/motd", 0o644, *b"base\n").unwrap();
    tree
}

pub(super) fn tar(tree: &LayeredTree) -> Vec<u8> {
    let mut bytes = Vec::new();
    tree.write_tar(&mut bytes, 1000).unwrap();
    bytes
}

impl Fixture {
    pub(super) fn new(base: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = GeneratedKeys {
            admin_recipient: format!("age1{}", "q".repeat(58)),
            signing_public: format!("RW{}", "Q".repeat(54)),
        };
        let options =
            InitOptions { build_time: 1_793_491_200, open_consoles: false, ..InitOptions::default() };
        let dir = folder.path().join("site");
        init_site(&dir, &"lab".parse().unwrap(), &"alpha".parse().unwrap(), &keys, &options).unwrap();
        let text = fs::read_to_string(dir.join("site.toml")).unwrap();
        fs::write(dir.join("site.toml"), text.replace("\"micro\"", &format!("{base:?}"))).unwrap();
        let (site, store) = (Site::load(&dir).unwrap(), Store::at(&folder.path().join("store")).unwrap());
        Self { folder, site, store }
    }

    pub(super) fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.site.dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn blob(&self, bytes: &[u8]) -> serde_json::Value {
        let digest = Sha256Digest::of(bytes);
        self.put(&format!("layout/blobs/sha256/{digest}"), bytes);
        json!({"digest": format!("sha256:{digest}"), "size": bytes.len()})
    }

    /// Adds an image to the layout folder; returns its entry for the index.
    pub(super) fn image(&self, layers: &[Vec<u8>], architecture: &str, tag: &str) -> serde_json::Value {
        let with = |mut value: serde_json::Value, key: &str, to: &str| {
            value[key] = to.into();
            value
        };
        let kind = "application/vnd.oci.image.layer.v1.tar";
        let layers: Vec<_> = layers.iter().map(|layer| with(self.blob(layer), "mediaType", kind)).collect();
        let config = json!({"os": "linux", "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": []}});
        let config = self.blob(config.to_string().as_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": with(config, "mediaType", "application/vnd.oci.image.config.v1+json"),
            "layers": layers,
        });
        let mut entry = self.blob(manifest.to_string().as_bytes());
        entry["mediaType"] = "application/vnd.oci.image.manifest.v1+json".into();
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        entry
    }

    pub(super) fn index(&self, entries: &[serde_json::Value]) {
        self.put("layout/oci-layout", b"{\"imageLayoutVersion\":\"1.0.0\"}");
        let kind = "application/vnd.oci.image.index.v1+json";
        let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": entries});
        self.put("layout/index.json", index.to_string().as_bytes());
    }

    pub(super) fn resolve(&self) -> Result<ImportedBase, ImportError> {
        resolve(&self.site, &|_| ()).map(Option::unwrap)
    }

    /// Makes the tree from the lock.
    pub(super) fn make(&self, imported: &ImportedBase) -> Result<(LayeredTree, Init), BaseError> {
        fetch(&self.site, imported, &self.store, &|_| ())?;
        let place = self.folder.path().join("base.tar");
        let init = make(&self.site, imported, &self.store, &place)?;
        let mut tree = LayeredTree::new();
        tree.add_tar(&place, &|_| true)?;
        Ok((tree, init))
    }
}

pub(super) fn text(tree: &LayeredTree, path: &str) -> Option<String> {
    tree.read(path).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn a_tar_is_read_with_every_compression() {
    let plain = tar(&system());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &plain).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x"), &plain).unwrap();
    let xz = Command::new("xz").arg("-c").arg(folder.path().join("x")).output().unwrap().stdout;
    let zstd = zstd::stream::encode_all(plain.as_slice(), 3).unwrap();
    for bytes in [plain, gzip.finish().unwrap(), xz, zstd] {
        let place = Fixture::new("tar:root.img");
        place.put("root.img", &bytes);
        let (tree, init) = place.make(&place.resolve().unwrap()).unwrap();
        assert_eq!(init, Init { kind: handoff::init::InitKind::Busybox, path: "/sbin/init".into() });
        assert_eq!(text(&tree, "etc/motd").as_deref(), Some("base\n"));
        // Files of one machine are left out, and folders that a running system needs are added.
        assert_eq!(text(&tree, "etc/machine-id").as_deref(), Some(""));
        assert!(!tree.contains("etc/ssh/ssh_host_ed25519_key"));
        assert_eq!(tree.metadata("tmp").unwrap().mode, 0o1777);
        assert_eq!(tree.link_target("lib"), Some("usr/lib"));
    }
}

#[test]
fn another_tar_than_the_locked_one_is_refused() {
    let place = Fixture::new("tar:root.tar");
    place.put("root.tar", &tar(&system()));
    let imported = place.resolve().unwrap();
    place.put("root.tar", &tar(&LayeredTree::new()));
    let error = crate::error::Error::from(place.make(&imported).err().unwrap());
    assert_eq!(error.class(), crate::error::Class::BadContent);
    assert!(error.report().contains("psyops lock update"), "{}", error.report());
    fs::remove_file(place.site.dir.join("root.tar")).unwrap();
    let error = place.make(&imported).err().unwrap();
    assert!(matches!(error, BaseError::ImportedBase(ImportError::Read { .. })), "{error}");
}

#[test]
fn layers_of_a_layout_come_by_tag_and_platform_and_stay_in_the_store() {
    let place = Fixture::new("oci:./layout:stable");
    let mut second = LayeredTree::new();
    second.insert_file("etc/.wh.motd", 0o644, *b"").unwrap();
    second.insert_file("etc/issue", 0o644, *b"second\n").unwrap();
    let layers = [tar(&system()), zstd::stream::encode_all(tar(&second).as_slice(), 3).unwrap()];
    let stable = place.image(&layers, "amd64", "stable");
    let other = place.image(&layers[..1], "arm64", "stable");
    let old = place.image(&layers[..1], "amd64", "old");
    place.index(&[other.clone(), stable.clone(), old]);
    let imported = place.resolve().unwrap();
    assert_eq!(format!("sha256:{}", imported.digest()), stable["digest"].as_str().unwrap());
    let (tree, _) = place.make(&imported).unwrap();
    assert!(!tree.contains("etc/motd"));
    assert_eq!(text(&tree, "etc/issue").as_deref(), Some("second\n"));

    // From here on the folder is not needed.
    fs::remove_dir_all(place.site.dir.join("layout")).unwrap();
    place.make(&imported).unwrap();
    // A damaged layer is reported once, and then fetched again.
    let ImportedBase::Image { layers, .. } = &imported else { panic!("{imported:?}") };
    fs::write(place.store.blob(&layers[0].sha256), "damaged").unwrap();
    let error = place.make(&imported).err().unwrap();
    assert!(matches!(error, BaseError::ImportedBase(ImportError::DamagedLayer { .. })), "{error}");
    assert!(!place.store.blob(&layers[0].sha256).exists());
}

#[test]
fn a_layer_that_is_not_what_its_name_says_does_not_reach_the_store() {
    let place = Fixture::new("oci:./layout");
    let image = place.image(&[tar(&system())], "amd64", "x");
    place.index(std::slice::from_ref(&image));
    let imported = place.resolve().unwrap();
    let ImportedBase::Image { layers, .. } = &imported else { panic!("{imported:?}") };
    place.put(&format!("layout/blobs/sha256/{}", layers[0].sha256), &tar(&LayeredTree::new()));
    let error = place.make(&imported).err().unwrap();
    assert!(matches!(error, BaseError::ImportedBase(ImportError::WrongDigest { .. })), "{error}");
    assert!(!place.store.blob(&layers[0].sha256).exists());
    // A changed manifest is refused as well.
    let digest = image["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    place.put(&format!("layout/blobs/sha256/{digest}"), b"{}");
    assert!(matches!(place.resolve().unwrap_err(), ImportError::WrongDigest { .. }));
}

#[test]
fn each_unsuitable_image_has_its_message() {
    let place = Fixture::new("oci:./layout");
    let problem = || place.resolve().unwrap_err().to_string();
    assert!(problem().contains("has no file oci-layout"), "{}", problem());
    let (one, two) = (place.image(&[], "amd64", "one"), place.image(&[tar(&system())], "arm64", "two"));
    place.index(&[one, two.clone()]);
    assert!(problem().ends_with("name one with its tag: one, two"), "{}", problem());
    place.index(std::slice::from_ref(&two));
    assert!(problem().contains("linux/arm64"), "{}", problem());
    place.index(&[]);
    assert!(problem().contains("has no image"), "{}", problem());
    let tagged = Fixture::new("oci:./layout:three");
    tagged.index(std::slice::from_ref(&two));
    assert!(
        tagged.resolve().unwrap_err().to_string().ends_with("no image with the tag three; its tags: two")
    );
}

#[test]
fn a_base_without_an_init_is_refused_with_advice() {
    let place = Fixture::new("tar:root.tar");
    for (remove, says) in [("sbin/init", "systemd"), ("bin/sh", "bin/sh"), ("bin/busybox", "busybox")] {
        let mut tree = system();
        tree.remove(remove);
        place.put("root.tar", &tar(&tree));
        let error = place.make(&place.resolve().unwrap()).err().unwrap();
        assert!(matches!(error, BaseError::ImportedBase(ImportError::NoInit { .. })), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    let mut tree = system();
    tree.insert_file("usr/lib/systemd/systemd", 0o755, program()).unwrap();
    place.put("root.tar", &tar(&tree));
    let (_, init) = place.make(&place.resolve().unwrap()).unwrap();
    assert_eq!(init.to_string(), "systemd /usr/lib/systemd/systemd");
    assert_eq!(init.to_string().parse(), Ok(init));
    tree.insert_file("usr/lib/systemd/systemd", 0o755, *b"#!/bin/sh\n").unwrap();
    place.put("root.tar", &tar(&tree));
    let error = place.make(&place.resolve().unwrap()).err().unwrap();
    assert!(matches!(error, BaseError::ImportedBase(ImportError::OtherMachine { .. })), "{error}");
}

#[test]
fn the_inputs_follow_the_layers_and_their_order() {
    let layer = |text: &str| LockedLayer { sha256: Sha256Digest::of(text.as_bytes()), size: 1 };
    let key = |layers: &[&str], manifest: &str| {
        let mut inputs = Inputs::new(crate::store::StepName::BaseTree, "1");
        let layers = layers.iter().map(|text| layer(text)).collect();
        ImportedBase::Image { manifest: Sha256Digest::of(manifest.as_bytes()), layers }.add_to(&mut inputs);
        inputs.key()
    };
    assert_eq!(key(&["a", "b"], "x"), key(&["a", "b"], "y"));
    assert_ne!(key(&["a", "b"], "x"), key(&["b", "a"], "x"));
    assert_ne!(key(&["a", "b"], "x"), key(&["a"], "x"));
}
