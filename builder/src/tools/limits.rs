//! What a program of the host that reads a stranger's bytes may take, and the programs that hold it to that.
//!
//! Such a program is started as `unshare -- setpriv -- prlimit -- PROGRAM`, all three of util-linux, each of which replaces
//! itself by the next: without a network, without root's rights or a way to more, ended together with the builder, and with
//! limits of setrlimit(2). The builder itself has no `unsafe`, which a call between fork and exec would be. Where the host lets nobody
//! make a network namespace, the rest still holds, and [`missing_isolation`] has the reason for the command's end.

use super::{PRLIMIT, Rights, SETPRIV, Tool, ToolError, UNSHARE};
use rustix::process::{Resource, getrlimit};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// What one run of a program may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of its address space, which is more than it uses: threads and allocators reserve some.
    pub memory: u64,
    /// Seconds of processor time. On the clock it may take [`CLOCK_PER_CPU`] times that.
    pub cpu: u64,
    /// Bytes of each file that it writes.
    pub file: u64,
}

/// On a busy machine, with its input out of a pipe, a program takes longer than its processor time.
const CLOCK_PER_CPU: u32 = 4;
/// Between the signal that a program may answer and the one that ends it, in seconds.
const CPU_GRACE: u64 = 5;
const MIB: u64 = 1 << 20;

/// Of a program that looks at some file system or index.
pub(super) const LOOK: Limits = Limits { memory: 1024 * MIB, cpu: 60, file: 1024 * MIB };
/// Of a program that reads or writes all of a system.
pub(super) const WORK: Limits = Limits { memory: 8192 * MIB, cpu: 2 * 3600, file: 256 * 1024 * MIB };

/// Which limit a program met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// Bytes of memory.
    Memory(u64),
    /// Seconds of processor time.
    Cpu(u64),
    /// On the clock.
    Clock(Duration),
    /// Bytes of a file.
    File(u64),
    /// Bytes on its standard output, where the builder keeps them in memory.
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
    /// How long it may take on the clock.
    pub(super) fn clock(&self) -> Duration {
        Duration::from_secs(self.cpu).saturating_mul(CLOCK_PER_CPU)
    }

    /// A command for `program` that is held to these limits.
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
        // A hard limit that is lower already cannot be raised, and need not be.
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

    /// The limits that a command made by [`Self::command`] has.
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

/// The program that a command runs in the end: of a limited one, not the programs that limit it.
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

/// The options of `unshare` that take the network away here, or why none does. Tried once.
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

/// Whether there are rights to be dropped, and this process may. Tried once.
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

/// Succeeds where the program does; the inner error is what it said.
fn attempted(attempt: &mut Command, tool: Tool) -> Result<Result<(), String>, ToolError> {
    let start = |source| ToolError::Start { program: tool.name.into(), source };
    let output = attempt.output().map_err(start)?;
    if output.status.success() {
        return Ok(Ok(()));
    }
    Ok(Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// Why the programs that this command has run kept rights of root, where they did.
#[must_use]
pub fn missing_right_to_drop_rights() -> Option<&'static str> {
    DROPPING.get()?.as_ref().err().map(String::as_str)
}

/// Why the programs that this command has run could reach the network, where they could.
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
