//! The log of the workstation's commands: what `-v` and `PSYOPS_LOG` select, its lines as JSON, and what is never in it.

use crate::common::Fixture;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The beginning of a line of the log in JSON.
pub(crate) const BEGINNING: &str = r#"{"time":"#;

/// The lines of the log in JSON on standard error.
fn lines(output: &Output) -> Vec<Value> {
    lines_of(&String::from_utf8(output.stderr.clone()).unwrap())
}

fn lines_of(text: &str) -> Vec<Value> {
    let lines: Vec<Value> = text
        .lines()
        .filter(|line| line.starts_with(BEGINNING))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // The rest has the same form, and checking each line takes long.
    let ends = |line: &&Value| line["took_ms"].is_u64();
    for line in lines.iter().find(|line| ends(line)).into_iter().chain(lines.iter().find(|line| !ends(line)))
    {
        crate::schemas::check("log-line", line).unwrap();
    }
    lines
}

/// The values of a field of the spans that ended, in order.
fn ended<'l>(lines: &'l [Value], span: &str, field: &str) -> Vec<&'l Value> {
    let of_span = lines.iter().filter(|line| line["span"] == span && line["took_ms"].is_u64());
    of_span.map(|line| &line["spans"].as_array().unwrap().last().unwrap()["fields"][field]).collect()
}

fn levels(lines: &[Value]) -> BTreeSet<&str> {
    lines.iter().filter_map(|line| line["level"].as_str()).collect()
}

const SECRET_PARTITION: [&str; 7] =
    ["mksecrets", "--site", "site", "--node", "pi1", "--output", "secret.img"];

fn mksecrets(fixture: &Fixture, options: &[&str], variable: Option<&str>) -> Output {
    let mut command = fixture.command(env!("CARGO_BIN_EXE_psyops"));
    command.args(options).args(SECRET_PARTITION).env_remove("PSYOPS_LOG");
    if let Some(value) = variable {
        command.env("PSYOPS_LOG", value);
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    output
}

#[test]
fn without_v_and_psyops_log_nothing_is_logged_and_the_result_is_the_same_with_them() {
    let fixture = Fixture::new();
    let made = mksecrets(&fixture, &[], None);
    assert_eq!(
        String::from_utf8(made.stderr).unwrap(),
        "made new keys for the node pi1: commit them with the site\nmade the seal of node pi1, generation 1: there was none\n"
    );
    let again = mksecrets(&fixture, &[], None);
    assert_eq!(again.stderr, b"");
    for value in ["", "off", "builder=off"] {
        assert_eq!(mksecrets(&fixture, &[], Some(value)).stderr, b"", "{value:?}");
    }
    for options in [&["-vvv"][..], &["-vvv", "--log-format", "json"]] {
        let logged = mksecrets(&fixture, options, None);
        assert_eq!(logged.stdout, again.stdout, "{options:?}");
        assert_ne!(logged.stderr, b"", "{options:?}");
    }
}

#[test]
fn each_v_logs_more_and_psyops_log_selects_modules() {
    let fixture = Fixture::new();
    let json = ["--log-format", "json"];
    mksecrets(&fixture, &[], None);
    let log = |options: &[&str], variable: Option<&str>| {
        lines(&mksecrets(&fixture, &[&json[..], options].concat(), variable))
    };
    let steps = log(&["-v"], None);
    assert_eq!(levels(&steps), ["info"].into());
    assert!(!ended(&steps, "site", "dir").is_empty(), "{steps:#?}");
    let tools = log(&["-vv"], None);
    assert_eq!(levels(&tools), ["debug", "info"].into());
    assert_eq!(ended(&tools, "tool", "program"), ["mke2fs", "debugfs"]);
    assert_eq!(ended(&tools, "tool", "exit_code"), [0, 0]);
    assert_eq!(levels(&log(&["-vvv"], None)), ["debug", "info", "trace"].into());
    // The command line takes precedence.
    assert_eq!(levels(&log(&["-v"], Some("trace"))), ["info"].into());
    assert_eq!(levels(&log(&[], Some("trace"))), ["debug", "info", "trace"].into());
    let tools = log(&[], Some("builder::tools=debug"));
    assert_eq!(tools.len(), 2, "{tools:#?}");
    let rest = log(&[], Some("debug,builder::tools=off"));
    assert!(!rest.is_empty() && ended(&rest, "tool", "program").is_empty(), "{rest:#?}");
}

#[test]
fn a_wrong_psyops_log_is_wrong_use_of_every_program() {
    let fixture = Fixture::new();
    let psyops = env!("CARGO_BIN_EXE_psyops");
    let words = [
        (psyops, &["trust", "show", "--site", "site"][..]),
        (psyops, &["-v", "trust", "show", "--site", "site"]),
        (env!("CARGO_BIN_EXE_build-image"), &["--site", "site", "--node", "pi1"]),
        (env!("CARGO_BIN_EXE_mksecrets"), &["--site", "site", "--node", "pi1", "--output", "s.img"]),
    ];
    for (program, words) in words {
        for (value, message) in [
            (
                "loud",
                "error: PSYOPS_LOG: \"loud\" is not a level: use off, error, warn, info, debug or trace\n",
            ),
            (
                "hyper=trace",
                "error: PSYOPS_LOG: \"hyper\" is not a part of these programs: use builder or agent, or a module in it \
                 such as builder::tools\n",
            ),
            (
                "a\u{1b}[2J\n",
                "error: PSYOPS_LOG: \"a\\u{1b}[2J\" is not a level: use off, error, warn, info, debug or trace\n",
            ),
        ] {
            let output = fixture.command(program).args(words).env("PSYOPS_LOG", value).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{program} {value:?}: {output:?}");
            assert_eq!(String::from_utf8(output.stderr).unwrap(), message, "{program}");
            assert_eq!(output.stdout, b"");
        }
    }
    assert!(!fixture.at("s.img").exists());
}

#[test]
fn with_json_the_log_is_json_too() {
    let fixture = Fixture::new();
    let output = fixture.psyops(&["seal", "--all", "--site", "site", "--json", "-v"]);
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{text}");
    assert!(!lines(&output).is_empty(), "{text}");
    serde_json::from_slice::<Value>(&output.stdout).unwrap();
}

/// `script` (bsdutils, on every Debian) is the terminal.
#[test]
fn on_a_terminal_a_log_line_takes_the_place_of_a_line_of_progress() {
    let fixture = Fixture::new();
    let mut script = fixture.command("script");
    let line = format!("exec {} -v trust show --site site >/dev/null", env!("CARGO_BIN_EXE_psyops"));
    let output = script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let logged: Vec<&str> = text.split_inclusive("\r\n").collect();
    assert!(!logged.is_empty());
    for line in logged {
        let line = line.strip_prefix('\r').and_then(|line| line.strip_suffix("\u{1b}[K\r\n"));
        let line = line.unwrap_or_else(|| panic!("{text:?}"));
        assert!(line.contains(" INFO  builder::") && !line.contains(char::is_control), "{line:?}");
    }
}

/// A name with control characters, from a command line or a site, is one line of plain text in both forms of the log.
#[test]
fn a_hostile_name_cannot_forge_a_line_of_the_log() {
    let fixture = Fixture::new();
    let name = "s\n2026-01-01T00:00:00.000Z INFO  builder: forged\u{1b}[2J\u{202e}";
    fs::rename(fixture.at("site"), fixture.at(name)).unwrap();
    for format in ["text", "json"] {
        let output = fixture.psyops(&["-v", "--log-format", format, "keys", "status", "--site", name]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = String::from_utf8(output.stderr.clone()).unwrap();
        assert!(text.contains("\\n2026-01-01") && text.contains("\\u001b[2J\\u202e"), "{text}");
        assert!(
            text.lines().all(|line| !line.contains(" INFO  builder: ") || !line.starts_with("2026-01-01"))
        );
        assert!(text.lines().all(|line| !line.chars().any(handoff::shown::must_be_escaped)), "{text:?}");
        if format == "json" {
            assert_eq!(ended(&lines(&output), "site", "dir")[0], name);
        }
    }
}

/// Checks that the log of `build-image --json -vvv` has the steps that the result names, each with its origin and its
/// spans.
pub(crate) fn check_build(result: &str, log: &str) {
    let (result, log): (Value, _) = (serde_json::from_str(result).unwrap(), lines_of(log));
    let nodes = result["nodes"].as_array().map_or_else(|| vec![&result], |nodes| nodes.iter().collect());
    let steps = nodes.iter().flat_map(|node| node["steps"].as_array().unwrap());
    let origin = |made: &Value| if *made == true { "built" } else { "cached" };
    let named: BTreeSet<(&str, &str)> =
        steps.map(|step| (step["step"].as_str().unwrap(), origin(&step["made"]))).collect();
    let logged = ended(&log, "step", "step").into_iter().zip(ended(&log, "step", "origin"));
    let logged: BTreeSet<(&str, &str)> =
        logged.map(|(step, origin)| (step.as_str().unwrap(), origin.as_str().unwrap())).collect();
    assert_eq!(logged, named);
    assert!(named.len() > 5, "{named:?}");
    let images: Vec<&Value> = log
        .iter()
        .map(|line| &line["spans"])
        .filter(|spans| spans[2]["fields"]["step"] == "image" && spans[3].is_null())
        .collect();
    for spans in &images {
        let path: Vec<&Value> = spans.as_array().unwrap().iter().map(|span| &span["name"]).collect();
        assert_eq!(path, ["build", "node", "step"]);
        assert_eq!(spans[0]["fields"], json!({"site": nodes[0]["site"], "release": nodes[0]["release"]}));
    }
    let logged: BTreeSet<_> = images.iter().map(|spans| spans[1]["fields"]["node"].as_str()).collect();
    assert_eq!(logged, nodes.iter().map(|node| node["node"].as_str()).collect());
}

/// A value of a secret that no log may have.
pub(crate) const VALUE: &str = "wifi-passphrase-5QGdJ2";

/// Gives the node `pi1` of the site in `home` the secret [`VALUE`].
pub(crate) fn add_secret(home: &Path) {
    let mut set = Command::new(env!("CARGO_BIN_EXE_psyops"));
    set.args(["secret", "set", "wifi", "--site", "site"]).current_dir(home);
    let mut set = set.env("XDG_CONFIG_HOME", home.join("config")).stdin(Stdio::piped()).spawn().unwrap();
    set.stdin.take().unwrap().write_all(VALUE.as_bytes()).unwrap();
    assert!(set.wait().unwrap().success());
    let node = home.join("site/nodes/pi1.toml");
    let text = fs::read_to_string(&node).unwrap();
    fs::write(&node, text + "\n[[file]]\nsecret = \"wifi\"\npath = \"wifi\"\n").unwrap();
}

/// The private keys of the site in `home`, as they are in their files.
pub(crate) fn private_keys(home: &Path) -> [String; 2] {
    let key = |name: &str| fs::read_to_string(home.join("config/psyops/lab").join(name)).unwrap();
    let identity = key("admin.age.txt");
    let identity = identity.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap();
    [identity.to_owned(), key("signing.key").lines().nth(1).unwrap().to_owned()]
}

/// Checks that no secret is in a log with everything in it.
pub(crate) fn check_secrets(log: &str, private_keys: &[String]) {
    assert!(log.contains(r#""level":"trace""#), "{log}");
    let any = ["AGE-SECRET-KEY-", "PRIVATE KEY", VALUE, PASSPHRASE];
    for secret in any.into_iter().chain(private_keys.iter().map(String::as_str)) {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}

const PASSPHRASE: &str = "correct horse battery 7XwP";

#[test]
fn no_secret_key_or_passphrase_is_in_the_log() {
    let fixture = Fixture::new();
    add_secret(fixture.folder.path());
    let keys = private_keys(fixture.folder.path());
    fs::write(fixture.at("passphrase"), format!("{PASSPHRASE}\n")).unwrap();
    let locked = ["--passphrase-fd", "0"];
    for words in [
        &["keys", "passphrase", "--site", "site", "--new-passphrase-fd", "0"][..],
        &[&["seal", "--all", "--site", "site"][..], &locked].concat(),
        &[&SECRET_PARTITION[..], &locked].concat(),
        &[&["secret", "get", "wifi", "--site", "site"][..], &locked].concat(),
    ] {
        let mut command = fixture.command(env!("CARGO_BIN_EXE_psyops"));
        command.args(["-vvv", "--log-format", "json"]).args(words);
        let output = command.stdin(fs::File::open(fixture.at("passphrase")).unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?} {output:?}");
        check_secrets(&String::from_utf8(output.stderr).unwrap(), &keys);
    }
}
