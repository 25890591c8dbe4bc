//! `node.toml`: what a seal says about its node, except its files.
//!
//! The builder writes it into the seal, PID 1 writes it to [`crate::paths::NODE`], the agent reads it. An unknown key
//! is an error: an older agent would otherwise silently ignore a new setting.

mod read;
mod write;

#[cfg(test)]
mod tests;

pub use read::BadNodeSettings;

use crate::base_kind::BaseKind;
use crate::hardening::Hardening;
use crate::login::ConsoleLogin;
use crate::name::Name;
use crate::network::Card;
use alloc::vec::Vec;
use core::num::NonZeroU32;

/// The version of the format.
const FORMAT: u32 = 1;

/// Seconds that the configuration run may take, if the site sets no limit.
pub const DEFAULT_DEADLINE: NonZeroU32 = NonZeroU32::MIN.saturating_add(599);
/// Further attempts of a command that fails, if the site sets no number.
pub const DEFAULT_RETRIES: u32 = 3;

/// The settings of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSettings {
    /// The name of its site.
    pub site: Name,
    /// The name of the node, which is its host name too.
    pub name: Name,
    /// The kind of its base system.
    pub base: BaseKind,
    /// Its roles, in the order in which they are applied.
    pub roles: Vec<Name>,
    /// The variables for templates, besides [`crate::variables::PREDEFINED`].
    pub variables: toml::Table,
    /// Its network cards.
    pub network: Vec<Card>,
    /// Who can log in on its consoles.
    pub login: ConsoleLogin,
    /// Limits of its configuration run.
    pub configure: ConfigureLimits,
    /// How its users are kept apart from the kernel and from each other.
    pub hardening: Hardening,
}

/// Limits of the configuration run after init has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigureLimits {
    /// Seconds for all roles together.
    pub deadline: NonZeroU32,
    /// Further attempts of a command that fails.
    pub retries: u32,
}

impl Default for ConfigureLimits {
    fn default() -> Self {
        Self { deadline: DEFAULT_DEADLINE, retries: DEFAULT_RETRIES }
    }
}
