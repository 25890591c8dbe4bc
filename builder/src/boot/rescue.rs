//! What the initramfs carries for rescue: nothing where nobody gets in, tools for a shell, and an SSH server with drivers
//! of network cards where the site has keys for it.

use crate::base::BaseSystem;
use crate::boot::modules::{self, ModuleFile};
use crate::error::Error;
use crate::input::read_input;
use crate::root::layers::OVERLAYS;
use crate::site::Site;
use handoff::modules::Module;
use handoff::paths;
use handoff::rescue::VERBS;

/// The drivers of network cards: what servers, desktops, small machines and virtual ones have, and USB adapters.
const NETWORK_CARDS: [&str; 15] = [
    "virtio_net",
    "vmxnet3",
    "e1000",
    "e1000e",
    "igb",
    "igc",
    "r8169",
    "8139too",
    "tg3",
    "r8152",
    "ax88179_178a",
    "asix",
    "smsc95xx",
    "cdc_ether",
    "cdc_ncm",
];
/// The overlay that goes into an initramfs with an SSH server.
const OVERLAY: &str = "rescue";

/// A file or link of the initramfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RescueFile {
    /// Its absolute path.
    pub path: String,
    /// What it is.
    pub what: RescueContent,
}

/// What a [`RescueFile`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RescueContent {
    /// A file for programs to read.
    Data(Vec<u8>),
    /// A program.
    Program(Vec<u8>),
    /// A link to this path.
    Link(String),
}

/// All of it for a site; `loaded` is what every boot loads.
pub fn files(site: &Site, base: &BaseSystem, loaded: &[ModuleFile]) -> Result<Vec<RescueFile>, Error> {
    let mut files = Vec::new();
    if site.rescue.lets_somebody_in() {
        files.push(program(paths::INITRAMFS_BUSYBOX, read_input(&base.busybox)?));
        files.push(link("/bin/sh", "busybox"));
        files.push(program("/sbin/e2fsck", read_input(&base.e2fsck)?));
        // The shell's own commands are the loader under other names.
        files.extend(VERBS.map(|(name, _)| link(&format!("/bin/{name}"), "/init")));
    }
    if !site.rescue.ssh_keys.is_empty() {
        for (path, source) in &base.ssh_server {
            files.push(program(path, read_input(source)?));
        }
        let overlay = OVERLAYS.get_dir(OVERLAY).into_iter().flat_map(include_dir::Dir::dirs);
        for file in overlay.flat_map(include_dir::Dir::files) {
            let path = format!("/{}", file.path().strip_prefix(OVERLAY).unwrap_or(file.path()).display());
            let content = file.contents().to_vec();
            files.push(if content.starts_with(b"#!") {
                program(&path, content)
            } else {
                data(&path, content)
            });
        }
        let drivers = modules::collect(&base.modules_dir, &NETWORK_CARDS, &[])?;
        let more: Vec<ModuleFile> = drivers
            .into_iter()
            .filter(|driver| loaded.iter().all(|module| module.entry.name != driver.entry.name))
            .collect();
        let list: Vec<Module> = more.iter().map(|driver| driver.entry.clone()).collect();
        files.push(data(paths::RESCUE_MODULES, handoff::modules::encode(&list).into_bytes()));
        files.extend(more.into_iter().map(|driver| data(&driver.entry.file, driver.content)));
    }
    Ok(files)
}

fn data(path: &str, content: Vec<u8>) -> RescueFile {
    RescueFile { path: path.to_owned(), what: RescueContent::Data(content) }
}

fn program(path: &str, content: Vec<u8>) -> RescueFile {
    RescueFile { path: path.to_owned(), what: RescueContent::Program(content) }
}

fn link(path: &str, target: &str) -> RescueFile {
    RescueFile { path: path.to_owned(), what: RescueContent::Link(target.to_owned()) }
}
