//! `mksecrets --device` on block devices: what is written, and what is refused with nothing written.

use anyhow::{Result, ensure};
use qemu_tests::command::succeed;
use qemu_tests::site_fixture::SiteFixture;
use qemu_tests::tool_vm::ToolVm;
use std::fs::File;
use std::process::Command;
use std::time::Duration;

const MIB: u64 = 1024 * 1024;

/// Each case prints its name, the output of the command, and its exit code.
const SCRIPT: &str = r#"
run() { # NAME ARGS...
    name=$1; shift
    echo "[$name]"
    mksecrets --site /site --node alpha --fixed-disk --serial 100663296 "$@"
    echo "[$name] exit $?"
}
run blank --device /dev/vda1
/usr/local/bin/e2fsck -fn /dev/vda1 >/dev/null 2>&1; echo "[blank] e2fsck $?"
mount -t ext4 -o ro,noload /dev/vda1 /mnt
echo "[blank] $(ls /mnt | tr '\n' ' ')"
before=$(sha256sum </dev/vda1)
run mounted --device /dev/vda1
ln -s /dev/vda1 /root/by-another-name
run linked --device /root/by-another-name
run mounted-named --device /dev/vda1 --overwrite psyops-secret
[ "$before" = "$(sha256sum </dev/vda1)" ] && echo "[mounted] unchanged"
umount /mnt
run again --device /dev/vda1
run disk --device /dev/vda
/usr/local/bin/mke2fs -q -t ext4 -L photos /dev/vda2
before=$(sha256sum </dev/vda2)
run other --device /dev/vda2
run misnamed --device /dev/vda2 --overwrite music
[ "$before" = "$(sha256sum </dev/vda2)" ] && echo "[other] unchanged"
run named --device /dev/vda2 --overwrite photos
/usr/local/bin/blkid -p -o value -s LABEL /dev/vda2 | sed 's/^/[named] /'
mkswap /dev/vda3 >/dev/null && swapon /dev/vda3
run swap --device /dev/vda3 --overwrite swap
run small --device /dev/vda4
run file --device /root/none
"#;

#[test]
fn a_device_is_refused_if_data_on_it_would_be_lost() -> Result<()> {
    let fixture = SiteFixture::micro()?;
    let mut bench = ToolVm::new(&fixture, &["mke2fs", "debugfs", "e2fsck", "blkid"])?;
    bench.add_as(&fixture.site(), "site")?;
    bench.add_as(&fixture.keys(), "root/.config/psyops/test")?;
    let folder = tempfile::tempdir()?;
    let disk = folder.path().join("disk.img");
    File::create(&disk)?.set_len(96 * MIB)?;
    let partitions = ["--new=1:0:+16M", "--new=2:0:+16M", "--new=3:0:+16M", "--new=4:0:+64K"];
    succeed(Command::new("sgdisk").args(partitions).arg(&disk))?;
    bench.attach(&disk);
    let said = bench.run(SCRIPT, Duration::from_mins(3))?;

    let wanted = [
        // It is written, with a node's files, and a standard tool finds no fault.
        "[blank] exit 0",
        "[blank] e2fsck 0",
        "[blank] age.key",
        // In use, under any name and whatever the user says about its content.
        "/dev/vda1 is in use: mounted at /mnt",
        "[mounted] exit 82",
        "/root/by-another-name is in use: mounted at /mnt",
        "[linked] exit 82",
        "[mounted-named] exit 82",
        "[mounted] unchanged",
        // An old secret partition may be overwritten.
        "which had an old secret partition on it",
        "[again] exit 0",
        "/dev/vda is a whole disk with partitions (vda1, vda2, vda3, vda4)",
        "[disk] exit 77",
        // Other content only if the user names it.
        "/dev/vda2 has photos on it, not an old secret partition",
        "--overwrite photos",
        "[other] exit 89",
        "/dev/vda2 has photos on it, not music",
        "[misnamed] exit 89",
        "[other] unchanged",
        "[named] exit 0",
        "[named] psyops-secret",
        "/dev/vda3 is in use: swap",
        "[swap] exit 82",
    ];
    let mut rest = said.as_str();
    for text in wanted {
        let Some(at) = rest.find(text) else {
            anyhow::bail!("{text:?} is missing, or too early, in:\n{said}")
        };
        rest = &rest[at..];
    }
    for (case, code) in [("small", '0'), ("file", '0')] {
        ensure!(said.contains(&format!("[{case}] exit ")), "{said}");
        ensure!(!said.contains(&format!("[{case}] exit {code}")), "{said}");
    }
    Ok(())
}
