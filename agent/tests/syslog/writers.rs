//! Writers: threads that log as programs do.

use crate::fixture::{DEVICE, wait_until};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Programs that log, each in a thread with its own connection.
pub(crate) struct Writers {
    threads: Vec<(JoinHandle<()>, Arc<AtomicU32>)>,
    /// How many messages each writer may send by now.
    allowed: Arc<AtomicU32>,
}

impl Writers {
    /// Starts the writers with these numbers.
    pub(crate) fn start(numbers: Range<u32>, messages: u32) -> Self {
        Self::start_with(numbers, messages, messages, connect)
    }

    /// The same, but after this many messages each keeps its connection and is silent until it may go on.
    pub(crate) fn start_silent_after(said: u32, numbers: Range<u32>, messages: u32) -> Self {
        Self::start_with(numbers, messages, said, connect)
    }

    /// Lets silent writers go on.
    pub(crate) fn go_on(&self) {
        self.allowed.store(u32::MAX, Ordering::Relaxed);
    }

    /// The same, but each must find the name at every attempt.
    pub(crate) fn start_strict(numbers: Range<u32>, messages: u32) -> Self {
        Self::start_with(numbers, messages, messages, || try_connect().expect("the name is always there"))
    }

    fn start_with(numbers: Range<u32>, messages: u32, allowed: u32, connect: fn() -> UnixDatagram) -> Self {
        let allowed = Arc::new(AtomicU32::new(allowed));
        let start = |number| {
            let said = Arc::new(AtomicU32::new(0));
            let counter = Arc::clone(&said);
            let allowed = Arc::clone(&allowed);
            (std::thread::spawn(move || write(number, messages, (&counter, &allowed), connect)), said)
        };
        Self { threads: numbers.map(start).collect(), allowed }
    }

    /// Waits until each has sent this many messages, or is done.
    pub(crate) fn wait_for(&self, messages: u32) {
        wait_until("the writers have said enough", || {
            self.threads
                .iter()
                .all(|(thread, said)| thread.is_finished() || said.load(Ordering::Relaxed) >= messages)
        });
    }

    /// Waits until all messages are sent; an error of a writer fails the test.
    pub(crate) fn finish(self) {
        for (thread, _) in self.threads {
            thread.join().expect("no writer has an error");
        }
    }
}

fn write(
    writer: u32,
    messages: u32,
    (said, allowed): (&AtomicU32, &AtomicU32),
    connect: fn() -> UnixDatagram,
) {
    let mut socket = connect();
    for number in 0..messages {
        while number >= allowed.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let message = format!("<13>Nov 22 05:00:00 writer{writer}: {number}");
        // Odd writers connect for each message and send once, as logger(1) does. Even ones keep their connection as the
        // libcs do: on an error they connect again, once, and send again.
        let keeps = writer.is_multiple_of(2);
        if !keeps || socket.send(message.as_bytes()).is_err() {
            socket = connect();
            let sent = socket.send(message.as_bytes());
            sent.unwrap_or_else(|error| {
                panic!("writer {writer}, message {number}, fresh connection: {error}")
            });
        }
        said.store(number + 1, Ordering::Relaxed);
        if number % 20 == 19 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// While a daemon removes the name and binds it again, there is none, and for an instant one that refuses: bind(2)
/// makes the name before the socket can be found by it. The daemon causes this gap, so the writers wait.
fn connect() -> UnixDatagram {
    let begun = Instant::now();
    loop {
        match try_connect() {
            Ok(socket) => return socket,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
                    && begun.elapsed() < Duration::from_secs(1) =>
            {
                std::thread::yield_now();
            }
            Err(error) => panic!("cannot connect to {DEVICE}: {error}"),
        }
    }
}

fn try_connect() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(DEVICE)?;
    Ok(socket)
}
