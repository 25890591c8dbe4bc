//! The part that the images of one system share in the split layout: a file of its own beside them, written once.
//!
//! Its name begins with the release and ends with the key of all that it is made of, so that no file of that name is
//! ever another. That nobody wrote to it since is known by its stamp, which lies in the store.

use crate::atomic;
use crate::error::Error;
use crate::file_stamp::FileStamp;
use crate::store::{Inputs, Origin, Step, StepName, Store, StoreError};
use handoff::name::Name;
use std::fs;
use std::path::{Path, PathBuf};

/// How the name ends.
const EXTENSION: &str = "shared";

/// A shared part that is there.
#[derive(Debug, Clone)]
pub(super) struct SharedPart {
    /// Its file.
    pub(super) path: PathBuf,
    /// How it came to be.
    pub(super) step: Step,
}

impl SharedPart {
    /// The one in `folder`, which `write` makes where it is not there yet.
    pub(super) fn ensure(
        folder: &Path,
        release: &Name,
        inputs: Inputs,
        store: &Store,
        write: impl FnOnce(&Path) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let key = inputs.key();
        let digits = key.to_string();
        let path = folder.join(format!("{release}-{}.{EXTENSION}", digits.get(..16).unwrap_or(&digits)));
        let place = store.derived(EXTENSION, &key, "json");
        let origin = if is_there(&path, &place) {
            Origin::Cached
        } else {
            write(&path)?;
            remember(&path, &place)?;
            Origin::Built
        };
        Ok(Self { path, step: Step::stored(StepName::SharedPart, inputs, origin, &place) })
    }

    /// Its name, by which the nodes' parts call it.
    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Whether the file is the one that was written, and nobody has written to it since.
fn is_there(path: &Path, place: &Path) -> bool {
    let known = fs::read(place).ok().and_then(|text| serde_json::from_slice::<FileStamp>(&text).ok());
    FileStamp::of(path).is_ok_and(|stamp| known == Some(stamp))
}

fn remember(path: &Path, place: &Path) -> Result<(), StoreError> {
    let stamp = FileStamp::of(path).map_err(|source| StoreError { path: path.to_owned(), source })?;
    let failed = |source| StoreError { path: place.to_owned(), source };
    let text = serde_json::to_vec(&stamp).map_err(|error| failed(error.into()))?;
    atomic::write_file(place, &text).map_err(|error| failed(error.into()))
}
