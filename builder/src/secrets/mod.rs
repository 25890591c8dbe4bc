//! A site's secrets on the workstation: credentials, the encrypted store, seals and secret partitions.
//!
//! The plain text of a secret is only in memory, and, for the short time in which mke2fs reads it, in a private folder
//! on a tmpfs. The only random values here are new keys, and those that encrypting a new seal needs.

pub mod compose;
pub mod credentials;
pub mod ext4;
pub mod issue;
pub mod key_error;
pub mod key_file;
pub mod key_guard;
pub mod known_hosts;
mod locations;
pub mod node_keys;
pub mod node_notes;
pub mod node_settings;
mod notes_error;
mod own_keys;
pub mod partition;
pub mod passphrase;
mod pending;
pub mod prepare;
pub mod private_file;
pub mod raise;
pub mod seal;
pub mod store;
mod stored_seal;
pub mod trust;
