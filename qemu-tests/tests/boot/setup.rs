//! `scripts/setup` on a machine that has none of the packages it installs.

use anyhow::{Context as _, Result, ensure};
use qemu_tests::command::succeed;
use qemu_tests::site_fixture::target_folder;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn script(name: &str) -> Command {
    let mut script = Command::new(checkout().join("scripts").join(name));
    script.current_dir(checkout());
    script
}

/// The packages of all kinds of set-up.
fn packages() -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for kind in ["build", "test", "bench", "fuzz"] {
        let printed = String::from_utf8(succeed(script("setup").args([kind, "--print"]))?.stdout)?;
        ensure!(printed.contains("build-essential"), "{kind}: {printed}");
        all.extend(printed.split_whitespace().map(str::to_owned));
    }
    Ok(all)
}

/// apt resolves the packages against the archive's present index, as if none were installed.
#[test]
fn all_packages_of_the_set_up_can_be_installed_together() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let place = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir_all(folder.path().join("lists/partial"))?;
    fs::create_dir_all(folder.path().join("cache/archives/partial"))?;
    File::create(folder.path().join("status"))?;
    let apt = || {
        let mut apt = Command::new("apt-get");
        let settings = [
            format!("Dir::State::lists={}", place("lists")),
            format!("Dir::State::status={}", place("status")),
            format!("Dir::Cache={}", place("cache")),
            "APT::Sandbox::User=".to_owned(),
        ];
        apt.args(settings.iter().flat_map(|setting| ["-o", setting.as_str()])).env("LC_ALL", "C");
        apt
    };
    succeed(apt().args(["-qq", "update"]))?;
    let packages = packages()?;
    ensure!(packages.len() > 40, "{packages:?}");
    let solved = succeed(apt().args(["-s", "-qq", "--no-install-recommends", "install"]).args(&packages))?;
    let solved = String::from_utf8(solved.stdout)?;
    let installed: BTreeSet<String> = solved
        .lines()
        .filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next())
        .map(Into::into)
        .collect();
    let missing: Vec<_> = packages.difference(&installed).collect();
    ensure!(missing.is_empty(), "apt would not install {missing:?}");
    Ok(())
}

/// In a root with only apt: the set-up installs what building needs, and an image is built. `scripts/in-fresh-root` has
/// the host's Rust toolchain and the programs of `make build`.
#[test]
#[ignore = "minutes, and 300 MB of packages: make test-long"]
fn in_a_fresh_root_the_set_up_is_enough_to_build_an_image() -> Result<()> {
    let psyops = target_folder()?.canonicalize()?.join("release/psyops").display().to_string();
    let steps = format!(
        "set -e; ! command -v gcc; ! command -v qemu-system-x86_64; scripts/setup build; command -v gcc; \
         echo 'fn main() {{ println!(\"compiled\") }}' > /tmp/a.rs; rustc -o /tmp/a /tmp/a.rs; /tmp/a; \
         scripts/setup build; cd /tmp; {psyops} --version; {psyops} init site --id fresh --node pi1; \
         {psyops} build-image --site site --node pi1 --output pi1.img; \
         {psyops} verify pi1.img --site site; echo all is there"
    );
    let said = succeed(script("in-fresh-root").args(["sh", "-c", &steps]))?;
    let said = String::from_utf8(said.stdout)?;
    ensure!(said.matches("setup: installing").count() == 1, "the second run had nothing to do: {said}");
    ensure!(said.contains("\ncompiled\n") && said.ends_with("all is there\n"), "{said}");
    let installed = said.lines().find(|line| line.starts_with("setup: installing"));
    ensure!(installed.context("it installed")?.contains(" mmdebstrap "), "{said}");
    Ok(())
}
