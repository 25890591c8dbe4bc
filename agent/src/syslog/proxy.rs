//! What the proxy has during a pause, and what it does with `/dev/log` and the sockets. `serving` calls it for each
//! event; `ending` has how it gives everything back.

use super::daemon::Daemon;
use super::datagram::{self, Datagram};
use super::inbox::{First, Inbox};
use super::inherited::{Inherited, SocketNumber};
use super::log_socket::{Holder, LogSocket};
use super::spool::Spool;
use super::state::{PauseState, Stage, StateFile};
use super::text::LocalOffset;
use super::{Places, SyslogError, watch};
use crate::clock::Deadline;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

/// A removed name is taken again after this: a daemon that binds it again does so at once, and must find it free.
const FILL_AFTER: Duration = Duration::from_millis(50);
/// Datagrams that are taken from one socket before other work is done.
const TURN: usize = 256;
/// The part of a turn that one datagram with descriptors counts as, because a process must take it out.
const DESCRIPTORS_COUNT_AS: usize = 32;
/// How often that process is started for one datagram.
const ATTEMPTS: u32 = 10;

/// Writes a line to the parent process.
pub(super) fn say(line: &str) {
    let mut output = io::stdout();
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

/// An error of the proxy itself during `action`.
pub(super) fn in_proxy(action: &'static str) -> impl FnOnce(io::Error) -> SyslogError {
    move |source| SyslogError::Proxy { action, source }
}

pub(super) struct Proxy {
    pub(super) device: PathBuf,
    pub(super) name: LogSocket,
    pub(super) spool: Spool,
    pub(super) watch: watch::FolderWatch,
    /// The sockets that only the proxy reads.
    pub(super) own: Vec<Inbox>,
    pub(super) inherited: Vec<Inherited>,
    pub(super) had_daemon: bool,
    /// A connection to the daemon, for the replay.
    pub(super) daemon: Option<Daemon>,
    pub(super) offset: LocalOffset,
    /// The number of datagrams that were longer than a record or than the kernel sends.
    pub(super) cut: u64,
    /// When a removed name is taken again.
    pub(super) fill_at: Option<Deadline>,
    buffer: Vec<u8>,
    state: StateFile,
}

impl Proxy {
    /// Takes the name, and goes on with the spool of a proxy that was killed.
    pub(super) fn begin(places: &Places) -> Result<Self, SyslogError> {
        let mut spool = Spool::open(&places.spool, places.total)?;
        let before = PauseState::load(&places.state);
        if let Some(state) = before.filter(|state| matches!(state.stage, Stage::Paused | Stage::Replaying)) {
            spool.go_on_with(state.drops);
        }
        let watch = watch::FolderWatch::begin(&places.device)?;
        let socket = inherited_socket().map_err(in_proxy("take the socket of"))?;
        let name = LogSocket::take(&places.device, &socket)?;
        let inbox = Inbox::new(socket).map_err(in_proxy("prepare the socket of"))?;
        let mut proxy = Self {
            device: places.device.clone(),
            name,
            spool,
            watch,
            own: vec![inbox],
            inherited: Vec::new(),
            had_daemon: false,
            daemon: None,
            offset: LocalOffset::find(),
            cut: 0,
            fill_at: None,
            buffer: vec![0; datagram::LONGEST],
            state: StateFile::new(&places.state),
        };
        proxy.skip_what_is_kept();
        proxy.had_daemon = proxy.name.connect(proxy.offset).is_some();
        proxy.inherit();
        proxy.note(Stage::Paused);
        Ok(proxy)
    }

    /// Writes the state for other programs. An error does not end the pause.
    pub(super) fn note(&mut self, stage: Stage) {
        let now = PauseState {
            replayed: self.spool.replayed(),
            cut: self.cut,
            dropped: self.spool.drops().messages(),
            drops: self.spool.drops().clone(),
            ..PauseState::new(stage)
        };
        let _ = self.state.update(&now);
    }

    /// Spools some of the datagrams in the proxy's sockets. `true` if there may be more: the caller decides what comes
    /// next.
    pub(super) fn receive(&mut self) -> bool {
        let mut more = false;
        for inbox in &self.own {
            let mut taken = 0;
            while taken < TURN
                && let Ok(Some(first)) = inbox.first(&mut self.buffer)
            {
                let First { datagram, cut, descriptors } = first;
                let with_descriptors = descriptors.then(|| datagram.clone());
                if !datagram.text.is_empty() {
                    self.spool.append(datagram);
                    self.cut += u64::from(cut);
                }
                match with_descriptors {
                    None => {
                        inbox.take_out();
                        taken += 1;
                    }
                    Some(datagram) => {
                        take_out_apart(inbox, &datagram, &mut self.buffer);
                        taken += DESCRIPTORS_COUNT_AS;
                    }
                }
            }
            more |= taken >= TURN;
        }
        more
    }

    /// An earlier proxy may have died after it spooled a datagram and before it took it out of the queue.
    fn skip_what_is_kept(&mut self) {
        let Some(inbox) = self.own.first() else { return };
        let Ok(Some(first)) = inbox.first(&mut self.buffer) else { return };
        let same = self.spool.last().is_some_and(|last| {
            (last.time_ns, last.sender, &last.text)
                == (first.datagram.time_ns, first.datagram.sender, &first.datagram.text)
        });
        if same {
            inbox.take_out();
        }
    }

    /// Ensures that the proxy has the name.
    pub(super) fn look_at_name(&mut self) -> Result<(), SyslogError> {
        match self.name.holder() {
            Holder::Us => self.fill_at = None,
            Holder::Another => {
                self.fill_at = None;
                if self.name.take_over()? {
                    self.had_daemon = true;
                    self.daemon = None;
                    self.inherit();
                }
            }
            Holder::None => match self.fill_at {
                None => self.fill_at = Some(Deadline::after(FILL_AFTER)),
                Some(at) if at.passed() => self.name.fill(),
                Some(_) => {}
            },
        }
        Ok(())
    }

    /// Takes a duplicate of the socket of the daemon that just had the name.
    pub(super) fn inherit(&mut self) {
        let Some(file) = self.name.daemon_id() else { return };
        if self.inherited.iter().any(|socket| socket.file() == file) {
            return;
        }
        let known: Vec<SocketNumber> = self.inherited.iter().map(Inherited::number).collect();
        self.inherited.extend(Inherited::find(file, &self.name.daemon_names(), &known));
    }

    /// Takes over the sockets of daemons that died; with `thoroughly` also those that a living one has closed. `true`
    /// if there were any.
    pub(super) fn look_at_inherited(&mut self, thoroughly: bool) -> Result<bool, SyslogError> {
        let mut held = Vec::new();
        let mut left = Vec::new();
        for mut socket in self.inherited.drain(..) {
            if (thoroughly || socket.holder_has_ended()) && !socket.is_held() {
                left.push(socket);
            } else {
                held.push(socket);
            }
        }
        self.inherited = held;
        let found = !left.is_empty();
        for socket in left {
            let inbox = Inbox::new(socket.into_socket()).map_err(in_proxy("prepare the socket of"))?;
            self.own.push(inbox);
        }
        if found && self.daemon_is_dead() {
            self.forget_daemon()?;
        }
        Ok(found)
    }

    /// Whether the socket that the daemon had is one of the proxy's by now. It still receives datagrams, because the
    /// proxy has it, and must not be taken for a daemon.
    pub(super) fn daemon_is_dead(&self) -> bool {
        let daemon = self.name.daemon_id();
        daemon.is_some() && self.own.iter().any(|inbox| inbox.file() == daemon)
    }

    pub(super) fn forget_daemon(&mut self) -> Result<(), SyslogError> {
        self.daemon = None;
        Ok(self.name.forget_daemon()?)
    }
}

/// Takes `datagram`, which has descriptors and is first in the queue of `inbox`, out of it.
fn take_out_apart(inbox: &Inbox, datagram: &Datagram, buffer: &mut [u8]) {
    for _ in 0..ATTEMPTS {
        match inbox.take_out_apart() {
            Ok(true) => return,
            Ok(false) => {}
            Err(_) => break,
        }
        // The process was killed while it waited for a descriptor to close, or before it had done anything.
        let still_there = inbox.first(buffer).is_ok_and(|first| {
            first.is_some_and(|first| first.descriptors && first.datagram.text == datagram.text)
        });
        if !still_there {
            return;
        }
    }
    inbox.take_out();
}

/// The socket on the standard error; a new one if that is not a socket.
fn inherited_socket() -> io::Result<UnixDatagram> {
    let inherited = io::stderr().as_fd().try_clone_to_owned()?;
    let is_datagram = rustix::net::sockopt::socket_type(&inherited) == Ok(rustix::net::SocketType::DGRAM)
        && rustix::net::sockopt::socket_domain(&inherited) == Ok(rustix::net::AddressFamily::UNIX);
    if is_datagram { Ok(inherited.into()) } else { UnixDatagram::unbound() }
}
