//! Writing sticks, in a machine: `psyops flash` runs there as root, on sticks that come, go and have faults.
//!
//! [`UsbStick`] is a stick, [`Rig`] the machine, [`judge`] says what a medium has become, looked at from outside.

pub mod judge;
mod moments;
pub mod rig;
mod server;
mod usb_stick;

pub use moments::moments;
pub use rig::Rig;
pub use server::Fault;
pub use usb_stick::UsbStick;
