//! Where maintainer scripts run: a sandbox that knows nothing of this machine, whoever builds.
//!
//! Two steps, because what mounts must be able to see the store, and what scripts do must not. In the first, a shell makes
//! a small root (`stage.sh`): `/usr` read-only, an `/etc` of a few lines, the packages read-only, a folder of the store to
//! work in, and nothing else. The second has its own user, mount, pid, network, ipc and uts namespaces, ids that nothing on
//! this machine has, no way to more rights, the host name `localhost`, only a loopback, random devices that say the same
//! for the same packages, and addresses that are not random. A library (`preload`) gives every program a clock that starts
//! at the build time, and random numbers out of the same seed. The process ids, the times of new files, and the clock of
//! programs that make the system calls themselves are the machine's: what scripts make of them is looked for afterwards.

mod ids;
mod preload;

use crate::atomic;
use crate::error::{Class, Classified};
use crate::scratch::Scratch;
use crate::store::{Store, StoreError};
use crate::tools::{self, NEWGIDMAP, NEWUIDMAP, SETPRIV, ToolError, UNSHARE};
use handoff::hash::Sha256Digest;
use ids::Ids;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

pub(super) use preload::{INTO_ROOT, OUT_OF_ROOT};

const STAGE: &str = include_str!("stage.sh");
/// What the first step says on standard error when an ordinary user's ids can be mapped.
const READY: &str = "psyops-sandbox: ready";
/// Where the packages are, seen from inside.
pub(super) const ARCHIVE: &str = "/archive";
/// Where there is room, seen from inside.
const WORK: &str = "/build";
/// The random devices are files of that many blocks of 32 bytes.
const RANDOM_BLOCKS: u32 = 1 << 15;

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum SandboxError {
    /// This machine does not allow what it is made of.
    #[error("cannot make the sandbox in which maintainer scripts of packages run: {what}")]
    Host {
        /// What does not work, in the words of the program that tried.
        what: String,
    },
    /// An ordinary user without further ids.
    #[error(
        "cannot make the sandbox in which maintainer scripts of packages run: {file} has no 65536 ids for {user}"
    )]
    NoIds {
        /// The user's name, or number.
        user: String,
        /// subuid(5) or subgid(5).
        file: String,
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
            Self::NoIds { user, .. } => {
                format!("as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}")
            }
        })
    }
}

/// A sandbox that is ready to be entered.
#[derive(Debug)]
pub(super) struct Sandbox {
    scratch: Scratch,
    ids: Ids,
}

impl Sandbox {
    /// Lays out its folder in the store. Its random numbers come from `seed`, and its clock starts at `time`.
    pub(super) fn new(store: &Store, seed: &Sha256Digest, time: u64) -> Result<Self, super::BaseError> {
        let ids = Ids::of_this_user()?;
        let scratch = store.scratch()?;
        for folder in ["archive", "build", "tmp"] {
            let path = scratch.path().join(folder);
            fs::create_dir(&path).map_err(|source| StoreError { path, source })?;
        }
        let path = scratch.path().join("seed");
        write_random(&path, seed).map_err(|source| StoreError { path, source })?;
        let library = preload::library(seed, time)?;
        atomic::write_file_with_mode(&scratch.path().join("preload.so"), &library, 0o755)?;
        let sandbox = Self { scratch, ids };
        sandbox.attempt(time)?;
        Ok(sandbox)
    }

    /// The folder that is [`ARCHIVE`] inside. What is to be read there must be readable by everybody.
    pub(super) fn archive(&self) -> PathBuf {
        self.scratch.path().join("archive")
    }

    /// Whether this machine allows it, before anything is copied; and whether its clock is ours, because ld.so(8) goes on
    /// without a library that it cannot load.
    fn attempt(&self, time: u64) -> Result<(), SandboxError> {
        let mut said = String::new();
        let check =
            format!("[ $(date +%s) -eq {time} ] || {{ echo the clock is not fixed: $(date) >&2; exit 1; }}");
        let ended = self.run(&["sh", "-c", &check], &[], Stdio::null(), |line| said.push_str(line));
        ended.map_err(|error| SandboxError::Host {
            what: if said.trim().is_empty() { error.to_string() } else { said.trim().to_owned() },
        })
    }

    /// Runs a command of this machine inside, with its output to `output`, and hands on what it says meanwhile.
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
                // Only as root of the namespace, which it is when the ids are mapped, does a new program get its rights.
                let wait = format!("echo {READY} >&2; read go; exec sh -euc \"$@\"");
                outer.args(["--user", "--", "sh", "-euc", &wait, "sh", STAGE, "stage"])
            }
        };
        outer.arg(self.scratch.path()).arg(root.to_string()).arg(map).args(command);
        outer.current_dir("/").stdin(Stdio::piped()).stdout(output).stderr(Stdio::piped());
        let running = tools::start(&mut outer)?;
        // Held until the end: what runs inside ends when this does.
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
            // It is not the programs of the sandbox that failed.
            ToolError::Failed { status, complaint, .. } => {
                let program = command.first().map_or_else(String::new, |program| (*program).to_owned());
                ToolError::Failed { program, status, complaint }
            }
            error => error,
        });
        mapped.and(ended)
    }

    /// Gives the first step of an ordinary user the user's own id, as root, and the user's further ones.
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

/// SHA-256 of the seed and a counter: nothing secret, only not the same for other packages.
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
