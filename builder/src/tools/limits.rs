//! The resource limits of a host program that reads untrusted bytes, and the programs that enforce them.
//!
//! Such a program is started as `unshare -- setpriv -- prlimit -- PROGRAM`, the first three from util-linux, each of
//! which replaces itself by the next: without a network, without root's rights or a way to get more, ended together
//! with the builder, and with the limits of setrlimit(2). The builder itself has no `unsafe` code, which a call between
//! fork and exec would need. If the host does not allow network namespaces, the rest is still enforced, and the end of
//! the command prints the reason ([`missing_isolation`]).

use super::{PRLIMIT, Rights, SETPRIV, Tool, ToolError, UNSHARE};
use rustix::process::{Resource, getrlimit};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// The limits for one run of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The bytes of its address space, which is more than it uses: threads and allocators reserve some.
    pub memory: u64,
    /// The seconds of processor time. It may take [`CLOCK_PER_CPU`] times that in real time.
    pub cpu: u64,
    /// The bytes of each file that it writes.
    pub file: u64,
}

/// How much longer a program may run than its processor time, on a busy machine or with its input from a pipe.
const CLOCK_PER_CPU: u32 = 4;
/// The seconds between the signal that a program can handle and the one that kills it.
const CPU_GRACE: u64 = 5;
const MIB: u64 = 1 << 20;

/// The limits of a program that reads one file system or index.
pub(super) const LOOK: Limits = Limits { memory: 1024 * MIB, cpu: 60, file: 1024 * MIB };
/// The limits of a program that reads or writes a whole system.
pub(super) const WORK: Limits = Limits { memory: 8192 * MIB, cpu: 2 * 3600, file: 256 * 1024 * MIB };

/// The limit that a program exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// Bytes of memory.
    Memory(u64),
    /// Seconds of processor time.
    Cpu(u64),
    /// Real time.
    Clock(Duration),
    /// Bytes of a file that it wrote.
    File(u64),
    /// Bytes on its standard output, which the builder keeps in memory.
    Output(u64),
}

impl std::fmt::Display for Exceeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory(bytes) => write!(f, "{} MiB of memory", bytes / MIB),
            Self::Cpu(seconds) => write!(f, "{seconds} s of processor time"),
            Self::Clock(time) => write!(f, "{} s", time.as_secs()),
            Self::File(bytes) => write!(f, "{} MiB in one file", bytes / MIB),
            Self::Output(bytes) => write!(f, "{} MiB of output", bytes / MIB),
        }
    }
}

impl Limits {
    /// How long the program may run in real time.
    pub(super) fn clock(&self) -> Duration {
        Duration::from_secs(self.cpu).saturating_mul(CLOCK_PER_CPU)
    }

    /// A command for `program` that runs with these limits.
    pub(super) fn command(&self, rights: Rights, program: PathBuf) -> Result<Command, ToolError> {
        let mut words: Vec<std::ffi::OsString> = Vec::new();
        let mut put = |tool: Tool, options: &[String]| -> Result<(), ToolError> {
            words.push(tool.find()?.into());
            words.extend(options.iter().map(Into::into));
            words.push("--".into());
            Ok(())
        };
        if let Ok(options) = isolation()? {
            put(UNSHARE, &options.map(str::to_owned))?;
        }
        let mut options = vec!["--no-new-privs".to_owned(), "--pdeathsig=KILL".to_owned()];
        if drops_rights()? {
            options.extend(rights.options());
        }
        put(SETPRIV, &options)?;
        put(PRLIMIT, &self.options())?;
        let Some((first, options)) = words.split_first() else { return Ok(Command::new(program)) };
        let mut command = Command::new(first);
        command.args(options).arg(program);
        Ok(command)
    }

    fn options(&self) -> [String; 4] {
        // An existing lower hard limit cannot be raised, and need not be.
        let at_most =
            |resource, wanted: u64| getrlimit(resource).maximum.map_or(wanted, |maximum| maximum.min(wanted));
        let (memory, file) = (at_most(Resource::As, self.memory), at_most(Resource::Fsize, self.file));
        let (cpu, end) = (at_most(Resource::Cpu, self.cpu), at_most(Resource::Cpu, self.cpu + CPU_GRACE));
        [
            format!("--as={memory}"),
            format!("--cpu={cpu}:{end}"),
            format!("--fsize={file}"),
            "--core=0".to_owned(),
        ]
    }

    /// The limits of a command that was made by [`Self::command`].
    pub(super) fn of(command: &Command) -> Option<Self> {
        let mut words = std::iter::once(command.get_program()).chain(command.get_args());
        let is_prlimit = |word: &OsStr| word.as_encoded_bytes().ends_with(b"/prlimit");
        words.find(|word| is_prlimit(word))?;
        let options: Vec<&str> = words.map_while(OsStr::to_str).take_while(|word| *word != "--").collect();
        let value = |name: &str| {
            let value = options.iter().find_map(|option| option.strip_prefix(name))?;
            value.split(':').next()?.parse().ok()
        };
        Some(Self { memory: value("--as=")?, cpu: value("--cpu=")?, file: value("--fsize=")? })
    }
}

/// The program that a command finally runs: for a limited one, not the programs that set the limits.
pub(super) fn real_program(command: &Command) -> &OsStr {
    let mut words = std::iter::once(command.get_program()).chain(command.get_args());
    let mut program = words.next().unwrap_or_default();
    if Limits::of(command).is_some() {
        let wrapped = |program: &OsStr| {
            [UNSHARE, SETPRIV, PRLIMIT].iter().any(|tool| {
                program
                    .as_encoded_bytes()
                    .strip_suffix(tool.name.as_bytes())
                    .is_some_and(|rest| rest.ends_with(b"/"))
            })
        };
        while wrapped(program) {
            let Some(next) = words.by_ref().skip_while(|word| *word != "--").nth(1) else { break };
            program = next;
        }
    }
    program
}

type Isolation = Result<[&'static str; 3], String>;
static ISOLATION: OnceLock<Isolation> = OnceLock::new();

/// The options of `unshare` that remove the network here, or why none works. Tested once.
fn isolation() -> Result<&'static Isolation, ToolError> {
    if let Some(known) = ISOLATION.get() {
        return Ok(known);
    }
    let options = if nix::unistd::geteuid().is_root() {
        ["--net", "--ipc", "--uts"]
    } else {
        ["--user", "--map-current-user", "--net"]
    };
    let mut attempt = Command::new(UNSHARE.find()?);
    attempt.args(options).args(["--", "true"]).stdin(Stdio::null());
    let found = attempted(&mut attempt, UNSHARE)?.map(|()| options);
    Ok(ISOLATION.get_or_init(|| found))
}

static DROPPING: OnceLock<Result<(), String>> = OnceLock::new();

/// Whether there are rights to drop, and this process may drop them. Tested once.
fn drops_rights() -> Result<bool, ToolError> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(false);
    }
    if let Some(known) = DROPPING.get() {
        return Ok(known.is_ok());
    }
    let mut attempt = Command::new(SETPRIV.find()?);
    attempt.args(Rights::NONE.options()).args(["--", "true"]).stdin(Stdio::null());
    let found = attempted(&mut attempt, SETPRIV)?;
    Ok(DROPPING.get_or_init(|| found).is_ok())
}

/// Runs `attempt`; the inner error is what it printed when it failed.
fn attempted(attempt: &mut Command, tool: Tool) -> Result<Result<(), String>, ToolError> {
    let start = |source| ToolError::Start { program: tool.name.into(), source };
    let output = attempt.output().map_err(start)?;
    if output.status.success() {
        return Ok(Ok(()));
    }
    Ok(Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// Why programs that this command ran kept rights of root, if they did.
#[must_use]
pub fn missing_right_to_drop_rights() -> Option<&'static str> {
    DROPPING.get()?.as_ref().err().map(String::as_str)
}

/// Why programs that this command ran could reach the network, if they could.
#[must_use]
pub fn missing_isolation() -> Option<&'static str> {
    ISOLATION.get()?.as_ref().err().map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_from_the_command_that_has_them() {
        let command = LOOK.command(Rights::NONE, PathBuf::from("/bin/prlimit")).unwrap();
        assert_eq!(Limits::of(&command), Some(LOOK));
        assert_eq!(real_program(&command), "/bin/prlimit");
        assert_eq!(Limits::of(&Command::new("/bin/sh")), None);
        assert_eq!(real_program(&Command::new("/bin/sh")), "/bin/sh");
    }
}
