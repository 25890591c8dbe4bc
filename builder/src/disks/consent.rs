//! What the user allows for the disks to be written.

use clap::Args;

/// What the user allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consent {
    /// Whether a disk that is neither removable nor on USB may be written.
    pub fixed_disk: bool,
    /// Nodes whose sticks may be flashed for another node.
    pub reassign: Vec<String>,
    /// The names of content that may be lost, as a refusal prints them.
    pub overwrite: Vec<String>,
    /// The ends of the serial numbers of the disks that the user means.
    pub serials: Vec<String>,
}

/// What is typed about a partition that is to be written.
#[derive(Debug, Clone, Default, Args)]
pub struct PartitionConsentArgs {
    /// The last 4 or more characters of the disk's serial number, or its size in bytes if it has none (psyops
    /// disks shows both). Default: ask on the terminal
    #[arg(long = "serial", value_name = "TAIL")]
    pub serials: Vec<String>,
    /// Allow a disk that is neither removable nor on USB
    #[arg(long)]
    pub fixed_disk: bool,
    /// The content that may be overwritten, by the name that the refusal shows
    #[arg(long, value_name = "NAME")]
    pub overwrite: Vec<String>,
}

/// What is typed about a whole disk.
#[derive(Debug, Clone, Default, Args)]
pub struct ConsentArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would take the place of the command's own")]
    pub common: PartitionConsentArgs,
    /// Allow to overwrite the stick of this node with another node's image
    #[arg(long, value_name = "NODE")]
    pub reassign: Vec<String>,
}

impl PartitionConsentArgs {
    /// The consent that these options give.
    #[must_use]
    pub fn consent(&self) -> Consent {
        let Self { serials, fixed_disk, overwrite } = self.clone();
        Consent { fixed_disk, reassign: Vec::new(), overwrite, serials }
    }
}

impl ConsentArgs {
    /// The consent that these options give.
    #[must_use]
    pub fn consent(&self) -> Consent {
        Consent { reassign: self.reassign.clone(), ..self.common.consent() }
    }
}
