//! Mistakes of users on the command line: the exit code, the message, and that no file is left behind.
//!
//! Packages come from the user's cache (or the one that `PSYOPS_TEST_CACHE` names), or over the network.

use builder::folders::Folder;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A site with a node `pi1`, its keys, and programs that would not run anywhere.
struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self { folder: TempDir::new().unwrap() };
        for file in ["selector.efi", "initloader", "psyops-agent"] {
            fs::create_dir_all(fixture.at("programs")).unwrap();
            fs::write(fixture.at("programs").join(file), file).unwrap();
        }
        let output =
            fixture.command(env!("CARGO_BIN_EXE_psyops"), &["init", "site", "--id", "lab", "--node", "pi1"]);
        assert!(output.status.success(), "{output:?}");
        // With the same build time in all of them, these sites share one root in the cache.
        let text = fs::read_to_string(fixture.at("site/site.toml")).unwrap();
        let line = text.lines().find(|line| line.starts_with("build-time")).unwrap();
        fixture.edit(line, "build-time = 2026-11-01T00:00:00Z");
        fixture
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Replaces a line of `site.toml`, or appends it.
    fn edit(&self, from: &str, to: &str) {
        let path = self.at("site/site.toml");
        let text = fs::read_to_string(&path).unwrap();
        let changed = if from.is_empty() { format!("{text}\n{to}\n") } else { text.replace(from, to) };
        assert_ne!(text, changed, "{from:?} is not in {text}");
        fs::write(path, changed).unwrap();
    }

    fn command(&self, program: &str, words: &[&str]) -> Output {
        let cache = env::var_os("PSYOPS_TEST_CACHE").map(PathBuf::from);
        let cache = cache.unwrap_or_else(|| Folder::Cache.of_psyops().unwrap().parent().unwrap().to_owned());
        Command::new(program)
            .args(words)
            .current_dir(self.folder.path())
            .env("XDG_CONFIG_HOME", self.at("config"))
            .env("XDG_DATA_HOME", self.at("data"))
            .env("XDG_CACHE_HOME", cache)
            .env("PSYOPS_PROGRAMS", self.at("programs"))
            .output()
            .unwrap()
    }

    fn build(&self, words: &[&str]) -> Output {
        let words = [&["--site", "site"], words].concat();
        self.command(env!("CARGO_BIN_EXE_build-image"), &words)
    }

    /// Whether the output's folder is empty, without any temporary file.
    fn is_clean(&self) -> bool {
        let names = Command::new("ls").arg("-A").arg(self.folder.path()).output().unwrap();
        let names = String::from_utf8(names.stdout).unwrap();
        names.lines().all(|name| ["site", "config", "data", "programs", "full"].contains(&name))
    }

    /// A build that must fail with this exit code and these words.
    fn fails(&self, words: &[&str], code: i32, said: &[&str]) {
        self.failed(&self.build(words), code, said);
    }

    fn failed(&self, output: &Output, code: i32, said: &[&str]) {
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{complaint}");
        for words in said {
            assert!(complaint.contains(words), "{words:?} is not in: {complaint}");
        }
        assert!(self.is_clean());
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let run = |stdout: fs::File| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_psyops"));
        command.args(["disks", "--json"]).stdout(stdout).output().unwrap()
    };
    let output = run(fs::File::options().write(true).open("/dev/full").unwrap());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{output:?}");
    assert!(said.contains("error: cannot write to the standard output: "), "{said}");
    assert!(run(tempfile::tempfile().unwrap()).status.success());
}

#[test]
fn an_unknown_node_is_named_with_its_neighbour() {
    Fixture::new().fails(&["--node", "pi2"], 66, &["pi2", "pi1"]);
}

#[test]
fn an_unknown_key_is_named_with_file_line_and_neighbour() {
    let fixture = Fixture::new();
    fixture.edit("", "[sizes]\nespp = \"64MiB\"");
    fixture.fails(&["--node", "pi1"], 65, &["site.toml:", "espp", "esp"]);
}

#[test]
fn a_program_that_is_not_built_is_named_with_the_command() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.at("programs/initloader")).unwrap();
    fixture.fails(&["--node", "pi1"], 69, &["initloader", "cargo build"]);
}

#[test]
fn partitions_that_are_too_small_are_named_with_numbers() {
    for (size, said) in [
        ("esp = \"16MiB\"", ["ESP of 16MiB is too small", "esp = \"33MiB\" or more"]),
        ("boot = \"4MiB\"", ["the UKI with its boot record has", "larger than the partition boot-a of 4MiB"]),
        ("root = \"8MiB\"", ["the root has", "larger than the partition root-a of 8MiB"]),
    ] {
        let fixture = Fixture::new();
        fixture.edit("", &format!("[sizes]\n{size}"));
        fixture.fails(&["--node", "pi1"], 65, &said);
    }
}

#[test]
fn a_missing_folder_is_named_in_the_error() {
    Fixture::new().fails(&["--node", "pi1", "--output", "no/such/pi1.img"], 73, &["no/such"]);
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.at("full")).unwrap();
    // The file system with room for two MiB exists only for this command.
    let script = "mount -t tmpfs -o size=2m tmpfs full && \"$0\" --site site --node pi1 --output full/pi1.img; \
                  code=$?; ls -A full; exit $code";
    let output = fixture.command("unshare", &["-Urm", "sh", "-c", script, env!("CARGO_BIN_EXE_build-image")]);
    fixture.failed(&output, 73, &["full/pi1.img", "no space left"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

#[test]
fn a_missing_host_tool_is_named_with_its_package() {
    let fixture = Fixture::new();
    let script = "mount --bind /dev/null \"$(command -v mke2fs || echo /usr/sbin/mke2fs)\" && \
                  exec \"$0\" --site site --node pi1";
    let output = fixture.command("unshare", &["-Urm", "sh", "-c", script, env!("CARGO_BIN_EXE_build-image")]);
    fixture.failed(&output, 69, &["mke2fs", "apt-get install e2fsprogs"]);
}

#[test]
fn a_file_that_is_not_an_image_is_not_run_or_read() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.at("data")).unwrap();
    fs::write(fixture.at("data/x.img"), vec![0; 1 << 20]).unwrap();
    for (command, image, code) in [
        ("inspect", "data/x.img", 65),
        ("inspect", "data/no.img", 66),
        ("verify", "data/x.img", 65),
        ("verify", "data/no.img", 66),
        ("ls", "data/x.img", 65),
        ("ls", "data/no.img", 66),
        ("run", "data/x.img", 65),
        ("run", "data/no.img", 66),
    ] {
        let output = fixture.command(env!("CARGO_BIN_EXE_psyops"), &[command, image]);
        fixture.failed(&output, code, &[image]);
    }
    // The error is reported once.
    for length in [0, 3, 700, 1500, 1 << 20] {
        fs::write(fixture.at("data/x.img"), vec![0; length]).unwrap();
        let output = fixture.command(env!("CARGO_BIN_EXE_psyops"), &["verify", "data/x.img"]);
        let complaint = String::from_utf8_lossy(&output.stderr);
        for words in ["only", "no GPT", "end at byte", "not a psyopsOS image", "x.img"] {
            assert!(complaint.matches(words).count() <= 1, "{length}: {words:?} in {complaint}");
        }
    }
    for (words, code, said) in [
        (["cat", "data/x.img", "root/etc/passwd"], 65, "data/x.img has no valid partition table"),
        (["cat", "data/no.img", "root/etc/passwd"], 66, "data/no.img"),
        (["diff", "data/x.img", "data/x.img"], 65, "data/x.img has no valid partition table"),
        (["diff", "data/no.img", "data/x.img"], 66, "data/no.img"),
        (["inspect", "data/x.img", "--svg"], 65, "data/x.img has no valid partition table"),
        (["inspect", "--output=x.svg", "data/x.img"], 2, "--svg"),
        (["diff", "data/x.img", "--all"], 2, "<B>"),
    ] {
        fixture.failed(&fixture.command(env!("CARGO_BIN_EXE_psyops"), &words), code, &[said]);
    }
}
