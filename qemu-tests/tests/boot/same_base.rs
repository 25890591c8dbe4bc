//! The debian base of one lock is the same on any machine: with packages whose scripts make keys, certificates, ids,
//! seeds and databases, and write host names and dates, installed by root and by an ordinary user.

use anyhow::{Context as _, Result, ensure};
use builder::site::{GeneratedKeys, InitOptions, init_site};
use keys::issue::identity_file;
use keys::issue::signing::SigningKey;
use qemu_tests::command::succeed;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const MAKE_BASE: &str = env!("CARGO_BIN_EXE_make-base");
/// A uid that no user of a Debian system has.
const USER: &str = "54321";
/// Packages, for what their scripts write: keys and certificates (ssl-cert, dovecot, xrdp, unbound, bind9), the host
/// name and domain (postfix, munin-node, mdadm), ids (open-iscsi, nvme-cli, popularity-contest), the ids of databases
/// (postfix), keys and users of snmpd and chrony, caches with times (fontconfig, python3).
const PACKAGES: &str = "ssl-cert postfix bind9 dovecot-core open-iscsi nvme-cli mdadm apache2 snmpd \
                        munin-node popularity-contest unbound chrony xrdp uuid-runtime samba-common cups-daemon \
                        fontconfig python3";

fn site(folder: &Path) -> Result<PathBuf> {
    let keys = GeneratedKeys {
        admin_recipient: identity_file::generate().recipient().to_string(),
        signing_public: SigningKey::generate()?.public().as_str().to_owned(),
    };
    let options = InitOptions { build_time: 1_793_491_200, open_consoles: false, ..InitOptions::default() };
    let site = folder.join("site");
    init_site(&site, &"lab".parse()?, &"alpha".parse()?, &keys, &options)?;
    let file = site.join("site.toml");
    let text = fs::read_to_string(&file)?.replace("base = \"micro\"", "base = \"debian\"");
    let extra: Vec<String> = PACKAGES.split_ascii_whitespace().map(|name| format!("\"{name}\"")).collect();
    fs::write(&file, format!("{text}\n[packages]\nextra = [{}]\n", extra.join(", ")))?;
    Ok(site)
}

/// The digest in the last line of `make-base`.
fn digest(command: &mut Command) -> Result<String> {
    let output = succeed(command)?;
    let said = String::from_utf8(output.stdout)?;
    let last =
        said.lines().last().and_then(|line| line.split_once(' ')).context("make-base says a digest")?;
    Ok(last.0.to_owned())
}

/// A copy of the site and its packages, without anything that was made of them.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.join("store"))?;
    fs::set_permissions(to, Permissions::from_mode(0o755))?;
    fs::set_permissions(to.join("store"), Permissions::from_mode(0o700))?;
    for part in ["site", "store/debs", "store/indexes"] {
        succeed(Command::new("cp").arg("-r").arg(from.join(part)).arg(to.join(part)))?;
    }
    fs::create_dir(to.join("tmp"))?;
    fs::copy(MAKE_BASE, to.join("make-base"))?;
    Ok(())
}

/// What root changes of the machine for one command, in separate namespaces: its name and id, and the user's name. The
/// rest, environment and umask, can be changed by any user.
const OTHER_MACHINE: &str = "\
    { cat /etc/passwd; echo other:x:$user:$user::/nonexistent:/bin/sh; } >passwd
    echo other:2000000:65536 >subid
    echo 0123456789abcdef0123456789abcdef >machine-id
    for file in subuid:subid subgid:subid passwd:passwd machine-id:machine-id; do
        [ -e /etc/${file%:*} ] || continue
        mount --bind ${file#*:} /etc/${file%:*}
    done
    hostname \"$name\"
    if [ $user != 0 ]; then
        chown -R $user:$user site store tmp
        set -- setpriv --reuid=$user --regid=$user --clear-groups -- \"$@\"
    fi
    umask 077
    exec \"$@\"";

/// The base, made in `place`, by `user` if root can choose one.
fn elsewhere(place: &Path, name: &str, user: &str, environment: &[(&str, &str)]) -> Result<String> {
    let is_root = nix::unistd::geteuid().is_root();
    let mut command = Command::new(if is_root { "unshare" } else { "sh" });
    if is_root {
        command.args(["--mount", "--uts", "--", "sh", "-euc", OTHER_MACHINE, "sh"]);
    } else {
        command.args(["-euc", "umask 077; exec \"$@\"", "sh"]);
    }
    command.args(["taskset", "-c", "0"]).arg(place.join("make-base"));
    command.args([place.join("site"), place.join("store")]).current_dir(place).env_clear();
    command.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", place.join("tmp"));
    command.env("TMPDIR", place.join("tmp")).env("name", name).env("user", user);
    digest(command.envs(environment.iter().copied()))
}

/// Three times, each some minutes after the last: as it is here; as an ordinary user of another machine, with another
/// umask, temporary folder, locale, time zone and number of processors; as root of a third one.
#[test]
#[ignore = "half an hour: make test-long"]
fn long_the_debian_base_of_one_lock_is_the_same_on_any_machine() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    let here = folder.path().join("here");
    fs::create_dir(&here)?;
    let site = site(&here)?;
    let first = digest(Command::new(MAKE_BASE).arg(&site).arg(here.join("store")))?;

    let second = folder.path().join("a-longer-name-than-here");
    copy(&here, &second)?;
    let turkish = [("LC_ALL", "tr_TR.UTF-8"), ("TZ", "Pacific/Kiritimati"), ("SOURCE_DATE_EPOCH", "1")];
    let by_user = elsewhere(&second, "annas-workstation", USER, &turkish)?;
    ensure!(first == by_user, "an ordinary user gets another base: {first} here, {by_user} there");

    let third = folder.path().join("third");
    copy(&here, &third)?;
    let by_root = elsewhere(&third, "build-host-17.example.org", "0", &[("LC_ALL", "C.UTF-8")])?;
    ensure!(first == by_root, "root of another machine gets another base: {first} here, {by_root} there");
    Ok(())
}
