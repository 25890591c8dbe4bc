//! The medium of a stick with a fault: nbdkit with a plugin of this project over the stick's file.

use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PLUGIN: &str = "src/flash_vm/faulty_stick.py";
const START: Duration = Duration::from_secs(20);

/// The fault of the stick's controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It has less space than it reports: offsets beyond the end wrap around to the beginning.
    Wraps,
    /// It has less space than it reports: writes beyond the end are lost.
    Loses,
    /// A bit is changed in what is written to the sector at this offset.
    Rots {
        /// The offset of the sector, in bytes.
        offset: u64,
        /// How many times this happens.
        times: u32,
    },
    /// It becomes slow, like worn flash.
    Tires {
        /// The number of bytes after which it becomes slow.
        after: u64,
        /// The rate after that, in bytes a second.
        rate: u64,
    },
    /// Writing to the sector at this offset fails.
    Fails {
        /// The offset of the sector, in bytes.
        offset: u64,
        /// How many times this happens.
        times: u32,
    },
}

impl Fault {
    fn setting(self) -> String {
        match self {
            Self::Wraps => "beyond=wrap".into(),
            Self::Loses => "beyond=lost".into(),
            Self::Rots { offset, times } => format!("rots={offset}:{times}"),
            Self::Tires { after, rate } => format!("tires={after}:{rate}"),
            Self::Fails { offset, times } => format!("fails={offset}:{times}"),
        }
    }
}

/// A running server, which is ended when this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    socket: PathBuf,
}

impl Server {
    pub(super) fn start(medium: &Path, socket: &Path, size: u64, fault: Fault) -> Result<Self> {
        let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join(PLUGIN);
        let mut nbdkit = Command::new("nbdkit");
        nbdkit.args(["--foreground", "--exit-with-parent", "--unix"]).arg(socket);
        nbdkit.arg("python").arg(plugin).arg(format!("file={}", medium.display()));
        nbdkit.arg(format!("size={size}")).arg(fault.setting());
        let child = nbdkit.spawn().context("starting nbdkit: run scripts/setup test")?;
        let mut server = Self { child, socket: socket.to_owned() };
        let end = Instant::now() + START;
        while !server.socket.exists() {
            let ended = server.child.try_wait()?;
            ensure!(ended.is_none() && Instant::now() < end, "nbdkit does not listen: {ended:?}");
            sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
