//! The kernel from its package: the image, and the modules with the files that depmod makes from them.

use super::BaseError;
use super::debs;
use super::locked_package::Part;
use super::vouch::VouchedLock;
use crate::store::{Step, StepName, StepOrigin, Store, StoreError};
use crate::tools::{self, DEPMOD};
use crate::tree::TreeError;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The folder for modules in a package.
const MODULES: &str = "lib/modules";

/// An unpacked kernel in the store.
#[derive(Debug, Clone)]
pub(super) struct Kernel {
    pub(super) release: String,
    pub(super) vmlinuz: PathBuf,
    pub(super) modules_dir: PathBuf,
    pub(super) folder: KernelFolder,
    pub(super) step: Step,
}

/// Unpacks the kernel of a lock, or takes it from the store.
pub(super) fn prepare(
    lock: &VouchedLock,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<Kernel, BaseError> {
    let _step = StepName::Kernel.begin();
    let inputs = lock.inputs(StepName::Kernel, Part::Kernel);
    let place = store.derived("kernel", &inputs.key(), "");
    // Without the recorded digests, the unpacking was not finished.
    let origin =
        if place.is_dir() && Store::is_remembered(&place) { StepOrigin::Cached } else { StepOrigin::Built };
    if origin == StepOrigin::Built {
        progress("unpacking the kernel");
        make(lock, store, &place)?;
    }
    let (release, vmlinuz) = find(lock, &place)?;
    let modules_dir = place.join(MODULES).join(&release);
    let step = Step::stored(StepName::Kernel, inputs, origin, &place).logged();
    Ok(Kernel { release, vmlinuz, modules_dir, folder: KernelFolder::at(place), step })
}

fn make(lock: &VouchedLock, store: &Store, place: &Path) -> Result<(), BaseError> {
    let scratch = store.scratch()?;
    let tree = scratch.path().join("tree");
    for package in lock.vouched_packages(Part::Kernel) {
        debs::unpack(store, package, &tree)?;
    }
    let (release, _) = find(lock, &tree)?;
    // An empty folder replaces the machine's depmod.d, which must not influence an image.
    let no_configuration = scratch.path().join("empty");
    fs::create_dir(&no_configuration)
        .map_err(|source| StoreError { path: no_configuration.clone(), source })?;
    let mut command = DEPMOD.command()?;
    command.arg("-b").arg(&tree).arg("-C").arg(&no_configuration).arg(&release);
    tools::run(&mut command)?;
    Store::remember_folder(&tree, place)?;
    Ok(Store::publish(&tree, place)?)
}

/// The folder of the store with an unpacked kernel.
#[derive(Debug, Clone)]
pub struct KernelFolder {
    place: PathBuf,
    whole: OnceLock<()>,
}

impl KernelFolder {
    /// The folder at `place`, not read yet.
    #[must_use]
    pub fn at(place: PathBuf) -> Self {
        Self { place, whole: OnceLock::new() }
    }

    /// Reads the folder completely and compares digests before anything is made of it; once per build is enough. A
    /// damaged folder is removed, so that the next build unpacks the kernel again.
    pub fn check(&self) -> Result<(), TreeError> {
        if self.whole.get().is_some() {
            return Ok(());
        }
        let failed = |error: StoreError| TreeError::Read { path: error.path, source: error.source };
        if let Some(path) = Store::damage(&self.place).map_err(failed)? {
            // If it cannot be removed, the next build reports the same error.
            let _ = fs::remove_dir_all(&self.place);
            return Err(TreeError::Damaged { path });
        }
        // Another thread may have finished first, with the same result.
        let _ = self.whole.set(());
        Ok(())
    }
}

/// The release and the image of an unpacked package.
fn find(lock: &VouchedLock, tree: &Path) -> Result<(String, PathBuf), BaseError> {
    let missing = |file: &str| BaseError::MissingFile {
        package: lock.part(Part::Kernel).map(|package| package.name.as_str()).collect::<Vec<_>>().join(", "),
        file: file.to_owned(),
    };
    let modules = tree.join(MODULES);
    #[expect(clippy::disallowed_methods, reason = "exactly one entry is taken, so there is no order")]
    let mut releases = fs::read_dir(&modules).map_err(|_| missing("lib/modules"))?.filter_map(Result::ok);
    let release = match (releases.next(), releases.next()) {
        (Some(entry), None) => entry.file_name().into_string().map_err(|_| missing("lib/modules/RELEASE"))?,
        _ => return Err(missing("single folder under lib/modules")),
    };
    let vmlinuz = tree.join("boot").join(format!("vmlinuz-{release}"));
    // A link could lead to a file of this machine, which would get into the UKI.
    if !fs::symlink_metadata(&vmlinuz).is_ok_and(|facts| facts.is_file()) {
        return Err(missing(&format!("boot/vmlinuz-{release}")));
    }
    Ok((release, vmlinuz))
}
