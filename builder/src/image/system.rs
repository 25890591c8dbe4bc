//! The system that all nodes of a site share: its root, its initramfs and its UKI. Nothing of a node stands in it.

use crate::base::{BaseSystem, Cache};
use crate::boot::initramfs::{self, Initramfs, InitramfsError};
use crate::boot::modules::{self, ModulesError};
use crate::boot::rescue;
use crate::boot::uki::{self, UkiError};
use crate::error::Error;
use crate::ids::{Owner, derived_bytes, derived_uuid};
use crate::input::read_input;
use crate::programs::Programs;
use crate::root::layers::Layers;
use crate::root::verity::Parameters;
use crate::root::{self, RootImage};
use crate::site::Site;
use handoff::kernel_arguments::{INIT, ROOT_HASH};
use handoff::trust::Trust;
use handoff::verity::RootHash;

/// The folder of finished roots in the cache.
const ROOTS: &str = "roots";
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
}

/// Makes the system of a site out of its base.
pub fn make(
    site: &Site,
    base: &BaseSystem,
    programs: &Programs,
    cache: &Cache,
    progress: &dyn Fn(&str),
) -> Result<System, Error> {
    progress("root: putting the layers together");
    let root = make_root(site, base, programs, cache)?;
    progress(if root.cached { "root: taken from the cache" } else { "root: squashfs and hash tree made" });
    let loader = read_input(&programs.loader)?;
    let initramfs = make_initramfs(site, base, &loader, cache)?;
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
    })
}

fn make_root(site: &Site, base: &BaseSystem, programs: &Programs, cache: &Cache) -> Result<RootImage, Error> {
    let layers = Layers {
        base: site.base,
        tree_tar: &base.tree_tar,
        kernel_release: &base.kernel_release,
        modules: &base.modules_dir,
        agent: &programs.agent,
        roles: &site.roles,
        overlays: &site.overlays,
        build_time: site.build_time,
    };
    let owner = Owner::Release(&site.release);
    let parameters = Parameters {
        uuid: derived_uuid(&site.id, owner, "verity"),
        salt: derived_bytes(&site.id, owner, "verity-salt"),
    };
    let tree = layers.tree()?;
    Ok(root::image::make(&tree, site.build_time, &parameters, &cache.dir().join(ROOTS))?)
}

fn make_initramfs(site: &Site, base: &BaseSystem, loader: &[u8], cache: &Cache) -> Result<Initramfs, Error> {
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
    let place = |digest: &_| cache.derived("initramfs", digest, "zst");
    initramfs::pack_cached(&contents, place).map_err(|error: InitramfsError| Error::from(error))
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
