//! The description of a machine, and the QEMU arguments for it. Pure except for the paths of the firmware.

use super::acceleration::Acceleration;
use super::arguments::{Arguments, with_path};
use super::disk::{Access, Bus, Disk};
use super::trouble::Trouble;
use handoff::architecture::Architecture;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What the machine starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// Firmware, from power-on; it starts from the first disk.
    Firmware,
    /// A kernel without firmware.
    Direct {
        /// The path of the kernel.
        kernel: PathBuf,
        /// The path of the initramfs.
        initrd: PathBuf,
        /// The kernel command line.
        command_line: String,
    },
}

/// What happens at a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnReset {
    /// The machine starts again.
    Restart,
    /// The machine ends.
    End,
}

/// Where the serial port is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serial {
    /// To this program, which keeps the output.
    Captured,
    /// To the terminal, through a filter, with QEMU's monitor on Ctrl-A C.
    Terminal,
    /// To the terminal without the filter: the machine can send it any sequence.
    RawTerminal,
    /// There is no serial port.
    None,
}

/// The description of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// The architecture of its processors.
    pub architecture: &'static Architecture,
    /// The disks; firmware starts from the first one.
    pub disks: Vec<Disk>,
    /// The memory in MiB.
    pub memory: u32,
    /// The number of processors.
    pub cpus: u32,
    /// KVM or emulation.
    pub acceleration: Acceleration,
    /// What the machine starts.
    pub boot: Boot,
    /// What a reset does.
    pub on_reset: OnReset,
    /// Where the serial port is connected.
    pub serial: Serial,
    /// A port on this host's loopback interface that leads to the guest's port 22. Without one the guest has no
    /// network.
    pub ssh: Option<u16>,
    /// The faults to simulate.
    pub trouble: Trouble,
}

impl Setup {
    /// A machine as most tests need it: one stick, as a snapshot, started by firmware, without a network.
    #[must_use]
    pub fn with_stick(image: &Path) -> Self {
        let stick = Disk::new(image, Access::Snapshot, Bus::Usb);
        Self {
            architecture: Architecture::DEFAULT,
            disks: vec![stick],
            memory: 1024,
            cpus: Acceleration::Tcg.processors(),
            acceleration: Acceleration::Tcg,
            boot: Boot::Firmware,
            on_reset: OnReset::Restart,
            serial: Serial::Captured,
            ssh: None,
            trouble: Trouble::default(),
        }
    }

    /// QEMU's arguments; firmware variables and the control socket are in `folder`.
    #[must_use]
    pub fn arguments(&self, folder: &Path) -> Vec<OsString> {
        let mut arguments = Arguments::default();
        arguments.words("-nodefaults -no-user-config -display none");
        arguments.pair("-machine", self.architecture.qemu.machine);
        arguments.words(self.acceleration.arguments());
        arguments.pair("-m", format!("{}M", self.memory));
        arguments.pair("-smp", self.cpus.to_string());
        if self.trouble.no_entropy {
            // The last `-cpu` is used.
            arguments.words("-cpu max,-rdrand,-rdseed");
        } else {
            arguments.words("-device virtio-rng-pci");
        }
        if let Some(clock) = &self.trouble.clock {
            arguments.pair("-rtc", format!("base={clock}"));
        }
        self.add_boot(&mut arguments, folder);
        arguments.words("-device qemu-xhci,id=usb");
        if self.has_a_hub() {
            arguments.words("-device usb-hub,bus=usb.0,port=1");
        }
        for (number, disk) in self.disks.iter().enumerate() {
            disk.add(&mut arguments, number, &self.trouble);
        }
        match self.serial {
            // QEMU must not handle the terminal's signals itself: they end this program, and QEMU with it.
            Serial::Captured => arguments.words("-chardev stdio,id=serial,signal=off -serial chardev:serial"),
            Serial::Terminal | Serial::RawTerminal => arguments.words("-serial mon:stdio"),
            Serial::None => arguments.words("-serial none"),
        }
        arguments.pair("-qmp", with_path("unix:", &folder.join(super::qmp::SOCKET), ",server=on,wait=off"));
        if self.on_reset == OnReset::End {
            arguments.words("-no-reboot");
        }
        if let Some(port) = self.ssh {
            let forward = format!("user,id=network,hostfwd=tcp:127.0.0.1:{port}-:22");
            arguments.pair("-netdev", forward);
            arguments.words("-device virtio-net-pci,netdev=network,romfile=");
        }
        arguments.list
    }

    fn has_a_hub(&self) -> bool {
        self.disks.iter().any(|disk| disk.bus == Bus::UsbHub)
    }

    fn add_boot(&self, arguments: &mut Arguments, folder: &Path) {
        match &self.boot {
            Boot::Firmware => {
                let code = with_path(
                    "if=pflash,unit=0,format=raw,readonly=on,file=",
                    self.architecture.qemu.firmware_code.as_ref(),
                    "",
                );
                arguments.pair("-drive", code);
                let variables = folder.join(VARIABLES);
                arguments.pair("-drive", with_path("if=pflash,unit=1,format=raw,file=", &variables, ""));
                if self.has_a_hub() {
                    // Real machines show their logo for some seconds, in which such a hub reports its sticks. This
                    // firmware would look immediately, and then never again.
                    arguments.words("-boot menu=on,splash-time=5000");
                }
            }
            Boot::Direct { kernel, initrd, command_line } => {
                arguments.pair("-kernel", kernel);
                arguments.pair("-initrd", initrd);
                arguments.pair("-append", command_line);
            }
        }
    }
}

/// The name of a machine's copy of the firmware variables.
pub(super) const VARIABLES: &str = "firmware-variables.fd";

#[cfg(test)]
mod tests {
    use super::super::arguments::shell_line;
    use super::super::trouble::{BadSector, Request};
    use super::*;

    fn line(setup: &Setup) -> String {
        shell_line("qemu", &setup.arguments(Path::new("/w")))
    }

    #[test]
    fn a_stick_boots_cold_from_a_snapshot() {
        let line = line(&Setup::with_stick(Path::new("/i/a,b.img")));
        for part in [
            "-device qemu-xhci,id=usb",
            "snapshot=on,file=/i/a,,b.img",
            "usb-storage,bus=usb.0,drive=disk0,bootindex=1",
            "file=/w/firmware-variables.fd",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert!(!line.contains("netdev") && !line.contains("-kernel"), "{line}");
    }

    #[test]
    fn writes_to_a_disk_can_be_logged() {
        let mut setup = Setup::with_stick(Path::new("/i/a.img"));
        setup.disks[0].write_log = Some("/i/a,b.log".into());
        let line = line(&setup);
        for part in [
            "driver=file,node-name=image0,filename=/i/a.img",
            "driver=file,node-name=log0,filename=/i/a,,b.log",
            "driver=blklogwrites,node-name=disk0,file=image0,log=log0",
            "usb-storage,bus=usb.0,drive=disk0,bootindex=1,write-cache=on",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert!(!line.contains("if=none"), "{line}");
    }

    #[test]
    fn a_network_is_only_there_for_ssh_and_only_on_the_loopback() {
        let setup = Setup { ssh: Some(2222), ..Setup::with_stick(Path::new("x")) };
        assert!(line(&setup).contains("hostfwd=tcp:127.0.0.1:2222-:22"));
    }

    #[test]
    fn trouble_is_what_qemu_is_told_of() {
        let bad = BadSector { disk: 0, sector: Some(2048), on: Request::Read };
        let trouble = Trouble {
            clock: Some("1970-01-01T00:00:00".into()),
            no_entropy: true,
            bad_sectors: vec![bad],
            bytes_per_second: Some(1_000_000),
            passed_over: false,
        };
        let line = line(&Setup { trouble, ..Setup::with_stick(Path::new("x")) });
        for part in [
            "-rtc base=1970-01-01T00:00:00",
            "-cpu max,-rdrand,-rdseed",
            "throttling.bps-total=1000000",
            "file.inject-error.0.sector=2048",
            "file.image.filename=x",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert!(!line.contains("virtio-rng"), "{line}");
    }

    #[test]
    fn an_unplugged_stick_is_a_medium_without_a_device() {
        let mut setup = Setup::with_stick(Path::new("x"));
        setup.disks[0].bus = Bus::Unplugged;
        let line = line(&setup);
        assert!(line.contains("node-name=disk0") && !line.contains("usb-storage"), "{line}");
    }

    #[test]
    fn a_direct_boot_needs_no_firmware() {
        let boot = Boot::Direct { kernel: "k".into(), initrd: "i".into(), command_line: "a 'b'".into() };
        let line = line(&Setup { boot, serial: Serial::None, ..Setup::with_stick(Path::new("x")) });
        assert!(line.contains(r"-append 'a '\''b'\'''") && line.contains("-serial none"), "{line}");
        assert!(!line.contains("pflash"), "{line}");
    }
}
