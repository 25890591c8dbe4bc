//! What is a node's own in a build: its secret partition, its image, and the record of how they came to be.

use super::Output;
use super::system::System;
use crate::error::{Class, Classified, Error};
use crate::image::ids::ImageIds;
use crate::image::plan::{Contents, plan};
use crate::image::{self, Assembled, assemble};
use crate::secrets::prepare::Prepared;
use crate::secrets::staging::Staging;
use crate::site::Bytes;
use crate::store::{BuildRecord, FileMark, Inputs, Origin, Step, Store, StoreError};
use crate::tools::{DEBUGFS, MKE2FS};
use handoff::hash::Sha256Digest;
use keys::issue::signing::SigningFailed;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Changes with the code that makes secret partitions and images.
const RECIPE: &str = env!("PSYOPS_RECIPE_IMAGE");
/// The name of the step.
const IMAGE: &str = "image";

/// A finished node.
#[derive(Debug)]
pub struct Built {
    /// Its image.
    pub image: Assembled,
    /// Whether the image was written just now, or was there.
    pub written: bool,
    /// The node with its site, its seal and what was done about its keys.
    pub prepared: Prepared,
    /// The system that it shares.
    pub system: Arc<System>,
    /// How it came to be.
    pub record: BuildRecord,
}

/// What all nodes of a build share.
#[derive(Debug)]
pub(super) struct Workshop<'a> {
    system: Arc<System>,
    uki_digest: Sha256Digest,
    selector: Vec<u8>,
    store: &'a Store,
    output: &'a Output,
    signature: Mutex<Option<String>>,
}

/// The UKI could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign the UKI for its boot record: {0}; check the signing key")]
struct UkiSignatureError(SigningFailed);

impl Classified for UkiSignatureError {
    fn class(&self) -> Class {
        Class::Failure
    }
}

impl<'a> Workshop<'a> {
    /// For nodes with this system.
    pub(super) fn new(system: System, selector: Vec<u8>, store: &'a Store, output: &'a Output) -> Self {
        let uki_digest = Sha256Digest::of(&system.uki);
        let (system, signature) = (Arc::new(system), Mutex::new(None));
        Self { system, uki_digest, selector, store, output, signature }
    }

    /// Makes the node's image, unless the one that is there is the same.
    pub(super) fn finish(&self, prepared: Prepared) -> Result<Built, Error> {
        let output = self.output.of(&prepared.node);
        let before = BuildRecord::read(self.store, &prepared.site, &prepared.node);
        let inputs = self.inputs(&prepared)?;
        let written = !is_there(before.as_ref(), &inputs, &output);
        let image = if written { self.write(&prepared, &output)? } else { self.known(&prepared, &output)? };
        let origin = if written { Origin::Made } else { Origin::Kept };
        let mut steps = self.system.steps.clone();
        steps.push(Step { name: IMAGE, inputs, origin, places: Vec::new() });
        let mark = FileMark::of(&output).map_err(|source| StoreError { path: output.clone(), source })?;
        let record = BuildRecord::new(&prepared.site, &prepared.node, mark, &steps, before.as_ref());
        record.write(self.store, &prepared.site, &prepared.node)?;
        Ok(Built { image, written, prepared, system: Arc::clone(&self.system), record })
    }

    /// Everything that decides what the image is. Of the secrets it is the seal, which has them encrypted, and changes
    /// whenever one of them does; the node's age key changes only with the recipient in the seal's header.
    fn inputs(&self, prepared: &Prepared) -> Result<Inputs, Error> {
        let (site, system) = (&prepared.site, &self.system);
        let mut inputs = Inputs::new(IMAGE, RECIPE)
            .with("site", &site.id)
            .with("node", &prepared.node)
            .with("release", &site.release)
            .with("security epoch", site.security_epoch)
            .with("build time", site.build_time)
            .with("tries", site.boot.tries)
            .with("partition sizes", format!("{:?}", site.sizes).replace(' ', ""))
            .with("kernel command line", Sha256Digest::of(system.command_line.as_bytes()))
            .with("selector", Sha256Digest::of(&self.selector))
            .with("UKI", self.uki_digest)
            .with("root", system.root.hash)
            .with("signing key", prepared.credentials.signing.public().id())
            .with("seal", Sha256Digest::of(&prepared.seal.bytes));
        for tool in [MKE2FS, DEBUGFS] {
            inputs.add(tool.name, tool.digest()?);
        }
        Ok(inputs)
    }

    fn write(&self, prepared: &Prepared, output: &Path) -> Result<Assembled, Error> {
        let staging = Staging::new()?;
        let secret = staging.path().join("secret.ext4");
        prepared.write_partition(None, prepared.site.sizes.secret.0, &secret)?;
        let (site, system) = (&prepared.site, &self.system);
        let inputs = image::Inputs {
            ids: ImageIds { site: &site.id, node: &prepared.node, root: system.root.hash },
            release: &site.release,
            security_epoch: site.security_epoch,
            tries: site.boot.tries,
            sizes: &site.sizes,
            selector: &self.selector,
            uki: &system.uki,
            uki_signature: &self.signature(prepared)?,
            root: &system.root.squashfs,
            verity: &system.root.verity,
            seal: &prepared.seal.bytes,
            secret: &secret,
        };
        Ok(assemble(&inputs, output)?)
    }

    /// The signature of the UKI, made when the first node needs it.
    fn signature(&self, prepared: &Prepared) -> Result<String, Error> {
        let mut known = self.signature.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signature) = &*known {
            return Ok(signature.clone());
        }
        let site = &prepared.site;
        // The trusted comment binds what the record says to the signature.
        let comment = format!(
            "psyopsOS UKI, site {}, release {}, security epoch {}",
            site.id, site.release, site.security_epoch
        );
        let signing = &prepared.credentials.signing;
        let signature = signing.sign(&self.system.uki, &comment).map_err(UkiSignatureError)?;
        *known = Some(signature.clone());
        Ok(signature)
    }

    /// What would be written, of an image that is there already.
    fn known(&self, prepared: &Prepared, output: &Path) -> Result<Assembled, Error> {
        let root = &self.system.root.squashfs;
        let length = fs::metadata(root).map_err(|source| StoreError { path: root.clone(), source })?.len();
        let contents = Contents {
            selector: Bytes::of(&self.selector),
            uki: Bytes::of(&self.system.uki),
            root: Bytes(length),
            seal: Bytes::of(&prepared.seal.bytes),
            secret: prepared.site.sizes.secret,
        };
        let plan = plan(&prepared.site.sizes, &contents)?;
        Ok(Assembled { path: output.to_owned(), plan, uki_digest: self.uki_digest })
    }
}

/// Whether the file at `output` is the image that was made of the same inputs, and nobody has written to it since.
fn is_there(before: Option<&BuildRecord>, inputs: &Inputs, output: &Path) -> bool {
    before.is_some_and(|before| {
        let same = before.step(IMAGE).is_some_and(|step| step.inputs == *inputs);
        same && before.image.holds() && FileMark::of(output).is_ok_and(|mark| mark == before.image)
    })
}
