//! How a node keeps its users apart from the kernel and from each other: `[hardening]` of the site, and the kernel's
//! settings that follow from it.
//!
//! The builder writes the choices into the node's settings, in the seal; the agent applies them before the node's init
//! starts. A node whose seal names none has the defaults.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The users that may do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Every user.
    All,
    /// Only root.
    Root,
    /// Not even root.
    None,
}

/// Which processes a user may trace (`kernel.yama.ptrace_scope`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trace {
    /// Their own processes.
    Own,
    /// Processes that they start in order to trace them.
    Children,
    /// None; only root may trace.
    Root,
    /// None, not even by root, until the next boot.
    None,
}

/// When modules can be loaded into the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Modules {
    /// Always, by root.
    Open,
    /// Until the boot is complete; never again before the next one.
    Closed,
}

macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal),+ }) => {
        impl $type {
            /// Every value with its word in files.
            pub const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];

            /// The word for this value in files.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

        }
    };
}
words!(Who { All = "all", Root = "root", None = "nobody" });
words!(Trace { Own = "own", Children = "children", Root = "root", None = "nobody" });
words!(Modules { Open = "open", Closed = "closed" });

/// The words for a setting that cannot be taken from root.
const ALL_OR_ROOT: &[(&str, Who)] = &[("all", Who::All), ("root", Who::Root)];

/// The table `[hardening]`: one field for each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hardening {
    /// Which users read the kernel's log: all, or root.
    pub kernel_log: Who,
    /// Which users see addresses of the kernel in its files.
    pub kernel_addresses: Who,
    /// Which processes a user may trace.
    pub trace: Trace,
    /// Which users may create user namespaces.
    pub user_namespaces: Who,
    /// Which users may load BPF programs: all, or root.
    pub bpf: Who,
    /// Whether modules can be loaded after boot.
    pub modules: Modules,
}

impl Default for Hardening {
    fn default() -> Self {
        Self {
            kernel_log: Who::Root,
            kernel_addresses: Who::None,
            trace: Trace::Children,
            user_namespaces: Who::Root,
            bpf: Who::Root,
            modules: Modules::Open,
        }
    }
}

/// An unknown key of the table, or a word that is not a value of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadHardening {
    /// No key has this name.
    Key,
    /// The key does not take this word.
    Word {
        /// The words that the key accepts.
        known: Vec<&'static str>,
    },
}

impl fmt::Display for BadHardening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => write!(f, "known keys are {}", list(&Hardening::KEYS)),
            Self::Word { known } => write!(f, "known words are {}", list(known)),
        }
    }
}

impl core::error::Error for BadHardening {}

fn list(words: &[&str]) -> String {
    words.join(", ")
}

/// A setting of the kernel: its path below `/proc/sys`, and its value.
pub type Setting = (&'static str, &'static str);

/// Closes module loading until the next boot.
pub const MODULES_DISABLED: Setting = ("kernel/modules_disabled", "1");

/// Links and files in folders that everyone can write are not followed or opened for others (the kernel's
/// Documentation/admin-guide/sysctl/fs.rst). Not a choice: no program relies on the opposite.
const PROTECTED: [Setting; 4] = [
    ("fs/protected_fifos", "2"),
    ("fs/protected_hardlinks", "1"),
    ("fs/protected_regular", "2"),
    ("fs/protected_symlinks", "1"),
];

impl Hardening {
    /// The keys of the table.
    pub const KEYS: [&'static str; 6] =
        ["kernel-log", "kernel-addresses", "trace", "user-namespaces", "bpf", "modules"];

    /// Each key with its word, in the order of [`Self::KEYS`].
    #[must_use]
    pub fn words(self) -> [(&'static str, &'static str); 6] {
        let [log, addresses, trace, namespaces, bpf, modules] = Self::KEYS;
        [
            (log, self.kernel_log.word()),
            (addresses, self.kernel_addresses.word()),
            (trace, self.trace.word()),
            (namespaces, self.user_namespaces.word()),
            (bpf, self.bpf.word()),
            (modules, self.modules.word()),
        ]
    }

    /// Sets a key to what its word means.
    pub fn set(&mut self, key: &str, word: &str) -> Result<(), BadHardening> {
        match key {
            "kernel-log" => choose(&mut self.kernel_log, word, ALL_OR_ROOT),
            "kernel-addresses" => choose(&mut self.kernel_addresses, word, Who::WORDS),
            "trace" => choose(&mut self.trace, word, Trace::WORDS),
            "user-namespaces" => choose(&mut self.user_namespaces, word, Who::WORDS),
            "bpf" => choose(&mut self.bpf, word, ALL_OR_ROOT),
            "modules" => choose(&mut self.modules, word, Modules::WORDS),
            _ => Err(BadHardening::Key),
        }
    }

    /// The kernel settings to write before the first service starts. A kernel may lack some of them.
    #[must_use]
    pub fn settings(self) -> Vec<Setting> {
        let mut settings = PROTECTED.to_vec();
        settings.push(("kernel/dmesg_restrict", if self.kernel_log == Who::All { "0" } else { "1" }));
        settings.push((
            "kernel/kptr_restrict",
            match self.kernel_addresses {
                Who::All => "0",
                Who::Root => "1",
                Who::None => "2",
            },
        ));
        settings.push((
            "kernel/yama/ptrace_scope",
            match self.trace {
                Trace::Own => "0",
                Trace::Children => "1",
                Trace::Root => "2",
                Trace::None => "3",
            },
        ));
        // Not 1, which root could not set back.
        settings.push(("kernel/unprivileged_bpf_disabled", if self.bpf == Who::All { "0" } else { "2" }));
        // Only Debian's kernel has the first; every kernel has the second.
        settings.push((
            "kernel/unprivileged_userns_clone",
            if self.user_namespaces == Who::All { "1" } else { "0" },
        ));
        if self.user_namespaces == Who::None {
            settings.push(("user/max_user_namespaces", "0"));
        }
        settings
    }
}

fn choose<T: Copy>(place: &mut T, word: &str, words: &[(&'static str, T)]) -> Result<(), BadHardening> {
    match words.iter().find(|(known, _)| *known == word) {
        Some((_, value)) => {
            *place = *value;
            Ok(())
        }
        None => Err(BadHardening::Word { known: words.iter().map(|(known, _)| *known).collect() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_takes_the_words_that_it_writes_and_no_others() {
        let closed = Hardening {
            kernel_log: Who::All,
            kernel_addresses: Who::None,
            trace: Trace::Root,
            user_namespaces: Who::None,
            bpf: Who::All,
            modules: Modules::Closed,
        };
        for table in [closed, Hardening::default()] {
            let mut read = Hardening::default();
            for (key, word) in table.words() {
                read.set(key, word).unwrap();
            }
            assert_eq!(read, table);
        }
        let mut table = Hardening::default();
        assert_eq!(table.set("bpf", "nobody"), Err(BadHardening::Word { known: ["all", "root"].to_vec() }));
        assert_eq!(table.set("bpfs", "all"), Err(BadHardening::Key));
        assert_eq!(table, Hardening::default());
    }

    #[test]
    fn the_defaults_are_the_safe_values() {
        let expected = [
            ("fs/protected_fifos", "2"),
            ("fs/protected_hardlinks", "1"),
            ("fs/protected_regular", "2"),
            ("fs/protected_symlinks", "1"),
            ("kernel/dmesg_restrict", "1"),
            ("kernel/kptr_restrict", "2"),
            ("kernel/yama/ptrace_scope", "1"),
            ("kernel/unprivileged_bpf_disabled", "2"),
            ("kernel/unprivileged_userns_clone", "0"),
        ];
        assert_eq!(Hardening::default().settings(), expected);
    }

    #[test]
    fn each_choice_changes_its_setting() {
        let has = |hardening: Hardening, setting| hardening.settings().contains(&setting);
        let default = Hardening::default();
        assert!(has(Hardening { kernel_log: Who::All, ..default }, ("kernel/dmesg_restrict", "0")));
        assert!(has(Hardening { kernel_addresses: Who::Root, ..default }, ("kernel/kptr_restrict", "1")));
        assert!(has(Hardening { trace: Trace::None, ..default }, ("kernel/yama/ptrace_scope", "3")));
        assert!(has(Hardening { bpf: Who::All, ..default }, ("kernel/unprivileged_bpf_disabled", "0")));
        let open = Hardening { user_namespaces: Who::All, ..default };
        assert!(has(open, ("kernel/unprivileged_userns_clone", "1")));
        let none = Hardening { user_namespaces: Who::None, ..default };
        assert!(has(none, ("user/max_user_namespaces", "0")));
    }
}
