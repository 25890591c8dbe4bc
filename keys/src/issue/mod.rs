//! The workstation's half: making keys, signing, sealing, encrypting.
//!
//! Everything random of this project is drawn in here (by age, minisign and ssh-key, from the operating system), and
//! nothing in here is called while an image is built from what already exists.

pub mod encryption;
pub mod host_key;
pub mod identity_file;
pub mod locked;
pub mod seal_builder;
pub mod signing;
