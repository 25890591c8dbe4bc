//! The loader configuration: the part of an initramfs that is made for its site. It names the trusted signing keys, the
//! release, the actions for faults and who can log in to a rescue shell.
//!
//! It is a file in the UKI and covered by its signature. Text, one `key: value` a line, in any order. A line ends with
//! a line feed; no value has a control character.

use crate::fault::Policy;
use crate::least_generation::LeastGeneration;
use crate::name::Name;
use crate::paths::TRUST;
use crate::rescue::RescuePolicy;
use crate::verity::OnCorruption;
use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The site's settings for the loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderConfig {
    /// The site's name.
    pub site: Name,
    /// The release of the system that has this initramfs.
    pub release: Name,
    /// The security epoch of the release: it grows when older releases must not run any more.
    pub security_epoch: u32,
    /// The lowest generations of seals that this system accepts.
    pub least_generation: LeastGeneration,
    /// When it was built, in seconds since 1970: no clock in the initramfs may be earlier.
    pub build_time: u64,
    /// The minisign public keys (base64, second line of a key file) that may sign a seal.
    pub signing_keys: Vec<String>,
    /// The size of the overlay over the root, as the `size=` option of tmpfs(5) takes it.
    pub overlay_size: String,
    /// What the kernel does when a block of the running root is damaged.
    pub root_corruption: OnCorruption,
    /// Seconds that the identity stage may take.
    pub identity_deadline: u32,
    /// The actions for faults until a seal is open.
    pub policy: Policy,
    /// Who can log in when the machine is in rescue.
    pub rescue: RescuePolicy,
}

/// Why a text is not a loader configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadLoaderConfig {
    /// A line that is not `key: value`.
    BadLine(String),
    /// A key that this version does not know.
    UnknownKey(String),
    /// A required key that is missing.
    Missing(&'static str),
    /// The key whose value is not valid.
    BadValue(String),
}

impl fmt::Display for BadLoaderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadLine(line) => write!(f, "loader settings {TRUST}: {line:?} is not 'key: value'"),
            Self::UnknownKey(key) => write!(f, "loader settings {TRUST}: unknown key {key:?}"),
            Self::Missing(key) => write!(f, "loader settings {TRUST}: {key} is missing"),
            Self::BadValue(line) => write!(f, "loader settings {TRUST}: the value in {line:?} is not valid"),
        }
    }
}

impl core::error::Error for BadLoaderConfig {}

impl LoaderConfig {
    /// The configuration's text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!(
            "site: {}\nrelease: {}\nsecurity-epoch: {}\nbuild-time: {}\noverlay-size: {}\nidentity-deadline: {}\n",
            self.site,
            self.release,
            self.security_epoch,
            self.build_time,
            self.overlay_size,
            self.identity_deadline
        );
        if self.root_corruption != OnCorruption::default() {
            text.push_str(&format!("root-corruption: {}\n", self.root_corruption.name()));
        }
        for key in &self.signing_keys {
            text.push_str(&format!("signing-key: {key}\n"));
        }
        text.push_str(&self.least_generation.encode());
        for (fault, action) in self.policy.chosen() {
            text.push_str(&format!("policy: {fault} {action}\n"));
        }
        text.push_str(&self.rescue.encode());
        text
    }

    /// Reads the configuration's text.
    pub fn decode(text: &str) -> Result<Self, BadLoaderConfig> {
        let (mut site, mut release, mut epoch, mut time, mut deadline) = (None, None, None, None, None);
        let mut overlay_size = None;
        let (mut signing_keys, mut policy) = (Vec::new(), Policy::default());
        let (mut rescue, mut root_corruption) = (RescuePolicy::default(), OnCorruption::default());
        let mut least_generation = LeastGeneration::default();
        // Not `lines`, which would remove a carriage return from a value.
        for line in text.split_terminator('\n') {
            let bad = || BadLoaderConfig::BadValue(line.to_owned());
            let (key, value) =
                line.split_once(": ").ok_or_else(|| BadLoaderConfig::BadLine(line.to_owned()))?;
            if value.contains(char::is_control) {
                return Err(bad());
            }
            match key {
                "site" => site = Some(value.parse().map_err(|_| bad())?),
                "release" => release = Some(value.parse().map_err(|_| bad())?),
                "security-epoch" => epoch = Some(value.parse().map_err(|_| bad())?),
                "build-time" => time = Some(value.parse().map_err(|_| bad())?),
                "overlay-size" => overlay_size = Some(value.to_owned()),
                "identity-deadline" => deadline = Some(value.parse().map_err(|_| bad())?),
                "root-corruption" => {
                    let known = OnCorruption::ALL.into_iter().find(|known| known.name() == value);
                    root_corruption = known.ok_or_else(bad)?;
                }
                "signing-key" => signing_keys.push(value.to_owned()),
                "policy" => {
                    let (fault, action) = value.split_once(' ').ok_or_else(bad)?;
                    policy.set(fault.parse().map_err(|_| bad())?, action.parse().map_err(|_| bad())?);
                }
                "least-serial" | "least-serial-of" => least_generation.take(key, value).ok_or_else(bad)?,
                key if key.starts_with("rescue-") => rescue.take(key, value).ok_or_else(bad)?,
                _ => return Err(BadLoaderConfig::UnknownKey(key.to_owned())),
            }
        }
        if signing_keys.is_empty() {
            return Err(BadLoaderConfig::Missing("signing-key"));
        }
        Ok(Self {
            site: site.ok_or(BadLoaderConfig::Missing("site"))?,
            release: release.ok_or(BadLoaderConfig::Missing("release"))?,
            security_epoch: epoch.ok_or(BadLoaderConfig::Missing("security-epoch"))?,
            least_generation,
            build_time: time.ok_or(BadLoaderConfig::Missing("build-time"))?,
            overlay_size: overlay_size.ok_or(BadLoaderConfig::Missing("overlay-size"))?,
            identity_deadline: deadline.ok_or(BadLoaderConfig::Missing("identity-deadline"))?,
            root_corruption,
            signing_keys,
            policy,
            rescue,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, FaultAction};
    use crate::rescue::{ConsoleAccess, RescueAccess};

    fn trust() -> LoaderConfig {
        let mut policy = Policy::default();
        policy.set(Fault::Root, FaultAction::Rescue);
        let mut least_generation = LeastGeneration::default();
        least_generation.raise_all(7);
        least_generation.raise("pi1".parse().unwrap(), 9);
        LoaderConfig {
            site: "demo".parse().unwrap(),
            release: "1.0".parse().unwrap(),
            security_epoch: 2,
            least_generation,
            build_time: 1_700_000_000,
            signing_keys: alloc::vec!["RWQ1".into(), "RWQ2".into()],
            overlay_size: "50%".into(),
            root_corruption: OnCorruption::Restart,
            identity_deadline: 30,
            policy,
            rescue: RescuePolicy {
                access: RescueAccess::Commands,
                console: ConsoleAccess::Password("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA".into()),
                ssh_keys: alloc::vec!["ssh-ed25519 AAAA a".into()],
                keep_keys: true,
                retry_after: 30,
            },
        }
    }

    #[test]
    fn a_written_value_is_read_back() {
        assert_eq!(LoaderConfig::decode(&trust().encode()), Ok(trust()));
    }

    #[test]
    fn each_missing_line_is_named() {
        for key in ["site", "release", "security-epoch", "build-time", "overlay-size", "identity-deadline"] {
            let text: String =
                trust().encode().lines().filter(|l| !l.starts_with(key)).map(|l| format!("{l}\n")).collect();
            assert_eq!(LoaderConfig::decode(&text), Err(BadLoaderConfig::Missing(key)));
        }
        let unknown = trust().encode() + "colour: red\n";
        assert_eq!(LoaderConfig::decode(&unknown), Err(BadLoaderConfig::UnknownKey("colour".into())));
    }

    #[test]
    fn no_value_has_a_control_character() {
        for key in ["signing-key", "overlay-size", "rescue-ssh-key", "rescue-password"] {
            for control in ["\r", "\r\r", "\0", "\u{1b}[2J", "\u{85}"] {
                let line = format!("{key}: $argon2id$x{control}");
                let text = trust().encode() + &line + "\n";
                assert_eq!(
                    LoaderConfig::decode(&text),
                    Err(BadLoaderConfig::BadValue(line)),
                    "{key} {control:?}"
                );
            }
        }
        let error = LoaderConfig::decode(&trust().encode().replace('\n', "\r\n")).unwrap_err();
        assert_eq!(error, BadLoaderConfig::BadValue("site: demo\r".into()), "lines end with a line feed");
    }

    #[test]
    fn without_rescue_settings_there_is_no_login() {
        let silent: String =
            trust().encode().lines().filter(|l| !l.starts_with("rescue")).map(|l| format!("{l}\n")).collect();
        let rescue = LoaderConfig::decode(&silent).unwrap().rescue;
        assert_eq!(rescue, RescuePolicy::default());
        assert!(!rescue.has_login());
    }

    #[test]
    fn an_invalid_rescue_setting_is_an_error_and_allows_no_login() {
        for line in [
            "rescue-shell: no",
            "rescue-access: shell",
            "rescue-password: $6$salt$hash",
            "rescue-retry-after: 0",
            "rescue-door: open",
        ] {
            let text = trust().encode() + line + "\n";
            assert_eq!(LoaderConfig::decode(&text), Err(BadLoaderConfig::BadValue(line.into())));
        }
    }
}
