//! The workstation's half: making keys, signing, sealing, encrypting.
//!
//! All random numbers of this project are drawn here (by age, minisign and ssh-key, from the operating system). An
//! image build from existing keys and seals calls none of these functions.

pub mod encryption;
pub mod host_key;
pub mod identity_file;
pub mod locked;
pub mod seal_builder;
pub mod signing;
