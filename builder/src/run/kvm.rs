//! Whether KVM works: found out by booting a step, because a device node that is there proves nothing.
//!
//! In containers and nested machines `/dev/kvm` may open and the first guest instruction hang. So a kernel is started
//! under KVM and must say something within a deadline. The answer holds until the host reboots.

use super::acceleration::Acceleration;
use super::machine::Machine;
use super::setup::{Boot, OnReset, Setup};
use crate::atomic::write_file;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The first words of a kernel.
const FIRST_WORDS: &str = "Linux version";
/// How long the probed kernel may take for them; with KVM they come in under a second.
const DEADLINE: Duration = Duration::from_secs(10);
/// Changes with each start of the host.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What works here: remembered in `memory` (a file in the cache), or found out with the kernel that `kernel` gives.
/// Nothing fails: where KVM cannot be shown to work, the guest is translated.
pub fn detect(memory: &Path, kernel: impl FnOnce() -> Option<PathBuf>) -> Acceleration {
    // Asking for the device first spares the probe on most machines without KVM.
    if OpenOptions::new().read(true).write(true).open("/dev/kvm").is_err() {
        return Acceleration::Tcg;
    }
    let boot_id = fs::read_to_string(BOOT_ID).unwrap_or_default();
    let remembered = fs::read_to_string(memory).unwrap_or_default();
    let known = [Acceleration::Kvm, Acceleration::Tcg]
        .into_iter()
        .find(|known| !boot_id.is_empty() && remembered == memory_text(*known, &boot_id));
    known.unwrap_or_else(|| {
        let found =
            if kernel().is_some_and(|kernel| probe(&kernel)) { Acceleration::Kvm } else { Acceleration::Tcg };
        // A memory that cannot be written only costs the next probe.
        let folder = memory.parent().map_or(Ok(()), fs::create_dir_all);
        if folder.is_ok() {
            let _ = write_file(memory, memory_text(found, &boot_id).as_bytes());
        }
        found
    })
}

fn memory_text(acceleration: Acceleration, boot_id: &str) -> String {
    format!("{}\n{}\n", boot_id.trim_end(), acceleration.word())
}

fn probe(kernel: &Path) -> bool {
    let usual = Setup::with_stick(Path::new("/dev/null"));
    let serial = usual.architecture.serial_console;
    let command_line = format!("console={serial} earlyprintk=serial,{serial} panic=-1");
    let setup = Setup {
        disks: Vec::new(),
        memory: 256,
        cpus: 1,
        acceleration: Acceleration::Kvm,
        boot: Boot::Direct { kernel: kernel.to_owned(), initrd: "/dev/null".into(), command_line },
        on_reset: OnReset::End,
        ..usual
    };
    Machine::start_silently(&setup).and_then(|mut machine| machine.wait_for(FIRST_WORDS, DEADLINE)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_kernel_proves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let memory = folder.path().join("acceleration");
        assert_eq!(detect(&memory, || Some("/dev/null".into())), Acceleration::Tcg);
    }
}
