//! A pause from the side of the run that requested it: starting the proxy, watching it, ending it.
//!
//! The proxy's socket is made here and passed to it, and stays open here as well: when the proxy is killed, the
//! datagrams in its queue are still there for the next one, which is started at once.

use super::{Places, Resumed, SyslogError, word};
use rustix::event::{PollFd, PollFlags, poll};
use std::io::{self, BufRead as _, BufReader, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;
use tracing::info;

/// The most restarts of a proxy that dies in one pause.
const RESTARTS: u32 = 5;

/// A pause that is running; it ends when this is dropped.
#[derive(Debug)]
pub struct PausedSyslog {
    supervisor: Option<(PipeWriter, JoinHandle<Result<Resumed, SyslogError>>)>,
}

impl PausedSyslog {
    /// Pauses syslog, or joins a pause that is running.
    pub fn begin(places: Places) -> Result<Self, SyslogError> {
        let failed = |source| SyslogError::Proxy { action: "prepare", source };
        let socket = UnixDatagram::unbound().map_err(failed)?;
        let Some(proxy) = Process::start(&places, &socket)? else { return Ok(Self { supervisor: None }) };
        let (end, writer) = io::pipe().map_err(failed)?;
        let supervisor = Supervisor { places, socket, proxy: Some(proxy), restarts: 0 };
        let thread = std::thread::Builder::new().name("syslog pause".into());
        let thread = thread.spawn(move || supervisor.run(&end)).map_err(failed)?;
        info!("syslog is paused");
        Ok(Self { supervisor: Some((writer, thread)) })
    }

    /// Ends the pause, and returns how it ended.
    pub fn end(mut self) -> Result<Resumed, SyslogError> {
        let resumed = self.finish()?;
        info!(?resumed, "syslog is not paused any more");
        Ok(resumed)
    }

    fn finish(&mut self) -> Result<Resumed, SyslogError> {
        let Some((end, thread)) = self.supervisor.take() else { return Ok(Resumed::Shared) };
        drop(end);
        let failed = || SyslogError::Proxy { action: "watch", source: io::ErrorKind::BrokenPipe.into() };
        thread.join().unwrap_or_else(|_| Err(failed()))
    }
}

impl Drop for PausedSyslog {
    fn drop(&mut self) {
        // No caller is left for an error; the proxy does what it can, and otherwise the spool stays.
        let _ = self.finish();
    }
}

/// Watches the proxy until the pause is over.
struct Supervisor {
    places: Places,
    /// The socket that senders connect to.
    socket: UnixDatagram,
    proxy: Option<Process>,
    restarts: u32,
}

impl Supervisor {
    fn run(mut self, end: &PipeReader) -> Result<Resumed, SyslogError> {
        loop {
            let Some(proxy) = &self.proxy else { return Ok(Resumed::Shared) };
            let mut ready =
                [PollFd::new(end, PollFlags::IN), PollFd::new(proxy.answers.get_ref(), PollFlags::IN)];
            match poll(&mut ready, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(SyslogError::Proxy { action: "watch", source: error.into() }),
            }
            let [end, _] = ready;
            if end.revents().is_empty() {
                self.restart_if_it_died()?;
            } else {
                return self.end();
            }
        }
    }

    fn restart_if_it_died(&mut self) -> Result<(), SyslogError> {
        let Some(proxy) = &mut self.proxy else { return Ok(()) };
        let mut ready = [PollFd::new(proxy.answers.get_ref(), PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut ready, Some(&now)).unwrap_or(0) == 0 {
            return Ok(());
        }
        // Before the end it only reports errors.
        let said = proxy.answer()?;
        self.restart(said.as_deref())
    }

    /// Starts another proxy in place of one that ended with this message.
    fn restart(&mut self, said: Option<&str>) -> Result<(), SyslogError> {
        if let Some(proxy) = self.proxy.take() {
            proxy.reap()?;
        }
        if self.restarts >= RESTARTS {
            // Without a reader, the waiting datagrams would make their senders wait.
            let _ = self.socket.shutdown(std::net::Shutdown::Read);
            return Err(failure(said, &self.places));
        }
        self.restarts += 1;
        self.proxy = Process::start(&self.places, &self.socket)?;
        Ok(())
    }

    fn end(&mut self) -> Result<Resumed, SyslogError> {
        loop {
            let Some(mut proxy) = self.proxy.take() else { return Ok(Resumed::Shared) };
            drop(proxy.child.stdin.take());
            let said = proxy.answer()?;
            if let Some(resumed) = said.as_deref().and_then(resumed) {
                // A proxy that goes on alone is not waited for.
                if !matches!(resumed, Resumed::Waiting | Resumed::Busy) {
                    proxy.reap()?;
                }
                return Ok(resumed);
            }
            self.proxy = Some(proxy);
            self.restart(said.as_deref())?;
        }
    }
}

/// Replays the spool of a proxy that died, and puts the daemon's socket back: a pause with nothing in it.
pub fn recover(places: Places) -> Result<Resumed, SyslogError> {
    PausedSyslog::begin(places)?.end()
}

/// A proxy process that runs.
struct Process {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Process {
    /// Starts it; `None` if another pause is running.
    fn start(places: &Places, socket: &UnixDatagram) -> Result<Option<Self>, SyslogError> {
        let failed = |source| SyslogError::Proxy { action: "start", source };
        let socket: OwnedFd = socket.try_clone().map_err(failed)?.into();
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .arg("syslog-proxy")
            .arg("--device")
            .arg(&places.device)
            .arg("--spool")
            .arg(&places.spool)
            .arg("--total")
            .arg(places.total.to_string())
            .arg("--lock")
            .arg(&places.lock)
            .arg("--state")
            .arg(&places.state)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Not a terminal or pipe of the caller: a proxy that waits for a daemon would keep it open.
            .stderr(socket)
            .spawn()
            .map_err(failed)?;
        let answers = child.stdout.take().map(BufReader::new);
        let answers = answers.ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        let mut process = Self { child, answers };
        match process.answer()?.as_deref() {
            Some(word::PAUSED) => Ok(Some(process)),
            Some(word::SHARED) => {
                process.reap()?;
                Ok(None)
            }
            other => Err(failure(other, places)),
        }
    }

    /// Reads its next line; `None` if it has ended.
    fn answer(&mut self) -> Result<Option<String>, SyslogError> {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line);
        read.map_err(|source| SyslogError::Proxy { action: "listen to", source })?;
        Ok(line.strip_suffix('\n').map(str::to_owned))
    }

    fn reap(mut self) -> Result<(), SyslogError> {
        self.child.wait().map_err(|source| SyslogError::Proxy { action: "wait for", source })?;
        Ok(())
    }
}

/// The result that an answer at the end means; `None` if it is not one.
fn resumed(answer: &str) -> Option<Resumed> {
    match answer {
        word::WAITING => Some(Resumed::Waiting),
        word::BUSY => Some(Resumed::Busy),
        word::KEPT => Some(Resumed::Kept),
        _ => {
            let (replayed, dropped) = answer.strip_prefix(word::REPLAYED)?.split_once(' ')?;
            Some(Resumed::Replayed { replayed: replayed.parse().ok()?, dropped: dropped.parse().ok()? })
        }
    }
}

fn failure(answer: Option<&str>, places: &Places) -> SyslogError {
    match answer {
        Some(text) => SyslogError::Said(text.strip_prefix(word::ERROR).unwrap_or(text).to_owned()),
        None => SyslogError::Died(places.spool.clone()),
    }
}
