//! A site from the template is read back. `*_tests.rs` beside this file show each way to break one of its files.

use super::*;
use crate::error::{Class, Classified as _};
use handoff::login::ConsoleLogin;
use handoff::role_settings::{RoleAction, Stage};
use std::fs;
use std::num::NonZeroU32;
use tempfile::TempDir;

const ADMIN: &str = "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq";

fn options() -> InitOptions {
    InitOptions { build_time: 1_793_491_200, open_consoles: false, ..InitOptions::default() }
}

pub(super) fn keys() -> GeneratedKeys {
    GeneratedKeys { admin_recipient: ADMIN[..62].into(), signing_public: format!("RW{}", "Q".repeat(54)) }
}

pub(super) struct Sample(pub(super) TempDir);

impl Sample {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (id, node) = ("lab".parse().unwrap(), "alpha".parse().unwrap());
        init_site(folder.path(), &id, &node, &keys(), &options()).unwrap();
        Self(folder)
    }

    pub(super) fn load(&self) -> Result<Site, SiteError> {
        Site::load(self.0.path())
    }

    /// Replaces `from` by `to` in a file, which must have it.
    pub(super) fn edit(&self, file: &str, from: &str, to: &str) -> &Self {
        let path = self.0.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        fs::write(&path, text.replace(from, to)).unwrap();
        self
    }

    pub(super) fn append(&self, file: &str, more: &str) -> &Self {
        let path = self.0.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text + more).unwrap();
        self
    }

    pub(super) fn error(&self) -> SiteError {
        self.load().unwrap_err()
    }
}

pub(super) const NODE: &str = "nodes/alpha.toml";

#[test]
fn the_template_is_a_site() {
    let site = Sample::new().load().unwrap();
    assert_eq!((site.id.as_str(), site.release.as_str(), site.build_time), ("lab", "1", 1_793_491_200));
    assert_eq!((site.base.clone(), site.console.login.clone()), (Base::Micro, ConsoleLogin::Off));
    assert_eq!(site.console.devices, ["tty0", "ttyS0"]);
    assert_eq!(site.sizes, Sizes::default());
    assert_eq!(site.admin_recipients, [keys().admin_recipient]);
    assert_eq!(site.signing_keys[0].as_str(), keys().signing_public);
    assert_eq!(site.overlays.iter().map(|overlay| overlay.name.as_str()).collect::<Vec<_>>(), ["common"]);
    let hello = &site.roles[&"hello".parse().unwrap()];
    assert_eq!((&hello.action, hello.stage), (&RoleAction::Overlay, Stage::Configure));
    let example = &site.roles[&"example".parse().unwrap()];
    assert_eq!(
        example.action,
        RoleAction::Command { argv: vec!["./run.sh".into()], deadline: NonZeroU32::new(60) }
    );
    let node = site.node("alpha").unwrap();
    assert_eq!(node.roles.iter().map(Name::as_str).collect::<Vec<_>>(), ["hello", "example"]);
    assert_eq!(node.variables["greeting"].as_str(), Some("Welcome."));
    assert!(node.network[0].dhcp && node.recipient.is_none() && node.files.is_empty());
}

#[test]
fn the_readme_lists_exactly_the_existing_keys() {
    let sample = Sample::new();
    let readme = fs::read_to_string(sample.0.path().join("README.md")).unwrap();
    let blocks: Vec<&str> =
        readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [site_keys, node_keys] = blocks.as_slice() else { panic!("{}", blocks.len()) };
    // The template already has `[console]`.
    let console = "[console]\ndevices = [\"tty0\", \"ttyS0\"]     # the last one is /dev/console\n";
    assert!(site_keys.contains(console));
    let (top, tables) =
        site_keys.replace(console, "").split_once("\n\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    sample.edit("site.toml", "base = \"micro\"", &format!("base = \"micro\"\n{top}"));
    // The same for `[rescue]`.
    sample.edit("site.toml", "[rescue]\n", "");
    sample.edit("site.toml", "console = \"off\"\n", "");
    sample.append("site.toml", &format!("\n{tables}"));
    sample.append(NODE, node_keys);
    let site = sample.load().unwrap();
    assert_eq!(site.sizes, Sizes { data: Some(Bytes::mib(1024)), ..Sizes::default() });
    assert_eq!(site.boot.faults, handoff::fault::Policy::default());
    assert_eq!(site.rescue, handoff::rescue::RescuePolicy::default());
    let node = site.node("alpha").unwrap();
    assert_eq!(node.network[1].addresses, ["192.0.2.10/24".parse().unwrap()]);
    assert_eq!(node.files[0].source, FileSource::Secret("wifi".parse().unwrap()));
    assert_eq!(node.files[0].attributes.mode, 0o600);
}

#[test]
fn a_node_is_added() {
    let sample = Sample::new();
    add_node(&sample.load().unwrap(), &"beta".parse().unwrap(), Some(&ADMIN[..62])).unwrap();
    let site = sample.load().unwrap();
    assert_eq!(site.nodes().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["alpha", "beta"]);
    assert_eq!(site.node("beta").unwrap().recipient.as_deref(), Some(&ADMIN[..62]));
    let error = add_node(&site, &"beta".parse().unwrap(), None).unwrap_err();
    assert!(matches!(error, InitError::NodeExists { .. }), "{error}");
    // The example of the template is for the first node.
    assert_eq!((site.node("alpha").unwrap().roles.len(), site.node("beta").unwrap().roles.len()), (2, 0));
}

#[test]
fn a_recipient_is_written_and_replaced() {
    let sample = Sample::new();
    let other = format!("age1{}", "p".repeat(58));
    let name: Name = "alpha".parse().unwrap();
    let before = fs::read_to_string(sample.0.path().join(NODE)).unwrap();
    let (mut site, mut edits) = (sample.load().unwrap(), SiteEdits::default());
    edits.set_recipient(&mut site, &name, &ADMIN[..62]).unwrap();
    edits.set_recipient(&mut site, &name, &other).unwrap();
    edits.write(&site).unwrap();
    assert_eq!(site, sample.load().unwrap());
    assert_eq!(site.node("alpha").unwrap().recipient, Some(other.clone()));
    let after = fs::read_to_string(sample.0.path().join(NODE)).unwrap();
    assert_eq!(after.replace(&format!("recipient = \"{other}\"\n"), ""), before);
}

#[test]
fn a_folder_without_a_site_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = Site::load(folder.path()).unwrap_err();
    assert!(matches!(error, SiteError::NotASite { .. }), "{error}");
    assert_eq!(error.class(), Class::MissingInput);
}

#[test]
fn init_does_not_overwrite_existing_files() {
    let folder = tempfile::tempdir().unwrap();
    let make =
        || init_site(folder.path(), &"lab".parse().unwrap(), &"a".parse().unwrap(), &keys(), &options());
    fs::create_dir(folder.path().join(".git")).unwrap();
    fs::write(folder.path().join("precious"), "x").unwrap();
    assert!(matches!(make(), Err(InitError::NotEmpty { found, .. }) if found == "precious"));
    fs::remove_file(folder.path().join("precious")).unwrap();
    make().unwrap();
}

#[test]
fn scripts_of_the_template_can_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let sample = Sample::new();
    let mode = |file: &str| fs::metadata(sample.0.path().join(file)).unwrap().permissions().mode() & 0o111;
    assert_ne!(mode("roles/example/run.sh"), 0);
    assert_eq!(mode("site.toml"), 0);
    assert!(sample.0.path().join(".gitignore").is_file());
}
