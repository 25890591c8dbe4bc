//! What a kernel module says about itself: the strings of the section `.modinfo` of its file (ELF, gABI chapter 4).
//!
//! Only what is needed to tell whether this machine has anything for it: the devices that it drives and the modules
//! that it needs. The kernel reads the file again and checks it; a file that makes no sense here is left to it.

use handoff::bytes::Reader;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

const SECTION: &[u8] = b".modinfo\0";
const ELF_HEADER: usize = 64;
/// What a module says about itself is some kilobytes; what a damaged header asks for is not read.
const LONGEST: usize = 1024 * 1024;
/// Where the ELF header has the offset of the section table, and the size, count and index of names behind it.
const SECTION_TABLE: usize = 0x28;
const SECTION_SHAPE: usize = 0x3a;

/// A module's own words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ModInfo {
    /// The devices that it drives, as patterns over what `modalias` in `/sys` says.
    pub(crate) aliases: Vec<String>,
    /// The modules that it needs.
    pub(crate) depends: Vec<String>,
}

impl ModInfo {
    /// Reads the section of a module's file, and no more of it; `None` where there is none.
    pub(crate) fn of_file(file: &File) -> Option<Self> {
        Self::read(&|offset, length| {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, offset).ok()?;
            Some(bytes)
        })
    }

    /// Reads the section of a module that lies in memory.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn of_bytes(module: &[u8]) -> Option<Self> {
        Self::read(&|offset, length| {
            let start = usize::try_from(offset).ok()?;
            module.get(start..start.checked_add(length)?).map(<[u8]>::to_vec)
        })
    }

    fn read(file: ReadAt<'_>) -> Option<Self> {
        let section = section(file)?;
        let strings = section.split(|&byte| byte == 0);
        let mut info = Self::default();
        for string in strings.filter_map(|string| std::str::from_utf8(string).ok()) {
            match string.split_once('=') {
                Some(("alias", alias)) => info.aliases.push(alias.to_owned()),
                Some(("depends", names)) => {
                    let names = names.split(',').filter(|name| !name.is_empty());
                    info.depends.extend(names.map(|name| name.replace('-', "_")));
                }
                _ => {}
            }
        }
        Some(info)
    }

    /// Whether the machine may have a device for it. Only PCI is asked: its devices are all there before any module is
    /// loaded; those of other buses come with their drivers. Virtio devices are PCI devices of one vendor.
    pub(crate) fn may_be_needed(&self, devices: &[String]) -> bool {
        let mut patterns = self.aliases.iter().filter_map(|alias| match alias.split_once(':') {
            Some(("pci", _)) => Some(alias.as_str()),
            Some(("virtio", _)) => Some("pci:v00001AF4*"),
            _ => None,
        });
        let Some(first) = patterns.next() else { return true };
        let is_there = |pattern: &str| devices.iter().any(|device| matches(pattern, device));
        is_there(first) || patterns.any(is_there)
    }
}

/// Reads so many bytes at an offset; `None` where the file ends before.
type ReadAt<'a> = &'a dyn Fn(u64, usize) -> Option<Vec<u8>>;

fn section(file: ReadAt<'_>) -> Option<Vec<u8>> {
    let header = file(0, ELF_HEADER)?;
    let at = |offset: usize| header.get(offset..).map(Reader::new);
    let table = at(SECTION_TABLE)?.u64()?;
    let mut shape = at(SECTION_SHAPE)?;
    let (size, count, index) = (usize::from(shape.u16()?), shape.u16()?, usize::from(shape.u16()?));
    let headers = file(table, size.checked_mul(usize::from(count))?)?;
    let sections: Vec<Section> = headers.chunks_exact(size.max(1)).filter_map(Section::decode).collect();
    let texts = sections.get(index)?.content(file)?;
    let is_ours =
        |section: &&Section| texts.get(section.name..).is_some_and(|text| text.starts_with(SECTION));
    sections.iter().find(is_ours)?.content(file)
}

/// An entry of the section table.
struct Section {
    /// Where its name begins among the names.
    name: usize,
    offset: u64,
    length: u64,
}

impl Section {
    fn decode(entry: &[u8]) -> Option<Self> {
        let mut fields = Reader::new(entry);
        let name = usize::try_from(fields.u32()?).ok()?;
        fields.take(4 + 8 + 8)?;
        Some(Self { name, offset: fields.u64()?, length: fields.u64()? })
    }

    fn content(&self, file: ReadAt<'_>) -> Option<Vec<u8>> {
        let length = usize::try_from(self.length).ok().filter(|&length| length <= LONGEST)?;
        file(self.offset, length)
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for anything. PCI aliases have no other wildcard.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let mut ends = (0..=text.len()).filter_map(|at| text.get(at..));
            ends.any(|end| matches(rest, end))
        }),
    }
}

/// Which of `modules` (name and words) this machine needs, in their order: those that drive a device that is there or
/// that do not say, unless they are only there for others, and all that these depend on.
pub(crate) fn needed(modules: &[(String, ModInfo)], devices: &[String]) -> Vec<bool> {
    let mut needed = vec![false; modules.len()];
    // Each module comes after all that it needs, so from the end every one is reached after those that need it.
    for (position, (name, info)) in modules.iter().enumerate().rev() {
        let mut users =
            modules.iter().zip(&needed).filter(|((_, user), _)| user.depends.contains(name)).peekable();
        let wanted = if users.peek().is_none() || info.aliases.iter().any(|alias| alias.starts_with("pci:")) {
            info.may_be_needed(devices) || users.any(|(_, needed)| *needed)
        } else {
            users.any(|(_, needed)| *needed)
        };
        if let Some(place) = needed.get_mut(position) {
            *place = wanted;
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file as far as it is read: three sections, the second of which is `.modinfo`.
    fn module(strings: &[u8]) -> Vec<u8> {
        let names = b"\0.modinfo\0.shstrtab\0";
        let mut file = vec![0; 64];
        let (info, text) = (64_u64, 64 + strings.len() as u64);
        file.extend_from_slice(strings);
        file.extend_from_slice(names);
        let table = file.len() as u64;
        for (name, offset, length) in
            [(0_u32, 0, 0), (1, info, strings.len() as u64), (10, text, names.len() as u64)]
        {
            file.extend_from_slice(&name.to_le_bytes());
            file.extend_from_slice(&[0; 20]);
            file.extend_from_slice(&offset.to_le_bytes());
            file.extend_from_slice(&length.to_le_bytes());
            file.extend_from_slice(&[0; 24]);
        }
        file[0x28..0x30].copy_from_slice(&table.to_le_bytes());
        file[0x3a..0x40].copy_from_slice(&[64, 0, 3, 0, 2, 0]);
        file
    }

    fn read(file: &[u8]) -> Option<ModInfo> {
        ModInfo::of_bytes(file)
    }

    #[test]
    fn aliases_and_dependencies_are_read() {
        let file = module(b"license=GPL\0alias=pci:v*d*sv*sd*bc0Csc03i30*\0\0depends=xhci-hcd,usbcore\0");
        let info = read(&file).unwrap();
        assert_eq!(info.aliases, ["pci:v*d*sv*sd*bc0Csc03i30*"]);
        assert_eq!(info.depends, ["xhci_hcd", "usbcore"]);
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_none_or_less() {
        let file = module(b"alias=a\0depends=\0");
        for end in 0..file.len() {
            let _ = read(&file[..end]);
        }
        assert_eq!(read(b"no module"), None);
        assert_eq!(read(&file).unwrap().depends, Vec::<String>::new());
    }

    #[test]
    fn patterns_are_those_of_pci() {
        let xhci = "pci:v00001B36d0000000Dsv00001AF4sd00001100bc0Csc03i30";
        assert!(matches("pci:v*d*sv*sd*bc0Csc03i30*", xhci));
        assert!(matches("pci:v00001B36d0000000Dsv*sd*bc*sc*i*", xhci));
        assert!(!matches("pci:v*d*sv*sd*bc0Csc03i20*", xhci));
        assert!(matches(xhci, xhci) && !matches("pci:v", xhci));
    }

    #[test]
    fn what_no_device_and_no_other_module_asks_for_is_left_out() {
        let info = |aliases: &[&str], depends: &[&str]| ModInfo {
            aliases: aliases.iter().map(ToString::to_string).collect(),
            depends: depends.iter().map(ToString::to_string).collect(),
        };
        let modules = [
            ("nvme_core", info(&[], &[])),
            ("nvme", info(&["pci:v*d*bc01sc08i02*"], &["nvme_core"])),
            ("xhci_hcd", info(&[], &[])),
            ("xhci_pci", info(&["pci:v*d*bc0Csc03i30*"], &["xhci_hcd"])),
            ("ext4", info(&["fs-ext4"], &[])),
            ("virtio", info(&[], &[])),
            ("virtio_blk", info(&["virtio:d00000002v*"], &["virtio"])),
        ]
        .map(|(name, info)| (name.to_owned(), info));
        let devices = ["pci:v00001B36d0000000Dbc0Csc03i30".to_owned()];
        assert_eq!(needed(&modules, &devices), [false, false, true, true, true, false, false]);
        let devices = ["pci:v00001AF4d00001042".to_owned()];
        assert_eq!(needed(&modules, &devices), [false, false, false, false, true, true, true]);
    }
}
