//! A system that nodes of a site share: its root, its initramfs and its UKI. The only thing about nodes in it is the
//! choice of packages, which is the same for all nodes that share it.

use super::startup;
use crate::base::{BaseSystem, Lock};
use crate::error::Error;
use crate::ids::{Owner, derived_bytes, derived_uuid};
use crate::input::read_input;
use crate::programs::Programs;
use crate::root::layers::Layers;
use crate::root::verity::Parameters;
use crate::root::{self, RootImage};
use crate::sbom::{Sbom, provenance};
use crate::site::Site;
use crate::store::{Step, StepOrigin, Store};
use handoff::hash::Sha256Digest;
use handoff::kernel_arguments::{INIT, ROOT_HASH};
use handoff::loader_config::LoaderConfig;
use handoff::verity::RootHash;

/// Words on every kernel command line. `gpt`: without it Linux ignores the backup table when the primary is torn.
/// `printk.devkmsg`: without it the kernel drops messages when the loader prints many. `usb-storage.delay_use`: its
/// default costs a second. `loglevel`: minor kernel messages would break up the lines that programs look for.
const ARGUMENTS: [&str; 5] =
    ["gpt", "printk.devkmsg=on", "panic=30", "usb-storage.delay_use=0", "loglevel=4"];

/// A finished system.
#[derive(Debug, Clone)]
pub struct System {
    /// The squashfs of the root and its hash tree.
    pub root: RootImage,
    /// The bytes of the UKI.
    pub uki: Vec<u8>,
    /// SHA-256 of the UKI.
    pub uki_digest: Sha256Digest,
    /// The loader's configuration: the keys that it trusts, and the lowest versions that it accepts.
    pub trust: LoaderConfig,
    /// The kernel command line in the UKI.
    pub command_line: String,
    /// The kernel's release, as `uname -r` prints it.
    pub kernel_release: String,
    /// The bytes of the loader.
    pub loader_size: usize,
    /// The bytes of the initramfs, packed and unpacked.
    pub initramfs_sizes: (usize, u64),
    /// The packages in the system.
    pub lock: Lock,
    /// The steps that made it, beginning with the base.
    pub steps: Vec<Step>,
}

/// Makes a system of a site from its base.
pub fn make(
    site: &Site,
    base: &BaseSystem,
    programs: &Programs,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<System, Error> {
    progress("root: reading the layers");
    let (root, root_step) = make_root(site, base, programs, store, progress)?;
    progress(match root_step.origin {
        StepOrigin::Cached => "root: taken from the store",
        StepOrigin::Built => "root: squashfs and hash tree made",
    });
    let loader = read_input(&programs.loader)?;
    let command_line = command_line(site, &base.init.path, root.hash);
    let startup = startup::make(site, base, &loader, &command_line, store)?;
    progress("initramfs and UKI: ready");
    Ok(System {
        root,
        uki: startup.uki,
        uki_digest: startup.digest,
        trust: startup::trust(site),
        command_line,
        kernel_release: base.kernel_release.clone(),
        loader_size: loader.len(),
        initramfs_sizes: startup.initramfs_sizes,
        lock: base.lock.clone(),
        steps: base.steps().cloned().chain([root_step]).chain(startup.steps).collect(),
    })
}

fn make_root(
    site: &Site,
    base: &BaseSystem,
    programs: &Programs,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<(RootImage, Step), Error> {
    let sbom = Sbom::of(site, &base.lock);
    let system_documents = [
        ("sbom.spdx.json", sbom.spdx),
        ("sbom.cdx.json", sbom.cyclonedx),
        ("provenance.json", provenance::of_root(site, &base.lock)),
    ];
    let kernel_input = base.kernel_input();
    let layers = Layers {
        base: &site.base,
        init: &base.init,
        tree_tar: &base.tree_tar,
        tree_key: base.tree_step.inputs.key(),
        kernel_input: &kernel_input,
        kernel_release: &base.kernel_release,
        modules: &base.modules_dir,
        kernel: &base.kernel,
        agent: &programs.agent,
        system_documents: &system_documents,
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
    Ok(root::image::make(&layers, site.build_time, &parameters, store, progress)?)
}

/// The kernel command line. The last console becomes `/dev/console`; the site's own words come last, so that they take
/// precedence.
fn command_line(site: &Site, init: &str, root: RootHash) -> String {
    let mut words = vec![format!("{ROOT_HASH}={root}")];
    words.extend(ARGUMENTS.map(str::to_owned));
    words.push(format!("{INIT}={init}"));
    words.extend(site.console.devices.iter().map(|device| format!("console={device}")));
    words.extend(site.boot.arguments.iter().cloned());
    words.join(" ")
}
