//! What a user gets wrong: an exit code, a message that says what to do, and nothing left behind half-written.

use anyhow::{Context as _, Result, ensure};
use qemu_tests::world::{World, succeed};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A copy of the site that a test may spoil, and a folder for what is made from it.
struct Spoiled {
    world: World,
    folder: TempDir,
}

impl Spoiled {
    fn new() -> Result<Self> {
        let world = World::micro()?;
        let folder = tempfile::tempdir()?;
        succeed(Command::new("cp").arg("-a").arg(world.site()).arg(folder.path().join("site")))?;
        fs::create_dir(folder.path().join("out"))?;
        Ok(Self { world, folder })
    }

    fn site(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    fn edit(&self, file: &str, edit: impl FnOnce(String) -> String) -> Result<()> {
        let path = self.site().join(file);
        fs::write(&path, edit(fs::read_to_string(&path)?))?;
        Ok(())
    }

    /// Adds a table to `site.toml`.
    fn sizes(&self, line: &str) -> Result<()> {
        self.edit("site.toml", |text| format!("{text}\n[sizes]\n{line}\n"))
    }

    fn build(&self, node: &str) -> Command {
        let mut build = self.world.command("build-image");
        build.args(["--node", node, "--site"]).arg(self.site());
        build.arg("--output").arg(self.folder.path().join("out/node.img"));
        build
    }

    /// Runs a command that must fail with this exit code, these words in its message, and no output.
    fn fails(&self, command: &mut Command, code: i32, words: &[&str]) -> Result<()> {
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        for word in words {
            ensure!(said.contains(word), "{word:?} is not in: {said}");
        }
        ensure!(!said.contains("panicked"), "{said}");
        is_empty(&self.folder.path().join("out"))
    }
}

fn is_empty(folder: &Path) -> Result<()> {
    let left: Vec<_> = succeed(Command::new("ls").arg("-A").arg(folder)).map(|o| o.stdout)?;
    ensure!(left.is_empty(), "left behind: {}", String::from_utf8_lossy(&left));
    Ok(())
}

#[test]
fn an_unknown_node_is_answered_with_the_nearest_name() -> Result<()> {
    let spoiled = Spoiled::new()?;
    spoiled.fails(&mut spoiled.build("alhpa"), 66, &["alhpa", "alpha"])
}

#[test]
fn an_unknown_key_is_named_with_file_line_and_the_nearest_key() -> Result<()> {
    let spoiled = Spoiled::new()?;
    spoiled.edit("site.toml", |text| text.replace("release = ", "relaese = "))?;
    spoiled.fails(&mut spoiled.build("alpha"), 65, &["site.toml:", "relaese", "release"])
}

#[test]
fn a_secret_that_does_not_fit_is_told_with_the_numbers() -> Result<()> {
    let spoiled = Spoiled::new()?;
    fs::write(spoiled.site().join("big.bin"), vec![7; 20 << 20])?;
    spoiled.edit("nodes/alpha.toml", |text| {
        format!("{text}\n[[file]]\nsource = \"big.bin\"\npath = \"etc/big\"\nkind = \"opaque\"\n")
    })?;
    spoiled.fails(&mut spoiled.build("alpha"), 65, &["secret", "16"])
}

#[test]
fn an_esp_that_is_too_small_is_told_with_the_numbers() -> Result<()> {
    let spoiled = Spoiled::new()?;
    spoiled.sizes("esp = \"1MiB\"")?;
    spoiled.fails(&mut spoiled.build("alpha"), 65, &["esp"])
}

#[test]
fn a_slot_that_is_too_small_is_told_with_the_numbers() -> Result<()> {
    let spoiled = Spoiled::new()?;
    spoiled.sizes("boot = \"2MiB\"")?;
    spoiled.fails(&mut spoiled.build("alpha"), 65, &["boot"])?;
    let spoiled = Spoiled::new()?;
    spoiled.sizes("root = \"2MiB\"")?;
    spoiled.fails(&mut spoiled.build("alpha"), 65, &["root"])
}

#[test]
fn a_full_disk_leaves_nothing_behind() -> Result<()> {
    let spoiled = Spoiled::new()?;
    let (output, left) = on_a_small_disk(&spoiled)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(73), "{said}");
    ensure!(said.contains("space"), "{said}");
    assert_eq!(left, "", "left behind on the full disk");
    Ok(())
}

/// Builds to a file system of 20 MiB, in a mount namespace of its own, and lists what is on it afterwards.
fn on_a_small_disk(spoiled: &Spoiled) -> Result<(Output, String)> {
    let out = spoiled.folder.path().join("out");
    let build = spoiled.build("alpha");
    let script = "mount -t tmpfs -o size=20m tmpfs \"$OUT\" && \"$@\"; code=$?; ls -A \"$OUT\"; exit $code";
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).env("OUT", &out);
    unshare.arg(build.get_program()).args(build.get_args());
    for (key, value) in build.get_envs() {
        unshare.env(key, value.context("an unset variable")?);
    }
    let output = unshare.output()?;
    let left = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok((output, left))
}

#[test]
fn a_host_tool_that_is_missing_is_named_with_its_package() -> Result<()> {
    let spoiled = Spoiled::new()?;
    let empty = tempfile::tempdir()?;
    let mut build = spoiled.build("alpha");
    // Nothing that an earlier build left may stand in for the tool.
    build.env("XDG_CACHE_HOME", empty.path()).env("PATH", empty.path());
    let output = build.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{said}");
    ensure!(said.contains("apt-get install"), "{said}");
    is_empty(&spoiled.folder.path().join("out"))
}

#[test]
fn a_key_of_another_node_is_refused_with_both_names() -> Result<()> {
    let spoiled = Spoiled::new()?;
    // Both nodes get their keys.
    for node in ["alpha", "beta"] {
        let image = spoiled.folder.path().join(format!("{node}.secret"));
        let mut make = spoiled.world.command("mksecrets");
        succeed(make.args(["--node", node, "--site"]).arg(spoiled.site()).arg("--output").arg(&image))?;
    }
    let key = spoiled.world.stick("beta")?.secret_file(handoff::paths::AGE_KEY)?;
    let file = spoiled.folder.path().join("beta.key");
    fs::write(&file, key)?;
    succeed(Command::new("chmod").arg("600").arg(&file))?;
    let mut make = spoiled.world.command("mksecrets");
    make.args(["--node", "alpha", "--site"]).arg(spoiled.site()).arg("--key").arg(&file);
    make.arg("--output").arg(spoiled.folder.path().join("out/secret.img"));
    spoiled.fails(&mut make, 65, &["alpha", "beta"])
}
