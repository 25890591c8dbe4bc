//! Step `modules`: the kernel modules of the initramfs, in the order in which the builder listed them.
//!
//! The kernel does not apply `module.parameter=` of its command line to what `finit_module(2)` loads, nor
//! `modprobe.blacklist=`; both are done here. A module that cannot be loaded is no fault by itself: whether it was
//! needed shows in the steps that follow. Drivers of PCI devices that the machine does not have are set aside: loading
//! and checking one takes tens of milliseconds.

use crate::boot::Boot;
use crate::clock::Uptime;
use crate::failure::{Kind, StepError};
use crate::modinfo::{self, ModInfo};
use crate::sysfs;
use handoff::modules::{self, Module};
use handoff::paths;
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use std::ffi::CString;
use std::fs::File;
use std::time::Duration;

/// How long it may take: drivers probe their hardware while they are loaded.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

const PCI: &str = "/sys/bus/pci/devices";

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModulesError {
    /// The list cannot be read.
    #[error("{path}: {0}", path = paths::MODULES)]
    NoList(std::io::Error),
}

impl StepError for ModulesError {
    fn kind(&self) -> Kind {
        Kind::Initramfs
    }

    fn remedy(&self) -> String {
        "build the image again; this one has no list of kernel modules".into()
    }
}

/// Runs the step: loads what this machine may need, and sets the rest aside.
pub(crate) fn run(boot: &mut Boot) -> Result<(), ModulesError> {
    let text = std::fs::read_to_string(paths::MODULES).map_err(ModulesError::NoList)?;
    let modules = modules::decode(&text);
    // A module that does not say what it is for is loaded.
    let own_words = |module: &Module| {
        let own = File::open(&module.file).ok().and_then(|file| ModInfo::of_file(&file));
        (module.name.clone(), own.unwrap_or_default())
    };
    let words: Vec<_> = modules.iter().map(own_words).collect();
    let needed = modinfo::needed(&words, &devices());
    let mut load = Vec::new();
    for (module, needed) in modules.into_iter().zip(needed) {
        if needed { load.push(module) } else { boot.set_aside.push(module) }
    }
    load_all(boot, &load);
    Ok(())
}

/// Loads what was set aside: the disk did not come, and a device may have been plugged in since.
pub(crate) fn load_set_aside(boot: &mut Boot) {
    let modules = std::mem::take(&mut boot.set_aside);
    if !modules.is_empty() {
        load_all(boot, &modules);
    }
}

/// What the PCI bus has.
fn devices() -> Vec<String> {
    let names = sysfs::names(PCI);
    names.iter().filter_map(|name| sysfs::attribute(format!("{PCI}/{name}/modalias"))).collect()
}

fn load_all(boot: &mut Boot, modules: &[Module]) {
    let (mut loaded, mut failed) = (0_u32, 0_u32);
    for module in modules {
        if boot.arguments.blacklists(&module.name) {
            boot.log.info(&format!("module {} is not loaded: the kernel command line says so", module.name));
            continue;
        }
        let start = Uptime::now();
        match load(module, &boot.arguments.module_parameters(&module.name)) {
            Ok(()) => {
                loaded += 1;
                let took = start.elapsed().as_millis();
                boot.log.debug(&format!("module {} took {took} ms", module.name));
            }
            // It looked for its hardware itself (CPU features, firmware) and there is none.
            Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => {
                boot.log.debug(&format!("module {} has nothing to do here", module.name));
            }
            Err(error) => {
                failed += 1;
                boot.log.error(&format!("module {} ({}): {error}", module.name, module.file));
            }
        }
    }
    let aside = boot.set_aside.len();
    boot.log.info(&format!("{loaded} kernel modules loaded, {failed} failed, {aside} without a device"));
}

fn load(module: &Module, parameters: &str) -> Result<(), std::io::Error> {
    // After a rescue shell; the kernel would check the signature of the file again before it says so.
    if sysfs::attribute(format!("/sys/module/{}/initstate", module.name)).as_deref() == Some("live") {
        return Ok(());
    }
    let file = File::open(&module.file)?;
    let parameters = CString::new(parameters)?;
    match finit_module(&file, &parameters, ModuleInitFlags::empty()) {
        // Built in, or loaded by another module's request.
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
