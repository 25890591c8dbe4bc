//! A commit to the site must not change for whom a workstation encrypts and signs, tested with the commands that a user
//! types.

use crate::common::{Fixture, age_key_in};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

fn names(folder: &Path) -> Vec<String> {
    let output = Command::new("find").arg(folder).args(["-type", "f"]).output().unwrap();
    let mut names: Vec<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn a_committer_who_adds_a_recipient_gets_nothing() {
    let fixture = Fixture::new();
    let other = fixture.add_recipient();
    let before = names(&fixture.at("site"));
    let expected = format!(
        "error: the keys of the site lab are not those that were accepted on this workstation\n  | site.toml has the admin \
         recipient {other}, which was not accepted on this workstation\n"
    );
    let refused: [&[&str]; 6] = [
        &["seal", "--site", "site", "--all"],
        &["mksecrets", "--site", "site", "--node", "pi1", "--output", "secret.img"],
        &["secret", "--site", "site", "set", "wifi"],
        &["secret", "--site", "site", "get", "wifi"],
        &["flash", "site/site.toml", "site/README.md", "--site", "site"],
        &["verify", "site/site.toml", "--site", "site"],
    ];
    for words in refused {
        let (_, complaint) = fixture.ends(words, 77);
        assert!(complaint.starts_with(&expected), "{words:?}: {complaint}");
    }
    assert_eq!(names(&fixture.at("site")), before);
    assert!(!fixture.at("secret.img").exists());
    let shown = fixture.ends(&["trust", "show", "--site", "site", "--json"], 77).0;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let added = |file: &str, change: &str| serde_json::json!({ "kind": "admin", "file": file, "key": other, "change": change });
    assert_eq!(shown["format"], 1);
    assert_eq!(shown["differences"], serde_json::json!([added("site.toml", "added")]));
    // Without a terminal, only keys that were named are accepted.
    let (_, complaint) = fixture.ends(&["trust", "accept", "--site", "site"], 77);
    assert!(complaint.contains("there is no terminal to ask on"), "{complaint}");
    fixture.ends(&["trust", "accept", "--site", "site", "age1wrong"], 66);
    fixture.ends(&["seal", "--site", "site", "--all"], 77);
    let (said, _) = fixture.ends(&["trust", "accept", "--site", "site", &other], 0);
    assert!(said.contains("signed trust.toml: commit it with the site"), "{said}");
    fixture.ends(&["seal", "--site", "site", "--all"], 0);
    assert!(fixture.at("site/seals/pi1.seal").exists());
    fixture.ends(&["trust", "show", "--site", "site"], 0);
}

#[test]
fn init_accepts_the_keys_that_it_made() {
    let fixture = Fixture::new();
    for file in ["config/psyops/lab/lab.trust.toml", "site/trust.toml", "site/trust.toml.minisig"] {
        assert!(fixture.at(file).is_file(), "{file}");
    }
    let (_, complaint) = fixture.ends(&["seal", "--site", "site", "--all"], 0);
    assert!(!complaint.contains("accepted the keys"), "{complaint}");
}

#[test]
fn a_site_of_an_older_version_is_accepted_at_its_first_use_and_says_so() {
    let fixture = Fixture::new();
    for file in ["config/psyops/lab/lab.trust.toml", "site/trust.toml", "site/trust.toml.minisig"] {
        fs::remove_file(fixture.at(file)).unwrap();
    }
    let (_, complaint) = fixture.ends(&["seal", "--site", "site", "--all"], 0);
    assert!(
        complaint.starts_with("accepted the keys of the site lab, which are this workstation's own: "),
        "{complaint}"
    );
    assert!(complaint.contains("signed trust.toml with the accepted keys"), "{complaint}");
    assert!(fixture.at("site/trust.toml.minisig").is_file());
}

#[test]
fn programs_that_hold_keys_leave_no_core() {
    let fixture = Fixture::new();
    // The program waits for a password on its standard input, and can be examined meanwhile.
    let mut command = fixture.command(env!("CARGO_BIN_EXE_psyops"));
    let mut child =
        command.arg("rescue-password").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let limits = format!("/proc/{}/limits", child.id());
    let core = || {
        let text = fs::read_to_string(&limits).unwrap();
        let line = text.lines().find(|line| line.starts_with("Max core file size")).unwrap().to_owned();
        line.split_whitespace().skip(4).take(2).collect::<Vec<_>>().join(" ")
    };
    // The program's first statement sets the limit, and may not have run yet.
    let mut seen = core();
    for _ in 0..1000 {
        if seen == "0 0" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        seen = core();
    }
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(seen, "0 0");
}

#[test]
fn changed_keys_or_ids_are_reported_before_a_missing_key() {
    let fixture = Fixture::new();
    fixture.ends(&["seal", "--site", "site", "--all"], 0);
    let path = fixture.at("site/site.toml");
    let text = fs::read_to_string(&path).unwrap();
    fixture.replace_signing_key();
    let (_, complaint) = fixture.ends(&["seal", "--site", "site", "--all"], 77);
    assert!(complaint.contains("site.toml does not have the accepted signing key"), "{complaint}");
    // Another id, for which no folder of keys exists; and the keys of this site, by options.
    fs::write(&path, text.replace("\"lab\"", "\"other\"")).unwrap();
    let keys = fixture.at("config/psyops/lab");
    let (identity, signing) = (keys.join("admin.age.txt"), keys.join("signing.key"));
    let named = ["--identity", identity.to_str().unwrap(), "--signing-key", signing.to_str().unwrap()];
    for trust_file in [true, false] {
        let seal = ["seal", "--site", "site", "--all"];
        for words in [seal.to_vec(), [&seal[..], &named].concat()] {
            let (_, complaint) = fixture.ends(&words, 77);
            assert!(complaint.contains("no keys of a site other were accepted"), "{words:?}: {complaint}");
        }
        assert!(!keys.join("other.trust.toml").exists());
        if trust_file {
            fs::remove_file(fixture.at("site/trust.toml")).unwrap();
            fs::remove_file(fixture.at("site/trust.toml.minisig")).unwrap();
        }
    }
    assert!(!fixture.at("site/trust.toml").exists());
}

#[test]
fn a_site_with_a_changed_id_is_not_checked_with_its_own_keys() {
    let fixture = Fixture::new();
    fixture.ends(&["seal", "--site", "site", "--all"], 0);
    let path = fixture.at("site/site.toml");
    let (text, other) = fixture.replace_signing_key();
    fs::write(&path, text.replace("\"lab\"", "\"other\"")).unwrap();
    for file in ["trust.toml", "trust.toml.minisig"] {
        fs::remove_file(fixture.at("site").join(file)).unwrap();
    }
    let expected = "error: no keys of a site other were accepted on this workstation, only keys of lab\n";
    let commands: [&[&str]; 5] = [
        &["verify", "site/site.toml", "--site", "site"],
        &["verify-build", "site/site.toml", "--site", "site"],
        &["inspect", "site/site.toml", "--site", "site"],
        &["lock", "show", "--site", "site"],
        &["known-hosts", "--site", "site"],
    ];
    for words in commands {
        let (said, complaint) = fixture.ends(words, 77);
        assert!(said.is_empty() && complaint.starts_with(expected), "{words:?}: {complaint}");
    }
    // Accepted keys count.
    let (admin, node) = (age_key_in(&path), age_key_in(&fixture.at("site/nodes/pi1.toml")));
    let host = fs::read_to_string(fixture.at("site/secrets/nodes/pi1/ssh_host_ed25519_key.pub")).unwrap();
    let host = host.split(' ').nth(1).unwrap();
    let keys = [&admin, &node, other.public().as_str(), host];
    let accept = ["trust", "accept", "--site", "site"];
    fixture.ends(&[&accept[..], &keys].concat(), 77);
    // The seal of the former site, by a key that never was this site's, still has to go.
    let (said, _) = fixture.ends(&[&accept[..], &["other"], &keys].concat(), 77);
    assert!(
        said.contains("seals/pi1.seal cannot be used, and nothing else here says what is right"),
        "{said}"
    );
    fs::remove_file(fixture.at("site/seals/pi1.seal")).unwrap();
    fixture.ends(&["known-hosts", "--site", "site"], 0);
}

#[test]
fn without_accepted_keys_the_used_keys_are_reported() {
    let fixture = Fixture::new();
    fixture.ends(&["seal", "--site", "site", "--all"], 0);
    fs::rename(fixture.at("config"), fixture.at("elsewhere")).unwrap();
    let (said, complaint) = fixture.ends(&["known-hosts", "--site", "site"], 0);
    assert!(said.starts_with("pi1 ssh-ed25519 "), "{said}");
    let expected =
        "no keys of the site lab were accepted on this workstation, so the keys in site.toml are used";
    assert!(complaint.contains(expected), "{complaint}");
}
