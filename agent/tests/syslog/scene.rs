//! Namespaces, daemons, writers and logs for the tests.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const DEVICE: &str = "/dev/log";
const INSIDE: &str = "PSYOPS_TEST_INSIDE";
const DAEMON_LOG: &str = "PSYOPS_TEST_DAEMON_LOG";
const DEADLINE: Duration = Duration::from_mins(1);

/// The private system of one test.
pub(crate) struct Scene {
    agent: &'static str,
    spool: PathBuf,
    /// The device number of `/dev`: no other scene has it.
    dev: u64,
}

impl Scene {
    /// Runs the test `name` again inside namespaces of its own and returns nothing, or, inside, the scene.
    pub(crate) fn enter(name: &str) -> Option<Self> {
        if std::env::var_os(INSIDE).is_some() {
            let spool = PathBuf::from("/var/log/psyops/syslog.paused");
            let dev = fs::metadata("/dev").unwrap().dev();
            return Some(Self { agent: env!("CARGO_BIN_EXE_psyops-agent"), spool, dev });
        }
        let script =
            "set -e; mkdir -p /run; mount -t tmpfs none /run; mount -t tmpfs none /var/log; mkdir /run/dev
            mount -t tmpfs none /run/dev
            for d in null zero urandom; do : > /run/dev/$d; mount --bind /dev/$d /run/dev/$d; done
            mount --move /run/dev /dev; mkdir -p /var/run; exec \"$@\"";
        let status = Command::new("unshare")
            .args([
                "--user",
                "--map-root-user",
                "--mount",
                "--net",
                "--propagation",
                "private",
                "sh",
                "-c",
                script,
                "sh",
            ])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, "1")
            .status()
            .expect("unshare is needed for these tests (package util-linux)");
        assert!(status.success(), "{name}: {status}");
        None
    }

    /// Where a pause keeps what was said.
    pub(crate) fn spool(&self) -> &Path {
        &self.spool
    }

    /// A pause around a command that ends when told to.
    pub(crate) fn pause(&self) -> Pause {
        let ready = format!("/run/ready.{}", std::process::id());
        let _ = fs::remove_file(&ready);
        let mut pause = self.pause_around(&["sh", "-c", &format!(": > {ready}; read line")], None);
        pause.stdin = pause.child.stdin.take();
        self.wait_until("syslog is paused", |_| Path::new(&ready).exists());
        pause
    }

    /// A pause around `command`.
    pub(crate) fn pause_around(&self, command: &[&str], logfile: Option<&Path>) -> Pause {
        let mut agent = Command::new(self.agent);
        agent.arg("pause-syslog");
        if let Some(path) = logfile {
            agent.arg("--logfile").arg(path);
        }
        let child = agent.arg("--").args(command).stdin(Stdio::piped()).spawn().unwrap();
        Pause { child, stdin: None }
    }

    /// Kills the keeper of the pause that is under way.
    pub(crate) fn kill_keeper(&self) {
        let keeper =
            processes(self.dev).into_iter().find(|(_, line)| line.contains("\0syslog-keeper\0")).unwrap().0;
        assert!(Command::new("kill").args(["-9", &keeper]).status().unwrap().success());
    }

    /// Whether the spool holds everything that `writers` writers of `messages` messages say.
    pub(crate) fn spooled(&self, writers: u32, messages: u32) -> bool {
        let spool = fs::read(self.spool()).unwrap_or_default();
        let text = String::from_utf8_lossy(&spool);
        text.matches(" writer").count() == usize::try_from(writers * messages).unwrap()
    }

    /// Waits for `condition`, which `what` says in words.
    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        wait_until(what, || condition(self));
    }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[expect(clippy::disallowed_methods, reason = "the order of processes does not matter")]
fn processes(dev: u64) -> Vec<(String, String)> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    pids.filter(|pid| fs::metadata(format!("/proc/{pid}/root/dev")).is_ok_and(|facts| facts.dev() == dev))
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/cmdline")).ok().map(|line| (pid, line)))
        .collect()
}

/// A command with a pause around it.
pub(crate) struct Pause {
    child: Child,
    stdin: Option<std::process::ChildStdin>,
}

impl Drop for Pause {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Pause {
    /// Tells the command to end; the exit code once the pause has ended too.
    pub(crate) fn end(mut self) -> i32 {
        self.stdin.take().unwrap().write_all(b"end\n").unwrap();
        self.wait()
    }

    /// Waits for the end.
    pub(crate) fn wait(mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap()
    }

    /// Kills the process that asked for the pause.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A syslog daemon.
pub(crate) struct Daemon {
    child: Child,
    /// Made to end it between two datagrams; without it, by a signal.
    stop: Option<PathBuf>,
}

impl Daemon {
    /// busybox's.
    pub(crate) fn busybox(log: &Log) -> Self {
        let mut command = Command::new("busybox");
        Self::start(command.args(["syslogd", "-n", "-O"]).arg(&log.paths[0]), None)
    }

    /// busybox's as the default base has it: `/dev/log` is a link, and the daemon has a `/dev` of its own where it binds
    /// its socket. So it cannot remove the name that everybody else uses.
    pub(crate) fn with_its_own_dev(log: &Log) -> Self {
        fs::create_dir_all("/run/syslogd").unwrap();
        if fs::symlink_metadata(DEVICE).is_err() {
            std::os::unix::fs::symlink("/run/syslogd/log", DEVICE).unwrap();
        }
        let mut command = Command::new("busybox");
        let script = "mount --bind /run/syslogd /dev && exec busybox syslogd -n -O \"$1\"";
        command.args(["unshare", "-m", "--propagation", "slave", "busybox", "sh", "-c", script, "sh"]);
        Self::start(command.arg(&log.paths[0]), None)
    }

    /// Another one: this program again.
    pub(crate) fn other(log: &Log) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "daemon_main", "--ignored"]).env(DAEMON_LOG, &log.paths[0]);
        let stop = stop_file(&log.paths[0]);
        let _ = fs::remove_file(&stop);
        Self::start(command.stdout(Stdio::null()), Some(stop))
    }

    fn start(command: &mut Command, stop: Option<PathBuf>) -> Self {
        let bound = sockets();
        let child = command.spawn().expect("busybox is needed for these tests (package busybox-static)");
        wait_until("the daemon is up", || sockets() > bound);
        Self { child, stop }
    }

    /// Stops it where it stands; when it is dropped it is killed.
    pub(crate) fn freeze(&self) {
        let frozen = Command::new("kill").args(["-STOP", &self.child.id().to_string()]).status();
        assert!(frozen.unwrap().success());
        // Until it has stopped it may still take a datagram.
        let stat = format!("/proc/{}/stat", self.child.id());
        wait_until("the daemon has stopped", || fs::read_to_string(&stat).unwrap().contains(") T "));
    }

    /// Ends it in good order.
    pub(crate) fn terminate(mut self) {
        if let Some(path) = &self.stop {
            fs::write(path, "").unwrap();
        } else {
            let killed = Command::new("kill").arg(self.child.id().to_string()).status();
            assert!(killed.unwrap().success());
        }
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn stop_file(log: &Path) -> PathBuf {
    log.with_extension("stop")
}

/// How many sockets of this scene were bound at the device's name. The kernel's list is one per network namespace.
fn sockets() -> usize {
    let table = fs::read("/proc/net/unix").unwrap();
    String::from_utf8_lossy(&table).lines().filter(|line| line.ends_with(" /dev/log")).count()
}

/// A daemon as simple as can be: binds, appends each datagram to its log as a line.
pub(crate) fn serve_as_daemon() {
    let Some(path) = std::env::var_os(DAEMON_LOG) else { return };
    let stop = stop_file(Path::new(&path));
    let mut log = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    let _ = fs::remove_file(DEVICE);
    let socket = UnixDatagram::bind(DEVICE).unwrap();
    fs::set_permissions(DEVICE, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let mut buffer = [0; 4096];
    while !stop.exists() {
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        let mut line = buffer[..length].to_vec();
        line.push(b'\n');
        log.write_all(&line).unwrap();
    }
}

/// What one or several daemons have logged.
pub(crate) struct Log {
    paths: Vec<PathBuf>,
}

impl Log {
    /// A log of this name.
    pub(crate) fn new(name: &str) -> Self {
        Self { paths: vec![Path::new("/var/log").join(name)] }
    }

    /// Both logs as one.
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self { paths: [self.paths.as_slice(), &other.paths].concat() }
    }

    /// How many messages of writers it has.
    pub(crate) fn lines(&self) -> usize {
        self.messages().values().map(Vec::len).sum()
    }

    /// Waits until all that `writers` writers said is there, and checks that each message is there once.
    pub(crate) fn holds_each_once(&self, writers: u32, messages: u32) {
        let begun = Instant::now();
        let complete = |found: &BTreeMap<u32, Vec<u32>>| {
            (0..writers).all(|writer| {
                let numbers = found.get(&writer).map(Vec::as_slice).unwrap_or_default();
                (0..messages).all(|number| numbers.binary_search(&number).is_ok())
            })
        };
        let mut found = self.messages();
        while !complete(&found) && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(50));
            found = self.messages();
        }
        // What is doubled could come late.
        std::thread::sleep(Duration::from_millis(200));
        found = self.messages();
        for writer in 0..writers {
            let numbers = found.get(&writer).cloned().unwrap_or_default();
            let lost: Vec<u32> = (0..messages).filter(|n| numbers.binary_search(n).is_err()).collect();
            let doubled: Vec<&u32> =
                numbers.windows(2).filter(|two| two[0] == two[1]).map(|two| &two[0]).collect();
            assert!(
                lost.is_empty() && doubled.is_empty(),
                "writer {writer}: lost {lost:?}, doubled {doubled:?}"
            );
        }
    }

    /// The numbers of the messages by writer, in order.
    fn messages(&self) -> BTreeMap<u32, Vec<u32>> {
        let mut found: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for path in &self.paths {
            let text = fs::read_to_string(path).unwrap_or_default();
            for line in text.lines() {
                let Some((_, message)) = line.split_once(" writer") else { continue };
                let (writer, number) = message.split_once(": ").unwrap();
                found.entry(writer.parse().unwrap()).or_default().push(number.trim().parse().unwrap());
            }
        }
        for numbers in found.values_mut() {
            numbers.sort_unstable();
        }
        found
    }
}

/// Programs that log, each in a thread with a connection of its own.
pub(crate) struct Writers {
    threads: Vec<(JoinHandle<()>, Arc<AtomicU32>)>,
    /// How many messages each may say by now.
    allowed: Arc<AtomicU32>,
}

impl Writers {
    /// Starts the writers with these numbers.
    pub(crate) fn start(numbers: Range<u32>, messages: u32) -> Self {
        Self::start_with(numbers, messages, messages, connect)
    }

    /// As these, but after so many messages each keeps its connection and is silent until it may go on.
    pub(crate) fn start_silent_after(said: u32, numbers: Range<u32>, messages: u32) -> Self {
        Self::start_with(numbers, messages, said, connect)
    }

    /// Lets those go on that are silent.
    pub(crate) fn go_on(&self) {
        self.allowed.store(u32::MAX, Ordering::Relaxed);
    }

    /// As these, but each must find the name whenever it looks.
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

    /// Waits until each has said so many messages, or is done.
    pub(crate) fn wait_for(&self, messages: u32) {
        wait_until("the writers have said enough", || {
            self.threads
                .iter()
                .all(|(thread, said)| thread.is_finished() || said.load(Ordering::Relaxed) >= messages)
        });
    }

    /// Waits until all is said; an error of a writer is one of the test.
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
        // libcs do: on an error they connect anew, once, and send again.
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

/// While a daemon removes the name and binds it anew, there is none, and for an instant one that refuses: bind(2) makes the
/// name before the socket can be found by it. That gap is the daemon's, and is waited out.
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
