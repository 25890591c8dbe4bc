//! Signals at many moments: no unfinished file is left behind, no key, and no program that was started.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The time between a signal at one moment and one at the next.
const STEP: Duration = Duration::from_millis(20);
/// How long the kernel may take to end a process whose parent is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// A site with a node, and separate folders for everything that is temporary.
struct Fixture {
    folder: TempDir,
    /// The folder in memory for the plain text of keys.
    runtime: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let fixture =
            Self { folder: tempfile::tempdir().unwrap(), runtime: tempfile::tempdir_in("/dev/shm").unwrap() };
        for folder in ["out", "tmp", "programs"] {
            fs::create_dir(fixture.at(folder)).unwrap();
        }
        let made = fixture.psyops(&["init", "site", "--id", "lab", "--node", "pi1"]).status().unwrap();
        assert!(made.success());
        fixture
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn psyops(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_psyops"));
        let path = std::env::var_os("PATH").unwrap_or_default().into_string().unwrap();
        command
            .args(words)
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", self.at("programs").display()))
            .env("TMPDIR", self.at("tmp"))
            .env("XDG_RUNTIME_DIR", self.runtime.path())
            .env("XDG_CONFIG_HOME", self.at("config"))
            .env("XDG_DATA_HOME", self.at("data"))
            .env("XDG_CACHE_HOME", self.at("cache"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn mksecrets(&self) -> Command {
        self.psyops(&["mksecrets", "--site", "site", "--node", "pi1", "--output", "out/x.img"])
    }

    /// A program named QEMU that runs for long, ignores SIGTERM, and shows that it runs by the file `qemu.pid`.
    fn install_qemu(&self) {
        let script = format!(
            "#!/bin/sh\ntrap '' TERM\necho $$ > {0}.new\nmv {0}.new {0}\nread line\nsleep 600\n",
            self.at("qemu.pid").display()
        );
        let path = self.at("programs/qemu-system-x86_64");
        fs::write(&path, script).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        let image = fs::File::create(self.at("x.img")).unwrap();
        image.set_len(8 << 20).unwrap();
        let table = self.at("table");
        fs::write(&table, "label: gpt\nsize=1MiB\n").unwrap();
        let sfdisk = Command::new("sfdisk")
            .arg("--quiet")
            .arg(self.at("x.img"))
            .stdin(fs::File::open(table).unwrap())
            .status();
        assert!(sfdisk.unwrap().success());
    }

    fn run(&self) -> Command {
        self.psyops(&["run", "x.img", "--headless", "--timeout", "500"])
    }

    /// The process of the program that was started as QEMU.
    fn qemu(&self) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Ok(pid) = fs::read_to_string(self.at("qemu.pid")) {
                fs::remove_file(self.at("qemu.pid")).unwrap();
                return pid.trim().to_owned();
            }
            assert!(Instant::now() < end, "it did not start");
            sleep(STEP);
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    #[expect(clippy::disallowed_methods, reason = "sorted right below")]
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn send(child: &Child, signal: &str) {
    let sent = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Runs `command`, and sends it a signal after some time if it has not ended.
fn interrupted(mut command: Command, after: Duration, signal: &str) -> ExitStatus {
    let mut child = command.spawn().unwrap();
    sleep(after);
    if child.try_wait().unwrap().is_none() {
        send(&child, signal);
    }
    child.wait().unwrap()
}

fn lives(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_signal_at_any_moment_leaves_no_unfinished_file_and_no_key() {
    let fixture = Fixture::new();
    // Keys and seal are made first, so that they do not take time later.
    assert!(fixture.mksecrets().status().unwrap().success());
    let whole = fs::metadata(fixture.at("out/x.img")).unwrap().len();
    let mut ended = 0;
    for number in 0..24_u32 {
        let _ = fs::remove_file(fixture.at("out/x.img"));
        let (signal, code) = [("TERM", 15), ("INT", 2), ("HUP", 1)][number as usize % 3];
        let status = interrupted(fixture.mksecrets(), STEP * (number / 2), signal);
        assert!(status.success() || status.signal() == Some(code), "{status} after {signal}");
        ended += u32::from(!status.success());
        if fixture.at("out/x.img").exists() {
            assert_eq!(fs::metadata(fixture.at("out/x.img")).unwrap().len(), whole);
        }
        let out: Vec<String> = names(&fixture.at("out")).into_iter().filter(|name| name != "x.img").collect();
        assert_eq!(out, [] as [&str; 0], "after {signal}");
        assert_eq!(names(fixture.runtime.path()), [] as [&str; 0], "after {signal}");
        assert_eq!(names(&fixture.at("tmp")), [] as [&str; 0], "after {signal}");
    }
    assert!(ended >= 4, "only {ended} of 24 runs were interrupted");
}

#[test]
fn leftovers_of_a_sigkill_are_removed_by_the_next_run() {
    let fixture = Fixture::new();
    assert!(fixture.mksecrets().status().unwrap().success());
    for number in 0..10 {
        let _ = fs::remove_file(fixture.at("out/x.img"));
        interrupted(fixture.mksecrets(), STEP * number, "KILL");
        let out: Vec<String> = names(&fixture.at("out")).into_iter().filter(|name| name != "x.img").collect();
        assert_eq!(out, [] as [&str; 0], "a file with a name before it was whole");
    }
    let end = Instant::now() + PATIENCE;
    // mke2fs and debugfs may run for a moment longer, in a folder that is being removed.
    while Instant::now() < end {
        assert!(fixture.mksecrets().status().unwrap().success());
        if names(fixture.runtime.path()).is_empty() {
            break;
        }
    }
    assert_eq!(names(fixture.runtime.path()), [] as [&str; 0]);
    assert_eq!(names(&fixture.at("out")), ["x.img"]);
}

#[test]
fn a_signal_ends_the_machine_too_and_its_files() {
    let fixture = Fixture::new();
    fixture.install_qemu();
    for (signal, code) in [("TERM", 15), ("INT", 2), ("HUP", 1)] {
        let mut child = fixture.run().spawn().unwrap();
        let qemu = fixture.qemu();
        send(&child, signal);
        assert_eq!(child.wait().unwrap().signal(), Some(code));
        assert!(!lives(&qemu), "QEMU outlives psyops after {signal}");
        assert_eq!(names(&fixture.at("tmp")), [] as [&str; 0], "after {signal}");
    }
}

#[test]
fn the_kernel_ends_the_machine_of_a_psyops_that_is_killed() {
    let fixture = Fixture::new();
    fixture.install_qemu();
    let mut child = fixture.run().spawn().unwrap();
    let qemu = fixture.qemu();
    send(&child, "KILL");
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    let end = Instant::now() + PATIENCE;
    while lives(&qemu) {
        assert!(Instant::now() < end, "QEMU outlives psyops");
        sleep(STEP);
    }
    assert_ne!(names(&fixture.at("tmp")), [] as [&str; 0]);
    // The next run removes what the first one left behind.
    let mut child = fixture.run().spawn().unwrap();
    fixture.qemu();
    send(&child, "TERM");
    child.wait().unwrap();
    assert_eq!(names(&fixture.at("tmp")), [] as [&str; 0]);
}

#[test]
fn a_signal_that_was_ignored_from_the_beginning_stays_ignored() {
    let fixture = Fixture::new();
    fixture.install_qemu();
    let run = fixture.run();
    let program = run.get_program().to_owned();
    let words: Vec<_> = run.get_args().map(ToOwned::to_owned).collect();
    let mut nohup = Command::new("sh");
    nohup.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(program).args(words);
    for (name, value) in run.get_envs() {
        nohup.env(name, value.unwrap());
    }
    nohup.current_dir(fixture.folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = nohup.spawn().unwrap();
    let qemu = fixture.qemu();
    send(&child, "HUP");
    sleep(STEP * 10);
    assert!(child.try_wait().unwrap().is_none() && lives(&qemu), "it ended by SIGHUP");
    send(&child, "TERM");
    assert_eq!(child.wait().unwrap().signal(), Some(15));
    assert!(!lives(&qemu));
}
