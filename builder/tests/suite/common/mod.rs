//! A site with its keys, and the commands as a user types them; and the code of a source without its tests.

use keys::issue::identity_file;
use keys::issue::signing::SigningKey;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A site with a node `pi1` and its keys, as `psyops init` makes them.
pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let fixture = Self { folder: TempDir::new().unwrap() };
        let output = fixture.psyops(&["init", "site", "--id", "lab", "--node", "pi1"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        fixture
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("XDG_CONFIG_HOME", self.at("config")).env("XDG_DATA_HOME", self.at("data"));
        command
    }

    pub(crate) fn psyops(&self, words: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_psyops")).args(words).output().unwrap()
    }

    /// Runs a command that must end with this exit code; returns its standard output and standard error.
    pub(crate) fn ends(&self, words: &[&str], code: i32) -> (String, String) {
        let output = self.psyops(words);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (said, complaint) = (text(output.stdout), text(output.stderr));
        assert_eq!(output.status.code(), Some(code), "{words:?}\n{said}\n{complaint}");
        (said, complaint)
    }

    /// Does what a committer could do: adds one more line under `recipients`.
    pub(crate) fn add_recipient(&self) -> String {
        let other = identity_file::generate().recipient().to_string();
        let path = self.at("site/site.toml");
        let text = fs::read_to_string(&path).unwrap();
        let changed = text.replacen("recipients = [", &format!("recipients = [\"{other}\", "), 1);
        assert_ne!(text, changed);
        fs::write(path, changed).unwrap();
        other
    }

    /// Does what a committer could do: replaces the site's signing key by another one. Returns the text of `site.toml`,
    /// and the key.
    pub(crate) fn replace_signing_key(&self) -> (String, SigningKey) {
        let path = self.at("site/site.toml");
        let text = fs::read_to_string(&path).unwrap();
        let mine = text.split('"').find(|word| word.starts_with("RW")).unwrap();
        let other = SigningKey::generate().unwrap();
        let changed = text.replace(mine, other.public().as_str());
        fs::write(path, &changed).unwrap();
        (changed, other)
    }
}

/// The first age key in a file.
pub(crate) fn age_key_in(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    text.split('"').find(|word| word.starts_with("age1")).unwrap().to_owned()
}

/// A source without the items that only tests have: what follows a line `#[cfg(test)]`, up to the end of that item.
pub(crate) fn without_tests(source: &str) -> String {
    let mut code = String::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            code.push_str(line);
            code.push('\n');
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        // An item of one line ends with a semicolon or a bracket; a longer one with a bracket below its first line.
        let ends = |line: &str| {
            let is_at_the_same_depth = line.len() - line.trim_start().len() == indent;
            is_at_the_same_depth && line.ends_with([';', '}']) && !line.trim_start().starts_with("#[")
        };
        for line in lines.by_ref() {
            if ends(line) {
                break;
            }
        }
    }
    code
}

#[test]
fn code_between_and_after_test_items_is_kept() {
    let source = "use a;\n#[cfg(test)]\n#[path = \"x.rs\"]\nmod fixture;\nuse b;\n#[cfg(test)]\nuse c;\nimpl D {\n    \
                  #[cfg(test)]\n    fn e() {\n        f();\n    }\n    fn g() {}\n}\n#[cfg(test)]\nmod tests {\n    use \
                  super::*;\n}\n";
    assert_eq!(without_tests(source), "use a;\nuse b;\nimpl D {\n    fn g() {}\n}\n");
}
