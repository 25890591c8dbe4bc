//! Power cuts: every write to a disk is recorded, and every state that a power cut can leave is looked at.
//!
//! [`write_log`] reads what QEMU recorded, [`states`] says which states of the disk that allows (each prefix of the
//! requests, each torn request, requests since the last flush in any selection), [`tally`] counts what became of them.
//! What is recorded and what must hold afterwards is a scenario's business: of the secret partition in [`store`], of raw
//! partitions in [`raw`], of a whole stick that boots cold in [`cold`], of the selector in [`selector`]. [`run`] runs
//! them, most of it in two machines: one that records, one that looks at the states.
//!
//! Another writer gets the same treatment by another scenario.

pub mod case;
pub mod cold;
pub mod guest;
pub mod raw;
pub mod run;
mod scenario;
pub mod selector;
pub mod states;
pub mod store;
pub mod tally;
pub mod write_log;
pub mod wrong;
