//! Images and files made by an attacker to harm the user who examines them. Each is handled with at most 256 MiB of
//! memory and 5 seconds of processor time, with the exact error, and never with a panic.
//!
//! Each command runs in its own process, which is this test program started again, and records the resources that it
//! used.

use super::mksecrets::PassphraseArgs;
use super::{boot_chart, cat, diff, flash, inspect, ls, run, verify};
use crate::base;
use crate::boot::{modules, uki};
use crate::disks::consent::ConsentArgs;
use crate::disks::content::Content;
use crate::error::Error;
use crate::export;
use crate::image::fixture::{self, Fixture, Recipe};
use crate::image::reader::ImageReader;
use crate::image::slot;
use crate::limits;
use crate::root::verity;
use crate::secrets::trust::KeySet;
use crate::site::{Bytes, Site};
use crate::tools;
use crate::tree::LayeredTree;
use clap::ValueEnum as _;
use handoff::boot_record;
use handoff::hash::Sha256Digest;
use handoff::kernel_arguments::ROOT_HASH;
use handoff::partition::Role;
use handoff::slot::Slot;
use keys::issue::signing::SigningKey;
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};
use std::env;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const MOST_MEMORY_KIB: u64 = 256 << 10;
const MOST_MILLISECONDS: u64 = 5000;
/// The environment variable with the request for that process.
const REQUEST: &str = "PSYOPS_TEST_REQUEST";
pub(super) const BAD: u64 = 65;

/// Runs the command of a request, and writes the exit code, the output and the used resources to the request's
/// `output`.
#[test]
#[ignore = "the other tests of this file start it, in a process of its own"]
fn looker() {
    let request = fs::read(env::var_os(REQUEST).expect("the tests of this file say what to do")).unwrap();
    let request: Value = serde_json::from_slice(&request).unwrap();
    let text = |key: &str| request[key].as_str().unwrap_or_default().to_owned();
    let (image, path) = (PathBuf::from(text("image")), text("path"));
    let (code, said) = match text("command").as_str() {
        "inspect" => said(
            inspect::run(&inspect::InspectArgs { image, site: None, json: false, svg: false, output: None }),
            |_| 0,
        ),
        "verify" => {
            let arguments =
                verify::VerifyArgs { image, site: None, selector: None, identity: None, json: false };
            said(verify::run(&arguments), verify::VerifyOutput::exit_code)
        }
        "ls" => said(ls::run(&ls::LsArgs { image, path, json: false }), |_| 0),
        "cat" => {
            let content = cat::run(&cat::CatArgs { image, path });
            let text = |bytes| String::from_utf8(bytes).unwrap_or_else(|_| "not text".to_owned());
            said(content.map(text), |_| 0)
        }
        "diff" => {
            let arguments = diff::DiffArgs { a: PathBuf::from(path), b: image, all: false, json: false };
            said(diff::run(&arguments), diff::DiffOutput::exit_code)
        }
        "chart" => {
            let arguments = boot_chart::BootChartArgs { report: image, output: None, from: None, json: true };
            said(boot_chart::run(&arguments), |_| 0)
        }
        "tar" => {
            let laid = LayeredTree::new().add_tar(&image, &|_| true);
            said(laid.map(|()| String::new()).map_err(Error::from), |_| 0)
        }
        "layer" => {
            let mut tree = LayeredTree::new();
            let laid = tree.add_image_layer(File::open(&image).unwrap(), &image, &|_| true);
            said(laid.map(|()| String::new()).map_err(Error::from), |_| 0)
        }
        other => look_otherwise(other, image, path),
    };
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let own = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let own: u64 = own.trim().trim_end_matches(" kB").parse().unwrap();
    let (own_usage, tools) =
        (getrusage(UsageWho::RUSAGE_SELF).unwrap(), getrusage(UsageWho::RUSAGE_CHILDREN).unwrap());
    let time: i64 = [own_usage.user_time(), own_usage.system_time(), tools.user_time(), tools.system_time()]
        .iter()
        .map(|time| time.tv_sec() * 1000 + time.tv_usec() / 1000)
        .sum();
    let memory = own.max(u64::try_from(tools.max_rss()).unwrap());
    let found = json!({ "code": code, "said": said, "memory": memory, "time": time });
    fs::write(text("output"), found.to_string()).unwrap();
}

/// Requests that are not one of the commands that examine an image.
fn look_otherwise(command: &str, image: PathBuf, path: String) -> (u8, String) {
    match command {
        "disks" => {
            let file = File::open(&image).unwrap();
            let content = Content::of(&image, &file, file.metadata().unwrap().len());
            said(content.map(|content| content.description()).map_err(Error::from), |_| 0)
        }
        "export" => {
            let form = export::Form::from_str(&path, true).unwrap();
            let output = Some(image.with_extension("exported"));
            said(super::export::run(&super::export::ExportArgs { image, form, output, json: false }), |_| 0)
        }
        "flash" => {
            let arguments = flash::FlashArgs {
                image,
                targets: vec![PathBuf::from(path)],
                also: Vec::new(),
                site: None,
                signing_key: None,
                passphrase: PassphraseArgs::default(),
                consent: ConsentArgs::default(),
                writing: flash::WritingArgs::default(),
                json: false,
            };
            said(flash::run(&arguments), |_| 0)
        }
        "run" => {
            let arguments = run::RunArgs {
                image,
                headless: true,
                direct: path == "direct",
                timeout: None,
                memory: 1024,
                cpus: Some(1),
                append: Vec::new(),
                ssh: None,
                write: false,
                any_report: false,
                raw_console: false,
                print: true,
            };
            said(run::run(&arguments, &|_| ()), |_| 0)
        }
        "pull" => said(
            base::resolve_reference(&path).map(|given| given.digest().to_string()).map_err(Error::from),
            |_| 0,
        ),
        "modules" => {
            let files = modules::collect(&image, &[&path], &[]);
            said(files.map(|files| files.len().to_string()).map_err(Error::from), |_| 0)
        }
        "site" => said(Site::load(&image).map(|site| site.id.to_string()).map_err(Error::from), |_| 0),
        "keys" => {
            let keys = KeySet::parse(&image, &fs::read(&image).unwrap());
            said(keys.map(|keys| keys.site.to_string()).map_err(Error::from), |_| 0)
        }
        other => panic!("{other}"),
    }
}

fn said<T: ToString>(result: Result<T, Error>, code: impl Fn(&T) -> u8) -> (u8, String) {
    match result {
        Ok(output) => (code(&output), output.to_string()),
        Err(error) => (error.exit_code(), error.report()),
    }
}

/// The exit code and the whole output. Exceeding the memory or time fails the test, as does a panic.
pub(super) fn look(command: &str, image: &Path, path: &str) -> (u64, String) {
    let folder = tempfile::tempdir().unwrap();
    let (request, output) = (folder.path().join("request"), folder.path().join("output"));
    let text = json!({ "command": command, "image": image, "path": path, "output": output });
    fs::write(&request, text.to_string()).unwrap();
    let mut looker = Command::new(env::current_exe().unwrap());
    looker.args(["--exact", "cli::hostile_tests::looker", "--ignored", "--test-threads=1"]);
    let ended = looker.env(REQUEST, &request).output().unwrap();
    let found = fs::read(&output).unwrap_or_else(|_| {
        panic!("{command} {path} did not end well: {}", String::from_utf8_lossy(&ended.stdout))
    });
    let found: Value = serde_json::from_slice(&found).unwrap();
    let number = |key: &str| found[key].as_u64().unwrap();
    assert!(number("memory") <= MOST_MEMORY_KIB, "{command} {path} took {} KiB", number("memory"));
    assert!(number("time") <= MOST_MILLISECONDS, "{command} {path} took {} ms", number("time"));
    (number("code"), found["said"].as_str().unwrap().to_owned())
}

/// Each command refuses the image with this error.
pub(super) fn refused(image: &Path, looks: &[(&str, &str)], error: &str) {
    for (command, path) in looks {
        let (code, said) = look(command, image, path);
        assert_eq!((code, said.as_str()), (BAD, error), "{command} {path}");
    }
}

/// `inspect` warns about it, and `verify` reports the part as bad.
fn told(image: &Path, warning: &str, part: &str, problem: &str) {
    let (code, said) = look("inspect", image, "");
    let warning = format!("warning: {warning}");
    assert!(code == 0 && said.lines().any(|line| line == warning), "{warning}\n{said}");
    let (code, said) = look("verify", image, "");
    let bad = format!("BAD  {part:<16} {problem}");
    assert!(code == 1 && said.lines().any(|line| line == bad), "{bad}\n{said}");
}

fn open(fixture: &Fixture) -> (File, ImageReader) {
    let path = &fixture.image.path;
    (File::options().read(true).write(true).open(path).unwrap(), ImageReader::open(path).unwrap())
}

pub(super) fn path(fixture: &Fixture) -> &Path {
    &fixture.image.path
}

/// Grows a partition by a hole to 50 GiB.
pub(super) fn grow(fixture: &Fixture, role: Role) {
    let (file, image) = open(fixture);
    let mut table = image.table().clone();
    let disk = Bytes((60 << 30) + (1 << 20));
    let partition = table.partitions.iter_mut().find(|found| found.role == Some(role)).unwrap();
    let (from, size) = (partition.offset.0, partition.size.0.min(1 << 20));
    (partition.offset, partition.size) = (Bytes(8 << 30), Bytes(50 << 30));
    let mut start = vec![0; usize::try_from(size).unwrap()];
    file.read_exact_at(&mut start, from).unwrap();
    file.set_len(disk.0).unwrap();
    file.write_all_at(&start, 8 << 30).unwrap();
    for (at, bytes) in table.ends(disk).unwrap() {
        file.write_all_at(&bytes, at).unwrap();
    }
}

/// Replaces the initramfs or the root hash of slot a, with the right digest.
pub(super) fn replace_uki(fixture: &Fixture, root: &str, initrd: Option<&[u8]>) {
    let (file, image) = open(fixture);
    let old = slot::uki(&image, Slot::A).unwrap();
    let parsed = uki::Uki::parse(&old.bytes).unwrap();
    let uki = uki::build(&uki::Parts {
        stub: &uki::tests::stub(uki::tests::ROOMY),
        os_release: "ID=psyopsos\n",
        command_line: &format!("{ROOT_HASH}={root} quiet"),
        uname: "6.1.0-test",
        initrd: initrd.unwrap_or_else(|| parsed.section(uki::Section::Initrd).unwrap()),
        linux: b"linux",
    })
    .unwrap();
    let mut record = old.record.clone();
    record.length = u64::try_from(uki.len()).unwrap();
    record.digest = Sha256Digest::of(&uki);
    let partition = image.partition(Role::Boot(Slot::A)).unwrap();
    file.write_all_at(&uki, partition.offset.0).unwrap();
    let place = partition.offset.0 + partition.size.0 - boot_record::SIZE_U64;
    file.write_all_at(&record.encode().unwrap(), place).unwrap();
}

/// Changes the squashfs of a root, and gives it a hash tree and a root hash that fit.
fn change_root(fixture: &Fixture, change: impl FnOnce(&mut [u8])) {
    let (file, image) = open(fixture);
    let blocks = slot::superblock(&image, Slot::A).unwrap().data_blocks;
    let (role, tree_role) = (Role::Root(Slot::A), Role::Verity(Slot::A));
    let mut root = image.read(role, Bytes(0), usize::try_from(blocks * 4096).unwrap()).unwrap();
    change(&mut root);
    let folder = tempfile::tempdir().unwrap();
    let (data, tree) = (folder.path().join("root"), folder.path().join("tree"));
    fs::write(&data, &root).unwrap();
    let parameters = verity::Parameters { uuid: uuid::Uuid::nil(), salt: [1; 32] };
    let hash = verity::format(&data, &tree, &parameters).unwrap();
    file.write_all_at(&root, image.partition(role).unwrap().offset.0).unwrap();
    let place = image.partition(tree_role).unwrap().offset.0;
    file.write_all_at(&fs::read(&tree).unwrap(), place).unwrap();
    replace_uki(fixture, &hash.to_string(), None);
}

pub(super) fn with_files() -> Fixture {
    fixture::image_of(&Recipe {
        root: &[("etc/motd", 0o644, b"hello")],
        secret: &[("hostname", b"demo")],
        ..Recipe::plain(&SigningKey::generate().unwrap())
    })
}

#[test]
fn a_seal_partition_of_50_gib_in_a_sparse_file_is_refused() {
    let fixture = fixture::image();
    grow(&fixture, Role::Seal(Slot::A));
    let image = path(&fixture);
    let problem = format!(
        "cannot read partition seal-a of {}: a seal partition has 53687091200 bytes, more than the limit of 67108864 \
         bytes (a node holds the seal in memory)",
        image.display()
    );
    told(image, &format!("seal-a: {problem}"), "seal-a", &problem);
    let (code, said) = look("diff", image, &image.display().to_string());
    assert_eq!((code, said.matches(&problem).count()), (BAD, 2), "{said}");
}

#[test]
fn other_partitions_of_50_gib_are_refused() {
    let roles = [
        (Role::Esp, "esp", "the ESP has 53687091200 bytes, more than the limit of 1073741824 bytes"),
        (
            Role::Secret,
            "secret",
            "the secret partition has 53687091200 bytes, more than the limit of 4294967296",
        ),
    ];
    for (role, part, words) in roles {
        let fixture = with_files();
        grow(&fixture, role);
        let (code, said) = look("verify", path(&fixture), "");
        let bad = said.lines().find(|line| line.starts_with(&format!("BAD  {part} "))).unwrap_or_default();
        assert!(code == 1 && bad.contains(words), "{said}");
        for command in ["ls", "diff"] {
            let argument =
                if command == "ls" { part.to_owned() } else { path(&fixture).display().to_string() };
            let (code, said) = look(command, path(&fixture), &argument);
            assert!(code == BAD && said.contains(words), "{command}: {said}");
        }
        look("inspect", path(&fixture), "");
    }
}

/// A zstd frame of about 131 kB that unpacks to 4 GiB: one entry of zeros.
pub(super) fn bomb(says_its_size: bool) -> Vec<u8> {
    const PIECE: u32 = 128 << 10;
    let size: u64 = 4 << 30;
    let entry = crate::boot::initramfs::single_file("/zeros", 0o400, b"").unwrap();
    let mut start = entry.get(..120).unwrap().to_vec();
    start[54..62].copy_from_slice(b"fffffff0");
    let mut frame = 0xfd2f_b528_u32.to_le_bytes().to_vec();
    // A window of 8 MiB; with or without the size of the content.
    frame.extend_from_slice(if says_its_size { &[0xc0, 0x68] } else { &[0, 0x68] });
    if says_its_size {
        frame.extend_from_slice(&size.to_le_bytes());
    }
    let block = |kind: u32, length: u32| (kind << 1 | length << 3).to_le_bytes()[..3].to_vec();
    frame.extend(block(0, u32::try_from(start.len()).unwrap()));
    frame.extend_from_slice(&start);
    for _ in 0..size / u64::from(PIECE) {
        frame.extend(block(1, PIECE));
        frame.push(0);
    }
    frame
}

#[test]
fn an_initramfs_that_unpacks_to_4_gib_is_not_unpacked() {
    // Without the size, the number is what was unpacked when the limit was reached.
    for (says_its_size, found) in [(true, 4_294_967_296_u64), (false, 536_871_028)] {
        let fixture = fixture::image();
        let bomb = bomb(says_its_size);
        assert!(bomb.len() < 140_000, "{}", bomb.len());
        replace_uki(&fixture, &"0".repeat(64), Some(&bomb));
        let image = path(&fixture);
        let said = format!(
            "the initramfs cannot be read: the unpacked initramfs has {found} bytes, more than the limit of 536870912 bytes \
             (a node holds it in memory); psyops verify says more"
        );
        refused(image, &[("ls", "initramfs")], &said);
        refused(image, &[("cat", "initramfs/init")], &said);
        let (code, said) = look("verify", image, "");
        assert!(
            code == 1 && said.contains("BAD  boot-a           the initramfs in the UKI cannot be unpacked"),
            "{said}"
        );
        look("inspect", image, "");
        look("diff", image, &image.display().to_string());
    }
}

/// Sets the entry of a cluster in both tables.
fn link(fixture: &Fixture, path: &str, next: u32) -> u32 {
    let (file, image) = open(fixture);
    let esp = image.partition(Role::Esp).unwrap().offset.0;
    let cluster = crate::image::esp_reader::open(&image).unwrap().get(path).unwrap().first_cluster().unwrap();
    let next = if next == 0 { cluster } else { next };
    let boot = image.read(Role::Esp, Bytes(0), 512).unwrap();
    let reserved = u64::from(u16::from_le_bytes([boot[14], boot[15]])) * 512;
    let table = u64::from(u32::from_le_bytes(boot[36..40].try_into().unwrap())) * 512;
    for number in 0..2 {
        let place = esp + reserved + table * number + u64::from(cluster) * 4;
        file.write_all_at(&next.to_le_bytes(), place).unwrap();
    }
    cluster
}

#[test]
fn circular_and_crossed_chains_of_the_esp_end() {
    let (selector, folder) = ("EFI/BOOT/BOOTX64.EFI", "EFI/BOOT");
    for (from, to, blamed) in
        [(selector, 0, selector), (folder, 0, folder), ("STARTUP.NSH", 2, "STARTUP.NSH")]
    {
        let fixture = fixture::image();
        let cluster = link(&fixture, from, to);
        let cluster = if to == 0 { cluster } else { to };
        let image = path(&fixture);
        let problem = format!(
            "its file allocation table is damaged: cluster {cluster} belongs to {blamed} and to another file, or twice to it"
        );
        let looks = [("ls", "esp"), ("cat", "esp/EFI/BOOT/BOOTX64.EFI")];
        refused(image, &looks, &format!("the ESP cannot be read: {problem}; psyops verify says more"));
        told(image, &format!("esp: {problem}"), "esp", &format!("the selector cannot be read: {problem}"));
        let (code, said) = look("diff", image, &image.display().to_string());
        assert!(code == BAD && said.contains(&problem), "{said}");
    }
}

pub(super) fn debugfs(fixture: &Fixture, request: &str) {
    let offset = open(fixture).1.partition(Role::Secret).unwrap().offset.0;
    let mut debugfs = tools::DEBUGFS.command().unwrap();
    let mut requests = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut requests, request.as_bytes()).unwrap();
    debugfs
        .arg("-w")
        .arg("-f")
        .arg(requests.path())
        .arg(format!("{}?offset={offset}", path(fixture).display()));
    assert!(debugfs.output().unwrap().status.success(), "{request}");
}

#[test]
fn an_ext4_file_of_1_tib_is_not_read() {
    let fixture = with_files();
    debugfs(&fixture, "sif hostname size 1099511627776");
    let image = path(&fixture);
    refused(
        image,
        &[("cat", "secret/hostname")],
        "the secret partition cannot be read: the file has 1099511627776 bytes, more than the limit of 67108864 bytes \
         (a seal has at most as much); psyops verify says more",
    );
    let (code, said) = look("ls", image, "secret");
    assert!(code == 0 && said.contains("1099511627776  hostname"), "{said}");
    // For e2fsck, a hole at the end of a file is not an error.
    assert_eq!(look("verify", image, "").0, 0);
    look("inspect", image, "");
}

#[test]
fn an_ext4_folder_of_1_tib_is_not_listed() {
    let fixture = with_files();
    debugfs(&fixture, "sif / size 1099511627776");
    refused(
        path(&fixture),
        &[("ls", "secret"), ("cat", "secret/hostname")],
        "the secret partition cannot be read: the folder has 1099511627776 bytes, more than the limit of 16777216 bytes \
         (a seal has at most 100000 files); psyops verify says more",
    );
}

#[test]
fn an_ext4_superblock_is_compared_with_its_partition() {
    for (request, problem) in [
        (
            "ssv blocks_count 4294967295",
            "its superblock says that it has 4294967295 blocks of 1024 bytes, and the partition has 16777216 bytes",
        ),
        // Blocks of 128 KiB, which no kernel supports, and as many groups as blocks: 34 GiB for their list.
        (
            "ssv log_block_size 7\nssv blocks_per_group 1\nssv blocks_count 1000000",
            "the file system has 1000000 block groups, more than the limit of 65536 block groups",
        ),
        // ext4-view would allocate memory for such a block immediately.
        (
            "ssv log_block_size 20",
            "its superblock says that a block has 2^30 bytes; at most 2^16 are possible",
        ),
        ("ssv blocks_per_group 0", "corrupt filesystem: blocks per group is zero"),
    ] {
        let fixture = with_files();
        debugfs(&fixture, request);
        let (code, said) = look("ls", path(&fixture), "secret");
        let prefix = "the secret partition cannot be read: ";
        assert!(code == BAD && said.starts_with(prefix) && said.contains(problem), "{request}: {said}");
        look("verify", path(&fixture), "");
        look("inspect", path(&fixture), "");
    }
}

/// A tar whose first header is of `kind` and has `size` bytes of zeros.
fn tar(kind: tar::EntryType, size: u64) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_path("long").unwrap();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_cksum();
    file.as_file().write_all_at(header.as_bytes(), 0).unwrap();
    file.as_file().set_len(512 + size + 1024).unwrap();
    file
}

#[test]
fn headers_of_2_gib_in_a_tar_are_refused() {
    use tar::EntryType::{GNULongLink, GNULongName, XHeader};
    for kind in [XHeader, GNULongName, GNULongLink] {
        let file = tar(kind, 2 << 30);
        let error = format!(
            "{}: an extended tar header has 2147483648 bytes, more than the limit of 1048576 bytes (an attribute has at \
             most 64 KiB)",
            file.path().display()
        );
        refused(file.path(), &[("tar", ""), ("layer", "")], &error);
    }
    let sparse = tar(tar::EntryType::GNUSparse, 1 << 40);
    let error =
        format!("{}: entry \"long\": an entry of a kind that a root does not have", sparse.path().display());
    refused(sparse.path(), &[("tar", ""), ("layer", "")], &error);
}

#[test]
fn a_root_of_50_gib_is_not_hashed() {
    let fixture = with_files();
    grow(&fixture, Role::Root(Slot::A));
    let (file, image) = open(&fixture);
    let mut superblock = slot::superblock(&image, Slot::A).unwrap();
    superblock.data_blocks = (50 << 30) / 4096;
    let place = image.partition(Role::Verity(Slot::A)).unwrap().offset.0;
    file.write_all_at(&superblock.encode(), place).unwrap();
    let image = path(&fixture);
    let problem = format!(
        "cannot read partition root-a of {}: the root has 53687091200 bytes, more than the limit of 17179869184 bytes \
         (its hash tree is held in memory)",
        image.display()
    );
    refused(
        image,
        &[("ls", "root/etc"), ("cat", "root/etc/motd")],
        &format!("the root cannot be read: {problem}; psyops verify says more"),
    );
    told(image, &format!("slot a: {problem}"), "root-a", &problem);
}

#[test]
fn a_squashfs_is_judged_before_unsquashfs_is_started() {
    let cases: [(usize, &[u8], &str); 3] = [
        (
            4,
            &[0xff; 4],
            "the root has 4294967295 files, more than the limit of 400000 files (their list is held in memory)",
        ),
        (
            12,
            &[0, 0, 0, 0x40],
            "a block of the squashfs has 1073741824 bytes, more than the limit of 1048576 bytes (squashfs 4.0)",
        ),
        (46, &[0xff], "its squashfs has "),
    ];
    for (at, bytes, problem) in cases {
        let fixture = with_files();
        change_root(&fixture, |root| root[at..at + bytes.len()].copy_from_slice(bytes));
        for (command, argument) in [("ls", "root/etc"), ("cat", "root/etc/motd")] {
            let (code, said) = look(command, path(&fixture), argument);
            let prefix = format!("the root cannot be read: {problem}");
            assert!(code == BAD && said.starts_with(&prefix), "{command}: {said}");
        }
    }
}

#[test]
fn a_uki_of_50_gib_is_not_read() {
    let fixture = fixture::image();
    grow(&fixture, Role::Boot(Slot::A));
    let (file, image) = open(&fixture);
    let partition = image.partition(Role::Boot(Slot::A)).unwrap();
    let record = handoff::boot_record::BootRecord {
        length: 49 << 30,
        digest: Sha256Digest::of(b""),
        security_epoch: 1,
        release: "1.0".parse().unwrap(),
        signature: String::new(),
    };
    let place = partition.offset.0 + partition.size.0 - boot_record::SIZE_U64;
    file.write_all_at(&record.encode().unwrap(), place).unwrap();
    let image = path(&fixture);
    let problem = format!(
        "cannot read partition boot-a of {}: the UKI has 52613349376 bytes, more than the limit of 100663296 bytes (a \
         node holds it in memory)",
        image.display()
    );
    refused(image, &[("ls", "initramfs")], &format!("slot a holds no system: {problem}"));
    told(image, &format!("slot a: {problem}"), "boot-a", &problem);
}

#[test]
fn a_qemu_disk_with_huge_tables_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("evil.qcow2");
    let mut create = tools::QEMU_IMG.command().unwrap();
    assert!(create.args(["create", "-q", "-f", "qcow2"]).arg(&image).arg("1M").status().unwrap().success());
    let file = File::options().write(true).open(&image).unwrap();
    file.write_all_at(&u32::MAX.to_be_bytes(), 36).unwrap();
    file.set_len(100 << 30).unwrap();
    let error = format!(
        "cannot read {}: the first-level table of the QEMU disk has 4294967295 entries, more than the limit of 262144 \
         entries (64 GiB in clusters of 64 KiB need 128)",
        image.display()
    );
    refused(&image, &[("inspect", ""), ("verify", ""), ("ls", "esp"), ("cat", "esp/x")], &error);
}

#[test]
fn a_boot_log_of_1_tib_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 40).unwrap();
    let error = format!(
        "cannot read {}: the boot log has {} bytes, more than the limit of 16777216 bytes (a boot prints less than a MiB)\n  \
         take /run/psyops/boot.json of the node, or what psyops run --headless printed",
        file.path().display(),
        limits::REPORT.most + 1
    );
    let (code, said) = look("chart", file.path(), "");
    assert_eq!((code, said.lines().next()), (BAD, error.lines().next()));
}
