//! The site that the boot tests share, and its images: made once by the real commands, then copied by each test.
//!
//! Tests run as separate processes, so what they share is in a folder under cargo's target folder, behind a lock, and
//! is made again when one of the programs that make it changes. Each such folder has new keys.

use crate::command::succeed;
pub use crate::programs::target_folder;
use crate::stick::Stick;
use anyhow::{Context as _, Result, ensure};
use handoff::architecture::Architecture;
use handoff::fault::{Fault, FaultAction};
use handoff::hash::Sha256Digest;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Roles that the tests add to the site: a name and the script that the role runs.
const ROLES: [(&str, &str); 3] = [
    // It also tries to forge a line of the agent in the log, and a report of a successful boot on the console.
    (
        "fails",
        "echo 'this run fails'\nprintf 'psyops: role fails: ok\\033[2J\\n'\n\
         report=$(sed 's/\"configure\": *\"pending\"/\"configure\":\"ok\"/' /run/psyops/boot.json)\n\
         echo \"psyops-report: $report\" > /dev/console\nexit 3\n",
    ),
    ("hangs", "echo 'this run hangs'\nexec sleep 10000\n"),
    (
        "kills-syslog",
        // Two users that log all the time must not keep the pause, and with it the run, from ending. They stop before
        // the log is rotated twice.
        "for n in 1 2; do su -s /bin/sh -c 'timeout 20 yes never | logger -t never' nobody \
         </dev/null >/dev/null 2>&1 & done\n\
         i=0\nwhile [ $i -lt 50 ]; do i=$((i+1)); logger -t flood \"message $i.\"; done\n\
         kill \"$(pidof syslogd)\"\n\
         while [ $i -lt 100 ]; do i=$((i+1)); logger -t flood \"message $i.\"; done\n",
    ),
];

/// The nodes of each fixture with their roles.
const NODES: [(&str, &str); 9] = [
    ("alpha", "\"hello\""),
    ("beta", "\"hello\""),
    ("failing", "\"fails\""),
    ("hanging", "\"hangs\""),
    ("killing", "\"kills-syslog\""),
    (FIXED, "\"hello\""),
    ("lacks-boot", "\"hello\""),
    ("lacks-run", "\"hello\""),
    ("lacks-optional", "\"hello\""),
];

/// The node with a fixed address, to which QEMU's network forwards.
const FIXED: &str = "fixed-address";

/// An overlay that removes the modules from the root, which are four fifths of a small one: packing the root takes a
/// quarter of the time. The modules that a start needs are in the initramfs, but those of network cards are not loaded.
const SMALL: &str = "small";

/// The edit of `site.toml` that chooses that overlay.
const WITHOUT_MODULES: (&str, &str) = ("overlays = [\"common\"]", "overlays = [\"common\", \"small\"]");

/// Partitions just large enough for a test of writing them, and one for data.
const SMALL_SIZES: &str =
    "[sizes]\nesp = \"34MiB\"\nboot = \"16MiB\"\nsecret = \"8MiB\"\ndata = \"16MiB\"\n\n[console]";

/// A node whose name begins so gets a file whose path is below a file of the root, so that it cannot be installed. The
/// rest of the name is the value of `required`.
const LACKS: &str = "lacks-";

/// A site with its keys, and the commands that work on it.
#[derive(Debug, Clone)]
pub struct SiteFixture {
    folder: PathBuf,
    programs: PathBuf,
}

impl SiteFixture {
    /// The fixture of the default base.
    pub fn micro() -> Result<Self> {
        Self::named("micro", &[])
    }

    /// The fixture whose base is Debian with systemd.
    pub fn debian() -> Result<Self> {
        Self::named("debian", &[("base = \"micro\"", "base = \"debian\"")])
    }

    /// The fixture of the default base without modules in its root, for tests that pack it again and again.
    pub fn light() -> Result<Self> {
        Self::named("light", &[WITHOUT_MODULES])
    }

    /// Another site with the same id and the same nodes, but with its own keys.
    pub fn stranger() -> Result<Self> {
        Self::named("stranger", &[WITHOUT_MODULES])
    }

    /// The default fixture with an overlay `bench`, which the bench of boots fills.
    pub fn bench() -> Result<Self> {
        Self::named("bench", &[("overlays = [\"common\"]", "overlays = [\"common\", \"bench\"]")])
    }

    /// A fixture whose images are small, with a partition for data.
    pub fn small() -> Result<Self> {
        Self::named("small", &[WITHOUT_MODULES, ("[console]", SMALL_SIZES)])
    }

    /// A site like the default one with one action for every fault for which that action is valid.
    pub fn with_action_for_all(action: FaultAction) -> Result<Self> {
        let faults = Fault::ALL.into_iter().filter(|fault| fault.refusal(action).is_none());
        let lines: String = faults.map(|fault| format!("{fault} = \"{action}\"\n")).collect();
        let table = format!("[boot.faults]\n{lines}\n[console]");
        Self::named(&format!("actions-{action}"), &[WITHOUT_MODULES, ("[console]", &table)])
    }

    /// A site like the default one with this action for this fault.
    pub fn with_action(fault: Fault, action: FaultAction) -> Result<Self> {
        let table = format!("[boot.faults]\n{fault} = \"{action}\"\n\n[console]");
        Self::named(&format!("{fault}-{action}"), &[WITHOUT_MODULES, ("[console]", &table)])
    }

    /// A site whose nodes restart at once when their root turns out to be damaged.
    pub fn restarting() -> Result<Self> {
        let restart = "[boot]\nroot-corruption = \"restart\"\n\n[console]";
        Self::named("restarting", &[("[console]", restart)])
    }

    /// A site like the default one with these lines under `[rescue]`.
    pub fn with_rescue(name: &str, lines: &str) -> Result<Self> {
        Self::named(&format!("rescue-{name}"), &[WITHOUT_MODULES, ("console = \"shell\"", lines)])
    }

    fn named(name: &str, edits: &[(&str, &str)]) -> Result<Self> {
        let target = target_folder()?;
        let programs = target.join("release");
        let shared = target.join("qemu-tests");
        fs::create_dir_all(&shared)?;
        let fixture = Self { folder: shared.join(name), programs };
        let _lock = lock(&shared.join(format!("{name}.lock")))?;
        let made_by = digest_of_programs(&target, edits)?;
        let ready = fixture.folder.join("made-by");
        if fs::read_to_string(&ready).ok().as_deref() != Some(&made_by) {
            if fixture.folder.exists() {
                fs::remove_dir_all(&fixture.folder).context("removing an old test site")?;
            }
            fixture.make(edits).with_context(|| format!("making the test site {name}"))?;
            fs::write(&ready, made_by)?;
        }
        Ok(fixture)
    }

    fn make(&self, edits: &[(&str, &str)]) -> Result<()> {
        fs::create_dir_all(self.folder.join("images"))?;
        self.make_ssh_key()?;
        for (name, _) in NODES {
            let site = self.site();
            let mut init = self.psyops();
            init.arg("init").arg(&site).args(["--node", name]);
            if !site.exists() {
                init.args(["--id", "test"]);
            }
            succeed(&mut init)?;
        }
        for (name, script) in ROLES {
            let role = self.site().join("roles").join(name);
            fs::create_dir_all(&role)?;
            let toml = "kind = \"command\"\nstage = \"configure\"\ncommand = [\"./run.sh\"]\n";
            fs::write(role.join("role.toml"), toml)?;
            fs::write(role.join("run.sh"), format!("#!/bin/sh\n{script}"))?;
            fs::set_permissions(role.join("run.sh"), fs::Permissions::from_mode(0o755))?;
        }
        let modules = self.site().join("overlays").join(SMALL).join("usr/lib/modules");
        fs::create_dir_all(&modules)?;
        fs::write(modules.join(".wh..wh..opq"), "")?;
        for (name, roles) in NODES {
            let file = format!("nodes/{name}.toml");
            self.edit_line(&file, "roles = ", &format!("roles = [{roles}]"))?;
        }
        for (name, required) in NODES.iter().filter_map(|(name, _)| Some((name, name.strip_prefix(LACKS)?))) {
            let path = self.site().join(format!("nodes/{name}.toml"));
            let file = format!(
                "\n[[file]]\nsource = \".gitignore\"\npath = \"token\"\ninstall = \"/etc/profile/token\"\n\
                 required = \"{required}\"\n"
            );
            fs::write(&path, fs::read_to_string(&path)? + &file)?;
        }
        let fixed = self.site().join(format!("nodes/{FIXED}.toml"));
        let card = "\n[[network]]\nname = \"lan\"\naddresses = [\"10.0.2.15/24\"]\ngateway = \"10.0.2.2\"\n";
        fs::write(&fixed, fs::read_to_string(&fixed)? + card)?;
        let public = fs::read_to_string(self.folder.join("ssh/id.pub"))?;
        self.edit_line("site.toml", "ssh-keys = ", &format!("ssh-keys = [\"{}\"]", public.trim()))?;
        self.edit_line("site.toml", "login = ", "login = \"shell\"")?;
        self.edit_line("site.toml", "console = ", "console = \"shell\"")?;
        let site = fs::read_to_string(self.site().join("site.toml"))?;
        let site = edits.iter().fold(site, |text, (from, to)| text.replace(from, to));
        fs::write(self.site().join("site.toml"), site + "\n[configure]\ndeadline = 20\nretries = 1\n")?;
        Ok(())
    }

    fn make_ssh_key(&self) -> Result<()> {
        fs::create_dir_all(self.folder.join("ssh"))?;
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f"]).arg(self.folder.join("ssh/id"));
        succeed(&mut keygen).map(|_| ())
    }

    /// Replaces the only line of a site file that begins with `start` (a `#` before it is removed).
    fn edit_line(&self, file: &str, start: &str, line: &str) -> Result<()> {
        let path = self.site().join(file);
        let text = fs::read_to_string(&path)?;
        let is_it = |l: &str| l.trim_start_matches(['#', ' ']).starts_with(start);
        ensure!(text.lines().filter(|l| is_it(l)).count() == 1, "not one line {start:?} in {file}:\n{text}");
        let edited: Vec<&str> = text.lines().map(|l| if is_it(l) { line } else { l }).collect();
        fs::write(&path, edited.join("\n") + "\n").with_context(|| format!("writing {}", path.display()))
    }

    /// The path of the site's folder.
    #[must_use]
    pub fn site(&self) -> PathBuf {
        self.folder.join("site")
    }

    /// The path of the private key that may log in by SSH.
    #[must_use]
    pub fn ssh_key(&self) -> PathBuf {
        self.folder.join("ssh/id")
    }

    /// The path of the folder with the admin's and the signing key.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.folder.join("config/psyops/test")
    }

    /// The command `psyops`, run as this fixture's admin.
    #[must_use]
    pub fn psyops(&self) -> Command {
        self.command("psyops")
    }

    /// One of the three commands, run as this fixture's admin.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.env("XDG_CONFIG_HOME", self.folder.join("config"));
        command.env("XDG_DATA_HOME", self.folder.join("data"));
        command
    }

    /// The next seal of alpha, made by the real commands from a copy of the site, in `folder`, with another greeting.
    pub fn seal_with_greeting(&self, folder: &Path, greeting: &str) -> Result<Vec<u8>> {
        let site = folder.join("site");
        succeed(Command::new("cp").arg("-r").arg(self.site()).arg(&site))?;
        let node = site.join("nodes/alpha.toml");
        let text = fs::read_to_string(&node)?;
        let line = text.lines().find(|line| line.starts_with("greeting = ")).context("no greeting")?;
        fs::write(&node, text.replace(line, &format!("greeting = \"{greeting}\"")))?;
        let mut mksecrets = self.command("mksecrets");
        // A separate copy of the record of generations: other tests make the next seal as well.
        succeed(Command::new("cp").arg("-r").arg(self.folder.join("config")).arg(folder.join("config")))?;
        // Builds of images after a change of the site have recorded generations there, too.
        match fs::remove_file(folder.join("config/psyops/test/test.nodes.toml")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        mksecrets.env("XDG_CONFIG_HOME", folder.join("config"));
        mksecrets.args(["--node", "alpha", "--site"]).arg(&site);
        succeed(mksecrets.arg("--output").arg(folder.join("unused.img")))?;
        fs::read(site.join("seals/alpha.seal")).context("reading the new seal")
    }

    /// A newly flashed stick of the node: a copy of its image, which the test may damage.
    pub fn stick(&self, node: &str) -> Result<Stick> {
        Stick::copy_of(&self.image(node)?)
    }

    /// The image of a node, shared by all tests.
    pub fn image(&self, node: &str) -> Result<PathBuf> {
        let image = self.folder.join(format!("images/{node}.img"));
        let _lock = lock(&self.folder.join("images.lock"))?;
        if !image.exists() {
            self.build(&self.site(), node, &image)?;
        }
        Ok(image)
    }

    /// The image of a node after a change of its site, shared by all tests that use this name for it.
    pub fn image_after(
        &self,
        name: &str,
        node: &str,
        change: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<PathBuf> {
        // Its keys are made with its first image.
        self.image(node)?;
        let image = self.folder.join(format!("images/{node}-{name}.img"));
        let _lock = lock(&self.folder.join("images.lock"))?;
        if !image.exists() {
            // With a separate configuration folder: what is recorded there about the changed site must not affect other
            // tests.
            let folder = tempfile::tempdir()?;
            let copy = self.copy_to(folder.path())?;
            change(&copy)?;
            copy.build(&copy.site(), node, &image)?;
        }
        Ok(image)
    }

    /// A copy of the site, its keys and what was accepted of them, in a folder of the caller.
    pub fn copy_to(&self, folder: &Path) -> Result<Self> {
        for part in ["site", "config", "ssh"] {
            succeed(Command::new("cp").arg("-r").arg(self.folder.join(part)).arg(folder))?;
        }
        Ok(Self { folder: folder.to_owned(), programs: self.programs.clone() })
    }

    fn build(&self, site: &Path, node: &str, image: &Path) -> Result<()> {
        let mut build = self.command("build-image");
        build.args(["--node", node, "--site"]).arg(site).arg("--output").arg(image);
        succeed(&mut build).map(|_| ())
    }
}

fn digest_of_programs(target: &Path, edits: &[(&str, &str)]) -> Result<String> {
    let mut digests = String::new();
    let (linux, uefi) = (Architecture::DEFAULT.linux_target, Architecture::DEFAULT.uefi_target);
    for program in [
        "release/psyops".to_owned(),
        "release/build-image".to_owned(),
        format!("{linux}/node/initloader"),
        format!("{linux}/node/psyops-agent"),
        format!("{uefi}/node/selector.efi"),
    ] {
        let path = target.join(&program);
        let bytes =
            fs::read(&path).with_context(|| format!("reading {}: run make build first", path.display()))?;
        digests.push_str(&format!("{} {program}\n", Sha256Digest::of(&bytes)));
    }
    // The site that is made depends on the tests' own lists, too.
    digests.push_str(&format!("{}\n", Sha256Digest::of(format!("{ROLES:?}{NODES:?}{edits:?}").as_bytes())));
    Ok(digests)
}

/// Waits for an exclusive lock; it ends when its value is dropped, or with the process.
fn lock(path: &Path) -> Result<Flock<File>> {
    let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error).context("locking")
}
