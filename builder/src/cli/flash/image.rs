//! An image of a run, with the site and node in its seal. These are not proven before the signatures are verified,
//! which happens before anything is written.

use crate::error::Error;
use crate::flash::{self, FlashError};
use crate::image::reader::ImageReader;
use crate::image::seals;
use crate::secrets::trust::SiteAndKeys;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::Arc;

/// An image that is open for reading.
#[derive(Debug)]
pub(super) struct Image {
    /// The open image.
    pub(super) reader: ImageReader,
    /// The id of the site in its seal.
    pub(super) site: String,
    /// The name of the node in its seal.
    pub(super) node: String,
}

impl Image {
    /// Opens an image. If its seals name neither site nor node, it is damaged; this is reported before the user is
    /// asked about a disk.
    pub(super) fn open(path: &Path, site: Option<&SiteAndKeys>) -> Result<Self, Error> {
        let reader = ImageReader::open(path)?;
        let Some(owner) = seals::owner(&reader, site.map(|site| (&*site.signing_keys, &site.id))) else {
            flash::preflight(&reader, site)?;
            let faults = vec!["it has no seal, so its site and node are not known".to_owned()];
            return Err(FlashError::DamagedImage { path: path.to_owned(), faults }.into());
        };
        Ok(Self { reader, site: owner.site.to_string(), node: owner.node.to_string() })
    }

    /// The image of each of these paths, in order. A path that is named several times is opened once.
    pub(super) fn open_each(paths: &[&Path], site: Option<&SiteAndKeys>) -> Result<Vec<Arc<Self>>, Error> {
        let mut known = BTreeMap::new();
        let mut open = |path: &Path| {
            Ok(Arc::clone(match known.entry(path.to_owned()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => place.insert(Arc::new(Self::open(path, site)?)),
            }))
        };
        paths.iter().map(|path| open(path)).collect()
    }

    /// All files that are read while these images are written: the images, and the files that they share with others.
    pub(super) fn files(images: &[Arc<Self>]) -> Vec<&Path> {
        let files =
            images.iter().flat_map(|image| [Some(image.reader.path()), image.reader.storage().shared()]);
        files.flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture;
    use handoff::partition::Role;
    use handoff::slot::Slot;
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    #[test]
    fn an_image_without_a_seal_has_no_owner_and_is_damaged() {
        let fixture = fixture::image();
        let path = fixture.image.path.as_path();
        let whole = Image::open(path, None).unwrap();
        assert_eq!((whole.site.as_str(), whole.node.as_str()), ("site", "demo"));
        let file = File::options().write(true).open(path).unwrap();
        for slot in Slot::BOTH {
            let place = whole.reader.partition(Role::Seal(slot)).unwrap();
            file.write_all_at(&vec![0; usize::try_from(place.size.0).unwrap()], place.offset.0).unwrap();
        }
        let error = Image::open(path, None).unwrap_err();
        assert_eq!(error.exit_code(), 65);
        assert!(error.to_string().contains("is damaged, so nothing was written: seal-a: "), "{error}");
    }

    #[test]
    fn each_path_has_its_own_image_and_none_is_opened_twice() {
        let fixtures = [fixture::image(), fixture::image()];
        let [one, two] = fixtures.each_ref().map(|fixture| fixture.image.path.as_path());
        let images = Image::open_each(&[two, one, two], None).unwrap();
        let paths: Vec<&Path> = images.iter().map(|image| image.reader.path()).collect();
        assert_eq!(paths, [two, one, two]);
        assert!(Arc::ptr_eq(&images[0], &images[2]));
    }
}
