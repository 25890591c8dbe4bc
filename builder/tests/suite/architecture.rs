//! The differences between architectures are in one table, `handoff/src/architecture.rs`: no other code, script or
//! file of settings has their names.

use anyhow::{Context as _, Result, ensure};
use handoff::architecture::{ARM64, Architecture, X86_64};
use std::fs;
use std::path::{Path, PathBuf};

const ROWS: [&Architecture; 2] = [&X86_64, &ARM64];
/// What is looked at, besides all files of Rust: folders and files of the checkout.
const OTHERS: [&str; 11] = [
    "Makefile",
    "clippy.toml",
    "deny.toml",
    "rust-toolchain.toml",
    ".ci",
    ".config",
    "builder/site-template",
    "builder/src",
    "overlays",
    "qemu-tests/src",
    "scripts",
];
/// Files with such names, and why they have them.
const EXCEPTIONS: [(&str, &str); 12] = [
    ("handoff/src/architecture.rs", "the table"),
    ("selector/src/clock.rs", "chooses the file of machine code"),
    ("selector/src/clock/x86_64.rs", "machine code"),
    ("preload/src/lib.rs", "leaves the functions out where there is no machine code"),
    ("preload/src/system_call.rs", "chooses the file of machine code"),
    (
        "builder/build.rs",
        "the processors with machine code in `preload`; it has no dependencies to read the table from",
    ),
    ("fuzz/checks/examples/seeds.rs", "the first inputs of fuzzing, files as others write them"),
    ("qemu-tests/src/bin/bench-build.rs", "an input of genimage"),
    ("Makefile", "builds before the table is compiled; checked below"),
    ("scripts/setup", "runs before the table is compiled; checked below"),
    ("rust-toolchain.toml", "read before the table is compiled; checked below"),
    ("deny.toml", "cargo-deny does not know the table; checked below"),
];

#[test]
fn only_the_table_knows_an_architecture() -> Result<()> {
    let mut found = Vec::new();
    let mut files = 0;
    for (name, text) in everything()? {
        files += 1;
        if !EXCEPTIONS.iter().any(|(exception, _)| *exception == name) {
            found.extend(lines_that_know(&name, &text).into_iter().map(|line| format!("{name}: {line}")));
        }
    }
    ensure!(files > 450, "only {files} files were looked at");
    ensure!(found.is_empty(), "put this into {}:\n{}", EXCEPTIONS[0].0, found.join("\n"));
    Ok(())
}

#[test]
fn each_exception_is_needed() -> Result<()> {
    let all = everything()?;
    for (exception, reason) in EXCEPTIONS {
        let (name, text) = all
            .iter()
            .find(|(name, _)| name == exception)
            .with_context(|| format!("there is no {exception} ({reason})"))?;
        ensure!(!lines_that_know(name, text).is_empty(), "{exception} is not an exception: {reason}");
    }
    Ok(())
}

#[test]
fn files_that_cannot_read_the_table_agree_with_it() -> Result<()> {
    let row = Architecture::DEFAULT;
    let targets = [row.linux_target, row.uefi_target];
    let packages = [row.qemu.package, row.qemu.firmware_package];
    for (file, values) in [
        ("Makefile", targets.to_vec()),
        ("scripts/setup", [targets, packages].concat()),
        ("rust-toolchain.toml", targets.to_vec()),
        ("deny.toml", targets.to_vec()),
    ] {
        let text = fs::read_to_string(checkout().join(file))?;
        for value in values {
            ensure!(has_word(&text, value), "{file} has no {value}");
        }
    }
    Ok(())
}

#[test]
fn this_builder_is_for_the_processor_that_the_table_says() {
    assert_eq!(Architecture::OF_THIS_PROGRAM.rust, std::env::consts::ARCH);
}

#[test]
fn code_that_has_a_name_of_an_architecture_is_found() {
    let text = "/// On amd64.\nlet a = \"main/binary-amd64\";\n#[cfg(test)]\nconst B: &str = \"q35\";\n";
    assert_eq!(lines_that_know("a.rs", text), ["let a = \"main/binary-amd64\";"]);
    for line in ["cfg(target_arch = \"riscv64\")", "file bootaa64.efi", "machine::X86_64", "ttyS0::getty"] {
        assert_eq!(lines_that_know("a", line), [line]);
    }
    assert_eq!(lines_that_know("a", "# On arm64.\nvirtio q356"), Vec::<String>::new());
}

/// Lines of code, without comments and tests, that have a name of an architecture.
fn lines_that_know(name: &str, text: &str) -> Vec<String> {
    let words = words();
    let small = text.to_lowercase();
    if !words.iter().any(|word| small.contains(word)) {
        return Vec::new();
    }
    let code = if is_rust(Path::new(name)) { crate::common::without_tests(text) } else { text.to_owned() };
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with(['#', '/']) || line.contains("target_arch"));
    lines.filter(|line| words.iter().any(|word| has_word(line, word))).map(str::to_owned).collect()
}

/// All that differs between the rows of the table and is a word of its own, in small letters.
fn words() -> Vec<String> {
    let mut words = vec!["target_arch", "ovmf", "aavmf"];
    for row in ROWS {
        let names =
            [row.name, row.debian, row.oci, row.rust, row.multiarch, row.linux_target, row.uefi_target];
        let files = [row.efi_file, row.dynamic_linker, row.stub, row.serial_console, row.kernel_package];
        let qemu = [row.qemu.program, row.qemu.package, row.qemu.machine, row.qemu.firmware_package];
        words.extend(names.into_iter().chain(files).chain(qemu).chain([row.root_type, row.verity_type]));
    }
    words.into_iter().map(str::to_lowercase).collect()
}

/// Whether the word, in small letters, is in the text, in any case, and not as a part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let text = text.to_lowercase();
    let is_part = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    text.match_indices(&word).any(|(at, _)| {
        !is_part(text[..at].chars().next_back()) && !is_part(text[at + word.len()..].chars().next())
    })
}

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Name and text of every file of the checkout that makes an image, builds or starts something. Tests and documents
/// are left out: they have the names to compare with, and to explain.
fn everything() -> Result<Vec<(String, String)>> {
    let mut paths = Vec::new();
    for entry in entries(checkout())? {
        if entry.join("Cargo.toml").is_file() {
            paths.extend(below(&entry)?.into_iter().filter(|path| is_rust(path)));
        }
    }
    for other in OTHERS {
        let path = checkout().join(other);
        paths.extend(if path.is_dir() { below(&path)? } else { vec![path] });
    }
    paths.sort();
    paths.dedup();
    let mut files = Vec::new();
    for path in paths {
        let name = path.strip_prefix(checkout())?.to_string_lossy().into_owned();
        let is_test =
            ["tests.rs", "fixture.rs", "sample.rs", "golden.rs"].iter().any(|end| name.ends_with(end));
        if !is_test && !name.contains("/tests/") && path.extension().is_none_or(|end| end != "md") {
            files.push((name, fs::read_to_string(&path)?));
        }
    }
    Ok(files)
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

/// All files below a folder, except those that a build makes.
fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for path in entries(folder)? {
        if path.is_dir() && !path.ends_with("target") {
            paths.extend(below(&path)?);
        } else if path.is_file() {
            paths.push(path);
        }
    }
    Ok(paths)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    #[expect(clippy::disallowed_methods, reason = "the caller sorts, or needs no order")]
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    Ok(entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?)
}
