//! The only function with which this program opens a protocol of the firmware.
#![cfg(target_os = "uefi")]

use uefi::boot::{self, OpenProtocolAttributes, OpenProtocolParams, ScopedProtocol};
use uefi::proto::ProtocolPointer;
use uefi::{Handle, Result};

/// Opens a protocol beside the drivers that use it. Opening it exclusively would make the firmware disconnect them:
/// block devices would lose their partitions, and the ESP the file system that this program was loaded from.
pub(crate) fn get<P: ProtocolPointer + ?Sized>(handle: Handle) -> Result<ScopedProtocol<P>> {
    let params = OpenProtocolParams { handle, agent: boot::image_handle(), controller: None };
    #[expect(unsafe_code, reason = "opening without exclusion is not tracked by the firmware")]
    // SAFETY: this program disconnects no driver and uninstalls nothing, so the interface stays while it is used.
    unsafe {
        boot::open_protocol(params, OpenProtocolAttributes::GetProtocol)
    }
}
