//! Inputs just below the limits, each handled with the resources of [`super::hostile_tests`]. They are large, so they
//! are a part of `make test-long` and run as optimized programs.

use super::hostile_tests::{debugfs, look, path, replace_uki, with_files};
use crate::boot::initramfs::single_file;
use crate::image::fixture::{self, Fixture, Recipe};
use crate::limits;
use crate::site::Bytes;
use handoff::hash::Sha256Digest;
use keys::issue::signing::SigningKey;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;

/// An image with changed sizes, and with files in its root and its secret partition.
fn sized(change: impl FnOnce(&mut Recipe<'_>)) -> Fixture {
    let signing = SigningKey::generate().unwrap();
    let mut recipe = Recipe {
        root: &[("etc/motd", 0o644, b"hello")],
        secret: &[("hostname", b"demo")],
        ..Recipe::plain(&signing)
    };
    change(&mut recipe);
    fixture::image_of(&recipe)
}

/// The commands that a user runs on an image: each stays within the resources, and none refuses the image.
fn look_at_all(image: &Path, code: u64) {
    for (command, path) in [("inspect", ""), ("verify", ""), ("disks", ""), ("ls", "esp"), ("ls", "secret")] {
        let (found, said) = look(command, image, path);
        let expected = if command == "verify" { code } else { 0 };
        assert_eq!(found, expected, "{command} {path}: {said}");
    }
    look("diff", image, &image.display().to_string());
}

#[test]
#[ignore = "large inputs"]
fn limit_a_boot_log_without_lines_and_one_of_lines() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for byte in [b"x", b"\n", b"\xff"] {
        let bytes = byte.repeat(limits::REPORT.in_memory());
        fs::write(file.path(), bytes).unwrap();
        assert_ne!(look("chart", file.path(), "").0, 0);
    }
}

#[test]
#[ignore = "large inputs"]
fn limit_files_of_settings_and_keys_of_many_small_values() {
    let folder = tempfile::tempdir().unwrap();
    for text in ["x = [".to_owned() + &"0,".repeat((1 << 19) - 8) + "]", "a.".repeat((1 << 19) - 8) + "a = 1"]
    {
        fs::write(folder.path().join("site.toml"), text).unwrap();
        assert_ne!(look("site", folder.path(), "").0, 0);
        assert_ne!(look("keys", &folder.path().join("site.toml"), "").0, 0);
    }
}

#[test]
#[ignore = "large inputs"]
fn limit_an_esp_of_the_largest_size() {
    let fixture = sized(|recipe| recipe.sizes.esp = Bytes(limits::ESP.most));
    look_at_all(path(&fixture), 0);
}

#[test]
#[ignore = "large inputs"]
fn limit_seal_partitions_of_the_largest_size() {
    let fixture = sized(|recipe| recipe.sizes.seal = Bytes(limits::SEAL.most));
    look_at_all(path(&fixture), 0);
}

#[test]
#[ignore = "large inputs"]
fn limit_a_uki_of_the_largest_size() {
    let fixture = sized(|recipe| recipe.sizes.boot = Bytes::mib(256));
    // Bytes that cannot be compressed, and that are not an initramfs.
    let noise = (0_u32..).flat_map(|number| *Sha256Digest::of(&number.to_le_bytes()).as_bytes());
    let noise: Vec<u8> = noise.take(limits::UKI.in_memory() - (2 << 20)).collect();
    replace_uki(&fixture, &"0".repeat(64), Some(&noise));
    look_at_all(path(&fixture), 1);
    look("ls", path(&fixture), "initramfs");
}

#[test]
#[ignore = "large inputs"]
fn limit_an_initramfs_that_unpacks_to_the_largest_size() {
    let fixture = sized(|_| ());
    let zeros = vec![0; limits::INITRAMFS.in_memory() - 4096];
    let initramfs = zstd::encode_all(single_file("/zeros", 0o400, &zeros).unwrap().as_slice(), 1).unwrap();
    replace_uki(&fixture, &"0".repeat(64), Some(&initramfs));
    look_at_all(path(&fixture), 1);
    look("ls", path(&fixture), "initramfs");
    look("cat", path(&fixture), "initramfs/zeros");
}

#[test]
#[ignore = "large inputs"]
fn limit_a_file_of_the_secret_partition_of_the_largest_size() {
    let fixture = with_files();
    debugfs(&fixture, &format!("sif hostname size {}", limits::SECRET_FILE.most));
    let (code, said) = look("cat", path(&fixture), "secret/hostname");
    assert_eq!(code, 0, "{said}");
}

/// A path of 77 bytes, in folders of 4096 files.
fn name(number: u64) -> String {
    format!("a/{:03x}/{number:070}", number >> 12)
}

/// A tar of empty files.
fn tar_of_files(path: &Path, files: u64) {
    let mut tar = tar::Builder::new(BufWriter::new(File::create(path).unwrap()));
    let mut header = tar::Header::new_ustar();
    for number in 0..files {
        header.set_path(name(number)).unwrap();
        header.set_mode(0o644);
        header.set_size(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        tar.append(&header, std::io::empty()).unwrap();
    }
    tar.into_inner().unwrap().flush().unwrap();
}

#[test]
#[ignore = "large inputs"]
fn limit_a_tar_of_the_most_entries() {
    let folder = tempfile::tempdir().unwrap();
    let tar = folder.path().join("many.tar");
    tar_of_files(&tar, limits::TAR_ENTRIES.most - 1);
    for command in ["tar", "layer"] {
        let (code, said) = look(command, &tar, "");
        assert_eq!(code, 0, "{command}: {said}");
    }
}

#[test]
#[ignore = "large inputs"]
fn limit_a_root_of_the_most_files() {
    // The folders count as files, too.
    let names: Vec<String> = (0..limits::ROOT_FILES.most - 1024).map(name).collect();
    let root: Vec<(&str, u32, &[u8])> = names.iter().map(|name| (name.as_str(), 0o644, &b""[..])).collect();
    let signing = SigningKey::generate().unwrap();
    let fixture = fixture::image_of(&Recipe { root: &root, ..Recipe::plain(&signing) });
    for (command, argument) in [("ls", "root"), ("ls", "root/a/000"), ("verify", "")] {
        let (code, said) = look(command, path(&fixture), argument);
        assert_eq!(code, 0, "{command} {argument}: {said}");
    }
    look("diff", path(&fixture), &path(&fixture).display().to_string());
}

#[test]
#[ignore = "large inputs"]
fn limit_a_file_of_the_root_of_the_largest_size() {
    let zeros = vec![0; limits::SHOWN_FILE.in_memory()];
    let signing = SigningKey::generate().unwrap();
    let root: &[(&str, u32, &[u8])] = &[("large", 0o644, &zeros)];
    let fixture = fixture::image_of(&Recipe { root, ..Recipe::plain(&signing) });
    let (code, said) = look("cat", path(&fixture), "root/large");
    assert_eq!(code, 0, "{}", said.len());
}
