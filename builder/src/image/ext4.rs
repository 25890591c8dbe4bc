//! The secret partition's file system, read where it lies in the image.

use super::reader::ImageReader;
use super::storage::Storage;
use crate::input::ReadAt as _;
use ext4_view::{Ext4, Ext4Error, Ext4Read};
use handoff::partition::Role;
use std::error::Error;

/// Reads a partition for ext4-view.
struct Window {
    storage: Storage,
    offset: u64,
}

impl Ext4Read for Window {
    fn read(&mut self, start: u64, into: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync + 'static>> {
        Ok(self.storage.fill_at(into, self.offset.saturating_add(start))?)
    }
}

/// Opens the file system of the secret partition.
pub fn open(image: &ImageReader) -> Result<Ext4, Ext4Error> {
    let io = |error: Box<dyn Error + Send + Sync + 'static>| Ext4Error::Io(error);
    image.is_there(Role::Secret).map_err(|error| io(error.into()))?;
    let offset = image.partition(Role::Secret).map_err(|error| io(error.into()))?.offset.0;
    Ext4::load(Box::new(Window { storage: image.storage().clone(), offset }))
}
