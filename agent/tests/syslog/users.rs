//! Senders that are processes of any user, and a daemon that records the sender of each message.

use crate::fixture::{DEVICE, Daemon, Log, wait_until};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, sendmsg, setsockopt, sockopt,
};
use std::fs;
use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const SENDER: &str = "PSYOPS_TEST_SENDER";
const WITNESS: &str = "PSYOPS_TEST_WITNESS";
const LONGEST: usize = 512 * 1024;

/// What a sender process does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Task {
    /// Sends this many messages of this length, then waits to be told to end.
    Say(u32, usize),
    /// Sends messages of this length without a pause until it is told to end.
    Flood(usize),
    /// Sends messages, each with this many descriptors.
    Descriptors(u32, usize),
    /// Sends this many messages, each with a TCP connection that takes hours to close.
    Linger(u32),
    /// Sends one datagram of this length.
    Huge(usize),
    /// Sends one datagram with line ends and zeros that looks like several.
    Odd,
    /// Binds a socket whose path looks like the log socket's, in its own mount namespace, with messages in it.
    Forge,
}

/// A sending process.
pub(crate) struct Sender {
    child: Child,
    pub(crate) pid: u32,
}

impl Sender {
    /// Starts a process of user and group `uid` that does `task` as writer `number`.
    pub(crate) fn start(uid: u32, number: u32, task: Task) -> Self {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={uid}"), &format!("--regid={uid}"), "--clear-groups"]);
        if matches!(task, Task::Forge) {
            command.args(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]);
            command.args(["mount -t tmpfs none /dev && exec \"$@\"", "sh"]);
        }
        command.arg(program()).args(["--exact", "sender_main", "--ignored", "--nocapture"]);
        command.env(SENDER, format!("{number} {}", encode(task)));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("setpriv (util-linux)");
        let pid = child.id();
        if !matches!(task, Task::Flood(_)) {
            // It reports that it is done, and then waits.
            let mut line = Vec::new();
            let output = child.stdout.as_mut().unwrap();
            while !line.ends_with(b"done\n") {
                let mut byte = [0];
                output.read_exact(&mut byte).unwrap();
                line.push(byte[0]);
            }
        }
        Self { child, pid }
    }

    /// Ends it; returns how many messages it has sent.
    pub(crate) fn end(mut self) -> u64 {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success(), "{text}");
        text.lines().find_map(|line| line.strip_prefix("said ")).unwrap().parse().unwrap()
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A copy of this program that all users can read.
fn program() -> PathBuf {
    let program = PathBuf::from("/run/sender");
    if !program.exists() {
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions("/run", fs::Permissions::from_mode(0o755)).unwrap();
    }
    program
}

fn encode(task: Task) -> String {
    match task {
        Task::Say(messages, length) => format!("say {messages} {length}"),
        Task::Flood(length) => format!("flood 0 {length}"),
        Task::Descriptors(messages, count) => format!("descriptors {messages} {count}"),
        Task::Linger(messages) => format!("linger {messages} 0"),
        Task::Huge(length) => format!("huge 1 {length}"),
        Task::Odd => "odd 1 0".into(),
        Task::Forge => "forge 5 0".into(),
    }
}

/// A message of a writer, filled up to `length`.
pub(crate) fn message(writer: u32, number: u64, length: usize) -> Vec<u8> {
    let mut text = format!("<13>Nov 22 05:00:00 writer{writer}: {number} ").into_bytes();
    text.resize(text.len().max(length), b'x');
    text
}

/// The datagram of [`Task::Odd`].
pub(crate) const ODD: &[u8] = b"<13>Nov 22 05:00:00 odd: a\n<0>Nov 22 05:00:00 kernel: b\0<0>c\r\x1b[2J\xff";

/// What the processes of [`Sender`] run.
pub(crate) fn send_as_told() {
    let Ok(told) = std::env::var(SENDER) else { return };
    let words: Vec<&str> = told.split(' ').collect();
    let [writer, task, count, length] = words.as_slice() else { panic!("{told}") };
    let (writer, count): (u32, u64) = (writer.parse().unwrap(), count.parse().unwrap());
    let length: usize = length.parse().unwrap();
    let socket = UnixDatagram::unbound().unwrap();
    let mut said = 0;
    let done = || tell("done");
    if *task == "forge" {
        let forged = UnixDatagram::bind(DEVICE).unwrap();
        socket.connect(DEVICE).unwrap();
        for number in 0..count {
            socket.send(format!("<13>Nov 22 05:00:00 forged: {number}").as_bytes()).unwrap();
        }
        done();
        let _ = std::io::stdin().read(&mut [0]);
        tell("said 0");
        drop(forged);
        return;
    }
    socket.connect(DEVICE).unwrap();
    match *task {
        "say" => {
            for number in 0..count {
                socket.send(&message(writer, number, length)).unwrap();
            }
            said = count;
            done();
        }
        "flood" => {
            let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let end = std::sync::Arc::clone(&over);
            std::thread::spawn(move || {
                let _ = std::io::stdin().read(&mut [0]);
                end.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            let mut socket = socket;
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                let text = message(writer, said, length);
                // Like every libc: on an error they connect again, once.
                if socket.send(&text).is_err() {
                    socket = UnixDatagram::unbound().unwrap();
                    socket.connect(DEVICE).unwrap();
                    socket.send(&text).unwrap();
                }
                said += 1;
            }
        }
        "descriptors" => {
            let file = fs::File::open("/dev/null").unwrap();
            let descriptors = vec![file.as_raw_fd(); length];
            for number in 0..count {
                let text = message(writer, number, 0);
                let control = [ControlMessage::ScmRights(&descriptors)];
                sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&text)], &control, MsgFlags::empty(), None)
                    .unwrap();
            }
            said = count;
            done();
        }
        "linger" => {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let mut kept = Vec::new();
            for number in 0..count {
                let mut stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                kept.push(listener.accept().unwrap());
                // Data that the other end does not read keeps the connection open.
                stream.set_nonblocking(true).unwrap();
                while stream.write(&[0; 4096]).is_ok() {}
                stream.set_nonblocking(false).unwrap();
                let linger = nix::libc::linger { l_onoff: 1, l_linger: 7200 };
                setsockopt(&stream, sockopt::Linger, &linger).unwrap();
                let text = message(writer, number, 0);
                let descriptors = [stream.as_raw_fd()];
                let control = [ControlMessage::ScmRights(&descriptors)];
                sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&text)], &control, MsgFlags::empty(), None)
                    .unwrap();
                // The last one is now only in the queue, and is closed together with the message.
                drop(stream);
            }
            said = count;
            done();
            let _ = std::io::stdin().read(&mut [0]);
            drop(kept);
        }
        "huge" => {
            setsockopt(&socket, sockopt::SndBuf, &(4 << 20)).unwrap();
            socket.send(&message(writer, 0, length)).unwrap();
            said = 1;
            done();
        }
        _ => {
            socket.send(ODD).unwrap();
            said = 1;
            done();
        }
    }
    let _ = std::io::stdin().read(&mut [0]);
    tell(&format!("said {said}"));
}

/// Writes a line to the test: the test harness prints there as well.
fn tell(text: &str) {
    let mut output = std::io::stdout();
    writeln!(output, "\n{text}").and_then(|()| output.flush()).unwrap();
}

/// A daemon that records the kernel's data about each sender.
pub(crate) fn witness(log: &Log) -> Daemon {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "witness_main", "--ignored"]).env(WITNESS, log.path());
    Daemon::program(command.stdout(Stdio::null()))
}

/// A datagram as the witness received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) pid: u32,
    /// The length of the datagram in bytes.
    pub(crate) length: usize,
    /// The first 200 bytes of the datagram, escaped.
    pub(crate) text: String,
}

/// The datagrams that a witness has recorded.
pub(crate) fn seen(log: &Log) -> Vec<Seen> {
    let text = fs::read_to_string(log.path()).unwrap_or_default();
    let line = |line: &str| {
        let mut words = line.splitn(5, ' ');
        let mut number = || words.next().unwrap().parse().unwrap();
        let (uid, gid, pid, length) = (number(), number(), number(), number());
        let length = usize::try_from(length).unwrap();
        Seen { uid, gid, pid, length, text: words.next().unwrap().to_owned() }
    };
    text.lines().map(line).collect()
}

/// Waits until `count` of the recorded datagrams match `wanted`.
pub(crate) fn wait_for_seen(log: &Log, count: usize, wanted: impl Fn(&Seen) -> bool) {
    wait_until("the witness has seen enough", || {
        seen(log).iter().filter(|seen| wanted(seen)).count() >= count
    });
}

/// The work of [`witness`]'s process. It takes a datagram out of the queue only after it has recorded it, so that none
/// is lost when it is killed.
pub(crate) fn serve_as_witness() {
    let Some(path) = std::env::var_os(WITNESS) else { return };
    let _ = fs::remove_file(DEVICE);
    let socket = UnixDatagram::bind(DEVICE).unwrap();
    setsockopt(&socket, sockopt::PassCred, &true).unwrap();
    fs::set_permissions(DEVICE, fs::Permissions::from_mode(0o666)).unwrap();
    note_what_comes(&socket, Path::new(&path));
}

/// Records all datagrams of `socket` in the file at `path`, for ever.
pub(crate) fn note_what_comes(socket: &UnixDatagram, path: &Path) {
    let mut log = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    let mut buffer = vec![0; LONGEST];
    loop {
        let mut control = nix::cmsg_space!(UnixCredentials);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let received =
            recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_PEEK).unwrap();
        let origin = received.cmsgs().unwrap().find_map(|message| match message {
            ControlMessageOwned::ScmCredentials(origin) => Some(origin),
            _ => None,
        });
        let (origin, length) = (origin.unwrap(), received.bytes);
        let text = buffer[..length.min(200)].escape_ascii();
        let line = format!("{} {} {} {length} {text}\n", origin.uid(), origin.gid(), origin.pid());
        log.write_all(line.as_bytes()).unwrap();
        let _ = socket.recv(&mut [0; 1]);
    }
}
