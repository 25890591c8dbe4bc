//! An image in other forms: compressed with a block map, for a virtual machine, for a boot from the network.

pub mod block_map;

use crate::atomic::{self, AtomicFile};
use crate::error::{Class, Classified, Error};
use crate::image::reader::ImageReader;
use crate::image::zeros::is_zero;
use crate::run::chain::Chain;
use crate::run::direct;
use crate::tools::{self, QEMU_IMG};
use crate::width::to_u64;
use block_map::BlockMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The zstd level: most of an image is compressed already.
const LEVEL: i32 = 3;
/// How many bytes are read at once.
const CHUNK: usize = 1 << 20;
/// A stretch of this many zero bytes becomes a hole.
const HOLE: usize = 1 << 16;

/// A form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// One file, with the bytes of a stick
    Raw,
    /// zstd, with a block map for bmaptool in a second file
    Zst,
    /// A disk for QEMU
    Qcow2,
    /// A folder with kernel, initramfs (with the seal) and command line
    Netboot,
}

impl Form {
    /// The default path of the output, beside the image.
    #[must_use]
    pub fn beside(self, image: &Path) -> PathBuf {
        match self {
            Self::Raw => image.with_extension("img"),
            Self::Zst => with_more(image, ".zst"),
            Self::Qcow2 => image.with_extension("qcow2"),
            Self::Netboot => image.with_extension("netboot"),
        }
    }
}

fn with_more(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(more);
    name.into()
}

/// A file could not be read, or a folder not be made.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum ExportError {
    /// The image could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The path of the image.
        path: PathBuf,
        /// The error from reading it.
        r#source: io::Error,
    },
    /// The folder for a network boot could not be made.
    #[error("cannot create the folder {path}: {source}")]
    Folder {
        /// The path of the folder.
        path: PathBuf,
        /// The error from making it.
        r#source: io::Error,
    },
}

impl Classified for ExportError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Read { source, .. } => Class::of_reading(source),
            Self::Folder { source, .. } => Class::of_writing(source),
        })
    }
}

/// Writes the image at `path` in a form; returns the files that were written. All have the node's secrets or its seal,
/// so only their owner may read them; the block map has digests of these, and is private for the same reason.
pub fn export(path: &Path, form: Form, output: &Path) -> Result<Vec<PathBuf>, Error> {
    let image = ImageReader::open(path)?;
    match form {
        Form::Raw => raw(&image, output),
        Form::Zst => zst(&image, output),
        Form::Qcow2 => qcow2(path, output),
        Form::Netboot => netboot(&image, output),
    }
}

/// Passes all bytes of an image to `take`, piece by piece, each with its offset.
fn each_piece<E: From<ExportError>>(
    image: &ImageReader,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    loop {
        let read = image.storage().read_at(&mut buffer, at);
        let count = read.map_err(|source| ExportError::Read { path: image.path().to_owned(), source })?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        take(at, bytes)?;
        at += to_u64(count);
    }
}

fn raw(image: &ImageReader, output: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut file = AtomicFile::create_private(output)?;
    file.set_len(image.size().0)?;
    each_piece(image, |at, bytes| {
        // Zero bytes stay a hole.
        for (offset, block) in (at..).step_by(HOLE).zip(bytes.chunks(HOLE)) {
            if !is_zero(block) {
                file.write_at(offset, block)?;
            }
        }
        Ok::<(), Error>(())
    })?;
    file.commit()?;
    Ok(vec![output.to_owned()])
}

fn zst(image: &ImageReader, output: &Path) -> Result<Vec<PathBuf>, Error> {
    let map_place = match output.extension() {
        Some(extension) if extension == "zst" => with_more(&output.with_extension(""), ".bmap"),
        _ => with_more(output, ".bmap"),
    };
    let map = BlockMap::of(image)?.to_xml();
    let file = AtomicFile::create_private(output)?;
    let begun = zstd::Encoder::new(file.file(), LEVEL);
    let mut encoder = file.check(begun)?;
    let prepared =
        encoder.include_checksum(true).and_then(|()| encoder.set_pledged_src_size(Some(image.size().0)));
    file.check(prepared)?;
    each_piece(image, |_, bytes| {
        let written = encoder.write_all(bytes);
        Ok::<(), Error>(file.check(written)?)
    })?;
    let finished = encoder.finish().map(drop);
    file.check(finished)?;
    file.commit()?;
    atomic::write_file_with_mode(&map_place, map.as_bytes(), 0o600)?;
    Ok(vec![output.to_owned(), map_place])
}

fn qcow2(path: &Path, output: &Path) -> Result<Vec<PathBuf>, Error> {
    let (file, temporary) = AtomicFile::create_named(output)?;
    let mut convert = QEMU_IMG.command()?;
    let chain = Chain::of(path).map_err(|source| ExportError::Read { path: path.to_owned(), source })?;
    convert.args(["convert", "-O", "qcow2"]).args(chain.of_qemu_img()).arg(temporary);
    tools::run(&mut convert)?;
    file.commit()?;
    Ok(vec![output.to_owned()])
}

fn netboot(image: &ImageReader, output: &Path) -> Result<Vec<PathBuf>, Error> {
    let parts = direct::read(image, &[])?;
    fs::create_dir_all(output).map_err(|source| ExportError::Folder { path: output.to_owned(), source })?;
    let mut written = Vec::new();
    for (name, content) in [
        ("vmlinuz", parts.kernel),
        ("initramfs.img", parts.initrd),
        ("cmdline", format!("{}\n", parts.command_line).into_bytes()),
    ] {
        let path = output.join(name);
        atomic::write_file_with_mode(&path, &content, 0o600)?;
        written.push(path);
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture;
    use crate::verify::verify;
    use handoff::hash::Sha256Digest;
    use std::fs::File;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    #[test]
    fn bmaptool_takes_the_compressed_image_with_its_map() {
        let fixture = fixture::image();
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("demo.img.zst");
        let written = export(&fixture.image.path, Form::Zst, &output).unwrap();
        assert_eq!(written, [output.clone(), folder.path().join("demo.img.bmap")]);
        for file in &written {
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let bytes = fs::read(&fixture.image.path).unwrap();
        assert!(zstd::decode_all(File::open(&output).unwrap()).unwrap() == bytes);
        // Without unpacking it cannot be read.
        let error = ImageReader::open(&output).unwrap_err();
        assert!(error.to_string().ends_with("is compressed: unpack it with zstd -d first"), "{error}");
        let stick = folder.path().join("stick");
        let copied = Command::new("bmaptool")
            .arg("copy")
            .arg("--bmap")
            .arg(&written[1])
            .arg(&output)
            .arg(&stick)
            .output();
        let copied = copied.expect("bmaptool is needed: install bmap-tools");
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        assert!(fs::read(&stick).unwrap() == bytes);
    }

    #[test]
    fn the_block_map_is_enough_for_a_used_stick() {
        let fixture = fixture::image();
        let image = ImageReader::open(&fixture.image.path).unwrap();
        let bytes = fs::read(&fixture.image.path).unwrap();
        let mut stick = vec![0xAA; bytes.len()];
        for (first, last, digest) in BlockMap::of(&image).unwrap().ranges {
            let at = |block: u64| usize::try_from(block * block_map::BLOCK_SIZE).unwrap();
            let range = at(first)..at(last + 1);
            assert_eq!(Sha256Digest::of(&bytes[range.clone()]), digest);
            stick[range.clone()].copy_from_slice(&bytes[range]);
        }
        assert!(stick != bytes);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stick");
        fs::write(&path, stick).unwrap();
        let look = |path: &Path| verify(&ImageReader::open(path).unwrap(), None, None).unwrap();
        let found = look(&path);
        assert!(found.is_whole(), "{found:?}");
        assert_eq!(found.checks, look(&fixture.image.path).checks);
    }

    #[test]
    fn the_other_forms_have_the_content_of_the_image() {
        let fixture = fixture::image();
        let path = fixture.image.path.as_path();
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("demo.qcow2");
        export(path, Form::Qcow2, &disk).unwrap();
        let compared = Command::new("qemu-img").arg("compare").arg(path).arg(&disk).output().unwrap();
        assert!(compared.status.success(), "{compared:?}");
        let netboot = folder.path().join("demo.netboot");
        let written = export(path, Form::Netboot, &netboot).unwrap();
        assert_eq!(written.len(), 3);
        let parts = direct::read(&ImageReader::open(path).unwrap(), &[]).unwrap();
        assert!(fs::read(netboot.join("vmlinuz")).unwrap() == parts.kernel);
        assert!(fs::read(netboot.join("initramfs.img")).unwrap() == parts.initrd);
        assert_eq!(fs::read_to_string(netboot.join("cmdline")).unwrap().trim_end(), parts.command_line);
    }
}
