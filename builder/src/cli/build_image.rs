//! `build-image --node NAME`: a node's image, from the site to the finished file.

use crate::atomic::AtomicFile;
use crate::base::{self, Cache};
use crate::error::{Class, Classified, Error};
use crate::image::ids::ImageIds;
use crate::image::plan::{Contents, plan};
use crate::image::system::{self, System};
use crate::image::{Assembled, Inputs, assemble};
use crate::input::read_input;
use crate::programs::Programs;
use crate::secrets::credentials::Locations;
use crate::secrets::prepare::{Prepared, prepare};
use crate::secrets::seal::NodeSeal;
use crate::secrets::staging::Staging;
use crate::site::{Bytes, Site, default_site};
use crate::tools::MKSQUASHFS;
use clap::Args;
use keys::issue::signing::SigningFailed;
use serde_json::json;
use std::fmt;
use std::path::{Path, PathBuf};

/// Build the image of a node
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  build-image --node demo                            from the embedded default site
  build-image --node pi1 --site fleet --output pi1.img -v")]
pub struct BuildImageArgs {
    /// The node
    #[arg(long, value_name = "NAME")]
    pub node: String,
    /// The site's folder (by default the embedded site)
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    /// The image (by default NAME.img in the current folder)
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The folder with selector.efi, initloader and psyops-agent
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
    /// The admin identity (by default the one of the site under the user's configuration)
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// The signing key (by default the one of the site under the user's configuration)
    #[arg(long, value_name = "FILE")]
    pub signing_key: Option<PathBuf>,
    /// Say what lies where in the image
    #[arg(long, short)]
    pub verbose: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What was built.
#[derive(Debug)]
pub struct BuildImageOutput {
    /// The image.
    pub image: Assembled,
    /// The system in it.
    pub system: System,
    /// The node with its site, its seal and what was done about its keys.
    pub prepared: Prepared,
    verbose: bool,
    json: bool,
}

/// Does it. `progress` hears a line at each stage.
pub fn run(args: &BuildImageArgs, progress: &dyn Fn(&str)) -> Result<BuildImageOutput, Error> {
    let site = match &args.site {
        Some(dir) => Site::load(dir)?,
        None => default_site()?,
    };
    let programs = Programs::find(args.programs.as_deref())?;
    // Keys first: they take no time, and without them the rest would be in vain.
    let at = Locations { identity: args.identity.clone(), signing_key: args.signing_key.clone() };
    let prepared = prepare(site, &args.node, &at)?;
    if prepared.keys_made {
        progress(&format!(
            "keys: made those of {}; they are in the site, encrypted to its admins",
            prepared.node
        ));
    }
    progress(&seal_line(&prepared.seal));
    let output = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}.img", prepared.node)));
    check_early(&prepared, &programs, &output)?;
    let staging = Staging::new()?;
    let secret = staging.path().join("secret.ext4");
    prepared.write_partition(None, prepared.site.sizes.secret.0, &secret)?;
    progress("secret partition: made");
    let cache = Cache::from_environment()?;
    let base = base::prepare(&prepared.site, &cache, progress)?;
    let system = system::make(&prepared.site, &base, &programs, &cache, progress)?;
    let image = put_together(&prepared, &system, &programs, &secret, &output)?;
    progress(&format!("image: {}", output.display()));
    Ok(BuildImageOutput { image, system, prepared, verbose: args.verbose, json: args.json })
}

/// Finds in no time what would else come up after minutes: an output that cannot be made, a missing tool, partitions
/// that are too small for what is known by now.
fn check_early(prepared: &Prepared, programs: &Programs, output: &Path) -> Result<(), Error> {
    drop(AtomicFile::create_private(output)?);
    MKSQUASHFS.find()?;
    let contents = Contents {
        selector: Bytes::of(&read_input(&programs.selector)?),
        uki: Bytes(0),
        root: Bytes(0),
        seal: Bytes::of(&prepared.seal.bytes),
        secret: prepared.site.sizes.secret,
    };
    plan(&prepared.site.sizes, &contents)?;
    Ok(())
}

fn seal_line(seal: &NodeSeal) -> String {
    let serial = seal.opened.header().serial;
    if seal.reasons.is_empty() {
        format!("seal: serial {serial}, as it was")
    } else {
        format!("seal: serial {serial}, made anew: {}", seal.reasons.join("; "))
    }
}

/// The UKI could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign the UKI for its boot record: {0}; check the signing key")]
pub struct UkiSignatureError(SigningFailed);

impl Classified for UkiSignatureError {
    fn class(&self) -> Class {
        Class::Failure
    }
}

fn put_together(
    prepared: &Prepared,
    system: &System,
    programs: &Programs,
    secret: &Path,
    output: &Path,
) -> Result<Assembled, Error> {
    let selector = read_input(&programs.selector)?;
    let site = &prepared.site;
    // The trusted comment binds what the record says to the signature.
    let comment = format!(
        "psyopsOS UKI, site {}, release {}, security epoch {}",
        site.id, site.release, site.security_epoch
    );
    let signature = prepared.credentials.signing.sign(&system.uki, &comment).map_err(UkiSignatureError)?;
    let inputs = Inputs {
        ids: ImageIds { site: &site.id, node: &prepared.node, root: system.root.hash },
        release: &site.release,
        security_epoch: site.security_epoch,
        tries: site.boot.tries,
        sizes: &site.sizes,
        selector: &selector,
        uki: &system.uki,
        uki_signature: &signature,
        root: &system.root.squashfs,
        verity: &system.root.verity,
        seal: &prepared.seal.bytes,
        secret,
    };
    Ok(assemble(&inputs, output)?)
}

impl BuildImageOutput {
    fn to_json(&self) -> serde_json::Value {
        let (packed, unpacked) = self.system.initramfs_sizes;
        json!({
            "image": self.image.path,
            "size": self.image.plan.disk_size.0,
            "site": self.prepared.site.id.to_string(),
            "node": self.prepared.node.to_string(),
            "release": self.prepared.site.release.to_string(),
            "root_hash": self.system.root.hash.to_string(),
            "root_cached": self.system.root.cached,
            "kernel": self.system.kernel_release,
            "command_line": self.system.command_line,
            "uki_sha256": self.image.uki_digest.to_string(),
            "uki_size": self.system.uki.len(),
            "loader_size": self.system.loader_size,
            "initramfs_size": packed,
            "initramfs_unpacked_size": unpacked,
            "seal_serial": self.prepared.seal.opened.header().serial.number(),
            "seal_reasons": self.prepared.seal.reasons,
        })
    }
}

impl fmt::Display for BuildImageOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            return write!(f, "{:#}", self.to_json());
        }
        if self.verbose {
            for partition in &self.image.plan.partitions {
                let (offset, size) = (partition.offset.to_string(), partition.size.to_string());
                writeln!(f, "{:<9} at {offset:>8}  {size:>8}", partition.role.name())?;
            }
            writeln!(f, "root hash {}", self.system.root.hash)?;
        }
        let (path, size) = (self.image.path.display(), self.image.plan.disk_size);
        write!(
            f,
            "{path}: node {} of site {}, release {}, {size}",
            self.prepared.node, self.prepared.site.id, self.prepared.site.release
        )
    }
}
