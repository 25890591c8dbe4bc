//! A folder to build in: a copy of a fixture that a test may change, and its own store.

use crate::command::succeed;
use crate::site_fixture::SiteFixture;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The folders of a store that can be made again from packages.
const DERIVED: [&str; 5] = ["apt", "builds", "derived", "roots", "tmp"];

/// A copy of a fixture, and a separate store with only the user's packages and indexes.
#[derive(Debug)]
pub struct BuildSandbox {
    fixture: SiteFixture,
    folder: TempDir,
}

impl BuildSandbox {
    /// A sandbox with a site of the default base whose root has no modules, in which alpha has its keys.
    pub fn new() -> Result<Self> {
        Self::of(&SiteFixture::light()?)
    }

    /// A sandbox with the site of the default fixture.
    pub fn micro() -> Result<Self> {
        Self::of(&SiteFixture::micro()?)
    }

    /// A sandbox with the debian base.
    pub fn debian() -> Result<Self> {
        Self::of(&SiteFixture::debian()?)
    }

    fn of(fixture: &SiteFixture) -> Result<Self> {
        // The first image of the fixture fetches what the user's store does not have.
        drop(fixture.stick("alpha")?);
        let folder = tempfile::tempdir()?;
        let place = Self { fixture: fixture.copy_to(folder.path())?, folder };
        let store = builder::store::Store::from_environment()?;
        fs::create_dir_all(place.store())?;
        for folder in ["debs", "indexes"] {
            succeed(Command::new("cp").arg("-r").arg(store.dir().join(folder)).arg(place.store()))?;
        }
        Ok(place)
    }

    /// The copy of the fixture, whose keys are used.
    #[must_use]
    pub fn fixture(&self) -> &SiteFixture {
        &self.fixture
    }

    /// The path of a file beside the site.
    #[must_use]
    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// The path of the site.
    #[must_use]
    pub fn site(&self) -> PathBuf {
        self.fixture.site()
    }

    /// The path of the store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.path("cache/psyops")
    }

    /// Removes everything except packages from the store.
    pub fn forget_all_but_packages(&self) -> Result<()> {
        for folder in DERIVED.map(|name| self.store().join(name)).iter().filter(|folder| folder.is_dir()) {
            fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        Ok(())
    }

    /// `psyops` with the site in `./site`.
    #[must_use]
    pub fn psyops(&self, arguments: &[&str]) -> Command {
        self.set_up(self.fixture.psyops(), arguments)
    }

    /// The same in a network namespace that has only a loopback, which is down.
    #[must_use]
    pub fn psyops_without_network(&self, arguments: &[&str]) -> Command {
        let psyops = self.fixture.psyops();
        let mut unshare = Command::new("unshare");
        unshare.arg(if nix::unistd::geteuid().is_root() { "-n" } else { "-rn" });
        // A routing table with only its heading.
        let alone =
            "[ $(wc -l </proc/net/route) -le 1 ] || { echo 'there is a network' >&2; exit 99; }; exec \"$@\"";
        unshare.args(["sh", "-c", alone, "sh"]).arg(psyops.get_program());
        for (name, value) in psyops.get_envs() {
            if let Some(value) = value {
                unshare.env(name, value);
            }
        }
        self.set_up(unshare, arguments)
    }

    fn set_up(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).current_dir(self.folder.path());
        command.env("XDG_CACHE_HOME", self.path("cache"));
        command
    }

    /// Runs a command with `--json` and returns its result.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let output = succeed(self.psyops(arguments).arg("--json"))?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Builds the image of a node, as `NODE.img`.
    pub fn build(&self, node: &str) -> Result<Value> {
        self.json(&["build-image", "--site", "site", "--node", node])
    }

    /// Changes the text of a file of the site.
    pub fn edit(&self, file: impl AsRef<Path>, change: impl FnOnce(String) -> String) -> Result<()> {
        let path = self.site().join(file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(fs::write(path, change(text))?)
    }
}
