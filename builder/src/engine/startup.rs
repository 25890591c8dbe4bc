//! The files that start a system: its initramfs and its UKI, each cached in the store under the key of its inputs.

use crate::base::BaseSystem;
use crate::boot::initramfs::{self, Initramfs, InitramfsError};
use crate::boot::modules::{self, ModulesError};
use crate::boot::rescue;
use crate::boot::uki::{self, Section, Uki, UkiError};
use crate::error::Error;
use crate::input::read_input;
use crate::site::Site;
use crate::store::{Inputs, Step, StepName, StepOrigin, Store};
use handoff::hash::Sha256Digest;
use handoff::loader_config::LoaderConfig;
use std::path::Path;

/// The version of the code that makes initramfs and UKIs: it changes with that code.
const RECIPE: &str = env!("PSYOPS_RECIPE_BOOT");

/// A finished UKI.
#[derive(Debug, Clone)]
pub(super) struct Startup {
    /// The bytes of the UKI.
    pub(super) uki: Vec<u8>,
    /// The SHA-256 of the UKI.
    pub(super) digest: Sha256Digest,
    /// The bytes of the initramfs, packed and unpacked.
    pub(super) initramfs_sizes: (usize, u64),
    /// The steps that made the initramfs and the UKI.
    pub(super) steps: [Step; 2],
}

/// Makes the UKI of a site, or takes it from the store.
pub(super) fn make(
    site: &Site,
    base: &BaseSystem,
    loader: &[u8],
    command_line: &str,
    store: &Store,
) -> Result<Startup, Error> {
    let _step = StepName::Uki.begin();
    let initramfs_inputs = initramfs_inputs(site, base, loader);
    let initramfs_place = store.derived("initramfs", &initramfs_inputs.key(), "zst");
    let os_release = os_release(site);
    let inputs = Inputs::new(StepName::Uki, RECIPE)
        .with("initramfs", initramfs_inputs.key())
        .with("kernel", base.kernel_input())
        .with("boot programs", base.boot_step.inputs.key())
        .with("kernel command line", Sha256Digest::of(command_line.as_bytes()))
        .with("os-release", Sha256Digest::of(os_release.as_bytes()));
    let place = store.derived("uki", &inputs.key(), "efi");
    let initramfs_step =
        |origin| Step::stored(StepName::Initramfs, initramfs_inputs.clone(), origin, &initramfs_place);
    if let Some((uki, digest)) = Store::whole(&place) {
        let initramfs = {
            let _step = StepName::Initramfs.begin();
            initramfs_step(StepOrigin::Cached).logged()
        };
        let steps = [initramfs, Step::stored(StepName::Uki, inputs, StepOrigin::Cached, &place).logged()];
        return Ok(Startup { initramfs_sizes: initramfs_sizes(&uki)?, uki, digest, steps });
    }
    base.check_kernel()?;
    let (initrd, initramfs_step) = {
        let _step = StepName::Initramfs.begin();
        match Store::whole(&initramfs_place) {
            Some((initrd, _)) => (initrd, initramfs_step(StepOrigin::Cached).logged()),
            None => (
                make_initramfs(site, base, loader, &initramfs_place)?,
                initramfs_step(StepOrigin::Built).logged(),
            ),
        }
    };
    let parts = uki::Parts {
        stub: &read_input(&base.stub)?,
        os_release: &os_release,
        command_line,
        uname: &base.kernel_release,
        initrd: &initrd,
        linux: &read_input(&base.vmlinuz)?,
    };
    let uki = uki::build(&parts).map_err(|error: UkiError| Error::from(error))?;
    let digest = Store::put(&place, &uki)?;
    let steps = [initramfs_step, Step::stored(StepName::Uki, inputs, StepOrigin::Built, &place).logged()];
    Ok(Startup { initramfs_sizes: initramfs_sizes(&uki)?, uki, digest, steps })
}

/// The inputs of an initramfs, with names that explain to the user why it was made again.
fn initramfs_inputs(site: &Site, base: &BaseSystem, loader: &[u8]) -> Inputs {
    Inputs::new(StepName::Initramfs, RECIPE)
        .with("loader", Sha256Digest::of(loader))
        .with("policy and trusted keys", Sha256Digest::of(trust(site).encode().as_bytes()))
        .with("kernel", base.kernel_input())
        .with("boot programs", base.boot_step.inputs.key())
}

fn make_initramfs(site: &Site, base: &BaseSystem, loader: &[u8], place: &Path) -> Result<Vec<u8>, Error> {
    let modules = modules::collect(&base.modules_dir, &modules::WANTED, &modules::FOR_PEOPLE)
        .map_err(|error: ModulesError| Error::from(error))?;
    let rescue = rescue::files(site, base, &modules)?;
    let trust = trust(site);
    let contents = initramfs::Contents { loader, rescue: &rescue, trust: &trust, modules: &modules };
    let Initramfs { packed, .. } =
        initramfs::pack(&contents).map_err(|error: InitramfsError| Error::from(error))?;
    Store::put(place, &packed)?;
    Ok(packed)
}

/// The configuration for the loader of a site's systems.
#[must_use]
pub fn trust(site: &Site) -> LoaderConfig {
    LoaderConfig {
        site: site.id.clone(),
        release: site.release.clone(),
        security_epoch: site.security_epoch,
        least_generation: site.floors(),
        build_time: site.build_time,
        signing_keys: site.signing_keys.iter().map(|key| key.as_str().to_owned()).collect(),
        overlay_size: site.boot.overlay_size.clone(),
        root_corruption: site.boot.root_corruption,
        identity_deadline: site.boot.identity_deadline,
        policy: site.boot.faults.clone(),
        rescue: site.rescue.clone(),
    }
}

/// The bytes of the initramfs in a UKI, packed and unpacked.
fn initramfs_sizes(uki: &[u8]) -> Result<(usize, u64), Error> {
    let packed = Uki::parse(uki).and_then(|uki| uki.section(Section::Initrd));
    let packed = packed.map_err(|error: UkiError| Error::from(error))?;
    Ok((packed.len(), initramfs::unpacked_size(packed)))
}

/// The text of os-release(5), for boot tools.
fn os_release(site: &Site) -> String {
    let (id, release) = (&site.id, &site.release);
    format!(
        "ID=psyopsos\nNAME=psyopsOS\nVERSION_ID={release}\nPRETTY_NAME=\"psyopsOS {release} of {id}\"\n\
         VARIANT_ID={}\n",
        site.base.kind()
    )
}
