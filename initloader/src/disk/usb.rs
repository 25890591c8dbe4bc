//! Whether USB devices are still being set up: a stick that is plugged in and has no block device yet.
//!
//! A clone of the boot stick appears in the same scan of the bus, but not at the same instant. So after the disk was
//! found, the loader waits until every port that has something connected shows a device, and every mass storage
//! interface its disks. Only the hubs know what is connected before it is enumerated; the loader sends them the request
//! that any USB tool sends (USB 2.0, 11.24.2.7: Get Port Status).

use crate::sysfs;
use nix::libc;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::path::Path;

const DEVICES: &str = "/sys/bus/usb/devices";
const CLASS_HUB: &str = "09";
const CLASS_MASS_STORAGE: &str = "08";
/// SCSI peripheral device type "direct access block device".
const TYPE_DISK: &str = "0";

/// Descriptions of the devices that are still being set up; empty if there are none.
pub(crate) fn pending() -> Vec<String> {
    let names = sysfs::names(DEVICES);
    let mut pending: Vec<String> =
        names.iter().filter(|name| !name.contains(':')).flat_map(|hub| empty_ports(hub, &names)).collect();
    let interfaces = names.iter().filter(|name| name.contains(':'));
    pending.extend(
        interfaces
            .filter(|name| awaits_disk(&Path::new(DEVICES).join(name)))
            .map(|name| format!("USB storage {name}")),
    );
    pending
}

/// Ports of a hub that have something connected but no device yet.
fn empty_ports(hub: &str, names: &[String]) -> Vec<String> {
    let folder = Path::new(DEVICES).join(hub);
    let attribute = |name: &str| sysfs::attribute(folder.join(name));
    if attribute("bDeviceClass").as_deref() != Some(CLASS_HUB) {
        return Vec::new();
    }
    let (Some(bus), Some(device)) =
        (sysfs::number(folder.join("busnum")), sysfs::number(folder.join("devnum")))
    else {
        return Vec::new();
    };
    let ports = sysfs::number(folder.join("maxchild")).unwrap_or(0).min(255);
    let Ok(node) =
        OpenOptions::new().read(true).write(true).open(format!("/dev/bus/usb/{bus:03}/{device:03}"))
    else {
        return Vec::new();
    };
    (1..=ports)
        .map(|port| (port, child_name(hub, port)))
        .filter(|(port, child)| !names.contains(child) && is_connected(&node, *port))
        .map(|(_, child)| format!("USB port {child}"))
        .collect()
}

/// The name of the device at a hub's port: `usb1` has `1-4`, `1-4` has `1-4.2`.
fn child_name(hub: &str, port: u64) -> String {
    match hub.strip_prefix("usb") {
        Some(bus) => format!("{bus}-{port}"),
        None => format!("{hub}.{port}"),
    }
}

/// Whether this is a mass storage interface whose driver has not made a disk yet.
fn awaits_disk(interface: &Path) -> bool {
    if sysfs::attribute(interface.join("bInterfaceClass")).as_deref() != Some(CLASS_MASS_STORAGE)
        || !interface.join("driver").exists()
    {
        return false;
    }
    let below = |folder: &Path, prefix: &str| -> Vec<_> {
        sysfs::names(folder)
            .into_iter()
            .filter(|name| name.starts_with(prefix))
            .map(|name| folder.join(name))
            .collect()
    };
    let units: Vec<_> = below(interface, "host")
        .iter()
        .flat_map(|host| below(host, "target"))
        .flat_map(|target| {
            let units = sysfs::names(&target).into_iter().filter(|name| name.split(':').count() == 4);
            units.map(|unit| target.join(unit)).collect::<Vec<_>>()
        })
        .collect();
    let is_disk = |unit: &Path| sysfs::attribute(unit.join("type")).as_deref() == Some(TYPE_DISK);
    units.is_empty() || units.iter().any(|unit| is_disk(unit) && sysfs::names(unit.join("block")).is_empty())
}

/// `struct usbdevfs_ctrltransfer` of `linux/usbdevice_fs.h`.
#[repr(C)]
struct ControlTransfer {
    request_type: u8,
    request: u8,
    value: u16,
    index: u16,
    length: u16,
    timeout_ms: u32,
    data: *mut libc::c_void,
}

/// `USBDEVFS_CONTROL`: `_IOWR('U', 0, struct usbdevfs_ctrltransfer)`.
const CONTROL: u64 = (3 << 30) | ((size_of::<ControlTransfer>() as u64) << 16) | (0x55 << 8);

/// Asks a hub whether a device is connected to a port. For a hub that does not answer, nothing is waited for.
fn is_connected(hub: &File, port: u64) -> bool {
    let mut status = [0_u8; 4];
    let mut transfer = ControlTransfer {
        request_type: 0xa3, // from the device, class request, to a port
        request: 0,         // GET_STATUS
        value: 0,
        index: u16::try_from(port).unwrap_or_default(),
        length: 4,
        timeout_ms: 100,
        data: status.as_mut_ptr().cast(),
    };
    // SAFETY: `transfer` has the layout that this request takes, and `data` points to `length` bytes that outlive the
    // call; the kernel writes no more than that.
    #[expect(unsafe_code, reason = "ioctl(2) on usbfs")]
    let answer = unsafe { libc::ioctl(hub.as_raw_fd(), CONTROL as _, &raw mut transfer) };
    // PORT_CONNECTION is bit 0, in USB 2 and USB 3 alike.
    answer >= 2 && status.first().is_some_and(|low| low & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_lead_to_the_names_of_their_devices() {
        assert_eq!(child_name("usb2", 4), "2-4");
        assert_eq!(child_name("2-4", 1), "2-4.1");
        assert_eq!(child_name("2-4.1", 3), "2-4.1.3");
    }

    #[test]
    fn the_request_is_the_one_of_the_kernel_header() {
        assert_eq!(CONTROL, 0xc018_5500);
    }

    #[test]
    fn storage_waits_until_each_disk_has_its_block_device() {
        let folder = std::env::temp_dir().join(format!("usb-{}", std::process::id()));
        let unit = folder.join("host2/target2:0:0/2:0:0:0");
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        write("bInterfaceClass", "03\n");
        write("driver", "");
        assert!(!awaits_disk(&folder), "a keyboard");
        write("bInterfaceClass", "08\n");
        assert!(awaits_disk(&folder), "nothing scanned yet");
        std::fs::create_dir_all(unit.join("block")).unwrap();
        std::fs::write(unit.join("type"), "0\n").unwrap();
        assert!(awaits_disk(&folder), "a disk without its block device");
        std::fs::create_dir(unit.join("block/sda")).unwrap();
        assert!(!awaits_disk(&folder), "a disk with its block device");
        std::fs::write(unit.join("type"), "5\n").unwrap();
        std::fs::remove_dir(unit.join("block/sda")).unwrap();
        assert!(!awaits_disk(&folder), "a CD-ROM, for which there is no driver");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
