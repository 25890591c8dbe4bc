//! A workstation in a virtual machine: programs of this one, run as root, with block devices that may be overwritten.
//!
//! It boots the kernel and the modules of a node's image, and a shell script in place of the loader. So operations on
//! devices are tested on devices, without being root here and without risk to the disks of this machine.

use crate::command::succeed;
use crate::site_fixture::SiteFixture;
use crate::stick::Stick;
use crate::unpacked_kernel;
use anyhow::{Context as _, Result, bail, ensure};
use builder::image::reader::ImageReader;
use builder::run::{Access, Boot, Bus, Disk, Machine, Setup, direct};
use handoff::architecture::Architecture;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// The text before and after the output of the script.
const BEGIN: &str = "tool_vm: begin";
const END: &str = "tool_vm: end";

/// The programs that confine the site's commands when they start host programs: no network, no new rights, limits.
const CONFINED_BY: [&str; 3] = ["unshare", "setpriv", "prlimit"];

/// The console of the machine.
pub(crate) const SERIAL: &str = Architecture::DEFAULT.serial_console;

/// Mounts the kernel's own file systems, loads modules, then runs the script on the console.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
# Busybox has programs of the same names.
for program in /usr/local/bin/*; do rm -f "/bin/${program##*/}"; done
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root RUST_BACKTRACE=0
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /tmp /run /mnt /root /dev/shm; mount -t tmpfs shm /dev/shm
while read -r name file more; do insmod "$file" 2>/dev/null; done </psyops/modules
exec </dev/null >/dev/@SERIAL@ 2>&1
cd /root
echo "@BEGIN@"
sh /script
echo "@END@"
poweroff -f
"#;

/// The content of the machine: its initramfs and its disks.
#[derive(Debug)]
pub struct ToolVm {
    folder: TempDir,
    node: Stick,
    disks: Vec<Disk>,
}

impl ToolVm {
    /// A machine with these programs of this machine (found on `PATH`) and all of the site's commands, in
    /// `/usr/local/bin`. The shell prefers busybox's own programs of the same name if a script does not name the
    /// folder.
    pub fn new(fixture: &SiteFixture, programs: &[&str]) -> Result<Self> {
        let mut binaries: Vec<PathBuf> = programs.iter().map(|name| on_path(name)).collect::<Result<_>>()?;
        for name in ["psyops", "build-image", "mksecrets"] {
            binaries.push(fixture.command(name).get_program().into());
        }
        Self::with(fixture, &binaries)
    }

    /// A machine with programs of this one (found on `PATH`) and one of this project.
    pub fn around(fixture: &SiteFixture, own: &Path, programs: &[&str]) -> Result<Self> {
        let mut binaries: Vec<PathBuf> = programs.iter().map(|name| on_path(name)).collect::<Result<_>>()?;
        binaries.push(own.to_owned());
        Self::with(fixture, &binaries)
    }

    fn with(fixture: &SiteFixture, binaries: &[PathBuf]) -> Result<Self> {
        let bench = Self { folder: tempfile::tempdir()?, node: fixture.stick("alpha")?, disks: Vec::new() };
        let mut binaries = binaries.to_vec();
        for name in CONFINED_BY {
            binaries.push(on_path(name)?);
        }
        let local = bench.tree().join("usr/local/bin");
        fs::create_dir_all(&local)?;
        for program in &binaries {
            fs::copy(program, local.join(program.file_name().context("a program without a name")?))?;
        }
        bench.add_libraries(&binaries)?;
        Ok(bench)
    }

    fn add_libraries(&self, programs: &[PathBuf]) -> Result<()> {
        for library in libraries(programs)? {
            let there = self.tree().join(library.strip_prefix("/")?);
            fs::create_dir_all(there.parent().context("a library without a folder")?)?;
            fs::copy(&library, there)?;
        }
        Ok(())
    }

    /// Copies a file or a folder of this machine to another path there.
    pub fn add_as(&self, path: &Path, there: &str) -> Result<()> {
        let target = self.tree().join(there);
        fs::create_dir_all(target.parent().context("a place without a folder")?)?;
        succeed(Command::new("cp").arg("-aT").arg(path).arg(target)).map(|_| ())
    }

    /// Copies a program or library of this machine to another path there, with the libraries that it needs.
    pub fn add_program(&self, program: &Path, there: &str) -> Result<()> {
        self.add_as(&fs::canonicalize(program)?, there)?;
        self.add_libraries(&[program.to_owned()])
    }

    /// Adds a disk: `/dev/vda` is the first. Writes to it are kept.
    pub fn attach(&mut self, disk: &Path) {
        self.disks.push(Disk::new(disk, Access::Write, Bus::Virtio));
    }

    /// Adds a disk on another bus.
    pub fn attach_to(&mut self, disk: &Path, bus: Bus) {
        self.disks.push(Disk::new(disk, Access::Write, bus));
    }

    /// Adds a read-only disk, so that several machines can have it.
    pub fn attach_read_only(&mut self, disk: &Path) {
        self.disks.push(Disk::new(disk, Access::ReadOnly, Bus::Virtio));
    }

    /// Adds a disk whose writes are logged to the new file `log`.
    pub fn attach_logged(&mut self, disk: &Path, log: &Path) -> Result<()> {
        File::create(log).with_context(|| format!("making {}", log.display()))?;
        let write_log = Some(log.to_owned());
        self.disks.push(Disk { write_log, ..Disk::new(disk, Access::Write, Bus::Virtio) });
        Ok(())
    }

    /// Starts the machine with the script.
    pub fn start(&self, script: &str) -> Result<Machine> {
        let init = INIT.replace("@SERIAL@", SERIAL).replace("@BEGIN@", BEGIN).replace("@END@", END);
        fs::write(self.tree().join("init"), init)?;
        fs::set_permissions(self.tree().join("init"), fs::Permissions::from_mode(0o755))?;
        fs::write(self.tree().join("script"), script)?;
        Ok(Machine::start(&self.setup()?)?)
    }

    /// Runs the script and returns its output.
    pub fn run(&self, script: &str, deadline: Duration) -> Result<String> {
        let mut machine = self.start(script)?;
        let status = machine.wait_for_end(deadline)?;
        let console = machine.console();
        ensure!(status.success(), "QEMU ended with {status}:\n{console}");
        let said = console.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
        Ok(said.with_context(|| format!("the script did not end:\n{console}"))?.0.to_owned())
    }

    fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    fn setup(&self) -> Result<Setup> {
        let parts = direct::read_system(&ImageReader::open(self.node.path())?, &[])?;
        let mut initrd = parts.initrd;
        initrd.resize(initrd.len().next_multiple_of(4), 0);
        initrd.extend(self.archive()?);
        let path = self.folder.path().join("initrd");
        fs::write(&path, &initrd)?;
        Ok(Setup {
            disks: self.disks.clone(),
            boot: Boot::Direct {
                kernel: unpacked_kernel::of(&parts.kernel)?,
                initrd: path,
                command_line: format!("console={SERIAL} quiet panic=-1"),
            },
            ..Setup::with_stick(self.node.path())
        })
    }

    fn archive(&self) -> Result<Vec<u8>> {
        let mut cpio = Command::new("sh");
        cpio.args(["-c", "find . | cpio -o -H newc --quiet -R 0:0"]).current_dir(self.tree());
        Ok(succeed(&mut cpio)?.stdout)
    }
}

fn on_path(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let found =
        std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("no program {name}: run scripts/setup test"))
}

/// The shared libraries of programs, and their dynamic linker.
fn libraries(programs: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    let output = succeed(Command::new("ldd").args(programs))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if let Some(line) = text.lines().find(|line| line.contains("not found")) {
        bail!("a library is missing: {line}");
    }
    Ok(text
        .split_whitespace()
        .filter(|word| word.starts_with('/') && !word.ends_with(':'))
        .map(PathBuf::from)
        .collect())
}
