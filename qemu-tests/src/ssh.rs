//! Logging in to a booted node through a port of the loopback, with the host keys that the site lists.

use crate::command::succeed;
use crate::site_fixture::SiteFixture;
use anyhow::{Context as _, Result, bail, ensure};
use handoff::paths::BOOT_REPORT;
use handoff::report::{BootReport, Configure};
use std::fs;
use std::io::{Seek as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The pause between two attempts to log in to a node that is still starting.
const PAUSE: Duration = Duration::from_secs(1);

/// An SSH client for a node.
#[derive(Debug)]
pub struct Ssh {
    port: u16,
    key: PathBuf,
    folder: TempDir,
}

impl Ssh {
    /// Chooses a free port, and writes a file with the host keys of the site's nodes.
    pub fn new(fixture: &SiteFixture) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = tempfile::tempdir()?;
        let hosts = succeed(fixture.psyops().arg("known-hosts").arg("--site").arg(fixture.site()))?;
        fs::write(folder.path().join("known_hosts"), hosts.stdout)?;
        Ok(Self { port, key: fixture.ssh_key(), folder })
    }

    /// Chooses a free port for a machine in rescue, whose host key is new each time.
    pub fn to_rescue(fixture: &SiteFixture) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(Self { port, key: fixture.ssh_key(), folder: tempfile::tempdir()? })
    }

    /// Waits for the server, and accepts its key if it has the fingerprint on the console.
    pub fn trust_what_is_shown(&self, fingerprint: &str, deadline: Duration) -> Result<()> {
        let end = Instant::now() + deadline;
        loop {
            let port = self.port.to_string();
            let scan = Command::new("ssh-keyscan")
                .args(["-T", "10", "-t", "ed25519", "-p", &port, "127.0.0.1"])
                .output()?;
            let line = String::from_utf8_lossy(&scan.stdout).into_owned();
            if let Some((_, key)) =
                line.lines().find(|line| !line.starts_with('#')).and_then(|line| line.split_once(' '))
            {
                let hosts = self.folder.path().join("known_hosts");
                fs::write(&hosts, format!("rescue {key}\n"))?;
                let shown = succeed(Command::new("ssh-keygen").arg("-lf").arg(&hosts))?;
                let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
                ensure!(
                    shown.contains(fingerprint),
                    "{fingerprint} stands on the console, the server has {shown}"
                );
                return Ok(());
            }
            ensure!(Instant::now() < end, "no server: {}", String::from_utf8_lossy(&scan.stderr));
            thread::sleep(PAUSE);
        }
    }

    /// The local port to forward.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    fn command(&self, node: &str, script: &str) -> Command {
        let mut ssh = self.options(node);
        ssh.args(["root@127.0.0.1", "--", script]);
        ssh
    }

    fn options(&self, node: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]);
        ssh.args([
            "-o",
            "ConnectTimeout=20",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "GlobalKnownHostsFile=/dev/null",
        ]);
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", self.folder.path().join("known_hosts").display()));
        // The port is the test's, but the key is known under the node's name.
        ssh.arg("-o").arg(format!("HostKeyAlias={node}"));
        ssh.arg("-i").arg(&self.key).arg("-p").arg(self.port.to_string());
        ssh
    }

    /// Runs a shell command on the node and returns what it printed; its exit status does not matter.
    pub fn run(&self, node: &str, script: &str) -> Result<String> {
        self.run_with_input(node, script, &[])
    }

    /// The same, with input for the command.
    pub fn run_with_input(&self, node: &str, script: &str, input: &[u8]) -> Result<String> {
        self.wait_until_up(node, Duration::from_secs(90))?;
        let mut file = tempfile::tempfile()?;
        file.write_all(input)?;
        file.rewind()?;
        let output = self.command(node, script).stdin(file).output();
        let output = output.context("starting ssh (package openssh-client)")?;
        // 255 is ssh's own failure.
        ensure!(output.status.code() != Some(255), "ssh: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Logs in on a terminal, types the input, and returns the output.
    pub fn log_in(&self, node: &str, input: &[u8]) -> Result<String> {
        let mut file = tempfile::tempfile()?;
        file.write_all(input)?;
        file.rewind()?;
        let mut ssh = self.options(node);
        let output = ssh.args(["-tt", "root@127.0.0.1"]).stdin(file).output();
        Ok(String::from_utf8_lossy(&output.context("starting ssh (package openssh-client)")?.stdout)
            .into_owned())
    }

    /// Requests a subsystem (sftp); returns whether it was started.
    pub fn has_subsystem(&self, node: &str, name: &str) -> Result<bool> {
        let mut ssh = self.options(node);
        let output = ssh.args(["-s", "root@127.0.0.1", name]).stdin(std::process::Stdio::null()).output();
        Ok(output.context("starting ssh (package openssh-client)")?.status.success())
    }

    /// Waits until a login succeeds. A wrong host key is an error at once.
    pub fn wait_until_up(&self, node: &str, deadline: Duration) -> Result<()> {
        let end = Instant::now() + deadline;
        loop {
            let output =
                self.command(node, "true").output().context("starting ssh (package openssh-client)")?;
            // 255 is ssh's own failure; with any other exit code the login succeeded, even if the node lacks this
            // command.
            if output.status.code() != Some(255) {
                return Ok(());
            }
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(!said.contains("Host key verification failed"), "the host key is not the seal's: {said}");
            ensure!(Instant::now() < end, "no way in: {said}");
            thread::sleep(PAUSE);
        }
    }

    /// Waits for the end of the configuration run in the report file.
    pub fn wait_for_report(&self, node: &str, deadline: Duration) -> Result<BootReport> {
        let end = Instant::now() + deadline;
        while Instant::now() < end {
            let text = self.run(node, &format!("cat {BOOT_REPORT}"))?;
            let report: BootReport = serde_json::from_str(&text).context("reading the boot report")?;
            if report.configure != Configure::Pending {
                return Ok(report);
            }
            thread::sleep(PAUSE);
        }
        bail!("the configuration run did not end in {} s", deadline.as_secs())
    }
}
