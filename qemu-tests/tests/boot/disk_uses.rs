//! What `psyops disks` and `mksecrets --device` report about disks that are in use in one way each, and who may open
//! them.

use anyhow::{Context as _, Result, ensure};
use builder::run::Bus;
use qemu_tests::command::succeed;
use qemu_tests::site_fixture::SiteFixture;
use qemu_tests::tool_vm::ToolVm;
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const MIB: u64 = 1024 * 1024;
const DEADLINE: Duration = Duration::from_mins(4);

/// Prints what psyops reports about the disks, and the exit code of mksecrets.
const FUNCTIONS: &str = r#"
see() { echo "[$1]"; psyops disks --json; echo "[$1] end"; }
run() { # NAME ARGS...
    name=$1; shift
    mksecrets --site /site --node alpha "$@"
    echo "[$name] exit $?"
}
all="--fixed-disk --serial 402653184 --overwrite ext4 --overwrite swap"
"#;

/// Each case uses one disk in exactly one way.
const USES: &str = r#"
see free
mkdir /hidden
/usr/local/bin/mke2fs -q -t ext4 /dev/vda1
mount -t ext4 /dev/vda1 /mnt
see mounted
run mounted --device /dev/vda1 $all
# The running system's root on a partition, as a program sees it that lives there.
cp -a /usr /bin /lib /lib64 /mnt/; mkdir -p /mnt/proc /mnt/sys /mnt/dev /mnt/tmp
for folder in proc sys dev; do mount --bind /$folder /mnt/$folder; done
root() { echo "[$1]"; chroot /mnt /usr/local/bin/psyops disks --json; echo "[$1] end"; }
root root
for folder in proc sys dev; do umount /mnt/$folder; done
umount /mnt
# The same through a device of the device mapper.
/usr/local/bin/dmsetup create linear --noudevsync --table "0 524288 linear /dev/vda1 0"
see held
run held --device /dev/vda1 $all
mount -t ext4 /dev/dm-0 /mnt
see mapped
for folder in proc sys dev; do mount --bind /$folder /mnt/$folder; done
root mapped-root
for folder in proc sys dev; do umount /mnt/$folder; done
umount /mnt
/usr/local/bin/dmsetup remove --noudevsync linear
mkswap /dev/vda2 >/dev/null && swapon /dev/vda2
see swap
run swap --device /dev/vda2 $all
swapoff /dev/vda2
see freed
# A mount that is not seen here: only the kernel knows.
unshare -m sh -c 'mount -t ext4 /dev/vda1 /hidden && touch /ready && sleep 600' &
until [ -e /ready ]; do sleep 0.1; done
run hidden --device /dev/vda1 $all
run root-of-nothing --device /dev/null $all
run nowhere --device /dev/nowhere $all
run read-only --device /dev/vdb $all
run whole --device /dev/vda $all
run fixed --device /dev/vda2 --serial 402653184 --overwrite swap
run unconfirmed --device /dev/vda2 --fixed-disk --overwrite swap
run other-serial --device /dev/vda2 --fixed-disk --overwrite swap --serial 402653185
run unnamed --device /dev/vda2 --fixed-disk --serial 402653184
run done --device /dev/vda2 $all
mkdir -p /dev/pts && mount -t devpts devpts /dev/pts
asked() { # NAME ANSWER
    echo "$2" | script -qec "mksecrets --site /site --node alpha --device /dev/vda2 --fixed-disk" /dev/null
    echo "[$1] exit $?"
}
asked answered-wrong 402653185
asked answered 402653184
run stick --device /dev/sda --serial "$(cat /sys/block/sda/device/../../../../serial)"
see last
"#;

/// The files of a script's machine.
struct Run {
    run: ToolVm,
    folder: TempDir,
}

impl Run {
    fn new(fixture: &SiteFixture, programs: &[&str]) -> Result<Self> {
        let run = ToolVm::new(fixture, programs)?;
        run.add_as(&fixture.site(), "site")?;
        run.add_as(&fixture.keys(), "root/.config/psyops/test")?;
        Ok(Self { run, folder: tempfile::tempdir()? })
    }

    fn disk(&self, name: &str, mebibytes: u64, partitions: &[&str]) -> Result<PathBuf> {
        let disk = self.folder.path().join(name);
        File::create(&disk)?.set_len(mebibytes * MIB)?;
        if !partitions.is_empty() {
            succeed(Command::new("sgdisk").args(partitions).arg(&disk))?;
        }
        Ok(disk)
    }
}

/// The disks as psyops reported them in a case.
fn seen(said: &str, case: &str) -> Result<Vec<Value>> {
    let begin = said.split_once(&format!("[{case}]\n"));
    let text = begin.and_then(|(_, rest)| rest.split_once(&format!("[{case}] end")));
    let text = text.with_context(|| format!("no case {case}:\n{said}"))?.0;
    let listed: Value = serde_json::from_str(text).with_context(|| format!("{case}: no JSON:\n{text}"))?;
    listed["disks"].as_array().cloned().with_context(|| format!("{case}: no list:\n{text}"))
}

/// The report about one disk in a case.
fn disk(said: &str, case: &str, name: &str) -> Result<Value> {
    let disks = seen(said, case)?;
    disks.into_iter().find(|disk| disk["name"] == name).with_context(|| format!("{case}: no {name}:\n{said}"))
}

fn ended(said: &str, case: &str, code: u8) -> Result<()> {
    ensure!(said.contains(&format!("[{case}] exit {code}\n")), "{case} did not end with {code}:\n{said}");
    Ok(())
}

#[test]
fn each_use_of_a_disk_is_found_and_refused_with_its_own_code() -> Result<()> {
    let mut run =
        Run::new(&SiteFixture::micro()?, &["mke2fs", "debugfs", "e2fsck", "blkid", "dmsetup", "script"])?;
    let used = run.disk("used", 384, &["--new=1:0:+256M", "--new=2:0:+64M"])?;
    let (read_only, stick) = (run.disk("read-only", 32, &[])?, run.disk("stick", 32, &[])?);
    run.run.attach(&used);
    run.run.attach_read_only(&read_only);
    run.run.attach_to(&stick, Bus::Usb);
    let said = run.run.run(&format!("{FUNCTIONS}{USES}"), DEADLINE)?;

    let free = disk(&said, "free", "vda")?;
    ensure!(free["uses"] == Value::Array(Vec::new()) && free["size"] == 384 * MIB, "{free}");
    ensure!(free["partitions"] == serde_json::json!(["vda1", "vda2"]) && free["bus"] == "virtio", "{free}");
    ensure!(free["content"]["table"] == "gpt" && free["refusal"]["code"] == 87, "{free}");
    let cases = [
        ("mounted", 82, "mounted at /mnt (vda1)"),
        ("held", 82, "dm-0 uses it (vda1)"),
        ("mapped", 82, "mounted at /mnt (vda1, dm-0)"),
        ("swap", 82, "swap (vda2)"),
        ("root", 83, "the root of the running system (vda1)"),
        ("mapped-root", 83, "the root of the running system (vda1, dm-0)"),
    ];
    for (case, code, first) in cases {
        let disk = disk(&said, case, "vda")?;
        ensure!(disk["refusal"]["code"] == code && disk["uses"][0] == first, "{case}: {disk}");
        ensure!(disk["flash"] == false, "{case}: {disk}");
    }
    let freed = disk(&said, "freed", "vda")?;
    ensure!(freed["uses"] == Value::Array(Vec::new()), "{freed}");
    ensure!(disk(&said, "free", "vdb")?["refusal"]["code"] == 85, "{said}");
    let stick = disk(&said, "free", "sda")?;
    ensure!(
        stick["bus"] == "usb" && stick["flash"] == true && stick["content"]["kind"] == "blank",
        "{stick}"
    );

    let codes = [
        ("mounted", 82),
        ("held", 82),
        ("swap", 82),
        ("hidden", 82),
        ("root-of-nothing", 80),
        ("nowhere", 80),
        ("read-only", 85),
        ("whole", 77),
        ("fixed", 87),
        ("unconfirmed", 90),
        ("other-serial", 90),
        ("unnamed", 89),
        ("done", 0),
        ("answered-wrong", 90),
        ("answered", 0),
        ("stick", 0),
    ];
    codes.iter().try_for_each(|(case, code)| ended(&said, case, *code))?;
    ensure!(
        said.contains("It has an old secret partition on it.") && said.contains("its size in bytes"),
        "{said}"
    );
    // The content is there, and psyops does not overwrite it without confirmation.
    let stick = disk(&said, "last", "sda")?;
    ensure!(stick["content"]["kind"] == "secrets" && stick["refusal"]["code"] == 89, "{stick}");
    Ok(())
}

/// `psyops flash` on disks that it must not write; the image is on another disk.
const FLASH: &str = r#"
all="--fixed-disk --overwrite gpt --overwrite ext4 --overwrite data"
run() { # NAME TARGET ARGS...
    name=$1; shift
    psyops flash /dev/vda "$@"
    echo "[$name] exit $?"
}
echo "[of-site]"; psyops disks --json --site /site; echo "[of-site] end"
echo "[of-others]"; psyops disks --json; echo "[of-others] end"
psyops disks --site /site
head -c 1000 /dev/zero >/root/file
small="--serial 33554432"; large="--serial $(($(cat /sys/block/vdb/size) * 512))"
run no-disk /dev/null $all $small
run no-file /root/nothing $all $small
run partition /dev/vdb1 $all $large
ln -s /dev/vdb1 /root/by-another-name
run linked /root/by-another-name $all $large
/usr/local/bin/mke2fs -q -t ext4 /dev/vdb1 && mount -t ext4 /dev/vdb1 /mnt
run mounted /dev/vdb $all $large
cp -a /usr /bin /lib /lib64 /mnt/; mkdir -p /mnt/proc /mnt/sys /mnt/dev /mnt/tmp
for folder in proc sys dev; do mount --bind /$folder /mnt/$folder; done
chroot /mnt /usr/local/bin/psyops flash /dev/vda /dev/vdb $all $large; echo "[root] exit $?"
for folder in proc sys dev; do umount /mnt/$folder; done
umount /mnt
/usr/local/bin/dmsetup create linear --noudevsync --table "0 524288 linear /dev/vdb1 0"
run held /dev/vdb $all $large
/usr/local/bin/dmsetup remove --noudevsync linear
run small /dev/vdc $all $small
run small-file /root/file
run read-only /dev/vdd $all $small
run own /dev/vda $all --serial $(($(cat /sys/block/vda/size) * 512))
run fixed /dev/vdb --overwrite ext4 $large
run foreign /dev/vdb --fixed-disk $large
run unconfirmed /dev/vdb $all
"#;

#[test]
fn each_refusal_of_flash_has_its_own_code_and_writes_nothing() -> Result<()> {
    let fixture = SiteFixture::micro()?;
    let mut run = Run::new(&fixture, &["mke2fs", "e2fsck", "blkid", "dmsetup"])?;
    let stick = fixture.stick("alpha")?;
    let large = run.disk("large", 1024, &["--new=1:0:+256M"])?;
    let (small, read_only) = (run.disk("small", 32, &[])?, run.disk("read-only", 1024, &[])?);
    for disk in [stick.path(), &large, &small] {
        run.run.attach(disk);
    }
    run.run.attach_read_only(&read_only);
    let written = fixture.stick("alpha")?;
    run.run.attach_to(written.path(), Bus::Usb);
    let said = run.run.run(FLASH, DEADLINE)?;
    // A stick of this site's node may be written again; one of another site may not.
    let (own, strange) = (disk(&said, "of-site", "sda")?, disk(&said, "of-others", "sda")?);
    ensure!(own["content"]["kind"] == "stick" && own["content"]["node"] == "alpha", "{own}");
    ensure!(own["flash"] == true && own["bus"] == "usb" && own["refusal"].is_null(), "{own}");
    let advice = strange["refusal"]["advice"].as_str().unwrap_or_default();
    ensure!(strange["refusal"]["code"] == 89 && advice.ends_with("--overwrite test/alpha"), "{strange}");
    for line in ["  content node alpha of site test (gpt)", "  flash   would write it", "  serial  none"] {
        ensure!(said.contains(line), "{line} is missing:\n{said}");
    }
    let codes = [
        ("no-disk", 80),
        ("no-file", 80),
        ("partition", 81),
        ("linked", 81),
        ("mounted", 82),
        ("held", 82),
        ("root", 83),
        ("small", 84),
        ("small-file", 84),
        ("read-only", 85),
        ("own", 86),
        ("fixed", 87),
        ("foreign", 89),
        ("unconfirmed", 90),
    ];
    codes.iter().try_for_each(|(case, code)| ended(&said, case, *code))?;
    // The file system on it is undamaged, and the other disks are unchanged.
    let copy = run.folder.path().join("partition");
    let mut dd = Command::new("dd");
    dd.arg(format!("if={}", large.display())).arg(format!("of={}", copy.display()));
    succeed(dd.args(["bs=1M", "skip=1", "count=256", "status=none"]))?;
    succeed(Command::new("e2fsck").arg("-fn").arg(&copy))?;
    for disk in [&small, &read_only] {
        ensure!(fs::read(disk)?.iter().all(|&byte| byte == 0), "{} was written", disk.display());
    }
    Ok(())
}

/// The user `nobody` may not open disks; sudo may, and it may only start psyops.
const UNPRIVILEGED: &str = r#"
chmod 4755 /usr/local/bin/sudo; chmod 1777 /tmp
chown -R 65534:65534 /site /home
nobody() { HOME=/home /usr/local/bin/setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
run() { # NAME ARGS...
    name=$1; shift
    nobody mksecrets --site /site --node alpha --device /dev/vda1 --fixed-disk "$@"
    echo "[$name] exit $?"
}
nobody sh -c 'cat /dev/vda1 >/dev/null'; echo "[read] exit $?"
echo "[seen]"; nobody psyops disks --json; echo "[seen] end"
before=$(sha256sum </dev/vda1)
echo 'nobody ALL=(root) NOPASSWD: /usr/local/bin/nothing' >/etc/sudoers
run forbidden --serial 67108864
mv /usr/local/bin/sudo /sudo
run without-sudo --serial 67108864
mv /sudo /usr/local/bin/sudo
echo 'nobody ALL=(root) NOPASSWD: /usr/local/bin/psyops open-device *' >/etc/sudoers
run unconfirmed
[ "$before" = "$(sha256sum </dev/vda1)" ] && echo "[unconfirmed] unchanged"
nobody sh -c 'sudo -n cat /dev/vda1 >/dev/null'; echo "[sudo-cat] exit $?"
unshare -m sh -c '/usr/local/bin/mke2fs -q -t ext4 /dev/vda2 && mount -t ext4 /dev/vda2 /mnt && touch /ready && sleep 600' &
until [ -e /ready ]; do sleep 0.1; done
nobody mksecrets --site /site --node alpha --device /dev/vda2 --fixed-disk --serial 67108864
echo "[busy] exit $?"
run done --serial 67108864
/usr/local/bin/e2fsck -fn /dev/vda1 >/dev/null 2>&1; echo "[done] e2fsck $?"
nobody psyops open-device /dev/vda1 --number 254:1 </dev/null; echo "[by-hand] exit $?"
nobody psyops open-device /dev/vda1 --number 254:1 --partition --fixed-disk /dev/vda1 </dev/null; echo "[named] exit $?"
# The same where sudo asks for a password, on a terminal.
sed -i 's/pam_deny/pam_unix/' /etc/pam.d/sudo; chmod 600 /etc/shadow
echo 'nobody ALL=(root) /usr/local/bin/psyops open-device *' >/etc/sudoers
mkdir -p /dev/pts && mount -t devpts devpts /dev/pts && mkfifo /typed
asked() { # NAME WORDS...
    name=$1; shift
    script -qefc "HOME=/home /usr/local/bin/setpriv --reuid=65534 --regid=65534 --clear-groups mksecrets --site /site --node alpha \
        --device /dev/vda1 --fixed-disk --serial 67108864" "/$name" </typed >/dev/null &
    terminal=$!
    exec 3>/typed
    # sudo throws away what is typed before it asks.
    for word; do
        until [ "$(grep -c 'password of nobody' "/$name")" -gt "${asked:=0}" ]; do sleep 0.1; done
        asked=$((asked + 1)); echo "$word" >&3
    done
    wait $terminal; echo "[$name] exit $?"
    exec 3>&-; asked=0; cat "/$name"
}
asked wrong-password nonsense nonsense nonsense
asked password insecure-test-word
"#;

/// The hash of the typed password, as shadow(5) has it.
const PASSWORD: &str =
    "$6$psyops$vd4jclh0XSFLl6Fat/55nlrOdGQNy7EyqMtYj50NYvicEh2WONQ6EhfmGOM/nx4i0ARy5Y77dyePDmL9anWgu.";

/// The files that sudo needs, with their paths.
fn add_sudo(run: &Run) -> Result<()> {
    let put = |place: &str, text: &str| -> Result<()> {
        let file = run.folder.path().join("file");
        fs::write(&file, text)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
        run.run.add_as(&file, place)
    };
    put("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/sh\n")?;
    put("etc/group", "root:x:0:\nnogroup:x:65534:\n")?;
    put("etc/shadow", &format!("nobody:{PASSWORD}:20000::::::\n"))?;
    put("etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nsudoers: files\n")?;
    put(
        "etc/pam.d/sudo",
        "auth required pam_deny.so\naccount required pam_permit.so\nsession required pam_permit.so\n",
    )?;
    let libraries = Path::new("/usr/lib/x86_64-linux-gnu");
    for module in ["pam_deny.so", "pam_permit.so", "pam_unix.so"] {
        run.run.add_program(
            &libraries.join("security").join(module),
            &format!("lib/x86_64-linux-gnu/security/{module}"),
        )?;
    }
    for plugin in ["sudoers.so", "libsudo_util.so.0"] {
        let plugin = Path::new("/usr/libexec/sudo").join(plugin);
        run.run.add_program(&plugin, plugin.strip_prefix("/")?.to_str().context("a path")?)?;
    }
    run.run.add_as(&SiteFixture::micro()?.keys(), "home/.config/psyops/test")
}

#[test]
fn an_unprivileged_user_writes_through_sudo_and_only_what_it_opened() -> Result<()> {
    let mut run = Run::new(
        &SiteFixture::micro()?,
        &["mke2fs", "debugfs", "e2fsck", "blkid", "setpriv", "sudo", "script"],
    )?;
    add_sudo(&run)?;
    let disk = run.disk("disk", 64, &["--new=1:0:+16M", "--new=2:0:+16M"])?;
    run.run.attach(&disk);
    let said = run.run.run(UNPRIVILEGED, DEADLINE)?;
    // The limits are effective: neither reading nor any other program is possible.
    ended(&said, "read", 1)?;
    ended(&said, "sudo-cat", 1)?;
    let codes = [
        ("forbidden", 73),
        ("without-sudo", 73),
        ("unconfirmed", 90),
        ("busy", 82),
        ("done", 0),
        // `open-device` checks the disk itself (81); run by hand, no process takes its descriptor (74).
        ("by-hand", 81),
        ("named", 74),
        ("wrong-password", 73),
        ("password", 0),
    ];
    for (case, code) in codes {
        ensure!(said.contains(&format!("[{case}] exit {code}\n")), "{case} did not end with {code}:\n{said}");
    }
    ensure!(said.contains("[unconfirmed] unchanged") && said.contains("[done] e2fsck 0"), "{said}");
    ensure!(said.contains("no permission to write to /dev/vda1") && said.contains("install sudo"), "{said}");
    let disks = said.split_once("[seen]\n").and_then(|(_, rest)| rest.split_once("[seen] end"));
    let disks: Value = serde_json::from_str(disks.context("no list")?.0)?;
    let disk = &disks["disks"][0];
    ensure!(
        disk["content"].is_null() && disk["unreadable"].is_string() && disk["size"] == 64 * MIB,
        "{disk}"
    );
    Ok(())
}
