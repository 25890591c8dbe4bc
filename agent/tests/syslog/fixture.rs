//! Namespaces, daemons, writers and logs for the tests.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) const DEVICE: &str = "/dev/log";
const INSIDE: &str = "PSYOPS_TEST_INSIDE";
const DAEMON_LOG: &str = "PSYOPS_TEST_DAEMON_LOG";
const DEADLINE: Duration = Duration::from_mins(1);

/// The private system of one test, in its own namespaces.
pub(crate) struct Fixture {
    agent: &'static str,
    spool: PathBuf,
    /// The device number of `/dev`, which no other fixture has.
    dev: u64,
}

impl Fixture {
    /// Runs the test `name` again inside its own namespaces and returns `None`, or, inside, the fixture.
    pub(crate) fn enter(name: &str) -> Option<Self> {
        if std::env::var_os(INSIDE).is_some() {
            let spool = PathBuf::from("/var/log/psyops/syslog.spool");
            let dev = fs::metadata("/dev").unwrap().dev();
            return Some(Self { agent: env!("CARGO_BIN_EXE_psyops-agent"), spool, dev });
        }
        let script =
            "set -e; mkdir -p /run; mount -t tmpfs none /run; mount -t tmpfs none /var/log; mkdir /run/dev
            mount -t tmpfs none /run/dev
            for d in null zero urandom; do : > /run/dev/$d; mount --bind /dev/$d /run/dev/$d; done
            mount --move /run/dev /dev; mkdir -p /var/run; exec \"$@\"";
        let mut unshare = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            // With a range of subordinate uids, so that there are other users.
            unshare.args(["--user", "--map-root-user", "--map-auto"]);
        }
        // Only in its own process namespace may root of a user namespace name other processes as senders.
        unshare.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        let status = unshare
            .args(["--propagation", "private", "sh", "-c", script, "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, "1")
            .status()
            .expect("unshare is needed for these tests (package util-linux)");
        assert!(status.success(), "{name}: {status}");
        None
    }

    /// The path of the agent's program.
    pub(crate) fn agent(&self) -> &str {
        self.agent
    }

    /// The path of the spool during a pause.
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

    /// Kills the proxy of the running pause.
    pub(crate) fn kill_proxy(&self) {
        let proxy = self.proxy().expect("a proxy runs");
        assert!(Command::new("kill").args(["-9", &proxy]).status().unwrap().success());
    }

    /// The process that has the log socket during a pause.
    pub(crate) fn proxy(&self) -> Option<String> {
        processes(self.dev)
            .into_iter()
            .find(|(_, line)| line.contains("\0syslog-proxy\0"))
            .map(|(pid, _)| pid)
    }

    /// The peak memory of the proxy, in KiB.
    pub(crate) fn memory_of_proxy(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.proxy().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Whether the spool has all messages of `writers` writers with `messages` messages each.
    pub(crate) fn spooled(&self, writers: u32, messages: u32) -> bool {
        let spool = fs::read(self.spool()).unwrap_or_default();
        let text = String::from_utf8_lossy(&spool);
        text.matches(" writer").count() == usize::try_from(writers * messages).unwrap()
    }

    /// Waits for `condition`, which `what` describes.
    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        wait_until(what, || condition(self));
    }
}

/// The state of the pause in the proxy's file.
pub(crate) fn state() -> serde_json::Value {
    serde_json::from_slice(&fs::read("/run/psyops/syslog-pause.json").unwrap()).unwrap()
}

pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
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
    /// Tells the command to end; returns the exit code once the pause has ended too.
    pub(crate) fn end(mut self) -> i32 {
        self.stdin.take().unwrap().write_all(b"end\n").unwrap();
        self.wait()
    }

    /// Waits for the end; returns the exit code.
    pub(crate) fn wait(mut self) -> i32 {
        wait_until("the pause has ended", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap().code().unwrap()
    }

    /// Kills the process that requested the pause.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A syslog daemon.
pub(crate) struct Daemon {
    child: Child,
    /// A file that ends it between two datagrams when it is made; without one, a signal ends it.
    stop: Option<PathBuf>,
}

impl Daemon {
    /// The syslog daemon of busybox.
    pub(crate) fn busybox(log: &Log) -> Self {
        let mut command = Command::new("busybox");
        Self::start(command.args(["syslogd", "-n", "-O"]).arg(&log.paths[0]), None)
    }

    /// busybox's daemon as on the default base: `/dev/log` is a link, and the daemon has its own `/dev` in which it
    /// binds its socket. So it cannot remove the name that other programs use.
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

    /// A different daemon: this test program.
    pub(crate) fn other(log: &Log) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "daemon_main", "--ignored"]).env(DAEMON_LOG, &log.paths[0]);
        let stop = stop_file(&log.paths[0]);
        let _ = fs::remove_file(&stop);
        Self::start(command.stdout(Stdio::null()), Some(stop))
    }

    /// Any program that binds the device's name.
    pub(crate) fn program(command: &mut Command) -> Self {
        Self::start(command, None)
    }

    /// Kills it at once.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn start(command: &mut Command, stop: Option<PathBuf>) -> Self {
        let bound = sockets();
        let child = command.spawn().expect("busybox is needed for these tests (package busybox-static)");
        wait_until("the daemon is up", || sockets() > bound);
        Self { child, stop }
    }

    /// Stops it (SIGSTOP); when it is dropped it is killed.
    pub(crate) fn freeze(&self) {
        let frozen = Command::new("kill").args(["-STOP", &self.child.id().to_string()]).status();
        assert!(frozen.unwrap().success());
        // Until it has stopped it may still receive a datagram.
        let stat = format!("/proc/{}/stat", self.child.id());
        wait_until("the daemon has stopped", || fs::read_to_string(&stat).unwrap().contains(") T "));
    }

    /// Ends it with SIGTERM.
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

/// How many sockets of this fixture were bound at the device's name. The kernel's list is one per network namespace.
fn sockets() -> usize {
    let table = fs::read("/proc/net/unix").unwrap();
    String::from_utf8_lossy(&table).lines().filter(|line| line.ends_with(" /dev/log")).count()
}

/// A minimal daemon: binds the socket, and appends each datagram to its log as a line.
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

/// The log of one or several daemons.
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

    /// The path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.paths[0]
    }

    /// The number of writers' messages in it.
    pub(crate) fn lines(&self) -> usize {
        self.messages().values().map(Vec::len).sum()
    }

    /// Waits until all messages of `writers` writers are there, and checks that each is there once.
    pub(crate) fn holds_each_once(&self, writers: u32, messages: u32) {
        self.holds_each_once_of(0..writers, messages);
    }

    /// The same, for the writers with these numbers.
    pub(crate) fn holds_each_once_of(&self, writers: Range<u32>, messages: u32) {
        let doubled = self.holds_each_of(writers, messages);
        assert!(doubled.is_empty(), "doubled {doubled:?}");
    }

    /// Waits until all messages of `writers` writers are there; some may be there twice.
    pub(crate) fn holds_each(&self, writers: u32, messages: u32) {
        self.holds_each_of(0..writers, messages);
    }

    /// Waits for all messages; returns those that are there more than once.
    fn holds_each_of(&self, writers: Range<u32>, messages: u32) -> Vec<(u32, u32)> {
        let begun = Instant::now();
        let complete = |found: &BTreeMap<u32, Vec<u32>>| {
            writers.clone().all(|writer| {
                let numbers = found.get(&writer).map(Vec::as_slice).unwrap_or_default();
                (0..messages).all(|number| numbers.binary_search(&number).is_ok())
            })
        };
        let mut found = self.messages();
        while !complete(&found) && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(50));
            found = self.messages();
        }
        // A duplicate could come late.
        std::thread::sleep(Duration::from_millis(200));
        found = self.messages();
        let mut all_doubled = Vec::new();
        for writer in writers {
            let numbers = found.get(&writer).cloned().unwrap_or_default();
            let lost: Vec<u32> = (0..messages).filter(|n| numbers.binary_search(n).is_err()).collect();
            assert!(lost.is_empty(), "writer {writer}: lost {lost:?}");
            let doubled = numbers.windows(2).filter(|two| two[0] == two[1]).map(|two| (writer, two[0]));
            all_doubled.extend(doubled);
        }
        all_doubled
    }

    /// The numbers of the messages by writer, in order.
    fn messages(&self) -> BTreeMap<u32, Vec<u32>> {
        let mut found: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for path in &self.paths {
            let text = fs::read_to_string(path).unwrap_or_default();
            for line in text.lines() {
                let Some((_, message)) = line.split_once(" writer") else { continue };
                let (writer, number) = message.split_once(": ").unwrap();
                let writer = writer.split_once('[').map_or(writer, |(writer, _)| writer);
                let number = number.split([' ', '\n']).next().unwrap_or_default();
                found.entry(writer.parse().unwrap()).or_default().push(number.parse().unwrap());
            }
        }
        for numbers in found.values_mut() {
            numbers.sort_unstable();
        }
        found
    }
}
