//! The same site and lock give the same bytes: built a second time in another folder, by another user, with another
//! umask, time zone, locale, number of processors and order of folders, without a network, and with only the packages
//! kept.

use anyhow::{Context as _, Result, bail, ensure};
use builder::image::digests::{Digests, Part, content};
use builder::image::reader::ImageReader;
use builder::site::Bytes;
use handoff::partition::Role;
use nix::unistd::{Gid, Uid, chown};
use qemu_tests::command::succeed;
use qemu_tests::site_fixture::{SiteFixture, target_folder};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const NODE: &str = "alpha";
/// The uid of Debian's user `nobody`.
const OTHER_USER: u32 = 65534;

/// A second folder to build in: a file system in memory, whose folders list the newest entry first.
struct OtherPlace {
    folder: TempDir,
}

impl OtherPlace {
    fn new(fixture: &SiteFixture) -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        let folder = builder.prefix("another-place-with-a-longer-name-").tempdir_in("/dev/shm");
        let folder = folder.context("this test needs a tmpfs on /dev/shm")?;
        let other = Self { folder };
        fs::set_permissions(other.folder.path(), Permissions::from_mode(0o755))?;
        let programs = other.path("programs");
        fs::create_dir(&programs)?;
        let target = target_folder()?;
        for from in [
            target.join("release/build-image"),
            target.join("x86_64-unknown-linux-musl/node/initloader"),
            target.join("x86_64-unknown-linux-musl/node/psyops-agent"),
            target.join("x86_64-unknown-uefi/node/selector.efi"),
        ] {
            fs::copy(&from, programs.join(from.file_name().context("a program has a name")?))?;
        }
        copy_in_reverse(&fixture.site(), &other.path("site"))?;
        copy_in_reverse(&fixture.keys(), &other.path("config/psyops/test"))?;
        for folder in ["data", "home", "store/psyops", "tmp"] {
            fs::create_dir_all(other.path(folder))?;
        }
        Ok(other)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// Copies the packages of the user's store: everything is built again, but nothing is downloaded again.
    fn lend_packages(&self) -> Result<()> {
        let store = builder::store::Store::from_environment()?;
        for folder in ["debs", "indexes"] {
            let lent = self.path("store/psyops").join(folder);
            fs::create_dir_all(&lent)?;
            for entry in sorted(&store.dir().join(folder))? {
                let name = entry.file_name().context("an entry has a name")?;
                fs::copy(&entry, lent.join(name))?;
            }
        }
        Ok(())
    }

    fn give_to(&self, user: u32) -> Result<()> {
        give(self.folder.path(), user)
    }

    fn build(&self, user: Option<u32>) -> Result<PathBuf> {
        let image = self.path("image");
        // Root has a network without any interface. Without root, Debian's scripts need all ids of the user, which a new
        // namespace does not have; there, a proxy that does not answer is in front of all archives.
        let is_root = nix::unistd::geteuid().is_root();
        let mut command = Command::new(if is_root { "unshare" } else { "env" });
        command.args(if is_root { &["-n"][..] } else { &[] }).arg("setpriv");
        if let Some(user) = user {
            command.args([format!("--reuid={user}"), format!("--regid={user}")]).arg("--clear-groups");
        }
        // One processor, and a umask that gives other users no access.
        command.args(["taskset", "-c", "0", "sh", "-c", "umask 077 && exec \"$@\"", "sh"]);
        command
            .arg(self.path("programs/build-image"))
            .args(["--node", NODE, "--site"])
            .arg(self.path("site"));
        command.arg("--programs").arg(self.path("programs")).arg("--output").arg(&image);
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").current_dir(self.path("tmp"));
        command.env("TZ", "Pacific/Kiritimati").env("LANG", "tr_TR.UTF-8").env("LC_ALL", "tr_TR.UTF-8");
        command.env("SOURCE_DATE_EPOCH", "1").env("HOME", self.path("home")).env("USER", "somebody-else");
        command.env("XDG_CONFIG_HOME", self.path("config")).env("XDG_DATA_HOME", self.path("data"));
        command.env("XDG_CACHE_HOME", self.path("store"));
        command.env("http_proxy", "http://127.0.0.1:1").env("https_proxy", "http://127.0.0.1:1");
        succeed(&mut command)?;
        Ok(image)
    }
}

/// The entries of a folder, by name.
fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    #[expect(clippy::disallowed_methods, reason = "sorted right below")]
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Copies a folder, starting with the last name. Times are not kept; of modes only those that git keeps, and privacy.
fn copy_in_reverse(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for path in sorted(from)?.into_iter().rev() {
        let place = to.join(path.file_name().context("an entry has a name")?);
        let facts = fs::symlink_metadata(&path)?;
        if facts.is_dir() {
            copy_in_reverse(&path, &place)?;
        } else if facts.is_symlink() {
            symlink(fs::read_link(&path)?, &place)?;
        } else {
            fs::copy(&path, &place)?;
        }
    }
    Ok(())
}

fn give(path: &Path, user: u32) -> Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        for below in sorted(path)? {
            give(&below, user)?;
        }
    }
    if !path.is_symlink() {
        chown(path, Some(Uid::from_raw(user)), Some(Gid::from_raw(user)))?;
    }
    Ok(())
}

/// The first line in which the lists of unsquashfs for two roots differ, or a note that only contents differ.
fn first_file(one: &[u8], two: &[u8]) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let list = |name: &str, root: &[u8]| -> Result<Vec<String>> {
        let path = folder.path().join(name);
        fs::write(&path, root)?;
        let output = succeed(Command::new("unsquashfs").arg("-lln").arg(&path))?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    };
    let (one, two) = (list("one", one)?, list("two", two)?);
    let lines = one.iter().zip(&two).find(|(one, two)| one != two);
    Ok(lines.map_or_else(
        || "; its files are listed alike".to_owned(),
        |(one, two)| format!("; it lists {one:?} and {two:?}"),
    ))
}

/// Prints the first part in which two images differ, and the offset.
fn compare(one: &Path, two: &Path) -> Result<()> {
    let (one, two) = (ImageReader::open(one)?, ImageReader::open(two)?);
    let (first, second) = (Digests::of(&one)?, Digests::of(&two)?);
    // The root first: its hash is in the UKI and in the table.
    let order = [Part::Root, Part::Uki].into_iter().chain(Part::ALL);
    if let Some(part) = order.into_iter().find(|part| first.get(*part) != second.get(*part)) {
        let (a, b) = (content(&one, part)?, content(&two, part)?);
        let at = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
        let files = if part == Part::Root { first_file(&a, &b)? } else { String::new() };
        bail!("{part} differs from byte {at} of {} and {} on{files}", a.len(), b.len());
    }
    for partition in one.partitions() {
        let role: Role = partition.role.context("a partition of ours")?;
        let size = usize::try_from(partition.size.0)?;
        ensure!(one.read(role, Bytes(0), size)? == two.read(role, Bytes(0), size)?, "{role} differs");
    }
    ensure!(one.size() == two.size(), "they differ in length");
    Ok(())
}

fn is_reproduced(fixture: &SiteFixture, other_user: Option<u32>) -> Result<()> {
    let first = fixture.stick(NODE)?;
    let other = OtherPlace::new(fixture)?;
    other.lend_packages()?;
    if let Some(user) = other_user {
        other.give_to(user)?;
    }
    let second = other.build(other_user)?;
    compare(first.path(), &second)?;
    // Comparing the parts has not missed any difference.
    ensure!(fs::read(first.path())? == fs::read(&second)?, "the images differ between partitions");
    Ok(())
}

#[test]
fn a_micro_image_is_the_same_for_another_user_elsewhere() -> Result<()> {
    // Only root can run as another user.
    let other_user = nix::unistd::geteuid().is_root().then_some(OTHER_USER);
    is_reproduced(&SiteFixture::micro()?, other_user)
}

#[test]
fn a_debian_image_is_the_same_elsewhere() -> Result<()> {
    // Without root, Debian is installed in a user namespace, in which the other user would have to be mapped.
    is_reproduced(&SiteFixture::debian()?, None)
}

#[test]
fn a_difference_is_found_and_named() -> Result<()> {
    let fixture = SiteFixture::micro()?;
    let (one, two) = (fixture.stick(NODE)?, fixture.stick(NODE)?);
    compare(one.path(), two.path())?;
    two.write(Role::Esp, 70_000, b"!")?;
    let said = compare(one.path(), two.path()).err().context("no difference was found")?.to_string();
    ensure!(said.starts_with("esp differs from byte 70000 "), "{said}");
    Ok(())
}
