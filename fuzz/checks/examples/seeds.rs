//! Creates the first inputs of the targets (`fuzz/corpus/TARGET/`) again: `cargo run -p fuzz-checks --example seeds`.
//!
//! Each input is real: written by this project's own code, by sgdisk, mke2fs and a C compiler. The keys beside them are
//! used for nothing else, as their names say. Inputs that once failed are kept as `found-*`.

use builder::boot::{initramfs, uki};
use builder::fuzzing;
use builder::image::esp;
use builder::site::Bytes;
use handoff::boot_record::BootRecord;
use handoff::control::{ControlRecord, DEFAULT_TRIES};
use handoff::fault::{Fault, FaultAction, Policy};
use handoff::hash::Sha256Digest;
use handoff::last_failure::{FailureRecord, LastFailure};
use handoff::least_generation::LeastGeneration;
use handoff::loader_config::LoaderConfig;
use handoff::manifest::{FileAttributes, FileKind, RelativePath, Required, Store};
use handoff::modules::{self, Module};
use handoff::partition::Role;
use handoff::rescue::RescuePolicy;
use handoff::selection::{Mode, Selection};
use handoff::slot::Slot;
use handoff::verity::Superblock;
use keys::identity::NodeIdentity;
use keys::issue::encryption::{decrypt, encrypt};
use keys::issue::host_key::HostKey;
use keys::issue::identity_file;
use keys::issue::seal_builder::SealBuilder;
use keys::issue::signing::SigningKey;
use keys::seal::UnverifiedSeal;
use keys::seal::header::{Generation, Header};
use keys::timestamp::Timestamp;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;
use zeroize::Zeroizing;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    std::env::set_current_dir(folder)?;
    let (identity, key) = test_keys()?;
    seals(&identity, &key)?;
    records()?;
    texts(&key)?;
    elf_files()?;
    disks()?;
    builder_images()?;
    builder_texts()
}

fn put(name: &str, content: &[u8]) -> Result<()> {
    let path = Path::new("corpus").join(name);
    fs::create_dir_all(path.parent().ok_or("a name without a folder")?)?;
    Ok(fs::write(path, content)?)
}

/// The keys of the corpus, made once.
fn test_keys() -> Result<(NodeIdentity, SigningKey)> {
    let created = Timestamp::from_unix(1_700_000_000);
    if !Path::new("insecure-test-identity").exists() {
        fs::write(
            "insecure-test-identity",
            identity_file::text(&identity_file::generate(), created).as_bytes(),
        )?;
        let key = SigningKey::generate()?;
        fs::write("insecure-test-signing.key", key.text()?.as_bytes())?;
        fs::write("insecure-test-signing.pub", key.public_text())?;
    }
    let identity = NodeIdentity::parse(&fs::read("insecure-test-identity")?)?;
    Ok((identity, SigningKey::parse(&fs::read("insecure-test-signing.key")?)?))
}

fn seals(identity: &NodeIdentity, key: &SigningKey) -> Result<()> {
    let mut policy = Policy::default();
    policy.set(Fault::Repair, FaultAction::Rescue);
    let mut builder = SealBuilder::new(policy, true);
    let host_key = HostKey::generate("insecure-test-host-key")?.private_text()?;
    let contents: [(&str, FileKind, &[u8]); 3] = [
        ("etc/hostname", FileKind::Hostname, b"demo\n"),
        ("etc/motd with blanks", FileKind::Text, "grüß\n".as_bytes()),
        ("insecure-test-host-key", FileKind::SshHostKey, host_key.as_bytes()),
    ];
    for (path, kind, content) in contents {
        let path = RelativePath::new(path).ok_or("a bad path")?;
        let install = Some(format!("/{path}"));
        let (store, required) = (Store::Disk, Required::Boot);
        let file = FileAttributes { mode: 0o600, uid: 0, gid: 0, kind, store, install, required };
        builder.add(path, file, Zeroizing::new(content.to_vec()))?;
    }
    let header = Header {
        site: "insecure-test".parse()?,
        node: "demo".parse()?,
        recipient: identity.recipient(),
        generation: Generation::FIRST,
        created: Timestamp::from_unix(1_700_000_000),
        security_epoch: 0,
    };
    let seal = builder.build(&header, &[], key)?;
    put("seal/signed", &seal)?;
    put("seal/padded", &[&seal[..], &[0; 64]].concat())?;
    put("seal/cut", &seal[..seal.len() / 2])?;
    let parsed = UnverifiedSeal::parse(&seal)?;
    let (_, start, length) = Header::decode(parsed.bytes())?;
    let payload = &seal[start..start + length];
    put("age_file/payload", payload)?;
    let other = identity_file::generate();
    put("age_file/two-recipients", &encrypt(&[other.recipient(), identity.recipient()], b"content")?)?;
    put("age_file/empty", &encrypt(&[identity.recipient()], b"")?)?;
    put("age_file/another-key", &encrypt(&[other.recipient()], b"content")?)?;
    let tar = decrypt(identity, payload)?;
    put("payload/whole", &tar)?;
    put("payload/without-its-end", &tar[..tar.len() - 1024])?;
    put("text/manifest", builder.manifest()?.encode().as_bytes())?;
    put("text/insecure-test-host-key", host_key.as_bytes())?;
    put("text/insecure-test-identity", &fs::read("insecure-test-identity")?)
}

fn records() -> Result<()> {
    let mut control = ControlRecord::fresh(DEFAULT_TRIES);
    put("records/control-fresh", &control.encode())?;
    control.refused = vec!["2024-01".parse()?, "2024-02".parse()?];
    put("records/control-refused", &control.marked_good(Slot::B).encode())?;
    let boot = BootRecord {
        length: 24_000_000,
        digest: Sha256Digest::of(b"uki"),
        security_epoch: 1,
        release: "2024-01".parse()?,
        signature: "untrusted comment: x\n".into(),
    };
    put("records/boot", &boot.encode().ok_or("too long")?)?;
    let failure = LastFailure {
        node: "demo".into(),
        slot: Some(Slot::A),
        step: "seal".into(),
        problem: "no seal holds".into(),
        log: "[ 1.0] x\n".into(),
        ..LastFailure::default()
    };
    put("records/failure", &FailureRecord { sequence: 3, acknowledged: false, failure }.encode())?;
    let superblock = Superblock { uuid: [7; 16], data_blocks: 20_000, salt: [9; 32] };
    put("records/verity", &superblock.encode())
}

fn texts(key: &SigningKey) -> Result<()> {
    let mut policy = Policy::default();
    policy.set(Fault::Root, FaultAction::Rescue);
    let mut rescue = RescuePolicy::default();
    let hash = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$Kw3/ZjLNvvrvmWv7DSmJdvIaVuO5yzpUAyMmNiCnHLI";
    for (key, value) in [("rescue-password", hash), ("rescue-keep-keys", "yes"), ("rescue-retry-after", "60")]
    {
        rescue.take(key, value).ok_or("a bad rescue line")?;
    }
    let trust = LoaderConfig {
        rescue,
        site: "insecure-test".parse()?,
        release: "2024-01".parse()?,
        security_epoch: 1,
        least_generation: LeastGeneration::default(),
        build_time: 1_700_000_000,
        signing_keys: vec![key.public().as_str().to_owned()],
        overlay_size: "50%".into(),
        root_corruption: handoff::verity::OnCorruption::default(),
        identity_deadline: 60,
        policy,
    };
    put("text/trust", trust.encode().as_bytes())?;
    let (mode, reason) = (Mode::Normal, "first in order".into());
    let selection = Selection { slot: Slot::A, mode, tries_left: 2, counted: true, reason };
    put("text/selection", selection.encode().as_bytes())?;
    let module = |name: &str, kind, needs: &[&str], drives: &[&str]| Module {
        name: name.into(),
        file: format!("/lib/{name}.ko"),
        kind,
        needs: needs.iter().map(ToString::to_string).collect(),
        drives: drives.iter().map(ToString::to_string).collect(),
    };
    let list = [
        module("crc32c_generic", modules::ModuleKind::Part, &[], &[]),
        module("ext4", modules::ModuleKind::Part, &["crc32c_generic", "jbd2"], &[]),
        module("xhci_pci", modules::ModuleKind::Controller, &["xhci_hcd"], &["pci:v*d*sv*sd*bc0Csc03i30*"]),
    ];
    put("text/modules", modules::encode(&list).as_bytes())?;
    let line = "console=tty0 psyops.roothash=00ff usb-storage.delay_use=0 dyndbg=\"file a.c +p\" \
                modprobe.blacklist=uas,nvme panic=10 -- single";
    let mounts = "20 0 0:2 / / rw - rootfs rootfs rw\n24 1 8:1 / /mnt/my\\040stick rw - vfat /dev/sda1 rw\n";
    put("text/mount-table", mounts.as_bytes())?;
    put("text/kernel-command-line", line.as_bytes())?;
    put(
        "device/uevent",
        b"add@/devices/x/block/sda\0ACTION=add\0DEVPATH=/devices/x\0SUBSYSTEM=block\0SEQNUM=7\0",
    )?;
    let guid = "5d2bd1ea-5c4e-4f0f-9a37-70f0a5e6c9b4\0".encode_utf16().flat_map(u16::to_le_bytes);
    put("device/efi-text", &guid.collect::<Vec<u8>>())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
}

fn elf_files() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("seeds-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let source = folder.join("program.c");
    let words = "int main(void) { return 0; }";
    fs::write(&source, words)?;
    let (object, program) = (folder.join("program.o"), folder.join("program"));
    run(Command::new("cc").args(["-c", "-o"]).arg(&object).arg(&source))?;
    run(Command::new("cc").arg("-o").arg(&program).arg(&source))?;
    put("program/object", &fs::read(object)?)?;
    put("program/program", &fs::read(program)?[..2048])?;
    Ok(fs::remove_dir_all(folder)?)
}

fn disks() -> Result<()> {
    let disk = std::env::temp_dir().join(format!("disk-{}", std::process::id()));
    fs::write(&disk, vec![0; 256 * 1024])?;
    let mut sgdisk = Command::new("sgdisk");
    sgdisk.args(["--set-alignment=1", "--clear"]);
    for (number, role) in [(1, Role::Control), (2, Role::Seal(Slot::B)), (3, Role::Secret)] {
        let first = 40 + 8 * number;
        sgdisk.arg(format!("--new={number}:{first}:{}", first + 7));
        sgdisk.arg(format!("--change-name={number}:{role}"));
        sgdisk.arg(format!("--typecode={number}:{}", role.type_guid(&handoff::architecture::X86_64)));
    }
    run(sgdisk.arg(&disk))?;
    // The primary copy; a target corrects its checksums, so that its fields are checked.
    let small = fs::read(&disk)?;
    put("partition_table/primary", &small[..40 * 512])?;
    put("partition_table/both", &small)?;
    fs::write(&disk, vec![0; 4 * 1024 * 1024])?;
    run(Command::new("mke2fs").args(["-q", "-t", "ext4", "-L", "psyops-secret"]).arg(&disk))?;
    put("device/superblock", &fs::read(&disk)?[1024..2048])?;
    Ok(fs::remove_file(disk)?)
}

/// Inputs for the builder's image readers, in the forms of the functions in `builder::fuzzing`.
fn builder_images() -> Result<()> {
    let volume = esp::make(&handoff::architecture::X86_64, Bytes(fuzzing::ESP_SIZE), 7, &[9; 1300])?;
    let word = |at: usize| usize::from(volume[at]) | usize::from(volume[at + 1]) << 8;
    let (table, length) = (word(14) * 512, (word(36) | word(38) << 16) * 512);
    let clusters = table + 2 * length;
    let parts = [&volume[..1024], &volume[table..table + 2048], &volume[clusters..clusters + 4096]];
    put("esp/made", &parts.concat())?;
    let folder = std::env::temp_dir().join(format!("seeds-{}", std::process::id()));
    fs::create_dir_all(folder.join("files/folder"))?;
    fs::write(folder.join("files/a"), "hello")?;
    fs::write(folder.join("files/folder/b"), "world")?;
    std::os::unix::fs::symlink("a", folder.join("files/link"))?;
    let (files, disk) = (folder.join("files"), folder.join("disk"));
    let size = format!("{}k", fuzzing::EXT4_SIZE >> 10);
    let mut mke2fs = Command::new("mke2fs");
    // Without checksums, so that the parser reads a changed byte.
    mke2fs.args([
        "-q",
        "-t",
        "ext4",
        "-b",
        "1024",
        "-N",
        "16",
        "-O",
        "^has_journal,^resize_inode,^metadata_csum",
        "-d",
    ]);
    run(mke2fs.arg(&files).arg(&disk).arg(size))?;
    let blocks = fs::read(&disk)?;
    let numbered =
        (0..=u8::MAX).zip(blocks.chunks(1024)).filter(|(_, block)| block.iter().any(|byte| *byte != 0));
    let numbered: Vec<u8> = numbered.flat_map(|(number, block)| [&[number][..], block].concat()).collect();
    put("ext4/made", &numbered)?;
    let archive = initramfs::single_file("/psyops/trust", 0o444, b"hello")?;
    put("initramfs/archive", &archive)?;
    let tar = folder.join("tar");
    run(Command::new("tar")
        .args(["--format=pax", "--pax-option=SCHILY.xattr.user.x:=y", "-C"])
        .arg(&files)
        .arg("-cf")
        .arg(&tar)
        .arg("."))?;
    put("layer/pax", &fs::read(&tar)?)?;
    run(Command::new("tar").args(["--format=gnu", "-C"]).arg(&files).arg("-cf").arg(&tar).arg("."))?;
    put("layer/gnu", &fs::read(&tar)?)?;
    let root = folder.join("root");
    run(Command::new("mksquashfs").arg(&files).arg(&root).args(["-quiet", "-no-progress", "-all-root"]))?;
    put("squashfs/superblock", &fs::read(&root)?[..96])?;
    put("squashfs/pseudo", b"/ D 17 755 0 0\na R 17 644 0 0 5 0 0\nl S 17 777 0 0 a\n#\n# START OF DATA - DO NOT MODIFY\n#\nhello")?;
    put("squashfs/listing", b"-rwsr-xr-t 0/42  354 2026-11-22 12:05 squashfs-root/a b\nlrwxrwxrwx 0/0 7 2026-11-22 12:05 squashfs-root/bin -> usr/bin\n")?;
    let qcow2 = folder.join("qcow2");
    run(Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-o", "cluster_size=512"])
        .arg(&qcow2)
        .arg("64k"))?;
    put("qcow2/made", &fs::read(&qcow2)?)?;
    put("uki/stub", &stub())?;
    let parts = uki::Parts {
        stub: &stub(),
        os_release: "ID=psyopsos\n",
        command_line: "psyops.roothash=00 quiet",
        uname: "6.1.0",
        initrd: &archive,
        linux: b"linux",
    };
    put("uki/made", &uki::build(&parts)?)?;
    Ok(fs::remove_dir_all(folder)?)
}

/// The smallest PE32+ file with room for more sections (PE format, "Optional Header").
fn stub() -> Vec<u8> {
    let mut file = vec![0; 0x400];
    let mut set = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    set(0, b"MZ");
    set(0x3c, &0x40_u32.to_le_bytes());
    set(0x40, b"PE\0\0\x64\x86\x01\0");
    // The length of the optional header, and the characteristics of the file.
    set(0x54, &[0x70, 0, 0x22, 0]);
    set(0x58, &[0x0b, 0x02]);
    // Alignments of sections and of the file, then the length of the headers.
    set(0x78, &0x1000_u32.to_le_bytes());
    set(0x7c, &0x200_u32.to_le_bytes());
    set(0x94, &0x400_u32.to_le_bytes());
    set(0xc8, b".text\0\0\0");
    set(0xd0, &0x10_u32.to_le_bytes());
    set(0xd4, &0x1000_u32.to_le_bytes());
    file
}

fn builder_texts() -> Result<()> {
    let digest = "a".repeat(64);
    let manifest = format!(
        "{{\"schemaVersion\":2,\"config\":{{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"sha256:{digest}\",\"size\":7}},\
         \"layers\":[{{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:{digest}\",\"size\":7}}]}}"
    );
    put("manifest/image", manifest.as_bytes())?;
    let index = format!(
        "{{\"schemaVersion\":2,\"manifests\":[{{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:{digest}\",\
         \"size\":7,\"platform\":{{\"architecture\":\"amd64\",\"os\":\"linux\"}}}}]}}"
    );
    put("manifest/index", index.as_bytes())?;
    put("manifest/configuration", b"{\"architecture\":\"amd64\",\"os\":\"linux\"}")?;
    put(
        "builder_text/uris",
        format!("'http://main/pool/a.deb' a_1%3a2_amd64.deb 77 SHA256:{digest}\n").as_bytes(),
    )?;
    put("builder_text/depends", b"Package: a\nPre-Depends: b (>= 1) | c:any\nDepends: d [amd64], e\n\nPackage: f\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n")?;
    put(
        "builder_text/lock",
        b"format = 1\nbase = \"micro\"\nsuite = \"bookworm\"\nkernel = \"linux-image-amd64\"\nextra = []\n",
    )?;
    put("builder_text/spdx", b"{\"packages\":[{\"name\":\"a\",\"versionInfo\":\"1\"}]}")?;
    let report = fs::read("../docs/boot.json")?;
    put("report/whole", &report)?;
    let line: String = String::from_utf8(report)?.split_whitespace().collect();
    put("report/log", format!("[1.0] kernel\r\n\u{1b}[2Jpsyops-report: {line}\n").as_bytes())
}
