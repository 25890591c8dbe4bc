//! The keeper: the process that has `/dev/log` during the pause, and the order in which it gives everything back.

use super::adopted::{Adopted, SocketNumber};
use super::seat::{Holder, Seat};
use super::spool::Spool;
use super::{Places, SyslogError, watch, word};
use crate::clock::Deadline;
use crate::file::{self, failing};
use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::FlockOperation;
use std::io::{self, ErrorKind, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A removed name is filled again after this: a daemon that binds it anew does so at once, and must find it free.
const FILL_AFTER: Duration = Duration::from_millis(50);
/// How often a daemon is looked for at the end, besides at each change of the name: a link's target can come up.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// After this the run is not kept waiting for a daemon any longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Where there was no daemon at all, none is waited for longer than this.
const GIVE_UP: Duration = Duration::from_secs(10);
/// How long the daemon may take to accept one datagram of the last ones.
const LAST_SEND: Duration = Duration::from_secs(5);
/// Between giving the name back and shutting our sockets.
const LINGER: Duration = Duration::from_millis(100);
/// Datagrams that are replayed before our own senders are served again.
const BATCH: usize = 64;
/// No datagram is longer than the largest send buffer; what is longer would be cut by any daemon.
const LONGEST_DATAGRAM: usize = 1 << 20;

/// Pauses syslog until the standard input is closed, then replays. Answers on the standard output.
pub fn keep(places: &Places) -> Result<(), SyslogError> {
    let result = run(places);
    if let Err(error) = &result {
        say(&format!("{}{error}", word::ERROR));
    }
    result
}

fn run(places: &Places) -> Result<(), SyslogError> {
    let lock = file::open_log(&places.lock)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            say(word::SHARED);
            return Ok(());
        }
        Err(error) => failing("lock", &places.lock, Err(error))?,
    }
    // What ends the run by a signal to its group or terminal must not end the keeper.
    let _ = rustix::process::setsid();
    let signals = watch::ending_signals();
    let signals = signals.map_err(|source| SyslogError::Keeper { action: "take signals in", source })?;
    let mut keeper = Keeper::begin(places)?;
    say(word::PAUSED);
    keeper.serve(&signals)
}

fn say(line: &str) {
    let mut output = io::stdout();
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

struct Keeper {
    device: PathBuf,
    seat: Seat,
    spool: Spool,
    watch: watch::FolderWatch,
    /// Sockets that nobody but us reads.
    own: Vec<UnixDatagram>,
    adopted: Vec<Adopted>,
    /// Which of the adopted belong to the daemon that had the name last.
    current: Vec<SocketNumber>,
    /// That daemon is dead, and no other one was found since.
    bereft: bool,
    had_daemon: bool,
    /// A connection to the daemon, for the replay.
    daemon: Option<UnixDatagram>,
    fill_at: Option<Deadline>,
    buffer: Vec<u8>,
}

/// The pause is to end.
struct Ending {
    patience: Deadline,
    give_up: Deadline,
    told: bool,
    by_signal: bool,
}

impl Keeper {
    fn begin(places: &Places) -> Result<Self, SyslogError> {
        let spool = Spool::open(&places.spool)?;
        let watch = watch::FolderWatch::begin(&places.device)?;
        let (seat, socket) = Seat::take(&places.device)?;
        let mut keeper = Self {
            device: places.device.clone(),
            seat,
            spool,
            watch,
            own: vec![socket],
            adopted: Vec::new(),
            current: Vec::new(),
            bereft: false,
            had_daemon: false,
            daemon: None,
            fill_at: None,
            buffer: vec![0; LONGEST_DATAGRAM],
        };
        keeper.had_daemon = keeper.seat.connect().is_some();
        keeper.adopt();
        Ok(keeper)
    }

    fn serve(&mut self, signals: &SignalFd) -> Result<(), SyslogError> {
        let mut ending: Option<Ending> = None;
        loop {
            self.wait(signals, ending.as_ref())
                .map_err(|source| SyslogError::Keeper { action: "wait in", source })?;
            self.drain();
            self.look_at_seat()?;
            self.look_at_adopted(false)?;
            let by_signal = matches!(signals.read_signal(), Ok(Some(_)));
            if let Some(ending) = &mut ending {
                ending.by_signal |= by_signal;
            } else if by_signal || watch::input_is_closed() {
                let (patience, give_up) = (Deadline::after(PATIENCE), Deadline::after(GIVE_UP));
                ending = Some(Ending { patience, give_up, told: false, by_signal });
            }
            if let Some(ending) = &mut ending
                && self.end(ending)?
            {
                return Ok(());
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&self, signals: &SignalFd, ending: Option<&Ending>) -> io::Result<()> {
        let stdin = io::stdin();
        let mut descriptors =
            vec![PollFd::new(signals, PollFlags::IN), PollFd::new(self.watch.descriptor(), PollFlags::IN)];
        descriptors.extend(self.own.iter().map(|socket| PollFd::new(socket, PollFlags::IN)));
        descriptors.extend(self.adopted.iter().map(|socket| PollFd::new(socket.holder(), PollFlags::IN)));
        let mut until = self.fill_at;
        let mut sooner =
            |deadline: Deadline| until = Some(until.map_or(deadline, |at| at.or_sooner(deadline)));
        match (ending, &self.daemon) {
            (None, _) => descriptors.push(PollFd::new(&stdin, PollFlags::IN)),
            (Some(_), Some(daemon)) => descriptors.push(PollFd::new(daemon, PollFlags::OUT)),
            (Some(_), None) => sooner(Deadline::after(LOOK_AGAIN)),
        }
        let span = until.and_then(|at| at.left().try_into().ok());
        match poll(&mut descriptors, span.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Spools what waits in our sockets.
    fn drain(&mut self) {
        for socket in &self.own {
            while let Ok(length) = socket.recv(&mut self.buffer) {
                let datagram = self.buffer.get(..length).unwrap_or_default();
                if !datagram.is_empty() {
                    self.spool.append(datagram);
                }
            }
        }
    }

    /// Keeps the name ours.
    fn look_at_seat(&mut self) -> Result<(), SyslogError> {
        self.watch.drain();
        match self.seat.holder() {
            Holder::Us => self.fill_at = None,
            Holder::Another => {
                self.fill_at = None;
                if self.seat.take_over()? {
                    self.had_daemon = true;
                    self.daemon = None;
                    self.adopt();
                }
            }
            Holder::Nobody => match self.fill_at {
                None => self.fill_at = Some(Deadline::after(FILL_AFTER)),
                Some(at) if at.passed() => self.seat.fill(),
                Some(_) => {}
            },
        }
        Ok(())
    }

    /// Takes a duplicate of the socket of the daemon that just had the name.
    fn adopt(&mut self) {
        let known: Vec<SocketNumber> = self.adopted.iter().map(Adopted::number).collect();
        let target = self.seat.link_target();
        let names: Vec<&Path> = [self.device.as_path()].into_iter().chain(target.as_deref()).collect();
        let found = Adopted::find(&names, &known);
        self.current = found.iter().map(Adopted::number).collect();
        self.bereft &= self.current.is_empty();
        self.adopted.extend(found);
    }

    /// Makes the sockets of daemons that died our own; `thoroughly` also those that a living one has closed. `true` where
    /// there were any.
    fn look_at_adopted(&mut self, thoroughly: bool) -> Result<bool, SyslogError> {
        let mut held = Vec::new();
        let mut left = Vec::new();
        for mut socket in self.adopted.drain(..) {
            if (thoroughly || socket.holder_has_ended()) && !socket.is_held() {
                left.push(socket);
            } else {
                held.push(socket);
            }
        }
        self.adopted = held;
        let found = !left.is_empty();
        self.own.extend(left.into_iter().map(Adopted::into_socket));
        let alive = |number: &SocketNumber| self.adopted.iter().any(|socket| socket.number() == *number);
        if found && !self.current.is_empty() && !self.current.iter().any(alive) {
            // Its socket still takes datagrams, because we hold it: it must not be taken for a daemon.
            self.current.clear();
            self.bereft = true;
            self.forget_daemon()?;
        }
        Ok(found)
    }

    fn forget_daemon(&mut self) -> Result<(), SyslogError> {
        self.daemon = None;
        Ok(self.seat.forget_daemon()?)
    }

    /// Connects to the daemon, if one lives.
    fn find_daemon(&mut self) {
        if self.bereft && self.seat.link_target().is_some() {
            // Until another daemon binds it anew, the link leads to the dead one's socket, which is ours now.
            self.adopt();
            if self.bereft {
                return;
            }
        }
        self.daemon = self.seat.connect();
    }

    /// Goes a step towards the end; `true` once it is reached.
    fn end(&mut self, ending: &mut Ending) -> Result<bool, SyslogError> {
        if self.daemon.is_none() {
            self.find_daemon();
        }
        let Some(daemon) = &self.daemon else { return self.without_daemon(ending) };
        for _ in 0..BATCH {
            match self.spool.replay_one(|datagram| daemon.send(datagram).map(drop)) {
                Ok(true) => {}
                Ok(false) => return self.close(ending),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if is_gone(&error) => {
                    self.forget_daemon()?;
                    return Ok(false);
                }
                Err(source) => return Err(SyslogError::Keeper { action: "replay in", source }),
            }
        }
        Ok(false)
    }

    /// Nobody is there to give the datagrams to.
    fn without_daemon(&mut self, ending: &mut Ending) -> Result<bool, SyslogError> {
        if ending.by_signal || (!self.had_daemon && ending.give_up.passed()) {
            self.seat.vacate()?;
            self.shut_own();
            self.spool.settle()?;
            if !ending.told {
                say(word::KEPT);
            }
            return Ok(true);
        }
        if !ending.told && ending.patience.passed() {
            ending.told = true;
            say(word::WAITING);
        }
        Ok(false)
    }

    /// All but what came in this instant is replayed: gives the name back, shuts our sockets, replays the rest.
    fn close(&mut self, ending: &Ending) -> Result<bool, SyslogError> {
        self.look_at_adopted(true)?;
        if self.daemon.is_none() || !self.seat.give_back()? {
            return Ok(false);
        }
        self.linger().map_err(|source| SyslogError::Keeper { action: "wait in", source })?;
        loop {
            self.shut_own();
            if !self.replay_rest()? {
                break;
            }
            if !self.look_at_adopted(true)? {
                self.spool.settle()?;
                if !ending.told {
                    say(&format!("{}{}", word::REPLAYED, self.spool.replayed()));
                }
                return Ok(true);
            }
            if self.daemon.is_none() {
                break;
            }
        }
        // The daemon died or went deaf at the last moment: from the start, with what is left.
        let (seat, socket) = Seat::take(&self.device)?;
        self.seat = seat;
        self.own.push(socket);
        self.daemon = None;
        self.adopt();
        Ok(false)
    }

    /// Serves for a moment those who found our socket just before the name was given back: a program that connects to say
    /// one thing does not try twice.
    fn linger(&mut self) -> io::Result<()> {
        let until = Deadline::after(LINGER);
        while !until.passed() {
            let mut sockets: Vec<PollFd<'_>> =
                self.own.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
            match poll(&mut sockets, until.left().try_into().ok().as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => self.drain(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes the last datagrams out of our sockets. After the shutdown a sender gets an error and connects anew; before
    /// it, its datagram is in the queue that is read here. So none is lost and none is doubled.
    fn shut_own(&mut self) {
        for socket in &self.own {
            let _ = socket.shutdown(Shutdown::Read);
        }
        self.drain();
        self.own.clear();
    }

    /// Replays what is left, waiting for the daemon. `false` where it does not take it.
    fn replay_rest(&mut self) -> Result<bool, SyslogError> {
        let Some(daemon) = &self.daemon else { return Ok(false) };
        let prepared = daemon.set_nonblocking(false).and_then(|()| daemon.set_write_timeout(Some(LAST_SEND)));
        prepared.map_err(|source| SyslogError::Keeper { action: "prepare the replay in", source })?;
        loop {
            match self.spool.replay_one(|datagram| daemon.send(datagram).map(drop)) {
                Ok(true) => {}
                Ok(false) => return Ok(true),
                Err(error) if is_gone(&error) || error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(source) => return Err(SyslogError::Keeper { action: "replay in", source }),
            }
        }
    }
}

/// Whether the daemon behind a connection is gone.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::NotConnected
            | ErrorKind::BrokenPipe
            | ErrorKind::NotFound
    )
}
