//! The part that the images of a system share in the split layout: a separate file beside them, written once.
//!
//! Its name begins with the release and ends with the key of all its inputs, so two different files never have the same
//! name. A stamp in the store shows whether the file was written to since.

use crate::atomic;
use crate::error::Error;
use crate::file_stamp::FileStamp;
use crate::store::{Inputs, Step, StepName, StepOrigin, Store, StoreError};
use handoff::name::Name;
use std::fs;
use std::path::{Path, PathBuf};

/// The ending of the name.
const EXTENSION: &str = "shared";

/// A shared part that exists.
#[derive(Debug, Clone)]
pub(super) struct SharedPart {
    /// The path of its file.
    pub(super) path: PathBuf,
    /// The step that made it.
    pub(super) step: Step,
}

impl SharedPart {
    /// The shared part in `folder`; `write` makes it if it does not exist.
    pub(super) fn ensure(
        folder: &Path,
        release: &Name,
        inputs: Inputs,
        store: &Store,
        write: impl FnOnce(&Path) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let _step = StepName::SharedPart.begin();
        let key = inputs.key();
        let digits = key.to_string();
        let path = folder.join(format!("{release}-{}.{EXTENSION}", digits.get(..16).unwrap_or(&digits)));
        let place = store.derived(EXTENSION, &key, "json");
        let origin = if is_there(&path, &place) {
            StepOrigin::Cached
        } else {
            write(&path)?;
            remember(&path, &place)?;
            StepOrigin::Built
        };
        Ok(Self { path, step: Step::stored(StepName::SharedPart, inputs, origin, &place).logged() })
    }

    /// The file name, by which the nodes' images refer to it.
    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Whether the file is the one that was written, unchanged since.
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
