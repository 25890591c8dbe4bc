//! The storage of an image: one file or device, or, if nodes share a part of their images, a QEMU disk (qcow2) over a
//! file beside it.

use super::qcow2_header::{self, MAGIC};
use crate::input::ReadAt;
use crate::width::to_usize;
use imago::file::File as DiskFile;
use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::{
    DenyImplicitOpenGate, FormatAccess, FormatCreateBuilder as _, FormatDriverBuilder as _, ShallowMapping,
    StorageOpenOptions,
};
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The bytes that are read to tell a qcow2 header from a raw image's protective MBR and table header.
const HEAD: usize = 520;

/// An image that is open for reading.
#[derive(Debug, Clone)]
pub enum Storage {
    /// One file or device with all bytes.
    Whole(Arc<File>),
    /// A file with the node's own bytes, over a file with those that it shares with others.
    Layered(Arc<Layered>),
}

/// An open QEMU disk.
#[derive(Debug)]
pub struct Layered {
    disk: FormatAccess<DiskFile>,
    shared: Option<PathBuf>,
}

/// Whether a file is a QEMU disk. A file that cannot be read is not, and neither is a stick or image whose boot code
/// only begins like one: if it has a protective MBR and a partition table, these decide.
#[must_use]
pub fn is_layered(path: &Path) -> bool {
    // Opening a pipe would wait for a writer.
    let is_file = path.metadata().is_ok_and(|metadata| metadata.is_file());
    is_file && File::open(path).is_ok_and(|file| is_qcow2(&head(&file)))
}

fn head(file: &File) -> Vec<u8> {
    let mut head = vec![0; HEAD];
    let length = file.read_at(&mut head, 0).unwrap_or(0);
    head.truncate(length);
    head
}

fn is_qcow2(head: &[u8]) -> bool {
    let version = number(head, 4);
    let is_disk = head.get(510..512) == Some(&[0x55, 0xaa]) && head.get(512..) == Some(b"EFI PART");
    head.starts_with(&MAGIC) && matches!(version, Some(2 | 3)) && !is_disk
}

/// A big-endian number of a qcow2 header.
fn number(head: &[u8], at: usize) -> Option<u32> {
    let bytes = head.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// The feature in a header that a node's disk never needs, and that could name files or ask for a password; `None` if
/// there is none.
fn refused_feature(head: &[u8]) -> Option<&'static str> {
    /// The offset of the encryption method, and in version 3 of the features that a reader must know.
    const CRYPT_METHOD: usize = 32;
    const INCOMPATIBLE_LOW: usize = 76;
    const EXTERNAL_DATA_FILE: u32 = 1 << 2;
    if number(head, CRYPT_METHOD) != Some(0) {
        return Some(
            "it is an encrypted QEMU disk, which psyops does not read; convert it with qemu-img convert",
        );
    }
    let incompatible = if number(head, 4) == Some(3) { number(head, INCOMPATIBLE_LOW)? } else { 0 };
    let external = incompatible & EXTERNAL_DATA_FILE != 0;
    external.then_some("it is a QEMU disk with an external data file, which psyops does not read; convert it with qemu-img convert")
}

impl Storage {
    /// Opens an image. The backing file of a QEMU disk is opened only if it is in the same folder: a disk that names
    /// any other file would copy that file's content into an image.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Opening a pipe would wait for a writer.
        let file = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
        let kind = file.metadata()?.file_type();
        if kind.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !kind.is_file() && !kind.is_block_device() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a file nor a disk"));
        }
        if !is_layered(path) {
            return Ok(Self::Whole(Arc::new(file)));
        }
        if let Some(problem) = refused_feature(&head(&file)) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        let mut header = [0; qcow2_header::SIZE];
        file.read_exact_at(&mut header, 0)?;
        let bad = |bad| io::Error::new(io::ErrorKind::InvalidData, bad);
        qcow2_header::check(&header, file.metadata()?.len()).map_err(bad)?;
        let mut disk: Qcow2<DiskFile> = Qcow2::builder(storage_of(file, false)?)
            .backing(None)
            .data_file(None)
            .open(DenyImplicitOpenGate::default())?;
        if disk.requires_external_data_file() {
            return Err(io::Error::other(
                "it is a QEMU disk with an external data file, which psyops does not read; convert it with qemu-img convert",
            ));
        }
        let shared = disk.implicit_backing_file().map(|name| beside(path, name)).transpose()?;
        if let Some(shared) = &shared {
            let named = |source: io::Error| {
                let problem = format!("its shared part {}: {source}", shared.display());
                io::Error::new(source.kind(), problem)
            };
            let file = open_shared(shared).and_then(|file| storage_of(file, false)).map_err(named)?;
            let raw = Raw::builder(file).open(DenyImplicitOpenGate::default()).map_err(named)?;
            disk.set_backing(Some(FormatAccess::new(raw)));
        }
        Ok(Self::Layered(Arc::new(Layered { disk: FormatAccess::new(disk), shared })))
    }

    /// The size of the image in bytes.
    pub fn size(&self) -> io::Result<u64> {
        match self {
            Self::Whole(file) => file.as_ref().seek(SeekFrom::End(0)),
            Self::Layered(layered) => Ok(layered.disk.size()),
        }
    }

    /// The path of the file with the shared part, if there is one.
    #[must_use]
    pub fn shared(&self) -> Option<&Path> {
        match self {
            Self::Whole(_) => None,
            Self::Layered(layered) => layered.shared.as_deref(),
        }
    }

    /// Whether all of the range is read from the shared part, and nothing of it is the node's own.
    #[must_use]
    pub fn is_all_shared(&self, range: &Range<u64>) -> bool {
        let Self::Layered(layered) = self else { return false };
        let mut at = range.start;
        while at < range.end {
            match layered.disk.get_shallow_mapping(at, range.end - at) {
                Ok((ShallowMapping::Indirect { .. }, length)) if length > 0 => at += length,
                _ => return false,
            }
        }
        layered.shared.is_some()
    }

    /// Fills `into` from `offset` on as far as there are bytes; returns how many.
    pub fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Whole(file) => file.read_at(into, offset),
            Self::Layered(layered) => {
                let left = to_usize(layered.disk.size().saturating_sub(offset));
                let length = into.len().min(left);
                let into = into.get_mut(..length).ok_or(io::ErrorKind::InvalidInput)?;
                layered.disk.read(into, offset)?;
                Ok(length)
            }
        }
    }
}

impl ReadAt for Storage {
    fn fill_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Whole(file) => file.read_exact_at(into, offset),
            Self::Layered(_) if self.read_at(into, offset)? == into.len() => Ok(()),
            Self::Layered(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Writes a new QEMU disk to `file`, which is empty. All other bytes are those of the file named `shared` in the same
/// folder.
pub struct LayerWriter {
    disk: FormatAccess<DiskFile>,
}

impl LayerWriter {
    /// Begins a disk of `size` bytes.
    pub fn create(file: &File, size: u64, shared: &str) -> io::Result<Self> {
        let layer = Qcow2::<DiskFile>::create_builder(storage_of(file.try_clone()?, true)?)
            .size(size)
            .backing(shared.to_owned(), "raw".to_owned());
        // Nothing is read through the disk: the shared part is empty around what is written.
        let open = |image| Ok(Qcow2::builder(image).backing(None).write(true));
        let disk = layer.create_open(DenyImplicitOpenGate::default(), open)?;
        Ok(Self { disk: FormatAccess::new(disk) })
    }

    /// Writes `bytes` at `offset`.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.write(bytes, offset)
    }

    /// Writes everything to the file.
    pub fn finish(self) -> io::Result<()> {
        self.disk.flush()
    }
}

fn storage_of(file: File, write: bool) -> io::Result<DiskFile> {
    DiskFile::from_open_file(file, StorageOpenOptions::new().write(write))
}

/// Opens the shared part: a plain file, not a link to one elsewhere, and not a disk over yet another file.
fn open_shared(path: &Path) -> io::Result<File> {
    let refused = |problem| Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    if !path.symlink_metadata()?.is_file() {
        return refused("it is not a plain file");
    }
    let file =
        File::options().read(true).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return refused("it is not a plain file");
    }
    if is_qcow2(&head(&file)) {
        return refused("it is itself a QEMU disk, which may name any other file");
    }
    Ok(file)
}

/// The path of the file with that plain name beside `path`.
fn beside(path: &Path, name: &str) -> io::Result<PathBuf> {
    if name.contains('/') || name.contains(':') {
        let problem =
            format!("it is a QEMU disk over {name:?}, which is not the name of a file in the same folder");
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    Ok(path.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    /// A disk of 1 MiB over a file of sevens, with eights from 128 KiB to 129 KiB.
    fn layered(folder: &Path) -> PathBuf {
        fs::write(folder.join("shared"), vec![7; 1 << 20]).unwrap();
        let path = folder.join("layer");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        let layer = LayerWriter::create(&file, 1 << 20, "shared").unwrap();
        layer.write_at(128 << 10, &[8; 1024]).unwrap();
        layer.finish().unwrap();
        path
    }

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let Err(error) = Storage::open(&path) else { panic!("a pipe was opened") };
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (io::ErrorKind::InvalidInput, "it is neither a file nor a disk")
        );
    }

    #[test]
    fn clusters_missing_in_a_layer_are_read_from_the_shared_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = layered(folder.path());
        assert!(is_layered(&path) && !is_layered(&folder.path().join("shared")));
        let storage = Storage::open(&path).unwrap();
        assert_eq!(
            (storage.size().unwrap(), storage.shared()),
            (1 << 20, Some(&*folder.path().join("shared")))
        );
        let byte = |offset| {
            let mut byte = [0];
            storage.fill_at(&mut byte, offset).map(|()| byte[0])
        };
        let places = [0, (128 << 10) - 1, 128 << 10, (129 << 10) - 1, 192 << 10, (1 << 20) - 1];
        assert_eq!(places.map(|place| byte(place).unwrap()), [7, 7, 8, 8, 7, 7]);
        assert_eq!(byte(1 << 20).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let shared =
            [0..1 << 16, 0..128 << 10, 192 << 10..1 << 20].map(|range| storage.is_all_shared(&range));
        assert_eq!(shared, [true; 3]);
        let own =
            [0..(128 << 10) + 1, 128 << 10..129 << 10, 0..1 << 20].map(|range| storage.is_all_shared(&range));
        assert_eq!(own, [false; 3]);
        let mut end = [0; 10];
        assert_eq!(storage.read_at(&mut end, (1 << 20) - 4).unwrap(), 4);
    }

    #[test]
    fn a_disk_over_any_other_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("images")).unwrap();
        fs::write(folder.path().join("private"), vec![1; 1 << 20]).unwrap();
        let path = folder.path().join("images/evil");
        for (format, beneath) in [
            ("raw", "../private".to_owned()),
            ("raw", folder.path().join("private").display().to_string()),
            ("raw", "json:{\"driver\":\"file\",\"filename\":\"/etc/passwd\"}".to_owned()),
        ] {
            let mut create = Command::new("qemu-img");
            create
                .args(["create", "-q", "-u", "-f", "qcow2", "-F", format, "-b", &beneath])
                .arg(&path)
                .arg("1M");
            assert!(create.status().expect("qemu-img is needed: install qemu-utils").success());
            let error = Storage::open(&path).unwrap_err().to_string();
            assert!(error.contains("not the name of a file in the same folder"), "{error}");
        }
    }

    fn qemu_img(words: &[&str], path: &Path) {
        let mut create = Command::new("qemu-img");
        let done = create.args(words).arg(path).arg("1M").status();
        assert!(done.expect("qemu-img is needed: install qemu-utils").success());
    }

    #[test]
    fn a_shared_part_that_is_a_disk_over_a_file_of_the_host_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("images")).unwrap();
        fs::write(folder.path().join("private"), vec![1; 1 << 20]).unwrap();
        let (shared, path) = (folder.path().join("images/shared"), folder.path().join("images/evil"));
        qemu_img(&["create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", "../private"], &shared);
        qemu_img(&["create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "shared"], &path);
        let error = Storage::open(&path).unwrap_err().to_string();
        assert!(error.contains("shared: it is itself a QEMU disk"), "{error}");
    }

    #[test]
    fn a_shared_part_that_is_a_link_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = layered(folder.path());
        fs::rename(folder.path().join("shared"), folder.path().join("private")).unwrap();
        std::os::unix::fs::symlink("private", folder.path().join("shared")).unwrap();
        let error = Storage::open(&path).unwrap_err().to_string();
        assert!(error.contains("shared: it is not a plain file"), "{error}");
    }

    #[test]
    fn a_disk_with_a_data_file_or_a_password_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("evil");
        let data = format!("data_file={}", folder.path().join("data").display());
        qemu_img(&["create", "-q", "-f", "qcow2", "-o", &data], &path);
        let error = Storage::open(&path).unwrap_err().to_string();
        assert_eq!(
            error,
            "it is a QEMU disk with an external data file, which psyops does not read; convert it with qemu-img convert"
        );
        let path = layered(folder.path());
        let mut bytes = fs::read(&path).unwrap();
        for method in [1, 2] {
            bytes[35] = method;
            fs::write(&path, &bytes).unwrap();
            let error = Storage::open(&path).unwrap_err().to_string();
            assert_eq!(
                error,
                "it is an encrypted QEMU disk, which psyops does not read; convert it with qemu-img convert"
            );
        }
    }

    #[test]
    fn a_whole_image_whose_boot_code_looks_like_a_qemu_disk_is_a_whole_image() {
        let fixture = crate::image::fixture::image();
        let path = fixture.image.path.as_path();
        let file = File::options().write(true).open(path).unwrap();
        // Magic and version, which is all that the boot code has of a header.
        file.write_all_at(b"QFI\xfb\0\0\0\x03", 0).unwrap();
        assert!(!is_layered(path));
        assert!(matches!(Storage::open(path).unwrap(), Storage::Whole(_)));
        let image = crate::image::reader::ImageReader::open(path).unwrap();
        assert_eq!(image.table_faults(), ["the protective MBR is damaged at byte 0"]);
    }

    #[test]
    fn damage_is_an_error_of_its_kind_and_never_another_content() {
        use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
        let folder = tempfile::tempdir().unwrap();
        let path = layered(folder.path());
        let whole = fs::read(&path).unwrap();
        let look = |bytes: &[u8]| -> io::Result<Vec<u8>> {
            fs::write(&path, bytes).unwrap();
            let mut content = vec![0; 1 << 20];
            Storage::open(&path)?.fill_at(&mut content, 0)?;
            Ok(content)
        };
        let right = look(&whole).unwrap();
        for length in [0, 3, 4, 50, 104, 4096, whole.len() / 2] {
            // Without a whole header it is a whole image, which is too short.
            let kind = if length < 104 { UnexpectedEof } else { InvalidData };
            assert_eq!(look(&whole[..length]).unwrap_err().kind(), kind, "cut to {length}");
        }
        // The last byte is one that the shared part has, too.
        assert!(look(&whole[..whole.len() - 1]).unwrap() == right);
        // The header, and each table after it.
        for byte in
            (0..112).chain((1..whole.len() >> 16).flat_map(|cluster| [cluster << 16, (cluster << 16) + 7]))
        {
            let mut bad = whole.clone();
            bad[byte] ^= 0x41;
            let found = look(&bad).map(|content| content == right).map_err(|error| error.kind());
            let expected = match byte {
                // The magic and the version: then it is a whole image, which is too short.
                0..8 => Err(UnexpectedEof),
                // The name of the shared part has a zero.
                14 | 15 | 19 => Err(InvalidInput),
                // A larger size, snapshots, features that a reader may ignore, extensions, and reference counts.
                28..32 | 39 | 60..72 | 80..96 | 102 | 104..108 | 110..112 | 0x1_0000..0x3_0000 => Ok(true),
                // The cluster seems compressed.
                0x4_0000 => Err(Other),
                // The node's own bytes: the digests in the image cover them.
                0x5_0000.. => Ok(false),
                _ => Err(InvalidData),
            };
            assert_eq!(found, expected, "byte {byte}");
        }
    }
}
