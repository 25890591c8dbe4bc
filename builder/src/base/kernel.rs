//! The kernel out of its package: the image, and the modules with what depmod makes of them.

use super::debs;
use super::lock::{Lock, Part};
use super::{BaseError, Cache};
use crate::tools::{self, DEPMOD};
use std::fs;
use std::path::{Path, PathBuf};

/// Changes when what is made from the same package changes.
const FORMAT: &str = "kernel 1";

/// A kernel, unpacked in the cache.
#[derive(Debug, Clone)]
pub(super) struct Kernel {
    pub(super) release: String,
    pub(super) vmlinuz: PathBuf,
    pub(super) modules_dir: PathBuf,
}

/// The kernel of a lock.
pub(super) fn prepare(lock: &Lock, cache: &Cache, progress: &dyn Fn(&str)) -> Result<Kernel, BaseError> {
    let place = cache.derived("kernel", &lock.key(FORMAT, Part::Kernel, ""), "");
    if !place.is_dir() {
        progress("unpacking the kernel");
        make(lock, cache, &place)?;
    }
    find(lock, &place)
}

fn make(lock: &Lock, cache: &Cache, place: &Path) -> Result<(), BaseError> {
    let scratch = cache.scratch()?;
    let tree = scratch.path().join("tree");
    for package in lock.part(Part::Kernel) {
        debs::unpack(cache, package, &tree)?;
    }
    let kernel = find(lock, &tree)?;
    // An empty folder in place of the machine's depmod.d, which must not reach an image.
    let no_configuration = scratch.path().join("empty");
    fs::create_dir(&no_configuration)
        .map_err(|source| BaseError::Cache { path: no_configuration.clone(), source })?;
    let mut command = DEPMOD.command()?;
    command.arg("-b").arg(&tree).arg("-C").arg(&no_configuration).arg(&kernel.release);
    tools::run(&mut command)?;
    Cache::publish(&tree, place)
}

/// Where image and modules lie in an unpacked package.
fn find(lock: &Lock, tree: &Path) -> Result<Kernel, BaseError> {
    let missing = |file: &str| BaseError::MissingFile {
        package: lock.part(Part::Kernel).map(|package| package.name.as_str()).collect::<Vec<_>>().join(", "),
        file: file.to_owned(),
    };
    let modules = tree.join("lib/modules");
    #[expect(clippy::disallowed_methods, reason = "exactly one entry is taken, so there is no order")]
    let mut releases = fs::read_dir(&modules).map_err(|_| missing("lib/modules"))?.filter_map(Result::ok);
    let release = match (releases.next(), releases.next()) {
        (Some(entry), None) => entry.file_name().into_string().map_err(|_| missing("lib/modules/RELEASE"))?,
        _ => return Err(missing("single folder under lib/modules")),
    };
    let vmlinuz = tree.join("boot").join(format!("vmlinuz-{release}"));
    if !vmlinuz.is_file() {
        return Err(missing(&format!("boot/vmlinuz-{release}")));
    }
    Ok(Kernel { modules_dir: modules.join(&release), release, vmlinuz })
}
