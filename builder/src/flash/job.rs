//! The job for one stick: the image, the target, and the layout of the stick. All three are referenced in one place, so
//! that none of them can be that of another stick.

use super::error::FlashError;
use super::layout::Layout;
use super::preflight;
use super::target::Target;
use crate::error::Error;
use crate::image::reader::ImageReader;
use crate::secrets::trust::SiteAndKeys;
use crate::verify::Verification;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ptr;
use std::sync::Arc;

/// The job for one stick.
#[derive(Debug)]
pub struct Job<'j> {
    /// The image. If several sticks get the same image, their jobs share one reader, and the image is read once.
    pub image: &'j ImageReader,
    /// The disk or file to write.
    pub target: &'j Target,
    /// The layout of the image on this target.
    pub layout: Layout,
}

impl<'j> Job<'j> {
    /// Plans the writing of `image` to `target`, which is as long as the image or longer.
    pub fn new(image: &'j ImageReader, target: &'j Target) -> Result<Self, FlashError> {
        let layout = Layout::new(image, target.size)
            .map_err(|source| FlashError::Table { stick: target.name.clone(), source })?;
        Ok(Self { image, target, layout })
    }
}

/// Verifies the image of each job, in order. An image that several jobs share is verified once.
pub(super) fn preflight_each(
    jobs: &[Job<'_>],
    site: Option<&SiteAndKeys>,
) -> Result<Vec<Arc<Verification>>, Error> {
    let mut known = BTreeMap::new();
    let mut verify = |image: &ImageReader| {
        Ok(Arc::clone(match known.entry(ptr::from_ref(image)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(Arc::new(preflight(image, site)?)),
        }))
    };
    jobs.iter().map(|job| verify(job.image)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture;
    use tempfile::NamedTempFile;

    #[test]
    fn each_job_has_the_verification_of_its_own_image() {
        let fixtures = [fixture::image(), fixture::image()];
        let [one, two] = fixtures.each_ref().map(|it| ImageReader::open(&it.image.path).unwrap());
        let target = |image: &ImageReader| {
            let file = NamedTempFile::new().unwrap().into_file();
            Target { name: "stick".into(), file, size: image.size().0, is_disk: false }
        };
        let targets = [&two, &one, &two].map(target);
        let images = [&two, &one, &two];
        let jobs: Vec<Job<'_>> =
            images.iter().zip(&targets).map(|(image, target)| Job::new(image, target).unwrap()).collect();
        let found = preflight_each(&jobs, None).unwrap();
        let paths: Vec<_> = found.iter().map(|found| found.path.as_path()).collect();
        assert_eq!(paths, [two.path(), one.path(), two.path()]);
        assert!(Arc::ptr_eq(&found[0], &found[2]), "an image that two sticks get is read twice");
    }
}
