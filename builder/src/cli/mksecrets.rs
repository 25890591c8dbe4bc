//! `mksecrets --node NAME`: makes the secret partition of a node, as a file or on a device.

use crate::cli::credential_args::CredentialArgs;
use crate::cli::site::load_locked_site;
use crate::disks::confirm::{Ask, confirm};
use crate::disks::consent::{Consent, PartitionConsentArgs};
use crate::disks::content::Content;
use crate::disks::{self, Disk};
use crate::error::{Class, Classified, Error};
use crate::flash;
use crate::flash::target::past_the_cache;
use crate::secrets::prepare::{Prepared, prepare_one};
use crate::staging::Staging;
use clap::Args;
use handoff::manifest::Store;
use handoff::shown::Shown;
use keys::identity::NodeIdentity;
use serde::Serialize;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Make the secret partition of a node
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mksecrets --site fleet --node pi1 --output pi1-secret.img
  mksecrets --site fleet --node pi1 --device /dev/sdX11
  mksecrets --site fleet --node pi1 --device /dev/sdX11 --serial 4C53   without a terminal

With --device everything on that partition is lost. psyops disks shows the serial number.")]
#[command(mut_group("PartitionConsentArgs", |group| group.conflicts_with("output")))]
#[command(group = clap::ArgGroup::new("target").required(true).args(["output", "device"]))]
pub struct MksecretsArgs {
    /// The node
    #[arg(long, value_name = "NAME")]
    pub node: String,
    /// The site's folder (default: `PSYOPS_SITE`, or the site around the current folder)
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    /// Write an image file
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write to this partition of a disk
    #[arg(long, value_name = "DEV")]
    pub device: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would take the place of the command's own")]
    pub consent: PartitionConsentArgs,
    /// The node's age key (default: the one that is stored encrypted in the site)
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a text here would take the place of the command's own")]
    pub credentials: CredentialArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// A path that is not UTF-8 must not make the command fail after its work is done.
fn shown<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// The result of `mksecrets`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MksecretsOutput {
    /// The id of the site.
    pub site: String,
    /// The name of the node.
    pub node: String,
    /// The public age key of the node.
    pub recipient: String,
    /// The path of the file or device.
    #[serde(serialize_with = "shown")]
    pub target: PathBuf,
    /// The size of the partition in bytes.
    pub size: u64,
    /// The paths of the files on it.
    pub files: Vec<String>,
    /// The generation of the seal that the partition belongs to.
    #[serde(rename = "serial")]
    pub generation: u64,
    /// The path of that seal.
    #[serde(serialize_with = "shown")]
    pub seal: PathBuf,
    /// Why that seal was made by this command; empty if it was current.
    pub sealed_because: Vec<String>,
    /// Whether this command made new keys for the node.
    pub keys_made: bool,
    #[serde(skip)]
    json: bool,
}

/// No output was named. The argument parser requires one, so only other callers see this.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("neither an output file nor a device was named; add --output FILE or --device PARTITION")]
pub struct NoTarget;

impl Classified for NoTarget {
    fn own_class(&self) -> Option<Class> {
        Some(Class::Failure)
    }
}

/// A partition that is open and may be overwritten.
struct Target {
    disk: Disk,
    held: Content,
    file: File,
}

/// Runs the command.
pub fn run(
    args: &MksecretsArgs,
    progress: &dyn Fn(&str),
    ask: &mut Ask<'_>,
) -> Result<MksecretsOutput, Error> {
    let site = load_locked_site(args.site.as_deref())?;
    // The device is checked before anything is made.
    let consent = args.consent.consent();
    let device = args.device.as_deref().map(|path| open(path, &consent, ask)).transpose()?;
    let prepared = prepare_one(site, &args.node, &args.credentials.locations())?;
    // The key is opened once, and before anything is written to the target.
    let key = prepared.identity(args.key.as_deref())?;
    prepared.told_of_trust().iter().for_each(|line| progress(line));
    tell(&prepared, progress);
    let (target, length) = match (&args.output, device) {
        (Some(file), _) => {
            let length = prepared.site.sizes.secret.0;
            prepared.write_partition(&key, length, file)?;
            (file.clone(), length)
        }
        (None, Some(target)) => {
            let (path, length) = (target.disk.path.clone(), target.disk.size);
            write_device(&prepared, &key, target, progress)?;
            (path, length)
        }
        (None, None) => return Err(NoTarget.into()),
    };
    let opened = &prepared.seal.opened;
    let mut files: Vec<String> =
        opened.manifest().stored_in(Store::Disk).map(|entry| entry.path.to_string()).collect();
    files.insert(0, handoff::paths::AGE_KEY.to_owned());
    Ok(MksecretsOutput {
        site: prepared.site.id.to_string(),
        node: prepared.node.to_string(),
        recipient: key.recipient().to_string(),
        target,
        size: length,
        files,
        generation: opened.header().generation.number(),
        seal: prepared.seal.path.clone(),
        sealed_because: prepared.seal.reasons.clone(),
        keys_made: prepared.keys_made,
        json: args.json,
    })
}

/// Prints what changed in the site: new keys, or a new seal and why.
pub fn tell(prepared: &Prepared, progress: &dyn Fn(&str)) {
    if prepared.keys_made {
        progress(&format!("made new keys for the node {}: commit them with the site", prepared.node));
    }
    if !prepared.seal.reasons.is_empty() {
        let generation = prepared.seal.opened.header().generation;
        progress(&format!(
            "made the seal of node {}, generation {generation}: {}",
            prepared.node,
            prepared.seal.reasons.join(", ")
        ));
    }
}

/// Opens a partition that may be overwritten.
fn open(path: &Path, consent: &Consent, ask: &mut Ask<'_>) -> Result<Target, Error> {
    let disk = Disk::of(path)?;
    disk.preflight_partition(consent)?;
    let file = disks::open::open(&disk, false)?;
    let held = Content::of(path, &file, disk.size)?;
    held.preflight_partition(path, consent)?;
    confirm(&disk, &held, consent, ask)?;
    Ok(Target { disk, held, file })
}

fn write_device(
    prepared: &Prepared,
    key: &NodeIdentity,
    target: Target,
    progress: &dyn Fn(&str),
) -> Result<(), Error> {
    let staging = Staging::new()?;
    let image = staging.path().join("secret.img");
    // The file system has whole blocks; a partition need not.
    let size = target.disk.size / 4096 * 4096;
    prepared.write_partition(key, size, &image)?;
    let (path, held) = (&target.disk.path, &target.held.kind);
    progress(&format!("writing {size} bytes to {}, which had {held} on it", path.display()));
    past_the_cache(&target.file, path)?;
    let (name, file) = (path.display().to_string(), target.file);
    let partition = flash::Target { name, file, size, is_disk: false };
    // Signals are not handled here: the write takes less than a second.
    flash::flash_partition(&image, &partition, &AtomicBool::new(false))?;
    Ok(())
}

impl fmt::Display for MksecretsOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            let mut value = serde_json::to_value(self).map_err(|_| fmt::Error)?;
            value["format"] = 1.into();
            return write!(f, "{value}");
        }
        writeln!(
            f,
            "{}: secret partition of the node {} ({} bytes)",
            Shown(self.target.display()),
            self.node,
            self.size
        )?;
        writeln!(f, "  key   {}", self.recipient)?;
        writeln!(f, "  seal  {} ({})", self.generation, Shown(self.seal.display()))?;
        write!(f, "  files {}", self.files.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::Psyops;
    use clap::Parser as _;

    #[test]
    fn a_file_needs_no_consent() {
        for consent in [["--serial", "1234"].as_slice(), &["--fixed-disk"], &["--overwrite", "x"]] {
            let parse = |target| {
                Psyops::try_parse_from(
                    ["psyops", "mksecrets", "--node", "x", target, "y"].iter().chain(consent),
                )
            };
            assert!(parse("--device").is_ok(), "{consent:?}");
            let error = parse("--output").unwrap_err();
            assert_eq!(error.kind(), clap::error::ErrorKind::ArgumentConflict, "{consent:?}");
        }
    }
}
