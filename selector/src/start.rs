//! Starts a checked UKI. The firmware verifies its signature at `LoadImage` where Secure Boot is on.
#![cfg(target_os = "uefi")]

use crate::fault::Fault;
use crate::protocol;
use crate::slot::CheckedUki;
use uefi::boot::{self, LoadImageSource};
use uefi::proto::device_path::DevicePath;

/// Starts the UKI; returns only if that failed, with the reason.
pub(crate) fn start(uki: CheckedUki) -> Fault {
    // The path tells the firmware's policy and the UKI's stub where the image came from.
    let path = protocol::get::<DevicePath>(uki.partition().handle).ok();
    let source = LoadImageSource::FromBuffer { buffer: uki.bytes(), file_path: path.as_deref() };
    let image = match boot::load_image(boot::image_handle(), source) {
        Ok(image) => image,
        Err(error) => return Fault::NotLoaded(error.status()),
    };
    // The firmware has its own copy, and the kernel needs the memory.
    drop(path);
    drop(uki);
    match boot::start_image(image) {
        Ok(()) => Fault::CameBack(uefi::Status::SUCCESS),
        Err(error) => Fault::CameBack(error.status()),
    }
}
