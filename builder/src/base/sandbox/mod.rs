//! The sandbox in which maintainer scripts run. It shows them nothing of this machine, whichever user builds.
//!
//! It is made in two steps, because the one that mounts must see the store, and scripts must not. In the first step, a
//! shell makes a small root (`stage.sh`): `/usr` read-only, an `/etc` of a few lines, the packages read-only, a work
//! folder in the store, and nothing else. The second step has its own user, mount, pid, network, ipc and uts
//! namespaces, ids that nothing else on this machine has, no way to gain rights, the host name `localhost`, only a
//! loopback interface, random devices with the same content for the same packages, and addresses that are not random. A
//! library (`preload`) gives every program a clock that starts at the build time, and random numbers from the same
//! seed. The process ids, the times of new files, and the clock of programs that make the system calls themselves are
//! the machine's: their traces are searched for afterwards.

mod ids;
mod preload;

use crate::atomic;
use crate::error::{Class, Classified};
use crate::scratch::Scratch;
use crate::store::{Store, StoreError};
use crate::tools::{self, NEWGIDMAP, NEWUIDMAP, SETPRIV, ToolError, UNSHARE};
use handoff::architecture::Architecture;
use handoff::hash::Sha256Digest;
use ids::Ids;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

pub(super) use preload::{INTO_ROOT, OUT_OF_ROOT};

const STAGE: &str = include_str!("stage.sh");
/// What the first step prints on standard error when an ordinary user's ids can be mapped.
const READY: &str = "psyops-sandbox: ready";
/// The folder of the packages, seen from inside.
pub(super) const ARCHIVE: &str = "/archive";
/// The folder in which scripts may write, seen from inside.
const WORK: &str = "/build";
/// The random devices are files of this many blocks of 32 bytes.
const RANDOM_BLOCKS: u32 = 1 << 15;

/// Why the sandbox could not be made.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum SandboxError {
    /// This machine does not allow the namespaces or mounts of the sandbox.
    #[error("cannot create the sandbox for the maintainer scripts of packages: {what}")]
    Host {
        /// What failed, in the words of the program that tried.
        what: String,
    },
    /// An ordinary user has no additional ids for the sandbox.
    #[error(
        "cannot create the sandbox for the maintainer scripts of packages: {file} does not have 65536 ids for {user}"
    )]
    NoIds {
        /// The user's name, or number.
        user: String,
        /// The file without such ids: subuid(5) or subgid(5).
        file: String,
    },
    /// The scripts would need another processor.
    #[error("the maintainer scripts of packages are programs for {wanted}, and this builder runs on {own}")]
    Architecture {
        /// The architecture of the nodes.
        wanted: &'static str,
        /// Rust's name for the processor of this machine.
        own: &'static str,
    },
}

impl Classified for SandboxError {
    fn own_class(&self) -> Option<Class> {
        Some(Class::Unavailable)
    }

    fn own_advice(&self) -> Option<String> {
        Some(match self {
            Self::Host { .. } => "the debian base needs user namespaces: allow them (sysctl user.max_user_namespaces, \
                 kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns), in a container start it \
                 with --privileged, or build on another machine; the micro base needs none"
                .into(),
            Self::Architecture { .. } => "build on a machine with that processor".into(),
            Self::NoIds { user, .. } => {
                format!("as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}")
            }
        })
    }
}

/// A sandbox in which commands can be run.
#[derive(Debug)]
pub(super) struct Sandbox {
    scratch: Scratch,
    ids: Ids,
}

impl Sandbox {
    /// Makes its folder in the store, for programs of this architecture. Its random numbers come from `seed`, and its clock starts at `time` (seconds
    /// since 1970).
    pub(super) fn new(
        architecture: &'static Architecture,
        store: &Store,
        seed: &Sha256Digest,
        time: u64,
    ) -> Result<Self, super::BaseError> {
        let ids = Ids::of_this_user()?;
        let scratch = store.scratch()?;
        for folder in ["archive", "build", "tmp"] {
            let path = scratch.path().join(folder);
            fs::create_dir(&path).map_err(|source| StoreError { path, source })?;
        }
        let path = scratch.path().join("seed");
        write_random(&path, seed).map_err(|source| StoreError { path, source })?;
        let library = preload::library(architecture, seed, time)?;
        atomic::write_file_with_mode(&scratch.path().join("preload.so"), &library, 0o755)?;
        let sandbox = Self { scratch, ids };
        sandbox.attempt(time)?;
        Ok(sandbox)
    }

    /// The folder that is [`ARCHIVE`] inside. All users must be able to read the files in it.
    pub(super) fn archive(&self) -> PathBuf {
        self.scratch.path().join("archive")
    }

    /// Checks that this machine allows the sandbox, before anything is copied; and that programs see the sandbox's
    /// clock, because ld.so(8) continues without a library that it cannot load.
    fn attempt(&self, time: u64) -> Result<(), SandboxError> {
        let mut said = String::new();
        let check =
            format!("[ $(date +%s) -eq {time} ] || {{ echo the clock is not fixed: $(date) >&2; exit 1; }}");
        let ended = self.run(&["sh", "-c", &check], &[], Stdio::null(), |line| said.push_str(line));
        ended.map_err(|error| SandboxError::Host {
            what: if said.trim().is_empty() { error.to_string() } else { said.trim().to_owned() },
        })
    }

    /// Runs a command of this machine inside, with its output to `output`, and passes each line on standard error to
    /// `hear`.
    pub(super) fn run(
        &self,
        command: &[&str],
        environment: &[(&str, &str)],
        output: Stdio,
        mut hear: impl FnMut(&str),
    ) -> Result<(), ToolError> {
        let mut outer = SETPRIV.command()?;
        outer.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
        outer.env("HOME", "/root").env("TMPDIR", WORK).envs(environment.iter().copied());
        outer.args(["--pdeathsig=KILL", "--"]).arg(UNSHARE.find()?);
        outer.args(["--mount", "--pid", "--fork", "--kill-child", "--ipc", "--uts"]);
        let (map, root) = match &self.ids {
            Ids::OfRoot { map, root } => (map.as_str(), *root),
            Ids::OfUser { .. } => ("0 1 65536\\n", 1),
        };
        match &self.ids {
            Ids::OfRoot { .. } => outer.args(["--", "sh", "-euc", STAGE, "stage"]),
            Ids::OfUser { .. } => {
                // A new program gets its rights only as root of the namespace, which the shell is once the ids are
                // mapped.
                let wait = format!("echo {READY} >&2; read go; exec sh -euc \"$@\"");
                outer.args(["--user", "--", "sh", "-euc", &wait, "sh", STAGE, "stage"])
            }
        };
        outer.arg(self.scratch.path()).arg(root.to_string()).arg(map).args(command);
        outer.current_dir("/").stdin(Stdio::piped()).stdout(output).stderr(Stdio::piped());
        let running = tools::start(&mut outer)?;
        // Kept open until the end: when this process exits, the programs inside exit.
        let mut input = running.stdin();
        let process = running.process();
        let mut mapped = Ok(());
        let stop = |line: &str| {
            if line.trim_end() == READY && matches!(self.ids, Ids::OfUser { .. }) {
                mapped = self.map_ids(process);
                let go =
                    mapped.is_ok() && input.as_mut().is_some_and(|input| input.write_all(b"go\n").is_ok());
                if !go {
                    input = None;
                }
            } else {
                hear(line);
            }
        };
        let ended = running.heard(stop).map_err(|error| match error {
            // The sandbox failed, and not a program in it.
            ToolError::Failed { status, complaint, .. } => {
                let program = command.first().map_or_else(String::new, |program| (*program).to_owned());
                ToolError::Failed { program, status, complaint }
            }
            error => error,
        });
        mapped.and(ended)
    }

    /// Maps an ordinary user's own id to root of the sandbox, and the additional ids of the user to the others.
    fn map_ids(&self, process: u32) -> Result<(), ToolError> {
        let Ids::OfUser { uid, gid, first_uid, first_gid } = self.ids else { return Ok(()) };
        for (tool, own, first) in [(NEWUIDMAP, uid, first_uid), (NEWGIDMAP, gid, first_gid)] {
            let mut map = tool.command()?;
            map.args([process, 0, own, 1, 1, first, 65_536].map(|number| number.to_string()));
            tools::run(&mut map)?;
        }
        Ok(())
    }
}

/// SHA-256 of the seed and a counter: this need not be secret, it only has to differ between sets of packages.
fn write_random(path: &Path, seed: &Sha256Digest) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(File::create(path)?);
    for block in 0..RANDOM_BLOCKS {
        let digest = Sha256Digest::of(format!("{seed} {block}").as_bytes());
        file.write_all(digest.as_bytes())?;
    }
    file.flush()
}

#[cfg(test)]
mod tests;
