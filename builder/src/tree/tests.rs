//! Layers over layers: every rule and every refusal, and tars that another program reads and writes.

use super::*;
use std::process::Command;

const ALL: &dyn Fn(&str) -> bool = &|_| true;

fn merged_usr() -> LayeredTree {
    let mut tree = LayeredTree::new();
    tree.insert_symlink("bin", "usr/bin").unwrap();
    tree.insert_directory("usr/bin", 0o755).unwrap();
    tree.insert_file("bin/sh", 0o755, *b"shell").unwrap();
    tree
}

fn round_trip(tree: &LayeredTree) -> (LayeredTree, Vec<u8>) {
    let mut bytes = Vec::new();
    tree.write_tar(&mut bytes, 1000).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.tar");
    std::fs::write(&path, &bytes).unwrap();
    let mut again = LayeredTree::new();
    again.add_tar(&path, ALL).unwrap();
    (again, bytes)
}

#[test]
fn links_to_folders_are_followed() {
    let tree = merged_usr();
    assert_eq!(tree.paths().collect::<Vec<_>>(), ["bin", "usr", "usr/bin", "usr/bin/sh"]);
    assert_eq!(tree.read("bin/sh").unwrap().unwrap(), b"shell");
    assert!(tree.contains("/bin/sh") && tree.is_directory("bin") && !tree.contains("bin/bash"));
}

#[test]
fn a_folder_over_a_link_to_a_folder_is_that_folder() {
    let mut tree = merged_usr();
    tree.insert_directory("bin/", 0o700).unwrap();
    assert_eq!(tree.link_target("bin"), Some("usr/bin"));
    assert_eq!(tree.metadata("usr/bin").unwrap().mode, 0o700);
}

#[test]
fn file_and_folder_do_not_mix() {
    let mut tree = merged_usr();
    let error = tree.insert_file("usr/bin", 0o644, *b"x").unwrap_err();
    assert!(matches!(&error, TreeError::Conflict { lower: "a folder", upper: "a file", .. }), "{error}");
    let error = tree.insert_directory("usr/bin/sh", 0o755).unwrap_err();
    assert!(matches!(&error, TreeError::Conflict { lower: "a file", upper: "a folder", .. }), "{error}");
    let error = tree.insert_file("usr/bin/sh/x", 0o755, *b"x").unwrap_err();
    assert!(matches!(&error, TreeError::Conflict { lower: "a file", upper: "a folder", .. }), "{error}");
}

#[test]
fn paths_stay_inside() {
    let mut tree = merged_usr();
    tree.insert_symlink("out", "../../../etc").unwrap();
    tree.insert_file("out/passwd", 0o644, *b"x").unwrap();
    assert!(tree.contains("etc/passwd"));
    let error = tree.insert_file("usr/..", 0o644, *b"x").unwrap_err();
    assert!(matches!(error, TreeError::BadPath { .. }), "{error}");
    tree.insert_symlink("a", "b").unwrap();
    tree.insert_symlink("b", "a").unwrap();
    assert!(matches!(tree.insert_file("a/x", 0o644, *b"x"), Err(TreeError::LinkLoop { .. })));
}

#[test]
fn a_written_value_is_read_back() {
    let mut tree = merged_usr();
    let long = format!("usr/share/{}/{}", "d".repeat(90), "n".repeat(120));
    tree.insert_file(&long, 0o4711, *b"long").unwrap();
    tree.insert_symlink("usr/link", &format!("/{}", "t".repeat(150))).unwrap();
    tree.insert_symlink("usr/odd", "..//./x/").unwrap();
    tree.insert("dev/null", What::Device { character: true, major: 1, minor: 3 }, Metadata::root(0o666))
        .unwrap();
    tree.insert("run/pipe", What::Fifo, Metadata::root(0o600)).unwrap();
    let xattrs = BTreeMap::from([("security.capability".to_owned(), b"\x01\n=\0 7".to_vec())]);
    let owned = Metadata { uid: 3_000_000, gid: 42, mtime: Some(5), xattrs, ..Metadata::root(0o640) };
    tree.insert("etc/shadow", What::File(Content::Bytes(Arc::from(*b"s"))), owned.clone()).unwrap();
    tree.insert_hard_link("usr/bin/zsh", "usr/bin/sh").unwrap();
    let (again, bytes) = round_trip(&tree);
    assert!(again.paths().eq(tree.paths()));
    assert_eq!(again.metadata("etc/shadow"), Some(&owned));
    assert_eq!(again.metadata(&long).unwrap().mode, 0o4711);
    assert_eq!(again.metadata(&long).unwrap().mtime, Some(1000));
    assert_eq!(again.link_target("usr/odd"), Some("..//./x/"));
    assert_eq!(again.link_target("usr/link").unwrap().len(), 151);
    assert_eq!(again.read("usr/bin/zsh").unwrap().unwrap(), b"shell");
    assert_eq!(again.paths["usr/bin/zsh"], again.paths["usr/bin/sh"]);
    assert_eq!(again.content_length(), tree.content_length());
    let (_, second) = round_trip(&again);
    assert_eq!(second, bytes);
}

#[test]
fn attributes_that_the_root_cannot_hold_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.tar");
    let mut archive = tar::Builder::new(File::create(&path).unwrap());
    let names = ["security.capability", "system.posix_acl_default", "trusted.x", "user.y"];
    let keys = names.map(|name| format!("SCHILY.xattr.{name}"));
    archive.append_pax_extensions(keys.iter().map(|key| (key.as_str(), &b"value"[..]))).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header.set_cksum();
    archive.append_data(&mut header, "file", &b""[..]).unwrap();
    archive.finish().unwrap();
    let mut tree = LayeredTree::new();
    tree.add_tar(&path, &|_| true).unwrap();
    let kept: Vec<_> = tree.metadata("file").unwrap().xattrs.keys().map(String::as_str).collect();
    assert_eq!(kept, ["security.capability", "trusted.x", "user.y"]);
}

#[test]
fn gnu_tar_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let long = format!("{}/{}", "d".repeat(90), "n".repeat(120));
    let source = folder.path().join("source");
    std::fs::create_dir_all(source.join("d".repeat(90))).unwrap();
    std::fs::write(source.join(&long), "content").unwrap();
    std::os::unix::fs::symlink("x".repeat(130), source.join("l")).unwrap();
    for format in ["--format=gnu", "--format=pax"] {
        let tar = folder.path().join("t.tar");
        let status =
            Command::new("tar").arg("-C").arg(&source).args(["-cf"]).arg(&tar).args([format, "."]).status();
        assert!(status.unwrap().success());
        let mut tree = LayeredTree::new();
        tree.add_tar(&tar, &|path| path != "nothing").unwrap();
        assert_eq!(tree.read(&long).unwrap().unwrap(), b"content", "{format}");
        assert_eq!(tree.link_target("l").unwrap().len(), 130);
        let back = folder.path().join("back.tar");
        tree.write_tar(File::create(&back).unwrap(), 1000).unwrap();
        let listed = Command::new("tar").arg("-tf").arg(&back).output().unwrap();
        assert!(listed.status.success());
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert_eq!(listed.lines().collect::<Vec<_>>(), [&format!("{}/", "d".repeat(90)), &long, "l"]);
    }
}

#[test]
fn modes_in_a_folder_depend_only_on_the_x_bit() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, mode: u32| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "x").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    put("bin/tool", 0o700);
    put("etc/shadow", 0o600);
    let mut tree = merged_usr();
    tree.insert_directory("etc", 0o711).unwrap();
    tree.add_directory(folder.path(), "").unwrap();
    assert_eq!(tree.metadata("usr/bin/tool"), Some(&Metadata::root(0o755)));
    assert_eq!(tree.metadata("etc/shadow"), Some(&Metadata::root(0o644)));
    assert_eq!(tree.metadata("etc").unwrap().mode, 0o711);
}

#[test]
fn a_prefix_moves_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x"), "1").unwrap();
    let mut tree = LayeredTree::new();
    tree.add_directory(folder.path(), "/usr/share/site/").unwrap();
    assert_eq!(tree.read("usr/share/site/x").unwrap().unwrap(), b"1");
}

#[test]
fn a_socket_in_a_folder_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(folder.path().join("s")).unwrap();
    let error = LayeredTree::new().add_directory(folder.path(), "").unwrap_err();
    assert!(matches!(error, TreeError::NotLayable { .. }), "{error}");
}

#[test]
fn a_torn_tar_is_an_error() {
    let (_, bytes) = round_trip(&merged_usr());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.tar");
    std::fs::write(&path, &bytes[..700]).unwrap();
    assert!(matches!(LayeredTree::new().add_tar(&path, ALL), Err(TreeError::Read { .. })));
}
