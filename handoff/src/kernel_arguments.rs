//! The kernel command line: what psyopsOS puts on it and reads from it.
//!
//! Words are split as the kernel does (`next_arg` in lib/cmdline.c): at white space outside double quotes.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The dm-verity root hash, in hexadecimal.
pub const ROOT_HASH: &str = "psyops.roothash";
/// Makes the loader go to the rescue shell.
pub const RESCUE: &str = "psyops.rescue";
/// How much the loader prints on consoles: `error`, `info` (default) or `debug`.
pub const LOG: &str = "psyops.log";
/// Seconds that the loader waits for its disk.
pub const DEVICE_TIMEOUT: &str = "psyops.device-timeout";
/// The program that becomes PID 1 after the loader.
pub const INIT: &str = "init";
/// The list of modules that are not to be loaded.
pub const BLACKLIST: &str = "modprobe.blacklist";

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// The part before `=`.
    pub key: String,
    /// The part after it, without quotes.
    pub value: Option<String>,
}

/// A parsed command line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KernelArguments {
    arguments: Vec<Argument>,
}

impl KernelArguments {
    /// Splits a command line. Nothing is an error: an unclosed quote goes to the end, as in the kernel. Words after
    /// `--` belong to init and are left out.
    #[must_use]
    pub fn parse(line: &str) -> Self {
        let mut arguments = Vec::new();
        for word in split(line) {
            if word == "--" {
                break;
            }
            let (key, value) = match word.split_once('=') {
                Some((key, value)) => (key, Some(unquote(value))),
                None => (word.as_str(), None),
            };
            let key = key.trim_matches('"').to_owned();
            arguments.push(Argument { key, value });
        }
        Self { arguments }
    }

    /// All arguments in order.
    pub fn iter(&self) -> core::slice::Iter<'_, Argument> {
        self.arguments.iter()
    }

    /// Whether the line has `key`, with or without a value.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.arguments.iter().any(|argument| same_key(&argument.key, key))
    }

    /// The value of `key`; the last one if there are several.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.arguments.iter().rev().find(|argument| same_key(&argument.key, key))?.value.as_deref()
    }

    /// The parameters of a module, as `finit_module(2)` takes them: `mod.param=value` becomes `param=value`.
    #[must_use]
    pub fn module_parameters(&self, module: &str) -> String {
        let mut out = Vec::new();
        for argument in &self.arguments {
            let Some((name, parameter)) = argument.key.split_once('.') else { continue };
            if !same_key(name, module) {
                continue;
            }
            out.push(match &argument.value {
                Some(value) if value.contains(char::is_whitespace) => format!("{parameter}=\"{value}\""),
                Some(value) => format!("{parameter}={value}"),
                None => parameter.to_owned(),
            });
        }
        out.join(" ")
    }

    /// Whether `modprobe.blacklist=` names the module.
    #[must_use]
    pub fn blacklists(&self, module: &str) -> bool {
        self.arguments
            .iter()
            .filter(|argument| argument.key == BLACKLIST)
            .filter_map(|argument| argument.value.as_deref())
            .any(|list| list.split(',').any(|name| same_key(name, module)))
    }
}

impl<'a> IntoIterator for &'a KernelArguments {
    type Item = &'a Argument;
    type IntoIter = core::slice::Iter<'a, Argument>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Whether the kernel treats two names as one: it takes `-` and `_` for the same.
#[must_use]
pub fn same_key(a: &str, b: &str) -> bool {
    let plain = |byte: u8| if byte == b'-' { b'_' } else { byte };
    a.bytes().map(plain).eq(b.bytes().map(plain))
}

fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in line.chars() {
        if c == '"' {
            quoted = !quoted;
        }
        if c.is_ascii_whitespace() && !quoted {
            if !word.is_empty() {
                words.push(core::mem::take(&mut word));
            }
        } else {
            word.push(c);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

fn unquote(value: &str) -> String {
    value
        .strip_prefix('"')
        .map_or(value, |rest| rest.strip_suffix('"').unwrap_or(rest))
        .trim_end_matches('"')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_quotes_and_dashes() {
        let line =
            "quiet psyops.roothash=ab \"x y=1\" usb-storage.delay_use=0 dyndbg=\"file a.c +p\" -- single";
        let arguments = KernelArguments::parse(line);
        assert!(arguments.has("quiet") && !arguments.has("single"));
        assert_eq!(arguments.value(ROOT_HASH), Some("ab"));
        assert_eq!(arguments.value("dyndbg"), Some("file a.c +p"));
        assert_eq!(arguments.module_parameters("usb_storage"), "delay_use=0");
        assert_eq!(arguments.module_parameters("usb"), "");
    }

    #[test]
    fn the_last_value_wins_and_blacklists_add_up() {
        let arguments =
            KernelArguments::parse("init=/a init=/b modprobe.blacklist=uas,nvme modprobe.blacklist=sd_mod");
        assert_eq!(arguments.value(INIT), Some("/b"));
        for module in ["uas", "nvme", "sd-mod"] {
            assert!(arguments.blacklists(module), "{module}");
        }
        assert!(!arguments.blacklists("usb_storage"));
    }

    #[test]
    fn torn_lines_do_not_stop_anything() {
        for line in ["", "=", "\"", "a=\"", "= = \"= --", "a=\"b c"] {
            let _ = KernelArguments::parse(line);
        }
        assert_eq!(KernelArguments::parse("a=\"b c").value("a"), Some("b c"));
    }
}
