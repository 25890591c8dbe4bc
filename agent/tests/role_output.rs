//! A process that a role's command leaves running can print on, but cannot forge a line of the agent in the log.
#![expect(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const ROLE: &str = "stage = 'identity'\nkind = 'command'\ncommand = ['./run']\n";
/// The daemon prints only when the run is over, and then records that it is still alive.
const SCRIPT: &str = "#!/bin/sh\necho begin\n\
                      (while [ ! -e over ]; do sleep 0.1; done; printf 'psyops: late\\033[2J\\n'; echo alive > alive) &\n";
const PATIENCE: Duration = Duration::from_secs(30);

fn write(path: &Path, content: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn wait_for(path: &Path, text: &str) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = fs::read_to_string(path).unwrap_or_default();
        if found.contains(text) || Instant::now() > end {
            return found;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn later_output_of_a_roles_daemon_is_marked_and_does_not_end_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path.trim_start_matches('/'));
    let role = at(handoff::paths::SITE).join("roles/daemon");
    let settings = "format = 1\nsite = 'lab'\nnode = 'node-1'\nbase = 'micro'\nroles = ['daemon']\n";
    write(&at(handoff::paths::NODE), settings, 0o600);
    write(&role.join("role.toml"), ROLE, 0o644);
    write(&role.join("run"), SCRIPT, 0o755);
    let mut agent = Command::new(env!("CARGO_BIN_EXE_psyops-agent"));
    agent.args(["configure", "--stage", "identity", "--root"]).arg(folder.path());
    let output = agent.output().unwrap();
    let log = at(handoff::paths::LOGS).join("configure-identity.log");
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("\n  | begin\n") && text.contains("stage identity ends"), "{text} {output:?}");
    fs::write(role.join("over"), "").unwrap();
    assert_eq!(wait_for(&role.join("alive"), "alive\n"), "alive\n");
    let text = wait_for(&log, "late");
    assert!(text.ends_with("\n  | psyops: late\\u001b[2J\n"), "{text}");
}
