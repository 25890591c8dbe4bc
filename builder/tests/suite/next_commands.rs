//! The commands that messages tell the user to type next work as they are printed, whatever the folder of the site.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A site whose folder must be quoted, so that a command without quotes, or without the site, does not work.
struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self { folder: TempDir::new().unwrap() };
        fixture.ends("psyops init 'my site' --id lab --node pi1", 0);
        fixture
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// The output of the command in a shell; the exit code must be this one.
    fn ends(&self, command: &str, code: i32) -> String {
        let programs = Path::new(env!("CARGO_BIN_EXE_psyops")).parent().unwrap();
        let path = format!("{}:{}", programs.display(), env::var("PATH").unwrap());
        let mut shell = Command::new("setsid");
        shell.args(["--wait", "sh", "-c", command]).current_dir(self.folder.path()).stdin(Stdio::null());
        shell.env("PATH", path).env("XDG_CACHE_HOME", self.at("cache"));
        shell.env("XDG_CONFIG_HOME", self.at("config")).env("XDG_DATA_HOME", self.at("data"));
        let output = shell.output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert_eq!(output.status.code(), Some(code), "{command}\n{said}");
        said
    }

    /// The command at the end of this command's output, as it must be.
    fn next(&self, command: &str, code: i32, next: &str) -> String {
        let said = self.ends(command, code);
        let found = said.trim_end().rsplit_once(": psyops ").map(|(_, found)| format!("psyops {found}"));
        assert_eq!(found.as_deref(), Some(next), "{command}\n{said}");
        next.to_owned()
    }

    /// The same, and running it must give that exit code.
    fn leads(&self, command: &str, code: i32, next: &str, then: i32) {
        self.ends(&self.next(command, code, next), then);
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.at("my site").join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }
}

#[test]
fn printed_commands_for_seals_work() {
    let fixture = Fixture::new();
    let new = "psyops init 'my site' --node pi2";
    fixture.leads("psyops seal --site 'my site' --node pi2", 66, new, 0);
    fixture.ends("psyops seal --site='my site' --all", 0);
    let raise = "psyops seal --all --raise release --site 'my site'";
    fixture.leads("psyops seal --site 'my site' --node pi1 --raise release", 77, raise, 0);
    fs::write(fixture.at("my site/seals/pi1.seal"), "no seal").unwrap();
    let replace = "psyops seal --node pi1 --replace --site 'my site'";
    fixture.leads("psyops seal --site 'my site' --all", 65, replace, 0);
    fixture.leads("psyops seal --all --site elsewhere", 66, "psyops init elsewhere", 0);
}

#[test]
fn printed_commands_replace_the_lost_keys_of_a_node() {
    let fixture = Fixture::new();
    fixture.ends("psyops seal --site 'my site' --all", 0);
    fs::remove_dir_all(fixture.at("my site/secrets/nodes/pi1")).unwrap();
    let seal = "psyops seal --node pi1 --site 'my site'";
    let secrets = "psyops mksecrets --site 'my site' --node pi1 --output secret.img";
    fixture.next(secrets, 66, seal);
    let file = fs::read_to_string(fixture.at("my site/nodes/pi1.toml")).unwrap();
    let line = file.lines().find(|line| line.starts_with("recipient = ")).unwrap();
    fixture.edit("nodes/pi1.toml", line, "");
    fixture.ends(seal, 0);
    fixture.ends(secrets, 0);
}

#[test]
fn printed_commands_for_keys_work() {
    let fixture = Fixture::new();
    let (show, accept) = ("psyops trust show --site 'my site'", "psyops trust accept --site 'my site'");
    fixture.leads(&format!("{accept} age1wrong"), 66, show, 0);
    let remove = "psyops keys passphrase --remove --site 'my site'";
    fixture.leads("psyops keys passphrase --site 'my site' --new-passphrase-fd 3 3</dev/null", 65, remove, 0);
    fs::remove_file(fixture.at("config/psyops/lab/lab.trust.toml")).unwrap();
    let said = fixture.ends(show, 0);
    assert!(
        said.starts_with("no keys of the site lab are accepted on this workstation yet; its keys are:\n"),
        "{said}"
    );
    assert!(!said.contains("the site has the same keys"), "{said}");
    fixture.next(show, 0, accept);
    let said = fixture.ends(accept, 0);
    let (first, _) = said.split_once('\n').unwrap();
    assert!(first.starts_with("accepted for the site lab, the first ones on this workstation ("), "{said}");
    assert!(fixture.ends(show, 0).ends_with("the site has the same keys\n"));
    assert!(fixture.ends(accept, 0).starts_with("accepted for the site lab ("));
    // A committer adds a key: the user accepts it by its text, or on a terminal, which does not exist here.
    fixture.edit(
        "site.toml",
        "recipients = [",
        "recipients = [\"age1lvyvwawkr0mcnnnncaghunadrqkmuf9e6507x9y920xxpp866cnql7dp2z\", ",
    );
    fixture.leads("psyops seal --site 'my site' --all", 77, accept, 77);
    fixture.next(accept, 77, accept);
}

#[test]
fn printed_commands_for_the_lock_work() {
    let fixture = Fixture::new();
    let settings = fixture.at("my site/site.toml");
    let text = fs::read_to_string(&settings).unwrap();
    // An archive that does not answer: the command is parsed, and finds the site.
    fs::write(&settings, format!("{text}\n[packages]\nmirror = \"http://127.0.0.1:1\"\n")).unwrap();
    fixture.leads("psyops lock show --site 'my site'", 66, "psyops lock update --site 'my site'", 69);
}

/// Commands that all have `--site`.
const OF_A_SITE: [&str; 9] =
    ["build-image", "keys", "known-hosts", "lock", "mksecrets", "seal", "secret", "trust", "why"];

/// Commands in the source that are not printed as the next one.
const RIGHT: [(&str, &str); 3] = [
    // In a file of the site, which does not know its own path.
    ("base/lock.rs", "renew it with `psyops lock update`"),
    ("secrets/trust/key_set.rs", "Written by psyops trust accept"),
    // The help of a command works anywhere.
    ("secrets/key_guard/mod.rs", "psyops secret set --help"),
];

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    #[expect(clippy::disallowed_methods, reason = "the order does not matter")]
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn lacks_the_site(line: &str) -> bool {
    let names = |command: &str| line.contains(&format!("psyops {command} "));
    !line.trim_start().starts_with("//") && !line.contains("--site") && OF_A_SITE.iter().any(|one| names(one))
}

#[test]
fn no_message_formats_a_command_of_a_site_by_hand() {
    assert!(
        lacks_the_site("    Some(\"psyops lock update \".into())")
            && !lacks_the_site("psyops(\"lock update\")")
    );
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    let mut wrong = Vec::new();
    for path in files.iter().filter(|path| !path.to_string_lossy().ends_with("tests.rs")) {
        let name = path.strip_prefix(&source).unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(path).unwrap();
        let text = crate::common::without_tests(&text);
        let is_right = |line: &str| RIGHT.iter().any(|(file, words)| name == *file && line.contains(words));
        let lines = text.lines().filter(|line| lacks_the_site(line) && !is_right(line));
        wrong.extend(lines.map(|line| format!("{name}: {}", line.trim())));
    }
    assert!(wrong.is_empty(), "these take their command from crate::next_command:\n{}", wrong.join("\n"));
}

/// Without `--site`: the variable, then the folder in which the command runs and those above it, and nothing else.
#[test]
fn a_site_is_found_and_named_in_errors_and_no_other_is_made() {
    let fixture = Fixture::new();
    let site = fixture.at("my site").canonicalize().unwrap();
    let missing = |how: &str| {
        let lock = site.join("site.lock");
        format!(
            "error: {} does not exist yet\n  make it with: psyops lock update\n  the site is {}, {how}\n",
            lock.display(),
            site.display()
        )
    };
    let around = fixture.ends("cd 'my site/nodes' && psyops lock show", 66);
    assert_eq!(around, missing("found from the current folder"));
    let variable = fixture.ends(&format!("PSYOPS_SITE='{}' psyops lock show", site.display()), 66);
    assert_eq!(variable, missing("from PSYOPS_SITE"));
    // The option counts before the variable, and the variable before the current folder.
    fixture.ends("psyops init other --node pi9", 0);
    let named =
        fixture.ends("cd 'my site' && PSYOPS_SITE=nowhere psyops trust show --site ../other --json", 0);
    assert!(named.contains("\"site\": \"other\""), "{named}");
    let named = fixture.ends("cd 'my site' && PSYOPS_SITE=../other psyops trust show --json", 0);
    assert!(named.contains("\"site\": \"other\""), "{named}");

    fs::create_dir(fixture.at("empty")).unwrap();
    for command in ["build-image --node demo", "lock update --yes", "seal --all", "why demo", "secret list"] {
        let said = fixture.ends(&format!("cd empty && PSYOPS_SITE= psyops {command}"), 66);
        let here = fixture.at("empty").canonicalize().unwrap();
        assert_eq!(
            said,
            format!(
                "error: there is no site here: neither {} nor a folder above it has a site.toml\n  name a site with --site DIR or the variable PSYOPS_SITE, or make one: psyops init DIR\n",
                here.display()
            ),
            "{command}"
        );
    }
    for made in ["data", "config/psyops/demo"] {
        assert!(!fixture.at(made).exists(), "{made} was made");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "make test lists what was not tested")]
fn a_site_of_another_user_is_not_found_by_its_folder() {
    if !nix::unistd::geteuid().is_root() {
        println!("not tested: only root can give a folder to another user");
        return;
    }
    let fixture = Fixture::new();
    let site = fixture.at("my site").canonicalize().unwrap();
    std::os::unix::fs::chown(site.join("site.toml"), Some(65534), None).unwrap();
    let said = fixture.ends("cd 'my site/nodes' && psyops lock show", 77);
    assert_eq!(
        said,
        format!(
            "error: the site in {} belongs to another user (uid 65534)\n  if it is the one that you want, name it: --site '{}'\n",
            site.display(),
            site.display()
        )
    );
    fixture.ends("cd 'my site/nodes' && SUDO_UID=65534 psyops lock show", 66);
    fixture.ends("cd 'my site/nodes' && psyops lock show --site ..", 66);
}
