//! The process of the proxy: it serves the events of a pause one after another, from the first datagram until
//! [`Ending`] is done.

use super::ending::Ending;
use super::proxy::{Proxy, in_proxy, say};
use super::state::Stage;
use super::{Places, SyslogError, watch, word};
use crate::clock::Deadline;
use crate::file::{self, failing};
use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::FlockOperation;
use std::io;
use std::time::Duration;

/// How often a daemon is searched at the end, besides at each change of the name: a link's target can appear.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Pauses syslog until the standard input is closed, then replays. Answers on the standard output. The socket that
/// takes the daemon's place is the standard error: the parent process has it too, so that its queue outlives the proxy.
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
    // A signal that ends the run's group or terminal must not end the proxy.
    let _ = rustix::process::setsid();
    let signals = watch::ending_signals().map_err(in_proxy("take signals in"))?;
    let mut proxy = Proxy::begin(places)?;
    say(word::PAUSED);
    proxy.serve(&signals)
}

impl Proxy {
    fn serve(&mut self, signals: &SignalFd) -> Result<(), SyslogError> {
        let mut ending: Option<Ending> = None;
        loop {
            self.wait(signals, ending.as_ref()).map_err(in_proxy("wait in"))?;
            self.receive();
            let name_changed = self.watch.drain();
            if !ending.as_ref().is_some_and(Ending::is_handed_over) {
                self.look_at_name()?;
            }
            self.look_at_inherited(false)?;
            let by_signal = matches!(signals.read_signal(), Ok(Some(_)));
            if let Some(ending) = &mut ending {
                ending.note(by_signal);
            } else if by_signal || watch::input_is_closed() {
                ending = Some(Ending::begin(by_signal));
            }
            self.note(if ending.is_some() { Stage::Replaying } else { Stage::Paused });
            if let Some(ending) = &mut ending
                && self.end(ending, name_changed)?
            {
                return Ok(());
            }
        }
    }

    /// Waits for the next event.
    fn wait(&self, signals: &SignalFd, ending: Option<&Ending>) -> io::Result<()> {
        let stdin = io::stdin();
        let mut descriptors =
            vec![PollFd::new(signals, PollFlags::IN), PollFd::new(self.watch.descriptor(), PollFlags::IN)];
        descriptors.extend(self.own.iter().map(|socket| PollFd::new(socket, PollFlags::IN)));
        descriptors.extend(self.inherited.iter().map(|socket| PollFd::new(socket.holder(), PollFlags::IN)));
        let mut until = self.fill_at;
        let mut sooner =
            |deadline: Deadline| until = Some(until.map_or(deadline, |at| at.or_sooner(deadline)));
        match (ending, &self.daemon) {
            (None, _) => descriptors.push(PollFd::new(&stdin, PollFlags::IN)),
            (Some(_), Some(daemon)) => descriptors.push(PollFd::new(daemon, PollFlags::OUT)),
            (Some(_), None) => sooner(Deadline::after(LOOK_AGAIN)),
        }
        ending.into_iter().flat_map(Ending::deadlines).for_each(sooner);
        let span = until.and_then(|at| at.left().try_into().ok());
        match poll(&mut descriptors, span.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
