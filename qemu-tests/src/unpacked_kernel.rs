//! A kernel without its compression, for machines that start without firmware. An emulated processor takes as long to
//! unpack a kernel as to run it up to the first process.
//!
//! QEMU starts such an ELF file at its PVH entry. Where the packed kernel is in a bzImage: "The Linux/x86 Boot
//! Protocol", "Details of Header Fields" (`setup_sects`, `payload_offset`, `payload_length`).

use crate::command::succeed;
use crate::programs::target_folder;
use anyhow::{Context as _, Result, bail, ensure};
use handoff::hash::Sha256Digest;
use std::fs;
use std::io::Write as _;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;

/// The path of the unpacked kernel. It is made once for each kernel and shared by all tests.
pub fn of(kernel: &[u8]) -> Result<PathBuf> {
    let folder = target_folder()?.join("qemu-tests/kernels");
    let unpacked = folder.join(format!("{}.elf", Sha256Digest::of(kernel)));
    if !unpacked.exists() {
        fs::create_dir_all(&folder)?;
        let elf = unpack(kernel.get(payload(kernel)?).context("the kernel ends before its payload does")?)?;
        ensure!(elf.starts_with(b"\x7fELF"), "the payload of the kernel is no ELF file");
        // Tests run at the same time: none may see a half of it.
        let mut new = tempfile::NamedTempFile::new_in(&folder)?;
        new.write_all(&elf)?;
        new.persist(&unpacked)?;
    }
    Ok(unpacked)
}

fn payload(kernel: &[u8]) -> Result<Range<usize>> {
    let number = |at: usize| -> Result<usize> {
        let bytes = kernel.get(at..at + 4).context("the kernel is too short")?;
        Ok(usize::try_from(u32::from_le_bytes(bytes.try_into()?))?)
    };
    ensure!(kernel.get(0x202..0x206) == Some(b"HdrS"), "the kernel is no bzImage");
    let setup_sectors = usize::from(*kernel.get(0x1f1).context("the kernel is too short")?);
    let start = (setup_sectors + 1) * 512 + number(0x248)?;
    Ok(start..start + number(0x24c)?)
}

/// The content of the payload. After it are four bytes with its size, which the tools ignore or are not given.
fn unpack(payload: &[u8]) -> Result<Vec<u8>> {
    match payload {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            let mut packed = tempfile::NamedTempFile::new()?;
            packed.write_all(payload)?;
            let mut xz = Command::new("xz");
            Ok(succeed(xz.args(["--decompress", "--stdout", "--single-stream"]).arg(packed.path()))?.stdout)
        }
        [0x28, 0xb5, 0x2f, 0xfd, rest @ ..] => {
            let packed = payload.get(..rest.len()).context("an empty payload")?;
            Ok(zstd::decode_all(packed)?)
        }
        _ => bail!(
            "the kernel is compressed with a program that this does not know: {:02x?}",
            payload.get(..4)
        ),
    }
}
