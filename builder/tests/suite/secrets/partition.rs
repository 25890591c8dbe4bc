//! Secret partitions, checked with the programs of e2fsprogs.

use super::{Home, MIB};
use builder::error::Class;
use builder::tools::{DEBUGFS, E2FSCK};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The output of debugfs, which did not take part in checking it, for a path.
fn stat(image: &Path, path: &str) -> String {
    let mut command = DEBUGFS.command().unwrap();
    let output = command.args(["-R", &format!("stat \"{path}\"")]).arg(image).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_partition_is_whole_and_equal_from_run_to_run() {
    let home = Home::new();
    fs::write(home.at("site/big"), vec![7; 700_000]).unwrap();
    home.append(
        "nodes/demo.toml",
        "\n[[file]]\npath = \"a b/big\"\nsource = \"big\"\nmode = \"0640\"\nuid = 12\ngid = 34\n",
    );
    let prepared = home.prepare();
    let images = [home.at("one.img"), home.at("two.img")];
    for image in &images {
        prepared.write_partition(&prepared.identity(None).unwrap(), 16 * MIB, image).unwrap();
        // Long enough for the clock to change.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    assert!(fs::read(&images[0]).unwrap() == fs::read(&images[1]).unwrap(), "two runs differ");
    let mut check = E2FSCK.command().unwrap();
    let output = check.arg("-fn").arg(&images[0]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let key = stat(&images[0], "/age.key");
    assert!(key.contains("Mode:  0600") && key.contains("User:     0   Group:     0"), "{key}");
    let big = stat(&images[0], "/a b/big");
    assert!(big.contains("Mode:  0640") && big.contains("User:    12   Group:    34"), "{big}");
    for time in ["ctime", "atime", "mtime", "crtime"] {
        assert!(big.contains(&format!("{time}: 0x{:x}", 1_700_000_000)), "{big}");
    }
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&images[0]).unwrap());
    assert_eq!(mode & 0o777, 0o600, "an image with secrets is private");
    let blkid = Command::new("/sbin/blkid").arg("-p").arg(&images[0]).output().unwrap();
    assert!(String::from_utf8_lossy(&blkid.stdout).contains("LABEL=\"psyops-secret\""));
}

#[test]
fn secrets_that_do_not_fit_are_refused_with_sizes() {
    let home = Home::new();
    fs::write(home.at("site/big"), vec![7; 3_000_000]).unwrap();
    home.append("nodes/demo.toml", "\n[[file]]\npath = \"big\"\nsource = \"big\"\n");
    let prepared = home.prepare();
    let image = home.at("image");
    let error = prepared.write_partition(&prepared.identity(None).unwrap(), 4 * MIB, &image).unwrap_err();
    assert_eq!(error.class(), Class::BadContent);
    assert!(error.to_string().contains("the secrets do not fit"), "{error}");
    assert!(error.to_string().contains("4194304"), "{error}");
    assert!(!image.exists());
    let error = prepared.write_partition(&prepared.identity(None).unwrap(), MIB, &image).unwrap_err();
    assert!(error.to_string().contains("too small"), "{error}");
    prepared.write_partition(&prepared.identity(None).unwrap(), 16 * MIB, &image).unwrap();
}

#[test]
fn sizes_from_the_least_to_large_ones_work() {
    let home = Home::new();
    let prepared = home.prepare();
    for mib in [4, 5, 64, 512] {
        let image = home.at("image");
        prepared.write_partition(&prepared.identity(None).unwrap(), mib * MIB, &image).unwrap();
        let output = E2FSCK.command().unwrap().arg("-fn").arg(&image).output().unwrap();
        assert!(output.status.success(), "{mib} MiB: {}", String::from_utf8_lossy(&output.stdout));
    }
}
