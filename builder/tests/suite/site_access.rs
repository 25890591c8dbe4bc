//! All files of a site are opened through `SiteFolder`: no module that reads sites uses a path directly.

use std::fs;
use std::path::Path;

/// Calls that open a path directly.
const DIRECT: [&str; 14] = [
    "fs::read",
    "fs::write",
    "fs::copy",
    "fs::metadata",
    "fs::symlink_metadata",
    "fs::rename",
    "fs::remove",
    "fs::canonicalize",
    "File::open",
    "File::create",
    "OpenOptions",
    ".exists()",
    ".is_file()",
    ".is_dir()",
];

/// Where such calls are right, because they do not access files of a site.
const RIGHT: [(&str, &str); 19] = [
    ("base/lock_file.rs", "fs::remove_file(&path)"),
    ("base/imported/layout.rs", "File::create(place)"),
    ("tree/disk.rs", "fs::metadata(path)"),
    ("site/init.rs", "fs::read_dir(dir)"),
    ("site/default_site.rs", "join(SITE_FILE).exists()"),
    ("site/locked.rs", "File::open(dir)"),
    // Looks for a site, and to whom its folder belongs.
    ("site/search.rs", "fs::symlink_metadata(dir.join(SITE_FILE))"),
    ("site/search.rs", "fs::metadata(dir)"),
    ("secrets/issue.rs", ""),
    ("secrets/credentials.rs", ""),
    // Files beside the private keys, and questions to the user.
    ("secrets/key_file.rs", ""),
    ("secrets/private_file.rs", ""),
    ("secrets/passphrase.rs", ""),
    ("secrets/node_notes.rs", "File::open(folder)"),
    ("secrets/trust/place.rs", "folder.is_dir()"),
    ("secrets/trust/place.rs", "fs::read_dir(folder)"),
    // A base in the store.
    ("secrets/key_guard/mod.rs", "File::open(tar)"),
    ("secrets/ext4.rs", "create_new"),
    ("secrets/ext4.rs", "tree/.keep"),
];

fn rust_files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    #[expect(clippy::disallowed_methods, reason = "sorted by the caller")]
    for entry in fs::read_dir(folder).expect("a folder of this crate") {
        let path = entry.expect("an entry of it").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn sites_are_only_opened_through_their_folder() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for folder in ["site", "secrets"] {
        rust_files(&source.join(folder), &mut files);
    }
    files.push(source.join("base/imported/layout.rs"));
    files.push(source.join("base/lock_file.rs"));
    files.push(source.join("flash/receipt.rs"));
    files.push(source.join("tree/overlay.rs"));
    files.push(source.join("tree/disk.rs"));
    files.sort();
    let mut wrong = Vec::new();
    // `tests.rs`, and `..._tests.rs` beside it.
    let is_test = |path: &&std::path::PathBuf| path.to_string_lossy().ends_with("tests.rs");
    for path in files.iter().filter(|path| !is_test(path)) {
        let name = path.strip_prefix(&source).unwrap().to_str().unwrap();
        let text = fs::read_to_string(path).unwrap();
        let code = crate::common::without_tests(&text);
        for (line, number) in code.lines().zip(1..) {
            let line = line.replace("rustix::fs::", "").replace("AtomicFile::", "");
            let code = !line.trim_start().starts_with("//") && !line.starts_with("use ");
            let right = RIGHT.iter().any(|(file, part)| *file == name && line.contains(part));
            if code && !right && DIRECT.iter().any(|direct| line.contains(direct)) {
                wrong.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    assert_eq!(wrong, [] as [&str; 0], "use site.folder (SiteFolder)");
}
