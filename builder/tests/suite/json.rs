//! Every result that a command prints for people is also available to programs: `--json`, tested with the real
//! programs.

use crate::logging;
use builder::folders::Folder;
use clap::CommandFactory as _;
use serde_json::Value;
use std::collections::BTreeSet;
use std::env;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

fn psyops(home: &Path, arguments: &[&str]) -> Command {
    let mut psyops = Command::new(env!("CARGO_BIN_EXE_psyops"));
    psyops.args(arguments).current_dir(home).env("XDG_CONFIG_HOME", home.join("config"));
    psyops
}

fn json(home: &Path, arguments: &[&str]) -> Value {
    let output = psyops(home, arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_new_site_its_nodes_and_its_values() {
    let home = TempDir::new().unwrap();
    let home = home.path();
    let made = json(home, &["init", "fleet", "--node", "pi1", "--json"]);
    assert_eq!((made["site"].as_str(), made["node"].as_str()), (Some("fleet"), Some("pi1")));
    assert!(Path::new(made["keys"].as_str().unwrap()).join("signing.key").is_file());
    let made = json(home, &["init", "fleet", "--node", "pi2", "--json"]);
    assert!(home.join(made["file"].as_str().unwrap()).ends_with("fleet/nodes/pi2.toml"));

    assert_eq!(
        json(home, &["secret", "list", "--site", "fleet", "--json"]),
        serde_json::json!({"format": 1, "names": []})
    );
    let mut set = psyops(home, &["secret", "set", "wifi", "--site", "fleet"]);
    let mut set = set.stdin(Stdio::piped()).spawn().unwrap();
    set.stdin.take().unwrap().write_all(b"a value").unwrap();
    assert!(set.wait().unwrap().success());
    assert_eq!(
        json(home, &["secret", "list", "--site", "fleet", "--json"]),
        serde_json::json!({"format": 1, "names": ["wifi"]})
    );

    let sealed = json(home, &["seal", "--site", "fleet", "--all", "--json"]);
    assert_eq!(sealed["raised"], serde_json::json!([]));
    for (seal, node) in sealed["seals"].as_array().unwrap().iter().zip(["pi1", "pi2"]) {
        assert_eq!((&seal["node"], &seal["serial"]), (&node.into(), &1.into()));
        assert_eq!(
            (&seal["keys_made"], &seal["sealed_because"][0]),
            (&true.into(), &"there was none".into())
        );
        assert!(home.join(seal["seal"].as_str().unwrap()).is_file());
    }
    let file = home.join("fleet/nodes/pi2.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text + "\n[[file]]\nsecret = \"wifi\"\npath = \"wifi\"\n").unwrap();
    let again = json(home, &["seal", "--site", "fleet", "--all", "--json"]);
    let again = &again["seals"];
    assert_eq!((&again[0]["serial"], &again[0]["sealed_because"]), (&1.into(), &serde_json::json!([])));
    assert_eq!((&again[1]["serial"], &again[1]["keys_made"]), (&2.into(), &false.into()));

    let image = home.join("pi1.secret");
    let image = image.to_str().unwrap();
    let made = json(home, &["mksecrets", "--site", "fleet", "--node", "pi1", "--output", image, "--json"]);
    assert_eq!(made["node"].as_str(), Some("pi1"));
    let known = json(home, &["known-hosts", "--site", "fleet", "--json"]);
    let known = &known["nodes"];
    assert!(known[0]["key"].as_str().unwrap().starts_with("ssh-ed25519 "));
    assert_eq!((known[1]["node"].as_str(), known[1]["key"].is_null()), (Some("pi2"), false));
}

/// All commands with `--json`, as the user types them.
pub(crate) fn commands_with_json(command: &clap::Command, name: &str) -> BTreeSet<String> {
    let beneath = command.get_subcommands().flat_map(|command| {
        commands_with_json(command, format!("{name} {}", command.get_name()).trim_start())
    });
    let mut all: BTreeSet<String> = beneath.collect();
    if command.get_arguments().any(|argument| argument.get_long() == Some("json")) {
        all.insert(name.to_owned());
    }
    all
}

/// The output of a command for a program.
pub(crate) struct Said {
    /// The standard output.
    pub(crate) result: String,
    /// The standard error.
    pub(crate) progress: String,
}

/// What the program that runs `psyops` parses, and the input that it writes to its standard input.
pub(crate) fn result(home: &Path, words: &str) -> Said {
    let cache = env::var_os("PSYOPS_TEST_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| Folder::Cache.of_psyops().unwrap().parent().unwrap().to_owned());
    let words: Vec<&str> = words.split(' ').chain(["--json"]).collect();
    let mut psyops = psyops(home, &words);
    psyops.env("XDG_CACHE_HOME", cache).env("PSYOPS_PROGRAMS", home.join("programs"));
    psyops.stdin(File::open(home.join("password")).unwrap());
    let output = psyops.output().unwrap();
    let [result, progress] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(!result.trim().is_empty(), "{words:?} says nothing: {progress}");
    Said { result, progress }
}

/// The folder in which the commands below run.
pub(crate) fn prepared_home() -> TempDir {
    let folder = TempDir::new().unwrap();
    let home = folder.path();
    std::fs::create_dir(home.join("programs")).unwrap();
    for file in ["selector.efi", "initloader", "psyops-agent"] {
        std::fs::write(home.join("programs").join(file), file).unwrap();
    }
    std::fs::write(home.join("password"), "correct horse battery\n").unwrap();
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/boot.json"), home.join("boot.json"))
        .unwrap();
    File::create(home.join("stick.img")).unwrap().set_len(8 << 30).unwrap();
    folder
}

/// The commands that need no packages, in an order in which they work, and their input.
pub(crate) const SITE_RUNS: [(&str, &str); 16] = [
    ("init", "init site --id lab --node pi1"),
    ("init", "init site --node pi2"),
    ("check", "check --site site"),
    ("keys status", "keys status --site site"),
    ("keys passphrase", "keys passphrase --remove --site site"),
    ("trust show", "trust show --site site"),
    ("trust accept", "trust accept --site site"),
    ("secret list", "secret list --site site"),
    ("seal", "seal --all --site site"),
    ("seal", "seal --all --raise serial --site site"),
    ("mksecrets", "mksecrets --site site --node pi1 --output secret.img"),
    ("known-hosts", "known-hosts --site site"),
    ("rescue-password", "rescue-password"),
    ("disks", "disks"),
    ("boot-chart", "boot-chart boot.json"),
    ("store gc", "store gc --dry-run"),
];

/// The commands that need the packages of a build, to run after those above.
const BUILD_RUNS: [(&str, &str); 15] = [
    ("build-image", "build-image --site site --node pi1 --output pi1.img"),
    ("build-image", "build-image --site site --all --output images"),
    ("lock update", "lock update --dry-run --site site"),
    ("lock show", "lock show --site site"),
    ("lock sign", "lock sign --yes --site site"),
    ("why", "why pi1 --site site"),
    ("inspect", "inspect pi1.img"),
    ("inspect", "inspect pi1.img --site site"),
    ("verify", "verify pi1.img"),
    ("verify-build", "verify-build pi1.img --site site"),
    ("ls", "ls pi1.img"),
    ("diff", "diff pi1.img images/pi2.img"),
    ("export", "export pi1.img --form netboot --output netboot"),
    ("flash", "flash pi1.img stick.img"),
    ("build-image", "build-image --site site --node pi1 --output pi1.img --flash stick.img"),
];

/// Needs the packages of a build, from the user's cache (or the one that `PSYOPS_TEST_CACHE` names) or over the
/// network.
#[test]
fn every_result_in_json_is_an_object_with_its_format() {
    let home = prepared_home();
    let home = home.path();
    let runs = || SITE_RUNS.into_iter().chain(BUILD_RUNS);
    let known = commands_with_json(&builder::cli::Psyops::command(), "");
    let tried: BTreeSet<String> = runs().map(|(command, _)| command.to_owned()).collect();
    assert_eq!(known, tried, "every command with --json is tried here");
    let mut keys = Vec::new();
    for (command, words) in runs() {
        let is_build = command == "build-image";
        let said = if is_build { result(home, &format!("-vvv {words}")) } else { result(home, words) };
        if is_build {
            logging::check_build(&said.result, &said.progress);
            logging::check_secrets(&said.progress, &keys);
        }
        for one in results(&said.result) {
            assert!(one.is_object() && one["format"].is_u64(), "{words}: {one:#}");
        }
        if let Err(error) = crate::schemas::check_command(command, &said) {
            panic!("{words}: {error:#}");
        }
        if words == "init site --id lab --node pi1" {
            logging::add_secret(home);
            keys = logging::private_keys(home).into();
        }
        if words.starts_with("init ") {
            // With the same build time in all of them, such sites share one root in the cache.
            let file = home.join("site/site.toml");
            let text = std::fs::read_to_string(&file).unwrap();
            let line = text.lines().find(|line| line.starts_with("build-time")).unwrap();
            std::fs::write(file, text.replace(line, "build-time = 2026-11-01T00:00:00Z")).unwrap();
        }
        if words.ends_with("--flash stick.img") {
            let built: Value = serde_json::from_str(&said.result).unwrap();
            // The record names the image that `--all` wrote elsewhere, so this one is written again.
            assert_eq!((&built["flashed"]["target"], &built["written"]), (&"stick.img".into(), &true.into()));
            assert!(built["flashed"]["receipt"].is_string(), "{built:#}");
        }
    }
    check_a_failed_stick(home);
}

/// The result for a stick that fails while it is written: a file on a file system with room for its first 32 MiB, which
/// exists only for this command.
fn check_a_failed_stick(home: &Path) {
    std::fs::create_dir(home.join("full")).unwrap();
    let script = "mount -t tmpfs -o size=32m tmpfs full && truncate -s 8G full/stick.img && \
                  exec \"$0\" flash pi1.img full/stick.img --json";
    let mut unshare = Command::new("unshare");
    unshare.args(["-Urm", "sh", "-c", script, env!("CARGO_BIN_EXE_psyops")]).current_dir(home);
    let output = unshare.env("XDG_CONFIG_HOME", home.join("config")).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let result: Value = serde_json::from_slice(&output.stdout).expect(&complaint);
    if let Err(error) = crate::schemas::check("flash", &result) {
        panic!("{error:#}");
    }
    let stick = &result["sticks"][0];
    assert_eq!(
        (&stick["target"], &stick["node"], &stick["size"]),
        (&"full/stick.img".into(), &"pi1".into(), &(8_u64 << 30).into())
    );
    assert!(stick["error"].as_str().unwrap().contains("o space left"), "{result:#}");
    assert_eq!((output.status.code(), &stick["exit_code"]), (Some(73), &73.into()), "{result:#}");
}

/// The output is one result, or one in each line.
pub(crate) fn results(said: &str) -> Vec<Value> {
    match serde_json::from_str(said) {
        Ok(one) => vec![one],
        Err(_) => said.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
    }
}

#[test]
fn a_path_that_is_not_utf8_does_not_fail_a_command() {
    use std::os::unix::ffi::OsStrExt as _;
    let place = tempfile::TempDir::new().unwrap();
    let site = std::ffi::OsStr::from_bytes(b"bad\xff");
    for words in [
        &["init", "SITE", "--id", "lab", "--node", "pi1"][..],
        &["seal", "--site", "SITE", "--all"],
        &["trust", "show", "--site", "SITE"],
        &["trust", "accept", "--site", "SITE"],
        &["keys", "status", "--site", "SITE"],
        &["known-hosts", "--site", "SITE"],
        &["secret", "list", "--site", "SITE"],
        &["init", "SITE", "--node", "pi2"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_psyops"));
        command
            .args(words.iter().map(|word| if *word == "SITE" { site } else { word.as_ref() }))
            .arg("--json");
        command.current_dir(place.path()).env("XDG_CONFIG_HOME", place.path().join("c\u{fc}"));
        command.env("XDG_DATA_HOME", place.path().join("data"));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{words:?}: {said}");
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(value["format"], 1, "{words:?}");
    }
}
