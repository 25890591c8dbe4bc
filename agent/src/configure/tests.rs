//! Runs of both stages in a folder in place of a root.

use super::*;
use crate::node::tests::FULL;
use crate::status::Ending;
use std::os::unix::fs::PermissionsExt as _;

struct Fixture {
    _folder: tempfile::TempDir,
    root: Root,
}

impl Fixture {
    fn new(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        file::write(&root.at(handoff::paths::NODE), settings.as_bytes(), 0o600).unwrap();
        Self { _folder: folder, root }
    }

    fn role(self, name: &str, description: &str, script: &str) -> Self {
        let folder = self.root.at(handoff::paths::SITE).join("roles").join(name);
        file::write(&folder.join("role.toml"), description.as_bytes(), 0o644).unwrap();
        file::write(&folder.join("run"), script.as_bytes(), 0o755).unwrap();
        self
    }

    fn run(&self, stage: Stage) -> StageStatus {
        run(&self.root, stage, &RunLock::take(&self.root).unwrap()).unwrap()
    }

    fn log(&self, stage: Stage) -> String {
        file::read_text(&log_path(&self.root, stage)).unwrap()
    }
}

const COMMAND: &str = "kind = 'command'\ncommand = ['./run', 'word']\n";

fn settings(roles: &str, limits: &str) -> String {
    FULL.replace("[\"hello\"]", roles).replace("deadline = 7\nretries = 1", limits)
}

#[test]
fn a_command_gets_its_environment_and_its_output_is_logged() {
    let fixture = Fixture::new(&settings("['r']", "")).role(
        "r",
        COMMAND,
        "#!/bin/sh\necho \"$1 $PSYOPS_NODE $PSYOPS_STAGE $PSYOPS_SITE_REV $PSYOPS_SECRETS\" >&2\nenv | grep -c PSYOPS\n",
    );
    file::write(&fixture.root.at("/usr/share/psyops/site/revision"), b"rev7\n", 0o644).unwrap();
    let stage = fixture.run(Stage::Configure);
    assert_eq!(stage.result, Ending::Ok, "{}", fixture.log(Stage::Configure));
    let secrets = fixture.root.at(handoff::paths::SECRETS);
    let wanted = format!("\n  | word node-1 configure rev7 {}\n  | 5\n", secrets.display());
    assert!(fixture.log(Stage::Configure).contains(&wanted), "{}", fixture.log(Stage::Configure));
    let mode = std::fs::metadata(log_path(&fixture.root, Stage::Configure)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(Status::load(&fixture.root).unwrap().stage(Stage::Configure), Some(&stage));
}

#[test]
fn a_failing_command_is_tried_again_and_the_roles_after_it_still_run() {
    let fixture = Fixture::new(&settings("['bad', 'hello']", "retries = 1"))
        .role("bad", COMMAND, "#!/bin/sh\necho try\nexit 3\n")
        .role("hello", COMMAND, "#!/bin/sh\nexit 0\n");
    let stage = fixture.run(Stage::Configure);
    assert_eq!(stage.result, Ending::Failed);
    assert_eq!((stage.roles[0].exit_status, stage.roles[0].attempts), (Some(3), 2));
    assert_eq!(stage.roles[1].result, Ending::Ok);
    assert_eq!(fixture.log(Stage::Configure).matches("try\n").count(), 2);
}

#[test]
fn a_command_that_hangs_is_killed_with_its_children() {
    let script = "#!/bin/sh\ntrap '' TERM\nsleep 1000 &\necho $! > child\nwait\nwait\n";
    let fixture = Fixture::new(&settings("['r']", "retries = 5")).role(
        "r",
        &format!("{COMMAND}deadline = 1\n"),
        script,
    );
    let stage = fixture.run(Stage::Configure);
    assert_eq!((stage.result, stage.roles[0].attempts), (Ending::Timeout, 1));
    let child = fixture.root.at("/usr/share/psyops/site/roles/r/child");
    let child = file::read_text(&child).unwrap();
    let stat = file::read_text(std::path::Path::new(&format!("/proc/{}/stat", child.trim())));
    assert!(stat.is_err() || stat.unwrap().contains(") Z "), "the child {child} was left behind");
}

#[test]
fn a_daemon_that_a_command_starts_is_not_waited_for() {
    let fixture =
        Fixture::new(&settings("['r']", "")).role("r", COMMAND, "#!/bin/sh\nsleep 1000 &\necho $! > child\n");
    let begun = since_kernel_start();
    assert_eq!(fixture.run(Stage::Configure).result, Ending::Ok);
    assert!(since_kernel_start() - begun < 10_000);
    let child = fixture.root.at("/usr/share/psyops/site/roles/r/child");
    let pid = file::read_text(&child).unwrap().trim().parse().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .expect("it still runs");
}

#[test]
fn stages_are_kept_apart_and_identity_comes_with_the_built_in_part() {
    let fixture = Fixture::new(&settings("['early', 'late']", ""))
        .role("early", &format!("stage = 'identity'\n{COMMAND}"), "#!/bin/sh\nexit 0\n")
        .role("late", COMMAND, "#!/bin/sh\nexit 0\n");
    let names = |stage: StageStatus| stage.roles.into_iter().map(|role| role.name).collect::<Vec<_>>();
    assert_eq!(names(fixture.run(Stage::Identity)), ["identity", "early"]);
    assert_eq!(names(fixture.run(Stage::Configure)), ["late"]);
    assert_eq!(Status::load(&fixture.root).unwrap().stages.len(), 2);
}

#[test]
fn faults_are_listed_in_the_status() {
    let problem = |fixture: &Fixture| fixture.run(Stage::Configure).roles[0].problem.clone().unwrap();
    let missing = Fixture::new(&settings("['nowhere']", ""));
    assert!(problem(&missing).starts_with("the role nowhere is not in this root"), "{}", problem(&missing));
    let settings_gone = Fixture::new("format = 1\n");
    assert!(problem(&settings_gone).contains("missing field"), "{}", problem(&settings_gone));
    let not_there =
        Fixture::new(&settings("['r']", "")).role("r", "kind = 'command'\ncommand = ['no-such-program']", "");
    assert!(problem(&not_there).starts_with("cannot start no-such-program"), "{}", problem(&not_there));
}

#[test]
fn a_second_run_is_refused_while_one_runs() {
    let fixture = Fixture::new(FULL);
    let lock = RunLock::take(&fixture.root).unwrap();
    assert!(matches!(RunLock::take(&fixture.root), Err(ConfigureError::Busy(_))));
    drop(lock);
    RunLock::take(&fixture.root).unwrap();
}

#[test]
fn what_a_role_prints_is_marked_and_escaped_in_the_log() {
    let script = "#!/bin/sh\nprintf 'psyops: role r: forged\\033[2J\\n'\necho 'psyops: role r: forged' >&2\n";
    let fixture = Fixture::new(&settings("['r']", "")).role("r", COMMAND, script);
    assert_eq!(fixture.run(Stage::Configure).result, Ending::Ok);
    let log = fixture.log(Stage::Configure);
    let marked = log.lines().filter(|line| line.starts_with("  | psyops: role r: forged")).count();
    assert_eq!(marked, 2, "{log}");
    assert!(log.contains("forged\\u001b[2J\n") && !log.contains('\u{1b}'), "{log}");
    assert!(!log.lines().any(|line| line.starts_with("psyops: role r: forged")), "{log}");
}

#[test]
fn a_role_that_prints_without_end_neither_fills_the_log_nor_outlives_its_deadline() {
    let fixture = Fixture::new(&settings("['r']", "retries = 0")).role(
        "r",
        &format!("{COMMAND}deadline = 1\n"),
        "#!/bin/sh\nexec yes forged\n",
    );
    assert_eq!(fixture.run(Stage::Configure).result, Ending::Timeout);
    let log = fixture.log(Stage::Configure);
    assert!(log.len() < log::MOST_OUTPUT + 1000, "{} bytes", log.len());
    let note = log
        .lines()
        .find(|line| line.starts_with("psyops: ") && line.contains("bytes of output were left out"));
    assert!(note.is_some(), "{log:.1000}");
}
