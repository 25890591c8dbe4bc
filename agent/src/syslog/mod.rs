//! The syslog pause: for a while the proxy has `/dev/log`, and no message is lost, doubled or refused.
//!
//! A proxy, a separate process, takes the socket's place in one rename, writes each datagram with its sender to a
//! spool, and sends all of them to the daemon that listens when the pause ends. There are three kinds of senders:
//!
//! 1. connected to the daemon before the pause: they go on talking to it. The proxy holds a duplicate of the daemon's
//!    socket, so that when the daemon dies neither its queue nor its senders' connections die with it;
//! 2. connected during the pause: their datagrams are spooled;
//! 3. connected to a daemon that came up during the pause and put its own socket at `/dev/log`: as the first kind, and
//!    the name is taken over again at once.
//!
//! At the end the daemon's socket gets its name back; a moment later the proxy's sockets are closed, *before* the last
//! of their queues is read: a sender gets an error exactly if its datagram was not taken, and connects again as every
//! libc does. If the run crashes, the pause still ends properly, because the proxy notices. When the proxy is killed,
//! the run starts another one, which finds the spool and the queue of the socket as they were. A datagram is marked
//! after its replay; a crash between sending and marking can double that one. The spool is not flushed to the medium: a
//! power cut loses what a syslog daemon would lose too.
//!
//! Any user can send any amount: each has a share of the spool (`quota`), datagrams beyond it are dropped, counted and
//! reported, and the end of a pause has deadlines (`ending`). `docs/decisions/syslog-pause.md` has the numbers.
//!
//! This cannot be avoided: while a daemon removes the name and binds it again, there is no `/dev/log` for an instant.
//! It does not happen if `/dev/log` is a link to a socket in a folder of the daemon, as with journald and on the base
//! `micro`: the proxy keeps the name, and the link is given back at the end.

mod bound_file;
mod daemon;
mod datagram;
mod ending;
mod inbox;
mod inherited;
mod log_socket;
mod paused;
mod proxy;
mod quota;
mod record;
mod serving;
mod spool;
mod state;
mod text;
mod watch;

use crate::data;
use crate::file::FileError;
use crate::root::Root;
use std::path::{Path, PathBuf};

pub use inbox::discard;
pub use paused::{PausedSyslog, recover};
pub use quota::{Dropped, Drops};
pub use serving::keep;
pub use state::{PauseState, Stage};

/// The lines that the proxy writes to its standard output.
mod word {
    /// The proxy has the name now.
    pub(super) const PAUSED: &str = "paused";
    /// Another pause is running and covers this one too.
    pub(super) const SHARED: &str = "shared";
    /// All is replayed; the numbers of replayed and dropped datagrams follow.
    pub(super) const REPLAYED: &str = "replayed ";
    /// No daemon listens; the proxy stays until one does.
    pub(super) const WAITING: &str = "waiting";
    /// The daemon has its name again; the proxy stays until it has received the rest.
    pub(super) const BUSY: &str = "busy";
    /// There was no daemon, and none came: the spool keeps the messages.
    pub(super) const KEPT: &str = "kept";
    /// An error; its message follows.
    pub(super) const ERROR: &str = "error ";
}

/// The files of the pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The socket that programs log to.
    pub device: PathBuf,
    /// The file in which datagrams are kept meanwhile.
    pub spool: PathBuf,
    /// The most bytes that the spool may take.
    pub total: u64,
    /// The lock file, which the proxy has locked.
    pub lock: PathBuf,
    /// Where the proxy writes the state of the pause ([`PauseState`]).
    pub state: PathBuf,
}

impl Places {
    /// The files of the system under `root`: the spool is on the `data` partition if that is mounted, and beside the
    /// other logs if it is not, or if a spool was left there.
    #[must_use]
    pub fn of(root: &Root) -> Self {
        let beside_logs = root.at(handoff::paths::LOGS).join(SPOOL);
        let on_data = root.at(handoff::paths::DATA);
        let (spool, total) =
            if data::is_mounted_for_root(&on_data) && std::fs::symlink_metadata(&beside_logs).is_err() {
                let spool = on_data.join(handoff::paths::ON_DATA).join(SPOOL);
                (spool, spool::ON_DATA_TOTAL.min(a_quarter_of(&on_data)))
            } else {
                (beside_logs, spool::IN_MEMORY_TOTAL)
            };
        let lock = root.at(handoff::paths::RUN).join("syslog.lock");
        Self { device: root.at("/dev/log"), spool, total, lock, state: Self::state(root) }
    }

    /// The path of the state file of the last pause.
    #[must_use]
    pub fn state(root: &Root) -> PathBuf {
        root.at(handoff::paths::RUN).join("syslog-pause.json")
    }
}

/// The name of the spool file.
const SPOOL: &str = "syslog.spool";

/// A quarter of the file system at `folder`, in bytes.
fn a_quarter_of(folder: &Path) -> u64 {
    rustix::fs::statvfs(folder).map_or(0, |facts| facts.f_blocks.saturating_mul(facts.f_frsize) / 4)
}

/// Why syslog could not be paused or resumed.
#[derive(Debug, thiserror::Error)]
pub enum SyslogError {
    /// A file or socket could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The proxy could not be started or reached, or could not go on.
    #[error("cannot {action} the syslog proxy: {source}")]
    Proxy {
        /// The operation, as a verb.
        action: &'static str,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// An error that the proxy reported.
    #[error("syslog proxy: {0}")]
    Said(String),
    /// The proxy died, and died again after it was restarted; holds the path of the spool.
    #[error("the syslog proxy died; the messages that it kept are in {spool} and are replayed by the next `psyops-agent pause-syslog -- true`", spool = .0.display())]
    Died(PathBuf),
}

/// How a pause ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// All kept datagrams were sent to the daemon.
    Replayed {
        /// How many datagrams were replayed.
        replayed: u64,
        /// How many datagrams were dropped, because their senders' shares of the spool were full.
        dropped: u64,
    },
    /// No daemon listens: the proxy goes on alone until one does.
    Waiting,
    /// The daemon has its name again but is slow to receive the kept datagrams: the proxy goes on alone.
    Busy,
    /// There was no daemon, and none came: the next pause replays the kept datagrams.
    Kept,
    /// Another pause around this one goes on.
    Shared,
}
