//! What a new user sees first: a site that lets this user in, and a second node without the examples of the first.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA anna \"at\" home";

struct NewUser(TempDir);

impl NewUser {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// The output of a command, with the text of errors last; the exit code must be this one.
    fn ends(&self, words: &[&str], code: i32) -> String {
        let mut psyops = Command::new(env!("CARGO_BIN_EXE_psyops"));
        psyops.args(words).current_dir(self.0.path()).stdin(Stdio::null()).env("HOME", self.0.path());
        for (name, folder) in [("CONFIG", "config"), ("DATA", "data"), ("CACHE", "cache")] {
            psyops.env(format!("XDG_{name}_HOME"), self.at(folder));
        }
        let output = psyops.output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert_eq!(output.status.code(), Some(code), "{words:?}\n{said}");
        said
    }
}

#[test]
fn init_lets_the_public_keys_of_the_user_in_and_prints_which() {
    let user = NewUser::new();
    fs::create_dir(user.at(".ssh")).unwrap();
    fs::write(user.at(".ssh/id_ed25519.pub"), format!("{KEY}\n")).unwrap();
    fs::write(user.at(".ssh/old.pub"), "nonsense").unwrap();
    let said = user.ends(&["init", "fleet", "--node", "pi1"], 0);
    let line = format!("may log in as root over SSH: the key {}\n", user.at(".ssh/id_ed25519.pub").display());
    assert!(said.contains(&line) && !said.contains("old.pub"), "{said}");
    let site: toml::Table = fs::read_to_string(user.at("fleet/site.toml")).unwrap().parse().unwrap();
    assert_eq!(site["admin"]["ssh-keys"], toml::Value::from(vec![KEY]));

    let named = user.at("backup.pub");
    fs::write(&named, KEY).unwrap();
    let said = user.ends(&["init", "other", "--node", "pi1", "--ssh-key", "backup.pub", "--json"], 0);
    let made: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(made["ssh_keys"], serde_json::json!(["backup.pub"]));
    fs::write(&named, "nonsense").unwrap();
    let said = user.ends(&["init", "third", "--node", "pi1", "--ssh-key", "backup.pub"], 65);
    assert_eq!(
        said,
        "error: backup.pub is not a public SSH key\n  name a file that ssh-keygen made, with the ending .pub\n"
    );
    assert!(!user.at("third").exists() && !user.at("config/psyops/third").exists());
}

#[test]
fn a_site_that_lets_no_one_in_says_so_until_someone_may_log_in() {
    let user = NewUser::new();
    let how = |site: &str| {
        format!(
            "in {site}, add the line of a file *.pub to ssh-keys under [admin], or under [console] set login = \"password\" with a password-hash, or login = \"shell\" for everyone at the console"
        )
    };
    let said = user.ends(&["init", "fleet", "--node", "pi1", "--no-ssh-keys"], 0);
    let line = format!("no one can log in to its nodes yet: {}\n", how("fleet/site.toml"));
    assert!(said.contains(&line), "{said}");
    // The build warns before it looks at the nodes.
    let build = ["build-image", "--site", "fleet", "--node", "pi9"];
    let said = user.ends(&build, 66);
    let warning =
        format!("warning: no one can log in to the nodes of the site fleet: {}\n", how("fleet/site.toml"));
    assert!(said.starts_with(&warning), "{said}");
    let file = user.at("fleet/site.toml");
    let closed = fs::read_to_string(&file).unwrap();
    for (from, to) in [
        ("ssh-keys = []".to_owned(), format!("ssh-keys = ['{KEY}']")),
        ("login = \"off\"".to_owned(), "login = \"shell\"".to_owned()),
    ] {
        assert!(closed.contains(&from), "{closed}");
        fs::write(&file, closed.replace(&from, &to)).unwrap();
        assert!(!user.ends(&build, 66).contains("warning"), "{to}");
    }
    // A line that no SSH server reads is a mistake, and not a key.
    fs::write(&file, closed.replace("ssh-keys = []", "ssh-keys = [\"ssh-ed25519 AAAA you@laptop\"]"))
        .unwrap();
    let said = user.ends(&build, 65);
    assert!(
        said.contains("site.toml:17:13: ssh-keys = \"ssh-ed25519 AAAA you@laptop\": not a public SSH key"),
        "{said}"
    );
}

#[test]
fn a_second_site_with_an_id_says_that_it_has_the_keys_of_the_first() {
    let user = NewUser::new();
    let said = user.ends(&["init", "one", "--id", "fleet"], 0);
    assert!(said.contains("/config/psyops/fleet: keep a copy in a safe place\n"), "{said}");
    let said = user.ends(&["init", "two", "--id", "fleet", "--base", "debian"], 0);
    let keys = user.at("config/psyops/fleet");
    let line =
        format!("it has the private keys that were in {} before: another site with this id", keys.display());
    assert!(said.contains(&line), "{said}");
    let base = |site: &str| {
        let text = fs::read_to_string(user.at(site).join("site.toml")).unwrap();
        text.parse::<toml::Table>().unwrap()["base"].clone()
    };
    assert_eq!((base("one").as_str(), base("two").as_str()), (Some("micro"), Some("debian")));
    user.ends(&["init", "three", "--base", "gentoo"], 2);
}

#[test]
fn a_second_node_begins_without_the_roles_of_the_example() {
    let user = NewUser::new();
    user.ends(&["init", "fleet", "--node", "pi1"], 0);
    user.ends(&["init", "fleet", "--node", "pi2"], 0);
    let roles = |node: &str| {
        let text = fs::read_to_string(user.at(&format!("fleet/nodes/{node}.toml"))).unwrap();
        text.parse::<toml::Table>().unwrap()["roles"].clone()
    };
    assert_eq!(roles("pi1"), toml::Value::from(vec!["hello", "example"]));
    assert_eq!(roles("pi2"), toml::Value::Array(Vec::new()));
}

#[test]
fn check_lists_the_mistakes_of_all_files_at_once() {
    let user = NewUser::new();
    user.ends(&["init", "fleet", "--node", "pi1", "--no-ssh-keys"], 0);
    for node in ["pi2", "pi3"] {
        user.ends(&["init", "fleet", "--node", node], 0);
    }
    let said = user.ends(&["check", "--site", "fleet"], 0);
    assert!(said.starts_with("warning: no one can log in to the nodes: in fleet/site.toml, "), "{said}");
    assert!(said.ends_with("no mistakes in the site fleet (fleet): 3 nodes, 2 roles\n"), "{said}");

    let edit = |file: &str, from: &str, to: &str| {
        let path = user.at("fleet").join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    };
    edit("site.toml", "release = \"1\"", "release = \"\"");
    edit("site.toml", "ssh-keys = []", "ssh-keys = [\"no key\", \"another\"]");
    edit(
        "nodes/pi2.toml",
        "roles = []",
        "roles = [\"helo\"]\nleast-serial = 0\n[[network]]\nname = \"a/b\"\n",
    );
    edit("nodes/pi3.toml", "roles = []", "rolls = []");
    fs::remove_file(user.at("fleet/roles/example/run.sh")).unwrap();
    let said = user.ends(&["check", "--site", "fleet", "--json"], 65);
    let result: serde_json::Value = serde_json::from_str(&said).unwrap();
    let found: Vec<_> = result["mistakes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mistake| {
            let file = mistake["file"].as_str().unwrap_or_default().to_owned();
            (file, mistake["line"].as_u64().unwrap_or(0), mistake["message"].as_str().unwrap().to_owned())
        })
        .collect();
    let expected = [
        ("", 0, "the role example cannot run its program fleet/roles/example/run.sh: there is no such file"),
        ("fleet/nodes/pi2.toml", 3, "the site has no role \"helo\""),
        ("fleet/nodes/pi2.toml", 6, "name = \"a/b\""),
        ("fleet/nodes/pi2.toml", 4, "least-serial = \"0\": it must be at least 1"),
        ("fleet/nodes/pi3.toml", 3, "unknown key \"rolls\"; did you mean \"roles\"?"),
        ("fleet/site.toml", 4, "release = \"\""),
        ("fleet/site.toml", 17, "ssh-keys = \"no key\""),
        ("fleet/site.toml", 17, "ssh-keys = \"another\""),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((file, line, message), (in_file, in_line, text)) in found.iter().zip(expected) {
        assert_eq!((file.as_str(), *line), (in_file, in_line), "{message}");
        assert!(message.contains(text), "{message}");
    }
    assert_eq!((&result["site"], &result["nodes"]), (&serde_json::Value::Null, &serde_json::Value::Null));

    let said = user.ends(&["check", "--site", "fleet"], 65);
    assert!(said.contains("\n  write the program, or correct command in role.toml\n"), "{said}");
    assert!(said.ends_with("8 mistakes in the site in fleet\n"), "{said}");
    // Other commands stop at the first one.
    let said = user.ends(&["seal", "--site", "fleet", "--all"], 65);
    assert!(said.starts_with("error: the role example cannot run its program "), "{said}");
    let said = user.ends(&["check", "--site", "nowhere"], 66);
    assert!(said.starts_with("error: nowhere is not a site"), "{said}");
}
