//! What the compression of a root costs and saves: its size, the time to make it, the time of a boot from a slow stick,
//! and the size of an update. The results are printed; no limit is checked.
//!
//! The root is that of a node with the debian base. A boot is that of its systemd on a disk with a limited rate,
//! mounted without dm-verity, which costs the same with every compression. An update is between two roots with the
//! packages of Debian's release and those with its security updates: zstd patches of 16 MiB each, against the 48 MiB
//! around the same place of the old root, so that a node needs little memory.
//!
//! `--runs N` boots each N times (5), one after the other and then again from the first, so that other load of the
//! machine affects all of them; medians are printed. `--rate N` is in MB a second (30), `--json` prints JSON. It needs
//! root, for an unpacked tree with its owners.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench prints its result, and how far it is"
)]

use anyhow::{Context as _, Result, bail, ensure};
use builder::image::reader::ImageReader;
use builder::limits;
use builder::run::{Acceleration, Access, Boot, Bus, Disk, Machine, OnReset, Setup, Trouble};
use builder::site::Bytes;
use handoff::partition::Role;
use handoff::slot::Slot;
use qemu_tests::build_sandbox::BuildSandbox;
use qemu_tests::command::succeed;
use qemu_tests::peers;
use qemu_tests::stick::Stick;
use serde_json::{Value, json};
use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const MARKER: &str = "psyops-bench: ";
const DEADLINE: Duration = Duration::from_mins(10);
/// Bytes that one patch makes. Its reference is the same part of the old root, with as many bytes before and after it.
const SEGMENT: usize = 16 << 20;
/// The modules that the bench's kernel loads, besides those that they need.
const MODULES: [&str; 5] = ["virtio_pci", "virtio_blk", "overlay", "squashfs", "erofs"];
/// Each form of a root, with the options of the program that makes it.
const FORMS: [(&str, &[&str]); 11] = [
    ("squashfs zstd 1, 256K", &["zstd", "level=1", "256K"]),
    ("squashfs zstd 3, 256K", &["zstd", "level=3", "256K"]),
    ("squashfs zstd 9, 64K", &["zstd", "level=9", "64K"]),
    ("squashfs zstd 9, 128K", &["zstd", "level=9", "128K"]),
    ("squashfs zstd 9, 256K", &["zstd", "level=9", "256K"]),
    ("squashfs zstd 9, 1M", &["zstd", "level=9", "1M"]),
    ("squashfs zstd 15, 256K", &["zstd", "level=15", "256K"]),
    ("squashfs lz4hc, 256K", &["lz4", "hc", "256K"]),
    ("erofs, not compressed", &[]),
    ("erofs lz4hc, 4K", &["-zlz4hc,9"]),
    ("erofs lz4hc, 64K", &["-zlz4hc,9", "-C65536"]),
];

struct Options {
    runs: usize,
    rate: u64,
    json: bool,
}

struct Row {
    name: &'static str,
    bytes: u64,
    made: f64,
    boots: Vec<f64>,
    patch: u64,
}

impl Row {
    fn boot(&self) -> f64 {
        let mut boots = self.boots.clone();
        boots.sort_unstable_by(f64::total_cmp);
        boots.get(boots.len() / 2).copied().unwrap_or_default()
    }
}

fn main() -> Result<()> {
    let options = options()?;
    ensure!(nix::unistd::geteuid().is_root(), "run it as root: an unpacked tree has owners");
    let bench = RootRun::new()?;
    let mut rows = Vec::new();
    for (number, (name, words)) in FORMS.into_iter().enumerate() {
        eprintln!("making {name}");
        rows.push(bench.make_both(number, name, words)?);
    }
    for round in 1..=options.runs {
        for (number, row) in rows.iter_mut().enumerate() {
            let boot = bench.boots_in(number, row.name, options.rate * 1_000_000);
            row.boots.push(boot.with_context(|| format!("booting {}", row.name))?);
            eprintln!("round {round}: {} {:.2} s", row.name, row.boots.last().copied().unwrap_or_default());
        }
    }
    print(&rows, &bench, options.json);
    Ok(())
}

fn options() -> Result<Options> {
    let mut options = Options { runs: 5, rate: 30, json: false };
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} wants a value"));
        match word.as_str() {
            "--runs" => options.runs = value()?.parse()?,
            "--rate" => options.rate = value()?.parse()?,
            "--json" => options.json = true,
            _ => bail!("{word} is no option; there are --runs N, --rate N and --json"),
        }
    }
    ensure!(options.runs > 0 && options.rate > 0, "nothing to measure");
    Ok(options)
}

/// Two trees of the same site at two times, and the kernel that boots them.
struct RootRun {
    folder: TempDir,
    /// The kernel and its command line.
    boot: (PathBuf, String),
    changed: usize,
    packages: usize,
}

impl RootRun {
    fn new() -> Result<Self> {
        let place = BuildSandbox::debian()?;
        let folder = tempfile::tempdir()?;
        // First the release, then its security updates.
        place.edit("site.toml", |text| with_security_mirror(&text))?;
        let lock = ["lock", "update", "--yes", "--site", "site"];
        place.json(&lock)?;
        let stick = |name: &str| -> Result<Stick> {
            place.build("alpha")?;
            let stick = Stick::copy_of(&place.path("alpha.img"))?;
            unpack(stick.path(), folder.path(), name)?;
            Ok(stick)
        };
        stick("old")?;
        place.edit("site.toml", |text| text.replace("security-mirror = \"\"\n", ""))?;
        let update = place.json(&lock)?;
        let stick = stick("new")?;
        let Boot::Direct { kernel, command_line, .. } = stick.direct(&[])? else { bail!("no direct boot") };
        let kept = folder.path().join("vmlinuz");
        fs::copy(kernel, &kept)?;
        let words: Vec<&str> = command_line.split(' ').filter(|word| word.starts_with("console=")).collect();
        let command_line = format!("{} loglevel=3", words.join(" "));
        let shown = place.json(&["lock", "show", "--site", "site"])?;
        let in_root = |list: &Value| {
            let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter().filter(|package| package["part"] == "base").count()
        };
        Ok(Self {
            boot: (kept, command_line),
            changed: in_root(&update["changes"]),
            packages: in_root(&shown["packages"]),
            folder,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes both roots in one form; the new one is kept to be booted.
    fn make_both(&self, number: usize, name: &'static str, words: &[&str]) -> Result<Row> {
        let kind = kind(name);
        let begun = Instant::now();
        self.make("new", kind, words)?;
        let made = begun.elapsed().as_secs_f64();
        self.make("old", kind, words)?;
        self.make_initramfs(kind)?;
        let patch = self.patch()?;
        let kept = self.kept(number);
        fs::rename(self.path("new.root"), &kept)?;
        Ok(Row { name, bytes: fs::metadata(&kept)?.len(), made, boots: Vec::new(), patch })
    }

    fn kept(&self, number: usize) -> PathBuf {
        self.path(&format!("{number}.root"))
    }

    fn make(&self, which: &str, kind: &str, words: &[&str]) -> Result<()> {
        let root = self.path(&format!("{which}.root"));
        let _ = fs::remove_file(&root);
        if kind == "erofs" {
            let mut mkfs = Command::new("mkfs.erofs");
            mkfs.args(["-T1700000000", "-U00000000-0000-0000-0000-000000000000", "--quiet"]).args(words);
            succeed(mkfs.arg(&root).arg(self.path(which)))?;
            return Ok(());
        }
        let [compressor, extra, block] = words else { bail!("what tar2sqfs is told: {words:?}") };
        let mut tar2sqfs = Command::new("tar2sqfs");
        tar2sqfs.args(["-q", "-f", "-s", "-e", "-T", "-c", compressor, "-X", extra, "-b", block]).arg(&root);
        succeed(tar2sqfs.stdin(File::open(self.path(&format!("{which}.tar")))?))?;
        Ok(())
    }

    fn make_initramfs(&self, kind: &str) -> Result<()> {
        let folder = self.path("initramfs");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("modules"))?;
        fs::create_dir_all(folder.join("bin"))?;
        fs::create_dir_all(folder.join("dev"))?;
        let busybox = Command::new("sh").args(["-c", "command -v busybox"]).output()?;
        fs::copy(String::from_utf8(busybox.stdout)?.trim(), folder.join("bin/busybox"))
            .context("busybox is needed: install busybox-static")?;
        fs::copy(peers::folder().join("root-init"), folder.join("init"))?;
        fs::write(folder.join("type"), kind)?;
        let tree = self.path("new");
        #[expect(clippy::disallowed_methods, reason = "there is one kernel")]
        let release = fs::read_dir(tree.join("usr/lib/modules"))?.next().context("no modules")??.file_name();
        let mut loaded: Vec<PathBuf> = Vec::new();
        for module in MODULES {
            let mut modprobe = Command::new("/usr/sbin/modprobe");
            modprobe.arg("-d").arg(&tree).arg("-S").arg(&release).args(["-C", "/dev/null", "--show-depends"]);
            let said = succeed(modprobe.arg(module))?.stdout;
            for path in String::from_utf8(said)?.lines().filter_map(|line| line.strip_prefix("insmod ")) {
                let path = PathBuf::from(path.trim());
                if loaded.contains(&path) {
                    continue;
                }
                fs::copy(&path, folder.join(format!("modules/{:02}.ko", loaded.len())))?;
                loaded.push(path);
            }
        }
        let pack = "find . | cpio -o -H newc --quiet -R 0:0 > ../initrd-";
        succeed(Command::new("sh").args(["-c", &format!("{pack}{kind}")]).current_dir(&folder))?;
        Ok(())
    }

    /// The time from the mount of the root until its services run.
    fn boots_in(&self, number: usize, name: &str, bytes_per_second: u64) -> Result<f64> {
        let root = self.kept(number);
        let (kernel, command_line) = self.boot.clone();
        let initrd = self.path(&format!("initrd-{}", kind(name)));
        let setup = Setup {
            disks: vec![Disk::new(&root, Access::ReadOnly, Bus::Virtio)],
            boot: Boot::Direct { kernel, initrd, command_line },
            acceleration: Acceleration::Tcg,
            on_reset: OnReset::End,
            trouble: Trouble { bytes_per_second: Some(bytes_per_second), ..Trouble::default() },
            ..Setup::with_stick(&root)
        };
        let mut machine = Machine::start(&setup)?;
        let line = machine.wait_for_line(MARKER, DEADLINE)?;
        let (_, times) = line.split_once(MARKER).context("no times")?;
        let times: Vec<f64> = times.split_whitespace().filter_map(|time| time.parse().ok()).collect();
        match times.as_slice() {
            [began, now] => Ok(now - began),
            _ => bail!("no times: {line}"),
        }
    }

    /// Bytes of the patches from the old root to the new one.
    fn patch(&self) -> Result<u64> {
        let (old, new) = (fs::read(self.path("old.root"))?, fs::read(self.path("new.root"))?);
        let mut bytes = 0;
        for (start, segment) in (0_usize..).step_by(SEGMENT).zip(new.chunks(SEGMENT)) {
            let around = start.saturating_sub(SEGMENT).min(old.len())..(start + 2 * SEGMENT).min(old.len());
            fs::write(self.path("around"), old.get(around).unwrap_or_default())?;
            let mut zstd = Command::new("zstd");
            zstd.args(["-q", "-c", "-12", "--long=26", "--patch-from"]).arg(self.path("around"));
            fs::write(self.path("segment"), segment)?;
            let patch = succeed(zstd.arg(self.path("segment")).stdin(Stdio::null()))?.stdout;
            bytes += u64::try_from(patch.len())?;
        }
        Ok(bytes)
    }
}

/// The file system type of a form, as its kernel module is named.
fn kind(name: &str) -> &'static str {
    if name.starts_with("erofs") { "erofs" } else { "squashfs" }
}

fn with_security_mirror(text: &str) -> String {
    let without: String = text
        .lines()
        .filter(|line| !line.starts_with("security-mirror"))
        .map(|line| format!("{line}\n"))
        .collect();
    match without.split_once("[packages]\n") {
        Some((before, after)) => format!("{before}[packages]\nsecurity-mirror = \"\"\n{after}"),
        None => format!("{without}\n[packages]\nsecurity-mirror = \"\"\n"),
    }
}

/// The root of an image as a tar and as a folder.
fn unpack(image: &Path, folder: &Path, name: &str) -> Result<()> {
    let reader = ImageReader::open(image)?;
    let squashfs = folder.join("squashfs");
    let mut file = File::create(&squashfs)?;
    let (root, length) = (Role::Root(Slot::A), reader.content_length(Role::Root(Slot::A), &limits::ROOT)?);
    file.write_all(&reader.read(root, Bytes(0), usize::try_from(length)?)?)?;
    file.write_all(&[0; 4096])?;
    drop(file);
    let tar = File::create(folder.join(format!("{name}.tar")))?;
    succeed(Command::new("sqfs2tar").arg(&squashfs).stdout(tar))?;
    succeed(Command::new("unsquashfs").args(["-q", "-n", "-d"]).arg(folder.join(name)).arg(&squashfs))?;
    Ok(())
}

fn print(rows: &[Row], bench: &RootRun, json: bool) {
    if json {
        let rows: Vec<Value> = rows
            .iter()
            .map(|row| {
                json!({"name": row.name, "bytes": row.bytes, "made": row.made, "boot": row.boot(), "boots": row.boots, "patch": row.patch})
            })
            .collect();
        println!("{:#}", json!({"changed": bench.changed, "packages": bench.packages, "rows": rows}));
        return;
    }
    println!("between the two roots, {} of {} packages changed", bench.changed, bench.packages);
    println!("{:<24} {:>10} {:>8} {:>8} {:>12}", "", "MiB", "made, s", "boot, s", "update, MiB");
    for row in rows {
        let (Row { name, bytes, made, patch, .. }, boot) = (row, row.boot());
        let mebibytes =
            |bytes: &u64| u32::try_from(bytes >> 10).map_or(f64::NAN, |kib| f64::from(kib) / 1024.0);
        println!("{name:<24} {:>10.1} {made:>8.1} {boot:>8.2} {:>12.1}", mebibytes(bytes), mebibytes(patch));
    }
}
