//! A system that nodes of a site share: its root, its initramfs and its UKI. Nothing of a node stands in it but the choice
//! of packages, which is that of all nodes that share it.

use crate::base::{BaseSystem, Lock};
use crate::bill::{Bill, provenance};
use crate::boot::initramfs::{self, Initramfs, InitramfsError};
use crate::boot::modules::{self, ModulesError};
use crate::boot::rescue::{self, RescueContent};
use crate::boot::uki::{self, UkiError};
use crate::error::Error;
use crate::ids::{Owner, derived_bytes, derived_uuid};
use crate::input::read_input;
use crate::programs::Programs;
use crate::root::layers::Layers;
use crate::root::verity::Parameters;
use crate::root::{self, RootImage};
use crate::site::Site;
use crate::store::{Inputs, Origin, Step, Store};
use handoff::hash::Sha256Digest;
use handoff::kernel_arguments::{INIT, ROOT_HASH};
use handoff::trust::Trust;
use handoff::verity::RootHash;

/// Words on every kernel command line. `gpt`: without it Linux ignores the backup table when the primary is torn.
/// `printk.devkmsg`: without it the kernel drops what the loader says quickly. `usb-storage.delay_use`: its default costs
/// a second. `loglevel`: what the kernel merely mentions would tear the lines that programs look for.
const ARGUMENTS: [&str; 5] =
    ["gpt", "printk.devkmsg=on", "panic=30", "usb-storage.delay_use=0", "loglevel=4"];

/// A finished system.
#[derive(Debug, Clone)]
pub struct System {
    /// The root.
    pub root: RootImage,
    /// The UKI.
    pub uki: Vec<u8>,
    /// The kernel command line in it.
    pub command_line: String,
    /// The kernel's release.
    pub kernel_release: String,
    /// Bytes of the loader.
    pub loader_size: usize,
    /// Bytes of the initramfs, packed and unpacked.
    pub initramfs_sizes: (usize, u64),
    /// The packages in it.
    pub lock: Lock,
    /// How it came to be, from the base on.
    pub steps: Vec<Step>,
}

/// Makes a system of a site out of its base.
pub fn make(
    site: &Site,
    base: &BaseSystem,
    programs: &Programs,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<System, Error> {
    progress("root: looking at the layers");
    let (root, root_step) = make_root(site, base, programs, store)?;
    progress(match root_step.origin {
        Origin::Kept => "root: taken from the store",
        Origin::Made => "root: squashfs and hash tree made",
    });
    let loader = read_input(&programs.loader)?;
    let (initramfs, initramfs_step) = make_initramfs(site, base, &loader, store)?;
    progress("initramfs: ready");
    let command_line = command_line(site, root.hash);
    let parts = uki::Parts {
        stub: &read_input(&base.stub)?,
        os_release: &os_release(site),
        command_line: &command_line,
        uname: &base.kernel_release,
        initrd: &initramfs.packed,
        linux: &read_input(&base.vmlinuz)?,
    };
    let uki = uki::build(&parts).map_err(|error: UkiError| Error::from(error))?;
    Ok(System {
        root,
        uki,
        command_line,
        kernel_release: base.kernel_release.clone(),
        loader_size: loader.len(),
        initramfs_sizes: (initramfs.packed.len(), initramfs.unpacked_size),
        lock: base.lock.clone(),
        steps: base.steps.iter().cloned().chain([root_step, initramfs_step]).collect(),
    })
}

fn make_root(
    site: &Site,
    base: &BaseSystem,
    programs: &Programs,
    store: &Store,
) -> Result<(RootImage, Step), Error> {
    let bill = Bill::of(site, &base.lock);
    let papers = [
        ("sbom.spdx.json", bill.spdx),
        ("sbom.cdx.json", bill.cyclonedx),
        ("provenance.json", provenance::of_root(site, &base.lock)),
    ];
    let layers = Layers {
        base: site.base,
        tree_tar: &base.tree_tar,
        tree_key: base.key_of("base tree"),
        kernel_release: &base.kernel_release,
        kernel_key: base.key_of("kernel"),
        modules: &base.modules_dir,
        agent: &programs.agent,
        papers: &papers,
        roles: &site.roles,
        overlays: &site.overlays,
        site: &site.id,
        release: &site.release,
        build_time: site.build_time,
    };
    let owner = Owner::Release(&site.release);
    let parameters = Parameters {
        uuid: derived_uuid(&site.id, owner, "verity"),
        salt: derived_bytes(&site.id, owner, "verity-salt"),
    };
    Ok(root::image::make(&layers, site.build_time, &parameters, store)?)
}

fn make_initramfs(
    site: &Site,
    base: &BaseSystem,
    loader: &[u8],
    store: &Store,
) -> Result<(Initramfs, Step), Error> {
    let modules = modules::collect(&base.modules_dir, &modules::WANTED, &modules::FOR_PEOPLE)
        .map_err(|error: ModulesError| Error::from(error))?;
    let trust = Trust {
        site: site.id.clone(),
        release: site.release.clone(),
        security_epoch: site.security_epoch,
        build_time: site.build_time,
        signing_keys: site.signing_keys.clone(),
        overlay_size: site.boot.overlay_size.clone(),
        root_corruption: site.boot.root_corruption,
        identity_deadline: site.boot.identity_deadline,
        policy: site.boot.faults.clone(),
        rescue: site.rescue.clone(),
    };
    let rescue = rescue::files(site, base, &modules)?;
    let contents = initramfs::Contents { loader, rescue: &rescue, trust: &trust, modules: &modules };
    let packed = initramfs::pack_or_take(&contents, store);
    let (initramfs, place, origin) = packed.map_err(|error: InitramfsError| Error::from(error))?;
    let inputs = inputs_of(&contents);
    Ok((initramfs, Step::stored("initramfs", inputs, origin, &place)))
}

/// What an initramfs is made of, in the words of those who wonder why it was made again.
fn inputs_of(contents: &initramfs::Contents<'_>) -> Inputs {
    let mut inputs = Inputs::new("initramfs", "1");
    inputs.add("loader", Sha256Digest::of(contents.loader));
    inputs.add("policy and trusted keys", Sha256Digest::of(contents.trust.encode().as_bytes()));
    for module in contents.modules {
        inputs.add(format!("module {}", module.entry.file), Sha256Digest::of(&module.content));
    }
    for file in contents.rescue {
        let content = match &file.what {
            RescueContent::Data(content) | RescueContent::Program(content) => content.as_slice(),
            RescueContent::Link(target) => target.as_bytes(),
        };
        inputs.add(format!("rescue file {}", file.path), Sha256Digest::of(content));
    }
    inputs
}

/// The kernel command line. The last console becomes `/dev/console`; the site's own words come last, so that they win.
fn command_line(site: &Site, root: RootHash) -> String {
    let mut words = vec![format!("{ROOT_HASH}={root}")];
    words.extend(ARGUMENTS.map(str::to_owned));
    words.push(format!("{INIT}={}", site.base.init_path()));
    words.extend(site.console.devices.iter().map(|device| format!("console={device}")));
    words.extend(site.boot.arguments.iter().cloned());
    words.join(" ")
}

/// os-release(5), for boot tools.
fn os_release(site: &Site) -> String {
    let (id, release) = (&site.id, &site.release);
    format!(
        "ID=psyopsos\nNAME=psyopsOS\nVERSION_ID={release}\nPRETTY_NAME=\"psyopsOS {release} of {id}\"\n\
         VARIANT_ID={}\n",
        site.base
    )
}
