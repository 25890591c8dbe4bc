//! The host's programs: found by name, run in a fixed environment, with their error messages in the error.
//!
//! Programs for system administration are in folders that a user's `PATH` lacks on Debian; these are searched, too.
//! Locale and time zone are fixed, because neither may influence an output. Programs that read untrusted files
//! (packages, images, sticks) have limits, no network, no rights of root and a small environment: [`limits`],
//! [`rights`].

mod limits;
mod process;
mod rights;

pub use limits::{Exceeded, Limits, missing_isolation, missing_right_to_drop_rights};
pub use process::{Running, check, output, run, run_heard, start};
pub use rights::Rights;

use crate::details::Details;
use crate::error::{Class, Classified};
use crate::input;
use handoff::architecture::{Architecture, Qemu};
use handoff::hash::Sha256Digest;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// A program that a command needs, and the Debian package that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// The program's file name.
    pub name: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
    /// The limits for a run, if the program reads untrusted files.
    pub limits: Option<Limits>,
    /// The rights of such a program if the builder is root.
    pub rights: Rights,
}

macro_rules! tools {
    ($($constant:ident = $name:literal from $package:literal, $limits:expr $(, $rights:expr)?;)+) => {
        $(
            #[doc = concat!("`", $name, "` of Debian's package ", $package, ".")]
            pub const $constant: Tool = Tool {
                name: $name,
                package: $package,
                limits: $limits,
                rights: tools!(@rights $($rights)?),
            };
        )+
        /// Every tool that some command needs.
        pub const ALL: &[Tool] = &[$($constant),+];
    };
    (@rights) => { Rights::NONE };
    (@rights $rights:expr) => { $rights };
}

tools! {
    APT_GET = "apt-get" from "apt", None;
    APT_CACHE = "apt-cache" from "apt", None;
    APT_CONFIG = "apt-config" from "apt", None;
    APT_HELPER = "apt-helper" from "apt", None;
    GPGV = "gpgv" from "gpgv", Some(limits::LOOK);
    SQV = "sqv" from "sqv", Some(limits::LOOK);
    DPKG = "dpkg" from "dpkg", Some(limits::LOOK);
    DPKG_DEB = "dpkg-deb" from "dpkg", Some(limits::WORK);
    DEPMOD = "depmod" from "kmod", Some(limits::WORK);
    MMDEBSTRAP = "mmdebstrap" from "mmdebstrap", None;
    GIT = "git" from "git", None;
    MKE2FS = "mke2fs" from "e2fsprogs", Some(limits::WORK);
    E2FSCK = "e2fsck" from "e2fsprogs", Some(limits::LOOK), Rights::READ_ANY_FILE;
    DEBUGFS = "debugfs" from "e2fsprogs", Some(limits::LOOK);
    TAR2SQFS = "tar2sqfs" from "squashfs-tools-ng", Some(limits::WORK);
    UNSQUASHFS = "unsquashfs" from "squashfs-tools", Some(limits::WORK), Rights::READ_ANY_FILE;
    XZ = "xz" from "xz-utils", Some(limits::WORK);
    BLKID = "blkid" from "util-linux", Some(limits::LOOK);
    UNSHARE = "unshare" from "util-linux", None;
    SETPRIV = "setpriv" from "util-linux", None;
    PRLIMIT = "prlimit" from "util-linux", None;
    NEWUIDMAP = "newuidmap" from "uidmap", None;
    NEWGIDMAP = "newgidmap" from "uidmap", None;
    SUDO = "sudo" from "sudo", None;
    QEMU_IMG = "qemu-img" from "qemu-utils", Some(limits::WORK), Rights::READ_ANY_FILE;
}

/// QEMU for this architecture.
#[must_use]
pub fn qemu(architecture: &Architecture) -> Tool {
    let Qemu { program, package, .. } = architecture.qemu;
    Tool { name: program, package, limits: None, rights: Rights::NONE }
}

/// Folders that are searched after those in `PATH`.
const MORE_FOLDERS: [&str; 5] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/lib/apt"];

/// Why a tool did not succeed.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum ToolError {
    /// The program is not installed.
    #[error("the program {} is missing", tool.name)]
    Missing {
        /// The missing tool.
        tool: Tool,
    },
    /// The program exists but could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The name of the program.
        program: String,
        /// The error from starting it.
        r#source: io::Error,
    },
    /// The program ran and failed.
    #[error("{program} failed ({status}): {complaint}")]
    Failed {
        /// The name of the program.
        program: String,
        /// The exit status of the program.
        status: ExitStatus,
        /// The last lines of its standard error.
        #[source]
        complaint: Details,
    },
    /// The program exceeded a limit and was stopped.
    #[error("{program} was stopped: its input made it use more than {exceeded}")]
    OverLimit {
        /// The name of the program.
        program: String,
        /// The limit that it exceeded.
        exceeded: Exceeded,
    },
}

impl Classified for ToolError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Missing { .. } => Class::Unavailable,
            Self::Start { .. } | Self::Failed { .. } => Class::Failure,
            Self::OverLimit { .. } => Class::BadContent,
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::Missing { tool } => Some(format!("install it: apt-get install {}", tool.package)),
            Self::OverLimit { .. } => {
                Some("no image or package needs that much: find out where this one is from".into())
            }
            _ => None,
        }
    }
}

impl Tool {
    /// The path of the program.
    pub fn find(self) -> Result<PathBuf, ToolError> {
        self.find_in(&env::var_os("PATH").unwrap_or_default())
    }

    fn find_in(self, path: &OsStr) -> Result<PathBuf, ToolError> {
        env::split_paths(path)
            .chain(MORE_FOLDERS.iter().map(PathBuf::from))
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(self.name))
            .find(|candidate| is_executable(candidate))
            .ok_or(ToolError::Missing { tool: self })
    }

    /// The digest of the program, because another version may give other bytes. This is faster than asking for its
    /// version.
    pub fn digest(self) -> Result<Sha256Digest, ToolError> {
        let path = self.find()?;
        let program = self.name.to_owned();
        input::digest_of_file(&path).map_err(|source| ToolError::Start { program, source })
    }

    /// A command for the program: no input, C locale, UTC, administration folders in its `PATH`; with its limits, if
    /// any.
    pub fn command(self) -> Result<Command, ToolError> {
        let mut command = match &self.limits {
            Some(limits) => {
                let mut command = limits.command(self.rights, self.find()?)?;
                command.env_clear();
                command
            }
            None => Command::new(self.find()?),
        };
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = env::split_paths(&path).chain(MORE_FOLDERS.iter().map(PathBuf::from));
        if let Ok(path) = env::join_paths(folders) {
            command.env("PATH", path);
        }
        command.env("LC_ALL", "C").env("TZ", "UTC").stdin(Stdio::null());
        Ok(command)
    }
}

/// The file name of a command's program, for messages.
#[must_use]
pub fn program_name(command: &Command) -> String {
    let program = Path::new(limits::real_program(command));
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SHELL: Tool = Tool { name: "sh", package: "dash", limits: None, rights: Rights::NONE };

    /// A shell with low limits, run through the same code as all tools.
    fn limited(limits: Limits, script: &str) -> Command {
        let mut command = Tool { limits: Some(limits), ..SHELL }.command().unwrap();
        command.args(["-c", script]);
        command
    }

    const LITTLE: Limits = Limits { memory: 64 << 20, cpu: 1, file: 1 << 20 };

    fn exceeded(command: &mut Command) -> Exceeded {
        let error = run(command).unwrap_err();
        assert_eq!(error.class(), Class::BadContent);
        let ToolError::OverLimit { program, exceeded } = error else { panic!("{error}") };
        assert_eq!(program, "sh");
        exceeded
    }

    #[test]
    fn a_tool_that_eats_memory_is_stopped() {
        let mut eats = limited(LITTLE, "exec tail /dev/zero");
        assert_eq!(exceeded(&mut eats), Exceeded::Memory(64 << 20));
    }

    #[test]
    fn a_tool_that_writes_without_end_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let mut writes = limited(LITTLE, "exec cat /dev/zero > much");
        assert_eq!(exceeded(writes.current_dir(folder.path())), Exceeded::File(1 << 20));
        assert_eq!(folder.path().join("much").metadata().unwrap().len(), 1 << 20);
    }

    #[test]
    fn a_tool_that_computes_or_waits_for_ever_is_stopped() {
        let mut computes = limited(LITTLE, "while :; do :; done");
        let patience = Some(Duration::from_mins(4));
        let ended = process::output_within(&mut computes, patience).unwrap_err();
        assert!(matches!(ended, ToolError::OverLimit { exceeded: Exceeded::Cpu(1), .. }), "{ended}");
        let mut waits = limited(LITTLE, "exec sleep 1000");
        let second = Duration::from_secs(1);
        let ended = process::output_within(&mut waits, Some(second)).unwrap_err();
        assert!(
            matches!(ended, ToolError::OverLimit { exceeded: Exceeded::Clock(time), .. } if time == second)
        );
        assert_eq!(LITTLE.clock(), 4 * second);
    }

    #[test]
    fn a_tool_has_no_network_no_new_rights_and_a_small_environment() {
        let script = "cat /proc/net/dev; grep NoNewPrivs /proc/self/status; ulimit -c; env";
        let output = run(&mut limited(LITTLE, script)).unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        if missing_isolation().is_none() {
            let cards: Vec<&str> =
                said.lines().filter_map(|line| line.trim().split_once(": ")).map(|(card, _)| card).collect();
            assert_eq!(cards, ["lo"], "{said}");
        }
        let rest: Vec<&str> = said.lines().skip_while(|line| !line.starts_with("NoNewPrivs")).collect();
        assert_eq!(rest[..2], ["NoNewPrivs:\t1", "0"]);
        let mut names: Vec<&str> =
            rest[2..].iter().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        names.sort_unstable();
        assert_eq!(names, ["LC_ALL", "PATH", "PWD", "TZ"]);
    }

    /// Also if the builder is root: files that it opens are checked by owner and mode, as for any user.
    #[test]
    fn a_tool_has_no_capabilities_but_those_that_its_row_names() {
        let capabilities = |rights: Rights| {
            let tool = Tool { limits: Some(LITTLE), rights, ..SHELL };
            let mut command = tool.command().unwrap();
            command.args(["-c", "grep -E '^(Cap|NoNewPrivs)' /proc/self/status"]);
            let said = String::from_utf8(run(&mut command).unwrap().stdout).unwrap();
            let value = |name: &str| {
                let line =
                    said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t")).unwrap();
                u64::from_str_radix(line, 16).unwrap()
            };
            assert_eq!(value("NoNewPrivs"), 1);
            ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(value)
        };
        if nix::unistd::geteuid().is_root() {
            assert_eq!(missing_right_to_drop_rights(), None);
            assert_eq!(capabilities(Rights::NONE), [0; 5]);
            // CAP_DAC_READ_SEARCH, capabilities(7).
            let read = 1 << 2;
            assert_eq!(capabilities(Rights::READ_ANY_FILE), [0, read, read, read, 0]);
        } else {
            // The bounding set is not compared: with `no_new_privs`, a user cannot get these capabilities.
            for rights in [Rights::NONE, Rights::READ_ANY_FILE] {
                let [inherited, permitted, effective, _, ambient] = capabilities(rights);
                assert_eq!([inherited, permitted, effective, ambient], [0; 4]);
            }
        }
    }

    #[test]
    fn only_tools_that_open_what_the_user_names_may_read_any_file() {
        let may = |tool: &&Tool| tool.limits.is_some() && tool.rights != Rights::NONE;
        let names: Vec<&str> = ALL.iter().filter(may).map(|tool| tool.name).collect();
        assert_eq!(names, ["e2fsck", "unsquashfs", "qemu-img"]);
    }

    #[test]
    fn a_tool_cannot_open_a_connection() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut connects =
            Tool { name: "bash", package: "bash", limits: Some(LITTLE), ..SHELL }.command().unwrap();
        connects.args(["-c", &format!("exec 3<>/dev/tcp/127.0.0.1/{port}")]);
        let ended = run(&mut connects);
        match missing_isolation() {
            None => {
                let ToolError::Failed { complaint, .. } = ended.unwrap_err() else { panic!("not refused") };
                assert!(complaint.contains("Network is unreachable"), "{complaint}");
            }
            // This host cannot isolate the network, and the end of the command prints that.
            Some(reason) => assert!(!reason.is_empty()),
        }
    }

    #[test]
    fn limits_and_their_programs_are_not_named_in_errors() {
        let error = run(&mut limited(LITTLE, "echo no such luck >&2; exit 3")).unwrap_err();
        let ToolError::Failed { program, status, complaint } = error else { panic!("{error}") };
        assert_eq!((program.as_str(), status.code(), &*complaint), ("sh", Some(3), "no such luck"));
    }

    #[test]
    fn all_tools_that_read_foreign_files_have_limits() {
        for tool in [BLKID, DEBUGFS, DEPMOD, DPKG_DEB, E2FSCK, MKE2FS, QEMU_IMG, TAR2SQFS, UNSQUASHFS, XZ] {
            assert!(tool.limits.is_some(), "{}", tool.name);
        }
    }

    #[test]
    fn a_missing_tool_names_its_package() {
        let tool =
            Tool { name: "no-such-program", package: "some-package", limits: None, rights: Rights::NONE };
        let error = tool.find().unwrap_err();
        assert!(matches!(error, ToolError::Missing { tool: missing } if missing == tool));
        assert_eq!(error.class(), Class::Unavailable);
        assert_eq!(error.advice().unwrap(), "install it: apt-get install some-package");
    }

    #[test]
    fn administration_folders_are_searched_without_path() {
        let found = SHELL.find_in(OsStr::new("relative:")).unwrap();
        assert!(found.ends_with("sh") && found.is_absolute());
    }

    #[test]
    fn a_failed_tool_is_quoted() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo no such luck >&2; exit 3"]);
        let error = run(&mut command).unwrap_err();
        let ToolError::Failed { program, status, complaint } = error else { panic!("{error}") };
        assert_eq!((program.as_str(), status.code(), &*complaint), ("sh", Some(3), "no such luck"));
    }

    #[test]
    fn output_of_a_tool_is_read_while_it_runs() {
        let mut heard = Vec::new();
        let shell = |script: &str, heard: &mut Vec<String>| {
            run_heard(Command::new("/bin/sh").args(["-c", script]), |line| heard.push(line.to_owned()))
        };
        shell("echo one >&2; printf two >&2", &mut heard).unwrap();
        assert_eq!(heard, ["one\n", "two"]);
        let error = shell("echo no such luck >&2; exit 3", &mut heard).unwrap_err();
        assert!(matches!(error, ToolError::Failed { complaint, .. } if &*complaint == "no such luck"));
    }

    #[test]
    fn a_long_complaint_keeps_its_end() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "i=0; while [ $i -lt 3000 ]; do echo €$i >&2; i=$((i+1)); done; exit 1"]);
        let ToolError::Failed { complaint, .. } = run(&mut command).unwrap_err() else { panic!() };
        assert!(complaint.starts_with("... ") && complaint.ends_with("€2999"));
    }
}
