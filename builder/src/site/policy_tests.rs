//! What a site says of faults, rescue and hardening.

use super::tests::Sample;
use super::*;
use handoff::fault::{Fault, FaultAction};
use handoff::hardening::{Hardening, Modules, Trace, Who};
use handoff::login::ConsoleLogin;
use handoff::manifest::Required;
use handoff::rescue::{ConsoleAccess, RescueAccess};

#[test]
fn actions_for_faults_are_read() {
    let sample = Sample::new();
    sample.append("site.toml", "[boot.faults]\nrepair = \"rescue\"\n");
    assert_eq!(sample.load().unwrap().boot.faults.action(Fault::Repair), FaultAction::Rescue);
}

#[test]
fn an_invalid_action_is_refused_with_the_nearest_valid_one() {
    for (fault, action, nearest) in [
        ("root", "degraded", "the nearest valid one is \"reboot\""),
        ("seal", "continue", "the nearest valid one is \"degraded\""),
        ("install", "repair", "the nearest valid one is \"degraded\""),
        ("file-differs", "continue", "the nearest valid one is \"repair\""),
    ] {
        let sample = Sample::new();
        sample.append("site.toml", &format!("[boot.faults]\n{fault} = \"{action}\"\n"));
        let error = sample.error();
        assert!(matches!(error, SiteError::ActionWithoutEffect { .. }), "{error}");
        assert!(error.to_string().contains(nearest), "{error}");
    }
}

#[test]
fn the_site_can_set_a_default_for_required() {
    let sample = Sample::new();
    sample.append("site.toml", "[boot]\nrequired = \"run\"\n");
    assert_eq!(sample.load().unwrap().boot.required, Required::Run);
}

#[test]
fn rescue_can_be_commands_without_a_shell() {
    let sample = Sample::new();
    sample.edit(
        "site.toml",
        "console = \"off\"",
        "access = \"commands\"\nssh-keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA a\"]",
    );
    assert_eq!(sample.load().unwrap().rescue.access, RescueAccess::Commands);
    for (lines, problem) in [
        ("access = \"commands\"\nconsole = \"shell\"", "allows no shell"),
        ("access = \"comands\"", "commands"),
    ] {
        let sample = Sample::new();
        sample.edit("site.toml", "console = \"off\"", lines);
        let error = sample.load().unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn nodes_have_an_architecture_that_the_table_knows() {
    let sample = Sample::new();
    assert_eq!(sample.load().unwrap().architecture.name, "x86-64");
    sample.edit("site.toml", "base = \"micro\"", "base = \"micro\"\narchitecture = \"x86-64\"");
    assert_eq!(sample.load().unwrap().architecture.debian, "amd64");
    sample.edit("site.toml", "\"x86-64\"", "\"x86_64\"");
    let error = sample.error().to_string();
    assert!(error.contains("\"x86_64\"") && error.contains("\"x86-64\""), "{error}");
}

#[test]
fn hardening_is_safe_by_default_and_typed() {
    let sample = Sample::new();
    assert_eq!(sample.load().unwrap().hardening, Hardening::default());
    sample.append("site.toml", "[hardening]\nmodules = \"closed\"\ntrace = \"own\"\nbpf = \"all\"\n");
    let expected =
        Hardening { modules: Modules::Closed, trace: Trace::Own, bpf: Who::All, ..Hardening::default() };
    assert_eq!(sample.load().unwrap().hardening, expected);
    for (line, wanted) in [
        ("kernel-log = \"nobody\"", "nobody"),
        ("modules = \"close\"", "closed"),
        ("user-namespace = \"all\"", "user-namespaces"),
        ("modules = true", "expected a string"),
    ] {
        let sample = Sample::new();
        sample.append("site.toml", &format!("[hardening]\n{line}\n"));
        let error = sample.load().unwrap_err().to_string();
        assert!(error.contains(wanted), "{line}: {error}");
    }
}

#[test]
fn rescue_has_no_login_unless_the_site_allows_one() {
    let sample = Sample::new();
    assert!(!sample.load().unwrap().rescue.has_login());
    let (closed, open) = ("console = \"off\"", "console = \"shell\"\nkeep-keys = true\nretry-after = 60");
    sample.edit("site.toml", closed, open);
    let rescue = sample.load().unwrap().rescue;
    assert_eq!((rescue.console, rescue.keep_keys, rescue.retry_after), (ConsoleAccess::Shell, true, 60));
    for (lines, key) in [
        ("console = \"password\"", "password-hash"),
        ("console = \"password\"\npassword-hash = \"$6$salt$hash\"", "password-hash"),
        ("password-hash = \"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA\"", "password-hash"),
        ("ssh-keys = [\"ssh-ed25519\"]", "ssh-keys"),
        ("retry-after = 0", "retry-after"),
    ] {
        let sample = Sample::new();
        sample.edit("site.toml", closed, lines);
        let error = sample.error().to_string();
        assert!(error.contains(key), "{lines}: {error}");
    }
}

#[test]
fn a_password_needs_its_hash() {
    let hash = "$6$saltsalt$abcdefghijklmnop";
    let sample = Sample::new();
    sample.edit("site.toml", "login = \"off\"", "login = \"password\"");
    assert!(matches!(sample.error(), SiteError::MissingKey { key, .. } if key == "password-hash"));
    sample.append("site.toml", &format!("password-hash = \"{hash}\"\n"));
    assert_eq!(sample.load().unwrap().console.login, ConsoleLogin::Password(hash.parse().unwrap()));
    sample.edit("site.toml", hash, "secret");
    let text = sample.error().to_string();
    assert!(text.contains("password-hash") && !text.contains("secret"), "{text}");
}
