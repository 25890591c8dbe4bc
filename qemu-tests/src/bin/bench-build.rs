//! The time to build an image, compared with other tools for a part of it. It is printed; no limit is checked.
//!
//! Every run starts with a base tree in the store, as any build except the first one does; a measured step finds no
//! earlier result of its own there. The other tools get the same tree: as a tar, or unpacked. Times are the median of
//! several runs and the peak memory is that of the largest process, both by time(1).
//!
//! `--base micro` takes the small base, `--runs N` measures each N times (5), `--nodes N` builds N nodes with 20
//! secrets each (100), `--seals N` makes N seals (1000), `--json` prints JSON.

#![expect(clippy::print_stdout, reason = "a bench prints its result")]

use anyhow::{Context as _, Result, bail, ensure};
use builder::store::Store;
use qemu_tests::command::succeed;
use qemu_tests::site_fixture::SiteFixture;
use qemu_tests::timed::{Row, Stopwatch};
use serde_json::{Value, json};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Number of secrets of each node in the series.
const SECRETS: usize = 20;
/// The options of `mksquashfs` and `tar2sqfs` for the builder's form: zstd 9, blocks of 128 KiB.
const MKSQUASHFS: &str =
    "mksquashfs - out -tar -noappend -no-progress -quiet -comp zstd -Xcompression-level 9 -b 128K";
const TAR2SQFS: &str = "tar2sqfs -q -f -s -e -T -c zstd -X level=9 -b 128K out";
/// An ESP and the root on a disk, without a hash tree, a UKI or a second slot.
const GENIMAGE: &str = "image root.squashfs { squashfs { compression = \"zstd\" block-size = 262144 \
                        extraargs = \"-Xcompression-level 9\" } }\n\
                        image esp.vfat { vfat { file EFI/BOOT/BOOTX64.EFI { image = selector.efi } } size = 64M }\n\
                        image disk.img { hdimage { partition-table-type = gpt }\n\
                        partition esp { image = \"esp.vfat\" }\npartition root { image = \"root.squashfs\" size = 600M } }\n";

/// The preparation of a row that needs none.
const NOTHING: fn() -> Result<()> = || Ok(());

struct Options {
    base: String,
    runs: usize,
    nodes: usize,
    seals: usize,
    json: bool,
}

/// The results of all measurements.
struct Measured {
    rows: Vec<Row>,
    /// KiB on the disk in the split layout: of the shared part, and of a node's own part.
    shared_kibibytes: u64,
    node_kibibytes: u64,
}

fn main() -> Result<()> {
    let options = options()?;
    let Measured { rows, shared_kibibytes, node_kibibytes } = BuildRun::new(&options)?.measure(&options)?;
    let alone =
        rows.iter().find(|row| row.name.starts_with("mksquashfs")).map_or(f64::NAN, |row| row.seconds);
    if options.json {
        let rows: Vec<Value> = rows
            .iter()
            .map(|row| json!({"name": row.name, "seconds": row.seconds, "peak_mib": row.mebibytes}))
            .collect();
        let disk = json!({"shared_kib": shared_kibibytes, "node_kib": node_kibibytes});
        println!("{:#}", json!({"base": options.base, "runs": options.runs, "rows": rows, "split": disk}));
        return Ok(());
    }
    println!("base {}, medians of {} runs", options.base, options.runs);
    println!("{:<52} {:>8} {:>13} {:>9}", "", "seconds", "x mksquashfs", "peak MiB");
    for Row { name, seconds, mebibytes } in rows {
        println!("{name:<52} {seconds:>8.2} {:>13.2} {mebibytes:>9}", seconds / alone);
    }
    println!("split layout, KiB on the disk: shared part {shared_kibibytes}, each node {node_kibibytes}");
    Ok(())
}

fn options() -> Result<Options> {
    let mut options = Options { base: "debian".into(), runs: 5, nodes: 100, seals: 1000, json: false };
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} wants a value"));
        match word.as_str() {
            "--base" => options.base = value()?,
            "--runs" => options.runs = value()?.parse()?,
            "--nodes" => options.nodes = value()?.parse()?,
            "--seals" => options.seals = value()?.parse()?,
            "--json" => options.json = true,
            _ => bail!("unknown option {word}; known are --base, --runs, --nodes, --seals and --json"),
        }
    }
    ensure!(options.runs > 0 && options.nodes > 0 && options.seals > 0, "nothing to measure");
    Ok(options)
}

/// A site, its own store, and the tree for the other tools.
struct BuildRun {
    fixture: SiteFixture,
    folder: TempDir,
    watch: Stopwatch,
}

impl BuildRun {
    fn new(options: &Options) -> Result<Self> {
        let fixture = match options.base.as_str() {
            "micro" => SiteFixture::micro()?,
            "debian" => SiteFixture::debian()?,
            other => bail!("unknown base {other}; known are micro and debian"),
        };
        drop(fixture.stick("alpha")?);
        let run = Self { fixture, folder: tempfile::tempdir()?, watch: Stopwatch::new()? };
        succeed(Command::new("cp").arg("-r").arg(run.fixture.site()).arg(run.path("site")))?;
        fs::create_dir_all(run.path("cache"))?;
        let debs = Store::from_environment()?.dir().join("debs");
        fs::create_dir_all(run.path("cache/psyops"))?;
        succeed(Command::new("cp").arg("-r").arg(debs).arg(run.path("cache/psyops")))?;
        run.add_secrets()?;
        // The seals have their own site: one with so many nodes takes longer to read.
        succeed(Command::new("cp").arg("-r").arg(run.path("site")).arg(run.path("fleet")))?;
        run.add_nodes("site", options.nodes)?;
        run.add_nodes("fleet", options.seals)?;
        // The base tree, the kernel and everything else that is not measured.
        succeed(&mut run.build("alpha"))?;
        run.make_trees()?;
        Ok(run)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn psyops(&self) -> Command {
        let mut command = self.fixture.psyops();
        command.current_dir(self.folder.path()).env("XDG_CACHE_HOME", self.path("cache"));
        command
    }

    /// Builds one node, as `NODE.img`.
    fn build(&self, node: &str) -> Command {
        let mut command = self.psyops();
        command.args(["build-image", "--site", "site", "--node", node]);
        command
    }

    fn add_secrets(&self) -> Result<()> {
        for number in 0..SECRETS {
            self.set_secret("site", number, &format!("value {number} ").repeat(20))?;
        }
        Ok(())
    }

    fn set_secret(&self, site: &str, number: usize, value: &str) -> Result<()> {
        let mut set = self.psyops();
        set.args(["secret", "set", &format!("bench-{number}"), "--site", site]);
        let mut set = set.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        set.stdin.take().context("no input")?.write_all(value.as_bytes())?;
        ensure!(set.wait()?.success(), "a secret was not set");
        Ok(())
    }

    /// Adds nodes that get all secrets of the site: the first one with the commands, the others as its copies.
    fn add_nodes(&self, site: &str, count: usize) -> Result<()> {
        let place = |number: usize| self.path(&format!("{site}/nodes/series-{number}.toml"));
        succeed(self.psyops().args(["init", site, "--node", "series-0"]))?;
        let mut text = fs::read_to_string(place(0))?;
        for number in 0..SECRETS {
            text.push_str(&format!("\n[[file]]\nsecret = \"bench-{number}\"\npath = \"bench/{number}\"\n"));
        }
        for number in 0..count {
            fs::write(place(number), text.replace("series-0", &format!("series-{number}")))?;
        }
        Ok(())
    }

    /// The root as a tar and as a folder.
    fn make_trees(&self) -> Result<()> {
        let roots = sorted(&self.path("cache/psyops/roots"))?;
        let root = roots.first().context("no root was made")?.join("root.squashfs");
        let tar = fs::File::create(self.path("tree.tar"))?;
        succeed(Command::new("sqfs2tar").arg(&root).stdout(tar))?;
        succeed(Command::new("unsquashfs").args(["-q", "-n", "-d"]).arg(self.path("tree")).arg(&root))?;
        fs::create_dir(self.path("input"))?;
        fs::write(self.path("input/selector.efi"), vec![0x5A; 100_000])?;
        fs::write(self.path("genimage.cfg"), GENIMAGE)?;
        Ok(())
    }

    fn measure(&self, options: &Options) -> Result<Measured> {
        let mut rows = self.peers(options.runs)?;
        rows.extend(self.single_images(options.runs)?);
        rows.extend(self.series(options)?);
        rows.extend(self.seals(options)?);
        let kibibytes = |path: &Path| Ok::<u64, anyhow::Error>(fs::metadata(path)?.blocks() / 2);
        let images = sorted(&self.path("images"))?;
        let shared = images.iter().find(|path| path.extension() == Some(OsStr::new("shared")));
        Ok(Measured {
            rows,
            shared_kibibytes: kibibytes(shared.context("no shared part")?)?,
            node_kibibytes: kibibytes(&self.path("images/series-0.qcow2"))?,
        })
    }

    fn peers(&self, runs: usize) -> Result<Vec<Row>> {
        let shell = |line: &str| {
            let mut shell = Command::new("sh");
            shell.args(["-c", line]).current_dir(self.folder.path());
            shell
        };
        let mksquashfs = format!("{MKSQUASHFS} <tree.tar");
        let tar2sqfs = format!("{TAR2SQFS} <tree.tar");
        let mut rows = vec![
            self.watch.row("mksquashfs alone: tree to squashfs", runs, || shell(&mksquashfs), NOTHING)?,
            self.watch.row("tar2sqfs alone: tree to squashfs", runs, || shell(&tar2sqfs), NOTHING)?,
        ];
        if on_path("genimage") {
            let line = "genimage --config genimage.cfg --rootpath tree --inputpath input --outputpath out.genimage --tmppath tmp.genimage";
            let tidy = || clear(&self.path("out.genimage")).and_then(|()| clear(&self.path("tmp.genimage")));
            rows.push(self.watch.row("genimage: tree to disk, no hash tree", runs, || shell(line), tidy)?);
        }
        Ok(rows)
    }

    fn single_images(&self, runs: usize) -> Result<Vec<Row>> {
        let roots = self.path("cache/psyops/roots");
        let no_root = || {
            clear(&roots)?;
            fs::create_dir(&roots)?;
            remove(&self.path("alpha.img"))
        };
        let alpha = || self.build("alpha");
        let mut rows = vec![self.watch.row("ours: tree to image, everything in it", runs, alpha, no_root)?];
        let gone = || remove(&self.path("beta.img"));
        rows.push(self.watch.row("ours: a second node", runs, || self.build("beta"), gone)?);
        // The shared part exists by then.
        let split = |node: &str| {
            let mut command = self.build(node);
            command.args(["--layout", "split", "--output", &format!("parts/{node}.qcow2")]);
            command
        };
        fs::create_dir(self.path("parts"))?;
        succeed(&mut split("alpha"))?;
        let gone = || remove(&self.path("parts/beta.qcow2"));
        rows.push(self.watch.row("ours: a second node, split layout", runs, || split("beta"), gone)?);
        let mut line = 0;
        let change = || {
            line += 1;
            let path = self.path("site/overlays/common/etc/profile.d/site.sh");
            let text = fs::read_to_string(&path)? + &format!("# change {line}\n");
            Ok(fs::write(path, text)?)
        };
        rows.push(self.watch.row("ours: one file of an overlay changed", runs, alpha, change)?);
        rows.push(self.watch.row("ours: nothing changed", runs, alpha, NOTHING)?);
        Ok(rows)
    }

    fn series(&self, options: &Options) -> Result<Vec<Row>> {
        let (runs, nodes) = (options.runs, options.nodes);
        let names: Vec<String> = (0..nodes).map(|number| format!("series-{number}")).collect();
        let series = || {
            let mut command = self.psyops();
            command.args(["build-image", "--site", "site", "--output", "images", "--layout", "split"]);
            for name in &names {
                command.args(["--node", name]);
            }
            command
        };
        let gone = || names.iter().try_for_each(|name| remove(&self.path(&format!("images/{name}.qcow2"))));
        let new = format!("ours: {nodes} nodes with new keys, {SECRETS} secrets each, split");
        Ok(vec![
            self.watch.row(&new, 1, series, NOTHING)?,
            self.watch.row(&format!("ours: {nodes} nodes, images gone, split"), runs, series, gone)?,
            self.watch.row(&format!("ours: {nodes} nodes, nothing changed"), runs, series, NOTHING)?,
        ])
    }

    fn seals(&self, options: &Options) -> Result<Vec<Row>> {
        let (runs, count) = (options.runs, options.seals);
        let seals = || {
            let mut command = self.psyops();
            command.args(["seal", "--site", "fleet", "--all"]);
            command
        };
        let mut turn = 0;
        let change = || {
            turn += 1;
            self.set_secret("fleet", 0, &format!("turn {turn}"))
        };
        let new = format!("ours: keys and first seals of {count} nodes, {SECRETS} secrets each");
        Ok(vec![
            self.watch.row(&new, 1, seals, NOTHING)?,
            self.watch.row(&format!("ours: {count} seals anew, a secret changed"), runs, seals, change)?,
            self.watch.row(&format!("ours: {count} seals, nothing changed"), runs, seals, NOTHING)?,
        ])
    }
}

fn clear(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_file(path)?;
    }
    Ok(())
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    #[expect(clippy::disallowed_methods, reason = "sorted right below")]
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
