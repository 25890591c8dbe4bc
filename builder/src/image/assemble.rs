//! From finished parts to a bootable image: slot a has the system, on trial, and slot b is empty.

use super::esp;
use super::ids::ImageIds;
use super::plan::{Contents, Plan, PlanError, plan};
use super::write::{Piece, Source, WriteError, write, write_layer, write_shared};
use super::zeros::without_zeros_behind;
use crate::error::{Class, Classified};
use crate::site::{Bytes, Sizes};
use handoff::boot_record::{self, BootRecord};
use handoff::control::{ControlRecord, RECORD_OFFSETS};
use handoff::hash::Sha256Digest;
use handoff::name::Name;
use handoff::partition::Role;
use handoff::slot::Slot;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// All inputs of an image.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The site, the node and the root hash, from which the GUIDs derive.
    pub ids: ImageIds<'a>,
    /// The release in slot a.
    pub release: &'a Name,
    /// The security epoch of the release; it is raised to make nodes refuse older releases.
    pub security_epoch: u32,
    /// How often a slot is started before it must be marked good.
    pub tries: u8,
    /// The sizes of the partitions, from the site.
    pub sizes: &'a Sizes,
    /// The UEFI program on the ESP.
    pub selector: &'a [u8],
    /// The bytes of the UKI.
    pub uki: &'a [u8],
    /// The minisign signature of the UKI by the site's key, for the boot record.
    pub uki_signature: &'a str,
    /// The path of the root's squashfs.
    pub root: &'a Path,
    /// The path of the root's hash tree.
    pub verity: &'a Path,
    /// The bytes of the node's seal.
    pub seal: &'a [u8],
    /// The path of the secret partition's file system; `None` leaves the partition empty.
    pub secret: Option<&'a Path>,
}

/// A finished image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// The path of the image.
    pub path: PathBuf,
    /// The partitions of the image.
    pub plan: Plan,
    /// The SHA-256 of the UKI.
    pub uki_digest: Sha256Digest,
}

/// Why an image could not be made.
#[derive(Debug, Error, classified::Cause)]
pub enum ImageError {
    /// The contents do not fit into the partitions.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// An input file could not be read.
    #[error("cannot read {path}: {source}; build it again")]
    Input {
        /// The path of the file.
        path: PathBuf,
        /// The error from reading its facts.
        r#source: io::Error,
    },
    /// The file system of the ESP could not be made: the error from the `fatfs` crate.
    #[error("cannot make the ESP: {0}")]
    Esp(io::Error),
    /// The fields of the boot record are too long for it.
    #[error("the boot record of release {release} does not fit into 4 KiB: shorten the release's name")]
    BootRecord {
        /// The name of the release.
        release: Name,
    },
    /// The image file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Classified for ImageError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Input { source, .. } => Class::of_reading(source),
            Self::Esp(_) | Self::BootRecord { .. } => Class::BadContent,
            Self::Plan(_) | Self::Write(_) => return None,
        })
    }
}

/// Writes the image to `output`.
pub fn assemble(inputs: &Inputs<'_>, output: &Path) -> Result<Assembled, ImageError> {
    with_pieces(inputs, output, |plan, pieces| write(plan, &inputs.ids, pieces, output))
}

/// Writes the part of the image that is the same for all nodes with one system.
pub fn assemble_shared(inputs: &Inputs<'_>, output: &Path) -> Result<Assembled, ImageError> {
    with_pieces(inputs, output, |plan, pieces| write_shared(plan, pieces, output))
}

/// Writes the image as a QEMU disk over the shared part, the file named `shared` in the same folder.
pub fn assemble_layer(inputs: &Inputs<'_>, shared: &str, output: &Path) -> Result<Assembled, ImageError> {
    with_pieces(inputs, output, |plan, pieces| write_layer(plan, &inputs.ids, pieces, shared, output))
}

fn with_pieces(
    inputs: &Inputs<'_>,
    output: &Path,
    write: impl FnOnce(&Plan, &[Piece<'_>]) -> Result<(), WriteError>,
) -> Result<Assembled, ImageError> {
    let contents = Contents {
        selector: Bytes::of(inputs.selector),
        uki: Bytes::of(inputs.uki),
        root: file_length(inputs.root)?,
        seal: Bytes::of(inputs.seal),
        secret: inputs.secret.map_or(Ok(Bytes(0)), file_length)?,
    };
    let plan = plan(inputs.sizes, &contents)?;
    let size = |role| plan.partition(role).map_or(Bytes(0), |partition| partition.size);
    let esp = esp::make(inputs.ids.architecture, size(Role::Esp), inputs.ids.esp_serial(), inputs.selector)
        .map_err(ImageError::Esp)?;
    let uki_digest = Sha256Digest::of(inputs.uki);
    let record = boot_record(inputs, uki_digest)?;
    let boot = Role::Boot(Slot::A);
    let record_offset = Bytes(size(boot).0 - boot_record::SIZE_U64);
    let control = control_records(inputs.tries);
    let [first, second] = RECORD_OFFSETS.map(Bytes);
    let start = |role, source| Piece { role, offset: Bytes(0), source };
    let mut pieces = vec![
        // The rest of the ESP after its files is zero, as the image is anyway.
        start(Role::Esp, Source::Bytes(without_zeros_behind(&esp))),
        Piece { role: Role::Control, offset: first, source: Source::Bytes(&control[0]) },
        Piece { role: Role::Control, offset: second, source: Source::Bytes(&control[1]) },
        start(boot, Source::Bytes(inputs.uki)),
        Piece { role: boot, offset: record_offset, source: Source::Bytes(&record) },
        start(Role::Root(Slot::A), Source::File(inputs.root)),
        start(Role::Verity(Slot::A), Source::File(inputs.verity)),
        start(Role::Seal(Slot::A), Source::Bytes(inputs.seal)),
    ];
    pieces.extend(inputs.secret.map(|secret| start(Role::Secret, Source::File(secret))));
    write(&plan, &pieces)?;
    Ok(Assembled { path: output.to_owned(), plan, uki_digest })
}

fn boot_record(inputs: &Inputs<'_>, digest: Sha256Digest) -> Result<Vec<u8>, ImageError> {
    let record = BootRecord {
        length: Bytes::of(inputs.uki).0,
        digest,
        security_epoch: inputs.security_epoch,
        release: inputs.release.clone(),
        signature: inputs.uki_signature.to_owned(),
    };
    record.encode().ok_or_else(|| ImageError::BootRecord { release: inputs.release.clone() })
}

/// Both records are valid from the start, so either one may be lost without harm.
fn control_records(tries: u8) -> [Vec<u8>; 2] {
    let first = ControlRecord::fresh(tries);
    let second = ControlRecord { sequence: first.sequence + 1, ..first.clone() };
    [first.encode(), second.encode()]
}

fn file_length(path: &Path) -> Result<Bytes, ImageError> {
    let metadata = std::fs::metadata(path);
    metadata
        .map(|metadata| Bytes(metadata.len()))
        .map_err(|source| ImageError::Input { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limit;

    static WHOLE: Limit = Limit { what: "all", most: u64::MAX, unit: "bytes", because: "a test" };
    use crate::image::reader::{ImageReader, ReadError};
    use crate::input::ReadAt as _;
    use crate::root::verity::{Parameters, format};
    use handoff::verity::RootHash;
    use std::os::unix::fs::MetadataExt as _;
    use std::process::Command;

    struct Parts {
        folder: tempfile::TempDir,
        site: Name,
        node: Name,
        release: Name,
        uki: Vec<u8>,
    }

    fn parts() -> Parts {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("root"), vec![0x11; 3 << 20]).unwrap();
        std::fs::write(folder.path().join("secret"), vec![0x22; 1 << 20]).unwrap();
        let name = |text: &str| text.parse().unwrap();
        Parts {
            folder,
            site: name("site"),
            node: name("demo"),
            release: name("1.0"),
            uki: vec![0x33; 70_001],
        }
    }

    fn build(parts: &Parts, name: &str, sizes: &Sizes) -> Result<Assembled, ImageError> {
        let path = |name: &str| parts.folder.path().join(name);
        let parameters = Parameters { uuid: uuid::Uuid::nil(), salt: [1; 32] };
        let root = format(&path("root"), &path("verity"), &parameters).unwrap();
        let resized = |inputs: &Inputs<'_>| assemble(&Inputs { sizes, ..*inputs }, &path(name));
        with_inputs(parts, root, resized)
    }

    fn with_inputs<T>(parts: &Parts, root: RootHash, make: impl FnOnce(&Inputs<'_>) -> T) -> T {
        let path = |name: &str| parts.folder.path().join(name);
        make(&Inputs {
            ids: ImageIds {
                architecture: &handoff::architecture::X86_64,
                site: &parts.site,
                node: &parts.node,
                root,
            },
            release: &parts.release,
            security_epoch: 1,
            tries: 3,
            sizes: &Sizes::default(),
            selector: b"selector",
            uki: &parts.uki,
            uki_signature: "",
            root: &path("root"),
            verity: &path("verity"),
            seal: b"seal",
            secret: Some(&path("secret")),
        })
    }

    #[test]
    fn foreign_tools_accept_the_table() {
        let parts = parts();
        let made = build(&parts, "image", &Sizes::default()).unwrap();
        let output = Command::new("/usr/sbin/sgdisk").arg("-v").arg(&made.path).output();
        let text = String::from_utf8(output.expect("sgdisk is needed: install gdisk").stdout).unwrap();
        assert!(text.contains("No problems found"), "{text}");
        for (number, role) in (1..).zip(Role::ALL.into_iter().filter(|role| *role != Role::Data)) {
            let option = format!("--info={number}");
            let output = Command::new("/usr/sbin/sgdisk").arg(option).arg(&made.path).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap().to_lowercase();
            assert!(text.contains(&format!("partition name: '{role}'")), "{text}");
            assert!(
                text.contains(&format!("guid code: {}", role.type_guid(&handoff::architecture::X86_64))),
                "{text}"
            );
        }
    }

    #[test]
    fn an_image_is_sparse_private_and_the_same_twice() {
        let parts = parts();
        let one = build(&parts, "one", &Sizes::default()).unwrap();
        let two = build(&parts, "two", &Sizes::default()).unwrap();
        assert!(std::fs::read(&one.path).unwrap() == std::fs::read(&two.path).unwrap());
        let metadata = std::fs::metadata(&one.path).unwrap();
        assert_eq!(metadata.len(), one.plan.disk_size.0);
        assert!(metadata.blocks() * 512 < 8 << 20, "{} bytes used", metadata.blocks() * 512);
        assert_eq!(metadata.mode() & 0o777, 0o600);
    }

    #[test]
    fn a_layer_over_its_shared_part_is_the_same_disk() {
        let parts = parts();
        let path = |name: &str| parts.folder.path().join(name);
        let whole = build(&parts, "whole", &Sizes::default()).unwrap();
        let parameters = Parameters { uuid: uuid::Uuid::nil(), salt: [1; 32] };
        let root = format(&path("root"), &path("verity"), &parameters).unwrap();
        with_inputs(&parts, root, |inputs| {
            assemble_shared(inputs, &path("1.shared")).unwrap();
            assemble_layer(inputs, "1.shared", &path("layer.qcow2")).unwrap();
        });
        let size = std::fs::metadata(path("layer.qcow2")).unwrap();
        assert!(size.len() < 4 << 20, "{} bytes", size.len());
        assert_eq!(size.mode() & 0o777, 0o600);
        for (program, arguments) in [
            ("qemu-img", &["check", "-f", "qcow2"][..]),
            ("qemu-img", &["compare", "-f", "qcow2", "-F", "raw"]),
        ] {
            let mut command = Command::new(program);
            command.args(arguments).arg(path("layer.qcow2"));
            if arguments[0] == "compare" {
                command.arg(&whole.path);
            }
            let output = command.output().expect("qemu-img is needed: install qemu-utils");
            assert!(output.status.success(), "{output:?}");
        }
        let image = ImageReader::open(&path("layer.qcow2")).unwrap();
        let reference = ImageReader::open(&whole.path).unwrap();
        assert_eq!((image.size(), image.disk_guid()), (reference.size(), reference.disk_guid()));
        for role in Role::ALL.into_iter().filter(|role| *role != Role::Data) {
            assert!(
                image.read_all(role, &WHOLE).unwrap() == reference.read_all(role, &WHOLE).unwrap(),
                "{role}"
            );
            let [ours, theirs] = [&image, &reference].map(|image| {
                let input = image.for_program(role, u64::MAX).unwrap();
                let mut bytes = vec![0; usize::try_from(image.partition(role).unwrap().size.0).unwrap()];
                std::fs::File::open(&input.path).unwrap().fill_at(&mut bytes, input.offset).unwrap();
                bytes
            });
            assert!(ours == theirs, "{role} for a program");
        }
        // The shared part has nothing that belongs to a node, and is not a disk.
        let error = ImageReader::open(&path("1.shared")).unwrap_err();
        assert!(matches!(error, ReadError::NoTable { .. }), "{error}");
        let shared = std::fs::read(path("1.shared")).unwrap();
        assert!(!shared.windows(4).any(|bytes| bytes == b"seal"));
        std::fs::remove_file(path("1.shared")).unwrap();
        let error = ImageReader::open(&path("layer.qcow2")).unwrap_err().to_string();
        assert!(error.contains("its shared part") && error.contains("1.shared"), "{error}");
    }

    #[test]
    fn records_are_where_the_selector_reads_them() {
        let parts = parts();
        let made = build(&parts, "image", &Sizes::default()).unwrap();
        let bytes = std::fs::read(&made.path).unwrap();
        let place = |role| {
            let partition = made.plan.partition(role).unwrap();
            let start = usize::try_from(partition.offset.0).unwrap();
            &bytes[start..start + usize::try_from(partition.size.0).unwrap()]
        };
        let control = place(Role::Control);
        let area = handoff::control::ControlArea::decode(&control[..4096], &control[4096..8192]);
        assert!(area.records.iter().all(Result::is_ok));
        assert_eq!(area.effective().slots, ControlRecord::fresh(3).slots);
        let boot = place(Role::Boot(Slot::A));
        let record = BootRecord::decode(&boot[boot.len() - 4096..]).unwrap();
        assert_eq!(Sha256Digest::of(&boot[..70_001]), record.digest);
        assert!(place(Role::Boot(Slot::B)).iter().all(|&byte| byte == 0));
        assert!(place(Role::Seal(Slot::A)).starts_with(b"seal"));
    }

    #[test]
    fn an_image_that_does_not_fit_leaves_no_file() {
        let parts = parts();
        let sizes = Sizes { seal: Bytes(0), ..Sizes::default() };
        let error = build(&parts, "image", &sizes).unwrap_err();
        assert!(
            matches!(error, ImageError::Plan(PlanError::DoesNotFit { role: Role::Seal(_), .. })),
            "{error}"
        );
        assert!(!parts.folder.path().join("image").exists());
    }
}
