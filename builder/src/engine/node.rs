//! The parts of a build that belong to one node: its secret partition, its image, and the record of its steps.

use super::output::{Layout, Output};
use super::record::BuildRecord;
use super::shared::SharedPart;
use super::system::System;
use crate::atomic;
use crate::error::{Class, Classified, Error};
use crate::file_stamp::FileStamp;
use crate::image::digests::{Digests, Part};
use crate::image::ids::ImageIds;
use crate::image::plan::{Contents, plan};
use crate::image::reader::ImageReader;
use crate::image::{self, Assembled, assemble, assemble_layer, assemble_shared};
use crate::next_command::psyops;
use crate::sbom::provenance::{self, Revision};
use crate::secrets::prepare::Prepared;
use crate::site::Bytes;
use crate::staging::Staging;
use crate::store::{Inputs, Step, StepName, StepOrigin, Store, StoreError};
use crate::tools::{DEBUGFS, MKE2FS};
use handoff::hash::Sha256Digest;
use keys::issue::signing::SigningFailed;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The version of the code that makes secret partitions and images: it changes with that code.
const RECIPE: &str = env!("PSYOPS_RECIPE_IMAGE");
/// The ending after an image's name for the file with its provenance.
const PROVENANCE: &str = ".provenance.json";

/// The result for one node.
#[derive(Debug)]
pub struct BuiltImage {
    /// The node's image.
    pub image: Assembled,
    /// The path of the file that nodes share, in the split layout.
    pub shared: Option<PathBuf>,
    /// Whether this build wrote the image; false if it was up to date.
    pub written: bool,
    /// The node with its site, its seal, and what was done for its keys.
    pub prepared: Prepared,
    /// The system that it has in common with other nodes.
    pub system: Arc<System>,
    /// The record of the steps.
    pub record: BuildRecord,
}

/// The parts of a build that its nodes share.
#[derive(Debug)]
pub(super) struct SharedBuild<'a> {
    system: Arc<System>,
    selector: Vec<u8>,
    store: &'a Store,
    output: &'a Output,
    signature: Mutex<Option<String>>,
    root_checked: Mutex<bool>,
    shared: Mutex<Option<SharedPart>>,
    /// The commit of the site in git.
    revision: OnceLock<Option<Revision>>,
    /// The digests of the first image that was written.
    first: Mutex<Option<Digests>>,
}

/// The UKI could not be signed.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("cannot sign the UKI for its boot record: {0}")]
struct UkiSignatureError(SigningFailed);

impl Classified for UkiSignatureError {
    fn own_class(&self) -> Option<Class> {
        Some(Class::Failure)
    }

    fn own_advice(&self) -> Option<String> {
        Some(format!("check the signing key: {}", psyops("keys status")))
    }
}

impl<'a> SharedBuild<'a> {
    /// A build for nodes with this system.
    pub(super) fn new(system: System, selector: Vec<u8>, store: &'a Store, output: &'a Output) -> Self {
        Self {
            system: Arc::new(system),
            selector,
            store,
            output,
            signature: Mutex::new(None),
            root_checked: Mutex::new(false),
            shared: Mutex::new(None),
            revision: OnceLock::new(),
            first: Mutex::new(None),
        }
    }

    /// Makes the node's image, unless an image of the same inputs exists.
    pub(super) fn finish(&self, prepared: Prepared) -> Result<BuiltImage, Error> {
        let output = self.output.of(&prepared.node);
        prepared.check_system(&self.system.trust)?;
        let before = BuildRecord::read(self.store, &prepared.site, &prepared.node);
        let shared = self.shared(&prepared, &output)?;
        let step = StepName::Image.begin();
        let mut inputs = self.inputs(&prepared)?;
        if let Some(shared) = &shared {
            inputs.add("shared part", shared.step.inputs.key());
        }
        let there = before.as_ref().filter(|before| is_there(before, &inputs, &output));
        let (image, digests, origin) = if let Some(before) = there {
            (self.known(&prepared, &output)?, before.digests.clone(), StepOrigin::Cached)
        } else {
            let image = self.write(&prepared, shared.as_ref(), &output)?;
            (image, self.digests(&output)?, StepOrigin::Built)
        };
        self.write_provenance(&prepared, &output, &digests)?;
        let mut steps = self.system.steps.clone();
        let shared_path = shared.as_ref().map(|shared| shared.path.clone());
        steps.extend(shared.map(|shared| shared.step));
        steps.push(Step { name: StepName::Image, inputs, origin, places: Vec::new() }.logged());
        drop(step);
        let stamp = FileStamp::of(&output).map_err(|source| StoreError { path: output.clone(), source })?;
        let whose = (&**prepared.site, &prepared.node);
        let record = BuildRecord::new(whose, (stamp, digests), &steps, before.as_ref());
        record.write(self.store, &prepared.site, &prepared.node)?;
        let system = Arc::clone(&self.system);
        Ok(BuiltImage {
            image,
            shared: shared_path,
            written: origin == StepOrigin::Built,
            prepared,
            system,
            record,
        })
    }

    /// The digests of an image that was just written. The root's digest is known since the root was made; the digests
    /// of all other shared parts are known after the first image.
    fn digests(&self, output: &Path) -> Result<Digests, Error> {
        let image = ImageReader::open(output)?;
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let known = |part: Part| match (part, &first) {
            (Part::Root, _) => Some(self.system.root.hash.to_string()),
            (part, Some(first)) if part.is_shared() => first.get(part).map(str::to_owned),
            _ => None,
        };
        let digests = Digests::of_rest(&image, known)?;
        *self.first.lock().unwrap_or_else(PoisonError::into_inner) = Some(digests.clone());
        Ok(digests)
    }

    /// Reads the whole root in the store, before the first image gets it.
    fn check_root(&self) -> Result<(), Error> {
        let mut checked = self.root_checked.lock().unwrap_or_else(PoisonError::into_inner);
        if !*checked {
            self.system.root.check()?;
            *checked = true;
        }
        Ok(())
    }

    /// Writes the provenance of the image into a file beside it, if the file does not have this content.
    fn write_provenance(&self, prepared: &Prepared, output: &Path, digests: &Digests) -> Result<(), Error> {
        let name = output.file_name().unwrap_or_default().to_string_lossy();
        let lock = &self.system.lock;
        let revision = self.revision.get_or_init(|| Revision::of(&prepared.site));
        let whose = (&**prepared.site, &prepared.node);
        let text = provenance::of_image(whose, revision.as_ref(), lock, &name, digests);
        let mut path = output.as_os_str().to_owned();
        path.push(PROVENANCE);
        let path = Path::new(&path);
        if fs::read(path).is_ok_and(|known| known == text.as_bytes()) {
            return Ok(());
        }
        Ok(atomic::write_file_with_mode(path, text.as_bytes(), 0o644)?)
    }

    /// Everything that decides what the image is. For the secrets this is the seal, which has them encrypted, and
    /// changes whenever one of them does; the node's age key changes only with the recipient in the seal's header.
    fn inputs(&self, prepared: &Prepared) -> Result<Inputs, Error> {
        let (site, system) = (&prepared.site, &self.system);
        let mut inputs = Inputs::new(StepName::Image, RECIPE)
            .with("architecture", site.architecture)
            .with("site", &site.id)
            .with("node", &prepared.node)
            .with("release", &site.release)
            .with("security epoch", site.security_epoch)
            .with("build time", site.build_time)
            .with("tries", site.boot.tries)
            .with("partition sizes", site.sizes.spelled())
            .with("kernel command line", Sha256Digest::of(system.command_line.as_bytes()))
            .with("selector", Sha256Digest::of(&self.selector))
            .with("UKI", system.uki_digest)
            .with("root", system.root.hash)
            .with("signing key", prepared.credentials.signing.public().id())
            .with("seal", Sha256Digest::of(&prepared.seal.bytes));
        for tool in [MKE2FS, DEBUGFS] {
            inputs.add(tool.name, tool.digest()?);
        }
        Ok(inputs)
    }

    /// The shared part beside the image, in the split layout. All threads wait for the first, which may have to write
    /// it.
    fn shared(&self, prepared: &Prepared, output: &Path) -> Result<Option<SharedPart>, Error> {
        if self.output.layout == Layout::Whole {
            return Ok(None);
        }
        let mut known = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            let (site, system) = (&prepared.site, &self.system);
            let inputs = Inputs::new(StepName::SharedPart, RECIPE)
                .with("architecture", site.architecture)
                .with("site", &site.id)
                .with("release", &site.release)
                .with("security epoch", site.security_epoch)
                .with("tries", site.boot.tries)
                .with("partition sizes", site.sizes.spelled())
                .with("UKI", system.uki_digest)
                .with("root", system.root.hash)
                .with("signing key", prepared.credentials.signing.public().id());
            let folder = output.parent().unwrap_or(Path::new(""));
            let write = |path: &Path| {
                self.check_root()?;
                let signature = self.signature(prepared)?;
                // The shared part has nothing that belongs to a node, but the node's parts decide the offsets.
                let secret = Staging::new()?;
                let secret_place = secret.path().join("empty");
                fs::File::create(&secret_place)
                    .and_then(|file| file.set_len(site.sizes.secret.0))
                    .map_err(|source| StoreError { path: secret_place.clone(), source })?;
                assemble_shared(&self.image_inputs(prepared, &signature, &secret_place), path)?;
                Ok(())
            };
            *known = Some(SharedPart::ensure(folder, &site.release, inputs, self.store, write)?);
        }
        Ok(known.clone())
    }

    fn write(
        &self,
        prepared: &Prepared,
        shared: Option<&SharedPart>,
        output: &Path,
    ) -> Result<Assembled, Error> {
        let staging = Staging::new()?;
        let secret = staging.path().join("secret.ext4");
        prepared.write_partition(&prepared.identity(None)?, prepared.site.sizes.secret.0, &secret)?;
        let signature = self.signature(prepared)?;
        let inputs = self.image_inputs(prepared, &signature, &secret);
        if let Some(shared) = shared {
            return Ok(assemble_layer(&inputs, &shared.name(), output)?);
        }
        self.check_root()?;
        Ok(assemble(&inputs, output)?)
    }

    fn image_inputs<'i>(
        &'i self,
        prepared: &'i Prepared,
        signature: &'i str,
        secret: &'i Path,
    ) -> image::Inputs<'i> {
        let (site, system) = (&prepared.site, &self.system);
        image::Inputs {
            ids: ImageIds {
                architecture: site.architecture,
                site: &site.id,
                node: &prepared.node,
                root: system.root.hash,
            },
            release: &site.release,
            security_epoch: site.security_epoch,
            tries: site.boot.tries,
            sizes: &site.sizes,
            selector: &self.selector,
            uki: &system.uki,
            uki_signature: signature,
            root: &system.root.squashfs,
            verity: &system.root.verity,
            seal: &prepared.seal.bytes,
            secret: Some(secret),
        }
    }

    /// The signature of the UKI, made when the first node needs it.
    fn signature(&self, prepared: &Prepared) -> Result<String, Error> {
        let mut known = self.signature.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signature) = &*known {
            return Ok(signature.clone());
        }
        let site = &prepared.site;
        // The trusted comment includes the fields of the boot record in the signature.
        let comment = format!(
            "psyopsOS UKI, site {}, release {}, security epoch {}",
            site.id, site.release, site.security_epoch
        );
        let signing = &prepared.credentials.signing;
        let signature = signing.sign(&self.system.uki, &comment).map_err(UkiSignatureError)?;
        *known = Some(signature.clone());
        Ok(signature)
    }

    /// The description of an image that exists already.
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
        Ok(Assembled { path: output.to_owned(), plan, uki_digest: self.system.uki_digest })
    }
}

/// Whether the file at `output` was made of the same inputs and was not written to since.
fn is_there(before: &BuildRecord, inputs: &Inputs, output: &Path) -> bool {
    let same = before.step(StepName::Image).is_some_and(|step| step.inputs == *inputs);
    same && FileStamp::of(output).is_ok_and(|stamp| stamp == before.image)
}
