//! Power cuts: every write to a disk is recorded, and every state that a power cut can leave is checked.
//!
//! [`write_log`] reads QEMU's record, [`states`] lists the states of the disk that it allows (each prefix of the
//! requests, each torn request, requests since the last flush in any selection), [`tally`] counts their results.
//! What is recorded and what must be true afterwards is defined by a scenario: of the secret partition in [`store`], of
//! raw partitions in [`raw`], of a whole stick that boots cold in [`cold`], of the selector in [`selector`]. [`run`]
//! runs them, mostly in two kinds of machines: one that records, and others that check the states.
//!
//! Other code that writes is tested by adding a scenario.

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
