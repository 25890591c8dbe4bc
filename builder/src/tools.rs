//! The host's programs: found by name, run in a fixed environment, with what they complained about in the error.
//!
//! Programs of the system administration sections lie in folders that a user's `PATH` lacks on Debian; they are looked
//! for there too. Locale and time zone are fixed, because neither may reach an output.

use crate::error::{Class, Classified};
use crate::input;
use handoff::hash::Sha256Digest;
use std::env;
use std::ffi::OsStr;
use std::io::{self, BufRead as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

/// A program that a command needs, and the Debian package that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// The program's file name.
    pub name: &'static str,
    /// The Debian package.
    pub package: &'static str,
}

macro_rules! tools {
    ($($constant:ident = $name:literal from $package:literal;)+) => {
        $(
            #[doc = concat!("`", $name, "` of Debian's package ", $package, ".")]
            pub const $constant: Tool = Tool { name: $name, package: $package };
        )+
        /// Every tool that some command needs.
        pub const ALL: &[Tool] = &[$($constant),+];
    };
}

tools! {
    APT_GET = "apt-get" from "apt";
    APT_CACHE = "apt-cache" from "apt";
    APT_CONFIG = "apt-config" from "apt";
    APT_HELPER = "apt-helper" from "apt";
    DPKG = "dpkg" from "dpkg";
    DPKG_DEB = "dpkg-deb" from "dpkg";
    DEPMOD = "depmod" from "kmod";
    MMDEBSTRAP = "mmdebstrap" from "mmdebstrap";
    GIT = "git" from "git";
    MKE2FS = "mke2fs" from "e2fsprogs";
    E2FSCK = "e2fsck" from "e2fsprogs";
    DEBUGFS = "debugfs" from "e2fsprogs";
    TAR2SQFS = "tar2sqfs" from "squashfs-tools-ng";
    UNSQUASHFS = "unsquashfs" from "squashfs-tools";
    XZ = "xz" from "xz-utils";
    BLKID = "blkid" from "util-linux";
    SUDO = "sudo" from "sudo";
    SETPRIV = "setpriv" from "util-linux";
    QEMU = "qemu-system-x86_64" from "qemu-system-x86";
    QEMU_IMG = "qemu-img" from "qemu-utils";
}

/// Folders that are searched after those in `PATH`.
const MORE_FOLDERS: [&str; 5] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/lib/apt"];
/// How much of a failed tool's complaint goes into the error.
const MOST_COMPLAINT: usize = 4000;

/// Why a tool did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It is not installed.
    #[error("the program {} is missing", tool.name)]
    Missing {
        /// Which one.
        tool: Tool,
    },
    /// It is there and does not start.
    #[error("cannot start {program}: {source}")]
    Start {
        /// Which one.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ran and failed.
    #[error("{program} failed ({status}): {complaint}")]
    Failed {
        /// Which one.
        program: String,
        /// Its exit status.
        status: ExitStatus,
        /// The end of its error output.
        complaint: String,
    },
}

impl Classified for ToolError {
    fn class(&self) -> Class {
        match self {
            Self::Missing { .. } => Class::Unavailable,
            Self::Start { .. } | Self::Failed { .. } => Class::Failure,
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Missing { tool } => Some(format!("install it: apt-get install {}", tool.package)),
            _ => None,
        }
    }
}

impl Tool {
    /// Where the program lies.
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

    /// The digest of the program: another version may give other bytes. Faster than asking it for its version.
    pub fn digest(self) -> Result<Sha256Digest, ToolError> {
        let path = self.find()?;
        let program = self.name.to_owned();
        input::digest_of_file(&path).map_err(|source| ToolError::Start { program, source })
    }

    /// A command for it: no input, C locale, UTC, administration folders in its `PATH`.
    pub fn command(self) -> Result<Command, ToolError> {
        let mut command = Command::new(self.find()?);
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = env::split_paths(&path).chain(MORE_FOLDERS.iter().map(PathBuf::from));
        if let Ok(path) = env::join_paths(folders) {
            command.env("PATH", path);
        }
        command.env("LC_ALL", "C").env("TZ", "UTC").stdin(Stdio::null());
        Ok(command)
    }
}

/// Runs `command` to its end, keeping its output; anything but exit status 0 is an error with its complaint.
pub fn run(command: &mut Command) -> Result<Output, ToolError> {
    let program = program_name(command);
    let output = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .map_err(|source| ToolError::Start { program: program.clone(), source })?;
    check(&program, output)
}

/// Runs `command`, whose output goes where it is told to, and hands on each line that it says on standard error while it
/// works; anything but exit status 0 is an error with the end of that.
pub fn run_heard(command: &mut Command, mut hear: impl FnMut(&str)) -> Result<(), ToolError> {
    let program = program_name(command);
    let start = |source| ToolError::Start { program: program.clone(), source };
    let mut child = command.stderr(Stdio::piped()).spawn().map_err(start)?;
    let mut said = Vec::new();
    if let Some(errors) = child.stderr.take() {
        let mut errors = io::BufReader::new(errors);
        loop {
            let from = said.len();
            if errors.read_until(b'\n', &mut said).map_err(start)? == 0 {
                break;
            }
            hear(&String::from_utf8_lossy(said.get(from..).unwrap_or_default()));
        }
    }
    let status = child.wait().map_err(start)?;
    check(&program, Output { status, stdout: Vec::new(), stderr: said }).map(drop)
}

/// Turns the output of a finished program into an error where it failed.
pub fn check(program: &str, output: Output) -> Result<Output, ToolError> {
    if output.status.success() {
        return Ok(output);
    }
    let mut complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if complaint.is_empty() {
        String::from_utf8_lossy(&output.stdout).trim().clone_into(&mut complaint);
    }
    if let Some((cut, _)) = complaint.char_indices().rev().nth(MOST_COMPLAINT) {
        complaint = format!("... {}", &complaint[cut..]);
    }
    Err(ToolError::Failed { program: program.to_owned(), status: output.status, complaint })
}

/// The file name of a command's program, for messages.
#[must_use]
pub fn program_name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_names_its_package() {
        let tool = Tool { name: "no-such-program", package: "some-package" };
        let error = tool.find().unwrap_err();
        assert!(matches!(error, ToolError::Missing { tool: missing } if missing == tool));
        assert_eq!(error.class(), Class::Unavailable);
        assert_eq!(error.advice().unwrap(), "install it: apt-get install some-package");
    }

    #[test]
    fn administration_folders_are_searched_without_path() {
        let found = Tool { name: "sh", package: "dash" }.find_in(OsStr::new("relative:")).unwrap();
        assert!(found.ends_with("sh") && found.is_absolute());
    }

    #[test]
    fn a_failed_tool_is_quoted() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo no such luck >&2; exit 3"]);
        let error = run(&mut command).unwrap_err();
        let ToolError::Failed { program, status, complaint } = error else { panic!("{error}") };
        assert_eq!((program.as_str(), status.code(), complaint.as_str()), ("sh", Some(3), "no such luck"));
    }

    #[test]
    fn a_tool_is_heard_while_it_works() {
        let mut heard = Vec::new();
        let shell = |script: &str, heard: &mut Vec<String>| {
            run_heard(Command::new("/bin/sh").args(["-c", script]), |line| heard.push(line.to_owned()))
        };
        shell("echo one >&2; printf two >&2", &mut heard).unwrap();
        assert_eq!(heard, ["one\n", "two"]);
        let error = shell("echo no such luck >&2; exit 3", &mut heard).unwrap_err();
        assert!(matches!(error, ToolError::Failed { complaint, .. } if complaint == "no such luck"));
    }

    #[test]
    fn a_long_complaint_keeps_its_end() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "i=0; while [ $i -lt 3000 ]; do echo €$i >&2; i=$((i+1)); done; exit 1"]);
        let ToolError::Failed { complaint, .. } = run(&mut command).unwrap_err() else { panic!() };
        assert!(complaint.starts_with("... ") && complaint.ends_with("€2999"));
    }
}
