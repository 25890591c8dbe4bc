//! What a command says to people, it says to programs too: `--json`, of the programs themselves.
#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::Value;
use std::io::Write as _;
use std::path::Path;
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
