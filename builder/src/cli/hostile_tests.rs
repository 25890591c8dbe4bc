//! How images and files are examined that an attacker made to harm the user: each is handled with at most 256 MiB of
//! memory and 5 seconds of processor time, with the exact error, and never with a panic. The tests are in the files
//! `hostile_*_tests.rs`.
//!
//! Each command runs in its own process, which is this test program started again, and records the resources that it
//! used.

use super::credential_args::PassphraseArgs;
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
#[ignore = "the other tests start it, in a process of its own"]
fn looker() {
    let request = fs::read(env::var_os(REQUEST).expect("the tests that start it say what to do")).unwrap();
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
pub(super) fn told(image: &Path, warning: &str, part: &str, problem: &str) {
    let (code, said) = look("inspect", image, "");
    let warning = format!("warning: {warning}");
    assert!(code == 0 && said.lines().any(|line| line == warning), "{warning}\n{said}");
    let (code, said) = look("verify", image, "");
    let bad = format!("BAD  {part:<16} {problem}");
    assert!(code == 1 && said.lines().any(|line| line == bad), "{bad}\n{said}");
}

pub(super) fn open(fixture: &Fixture) -> (File, ImageReader) {
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

pub(super) fn with_files() -> Fixture {
    fixture::image_of(&Recipe {
        root: &[("etc/motd", 0o644, b"hello")],
        secret: &[("hostname", b"demo")],
        ..Recipe::plain(&SigningKey::generate().unwrap())
    })
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
