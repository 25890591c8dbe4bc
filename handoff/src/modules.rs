//! The list of kernel modules in the initramfs: one line a module, `name file`, each after all that it needs.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A module to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its name as the kernel has it (with `_`).
    pub name: String,
    /// Its file in the initramfs.
    pub file: String,
}

/// The list as text.
#[must_use]
pub fn encode(modules: &[Module]) -> String {
    modules.iter().map(|module| format!("{} {}\n", module.name, module.file)).collect()
}

/// Reads the list; a line that has not two words is left out.
#[must_use]
pub fn decode(text: &str) -> Vec<Module> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, file)| Module { name: name.to_owned(), file: file.trim().to_owned() })
        .collect()
}
