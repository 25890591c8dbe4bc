//! A commit to the site must not change for whom a workstation encrypts and signs: the commands, as a person types them.
#![allow(clippy::unwrap_used, reason = "tests")]

use keys::issue::encryption::encrypt_armored;
use keys::issue::host_key::HostKey;
use keys::issue::identity_file;
use keys::issue::signing::SigningKey;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A site with a node `pi1` and its keys, as `psyops init` makes them.
struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { folder: TempDir::new().unwrap() };
        let output = world.psyops(&["init", "site", "--id", "lab", "--node", "pi1"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        world
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("XDG_CONFIG_HOME", self.at("config")).env("XDG_DATA_HOME", self.at("data"));
        command
    }

    fn psyops(&self, words: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_psyops")).args(words).output().unwrap()
    }

    /// A command that is to end with this exit code: what it printed and what it complained about.
    fn ends(&self, words: &[&str], code: i32) -> (String, String) {
        let output = self.psyops(words);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (said, complaint) = (text(output.stdout), text(output.stderr));
        assert_eq!(output.status.code(), Some(code), "{words:?}\n{said}\n{complaint}");
        (said, complaint)
    }

    /// What a committer does: one more line under `recipients`.
    fn add_recipient(&self) -> String {
        let other = identity_file::generate().recipient().to_string();
        let path = self.at("site/site.toml");
        let text = fs::read_to_string(&path).unwrap();
        let changed = text.replacen("recipients = [", &format!("recipients = [\"{other}\", "), 1);
        assert_ne!(text, changed);
        fs::write(path, changed).unwrap();
        other
    }
}

fn names(folder: &Path) -> Vec<String> {
    let output = Command::new("find").arg(folder).args(["-type", "f"]).output().unwrap();
    let mut names: Vec<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn a_committer_who_adds_a_recipient_gets_nothing() {
    let world = World::new();
    let other = world.add_recipient();
    let before = names(&world.at("site"));
    let expected = format!(
        "error: the keys of the site lab are not those that were accepted on this workstation\n  | site.toml has the admin \
         recipient {other}, which was not accepted here\n"
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
        let (_, complaint) = world.ends(words, 77);
        assert!(complaint.starts_with(&expected), "{words:?}: {complaint}");
    }
    assert_eq!(names(&world.at("site")), before);
    assert!(!world.at("secret.img").exists());
    let shown = world.ends(&["trust", "show", "--site", "site", "--json"], 77).0;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let added = |file: &str, change: &str| serde_json::json!({ "kind": "admin", "file": file, "key": other, "change": change });
    assert_eq!(shown["format"], 1);
    assert_eq!(shown["differences"], serde_json::json!([added("site.toml", "added")]));
    // Without a terminal nothing is accepted that was not named.
    let (_, complaint) = world.ends(&["trust", "accept", "--site", "site"], 77);
    assert!(complaint.contains("there is no terminal on which it could be typed"), "{complaint}");
    world.ends(&["trust", "accept", "--site", "site", "age1wrong"], 66);
    world.ends(&["seal", "--site", "site", "--all"], 77);
    let (said, _) = world.ends(&["trust", "accept", "--site", "site", &other], 0);
    assert!(said.contains("signed trust.toml: commit it with the site"), "{said}");
    world.ends(&["seal", "--site", "site", "--all"], 0);
    assert!(world.at("site/seals/pi1.seal").exists());
    world.ends(&["trust", "show", "--site", "site"], 0);
}

#[test]
fn a_committer_who_changes_a_nodes_key_or_adds_a_node_gets_nothing() {
    let world = World::new();
    world.ends(&["seal", "--site", "site", "--all"], 0);
    let seal = fs::read(world.at("site/seals/pi1.seal")).unwrap();
    let mine = identity_file::generate().recipient().to_string();
    let path = world.at("site/nodes/pi1.toml");
    let text = fs::read_to_string(&path).unwrap();
    let known = text.lines().find_map(|line| line.strip_prefix("recipient = ")).unwrap().trim_matches('"');
    fs::write(&path, text.replace(known, &mine)).unwrap();
    fs::write(world.at("site/nodes/evil.toml"), format!("recipient = \"{mine}\"\n")).unwrap();
    for (node, words) in
        [("pi1", ", and the one that is known here is "), ("evil", ", which was not accepted here")]
    {
        let (_, complaint) = world.ends(&["seal", "--site", "site", "--node", node], 77);
        let expected = format!("nodes/{node}.toml has the node key {mine}{words}");
        assert!(complaint.contains(&expected), "{complaint}");
    }
    assert_eq!(fs::read(world.at("site/seals/pi1.seal")).unwrap(), seal);
    assert!(!world.at("site/seals/evil.seal").exists());
    let shown = world.ends(&["trust", "show", "--site", "site", "--json"], 77).0;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let unknown = |node: &str, accepted: Option<&str>| {
        serde_json::json!({
            "kind": "node", "file": format!("nodes/{node}.toml"), "key": mine, "accepted": accepted,
        })
    };
    assert_eq!(shown["differences"], serde_json::json!([unknown("evil", None), unknown("pi1", Some(known))]));
    let (_, complaint) = world.ends(&["trust", "accept", "--site", "site", &mine], 77);
    assert!(complaint.contains(&format!("\n  | evil:{mine}\n  | pi1:{mine}\n")), "{complaint}");
    world.ends(&["trust", "accept", "--site", "site", &format!("pi1:{mine}")], 77);
    let (_, complaint) = world.ends(&["seal", "--site", "site", "--node", "evil"], 77);
    assert!(
        complaint.contains(&format!("nodes/evil.toml has the node key {mine}, which was not")),
        "{complaint}"
    );
    world.ends(&["seal", "--site", "site", "--node", "pi1"], 0);
    assert_ne!(fs::read(world.at("site/seals/pi1.seal")).unwrap(), seal);
}

#[test]
fn init_accepts_the_keys_that_it_made() {
    let world = World::new();
    for file in ["config/psyops/lab/lab.trust.toml", "site/trust.toml", "site/trust.toml.minisig"] {
        assert!(world.at(file).is_file(), "{file}");
    }
    let (_, complaint) = world.ends(&["seal", "--site", "site", "--all"], 0);
    assert!(!complaint.contains("accepted the keys"), "{complaint}");
}

#[test]
fn a_site_of_an_older_version_is_accepted_at_its_first_use_and_says_so() {
    let world = World::new();
    for file in ["config/psyops/lab/lab.trust.toml", "site/trust.toml", "site/trust.toml.minisig"] {
        fs::remove_file(world.at(file)).unwrap();
    }
    let (_, complaint) = world.ends(&["seal", "--site", "site", "--all"], 0);
    assert!(
        complaint.starts_with("accepted the keys of the site lab, which are this workstation's own: "),
        "{complaint}"
    );
    assert!(complaint.contains("signed trust.toml with the accepted keys"), "{complaint}");
    assert!(world.at("site/trust.toml.minisig").is_file());
}

#[test]
fn programs_that_hold_keys_leave_no_core() {
    let world = World::new();
    // It waits for a password on its standard input, and can be looked at meanwhile.
    let mut command = world.command(env!("CARGO_BIN_EXE_psyops"));
    let mut child =
        command.arg("rescue-password").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let limits = format!("/proc/{}/limits", child.id());
    let core = || {
        let text = fs::read_to_string(&limits).unwrap();
        let line = text.lines().find(|line| line.starts_with("Max core file size")).unwrap().to_owned();
        line.split_whitespace().skip(4).take(2).collect::<Vec<_>>().join(" ")
    };
    // The limit is set by the first statement of the program, which may not have run yet.
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
fn a_committer_who_changes_a_nodes_host_key_is_not_believed() {
    let world = World::new();
    world.ends(&["seal", "--site", "site", "--all"], 0);
    let (before, _) = world.ends(&["known-hosts", "--site", "site"], 0);
    let known = before.strip_prefix("pi1 ").unwrap().trim_end().to_owned();
    let folder = world.at("site/secrets/nodes/pi1");
    let other = HostKey::generate("root@pi1").unwrap();
    let found = other.public_words().unwrap();
    let expected =
        format!("the SSH host key of node pi1 is {found}, and the one that is known here is {known}\n");
    // The public half is for everybody to read, and for every committer to write.
    fs::write(folder.join("ssh_host_ed25519_key.pub"), other.public_line().unwrap()).unwrap();
    let (said, complaint) = world.ends(&["known-hosts", "--site", "site"], 77);
    assert!(said.is_empty() && complaint.contains(&expected), "{said}{complaint}");
    let (_, complaint) = world.ends(&["seal", "--site", "site", "--all"], 77);
    let halves = "secrets/nodes/pi1/ssh_host_ed25519_key.pub is not the public half of the key beside it";
    assert!(complaint.contains(halves), "{complaint}");
    // So is the private half: all that it takes is the admins' public keys, which the site names.
    let admin = age_key_in(&world.at("site/site.toml")).parse().unwrap();
    let plain = format!(
        "psyops-secret 1 lab nodes/pi1/ssh_host_ed25519_key\n{}",
        other.private_text().unwrap().as_str()
    );
    let file = encrypt_armored(&[admin], plain.as_bytes()).unwrap();
    fs::write(folder.join("ssh_host_ed25519_key.age"), file).unwrap();
    let seal = fs::read(world.at("site/seals/pi1.seal")).unwrap();
    let refused = || {
        let (_, complaint) = world.ends(&["seal", "--site", "site", "--all"], 77);
        assert!(complaint.contains(&expected), "{complaint}");
        assert_eq!(fs::read(world.at("site/seals/pi1.seal")).unwrap(), seal);
    };
    refused();
    let shown = world.ends(&["trust", "show", "--site", "site", "--json"], 77).0;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let difference =
        serde_json::json!([{ "kind": "host-key", "node": "pi1", "key": found, "accepted": known }]);
    assert_eq!(shown["differences"], difference);
    // Where nothing is noted, as on another admin's workstation, the kept seal vouches for the key.
    let notes = world.at("config/psyops/lab/lab.nodes.toml");
    let elsewhere = world.at("elsewhere");
    fs::rename(&notes, &elsewhere).unwrap();
    refused();
    let (said, _) = world.ends(&["known-hosts", "--site", "site"], 0);
    assert!(said.starts_with("# pi1: its host key in the site is not known on this workstation"), "{said}");
    fs::rename(&elsewhere, &notes).unwrap();
    // The owner of the site may change it.
    world.ends(&["trust", "accept", "--site", "site", found.split_once(' ').unwrap().1], 0);
    world.ends(&["seal", "--site", "site", "--all"], 0);
    assert_ne!(fs::read(world.at("site/seals/pi1.seal")).unwrap(), seal);
    assert_eq!(world.ends(&["known-hosts", "--site", "site"], 0).0, format!("pi1 {found}\n"));
}

/// What a committer writes into the store: a host key of his own, encrypted to the admins, with its public half.
fn plant_host_key(world: &World, node: &str) -> HostKey {
    let key = HostKey::generate("root@evil").unwrap();
    let admin = age_key_in(&world.at("site/site.toml")).parse().unwrap();
    let private = key.private_text().unwrap();
    let plain = format!("psyops-secret 1 lab nodes/{node}/ssh_host_ed25519_key\n{}", private.as_str());
    let folder = world.at("site/secrets/nodes").join(node);
    fs::create_dir_all(&folder).unwrap();
    let file = encrypt_armored(&[admin], plain.as_bytes()).unwrap();
    fs::write(folder.join("ssh_host_ed25519_key.age"), file).unwrap();
    fs::write(folder.join("ssh_host_ed25519_key.pub"), key.public_line().unwrap()).unwrap();
    key
}

#[test]
fn a_host_key_that_was_planted_for_a_new_node_is_not_believed() {
    let world = World::new();
    world.ends(&["seal", "--site", "site", "--all"], 0);
    fs::write(world.at("site/nodes/git.example.toml"), "").unwrap();
    let planted = plant_host_key(&world, "git.example").public_words().unwrap();
    let expected =
        format!("the SSH host key of node git.example is {planted}, which was not accepted here\n");
    for words in [&["seal", "--site", "site", "--all"][..], &["known-hosts", "--site", "site"]] {
        let (said, complaint) = world.ends(words, 77);
        assert!(said.is_empty() && complaint.contains(&expected), "{words:?}: {complaint}");
    }
    assert!(!world.at("site/seals/git.example.seal").exists());
    // A key of an older node of which nothing is noted, and whose seal is gone.
    fs::remove_dir_all(world.at("site/secrets/nodes/git.example")).unwrap();
    fs::remove_file(world.at("site/nodes/git.example.toml")).unwrap();
    let notes = world.at("config/psyops/lab/lab.nodes.toml");
    let text = fs::read_to_string(&notes).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("host-key")).collect();
    fs::write(&notes, lines.join("\n")).unwrap();
    fs::remove_file(world.at("site/seals/pi1.seal")).unwrap();
    let planted = plant_host_key(&world, "pi1").public_words().unwrap();
    let (_, complaint) = world.ends(&["seal", "--site", "site", "--all"], 77);
    assert!(
        complaint.contains(&format!("node pi1 is {planted}, which was not accepted here")),
        "{complaint}"
    );
}

#[test]
fn a_committer_cannot_use_up_the_numbers_of_floors() {
    let world = World::new();
    world.ends(&["init", "site", "--node", "pi2"], 0);
    world.ends(&["seal", "--site", "site", "--all"], 0);
    let (site, node) = (world.at("site/site.toml"), world.at("site/nodes/pi2.toml"));
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
            // Of another node, too.
            &["seal", "--site", "site", "--node", "pi1"][..],
            &["seal", "--site", "site", "--all", "--raise", "serial"],
            &["seal", "--site", "site", "--all", "--raise", "release"],
        ] {
            let (_, complaint) = world.ends(words, 77);
            assert!(complaint.contains(expected), "{words:?}: {complaint}");
        }
        assert_eq!(fs::read_to_string(path).unwrap(), format!("{line}\n{before}"), "nothing was raised");
        fs::write(path, before).unwrap();
        world.ends(&["seal", "--site", "site", "--all"], 0);
    }
}

#[test]
fn a_floor_is_noted_even_if_the_seals_fail_and_kept_seals_say_it_elsewhere() {
    let world = World::new();
    world.ends(&["seal", "--site", "site", "--all"], 0);
    let site = world.at("site/site.toml");
    let before = fs::read_to_string(&site).unwrap();
    let seal = fs::read(world.at("site/seals/pi1.seal")).unwrap();
    fs::write(world.at("site/seals/pi1.seal"), "junk").unwrap();
    world.ends(&["seal", "--site", "site", "--all", "--raise", "serial"], 65);
    fs::write(world.at("site/seals/pi1.seal"), seal).unwrap();
    let raised = fs::read_to_string(&site).unwrap();
    assert!(raised.contains("least-serial = 2"), "{raised}");
    fs::write(&site, before).unwrap();
    let (_, complaint) = world.ends(&["seal", "--site", "site", "--all"], 77);
    assert!(complaint.contains("site.toml no longer has least-serial 2"), "{complaint}");
    // On another workstation, where no floor was noted, a kept seal tells the lowest epoch.
    fs::write(&site, raised).unwrap();
    world.ends(&["seal", "--site", "site", "--all", "--raise", "release"], 0);
    let raised = fs::read_to_string(&site).unwrap();
    let notes = world.at("config/psyops/lab/lab.nodes.toml");
    let text = fs::read_to_string(&notes).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("security-epoch")).collect();
    fs::write(&notes, lines.join("\n")).unwrap();
    fs::write(&site, raised.replace("security-epoch = 1", "security-epoch = 0")).unwrap();
    let (_, complaint) = world.ends(&["seal", "--site", "site", "--all"], 77);
    assert!(complaint.contains("site.toml no longer has security-epoch 1"), "{complaint}");
}

#[test]
fn a_change_of_keys_or_id_is_said_before_a_key_that_is_missing() {
    let world = World::new();
    world.ends(&["seal", "--site", "site", "--all"], 0);
    let path = world.at("site/site.toml");
    let text = fs::read_to_string(&path).unwrap();
    let mine = text.split('"').find(|word| word.starts_with("RW")).unwrap();
    let other = SigningKey::generate().unwrap();
    fs::write(&path, text.replace(mine, other.public().as_str())).unwrap();
    let (_, complaint) = world.ends(&["seal", "--site", "site", "--all"], 77);
    assert!(complaint.contains("site.toml does not have the accepted signing key"), "{complaint}");
    // Another id, whose folder of keys does not exist; and the keys of this one, named.
    fs::write(&path, text.replace("\"lab\"", "\"other\"")).unwrap();
    let keys = world.at("config/psyops/lab");
    let (identity, signing) = (keys.join("admin.age.txt"), keys.join("signing.key"));
    let named = ["--identity", identity.to_str().unwrap(), "--signing-key", signing.to_str().unwrap()];
    for trust_file in [true, false] {
        let seal = ["seal", "--site", "site", "--all"];
        for words in [seal.to_vec(), [&seal[..], &named].concat()] {
            let (_, complaint) = world.ends(&words, 77);
            assert!(complaint.contains("nothing of a site other was accepted"), "{words:?}: {complaint}");
        }
        assert!(!keys.join("other.trust.toml").exists());
        if trust_file {
            fs::remove_file(world.at("site/trust.toml")).unwrap();
            fs::remove_file(world.at("site/trust.toml.minisig")).unwrap();
        }
    }
    assert!(!world.at("site/trust.toml").exists());
}

#[test]
fn a_committer_who_lowers_a_floor_is_refused() {
    let world = World::new();
    world.ends(&["seal", "--site", "site", "--all"], 0);
    world.ends(&["seal", "--site", "site", "--all", "--raise", "serial"], 0);
    world.ends(&["seal", "--site", "site", "--all", "--raise", "release"], 0);
    world.ends(&["seal", "--site", "site", "--node", "pi1", "--raise", "serial"], 0);
    let (site, node) = (world.at("site/site.toml"), world.at("site/nodes/pi1.toml"));
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
            0 => format!("{name} no longer has {key} {was}, which was in use here\n"),
            _ => format!("{name} has {key} {now}, and {was} was in use here\n"),
        };
        for words in [
            &["seal", "--site", "site", "--all"][..],
            &["seal", "--site", "site", "--all", "--raise", "serial"],
            &["verify", "site/site.toml", "--site", "site"],
            &["lock", "show", "--site", "site"],
        ] {
            let (_, complaint) = world.ends(words, 77);
            assert!(complaint.contains(&expected), "{words:?}: {complaint}");
        }
        assert_eq!(number(path, key), now, "nothing was raised");
        let wrong = format!("{typed}={was}");
        world.ends(&["trust", "accept", "--site", "site", &wrong], 66);
        world.ends(&["trust", "accept", "--site", "site", &format!("{typed}={now}")], 0);
        world.ends(&["seal", "--site", "site", "--all"], 0);
        fs::write(path, before).unwrap();
        world.ends(&["seal", "--site", "site", "--all"], 0);
        lower(path, key);
        world.ends(&["seal", "--site", "site", "--all"], 77);
        world.ends(&["trust", "accept", "--site", "site", &format!("{typed}={now}")], 0);
    }
}

#[test]
fn a_site_whose_id_was_changed_is_not_judged_by_its_own_keys() {
    let world = World::new();
    world.ends(&["seal", "--site", "site", "--all"], 0);
    let path = world.at("site/site.toml");
    let text = fs::read_to_string(&path).unwrap();
    let mine = text.split('"').find(|word| word.starts_with("RW")).unwrap();
    let other = SigningKey::generate().unwrap();
    let text = text.replace("\"lab\"", "\"other\"").replace(mine, other.public().as_str());
    fs::write(&path, text).unwrap();
    for file in ["trust.toml", "trust.toml.minisig"] {
        fs::remove_file(world.at("site").join(file)).unwrap();
    }
    let expected =
        "error: nothing of a site other was accepted on this workstation, where keys of lab were\n";
    let judging: [&[&str]; 5] = [
        &["verify", "site/site.toml", "--site", "site"],
        &["verify-build", "site/site.toml", "--site", "site"],
        &["inspect", "site/site.toml", "--site", "site"],
        &["lock", "show", "--site", "site"],
        &["known-hosts", "--site", "site"],
    ];
    for words in judging {
        let (said, complaint) = world.ends(words, 77);
        assert!(said.is_empty() && complaint.starts_with(expected), "{words:?}: {complaint}");
    }
    // What is accepted is believed.
    let (admin, node) = (age_key_in(&path), age_key_in(&world.at("site/nodes/pi1.toml")));
    let host = fs::read_to_string(world.at("site/secrets/nodes/pi1/ssh_host_ed25519_key.pub")).unwrap();
    let host = host.split(' ').nth(1).unwrap();
    let keys = [&admin, &node, other.public().as_str(), host];
    let accept = ["trust", "accept", "--site", "site"];
    world.ends(&[&accept[..], &keys].concat(), 77);
    world.ends(&[&accept[..], &["other"], &keys].concat(), 0);
    world.ends(&["known-hosts", "--site", "site"], 0);
}

#[test]
fn where_nothing_was_accepted_it_is_said_whose_keys_count() {
    let world = World::new();
    world.ends(&["seal", "--site", "site", "--all"], 0);
    fs::rename(world.at("config"), world.at("elsewhere")).unwrap();
    let (said, complaint) = world.ends(&["known-hosts", "--site", "site"], 0);
    assert!(said.starts_with("pi1 ssh-ed25519 "), "{said}");
    let expected = "no keys of the site lab were accepted on this workstation, so those count that it names";
    assert!(complaint.contains(expected), "{complaint}");
}

fn age_key_in(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    text.split('"').find(|word| word.starts_with("age1")).unwrap().to_owned()
}
