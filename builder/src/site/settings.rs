//! The settings of a site, resolved: every value has its default, its type and its meaning.

use super::package::PackageSet;
use super::quantity::{Bytes, SizeSpec};
use handoff::architecture::Architecture;
use handoff::fault::Policy;
use handoff::login::ConsoleLogin;
use handoff::manifest::Required;
use handoff::verity::OnCorruption;

/// The archives, and the packages from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packages {
    /// The architecture of the packages.
    pub architecture: &'static Architecture,
    /// Debian's release name.
    pub suite: String,
    /// The URL of the archive.
    pub mirror: String,
    /// The URL of the archive of security updates; empty for none.
    pub security_mirror: String,
    /// The name of the kernel package, or of the meta package that depends on it.
    pub kernel: String,
    /// The packages that every node gets in addition to the base.
    pub extra: PackageSet,
}

/// The sizes of the partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// The size of the EFI system partition.
    pub esp: Bytes,
    /// The size of each slot's boot partition.
    pub boot: Bytes,
    /// The size of each slot's root.
    pub root: SizeSpec,
    /// The size of each slot's hash tree; by default, enough for a root that fills its partition.
    pub verity: SizeSpec,
    /// The size of each of the two partitions for the seal.
    pub seal: Bytes,
    /// The size of the secret partition.
    pub secret: Bytes,
    /// The size of the partition for logs and state; `None` if there is none.
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
    /// All sizes in one text, as an input of a build.
    #[must_use]
    pub fn spelled(&self) -> String {
        let Self { esp, boot, root, verity, seal, secret, data } = self;
        let data = data.map_or_else(|| "none".to_owned(), |size| size.to_string());
        format!("esp={esp},boot={boot},root={root},verity={verity},seal={seal},secret={secret},data={data}")
            .replace(' ', "")
    }
}

/// How nodes start, and how they react to faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootPolicy {
    /// How often a slot is started before it must be marked good.
    pub tries: u8,
    /// The action for each fault.
    pub faults: Policy,
    /// The size of the overlay over the root, as in the `size=` option of tmpfs(5).
    pub overlay_size: String,
    /// What the kernel does when the running root turns out to be corrupt.
    pub root_corruption: OnCorruption,
    /// How many seconds the identity stage may take.
    pub identity_deadline: u32,
    /// Whether to remove files on the secret partition that are not in the seal.
    pub remove_unknown: bool,
    /// The default for how much nodes need a file.
    pub required: Required,
    /// Additional words for the kernel command line.
    pub arguments: Vec<String>,
}

/// Which consoles there are, and who may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Console {
    /// The values of `console=`; the last one becomes `/dev/console`.
    pub devices: Vec<String>,
    /// Who may log in.
    pub login: ConsoleLogin,
}
