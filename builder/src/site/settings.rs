//! What a site says, resolved: every value has its default, its type and its meaning.

use super::package::PackageSet;
use super::quantity::{Bytes, SizeSpec};
use handoff::architecture::Architecture;
use handoff::fault::Policy;
use handoff::login::ConsoleLogin;
use handoff::manifest::Required;
use handoff::verity::OnCorruption;

/// Where packages come from, and which ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packages {
    /// The architecture that they are for.
    pub architecture: &'static Architecture,
    /// Debian's release name.
    pub suite: String,
    /// The archive.
    pub mirror: String,
    /// The archive of security updates; empty for none.
    pub security_mirror: String,
    /// The kernel package, or the meta package that depends on it.
    pub kernel: String,
    /// Packages that the base gets on top, on every node.
    pub extra: PackageSet,
}

/// How big the partitions are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// The EFI system partition.
    pub esp: Bytes,
    /// Each slot's boot partition.
    pub boot: Bytes,
    /// Each slot's root.
    pub root: SizeSpec,
    /// Each slot's hash tree; fitted means: for a root that fills its partition.
    pub verity: SizeSpec,
    /// Each of the two places for the seal.
    pub seal: Bytes,
    /// The secret partition.
    pub secret: Bytes,
    /// The partition for logs and state; `None`: there is none.
    pub data: Option<Bytes>,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            esp: Bytes::mib(64),
            boot: Bytes::mib(64),
            root: SizeSpec::Auto,
            verity: SizeSpec::Auto,
            seal: Bytes::mib(1),
            secret: Bytes::mib(16),
            data: None,
        }
    }
}

impl Sizes {
    /// All of them in one word, as an input of a build.
    #[must_use]
    pub fn spelled(&self) -> String {
        let Self { esp, boot, root, verity, seal, secret, data } = self;
        let data = data.map_or_else(|| "none".to_owned(), |size| size.to_string());
        format!("esp={esp},boot={boot},root={root},verity={verity},seal={seal},secret={secret},data={data}")
            .replace(' ', "")
    }
}

/// How nodes start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootPolicy {
    /// How often a slot is started without a confirmation.
    pub tries: u8,
    /// The answer to each fault.
    pub faults: Policy,
    /// The size of the overlay over the root, as the `size=` option of tmpfs(5) takes it.
    pub overlay_size: String,
    /// What the kernel does about a root that rots while it runs.
    pub root_corruption: OnCorruption,
    /// Seconds that the identity stage may take.
    pub identity_deadline: u32,
    /// Remove files on the secret partition that the seal does not know.
    pub remove_unknown: bool,
    /// How much nodes need those of their files that do not say so themselves.
    pub required: Required,
    /// More words for the kernel command line.
    pub arguments: Vec<String>,
}

/// What consoles offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Console {
    /// For `console=`; the last one becomes `/dev/console`.
    pub devices: Vec<String>,
    /// Who gets in.
    pub login: ConsoleLogin,
}
