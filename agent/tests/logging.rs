//! The log of the agent: nothing without `-v`, spans as JSON lines with it, and no text of a template.
#![expect(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

const RENDERED: &str = "rendered-kQ3";

fn write(path: &Path, content: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A root with a role that is a command, and one that is a template.
fn root() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path.trim_start_matches('/'));
    let settings = format!(
        "format = 1\nsite = 'lab'\nnode = 'node-1'\nbase = 'micro'\nroles = ['motd', 'fails']\n\
         [variables]\nplace = '{RENDERED}'\n"
    );
    write(&at(handoff::paths::NODE), &settings, 0o600);
    let roles = at(handoff::paths::SITE).join("roles");
    write(&roles.join("motd/role.toml"), "stage = 'identity'\nkind = 'overlay'\n", 0o644);
    write(&roles.join("motd/templates/etc/motd"), "at {{ place }}\n", 0o644);
    write(
        &roles.join("fails/role.toml"),
        "stage = 'identity'\nkind = 'command'\ncommand = ['sh', '-c', 'echo printed-by-a-role; exit 7']\n",
        0o644,
    );
    folder
}

fn identity_stage(root: &TempDir, options: &[&str], variable: Option<&str>) -> Output {
    let mut agent = Command::new(env!("CARGO_BIN_EXE_psyops-agent"));
    agent.args(options).args(["configure", "--stage", "identity", "--root"]).arg(root.path());
    agent.env_remove("PSYOPS_LOG");
    if let Some(value) = variable {
        agent.env("PSYOPS_LOG", value);
    }
    agent.output().unwrap()
}

/// The lines of the agent's own log, which others parse.
fn configure_log(root: &TempDir) -> String {
    let path = root.path().join(handoff::paths::LOGS.trim_start_matches('/'));
    fs::read_to_string(path.join("configure-identity.log")).unwrap()
}

#[test]
fn without_v_the_agent_logs_nothing_and_with_it_its_result_is_the_same() {
    let (quiet, loud) = (root(), root());
    let output = identity_stage(&quiet, &[], None);
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(1), &b""[..]), "{output:?}");
    let logged = identity_stage(&loud, &["-vvv"], None);
    assert_eq!((logged.status.code(), &logged.stdout), (Some(1), &output.stdout));
    assert_eq!(configure_log(&loud), configure_log(&quiet));
    let text = String::from_utf8(logged.stderr).unwrap();
    assert!(text.contains(" INFO  agent::configure: stage{stage=identity} role{role=motd "), "{text}");
}

#[test]
fn a_run_is_a_stage_with_its_roles_and_no_text_of_a_template_or_role() {
    let root = root();
    let output = identity_stage(&root, &["--log-format", "json"], Some("trace"));
    let motd = fs::read_to_string(root.path().join("etc/motd")).unwrap();
    assert_eq!(motd, format!("at {RENDERED}\n"));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains(RENDERED) && !text.contains("printed-by-a-role"), "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ended = lines.iter().filter(|line| line["message"] == "ended");
    let ended: Vec<&Value> = ended.map(|line| line["spans"].as_array().unwrap().last().unwrap()).collect();
    let role = |role, action, result| json!({"name": "role", "fields": {"role": role, "action": action, "result": result}});
    assert_eq!(
        ended,
        [
            &role("motd", "overlay", "ok"),
            &role("fails", "command", "failed"),
            &json!({"name": "stage", "fields": {"stage": "identity", "result": "failed"}}),
        ]
    );
    assert!(lines.iter().all(|line| line["target"].as_str().unwrap().starts_with("agent")), "{text}");
}

#[test]
fn a_wrong_psyops_log_is_wrong_use_of_the_agent_but_does_not_stop_its_helpers() {
    let root = root();
    let output = identity_stage(&root, &[], Some("loud"));
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "psyops-agent: PSYOPS_LOG: \"loud\" is not a level: use off, error, warn, info, debug or trace\n"
    );
    assert!(!root.path().join("etc/motd").exists());
    let mut helper = Command::new(env!("CARGO_BIN_EXE_psyops-agent"));
    let output = helper.args(["-vvv", "relay-output", "10"]).env("PSYOPS_LOG", "loud").output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{output:?}");
}
