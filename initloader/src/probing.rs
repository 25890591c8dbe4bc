//! Drivers of controllers that are being loaded: each in a child process, because the kernel returns only when a driver
//! has looked at its devices (an AHCI controller waits for each of its ports), and PID 1 has other work meanwhile.
//!
//! Children and not threads, so that PID 1 stays a program with one thread, which may fork. They hold no key: they are
//! started before one is read.

use crate::clock::Uptime;
use crate::log::Log;
use crate::process;
use handoff::modules::Module;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

/// The drivers that are being loaded.
#[derive(Default)]
pub(crate) struct Probing {
    running: Vec<Probe>,
}

/// One driver that is being loaded.
struct Probe {
    module: String,
    child: Pid,
    /// Receives the time that loading took, in milliseconds; at end of file the child is gone.
    done: File,
}

impl Probing {
    /// Loads a module in a child. On an error there is no child, and nothing was loaded.
    pub(crate) fn start(
        &mut self,
        module: &Module,
        load: impl FnOnce() -> Result<(), Errno>,
    ) -> nix::Result<()> {
        let (read, write) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let child = process::fork(|| {
            let start = Uptime::now();
            let result = load();
            let took = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
            let _ = File::from(write).write_all(&took.to_le_bytes());
            // Error numbers fit into an exit code, and none is 0.
            result.map_or_else(|errno| errno as i32, |()| 0)
        })?;
        self.running.push(Probe { module: module.name.clone(), child, done: File::from(read) });
        Ok(())
    }

    /// The modules that are still being loaded.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.running.iter().map(|probe| probe.module.as_str()).collect()
    }

    /// Waits for one module, if it is being loaded.
    pub(crate) fn finish(&mut self, module: &str, log: &mut Log) {
        if let Some(position) = self.running.iter().position(|probe| probe.module == module) {
            self.running.remove(position).end(log);
        }
    }

    /// Waits for all of them until `deadline`.
    pub(crate) fn finish_all(&mut self, deadline: Uptime, log: &mut Log) {
        for probe in std::mem::take(&mut self.running) {
            if probe.is_done(deadline) { probe.end(log) } else { self.running.push(probe) }
        }
    }
}

impl Probe {
    /// Waits until the child has written its time or has ended; `false` if the deadline came first.
    fn is_done(&self, deadline: Uptime) -> bool {
        loop {
            let timeout = PollTimeout::try_from(deadline.remaining()).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.done.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) => return false,
                Err(Errno::EINTR) => {}
                _ => return true,
            }
        }
    }

    fn end(mut self, log: &mut Log) {
        let mut took = [0; 8];
        // A child that wrote no time was killed; its status shows that.
        let _ = self.done.read_exact(&mut took);
        let result = match waitpid(self.child, None) {
            Ok(WaitStatus::Exited(_, 0)) => Ok(()),
            Ok(WaitStatus::Exited(_, code)) => Err(Errno::from_raw(code)),
            Ok(_) => Err(Errno::EINTR),
            Err(errno) => Err(errno),
        };
        log.module(&self.module, result, Duration::from_millis(u64::from_le_bytes(took)));
    }
}
