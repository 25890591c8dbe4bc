//! A commit to the site must not change what a workstation knows of nodes: their keys, their SSH host keys, and the
//! floors.

use crate::common::{Fixture, age_key_in};
use keys::issue::encryption::encrypt_armored;
use keys::issue::host_key::{HostKey, public_words};
use keys::issue::identity_file;
use std::fs;
use std::path::Path;

/// What a committer can write into the store: their own host key, encrypted to the admins, with its public half.
fn plant_host_key(fixture: &Fixture, node: &str) -> HostKey {
    let key = HostKey::generate("root@evil").unwrap();
    let admin = age_key_in(&fixture.at("site/site.toml")).parse().unwrap();
    let private = key.private_text().unwrap();
    let plain = format!("psyops-secret 1 lab nodes/{node}/ssh_host_ed25519_key\n{}", private.as_str());
    let folder = fixture.at("site/secrets/nodes").join(node);
    fs::create_dir_all(&folder).unwrap();
    let file = encrypt_armored(&[admin], plain.as_bytes()).unwrap();
    fs::write(folder.join("ssh_host_ed25519_key.age"), file).unwrap();
    fs::write(folder.join("ssh_host_ed25519_key.pub"), key.public_line().unwrap()).unwrap();
    key
}

#[test]
fn a_committer_who_changes_a_nodes_key_or_adds_a_node_gets_nothing() {
    let fixture = Fixture::new();
    fixture.ends(&["seal", "--site", "site", "--all"], 0);
    let seal = fs::read(fixture.at("site/seals/pi1.seal")).unwrap();
    let mine = identity_file::generate().recipient().to_string();
    let path = fixture.at("site/nodes/pi1.toml");
    let text = fs::read_to_string(&path).unwrap();
    let known = text.lines().find_map(|line| line.strip_prefix("recipient = ")).unwrap().trim_matches('"');
    fs::write(&path, text.replace(known, &mine)).unwrap();
    fs::write(fixture.at("site/nodes/evil.toml"), format!("recipient = \"{mine}\"\n")).unwrap();
    for (node, words) in [("pi1", ", but age1"), ("evil", ", which was not accepted on this workstation")] {
        let (_, complaint) = fixture.ends(&["seal", "--site", "site", "--node", node], 77);
        let expected = format!("nodes/{node}.toml has the node key {mine}{words}");
        assert!(complaint.contains(&expected), "{complaint}");
    }
    assert_eq!(fs::read(fixture.at("site/seals/pi1.seal")).unwrap(), seal);
    assert!(!fixture.at("site/seals/evil.seal").exists());
    let shown = fixture.ends(&["trust", "show", "--site", "site", "--json"], 77).0;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let unknown = |node: &str, accepted: Option<&str>| {
        serde_json::json!({
            "kind": "node", "file": format!("nodes/{node}.toml"), "key": mine, "accepted": accepted,
        })
    };
    assert_eq!(shown["differences"], serde_json::json!([unknown("evil", None), unknown("pi1", Some(known))]));
    let (_, complaint) = fixture.ends(&["trust", "accept", "--site", "site", &mine], 77);
    assert!(complaint.contains(&format!("\n  | evil:{mine}\n  | pi1:{mine}\n")), "{complaint}");
    fixture.ends(&["trust", "accept", "--site", "site", &format!("pi1:{mine}")], 77);
    let (_, complaint) = fixture.ends(&["seal", "--site", "site", "--node", "evil"], 77);
    assert!(
        complaint.contains(&format!("nodes/evil.toml has the node key {mine}, which was not")),
        "{complaint}"
    );
    fixture.ends(&["seal", "--site", "site", "--node", "pi1"], 0);
    assert_ne!(fs::read(fixture.at("site/seals/pi1.seal")).unwrap(), seal);
}

#[test]
fn a_host_key_changed_by_a_committer_is_refused() {
    let fixture = Fixture::new();
    fixture.ends(&["seal", "--site", "site", "--all"], 0);
    let (before, _) = fixture.ends(&["known-hosts", "--site", "site"], 0);
    let known = before.strip_prefix("pi1 ").unwrap().trim_end().to_owned();
    let differs = |key: &str| {
        format!("the SSH host key of node pi1 is {key}, but {known} was accepted on this workstation\n")
    };
    // Everyone can read the public half, and every committer can replace it.
    let public = fixture.at("site/secrets/nodes/pi1/ssh_host_ed25519_key.pub");
    let other = HostKey::generate("root@pi1").unwrap().public_line().unwrap();
    fs::write(&public, &other).unwrap();
    let (said, complaint) = fixture.ends(&["known-hosts", "--site", "site"], 77);
    let expected = differs(public_words(&other).unwrap().as_str());
    assert!(said.is_empty() && complaint.contains(&expected), "{said}{complaint}");
    let (_, complaint) = fixture.ends(&["seal", "--site", "site", "--all"], 77);
    let halves = "secrets/nodes/pi1/ssh_host_ed25519_key.pub is not the public half of the key beside it";
    assert!(complaint.contains(halves), "{complaint}");
    // The private half can be replaced, too: that only needs the admins' public keys, which the site has.
    let found = plant_host_key(&fixture, "pi1").public_words().unwrap();
    let expected = differs(&found);
    let seal = fs::read(fixture.at("site/seals/pi1.seal")).unwrap();
    let refused = || {
        let (_, complaint) = fixture.ends(&["seal", "--site", "site", "--all"], 77);
        assert!(complaint.contains(&expected), "{complaint}");
        assert_eq!(fs::read(fixture.at("site/seals/pi1.seal")).unwrap(), seal);
    };
    refused();
    let shown = fixture.ends(&["trust", "show", "--site", "site", "--json"], 77).0;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let difference =
        serde_json::json!([{ "kind": "host-key", "node": "pi1", "key": found, "accepted": known }]);
    assert_eq!(shown["differences"], difference);
    // If nothing is noted, as on another admin's workstation, the stored seal vouches for the key.
    let notes = fixture.at("config/psyops/lab/lab.nodes.toml");
    let elsewhere = fixture.at("elsewhere");
    fs::rename(&notes, &elsewhere).unwrap();
    refused();
    let (said, _) = fixture.ends(&["known-hosts", "--site", "site"], 0);
    assert!(
        said.starts_with("# pi1: the host key in the site is not accepted on this workstation"),
        "{said}"
    );
    fs::rename(&elsewhere, &notes).unwrap();
    // The owner of the site may change it.
    fixture.ends(&["trust", "accept", "--site", "site", found.split_once(' ').unwrap().1], 0);
    fixture.ends(&["seal", "--site", "site", "--all"], 0);
    assert_ne!(fs::read(fixture.at("site/seals/pi1.seal")).unwrap(), seal);
    assert_eq!(fixture.ends(&["known-hosts", "--site", "site"], 0).0, format!("pi1 {found}\n"));
}

#[test]
fn a_host_key_planted_for_a_new_node_is_refused() {
    let fixture = Fixture::new();
    fixture.ends(&["seal", "--site", "site", "--all"], 0);
    fs::write(fixture.at("site/nodes/git.example.toml"), "").unwrap();
    let planted = plant_host_key(&fixture, "git.example").public_words().unwrap();
    let expected = format!(
        "the SSH host key of node git.example is {planted}, which was not accepted on this workstation\n"
    );
    for words in [&["seal", "--site", "site", "--all"][..], &["known-hosts", "--site", "site"]] {
        let (said, complaint) = fixture.ends(words, 77);
        assert!(said.is_empty() && complaint.contains(&expected), "{words:?}: {complaint}");
    }
    assert!(!fixture.at("site/seals/git.example.seal").exists());
    // The key of an older node of which nothing is noted, and whose seal is gone.
    fs::remove_dir_all(fixture.at("site/secrets/nodes/git.example")).unwrap();
    fs::remove_file(fixture.at("site/nodes/git.example.toml")).unwrap();
    let notes = fixture.at("config/psyops/lab/lab.nodes.toml");
    let text = fs::read_to_string(&notes).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("host-key")).collect();
    fs::write(&notes, lines.join("\n")).unwrap();
    fs::remove_file(fixture.at("site/seals/pi1.seal")).unwrap();
    let planted = plant_host_key(&fixture, "pi1").public_words().unwrap();
    let (_, complaint) = fixture.ends(&["seal", "--site", "site", "--all"], 77);
    assert!(
        complaint.contains(&format!("node pi1 is {planted}, which was not accepted on this workstation")),
        "{complaint}"
    );
}

#[test]
fn a_committer_who_lowers_a_floor_is_refused() {
    let fixture = Fixture::new();
    fixture.ends(&["seal", "--site", "site", "--all"], 0);
    fixture.ends(&["seal", "--site", "site", "--all", "--raise", "serial"], 0);
    fixture.ends(&["seal", "--site", "site", "--all", "--raise", "release"], 0);
    fixture.ends(&["seal", "--site", "site", "--node", "pi1", "--raise", "serial"], 0);
    let (site, node) = (fixture.at("site/site.toml"), fixture.at("site/nodes/pi1.toml"));
    let number = |path: &Path, key: &str| -> u64 {
        let file: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
        u64::try_from(file[key].as_integer().unwrap()).unwrap()
    };
    let lower = |path: &Path, key: &str| {
        let (text, now) = (fs::read_to_string(path).unwrap(), number(path, key));
        let changed = text.replace(&format!("{key} = {now}"), &format!("{key} = {}", now - 1));
        assert_ne!(text, changed);
        fs::write(path, changed).unwrap();
        now
    };
    for (path, name, key, typed) in [
        (&site, "site.toml", "least-serial", "least-serial"),
        (&site, "site.toml", "security-epoch", "security-epoch"),
        (&node, "nodes/pi1.toml", "least-serial", "pi1:least-serial"),
    ] {
        let before = fs::read_to_string(path).unwrap();
        let was = lower(path, key);
        let now = was - 1;
        let expected = match now {
            0 => format!("{name} no longer has {key} {was}, which this workstation used\n"),
            _ => format!("{name} has {key} {now}, but this workstation used {was}\n"),
        };
        for words in [
            &["seal", "--site", "site", "--all"][..],
            &["seal", "--site", "site", "--all", "--raise", "serial"],
            &["verify", "site/site.toml", "--site", "site"],
            &["lock", "show", "--site", "site"],
        ] {
            let (_, complaint) = fixture.ends(words, 77);
            assert!(complaint.contains(&expected), "{words:?}: {complaint}");
        }
        assert_eq!(number(path, key), now, "nothing was raised");
        let wrong = format!("{typed}={was}");
        fixture.ends(&["trust", "accept", "--site", "site", &wrong], 66);
        fixture.ends(&["trust", "accept", "--site", "site", &format!("{typed}={now}")], 0);
        fixture.ends(&["seal", "--site", "site", "--all"], 0);
        fs::write(path, before).unwrap();
        fixture.ends(&["seal", "--site", "site", "--all"], 0);
        lower(path, key);
        fixture.ends(&["seal", "--site", "site", "--all"], 77);
        fixture.ends(&["trust", "accept", "--site", "site", &format!("{typed}={now}")], 0);
    }
}

#[test]
fn a_committer_cannot_use_up_the_numbers_of_floors() {
    let fixture = Fixture::new();
    fixture.ends(&["init", "site", "--node", "pi2"], 0);
    fixture.ends(&["seal", "--site", "site", "--all"], 0);
    let (site, node) = (fixture.at("site/site.toml"), fixture.at("site/nodes/pi2.toml"));
    for (path, line, expected) in [
        (&site, "security-epoch = 4294967295", "site.toml has security-epoch 4294967295, far above 0"),
        (
            &site,
            "least-serial = 9007199254740992",
            "site.toml has least-serial 9007199254740992, far above 0",
        ),
        (
            &node,
            "least-serial = 9007199254740992",
            "nodes/pi2.toml has least-serial 9007199254740992, far above 0",
        ),
    ] {
        let before = fs::read_to_string(path).unwrap();
        fs::write(path, format!("{line}\n{before}")).unwrap();
        for words in [
            // The same for another node.
            &["seal", "--site", "site", "--node", "pi1"][..],
            &["seal", "--site", "site", "--all", "--raise", "serial"],
            &["seal", "--site", "site", "--all", "--raise", "release"],
        ] {
            let (_, complaint) = fixture.ends(words, 77);
            assert!(complaint.contains(expected), "{words:?}: {complaint}");
        }
        assert_eq!(fs::read_to_string(path).unwrap(), format!("{line}\n{before}"), "nothing was raised");
        fs::write(path, before).unwrap();
        fixture.ends(&["seal", "--site", "site", "--all"], 0);
    }
}

#[test]
fn a_raised_floor_is_noted_and_stored_seals_say_it_elsewhere() {
    let fixture = Fixture::new();
    fixture.ends(&["seal", "--site", "site", "--all"], 0);
    let site = fixture.at("site/site.toml");
    let before = fs::read_to_string(&site).unwrap();
    fixture.ends(&["seal", "--site", "site", "--all", "--raise", "serial"], 0);
    let raised = fs::read_to_string(&site).unwrap();
    assert!(raised.contains("least-serial = 2"), "{raised}");
    fs::write(&site, before).unwrap();
    let (_, complaint) = fixture.ends(&["seal", "--site", "site", "--all"], 77);
    assert!(complaint.contains("site.toml no longer has least-serial 2"), "{complaint}");
    // On another workstation, where no floor was noted, a stored seal has the lowest epoch.
    fs::write(&site, raised).unwrap();
    fixture.ends(&["seal", "--site", "site", "--all", "--raise", "release"], 0);
    let raised = fs::read_to_string(&site).unwrap();
    forget(&fixture, "security-epoch");
    fs::write(&site, raised.replace("security-epoch = 1", "security-epoch = 0")).unwrap();
    let (_, complaint) = fixture.ends(&["seal", "--site", "site", "--all"], 77);
    assert!(complaint.contains("site.toml no longer has security-epoch 1"), "{complaint}");
}

/// Removes the lines with this key from the notes about nodes.
fn forget(fixture: &Fixture, key: &str) {
    let notes = fixture.at("config/psyops/lab/lab.nodes.toml");
    let text = fs::read_to_string(&notes).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with(key)).collect();
    assert_ne!(lines.len(), text.lines().count(), "{key} was noted");
    fs::write(&notes, lines.join("\n")).unwrap();
}

#[test]
fn a_stored_seal_that_cannot_be_read_is_not_taken_for_a_missing_one() {
    // Of what this workstation forgot, the stored seal is the only witness: floors, the node's key, its host key.
    for forgotten in ["security-epoch", "key = ", "host-key"] {
        let fixture = Fixture::new();
        fixture.ends(&["seal", "--site", "site", "--all"], 0);
        let path = fixture.at("site/seals/pi1.seal");
        let seal = fs::read(&path).unwrap();
        forget(&fixture, forgotten);
        let mut damaged = seal.clone();
        damaged[40] ^= 1;
        fs::write(&path, damaged).unwrap();
        let (_, complaint) = fixture.ends(&["seal", "--site", "site", "--all"], 77);
        let expected = "seals/pi1.seal cannot be used, and nothing else here says what is right: ";
        assert!(complaint.contains(expected), "{forgotten}: {complaint}");
        let advice =
            "git log seals/pi1.seal), or have it made again: psyops seal --node pi1 --replace --site site";
        assert!(complaint.contains(advice), "{forgotten}: {complaint}");
        let (shown, _) = fixture.ends(&["trust", "show", "--site", "site"], 77);
        assert_eq!(shown.matches(expected).count(), 1, "{forgotten}: {shown}");
        // The same for a file that cannot be read at all.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let (_, complaint) = fixture.ends(&["seal", "--site", "site", "--all"], 77);
        assert!(complaint.contains(&format!("{expected}it is a folder, not a file")), "{complaint}");
        fs::remove_dir(&path).unwrap();
        fs::write(&path, seal).unwrap();
        fixture.ends(&["seal", "--site", "site", "--all"], 0);
    }
}
