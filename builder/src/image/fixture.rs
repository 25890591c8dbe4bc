//! A small but complete image for tests: every part is in its place and well formed, but nothing in it would run.

use super::assemble::{Assembled, Inputs, assemble};
use super::ids::ImageIds;
use crate::boot::{initramfs, uki};
use crate::root::squashfs::{self, SquashfsError};
use crate::root::verity;
use crate::secrets::ext4;
use crate::site::Sizes;
use handoff::fault::Policy;
use handoff::hash::Sha256Digest;
use handoff::kernel_arguments::ROOT_HASH;
use handoff::least_generation::LeastGeneration;
use handoff::loader_config::LoaderConfig;
use handoff::manifest::RelativePath;
use handoff::name::Name;
use handoff::paths::SECRET_LABEL;
use handoff::rescue::RescuePolicy;
use handoff::verity::OnCorruption;
use keys::issue::signing::SigningKey;
use keys::seal::header::{Generation, Header};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;
use uuid::Uuid;

/// The image, and the folder that it is in.
pub(crate) struct Fixture {
    _folder: TempDir,
    pub(crate) image: Assembled,
}

/// A public key without a known private key.
const RECIPIENT: &str = "age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The inputs of an image.
pub(crate) struct Recipe<'r> {
    pub(crate) signing: &'r SigningKey,
    pub(crate) node: &'r str,
    pub(crate) release: &'r str,
    pub(crate) generation: u64,
    pub(crate) selector: &'r [u8],
    pub(crate) loader: &'r [u8],
    pub(crate) uname: &'r str,
    /// The words on the command line after the root hash.
    pub(crate) words: &'r str,
    /// Path, mode and content of the root's files; without files, the root is not a file system.
    pub(crate) root: &'r [(&'r str, u32, &'r [u8])],
    /// Path and content of the secret partition's files; without files, it is an ext4 as mke2fs makes it.
    pub(crate) secret: &'r [(&'r str, &'r [u8])],
    pub(crate) sizes: Sizes,
    /// The lowest generations that the system accepts.
    pub(crate) least_generation: LeastGeneration,
    /// Further keys that the system trusts, as they are typed.
    pub(crate) more_keys: &'r [&'r str],
    /// The seal; by default, one whose payload cannot be decrypted.
    pub(crate) seal: Option<&'r [u8]>,
}

impl<'r> Recipe<'r> {
    pub(crate) fn plain(signing: &'r SigningKey) -> Self {
        Self {
            signing,
            node: "demo",
            release: "1.0",
            generation: 4,
            selector: b"selector",
            loader: b"loader",
            uname: "6.1.0-test",
            words: "quiet",
            root: &[],
            secret: &[],
            sizes: Sizes::default(),
            least_generation: LeastGeneration::default(),
            more_keys: &[],
            seal: None,
        }
    }
}

/// The seal of a fixture: its payload opens with no key.
pub(crate) fn seal(recipe: &Recipe<'_>) -> Vec<u8> {
    let recipient = RECIPIENT.parse().unwrap();
    let created = "2026-11-01T00:00:00Z".parse().unwrap();
    let generation = Generation::new(recipe.generation).unwrap();
    let node = name(recipe.node);
    let header = Header { site: name("site"), node, recipient, generation, created, security_epoch: 1 };
    let payload = b"age-encryption.org/v1\n-> X25519 a\nb\n-> X25519 c\nd\n--- mac\nbytes";
    let mut seal = header.encode(payload.len()).into_bytes();
    seal.extend_from_slice(payload);
    let signature = recipe.signing.sign(&seal, "of a fixture").unwrap();
    seal.extend_from_slice(signature.as_bytes());
    seal
}

/// An initramfs with only the loader's configuration.
fn initramfs(recipe: &Recipe<'_>) -> Vec<u8> {
    let trust = LoaderConfig {
        site: name("site"),
        release: name(recipe.release),
        security_epoch: 1,
        least_generation: recipe.least_generation.clone(),
        build_time: 1_700_000_000,
        signing_keys: [recipe.signing.public().as_str()]
            .iter()
            .chain(recipe.more_keys)
            .map(|&key| key.to_owned())
            .collect(),
        overlay_size: "50%".into(),
        root_corruption: OnCorruption::default(),
        identity_deadline: 30,
        policy: Policy::default(),
        rescue: RescuePolicy::default(),
    };
    let contents = initramfs::Contents { loader: recipe.loader, rescue: &[], trust: &trust, modules: &[] };
    initramfs::pack(&contents).unwrap().packed
}

/// A squashfs with files, or bytes that are not a file system.
fn root(recipe: &Recipe<'_>, path: &Path) {
    if recipe.root.is_empty() {
        std::fs::write(path, vec![0x11; 3 << 20]).unwrap();
        return;
    }
    // Bytes that cannot be compressed, so that the squashfs has several blocks.
    let noise: Vec<u8> =
        (0_u32..2048).flat_map(|number| *Sha256Digest::of(&number.to_le_bytes()).as_bytes()).collect();
    squashfs::make(path, 1_700_000_000, |out| {
        let mut archive = tar::Builder::new(out);
        for (path, mode, content) in recipe.root.iter().chain([&("noise", 0o644, noise.as_slice())]) {
            let mut header = tar::Header::new_ustar();
            header.set_mode(*mode);
            header.set_size(u64::try_from(content.len()).unwrap());
            archive.append_data(&mut header, path, *content).map_err(SquashfsError::Stream)?;
        }
        archive.into_inner().map(drop).map_err(SquashfsError::Stream)
    })
    .unwrap();
}

fn secret(recipe: &Recipe<'_>, path: &Path) {
    if recipe.secret.is_empty() {
        let mut make = Command::new("/usr/sbin/mke2fs");
        make.args(["-q", "-t", "ext4", "-L", SECRET_LABEL]).arg(path).arg("4M");
        assert!(make.status().expect("mke2fs is needed: install e2fsprogs").success());
        return;
    }
    let file = |content| ext4::File { mode: 0o600, uid: 0, gid: 0, content };
    let files =
        recipe.secret.iter().map(|(path, content)| (RelativePath::new(path).unwrap(), file(*content)));
    let plan = ext4::Plan {
        size: ext4::SMALLEST,
        label: SECRET_LABEL,
        uuid: Uuid::from_u128(1),
        hash_seed: Uuid::from_u128(2),
        time: 1_700_000_000,
        files: files.collect(),
    };
    plan.write(path).unwrap();
}

pub(crate) fn image() -> Fixture {
    image_of(&Recipe::plain(&SigningKey::generate().unwrap()))
}

pub(crate) fn image_of(recipe: &Recipe<'_>) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    root(recipe, &path("root"));
    let parameters = verity::Parameters { uuid: Uuid::nil(), salt: [1; 32] };
    let hash = verity::format(&path("root"), &path("verity"), &parameters).unwrap();
    secret(recipe, &path("secret"));
    let uki = uki::build(&uki::Parts {
        stub: &uki::tests::stub(uki::tests::ROOMY),
        os_release: "ID=psyopsos\n",
        command_line: &format!("{ROOT_HASH}={hash} {}", recipe.words),
        uname: recipe.uname,
        initrd: &initramfs(recipe),
        linux: b"linux",
    })
    .unwrap();
    let (site, node, release) = (name("site"), name(recipe.node), name(recipe.release));
    let inputs = Inputs {
        ids: ImageIds { architecture: &handoff::architecture::X86_64, site: &site, node: &node, root: hash },
        release: &release,
        security_epoch: 1,
        tries: 3,
        sizes: &recipe.sizes,
        selector: recipe.selector,
        uki: &uki,
        uki_signature: &recipe.signing.sign(&uki, "of a fixture").unwrap(),
        root: &path("root"),
        verity: &path("verity"),
        seal: &recipe.seal.map_or_else(|| seal(recipe), <[u8]>::to_vec),
        secret: Some(&path("secret")),
    };
    let image = assemble(&inputs, &path("image")).unwrap();
    Fixture { _folder: folder, image }
}
