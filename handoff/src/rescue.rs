//! Who can log in to a machine in rescue. This is part of the loader configuration, which is signed with the system,
//! because it must be known before a seal is open.
//!
//! By default rescue has no login: a person who finds a stick, or is at a machine's console, does not get a root shell
//! by breaking the boot. The machine prints on every console what is wrong and what to do, and tries to boot again from
//! time to time.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Seconds until a machine without a rescue login on its consoles tries to boot again.
pub const DEFAULT_RETRY_AFTER: u32 = 600;
/// The most memory in KiB that checking a password may take: a node may have 192 MiB in all.
pub const MOST_PASSWORD_MEMORY: u32 = 64 * 1024;

/// The commands of the rescue shell, each with what may follow it: the loader under other names.
pub const SHELL_COMMANDS: [(&str, &str); 5] = [
    ("status", "status"),
    ("log", "log"),
    ("retry", "retry"),
    ("disks", "disks"),
    ("secrets", "secrets check|fix"),
];

/// The commands where rescue has no shell, each with what may follow it.
pub const RESTRICTED_COMMANDS: [(&str, &str); 10] = [
    ("status", "status"),
    ("log", "log"),
    ("disks", "disks"),
    ("secrets", "secrets check|fix"),
    ("fsck", "fsck"),
    ("retry", "retry"),
    ("reboot", "reboot"),
    ("poweroff", "poweroff"),
    ("help", "help"),
    ("exit", "exit"),
];

/// What a user who has logged in to rescue can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RescueAccess {
    /// Everything: a shell of root.
    #[default]
    Shell,
    /// [`RESTRICTED_COMMANDS`], without a shell and without a way to start one.
    Commands,
}

/// The login on a console in rescue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ConsoleAccess {
    /// No login: it only shows what is wrong.
    #[default]
    Off,
    /// A login with a password; holds its argon2id hash in the PHC string format.
    Password(String),
    /// A shell without a password.
    Shell,
}

/// The site's settings for rescue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RescuePolicy {
    /// What a user who has logged in can do.
    pub access: RescueAccess,
    /// The login on the consoles.
    pub console: ConsoleAccess,
    /// Lines of `authorized_keys` for logins by SSH. Without any, rescue does not start the network.
    pub ssh_keys: Vec<String>,
    /// Whether the secret partition, the node's host key and the root stay mounted.
    pub keep_keys: bool,
    /// Seconds until another attempt to boot, where consoles offer no login.
    pub retry_after: u32,
}

impl Default for RescuePolicy {
    fn default() -> Self {
        Self {
            access: RescueAccess::default(),
            console: ConsoleAccess::default(),
            ssh_keys: Vec::new(),
            keep_keys: false,
            retry_after: DEFAULT_RETRY_AFTER,
        }
    }
}

impl RescuePolicy {
    /// Whether rescue has any login; without one, an initramfs needs no tools.
    #[must_use]
    pub fn has_login(&self) -> bool {
        self.console != ConsoleAccess::Off || !self.ssh_keys.is_empty()
    }

    /// The lines of the loader configuration; none if all settings are the defaults.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = match &self.console {
            ConsoleAccess::Off => String::new(),
            ConsoleAccess::Password(hash) => format!("rescue-password: {hash}\n"),
            ConsoleAccess::Shell => "rescue-shell: yes\n".to_owned(),
        };
        if self.access == RescueAccess::Commands {
            text.push_str("rescue-access: commands\n");
        }
        for key in &self.ssh_keys {
            text.push_str(&format!("rescue-ssh-key: {key}\n"));
        }
        if self.keep_keys {
            text.push_str("rescue-keep-keys: yes\n");
        }
        if self.retry_after != DEFAULT_RETRY_AFTER {
            text.push_str(&format!("rescue-retry-after: {}\n", self.retry_after));
        }
        text
    }

    /// Reads a line of the loader configuration; `None` if the key is not one of these or the value is not valid.
    pub fn take(&mut self, key: &str, value: &str) -> Option<()> {
        match (key, value) {
            ("rescue-password", hash) if hash.starts_with("$argon2id$") => {
                self.console = ConsoleAccess::Password(hash.to_owned());
            }
            ("rescue-shell", "yes") => self.console = ConsoleAccess::Shell,
            ("rescue-access", "commands") => self.access = RescueAccess::Commands,
            ("rescue-ssh-key", line) if !line.is_empty() => self.ssh_keys.push(line.to_owned()),
            ("rescue-keep-keys", "yes") => self.keep_keys = true,
            ("rescue-retry-after", seconds) => self.retry_after = seconds.parse().ok().filter(|&n| n > 0)?,
            _ => return None,
        }
        Some(())
    }
}
