//! The digests of the parts of a small image, in `golden.txt`: a change of an output is visible in the review.
//!
//! All its inputs are fixed, so it does not depend on Debian's packages, or on what a compiler makes of our programs.
//! The squashfs is that of squashfs-tools 4.5.1 (Debian 12).

use crate::boot::{initramfs, uki};
use crate::image::digests::Digests;
use crate::image::ids::ImageIds;
use crate::image::reader::ImageReader;
use crate::image::{Inputs, assemble};
use crate::root::image::{Recipe, make};
use crate::root::verity::Parameters;
use crate::site::Sizes;
use crate::store::{self, Store};
use crate::tree::{LayeredTree, TreeError};
use handoff::fault::Policy;
use handoff::kernel_arguments::ROOT_HASH;
use handoff::least_generation::LeastGeneration;
use handoff::loader_config::LoaderConfig;
use handoff::name::Name;
use handoff::rescue::RescuePolicy;
use handoff::verity::OnCorruption;

const GOLDEN: &str = include_str!("golden.txt");
const BUILD_TIME: u64 = 1_767_225_600;

struct Small;

impl Recipe for Small {
    fn inputs(&self) -> Result<store::Inputs, TreeError> {
        Ok(store::Inputs::new(store::StepName::Root, "golden"))
    }

    fn tree(&self) -> Result<LayeredTree, TreeError> {
        let mut tree = LayeredTree::new();
        tree.insert_directory("etc", 0o755)?;
        tree.insert_file("etc/motd", 0o644, b"hello\n".to_vec())?;
        tree.insert_file("etc/shadow", 0o640, b"root:*:::::::\n".to_vec())?;
        tree.insert_directory("usr", 0o755)?;
        tree.insert_directory("usr/bin", 0o755)?;
        tree.insert_file(
            "usr/bin/tool",
            0o4755,
            (0..200_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>(),
        )?;
        tree.insert_symlink("bin", "usr/bin")?;
        Ok(tree)
    }
}

fn trust(site: &Name, release: &Name) -> LoaderConfig {
    LoaderConfig {
        site: site.clone(),
        release: release.clone(),
        security_epoch: 1,
        least_generation: LeastGeneration::default(),
        build_time: BUILD_TIME,
        signing_keys: vec![format!("RW{}", "Q".repeat(54))],
        overlay_size: "50%".into(),
        root_corruption: OnCorruption::default(),
        identity_deadline: 30,
        policy: Policy::default(),
        rescue: RescuePolicy::default(),
    }
}

#[test]
fn a_small_image_has_the_recorded_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path()).unwrap();
    let name = |text: &str| text.parse::<Name>().unwrap();
    let (site, node, release) = (name("site"), name("demo"), name("1.0"));
    let parameters = Parameters { uuid: uuid::Uuid::from_u128(7), salt: [3; 32] };
    let (root, _) = make(&Small, BUILD_TIME, &parameters, &store, &|_| ()).unwrap();
    let trust = trust(&site, &release);
    let contents = initramfs::Contents { loader: b"loader", rescue: &[], trust: &trust, modules: &[] };
    let uki = uki::build(&uki::Parts {
        stub: &uki::tests::stub(uki::tests::ROOMY),
        os_release: "ID=psyopsos\n",
        command_line: &format!("{ROOT_HASH}={} quiet", root.hash),
        uname: "6.1.0-test",
        initrd: &initramfs::pack(&contents).unwrap().packed,
        linux: b"linux",
    })
    .unwrap();
    let inputs = Inputs {
        ids: ImageIds {
            architecture: &handoff::architecture::X86_64,
            site: &site,
            node: &node,
            root: root.hash,
        },
        release: &release,
        security_epoch: 1,
        tries: 3,
        sizes: &Sizes::default(),
        selector: b"selector",
        uki: &uki,
        uki_signature: "signature",
        root: &root.squashfs,
        verity: &root.verity,
        seal: b"seal",
        secret: None,
    };
    let path = folder.path().join("image");
    assemble(&inputs, &path).unwrap();
    let digests = Digests::of(&ImageReader::open(&path).unwrap()).unwrap();
    let found: String = digests.iter().map(|(part, digest)| format!("{part} {digest}\n")).collect();
    let changed: Vec<&str> =
        GOLDEN.lines().zip(found.lines()).filter(|(old, new)| old != new).map(|(_, new)| new).collect();
    assert_eq!(
        GOLDEN, found,
        "changed: {changed:#?}\nif that is meant, builder/src/engine/golden.txt becomes:\n{found}"
    );
}
