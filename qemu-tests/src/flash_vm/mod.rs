//! Writing sticks in a virtual machine: `psyops flash` runs there as root, on sticks that come, go and have faults.
//!
//! [`UsbStick`] is a stick, [`FlashVm`] the machine, [`verdict`] checks the content of a medium from outside.

mod moments;
mod server;
mod usb_stick;
pub mod verdict;
pub mod vm;

pub use moments::moments;
pub use server::Fault;
pub use usb_stick::UsbStick;
pub use vm::FlashVm;
