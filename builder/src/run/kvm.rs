//! Whether KVM works: tested by a short boot, because the existence of the device node proves nothing.
//!
//! In containers and nested machines, `/dev/kvm` may open and the first guest instruction may hang. So a kernel is
//! started under KVM and must print something within a deadline. The result is valid until the host reboots.

use super::acceleration::Acceleration;
use super::machine::Machine;
use super::setup::{Boot, OnReset, Setup};
use crate::atomic::write_file;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The first words that a kernel prints.
const FIRST_WORDS: &str = "Linux version";
/// How long the tested kernel may take for them; with KVM they come in less than a second.
const DEADLINE: Duration = Duration::from_secs(10);
/// An id that changes each time the host starts.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The acceleration that works here: remembered in `memory` (a file in the cache), or tested with the kernel that
/// `kernel` returns. There is no error: if KVM does not work, the guest is emulated.
pub fn detect(memory: &Path, kernel: impl FnOnce() -> Option<PathBuf>) -> Acceleration {
    // Opening the device first avoids the test on most machines without KVM.
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
        // If the result cannot be stored, the next run tests again.
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
    fn a_file_that_is_not_a_kernel_proves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let memory = folder.path().join("acceleration");
        assert_eq!(detect(&memory, || Some("/dev/null".into())), Acceleration::Tcg);
    }
}
