//! Private keys with a passphrase, as a user handles them: set, used by commands, changed and removed.

use crate::schemas;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self { folder: TempDir::new().unwrap() };
        fs::write(fixture.at("old"), "correct horse\n").unwrap();
        fs::write(fixture.at("new"), "battery staple\n").unwrap();
        fs::write(fixture.at("wrong"), "correct horsf\n").unwrap();
        fixture.ends("init site --id lab --node pi1", 0);
        fixture
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// `psyops` with these words; the descriptors 3 and 4 have the old and the new passphrase.
    fn psyops(&self, words: &str) -> Output {
        let script = format!("exec \"$0\" {words} 3<old 4<new 5<wrong");
        Command::new("bash")
            .args(["-c", &script, env!("CARGO_BIN_EXE_psyops")])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .env("XDG_CONFIG_HOME", self.at("config"))
            .env("XDG_DATA_HOME", self.at("data"))
            .output()
            .unwrap()
    }

    fn ends(&self, words: &str, code: i32) -> (String, String) {
        let output = self.psyops(words);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (said, complaint) = (text(output.stdout), text(output.stderr));
        assert_eq!(output.status.code(), Some(code), "{words}\n{said}\n{complaint}");
        (said, complaint)
    }

    fn key(&self, name: &str) -> PathBuf {
        self.at("config/psyops/lab").join(name)
    }

    /// Changes the passphrase; the result in JSON is as its schema says.
    fn changes(&self, words: &str, locked: bool) {
        let (said, _) = self.ends(&format!("keys --site site {words} --json"), 0);
        let value: serde_json::Value = serde_json::from_str(&said).unwrap();
        schemas::check("keys-passphrase", &value).unwrap();
        assert_eq!((&value["locked"], &value["missing"]), (&locked.into(), &serde_json::json!([])));
        assert_eq!(value["files"].as_array().map(Vec::len), Some(2));
    }

    /// The state of both keys in JSON.
    fn states(&self) -> Vec<(String, bool)> {
        let (said, _) = self.ends("keys status --site site --json", 0);
        let value: serde_json::Value = serde_json::from_str(&said).unwrap();
        schemas::check("keys-status", &value).unwrap();
        let keys = value["keys"].as_array().unwrap();
        keys.iter()
            .map(|key| {
                assert_eq!(key["mode"], "0600", "{key}");
                (key["state"].as_str().unwrap().to_owned(), key["named_by_site"] == true)
            })
            .collect()
    }
}

#[test]
fn keys_under_a_passphrase_are_used_once_it_is_given() {
    let fixture = Fixture::new();
    let all = |state: &str| vec![(state.to_owned(), true); 2];
    assert_eq!(fixture.states(), all("not locked"));
    fixture.changes("passphrase --new-passphrase-fd 3", true);
    assert_eq!(fixture.states(), all("locked"));
    let (identity, signing) = (fixture.key("admin.age.txt"), fixture.key("signing.key"));
    let text = fs::read_to_string(&identity).unwrap();
    assert!(text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"), "{text}");
    assert!(fs::read_to_string(&signing).unwrap().lines().nth(1).unwrap().starts_with("RWRTY0Iy"));
    assert_eq!(fs::metadata(&identity).unwrap().mode() & 0o777, 0o600);

    // Both keys have one passphrase.
    fixture.ends("seal --site site --all --passphrase-fd 3", 0);
    let seal = fs::read(fixture.at("site/seals/pi1.seal")).unwrap();
    let (_, complaint) = fixture.ends("seal --site site --all --passphrase-fd 5", 77);
    assert!(complaint.contains("the passphrase does not open the admin's identity"), "{complaint}");
    assert_eq!(fs::read(fixture.at("site/seals/pi1.seal")).unwrap(), seal);

    assert!(complaint.contains("run the command again with the right passphrase"), "{complaint}");

    // After the change, the old passphrase does not work any more.
    let before = fs::read(&signing).unwrap();
    fixture.ends("keys --site site --passphrase-fd 5 passphrase --new-passphrase-fd 4", 77);
    assert_eq!(fs::read(&signing).unwrap(), before);
    fixture.changes("--passphrase-fd 3 passphrase --new-passphrase-fd 4", true);
    fixture.ends("secret --site site --passphrase-fd 3 set wifi", 77);
    fixture.ends("secret --site site --passphrase-fd 4 set wifi < <(echo value)", 0);

    fixture.changes("--passphrase-fd 4 passphrase --remove", false);
    assert_eq!(fixture.states(), all("not locked"));
    fixture.ends("seal --site site --all", 0);
}

#[test]
fn a_locked_key_without_a_terminal_names_the_way_to_give_its_passphrase() {
    let fixture = Fixture::new();
    fixture.ends("keys passphrase --site site --new-passphrase-fd 3", 0);
    // A process in its own session has no terminal.
    let output = Command::new("setsid")
        .args(["--wait", env!("CARGO_BIN_EXE_psyops"), "seal", "--site", "site", "--all"])
        .current_dir(fixture.folder.path())
        .stdin(Stdio::null())
        .env("XDG_CONFIG_HOME", fixture.at("config"))
        .output()
        .unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(66), "{complaint}");
    assert!(complaint.contains("there is no terminal to ask for it"), "{complaint}");
    assert!(complaint.contains("--passphrase-fd"), "{complaint}");
}

#[test]
fn a_floor_is_raised_only_where_seals_can_follow() {
    let fixture = Fixture::new();
    fixture.ends("seal --site site --all", 0);
    fixture.ends("keys passphrase --site site --new-passphrase-fd 3", 0);
    let settings = || fs::read_to_string(fixture.at("site/site.toml")).unwrap();
    let before = settings();
    let fails = |words: &str, code: i32| {
        for what in ["serial", "release"] {
            fixture.ends(&format!("seal --site site --all --raise {what} {words}"), code);
            assert_eq!(settings(), before, "{what} {words}");
        }
    };
    fails("--passphrase-fd 5", 77);
    fails("--passphrase-fd 3 --signing-key none", 66);
    fails("--passphrase-fd 3 --above 7", 2);
    let one_of_two = "seal --site site --node pi1 --node nothing --raise serial --passphrase-fd 3";
    fixture.ends(one_of_two, 66);
    assert!(!fs::read_to_string(fixture.at("site/nodes/pi1.toml")).unwrap().contains("least-serial"));
    fs::set_permissions(fixture.key("signing.key"), fs::Permissions::from_mode(0o644)).unwrap();
    fails("--passphrase-fd 3", 77);
    fs::set_permissions(fixture.key("signing.key"), fs::Permissions::from_mode(0o600)).unwrap();
    fixture.ends("seal --site site --all --raise serial --passphrase-fd 3", 0);
    assert!(settings().contains("least-serial = 2"), "{}", settings());
}

#[test]
fn options_for_keys_work_behind_the_subcommand_and_a_missing_key_is_named() {
    let fixture = Fixture::new();
    fs::rename(fixture.key("signing.key"), fixture.at("elsewhere")).unwrap();
    let (said, _) = fixture.ends("keys passphrase --site site --new-passphrase-fd 3", 0);
    let missing = format!("{} does not exist", fixture.key("signing.key").display());
    assert!(said.contains(&missing), "{said}");
    fs::rename(fixture.at("elsewhere"), fixture.key("signing.key")).unwrap();
    let (said, _) = fixture.ends("keys passphrase --site site --passphrase-fd 3 --new-passphrase-fd 4", 0);
    assert!(!said.contains("does not exist"), "{said}");
    fixture.ends("secret set wifi --site site --passphrase-fd 4 < <(echo value)", 0);
    let (_, complaint) = fixture.ends("secret set wifi --site site --passphrase-fd 4 </dev/null", 65);
    assert!(
        complaint.contains("the standard input is empty, so the secret wifi was not changed"),
        "{complaint}"
    );
    let identity = fixture.key("admin.age.txt");
    fixture
        .ends(&format!("secret get wifi --site site --passphrase-fd 4 --identity {}", identity.display()), 0);
}

#[test]
fn status_says_why_a_key_cannot_be_used() {
    let fixture = Fixture::new();
    fs::set_permissions(fixture.key("signing.key"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(fixture.key("admin.age.txt")).unwrap();
    let (said, _) = fixture.ends("keys status --site site", 0);
    let path = fixture.key("signing.key");
    assert_eq!(
        said,
        format!(
            "admin's identity: {}, missing\nsigning key: {}\n  cannot be used: the signing key {} has mode 0644: other users can read it\n  allow only yourself to read it: chmod 600 {}\n",
            fixture.key("admin.age.txt").display(),
            path.display(),
            path.display(),
            path.display()
        )
    );
    let said = fixture.ends("keys status --site site --json", 0).0;
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let advice = said["keys"][1]["advice"].as_str().unwrap();
    // The printed command works unchanged.
    let (_, command) = advice.split_once(": ").unwrap();
    assert!(Command::new("sh").args(["-c", command]).status().unwrap().success());
    assert!(fixture.ends("keys status --site site", 0).0.contains(", mode 0600, not locked"));
    fixture.ends("seal --site site --all", 66);
}

#[test]
fn no_passphrase_an_empty_one_and_a_closed_descriptor_each_have_their_own_words() {
    let fixture = Fixture::new();
    fixture.ends("keys passphrase --site site --new-passphrase-fd 3", 0);
    let told = |words: &str, code: i32, what: &str, next: &str| {
        let (_, complaint) = fixture.ends(words, code);
        let lines: Vec<&str> = complaint.lines().collect();
        let [first, second] = lines[..] else { panic!("{words}: {complaint}") };
        assert!(first.contains(what) && second.contains(next), "{words}: {complaint}");
    };
    let seal = "seal --site site --all --passphrase-fd";
    let empty = "the passphrase from the descriptor 6 for the admin's identity";
    told(&format!("{seal} 6 6</dev/null"), 77, empty, "write one on each line of the descriptor");
    told(&format!("{seal} 6 6< <(echo)"), 77, empty, "write one on each line of the descriptor");
    let closed = "the descriptor 9, which should have a passphrase, is not open";
    told(&format!("{seal} 9"), 66, closed, "open it for the same command: --passphrase-fd 9 9< FILE");
    let folder = "cannot read passphrases from the descriptor 6";
    told(&format!("{seal} 6 6</"), 74, folder, "connect it to a file or a pipe: --passphrase-fd 6 6< FILE");

    let new = "keys passphrase --site site --passphrase-fd 3 --new-passphrase-fd";
    told(
        &format!("{new} 6 6</dev/null"),
        65,
        "the new passphrase is empty",
        "keys passphrase --remove --site site",
    );
    told(&format!("{new} 6 6< <(echo short)"), 65, "at least 8 characters", "choose a longer one");
    told(&format!("{new} 9"), 66, closed, "--new-passphrase-fd 9 9< FILE");
    fixture.ends(&format!("{seal} 3"), 0);
}
