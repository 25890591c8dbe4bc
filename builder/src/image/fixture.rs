//! A whole small image for tests: every part in its place and in its form, nothing in it that would run.

use super::assemble::{Assembled, Inputs, assemble};
use super::ids::ImageIds;
use crate::boot::{initramfs, uki};
use crate::root::verity;
use crate::site::Sizes;
use handoff::fault::Policy;
use handoff::kernel_arguments::ROOT_HASH;
use handoff::name::Name;
use handoff::paths::SECRET_LABEL;
use handoff::rescue::RescuePolicy;
use handoff::trust::Trust;
use handoff::verity::OnCorruption;
use keys::issue::signing::SigningKey;
use keys::seal::header::{Header, Serial};
use std::process::Command;
use tempfile::TempDir;

/// The image and the folder that holds it.
pub(crate) struct Fixture {
    _folder: TempDir,
    pub(crate) image: Assembled,
}

/// A public key whose private half nobody has.
const RECIPIENT: &str = "age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn seal(signing: &SigningKey) -> Vec<u8> {
    let recipient = RECIPIENT.parse().unwrap();
    let created = "2026-11-01T00:00:00Z".parse().unwrap();
    let serial = Serial::new(4).unwrap();
    let header =
        Header { site: name("site"), node: name("demo"), recipient, serial, created, release_floor: 1 };
    let payload = b"age-encryption.org/v1\n-> X25519 a\nb\n-> X25519 c\nd\n--- mac\nbytes";
    let mut seal = header.encode(payload.len()).into_bytes();
    seal.extend_from_slice(payload);
    let signature = signing.sign(&seal, "of a fixture").unwrap();
    seal.extend_from_slice(signature.as_bytes());
    seal
}

/// An initramfs with nothing in it but whom it trusts.
fn initramfs(signing: &SigningKey) -> Vec<u8> {
    let trust = Trust {
        site: name("site"),
        release: name("1.0"),
        security_epoch: 1,
        build_time: 1_700_000_000,
        signing_keys: vec![signing.public().as_str().to_owned()],
        overlay_size: "50%".into(),
        root_corruption: OnCorruption::default(),
        identity_deadline: 30,
        policy: Policy::default(),
        rescue: RescuePolicy::default(),
    };
    let contents = initramfs::Contents { loader: b"loader", rescue: &[], trust: &trust, modules: &[] };
    initramfs::pack(&contents).unwrap().packed
}

pub(crate) fn image() -> Fixture {
    let signing = SigningKey::generate().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("root"), vec![0x11; 3 << 20]).unwrap();
    let parameters = verity::Parameters { uuid: uuid::Uuid::nil(), salt: [1; 32] };
    let root = verity::format(&path("root"), &path("verity"), &parameters).unwrap();
    let made = Command::new("/usr/sbin/mke2fs")
        .args(["-q", "-t", "ext4", "-L", SECRET_LABEL])
        .arg(path("secret"))
        .arg("4M")
        .status();
    assert!(made.expect("mke2fs is needed: install e2fsprogs").success());
    let uki = uki::build(&uki::Parts {
        stub: &uki::tests::stub(uki::tests::ROOMY),
        os_release: "ID=psyopsos\n",
        command_line: &format!("{ROOT_HASH}={root} quiet"),
        uname: "6.1.0-test",
        initrd: &initramfs(&signing),
        linux: b"linux",
    })
    .unwrap();
    let (site, node, release) = (name("site"), name("demo"), name("1.0"));
    let inputs = Inputs {
        ids: ImageIds { site: &site, node: &node, root },
        release: &release,
        security_epoch: 1,
        tries: 3,
        sizes: &Sizes::default(),
        selector: b"selector",
        uki: &uki,
        uki_signature: &signing.sign(&uki, "of a fixture").unwrap(),
        root: &path("root"),
        verity: &path("verity"),
        seal: &seal(&signing),
        secret: Some(&path("secret")),
    };
    let image = assemble(&inputs, &path("image")).unwrap();
    Fixture { _folder: folder, image }
}
