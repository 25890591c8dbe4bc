//! The list of kernel modules in the initramfs: one line a module, each after all that it needs.
//!
//! `name file kind [needs=NAME,NAME...] [drives=PATTERN...]`. The builder writes it from what depmod(8) knows, so the
//! loader need not read the modules to find out which of them this machine needs.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::str::FromStr;

/// What a module does when it is loaded, which decides how the loader loads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleKind {
    /// A library, an algorithm or a file system: it touches no device and waits for none.
    Part,
    /// A driver for devices behind a controller (USB, SCSI, virtio): it takes devices as they appear.
    Driver,
    /// A driver of PCI devices: loading it lasts until it has looked at them, which may be seconds.
    Controller,
    /// For a keyboard: not loaded in a boot that asks nothing of a person.
    Input,
}

impl ModuleKind {
    const ALL: [Self; 4] = [Self::Part, Self::Driver, Self::Controller, Self::Input];

    /// The kind's word in the list.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Part => "part",
            Self::Driver => "driver",
            Self::Controller => "controller",
            Self::Input => "input",
        }
    }
}

/// A word that is not a kind of module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoKind;

impl FromStr for ModuleKind {
    type Err = NoKind;

    fn from_str(word: &str) -> Result<Self, NoKind> {
        Self::ALL.into_iter().find(|kind| kind.word() == word).ok_or(NoKind)
    }
}

/// A module to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its name in the kernel (with `_`).
    pub name: String,
    /// The path of its file in the initramfs.
    pub file: String,
    /// What it does when it is loaded.
    pub kind: ModuleKind,
    /// The modules that must be loaded before it; all are earlier in the list.
    pub needs: Vec<String>,
    /// The PCI devices for which it is needed, as patterns for `modalias` in `/sys`; `*` matches anything. Only PCI
    /// devices all exist before any module is loaded.
    pub drives: Vec<String>,
}

/// The list as text.
#[must_use]
pub fn encode(modules: &[Module]) -> String {
    let mut text = String::new();
    for module in modules {
        for part in [&module.name, " ", &module.file, " ", module.kind.word()] {
            text.push_str(part);
        }
        if !module.needs.is_empty() {
            text.push_str(NEEDS);
            text.push_str(&module.needs.join(","));
        }
        for pattern in &module.drives {
            text.push_str(DRIVES);
            text.push_str(pattern);
        }
        text.push('\n');
    }
    text
}

const NEEDS: &str = " needs=";
const DRIVES: &str = " drives=";

/// Reads the list. A line that does not begin with name, file and kind is skipped, and so is an unknown word.
#[must_use]
pub fn decode(text: &str) -> Vec<Module> {
    text.lines().filter_map(decode_line).collect()
}

fn decode_line(line: &str) -> Option<Module> {
    let mut words = line.split_ascii_whitespace();
    let (name, file, kind) = (words.next()?, words.next()?, words.next()?.parse().ok()?);
    let mut module =
        Module { name: name.to_owned(), file: file.to_owned(), kind, needs: Vec::new(), drives: Vec::new() };
    for word in words {
        if let Some(names) = word.strip_prefix(NEEDS.trim_start()) {
            module.needs.extend(names.split(',').map(str::to_owned));
        } else if let Some(pattern) = word.strip_prefix(DRIVES.trim_start()) {
            module.drives.push(pattern.to_owned());
        }
    }
    Some(module)
}

/// Which of `modules` a machine with these PCI devices needs to boot, one value for each. Needed are the modules that
/// drive a device of the machine, those that no device decides about unless they only serve other modules, and all that
/// these need. Modules for a keyboard are not.
#[must_use]
pub fn needed(modules: &[Module], devices: &[String]) -> Vec<bool> {
    let is_there = |pattern: &String| devices.iter().any(|device| matches(pattern, device));
    let mut needed = vec![false; modules.len()];
    // Each module comes after all that it needs, so going backwards every one is reached after those that need it.
    for (position, module) in modules.iter().enumerate().rev() {
        let mut users =
            modules.iter().zip(&needed).filter(|(user, _)| user.needs.contains(&module.name)).peekable();
        let for_its_own_sake = match module.kind {
            ModuleKind::Input => false,
            _ if module.drives.is_empty() => users.peek().is_none(),
            _ => module.drives.iter().any(is_there),
        };
        let wanted = for_its_own_sake || users.any(|(_, needed)| *needed);
        if let Some(place) = needed.get_mut(position) {
            *place = wanted;
        }
    }
    needed
}

/// Whether `text` matches `pattern`, in which `*` stands for anything. PCI aliases have no other wildcard, so each part
/// can be taken at its first match, without trying others.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let (parts, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(mut left) = text.strip_prefix(start).and_then(|text| text.strip_suffix(end)) else {
        return false;
    };
    parts.split('*').all(|part| {
        let found = left.split_once(part);
        left = found.map_or("", |(_, after)| after);
        found.is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str, kind: ModuleKind, needs: &[&str], drives: &[&str]) -> Module {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Module {
            name: name.to_owned(),
            file: alloc::format!("/lib/modules/{name}.ko"),
            kind,
            needs: owned(needs),
            drives: owned(drives),
        }
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let modules = [
            module("nvme_core", ModuleKind::Part, &[], &[]),
            module(
                "nvme",
                ModuleKind::Controller,
                &["nvme_core", "x"],
                &["pci:v*d*bc01sc08i02*", "pci:v0000106Bd*"],
            ),
            module("sd_mod", ModuleKind::Driver, &["nvme_core"], &[]),
            module("usbhid", ModuleKind::Input, &[], &[]),
        ];
        assert_eq!(decode(&encode(&modules)), modules);
    }

    #[test]
    fn lines_without_a_module_are_left_out_and_unknown_words_ignored() {
        let text = "\nname\nname file\nname file sort\nahci /ahci.ko controller since=6.1 needs=libata\n";
        let ahci = Module {
            file: "/ahci.ko".to_owned(),
            ..module("ahci", ModuleKind::Controller, &["libata"], &[])
        };
        assert_eq!(decode(text), [ahci]);
    }

    #[test]
    fn patterns_are_those_of_pci() {
        let xhci = "pci:v00001B36d0000000Dsv00001AF4sd00001100bc0Csc03i30";
        assert!(matches("pci:v*d*sv*sd*bc0Csc03i30*", xhci));
        assert!(matches("pci:v00001B36d0000000Dsv*sd*bc*sc*i*", xhci));
        assert!(!matches("pci:v*d*sv*sd*bc0Csc03i20*", xhci));
        assert!(matches(xhci, xhci) && !matches("pci:v", xhci));
        assert!(matches("a*ab*c", "aabababc") && matches("a*", "a") && matches("*", ""));
        assert!(!matches("a*a", "a") && !matches("a*b*a", "aba*") && !matches("a*bb*b", "abb"));
        // With backtracking over every way to match, this would not end.
        assert!(!matches(&"a*".repeat(2000), &"a".repeat(1999)));
    }

    #[test]
    fn modules_that_nothing_needs_are_left_out() {
        let modules = [
            module("nvme_core", ModuleKind::Part, &[], &[]),
            module("nvme", ModuleKind::Controller, &["nvme_core"], &["pci:v*d*bc01sc08i02*"]),
            module("xhci_hcd", ModuleKind::Part, &[], &[]),
            module("xhci_pci", ModuleKind::Controller, &["xhci_hcd"], &["pci:v*d*bc0Csc03i30*"]),
            module("ext4", ModuleKind::Part, &[], &[]),
            module("virtio", ModuleKind::Part, &[], &[]),
            module("virtio_pci", ModuleKind::Controller, &["virtio"], &[]),
            module("virtio_blk", ModuleKind::Driver, &["virtio", "virtio_pci"], &["pci:v00001AF4d00001042*"]),
            module("usbhid", ModuleKind::Input, &["xhci_hcd"], &[]),
        ];
        let xhci = "pci:v00001B36d0000000Dbc0Csc03i30".to_owned();
        let needed_names = |devices: &[String]| -> Vec<&str> {
            let needed = needed(&modules, devices);
            modules.iter().zip(needed).filter(|(_, needed)| *needed).map(|(m, _)| m.name.as_str()).collect()
        };
        assert_eq!(needed_names(&[xhci]), ["xhci_hcd", "xhci_pci", "ext4"]);
        let disk = "pci:v00001AF4d00001042sv00001AF4".to_owned();
        assert_eq!(needed_names(&[disk]), ["ext4", "virtio", "virtio_pci", "virtio_blk"]);
        assert_eq!(needed_names(&[]), ["ext4"]);
    }
}
