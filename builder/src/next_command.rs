//! The commands that messages tell the user to type next: they must work as they are printed.
//!
//! A user who named a site for this command must name it for the next one, too. So the command line stores the site
//! once, and every message gets its commands from here.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

static SITE: OnceLock<PathBuf> = OnceLock::new();
static FOUND: OnceLock<String> = OnceLock::new();

/// Stores the site that the user named for this process. Only the first call counts.
pub fn note_site(dir: &Path) {
    let _ = SITE.set(dir.to_owned());
}

/// Stores the site of this process, which the user did not name, and how it was found. Only the first call counts.
pub fn note_found_site(dir: &Path, how: &str) {
    let _ = FOUND.set(format!("the site is {}, {how}", dir.display()));
}

/// A sentence that names the site of this process, if the user did not name it.
#[must_use]
pub fn found_site() -> Option<&'static str> {
    FOUND.get().map(String::as_str)
}

/// `psyops` with these words, and with the site that the user named.
#[must_use]
pub fn psyops(words: &str) -> String {
    with_site(words, SITE.get().map(PathBuf::as_path))
}

/// The same with the site that a message is about.
#[must_use]
pub fn with_site(words: &str, site: Option<&Path>) -> String {
    let site = site.map(|dir| format!(" --site {}", argument(dir))).unwrap_or_default();
    format!("psyops {words}{site}")
}

/// A path as one word of a shell, which no command can mistake for an option.
#[must_use]
pub fn argument(path: &Path) -> String {
    let text = path.to_string_lossy();
    word(&if text.starts_with('-') { format!("./{text}") } else { text.into_owned() })
}

/// A text as one word of a shell (POSIX, Shell Command Language, 2.2.2), quoted only if necessary.
#[must_use]
pub fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    // zsh looks for a command after `=`.
    if !text.is_empty() && !text.starts_with('=') && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        for path in ["fleet", "/srv/my site", "it's", "a$(id)b", "-x", "~", "*", "a\\b", "ü", "x;y", "\"q\""]
        {
            let script = format!("printf %s {}", argument(Path::new(path)));
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(said.strip_prefix("./").unwrap_or(&said), path, "{script}");
        }
        assert_eq!(argument(Path::new("-x")), "./-x");
    }

    #[test]
    fn a_command_names_the_site_that_a_message_is_about() {
        assert_eq!(with_site("lock update", None), "psyops lock update");
        let site = Some(Path::new("my fleet"));
        assert_eq!(with_site("lock update", site), "psyops lock update --site 'my fleet'");
    }
}
