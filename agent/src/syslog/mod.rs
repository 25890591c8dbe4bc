//! The syslog pause: for a while `/dev/log` is ours, and nothing that is said there is lost, doubled or refused.
//!
//! A keeper, a process of its own, takes the socket's place in one rename, writes each datagram to a spool, and gives
//! all of them to whichever daemon listens when the pause ends. Three kinds of senders have to be served:
//!
//! 1. connected to the daemon before the pause: they go on talking to it. The keeper holds a duplicate of the daemon's
//!    socket, so that when the daemon dies neither its queue nor its senders' connections die with it;
//! 2. connected during the pause: their datagrams are spooled;
//! 3. connected to a daemon that came up during the pause and put its own socket at `/dev/log`: as the first kind, and
//!    the name is taken over again at once.
//!
//! At the end the daemon's socket gets its name back; a moment later the keeper's sockets are shut down, *before* the
//! last of their queues is read: a sender gets an error exactly where its datagram was not taken, and connects anew as
//! every libc does. A crash of the run does not end the pause badly, because the keeper notices; a crash of the keeper
//! leaves the spool, and the next pause replays it. Of a datagram it is marked whether it was replayed; a crash between
//! sending and marking can double that one. The spool is not forced to the medium: a power cut loses what a syslog
//! daemon would lose too.
//!
//! Not ours to change: while a daemon removes the name and binds it anew, there is no `/dev/log` for an instant. Where
//! `/dev/log` is a link to a socket in a folder of the daemon, as with journald and on the base `micro`, that cannot be:
//! the name stays ours, and the link is given back at the end.

mod adopted;
mod keeper;
mod seat;
mod spool;
mod watch;

use crate::file::FileError;
use crate::root::Root;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

pub use keeper::keep;

/// What the keeper says on its standard output, a line each.
mod word {
    /// The socket is ours.
    pub(super) const PAUSED: &str = "paused";
    /// Another pause is under way and serves this one too.
    pub(super) const SHARED: &str = "shared";
    /// All is replayed; the number follows.
    pub(super) const REPLAYED: &str = "replayed ";
    /// No daemon listens; the keeper stays until one does.
    pub(super) const WAITING: &str = "waiting";
    /// There was no daemon, and none came: the spool keeps what was said.
    pub(super) const KEPT: &str = "kept";
    /// What went wrong follows.
    pub(super) const ERROR: &str = "error ";
}

/// Where the pause has its things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The socket that programs log to.
    pub device: PathBuf,
    /// Where datagrams are kept meanwhile.
    pub spool: PathBuf,
    /// Held by the keeper.
    pub lock: PathBuf,
}

impl Places {
    /// Those of the system under `root`.
    #[must_use]
    pub fn of(root: &Root) -> Self {
        Self {
            device: root.at("/dev/log"),
            spool: root.at(handoff::paths::LOGS).join("syslog.paused"),
            lock: root.at(handoff::paths::RUN).join("syslog.lock"),
        }
    }
}

/// Why syslog could not be paused, or not be resumed.
#[derive(Debug, thiserror::Error)]
pub enum SyslogError {
    /// A file or socket could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The keeper could not be started or talked to.
    #[error("cannot {action} the syslog keeper: {source}")]
    Keeper {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The keeper said what is wrong.
    #[error("syslog keeper: {0}")]
    Said(String),
    /// The keeper ended without a word.
    #[error("the syslog keeper died; what it had kept is in {spool} and is replayed by the next pause", spool = .0.display())]
    Died(PathBuf),
}

/// How a pause ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// So many datagrams were given to the daemon.
    Replayed(u64),
    /// No daemon listens: the keeper goes on by itself until one does.
    Waiting,
    /// There was no daemon, and none came: the next pause replays what was said.
    Kept,
    /// The pause around this one goes on.
    Shared,
}

/// A pause that is under way; it ends when this is dropped.
#[derive(Debug)]
pub struct PausedSyslog {
    places: Places,
    keeper: Option<(Child, BufReader<ChildStdout>)>,
}

impl PausedSyslog {
    /// Pauses syslog, or joins a pause that is under way.
    pub fn begin(places: Places) -> Result<Self, SyslogError> {
        let (child, mut answers) = start(&places)?;
        match answer(&mut answers)?.as_deref() {
            Some(word::PAUSED) => Ok(Self { places, keeper: Some((child, answers)) }),
            Some(word::SHARED) => {
                reap(child)?;
                Ok(Self { places, keeper: None })
            }
            other => Err(failure(other, &places)),
        }
    }

    /// Ends the pause, and says how.
    pub fn end(mut self) -> Result<Resumed, SyslogError> {
        self.finish()
    }

    fn finish(&mut self) -> Result<Resumed, SyslogError> {
        let Some((mut child, mut answers)) = self.keeper.take() else { return Ok(Resumed::Shared) };
        drop(child.stdin.take());
        let answer = answer(&mut answers)?;
        if let Some(count) = answer.as_deref().and_then(|text| text.strip_prefix(word::REPLAYED)) {
            reap(child)?;
            return Ok(Resumed::Replayed(count.parse().unwrap_or(0)));
        }
        if answer.as_deref() == Some(word::WAITING) {
            return Ok(Resumed::Waiting);
        }
        reap(child)?;
        match answer.as_deref() {
            Some(word::KEPT) => Ok(Resumed::Kept),
            other => Err(failure(other, &self.places)),
        }
    }
}

impl Drop for PausedSyslog {
    fn drop(&mut self) {
        // Nobody is left to tell; the keeper does what it can, and the spool stays if that is not enough.
        let _ = self.finish();
    }
}

/// Replays what a keeper that died has left behind, and puts the daemon's socket back: a pause without anything in it.
pub fn recover(places: Places) -> Result<Resumed, SyslogError> {
    PausedSyslog::begin(places)?.end()
}

fn start(places: &Places) -> Result<(Child, BufReader<ChildStdout>), SyslogError> {
    let failed = |source| SyslogError::Keeper { action: "start", source };
    let mut child = Command::new(std::env::current_exe().map_err(failed)?)
        .arg("syslog-keeper")
        .arg("--device")
        .arg(&places.device)
        .arg("--spool")
        .arg(&places.spool)
        .arg("--lock")
        .arg(&places.lock)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // A keeper that waits for a daemon must not hold on to somebody's terminal or pipe.
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let answers = child.stdout.take().map(BufReader::new);
    answers.map(|answers| (child, answers)).ok_or_else(|| failed(std::io::ErrorKind::BrokenPipe.into()))
}

/// The next line of the keeper; none where it has ended.
fn answer(answers: &mut BufReader<ChildStdout>) -> Result<Option<String>, SyslogError> {
    let mut line = String::new();
    let read = answers.read_line(&mut line);
    read.map_err(|source| SyslogError::Keeper { action: "listen to", source })?;
    Ok(line.strip_suffix('\n').map(str::to_owned))
}

fn failure(answer: Option<&str>, places: &Places) -> SyslogError {
    match answer {
        Some(text) => SyslogError::Said(text.strip_prefix(word::ERROR).unwrap_or(text).to_owned()),
        None => SyslogError::Died(places.spool.clone()),
    }
}

fn reap(mut child: Child) -> Result<(), SyslogError> {
    child.wait().map_err(|source| SyslogError::Keeper { action: "wait for", source })?;
    Ok(())
}
