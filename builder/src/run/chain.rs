//! The files behind a machine's disk, each with its format, as arguments for QEMU: it opens these, and no file that a
//! header names.
//!
//! The builder reads the header of a layered disk itself (`image::storage`), which refuses every shared part except a
//! plain raw file in the same folder. Otherwise QEMU would follow the names of backing and data files in a hostile
//! image to any file of the host.

use super::arguments::with_path;
use crate::image::storage::{Storage, is_layered};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// The files that a disk consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Chain {
    /// All bytes of one file or device, even if they look like another format.
    Raw(PathBuf),
    /// The node's own part over the part that it shares with others, if there is one.
    Layered {
        /// The path of the node's part, a qcow2 file.
        own: PathBuf,
        /// The path of the shared part, a raw file.
        shared: Option<PathBuf>,
    },
}

impl Chain {
    /// The chain of an image, according to its own header.
    pub(crate) fn of(image: &Path) -> io::Result<Self> {
        if !is_layered(image) {
            return Ok(Self::Raw(image.to_owned()));
        }
        match Storage::open(image)? {
            Storage::Whole(_) => Ok(Self::Raw(image.to_owned())),
            layered @ Storage::Layered(_) => {
                let shared = layered.shared().map(Path::to_owned);
                // QEMU gets the names as JSON text, so another name than the checked one would reach it.
                if [Some(image), shared.as_deref()].into_iter().flatten().any(|path| path.to_str().is_none())
                {
                    let problem =
                        "QEMU cannot use a split image whose path is not UTF-8: rename its folder or file";
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
                }
                Ok(Self::Layered { own: image.to_owned(), shared })
            }
        }
    }

    /// The chain for QEMU's options that take an image (`-drive file=`, `qemu-img convert`), with every driver named.
    pub(crate) fn file_name(&self) -> Option<String> {
        self.node().map(|node| format!("json:{node}"))
    }

    /// A layered chain as a block node (QEMU's `BlockdevOptions`); for a raw one, its path is enough.
    pub(crate) fn node(&self) -> Option<Value> {
        let Self::Layered { own, shared } = self else { return None };
        let file = |path: &Path| json!({"driver": "file", "filename": path.to_string_lossy()});
        let backing =
            shared.as_deref().map(|shared| json!({"driver": "raw", "read-only": true, "file": file(shared)}));
        Some(json!({"driver": "qcow2", "file": file(own), "backing": backing}))
    }

    /// The words by which `qemu-img` uses it as a source.
    pub(crate) fn of_qemu_img(&self) -> Vec<OsString> {
        match self {
            Self::Raw(path) => {
                let options = with_path("driver=raw,file.filename=", path, "");
                vec!["--image-opts".into(), options]
            }
            Self::Layered { .. } => vec![self.file_name().unwrap_or_default().into()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::storage::LayerWriter;
    use std::fs::{self, File};
    use std::process::Command;

    /// A disk of 1 MiB over a file of sevens, with eights from 128 KiB to 129 KiB.
    fn layered(folder: &Path) -> PathBuf {
        fs::write(folder.join("shared"), vec![7; 1 << 20]).unwrap();
        let path = folder.join("own,1");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let layer = LayerWriter::create(&file, 1 << 20, "shared").unwrap();
        layer.write_at(128 << 10, &[8; 1024]).unwrap();
        layer.finish().unwrap();
        path
    }

    /// The bytes that QEMU reads from the chain.
    fn read(chain: &Chain, folder: &Path) -> Vec<u8> {
        let output = folder.join("output");
        let mut convert = Command::new("qemu-img");
        convert.args(["convert", "-O", "raw"]).args(chain.of_qemu_img()).arg(&output);
        assert!(convert.status().expect("qemu-img is needed: install qemu-utils").success());
        fs::read(output).unwrap()
    }

    #[test]
    fn qemu_gets_every_file_and_driver_explicitly() {
        let folder = tempfile::tempdir().unwrap();
        let path = layered(folder.path());
        let chain = Chain::of(&path).unwrap();
        let shared = folder.path().join("shared");
        assert_eq!(
            chain.node().unwrap(),
            json!({
                "driver": "qcow2",
                "file": {"driver": "file", "filename": path},
                "backing": {"driver": "raw", "read-only": true, "file": {"driver": "file", "filename": shared}},
            })
        );
        let bytes = read(&chain, folder.path());
        assert_eq!((bytes[0], bytes[128 << 10], bytes[(1 << 20) - 1]), (7, 8, 7));
    }

    #[test]
    fn a_header_that_changes_meanwhile_opens_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = layered(folder.path());
        let chain = Chain::of(&path).unwrap();
        fs::write(folder.path().join("private"), vec![1; 1 << 20]).unwrap();
        let rebased = Command::new("qemu-img")
            .args(["rebase", "-u", "-F", "raw", "-b", "private"])
            .arg(&path)
            .status()
            .unwrap();
        assert!(rebased.success());
        assert_eq!(read(&chain, folder.path())[0], 7);
        // A disk without a shared part gets none, whatever its header has by then.
        let alone = Chain::Layered { own: path, shared: None };
        assert_eq!(alone.node().unwrap()["backing"], Value::Null);
        assert_eq!(read(&alone, folder.path())[0], 0);
    }

    #[test]
    fn a_second_file_beneath_is_refused_and_never_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = layered(folder.path());
        fs::write(folder.path().join("private"), vec![1; 1 << 20]).unwrap();
        let evil = folder.path().join("evil");
        let mut create = Command::new("qemu-img");
        create.args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "own,1"]).arg(&evil);
        assert!(create.status().unwrap().success());
        assert!(Chain::of(&path).is_ok());
        let error = Chain::of(&evil).unwrap_err().to_string();
        assert!(error.contains("own,1: it is itself a QEMU disk"), "{error}");
    }

    #[test]
    fn a_path_that_is_not_text_leads_to_no_other_file() {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = tempfile::tempdir().unwrap();
        // As text, the first name would become the second one.
        let [named, other] = [&b"d\xff"[..], "d\u{fffd}".as_bytes()].map(|name| {
            let inner = folder.path().join(std::ffi::OsStr::from_bytes(name));
            fs::create_dir(&inner).unwrap();
            layered(&inner)
        });
        assert!(Chain::of(&other).is_ok());
        let error = Chain::of(&named).unwrap_err().to_string();
        assert!(error.contains("whose path is not UTF-8"), "{error}");
    }

    #[test]
    fn a_whole_image_that_begins_like_a_qemu_disk_is_attached_as_its_bytes() {
        let fixture = crate::image::fixture::image();
        let path = fixture.image.path.as_path();
        let mut bytes = fs::read(path).unwrap();
        bytes[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
        fs::write(path, &bytes).unwrap();
        let chain = Chain::of(path).unwrap();
        assert_eq!(chain, Chain::Raw(path.to_owned()));
        let folder = tempfile::tempdir().unwrap();
        assert!(read(&chain, folder.path()) == bytes, "QEMU took it for something else");
        let arguments = crate::run::Setup::with_stick(path).arguments(folder.path());
        let line = crate::run::shell_line("qemu", &arguments);
        assert!(line.contains("if=none,id=disk0,discard=unmap,format=raw,snapshot=on,file=/"), "{line}");
    }
}
