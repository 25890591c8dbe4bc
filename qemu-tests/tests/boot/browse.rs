//! `psyops ls` and `psyops cat` show the content of an image: compared with the tools of its file systems.
//! `psyops diff` and the map of `psyops inspect` are tested with the same images.

use anyhow::{Context as _, Result, ensure};
use handoff::partition::Role;
use handoff::slot::Slot;
use qemu_tests::command::succeed;
use qemu_tests::site_fixture::SiteFixture;
use qemu_tests::stick::Stick;
use std::fs;
use std::path::Path;
use std::process::Command;

struct Image {
    fixture: SiteFixture,
    stick: Stick,
}

impl Image {
    fn new() -> Result<Self> {
        let fixture = SiteFixture::micro()?;
        Ok(Self { stick: fixture.stick("alpha")?, fixture })
    }

    fn psyops(&self, verb: &str, path: &str) -> Command {
        let mut psyops = self.fixture.psyops();
        psyops.arg(verb).arg(self.stick.path()).arg(path);
        psyops
    }

    fn cat(&self, path: &str) -> Result<Vec<u8>> {
        Ok(succeed(&mut self.psyops("cat", path))?.stdout)
    }

    /// Name, mode and size of each entry of a folder.
    fn ls(&self, path: &str) -> Result<Vec<(String, String, u64)>> {
        let output = succeed(self.psyops("ls", path).arg("--json"))?;
        let listed: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let entries = listed["entries"].as_array().context("no entries")?;
        let text = |entry: &serde_json::Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let facts = |entry| (text(entry, "name"), text(entry, "mode"), entry["size"].as_u64().unwrap_or(0));
        Ok(entries.iter().map(facts).collect())
    }
}

#[test]
fn the_root_reads_as_unsquashfs_unpacks_it() -> Result<()> {
    let image = Image::new()?;
    let root = image.stick.extract(Role::Root(Slot::A))?;
    let folder = image.stick.beside("unpacked");
    let mut unpack = Command::new("unsquashfs");
    // Owners are lost if the test does not run as root; names, sizes and contents are not.
    unpack.args(["-q", "-n", "-no-xattrs", "-d"]).arg(&folder).arg(&root).args(["etc", "usr/lib/psyops"]);
    succeed(&mut unpack)?;
    for path in ["etc", "usr/lib/psyops", "etc/ssh"] {
        let shown: Vec<String> =
            image.ls(&format!("root/{path}"))?.into_iter().map(|(name, ..)| name).collect();
        assert_eq!(shown, names_in(&folder.join(path))?, "{path}");
    }
    for path in ["etc/passwd", "usr/lib/psyops/psyops-agent"] {
        ensure!(image.cat(&format!("root-a/{path}"))? == fs::read(folder.join(path))?, "{path}");
    }
    let output = image.psyops("cat", "root/etc/no-such-file").output()?;
    assert_eq!(output.status.code(), Some(66), "{}", String::from_utf8_lossy(&output.stderr));
    let output = image.psyops("cat", "root/etc").output()?;
    ensure!(!output.status.success() && output.stdout.is_empty());
    Ok(())
}

/// The names in a folder, sorted.
#[expect(clippy::disallowed_methods, reason = "sorted right after")]
fn names_in(folder: &std::path::Path) -> Result<Vec<String>> {
    let names: Result<Vec<_>, _> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).collect();
    let mut names: Vec<String> = names?.into_iter().map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

#[test]
fn the_secret_partition_reads_as_debugfs_dumps_it() -> Result<()> {
    let image = Image::new()?;
    let (_, mode, size) = image.ls("secret/hostname")?.remove(0);
    let content = image.cat("secret/hostname")?;
    assert_eq!(
        (content.as_slice(), mode.as_str()),
        (image.stick.secret_file("hostname")?.as_slice(), "0644")
    );
    assert_eq!(usize::try_from(size)?, content.len());
    let names: Vec<String> = image.ls("secret/ssh")?.into_iter().map(|(name, ..)| name).collect();
    ensure!(names.iter().any(|name| name == "ssh_host_ed25519_key"), "{names:?}");
    Ok(())
}

#[test]
fn the_initramfs_holds_the_loader_that_was_built() -> Result<()> {
    let image = Image::new()?;
    let loader = qemu_tests::site_fixture::target_folder()?.join("x86_64-unknown-linux-musl/node/initloader");
    ensure!(image.cat("initramfs/init")? == fs::read(loader)?, "another loader");
    let trust = String::from_utf8(image.cat("initramfs/psyops/trust")?)?;
    ensure!(trust.starts_with("site: test\n"), "{trust}");
    ensure!(image.ls("initramfs/lib/modules")?.iter().any(|(name, ..)| name == "ext4.ko"));
    Ok(())
}

/// The exit code of `psyops diff`, and the names of the differing parts.
fn diff(fixture: &SiteFixture, a: &Path, b: &Path) -> Result<(Option<i32>, Vec<String>)> {
    let output = fixture.psyops().args(["diff", "--json"]).args([a, b]).output()?;
    let seen: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let parts = seen["parts"].as_array().context("no parts")?;
    let differ = parts.iter().filter(|part| part["same"] == false).filter_map(|part| part["part"].as_str());
    Ok((output.status.code(), differ.map(str::to_owned).collect()))
}

#[test]
fn two_nodes_differ_only_in_their_own_parts() -> Result<()> {
    let image = Image::new()?;
    let other = image.fixture.stick("beta")?;
    let (alpha, beta) = (image.stick.path(), other.path());
    assert_eq!(
        diff(&image.fixture, alpha, beta)?,
        (Some(1), ["seal", "partitions", "secret"].map(str::to_owned).into())
    );
    assert_eq!(diff(&image.fixture, alpha, image.fixture.stick("alpha")?.path())?, (Some(0), Vec::new()));
    let said = image.fixture.psyops().arg("diff").args([alpha, beta]).output()?;
    let text = String::from_utf8(said.stdout)?;
    ensure!(text.contains("  ~ seal-a: node alpha -> beta, recipient age1"), "{text}");
    let damaged = other.beside("damaged");
    fs::write(&damaged, b"damaged")?;
    other.insert(Role::Boot(Slot::A), &damaged)?;
    assert_eq!(diff(&image.fixture, alpha, beta)?.0, Some(65));
    Ok(())
}

#[test]
fn the_map_of_an_image_is_well_formed_and_has_all_its_partitions() -> Result<()> {
    let image = Image::new()?;
    let map = image.stick.beside("map.svg");
    let mut draw = image.fixture.psyops();
    draw.arg("inspect").arg(image.stick.path()).arg("--svg").arg("--output").arg(&map);
    let said = String::from_utf8(succeed(&mut draw)?.stdout)?;
    ensure!(said.ends_with("map.svg: 11 partitions, 0 warnings\n"), "{said}");
    let rows = "count(//*[local-name()='g'][@class='row'])";
    let count = succeed(Command::new("xmllint").args(["--nonet", "--xpath", rows]).arg(&map))?;
    assert_eq!(String::from_utf8(count.stdout)?.trim(), "11");
    Ok(())
}
