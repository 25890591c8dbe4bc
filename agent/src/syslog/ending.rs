//! The end of a pause: the replay, and the order in which the name and the sockets are given back.
//!
//! The name goes back to the daemon once all is replayed, or at a deadline: later datagrams go directly to the daemon,
//! so no sender can keep a pause from ending. The rest of the spool is limited, and is replayed in the background.

use super::bound_file::FileId;
use super::daemon::Delivery;
use super::datagram::{Datagram, Sender};
use super::inbox::Inbox;
use super::log_socket::LogSocket;
use super::proxy::{Proxy, in_proxy, say};
use super::state::{PauseState, Stage};
use super::{SyslogError, word};
use crate::clock::{self, Deadline};
use rustix::event::{PollFd, PollFlags, poll};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// The longest that a run waits for a daemon that is gone.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest that the proxy waits if there was no daemon from the beginning.
const GIVE_UP: Duration = Duration::from_secs(10);
/// The longest time until the name goes back to a living daemon, however much is still logged.
const HAND_OVER: Duration = Duration::from_secs(5);
/// The longest that a run waits for the rest of the replay.
const REPORT: Duration = Duration::from_secs(10);
/// The time between giving the name back and closing the proxy's sockets.
const LINGER: Duration = Duration::from_millis(100);
/// Datagrams that are replayed before the proxy's own senders are served again.
const BATCH: usize = 256;
/// Facility syslog, severity warning.
const OUR_PRIORITY: u8 = 44;

/// The state of the end of a pause.
pub(super) struct Ending {
    patience: Deadline,
    give_up: Deadline,
    hand_over: Deadline,
    report: Deadline,
    /// Whether the proxy has answered the run that requested the pause.
    told: bool,
    by_signal: bool,
    /// The file of the daemon's socket, once the daemon has its name again.
    handed_over: Option<FileId>,
    drops_are_said: bool,
}

impl Ending {
    /// Begins the end of a pause.
    pub(super) fn begin(by_signal: bool) -> Self {
        Self {
            patience: Deadline::after(PATIENCE),
            give_up: Deadline::after(GIVE_UP),
            hand_over: Deadline::after(HAND_OVER),
            report: Deadline::after(REPORT),
            told: false,
            by_signal,
            handed_over: None,
            drops_are_said: false,
        }
    }

    /// Whether the daemon has its name again.
    pub(super) fn is_handed_over(&self) -> bool {
        self.handed_over.is_some()
    }

    /// Records that a signal also requests the end.
    pub(super) fn note(&mut self, by_signal: bool) {
        self.by_signal |= by_signal;
    }

    /// The times at which a step is due.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Deadline> {
        [self.hand_over, self.report].into_iter().filter(|deadline| !deadline.passed())
    }

    fn tell(&mut self, answer: &str) {
        if !self.told {
            say(answer);
            self.told = true;
        }
    }
}

impl Proxy {
    /// Takes a step towards the end; `true` once it is reached. `name_changed`: something happened beside the log
    /// socket.
    pub(super) fn end(&mut self, ending: &mut Ending, name_changed: bool) -> Result<bool, SyslogError> {
        if let Some(handed) = ending.handed_over
            && (self.daemon.is_none() || (name_changed && FileId::of_link(&self.device) != Some(handed)))
        {
            // The daemon died or was replaced before it had the rest: begin again with what is left.
            self.take_again()?;
            ending.handed_over = None;
        }
        if self.daemon.is_none() {
            self.find_daemon()?;
        }
        if self.daemon.is_none() {
            return self.without_daemon(ending);
        }
        self.replay()?;
        if ending.handed_over.is_none() && (self.spool.is_empty() || ending.hand_over.passed()) {
            ending.handed_over = self.hand_over()?;
        }
        if ending.handed_over.is_some() && self.spool.is_empty() {
            return self.finish(ending);
        }
        if ending.report.passed() {
            ending.tell(word::BUSY);
        }
        Ok(false)
    }

    /// Connects to the daemon, if one is listening.
    fn find_daemon(&mut self) -> Result<(), SyslogError> {
        if self.daemon_is_dead() {
            return self.forget_daemon();
        }
        // If the name is a link, another daemon may have started behind it.
        self.inherit();
        self.daemon = self.name.connect(self.offset);
        Ok(())
    }

    /// Sends a part of the spool to the daemon.
    fn replay(&mut self) -> Result<(), SyslogError> {
        for _ in 0..BATCH {
            let Some(daemon) = &self.daemon else { break };
            let mut delivery = Delivery::Full;
            let replayed = self.spool.replay_one(|datagram| {
                delivery = daemon.deliver(datagram);
                !matches!(delivery, Delivery::Full | Delivery::Gone)
            });
            let replayed = replayed.map_err(in_proxy("replay in"))?;
            match delivery {
                Delivery::Cut | Delivery::Refused => self.cut += 1,
                Delivery::Gone => self.forget_daemon()?,
                Delivery::Full | Delivery::Taken => {}
            }
            if !replayed {
                break;
            }
        }
        Ok(())
    }

    /// Handles the case that there is no daemon.
    fn without_daemon(&mut self, ending: &mut Ending) -> Result<bool, SyslogError> {
        if ending.by_signal || (!self.had_daemon && ending.give_up.passed()) {
            self.name.release()?;
            self.close_own();
            self.say_drops(ending);
            self.spool.settle()?;
            self.note(if self.spool.is_empty() { Stage::Ended } else { Stage::Kept });
            ending.tell(word::KEPT);
            return Ok(true);
        }
        if ending.patience.passed() {
            ending.tell(word::WAITING);
        }
        Ok(false)
    }

    /// Gives the name back, then closes the proxy's sockets and spools what is left in their queues. Returns the file
    /// that has the name now; `None` if another daemon took it at this moment.
    fn hand_over(&mut self) -> Result<Option<FileId>, SyslogError> {
        self.look_at_inherited(true)?;
        if self.daemon.is_none() || !self.name.give_back()? {
            return Ok(None);
        }
        let handed = FileId::of_link(&self.device);
        self.linger().map_err(in_proxy("wait in"))?;
        self.close_own();
        Ok(handed)
    }

    /// Serves for a moment the senders that found the proxy's socket just before the name was given back: a program
    /// that connects for one message does not try twice.
    fn linger(&mut self) -> io::Result<()> {
        let until = Deadline::after(LINGER);
        while !until.passed() {
            let mut sockets: Vec<PollFd<'_>> =
                self.own.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
            match poll(&mut sockets, until.left().try_into().ok().as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => self.receive(),
                Err(error) => return Err(error.into()),
            };
        }
        Ok(())
    }

    /// Takes the last datagrams out of the proxy's sockets. Once a socket is closed a sender gets an error and connects
    /// again; before that, its datagram is in the queue that is read here. So none is lost and none is doubled.
    fn close_own(&mut self) {
        self.own.iter().for_each(Inbox::close);
        // No datagrams are added any more, so this ends: after the length of the queues.
        while self.receive() {}
        self.own.clear();
    }

    /// Takes the name again after it was given back.
    fn take_again(&mut self) -> Result<(), SyslogError> {
        let socket = UnixDatagram::unbound().map_err(in_proxy("make a socket in"))?;
        self.name = LogSocket::take(&self.device, &socket)?;
        self.own.push(Inbox::new(socket).map_err(in_proxy("prepare the socket of"))?);
        self.daemon = None;
        self.inherit();
        Ok(())
    }

    /// Ends the pause: all is replayed and the daemon has its name.
    fn finish(&mut self, ending: &mut Ending) -> Result<bool, SyslogError> {
        if self.look_at_inherited(true)? {
            self.close_own();
            return Ok(false);
        }
        if self.say_drops(ending) {
            return Ok(false);
        }
        self.spool.settle()?;
        self.note(Stage::Ended);
        let (replayed, dropped) = (self.spool.replayed(), self.spool.drops().messages());
        ending.tell(&format!("{}{replayed} {dropped}", word::REPLAYED));
        Ok(true)
    }

    /// Adds a message about dropped datagrams to the spool, once. `true` if there was something to report.
    fn say_drops(&mut self, ending: &mut Ending) -> bool {
        if std::mem::replace(&mut ending.drops_are_said, true) {
            return false;
        }
        let (cut, drops) = (self.cut, self.spool.drops().clone());
        let lines = PauseState { cut, drops, ..PauseState::new(Stage::Ended) }.lines();
        for line in &lines {
            let sender = Sender::ours();
            let text = format!("<{OUR_PRIORITY}>psyops-agent[{}]: {line}", sender.pid).into_bytes();
            let (time_ns, received_ms) = (clock::unix_seconds() * 1_000_000_000, clock::since_kernel_start());
            self.spool.append_own(Datagram { text, sender, time_ns, received_ms });
        }
        !lines.is_empty()
    }
}
