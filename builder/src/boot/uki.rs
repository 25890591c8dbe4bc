//! The unified kernel image (UAPI.5): systemd's stub with the kernel, the initramfs and the command line as sections.
//!
//! The stub's headers are copied and patched, its sections stay where they are, and ours are appended, each at the
//! stub's section alignment. `.linux` comes last: it may unpack itself in place over what follows it. Layout: PE
//! format, sections "Optional Header" and "Section Table". This code does not sign anything.

use crate::error::{Class, Classified};
use object::LittleEndian as LE;
use object::pe;
use object::pod::{bytes_of, from_bytes_mut};
use object::read::pe::{ImageNtHeaders as _, ImageOptionalHeader as _};
use object::{U16, U32};
use std::fmt;
use thiserror::Error;

/// A section that is added to the stub, or read from a UKI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// The text of an os-release(5) file.
    OsRelease,
    /// The kernel command line.
    CommandLine,
    /// The kernel's release, as `uname -r` prints it.
    Uname,
    /// The packed initramfs.
    Initrd,
    /// The kernel image.
    Linux,
}

impl Section {
    /// The name in the section table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OsRelease => ".osrel",
            Self::CommandLine => ".cmdline",
            Self::Uname => ".uname",
            Self::Initrd => ".initrd",
            Self::Linux => ".linux",
        }
    }

    fn flags(self) -> pe::SectionFlags {
        match self {
            // Kernels that are entered by the handover protocol run at the place where they were loaded.
            Self::Linux => pe::IMAGE_SCN_CNT_CODE | pe::IMAGE_SCN_MEM_EXECUTE | pe::IMAGE_SCN_MEM_READ,
            _ => pe::IMAGE_SCN_CNT_INITIALIZED_DATA | pe::IMAGE_SCN_MEM_READ,
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The inputs of a UKI.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The bytes of systemd's `linuxx64.efi.stub`.
    pub stub: &'a [u8],
    /// The text of an os-release(5) file.
    pub os_release: &'a str,
    /// The kernel command line.
    pub command_line: &'a str,
    /// The kernel's release, as `uname -r` prints it.
    pub uname: &'a str,
    /// The packed initramfs.
    pub initrd: &'a [u8],
    /// The kernel image.
    pub linux: &'a [u8],
}

/// Why a UKI could not be built or read.
#[derive(Debug, Error, Clone, PartialEq, Eq, classified::Cause)]
pub enum UkiError {
    /// The stub, or the file that is read, is not a PE32+ image: the error from the reader.
    #[error("not a PE32+ image ({0}): for a stub, take that of the package systemd-boot-efi")]
    NotPe(String),
    /// The stub's headers have no room for our sections.
    #[error("the stub's headers have room for {room} more sections, {needed} are needed: take another stub")]
    NoRoom {
        /// The number of section headers that fit.
        room: usize,
        /// The number of section headers that are needed.
        needed: usize,
    },
    /// The stub already has one of our sections.
    #[error("the stub has a section {0} already: it is a UKI, not a stub")]
    Duplicate(Section),
    /// The alignment, in bytes, is too large: each section is padded to a multiple of it.
    #[error(
        "the stub's sections are aligned to {0} bytes in the file, and the PE format allows 65536: take another stub"
    )]
    Alignment(u32),
    /// The image would be larger than its 32-bit offsets allow.
    #[error("the UKI would be larger than 4 GiB")]
    TooLarge,
    /// The UKI lacks a section that it must have.
    #[error("the UKI has no section {0}: it was not made by psyopsOS")]
    NoSection(Section),
    /// A section ends after the end of the file.
    #[error("the UKI is cut short: its section {0} ends after the end of the file")]
    Cut(Section),
}

impl Classified for UkiError {
    fn own_class(&self) -> Option<Class> {
        Some(Class::BadContent)
    }
}

fn not_pe(error: object::read::Error) -> UkiError {
    UkiError::NotPe(error.to_string())
}

/// PE format, "Optional Header Windows-Specific Fields": `FileAlignment` is at most 64 KiB.
const LARGEST_ALIGNMENT: u32 = 1 << 16;

/// Where the patched fields of the stub are.
struct StubLayout {
    nt_headers: usize,
    section_table: usize,
    sections: usize,
    header_size: usize,
    section_alignment: u32,
    file_alignment: u32,
    /// The first address after the last section.
    next_address: u32,
}

impl StubLayout {
    fn read(stub: &[u8]) -> Result<Self, UkiError> {
        let dos = pe::ImageDosHeader::parse(stub).map_err(not_pe)?;
        let mut offset = u64::from(dos.nt_headers_offset());
        let nt_headers = usize::try_from(offset).map_err(|_| UkiError::TooLarge)?;
        let (headers, _) = pe::ImageNtHeaders64::parse(stub, &mut offset).map_err(not_pe)?;
        let table = headers.sections(stub, offset).map_err(not_pe)?;
        for section in
            [Section::OsRelease, Section::CommandLine, Section::Uname, Section::Initrd, Section::Linux]
        {
            if table.iter().any(|header| header.raw_name() == section.name().as_bytes()) {
                return Err(UkiError::Duplicate(section));
            }
        }
        let optional = headers.optional_header();
        let file_alignment = optional.file_alignment().max(1);
        if file_alignment > LARGEST_ALIGNMENT {
            return Err(UkiError::Alignment(file_alignment));
        }
        let end = table
            .iter()
            .map(|header| header.virtual_address.get(LE).saturating_add(header.virtual_size.get(LE)));
        Ok(Self {
            nt_headers,
            section_table: usize::try_from(offset).map_err(|_| UkiError::TooLarge)?,
            sections: table.len(),
            header_size: usize::try_from(optional.size_of_headers()).map_err(|_| UkiError::TooLarge)?,
            section_alignment: optional.section_alignment().max(1),
            file_alignment,
            next_address: end.max().unwrap_or(0),
        })
    }
}

/// Builds a UKI from its parts.
pub fn build(parts: &Parts<'_>) -> Result<Vec<u8>, UkiError> {
    let layout = StubLayout::read(parts.stub)?;
    let sections = [
        (Section::OsRelease, parts.os_release.as_bytes()),
        (Section::CommandLine, parts.command_line.as_bytes()),
        (Section::Uname, parts.uname.as_bytes()),
        (Section::Initrd, parts.initrd),
        (Section::Linux, parts.linux),
    ];
    let table_end = layout.section_table.saturating_add(layout.sections * pe::IMAGE_SIZEOF_SECTION_HEADER);
    let room = layout.header_size.saturating_sub(table_end) / pe::IMAGE_SIZEOF_SECTION_HEADER;
    if room < sections.len() {
        return Err(UkiError::NoRoom { room, needed: sections.len() });
    }
    let mut image = parts.stub.to_vec();
    let mut address = layout.next_address;
    let mut added_data = 0_u32;
    for (position, (section, content)) in sections.into_iter().enumerate() {
        address = align(address, layout.section_alignment)?;
        let header = append(&mut image, section, content, address, layout.file_alignment)?;
        added_data = added_data.saturating_add(header.size_of_raw_data.get(LE));
        address = address.checked_add(header.virtual_size.get(LE)).ok_or(UkiError::TooLarge)?;
        let place = table_end + position * pe::IMAGE_SIZEOF_SECTION_HEADER;
        let slot = image.get_mut(place..place + pe::IMAGE_SIZEOF_SECTION_HEADER);
        slot.ok_or(UkiError::TooLarge)?.copy_from_slice(bytes_of(&header));
    }
    let count = u16::try_from(layout.sections + sections.len()).map_err(|_| UkiError::TooLarge)?;
    let size_of_image = align(address, layout.section_alignment)?;
    patch(&mut image, layout.nt_headers, |headers| {
        headers.file_header.number_of_sections.set(LE, count);
        let optional = &mut headers.optional_header;
        optional.size_of_image.set(LE, size_of_image);
        let data = optional.size_of_initialized_data.get(LE).saturating_add(added_data);
        optional.size_of_initialized_data.set(LE, data);
        optional.check_sum.set(LE, 0);
    })?;
    let sum = checksum(&image)?;
    patch(&mut image, layout.nt_headers, |headers| headers.optional_header.check_sum.set(LE, sum))?;
    Ok(image)
}

/// Appends a section's bytes at the file alignment and returns its header.
fn append(
    image: &mut Vec<u8>,
    section: Section,
    content: &[u8],
    address: u32,
    file_alignment: u32,
) -> Result<pe::ImageSectionHeader, UkiError> {
    let size = u32::try_from(content.len()).map_err(|_| UkiError::TooLarge)?;
    let here = u32::try_from(image.len()).map_err(|_| UkiError::TooLarge)?;
    let start = align(here, file_alignment)?;
    let raw_size = align(size, file_alignment)?;
    let end = start.checked_add(raw_size).ok_or(UkiError::TooLarge)?;
    let index = |offset: u32| usize::try_from(offset).map_err(|_| UkiError::TooLarge);
    image.resize(index(start)?, 0);
    image.extend_from_slice(content);
    image.resize(index(end)?, 0);
    let mut name = [0; pe::IMAGE_SIZEOF_SHORT_NAME];
    name.iter_mut().zip(section.name().bytes()).for_each(|(to, from)| *to = from);
    let zero = U32::new(LE, 0);
    Ok(pe::ImageSectionHeader {
        name,
        virtual_size: U32::new(LE, size),
        virtual_address: U32::new(LE, address),
        size_of_raw_data: U32::new(LE, raw_size),
        pointer_to_raw_data: U32::new(LE, start),
        pointer_to_relocations: zero,
        pointer_to_linenumbers: zero,
        number_of_relocations: U16::new(LE, 0),
        number_of_linenumbers: U16::new(LE, 0),
        characteristics: U32::new(LE, section.flags()),
    })
}

fn patch(
    image: &mut [u8],
    at: usize,
    change: impl FnOnce(&mut pe::ImageNtHeaders64),
) -> Result<(), UkiError> {
    let outside = || UkiError::NotPe("its headers lie outside of the file".into());
    let bytes = image.get_mut(at..).ok_or_else(outside)?;
    let (headers, _) = from_bytes_mut::<pe::ImageNtHeaders64>(bytes).map_err(|()| outside())?;
    change(headers);
    Ok(())
}

fn align(value: u32, alignment: u32) -> Result<u32, UkiError> {
    value.checked_next_multiple_of(alignment).ok_or(UkiError::TooLarge)
}

/// The PE checksum of an image whose checksum field is zero: folded 16-bit sum plus the file's length.
fn checksum(image: &[u8]) -> Result<u32, UkiError> {
    let length = u32::try_from(image.len()).map_err(|_| UkiError::TooLarge)?;
    let (pairs, last) = image.as_chunks::<2>();
    let last = last.iter().map(|byte| [*byte, 0]);
    let sum = pairs.iter().copied().chain(last).fold(0_u32, |sum, pair| {
        let sum = sum + u32::from(u16::from_le_bytes(pair));
        (sum & 0xffff) + (sum >> 16)
    });
    Ok((sum & 0xffff).wrapping_add(length))
}

/// A UKI whose headers were read.
#[derive(Debug, Clone, Copy)]
pub struct Uki<'a> {
    image: &'a [u8],
    table: object::read::coff::SectionTable<'a>,
}

impl<'a> Uki<'a> {
    /// Reads the headers of `image`.
    pub fn parse(image: &'a [u8]) -> Result<Self, UkiError> {
        let dos = pe::ImageDosHeader::parse(image).map_err(not_pe)?;
        let mut offset = u64::from(dos.nt_headers_offset());
        let (headers, _) = pe::ImageNtHeaders64::parse(image, &mut offset).map_err(not_pe)?;
        Ok(Self { image, table: headers.sections(image, offset).map_err(not_pe)? })
    }

    /// A section's content without the padding.
    pub fn section(&self, section: Section) -> Result<&'a [u8], UkiError> {
        let header = self
            .table
            .iter()
            .find(|header| header.raw_name() == section.name().as_bytes())
            .ok_or(UkiError::NoSection(section))?;
        let start =
            usize::try_from(header.pointer_to_raw_data.get(LE)).map_err(|_| UkiError::Cut(section))?;
        let size = header.virtual_size.get(LE).min(header.size_of_raw_data.get(LE));
        let size = usize::try_from(size).map_err(|_| UkiError::Cut(section))?;
        let end = start.checked_add(size).ok_or(UkiError::Cut(section))?;
        self.image.get(start..end).ok_or(UkiError::Cut(section))
    }

    /// A section's content as text, without a closing NUL.
    pub fn text(&self, section: Section) -> Result<String, UkiError> {
        let text = String::from_utf8_lossy(self.section(section)?).into_owned();
        Ok(text.trim_end_matches('\0').to_owned())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use object::write::pe::{NtHeaders, Writer};
    use std::process::Command;

    /// With this many data directories, the padded headers have room for five more sections; with 16, for three.
    pub(crate) const ROOMY: usize = 5;

    /// A PE file with one section, as small as a stub can be.
    pub(crate) fn stub(data_directories: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(true, 0x1000, 0x200, &mut bytes);
        writer.reserve_dos_header();
        writer.reserve_nt_headers(data_directories);
        writer.reserve_section_headers(1);
        let text = writer.reserve_text_section(16);
        writer.write_empty_dos_header().unwrap();
        writer.write_nt_headers(NtHeaders {
            machine: pe::IMAGE_FILE_MACHINE_AMD64,
            time_date_stamp: 0,
            characteristics: pe::IMAGE_FILE_EXECUTABLE_IMAGE,
            major_linker_version: 0,
            minor_linker_version: 0,
            address_of_entry_point: text.virtual_address,
            image_base: 0,
            major_operating_system_version: 0,
            minor_operating_system_version: 0,
            major_image_version: 0,
            minor_image_version: 0,
            major_subsystem_version: 0,
            minor_subsystem_version: 0,
            subsystem: pe::IMAGE_SUBSYSTEM_EFI_APPLICATION,
            dll_characteristics: pe::DllFlags(0),
            size_of_stack_reserve: 0,
            size_of_stack_commit: 0,
            size_of_heap_reserve: 0,
            size_of_heap_commit: 0,
        });
        writer.write_section_headers();
        writer.write_section(text.file_offset, &[0xc3; 16]);
        bytes
    }

    fn parts(stub: &[u8]) -> Parts<'_> {
        Parts {
            stub,
            os_release: "ID=psyopsos\n",
            command_line: "psyops.roothash=ab quiet",
            uname: "6.1.0-test",
            initrd: &[7; 5000],
            linux: &[9; 10_001],
        }
    }

    #[test]
    fn a_built_uki_is_read_back_and_objdump_agrees() {
        let stub = stub(ROOMY);
        let uki = build(&parts(&stub)).unwrap();
        let read = Uki::parse(&uki).unwrap();
        assert_eq!(read.text(Section::CommandLine).unwrap(), "psyops.roothash=ab quiet");
        assert_eq!(read.section(Section::Initrd).unwrap(), [7; 5000]);
        assert_eq!(read.section(Section::Linux).unwrap(), [9; 10_001]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("uki.efi");
        std::fs::write(&path, &uki).unwrap();
        let output = Command::new("objdump").arg("-h").arg(&path).output();
        let text = String::from_utf8(output.expect("objdump is needed: install binutils").stdout).unwrap();
        for (name, size) in
            [(".osrel", 12), (".cmdline", 24), (".uname", 10), (".initrd", 5000), (".linux", 10_001)]
        {
            let line = text.lines().find(|line| line.contains(&format!(" {name} "))).unwrap_or_default();
            let mut fields = line.split_whitespace().skip(2);
            assert_eq!(u32::from_str_radix(fields.next().unwrap(), 16), Ok(size), "{text}");
            assert_eq!(u64::from_str_radix(fields.next().unwrap(), 16).unwrap() % 0x1000, 0, "{text}");
        }
        assert_eq!(build(&parts(&stub)).unwrap(), uki);
    }

    #[test]
    fn a_stub_without_room_is_refused() {
        assert_eq!(build(&parts(&stub(16))), Err(UkiError::NoRoom { room: 3, needed: 5 }));
    }

    #[test]
    fn a_uki_is_not_a_stub_and_a_text_is_not_a_pe_file() {
        let uki = build(&parts(&stub(ROOMY))).unwrap();
        assert_eq!(build(&parts(&uki)), Err(UkiError::Duplicate(Section::OsRelease)));
        assert!(matches!(build(&parts(b"MZ, they say")), Err(UkiError::NotPe(_))));
        assert!(matches!(Uki::parse(&[0; 4096]), Err(UkiError::NotPe(_))));
    }

    #[test]
    fn a_cut_uki_names_the_section() {
        let uki = build(&parts(&stub(ROOMY))).unwrap();
        let cut = &uki[..uki.len() - 10_000];
        assert_eq!(Uki::parse(cut).unwrap().section(Section::Linux), Err(UkiError::Cut(Section::Linux)));
        let plain = stub(ROOMY);
        let error = Uki::parse(&plain).unwrap().section(Section::Linux);
        assert_eq!(error, Err(UkiError::NoSection(Section::Linux)));
    }

    #[test]
    fn a_stub_with_a_huge_alignment_is_refused_before_memory_is_taken() {
        let mut stub = stub(ROOMY);
        let headers = usize::try_from(u32::from_le_bytes(stub[60..64].try_into().unwrap())).unwrap();
        // The signature and the file header come first; `FileAlignment` is at offset 36 of the optional header.
        let place = headers + 24 + 36;
        assert_eq!(stub[place..place + 4], 0x200_u32.to_le_bytes());
        stub[place..place + 4].copy_from_slice(&0x4000_0000_u32.to_le_bytes());
        let parts =
            Parts { stub: &stub, os_release: "", command_line: "", uname: "", initrd: b"", linux: b"" };
        assert_eq!(
            build(&parts).unwrap_err().to_string(),
            "the stub's sections are aligned to 1073741824 bytes in the file, and the PE format allows 65536: take another stub"
        );
    }
}
