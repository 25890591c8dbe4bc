//! Layers of images: every rule of the specification, and entries that only an attacker would write.

use super::*;

/// An entry of a tar, including entries that ordinary tools refuse to write.
struct Member<'a> {
    path: &'a str,
    kind: tar::EntryType,
    link: &'a str,
    content: &'a [u8],
    mode: u32,
    records: &'a [(&'a str, &'a [u8])],
}

fn member(path: &str, kind: tar::EntryType) -> Member<'_> {
    Member { path, kind, link: "", content: b"", mode: 0o755, records: &[] }
}

fn file<'a>(path: &'a str, content: &'a str) -> Member<'a> {
    Member { content: content.as_bytes(), mode: 0o644, ..member(path, tar::EntryType::Regular) }
}

fn folder(path: &str) -> Member<'_> {
    member(path, tar::EntryType::Directory)
}

fn link<'a>(path: &'a str, link: &'a str) -> Member<'a> {
    Member { link, ..member(path, tar::EntryType::Symlink) }
}

fn hard_link<'a>(path: &'a str, link: &'a str) -> Member<'a> {
    Member { link, ..member(path, tar::EntryType::Link) }
}

fn layer(members: &[Member<'_>]) -> File {
    let mut archive = tar::Builder::new(tempfile::tempfile().unwrap());
    for member in members {
        if !member.records.is_empty() {
            archive.append_pax_extensions(member.records.iter().copied()).unwrap();
        }
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(member.kind);
        header.set_mode(member.mode);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(5);
        header.set_size(u64::try_from(member.content.len()).unwrap());
        // The crate would normalize the names.
        header.as_old_mut().name[..member.path.len()].copy_from_slice(member.path.as_bytes());
        header.as_old_mut().linkname[..member.link.len()].copy_from_slice(member.link.as_bytes());
        header.set_cksum();
        archive.append(&header, member.content).unwrap();
    }
    let mut file = archive.into_inner().unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    file
}

fn lay(tree: &mut LayeredTree, members: &[Member<'_>]) -> Result<(), TreeError> {
    tree.add_image_layer(layer(members), Path::new("layer"), &|_| true)
}

fn lower() -> LayeredTree {
    let mut tree = LayeredTree::new();
    let members = [
        folder("etc/"),
        file("etc/motd", "lower"),
        file("etc/conf.d/a", "a"),
        file("etc/conf.d/b", "b"),
        folder("usr/bin"),
        file("usr/bin/tool", "tool"),
        hard_link("usr/bin/same", "usr/bin/tool"),
        link("bin", "usr/bin"),
    ];
    lay(&mut tree, &members).unwrap();
    tree
}

fn text(tree: &LayeredTree, path: &str) -> Option<String> {
    tree.read(path).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn whiteouts_remove_what_is_below_and_nothing_of_their_own_layer() {
    let mut tree = lower();
    // In any order: here the whiteout comes after the file.
    let upper = [file("etc/conf.d/a", "new"), file("etc/conf.d/.wh.a", ""), file("etc/.wh.motd", "")];
    lay(&mut tree, &upper).unwrap();
    assert_eq!(text(&tree, "etc/conf.d/a").as_deref(), Some("new"));
    assert_eq!(text(&tree, "etc/conf.d/b").as_deref(), Some("b"));
    assert!(!tree.contains("etc/motd") && !tree.paths().any(|path| path.contains(".wh.")));
    // A whole folder, and a path that never existed.
    lay(&mut tree, &[file(".wh.etc", ""), file("usr/.wh.nothing", "")]).unwrap();
    assert!(!tree.paths().any(|path| path.starts_with("etc")));
}

#[test]
fn an_opaque_folder_shows_only_its_own_layer() {
    let mut tree = lower();
    lay(&mut tree, &[file("etc/conf.d/c", "c"), file("etc/conf.d/.wh..wh..opq", "")]).unwrap();
    let there: Vec<_> = tree.paths().filter(|path| path.starts_with("etc/")).collect();
    assert_eq!(there, ["etc/conf.d", "etc/conf.d/c", "etc/motd"]);
}

#[test]
fn kinds_replace_each_other_and_folders_keep_what_is_in_them() {
    let mut tree = lower();
    let upper = [
        file("etc/conf.d", "a file now"),
        folder("etc/motd"),
        Member { mode: 0o700, ..folder("usr") },
        folder("bin"),
        file("bin/other", "x"),
    ];
    lay(&mut tree, &upper).unwrap();
    assert_eq!(text(&tree, "etc/conf.d").as_deref(), Some("a file now"));
    assert!(tree.is_directory("etc/motd") && !tree.contains("etc/conf.d/a"));
    assert_eq!(tree.metadata("usr").unwrap().mode, 0o700);
    assert_eq!(text(&tree, "usr/bin/tool").as_deref(), Some("tool"));
    // A folder replaces a link, as in every container engine.
    assert_eq!(tree.link_target("bin"), None);
    assert!(tree.contains("bin/other") && !tree.contains("usr/bin/other"));
}

#[test]
fn links_of_lower_layers_are_followed_within_the_tree() {
    let mut tree = lower();
    lay(&mut tree, &[link("out", "../../../etc")]).unwrap();
    lay(&mut tree, &[file("bin/more", "m"), file("out/more", "m"), file("bin/.wh.same", "")]).unwrap();
    assert!(tree.contains("usr/bin/more") && tree.contains("etc/more") && !tree.contains("usr/bin/same"));
}

#[test]
fn hard_links_reach_into_lower_layers() {
    let mut tree = lower();
    let upper = [hard_link("usr/bin/third", "usr/bin/tool"), hard_link("etc/conf.d", "./usr/bin/same")];
    lay(&mut tree, &upper).unwrap();
    assert_eq!(tree.names_of("etc/conf.d"), ["etc/conf.d", "usr/bin/same", "usr/bin/third", "usr/bin/tool"]);
    // One name gets a new file; the other names keep the old one.
    lay(&mut tree, &[file("usr/bin/third", "new"), hard_link("usr/bin/tool", "usr/bin/tool")]).unwrap();
    assert_eq!(text(&tree, "usr/bin/same").as_deref(), Some("tool"));
    assert_eq!(text(&tree, "usr/bin/third").as_deref(), Some("new"));
    let error = lay(&mut tree, &[hard_link("x", "usr/bin/gone")]).unwrap_err();
    assert!(matches!(error, TreeError::DanglingHardLink { .. }), "{error}");
    let error = lay(&mut tree, &[hard_link("x", "usr/bin")]).unwrap_err();
    assert!(matches!(error, TreeError::BadTar { problem: "a hard link to a folder", .. }), "{error}");
    let gone = [file("usr/bin/.wh.tool", ""), hard_link("y", "usr/bin/tool")];
    assert!(matches!(lay(&mut tree, &gone), Err(TreeError::DanglingHardLink { .. })));
}

#[test]
fn owners_modes_and_capabilities_are_kept() {
    let capability: &[u8] = b"\x01\0\0\x02\0\x20\0\0\n=\0\0\0\0\0\0\0\0\0\0";
    let records: &[(&str, &[u8])] = &[("SCHILY.xattr.security.capability", capability), ("uid", b"3000000")];
    let mut tree = lower();
    let ping = Member { records, mode: 0o4755, ..file("bin/ping", "ping") };
    lay(&mut tree, &[ping, file("plain", "")]).unwrap();
    let metadata = tree.metadata("usr/bin/ping").unwrap();
    assert_eq!((metadata.mode, metadata.uid, metadata.gid, metadata.mtime), (0o4755, 3_000_000, 8, Some(5)));
    assert_eq!(metadata.xattrs["security.capability"], capability);
    assert!(tree.metadata("plain").unwrap().xattrs.is_empty());
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for (path, says) in [
        ("/etc/passwd", "absolute"),
        ("../etc/passwd", "leads out of the layer"),
        ("etc/../../x", "leads out of the layer"),
        ("etc/..", "leads out of the layer"),
        ("etc//passwd", "empty parts or '.'"),
        ("etc/./passwd", "empty parts or '.'"),
        ("/", "absolute"),
    ] {
        let error = lay(&mut lower(), &[file(path, "x")]).unwrap_err();
        assert!(matches!(&error, TreeError::BadTar { entry, .. } if entry == path), "{path}: {error}");
        assert!(error.to_string().contains(says), "{path}: {error}");
    }
    for target in ["/etc/motd", "../etc/motd", "usr/../etc/motd"] {
        let error = lay(&mut lower(), &[hard_link("x", target)]).unwrap_err();
        assert!(error.to_string().contains("outside of the layer"), "{target}: {error}");
    }
    let zero: &[(&str, &[u8])] = &[("path", b"etc/pass\0wd")];
    let error = lay(&mut lower(), &[Member { records: zero, ..file("x", "") }]).unwrap_err();
    assert!(error.to_string().contains("zero byte"), "{error}");
    for key in ["uid", "gid"] {
        let records: &[(&str, &[u8])] = &[(key, b"70000x")];
        let error = lay(&mut lower(), &[Member { records, ..file("x", "") }]).unwrap_err();
        assert!(error.to_string().contains("a field is not a number"), "{key}: {error}");
    }
    for whiteout in [".wh..", "etc/.wh..."] {
        let error = lay(&mut lower(), &[file(whiteout, "")]).unwrap_err();
        assert!(matches!(error, TreeError::BadWhiteout { .. }), "{whiteout}: {error}");
    }
}

#[test]
fn nothing_goes_through_a_link_of_the_same_layer() {
    let through = [
        vec![link("a", "/etc"), file("a/passwd", "x")],
        vec![link("a", "usr"), folder("a/bin")],
        vec![link("a", "usr"), hard_link("b", "a/bin/tool")],
        // A folder that becomes a link.
        vec![folder("a"), link("a", "etc"), file("a/motd", "x")],
        // Through a link that existed before.
        vec![link("usr/bin/a", "../../etc"), file("bin/a/motd", "x")],
    ];
    for members in &through {
        let error = lay(&mut lower(), members).unwrap_err();
        assert!(matches!(error, TreeError::ThroughLink { .. }), "{error}");
    }
    // The file that replaces a link does not go through it.
    let mut tree = lower();
    lay(&mut tree, &[link("a", "/etc"), folder("a"), file("a/motd", "x")]).unwrap();
    assert_eq!(text(&tree, "etc/motd").as_deref(), Some("lower"));
    assert_eq!(text(&tree, "a/motd").as_deref(), Some("x"));
}

#[test]
fn files_whose_bytes_are_elsewhere_are_refused() {
    let sparse: &[(&str, &[u8])] = &[("GNU.sparse.major", b"1"), ("GNU.sparse.name", b"x")];
    let error = lay(&mut lower(), &[Member { records: sparse, ..file("x", "") }]).unwrap_err();
    assert!(error.to_string().contains("sparse"), "{error}");
    let large: &[(&str, &[u8])] = &[("size", b"9999999999")];
    let error = lay(&mut lower(), &[Member { records: large, ..file("x", "") }]).unwrap_err();
    assert!(error.to_string().contains("larger"), "{error}");
    let odd = Member { kind: tar::EntryType::new(b'S'), ..file("x", "") };
    assert!(matches!(lay(&mut lower(), &[odd]), Err(TreeError::BadTar { .. })));
}
