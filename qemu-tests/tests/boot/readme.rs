//! Runs every command in README.md and the guides in `docs/guides/`, in order, for a user with empty folders.

use anyhow::{Context as _, Result, ensure};
use qemu_tests::command::succeed;
use qemu_tests::site_fixture::target_folder;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The path of the checkout.
fn checkout() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no folder above qemu-tests")?.to_owned())
}

/// The guides, in the order in which a reader takes them: each continues with what the ones before it made.
const GUIDES: [&str; 11] = [
    "first-stick.md",
    "site-files.md",
    "secrets.md",
    "flashing.md",
    "boot-and-rescue.md",
    "roles.md",
    "bases.md",
    "overlays.md",
    "reproducing-a-build.md",
    "trust.md",
    "troubleshooting.md",
];

/// The blocks of shell commands in a document of the checkout.
fn blocks(document: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(checkout()?.join(document))?;
    let mut blocks: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line {
            "```sh" => {
                inside = true;
                blocks.push(String::new());
            }
            "```" => inside = false,
            _ if inside => {
                blocks.last_mut().context("a line before its block")?.push_str(&format!("{line}\n"));
            }
            _ => {}
        }
    }
    Ok(blocks)
}

fn shell(script: &str, folder: &Path, home: &Path) -> Result<Command> {
    let programs = target_folder()?.join("release");
    let path = env::var("PATH").context("PATH is not set")?;
    let mut shell = Command::new("sh");
    shell
        .args(["-e", "-c", script])
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", programs.display()));
    shell.env("XDG_CONFIG_HOME", home.join("config")).env("XDG_DATA_HOME", home.join("data"));
    // As a user runs them: not as parts of the run that this test is in. What cargo says to a test about its package
    // would make cargo compile those crates again whose build scripts look at such variables.
    let of_this_run =
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_EXE_", "NEXTEST", "MAKEFLAGS", "MAKELEVEL"];
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| of_this_run.iter().any(|start| name.starts_with(start))) {
            shell.env_remove(name);
        }
    }
    shell.stdin(std::process::Stdio::null());
    Ok(shell)
}

#[test]
fn the_readme_starts_with_two_commands() -> Result<()> {
    let blocks = blocks(Path::new("README.md"))?;
    assert_eq!(blocks.get(..2), Some(["make demo\n".to_owned(), "make test\n".to_owned()].as_slice()));
    // This test is a part of `make test`, so here only make's own plan can be checked.
    succeed(Command::new("make").args(["-n", "test"]).current_dir(checkout()?)).map(|_| ())
}

/// A user who is not root and may not use sudo is told what to install. The empty list of installed packages makes the
/// script believe that nothing is installed.
#[test]
fn setup_without_rights_names_the_packages() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (programs, packages) = (folder.path().join("bin"), folder.path().join("dpkg"));
    fs::create_dir_all(&programs)?;
    fs::create_dir_all(packages.join("info"))?;
    fs::create_dir_all(packages.join("updates"))?;
    fs::write(packages.join("status"), "")?;
    for name in ["sh", "id", "grep", "dpkg-query", "cat"] {
        let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).output()?;
        let found = String::from_utf8(found.stdout)?;
        std::os::unix::fs::symlink(found.trim(), programs.join(name))?;
    }
    succeed(Command::new("chmod").args(["-R", "a+rX"]).arg(folder.path()))?;
    let is_root = nix::unistd::getuid().is_root();
    let mut setup = Command::new(if is_root { "setpriv" } else { "env" });
    if is_root {
        setup.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    }
    // Other users may not be able to read the checkout; the script comes through the standard input.
    let script = fs::File::open(checkout()?.join("scripts/setup"))?;
    setup.args(["sh", "-s", "build"]).stdin(script).current_dir("/");
    setup.env("PATH", &programs).env("DPKG_ADMINDIR", &packages);
    if is_root {
        // `setpriv` itself is searched in the PATH of the child.
        let found = Command::new("sh").args(["-c", "command -v setpriv"]).output()?;
        std::os::unix::fs::symlink(String::from_utf8(found.stdout)?.trim(), programs.join("setpriv"))?;
    }
    let output = setup.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{said}");
    ensure!(said.contains("ask an administrator for: apt-get install"), "{said}");
    for package in ["mmdebstrap", "qemu-system-x86", "ovmf"] {
        ensure!(said.contains(package), "{package} is not named: {said}");
    }
    Ok(())
}

#[test]
fn the_demo_boots_and_prints_ok() -> Result<()> {
    let home = tempfile::tempdir()?;
    let output = succeed(&mut shell("make demo", &checkout()?, home.path())?)?;
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = report.lines().find(|line| line.starts_with('{')).context("no report")?;
    let report: serde_json::Value = serde_json::from_str(line)?;
    assert_eq!((&report["node"], &report["outcome"]), (&"demo".into(), &"ok".into()), "{report}");
    Ok(())
}

#[test]
fn the_commands_of_the_readme_work_one_after_the_other() -> Result<()> {
    let home = tempfile::tempdir()?;
    let work = home.path().join("work");
    fs::create_dir(&work)?;
    let script: String = blocks(Path::new("README.md"))?.split_off(2).concat();
    ensure!(script.lines().count() >= 7, "the README shows too little:\n{script}");
    succeed(&mut shell(&script, &work, home.path())?)?;
    for made in ["pi1.img", "stick.img", "fleet/site.lock", "fleet/site.lock.minisig", "fleet/seals/pi1.seal"]
    {
        ensure!(work.join(made).is_file(), "{made} was not made");
    }
    Ok(())
}

#[test]
fn every_guide_is_in_the_list() -> Result<()> {
    let folder = checkout()?.join("docs/guides");
    #[expect(clippy::disallowed_methods, reason = "the names are sorted before they are compared")]
    let entries = fs::read_dir(folder)?;
    let mut found: Vec<String> =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<Result<_>>()?;
    found.sort();
    let mut listed = GUIDES.to_vec();
    listed.sort_unstable();
    assert_eq!(found, listed);
    Ok(())
}

#[test]
fn the_commands_of_the_guides_work_one_after_the_other() -> Result<()> {
    let home = tempfile::tempdir()?;
    let work = home.path().join("work");
    fs::create_dir(&work)?;
    let mut lines = 0;
    for guide in GUIDES {
        let script = blocks(&Path::new("docs/guides").join(guide))?.concat();
        lines += script.lines().count();
        succeed(&mut shell(&script, &work, home.path())?).with_context(|| format!("docs/guides/{guide}"))?;
    }
    ensure!(lines >= 60, "the guides show too little: {lines} lines");
    for made in [
        "pi1.img",
        "pi2.img",
        "pi1-secret.img",
        "pi1-disk.svg",
        "boot.svg",
        "images/pi2.img.zst",
        "parts/pi1.qcow2",
        "sbom.spdx.json",
        "fleet/site.lock",
        "fleet/site.lock.minisig",
        "fleet/seals/pi1.seal",
    ] {
        ensure!(work.join(made).is_file(), "{made} was not made");
    }
    Ok(())
}
