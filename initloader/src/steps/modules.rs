//! Step `modules`: loads the kernel modules of the initramfs that this machine needs for the boot.
//!
//! The builder's list says what a module is for. Drivers of controllers that the machine does not have are set aside,
//! because loading and checking one takes tens of milliseconds under emulation; drivers of existing controllers are
//! loaded in child processes ([`crate::probing`]), because they wait for their devices. The rest is loaded here
//! meanwhile.

use crate::boot::Boot;
use crate::clock::Uptime;
use crate::failure::{FailureKind, StepError};
use crate::sysfs;
use handoff::kernel_arguments::KernelArguments;
use handoff::modules::{self, Module, ModuleKind};
use handoff::paths;
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use std::ffi::CString;
use std::fs::File;
use std::time::Duration;

/// How long the step may take: a module may have to wait for the driver of a controller.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

const PCI: &str = "/sys/bus/pci/devices";
/// Loading a module ends with a wait until the kernel has finished all its background work, including the search of
/// other drivers for their disks, unless this parameter (`kernel-parameters.txt`: `<module>.async_probe`) turns the
/// wait off. For a driver it would also mean that devices can appear after loading has ended.
const NO_WAIT: &str = "async_probe";

/// Errors of the step `modules`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModulesError {
    /// The list of modules cannot be read.
    #[error("{path}: {0}", path = paths::MODULES)]
    NoList(std::io::Error),
}

impl StepError for ModulesError {
    fn kind(&self) -> FailureKind {
        FailureKind::Initramfs
    }

    fn remedy(&self) -> String {
        "build the image again; this one has no list of kernel modules".into()
    }
}

/// Runs the step `modules`: loads what this machine may need, and sets the rest aside.
pub(crate) fn run(boot: &mut Boot) -> Result<(), ModulesError> {
    let text = std::fs::read_to_string(paths::MODULES).map_err(ModulesError::NoList)?;
    let modules = modules::decode(&text);
    let needed = modules::needed(&modules, &devices());
    let mut load = Vec::new();
    for (module, needed) in modules.into_iter().zip(needed) {
        if needed { load.push(module) } else { boot.set_aside.push(module) }
    }
    load_all(boot, &load);
    Ok(())
}

/// Loads the modules that were set aside: because the disk did not appear, and a device may have been plugged in since,
/// or because a person needs a keyboard.
pub(crate) fn load_set_aside(boot: &mut Boot) {
    let modules = std::mem::take(&mut boot.set_aside);
    if !modules.is_empty() {
        load_all(boot, &modules);
    }
}

/// Loads another list of modules, if the initramfs has it.
pub(crate) fn load_list(boot: &mut Boot, path: &str) {
    let modules = std::fs::read_to_string(path).map(|text| modules::decode(&text)).unwrap_or_default();
    load_all(boot, &modules);
}

/// The `modalias` of every device on the PCI bus.
fn devices() -> Vec<String> {
    let names = sysfs::names(PCI);
    names.iter().filter_map(|name| sysfs::attribute(format!("{PCI}/{name}/modalias"))).collect()
}

fn load_all(boot: &mut Boot, modules: &[Module]) {
    let (mut loaded, mut failed) = (0_u32, 0_u32);
    for module in modules {
        if boot.arguments.blacklists(&module.name) {
            boot.log.info(&format!(
                "module {} is not loaded: it is excluded on the kernel command line",
                module.name
            ));
            continue;
        }
        for need in &module.needs {
            boot.probing.finish(need, &mut boot.log);
        }
        let parameters = parameters(module, &boot.arguments);
        if module.kind == ModuleKind::Controller
            && boot.probing.start(module, || load(module, &parameters)).is_ok()
        {
            continue;
        }
        let start = Uptime::now();
        let result = load(module, &parameters);
        if result.is_ok() {
            loaded = loaded.saturating_add(1);
        } else if result != Err(Errno::ENODEV) {
            failed = failed.saturating_add(1);
        }
        boot.log.module(&module.name, result, start.elapsed());
    }
    let (aside, probing) = (boot.set_aside.len(), boot.probing.names().len());
    boot.log.info(&format!(
        "{loaded} kernel modules loaded, {failed} failed, {probing} looking for their devices, {aside} not needed so far"
    ));
}

/// The kernel does not apply `module.parameter=` of its command line to what `finit_module(2)` loads.
fn parameters(module: &Module, arguments: &KernelArguments) -> CString {
    let mut parameters = arguments.module_parameters(&module.name);
    if module.kind == ModuleKind::Part {
        parameters = format!("{NO_WAIT} {parameters}");
    }
    // A command line has no zero bytes.
    CString::new(parameters).unwrap_or_default()
}

fn load(module: &Module, parameters: &CString) -> Result<(), Errno> {
    // Loaded before a rescue shell; the kernel would check the signature of the file again before it returns that
    // error.
    if sysfs::attribute(format!("/sys/module/{}/initstate", module.name)).as_deref() == Some("live") {
        return Ok(());
    }
    let file = File::open(&module.file)
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))?;
    match finit_module(&file, parameters, ModuleInitFlags::empty()) {
        // Built in, or loaded by another module's request.
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}
