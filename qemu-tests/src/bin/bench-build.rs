//! How long an image takes, beside what others need for a part of it. Printed and never judged.
//!
//! Everything begins from a base tree in the store, as any build but the first one does; a step that is measured finds
//! nothing of its own there. The peers get the same tree: as a tar, or unpacked. Times are the median of several runs and
//! the peak memory the largest process of them, both by time(1).
//!
//! `--base micro` takes the small base, `--runs N` measures each N times (5), `--nodes N` builds so many nodes with 20
//! secrets each (20), `--json` prints JSON.

#![expect(clippy::print_stdout, reason = "a bench prints its result")]

use anyhow::{Context as _, Result, bail, ensure};
use builder::store::Store;
use qemu_tests::command::succeed;
use qemu_tests::world::World;
use serde_json::{Value, json};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Of each node in the series.
const SECRETS: usize = 20;
/// What `mksquashfs` and `tar2sqfs` are told, each in its way: zstd 9, blocks of 256 KiB, as the builder does.
const MKSQUASHFS: &str =
    "mksquashfs - out -tar -noappend -no-progress -quiet -comp zstd -Xcompression-level 9 -b 256K";
const TAR2SQFS: &str = "tar2sqfs -q -f -s -e -T -c zstd -X level=9 -b 256K out";
/// An ESP and the root on a disk, without a hash tree, a UKI or a second slot.
const GENIMAGE: &str = "image root.squashfs { squashfs { compression = \"zstd\" block-size = 262144 \
                        extraargs = \"-Xcompression-level 9\" } }\n\
                        image esp.vfat { vfat { file EFI/BOOT/BOOTX64.EFI { image = selector.efi } } size = 64M }\n\
                        image disk.img { hdimage { partition-table-type = gpt }\n\
                        partition esp { image = \"esp.vfat\" }\npartition root { image = \"root.squashfs\" size = 600M } }\n";

struct Options {
    base: String,
    runs: usize,
    nodes: usize,
    json: bool,
}

/// A line of the table.
struct Row {
    name: String,
    seconds: f64,
    mebibytes: u64,
}

fn main() -> Result<()> {
    let options = options()?;
    let rows = Shop::new(&options)?.measure(&options)?;
    let alone =
        rows.iter().find(|row| row.name.starts_with("mksquashfs")).map_or(f64::NAN, |row| row.seconds);
    if options.json {
        let rows: Vec<Value> = rows
            .iter()
            .map(|row| json!({"name": row.name, "seconds": row.seconds, "peak_mib": row.mebibytes}))
            .collect();
        println!("{:#}", json!({"base": options.base, "runs": options.runs, "rows": rows}));
        return Ok(());
    }
    println!("base {}, medians of {} runs", options.base, options.runs);
    println!("{:<52} {:>8} {:>13} {:>9}", "", "seconds", "x mksquashfs", "peak MiB");
    for Row { name, seconds, mebibytes } in rows {
        println!("{name:<52} {seconds:>8.2} {:>13.2} {mebibytes:>9}", seconds / alone);
    }
    Ok(())
}

fn options() -> Result<Options> {
    let mut options = Options { base: "debian".into(), runs: 5, nodes: 20, json: false };
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} wants a value"));
        match word.as_str() {
            "--base" => options.base = value()?,
            "--runs" => options.runs = value()?.parse()?,
            "--nodes" => options.nodes = value()?.parse()?,
            "--json" => options.json = true,
            _ => bail!("unknown option {word}; known are --base, --runs, --nodes and --json"),
        }
    }
    ensure!(options.runs > 0 && options.nodes > 0, "nothing to measure");
    Ok(options)
}

/// A site, a store of its own, and the tree for the peers.
struct Shop {
    world: World,
    folder: TempDir,
}

impl Shop {
    fn new(options: &Options) -> Result<Self> {
        let world = match options.base.as_str() {
            "micro" => World::micro()?,
            "debian" => World::debian()?,
            other => bail!("unknown base {other}; known are micro and debian"),
        };
        drop(world.stick("alpha")?);
        let shop = Self { world, folder: tempfile::tempdir()? };
        succeed(Command::new("cp").arg("-r").arg(shop.world.site()).arg(shop.path("site")))?;
        fs::create_dir_all(shop.path("cache"))?;
        let debs = Store::from_environment()?.dir().join("debs");
        fs::create_dir_all(shop.path("cache/psyops"))?;
        succeed(Command::new("cp").arg("-r").arg(debs).arg(shop.path("cache/psyops")))?;
        shop.add_secrets(options.nodes)?;
        // The base tree, the kernel and everything else that is not measured.
        succeed(&mut shop.build("alpha"))?;
        shop.make_trees()?;
        Ok(shop)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn psyops(&self) -> Command {
        let mut command = self.world.psyops();
        command.current_dir(self.folder.path()).env("XDG_CACHE_HOME", self.path("cache"));
        command
    }

    /// Builds one node, as `NODE.img`.
    fn build(&self, node: &str) -> Command {
        let mut command = self.psyops();
        command.args(["build-image", "--site", "site", "--node", node]);
        command
    }

    /// Nodes that get all secrets of the site.
    fn add_secrets(&self, nodes: usize) -> Result<()> {
        for number in 0..SECRETS {
            let mut set = self.psyops();
            set.args(["secret", "set", &format!("bench-{number}"), "--site", "site"]);
            let mut set = set.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
            let value = format!("value {number} ").repeat(20);
            set.stdin.take().context("no input")?.write_all(value.as_bytes())?;
            ensure!(set.wait()?.success(), "a secret was not set");
        }
        for number in 0..nodes {
            let name = format!("series-{number}");
            succeed(self.psyops().args(["init", "site", "--node", &name]))?;
            let path = self.path(&format!("site/nodes/{name}.toml"));
            let mut text = fs::read_to_string(&path)?;
            for number in 0..SECRETS {
                text.push_str(&format!(
                    "\n[[file]]\nsecret = \"bench-{number}\"\npath = \"bench/{number}\"\n"
                ));
            }
            fs::write(path, text)?;
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

    fn measure(&self, options: &Options) -> Result<Vec<Row>> {
        let runs = options.runs;
        let roots = self.path("cache/psyops/roots");
        let clear = |folder: &Path| -> Result<()> {
            if folder.exists() {
                fs::remove_dir_all(folder)?;
            }
            Ok(())
        };
        let nothing = || Ok(());
        let shell = |line: &str| {
            let mut shell = Command::new("sh");
            shell.args(["-c", line]).current_dir(self.folder.path());
            shell
        };
        let one = |node: &str| self.build(node);
        let mut rows = vec![
            self.row(
                "mksquashfs alone: tree to squashfs",
                runs,
                || shell(&format!("{MKSQUASHFS} <tree.tar")),
                nothing,
            )?,
            self.row(
                "tar2sqfs alone: tree to squashfs",
                runs,
                || shell(&format!("{TAR2SQFS} <tree.tar")),
                nothing,
            )?,
        ];
        if on_path("genimage") {
            let line = "genimage --config genimage.cfg --rootpath tree --inputpath input --outputpath out.genimage --tmppath tmp.genimage";
            let tidy = || clear(&self.path("out.genimage")).and_then(|()| clear(&self.path("tmp.genimage")));
            rows.push(self.row("genimage: tree to disk, no hash tree", runs, || shell(line), tidy)?);
        }
        rows.push(self.row(
            "ours: tree to image, everything in it",
            runs,
            || one("alpha"),
            || {
                clear(&roots)?;
                fs::create_dir(&roots)?;
                remove(&self.path("alpha.img"))
            },
        )?);
        rows.push(self.row(
            "ours: a second node",
            runs,
            || one("beta"),
            || remove(&self.path("beta.img")),
        )?);
        let mut line = 0;
        rows.push(self.row(
            "ours: one file of an overlay changed",
            runs,
            || one("alpha"),
            || {
                line += 1;
                let path = self.path("site/overlays/common/etc/profile.d/site.sh");
                let text = fs::read_to_string(&path)? + &format!("# change {line}\n");
                Ok(fs::write(path, text)?)
            },
        )?);
        rows.push(self.row("ours: nothing changed", runs, || one("alpha"), nothing)?);
        let names: Vec<String> = (0..options.nodes).map(|number| format!("series-{number}")).collect();
        let series = || {
            let mut command = self.psyops();
            command.args(["build-image", "--site", "site", "--output", "images"]);
            for name in &names {
                command.args(["--node", name]);
            }
            command
        };
        let name = format!("ours: {} nodes with {SECRETS} new secrets each", options.nodes);
        rows.push(self.row(&name, 1, series, nothing)?);
        let name = format!("ours: {} nodes, images gone", options.nodes);
        rows.push(self.row(&name, runs.min(3), series, || clear(&self.path("images")))?);
        let name = format!("ours: {} nodes, nothing changed", options.nodes);
        rows.push(self.row(&name, runs, series, nothing)?);
        Ok(rows)
    }

    /// The median of several runs; `before` prepares each.
    fn row(
        &self,
        name: &str,
        runs: usize,
        command: impl Fn() -> Command,
        mut before: impl FnMut() -> Result<()>,
    ) -> Result<Row> {
        let mut seconds = Vec::new();
        let mut peak = 0;
        for _ in 0..runs {
            before()?;
            nix::unistd::sync();
            let (time, kibibytes) = self.timed(&command())?;
            seconds.push(time);
            peak = peak.max(kibibytes);
        }
        seconds.sort_unstable_by(f64::total_cmp);
        let seconds = seconds.get(runs / 2).copied().context("no run")?;
        Ok(Row { name: name.to_owned(), seconds, mebibytes: peak / 1024 })
    }

    fn timed(&self, command: &Command) -> Result<(f64, u64)> {
        let place = self.path("time");
        let mut time = Command::new("time");
        time.args(["-f", "%e %M", "-o"]).arg(&place).arg(command.get_program()).args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            time.current_dir(folder);
        }
        for (name, value) in command.get_envs() {
            time.env(name, value.unwrap_or(OsStr::new("")));
        }
        succeed(&mut time)?;
        let text = fs::read_to_string(&place)?;
        let (seconds, kibibytes) =
            text.trim().split_once(' ').with_context(|| format!("time said {text:?}"))?;
        Ok((seconds.parse()?, kibibytes.parse()?))
    }
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
