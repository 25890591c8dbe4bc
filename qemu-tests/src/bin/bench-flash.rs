//! The time to write a stick, compared with other tools and the same image. It is printed beside its goals; no limit is
//! checked.
//!
//! The stick is a loop device over a file in memory (`/dev/shm`, or the folder of `--folder`), so that the writer is
//! measured and not a medium; run as root. The image has 3.3 GiB with 400 MiB of data that cannot be compressed. Before
//! each run the caches are dropped. Times are medians and the peak memory is that of the largest process, both by
//! time(1).
//!
//! `--stick READ:WRITE` limits the stick to these rates, in megabytes a second, as on real sticks. `--runs N` measures
//! each N times (5), `--json` prints JSON.

#![expect(clippy::print_stdout, reason = "a bench prints its result")]

use anyhow::{Context as _, Result, bail, ensure};
use qemu_tests::build_sandbox::BuildSandbox;
use qemu_tests::command::succeed;
use qemu_tests::loop_device::LoopDevice;
use qemu_tests::noise;
use qemu_tests::slow_medium::SlowMedium;
use qemu_tests::timed::{Row, Stopwatch};
use serde_json::{Value, json};
use std::env;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// Sizes with which the image has 3.3 GiB.
const SIZES: &str = "[sizes]\nroot = \"1504MiB\"\n\n[console]";
/// Number of files of an overlay, of ten MiB of noise each. With the rest of the root this makes 400 MiB.
const FILES: u64 = 29;
const FILE: u64 = 10 << 20;
/// Bytes by which the stick is longer than the image.
const MORE: u64 = 64 << 20;

struct Options {
    folder: PathBuf,
    /// The stick's rates for reading and writing, in bytes a second.
    stick: Option<(u64, u64)>,
    runs: usize,
    json: bool,
}

/// A row of the table, and its goal.
struct Line {
    row: Row,
    goal: &'static str,
}

fn main() -> Result<()> {
    let options = options()?;
    let run = FlashRun::new(&options)?;
    let lines = run.measure(options.runs)?;
    let seconds = |start: &str| {
        lines.iter().find(|line| line.row.name.starts_with(start)).map_or(f64::NAN, |line| line.row.seconds)
    };
    let (bmaptool, full) = (seconds("bmaptool"), seconds("ours: everything, read back"));
    if options.json {
        let rows: Vec<Value> = lines
            .iter()
            .map(|Line { row, goal }| {
                json!({"name": row.name, "seconds": row.seconds, "peak_mib": row.mebibytes, "goal": goal})
            })
            .collect();
        println!("{:#}", json!({"runs": options.runs, "data_bytes": run.data, "rows": rows}));
        return Ok(());
    }
    println!(
        "medians of {} runs; an image of {} MiB, of which {} are in its block map",
        options.runs,
        run.size >> 20,
        run.data >> 20
    );
    println!("{:<50} {:>8} {:>10} {:>6} {:>9}  goal", "", "seconds", "x bmaptool", "x full", "peak MiB");
    for Line { row: Row { name, seconds, mebibytes }, goal } in &lines {
        println!(
            "{name:<50} {seconds:>8.2} {:>10.2} {:>6.2} {mebibytes:>9}  {goal}",
            seconds / bmaptool,
            seconds / full
        );
    }
    Ok(())
}

fn options() -> Result<Options> {
    let mut options = Options { folder: "/dev/shm".into(), stick: None, runs: 5, json: false };
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} wants a value"));
        match word.as_str() {
            "--folder" => options.folder = value()?.into(),
            "--stick" => options.stick = Some(rates(&value()?)?),
            "--runs" => options.runs = value()?.parse()?,
            "--json" => options.json = true,
            _ => bail!("unknown option {word}; known are --folder, --stick, --runs and --json"),
        }
    }
    ensure!(options.runs > 0, "nothing to measure");
    Ok(options)
}

/// Reads `READ:WRITE` in megabytes a second.
fn rates(text: &str) -> Result<(u64, u64)> {
    let (reads, writes) = text.split_once(':').context("--stick wants READ:WRITE, in MB/s")?;
    let bytes = |text: &str| Ok::<u64, anyhow::Error>(text.parse::<u64>()? * 1_000_000);
    Ok((bytes(reads)?, bytes(writes)?))
}

/// Three releases of an image, and a stick to write them to.
struct FlashRun {
    place: BuildSandbox,
    slow: Option<SlowMedium>,
    device: LoopDevice,
    watch: Stopwatch,
    /// Bytes of the image, and of the ranges in its block map.
    size: u64,
    data: u64,
    _folder: TempDir,
}

impl FlashRun {
    fn new(options: &Options) -> Result<Self> {
        let place = BuildSandbox::micro()?;
        place.edit("site.toml", |text| text.replace("[console]", SIZES))?;
        let noisy = place.site().join("overlays/common/opt/noise");
        fs::create_dir_all(&noisy)?;
        for number in 0..FILES {
            let mut file = BufWriter::new(File::create(noisy.join(number.to_string()))?);
            noise::write(&mut file, FILE, number)?;
        }
        let build = |name: &str| {
            let output = format!("{name}.img");
            succeed(&mut place.psyops(&[
                "build-image",
                "--site",
                "site",
                "--node",
                "alpha",
                "--output",
                &output,
            ]))
        };
        build("first")?;
        place.edit("nodes/alpha.toml", |text| {
            text + "\n[[file]]\nsource = \"site.toml\"\npath = \"bench/file\"\n"
        })?;
        build("node")?;
        place.edit("overlays/common/etc/profile.d/site.sh", |text| text + "# a change\n")?;
        build("root")?;
        succeed(&mut place.psyops(&["export", "first.img", "--form", "zst"]))?;
        let size = fs::metadata(place.path("first.img"))?.len();
        let data = mapped_bytes(&fs::read_to_string(place.path("first.img.bmap"))?)?;
        let folder = tempfile::Builder::new().prefix("bench-flash-").tempdir_in(&options.folder)?;
        let stick = folder.path().join("stick");
        File::create(&stick)?.set_len(size + MORE)?;
        let device = LoopDevice::over(&stick, &[])?;
        let slow =
            options.stick.map(|(reads, writes)| SlowMedium::new(device.path(), reads, writes)).transpose()?;
        Ok(Self { place, slow, device, watch: Stopwatch::new()?, size, data, _folder: folder })
    }

    fn measure(&self, runs: usize) -> Result<Vec<Line>> {
        let (image, device) = (self.place.path("first.img"), self.device.path());
        let shell = |line: String| {
            let mut shell = Command::new("sh");
            shell.args(["-c", &line]);
            shell
        };
        let (from, to) = (image.display(), device.display());
        let dd = format!("dd if={from} of={to} bs=4M oflag=direct conv=fsync status=none");
        let bmaptool = format!("bmaptool -q copy --bmap {from}.bmap {from} {to}");
        let cp = format!("cp --sparse=always {from} {to} && sync {to}");
        let read_image = format!("cp --sparse=always {from} /dev/null");
        let read_stick =
            format!("dd if={to} of=/dev/null bs=1M count={} iflag=direct status=none", self.data >> 20);
        let row = |name: &str, command: &dyn Fn() -> Command, before: &dyn Fn() -> Result<()>, goal| {
            let slowly = || match &self.slow {
                Some(slow) => slow.command(&command()),
                None => command(),
            };
            let row = self.watch.row(name, runs, slowly, before)?;
            Ok::<Line, anyhow::Error>(Line { row, goal })
        };
        let blank = || self.blank();
        let first = || self.put_first();
        Ok(vec![
            row("dd bs=4M oflag=direct conv=fsync", &|| shell(dd.clone()), &blank, "")?,
            row("cp --sparse=always, sync", &|| shell(cp.clone()), &blank, "")?,
            row("bmaptool copy", &|| shell(bmaptool.clone()), &blank, "")?,
            row(
                "reading the image's data once, and nothing else",
                &|| shell(read_image.clone()),
                &first,
                "",
            )?,
            row("reading as much of the stick once (dd, direct)", &|| shell(read_stick.clone()), &first, "")?,
            row(
                "ours: everything, not read back",
                &|| self.flash("first", &["--full", "--no-read-back"]),
                &blank,
                "1.05 x bmaptool, 64 MiB",
            )?,
            row(
                "ours: everything, read back",
                &|| self.flash("first", &["--full"]),
                &blank,
                "1.6 x bmaptool, 64 MiB",
            )?,
            row("ours: a blank stick, read back", &|| self.flash("first", &[]), &blank, "64 MiB")?,
            row("ours: the same again", &|| self.flash("first", &[]), &first, "64 MiB")?,
            row(
                "ours: a file of the node changed",
                &|| self.flash("node", &[]),
                &first,
                "0.1 x full, 64 MiB",
            )?,
            row(
                "ours: a file of the root changed",
                &|| self.flash("root", &[]),
                &first,
                "0.1 x full, 64 MiB",
            )?,
        ])
    }

    fn flash(&self, image: &str, more: &[&str]) -> Command {
        let image = format!("{image}.img");
        let mut flash = self.place.psyops(&["flash", &image]);
        flash.arg(self.device.path()).args(["--site", "site", "--fixed-disk", "--serial"]);
        flash.arg((self.size + MORE).to_string()).args(more);
        flash
    }

    fn blank(&self) -> Result<()> {
        succeed(Command::new("blkdiscard").arg("--force").arg(self.device.path()))?;
        drop_caches()
    }

    fn put_first(&self) -> Result<()> {
        succeed(&mut self.flash("first", &["--no-read-back"]))?;
        drop_caches()
    }
}

fn drop_caches() -> Result<()> {
    nix::unistd::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").context("dropping the caches: this bench runs as root")
}

/// Bytes in a block map's ranges.
fn mapped_bytes(map: &str) -> Result<u64> {
    let (_, rest) = map.split_once("<MappedBlocksCount>").context("no count of blocks in the block map")?;
    let blocks: u64 =
        rest.split_whitespace().next().context("no count of blocks in the block map")?.parse()?;
    Ok(blocks * builder::export::block_map::BLOCK_SIZE)
}
